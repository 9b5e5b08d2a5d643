"""Pictures with what people say about them: class folders, parquet files, CSV files, drawn shapes.

`load_captioned` brings them to one square size and one tensor, beside it every caption once. A
picture may have several captions, in several languages; a class is said through templates.

Shapes: n pictures, t texts, p pairs of a picture and one of its captions, f facts.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Int, Int64, UInt8
from torch import Tensor

from mmfm.data import parquet, shapes
from mmfm.data.decode import Example, Progress, check_memory, check_size, decode
from mmfm.data.draws import stratified
from mmfm.data.folders import beside, class_folders, file_parts, folder_parts, lost_links
from mmfm.data.tables import TABLES, own_name, read_names, read_table, tidy
from mmfm.data.templates import TEMPLATES, Templates, check_templates, sentences
from mmfm.errors import BadData, BadInput, NotHere

By = Literal["picture", "caption", "class"]

KNOWN = ("shapes",)  # what is no path: pictures that our own code draws

_DRAWN = (20_000, 2_000)  # shapes to train on, and held out
_CAPTION_COLUMNS = ("caption", "text")  # taken without being named, if they are there
_PATH_COLUMNS = ("path", "file", "filepath", "file_name", "filename", "image", "picture")


@dataclass(frozen=True, eq=False)
class CaptionedPictures:
    """Pictures of one size with their captions.

    What is said of `images[i]` is `texts[k]` for every k in `captions[offsets[i]:offsets[i + 1]]`.
    """

    images: UInt8[Tensor, "n h w c"]
    texts: tuple[str, ...]  # every caption that occurs, once
    captions: Int64[Tensor, "p"]  # numbers of texts, picture after picture
    offsets: Int64[Tensor, "n+1"]  # where each picture's begin, and the end
    source: str
    labels: Int64[Tensor, "n"] | None = None  # where the source has classes
    names: tuple[str, ...] = ()  # of the classes
    prompts: tuple[tuple[str, ...], ...] = ()  # each class, said in every way
    skipped: tuple[tuple[str, str], ...] = ()  # (which, why) of the pictures left out
    # Where the source knows what is true of a picture beyond its own captions: its facts in
    # numbers, and what each text says about them, -1 for nothing.
    facts: Int64[Tensor, "n f"] | None = None
    meanings: Int64[Tensor, "t f"] | None = None

    @classmethod
    def of(
        cls,
        images: UInt8[Tensor, "n h w c"],
        captions: Iterable[Iterable[str]],
        source: str,
        *,
        skipped: tuple[tuple[str, str], ...] = (),
    ) -> "CaptionedPictures":
        """Number the captions of pictures; each has at least one."""
        numbers: dict[str, int] = {}
        said = [
            [numbers.setdefault(text, len(numbers)) for text in dict.fromkeys(several)]
            for several in captions
        ]
        if not all(said):
            raise BadInput(f"{source}: a picture without a caption")
        counts = torch.tensor([0, *map(len, said)])
        flat = torch.tensor([number for several in said for number in several])
        return cls(images, tuple(numbers), flat, counts.cumsum(0), source, skipped=skipped)

    def __len__(self) -> int:
        return len(self.images)

    def captions_of(self, picture: int) -> list[str]:
        """List what is said of one picture."""
        begin, end = self.offsets[picture : picture + 2].tolist()
        return [self.texts[number] for number in self.captions[begin:end].tolist()]

    def pairs(self) -> Int64[Tensor, "p 2"]:
        """List every pair of a picture's number and the number of one of its own captions."""
        pictures = torch.arange(len(self)).repeat_interleave(self.offsets.diff())
        return torch.stack([pictures, self.captions], dim=1)

    def fits(self, pictures: Int[Tensor, "b"], texts: Int[Tensor, "k"]) -> Bool[Tensor, "b k"]:
        """Tell which texts are true of which pictures, as far as the source knows.

        Equal captions of two pictures are true of both; where there are facts, so is every caption
        that contradicts none of them.
        """
        if self.facts is not None and self.meanings is not None:
            said = rearrange(self.meanings[texts], "k f -> 1 k f")
            return ((said < 0) | (said == rearrange(self.facts[pictures], "b f -> b 1 f"))).all(-1)
        own, owner, _ = self._captions_of(pictures)
        hits = (rearrange(own, "p -> p 1") == texts).long()
        return hits.new_zeros(len(pictures), len(texts)).index_add(0, owner, hits) > 0

    def select(self, index: Int[Tensor, "m"]) -> "CaptionedPictures":
        """Keep the pictures with these numbers, in this order, and the texts that they need."""
        own, _, offsets = self._captions_of(index)
        used, captions = own.unique(return_inverse=True)
        return replace(
            self,
            images=self.images[index],
            texts=tuple(self.texts[number] for number in used.tolist()),
            captions=captions,
            offsets=offsets,
            labels=None if self.labels is None else self.labels[index],
            facts=None if self.facts is None else self.facts[index],
            meanings=None if self.meanings is None else self.meanings[used],
        )

    def _captions_of(
        self, index: Int[Tensor, "m"]
    ) -> tuple[Int64[Tensor, "q"], Int64[Tensor, "q"], Int64[Tensor, "m+1"]]:
        """The captions of some pictures, whose each is, and where each picture's begin."""
        begins, counts = self.offsets[:-1][index], self.offsets.diff()[index]
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        owner = torch.arange(len(counts)).repeat_interleave(counts)
        places = torch.arange(len(owner)) + (begins - offsets[:-1])[owner]
        return self.captions[places], owner, offsets

    def split(
        self, fraction: float, seed: int, by: By | None = None
    ) -> tuple["CaptionedPictures", "CaptionedPictures"]:
        """Hold out a fraction: (the rest to train on, the held-out part).

        By "picture" the same share of every class is held out; by "class" or by "caption" whole
        classes are, or all pictures that have the same first caption, so that the held-out ones
        are new. Without `by` it is "caption" for pictures that have no class, if a fraction of
        their captions can be held out at all.
        """
        first = self.captions[self.offsets[:-1]]
        if by is None:
            enough = len(first.unique()) * fraction >= 1
            by = "caption" if self.labels is None and enough else "picture"
        if by == "class" and self.labels is None:
            raise BadInput(f"{self.source} has no classes to hold out; hold out by caption")
        if by == "picture":
            groups = self.labels if self.labels is not None else torch.zeros_like(first)
            train, held_out = stratified(groups, fraction, seed)
            return self.select(train), self.select(held_out)
        groups = self.labels if by == "class" and self.labels is not None else first
        kinds, group = groups.unique(return_inverse=True)
        _, out = stratified(torch.zeros_like(kinds), fraction, seed)
        held = torch.isin(group, out)
        return self.select(torch.nonzero(~held)[:, 0]), self.select(torch.nonzero(held)[:, 0])


