"""More parity with diffusers: settings that are seldom chosen, every number of steps, and float32.

What `test_samplers_parity` proves in double precision is proven here again in single precision,
with diffusers' float32 tables as they are. Beside it stand settings that are not met there.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.schedulers import scheduling_edm_dpmsolver_multistep
from test_samplers_parity import (
    CLIPS,
    DDIM,
    DDPM,
    DPM,
    DYNAMIC,
    LINEAR,
    NOTHING_LEFT,
    OBJECTIVES,
    PLAIN,
    SPACINGS,
    TABLES,
    DDIMInverse,
    Euler,
    Flow,
    Heun,
    Network,
    Wide,
    assert_same_steps,
    assert_same_times,
    generator,
    network,
    start,
    their_dpm,
    their_scaled,
    their_steps,
    whole_steps,
    wide,  # noqa: F401 - a fixture
)
from torch import Tensor

from mmfm.diffusion import as_diffusers
from mmfm.diffusion.course import course, strengths, through
from mmfm.diffusion.editing import invert
from mmfm.diffusion.samplers import Step, ddim, ddpm, dpm_2m, dpm_2m_sde, euler, heun
from mmfm.diffusion.schedules import (
    cosine_betas,
    edm,
    exponential_sigmas,
    karras_sigmas,
    kept,
    linear_betas,
    sigmoid_betas,
    variance_preserving,
    zero_terminal_snr,
)

EDM = scheduling_edm_dpmsolver_multistep.EDMDPMSolverMultistepScheduler


@pytest.fixture
def wider(wide: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # noqa: F811
    """EDM's multistep scheduler in double precision, too."""
    monkeypatch.setattr(scheduling_edm_dpmsolver_multistep, "torch", Wide(torch))
    yield


# --- every number of steps ------------------------------------------------------------------------


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(
    ("scheduler", "ours"),
    [(DDPM, as_diffusers.ddpm), (DDIM, as_diffusers.ddim), (DPM, as_diffusers.dpm)],
)
def test_the_stops_are_the_same_for_every_number_of_steps(scheduler: Any, ours: Any, spacing: str):
    theirs = scheduler(timestep_spacing=spacing)
    for steps in (*range(1, 130), 249, 250, 333, 334, 499, 500, 501, 666, 667, 998, 999, 1000):
        theirs.set_timesteps(steps)
        assert ours(LINEAR, steps, spacing=spacing).t.tolist() == theirs.timesteps.tolist(), steps


@pytest.mark.parametrize("spacing", SPACINGS)
def test_eulers_stops_are_the_same_for_every_number_of_steps(spacing: str):
    theirs = Euler(timestep_spacing=spacing)
    for steps in (*range(2, 130), 333, 500, 667, 999, 1000):
        theirs.set_timesteps(steps)
        t = as_diffusers.euler(LINEAR, steps, spacing=spacing).t
        torch.testing.assert_close(t.float(), theirs.timesteps, rtol=0, atol=1e-4)


def test_a_single_step_begins_where_diffusers_begins():
    """In the picture, nearly: of "linspace" its single number is the first one, 0."""
    for spacing in SPACINGS:
        theirs = Euler(timestep_spacing=spacing)
        theirs.set_timesteps(1)
        way = as_diffusers.euler(LINEAR, 1, spacing=spacing)
        assert way.t.tolist() == theirs.timesteps.tolist(), spacing
        assert way.sigma.item() / way.alpha.item() == pytest.approx(theirs.sigmas[0].item(), 1e-3)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_one_and_two_steps(spacing: str):
    for steps in (1, 2):
        common = {"timestep_spacing": spacing, "prediction_type": "v_prediction"}
        for name, scheduler, ours in (
            ("ddim", DDIM(clip_sample=False, **common), ddim),
            ("dpm", DPM(**common), dpm_2m),
            ("euler", Euler(**common), euler),
            ("heun", Heun(beta_start=1e-4, beta_end=0.02, **common), heun),
        ):
            scheduler.set_timesteps(steps)
            lay = {"ddim": as_diffusers.ddim, "dpm": as_diffusers.dpm}.get(name, as_diffusers.euler)
            way = lay(LINEAR, steps, spacing=spacing)
            x, scale = start(), None
            if name in ("euler", "heun"):
                x, scale = their_scaled(scheduler, way)
            theirs = list(their_steps(scheduler, network(), x))
            theirs = whole_steps(theirs) if name == "heun" else theirs
            assert_same_steps(
                list(ours(network(), start(), way, objective="velocity")), theirs, scale
            )


