"""What visitors of Out of the Noise ask for, read from what a browser or a picture's settings say.

None of it is taken on trust: a drawing is so many bytes, a number lies between its limits.
"""

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from mmfm.errors import MmfmError
from mmfm.models.denoiser import Denoiser
from mmfm.tasks.generate import Sampling, chosen, names_of, samplers_of
from mmfm.tasks.redraw import Wish

from .parts import base64_of, real_number, whole_number

KIND = "redraw"  # by which this page knows the settings in a picture as its own
NAMES = (
    "drawing", "hidden", "noise", "label", "label_after", "switch_at",
    "steps", "sampler", "guidance", "seed",
)  # fmt: skip

LARGEST_SIDE = 96  # of a model's pictures, each of which is sent three times a step
LEAST_INK, MOST_INK = 6, 0.75  # white pixels of 28 x 28 that make a drawing; share that makes none
LIMITS = {
    "noise": (0.05, 1.0),
    "switch_at": (0.0, 1.0),
    "steps": (1, 100),
    "guidance": (0.0, 8.0),
    "seed": (0, 2**31 - 1),
}


class Told(MmfmError):
    """What a visitor did wrong, in their own language already."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A drawing, and what is to become of it."""

    drawing: UInt8[Tensor, "y x"]
    hidden: Bool[Tensor, "y x"] | None
    wish: Wish

    def images(self, channels: int) -> Float[Tensor, "1 c y x"]:
        """The drawing as a model of so many channels is shown it."""
        return repeat(self.drawing.float() / 127.5 - 1, "y x -> 1 c y x", c=channels)

    def about(self, model: str) -> dict[str, Any]:
        """How all this can be had again; `as_asked` reads it."""
        w = self.wish
        bits = None if self.hidden is None else np.packbits(self.hidden.numpy().ravel())
        return {
            "kind": KIND,
            "model": model,
            "drawing": base64_of(self.drawing.numpy()),
            "hidden": None if bits is None else base64_of(bits),
            "noise": w.noise,
            "label": w.label,
            "label_after": w.label_after,
            "switch_at": w.switch_at,
            "steps": w.steps,
            "sampler": w.sampler,
            "guidance": w.guidance,
            "seed": w.seed,
        }


def as_asked(told: Mapping[str, Any], den: Denoiser, say: Mapping[str, str]) -> Asked:
    """Read a drawing and the wishes for it."""
    size = den.config.image_size
    drawing = as_drawing(told.get("drawing"), size, say)
    hidden = as_hidden(told.get("hidden"), size, say)
    switch_at = told.get("switch_at")
    guidance = as_number(told, "guidance", say) if den.config.classes else None
    wish = Wish(
        noise=as_number(told, "noise", say),
        label=as_label(told.get("label"), den, say),
        label_after=as_label(told.get("label_after"), den, say),
        switch_at=None if switch_at is None else as_number(told, "switch_at", say),
        steps=as_whole(told, "steps", say),
        sampler=as_sampler(told.get("sampler"), den, say),
        guidance=guidance,
        seed=as_whole(told, "seed", say),
        hidden=None if hidden is None else rearrange(hidden, "y x -> 1 1 y x"),
    )
    ink = drawing.float().mean().item() / 255
    if wish.noise < 1 and hidden is None and ink * 28 * 28 < LEAST_INK:
        raise Told(say["empty"])
    if (wish.noise < 1 or hidden is not None) and ink > MOST_INK:
        raise Told(say["full"])
    return Asked(drawing, hidden, wish)


def as_drawing(text: object, size: int, say: Mapping[str, str]) -> UInt8[Tensor, "y x"]:
    """Read a byte for each pixel of a square."""
    data = _decoded(text, size * size)
    if data is None:
        raise Told(say["no_drawing"].format(size=size))
    return torch.from_numpy(np.frombuffer(data, np.uint8).reshape(size, size).copy())


