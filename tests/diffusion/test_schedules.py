"""How a picture turns into noise: each schedule by its property, and equal to diffusers'."""

import math

import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
)
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from diffusers.training_utils import compute_snr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from mmfm.diffusion.schedules import (
    SCHEDULES,
    TIMES,
    WEIGHTS,
    Level,
    add_noise,
    chosen,
    cosine,
    cosine_betas,
    edm,
    exponential_sigmas,
    flow,
    karras_sigmas,
    kept,
    linear,
    linear_betas,
    log_snr,
    logit_normal,
    scaled_linear_betas,
    shifted,
    sigmoid_betas,
    snr,
    stratified,
    uniform,
    variance_preserving,
    zero_terminal_snr,
)
from mmfm.errors import BadInput

BETAS = {
    "linear": linear_betas,
    "scaled_linear": scaled_linear_betas,
    "squaredcos_cap_v2": cosine_betas,
    "sigmoid": sigmoid_betas,
}


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def assert_same_in_float32(ours: Tensor, theirs: Tensor, rtol: float = 2e-6) -> None:
    """Theirs went through float32; ours did not, and must lie where float32 cannot tell."""
    assert ours.dtype == torch.float64 and theirs.dtype == torch.float32
    torch.testing.assert_close(ours, theirs.double(), rtol=rtol, atol=0)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


# --- by a time ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SCHEDULES)
def test_time_0_is_the_picture_and_time_1_is_noise(name: str, dtype: torch.dtype):
    alpha, sigma = SCHEDULES[name](torch.tensor([0.0, 1.0], dtype=dtype))
    assert alpha.dtype == sigma.dtype == dtype
    assert alpha[0] == 1 and sigma[0] == 0
    if name == "linear":  # a little of the picture is always left
        assert 0.0065 < alpha[1] < 0.0066
    else:
        assert alpha[1] == 0 and sigma[1] == 1


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@given(first=st.floats(0, 1), second=st.floats(0, 1))
def test_the_later_the_noisier(schedule, first: float, second: float):
    early, late = sorted([first, second])
    level = schedule(torch.tensor([early, late], dtype=torch.float64))
    assert level.alpha[0] >= level.alpha[1] >= 0
    assert 0 <= level.sigma[0] <= level.sigma[1] <= 1
    if late - early > 1e-6:
        assert log_snr(level)[0] > log_snr(level)[1]


@pytest.mark.parametrize("schedule", [cosine, linear])
def test_cosine_and_linear_keep_the_variance(schedule):
    alpha, sigma = schedule(torch.linspace(0, 1, 101, dtype=torch.float64))
    assert_same(alpha**2 + sigma**2, torch.ones(101).double())


def test_flow_is_halfway_at_half_the_time_and_mixes_in_a_straight_line():
    picture, noise = numbers(2, 1, 4, 4), numbers(2, 1, 4, 4, seed=1)
    half = add_noise(picture, noise, flow(torch.tensor(0.5).double()))
    assert_same(half, (picture + noise) / 2)


def test_linear_is_what_linear_betas_become():
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    alpha = variance_preserving(kept(linear_betas())).alpha
    torch.testing.assert_close(linear(t).alpha, alpha, rtol=0.03, atol=1e-4)
    fine = linear_betas(100_000, 1e-6, 2e-4)
    t = torch.arange(1, 100_001, dtype=torch.float64) / 100_000
    alpha = variance_preserving(kept(fine)).alpha
    torch.testing.assert_close(linear(t).alpha, alpha, rtol=1e-3, atol=1e-5)


@given(by=st.floats(0.1, 10), t=st.floats(0.001, 0.999))
def test_a_shift_makes_flows_noise_so_much_stronger_and_leaves_the_ends(by: float, t: float):
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert torch.equal(shifted(ends, by), ends)
    time = torch.tensor(t, dtype=torch.float64)
    before, after = flow(time), flow(shifted(time, by))
    torch.testing.assert_close(after.sigma / after.alpha, by * before.sigma / before.alpha)
    torch.testing.assert_close(shifted(shifted(time, by), 1 / by), time)


@pytest.mark.parametrize("by", [0.5, 1.0, 3.0])
def test_a_shift_equals_diffusers(by: float):
    theirs = FlowMatchEulerDiscreteScheduler(shift=by).sigmas
    t = torch.linspace(1, 0.001, 1000, dtype=torch.float64)
    assert_same_in_float32(shifted(t, by), theirs)


# --- by betas -------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 10, 1000])
@pytest.mark.parametrize("name", BETAS)
def test_betas_equal_diffusers(name: str, steps: int):
    theirs = DDPMScheduler(num_train_timesteps=steps, beta_schedule=name).betas
    ours = BETAS[name](steps)
    assert ours.shape == (steps,)
    assert_same_in_float32(ours, theirs)


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "sigmoid"])
def test_betas_from_and_to_other_values_equal_diffusers(name: str):
    theirs = DDPMScheduler(beta_schedule=name, beta_start=0.00085, beta_end=0.012).betas
    assert_same_in_float32(BETAS[name](1000, 0.00085, 0.012), theirs)