# --- other betas ----------------------------------------------------------------------------------

# Fewer of them, of other forms, and of one's own: ours, theirs.
OTHER: dict[str, tuple[Tensor, dict[str, Any]]] = {
    "77 linear": (
        kept(linear_betas(77)),
        {"beta_schedule": "linear", "num_train_timesteps": 77},
    ),
    "200, strong": (
        kept(linear_betas(200, 1e-3, 0.08)),
        {"num_train_timesteps": 200, "beta_start": 1e-3, "beta_end": 0.08},
    ),
    "one's own": (
        kept(torch.linspace(0.3, 0.01, 50, dtype=torch.float64).flip(0)),
        {
            "num_train_timesteps": 50,
            "trained_betas": np.linspace(0.3, 0.01, 50, dtype=np.float64)[::-1].copy(),
        },
    ),
}


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("table", [*TABLES, *OTHER])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim_over_other_betas(table: str, spacing: str, eta: float):
    mine, their = {**TABLES, **OTHER}[table]
    for steps in (7, 16, 50):
        scheduler = DDIM(
            timestep_spacing=spacing, prediction_type="v_prediction", clip_sample=False, **their
        )
        scheduler.set_timesteps(steps)
        way = as_diffusers.ddim(mine, steps, spacing=spacing)
        ours = ddim(network(), start(), way, objective="velocity", eta=eta, generator=generator())
        theirs = their_steps(scheduler, network(), start(), eta=eta, generator=generator())
        assert_same_steps(list(ours), list(theirs))


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("table", [*OTHER, "sigmoid"])
def test_ddpm_over_fewer_betas_and_sigmoid_ones(table: str, spacing: str):
    mine, their = {**OTHER, "sigmoid": (kept(sigmoid_betas()), {"beta_schedule": "sigmoid"})}[table]
    for steps in (7, 50):
        scheduler = DDPM(timestep_spacing=spacing, **their)
        scheduler.set_timesteps(steps)
        way = as_diffusers.ddpm(mine, steps, spacing=spacing)
        ours = ddpm(
            network(),
            start(),
            way,
            objective="noise",
            clip=1.0,
            generator=generator(),
            as_diffusers=True,
        )
        theirs = their_steps(scheduler, network(), start(), generator=generator())
        assert_same_steps(list(ours), list(theirs))


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("table", OTHER)
def test_dpm_euler_and_heun_over_fewer_betas(table: str, spacing: str):
    mine, their = OTHER[table]
    common = {"timestep_spacing": spacing, "prediction_type": "v_prediction", **their}
    for steps in (7, 20):
        scheduler = their_dpm(steps, **common)
        way = as_diffusers.dpm(mine, steps, spacing=spacing)
        ours = list(dpm_2m(network(), start(), way, objective="velocity"))
        assert_same_steps(ours, list(their_steps(scheduler, network(), start())))
        for make, sampler in ((Euler, euler), (Heun, heun)):
            scheduler = make(**{"beta_start": 1e-4, "beta_end": 0.02} | common)
            scheduler.set_timesteps(steps)
            way = as_diffusers.euler(mine, steps, spacing=spacing)
            x, scale = their_scaled(scheduler, way)
            theirs = list(their_steps(scheduler, network(), x))
            theirs = whole_steps(theirs) if make is Heun else theirs
            ours = list(sampler(network(), start(), way, objective="velocity"))
            assert_same_steps(ours, theirs, scale)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("table", ["scaled linear", "cosine", *OTHER])
def test_ddim_inverse_over_other_betas(table: str):
    mine, their = {**TABLES, **OTHER}[table]
    for spacing in ("leading", "trailing"):
        scheduler = DDIMInverse(
            timestep_spacing=spacing,
            prediction_type="v_prediction",
            clip_sample=False,
            **their,
        )
        scheduler.set_timesteps(10)
        way = as_diffusers.ddim(mine, 10, spacing=spacing)
        picture = start().clamp(-1, 1)
        ours = list(invert(network(), picture, way, objective="velocity"))
        assert_same_steps(ours, list(their_steps(scheduler, network(), picture)))


# --- from pure noise ------------------------------------------------------------------------------


