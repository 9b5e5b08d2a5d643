"""Learn from a few own pictures a label, where that makes a zero-shot classifier better.

    done = adapt(load_clip("clip-shapes"), Path("own"))     # own/<label>/*.jpg
    print("\\n".join(done.lines()))                          # what it brings, on held-out pictures
    done.adapter.save(Path("own.adapter"))                  # for classify --adapter

Several ways are tried (see mmfm.models.adapters), and choosing between them takes pictures of its
own: what was chosen because it did best on some pictures does less well on others. So there are two
circles of folds. For each fold of the outer one, the others choose among themselves, are learned
from, and the fold only judges. Where that shows no gain beyond chance, zero-shot stays.

Shapes: n pictures, k labels, d numbers a vector, w ways, t pictures to learn from.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from mmfm.data.decode import first_of
from mmfm.data.draws import uniform
from mmfm.data.folders import class_folders, folder_parts, lost_links
from mmfm.data.labels import Label, as_labels
from mmfm.data.tables import own_name
from mmfm.data.templates import Templates
from mmfm.data.texts import tidy
from mmfm.errors import BadData, BadInput, NotHere
from mmfm.files import digest
from mmfm.models.adapters import Adapter, Kind, likeness, probes, voices
from mmfm.models.clip import TwoTowers
from mmfm.models.label_vectors import Progress
from mmfm.tasks.classify import Labels, ZeroShotClassifier

FOLDS = 5  # at most; fewer where no label has so many pictures

_STREAM = 6  # of draws: which fold a picture falls into


@dataclass(frozen=True)
class Way:
    """One way to learn from examples, with its settings as shares of the model's own scale."""

    kind: Kind
    alpha: float = 0.0
    beta: float = 0.0
    strength: float = 0.0

    def __str__(self) -> str:
        if self.kind == "tip":
            return f"Tip-Adapter (alpha {self.alpha:g} of the scale, beta {self.beta:g})"
        return (
            f"linear probe (strength {self.strength:g})" if self.kind == "linear" else "zero-shot"
        )


_ALPHAS = (0.1, 0.5, 2.0)  # of the scale by which cosines become logits
_BETAS = (1.0, 5.5, 20.0)
_STRENGTHS = (1_000.0, 100.0, 10.0, 1.0)  # of the hold on label vectors of length 1
_LINEAR = tuple(Way("linear", strength=strength) for strength in _STRENGTHS)
WAYS = (
    Way("zero-shot"),
    *(Way("tip", alpha, beta) for beta in _BETAS for alpha in _ALPHAS),
    *_LINEAR,
)
# What is taken where examples are too few to choose by (two of each label).
UNCHOSEN = Way("linear", strength=1.0)


@dataclass(frozen=True, eq=False)
class Examples:
    """Pictures whose labels are known, as the model sees them."""

    vectors: Float[Tensor, "n d"]  # unit rows
    answers: Int64[Tensor, " n"]  # the numbers of their labels
    labels: Float[Tensor, "k d"]  # unit rows of the labels themselves
    scale: float  # by which the model multiplies cosines

    def select(self, index: Int64[Tensor, " t"]) -> "Examples":
        """Keep those with these numbers."""
        return Examples(self.vectors[index], self.answers[index], self.labels, self.scale)

    def ways(self, others: Float[Tensor, "n d"]) -> Iterator[Float[Tensor, "n k"]]:
        """What is said of other pictures after learning from these, in each of `WAYS` in turn."""
        zero_shot = self.scale * others @ self.labels.T
        yield zero_shot
        for beta in _BETAS:
            alike = likeness(others, self.vectors, beta)
            shift = voices(alike, self.answers, len(self.labels))
            for alpha in _ALPHAS:
                yield zero_shot + alpha * self.scale * shift
        for weights in self.probes():
            yield others @ weights.T

    def probes(self) -> list[Float[Tensor, "k d"]]:
        """The weights of the linear ways."""
        # Held by the length of label vectors, not of weights: so models of all scales are alike.
        strengths = [strength / self.scale**2 for strength in _STRENGTHS]
        return probes(self.vectors, self.answers, self.scale * self.labels, strengths)

    def adapter(self, way: Way, labels: Sequence[Label], model: str, note: str) -> Adapter:
        """What the classifier takes, learned in one way."""
        names = tuple(label.name for label in labels)
        said = tuple(label.names for label in labels)
        if way.kind == "tip":
            return Adapter(
                "tip",
                names,
                model,
                said,
                examples=self.vectors,
                answers=self.answers,
                alpha=way.alpha * self.scale,
                beta=way.beta,
                note=note,
            )
        if way.kind == "linear":
            weights = self.probes()[_STRENGTHS.index(way.strength)]
            return Adapter("linear", names, model, said, weights=weights, note=note)
        return Adapter("zero-shot", names, model, said, note=note)


