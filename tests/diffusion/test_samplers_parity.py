"""Every sampler takes the very steps of diffusers' scheduler: same network, same noise, same stops.

diffusers keeps its tables in float32 and casts pictures to float32 inside some steps. To compare in
float64, its modules get a torch and a numpy in which float32 is another name for float64.
"""

from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.schedulers import (
    scheduling_ddim,
    scheduling_ddim_inverse,
    scheduling_ddpm,
    scheduling_dpmsolver_multistep,
    scheduling_edm_euler,
    scheduling_euler_discrete,
    scheduling_flow_match_euler_discrete,
    scheduling_heun_discrete,
)
from torch import Tensor, nn

from mmfm.diffusion import as_diffusers
from mmfm.diffusion.course import Course, churned, course, strengths
from mmfm.diffusion.editing import invert
from mmfm.diffusion.samplers import Step, Threshold, ddim, ddpm, dpm_2m, dpm_2m_sde, euler, heun
from mmfm.diffusion.schedules import (
    cosine_betas,
    edm,
    kept,
    linear_betas,
    scaled_linear_betas,
    zero_terminal_snr,
)

DDPM = scheduling_ddpm.DDPMScheduler
DDIM = scheduling_ddim.DDIMScheduler
DDIMInverse = scheduling_ddim_inverse.DDIMInverseScheduler
DPM = scheduling_dpmsolver_multistep.DPMSolverMultistepScheduler
EDMEuler = scheduling_edm_euler.EDMEulerScheduler
Euler = scheduling_euler_discrete.EulerDiscreteScheduler
Flow = scheduling_flow_match_euler_discrete.FlowMatchEulerDiscreteScheduler
Heun = scheduling_heun_discrete.HeunDiscreteScheduler
MODULES = [
    scheduling_ddim,
    scheduling_ddim_inverse,
    scheduling_ddpm,
    scheduling_dpmsolver_multistep,
    scheduling_edm_euler,
    scheduling_euler_discrete,
    scheduling_flow_match_euler_discrete,
    scheduling_heun_discrete,
]

SPACINGS = ["leading", "trailing", "linspace"]
OBJECTIVES = {"noise": "epsilon", "clean": "sample", "velocity": "v_prediction"}
# What is done to a guess: ours, theirs.
CLIPS: dict[str, tuple[Any, dict[str, object]]] = {
    "as it is": (None, {"clip_sample": False}),
    "clipped": (1.0, {"clip_sample": True}),
    "clipped to 0.6": (0.6, {"clip_sample": True, "clip_sample_range": 0.6}),
    "thresholded": (
        Threshold(0.8, 3.0),
        {"thresholding": True, "dynamic_thresholding_ratio": 0.8, "sample_max_value": 3.0},
    ),
    "thresholded to 1": (Threshold(0.9), {"thresholding": True, "dynamic_thresholding_ratio": 0.9}),
}
PLAIN = {name: CLIPS[name] for name in ("as it is", "clipped", "clipped to 0.6")}
DYNAMIC: dict[str, tuple[Any, dict[str, object]]] = {
    "as it is": (None, {}),
    "thresholded": CLIPS["thresholded"],
    "thresholded to 1": CLIPS["thresholded to 1"],
}
# The betas, ours and theirs.
LINEAR = kept(linear_betas())
TABLES: dict[str, tuple[Tensor, dict[str, object]]] = {
    "linear": (LINEAR, {"beta_schedule": "linear"}),
    "scaled linear": (kept(scaled_linear_betas()), {"beta_schedule": "scaled_linear"}),
    "cosine": (kept(cosine_betas()), {"beta_schedule": "squaredcos_cap_v2"}),
}
NOTHING_LEFT: tuple[Tensor, dict[str, object]] = (
    kept(zero_terminal_snr(linear_betas())),
    {"rescale_betas_zero_snr": True},
)


