"""What a network is asked for: four questions with one answer, and equal to diffusers'."""

import itertools
from typing import get_args

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
)
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor, nn

from mmfm.diffusion.objectives import (
    Objective,
    emphasis,
    guess,
    importance,
    loss,
    restated,
    target,
)
from mmfm.diffusion.schedules import (
    SCHEDULES,
    WEIGHTS,
    Level,
    add_noise,
    cosine,
    edm,
    flow,
    kept,
    linear_betas,
    snr,
    variance_preserving,
)
from mmfm.errors import BadInput

OBJECTIVES: tuple[str, ...] = get_args(Objective)
THEIRS = {"noise": "epsilon", "clean": "sample", "velocity": "v_prediction"}

objectives = st.sampled_from(OBJECTIVES)
seeds = st.integers(0, 1000)
# Any mixture of both, of any scale: those of all schedules and more.
levels = st.builds(
    lambda t, size: Level(*(size * part for part in cosine(torch.tensor(t).double()))),
    t=st.floats(0.01, 0.99),
    size=st.floats(0.1, 10),
)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def picture_and_noise(seed: int = 0, b: int = 2) -> tuple[Tensor, Tensor]:
    return numbers(b, 1, 4, 4, seed=seed).clamp(-1, 1), numbers(b, 1, 4, 4, seed=seed + 1)


def assert_same(ours: Tensor, theirs: Tensor, atol: float = 1e-10) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=atol)


# --- one answer to four questions -----------------------------------------------------------------


@given(objective=objectives, level=levels, seed=seeds)
def test_the_right_answer_gives_back_picture_and_noise(objective: str, level: Level, seed: int):
    picture, noise = picture_and_noise(seed)
    x = add_noise(picture, noise, level)
    found = guess(objective, target(objective, picture, noise, level), x, level)
    assert_same(found.picture, picture)
    assert_same(found.noise, noise)


@given(objective=objectives, level=levels, seed=seeds)
def test_a_wrong_answer_too_speaks_of_a_picture_and_a_noise_that_make_up_x(
    objective: str, level: Level, seed: int
):
    x, answer = numbers(2, 1, 4, 4, seed=seed), numbers(2, 1, 4, 4, seed=seed + 1)
    found = guess(objective, answer, x, level)
    assert_same(add_noise(found.picture, found.noise, level), x)
    assert_same(target(objective, found.picture, found.noise, level), answer)


@given(old=objectives, new=objectives, level=levels, seed=seeds)
def test_an_answer_restated_and_back_is_the_same_answer(
    old: str, new: str, level: Level, seed: int
):
    x, answer = numbers(2, 1, 4, 4, seed=seed), numbers(2, 1, 4, 4, seed=seed + 1)
    there = restated(answer, x, level, old=old, new=new)
    assert_same(restated(there, x, level, old=new, new=old), answer, atol=1e-8)
    for ours, theirs in zip(guess(new, there, x, level), guess(old, answer, x, level), strict=True):
        assert_same(ours, theirs, atol=1e-8)


@given(old=objectives, new=objectives, level=levels, seed=seeds)
def test_the_right_answer_restated_is_the_right_answer(old: str, new: str, level: Level, seed: int):
    picture, noise = picture_and_noise(seed)
    x = add_noise(picture, noise, level)
    answer = restated(target(old, picture, noise, level), x, level, old=old, new=new)
    assert_same(answer, target(new, picture, noise, level))


def test_restating_an_answer_to_the_same_question_changes_nothing_at_the_ends_either():
    answer, x = numbers(2, 1, 4, 4), numbers(2, 1, 4, 4, seed=1)
    for objective, t in itertools.product(OBJECTIVES, [0.0, 1.0]):
        level = flow(torch.tensor(t).double())
        assert torch.equal(restated(answer, x, level, old=objective, new=objective), answer)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("objective", ["velocity", "flow"])