def load_captioned(
    spec: str,
    *,
    size: int | None,
    text: Sequence[str] = (),
    templates: Templates | None = None,
    names: Path | None = None,
    progress: Progress | None = None,
) -> tuple[CaptionedPictures, CaptionedPictures | None]:
    """Load pictures with captions: (to train on, their own held-out part or None).

    `spec` is "shapes", a folder of class folders, a parquet file with a column `image`, or a CSV
    file whose rows name a picture and say something about it; `text` names the columns that hold
    captions. Of classes, `templates` speak, by the names that a file `names` gives them. A held-out
    part is what lies beside the training part under a name like val or test. Without `size` the
    pictures keep their own, which must then be one and square.
    """
    check_size(size)
    check_templates(templates or {})
    if spec == "shapes":
        _refuse_columns(spec, text)
        _refuse_names(spec, names)
        return _drawn(size or shapes.SIZE, progress)
    path = Path(spec)
    if not _is_there(path):
        raise NotHere(
            f"no pictures {spec!r}: give shapes, a folder of class folders, a parquet file, or a "
            "CSV file of paths and captions"
        )
    read, train, held_out = _parts(path, names)
    speak = _Speaker(templates or TEMPLATES, names, text)
    pictures = _decoded(read(train, speak), size, progress)
    if held_out is None:
        return pictures, None
    own = _same_classes(read(held_out, speak), pictures)
    return pictures, _decoded(own, pictures.images.shape[1], progress)


def _drawn(size: int, progress: Progress | None) -> tuple[CaptionedPictures, CaptionedPictures]:
    """Pictures that our own code draws; held out are pairs of a colour and a shape."""
    count, held_count = _DRAWN
    check_memory((count + held_count) * 3 * size * size, "shapes", size)
    scenes = shapes.scenes("training", count, seed=0)
    train = _described(shapes.draw(scenes, size, seed=0, progress=progress), scenes)
    images, scenes = shapes.evaluation("colour and shape", held_count, seed=0, size=size)
    classes = shapes.classes()
    held_out = replace(
        _described(images, scenes),
        labels=torch.tensor([classes.index(scene.objects[0].pair) for scene in scenes]),
        names=tuple(" ".join(pair) for pair in classes),
        prompts=tuple(tuple(shapes.say_class(*pair)) for pair in classes),
    )
    return train, held_out


