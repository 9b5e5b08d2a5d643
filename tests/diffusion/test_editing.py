"""Starting from a picture: what is kept, what is lost, and that one gets back."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mmfm.diffusion.course import churned, course, discrete
from mmfm.diffusion.editing import from_picture, inpaint, invert, slerp
from mmfm.diffusion.samplers import SAMPLERS, Threshold, ddim, euler
from mmfm.diffusion.schedules import SCHEDULES, Level, add_noise, kept, linear_betas
from mmfm.errors import BadInput


def numbers(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def network() -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    """A few random numbers that change smoothly with picture and time."""
    torch.manual_seed(0)
    look = nn.Conv2d(1, 6, 3, padding=1).double().requires_grad_(False)
    answer = nn.Conv2d(6, 1, 3, padding=1).double().requires_grad_(False)

    def model(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        return answer(torch.tanh(look(x) + t.to(x)[:, None, None, None]))

    return model


PICTURE = numbers(2, 1, 8, 8, seed=4).clamp(-1, 1)
HIDDEN = torch.zeros(8, 8, dtype=torch.bool)
HIDDEN[2:6, 3:7] = True


# --- inpainting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("clip", [None, 0.7, Threshold(0.9, 2.0)])
def test_the_known_part_is_the_known_picture_in_the_end(
    name: str, schedule: str, clip: float | Threshold | None
):
    x = numbers(2, 1, 8, 8)
    steps = list(
        inpaint(
            SAMPLERS[name],
            network(),
            x,
            course(schedule, 9),
            picture=PICTURE,
            hidden=HIDDEN,
            objective="velocity",
            clip=clip,
            generator=seeded(),
        )
    )
    made = steps[-1].x
    torch.testing.assert_close(made[..., ~HIDDEN], PICTURE[..., ~HIDDEN])
    assert (made[..., HIDDEN] - PICTURE[..., HIDDEN]).abs().max() > 0.1
    for step in steps:
        assert torch.equal(step.x0[..., ~HIDDEN], PICTURE[..., ~HIDDEN])


@pytest.mark.parametrize("name", ["ddim", "euler", "heun", "dpm++"])
def test_on_the_way_the_known_part_is_the_known_picture_under_its_noise(name: str):
    x, way = numbers(2, 1, 8, 8), course("flow", 7)
    steps = inpaint(
        SAMPLERS[name], network(), x, way, picture=PICTURE, hidden=HIDDEN, objective="flow"
    )
    for step, stop in zip(steps, way, strict=True):
        noisy = add_noise(PICTURE, x, stop.there)
        torch.testing.assert_close(step.x[..., ~HIDDEN], noisy[..., ~HIDDEN])


def test_with_fresh_noise_the_known_part_is_as_noisy_as_the_rest():
    """Mean and spread of many pixels around the known picture, at every level."""
    picture = torch.full((400, 1, 8, 8), 0.5, dtype=torch.float64)
    x, way = numbers(400, 1, 8, 8), course("cosine", 6)
    for sampler, road in (
        (SAMPLERS["ddpm"], way),
        (SAMPLERS["dpm++sde"], way),
        (euler, churned(way, SCHEDULES["cosine"], 2.0, highest=50.0)),
    ):
        steps = inpaint(
            sampler,
            network(),
            x,
            road,
            picture=picture,
            hidden=HIDDEN,
            objective="velocity",
            generator=seeded(),
        )
        for step, stop in zip(steps, road, strict=True):
            rest = step.x[..., ~HIDDEN] - stop.there.alpha * 0.5
            assert abs(rest.mean()) < 0.03
            assert abs(rest.std() - stop.there.sigma) < 0.03


def test_the_hidden_part_does_not_depend_on_what_was_below_it():
    def made(picture: Tensor) -> Tensor:
        steps = inpaint(
            ddim,
            network(),
            numbers(2, 1, 8, 8),
            course("flow", 5),
            picture=picture,
            hidden=HIDDEN,
            objective="flow",
        )
        *_, step = steps
        return step.x

    other = torch.where(HIDDEN, torch.full_like(PICTURE, 9.0), PICTURE)
    assert torch.equal(made(PICTURE), made(other))


# --- from a picture -------------------------------------------------------------------------------


def test_little_strength_keeps_the_picture_and_all_of_it_keeps_nothing():
    def made(picture: Tensor, strength: float) -> Tensor:
        steps = from_picture(
            ddim,
            network(),
            picture,
            course("flow", 20),
            strength=strength,
            objective="flow",
            generator=seeded(),
        )
        *_, step = steps
        return step.x

    changes = [(made(PICTURE, s) - PICTURE).abs().mean() for s in (0.05, 0.3, 0.6, 1.0)]
    assert changes == sorted(changes) and changes[0] < 0.1
    assert torch.equal(made(PICTURE, 1.0), made(-PICTURE, 1.0))
    assert not torch.equal(made(PICTURE, 0.95), made(-PICTURE, 0.95))


@pytest.mark.parametrize("name", SAMPLERS)
def test_it_takes_the_last_steps_from_the_picture_under_noise(name: str):
    way, drawn = course("cosine", 10), seeded()
    steps = list(
        from_picture(
            SAMPLERS[name],
            network(),
            PICTURE,
            way,
            strength=0.4,
            objective="velocity",
            generator=seeded(),
        )
    )
    assert [step.t for step in steps] == way.t[-4:].tolist()
    first = torch.randn(PICTURE.shape, generator=drawn, dtype=torch.float64)
    x = add_noise(PICTURE, first, Level(way.alpha[6], way.sigma[6]))
    by_hand = SAMPLERS[name](network(), x, way.last(4), objective="velocity", generator=drawn)
    for step, same in zip(steps, by_hand, strict=True):
        assert torch.equal(step.x, same.x)


# --- to noise and back ----------------------------------------------------------------------------


def there_and_back(
    steps: int, refinements: int, schedule: str = "flow", objective: str = "flow"
) -> float:
    way = course(schedule, steps)
    *_, found = invert(network(), PICTURE, way, objective=objective, refinements=refinements)
    assert found.x.isfinite().all()
    *_, back = ddim(network(), found.x, way, objective=objective)
    return (back.x - PICTURE).abs().max().item()


def test_the_way_to_the_noise_leads_back_the_better_the_more_steps():
    few, many = there_and_back(10, 0), there_and_back(160, 0)
    assert many < few / 8 and many < 0.02


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("objective", ["velocity", "flow", "noise"])
def test_with_refinements_it_leads_back_exactly(schedule: str, objective: str):
    plain, refined = (there_and_back(20, n, schedule, objective) for n in (0, 30))
    assert refined < 1e-6 < plain


def test_a_network_that_guesses_pictures_can_be_inverted_above_no_noise():
    way = discrete(kept(linear_betas()), 20)
    above = type(way)(*(column[:-1] for column in vars(way).values()))  # without the last step
    model = network()
    *_, found = invert(model, PICTURE, above, objective="clean", refinements=60)
    *_, back = ddim(model, found.x, above, objective="clean")
    torch.testing.assert_close(back.x, PICTURE, atol=1e-5, rtol=0)


# --- between two noises ---------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1))
def test_on_the_arc_noise_stays_noise(share: float):
    a, b = numbers(2, 1, 32, 32, seed=1), numbers(2, 1, 32, 32, seed=2)
    middle = slerp(a, b, share)
    assert ((middle.flatten(1).std(dim=1) - 1).abs() < 0.1).all()
    torch.testing.assert_close(middle, slerp(b, a, 1 - share), atol=1e-5, rtol=0)


def test_the_arc_begins_and_ends_at_its_ends_and_moves_evenly():
    a, b = numbers(2, 1, 8, 8, seed=1), numbers(2, 1, 8, 8, seed=2)
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    each = slerp(a, b, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(each, torch.stack([a[0], b[1]]))
    a, b = (part / part.flatten(1).norm(dim=1)[:, None, None, None] for part in (a, b))
    stops = [slerp(a, b, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    angles = [(one * other).flatten(1).sum(dim=1).arccos() for one, other in pairwise(stops)]
    for angle in angles[1:]:
        torch.testing.assert_close(angle, angles[0])


def test_between_the_same_noise_there_is_only_that_noise():
    a = numbers(2, 1, 8, 8).float()
    torch.testing.assert_close(slerp(a, a, 0.3), a)
    assert slerp(a, -a, 0.3).isfinite().all()


# --- what can't be right --------------------------------------------------------------------------


def painted(picture: Tensor, hidden: Tensor) -> object:
    return inpaint(
        ddim,
        network(),
        numbers(2, 1, 8, 8),
        course("flow", 3),
        picture=picture,
        hidden=hidden,
        objective="flow",
    )


def redrawn(strength: float) -> object:
    return from_picture(
        ddim, network(), PICTURE, course("flow", 3), strength=strength, objective="flow"
    )


def inverted(**options: object) -> object:
    settings: dict[str, object] = {"objective": "flow"} | options
    return list(invert(network(), PICTURE, course("flow", 3), **settings))  # type: ignore[arg-type]


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "a mask of numbers": (lambda: painted(PICTURE, HIDDEN.float()), "True and False"),
    "a mask of another size": (lambda: painted(PICTURE, HIDDEN[:4]), r"hidden of shape \(4, 8\)"),
    "a picture of another size": (lambda: painted(PICTURE[..., :4], HIDDEN), "known picture"),
    "more pictures": (lambda: painted(PICTURE.repeat(2, 1, 1, 1), HIDDEN), "known picture"),
    "no strength": (lambda: redrawn(0.0), "strength of 0.0"),
    "too much strength": (lambda: redrawn(1.1), "strength of 1.1"),
    "strength nan": (lambda: redrawn(math.nan), "strength of nan"),
    "refinements": (lambda: inverted(refinements=-1), "-1 times"),
    "the noise of a clean picture": (lambda: inverted(objective="clean"), "can't tell the noise"),
    "two shapes": (lambda: slerp(PICTURE, PICTURE[:1], 0.5), "can't be blended"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_values_are_refused_in_one_line(what: str):
    call, says = WRONG[what]
    with pytest.raises(BadInput, match=says) as caught:
        call()
    assert "\n" not in str(caught.value)