def test_velocity_and_flow_tell_picture_and_noise_at_both_ends(objective: str, schedule):
    picture, noise = picture_and_noise()
    level = schedule(torch.tensor([0.0, 1.0]).double())
    x = add_noise(picture, noise, level)
    found = guess(objective, target(objective, picture, noise, level), x, level)
    assert_same(found.picture, picture)
    assert_same(found.noise, noise)


def test_noise_says_nothing_of_the_picture_in_noise_and_the_picture_nothing_of_noise_in_itself():
    picture, noise = picture_and_noise()
    start, end = (flow(torch.tensor(t).double()) for t in (0.0, 1.0))
    assert_same(guess("noise", noise, picture, start).picture, picture)
    assert_same(guess("clean", picture, noise, end).noise, noise)
    assert not guess("noise", noise, noise, end).picture.isfinite().any()
    assert not guess("clean", picture, picture, start).noise.isfinite().any()


@given(objective=objectives, size=st.floats(0.01, 100), seed=seeds)
def test_the_guess_does_not_depend_on_the_scale_of_x(objective: str, size: float, seed: int):
    level = cosine(torch.tensor(0.3).double())
    larger = Level(size * level.alpha, size * level.sigma)
    x, answer = numbers(2, 1, 4, 4, seed=seed), numbers(2, 1, 4, 4, seed=seed + 1)
    for ours, theirs in zip(
        guess(objective, answer, size * x, larger), guess(objective, answer, x, level), strict=True
    ):
        assert_same(ours, theirs)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_picture_is_judged_by_its_own_level(objective: str):
    answer, x = numbers(3, 1, 4, 4), numbers(3, 1, 4, 4, seed=1)
    t = torch.tensor([0.1, 0.5, 0.9]).double()
    found = guess(objective, answer, x, cosine(t))
    for number in range(3):
        alone = guess(objective, answer[number], x[number], cosine(t[number]))
        assert torch.equal(found.picture[number], alone.picture)
        assert torch.equal(found.noise[number], alone.noise)


def test_flow_is_the_speed_of_the_flow_schedule_and_velocity_that_of_the_cosine():
    picture, noise = picture_and_noise(b=1)
    for t in (0.0, 0.2, 0.7, 1.0):
        time = torch.tensor(t).double()
        for schedule, objective, factor in [
            (flow, "flow", 1.0),
            (cosine, "velocity", torch.pi / 2),
        ]:
            _, speed = torch.func.jvp(
                lambda now, schedule=schedule: add_noise(picture, noise, schedule(now)),
                (time,),
                (torch.ones_like(time),),
            )
            assert_same(speed, factor * target(objective, picture, noise, schedule(time)))


# --- as diffusers has it --------------------------------------------------------------------------


def test_velocity_equals_diffusers():
    scheduler = DDPMScheduler()
    scheduler.alphas_cumprod = kept(linear_betas())
    steps = torch.tensor([0, 300, 999])
    picture, noise = picture_and_noise(b=3)
    level = variance_preserving(scheduler.alphas_cumprod[steps])
    theirs = scheduler.get_velocity(picture, noise, steps)
    assert_same(target("velocity", picture, noise, level), theirs, atol=1e-12)


@pytest.mark.parametrize("objective", THEIRS)
def test_the_guessed_picture_equals_diffusers(objective: str):
    scheduler = DDIMScheduler(prediction_type=THEIRS[objective], clip_sample=False)
    scheduler.alphas_cumprod = kept(linear_betas())
    scheduler.set_timesteps(1000)
    answer, x = numbers(2, 1, 4, 4), numbers(2, 1, 4, 4, seed=1)
    for step in (0, 1, 500, 999):
        theirs = scheduler.step(answer, step, x)
        level = variance_preserving(scheduler.alphas_cumprod[step])
        found = guess(objective, answer, x, level)
        assert_same(found.picture, theirs.pred_original_sample)
        # DDIM's step leads to the level before, by way of the guessed noise.
        before = scheduler.alphas_cumprod[step - 1] if step else torch.tensor(1.0).double()
        assert_same(add_noise(*found, variance_preserving(before)), theirs.prev_sample)


