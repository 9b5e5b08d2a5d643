"""How well emoji-nano draws what it is asked for, in English and in Korean.

    python benchmarks/emoji_nano.py --data DATA --judge runs/ruler-emoji [--model emoji-nano | RUN]
        [--clip CLIP] [--hand noto] [--guidance G] [--interval LOW HIGH] [--steps N] [--seeds 5]
        [--kept FOLDER] [--sheet SHEET.png] [--grid GRID.png]
    python benchmarks/emoji_nano.py --answers SHEET.csv
    python benchmarks/emoji_nano.py --data DATA --choose

The judge is a convolutional classifier of another architecture, which learned from two other hands,
twemoji and blob (assets/sources/emoji-to-judge.toml). blob is a fork of noto, from which emoji-nano
learns: most of it is drawn anew, but not all, so the judge has seen some art close to what it
judges. How often it names real pictures right is therefore stated hand by hand, noto apart from the
fluents, of which it has seen nothing. It comes of
    mmfm train ruler --data DATA --recipe ruler-emoji --out runs/ruler-emoji

Judged are a hundred emoji that emoji-nano has learned (assets/sources/emoji-judged.csv, written
with --choose): is the drawn picture named right among their hundred names? Each is asked for by its
name in each language, from several noises. Every share has its 95 % interval: where a name is asked
for several times, of drawing names anew. Beside it stands how often the judge names real pictures
right that emoji-nano learned from, and what a machine would score that only finds the learned
picture whose name is nearest by clip-nano. How near what was drawn comes to what was learned is
held against real pictures that nobody could copy: twemoji's, who is no fork of a learned hand; and
against those of one learned hand among those of the others, which share their maker's manner. A
picture that is moved by a pixel is the same picture.

--sheet draws things in colours that no learned picture of them has, shuffled among others, as
numbered sheets that don't say what was asked for. Somebody who doesn't know it writes into
SHEET.csv what can be seen; --answers counts that.

What was drawn is kept in a folder: the same command goes on where it was stopped.
"""

import argparse
import csv
import hashlib
import json
import random
import sys
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from io import StringIO
from itertools import chain, product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from about import this_run
from clip_nano import base, interval
from einops import rearrange, reduce
from jaxtyping import Bool, Float, Int64, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mmfm import hub, plot
from mmfm.data import parquet
from mmfm.data.mixture import Mixture, load_mixture
from mmfm.data.tables import read_table
from mmfm.errors import BadInput, MmfmError
from mmfm.files import digest, whole, write_whole
from mmfm.likeness import nearest
from mmfm.measures import wilson
from mmfm.models.checkpoints import load_clip, load_denoiser
from mmfm.models.clip import TwoTowers
from mmfm.models.denoiser import Denoiser
from mmfm.models.held_out import Outcome
from mmfm.models.ruler import Ruler, Seen, load_ruler, look
from mmfm.models.words import Reader, reader_for
from mmfm.recipes import read_sources
from mmfm.tasks.generate import Sampling, chosen, order

LANGUAGES = ("en", "ko")
SPOKEN = {"en": "English", "ko": "Korean"}
JUDGED = Path(str(files("mmfm.assets"))) / "sources" / "emoji-judged.csv"
COUNT, SEED = 100, 1  # of the names that are asked for, and which they are
FORKS = {"noto": "blob"}  # hands, and who began with their drawings: some are nearly the same still
SIDE = 16  # at which pixels are compared: what differs below that, a viewer takes for the same

# Flags, skin tones, and what has no place in Unicode's order; and what only letters, digits or the
# hands of a clock tell from one another.
NO_THING = {"flags", "component", ""}
ALIKE = {"keycap", "alphanum"}
CLOCKS = ("o’clock", "o'clock", "thirty")

