"""Pictures from several sources at once, each with words of its own and its share of every batch.

    Source          what a recipe says of one: where it lies, what is said of it, what is held out
    load_mixture    all of them, in memory
    Mixture         what a batch shows (`draw`, `show`) and what is said of it (`say`)

What a batch says is put together when it is asked for: a language, a name or something broader, a
template. Which words are true of which pictures, the mixture knows: what two kinds have in common,
in whatever sources, is true of both.

Shapes: b pictures of a batch, n of a source, k kinds, w words, h x w pixels, c channels.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int64, Shaped, UInt8
from torch import Tensor

from mmfm.data import parquet
from mmfm.data.augment import Augment, augment
from mmfm.data.decode import Example, Progress, decode
from mmfm.data.draws import key, uniform
from mmfm.data.folders import file_parts
from mmfm.data.kinds import Kind, read_kinds
from mmfm.data.labelled import description, load_labelled
from mmfm.data.pictures import Preprocessing
from mmfm.data.tables import own_name
from mmfm.data.templates import EVERY, Templates, fill, language_of, read_templates
from mmfm.data.texts import tidy
from mmfm.errors import BadData, BadInput, NotHere

_HELD_OUT = 0.1  # of classes that have no held-out part of their own
_CAPTION, _BACKGROUND, _ORDER = 3, 5, 6  # streams of draws
_SMALLEST = 0.4  # side of a picture that lies on another one
_SAMPLE = 40_000  # captions that are enough to learn a vocabulary from


@dataclass(frozen=True, kw_only=True)
class Source:
    """One set of pictures, and what is made of it.

    It has classes, or columns that tell what each picture shows and what that is called.
    """

    data: str  # folders or parquet files, seen from the folder in which all sources lie
    share: float = 1.0  # of each batch, beside the shares of the others
    classes: str | None = None  # a table of kinds, for classes; without it they have their own name
    kind: str | None = None  # the column that tells what is shown, for pictures without classes,
    hand: str | None = None  # the one that tells who drew it,
    names: tuple[str, ...] = ()  # those that hold what it is called,
    words: tuple[str, ...] = ()  # and those that hold what else is true of it
    templates: tuple[str, ...] = ("default",)  # a set of them, a file, or templates themselves
    ask: tuple[str, ...] = ("default",)  # those with which the held-out pictures are asked
    broader: float = 0.0  # share of the captions that say a broader term or a keyword
    background: float = 0.0  # share of the transparent pictures that lie on a colour, not on white,
    scenes: float = (
        0.0  # and of those that lie, smaller, on a picture of a source that has no holes
    )
    hold_hands: tuple[str, ...] = ()  # whose pictures are held out, all of them
    hold_kinds: int = 0  # so many kinds are held out, in all hands,
    seed: int = 0  # and which they are;
    hold_names: tuple[str, ...] = ()  # and these, as the column `kind` calls them
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        for name in ("names", "words", "templates", "ask", "hold_hands", "hold_names"):
            given: Any = getattr(self, name)
            several = (given,) if isinstance(given, str) else given
            sound = isinstance(several, list | tuple)
            if not sound or not all(isinstance(one, str) for one in several):
                raise BadInput(f"{self.data}: {name} is a list of texts, not {given!r:.60}")
            object.__setattr__(self, name, tuple(several))  # JSON and TOML know lists only
        if not self.share > 0:
            raise BadInput(f"{self.data}: a share of {self.share} is no part of a batch")
        if not (0 <= self.broader <= 1 and 0 <= self.background <= 1 and 0 <= self.scenes <= 1):
            raise BadInput(f"{self.data}: broader, background and scenes are shares from 0 to 1")
        if self.background + self.scenes > 1:
            raise BadInput(f"{self.data}: background and scenes together are more than all")
        if self.hold_kinds < 0:
            raise BadInput(f"{self.data}: {self.hold_kinds} kinds cannot be held out")
        columns = (self.hand, self.names, self.words, self.hold_hands, self.hold_names)
        if self.kind is None and any((*columns, self.hold_kinds, self.background, self.scenes)):
            raise BadInput(
                f"{self.data}: hand, names, words, background, scenes and what is held out go with "
                "kind, the column that tells what a picture shows"
            )
        if self.kind is not None and (not self.names or self.classes is not None):
            raise BadInput(f"{self.data}: with kind go names, columns of text, and no classes")
        if self.hold_hands and self.hand is None:
            raise BadInput(f"{self.data}: hold_hands needs hand, the column that tells them")

    @property
    def title(self) -> str:
        """What it is called in a report."""
        return Path(self.data).stem


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Pictures that are never trained on, and what is asked of them.

    "name": which of the choices is it? "find": which picture of its gallery is it that this name
    is said of?
    """

    title: str
    source: Source
    way: Literal["name", "find"]
    images: UInt8[Tensor, "n h w c"]
    kinds: Int64[Tensor, " n"]
    choices: Int64[Tensor, " m"]  # all kinds that the answer may be
    gallery: Int64[Tensor, " n"]  # the number of each picture's gallery
    galleries: tuple[str, ...] = ("",)

    def select(self, index: Int64[Tensor, " m"]) -> "HeldOut":
        """Keep the pictures with these numbers."""
        return replace(
            self,
            images=self.images[index],
            kinds=self.kinds[index],
            gallery=self.gallery[index],
        )