def as_hidden(text: object, size: int, say: Mapping[str, str]) -> Bool[Tensor, "y x"] | None:
    """Read a bit for each pixel of a square; where none is set, nothing is hidden."""
    if text is None:
        return None
    data = _decoded(text, -(-size * size // 8))
    if data is None:
        raise Told(say["no_hidden"].format(size=size))
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=size * size)
    return torch.from_numpy(bits.astype(bool).reshape(size, size)) if bits.any() else None


def as_number(told: Mapping[str, Any], name: str, say: Mapping[str, str]) -> float:
    """Read a number between the limits that this page sets to it."""
    value, (low, high) = told.get(name), LIMITS[name]
    # NaN lies between no two numbers.
    if type(value) not in (int, float) or not low <= value <= high:
        given = "-" if value is None else f"{value!r:.20}"
        raise Told(say["out_of_range"].format(name=say[name], value=given, low=low, high=high))
    return float(value)


def as_whole(told: Mapping[str, Any], name: str, say: Mapping[str, str]) -> int:
    """Read a whole number; one that JSON or a text box has made 20.0 is whole, too."""
    value = as_number(told, name, say)
    if value != int(value):
        raise Told(say["not_whole"].format(name=say[name], value=f"{value:g}"))
    return int(value)


def as_label(label: object, den: Denoiser, say: Mapping[str, str]) -> str | None:
    """Read one of the model's labels, or none."""
    names = names_of(den)
    if label is not None and label not in names:
        known = ", ".join(names[:20]) or "-"
        raise Told(say["no_label"].format(label=f"{label!s:.20}", labels=known))
    return None if label is None else str(label)


def as_sampler(sampler: object, den: Denoiser, say: Mapping[str, str]) -> str:
    """Read one of the samplers that go with the model."""
    known = samplers_of(den)
    if sampler not in known:
        raise Told(say["no_sampler"].format(name=f"{sampler!s:.20}", samplers=", ".join(known)))
    return str(sampler)


def _decoded(text: object, count: int) -> bytes | None:
    """So many bytes, as base64 writes them; None for anything else."""
    if not isinstance(text, str) or len(text) != -(-count // 3) * 4:
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if len(data) == count else None


# --- settings of another model --------------------------------------------------------------------


def refitted(told: Mapping[str, Any], den: Denoiser) -> dict[str, Any]:
    """Settings of another model, with what this one does not know as it draws best.

    What cannot be read stays as it is: `as_asked` says what is wrong with it.
    """
    best, names = usual(den), names_of(den)
    fitted = {**told, **_resized(told, den.config.image_size)}
    for name in ("label", "label_after"):
        fitted[name] = told.get(name) if told.get(name) in names else None
    if not names:
        fitted["switch_at"] = None
    if told.get("sampler") not in samplers_of(den):
        fitted |= {"sampler": best.sampler, "steps": best.steps}
    if told.get("guidance") is None:  # the other one had no labels to be guided to
        fitted["guidance"] = best.guidance
    return fitted


def _resized(told: Mapping[str, Any], size: int) -> dict[str, str]:
    """A drawing of another size, and what is erased of it, brought to this one."""
    text, bits = told.get("drawing"), told.get("hidden")
    count = len(text) * 3 // 4 - text.count("=") if isinstance(text, str) else 0
    side = math.isqrt(max(0, count))
    drawn = _decoded(text, side * side)
    if not drawn or side == size or side > LARGEST_SIDE:
        return {}
    ink = np.frombuffer(drawn, np.uint8).reshape(side, side)
    smooth = Image.fromarray(ink).resize((size, size), Image.Resampling.HAMMING)
    fitted = {"drawing": base64_of(np.asarray(smooth))}
    if erased := _decoded(bits, -(-side * side // 8)):
        hidden = np.unpackbits(np.frombuffer(erased, np.uint8), count=side * side)
        hard = Image.fromarray(hidden.reshape(side, side)).resize(
            (size, size), Image.Resampling.NEAREST
        )
        fitted["hidden"] = base64_of(np.packbits(np.asarray(hard).ravel()))
    return fitted


# --- a link ---------------------------------------------------------------------------------------

STEPS = 20  # to begin with: enough to see something happen, where the model draws best in fewer
NOISE, WHEN, DIGIT = 60, 50, 7  # per cent, per cent of the way, an example


def usual(den: Denoiser) -> Sampling:
    """How a model draws best, as far as this page goes."""
    best, (_, most), (low, high) = chosen(den), LIMITS["steps"], LIMITS["guidance"]
    guidance = min(max(best.guidance, low), high)
    return replace(best, steps=min(best.steps, int(most)), guidance=guidance)


def from_link(query: Mapping[str, str], den: Denoiser) -> dict[str, Any]:
    """What the page opens with: what a link says, and where it says nonsense, what is usual."""
    best, names, samplers = usual(den), names_of(den), samplers_of(den)
    label, after, sampler = (query.get(name) for name in ("label", "after", "sampler"))
    few = best.steps if den.config.jumps != "none" else max(best.steps, STEPS)
    guidance = query.get("guidance", "")
    when = whole_number(query.get("when"), 0, 100, WHEN) / 100
    return {
        "digit": whole_number(query.get("digit"), 0, 9, DIGIT),
        "noise": whole_number(query.get("noise"), 5, 100, NOISE) / 100,
        "label": label if label in names else None,
        "label_after": after if after in names else None,
        "switch_at": when if "after" in query and names else None,
        "steps": whole_number(query.get("steps"), 1, int(LIMITS["steps"][1]), few),
        "sampler": sampler if sampler in samplers else best.sampler,
        "guidance": real_number(guidance, *LIMITS["guidance"], best.guidance),
        "seed": whole_number(query.get("seed"), 0, int(LIMITS["seed"][1]), 0),
    }
