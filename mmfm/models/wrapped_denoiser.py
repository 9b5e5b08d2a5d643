"""Denoisers of diffusers', run behind the same methods as ours: a `UNet2DModel` and its betas.

Such a network counts betas, small portions of noise: 999 says that all thousand are on the picture,
0 that one is. Here it is told our time: 0 is the picture, k / n is after k of n portions, 1 after
the last. Its schedule has no name, but is a table: what is left of the picture after each portion.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from mmfm.errors import BadInput
from mmfm.models.denoiser import Condition, Denoiser, DenoiserConfig, Objective

PIPELINES = ("DDPMPipeline", "DDIMPipeline", "PNDMPipeline")  # a network, betas, nothing else
OUR_PIPELINE = ["pipeline", "DenoiserPipeline"]  # what `mmfm export` writes where those don't do

# Schedulers of networks that count betas; what they sample by is ours to choose.
_SCHEDULERS = (
    "DDPMScheduler",
    "DDIMScheduler",
    "PNDMScheduler",
    "DPMSolverMultistepScheduler",
    "EulerDiscreteScheduler",
)
_CLIPPING = ("DDPMScheduler", "DDIMScheduler")  # those that clip a guess, unless told not to
_BETAS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
)
_DDIM = ("linear", "scaled_linear", "squaredcos_cap_v2")  # ways to lay out betas that it knows
_OBJECTIVES: dict[str, Objective] = {
    "epsilon": "noise",
    "sample": "clean",
    "v_prediction": "velocity",
}
_MOST_BETAS = 100_000
_STEPS = 50  # to sample in, unless said otherwise, or fewer that divide the betas

# What attention was called in files from before 2023.
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_OLD_NAME = re.compile(rf"(?<=\.attentions\.)(\d+)\.({'|'.join(_OLD_NAMES)})(?=\.)")


@dataclass(frozen=True)
class StockConfig(DenoiserConfig):
    """What callers ask of a denoiser's config, said of a network of diffusers'."""

    sides: tuple[int, int] = (0, 0)  # rows and columns; `image_size` is the larger
    # What is left of the picture's variance after each beta. Who trains needs a name here and gets
    # none; who samples takes either.
    schedule: tuple[float, ...] = field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=(), repr=False
    )

    def __post_init__(self) -> None:
        """What our own networks demand of theirs does not hold here."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of its pictures."""
        return self.channels, *self.sides


@dataclass(frozen=True)
class Noising:
    """How noise was added when a network learned, and what it was asked for."""

    kept: tuple[float, ...] = field(repr=False)  # of the picture's variance, after each beta
    objective: Objective
    clip: float | None  # its guesses of the picture are kept to this while it samples


