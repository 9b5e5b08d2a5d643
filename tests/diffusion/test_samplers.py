"""Samplers on pictures of pixels drawn from a bell curve, where the way is known exactly.

If pixels have mean m and spread c, the best guess of a pixel at level (alpha, sigma) is

    m + c^2 alpha (x - alpha m) / (c^2 alpha^2 + sigma^2)

and the way from noise to picture keeps each pixel's rank: x lies at every level as many spreads
from the mean as it did in the beginning.
"""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmfm.diffusion.course import (
    SPACINGS,
    WHOLE_SPACINGS,
    Course,
    churned,
    course,
    discrete,
    strengths,
    table,
    time_of,
)
from mmfm.diffusion.objectives import Guess, Model, target
from mmfm.diffusion.samplers import (
    SAMPLERS,
    Step,
    Threshold,
    ddim,
    ddpm,
    dpm_2m,
    dpm_2m_sde,
    euler,
    heun,
)
from mmfm.diffusion.schedules import (
    SCHEDULES,
    Level,
    edm,
    flow,
    kept,
    linear_betas,
    variance_preserving,
    zero_terminal_snr,
)
from mmfm.errors import BadInput

MEAN, SPREAD = 0.4, 0.3
OBJECTIVES = ["noise", "clean", "velocity", "flow"]
Schedule = Callable[[Tensor], Level]


def best_guess(x: Tensor, level: Level) -> Guess:
    alpha, sigma = level
    variance = (SPREAD * alpha) ** 2 + sigma**2
    picture = MEAN + SPREAD**2 * alpha * (x - alpha * MEAN) / variance
    return Guess(picture, sigma * (x - alpha * MEAN) / variance)


