"""The plane: the exact answer is exact, what is taught is learned, and every way arrives."""

import itertools
import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmfm.data.plane import EDGE, SHAPES, drawn, points
from mmfm.diffusion.course import course
from mmfm.diffusion.objectives import Model, guess, loss
from mmfm.diffusion.samplers import SAMPLERS
from mmfm.diffusion.schedules import SCHEDULES, Level
from mmfm.errors import BadInput
from mmfm.models.plane import PlaneConfig, PlaneDenoiser
from mmfm.tasks import plane
from mmfm.tasks.plane import OBJECTIVES, Way

MOONS = points("moons", 100)
COUNT = 200  # samples


@cache
def taught(schedule: str = "flow", objective: str = "flow", steps: int = 500) -> PlaneDenoiser:
    """A network after some steps."""
    *_, last = plane.teach(MOONS, Way(schedule, objective), steps=steps)
    return last.model


def distance(model: Model, way: Way, to: Tensor = MOONS) -> float:
    return plane.energy_distance(plane.paths(model, way, count=COUNT)[-1], to)


# --- points -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_lies_around_the_middle_as_wide_as_noise_and_on_the_paper(shape: str):
    many = points(shape, 4000)
    assert many.shape == (4000, 2)
    assert many.abs().max() < EDGE - 0.5
    assert many.mean(dim=0).norm() < 0.35
    assert 0.8 < many.std() < 1.4
    # More of them leave the first ones where they are, others are drawn with another seed.
    assert torch.equal(points(shape, 50), many[:50])
    assert not torch.equal(points(shape, 50, seed=1), many[:50])


def test_shapes_differ_from_each_other_more_than_from_themselves():
    for one, other in itertools.combinations(SHAPES, 2):
        again = plane.energy_distance(points(one, 2000), points(one, 2000, seed=1))
        apart = plane.energy_distance(points(one, 2000), points(other, 2000))
        assert apart > 2 * again, (one, other)


def test_points_that_a_person_drew_come_as_they_are():
    assert drawn([[0, 1], (-3.0, 2.5)], least=1, most=5).tolist() == [[0, 1], [-3, 2.5]]


@pytest.mark.parametrize(
    "given",
    [
        None,
        "points",
        {"x": 1},
        [],
        [[0, 0]] * 6,
        [[0, 0], [0]],
        [[0, 0], [0, 0, 0]],
        [[0, 0], [0, math.nan]],
        [[0, 0], [math.inf, 0]],
        [[0, 0], [3.01, 0]],
        [[0, 0], [10**400, 0]],
        [[0, 0], [True, 0]],
        [[0, 0], ["1", 0]],
        [[0, 0], None],
    ],
)
def test_what_are_no_points_is_refused_in_one_line(given: object):
    with pytest.raises(BadInput) as error:
        drawn(given, least=2, most=5)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


def test_shapes_and_ways_that_do_not_exist_are_refused():
    with pytest.raises(BadInput, match="no shape 'moon'; there are moons, spiral"):
        points("moon", 5)
    with pytest.raises(BadInput, match="ask for one at least"):
        points("moons", 0)
    for way, line in (
        ({"schedule": "bent"}, "no schedule 'bent'; there are flow"),
        ({"objective": "truth"}, "no objective 'truth'; there are noise"),
        ({"sampler": "jump"}, "no sampler 'jump'; there are ddpm"),
        ({"steps": 0}, "0 steps on the plane; name 1 to 64"),
        ({"steps": 65}, "name 1 to 64"),
    ):
        with pytest.raises(BadInput, match=line):
            Way(**way)


# --- the exact answer ---------------------------------------------------------------------------


def brute_force(x: tuple[float, float], alpha: float, sigma: float, known: Tensor) -> list[float]:
    """The mean of all points that may lie below x, each weighed by how probable it makes x."""
    weighed = [0.0, 0.0, 0.0]
    for p in known.double().tolist():
        density = math.prod(
            math.exp(-((x[i] - alpha * p[i]) ** 2) / (2 * sigma**2)) / (sigma * math.tau**0.5)
            for i in range(2)
        )
        weighed = [weighed[0] + density * p[0], weighed[1] + density * p[1], weighed[2] + density]
    return [weighed[0] / weighed[2], weighed[1] / weighed[2]]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("schedule", SCHEDULES)
@settings(max_examples=10, deadline=None)
@given(x=st.floats(-2, 2), y=st.floats(-2, 2), t=st.floats(0.25, 0.95))
def test_the_exact_answer_is_the_mean_of_what_may_lie_below(
    schedule: str, objective: str, x: float, y: float, t: float
):
    model = plane.exact(MOONS, Way(schedule, objective))
    spots = torch.tensor([[[[x, y]]]], dtype=torch.float64)
    time = torch.tensor([t], dtype=torch.float64)
    level = SCHEDULES[schedule](time)
    picture, noise = guess(objective, model(spots, time, None), spots, level)
    expected = brute_force((x, y), level.alpha.item(), level.sigma.item(), MOONS)
    assert picture.flatten().tolist() == pytest.approx(expected, abs=1e-6)
    rebuilt = level.alpha * picture + level.sigma * noise
    torch.testing.assert_close(rebuilt, spots)


