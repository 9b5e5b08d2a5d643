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
from mmfm.unfinished import Stamp

Picture = str | Path | Image.Image

Row = Float[Tensor, " d"]
# What is known of some pictures, each with its number in the list: its row, why it cannot be read,
# or nothing.
Known = Callable[[Sequence[tuple[int, Picture]]], Sequence[Row | str | None]]
Keep = Callable[[list[tuple[str, Stamp, Float32[np.ndarray, " d"]]]], None]

_ASKED = 1024  # pictures about which `known` is asked at once


@dataclass(frozen=True)
class _Asked:
    picture: Picture
    known: Row | str | None
    all_known: bool  # and so are its neighbours: no one needs to open a file


@dataclass(frozen=True)
class _Looked:
    image: Row | str | Tensor
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
) -> Iterator[tuple[list[Picture], list[Row | str]]]:
    """Yield some pictures at a time with the row of each, or why it cannot be read.

    `exact`: every file is decoded in full, as the publisher's own code does; else a large JPEG at
    a smaller size. `keep` is told what was seen, batch by batch.
    """

    def look(asked: _Asked) -> _Looked:
        if asked.known is not None:
            return _Looked(asked.known)
        # Before it is opened: a file that changes meanwhile is not taken for what was seen.
        is_file = keep is not None and isinstance(asked.picture, str | Path)
        stamp = Stamp.of(asked.picture) if is_file else None  # type: ignore[arg-type]
        return _Looked(prepared(asked.picture, preprocessing, exact=exact), stamp)

    for all_known, some in groupby(_asked(pictures, known), key=lambda asked: asked.all_known):
        if all_known:
            while part := list(islice(some, _ASKED)):
                yield [a.picture for a in part], [a.known for a in part if a.known is not None]
            continue
        for part, looked in in_order(look, some, batch=batch or engine.batch):
            fresh = [
                i
                for i, (asked, one) in enumerate(zip(part, looked, strict=True))
                if asked.known is None and isinstance(one.image, Tensor)
            ]
            rows = [one.image for one in looked]
            if fresh:
                made = engine(torch.stack([rows[i] for i in fresh]))  # type: ignore[misc]
                for i, row in zip(fresh, made, strict=True):
                    rows[i] = row
            if keep is not None:
                keep(
                    [
                        (str(part[i].picture), stamp, rows[i].numpy())  # type: ignore[union-attr]
                        for i in fresh
                        if (stamp := looked[i].stamp) is not None
                    ]
                )
            yield [asked.picture for asked in part], rows


def _asked(pictures: Iterable[tuple[int, Picture]], known: Known | None) -> Iterator[_Asked]:
    numbered = iter(pictures)
    if known is None:
        yield from (_Asked(picture, None, False) for _, picture in numbered)
        return
    while some := list(islice(numbered, _ASKED)):
        rows = known(some)
        whole = all(row is not None for row in rows)
        yield from (
            _Asked(picture, row, whole) for (_, picture), row in zip(some, rows, strict=True)
        )
