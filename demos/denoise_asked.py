"""What visitors of Out of the Noise ask for, read from what a browser or a picture's settings say.

None of it is taken on trust: a drawing is so many bytes, a number lies between its limits.
"""

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from mmfm.models.denoiser import Denoiser
from mmfm.tasks.generate import names_of, samplers_of
from mmfm.tasks.redraw import Wish

from .parts import base64_of, real_number, whole_number
from .way import LARGEST_SIDE, Told, as_number, as_whole, usual

KIND = "redraw"  # by which this page knows the settings in a picture as its own
NAMES = (
    "drawing", "hidden", "noise", "label", "label_after", "switch_at",
    "steps", "sampler", "guidance", "seed",
)  # fmt: skip

LEAST_INK, MOST_INK = 6, 0.75  # white pixels of 28 x 28 that make a drawing; share that makes none
LIMITS = {
    "noise": (0.05, 1.0),
    "switch_at": (0.0, 1.0),
    "steps": (1, 100),
    "guidance": (0.0, 8.0),
    "seed": (0, 2**31 - 1),
}


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
    noise, steps = as_way(told, den, say)
    label, label_after = (as_label(told.get(name), den, say) for name in ("label", "label_after"))
    switch_at = as_switch(told, steps, say)
    if not den.guidable and None in (label, label if switch_at is None else label_after):
        raise Told(say["must_tell"].format(labels=_listed(names_of(den))))
    wish = Wish(
        noise=noise,
        label=label,
        label_after=label_after,
        switch_at=switch_at,
        steps=steps,
        sampler=as_sampler(told.get("sampler"), den, say),
        guidance=as_guidance(told, den, say),
        seed=as_whole(told, "seed", LIMITS, say),
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


def as_way(told: Mapping[str, Any], den: Denoiser, say: Mapping[str, str]) -> tuple[float, int]:
    """Read how much noise there is to begin with and in how many steps it goes.

    Of a model that leaps only such ways are walked as it was taught.
    """
    noise, steps = as_number(told, "noise", LIMITS, say), as_whole(told, "steps", LIMITS, say)
    most = leaps(den)
    if most == 0:
        return noise, steps
    given, noise = noise, _begun(noise, most)
    if abs(given - noise) > 0.005:  # a third is also said as 33 per cent
        share = f"{1 / most:.0%}"
        raise Told(say["wrong_leap"].format(most=most, share=share, value=f"{given:.1%}"))
    known = _taught(noise, most)
    if steps not in known:
        listed = _listed([str(number) for number in known])
        raise Told(say["wrong_steps"].format(share=f"{noise:.0%}", steps=listed, value=steps))
    return noise, steps


def as_switch(told: Mapping[str, Any], steps: int, say: Mapping[str, str]) -> float | None:
    """Read after which share of the way another label is told; None: never."""
    if told.get("switch_at") is None:
        return None
    switch_at = as_number(told, "switch_at", LIMITS, say)
    if steps == 1:
        raise Told(say["switch_one"])
    return switch_at


def as_guidance(told: Mapping[str, Any], den: Denoiser, say: Mapping[str, str]) -> float | None:
    """Read how strongly a model is guided; None for one that has no labels."""
    if not den.config.classes:
        return None
    guidance = as_number(told, "guidance", LIMITS, say)
    if guidance != 1 and not den.guidable:
        raise Told(say["no_guidance"])
    return guidance


def as_label(label: object, den: Denoiser, say: Mapping[str, str]) -> str | None:
    """Read one of the model's labels, or none."""
    names = names_of(den)
    if label is not None and not names:
        raise Told(say["no_labels"].format(label=f"{label!s:.20}"))
    if label is not None and label not in names:
        raise Told(say["no_label"].format(label=f"{label!s:.20}", labels=_listed(names)))
    return None if label is None else str(label)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20])


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


# --- what a model was taught ----------------------------------------------------------------------


def untold(den: Denoiser) -> str | None:
    """What a model is told where nobody says anything: nothing, if it ever drew so."""
    return None if den.guidable else names_of(den)[0]


def leaps(den: Denoiser) -> int:
    """In how many leaps of one length a model goes from noise to a picture; 0: it walks freely.

    What it draws best in is all that it says of what it was taught. A consistency model leaps
    from anywhere.
    """
    return usual(den, LIMITS).steps if den.config.jumps == "anywhere" else 0


def as_taught(noise: Any, steps: Any, den: Denoiser) -> tuple[Any, Any]:
    """The nearest way to this one that a model was taught; nonsense stays what it is."""
    most = leaps(den)
    if most == 0 or type(noise) not in (int, float) or not 0 <= noise <= 1:
        return noise, steps
    noise = _begun(noise, most)
    known = _taught(noise, most)
    return noise, steps if steps in known else known[-1]


def _begun(noise: float, most: int) -> float:
    """The noise nearest to this at which one of so many leaps begins."""
    return max(1, round(noise * most)) / most


def _taught(noise: float, most: int) -> list[int]:
    """In how many steps it goes from there: in the leaps that are left, all of one length.

    The whole way it also goes in fewer and longer ones.
    """
    left = round(noise * most)
    return [n for n in range(1, most + 1) if most % n == 0] if left == most else [left]


# --- settings of another model --------------------------------------------------------------------


def refitted(told: Mapping[str, Any], den: Denoiser) -> dict[str, Any]:
    """Settings of another model, with what this one does not know as it draws best.

    What cannot be read stays as it is: `as_asked` says what is wrong with it.
    """
    best, names = usual(den, LIMITS), names_of(den)
    fitted = {**told, **_resized(told, den.config.image_size)}
    for name in ("label", "label_after"):
        fitted[name] = told.get(name) if told.get(name) in names else untold(den)
    if told.get("sampler") not in samplers_of(den):
        fitted |= {"sampler": best.sampler, "steps": best.steps}
    fitted["noise"], fitted["steps"] = as_taught(told.get("noise"), fitted.get("steps"), den)
    if not names or fitted["steps"] == 1:
        fitted["switch_at"] = None
    # None: the other one had no labels to be guided to.
    if told.get("guidance") is None or not den.guidable:
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


def from_link(query: Mapping[str, str], den: Denoiser) -> dict[str, Any]:
    """What the page opens with: what a link says, and where it says nonsense, what is usual."""
    best, names, samplers = usual(den, LIMITS), names_of(den), samplers_of(den)
    label, after, sampler = (query.get(name) for name in ("label", "after", "sampler"))
    few = best.steps if den.config.jumps != "none" else max(best.steps, STEPS)
    guidance = real_number(query.get("guidance", ""), *LIMITS["guidance"], best.guidance)
    when = whole_number(query.get("when"), 0, 100, WHEN) / 100
    return {
        "digit": whole_number(query.get("digit"), 0, 9, DIGIT),
        "noise": whole_number(query.get("noise"), 5, 100, NOISE) / 100,
        "label": label if label in names else untold(den),
        "label_after": after if after in names else untold(den),
        "switch_at": when if "after" in query and names else None,
        "steps": whole_number(query.get("steps"), 1, int(LIMITS["steps"][1]), few),
        "sampler": sampler if sampler in samplers else best.sampler,
        "guidance": guidance if den.guidable else best.guidance,
        "seed": whole_number(query.get("seed"), 0, int(LIMITS["seed"][1]), 0),
    }
