"""What Drawn from Words keeps of what was drawn, and the pictures that one takes away."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from mmfm import keepsakes, plot
from mmfm.models.reading import breaks
from mmfm.models.words import Reader
from mmfm.tasks.draw_words import Moment, Word, by_word, words_of
from mmfm.tasks.generate import as_bytes

from .parts import base64_of
from .text_to_picture_asked import Asked
from .way import WIDE, film

Bytes = UInt8[Tensor, "b y x c"]

LINGERING = 0.25  # seconds of a picture on the way from one text to another
LEAST_SPAN = 0.05  # between dark and bright: places that differ by less look alike


@dataclass(eq=False)
class Drawn:
    """What was asked for, and the way to it as far as it was walked."""

    model: str
    asked: Asked
    words: list[list[Word]]  # of each text, for whom the places of its picture are shown
    noisy: list[Bytes] = field(default_factory=list[Bytes])  # what the model was shown at each step
    end: Bytes | None = None  # what the last step has left

    @classmethod
    def begin(cls, model: str, asked: Asked, reader: Reader) -> "Drawn":
        """Before the first step. On the way between two texts no place reads one text alone."""
        texts = () if asked.mode == "between" else asked.texts
        return cls(model, asked, [words_of(reader, text) for text in texts])

    def add(self, moment: Moment, shares: Float[Tensor, "b m y x"] | None) -> dict[str, Any]:
        """Note a step, and tell the browser of it."""
        noisy, x0, self.end = (as_bytes(x) for x in (moment.noisy, moment.x0, moment.x))
        self.noisy.append(noisy)
        pairs = [] if shares is None else zip(shares, self.words, strict=True)
        return {
            "noisy": base64_of(noisy.numpy()),
            "x0": base64_of(x0.numpy()) if self.words else None,  # of many it is too much to send
            "share": moment.share,
            "looks": [as_look(by_word(share, words)) for share, words in pairs],
        }

    @property
    def result(self) -> Bytes:
        """What was drawn."""
        assert self.end is not None
        return self.end

    def png(self) -> bytes:
        """All pictures side by side."""
        return keepsakes.png(self._sheet(self.result), self.asked.about(self.model))

    def gif(self) -> bytes:
        """The way from noise to the pictures; or, between two texts, there and back again."""
        about = self.asked.about(self.model)
        if self.asked.mode == "between":
            there = [self._sheet(picture[None]) for picture in self.result]
            return keepsakes.gif(
                [*there, *there[-2:0:-1]], about, seconds=LINGERING, hold=LINGERING
            )
        return film([self._sheet(images) for images in (*self.noisy, self.result)], about)

    def file_name(self, ending: str) -> str:
        """What a keepsake is called: by what was said and the noise it came from."""
        said = "-to-".join(
            "_".join("".join(c if c.isalnum() else " " for c in text).split()) or "picture"
            for text in self.asked.texts
        )
        return f"{said[:60]}-seed{self.asked.wish.seed}.{ending}"

    def _sheet(self, images: Bytes) -> Image.Image:
        pictures = rearrange(images, "b y x c -> b c y x") / 255
        wide = WIDE if len(images) < 3 else 2 * WIDE
        return plot.enlarged(plot.grid(pictures, columns=len(images), gap=1), wide=wide)


def as_look(shares: Float[Tensor, "w y x"]) -> dict[str, Any]:
    """How much each place took of each word, as the browser reads it, in levels up to 255.

    These lead from the word's least to its most: of how much of it is taken at all they tell
    nothing, and each word keeps its shades.
    """
    least, most = (rearrange(ends, "w -> w 1 1") for ends in shares.flatten(1).aminmax(dim=1))
    span = (most - least).clamp(min=LEAST_SPAN)
    least = (most - span).clamp(min=0)
    levels = ((shares - least) / span * 255).round().to(torch.uint8).cpu()
    return {
        "grid": list(shares.shape[1:]),
        "least": [round(share, 5) for share in least.flatten().tolist()],
        "span": [round(share, 5) for share in span.flatten().tolist()],
        "levels": base64_of(levels.numpy()),
    }


def as_noise(noise: Float[Tensor, "1 c y x"]) -> str:
    """Noise as a picture, to show beforehand what a picture comes from."""
    return base64_of(as_bytes(noise).numpy())


def told_words(words: Sequence[Word], reader: Reader) -> list[dict[str, Any]]:
    """The words of a text, as the browser shows them; and which of them nobody taught the model."""
    return [
        {
            "text": word.text,
            "unread": not word.places,
            "spelled": breaks(reader.tokenizer, word.text),
        }
        for word in words
    ]
