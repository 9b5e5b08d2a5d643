"""Searching on Photos: the pictures of an album that are nearest to a wish."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from mmfm.data.pictures import open_picture
from mmfm.errors import NotHere
from mmfm.models.clip import TwoTowers
from mmfm.store import Store
from mmfm.tasks.search import search

from .parts import MAX_PIXELS
from .photos_asked import Wish
from .photos_folders import Album, real_path, shown_name

MOST_SHOWN = 960  # in one list


@dataclass(frozen=True, eq=False)
class Hits:
    """Pictures of an album, the nearest to a wish first."""

    wish: Wish
    order: list[int]
    scores: list[float]


def nearest(
    clip: TwoTowers, album: Album, wish: Wish, store: Store, warn: Callable[[str], None]
) -> Hits:
    """The pictures of an album that are nearest to a wish; the one it begins with is left out."""
    plus: list[str | Path | Image.Image] = [wish.text] if wish.text else []
    if wish.like is not None:
        file = real_path(album, wish.like)
        if file is None:
            raise NotHere(f"picture {wish.like + 1}: no longer there")
        side = clip.preprocessing.short_side
        plus.append(open_picture(file, at_least=side, max_pixels=MAX_PIXELS))
    minus = [wish.minus] if wish.minus else []
    folders = [album.place.folder]
    hits = search(clip, plus, minus, store=store, n=MOST_SHOWN + 1, folders=folders, warn=warn)
    # The store may know more of the folder than may be shown: files behind links that lead out.
    found = [(album.number[path], hit.score) for hit in hits if (path := str(hit.path)) in
             album.number and album.number[path] != wish.like]  # fmt: skip
    return Hits(wish, [number for number, _ in found], [score for _, score in found])


def hit_tiles(album: Album, hits: Hits, some: slice) -> list[dict[str, Any]]:
    """Some of the pictures that were found, as the browser is sent them."""
    return [
        {"id": number, "name": shown_name(album.paths[number], album.place), "score": score}
        for number, score in zip(hits.order[some], hits.scores[some], strict=True)
    ]