@pytest.mark.parametrize("schedule", ["flow", "cosine"])
def test_in_pure_noise_the_exact_answer_is_the_middle_and_without_any_the_nearest_point(
    schedule: str,
):
    model = plane.exact(MOONS, Way(schedule, "clean"))
    x = plane.noise(20)
    in_noise = plane.as_places(model(x, torch.ones(20), None))
    torch.testing.assert_close(in_noise, MOONS.mean(dim=0).expand(20, 2))
    without = plane.as_places(model(x, torch.zeros(20), None))
    nearest = torch.cdist(plane.as_places(x), MOONS).argmin(dim=1)
    torch.testing.assert_close(without, MOONS[nearest])


def test_no_answer_errs_less_than_the_exact_one():
    way = Way("cosine", "velocity")
    index = torch.arange(4000)
    shown = plane.as_pictures(MOONS[index % len(MOONS)])
    times = (index + 0.5) / len(index)

    def error(model: Model) -> float:
        random = plane.noise(len(index), seed=5)
        return loss(
            model, shown, random, times, None, objective=way.objective, schedule=way.schedule
        ).item()

    best = error(plane.exact(MOONS, way))
    learned = error(taught("cosine", "velocity"))
    assert best < learned < 1.5 * best


# --- the field ----------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_arrows_are_the_speed_of_the_way(schedule: str, objective: str):
    """Down the time, dx/dt = alpha' picture + sigma' noise, by automatic differentiation."""
    way, t = Way(schedule, objective), 0.6
    places = points("rings", 50)
    model = plane.exact(MOONS, way)
    time = torch.tensor(t, dtype=torch.float64, requires_grad=True)
    level = SCHEDULES[schedule](time)
    slopes = [torch.autograd.grad(part, time, retain_graph=True)[0] for part in level]
    at = Level(*(part.detach().expand(50) for part in level))
    x = plane.as_pictures(places.double())
    asked = model(x, torch.full((50,), t, dtype=torch.float64), None)
    picture, noise = guess(objective, asked, x, at)
    expected = -(slopes[0] * picture + slopes[1] * noise)
    found = plane.field(model, way, places, t)
    torch.testing.assert_close(found.double(), plane.as_places(expected), atol=0.02, rtol=0.01)


def test_arrows_at_an_impossible_time_are_refused():
    for t in (0.0, 1.1, math.nan):
        with pytest.raises(BadInput, match="no field at time"):
            plane.field(plane.exact(MOONS, Way()), Way(), MOONS, t)


# --- learning -----------------------------------------------------------------------------------


def test_teaching_brings_samples_close_to_the_points():
    way = Way("flow", "flow", "heun", 12)
    fresh = PlaneDenoiser(PlaneConfig())
    fresh.reset(torch.Generator().manual_seed(0))
    before, after = distance(fresh, way), distance(taught(), way)
    floor = plane.energy_distance(points("moons", COUNT, seed=1), MOONS)
    assert before > 0.05
    assert after < 0.2 * before
    assert after < 2 * floor


def test_teaching_is_told_step_by_step_and_gives_the_same_each_time():
    several = [list(plane.teach(MOONS, Way(), steps=5, seed=3)) for _ in range(2)]
    assert [step.step for step in several[0]] == [1, 2, 3, 4, 5]
    assert {step.steps for step in several[0]} == {5}
    for one, other in zip(*(steps[-1].model.parameters() for steps in several), strict=True):
        assert torch.equal(one, other)
    *_, elsewhere = plane.teach(MOONS, Way(), steps=5, seed=4)
    assert elsewhere.loss != several[0][-1].loss


def test_few_points_fill_a_batch_and_none_are_refused():
    *_, last = plane.teach(MOONS[:3], Way(), steps=3)
    assert math.isfinite(last.loss)
    with pytest.raises(BadInput, match="no examples"):
        next(plane.teach(MOONS[:0], Way(), steps=3))


# --- the ways -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_way_arrives(schedule: str, objective: str, sampler: str):
    model = plane.exact(MOONS, Way(schedule, objective))
    for steps, near in ((1, math.inf), (4, 0.4), (32, 0.06)):
        way = Way(schedule, objective, sampler, steps)
        path = plane.paths(model, way, count=COUNT)
        assert path.shape == (steps + 1, COUNT, 2)
        assert path.isfinite().all()
        assert path[-1].abs().max() < 2 * EDGE
        assert plane.energy_distance(path[-1], MOONS) < near, way


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_question_can_be_learned_and_every_sampler_follows(schedule: str, objective: str):
    model = taught(schedule, objective, steps=250)
    for sampler in SAMPLERS:
        path = plane.paths(model, Way(schedule, objective, sampler, 24), count=COUNT)
        assert path.isfinite().all()
        assert plane.energy_distance(path[-1], MOONS) < 0.12, sampler


