"""What Out of the Noise keeps of a way that was walked, and the pictures that one takes away."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from einops import rearrange, reduce
from jaxtyping import Float, Int8, UInt8
from PIL import Image
from torch import Tensor

from mmfm import keepsakes, plot
from mmfm.models.ruler import Ruler, look
from mmfm.tasks.generate import as_bytes
from mmfm.tasks.redraw import Moment

from .denoise_asked import Asked
from .parts import base64_of
from .way import WIDE, film

Bytes = UInt8[Tensor, "y x c"]

TOLD_APART = 0.02  # a change of brightness that is drawn at full strength, where none is larger


@dataclass(eq=False)
class Walk:
    """One way from noise to a picture, as far as it was walked."""

    model: str
    asked: Asked
    steps: list[tuple[Bytes, Bytes]] = field(default_factory=list[tuple[Bytes, Bytes]])
    """What the model was shown at each step, and what it thought was there."""
    end: Bytes | None = None  # what the last step has left

    def add(self, moment: Moment) -> dict[str, Any]:
        """Note a step, and tell the browser of it."""
        noisy, x0, self.end = (as_bytes(x)[0] for x in (moment.noisy, moment.x0, moment.x))
        self.steps.append((noisy, x0))
        return {
            "noisy": base64_of(noisy.numpy()),
            "x0": base64_of(x0.numpy()),
            "removed": base64_of(as_change(moment.removed)[0].numpy()),
            "share": moment.share,
            "label": moment.label,
        }

    @property
    def result(self) -> Bytes:
        """What came back."""
        assert self.end is not None
        return self.end

    def png(self) -> bytes:
        """The drawing, what noise made of it and what came back, side by side."""
        pictures = torch.stack([self._drawn(), self.steps[0][0], self.result])
        sheet = plot.grid(rearrange(pictures, "b y x c -> b c y x") / 255, columns=3, gap=1)
        return keepsakes.png(plot.enlarged(sheet, wide=WIDE), self.asked.about(self.model))

    def gif(self) -> bytes:
        """The whole way: on the left what was there, on the right what the model thought."""
        pairs = [*self.steps, (self.result, self.result)]
        return film([_side_by_side(pair) for pair in pairs], self.asked.about(self.model))

    def file_name(self, ending: str) -> str:
        """What a keepsake is called: by what it shows and from how much noise it came."""
        w = self.asked.wish
        labels = [w.label] if w.switch_at is None else [w.label, w.label_after]
        said = "-to-".join(
            "".join(c if c.isalnum() else "_" for c in label or "free") for label in labels
        )
        return f"{said[:40]}-noise{round(100 * w.noise)}-seed{w.seed}.{ending}"

    def _drawn(self) -> Bytes:
        """The drawing, grey where it was erased."""
        drawing = self.asked.drawing
        if self.asked.hidden is not None:
            drawing = torch.where(self.asked.hidden, 80, drawing).byte()
        return drawing[..., None].expand_as(self.result)


def _side_by_side(pair: Sequence[Bytes]) -> Image.Image:
    pictures = rearrange(torch.stack(list(pair)), "b y x c -> b c y x") / 255
    return plot.enlarged(plot.grid(pictures, columns=2, gap=1), wide=WIDE * 2 // 3)


def as_change(removed: Float[Tensor, "b c y x"]) -> Int8[Tensor, "b y x"]:
    """How the brightness changes, from -127 (more light) to 127 (less), the most of it in full.

    Steps differ in how much they change. Each is shown as strong as nearly all of it bears.
    """
    change = reduce(removed.detach().float().cpu().nan_to_num(), "b c y x -> b y x", "mean")
    most = change.abs().flatten(1).quantile(0.995, dim=1).clamp(min=TOLD_APART)
    return (change / rearrange(most, "b -> b 1 1") * 127).clamp(-127, 127).round().to(torch.int8)


def as_noise(noise: Float[Tensor, "1 c y x"]) -> str:
    """Noise as the browser reads it, to show beforehand what it will bury: 32 is 1."""
    levels = (noise[0].float().cpu() * 32).clamp(-127, 127).round().to(torch.int8)
    return base64_of(rearrange(levels, "c y x -> y x c").contiguous().numpy())


def read_digits(ruler: Ruler, images: Sequence[Bytes]) -> list[tuple[str, float]]:
    """What a digit reader takes each picture for, and how sure it is."""
    if not images:
        return []
    sure = look(ruler, torch.stack(list(images))).logits.softmax(dim=1)
    best, which = sure.max(dim=1)
    return [
        (ruler.labels[n], round(s, 4)) for n, s in zip(which.tolist(), best.tolist(), strict=True)
    ]


def as_grey(ink: UInt8[Tensor, "y x"]) -> Bytes:
    """A drawing as a picture of one channel."""
    return ink[..., None]