# Held out in all hands (emoji-to-draw.toml): no learned picture is called so, but the colour is
# known from other things and the thing in other colours. In other pictures one may be seen all the
# same: the heart of a heart decoration is white, and one sign lies on an orange circle. Not asked
# for is what is shown more plainly: a dozen signs lie on purple squares, and piles of books have
# green and orange ones.
COMPOSITIONS = (
    ("🧡", "orange", "heart"),
    ("💜", "purple", "heart"),
    ("🤎", "brown", "heart"),
    ("🖤", "black", "heart"),
    ("🤍", "white", "heart"),
    ("🟫", "brown", "square"),
    ("🟠", "orange", "circle"),
    ("🟢", "green", "circle"),
    ("🍏", "green", "apple"),
)
CONTROLS = (
    ("❤", "red", "heart"),
    ("💛", "yellow", "heart"),
    ("💚", "green", "heart"),
    ("💙", "blue", "heart"),
    ("🟧", "orange", "square"),
    ("🟦", "blue", "square"),
    ("⬛", "black", "square"),
    ("🟣", "purple", "circle"),
    ("🔴", "red", "circle"),
    ("🟤", "brown", "circle"),
    ("🍎", "red", "apple"),
)
EACH = 8  # pictures of each, half of them asked for in Korean
PAGE, COLUMNS, CELL, MARGIN = 48, 8, 128, 18  # of a sheet: pictures, columns, and pixels
PARTS = {"colour": 0, "thing": 1, "both": slice(None)}  # of an answer


# --- what is asked for ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """An emoji and what it is called."""

    emoji: str
    names: Mapping[str, str]  # by language


def choose(data: str) -> list[Asked]:
    """A hundred emoji that all five hands have drawn and emoji-nano learns, by their hashes."""
    (source,) = read_sources("emoji-to-draw")
    mixture = load_mixture([source], data, size=8)
    learned = {mixture.keys[kind] for shown in mixture.shown for kind in shown.unique().tolist()}
    path = [Path(data) / source.data]
    columns = ("emoji", "style", "name_en", "name_ko", "group", "subgroup")
    rows = list(zip(*(parquet.read_column(path, name) for name in columns), strict=True))
    hands = Counter(emoji for emoji, _ in {(emoji, style) for emoji, style, *_ in rows})
    most = len({style for _, style, *_ in rows})
    fit = {
        emoji: Asked(emoji, {"en": name_en, "ko": name_ko})
        for emoji, _, name_en, name_ko, group, subgroup in rows
        if emoji in learned and hands[emoji] == most and name_en and name_ko
        if group not in NO_THING and subgroup not in ALIKE
        if not any(word in name_en for word in CLOCKS)
    }

    def lot(emoji: str) -> str:
        return hashlib.sha256(f"{SEED} {emoji}".encode()).hexdigest()

    return [fit[emoji] for emoji in sorted(fit, key=lot)[:COUNT]]


def write_judged(asked: Sequence[Asked]) -> None:
    """Keep the list where anyone can read it."""
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["emoji", *LANGUAGES])
    table.writerows([one.emoji, *(one.names[language] for language in LANGUAGES)] for one in asked)
    write_whole(JUDGED, text.getvalue())


def read_judged() -> list[Asked]:
    """The names that are asked for."""
    header, rows = read_table(JUDGED)
    cells = [dict(zip(header, row, strict=True)) for _, row in rows]
    return [Asked(c["emoji"], {language: c[language] for language in LANGUAGES}) for c in cells]


# --- what is drawn --------------------------------------------------------------------------------


class Artist:
    """Draws what it is asked for, and keeps it, so that nothing is drawn twice."""

    def __init__(
        self, den: Denoiser, reader: Reader, how: Sampling, hand: str | None, folder: Path
    ) -> None:
        self.den, self.reader, self.how, self.hand = den, reader, how, hand
        self.folder = folder
        weights = [digest(path) for path in hub.find(den.name).weights]
        self.mark = [weights, reader.fingerprint, asdict(how), hand]

    def draw(self, prompts: Sequence[str], seed: int) -> UInt8[Tensor, "n y x c"]:
        """A picture of each prompt, each from a noise of its own."""
        known = json.dumps([*self.mark, list(prompts), seed], sort_keys=True)
        path = self.folder / f"{hashlib.sha256(known.encode()).hexdigest()[:16]}.npy"
        if not path.is_file():
            asked = order(
                self.den,
                [self.hand] if self.den.labels else None,
                prompt=list(prompts),
                reader=self.reader,
                count=len(prompts),
                seed=seed,
                how=self.how,
                warn=lambda line: None,  # these names it has learned, however they break
            )
            images = torch.cat([some for _, some in asked.pictures()])
            with whole(path) as file:
                np.save(file, images.numpy())
        return torch.from_numpy(np.load(path, allow_pickle=False))