def best_model(schedule: Schedule, objective: str) -> Model:
    """A network that has learned the bell curve perfectly."""

    def model(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        assert t.shape == (len(x),)
        level = Level(*(part[:, None, None, None].to(x) for part in schedule(t.double())))
        guessed = best_guess(x, level)
        one = Level(level.alpha[0, 0, 0, 0], level.sigma[0, 0, 0, 0])
        return target(objective, *guessed, one)

    return model


def exactly(x: Tensor, start: Level, end: Level) -> Tensor:
    """Where the way of x leads."""
    ranks = (x - start.alpha * MEAN) / ((SPREAD * start.alpha) ** 2 + start.sigma**2).sqrt()
    return end.alpha * MEAN + ranks * ((SPREAD * end.alpha) ** 2 + end.sigma**2).sqrt()


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def last(steps: object) -> Step:
    *_, step = steps  # type: ignore[misc]
    return step


def first_and_end(way: Course) -> tuple[Level, Level]:
    return (
        Level(way.alpha[0], way.sigma[0]),
        Level(way.next_alpha[-1], way.next_sigma[-1]),
    )


def missed(sampler: Callable[..., object], schedule: str, objective: str, steps: int) -> float:
    way = course(schedule, steps)
    x = noise(4, 1, 4, 4)
    model = best_model(SCHEDULES[schedule], objective)
    found = last(sampler(model, x, way, objective=objective)).x
    return (found - exactly(x, *first_and_end(way))).abs().max().item()


# --- they arrive, and as fast as their order says -------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sampler", [ddim, euler])
def test_first_order_samplers_miss_by_half_with_twice_the_steps(
    sampler: Callable[..., object], schedule: str, objective: str
):
    few, many = (missed(sampler, schedule, objective, steps) for steps in (64, 256))
    assert 0.9 < math.log(few / many, 4) < 1.1
    assert many < 0.02


@pytest.mark.parametrize("objective", ["clean", "velocity", "flow"])
@pytest.mark.parametrize("schedule", ["flow", "cosine"])
@pytest.mark.parametrize(
    # Lines over log(alpha / sigma), which has no bounds here, cost dpm_2m a logarithm.
    ("sampler", "order"),
    [(heun, 1.95), (dpm_2m, 1.6)],
)
def test_second_order_samplers_miss_by_a_quarter_also_from_pure_noise(
    sampler: Callable[..., object], order: float, schedule: str, objective: str
):
    few, many = (missed(sampler, schedule, objective, steps) for steps in (256, 1024))
    assert order < math.log(few / many, 4) < 2.2
    assert many < 1e-4


@pytest.mark.parametrize("sampler", [heun, dpm_2m])
def test_second_order_samplers_miss_by_a_quarter_over_edms_strengths(
    sampler: Callable[..., object],
):
    def by(steps: int) -> float:
        way = strengths(steps, smallest=1e-4)  # the step from there to 0 is of first order
        x = way.start(noise(4, 1, 4, 4))
        found = last(sampler(best_model(edm, "clean"), x, way, objective="clean")).x
        return (found - exactly(x, *first_and_end(way))).abs().max().item()

    few, many = by(64), by(256)
    assert 1.9 < math.log(few / many, 4) < 2.2
    assert many < 1e-3


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_from_pure_noise_every_step_is_finite(
    name: str, schedule: str, objective: str, spacing: str
):
    for dtype in (torch.float64, torch.float32):
        x = noise(3, 1, 4, 4, dtype=dtype)
        way = course(schedule, 8, spacing=spacing)
        steps = list(
            SAMPLERS[name](
                best_model(SCHEDULES[schedule], objective),
                x,
                way,
                objective=objective,
                generator=torch.Generator().manual_seed(1),
            )
        )
        assert len(steps) == 8
        assert [step.t for step in steps] == way.t.tolist()
        for step in steps:
            assert step.x.dtype == step.x0.dtype == dtype
            assert step.x.isfinite().all() and step.x0.isfinite().all()
        assert steps[-1].x.abs().max() < MEAN + 6 * SPREAD


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_from_pure_noise_is_the_models_guess(name: str):
    x = noise(2, 1, 4, 4)
    (step,) = SAMPLERS[name](best_model(flow, "flow"), x, course("flow", 1), objective="flow")
    torch.testing.assert_close(step.x, torch.full_like(x, MEAN))
    torch.testing.assert_close(step.x0, step.x)
    assert step.t == 1


def test_flow_euler_is_x_plus_the_time_times_the_answer():
    x, way = noise(2, 1, 4, 4), course("flow", 5)
    model = best_model(flow, "flow")
    for number, step in enumerate(euler(model, x, way, objective="flow")):
        t, next_t = 1 - number / 5, 1 - (number + 1) / 5
        told = torch.full((2,), t, dtype=torch.float64)
        x = x + (next_t - t) * model(x, told, None)
        torch.testing.assert_close(step.x, x)


RANDOM: dict[str, tuple[Callable[..., object], dict[str, object], float]] = {
    # The sampler, its options, the churn of its course.
    "ddpm": (ddpm, {}, 0.0),
    "ddpm, large": (ddpm, {"variance": "large"}, 0.0),
    "ddim, all fresh": (ddim, {"eta": 1.0}, 0.0),
    "ddim, half fresh": (ddim, {"eta": 0.5}, 0.0),
    "dpm++sde": (dpm_2m_sde, {}, 0.0),
    "euler, churned": (euler, {}, 8.0),
    "heun, churned": (heun, {}, 8.0),
}


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_random_samplers_draw_from_the_bell_curve(schedule: str, name: str):
    """Mean and spread of many pixels, each sampled on its own, in the limit of many steps."""
    sampler, options, churn = RANDOM[name]
    model, fade = best_model(SCHEDULES[schedule], "velocity"), SCHEDULES[schedule]

    def made(steps: int) -> tuple[Tensor, Tensor]:
        x = noise(8000, 1, 1, 1)
        way = churned(course(schedule, steps), fade, churn, highest=50.0)
        drawn = sampler(model, x, way, objective="velocity", generator=seeded(), **options)
        return x, last(drawn).x

    (_, few), (x, many) = made(40), made(160)
    assert abs(few.mean() - MEAN) < 0.02 and abs(many.mean() - MEAN) < 0.015
    # What is missing goes with the steps' length, so from two lengths it is known for none.
    spread = (4 * many.std() - few.std()) / 3 / SPREAD
    assert abs(spread - 1) < 0.04
    # The first noise does not decide on the picture, or not alone.
    together = torch.corrcoef(torch.stack([x.flatten(), many.flatten()]))[0, 1].abs()
    assert together < (0.05 if options.get("eta", 1.0) == 1.0 and not churn else 0.9)


def test_ddim_with_as_much_fresh_noise_as_ddpm_is_ddpm():
    x, way = noise(2, 1, 4, 4), course("cosine", 9)
    model = best_model(SCHEDULES["cosine"], "velocity")
    ways = [
        list(sampler(model, x, way, objective="velocity", generator=seeded(), **options))
        for sampler, options in ((ddpm, {}), (ddim, {"eta": 1.0}))
    ]
    for one, other in zip(*ways, strict=True):
        torch.testing.assert_close(one.x, other.x)


def test_euler_is_ddim_and_the_first_order_of_dpm():
    x, way = noise(2, 1, 4, 4), course("cosine", 9)
    model = best_model(SCHEDULES["cosine"], "velocity")
    paths = [list(s(model, x, way, objective="velocity")) for s in (ddim, euler, dpm_2m)]
    for number, (one, other, third) in enumerate(zip(*paths, strict=True)):
        torch.testing.assert_close(one.x, other.x)
        if number == 0:
            torch.testing.assert_close(one.x, third.x)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


# --- where noise comes from -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ddpm", "dpm++sde"])
def test_the_same_seed_makes_the_same_picture_and_another_another(name: str):
    def made(seed: int) -> Tensor:
        return last(
            SAMPLERS[name](
                best_model(flow, "flow"),
                noise(2, 1, 4, 4),
                course("flow", 6),
                objective="flow",
                generator=torch.Generator().manual_seed(seed),
            )
        ).x

    assert torch.equal(made(1), made(1))
    assert not torch.equal(made(1), made(2))


@pytest.mark.parametrize("name", ["ddpm", "dpm++sde"])
def test_noise_can_come_from_elsewhere_one_source_for_each_picture(name: str):
    """So a picture is the same whatever others are made with it."""

    def made(pictures: list[int]) -> Tensor:
        sources = [torch.Generator().manual_seed(number) for number in pictures]

        def drawn() -> Tensor:
            parts = [torch.randn(1, 4, 4, generator=source).double() for source in sources]
            return torch.stack(parts)

        way = course("flow", 6)
        model = best_model(flow, "flow")
        return last(SAMPLERS[name](model, drawn(), way, objective="flow", generator=drawn)).x

    torch.testing.assert_close(made([5, 6, 7])[1:], made([6, 7]))


def test_the_network_is_told_times_precisely_also_in_half_precision():
    seen: list[Tensor] = []

    def model(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        seen.append(t)
        return torch.zeros_like(x)

    x = noise(2, 1, 4, 4, dtype=torch.bfloat16)
    steps = list(euler(model, x, course("flow", 7), objective="flow"))
    assert {t.dtype for t in seen} == {torch.float32}
    assert torch.stack(seen)[:, 0].tolist() == course("flow", 7).t.float().tolist()
    assert steps[-1].x.dtype == torch.bfloat16


def test_the_condition_reaches_the_network():
    condition = torch.tensor([3, 4])

    def model(x: Tensor, t: Tensor, given: Tensor | None) -> Tensor:
        assert given is condition
        return x

    for sampler in SAMPLERS.values():
        list(
            sampler(
                model, noise(2, 1, 2, 2), course("flow", 3), objective="flow", condition=condition
            )
        )


def test_samplers_remember_nothing_for_a_gradient():
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    way = course("flow", 3)
    for sampler in SAMPLERS.values():
        for step in sampler(lambda x, t, c: x * weight, noise(1, 1, 2, 2), way, objective="flow"):
            assert not step.x.requires_grad
    assert torch.is_grad_enabled()


# --- clipping -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLERS)
def test_clipped_guesses_stay_within_the_bound_and_so_does_the_picture(name: str):
    steps = list(
        SAMPLERS[name](
            lambda x, t, c: 3 * x,
            noise(2, 1, 4, 4),
            course("cosine", 6),
            objective="velocity",
            clip=0.5,
            generator=seeded(),
        )
    )
    assert all(step.x0.abs().max() <= 0.5 for step in steps)
    assert steps[-1].x.abs().max() <= 0.5 + 1e-12


@settings(max_examples=30, deadline=None)
@given(st.floats(0.1, 20), st.floats(0.5, 1.0), st.floats(1, 5))
def test_thresholding_bounds_by_each_pictures_own_pixels(size: float, share: float, most: float):
    pictures = noise(3, 2, 4, 4) * size
    mended = Threshold(share, most)(pictures)
    assert mended.abs().max() <= 1 + 1e-12
    alone = torch.cat([Threshold(share, most)(one[None]) for one in pictures])
    torch.testing.assert_close(mended, alone)
    if pictures.abs().max() <= 1:
        assert torch.equal(mended, pictures)


# --- courses --------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(SCHEDULES)),
    st.integers(1, 60),
    st.sampled_from(sorted(SPACINGS)),
    st.floats(0.2, 8),
)
def test_a_course_leads_from_noise_to_picture_step_by_step(
    schedule: str, steps: int, spacing: str, shift: float
):
    way = course(schedule, steps, spacing=spacing, shift=shift)
    assert len(way) == len(list(way)) == steps
    assert way.t[0] == 1 and way.next_alpha[-1] == 1 and way.next_sigma[-1] == 0
    assert (way.t.diff() < 0).all() and (way.alpha.diff() > 0).all()
    for column, following in ((way.t, way.next_t), (way.alpha, way.next_alpha)):
        assert torch.equal(column[1:], following[:-1])
    alpha, sigma = SCHEDULES[schedule](way.t)
    torch.testing.assert_close(alpha, way.alpha)
    torch.testing.assert_close(sigma, way.sigma)


def test_a_shift_moves_stops_towards_the_noise():
    assert torch.equal(course("flow", 4).t, torch.tensor([1, 0.75, 0.5, 0.25]).double())
    torch.testing.assert_close(
        course("flow", 4, shift=3.0).t, torch.tensor([1, 0.9, 0.75, 0.5]).double()
    )


@pytest.mark.parametrize("spacing", WHOLE_SPACINGS)
@pytest.mark.parametrize("steps", [1, 3, 7, 10, 333, 1000])
def test_a_course_through_betas_goes_from_stop_to_stop_and_has_as_many_as_were_asked_for(
    spacing: str, steps: int
):
    left = kept(linear_betas())
    way = discrete(left, steps, spacing=spacing)
    assert len(way) == steps
    assert torch.equal(way.t, way.t.round()) and (way.t.diff() < 0).all()
    assert way.t.max() <= 999 and way.t.min() >= 0
    torch.testing.assert_close(way.alpha, left[way.t.long()].sqrt())
    assert torch.equal(way.alpha[1:], way.next_alpha[:-1])
    assert way.next_sigma[-1] == 0
    if spacing == "trailing":
        assert way.t[0] == 999


def test_betas_that_leave_nothing_begin_in_pure_noise_and_make_pictures():
    left = kept(zero_terminal_snr(linear_betas()))
    way = discrete(left, 50)
    assert way.alpha[0] == 0 and way.sigma[0] == 1
    x = noise(3, 1, 4, 4)
    model = best_model(lambda t: variance_preserving(left[t.long()]), "velocity")
    for name, sampler in SAMPLERS.items():
        steps = list(sampler(model, x, way, objective="velocity", generator=seeded()))
        assert all(step.x.isfinite().all() for step in steps), name
        if name in ("ddim", "dpm++", "euler", "heun"):
            exact = exactly(x, *first_and_end(way))
            assert (steps[-1].x - exact).abs().max() < 0.1


def test_a_table_of_betas_holds_its_levels_and_goes_straight_between():
    left = kept(linear_betas())
    t = torch.tensor([0.0, 3.0, 3.5, 4.0, 999.0]).double()
    alpha, sigma = table(left)(t)
    whole = torch.tensor([0, 3, 4, 999])
    torch.testing.assert_close(alpha[[0, 1, 3, 4]], left[whole].sqrt())
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(5).double())
    ratio = sigma / alpha
    torch.testing.assert_close(ratio[2], (ratio[1] + ratio[3]) / 2)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_time_of_a_strength_is_found_again(schedule: str):
    t = torch.tensor([1e-6, 0.01, 0.3, 0.99]).double()
    alpha, sigma = SCHEDULES[schedule](t)
    torch.testing.assert_close(time_of(SCHEDULES[schedule], sigma / alpha), t, rtol=1e-9, atol=0)


