"""Any number of pictures become rows in the common space: in their order, in constant memory.

While the tower works on one batch, the next pictures are read and decoded beside it. What is known
from before is not looked at again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from PIL import Image
from torch import Tensor

from mmfm.data.loading import in_order, prepared
from mmfm.data.pictures import Preprocessing
from mmfm.engines import Engine
from mmfm.files import Stamp

Picture = str | Path | Image.Image

Row = Float32[np.ndarray, " d"]
# What is known of some pictures, each with its number in the list: its row, why it cannot be read,
# or nothing.
Known = Callable[[Sequence[tuple[int, Picture]]], Sequence[Row | str | None]]
Keep = Callable[[list[tuple[str, Stamp, Row]]], None]

_ASKED = 1024  # pictures about which `known` is asked at once


@dataclass(frozen=True)
class Encoded:
    """Some pictures of a list, in its order."""

    pictures: list[Picture]
    rows: Float[Tensor, "r d"]  # of those that can be read
    errors: dict[int, str]  # of the others: place among these pictures, and why

    def each(self) -> Iterator[Float[Tensor, " d"] | str]:
        """For each picture its row, or why it cannot be read."""
        rows = iter(self.rows)
        for place in range(len(self.pictures)):
            yield self.errors[place] if place in self.errors else next(rows)


@dataclass(frozen=True)
class _Asked:
    """Some pictures, and what is known of them."""

    pictures: list[Picture]
    known: Sequence[Row | str | None]

    @property
    def rows(self) -> list[Row]:
        return [row for row in self.known if isinstance(row, np.ndarray)]

    @property
    def settled(self) -> bool:
        """All have rows already: no one needs to open a file."""
        return len(self.rows) == len(self.pictures)


@dataclass(frozen=True)
class _Looked:
    image: Float[Tensor, "c h w"] | str | None  # None: its row is known
    stamp: Stamp | None = None


def encode(
    pictures: Iterable[tuple[int, Picture]],
    engine: Engine,
    preprocessing: Preprocessing,
    *,
    exact: bool = False,
    batch: int | None = None,
    known: Known | None = None,
    keep: Keep | None = None,
) -> Iterator[Encoded]:
    """Yield some pictures at a time with their rows.

    `exact`: every file is decoded in full, as the publisher's own code does; else a large JPEG at
    a smaller size. `keep` is told what was seen, batch by batch.
    """

    def look(one: tuple[Picture, Row | str | None]) -> _Looked:
        picture, row = one
        if row is not None:
            return _Looked(row if isinstance(row, str) else None)
        # Before it is opened: a file that changes meanwhile is not taken for what was seen.
        stamp = None
        if keep is not None and isinstance(picture, str | Path):
            stamp = Stamp.of(picture)
        return _Looked(prepared(picture, preprocessing, exact=exact), stamp)

    for settled, several in groupby(_asked(pictures, known), key=lambda asked: asked.settled):
        if settled:
            for asked in several:
                yield Encoded(asked.pictures, torch.from_numpy(np.stack(asked.rows)), {})
            continue
        some = (one for asked in several for one in zip(asked.pictures, asked.known, strict=True))
        for part, looked in in_order(look, some, batch=batch or engine.batch):
            images = [one.image for one in looked if isinstance(one.image, Tensor)]
            fresh = engine(torch.stack(images)).numpy() if images else []
            made = iter(fresh)
            rows = [
                next(made) if isinstance(one.image, Tensor) else row
                for (_, row), one in zip(part, looked, strict=True)
            ]
            if keep is not None:
                seen = zip(part, looked, rows, strict=True)
                keep(
                    [
                        (str(picture), one.stamp, row)
                        for (picture, _), one, row in seen
                        if one.stamp is not None and isinstance(row, np.ndarray)
                    ]
                )
            errors = {place: x.image for place, x in enumerate(looked) if isinstance(x.image, str)}
            there = [row for row in rows if isinstance(row, np.ndarray)]
            matrix = np.stack(there) if there else np.empty((0, 0), np.float32)
            yield Encoded([picture for picture, _ in part], torch.from_numpy(matrix), errors)


def _asked(pictures: Iterable[tuple[int, Picture]], known: Known | None) -> Iterator[_Asked]:
    numbered = iter(pictures)
    while some := list(islice(numbered, _ASKED if known is not None else 1)):
        rows = [None] * len(some) if known is None else known(some)
        yield _Asked([picture for _, picture in some], rows)