def nearly_nothing_left() -> Tensor:
    """What DPM++ and Euler put for the 0 at the end of the table."""
    left = kept(zero_terminal_snr(linear_betas()))
    left[-1] = 2**-24
    return left


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("objective", ["velocity", "clean"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("sde", [False, True])
def test_dpm_where_the_betas_end_in_noise(spacing: str, objective: str, sde: bool):
    _, their = NOTHING_LEFT
    for steps in (8, 16):
        scheduler = their_dpm(
            steps,
            algorithm_type="sde-dpmsolver++" if sde else "dpmsolver++",
            timestep_spacing=spacing,
            prediction_type=OBJECTIVES[objective],
            **their,
        )
        way = as_diffusers.dpm(nearly_nothing_left(), steps, spacing=spacing)
        ours = dpm_2m(
            network(),
            start(),
            way,
            objective=objective,
            eta=1.0 if sde else 0.0,
            generator=generator(),
        )
        theirs = their_steps(scheduler, network(), start(), generator=generator())
        assert_same_steps(list(ours), list(theirs))
        if spacing != "leading":
            assert way.alpha[0] == 2**-12


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("objective", ["velocity", "clean"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("karras", [False, True])
def test_euler_where_the_betas_end_in_noise(spacing: str, objective: str, karras: bool):
    _, their = NOTHING_LEFT
    scheduler = Euler(
        timestep_spacing=spacing,
        prediction_type=OBJECTIVES[objective],
        use_karras_sigmas=karras,
        **their,
    )
    scheduler.set_timesteps(9)
    way = as_diffusers.euler(nearly_nothing_left(), 9, spacing=spacing, karras=karras)
    ours = list(euler(network(), start(), way, objective=objective))
    x, scale = their_scaled(scheduler, way)
    assert_same_steps(ours, list(their_steps(scheduler, network(), x)), scale)


# --- DDPM's names for its variances ---------------------------------------------------------------


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_small_log_variance_is_the_small_one(spacing: str):
    """`fixed_small_log` tells the spread by way of its logarithm, and so the same."""
    scheduler = DDPM(timestep_spacing=spacing, variance_type="fixed_small_log")
    scheduler.set_timesteps(9)
    ours = ddpm(
        network(),
        start(),
        as_diffusers.ddpm(LINEAR, 9, spacing=spacing),
        objective="noise",
        clip=1.0,
        generator=generator(),
        as_diffusers=True,
    )
    theirs = their_steps(scheduler, network(), start(), generator=generator())
    assert_same_steps(list(ours), list(theirs))


@pytest.mark.usefixtures("wide")
def test_stops_of_ones_own():
    """`set_timesteps(timesteps=[...])`, in DDPM and DPM++."""
    own = [990, 700, 650, 200, 31, 5]
    left = torch.cat([LINEAR[own], torch.ones(1)])
    t = torch.tensor([*own, 0.0], dtype=torch.float64)
    way = through(t, variance_preserving(left))
    scheduler = DDPM(clip_sample=False)
    scheduler.set_timesteps(timesteps=own)
    ours = ddpm(
        network(), start(), way, objective="noise", generator=generator(), as_diffusers=True
    )
    theirs = their_steps(scheduler, network(), start(), generator=generator())
    assert_same_steps(list(ours), list(theirs))
    scheduler = DPM(prediction_type="v_prediction")
    scheduler.set_timesteps(timesteps=own)
    ours = dpm_2m(network(), start(), way, objective="velocity")
    assert_same_steps(list(ours), list(their_steps(scheduler, network(), start())))


# --- DPM-Solver++ of first order, and EDM's -------------------------------------------------------


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("clip", DYNAMIC)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_first_order_of_dpm_is_ddim_and_with_noise_ddpm(spacing: str, clip: str):
    """Lu et al. 2022, section 4.1: three papers, one step."""
    mine, their = DYNAMIC[clip]
    way = as_diffusers.dpm(LINEAR, 9, spacing=spacing)
    for sde, ours in (
        (False, ddim(network(), start(), way, objective="noise", clip=mine)),
        (False, euler(network(), start(), way, objective="noise", clip=mine)),
        (
            True,
            ddpm(network(), start(), way, objective="noise", clip=mine, generator=generator()),
        ),
        (
            True,
            ddim(
                network(),
                start(),
                way,
                objective="noise",
                clip=mine,
                eta=1.0,
                generator=generator(),
            ),
        ),
    ):
        scheduler = their_dpm(
            9,
            solver_order=1,
            algorithm_type="sde-dpmsolver++" if sde else "dpmsolver++",
            timestep_spacing=spacing,
            **their,
        )
        theirs = their_steps(scheduler, network(), start(), generator=generator())
        assert_same_steps(list(ours), list(theirs))


@pytest.mark.usefixtures("wider")
@pytest.mark.parametrize("sde", [False, True])
@pytest.mark.parametrize("strength", ["karras", "exponential"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("order", [1, 2])
def test_dpm_over_edms_strengths(order: int, prediction: str, strength: str, sde: bool):
    """`EDMDPMSolverMultistepScheduler`, in both of its ways to end."""
    net = network()
    for steps, end, low_order_end in (
        (9, "zero", True),
        (9, "sigma_min", False),
        (16, "zero", True),
    ):
        scheduler = EDM(
            algorithm_type="sde-dpmsolver++" if sde else "dpmsolver++",
            prediction_type=prediction,
            sigma_schedule=strength,
            solver_order=order,
            lower_order_final=low_order_end,
            final_sigmas_type=end,
        )
        scheduler.set_timesteps(steps)

        def denoised(
            x: Tensor, sigma: Tensor, condition: Tensor | None = None, scheduler: Any = scheduler
        ) -> Tensor:
            one = sigma.flatten()[0]
            answer = net(scheduler.precondition_inputs(x, one), (one.log() / 4).expand(len(x)))
            return scheduler.precondition_outputs(x, answer, one)

        sigmas = {"karras": karras_sigmas, "exponential": exponential_sigmas}[strength](steps)
        last = sigmas.new_tensor([0.0 if end == "zero" else 0.002])
        sigmas = torch.cat([sigmas, last])
        way = through(sigmas, edm(sigmas))
        if strength == "karras" and end == "zero":
            assert torch.equal(way.sigma, strengths(steps).sigma)

        if order == 2:
            ours = dpm_2m(
                denoised,
                start() * 80,
                way,
                objective="clean",
                eta=1.0 if sde else 0.0,
                low_order_end=low_order_end,
                generator=generator(),
            )
        else:
            one = ddpm if sde else euler
            ours = one(denoised, start() * 80, way, objective="clean", generator=generator())
        theirs = their_steps(scheduler, net, start() * 80, generator=generator())
        assert_same_steps(list(ours), list(theirs))


# --- flow -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("mu", [0.0, 0.8, 1.15])
def test_a_shift_by_the_size_of_the_picture(mu: float):
    """`use_dynamic_shifting`, as large flow models have it, shifts times by exp(mu)."""
    net, steps = network(), 9
    scheduler = Flow(use_dynamic_shifting=True)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    x, theirs = start(), []
    for t, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        answer = net(x, t.expand(len(x)))
        theirs.append((scheduler.step(answer, t, x).prev_sample, x - sigma * answer))
        x = theirs[-1][0]
    way = course("flow", steps, shift=math.exp(mu))
    ours = euler(lambda x, t, c: net(x, t * 1000, c), start(), way, objective="flow")
    assert_same_steps(list(ours), theirs)


# --- in single precision --------------------------------------------------------------------------

SINGLE = torch.float32


def left_in(scheduler: Any) -> Tensor:
    """The scheduler's own table, a product of a thousand numbers in float32, and that far off."""
    return scheduler.alphas_cumprod.double()


# Of what was clipped. A guess from noise is x less its noise, divided by an alpha of .006: numbers
# of some hundred, of which clipping leaves those below 1, and rounding what it has done to all.
CLIPPED = 2e-5


def assert_near(
    ours: Iterable[Step], theirs: Iterable[tuple[Tensor, Tensor]], limit: float = 1e-5
) -> None:
    """At every step x and x0 agree, within so much of the largest number."""
    for mine, (x, x0) in zip(ours, theirs, strict=True):
        for a, b in ((mine.x, x), (mine.x0, x0)):
            assert a.dtype == b.dtype == SINGLE and b.isfinite().all()
            assert (a - b).abs().max() <= limit * max(1.0, b.abs().max().item())


def assert_near_or_nearer(
    ours: Iterable[Step],
    theirs: Iterable[tuple[Tensor, Tensor]],
    exact: Iterable[Step],
    limit: float,
    scale: Tensor | None = None,
) -> None:
    """All x agree within 1e-5 of the largest, or ours are nearer to what float64 answers.

    So do all x0. Ours are within `limit` of float64, also where theirs are no numbers at all.
    `exact` is our own float64, which `test_samplers_parity` proves to be theirs.
    """
    scale = torch.ones(1) if scale is None else scale
    apart, we_err, they_err = torch.zeros(2), torch.zeros(2), torch.zeros(2)
    for number, (mine, (x, x0), true) in enumerate(zip(ours, theirs, exact, strict=True)):
        assert mine.x.dtype == x.dtype == SINGLE and true.x.dtype == torch.float64
        x = x * scale[min(number, len(scale) - 1)]
        for part, (a, b, c) in enumerate(((mine.x, x, true.x), (mine.x0, x0, true.x0))):
            largest = max(1.0, c.abs().max().item())
            apart[part] = max(apart[part], missed(a, b) / largest)
            we_err[part] = max(we_err[part], missed(a, c) / largest)
            they_err[part] = max(they_err[part], missed(b, c) / largest)
    assert (we_err <= limit).all(), f"{we_err} from float64"
    assert ((apart <= 1e-5) | (we_err < they_err)).all(), f"{apart}: {we_err}, {they_err}"


def missed(a: Tensor, b: Tensor) -> float:
    """How far a is from b; infinitely where it is no number."""
    return (a.double() - b.double()).abs().nan_to_num(math.inf).max().item()


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_ddpm_in_float32(spacing: str, objective: str, clip: str):
    mine, their = CLIPS[clip]
    net, x = network(SINGLE), start(SINGLE)
    for steps, offset, variance in ((7, 1, "small"), (10, 0, "large"), (10, 0, "small")):
        scheduler = DDPM(
            timestep_spacing=spacing,
            prediction_type=OBJECTIVES[objective],
            variance_type=f"fixed_{variance}",
            steps_offset=offset,
            **their,
        )
        scheduler.set_timesteps(steps)
        ours = ddpm(
            net,
            x,
            as_diffusers.ddpm(left_in(scheduler), steps, spacing=spacing, offset=offset),
            objective=objective,
            clip=mine,
            variance="small" if variance == "small" else "large",
            generator=generator(),
            as_diffusers=True,
        )
        theirs = their_steps(scheduler, net, x, generator=generator())
        clipped = objective == "noise" and mine is not None
        assert_near(ours, theirs, CLIPPED if clipped else 1e-5)


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_ddim_in_float32(spacing: str, objective: str, clip: str):
    mine, their = CLIPS[clip]
    net, x = network(SINGLE), start(SINGLE)
    for steps, offset, rederive, eta in (
        (7, 1, False, 0.0),
        (10, 0, True, 0.0),
        (7, 1, False, 0.6),
        (10, 0, True, 1.0),
    ):
        scheduler = DDIM(
            timestep_spacing=spacing,
            prediction_type=OBJECTIVES[objective],
            steps_offset=offset,
            set_alpha_to_one=rederive,
            **their,
        )
        scheduler.set_timesteps(steps)
        ours = ddim(
            net,
            x,
            as_diffusers.ddim(
                left_in(scheduler), steps, spacing=spacing, offset=offset, to_clean=rederive
            ),
            objective=objective,
            clip=mine,
            eta=eta,
            rederive=rederive,
            generator=generator(),
        )
        options = {"eta": eta, "use_clipped_model_output": rederive, "generator": generator()}
        assert_same_steps(list(ours), list(their_steps(scheduler, net, x, **options)))


@pytest.mark.parametrize("clip", DYNAMIC)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("sde", [False, True])
def test_dpm_in_float32(spacing: str, objective: str, clip: str, sde: bool):
    mine, their = DYNAMIC[clip]
    net, x = network(SINGLE), start(SINGLE)
    for steps, to_clean, low_order_end in ((7, True, True), (7, False, False), (16, False, True)):
        scheduler = their_dpm(
            steps,
            algorithm_type="sde-dpmsolver++" if sde else "dpmsolver++",
            timestep_spacing=spacing,
            prediction_type=OBJECTIVES[objective],
            final_sigmas_type="zero" if to_clean else "sigma_min",
            lower_order_final=low_order_end,
            **their,
        )
        ours = (dpm_2m_sde if sde else dpm_2m)(
            net,
            x,
            as_diffusers.dpm(left_in(scheduler), steps, spacing=spacing, to_clean=to_clean),
            objective=objective,
            clip=mine,
            low_order_end=low_order_end,
            generator=generator(),
        )
        theirs = their_steps(scheduler, net, x, generator=generator())
        clipped = objective == "noise" and mine is not None
        assert_near(ours, theirs, CLIPPED if clipped else 1e-5)


@pytest.mark.parametrize("sampler", ["euler", "heun"])
@pytest.mark.parametrize("karras", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_euler_and_heun_in_float32(spacing: str, objective: str, karras: bool, sampler: str):
    net, x = network(SINGLE), start(SINGLE)
    for steps, offset in ((7, 1), (10, 0)):
        scheduler = (Euler if sampler == "euler" else Heun)(
            timestep_spacing=spacing,
            prediction_type=OBJECTIVES[objective],
            use_karras_sigmas=karras,
            steps_offset=offset,
            beta_start=1e-4,
            beta_end=0.02,
        )
        scheduler.set_timesteps(steps)
        way = as_diffusers.euler(
            left_in(scheduler), steps, spacing=spacing, offset=offset, karras=karras
        )
        theirs = list(their_steps(scheduler, net, x / way.alpha[0]))
        if sampler == "heun":
            theirs = whole_steps(theirs)
        ours = (euler if sampler == "euler" else heun)(net, x, way, objective=objective)
        assert_same_steps(list(ours), theirs, way.next_alpha)


@pytest.mark.parametrize("clip", PLAIN)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_ddim_inverse_in_float32(spacing: str, objective: str, clip: str):
    mine, their = PLAIN[clip]
    net, to_clean = network(SINGLE), objective != "clean"
    scheduler = DDIMInverse(
        timestep_spacing=spacing,
        prediction_type=OBJECTIVES[objective],
        set_alpha_to_one=to_clean,
        **their,
    )
    scheduler.set_timesteps(10)
    way = as_diffusers.ddim(left_in(scheduler), 10, spacing=spacing, to_clean=to_clean)
    picture = start(SINGLE).clamp(-1, 1)
    ours = list(invert(net, picture, way, objective=objective, clip=mine))
    assert_same_steps(ours, list(their_steps(scheduler, net, picture)))


@pytest.mark.parametrize("table", ["scaled linear", "cosine"])
def test_other_betas_in_float32(table: str):
    mine, their = TABLES[table]
    net, x = network(SINGLE), start(SINGLE)
    for scheduler, ours, options in (
        (
            DDPM(prediction_type="v_prediction", **their),
            ddpm(
                net,
                x,
                as_diffusers.ddpm(mine, 10),
                objective="velocity",
                clip=1.0,
                generator=generator(),
                as_diffusers=True,
            ),
            {"generator": generator()},
        ),
        (
            DDIM(prediction_type="v_prediction", **their),
            ddim(
                net, x, as_diffusers.ddim(mine, 10), objective="velocity", clip=1.0, rederive=False
            ),
            {},
        ),
        (
            DPM(prediction_type="v_prediction", lambda_min_clipped=-5.1, **their),
            dpm_2m(net, x, as_diffusers.dpm(mine, 10, least=-5.1), objective="velocity"),
            {},
        ),
    ):
        scheduler.set_timesteps(10)
        assert_same_steps(list(ours), list(their_steps(scheduler, net, x, **options)))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_in_float32(shift: float):
    net, steps = network(SINGLE), 9
    scheduler = Flow(shift=shift)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps))
    x, theirs = start(SINGLE), []
    for t, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        answer = net(x, t.expand(len(x)))
        theirs.append((scheduler.step(answer, t, x).prev_sample, x - sigma * answer))
        x = theirs[-1][0]
    way = course("flow", steps, shift=shift)
    ours = euler(lambda x, t, c: net(x, t * 1000, c), start(SINGLE), way, objective="flow")
    assert_same_steps(list(ours), theirs)


def test_from_pure_noise_in_float32():
    mine, their = NOTHING_LEFT
    net, x = network(SINGLE), start(SINGLE)
    common = {"prediction_type": "v_prediction", "timestep_spacing": "trailing", **their}
    scheduler = DDIM(**common)
    scheduler.set_timesteps(8)
    way = as_diffusers.ddim(mine, 8, spacing="trailing")
    ours = list(ddim(net, x, way, objective="velocity", clip=1.0, rederive=False))
    assert_same_steps(ours, list(their_steps(scheduler, net, x)))
    assert_same_times(ours, scheduler.timesteps)
    scheduler = their_dpm(8, **common)
    way = as_diffusers.dpm(nearly_nothing_left(), 8, spacing="trailing")
    ours = list(dpm_2m(net, x, way, objective="velocity"))
    assert_same_steps(ours, list(their_steps(scheduler, net, x)))


# Betas that leave much of the picture, little and nothing; theirs alone, for our course is made of
# their float32 table: what differs then is the rounding of the steps.
LEFT: dict[str, dict[str, object]] = {
    "linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
    "Stable Diffusion's": {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
    },
    "cosine": {"beta_schedule": "squaredcos_cap_v2", "beta_start": 1e-4, "beta_end": 0.02},
    "to nothing": {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "rescale_betas_zero_snr": True,
    },
}


@pytest.fixture(scope="module")
def network64() -> Network:
    """The network of single precision, computed in double."""
    same = Network().double()
    same.load_state_dict(network(SINGLE).state_dict())
    return same.requires_grad_(False)


def drawn64() -> Callable[[], Tensor]:
    """The noise of single precision."""
    source = generator()
    return lambda: torch.randn(start().shape, generator=source, dtype=SINGLE).double()


@pytest.mark.parametrize("clip", ["as it is", "clipped to 0.6", "thresholded"])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("betas", LEFT)
def test_ddim_in_float32_is_near_theirs_or_nearer_to_float64(
    betas: str, spacing: str, objective: str, clip: str, network64: Network
):
    """They compute 1 - alpha in float32, where next to nothing is left of it or of alpha."""
    if betas == "to nothing" and objective == "noise":
        pytest.skip("pure noise says nothing of the picture")
    mine, their = CLIPS[clip]
    x = start(SINGLE)
    for steps, eta in itertools.product((3, 13), (0.0, 0.3, 1.0)):
        scheduler = DDIM(
            timestep_spacing=spacing,
            prediction_type=OBJECTIVES[objective],
            **LEFT[betas],
            **their,
        )
        scheduler.set_timesteps(steps)
        way = as_diffusers.ddim(left_in(scheduler), steps, spacing=spacing)
        how = partial(ddim, objective=objective, clip=mine, eta=eta, rederive=False)
        theirs = their_steps(scheduler, network(SINGLE), x, eta=eta, generator=generator())
        assert_near_or_nearer(
            how(network(SINGLE), x, way, generator=generator()),
            theirs,
            how(network64, x.double(), way, generator=drawn64()),
            CLIPPED if objective == "noise" and mine is not None else 5e-6,
        )


@pytest.mark.parametrize("sampler", ["euler", "heun"])
@pytest.mark.parametrize("karras", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("betas", LEFT)
def test_euler_and_heun_in_float32_are_near_theirs_or_nearer_to_float64(
    betas: str, spacing: str, objective: str, karras: bool, sampler: str, network64: Network
):
    """They divide x by alpha, and of numbers of 40,000 float32 keeps two digits after the point."""
    if betas == "to nothing" and (objective == "noise" or sampler == "heun"):
        pytest.skip("pure noise says nothing of the picture, and their Heun has no such betas")
    x = start(SINGLE)
    for steps in (3, 13):
        scheduler = (Euler if sampler == "euler" else Heun)(
            timestep_spacing=spacing,
            prediction_type=OBJECTIVES[objective],
            use_karras_sigmas=karras,
            **LEFT[betas],
        )
        scheduler.set_timesteps(steps)
        way = as_diffusers.euler(left_in(scheduler), steps, spacing=spacing, karras=karras)
        theirs = list(their_steps(scheduler, network(SINGLE), x / way.alpha[0]))
        how = partial(euler if sampler == "euler" else heun, objective=objective)
        # Heun multiplies what rounding does to its look ahead: 3e-5, where theirs are off by 0.01.
        limit = 1e-5 if sampler == "euler" else 5e-5
        assert_near_or_nearer(
            how(network(SINGLE), x, way),
            theirs if sampler == "euler" else whole_steps(theirs),
            how(network64, x.double(), way),
            limit,
            way.next_alpha,
        )


def test_the_betas_of_a_table_are_the_same_in_either_precision():
    """So what differs in float32 is rounding, and nothing else."""
    for betas, name in ((linear_betas(), "linear"), (cosine_betas(), "squaredcos_cap_v2")):
        theirs = DDPM(beta_schedule=name).alphas_cumprod
        torch.testing.assert_close(kept(betas).float(), theirs, rtol=1e-4, atol=0)