def test_no_cosine_beta_is_larger_than_the_largest():
    assert cosine_betas(100).max() == 0.999
    assert cosine_betas(100, largest=0.5).max() == 0.5
    assert cosine_betas(100, largest=1.0)[-1] == 1


def test_cosine_betas_leave_cosine_squared_of_the_picture():
    t = torch.arange(1, 1000, dtype=torch.float64) / 1000
    expected = (((t + 0.008) / 1.008) * math.pi / 2).cos() ** 2
    start = math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert_same(kept(cosine_betas())[:-1], expected / start)


@pytest.mark.parametrize("name", BETAS)
def test_what_is_kept_and_its_snr_equal_diffusers(name: str):
    scheduler = DDPMScheduler(beta_schedule=name)
    ours = kept(BETAS[name]())
    # Their product of a thousand float32 numbers has lost a few digits.
    assert_same_in_float32(ours, scheduler.alphas_cumprod, rtol=2e-4)
    scheduler.alphas_cumprod = ours
    theirs = compute_snr(scheduler, torch.arange(1000))
    assert_same_in_float32(snr(variance_preserving(ours)), theirs)


@pytest.mark.parametrize("name", BETAS)
def test_zero_terminal_snr_equals_diffusers(name: str):
    betas = BETAS[name]()
    assert_same(zero_terminal_snr(betas), rescale_zero_terminal_snr(betas))


@given(
    st.lists(st.floats(1e-4, 0.9), min_size=2, max_size=30),
)
def test_zero_terminal_snr_leaves_nothing_at_the_end_and_the_start_as_it_was(values: list[float]):
    betas = torch.tensor(values, dtype=torch.float64)
    rescaled = zero_terminal_snr(betas)
    assert_same(rescaled[0], betas[0])
    assert rescaled[-1] == 1
    level = variance_preserving(kept(rescaled))
    assert level.alpha[-1] == 0 and level.sigma[-1] == 1 and snr(level)[-1] == 0


@pytest.mark.parametrize("name", BETAS)
def test_adding_noise_equals_diffusers(name: str):
    scheduler = DDPMScheduler(beta_schedule=name)
    scheduler.alphas_cumprod = kept(BETAS[name]())
    steps = torch.tensor([0, 17, 500, 999])
    picture, noise = numbers(4, 3, 5, 5), numbers(4, 3, 5, 5, seed=1)
    level = variance_preserving(scheduler.alphas_cumprod[steps])
    assert_same(add_noise(picture, noise, level), scheduler.add_noise(picture, noise, steps))


def test_adding_noise_on_the_flow_schedule_equals_diffusers():
    scheduler = FlowMatchEulerDiscreteScheduler()
    index = torch.tensor([0, 17, 500, 999])
    picture, noise = numbers(4, 3, 5, 5), numbers(4, 3, 5, 5, seed=1)
    theirs = scheduler.scale_noise(picture, scheduler.timesteps[index], noise)
    assert_same(add_noise(picture, noise, flow(scheduler.sigmas[index].double())), theirs)


def test_one_level_serves_all_pictures_and_several_serve_one_each():
    picture, noise = numbers(3, 1, 4, 4), numbers(3, 1, 4, 4, seed=1)
    t = torch.tensor([0.1, 0.5, 0.9]).double()
    each = add_noise(picture, noise, cosine(t))
    for number in range(3):
        alone = add_noise(picture[number], noise[number], cosine(t[number]))
        assert torch.equal(each[number], alone)
        assert torch.equal(add_noise(picture, noise, cosine(t[number]))[number], alone)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_noisy_pictures_keep_their_type_whatever_the_levels_is(dtype: torch.dtype):
    picture = torch.zeros(2, 1, 4, 4, dtype=dtype)
    level = flow(torch.tensor([0.25, 0.5], dtype=torch.float64))
    x = add_noise(picture, torch.ones_like(picture), level)
    assert x.dtype == dtype
    assert x[0].unique().tolist() == [0.25] and x[1].unique().tolist() == [0.5]


# --- by sigmas ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 18, 50])
@pytest.mark.parametrize(("smallest", "largest"), [(0.002, 80.0), (0.0292, 14.6146)])
def test_karras_and_exponential_sigmas_equal_diffusers(n: int, smallest: float, largest: float):
    scheduler = DPMSolverMultistepScheduler(use_karras_sigmas=True)
    ends = torch.tensor([largest, smallest], dtype=torch.float64)
    theirs = torch.as_tensor(scheduler._convert_to_karras(ends, n))
    assert_same(karras_sigmas(n, smallest, largest), theirs)
    theirs = torch.as_tensor(scheduler._convert_to_exponential(ends, n))
    assert_same(exponential_sigmas(n, smallest, largest), theirs)


