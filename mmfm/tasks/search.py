"""Search the indexed pictures: by words, by a picture, by both; and find those that are alike.

    search(clip, ["beach"], minus=["people"], store=Store())   # words
    search(clip, [Path("dog.jpg"), "in the snow"], store=Store())  # a picture, and words
    duplicates(clip, store=Store())                              # groups of those that are alike

Every stored vector is looked at; there is no index that could miss one. A text is a str, a picture
file a Path.

Shapes: n pictures, q queries, d numbers a vector.
"""

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from PIL import Image
from torch import Tensor

from mmfm.data.labels import Label
from mmfm.data.pictures import open_picture
from mmfm.data.templates import Templates, read_templates
from mmfm.data.texts import tidy
from mmfm.errors import BadInput, MmfmError, NotHere
from mmfm.models.clip import TwoTowers
from mmfm.models.label_vectors import cache_file, fingerprint, label_vectors
from mmfm.models.reading import not_read
from mmfm.store import Shelf, Store, below, matrix

if TYPE_CHECKING:
    import pyarrow as pa

Query = str | Path | Image.Image
Kind = Literal["text", "picture", "mixed"]

SEARCH_SCORES: dict[Kind, str] = {
    "text": "cosine of picture and words: an order, and no probability; .25 may be much",
    "picture": "cosine of two pictures: 1 for the same, .9 or less for what is merely alike",
    "mixed": "cosine of the picture and a sum of words and pictures: an order only",
}

_NAME = 3  # words: what is longer is a sentence already, and is read as it stands
_ARTICLES = frozenset({"a", "an", "the", "one", "some", "my", "two", "three"})
_SPARE = 64  # hits kept for those whose file has gone
_SAMPLED = 24  # pictures that are saved again to see what that does to their vectors
_SAVED = ((0.75, 85), (0.5, 75))  # at which size, in which quality
_FOUND = 0.9  # of these are to be found
_LEAST, _MOST = 0.9, 0.999  # whatever is measured
_BLOCK = 2048  # pictures compared with as many others at once: 16 MB of cosines


@dataclass(frozen=True)
class Hit:
    """A picture that was found."""

    path: Path
    score: float  # SEARCH_SCORES says what it means
    kind: Kind


@dataclass(frozen=True)
class Alike:
    """Pictures that show the same as the first one does, which is the largest file."""

    paths: tuple[Path, ...]
    score: float  # the lowest cosine of the first one, the group's head, with any other
    same_bytes: bool


def search(
    clip: TwoTowers,
    plus: Sequence[Query],
    minus: Sequence[Query] = (),
    *,
    store: Store,
    n: int = 20,
    folders: Sequence[str | Path] = (),
    templates: str | Path | Sequence[str] | Templates = "default",
    cache: Path | Literal["user"] | None = "user",
    warn: Callable[[str], None] | None = None,
) -> list[Hit]:
    """Find the pictures that are most like all of `plus` and least like all of `minus`.

    The pictures are ordered by their cosine with mean(plus) - mean(minus), where every text and
    picture is a vector of length 1. `folders` restricts the search to what lies in them. A file
    that has gone since it was indexed is left out.

    One to three words without an article are a name: they are said in every template, as a label
    is when pictures are classified. Anything longer is a sentence and read as it stands.
    """
    if n < 1:
        raise BadInput(f"the {n} best pictures; ask for at least 1")
    shelf = _shelf(store, clip)
    spoken = read_templates(templates)
    rows = [_vectors(clip, part, spoken, cache, warn or _warn) for part in (plus, minus)]
    query = _direction(*rows)
    kind = _kind([*plus, *minus])
    where = _inside(folders, shelf)
    kept, found = n + _SPARE, 0
    while True:
        scores, paths = shelf.scan(
            ("path", "vector"), lambda batches, most=kept: _best(batches, query, most), where
        )
        there = [place for place, path in enumerate(paths) if os.path.exists(path)]  # noqa: PTH110
        if len(there) >= n or len(paths) < kept or len(paths) == found:
            hits = [(paths[i], float(scores[i])) for i in there[:n]]
            return [Hit(Path(os.fsdecode(path)), score, kind) for path, score in hits]
        kept, found = kept * 8, len(paths)