# --- who judges -----------------------------------------------------------------------------------


class Judge:
    """A classifier of all emoji that is asked which of a hundred it sees."""

    def __init__(self, ruler: Ruler, asked: Sequence[Asked]) -> None:
        self.ruler = ruler
        names = [one.names["en"] for one in asked]
        if strange := [name for name in names if ruler.labels.count(name) != 1]:
            raise BadInput(f"{ruler.source} knows no {strange[0]!r}, or two of that name")
        self.columns = torch.tensor([ruler.labels.index(name) for name in names])

    def look(self, images: UInt8[Tensor, "n y x c"]) -> Seen:
        """What it makes of pictures, brought to its size."""
        return look(self.ruler, shrunk(images, self.ruler.config.image_size))

    def features(self, images: UInt8[Tensor, "n y x c"]) -> Float[Tensor, "n d"]:
        """What it sees in pictures, before it names them."""
        return self.look(images).features

    def named(self, images: UInt8[Tensor, "n y x c"]) -> Int64[Tensor, " n"]:
        """Which of the hundred each picture is."""
        return self.look(images).logits[:, self.columns].argmax(dim=1)


def shrunk(images: UInt8[Tensor, "n y x c"], side: int) -> UInt8[Tensor, "n v u c"]:
    """Smaller pictures: of so many pixels each the mean."""
    times, rest = divmod(images.shape[1], side)
    if rest or not times:
        raise BadInput(f"pictures of {images.shape[1]} pixels are not brought to {side} here")
    mean = reduce(images.float(), "n (y p) (x q) c -> n y x c", "mean", p=times, q=times)
    return mean.round().byte()


def interval_of(right: Bool[Tensor, "s n"]) -> tuple[float, float, float]:
    """The share of right answers, and its interval: names are drawn anew, not single pictures."""
    if right.all() or not right.any():  # whatever is drawn anew would be the same
        share = wilson(int(right[0].sum()), right.shape[1])
        assert share is not None
        return share.value, share.low, share.high
    numbers = torch.arange(right.shape[1])
    return interval([Outcome("", "", "", "R@1", row, numbers, len(row)) for row in right])


def said(right: Bool[Tensor, "s n"]) -> str:
    """A share with its interval, for a table."""
    if right.numel() == 0:
        return "none"
    share, low, high = interval_of(right)
    return f"{share:6.1%} ({low:.1%}-{high:.1%})"


# --- the pictures that were learned from ----------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Real:
    """Real pictures: what they show and who drew them."""

    images: UInt8[Tensor, "n y x c"]
    kinds: Int64[Tensor, " n"]
    hands: Int64[Tensor, " n"]
    drawers: tuple[str, ...]

    def of(self, kinds: Sequence[int], hand: str) -> dict[int, int]:
        """Where the pictures of these kinds by one hand lie, by kind."""
        here = (self.hands == self.drawers.index(hand)).nonzero()[:, 0].tolist()
        place = {int(self.kinds[i]): i for i in here}
        return {kind: place[kind] for kind in kinds if kind in place}


def learned(mixture: Mixture) -> Real:
    """What emoji-nano learned from, as it lies on white."""
    (images,), (kinds,), (hands,) = mixture.images, mixture.shown, mixture.hands
    return Real(images[..., :3].contiguous(), kinds, hands, mixture.drawers)