def _described(
    images: UInt8[Tensor, "n h w c"], scenes: Sequence[shapes.Scene]
) -> CaptionedPictures:
    said = [shapes.describe(scene) for scene in scenes]
    meanings = {caption.text: caption.meaning for several in said for caption in several}
    pictures = CaptionedPictures.of(
        images, ([caption.text for caption in several] for several in said), "shapes"
    )
    return replace(
        pictures,
        facts=torch.tensor([shapes.facts(scene) for scene in scenes]),
        meanings=torch.tensor([meanings[text] for text in pictures.texts]),
    )


# Sources: first what is there, then the decoding --------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """The examples of one part, not decoded yet."""

    source: str
    pictures: Iterable[tuple[str, Path | bytes | None]]  # where it lies, and the picture
    captions: Sequence[Sequence[str]]
    labels: Sequence[int | None] | None = None
    names: tuple[str, ...] = ()
    prompts: tuple[tuple[str, ...], ...] = ()
    lost: tuple[tuple[str, str], ...] = ()  # (which, why) of links that lead to none


@dataclass(frozen=True)
class _Speaker:
    """How captions come about: from columns, or from the names of classes."""

    templates: Templates
    names: Path | None
    columns: Sequence[str]

    def classes(self, source: str, classes: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """Say each class in every way."""
        named = {tidy(name): own_name(name) for name in classes}
        if self.names is not None:
            given = read_names(self.names)
            if missing := [name for name in named if name not in given]:
                raise BadData(f"{self.names}: has no names for {', '.join(missing)}, of {source}")
            named = given
        said = (sentences(named[tidy(name)], self.templates) for name in classes)
        return tuple(tuple(dict.fromkeys(several)) for several in said)


_Read = Callable[[Any, _Speaker], _Part]


def _parts(path: Path, names: Path | None) -> tuple[_Read, Any, Any]:
    """Find what is to be read and how: (the reader, to train on, held out or None)."""
    if path.is_dir():
        for suffixes, read in (((".parquet",), _from_parquet), (TABLES[:2], _from_tables)):
            train, held_out = file_parts(path, suffixes)
            train = [file for file in train if names is None or not file.samefile(names)]
            if train:
                return read, train, held_out or None
        return _from_folders, *folder_parts(path)
    if path.suffix.lower() in TABLES:
        return _from_tables, [path], beside(path) or None
    return _from_parquet, [path], beside(path) or None


def _from_folders(folder: Path, speak: _Speaker) -> _Part:
    _refuse_columns(str(folder), speak.columns)
    classes = class_folders(folder)
    labels = [label for label, files in enumerate(classes.values()) for _ in files]
    prompts = speak.classes(str(folder), tuple(classes))
    pictures = ((str(path), path) for files in classes.values() for path in files)
    lost = tuple((str(path), why) for path, why in lost_links(folder).items())
    said = [prompts[i] for i in labels]
    return _Part(str(folder), pictures, said, labels, tuple(classes), prompts, lost)


def _from_parquet(paths: Sequence[Path], speak: _Speaker) -> _Part:
    """Captions from the columns of text, else from the names of the labels."""
    source = ", ".join(str(path) for path in paths)
    pictures = parquet.read_pictures(paths)
    columns: list[str] = []
    for path in paths:
        schema = parquet.schema_of(path)
        there = [field.name for field in schema if parquet.holds_text(field.type)]
        if not speak.columns and "label" in schema.names and set(there) <= {"label"}:
            labels, names = parquet.read_labels(paths)
            prompts = speak.classes(source, names)
            said = [() if label is None else prompts[label] for label in labels]
            return _Part(source, pictures, said, labels, names, prompts)
        columns = _choose(columns or speak.columns, there, path)
    _refuse_names(source, speak.names)
    values = zip(*(parquet.read_column(paths, name) for name in columns), strict=True)
    return _Part(source, pictures, [_texts(row) for row in values])


def _from_tables(paths: Sequence[Path], speak: _Speaker) -> _Part:
    """Rows that name a picture and say something about it; of one picture there may be several."""
    source = ", ".join(str(path) for path in paths)
    _refuse_names(source, speak.names)
    said: dict[Path | str, list[str]] = {}  # a row that names no picture stands for itself
    for path in paths:
        header, rows = read_table(path)
        files = _path_column(header, [row for _, row in rows], path)
        columns = _choose(speak.columns, [name for name in header if name != files], path)
        for line, row in rows:
            cells = dict(zip(header, row, strict=False))
            try:
                picture = _beside(path, cells.get(files, "")) or f"{path} line {line}"
            except OSError as error:  # a name that no file can have, a folder that is locked
                picture = f"{path} line {line} ({error.strerror})"
            said.setdefault(picture, []).extend(_texts([cells.get(name) for name in columns]))
    pictures = ((str(key), key if isinstance(key, Path) else None) for key in said)
    return _Part(source, pictures, list(said.values()))


def _same_classes(part: _Part, train: CaptionedPictures) -> _Part:
    """Number the held-out classes as the training part does; further ones come behind."""
    if part.labels is None:
        return part
    names = (*train.names, *(name for name in part.names if name not in train.names))
    own = dict(zip(part.names, part.prompts, strict=True))
    prompts = (*train.prompts, *(own[name] for name in names[len(train.names) :]))
    numbers = [names.index(name) for name in part.names]
    labels = [None if label is None else numbers[label] for label in part.labels]
    return replace(part, labels=labels, names=names, prompts=prompts)


def _decoded(part: _Part, size: int | None, progress: Progress | None) -> CaptionedPictures:
    examples = (
        Example(where, picture, None if said else "it has no caption")
        for (where, picture), said in zip(part.pictures, part.captions, strict=True)
    )
    images, kept, skipped = decode(
        examples, len(part.captions), part.source, size=size, progress=progress
    )
    said = (part.captions[i] for i in kept)
    skipped = (*part.lost, *skipped)
    pictures = CaptionedPictures.of(images, said, part.source, skipped=skipped)
    if part.labels is None:
        return pictures
    labels = torch.tensor([part.labels[i] for i in kept])
    return replace(pictures, labels=labels, names=part.names, prompts=part.prompts)


# Columns and tables -------------------------------------------------------------------------------


def _choose(asked: Sequence[str], there: Sequence[str], path: Path) -> list[str]:
    """Choose the columns that hold captions; those not asked for only where there is no doubt."""
    if missing := [name for name in asked if name not in there]:
        raise BadInput(
            f"{path}: no column of text {missing[0]!r}; it has {', '.join(there) or 'none'}"
        )
    if asked:
        return list(asked)
    known = [name for name in there if name.lower() in _CAPTION_COLUMNS]
    if not known and len(there) > 1:
        raise BadInput(f"{path}: say which columns are captions (--text): {', '.join(there)}")
    if not there:
        raise BadData(f"{path}: no column of captions")
    return (known or list(there))[:1]


def _texts(cells: Sequence[Any]) -> list[str]:
    """The captions in the cells of one row: each is a text, a list of texts, or empty."""
    several = (cell if isinstance(cell, list) else [cell] for cell in cells)
    texts = (tidy(text) for cell in several for text in cell if isinstance(text, str))
    return [text for text in texts if text]


def _path_column(header: Sequence[str], rows: Iterable[Sequence[str]], path: Path) -> str:
    """The column that names the pictures: by what it is called, else the first if it does so."""
    called = next((name for name in header if name.lower() in _PATH_COLUMNS), None)
    if called is not None:
        return called
    for row in rows:
        with suppress(OSError):  # of what no file can be called, another row tells
            picture = _beside(path, row[0])
            if picture is not None and picture.is_file():
                return header[0]
    raise BadData(
        f"{path}: no column of paths: it has {', '.join(header)}, none is called "
        f"{', '.join(_PATH_COLUMNS[:-1])} or {_PATH_COLUMNS[-1]}, and the first names no file here"
    )


def _beside(table: Path, name: str) -> Path | None:
    """The file that a row names, as seen from the table; None where it names none.

    Of a name that no file can have, the system says so with an OSError.
    """
    name = name.strip()
    if not (table.parent / name).exists() and os.sep == "/":
        name = name.replace("\\", "/")  # written on Windows
    return table.parent / name if name else None


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False  # nothing can have such a name


def _refuse_columns(source: str, columns: Sequence[str]) -> None:
    if columns:
        raise BadInput(f"{source} has no columns of text; leave out --text {columns[0]}")


def _refuse_names(source: str, names: Path | None) -> None:
    if names is not None:
        raise BadInput(f"{source} has captions, and no classes to be named; leave out {names}")