def test_all_ways_begin_with_the_same_noise_and_another_seed_with_another():
    model = plane.exact(MOONS, Way())
    starts = [
        plane.paths(model, replace(Way(), sampler=sampler, steps=3), count=COUNT)[0]
        for sampler in SAMPLERS
    ]
    assert all(torch.equal(start, starts[0]) for start in starts)
    again, other = (
        plane.paths(model, Way(sampler="ddpm"), count=COUNT, seed=seed) for seed in (0, 1)
    )
    assert torch.equal(again, plane.paths(model, Way(sampler="ddpm"), count=COUNT))
    assert not torch.equal(again[0], other[0])


def test_what_leads_is_the_samplers_of_pictures():
    """The same path, walked by hand with what `mmfm.diffusion` has for pictures."""
    way = Way("cosine", "noise", "dpm++", 6)
    model = plane.exact(MOONS, way)
    road = course("cosine", 6)
    x = plane.noise(COUNT)
    walked = [x, *(step.x for step in SAMPLERS["dpm++"](
        model, road.start(x), road, objective="noise", clip=EDGE))]  # fmt: skip
    expected = rearrange(torch.stack(walked), "s n 1 1 two -> s n two")
    assert torch.equal(plane.paths(model, way, count=COUNT), expected)


# --- there and back -----------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_points_are_led_to_noise_and_back(schedule: str, objective: str):
    way = Way(schedule, objective, "ddim", 40)
    path = plane.there_and_back(taught(schedule, objective, steps=250), way, MOONS)
    assert path.shape == (81, len(MOONS), 2)
    assert torch.equal(path[0], MOONS)
    noise = path[40]
    if objective != "clean":  # that says of a nearly clean point what noise there is but roughly
        assert 0.7 < noise.std() < 1.3
        other = plane.as_places(plane.noise(400))
        near, far = (plane.energy_distance(some, other) for some in (noise, MOONS))
        assert near < 0.75 * far
    misses = (path[-1] - path[0]).norm(dim=1).mean()
    assert misses < 0.25
    with_dice = plane.there_and_back(
        taught(schedule, objective, steps=250), replace(way, sampler="ddpm"), MOONS
    )
    assert (with_dice[-1] - MOONS).norm(dim=1).mean() > 2 * misses


# --- measures -----------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=1, max_size=12),
    st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=1, max_size=12),
)
@settings(max_examples=40, deadline=None)
def test_the_energy_distance_is_what_its_definition_says(
    one: list[tuple[float, float]], other: list[tuple[float, float]]
):
    def mean(a: list[tuple[float, float]], b: list[tuple[float, float]]) -> float:
        return sum(math.dist(p, q) for p in a for q in b) / (len(a) * len(b))

    expected = 2 * mean(one, other) - mean(one, one) - mean(other, other)
    a, b = (torch.tensor(some, dtype=torch.float64) for some in (one, other))
    assert plane.energy_distance(a, b) == pytest.approx(expected, abs=1e-6)
    assert plane.energy_distance(a, b) == pytest.approx(plane.energy_distance(b, a), abs=1e-9)
    assert plane.energy_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_the_exact_answer_copies_and_a_network_makes_new_points():
    few = points("rings", 60)
    way = Way("flow", "flow", "heun", 48)
    *_, last = plane.teach(few, way, steps=500)
    by_heart = plane.paths(plane.exact(few, way), way, count=COUNT)[-1]
    learned = plane.paths(last.model, way, count=COUNT)[-1]
    assert plane.copies(by_heart, few) > 0.9
    assert plane.copies(learned, few) < 0.5
    assert plane.copies(points("rings", 2000, seed=1), few) < 0.1  # by chance
    assert plane.copies(few, few) == 1
    assert plane.copies(few[:1], few[:1]) == 1  # a single point has no neighbours


def test_the_steps_that_a_way_needs_are_counted_from_the_best():
    assert plane.NUMBERS == (1, 2, 4, 8, 16, 32, 64)
    good = [0.5, 0.2, 0.05, 0.021, 0.02, 0.02, 0.02]
    slow = [0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.031]
    never = [0.5] * 7
    assert plane.needed([good, slow, never]) == [8, 64, None]
    assert plane.needed([never]) == [1]  # nothing better is known
    curve = plane.distances(plane.exact(MOONS, Way()), Way(), MOONS, count=COUNT)
    assert len(curve) == len(plane.NUMBERS)
    assert curve[0] > 5 * curve[-1]