def never_learned(mixture: Mixture) -> Real:
    """The same emoji as hands draw them that are held out, and no forks of those learned from."""
    (part,) = [part for part in mixture.held_out if part.title.startswith("new hand")]
    forks = [FORKS.get(hand) for hand in mixture.drawers]
    apart = torch.tensor([hand not in forks for hand in part.galleries])
    some = part.select(apart[part.gallery].nonzero()[:, 0])
    return Real(some.images, some.kinds, some.gallery, some.galleries)


# --- how often what was drawn is what was asked for -----------------------------------------------


def figures(
    artist: Artist,
    judge: Judge,
    mixture: Mixture,
    asked: Sequence[Asked],
    clip: TwoTowers,
    seeds: int,
) -> Iterator[str]:
    """The share that is named right among the hundred names, and what it is to be held against."""
    real = learned(mixture)
    kinds = [mixture.keys.index(one.emoji) for one in asked]
    number = torch.arange(len(asked))
    shown = [base(one.emoji) for one in asked]
    twins = torch.tensor([[a == b for b in shown] for a in shown])
    yield row(f"right name among {len(asked)}", [SPOKEN[language] for language in LANGUAGES])

    known = torch.zeros(len(asked), dtype=torch.int64)  # by how many hands the judge knows it
    there = torch.zeros(len(asked), dtype=torch.int64)
    for hand in real.drawers:
        place = real.of(kinds, hand)
        have = torch.tensor([kind in place for kind in kinds])
        where = torch.tensor([place[kind] for kind in kinds if kind in place])
        right = judge.named(real.images[where]) == number[have]
        known[have] += right.long()
        there += have.long()
        fork = FORKS.get(hand)
        seen = "which the judge never saw" if fork is None else f"whose fork {fork} the judge knows"
        yield row(f"real pictures by {hand}, {seen}", [said(right[None])])
    sure = known * 2 > there

    named: dict[str, Tensor] = {}  # s n, and whether it is right
    drawn: dict[str, Tensor] = {}
    for language in LANGUAGES:
        prompts = [one.names[language] for one in asked]
        some: list[Tensor] = []
        for seed in range(seeds):
            tell(f"drawing {len(prompts)} in {SPOKEN[language]}, {seed + 1} of {seeds}")
            some.append(judge.named(artist.draw(prompts, seed)))
        named[language] = torch.stack(some)
        drawn[language] = named[language] == number
    yield row("drawn", [said(drawn[language]) for language in LANGUAGES])
    pairs = int(twins.sum(dim=1).gt(1).sum())
    name = f"drawn, the twin of one that has any ({pairs}) right as well"
    yield row(name, [said(twins[number, named[language]]) for language in LANGUAGES])
    name = f"drawn, the {int(sure.sum())} whose real pictures the judge names right"
    yield row(name, [said(drawn[language][:, sure]) for language in LANGUAGES])
    yield row("by chance", [f"{1 / len(asked):.1%}"] * 2)

    texts = Texts(clip, mixture)
    for other, name in ((False, "the learned picture"), (True, "that of another emoji")):
        shares: list[str] = []
        for language in LANGUAGES:
            found = texts.nearest([one.names[language] for one in asked], kinds if other else None)
            first = torch.tensor([int((real.kinds == kind).nonzero()[0]) for kind in found])
            shares.append(said((judge.named(real.images[first]) == number)[None]))
        yield row(f"{name} with the nearest name", shares)


def row(name: str, cells: Sequence[str]) -> str:
    """A line of the table."""
    return f"{name:58} " + "  ".join(f"{cell:>22}" for cell in cells)


class Texts:
    """The names of all learned emoji, in the space of a CLIP."""

    def __init__(self, clip: TwoTowers, mixture: Mixture) -> None:
        self.clip = clip
        kinds = [kind for shown in mixture.shown for kind in shown.unique().tolist()]
        names = [list(chain(*mixture.kinds[kind].names.values())) for kind in kinds]
        self.kinds = torch.tensor(kinds).repeat_interleave(torch.tensor(list(map(len, names))))
        self.rows = clip.encode_text(list(chain(*names))).cpu()

    def nearest(self, prompts: Sequence[str], but: Sequence[int] | None) -> list[int]:
        """Whose name is nearest to each prompt; with `but`, of all other kinds than these."""
        near = self.clip.encode_text(list(prompts)).cpu() @ self.rows.T  # n m
        if but is not None:
            near = near.masked_fill(torch.tensor(but)[:, None] == self.kinds, -torch.inf)
        return self.kinds[near.argmax(dim=1)].tolist()