# --- choosing and measuring -----------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """Which way was chosen, and what choosing brings on pictures that had no part in it."""

    way: Way  # zero-shot, where there is no gain beyond chance
    best: Way  # what is taken where there is one
    measured: int  # pictures that were held out once
    folds: int
    zero_shot: float  # the share of them that is answered right
    adapted: float
    interval: tuple[float, float]  # 95 % of the gain in that share

    @property
    def gain(self) -> float:
        """By how much the share grows."""
        return self.adapted - self.zero_shot


def choose(examples: Examples, *, seed: int = 0, progress: Progress | None = None) -> Chosen | None:
    """Choose a way, and measure what choosing brings; None where too few can be held out.

    A picture is held out only where its label has another one to learn from.
    """
    fold = _folds(examples.answers, seed)
    if len(examples.answers[fold >= 0].unique()) < 2:
        return None
    count = int(fold.max()) + 1
    # Without fold i one learns to answer it. Without i and j one learns to answer j, so as to
    # choose for i, and the other way round: the same examples serve both.
    without: dict[frozenset[int], _Trial] = {}
    outs = [frozenset(out) for n in (1, 2) for out in itertools.combinations(range(count), n)]
    for done, out in enumerate(outs, 1):
        asked = torch.stack([fold == i for i in out]).any(dim=0)
        without[out] = _trial(examples, asked)
        if progress is not None:
            progress(done, len(outs))

    def best(but: int | None = None) -> Way | None:
        others = [i for i in range(count) if i != but]
        apart = set() if but is None else {but}
        return _best([(without[frozenset({i} | apart)], fold == i) for i in others])

    chosen = [way for i in range(count) if (way := best(but=i)) is not None]
    last = best() or UNCHOSEN
    if len(chosen) < count:
        # What is measured has to be what is used: where a fold cannot choose, nobody does.
        chosen, last = [UNCHOSEN] * count, UNCHOSEN
    right = [without[frozenset({i})].right[:, fold == i] for i in range(count)]
    was_right = torch.cat([some[0] for some in right])
    is_right = torch.cat([some[WAYS.index(way)] for some, way in zip(right, chosen, strict=True)])
    interval = paired_interval(was_right, is_right)
    return Chosen(
        way=last if interval[0] > 0 else WAYS[0],
        best=last,
        measured=len(was_right),
        folds=count,
        zero_shot=was_right.double().mean().item(),
        adapted=is_right.double().mean().item(),
        interval=interval,
    )


@dataclass(frozen=True, eq=False)
class _Trial:
    """How pictures are answered after learning from all others."""

    right: Bool[Tensor, "w n"]  # False for pictures that were not asked
    surprise: Float[Tensor, "w n"]  # minus the logarithm of the right label's probability
    fair: Bool[Tensor, " n"]  # whether the label has an example among the others


def _trial(examples: Examples, asked: Bool[Tensor, " n"]) -> _Trial:
    learned = examples.select(torch.nonzero(~asked).squeeze(1))
    surprise = torch.zeros(len(WAYS), len(asked))
    right = surprise > 0
    if len(learned.answers) > 0:
        answers = examples.answers[asked]
        for way, logits in enumerate(learned.ways(examples.vectors[asked])):
            right[way, asked], surprise[way, asked] = _judged(logits, answers)
    return _Trial(right, surprise, torch.isin(examples.answers, learned.answers))


def _judged(
    logits: Float[Tensor, "n k"], answers: Int64[Tensor, " n"]
) -> tuple[Bool[Tensor, " n"], Float[Tensor, " n"]]:
    # A wrong label that is as likely counts as chosen.
    mine = logits.gather(1, answers[:, None])
    others = logits.scatter(1, answers[:, None], -torch.inf)
    surprise = F.cross_entropy(logits, answers, reduction="none")
    return (others < mine).all(dim=1), surprise