def test_edms_strengths_go_from_80_to_0():
    way = strengths(18)
    assert len(way) == 18
    torch.testing.assert_close(way.sigma[[0, 17]], torch.tensor([80.0, 0.002]).double())
    assert torch.equal(way.t, way.sigma) and (way.alpha == 1).all()
    assert way.next_sigma[-1] == 0
    x = noise(2, 1, 4, 4)
    assert torch.equal(way.start(x), way.sigma[0] * x)
    model = best_model(edm, "clean")
    found = last(heun(model, way.start(x), way, objective="clean")).x
    exact = exactly(way.start(x), *first_and_end(way))
    assert (found - exact).abs().max() < 0.1


def test_a_churned_course_lifts_stops_within_the_limits_only():
    way = course("flow", 10)
    road = churned(way, flow, 3.0, lowest=0.5, highest=5.0)
    strength = way.sigma / way.alpha
    lifted = (road.sigma / road.alpha) / strength
    inside = (strength >= 0.5) & (strength <= 5.0)
    torch.testing.assert_close(lifted[inside], torch.full_like(lifted[inside], 1.3))
    torch.testing.assert_close(road.sigma[~inside], way.sigma[~inside])
    torch.testing.assert_close(road.t, road.sigma)  # on flow a time is the share of noise
    assert torch.equal(road.next_sigma, way.next_sigma)
    for same in (churned(way, flow, 0.0), churned(way, flow, 3.0, lowest=1e6)):
        assert torch.equal(same.t, way.t) and torch.equal(same.alpha, way.alpha)