# --- is it copied? --------------------------------------------------------------------------------


def copies(
    artist: Artist, judge: Judge, mixture: Mixture, asked: Sequence[Asked], seeds: int
) -> Iterator[str]:
    """How near drawn pictures come to learned ones, beside pictures that nobody could copy."""
    among, others = learned(mixture), never_learned(mixture)
    kinds = torch.tensor([mixture.keys.index(one.emoji) for one in asked])
    prompts = [[one.names[language] for one in asked] for language in LANGUAGES]
    drawn = [artist.draw(several, seed) for several in prompts for seed in range(seeds)]
    here = torch.isin(others.kinds, kinds)
    whose = ", ".join(others.drawers[number] for number in others.hands.unique().tolist())
    everyone = torch.ones(len(among.kinds), dtype=torch.bool)
    heaps = [
        Heap("drawn", torch.cat(drawn), kinds.repeat(len(drawn)), everyone),
        Heap(f"real, by {whose}", others.images[here], others.kinds[here], everyone),
    ]
    for number, hand in enumerate(among.drawers):
        own = among.hands == number
        some = own & torch.isin(among.kinds, kinds) & torch.isin(among.kinds, among.kinds[~own])
        name = f"real, by {hand}, among the others'"
        heaps.append(Heap(name, among.images[some], among.kinds[some], ~own))
    yield "distance to the nearest learned picture: median, the nearest twentieth, the nearest"
    views = {"pixels": (pixels, moved), "what the judge sees": (judge.features, None)}
    for what, (see, move) in views.items():
        # What was learned, and the same a pixel further: it was shown so, and is drawn so.
        copies = [among.images] if move is None else list(move(among.images))
        rows_among = torch.cat([see(some) for some in copies])
        of_among, times = among.kinds.repeat(len(copies)), len(copies)
        found = [
            distances(see(heap.images), heap.kinds, rows_among, of_among, heap.among.repeat(times))
            for heap in heaps
        ]
        for whose in ("the same emoji", "any emoji"):
            for heap, far in zip(heaps, found, strict=True):
                d = far[whose]
                low = float(d.quantile(0.05))
                yield f"{what}, {whose}, {heap.name:34} {d.median():7.2f} {low:7.2f} {d.min():7.2f}"
            ours, real = found[0][whose], found[1][whose]
            share = (ours < real.quantile(0.05)).double().mean()
            yield f"    drawn ones nearer than the nearest twentieth {heaps[1].name}: {share:.1%}"


@dataclass(frozen=True, eq=False)
class Heap:
    """Pictures, and the learned ones among which the nearest to each is looked for."""

    name: str
    images: UInt8[Tensor, "n y x c"]
    kinds: Int64[Tensor, " n"]
    among: Bool[Tensor, " m"]


def distances(
    rows: Float[Tensor, "n d"],
    kinds: Int64[Tensor, " n"],
    others: Float[Tensor, "m d"],
    of: Int64[Tensor, " m"],
    among: Bool[Tensor, " m"],
) -> dict[str, Tensor]:
    """How far each is from the nearest of these others, and from the nearest of its own kind."""
    same = torch.empty(len(rows), dtype=torch.float64)
    for kind in kinds.unique():
        same[kinds == kind] = nearest(rows[kinds == kind], others[among & (of == kind)])[0]
    return {"the same emoji": same, "any emoji": nearest(rows, others[among]).distance}


def moved(images: UInt8[Tensor, "n y x c"]) -> Iterator[UInt8[Tensor, "n y x c"]]:
    """The same pictures where they lie, and a pixel further each way, on white."""
    side = images.shape[1]
    on_white = F.pad(images, (0, 0, 1, 1, 1, 1), value=255)
    for y, x in product(range(3), range(3)):
        yield on_white[:, y : y + side, x : x + side]


