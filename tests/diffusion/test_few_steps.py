"""What a student is taught, where the right answer is known: pixels drawn from a bell curve.

There a pixel stands at every time as many spreads from the mean. So the way
from one time to another is known exactly, and a network that says it, `jumper`, has nothing more to
learn: whatever method is asked must say the same.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mmfm.diffusion.course import course
from mmfm.diffusion.few_steps import (
    by_way_of_pictures,
    cell,
    consistency,
    cost,
    landed,
    mean_flow,
    mean_way,
    shortcut,
    stretches,
)
from mmfm.diffusion.samplers import euler, jump
from mmfm.models.denoiser import Denoiser, DenoiserConfig

MEAN, SPREAD = 0.4, 0.3
SMALL: dict[str, dict[str, Any]] = {
    "unet": {"widths": (8, 16), "depths": (1, 1), "attention": (1,), "groups": 4, "head_dim": 8},
    "dit": {"kind": "dit", "patch": 2, "dim": 16, "depth": 2, "head_dim": 8, "mlp": 2},
}


def each(t: Tensor) -> Tensor:
    return t[:, None, None, None]


def spread(t: Tensor) -> Tensor:
    return ((SPREAD * (1 - t)) ** 2 + t**2).sqrt()


def placed(x: Tensor, t: Tensor, to: Tensor) -> Tensor:
    """Where x at time t is at another time."""
    ranks = (x - (1 - each(t)) * MEAN) / each(spread(t))
    return (1 - each(to)) * MEAN + ranks * each(spread(to))


def direction(x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
    """What a perfect denoiser says: noise - picture, as far as x tells."""
    rank = (x - (1 - each(t)) * MEAN) / each(spread(t))
    slope = (t - SPREAD**2 * (1 - t)) / spread(t)
    return -MEAN + rank * each(slope)


def jumper(x: Tensor, t: Tensor, condition: Tensor | None, to: Tensor | None = None) -> Tensor:
    """What a perfect student says."""
    if to is None:
        return direction(x, t)
    to = to.expand(len(x)).to(t)
    length = torch.where(t == to, torch.ones_like(t), t - to)
    mean = (x - placed(x, t, to)) / each(length)
    return torch.where(each(t == to), direction(x, t), mean)


def unaware(x: Tensor, t: Tensor, condition: Tensor | None, to: Tensor) -> Tensor:
    return direction(x, t)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def question() -> tuple[Tensor, Tensor, Tensor]:
    t = torch.tensor([1.0, 0.9, 0.75, 0.5, 0.25], dtype=torch.float64)
    to = torch.tensor([0.0, 0.2, 0.25, 0.0, 0.125], dtype=torch.float64)
    return placed(numbers(5, 1, 4, 4), torch.ones(5).double(), t), t, to


def assert_same(one: Tensor, other: Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=atol)


# --- whoever knows the answer is told the same ----------------------------------------------------


def test_the_perfect_student_is_perfect():
    x, t, to = question()
    assert_same(landed(x, jumper(x, t, None, to), t, to), placed(x, t, to))
    nearly = jumper(x, t, None, t - 1e-6)
    assert_same(nearly, direction(x, t), atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_in_however_many_jumps_the_mean_way_is_the_same(steps: int):
    x, t, to = question()
    assert_same(mean_way(jumper, x, t, to, None, steps=steps), jumper(x, t, None, to))


def test_small_steps_of_a_teacher_come_to_the_mean_way_the_nearer_the_smaller_they_are():
    x, t, to = question()
    few, many = (
        (mean_way(unaware, x, t, to, None, steps=steps) - jumper(x, t, None, to)).abs().max()
        for steps in (32, 128)
    )
    assert 3.5 < few / many < 4.5 and many < 0.02


def test_two_halves_make_a_shortcut():
    x, t, to = question()
    assert_same(shortcut(jumper, x, t, to, None, smallest=1e-9), jumper(x, t, None, to))


def test_halves_as_short_as_the_smallest_step_are_asked_for_as_directions():
    t = torch.tensor([1.0, 0.5, 0.25])
    to = torch.tensor([0.0, 0.25, 0.125])
    asked: list[tuple[Tensor, Tensor]] = []

    def student(x: Tensor, t: Tensor, condition: Tensor | None, to: Tensor) -> Tensor:
        asked.append((t, to))
        return torch.zeros_like(x)

    shortcut(student, torch.zeros(3, 1, 2, 2), t, to, None, smallest=0.125)
    (first, first_to), (second, second_to) = asked
    assert first.tolist() == [1, 0.5, 0.25] and second.tolist() == [0.5, 0.375, 0.1875]
    assert first_to.tolist() == [0.5, 0.5, 0.25] and second_to.tolist() == [0, 0.375, 0.1875]


def test_the_mean_flow_identity_holds_for_the_perfect_student():
    x, t, to = question()
    found = mean_flow(jumper, direction(x, t), x, t, to, None)
    assert_same(found, jumper(x, t, None, to), atol=1e-10)


def test_mean_flow_of_a_way_without_length_is_the_direction():
    x, t, _ = question()
    assert_same(mean_flow(unaware, direction(x, t), x, t, t, None), direction(x, t))


def test_a_consistency_step_errs_by_a_quarter_with_half_the_step():
    x, t, _ = question()

    def student(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        return jumper(x, t, condition, torch.zeros_like(t))

    def missed(step: float) -> Tensor:
        way = consistency(student, direction, x, t, t - step, None)
        return (way - student(x, t, None)).abs().max()

    assert 3.5 < missed(0.02) / missed(0.01) < 4.5 and missed(0.01) < 0.01


def test_at_time_zero_the_picture_is_what_is_there_whatever_the_student_says():
    x, t, _ = question()
    way = consistency(lambda x, t, c: 1e3 * x, direction, x, t, torch.zeros_like(t), None)
    assert_same(way, direction(x, t))


def test_no_gradient_goes_through_what_is_right():
    x, t, to = question()
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)

    def student(x: Tensor, t: Tensor, condition: Tensor | None, to: Tensor | None = None) -> Tensor:
        return scale * jumper(x, t, condition, to)

    for way in (
        mean_way(student, x, t, to, None, steps=2),
        shortcut(student, x, t, to, None, smallest=0.01),
        mean_flow(student, direction(x, t), x, t, to, None),
        consistency(student, direction, x, t, to, None),
    ):
        assert not way.requires_grad


# --- networks -------------------------------------------------------------------------------------


def network(small: dict[str, Any], jumps: str = "anywhere") -> Denoiser:
    settings = {"image_size": 8, "classes": 3, "embed": 16, **small, "jumps": jumps}
    model = Denoiser(DenoiserConfig(**settings)).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator).double())
    return model


@pytest.mark.parametrize("kind", SMALL)
def test_how_a_network_changes_along_the_way_is_what_differences_say(kind: str):
    model = network(SMALL[kind])
    x, v = numbers(4, 1, 8, 8), numbers(4, 1, 8, 8, seed=2)
    t = torch.tensor([0.9, 0.6, 0.5, 0.3], dtype=torch.float64)
    to = torch.tensor([0.0, 0.1, 0.5, 0.2], dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3])
    h = 1e-6
    with torch.no_grad():
        ahead = model(x + h * v, t + h, labels, to)
        behind = model(x - h * v, t - h, labels, to)
        # The waves of a time are as short as thousandths of it: so the change is large, and rough.
        wanted = v - each(t - to) * (ahead - behind) / (2 * h)
    found = mean_flow(model, v, x, t, to, labels)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert (found[2] - v[2]).abs().max() < 1e-12


@pytest.mark.parametrize("kind", SMALL)
def test_mean_flow_is_found_in_half_precision_too(kind: str):
    model = network(SMALL[kind]).float()
    x, v = numbers(4, 1, 8, 8).float(), numbers(4, 1, 8, 8, seed=2).float()
    t, to = torch.tensor([0.9, 0.6, 0.5, 0.3]), torch.tensor([0.8, 0.5, 0.5, 0.2])
    labels = torch.tensor([0, 1, 2, 3])
    exact = mean_flow(model, v, x, t, to, labels)
    with torch.autocast("cpu", torch.bfloat16):
        rough = mean_flow(model, v, x, t, to, labels)
    similar = torch.nn.functional.cosine_similarity(exact.flatten(), rough.flatten().float(), dim=0)
    assert similar > 0.99


# --- what is minimised, and where -----------------------------------------------------------------


def test_cost_is_the_squared_error_and_grows_plainly_beyond_the_huber():
    right = numbers(6, 1, 4, 4)
    wrong = right + 0.1 * numbers(6, 1, 4, 4, seed=1)
    assert_same(cost(wrong, right, 0.0), (wrong - right).square().mean())
    far = right + 100 * (wrong - right)
    lengths = (far - right).square().mean(dim=(1, 2, 3)).sqrt()
    assert_same(cost(far, right, 0.01), lengths.mean() - 0.01, atol=1e-4)
    near = right + 1e-4 * (wrong - right)
    squared = (near - right).square().mean() / (2 * 0.01)
    assert abs(cost(near, right, 0.01) / squared - 1) < 1e-3
    assert cost(right, right, 0.01) == 0


@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_cell_is_one_of_equal_parts_and_all_come_alike(count: int):
    draw = torch.rand(4000, generator=torch.Generator().manual_seed(0))
    end, start = cell(draw, count)
    assert ((start <= draw) & (draw <= end)).all()
    assert start.min() == 0 and end.max() == 1
    torch.testing.assert_close(end - start, torch.full_like(end, 1 / count))
    shares = torch.stack([(start == place).float().mean() for place in start.unique()])
    assert len(shares) == count and (shares - 1 / count).abs().max() < 0.03
    assert [float(one) for one in cell(torch.ones(1), count)] == [1, pytest.approx(1 - 1 / count)]


def test_cells_may_differ_from_one_to_the_next():
    end, start = cell(torch.tensor([0.3, 0.3, 0.99]), torch.tensor([1, 2, 4]))
    assert end.tolist() == [1, 0.5, 1] and start.tolist() == [0, 0, 0.75]


def test_stretches_lead_from_noise_to_picture_in_so_many_jumps():
    assert stretches([1], 8) == [(0, 8)]
    assert stretches([2, 4], 8) == [(0, 4), (4, 8), (0, 2), (2, 4), (4, 6), (6, 8)]


# --- drawing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_jumps_of_the_perfect_student_arrive_however_many_they_are(steps: int):
    noise = numbers(3, 1, 4, 4)
    one, zero = torch.ones(3).double(), torch.zeros(3).double()
    shown = list(jump(jumper, noise, course("flow", steps), objective="flow"))
    assert len(shown) == steps
    assert_same(shown[-1].x, placed(noise, one, zero))
    assert_same(shown[-1].x0, shown[-1].x)


def test_a_jump_is_told_where_it_leads_and_its_picture_may_be_mended():
    told: list[tuple[float, float]] = []

    def model(x: Tensor, t: Tensor, condition: Tensor | None, to: Tensor | None = None) -> Tensor:
        assert to is not None and condition is labels
        told.append((float(t[0]), float(to)))
        return jumper(x, t, condition, to)

    labels = torch.tensor([1, 2, 3])
    noise = numbers(3, 1, 4, 4)
    steps = list(
        jump(model, noise, course("flow", 4), objective="flow", condition=labels, clip=0.5)
    )
    assert told == [(1, 0.75), (0.75, 0.5), (0.5, 0.25), (0.25, 0)]
    assert [step.t for step in steps] == [1, 0.75, 0.5, 0.25]
    assert all(step.x0.abs().max() <= 0.5 for step in steps)


def test_by_way_of_pictures_is_consistency_sampling():
    """Algorithm 1 of Song et al. 2023, written out."""
    noise = numbers(3, 1, 4, 4)
    fresh = [numbers(3, 1, 4, 4, seed=seed) for seed in (1, 2)]

    def student(x: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        return (x - torch.tanh(x * each(t))) / each(t)  # its picture is tanh(t x)

    way = by_way_of_pictures(course("flow", 3))
    source = iter(fresh)
    steps = list(euler(student, noise, way, objective="flow", generator=lambda: next(source)))
    picture = torch.tanh(noise)
    assert_same(steps[0].x, picture)
    for step, drawn, t in zip(steps[1:], fresh, (2 / 3, 1 / 3), strict=True):
        picture = torch.tanh(t * ((1 - t) * picture + t * drawn))
        assert_same(step.x, picture)


def test_a_student_that_begins_as_its_teacher_jumps_as_euler_walks():
    teacher = network(SMALL["unet"], jumps="none")
    student = network(SMALL["unet"])
    begins = Denoiser(student.config).double()
    begins.load_state_dict(begins.state_dict() | copy.deepcopy(teacher.state_dict()))
    noise, labels = numbers(3, 1, 8, 8), torch.tensor([0, 1, 2])
    way = course("flow", 3)
    walks: list[Callable[..., Any]] = [euler, jump]
    by_hand, by_jumps = (
        list(sampler(model, noise, way, objective="flow", condition=labels))[-1].x
        for sampler, model in zip(walks, (teacher, begins), strict=True)
    )
    assert torch.equal(by_hand, by_jumps)