class StockDenoiser(Denoiser):
    """A `UNet2DModel` that is told our time, and answers as `config.objective` says."""

    ours = False
    clip: float | None

    def __init__(
        self,
        model: nn.Module,
        config: StockConfig,
        noising: Noising,
        *,
        labels: Sequence[str] = (),
        null: bool = False,
        scheduler: Mapping[str, Any] | None = None,
    ) -> None:
        nn.Module.__init__(self)  # not Denoiser's, which makes a network of ours
        self.model: Any = model
        self.span = None  # it leads a small step on, never to another time
        self.config = config
        self.labels = tuple(labels)
        self.clip = noising.clip
        # Whether one class more stands for none in particular.
        self.guidable = null or config.classes == 0
        self.scheduler = dict(scheduler or {})  # its settings, as diffusers wrote them
        steps = _usual_steps(len(noising.kept))
        self.sampling = {"sampler": "ddim", "steps": steps, "guidance": 1.0}
        self.name, self.origin = "", "random"

    def forward(
        self,
        x: Float[Tensor, "b c y x"],
        t: Float[Tensor, " b"],
        condition: Condition | None = None,
        to: Float[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b c y x"]:
        """What `config.objective` asks for, of pictures at times from 0 (clean) to 1 (noise)."""
        self._check(x, t, condition, to)
        weight = next(self.model.parameters())
        labels = None
        if self.config.classes:
            labels = torch.as_tensor(self.null if condition is None else condition)
            labels = labels.to(weight.device).expand(len(x))
        t = t.to(weight.device).expand(len(x))
        return self.answer(x.to(weight.dtype), t, labels).to(x.dtype)

    def answer(
        self,
        x: Float[Tensor, "b c y x"],
        t: Float[Tensor, " b"],
        labels: Int64[Tensor, " b"] | None,
    ) -> Float[Tensor, "b c y x"]:
        """What the network says, asked as it wants to be; nothing is checked."""
        said = self.model(x, self.places(t), class_labels=labels, return_dict=False)[0]
        # Networks that learned how much noise to draw say that behind what they say of the picture.
        return said[:, : self.config.channels]

    @property
    def says_more(self) -> bool:
        """Whether it also says how much noise to draw, which is not asked of it here."""
        return self.model.config["out_channels"] > self.config.channels

    def places(self, t: Float[Tensor, " b"]) -> Tensor:
        """Our times as it counts its betas: from 0 on, and between two of them in fractions."""
        places = t * len(self.config.schedule) - 1
        # It learned whole numbers, and a time in float32 may miss them by a rounding.
        whole = places.round()
        places = torch.where((places - whole).abs() < 1e-3, whole, places).clamp(min=0)
        learned = self.model.config["time_embedding_type"] == "learned"  # a row of a table each
        return places.round().long() if learned else places


def _usual_steps(betas: int) -> int:
    return max(steps for steps in range(1, min(_STEPS, betas) + 1) if betas % steps == 0)


# --- from settings of diffusers' ------------------------------------------------------------------


def check_index(index: Mapping[str, Any], name: str) -> None:
    """Refuse a pipeline that is more than a network and its betas."""
    kind = index.get("_class_name")
    if kind != OUR_PIPELINE and kind not in PIPELINES:
        raise BadInput(
            f"{name}: a pipeline of the kind {kind!r:.60}; of diffusers' mmfm wraps "
            f"{', '.join(PIPELINES)}"
        )


def network(settings: Mapping[str, Any], name: str) -> nn.Module:
    """What diffusers builds from the settings of a `UNet2DModel`, with fresh weights."""
    kind = settings.get("_class_name")
    if kind != "UNet2DModel":
        raise BadInput(f"{name}: its network is a {kind!r:.60}; mmfm wraps UNet2DModel")
    from inspect import signature

    from diffusers.models.unets.unet_2d import UNet2DModel

    given = {key: value for key, value in settings.items() if not key.startswith("_")}
    unknown = sorted(set(given) - set(signature(UNet2DModel.__init__).parameters))
    if unknown:
        raise BadInput(f"{name}: settings that this version of diffusers lacks: {unknown[0]!r:.60}")
    try:
        return UNet2DModel(**given)
    except Exception as error:  # what is wrong with settings shows anywhere in there
        raise _unbuilt(name, error) from error


def _unbuilt(name: str, error: Exception) -> BadInput:
    reason = " ".join(str(error).split())
    return BadInput(f"{name}: diffusers cannot build it ({type(error).__name__}: {reason:.200})")


def noising(settings: Mapping[str, Any], name: str) -> Noising:
    """What a scheduler's settings say of the training; without any, those of DDPM."""
    kind = settings.get("_class_name", "DDPMScheduler")
    if kind not in _SCHEDULERS:
        raise BadInput(
            f"{name}: its scheduler is a {kind!r:.60}; mmfm knows the betas of "
            f"{', '.join(_SCHEDULERS)}"
        )
    betas = settings.get("num_train_timesteps", 1000)
    if type(betas) is not int or not 1 <= betas <= _MOST_BETAS:
        raise BadInput(f"{name}: a scheduler of {betas!r:.40} betas; from 1 to {_MOST_BETAS:,} are")
    asked = settings.get("prediction_type", "epsilon")
    if asked not in _OBJECTIVES:
        raise BadInput(
            f"{name}: predicts {asked!r:.40}; mmfm knows {', '.join(_OBJECTIVES)} of diffusers'"
        )
    return Noising(
        _kept(settings, name), _OBJECTIVES[asked], _clip(settings, kind in _CLIPPING, name)
    )


def _kept(settings: Mapping[str, Any], name: str) -> tuple[float, ...]:
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    # Of those who count betas this one knows all ways to lay them out; the numbers are the same.
    said: dict[str, Any] = {key: settings[key] for key in _BETAS if key in settings}
    try:
        kept = DDPMScheduler(**said).alphas_cumprod.double()
    except Exception as error:
        raise _unbuilt(name, error) from error
    falls = torch.cat([kept.new_ones(1), kept]).diff() <= 0
    if not (len(kept) and falls.all() and 0 <= kept[-1] <= kept[0] < 1):
        raise BadInput(f"{name}: betas that do not turn a picture into noise step by step")
    return tuple(kept.tolist())


def _clip(settings: Mapping[str, Any], usual: bool, name: str) -> float | None:
    if settings.get("thresholding"):
        most = settings.get("sample_max_value", 1.0)
        if most != 1:  # at 1 it is plain clipping
            raise BadInput(f"{name}: bounds its guesses up to {most!r:.20}, which mmfm does not do")
        return 1.0
    if not settings.get("clip_sample", usual):
        return None
    bound = settings.get("clip_sample_range", 1.0)
    if not isinstance(bound, int | float) or not isfinite(bound) or bound <= 0:
        raise BadInput(f"{name}: clips its guesses to {bound!r:.20}, which is no bound")
    return float(bound)


def scheduler_settings(den: StockDenoiser) -> dict[str, Any]:
    """Settings of a `DDIMScheduler` that goes through the same noise as mmfm does."""
    said, kept = den.scheduler, den.config.schedule
    asked = {objective: name for name, objective in _OBJECTIVES.items()}
    known = said.get("trained_betas") is None and said.get("beta_schedule", "linear") in _DDIM
    betas: dict[str, Any] = {key: said[key] for key in _BETAS if key in said}
    if not known:
        left = zip([1.0, *kept], kept, strict=False)
        betas = {"trained_betas": [1 - after / before for before, after in left]}
    return {
        "_class_name": "DDIMScheduler",
        **betas,
        "num_train_timesteps": len(kept),
        "prediction_type": asked[den.config.objective],
        "clip_sample": den.clip is not None,
        "clip_sample_range": 1.0 if den.clip is None else den.clip,
        "timestep_spacing": "trailing",
        "set_alpha_to_one": True,
        "steps_offset": 0,
    }


def labels_of(index: Mapping[str, Any], classes: int, name: str) -> tuple[str, ...]:
    """The names of what it draws: `id2label` of its pipeline, as `DiTPipeline` has it; or none."""
    known = index.get("id2label")
    if known is None or not classes:
        return ()
    numbers = [str(number) for number in range(len(known))]
    if not isinstance(known, Mapping) or sorted(known) != sorted(numbers):
        raise BadInput(f"{name}: its id2label is no table of labels from 0 on")
    if len(known) not in (classes, classes - 1):
        raise BadInput(f"{name}: {len(known)} labels for a network of {classes} classes")
    table = cast("Mapping[str, Any]", known)
    return tuple(str(table[number]) for number in numbers)


def config(
    given: Mapping[str, Any], noising: Noising, labels: Sequence[str], name: str
) -> StockConfig:
    """What a network is, from its own whole settings and what is known of its training.

    One class more than there are labels is that of pictures without one, as `DiTPipeline` has it.
    """
    channels, said, told = given["in_channels"], given["out_channels"], given["num_class_embeds"]
    if said not in (channels, 2 * channels):
        raise BadInput(f"{name}: makes {said} channels of {channels}; mmfm wraps what keeps them")
    if given["time_embedding_type"] == "fourier":
        raise BadInput(f"{name}: is told how strong the noise is, not which beta; mmfm wraps those")
    if given["class_embed_type"] is not None:
        raise BadInput(
            f"{name}: is told classes by {given['class_embed_type']!r:.40}; mmfm wraps what is "
            "told them by number"
        )
    sides = given["sample_size"]
    sides = (sides, sides) if type(sides) is int else tuple(sides or ())
    if len(sides) != 2 or any(type(side) is not int or side < 1 for side in sides):
        raise BadInput(f"{name}: its settings do not say how large its pictures are (sample_size)")
    widths = tuple(given["block_out_channels"])
    looks = [n for n, block in enumerate(given["down_block_types"]) if "Attn" in block]
    return StockConfig(
        image_size=max(sides),
        sides=sides,
        channels=channels,
        classes=len(labels) or told or 0,
        embed=given["time_embedding_dim"] or 4 * widths[0],
        widths=widths,
        depths=len(widths) * (given["layers_per_block"],),
        middle=0 if given["mid_block_type"] is None else 1,
        attention=tuple(looks),
        groups=given["norm_num_groups"],
        head_dim=given["attention_head_dim"] or widths[-1],
        mlp=0,
        objective=noising.objective,
        schedule=noising.kept,
    )


def check_shapes(model: nn.Module, config: StockConfig, name: str) -> None:
    """Let a network of shapes without numbers look at a picture without pixels, to see if it can.

    Sides that cannot be halved often enough, say, show only there.
    """
    weight = next(model.parameters())
    x = torch.empty(1, *config.shape, device=weight.device, dtype=weight.dtype)
    time = torch.zeros(1, dtype=torch.long, device=weight.device)
    labels = time if config.classes else None
    try:
        with torch.no_grad():
            made = model(x, time, class_labels=labels, return_dict=False)[0]
    except Exception as error:
        _, rows, columns = config.shape
        raise BadInput(
            f"{name}: its network cannot draw pictures of {rows}x{columns} "
            f"({' '.join(str(error).split()):.200})"
        ) from error
    if made.shape[-2:] != x.shape[-2:]:
        raise BadInput(f"{name}: its network answers with pictures of another size")


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names of today."""
    return {_OLD_NAME.sub(_new_name, name): weight for name, weight in state.items()}


def _new_name(found: re.Match[str]) -> str:
    return f"{found[1]}.{_OLD_NAMES[found[2]]}"