def pixels(images: UInt8[Tensor, "n y x c"]) -> Float[Tensor, "n d"]:
    """Rows whose distance is the root of the mean squared difference of a colour, in levels."""
    rows = rearrange(shrunk(images, SIDE).float(), "n y x c -> n (y x c)")
    return rows / rows.shape[1] ** 0.5


# --- compositions that were held out --------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """A picture of a sheet."""

    which: int  # of all things that are asked for
    seed: int

    @property
    def thing(self) -> tuple[str, str, str]:
        """The emoji, its colour and what it is."""
        return (*COMPOSITIONS, *CONTROLS)[self.which]

    @property
    def composed(self) -> bool:
        """Whether no learned picture is called so."""
        return self.which < len(COMPOSITIONS)


def cells() -> list[Cell]:
    """All pictures of the sheets, in the order of their numbers; the same for everyone."""
    count = len(COMPOSITIONS) + len(CONTROLS)
    several = [Cell(which, seed) for which in range(count) for seed in range(EACH)]
    random.Random(SEED).shuffle(several)
    return several


def composed(artist: Artist, mixture: Mixture) -> dict[Cell, Tensor]:
    """The pictures of the sheets."""
    _check_composed(mixture)
    images: dict[Cell, Tensor] = {}
    things = [emoji for emoji, *_ in (*COMPOSITIONS, *CONTROLS)]
    for seed in range(EACH):
        language = LANGUAGES[seed % 2]
        names = [mixture.kinds[mixture.keys.index(emoji)].names[language][0] for emoji in things]
        tell(f"drawing compositions, {seed + 1} of {EACH}")
        for which, image in enumerate(artist.draw(names, seed)):
            images[Cell(which, seed)] = image
    return images


def judged_composed(ruler: Ruler, mixture: Mixture, images: Mapping[Cell, Tensor]) -> Iterator[str]:
    """How often the judge names compositions right, among them and the controls."""
    things = [emoji for emoji, *_ in (*COMPOSITIONS, *CONTROLS)]
    kinds = [mixture.kinds[mixture.keys.index(emoji)] for emoji in things]
    asked = [
        Asked(emoji, {language: kind.names[language][0] for language in LANGUAGES})
        for emoji, kind in zip(things, kinds, strict=True)
    ]
    judge, number = Judge(ruler, asked), torch.arange(len(things))
    right = torch.empty(EACH, len(things), dtype=torch.bool)
    for seed in range(EACH):
        drawn = torch.stack([images[Cell(which, seed)] for which in range(len(things))])
        right[seed] = judge.named(drawn) == number
    yield row(f"right name among {len(things)}", [SPOKEN[language] for language in LANGUAGES])
    for title, some in (
        ("compositions held out", slice(len(COMPOSITIONS))),
        ("those learned", slice(len(COMPOSITIONS), None)),
    ):
        # Every second one was asked for in Korean (`composed`).
        yield row(title, [said(right[start::2, some]) for start in range(len(LANGUAGES))])


def _check_composed(mixture: Mixture) -> None:
    """No learned picture may be called as a composition is, and some must be as a control is."""
    known = {mixture.keys[kind] for shown in mixture.shown for kind in shown.unique().tolist()}
    for things, wanted in ((COMPOSITIONS, False), (CONTROLS, True)):
        for emoji, colour, thing in things:
            if emoji not in mixture.keys or (emoji in known) != wanted:
                how = "is not among those learned" if wanted else "is not held out"
                raise BadInput(f"{emoji} ({colour} {thing}) {how}: see emoji-to-draw.toml")