@pytest.mark.parametrize("objective", THEIRS)
def test_the_guessed_picture_under_unscaled_noise_equals_diffusers(objective: str):
    scheduler = EulerDiscreteScheduler(prediction_type=THEIRS[objective])
    scheduler.set_timesteps(10)
    answer, x = numbers(2, 1, 4, 4), numbers(2, 1, 4, 4, seed=1)
    for sigma, step in zip(scheduler.sigmas, scheduler.timesteps, strict=False):
        theirs = scheduler.step(answer.float(), step, x.float()).pred_original_sample
        ours = guess(objective, answer, x, edm(sigma.double())).picture
        largest = max(1.0, float(ours.abs().max()))
        torch.testing.assert_close(ours, theirs.double(), rtol=0, atol=1e-6 * largest)


# --- the loss -------------------------------------------------------------------------------------


class Remembers(nn.Module):
    """A network that says what it was told to say, and keeps what it was asked."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = nn.Parameter(answer)
        self.asked: list[Tensor | None] = []

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        self.asked = [x, t, condition]
        return self.answer


TIMES = torch.tensor([0.05, 0.3, 0.6, 0.95], dtype=torch.float64)


def loss_of_the_guess(
    guessed: Tensor, objective: str, schedule: str = "flow", weight: str = "none"
) -> Tensor:
    """The loss of a network that sees this picture in x, whatever it is asked."""
    picture, noise = picture_and_noise(b=4)
    level = SCHEDULES[schedule](TIMES)
    x = add_noise(picture, noise, level)
    answer = restated(guessed, x, level, old="clean", new=objective)
    kinds = {"objective": objective, "schedule": schedule, "weight": weight}
    return loss(Remembers(answer), picture, noise, TIMES, None, **kinds)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_who_is_right_loses_nothing(objective: str, schedule: str, weight: str):
    picture, _ = picture_and_noise(b=4)
    assert loss_of_the_guess(picture, objective, schedule, weight) < 1e-20


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_plain_loss_is_the_mean_squared_error_of_the_answer(objective: str, schedule: str):
    picture, noise = picture_and_noise(b=4)
    answer = numbers(4, 1, 4, 4, seed=9)
    kinds = {"objective": objective, "schedule": schedule, "weight": "none"}
    ours = loss(Remembers(answer), picture, noise, TIMES, None, **kinds)
    expected = target(objective, picture, noise, SCHEDULES[schedule](TIMES))
    assert_same(ours, nn.functional.mse_loss(answer, expected))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_a_mistake_in_the_picture_costs_depends_on_what_was_asked(objective: str):
    picture, _ = picture_and_noise(b=4)
    mistake = numbers(4, 1, 4, 4, seed=9)
    costs = emphasis(objective, flow(TIMES)) * mistake.square().mean(dim=(1, 2, 3))
    assert_same(loss_of_the_guess(picture + mistake, objective), costs.mean())


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("weight", ["min-snr", "edm"])
def test_with_a_weight_the_same_guess_loses_the_same_whatever_was_asked(weight: str, schedule: str):
    picture, _ = picture_and_noise(b=4)
    mistake = numbers(4, 1, 4, 4, seed=9)
    price = WEIGHTS[weight]
    assert price is not None
    expected = price(SCHEDULES[schedule](TIMES)) * mistake.square().mean(dim=(1, 2, 3))
    for objective in OBJECTIVES:
        ours = loss_of_the_guess(picture + mistake, objective, schedule, weight)
        assert_same(ours, expected.mean())


@given(level=levels)
def test_min_snr_multiplies_by_what_its_paper_says(level: Level):
    ratio = snr(level)
    capped = ratio.clamp(max=5)
    assert_same(importance("min-snr", "clean", level), capped)
    assert_same(importance("min-snr", "noise", level), capped / ratio)
    assert_same(importance("min-snr", "velocity", level), capped / (ratio + 1))


@given(sigma=st.floats(0.002, 80))
def test_edms_weight_undoes_the_scale_of_edms_network(sigma: float):
    # Their network's answer is multiplied by c_out; the weight makes every level count the same.
    scheduler = EDMEulerScheduler()
    strength = torch.tensor(sigma, dtype=torch.float64)
    nothing, one = torch.zeros(1).double(), torch.ones(1).double()
    c_out = scheduler.precondition_outputs(nothing, one, strength)
    assert_same(importance("edm", "clean", edm(strength)) * c_out**2, one)


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_importance_is_finite_at_both_ends(objective: str, weight: str, schedule):
    ends = importance(weight, objective, schedule(torch.tensor([0.0, 1.0])))
    assert ends.isfinite().all() and (ends >= 0).all()
    if weight != "edm":
        assert (ends <= 5.001).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_min_snr_at_the_ends_is_its_limit(objective: str):
    ends = importance("min-snr", objective, flow(torch.tensor([0.0, 1.0]).double()))
    limits = {"noise": [0.0, 1.0], "clean": [5.0, 0.0], "velocity": [0.0, 0.0], "flow": [0.0, 0.0]}
    torch.testing.assert_close(ends, torch.tensor(limits[objective]).double(), rtol=0, atol=1e-6)


def test_the_model_is_shown_the_noisy_pictures_the_times_and_the_condition():
    picture, noise = picture_and_noise(b=4)
    condition = torch.tensor([3, 1, 4, 1])
    model = Remembers(numbers(4, 1, 4, 4))
    loss(model, picture, noise, TIMES, condition, objective="flow", schedule="cosine")
    x, t, asked = model.asked
    assert_same(x, add_noise(picture, noise, cosine(TIMES)))
    assert t is TIMES and asked is condition


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_following_the_gradient_leads_to_the_right_answer(objective: str, weight: str):
    picture, noise = picture_and_noise(b=4)
    kinds = {"objective": objective, "schedule": "flow", "weight": weight}
    expected = target(objective, picture, noise, flow(TIMES))
    model = Remembers(expected + 0.1 * numbers(4, 1, 4, 4, seed=9))
    loss(model, picture, noise, TIMES, None, **kinds).backward()
    assert model.answer.grad is not None
    away = model.answer.grad * (model.answer - expected)
    assert (away.sum(dim=(1, 2, 3)) > 0).all()


def test_pictures_of_single_precision_are_learned_in_single_precision_whatever_times_are():
    picture, noise = (part.float() for part in picture_and_noise(b=4))
    model = Remembers(torch.zeros(4, 1, 4, 4))
    for weight in WEIGHTS:
        value = loss(
            model, picture, noise, TIMES, None, objective="flow", schedule="flow", weight=weight
        )
        assert value.dtype == torch.float32


# --- names ----------------------------------------------------------------------------------------


def test_names_that_are_not_there_are_refused_with_those_that_are():
    picture, noise = picture_and_noise(b=4)
    model = Remembers(picture)
    level = flow(TIMES)
    known = r"'epsilon'; there are noise, clean, velocity, flow$"
    with pytest.raises(BadInput, match=rf"^no objective {known}"):
        target("epsilon", picture, noise, level)
    with pytest.raises(BadInput, match=rf"^no objective {known}"):
        guess("epsilon", noise, picture, level)
    with pytest.raises(BadInput, match=rf"^no objective {known}"):
        emphasis("epsilon", level)
    with pytest.raises(BadInput, match=r"^no schedule 'vp'; there are flow, cosine, linear$"):
        loss(model, picture, noise, TIMES, None, objective="flow", schedule="vp")
    with pytest.raises(BadInput, match=r"^no loss weight 'snr'; there are none, min-snr, edm$"):
        loss(model, picture, noise, TIMES, None, objective="flow", schedule="flow", weight="snr")