@pytest.mark.parametrize("rho", [1.0, 3.0, 7.0])
def test_karras_sigmas_of_any_rho_equal_diffusers(rho: float):
    scheduler = EDMEulerScheduler(rho=rho)
    theirs = scheduler._compute_karras_sigmas(torch.linspace(0, 1, 20, dtype=torch.float64))
    assert_same(karras_sigmas(20, rho=rho), theirs)


@given(
    n=st.integers(2, 100),
    smallest=st.floats(1e-3, 1),
    largest=st.floats(2, 100),
    rho=st.floats(1, 10),
)
def test_sigmas_fall_from_the_largest_to_the_smallest(
    n: int, smallest: float, largest: float, rho: float
):
    for sigmas in (
        karras_sigmas(n, smallest, largest, rho),
        exponential_sigmas(n, smallest, largest),
    ):
        assert sigmas.shape == (n,) and sigmas.dtype == torch.float64
        assert (sigmas.diff() < 0).all()
        expected = torch.tensor([largest, smallest], dtype=torch.float64)
        torch.testing.assert_close(sigmas[[0, -1]], expected, rtol=1e-10, atol=0)


def test_edm_leaves_the_picture_as_it_is():
    picture, noise = numbers(2, 1, 4, 4), numbers(2, 1, 4, 4, seed=1)
    sigma = torch.tensor([0.5, 80.0]).double()
    assert_same(add_noise(picture, noise, edm(sigma)) - picture, noise * sigma[:, None, None, None])


# --- signal and noise -----------------------------------------------------------------------------


@given(t=st.floats(0.01, 0.99), size=st.floats(0.01, 100))
def test_snr_and_its_logarithm_agree_and_do_not_depend_on_scale(t: float, size: float):
    level = cosine(torch.tensor(t, dtype=torch.float64))
    torch.testing.assert_close(snr(level).log(), log_snr(level), rtol=1e-9, atol=1e-9)
    larger = Level(size * level.alpha, size * level.sigma)
    torch.testing.assert_close(snr(larger), snr(level), rtol=1e-9, atol=0)


def test_snr_is_infinite_for_the_picture_and_0_for_noise():
    level = flow(torch.tensor([0.0, 0.5, 1.0]))
    assert snr(level).tolist() == [math.inf, 1, 0]
    assert log_snr(level).tolist() == [math.inf, 0, -math.inf]


# --- which times to learn from --------------------------------------------------------------------


@pytest.mark.parametrize("draw", TIMES.values(), ids=TIMES)
def test_times_lie_between_0_and_1_and_depend_on_the_generator_alone(draw):
    torch.manual_seed(0)
    first = draw(1000, Generator().manual_seed(5))
    torch.manual_seed(1)
    assert torch.equal(first, draw(1000, Generator().manual_seed(5)))
    assert not torch.equal(first, draw(1000, Generator().manual_seed(6)))
    assert first.shape == (1000,) and first.dtype == torch.float32
    assert first.min() >= 0 and first.max() <= 1


def furthest(times: Tensor, share_below: Tensor) -> float:
    """How far the share of times below each lies from what it should be, at worst."""
    seen = (torch.arange(len(times), dtype=torch.float64) + 0.5) / len(times)
    return float((share_below - seen).abs().max())


def test_uniform_times_are_uniform():
    times = uniform(20_000, Generator().manual_seed(0)).double().sort().values
    assert furthest(times, times) < 0.015


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-1.2, 1.2), (0.5, 0.3)])
def test_logit_normal_times_are_a_normal_distribution_bent_into_0_to_1(mean: float, std: float):
    times = logit_normal(20_000, Generator().manual_seed(0), mean, std).double().sort().values
    below = torch.special.ndtr((times.logit() - mean) / std)
    assert furthest(times, below) < 0.015


@settings(deadline=None)
@given(b=st.integers(1, 300), seed=st.integers(0, 10_000))
def test_stratified_times_fall_one_in_each_part(b: int, seed: int):
    times = stratified(b, Generator().manual_seed(seed)).double().sort().values
    first = torch.arange(b, dtype=torch.float64) / b
    assert (times >= first - 1e-6).all() and (times <= first + 1 / b + 1e-6).all()


def test_stratified_times_come_in_no_order():
    times = stratified(500, Generator().manual_seed(0))
    follows = torch.corrcoef(torch.stack([times, torch.arange(500.0)]))[0, 1]
    assert follows.abs() < 0.15


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "table"), [("schedule", SCHEDULES), ("time", TIMES), ("loss weight", WEIGHTS)]
)
def test_a_name_that_is_not_there_is_refused_with_those_that_are(
    kind: str, table: dict[str, object]
):
    for name, entry in table.items():
        assert chosen(kind, name, table) is entry
    with pytest.raises(BadInput, match=rf"^no {kind} 'liner'; there are {', '.join(table)}$"):
        chosen(kind, "liner", table)