def write_sheets(images: Mapping[Cell, Tensor], path: Path) -> list[Path]:
    """Numbered pictures that do not say what was asked for, and a table to be filled in."""
    numbered = [images[cell] for cell in cells()]
    written: list[Path] = []
    for page, first in enumerate(range(0, len(numbered), PAGE), start=1):
        target = path.with_stem(f"{path.stem}-{page}")
        some = numbered[first : first + PAGE]
        with whole(target) as file:
            _numbered_sheet(some, first + 1).save(file, "PNG")
        written.append(target)
    table = path.with_suffix(".csv")
    lines = ["number,colour,thing", *(f"{n},," for n in range(1, len(numbered) + 1))]
    if not table.exists():  # somebody may have begun to fill it in
        write_whole(table, "\n".join(lines) + "\n")
    return [*written, table]


def _numbered_sheet(images: Sequence[UInt8[Tensor, "y x c"]], first: int) -> Image.Image:
    rows = -(-len(images) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (CELL + 8), rows * (CELL + MARGIN + 8)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for place, image in enumerate(images):
        y, x = place // COLUMNS * (CELL + MARGIN + 8), place % COLUMNS * (CELL + 8)
        pen.text((x + 2, y + 1), str(first + place), fill="black", font=font)
        picture = Image.fromarray(image.numpy()).resize((CELL, CELL), Image.Resampling.NEAREST)
        sheet.paste(picture, (x + 4, y + MARGIN))
    return sheet


def write_grid(images: Mapping[Cell, Tensor], path: Path) -> None:
    """The compositions, a column each, for who may know."""
    places = [Cell(which, seed) for seed in range(EACH) for which in range(len(COMPOSITIONS))]
    shown = rearrange([images[place] for place in places], "b y x c -> b c y x") / 255
    sheet = plot.grid(shown, columns=len(COMPOSITIONS), gap=2)
    with whole(path) as file:
        plot.enlarged(sheet, wide=1200).save(file, "PNG")


def counted(path: Path) -> Iterator[str]:
    """What somebody has seen on the sheets, held against what was asked for."""
    key, seen = cells(), _answers(path)
    if missing := [number for number in range(1, len(key) + 1) if number not in seen]:
        raise BadInput(f"{path}: no line for number {missing[0]}; there are {len(key)} pictures")
    for title, wanted in (("held out", True), ("learned", False)):
        places = [place for place, cell in enumerate(key) if cell.composed == wanted]
        asked = [key[place].thing[1:] for place in places]
        answers = [seen[place + 1] for place in places]
        which = torch.tensor([key[place].which for place in places])
        things, seeds = which.unique(), torch.tensor([key[place].seed for place in places])
        yield f"{title}, {len(places)} pictures of {len(things)} things"
        for name, part in PARTS.items():
            wished, found = [one[part] for one in asked], [one[part] for one in answers]
            right = torch.zeros(EACH, len(things), dtype=torch.bool)
            hits = [a == b for a, b in zip(wished, found, strict=True)]
            right[seeds, which - things[0]] = torch.tensor(hits)
            yield f"  {name:8} {said(right):>22}, by chance {_by_chance(wished, found):.1%}"
        for part, name in enumerate(("colour", "thing")):
            yield from _confused(name, [a[part] for a in asked], [b[part] for b in answers])


def _answers(path: Path) -> dict[int, tuple[str, str]]:
    """Colour and thing by the number of the picture."""
    if not path.is_file():
        raise BadInput(f"no file of answers {path}; --sheet writes one to be filled in")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        return {int(row["number"]): (_word(row["colour"]), _word(row["thing"])) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path}: not a table of number,colour,thing ({error})") from error


def _word(cell: str | None) -> str:
    """An answer as it is compared: "Gray" is grey."""
    word = " ".join((cell or "").lower().split())
    return {"gray": "grey", "violet": "purple", "": "(nothing)"}.get(word, word)


def _by_chance(asked: Sequence[Hashable], seen: Sequence[Hashable]) -> float:
    """How many of these answers would be right had they been given in any order."""
    answers = Counter(seen)
    return sum(count * answers[one] for one, count in Counter(asked).items()) / len(asked) ** 2


def _confused(name: str, asked: Sequence[str], seen: Sequence[str]) -> Iterator[str]:
    """What was asked for and what was seen, as a table of counts."""
    columns = sorted(set(seen), key=lambda word: (word not in asked, word))
    yield f"  {name + ' asked for':18} " + " ".join(f"{word:>9.9}" for word in columns)
    for one in sorted(set(asked)):
        counts = Counter(b for a, b in zip(asked, seen, strict=True) if a == one)
        yield f"  {one:18} " + " ".join(f"{counts[word]:9}" for word in columns)


# --- the command ----------------------------------------------------------------------------------


def tell(line: str) -> None:
    """What is going on, beside the figures."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="the folder that holds emoji/")
    parser.add_argument("--model", default="emoji-nano", help="bundled, or a run's folder")
    parser.add_argument("--clip", default="", help="who reads, if not the CLIP that it names")
    parser.add_argument("--judge", help="the run of mmfm train ruler")
    parser.add_argument("--hand", help="draw as this hand; none in particular unless it is named")
    parser.add_argument("--guidance", type=float)
    parser.add_argument(
        "--interval", type=float, nargs=2, metavar=("LOW", "HIGH"), help="times that it guides at"
    )
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, default=5, help="so many pictures of each name")
    parser.add_argument("--kept", type=Path, default=Path("runs/emoji-nano-drawn"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sheet", type=Path, help="draw compositions, not saying which")
    parser.add_argument("--grid", type=Path, help="draw the compositions, for who may know them")
    parser.add_argument("--answers", type=Path, help="count what somebody saw on the sheets")
    parser.add_argument("--choose", action="store_true", help="write the list of judged names")
    arguments = parser.parse_args()
    if arguments.answers is not None:
        lines: Iterator[str] = counted(arguments.answers)
    elif arguments.data is None:
        raise BadInput("--data is missing: the folder that holds emoji/")
    elif arguments.choose:
        asked = choose(arguments.data)
        write_judged(asked)
        lines = iter([f"{JUDGED}: {len(asked)} names"])
    else:
        lines = measured(arguments)
    for line in lines:
        print(line, flush=True)


def measured(arguments: argparse.Namespace) -> Iterator[str]:
    """All that is drawn and measured."""
    den = load_denoiser(arguments.model, device=arguments.device)
    between = None if arguments.interval is None else tuple(arguments.interval)
    how = chosen(den, guidance=arguments.guidance, interval=between, steps=arguments.steps)
    reader = reader_for(den, arguments.clip, arguments.device)
    artist = Artist(den, reader, how, arguments.hand, arguments.kept)
    weights = sum(weight.numel() for weight in den.parameters())
    yield f"{this_run()}; {den.source}, {weights:,} weights"
    yield f"{how}, as {arguments.hand or 'no hand in particular'}"
    sources = read_sources("emoji-to-draw")
    mixture = load_mixture(sources, arguments.data, size=den.config.image_size)
    if arguments.sheet is not None or arguments.grid is not None:
        images = composed(artist, mixture)
        if arguments.sheet is not None:
            for path in write_sheets(images, arguments.sheet):
                yield f"{path}"
            yield f"colours: {', '.join(words_of(1))}; things: {', '.join(words_of(2))}"
        if arguments.grid is not None:
            write_grid(images, arguments.grid)
            yield f"{arguments.grid}"
    if arguments.judge is None:
        return
    asked = read_judged()
    ruler = load_ruler(arguments.judge, device=arguments.device)
    judge = Judge(ruler, asked)
    yield f"judge: {ruler.source}, {len(ruler.labels)} names, {ruler.digest[:12]}"
    clip = load_clip(arguments.clip or den.reads, device=arguments.device)
    yield from figures(artist, judge, mixture, asked, clip, arguments.seeds)
    yield from judged_composed(ruler, mixture, composed(artist, mixture))
    yield from copies(artist, judge, mixture, asked, arguments.seeds)


def words_of(part: int) -> list[str]:
    """The words with which a sheet is answered; any other may be written too."""
    return sorted({thing[part] for thing in (*COMPOSITIONS, *CONTROLS)})


if __name__ == "__main__":
    try:
        main()
    except MmfmError as error:
        raise SystemExit(f"emoji_nano.py: {error}") from error