class Wide:
    """A library in which float32 is another name for float64."""

    def __init__(self, library: ModuleType) -> None:
        self.library = library
        self.float32 = library.float64

    def __getattr__(self, name: str) -> object:
        return getattr(self.library, name)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """diffusers in double precision."""
    for module in MODULES:
        monkeypatch.setattr(module, "torch", Wide(torch))
        if hasattr(module, "np"):
            monkeypatch.setattr(module, "np", Wide(np))
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Network(nn.Module):
    """A few random numbers that look at the picture, the time and the condition."""

    def __init__(self, channels: int = 2) -> None:
        super().__init__()
        self.look = nn.Conv2d(channels, 6, 3, padding=1)
        self.when = nn.Linear(2, 6)
        self.answer = nn.Conv2d(6, channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        when = self.when(torch.stack([(t / 1000).sin(), (t / 37).cos()], dim=-1).to(x))
        return self.answer(torch.tanh(self.look(x) + when[:, :, None, None]))


@cache
def network(dtype: torch.dtype = torch.float64) -> Network:
    torch.manual_seed(0)
    return Network().to(dtype).requires_grad_(False)


def start(dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(2, 2, 8, 8, generator=generator, dtype=torch.float64).to(dtype)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def told(scheduler: Any, t: Tensor, x: Tensor) -> Tensor:
    """What the network is told, as it is told by us: one time for each picture, not whole."""
    return t.to(x.dtype).expand(len(x))


def their_steps(
    scheduler: Any, net: Network, x: Tensor, **options: object
) -> Iterator[tuple[Tensor, Tensor]]:
    """The loop of their pipelines: (x, x0) after every step."""
    for t in scheduler.timesteps:
        answer = net(scheduler.scale_model_input(x, t), told(scheduler, t, x))
        out = scheduler.step(answer, t, x, **options)
        x0 = out.get("pred_original_sample")
        x = out.prev_sample
        yield x, scheduler.model_outputs[-1] if x0 is None else x0


def assert_same_steps(
    ours: list[Step], theirs: list[tuple[Tensor, Tensor]], scale: Tensor | None = None
) -> None:
    """At every step x and x0 agree; `scale` brings their x, if it is another, to ours."""
    assert len(ours) == len(theirs) > 0
    for number, (mine, (x, x0)) in enumerate(zip(ours, theirs, strict=True)):
        x = x if scale is None else x * scale[number]
        for a, b in ((mine.x, x), (mine.x0, x0)):
            assert b.isfinite().all()
            largest = max(1.0, b.abs().max().item())
            limit = 1e-9 if a.dtype == torch.float64 else 1e-5 * largest
            assert a.dtype == b.dtype
            difference = (a - b).abs().max().item()
            assert difference <= limit, f"step {number}: {difference:.1e} of {largest:.1e}"


def assert_same_times(ours: list[Step], theirs: Tensor) -> None:
    torch.testing.assert_close(torch.tensor([s.t for s in ours]).double(), theirs.double())


# --- DDPM -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("variance", ["small", "large"])
def test_ddpm(spacing: str, objective: str, clip: str, variance: str):
    for steps, offset in ((7, 1), (10, 0)):
        mine, their = CLIPS[clip]
        scheduler = DDPM(
            timestep_spacing=spacing,
            prediction_type=OBJECTIVES[objective],
            variance_type=f"fixed_{variance}",
            steps_offset=offset,
            **their,
        )
        scheduler.set_timesteps(steps)
        way = as_diffusers.ddpm(LINEAR, steps, spacing=spacing, offset=offset)
        ours = list(
            ddpm(
                network(),
                start(),
                way,
                objective=objective,
                clip=mine,
                variance=variance,
                generator=generator(),
                as_diffusers=True,
            )
        )
        theirs = list(their_steps(scheduler, network(), start(), generator=generator()))
        assert_same_steps(ours, theirs)
        assert_same_times(ours, scheduler.timesteps)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("table", TABLES)
def test_ddpm_over_other_betas(table: str):
    mine, their = TABLES[table]
    scheduler = DDPM(clip_sample=False, **their)
    scheduler.set_timesteps(9)
    ours = ddpm(
        network(),
        start(),
        as_diffusers.ddpm(mine, 9),
        objective="noise",
        generator=generator(),
        as_diffusers=True,
    )
    assert_same_steps(
        list(ours), list(their_steps(scheduler, network(), start(), generator=generator()))
    )


# --- DDIM -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_ddim(spacing: str, objective: str, clip: str, eta: float):
    mine, their = CLIPS[clip]
    for steps, offset, rederive in ((7, 1, False), (10, 0, True)):
        scheduler = DDIM(
            timestep_spacing=spacing,
            prediction_type=OBJECTIVES[objective],
            steps_offset=offset,
            set_alpha_to_one=rederive,
            **their,
        )
        scheduler.set_timesteps(steps)
        way = as_diffusers.ddim(LINEAR, steps, spacing=spacing, offset=offset, to_clean=rederive)
        ours = list(
            ddim(
                network(),
                start(),
                way,
                objective=objective,
                clip=mine,
                eta=eta,
                rederive=rederive,
                generator=generator(),
            )
        )
        options = {"eta": eta, "use_clipped_model_output": rederive, "generator": generator()}
        theirs = list(their_steps(scheduler, network(), start(), **options))
        assert_same_steps(ours, theirs)
        assert_same_times(ours, scheduler.timesteps)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_ddpm_and_ddim_from_pure_noise(sampler: str):
    mine, their = NOTHING_LEFT
    common = {"prediction_type": "v_prediction", "timestep_spacing": "trailing", **their}
    if sampler == "ddpm":
        scheduler, way = DDPM(**common), as_diffusers.ddpm(mine, 8, spacing="trailing")
        ours = ddpm(
            network(),
            start(),
            way,
            objective="velocity",
            clip=1.0,
            generator=generator(),
            as_diffusers=True,
        )
        options = {"generator": generator()}
    else:
        scheduler, way = DDIM(**common), as_diffusers.ddim(mine, 8, spacing="trailing")
        ours = ddim(network(), start(), way, objective="velocity", clip=1.0, rederive=False)
        options = {}
    scheduler.set_timesteps(8)
    assert way.alpha[0] == 0
    assert_same_steps(list(ours), list(their_steps(scheduler, network(), start(), **options)))


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("clip", PLAIN)
@pytest.mark.parametrize("objective", ["noise", "velocity", "clean"])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_ddim_inverse(spacing: str, objective: str, clip: str):
    mine, their = PLAIN[clip]
    to_clean = objective != "clean"  # of a clean picture they can't tell the noise either
    for steps in (7, 10):
        scheduler = DDIMInverse(
            timestep_spacing=spacing,
            prediction_type=OBJECTIVES[objective],
            set_alpha_to_one=to_clean,
            **their,
        )
        scheduler.set_timesteps(steps)
        way = as_diffusers.ddim(LINEAR, steps, spacing=spacing, to_clean=to_clean)
        picture = start().clamp(-1, 1)
        ours = list(invert(network(), picture, way, objective=objective, clip=mine))
        assert_same_steps(ours, list(their_steps(scheduler, network(), picture)))
        assert_same_times(ours, scheduler.timesteps)


# --- DPM-Solver++ ---------------------------------------------------------------------------------


def their_dpm(steps: int, **options: object) -> Any:
    scheduler = DPM(**options)
    scheduler.set_timesteps(steps)
    return scheduler


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("clip", DYNAMIC)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("sde", [False, True])
def test_dpm_2m(spacing: str, objective: str, clip: str, sde: bool):
    mine, their = DYNAMIC[clip]
    # Below and above the 15 steps from which the last may be of second order, if it is not to 0.
    for steps, to_clean, low_order_end in ((7, True, True), (7, False, False), (16, False, True)):
        scheduler = their_dpm(
            steps,
            algorithm_type="sde-dpmsolver++" if sde else "dpmsolver++",
            timestep_spacing=spacing,
            prediction_type=OBJECTIVES[objective],
            final_sigmas_type="zero" if to_clean else "sigma_min",
            lower_order_final=low_order_end,
            steps_offset=0 if to_clean else 1,
            **their,
        )
        way = as_diffusers.dpm(
            LINEAR, steps, spacing=spacing, to_clean=to_clean, offset=0 if to_clean else 1
        )
        ours = list(
            dpm_2m(
                network(),
                start(),
                way,
                objective=objective,
                clip=mine,
                eta=1.0 if sde else 0.0,
                low_order_end=low_order_end,
                generator=generator(),
            )
        )
        theirs = list(their_steps(scheduler, network(), start(), generator=generator()))
        assert_same_steps(ours, theirs)
        assert_same_times(ours, scheduler.timesteps)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("karras", [None, "EDM's strengths"])
@pytest.mark.parametrize("table", TABLES)
def test_dpm_2m_over_other_betas(table: str, karras: str | None):
    mine, their = TABLES[table]
    least = -5.1  # without it, cosine betas begin where rounding is all there is
    scheduler = their_dpm(
        9,
        use_karras_sigmas=bool(karras),
        lambda_min_clipped=least,
        prediction_type="v_prediction",
        **their,
    )
    rounding = "floor" if table == "cosine" else "round"
    way = as_diffusers.dpm(mine, 9, least=least, karras=rounding if karras else None)
    ours = list(dpm_2m(network(), start(), way, objective="velocity"))
    assert_same_steps(ours, list(their_steps(scheduler, network(), start())))
    assert_same_times(ours, scheduler.timesteps)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("sde", [False, True])
def test_dpm_2m_for_flow(shift: float, sde: bool):
    scheduler = their_dpm(
        8,
        algorithm_type="sde-dpmsolver++" if sde else "dpmsolver++",
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=shift,
    )
    net = network()
    ours = list(
        dpm_2m(
            lambda x, t, condition: net(x, (t * 1000).floor(), condition),
            start(),
            as_diffusers.flow_dpm(8, shift=shift),
            objective="flow",
            eta=1.0 if sde else 0.0,
            generator=generator(),
        )
    )
    assert_same_steps(ours, list(their_steps(scheduler, net, start(), generator=generator())))


# --- Euler and Heun -------------------------------------------------------------------------------


def their_scaled(scheduler: Any, way: Course) -> tuple[Tensor, Tensor]:
    """Their x is ours divided by alpha: their start, and what brings their x to ours."""
    return start() / way.alpha[0], way.next_alpha


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("karras", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("table", TABLES)
def test_euler(spacing: str, objective: str, table: str, karras: bool):
    mine, their = TABLES[table]
    for steps, offset, to_clean in ((7, 1, True), (10, 0, False)):
        scheduler = Euler(
            timestep_spacing=spacing,
            prediction_type=OBJECTIVES[objective],
            use_karras_sigmas=karras,
            final_sigmas_type="zero" if to_clean else "sigma_min",
            steps_offset=offset,
            **their,
        )
        scheduler.set_timesteps(steps)
        way = as_diffusers.euler(
            mine, steps, spacing=spacing, offset=offset, to_clean=to_clean, karras=karras
        )
        ours = list(euler(network(), start(), way, objective=objective))
        x, scale = their_scaled(scheduler, way)
        assert_same_steps(ours, list(their_steps(scheduler, network(), x)), scale)
        assert_same_times(ours, scheduler.timesteps)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("clip", PLAIN)
@pytest.mark.parametrize("karras", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_heun(spacing: str, objective: str, clip: str, karras: bool):
    mine, their = PLAIN[clip]
    for steps, offset in ((7, 1), (10, 0)):
        scheduler = Heun(
            timestep_spacing=spacing,
            prediction_type=OBJECTIVES[objective],
            use_karras_sigmas=karras,
            steps_offset=offset,
            beta_start=1e-4,
            beta_end=0.02,
            **their,
        )
        scheduler.set_timesteps(steps)
        way = as_diffusers.euler(LINEAR, steps, spacing=spacing, offset=offset, karras=karras)
        ours = list(heun(network(), start(), way, objective=objective, clip=mine))
        x, scale = their_scaled(scheduler, way)
        theirs = whole_steps(list(their_steps(scheduler, network(), x)))
        assert_same_steps(ours, theirs, scale)


def whole_steps(halves: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """They call Heun's look ahead a step of its own; only the last step has none."""
    last = len(halves) - 1
    return [(halves[min(i + 1, last)][0], halves[i][1]) for i in range(0, len(halves), 2)]


def heun_over(
    table: str, objective: str, spacing: str, steps: int = 8
) -> tuple[Course, list[Step], list[tuple[Tensor, Tensor]]]:
    """Over one table of betas: the course, our steps, and theirs at their own scale."""
    mine, their = TABLES[table]
    scheduler = Heun(
        prediction_type=OBJECTIVES[objective],
        timestep_spacing=spacing,
        **({"beta_start": 1e-4, "beta_end": 0.02} | their),
    )
    scheduler.set_timesteps(steps)
    way = as_diffusers.euler(mine, steps, spacing=spacing)
    ours = list(heun(network(), start(), way, objective=objective))
    x, _ = their_scaled(scheduler, way)
    return way, ours, whole_steps(list(their_steps(scheduler, network(), x)))


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    ("table", "spacing"),
    [(t, s) for t in TABLES for s in SPACINGS if t != "cosine" or s == "leading"],
)
def test_heun_over_other_betas(table: str, objective: str, spacing: str):
    way, ours, theirs = heun_over(table, objective, spacing)
    assert_same_steps(ours, theirs, way.next_alpha)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("spacing", ["linspace", "trailing"])
def test_heun_from_the_last_of_cosine_betas_agrees_as_far_as_rounding_lets_it(
    objective: str, spacing: str
):
    """These betas leave 0.00005 of the picture, and their x, divided by it, is large: 40,000.

    What is lost with the last digit of that is lost to the slope of the look ahead as well, for
    they take it as (x - x0) / strength; half the way, 20,000 long, is multiplied by it. So fewer
    steps, which lead to less noise at once, differ more: 1e-5 with two, 1e-8 with eight. Twice that
    much is allowed, for our numbers are rounded too; what was seen was a third of it.
    """
    for steps in range(2, 26):
        way, ours, theirs = heun_over("cosine", objective, spacing, steps)
        last_digit = 2**-52 * (start() / way.alpha[0]).abs().max()
        first, ahead = way.sigma[0] / way.alpha[0], way.next_sigma[0] / way.next_alpha[0]
        lost = last_digit / ahead * (first - ahead) / 2
        for number, (mine, (x, x0)) in enumerate(zip(ours, theirs, strict=True)):
            assert (mine.x - x * way.next_alpha[number]).abs().max() <= 2 * lost, steps
            assert (mine.x0 - x0).abs().max() <= 2 * lost, steps


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("churn", [0.0, 4.0, 100.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_euler_over_edms_strengths(prediction: str, churn: float):
    """Theirs adds the noise inside its step, too late for the network: here it is asked after."""
    net, steps = network(), 9
    scheduler = EDMEuler(prediction_type=prediction)
    scheduler.set_timesteps(steps)
    limits = {"s_tmin": 0.05, "s_tmax": 50.0}

    def denoised(x: Tensor, sigma: Tensor, condition: Tensor | None = None) -> Tensor:
        one = sigma.flatten()[0]
        answer = net(scheduler.precondition_inputs(x, one), (one.log() / 4).expand(len(x)))
        return scheduler.precondition_outputs(x, answer, one)

    drawn = generator()
    x, theirs = start() * 80, []
    for t, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        scheduler.scale_model_input(x, t)
        state = drawn.get_state()
        gamma = min(churn / steps, 2**0.5 - 1) if 0.05 <= sigma <= 50 else 0.0
        higher = sigma * (1 + gamma)
        noisier = x
        if gamma:
            noise = torch.randn(x.shape, generator=drawn, dtype=x.dtype)
            noisier = x + 1.007 * noise * (higher**2 - sigma**2) ** 0.5
        drawn.set_state(state)
        out = scheduler.step(
            x,
            t,
            x,
            s_churn=churn,
            s_noise=1.007,
            generator=drawn,
            pred_original_sample=denoised(noisier, higher),
            **limits,
        )
        x = out.prev_sample
        theirs.append((x, denoised(noisier, higher)))

    way = churned(strengths(steps), edm, churn, lowest=0.05, highest=50.0, latest=200.0)
    ours = euler(
        denoised, start() * 80, way, objective="clean", generator=generator(), noise_scale=1.007
    )
    assert_same_steps(list(ours), theirs)


def test_heun_on_a_churned_course_is_edms_algorithm_2():
    """Written here once more as the paper has it, churn at the first step and all."""
    net, n, drawn = network(), 8, generator()
    s_churn, s_min, s_max, s_noise = 5.0, 0.1, 100.0, 1.01

    def denoise(x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        one = t.flatten()[0].double()
        scale = (one**2 + 1) ** 0.5
        return x / scale**2 + net(x / scale, one.log().expand(len(x))) * one / scale

    t = torch.cat([strengths(n).t, torch.zeros(1).double()])
    x, xs, lifted = start() * 80, [], None
    for i in range(n):
        gamma = min(s_churn / n, 2**0.5 - 1) if s_min <= t[i] <= s_max else 0.0
        t_hat = t[i] + gamma * t[i]
        if gamma:
            eps = s_noise * torch.randn(x.shape, generator=drawn, dtype=x.dtype)
            x = x + (t_hat**2 - t[i] ** 2) ** 0.5 * eps
        lifted = x if lifted is None else lifted
        d = (x - denoise(x, t_hat)) / t_hat
        x_next = x + (t[i + 1] - t_hat) * d
        if t[i + 1] != 0:
            d_next = (x_next - denoise(x_next, t[i + 1])) / t[i + 1]
            x_next = x + (t[i + 1] - t_hat) * (d / 2 + d_next / 2)
        xs.append((x_next, denoise(x, t_hat)))
        x = x_next

    assert lifted is not None
    ours_drawn = generator()
    torch.randn(x.shape, generator=ours_drawn, dtype=x.dtype)  # is in the first x already
    way = churned(strengths(n), edm, s_churn, lowest=s_min, highest=s_max, latest=200.0)
    ours = heun(denoise, lifted, way, objective="clean", generator=ours_drawn, noise_scale=s_noise)
    assert_same_steps(list(ours), xs)


# --- flow -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("shift", [1.0, 3.0, 0.5])
@pytest.mark.parametrize("stops", ["their own", "named"])
@pytest.mark.parametrize("sampler", [euler, ddim])
def test_flow_euler(shift: float, stops: str, sampler: Any):
    net, steps = network(), 9
    scheduler = Flow(shift=shift)
    if stops == "named":  # as all flow pipelines do
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps))
        way = course("flow", steps, shift=shift)
    else:
        scheduler.set_timesteps(steps)
        way = as_diffusers.flow_euler(steps, shift=shift)
    x, theirs = start(), []
    for t, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        answer = net(x, t.expand(len(x)))
        theirs.append((scheduler.step(answer, t, x).prev_sample, x - sigma * answer))
        x = theirs[-1][0]
    ours = sampler(lambda x, t, c: net(x, t * 1000, c), start(), way, objective="flow")
    assert_same_steps(list(ours), theirs)


# --- in single precision, their tables as they are ------------------------------------------------


def test_all_samplers_in_float32():
    small = torch.float32
    net = network(small)
    common = {"prediction_type": "epsilon"}
    pairs = {
        "ddpm": (
            DDPM(**common),
            ddpm(
                net,
                start(small),
                as_diffusers.ddpm(LINEAR, 10),
                objective="noise",
                clip=1.0,
                generator=generator(),
                as_diffusers=True,
            ),
            {"generator": generator()},
        ),
        "ddim": (
            DDIM(**common),
            ddim(
                net,
                start(small),
                as_diffusers.ddim(LINEAR, 10),
                objective="noise",
                clip=1.0,
                rederive=False,
            ),
            {},
        ),
        "dpm++": (
            DPM(**common),
            dpm_2m(net, start(small), as_diffusers.dpm(LINEAR, 10), objective="noise"),
            {},
        ),
        "dpm++ sde": (
            DPM(algorithm_type="sde-dpmsolver++", **common),
            dpm_2m_sde(
                net,
                start(small),
                as_diffusers.dpm(LINEAR, 10),
                objective="noise",
                generator=generator(),
            ),
            {"generator": generator()},
        ),
        "euler": (
            Euler(**common),
            euler(net, start(small), as_diffusers.euler(LINEAR, 10), objective="noise"),
            {},
        ),
        "heun": (
            Heun(beta_start=1e-4, beta_end=0.02, **common),
            heun(net, start(small), as_diffusers.euler(LINEAR, 10), objective="noise"),
            {},
        ),
    }
    for name, (scheduler, ours, options) in pairs.items():
        scheduler.set_timesteps(10)
        x, scale = start(small), None
        if name in ("euler", "heun"):
            way = as_diffusers.euler(LINEAR, 10)
            x, scale = (x / way.alpha[0]).to(small), way.next_alpha
        theirs = list(their_steps(scheduler, net, x, **options))
        if name == "heun":
            theirs = whole_steps(theirs)
        assert_same_steps(list(ours), theirs, scale)