def test_a_course_can_be_cut_and_turned():
    way = course("cosine", 5)
    assert torch.equal(way.last(2).t, way.t[3:])
    assert torch.equal(way.last(2).next_sigma, way.next_sigma[3:])
    back = way.backwards()
    assert back.sigma[0] == 0 and back.next_alpha[-1] == way.alpha[0]
    assert torch.equal(back.alpha[1:], back.next_alpha[:-1])
    assert torch.equal(back.t, way.t.flip(0))


# --- what can't be right --------------------------------------------------------------------------

X = torch.zeros(1, 1, 2, 2)
FLOW = course("flow", 4)
WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "no steps": (lambda: course("flow", 0), "in 0 steps"),
    "fewer than none": (lambda: strengths(-3), "in -3 steps"),
    "no betas steps": (lambda: discrete(kept(linear_betas()), 0), "in 0 steps"),
    "more steps than betas": (lambda: discrete(kept(linear_betas()), 1001), "1000 betas"),
    "a schedule": (lambda: course("straight", 3), "flow, cosine, linear"),
    "a spacing": (lambda: course("flow", 3, spacing="leading"), "even, karras"),
    "a spacing of betas": (
        lambda: discrete(kept(linear_betas()), 3, spacing="even"),
        "linspace, leading, trailing",
    ),
    "a shift": (lambda: course("flow", 3, shift=math.nan), "shifted by nan"),
    "no shift": (lambda: course("flow", 3, shift=0.0), "shifted by 0"),
    "strengths": (lambda: strengths(3, smallest=2.0, largest=1.0), "from 1.0 down to 2.0"),
    "a churn": (lambda: churned(FLOW, flow, -1.0), "churn of -1.0"),
    "churn nan": (lambda: churned(FLOW, flow, math.nan), "churn of nan"),
    "churn limits": (lambda: churned(FLOW, flow, 1.0, lowest=3.0, highest=2.0), "lower strength"),
    "the end of a course": (lambda: FLOW.last(5), "no last 5"),
    "an objective": (lambda: last(ddim(same, X, FLOW, objective="score")), "no objective 'score'"),
    "eta": (lambda: last(ddim(same, X, FLOW, objective="flow", eta=1.5)), "eta of 1.5"),
    "eta nan": (lambda: last(dpm_2m(same, X, FLOW, objective="flow", eta=math.nan)), "eta of nan"),
    "a variance": (
        lambda: last(ddpm(same, X, FLOW, objective="flow", variance="middle")),  # type: ignore[arg-type]
        "small, large",
    ),
    "a clip": (lambda: last(heun(same, X, FLOW, objective="flow", clip=0.0)), "clipped to 0"),
    "a clip nan": (lambda: last(euler(same, X, FLOW, objective="flow", clip=math.nan)), "nan"),
    "a share of pixels": (lambda: Threshold(1.5), "between 0 and 1"),
    "a bound": (lambda: Threshold(0.9, 0.5), "at least 1"),
}


def same(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
    return x


@pytest.mark.parametrize("what", WRONG)
def test_wrong_values_are_refused_in_one_line(what: str):
    call, says = WRONG[what]
    with pytest.raises(BadInput, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)