class Drawn(NamedTuple):
    """The pictures of a batch: each one's source, its number there, and its kind."""

    source: Int64[Tensor, " b"]
    place: Int64[Tensor, " b"]
    kinds: Int64[Tensor, " b"]


# For each language of a kind: the numbers of its names and of its broader words.
_Speech = Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]


@dataclass(frozen=True, eq=False)
class Mixture:
    """The pictures of all sources, what they show, and what is true of it."""

    sources: tuple[Source, ...]
    images: tuple[UInt8[Tensor, "n h w c"], ...]  # of each source; a fourth channel is opacity
    shown: tuple[Int64[Tensor, " n"], ...]  # the kind of each picture
    kinds: tuple[Kind, ...]
    words: tuple[str, ...]  # every name and every broader word, once
    truth: Bool[Tensor, "k w"]  # which words are true of which kinds
    speech: tuple[_Speech, ...]  # what is said of each kind
    templates: tuple[Templates, ...]  # of each source
    held_out: tuple[HeldOut, ...]
    skipped: tuple[tuple[str, str], ...] = ()  # (which, why) of the pictures left out
    keys: tuple[str, ...] = ()  # what the data calls each kind
    drawers: tuple[str, ...] = ()  # who drew pictures that are trained on,
    hands: tuple[Int64[Tensor, " n"], ...] = ()  # and which of them each one; -1 if nobody says

    def __len__(self) -> int:
        return sum(map(len, self.images))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the pictures as they are shown."""
        return self.images[0].shape[1], self.images[0].shape[2], 3

    @property
    def texts(self) -> list[str]:
        """Very many captions, as they occur in training."""
        index = torch.linspace(0, len(self) - 1, min(len(self), _SAMPLE)).round().long()
        epoch = torch.zeros_like(index)
        return self.say(self.draw(index, epoch, 0), index, epoch, 0)[0]

    @property
    def sayable(self) -> tuple[str, ...]:
        """Every caption that `say` can give, once."""
        said: dict[str, None] = {}
        for source, templates, shown in zip(self.sources, self.templates, self.shown, strict=True):
            for kind in shown.unique().tolist():
                for language, (names, broader) in self.speech[kind].items():
                    words = (*names, *broader) if source.broader else names
                    for template in _spoken(templates, language):
                        said.update((fill(template, self.words[word]), None) for word in words)
        return tuple(said)

    @property
    def names(self) -> tuple[str, ...]:
        """The usual name of each kind, in its first language."""
        return tuple(next(iter(kind.names.values()))[0] for kind in self.kinds)

    def to(self, device: torch.device) -> "Mixture":
        """The same with the pictures where they are computed with."""
        return replace(self, images=tuple(images.to(device) for images in self.images))

    def described(self, *more: Tensor | str) -> dict[str, Any]:
        """What a run learns from, as of `labelled.described`; `more` counts in the checksum."""
        shape = len(self), *self.shape
        return description(shape, self.names, *self.images, *self.shown, *more)

    # --- a batch ----------------------------------------------------------------------------------

    def draw(self, index: Int64[Tensor, " b"], epoch: Int64[Tensor, " b"], seed: int) -> Drawn:
        """Choose the pictures that these numbers of an epoch stand for.

        An epoch has as many numbers as there are pictures, and each source its share of them,
        whatever its size: a small one comes round several times. Every picture of a source has
        come as often as any other, give or take one.
        """
        ends = _ends([source.share for source in self.sources], len(self))
        source = torch.bucketize(index, ends, right=True)
        counts = torch.diff(ends, prepend=ends.new_zeros(1))
        turn = epoch * counts[source] + index - (ends - counts)[source]  # the how-manieth there
        place, kinds = torch.empty_like(index), torch.empty_like(index)
        for number, shown in enumerate(self.shown):
            here = source == number
            round_, rest = turn[here] // len(shown), turn[here] % len(shown)
            found = torch.empty_like(rest)
            for one in round_.unique().tolist():
                found[round_ == one] = _order(seed, number, one, len(shown))[rest[round_ == one]]
            place[here], kinds[here] = found, shown[found]
        return Drawn(source, place, kinds)

    def drawn_by(self, drawn: Drawn) -> Int64[Tensor, " b"]:
        """Whose hand drew these pictures, by its number in `drawers`; -1 where nobody says."""
        hands = torch.empty_like(drawn.place)
        for number, those in enumerate(self.hands):
            here = drawn.source == number
            hands[here] = those[drawn.place[here]]
        return hands

    def show(
        self,
        drawn: Drawn,
        index: Int64[Tensor, " b"],
        epoch: Int64[Tensor, " b"],
        seed: int,
        preprocessing: Preprocessing,
    ) -> Float[Tensor, "b c h w"]:
        """Bring the pictures, each varied as its source says."""
        height, width, channels = self.shape
        device = self.images[0].device
        images = torch.empty(len(index), channels, height, width, device=device)
        for number, source in enumerate(self.sources):
            here = (drawn.source == number).nonzero()[:, 0]
            if len(here) == 0:
                continue
            some = self.images[number][drawn.place[here].to(device)]
            if some.shape[-1] == 4:
                lots = uniform(seed, epoch[here], index[here], 8, stream=_BACKGROUND).to(device)
                some = self._laid_down(some, source, lots)
            varied = augment(
                preprocessing.normalise(some), source.augment, seed, epoch[here], index[here]
            )
            images[here.to(device)] = varied
        return images

    def _laid_down(
        self, images: UInt8[Tensor, "b h w 4"], source: Source, lots: Float[Tensor, "b 8"]
    ) -> UInt8[Tensor, "b h w 3"]:
        """Lay transparent pictures on white, on a colour, or smaller, on a photograph."""
        colours = torch.where(lots[:, :1] < source.background, 255 * lots[:, 1:4], 255.0)
        laid = _laid_on(images, rearrange(colours, "b c -> b 1 1 c"))
        placed = lots[:, 0] >= 1 - source.scenes
        if bool(placed.any()):
            scenes = self._scenes(lots[placed, 4]).float()
            laid[placed] = _laid_on(_placed(images[placed], lots[placed, 5:8]), scenes)
        return laid

    def _scenes(self, lots: Float[Tensor, " b"]) -> UInt8[Tensor, "b h w 3"]:
        """A picture without holes for each of these lots, whatever source it is of."""
        whole = [images for images in self.images if images.shape[-1] == 3]
        ends = torch.tensor(list(map(len, whole)), device=lots.device).cumsum(0)
        place = (lots.double() * ends[-1]).long()
        scenes = whole[0].new_empty(len(lots), *whole[0].shape[1:])
        for number, images in enumerate(whole):
            here = torch.bucketize(place, ends, right=True) == number
            scenes[here] = images[place[here] - (ends[number] - len(images))]
        return scenes

    def say(
        self, drawn: Drawn, index: Int64[Tensor, " b"], epoch: Int64[Tensor, " b"], seed: int
    ) -> tuple[list[str], Int64[Tensor, " b"]]:
        """Say something about each picture: (the captions, the number of each one's word)."""
        lots = uniform(seed, epoch, index, 4, stream=_CAPTION).tolist()
        captions: list[str] = []
        words: list[int] = []
        pictures = zip(drawn.source.tolist(), drawn.kinds.tolist(), lots, strict=True)
        for source, kind, lot in pictures:
            speech = self.speech[kind]
            language = _nth(tuple(speech), lot[0])
            names, broader = speech[language]
            wide = bool(broader) and lot[1] < self.sources[source].broader
            word = _nth(broader if wide else names, lot[2])
            several = _spoken(self.templates[source], language)
            captions.append(fill(_nth(several, lot[3]), self.words[word]))
            words.append(word)
        return captions, torch.tensor(words)


def _ends(shares: Sequence[float], count: int) -> Int64[Tensor, " s"]:
    """Where each source's numbers of an epoch end."""
    parts = torch.tensor(shares, dtype=torch.float64).cumsum(0)
    return (parts / parts[-1] * count).round().long()


@lru_cache(16)  # a batch may lie across two rounds of each source
def _order(seed: int, source: int, round_: int, count: int) -> Int64[Tensor, " n"]:
    """Every picture of a source once, in an order of this round's own."""
    generator = torch.Generator().manual_seed(key(seed, round_, source, stream=_ORDER))
    return torch.randperm(count, generator=generator)


def _spoken(templates: Templates, language: str) -> Sequence[str]:
    """The templates for names in a language."""
    return templates.get(language, templates.get(EVERY, ("{name}",)))


def _nth(several: Sequence[Any], lot: float) -> Any:
    return several[int(lot * len(several))]


def _placed(
    images: UInt8[Tensor, "b h w 4"], lots: Float[Tensor, "b 3"]
) -> Float[Tensor, "b h w 4"]:
    """Shrink each picture to a size between _SMALLEST and its own, and put it anywhere inside."""
    size = _SMALLEST + (1 - _SMALLEST) * lots[:, 0:1]
    middle = (1 - size) * (2 * lots[:, 1:3] - 1)
    looked_up = (
        torch.diag_embed((1 / size).expand(-1, 2)),
        -rearrange(middle / size, "b xy -> b xy 1"),
    )
    white = images.new_tensor([255, 255, 255, 0]).float()  # what lies around it
    ink = rearrange(images.float() - white, "b h w c -> b c h w")
    grid = F.affine_grid(torch.cat(looked_up, dim=2), list(ink.shape), align_corners=False)
    small = F.grid_sample(ink, grid, padding_mode="zeros", align_corners=False)
    return rearrange(small, "b c h w -> b h w c") + white


def _laid_on(
    images: Shaped[Tensor, "b h w 4"], grounds: Float[Tensor, "b #h #w 3"]
) -> UInt8[Tensor, "b h w 3"]:
    """Put something else in place of the white on which transparent pictures lie."""
    seen = images[..., 3:].float() / 255  # the rest of a pixel is white
    return (images[..., :3] - (255 - grounds) * (1 - seen)).round().clamp(0, 255).byte()


# --- loading --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Loaded:
    """One source, whose kinds and drawers have numbers of their own as yet."""

    keys: tuple[str, ...]
    kinds: tuple[Kind, ...]
    images: UInt8[Tensor, "n h w c"]
    shown: Int64[Tensor, " n"]
    drawers: tuple[str, ...]
    hands: Int64[Tensor, " n"]
    held_out: tuple[HeldOut, ...]
    skipped: tuple[tuple[str, str], ...]


def load_mixture(
    sources: Sequence[Source],
    folder: str | Path,
    *,
    size: int,
    progress: Progress | None = None,
) -> Mixture:
    """Load all sources from below a folder, at one size; what each holds out, lies beside."""
    if not sources:
        raise BadInput("a mixture needs one source at least")
    titles = [source.title for source in sources]
    if doubled := next((title for title in titles if titles.count(title) > 1), None):
        raise BadInput(f"two sources are called {doubled!r}; give their folders names of their own")
    for source in sources:  # before the first one is read, which may take long
        if not (Path(folder) / source.data).exists():
            raise NotHere(
                f"{folder}: no {source.data} in it; this recipe learns from "
                f"{', '.join(one.data for one in sources)}, and --data names the folder that "
                "holds them"
            )
    if any(one.scenes for one in sources) and all(one.kind is not None for one in sources):
        raise BadInput("scenes are pictures of a source with classes, and no source has classes")
    templates = tuple(_templates(source.templates) for source in sources)
    for source in sources:
        ask_templates(source)  # raises where they cannot be read
    loaded: list[_Loaded] = []
    for source in sources:
        load = _with_classes if source.kind is None else _with_columns
        loaded.append(load(source, Path(folder) / source.data, size, progress))
    return _joined(tuple(sources), loaded, templates)


def _joined(
    sources: tuple[Source, ...], loaded: Sequence[_Loaded], templates: tuple[Templates, ...]
) -> Mixture:
    """Number the kinds and the words of all sources in one row."""
    kinds = tuple(kind for one in loaded for kind in one.kinds)
    number: dict[str, int] = {}
    words: list[str] = []
    for kind in kinds:
        for text in chain(*kind.names.values(), *kind.words.values()):
            if text.casefold() not in number:
                number[text.casefold()] = len(words)
                words.append(text)
    truth = torch.zeros(len(kinds), len(words), dtype=torch.bool)
    for row, kind in enumerate(kinds):
        truth[row, [number[text] for text in kind.everything]] = True

    def numbers(texts: Sequence[str]) -> tuple[int, ...]:
        return tuple(number[text.casefold()] for text in texts)

    speech = tuple(
        {
            language: (numbers(names), numbers(kind.words.get(language, ())))
            for language, names in kind.names.items()
        }
        for kind in kinds
    )
    drawers = tuple(dict.fromkeys(drawer for one in loaded for drawer in one.drawers))
    before, shown, hands, held_out = 0, list[Tensor](), list[Tensor](), list[HeldOut]()
    for one in loaded:
        shown.append(one.shown + before)
        # The last entry is that of -1, nobody in particular.
        own = torch.tensor([*map(drawers.index, one.drawers), -1])
        hands.append(own[one.hands])
        held_out += [
            replace(part, kinds=part.kinds + before, choices=part.choices + before)
            for part in one.held_out
        ]
        before += len(one.kinds)
    return Mixture(
        sources,
        tuple(one.images for one in loaded),
        tuple(shown),
        kinds,
        tuple(words),
        truth,
        speech,
        templates,
        tuple(held_out),
        tuple(dict.fromkeys(skipped for one in loaded for skipped in one.skipped)),
        tuple(key for one in loaded for key in one.keys),
        drawers,
        tuple(hands),
    )


def _with_classes(source: Source, path: Path, size: int, progress: Progress | None) -> _Loaded:
    """Classes, with the part that lies beside them or a tenth held out."""
    pictures, held_out = load_labelled(str(path), size=size, progress=progress)
    skipped = pictures.skipped + (() if held_out is None else held_out.skipped)
    if held_out is None:
        pictures, held_out = pictures.split(_HELD_OUT, source.seed)
    table = {} if source.classes is None else read_kinds(_on_shelf("names", source.classes, ".csv"))
    if table and (missing := [name for name in pictures.names if tidy(name) not in table]):
        raise BadData(f"{source.classes}: has no row for {', '.join(missing)}, of {path}")
    kinds = tuple(table.get(tidy(name)) or _kind(own_name(name), {}) for name in pictures.names)
    part = HeldOut(
        source.title,
        source,
        "name",
        held_out.images,
        held_out.labels,
        torch.arange(len(kinds)),
        torch.zeros_like(held_out.labels),
    )
    return _Loaded(
        keys=pictures.names,
        kinds=kinds,
        images=pictures.images,
        shown=pictures.labels,
        drawers=(),
        hands=torch.full_like(pictures.labels, -1),
        held_out=(part,),
        skipped=skipped,
    )


def _with_columns(source: Source, path: Path, size: int, progress: Progress | None) -> _Loaded:
    """Pictures of which columns tell what they show, with whole hands and whole kinds held out."""
    assert source.kind is not None
    paths = file_parts(path, (".parquet",))[0] if path.is_dir() else [path]
    if not paths:
        raise NotHere(f"{path}: no parquet file in it, in whose columns {source.kind} could be")
    for file in paths:
        there = parquet.schema_of(file).names
        wanted = (source.kind, source.hand or source.kind, *source.names, *source.words)
        if lacking := [name for name in wanted if name not in there]:
            raise BadInput(f"{file}: no column {lacking[0]!r}; it has {', '.join(there)}")

    keys = parquet.read_column(paths, source.kind)
    hands = parquet.read_column(paths, source.hand) if source.hand else [""] * len(keys)
    names = _texts_of(paths, source.names, len(keys))
    words = _texts_of(paths, source.words, len(keys))
    examples = (
        Example(where, picture, None if name and key is not None else "it has no name")
        for (where, picture), name, key in zip(
            parquet.read_pictures(paths), names, keys, strict=True
        )
    )
    images, kept, skipped = decode(
        examples, len(keys), str(path), size=size, alpha=True, progress=progress
    )

    first = {keys[row]: row for row in reversed(kept)}  # of each kind, the row that tells its names
    number = {one: i for i, one in enumerate(sorted(first, key=first.__getitem__))}
    kinds = tuple(
        _kind(_by_language(names[first[one]]), _by_language(words[first[one]])) for one in number
    )
    shown = torch.tensor([number[keys[row]] for row in kept])
    drawers = sorted({str(hands[row]) for row in kept})
    hand = torch.tensor([drawers.index(str(hands[row])) for row in kept])
    if strange := [one for one in source.hold_hands if one not in drawers]:
        raise BadInput(f"{path}: {strange[0]!r} drew none of it; there are {', '.join(drawers)}")
    new = torch.tensor(_drawn_out(list(number), source, path), dtype=torch.int64)
    other_hand = torch.isin(hand, _numbers(drawers, source.hold_hands))
    new_kind = torch.isin(shown, new)
    by_name = torch.isin(shown, _named_out(list(number), source, path))
    train = ~other_hand & ~new_kind & ~by_name
    if not train.any():
        raise BadInput(f"{path}: nothing is left to train on; hold fewer hands or kinds out")
    other_hand &= torch.isin(shown, shown[train])

    def part(title: str, chosen: Bool[Tensor, " n"]) -> HeldOut:
        return HeldOut(
            f"{title} {source.title}",
            source,
            "find",
            images[chosen][..., :3].contiguous(),
            shown[chosen],
            shown[chosen].unique(),
            hand[chosen],
            tuple(drawers),
        )

    parts = [("new hand", other_hand), ("new", new_kind), ("never drawn", by_name)]
    drew = hand[train]
    own = drew.unique() if source.hand else drew.new_empty(0)
    return _Loaded(
        keys=tuple(map(str, number)),
        kinds=kinds,
        images=images[train],
        shown=shown[train],
        drawers=tuple(drawers[one] for one in own.tolist()),
        hands=torch.searchsorted(own, drew) if source.hand else torch.full_like(drew, -1),
        held_out=tuple(part(title, chosen) for title, chosen in parts if chosen.any()),
        skipped=skipped,
    )


def _numbers(names: Sequence[str], chosen: Sequence[str]) -> Int64[Tensor, " m"]:
    return torch.tensor([names.index(one) for one in chosen], dtype=torch.int64)


def _named_out(keys: Sequence[Any], source: Source, path: Path) -> Int64[Tensor, " m"]:
    """Which kinds are held out by name."""
    called = [str(key) for key in keys]
    if strange := [one for one in source.hold_names if one not in called]:
        raise BadInput(
            f"{path}: hold_names has {strange[0]!r:.40}, which no picture shows; its column "
            f"{source.kind} says what they show: {', '.join(called[:5])} ..."
        )
    return _numbers(called, source.hold_names)


def _drawn_out(kinds: Sequence[Any], source: Source, path: Path) -> list[int]:
    """Which kinds are held out: by a hash, so that anyone can tell, and more data moves few."""
    if source.hold_kinds >= len(kinds):
        raise BadInput(f"{path}: {source.hold_kinds} kinds cannot be held out of {len(kinds)}")

    def lot(number: int) -> str:
        return hashlib.sha256(f"{source.seed} {kinds[number]}".encode()).hexdigest()

    return sorted(range(len(kinds)), key=lot)[: source.hold_kinds]


def _texts_of(paths: Sequence[Path], columns: Sequence[str], rows: int) -> list[list[str]]:
    """What some columns say of each row; a cell holds a text, a list of texts, or nothing."""
    said: list[list[str]] = [[] for _ in range(rows)]
    for column in columns:
        for texts, cell in zip(said, parquet.read_column(paths, column), strict=True):
            several = cell if isinstance(cell, list) else [cell]
            texts += [own for text in several if isinstance(text, str) and (own := tidy(text))]
    return said


def _by_language(texts: Sequence[str]) -> dict[str, list[str]]:
    several: dict[str, list[str]] = {}
    for text in texts:
        several.setdefault(language_of(text), []).append(text)
    return several


def _kind(names: Mapping[str, Sequence[str]], words: Mapping[str, Sequence[str]]) -> Kind:
    """A kind of which nothing is said twice."""
    own = {language: tuple(dict.fromkeys(several)) for language, several in names.items()}
    others: dict[str, tuple[str, ...]] = {}
    for language, several in words.items():
        fresh = [text for text in several if text not in own.get(language, ())]
        if fresh:
            others[language] = tuple(dict.fromkeys(fresh))
    return Kind(own, others)


def ask_templates(source: Source) -> Templates:
    """Those with which the held-out pictures of a source are asked."""
    return _templates(source.ask)


def _templates(wish: Sequence[str]) -> Templates:
    """The templates that a source names: a set on our shelf, a file, or templates themselves."""
    if len(wish) == 1 and "{name}" not in wish[0]:
        shelf = _on_shelf("templates", wish[0], ".txt")
        return read_templates(shelf if shelf.is_file() else wish[0])
    return read_templates(list(wish))


def _on_shelf(folder: str, name: str, ending: str) -> Path:
    """A file that came with the package, by its name; else the path that was named."""
    ours = Path(str(files("mmfm.assets"))) / folder / f"{name}{ending}"
    return ours if ours.is_file() else Path(name)