def _best(trials: Sequence[tuple[_Trial, Bool[Tensor, " n"]]]) -> Way | None:
    """The way that answers most right, and of several such the one least surprised."""
    asked = [(trial, mine & trial.fair) for trial, mine in trials]
    right = torch.cat([trial.right[:, mine] for trial, mine in asked], dim=1).sum(dim=1)
    surprise = torch.cat([trial.surprise[:, mine] for trial, mine in asked], dim=1)
    if surprise.shape[1] == 0:
        return None
    mean = surprise.mean(dim=1).tolist()
    return WAYS[max(range(len(WAYS)), key=lambda w: (int(right[w]), -mean[w]))]


def _folds(answers: Int64[Tensor, " n"], seed: int) -> Int64[Tensor, " n"]:
    """Deal the pictures of each label out to the folds; -1 for a picture that is its label's only.

    Where one label's pictures end the next one's go on, so that folds are alike in size.
    """
    fold = torch.full_like(answers, -1)
    counts = torch.bincount(answers)
    count = min(FOLDS, int(counts.max()))
    lot = uniform(seed, 0, torch.arange(len(answers)), 1, stream=_STREAM).squeeze(1)
    dealt = 0
    for label in torch.nonzero(counts >= 2).squeeze(1):
        members = torch.nonzero(answers == label).squeeze(1)
        fold[members[lot[members].argsort(stable=True)]] = (
            torch.arange(dealt, dealt + len(members)) % count
        )
        dealt += len(members)
    return fold


def paired_interval(before: Bool[Tensor, " n"], after: Bool[Tensor, " n"]) -> tuple[float, float]:
    """95 % interval of the gain in the share of right answers to the same questions.

    Wald's, with one answer more of each kind (Bonett & Price 2012): where few answers change, it is
    wide enough to be true, which a bootstrap is not.
    """
    n = len(before) + 2
    gained = (int((after & ~before).sum()) + 1) / n
    lost = (int((before & ~after).sum()) + 1) / n
    gain = gained - lost
    half = 1.96 * math.sqrt((gained + lost - gain**2) / n)
    return max(gain - half, -1.0), min(gain + half, 1.0)


# --- a folder of pictures -------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Adaptation:
    """What a folder of own pictures has taught."""

    adapter: Adapter  # of the kind zero-shot, where there is no gain
    chosen: Chosen
    pictures: int  # that were learned from
    unreadable: tuple[tuple[str, str], ...]  # (which, why)
    copies: tuple[tuple[str, str], ...]  # (which, of which), left out too
    alone: tuple[str, ...]  # labels of a single picture, with which nothing can be measured

    def lines(self) -> list[str]:
        """Say it to a person."""
        c = self.chosen
        lines = [f"{where}: {why}; left out" for where, why in self.unreadable]
        lines += [f"{where}: a copy of {other}; left out" for where, other in self.copies]
        if self.alone:
            lines.append(
                f"{_listed(self.alone)}: one picture only; it is learned from, but whether that "
                "helps cannot be measured (two are needed)"
            )
        low, high = (f"{100 * end:+.1f}" for end in c.interval)
        lines += [
            f"{self.pictures} pictures of {len(self.adapter.labels)} labels; "
            f"{c.measured} of them held out once, in {c.folds} folds:",
            f"  zero-shot          {c.zero_shot:6.1%} right",
            f"  with the examples  {c.adapted:6.1%} right",
            f"  gain               {100 * c.gain:+6.1f} points (95 % interval {low} to {high})",
            self.conclusion,
        ]
        return lines

    @property
    def conclusion(self) -> str:
        """What is kept, and why, in one sentence."""
        c = self.chosen
        if c.way.kind != "zero-shot":
            return f"kept: {c.way}, learned from all {self.pictures} pictures"
        low, high = (f"{100 * end:+.1f}" for end in c.interval)
        if c.best.kind == "zero-shot":
            why = "no way to learn from the examples does better"
        elif c.gain > 0:
            why = f"a gain of {100 * c.gain:.1f} points on {c.measured} pictures may be chance"
        else:
            why = "the examples bring no gain"
        return (
            f"kept: zero-shot; {why} ({c.zero_shot:.1%} before, {c.adapted:.1%} after, 95 % "
            f"interval of the gain {low} to {high} points)"
        )