def duplicates(
    clip: TwoTowers,
    *,
    store: Store,
    threshold: float | None = None,
    folders: Sequence[str | Path] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Alike]:
    """Group pictures that are alike: first those of the same bytes, then the most alike.

    Two pictures are alike from a cosine of `threshold` on; where none is given, `alike_from` says
    what it is for this model and these pictures. The largest file is the head of a group of all
    that are alike to it, then the largest of those that are left, and so on. So whoever keeps only
    the first of a group loses nothing that is not alike to it: a chain of pictures of which each is
    alike to the next is no group. Any two of a group have a cosine of at least 2 threshold^2 - 1.

    In a group of pictures that are alike one file stands for all of the same bytes. Two names of
    one file (links) are no duplicates; files that have gone are left out. All vectors are held in
    memory, of the cosines only a block at a time.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise BadInput(f"a threshold of {threshold}; a cosine above 0 and at most 1 is needed")
    shelf = _shelf(store, clip)
    where = _inside(folders, shelf)
    if threshold is None:
        threshold = alike_from(clip, store=store, folders=folders)
    columns = ("path", "content", "vector")
    contents, vectors = shelf.scan(columns, _by_content, where)
    names = {content: _files(paths) for content, paths in contents.items()}
    present = [(sorted(f, key=_largest_first), row) for row, f in enumerate(names.values()) if f]
    present.sort(key=lambda one: _largest_first(one[0][0]))
    files = [several for several, _ in present]
    vectors = vectors[[row for _, row in present]]

    same = [Alike(_paths(several), 1.0, True) for several in files if len(several) > 1]
    near: list[Alike] = []
    for places in _groups(vectors, threshold, progress):
        score = float((vectors[places[1:]] @ vectors[places[0]]).min())
        near.append(Alike(_paths([files[place][0] for place in places]), score, False))
    by_score = sorted(near, key=lambda alike: -alike.score)
    return sorted(same, key=lambda alike: alike.paths[0]) + by_score


def alike_from(clip: TwoTowers, *, store: Store, folders: Sequence[str | Path] = ()) -> float:
    """From which cosine on two pictures are the same one, saved again at another size and quality.

    Models differ in this, and so do drawings and photographs. So some of the indexed pictures are
    saved smaller, and the model says how near the vectors stay: nine of ten are to be found.
    """
    shelf = _shelf(store, clip)
    table = shelf.read(["path"], _inside(folders, shelf))
    paths = sorted(table.column("path").to_pylist())
    several: list[Image.Image] = []
    for path in paths[:: max(1, len(paths) // _SAMPLED)][:_SAMPLED]:
        with contextlib.suppress(MmfmError):  # gone or damaged since; the others tell
            several.append(open_picture(os.fsdecode(path), at_least=clip.preprocessing.short_side))
    if not several:
        return _MOST
    rows = clip.encode_image(several)
    cosines: list[float] = []
    for scale, quality in _SAVED:
        again = clip.encode_image([_saved_again(p, scale, quality) for p in several])
        cosines += (rows * again).sum(dim=1).tolist()
    return min(max(float(np.quantile(cosines, 1 - _FOUND)), _LEAST), _MOST)


# --- what is asked for ----------------------------------------------------------------------------


def _vectors(
    clip: TwoTowers,
    several: Sequence[Query],
    templates: Templates,
    cache: Path | Literal["user"] | None,
    warn: Callable[[str], None],
) -> Float[Tensor, "q d"]:
    """The unit row of each text and picture."""
    if isinstance(several, get_args(Query)):
        raise BadInput("one query where a list is expected: write [query]")
    texts = [tidy(query) for query in several if isinstance(query, str)]
    if not all(texts):
        raise BadInput("an empty text; say what the pictures show, as in mmfm search beach")
    # As `index` reads them: of a large JPEG no more pixels than the model needs are decoded.
    prepare = clip.preprocessing
    images = [
        prepare(query) if isinstance(query, Image.Image) else prepare.opened(query)
        for query in several
        if not isinstance(query, str)
    ]
    rows: list[Tensor] = []
    if texts:
        said = [_sentences(text, templates) for text in texts]
        for line in not_read(clip, [[text] for text in texts], said):
            warn(line)
        file = cache_file() if cache == "user" else cache
        rows.append(label_vectors(clip, said, cache=file, note=warn).float().cpu())
    if images:
        rows.append(clip.encode_image(torch.stack(images)).float().cpu())
    return torch.cat(rows) if rows else torch.empty(0, clip.dim)


def _sentences(text: str, templates: Templates) -> list[str]:
    """What is said to the model: a name in every template, a sentence as it stands."""
    words = text.split()
    if len(words) > _NAME or words[0].casefold() in _ARTICLES:
        return [text]
    return Label(text, (text,)).sentences(templates)


def _direction(plus: Float[Tensor, "q d"], minus: Float[Tensor, "m d"]) -> Float[Tensor, " d"]:
    """mean(plus) - mean(minus), of length 1."""
    if not len(plus):
        raise BadInput("say what to search for; --minus only takes away from that")
    direction = plus.mean(dim=0)
    if len(minus):
        direction = direction - minus.mean(dim=0)
    length = float(direction.norm())
    if length < 1e-4:
        raise BadInput("what is searched for and what is taken away are the same to this model")
    return direction / length


def _kind(queries: Sequence[Query]) -> Kind:
    texts = sum(isinstance(query, str) for query in queries)
    return "picture" if not texts else "text" if texts == len(queries) else "mixed"


# --- what is there --------------------------------------------------------------------------------


def _shelf(store: Store, clip: TwoTowers) -> Shelf:
    kept = store.models()
    mark = fingerprint(clip)
    if any(model.mark == mark and model.pictures for model in kept):
        return store.shelf(mark)
    others = ", ".join(model.model for model in kept if model.pictures)
    there = f"; there are pictures of {others} (--model)" if others else ""
    raise NotHere(
        f"{store.folder}: no picture is indexed for {clip.source}; mmfm index DIR does it{there}"
    )


def _inside(folders: Sequence[str | Path], shelf: Shelf) -> str | None:
    """The condition that a file lies in one of these folders, of which each is or was there."""
    if isinstance(folders, str | Path):
        raise BadInput("one folder where a list is expected: write [folder]")
    if not folders:
        return None
    paths = [os.path.realpath(Path(folder).expanduser()) for folder in folders]
    for folder, path in zip(folders, paths, strict=True):
        # What is on a disk that is not mounted is still known, and no mistake.
        if not os.path.exists(path) and not shelf.read(["path"], _below(path)).num_rows:  # noqa: PTH110
            raise NotHere(
                f"{folder}: no such folder, and no picture of it is indexed; "
                "name one that was indexed"
            )
    return _below(*paths)


def _below(*folders: str) -> str:
    return below(map(os.fsencode, folders))


def _best(
    batches: Iterator["pa.RecordBatch"], query: Float[Tensor, " d"], most: int
) -> tuple[Float32[np.ndarray, " n"], list[bytes]]:
    """The highest scores and their paths, in falling order; only so many are ever held."""
    scores, paths = np.empty(0, np.float32), list[bytes]()
    vector = query.numpy()
    for batch in batches:
        new = matrix(batch, len(vector)) @ vector
        best = _top(new, most)
        if len(scores) == most:
            best = best[new[best] > scores[-1]]
        if not len(best):
            continue
        joined = np.concatenate([scores, new[best]])
        names = paths + batch.column("path").take(best).to_pylist()
        order = _top(joined, most)
        scores, paths = joined[order], [names[place] for place in order]
    return scores, paths


def _top(scores: Float32[np.ndarray, " n"], most: int) -> np.ndarray:
    """Where the highest are, in falling order; of equal ones the first."""
    if len(scores) > most:
        some = np.sort(np.argpartition(-scores, most - 1)[:most])
        return some[np.argsort(-scores[some], kind="stable")]
    return np.argsort(-scores, kind="stable")


# --- what is alike --------------------------------------------------------------------------------


def _saved_again(picture: Image.Image, scale: float, quality: int) -> Image.Image:
    wide, tall = (max(1, round(side * scale)) for side in picture.size)
    file = io.BytesIO()
    picture.resize((wide, tall), Image.Resampling.LANCZOS).save(file, "JPEG", quality=quality)
    return Image.open(file)


def _by_content(
    batches: Iterator["pa.RecordBatch"],
) -> tuple[dict[bytes, list[bytes]], Float32[np.ndarray, "n d"]]:
    """The paths of each content, and its vector once."""
    contents: dict[bytes, list[bytes]] = {}
    vectors: list[np.ndarray] = []
    for batch in batches:
        dim = batch.schema.field("vector").type.list_size
        new: list[int] = []
        names = (batch.column(name).to_pylist() for name in ("content", "path"))
        for place, (content, path) in enumerate(zip(*names, strict=True)):
            if content not in contents:
                new.append(place)
            contents.setdefault(content, []).append(path)
        vectors.append(matrix(batch, dim)[new])
    return contents, np.concatenate(vectors) if vectors else np.empty((0, 0), np.float32)


def _files(paths: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """(size, path) of those that are there, each file under the first of its own names.

    A link to a file stands for it only where none of the file's own names is among the paths.
    """
    found: dict[tuple[int, int], tuple[int, bytes]] = {}
    for path in sorted(paths, key=lambda path: (os.path.islink(path), path)):  # noqa: PTH114
        try:
            there = os.stat(path)  # noqa: PTH116 - paths are bytes
        except OSError:
            continue
        found.setdefault((there.st_dev, there.st_ino), (there.st_size, path))
    return list(found.values())


def _largest_first(file: tuple[int, bytes]) -> tuple[int, bytes]:
    size, path = file
    return -size, path


def _paths(files: Sequence[tuple[int, bytes]]) -> tuple[Path, ...]:
    return tuple(Path(os.fsdecode(path)) for _, path in files)


def _groups(
    vectors: Float32[np.ndarray, "n d"],
    threshold: float,
    progress: Callable[[int, int], None],
) -> list[list[int]]:
    """Each that no earlier one has taken is a head, and takes all later ones that are near it.

    Those who are alone are left out. The places in a group rise, so its head comes first.
    """
    rows = torch.from_numpy(vectors)
    head = np.full(len(rows), -1)  # who has taken each; -1: nobody yet
    starts = range(0, len(rows), _BLOCK)
    for number, top in enumerate(starts):
        progress(number, len(starts))
        block = rows[top : top + _BLOCK]
        _take_within(head[top : top + _BLOCK], (block @ block.T >= threshold).numpy(), top)
        heads = np.flatnonzero(head[top : top + _BLOCK] < 0)  # nobody can take them any more
        head[top + heads] = top + heads
        for left in starts[number + 1 :] if len(heads) else ():
            free = left + np.flatnonzero(head[left : left + _BLOCK] < 0)
            near = (block[heads] @ rows[free].T >= threshold).numpy()
            taken = near.any(axis=0)
            head[free[taken]] = top + heads[near[:, taken].argmax(axis=0)]  # the first of them
    progress(len(starts), len(starts))
    order = np.argsort(head, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(head[order])) + 1)
    return [group.tolist() for group in groups if len(group) > 1]


def _take_within(head: np.ndarray, near: Bool[np.ndarray, "b b"], top: int) -> None:
    """Let those of a block take each other; `head` is changed in place."""
    later = np.triu(near, k=1)
    for place in np.flatnonzero(later.any(axis=1)).tolist():
        if head[place] < 0:
            head[later[place] & (head < 0)] = top + place


def _warn(line: str) -> None:
    warnings.warn(line, stacklevel=4)