def adapt(
    clip: TwoTowers,
    folder: Path,
    *,
    labels: Labels | None = None,
    templates: str | Path | Sequence[str] | Templates = "default",
    cache: Path | Literal["user"] | None = "user",
    progress: Progress | None = None,
    reading: Progress | None = None,
    choosing: Progress | None = None,
    warn: Callable[[str], None] | None = None,
    seed: int = 0,
) -> Adaptation:
    """Learn from DIR/<label>/*.jpg what helps a classifier for these labels, if anything does.

    `labels` say what the folders' labels are called, else they are called as the folders. Pictures
    are counted by `progress`, labels by `reading`, the folds that were tried by `choosing`.
    """
    if not folder.is_dir():
        raise NotHere(f"{folder}: no such folder; it holds one folder a label, as {folder / 'cat'}")
    part = folder_parts(folder)[0]
    folders = class_folders(part)
    files = {tidy(name): several for name, several in folders.items()}
    wished = _wished(labels, files, folder)
    clf = ZeroShotClassifier(
        clip, wished, templates=templates, cache=cache, progress=reading, warn=warn
    )
    asked = [(path, number) for number, name in enumerate(clf.labels) for path in files[name]]
    rows: list[Tensor] = []
    answers: list[int] = []
    unreadable = [(str(path), why) for path, why in lost_links(part).items()]
    copies = _Copies(clf.labels)
    vectors = clf.embed([path for path, _ in asked])
    for done, ((path, number), vector) in enumerate(zip(asked, vectors, strict=True), 1):
        if isinstance(vector, str):
            unreadable.append((str(path), vector))
        elif not copies.found(path, number):
            rows.append(vector.float().cpu())
            answers.append(number)
        if progress is not None:
            progress(done, len(asked))
    counts = [answers.count(number) for number in range(len(clf.labels))]
    if empty := [name for name, count in zip(clf.labels, counts, strict=True) if count == 0]:
        raise BadData(f"{folder}: no readable picture of {_listed(empty)}{first_of(unreadable)}")
    examples = Examples(
        torch.stack(rows), torch.tensor(answers), clf.vectors.float().cpu(), clf.scale
    )
    chosen = choose(examples, seed=seed, progress=choosing)
    if chosen is None:
        raise BadData(
            f"{folder}: at least two labels need two pictures each, so that some can be held out "
            f"to see whether the others help; here {_counted(clf.labels, counts)}"
        )
    note = (
        f"{chosen.measured} pictures held out in {chosen.folds} folds: {chosen.zero_shot:.1%} "
        f"right by zero-shot, {chosen.adapted:.1%} with examples"
    )
    adapter = examples.adapter(chosen.way, clf.all_labels, clf.model, note)
    adapter = replace(adapter, learned=copies.digests)
    alone = tuple(name for name, count in zip(clf.labels, counts, strict=True) if count == 1)
    return Adaptation(adapter, chosen, len(rows), tuple(unreadable), tuple(copies.of), alone)


def _wished(
    labels: Labels | None, files: Mapping[str, Sequence[Path]], folder: Path
) -> list[Label]:
    """The labels in the order that they were given in; without any, those of the folders."""
    if labels is None:
        return as_labels({name: next(iter(own_name(name).values())) for name in files})
    wished = as_labels(labels)
    names = [label.name for label in wished]
    if missing := [name for name in names if name not in files]:
        raise BadInput(
            f"{folder}: no folder with pictures for {_listed(missing)}; there are {_listed(files)}"
        )
    if left := [name for name in files if name not in names]:
        raise BadInput(f"{folder}: {_listed(left)} is none of the labels {_listed(names)}")
    return wished


class _Copies:
    """Finds copies: a picture held out whose copy was learned from would prove nothing."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self.of: list[tuple[str, str]] = []  # (which, of which)
        self._first: dict[str, tuple[Path, int]] = {}

    @property
    def digests(self) -> tuple[str, ...]:
        """Of all that are no copies."""
        return tuple(self._first)

    def found(self, path: Path, label: int) -> bool:
        """Tell whether a file is the copy of one before it."""
        first, its = self._first.setdefault(digest(path), (path, label))
        if first == path:
            return False
        if its != label:
            raise BadData(f"{path}: lies under {self.labels[its]!r} too, as {first}; remove one")
        self.of.append((str(path), str(first)))
        return True


def _listed(names: Iterable[str]) -> str:
    several = list(names)
    return ", ".join(several[:6]) + (f" and {len(several) - 6} more" if len(several) > 6 else "")


def _counted(names: Sequence[str], counts: Sequence[int]) -> str:
    return _listed(f"{name} has {count}" for name, count in zip(names, counts, strict=True))
