"""How well a model names pictures by labels, measured on folders of them: DIR/<label>/*.jpg.

    found = evaluate(load_clip("clip-shapes"), Path("photos"), other=Path("holiday"))
    found.accuracy                       # a share, and how sure one can be of it
    found.calibration.save(Path("c.json"))   # what classify(calibration=...) takes

One half of each label's pictures teaches the scores to be honest; everything that is reported is
measured on the other half, with the scores as they were and as they became.

Shapes: n pictures, k labels, d numbers a vector.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy import ndarray
from torch import Tensor

from mmfm.data.folders import (
    class_folders,
    folder_parts,
    is_folder,
    lost_links,
    picture_files,
    visible,
)
from mmfm.data.labels import Label, as_labels
from mmfm.data.tables import own_name, tidy
from mmfm.data.templates import Templates
from mmfm.errors import BadData, BadInput, NotHere
from mmfm.files import digest
from mmfm.fitting import logistic, temperature, thresholds
from mmfm.machine import cpu_name
from mmfm.measures import (
    ROC,
    Bin,
    ClassMeasures,
    RiskCoverage,
    Share,
    brier,
    by_class,
    calibration_error,
    confusion,
    error_by_chance,
    log_loss,
    reliability,
    risk_coverage,
    roc,
    wilson,
)
from mmfm.models.adapters import Adapter
from mmfm.models.clip import TwoTowers
from mmfm.models.scores import Calibration
from mmfm.tasks.classify import Labels, ZeroShotClassifier

Progress = Callable[[int, int], None]

_SURE = 0.5  # how likely it must be that any label applies for one to be given
_STEADY = 100  # pictures from which on what is fitted hardly depends on which they were


@dataclass(frozen=True)
class Honesty:
    """How far scores among labels say how often they are right."""

    error: float  # the calibration error (ECE)
    by_chance: float  # what perfectly honest scores would show on as many pictures
    log_loss: float
    brier: float
    bins: list[Bin]


@dataclass(frozen=True)
class EachLabel:
    """How far the scores of each label by itself can be trusted, as in multi-label mode."""

    error: float  # the calibration error over all labels of all pictures
    right: Share | None  # of the labels that are said to apply
    found: Share | None  # of those that do


@dataclass(frozen=True)
class Decision:
    """Which pictures get a label at all."""

    kept: Share  # of the labels' own pictures
    refused: Share  # of the others


@dataclass(frozen=True)
class Rejection:
    """How well pictures of other things are told from those of the labels."""

    roc: ROC
    before: Decision
    after: Decision | None


@dataclass(frozen=True)
class Wrong:
    """A wrong answer."""

    path: Path
    truth: str
    answer: str
    score: float


@dataclass(frozen=True)
class Evaluation:
    """What was measured, and on what. `after` is None where there was nothing to fit on."""

    folder: Path
    other: Path | None
    model: str
    labels: tuple[Label, ...]
    templates: Templates
    adapted: bool
    device: str
    machine: str
    seed: int
    date: str
    seconds: float

    fitted_on: int  # pictures
    reported_on: int
    accuracy: Share
    mean_recall: float  # as if each label had as many pictures
    classes: tuple[ClassMeasures, ...]
    table: Int64[ndarray, "k k"]  # a row for what it is, a column for what was answered
    before: Honesty
    after: Honesty | None
    each_before: EachLabel
    each_after: EachLabel | None
    risk: RiskCoverage
    rejection: Rejection | None
    wrong: tuple[Wrong, ...]  # the surest first
    unreadable: tuple[tuple[Path, str], ...]
    notes: tuple[str, ...]  # what could not be measured, or is to be read with care
    calibration: Calibration | None

    @property
    def names(self) -> tuple[str, ...]:
        """The labels as they are shown."""
        return tuple(label.name for label in self.labels)

    @property
    def confused(self) -> list[tuple[int, str, str]]:
        """(how often, what it is, what it was taken for), the most frequent first."""
        off = self.table - np.diag(self.table.diagonal())
        # A stable order, so that equally frequent ones stand as the labels do.
        order = np.argsort(-off, axis=None, kind="stable")[: int((off > 0).sum())]
        pairs = zip(*np.unravel_index(order, off.shape), strict=True)
        return [(int(off[i, j]), self.names[i], self.names[j]) for i, j in pairs]


def evaluate(
    clip: TwoTowers,
    folder: Path,
    *,
    labels: Labels | None = None,
    other: Path | None = None,
    templates: str | Path | Sequence[str] | Templates = "default",
    adapter: Adapter | str | Path | None = None,
    seed: int = 0,
    cache: Path | Literal["user"] | None = "user",
    label_progress: Progress | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
    warn: Callable[[str], None] | None = None,
) -> Evaluation:
    """Name the pictures of `folder`/<label>/, and measure how well that goes.

    `labels`: what the folders' labels are called; else their own names. `other`: a folder of
    pictures to which no label applies. `cache`: where label vectors are kept. A `stop` that says
    yes ends it as Ctrl-C does: half an evaluation says nothing.
    """
    began = time.monotonic()
    files, notes = _labelled_files(folder)
    said = _labels(folder, list(files), labels)
    others = _other_files(other, folder) if other is not None else []
    classifier = ZeroShotClassifier(
        clip,
        said,
        templates=templates,
        adapter=adapter,
        cache=cache,
        progress=label_progress,
        warn=warn,
    )
    if classifier.adapter is not None:
        notes += _without_learned(classifier.adapter, files, folder)
    listed = [(path, k) for k, label in enumerate(said) for path in files[label.name]]
    listed += [(path, len(said)) for path in others]
    seen, unreadable = _seen(classifier, listed, progress, stop)
    own, foreign = _parted(seen, said, folder, other, unreadable)

    fit, report = _halves(own, len(said), seed)
    notes += _few(own, said, len(fit.paths))
    calibration = None
    foreign_report = None
    if foreign is None:
        calibration = _fitted(classifier, fit, None, notes)
    else:
        foreign_fit, foreign_report = _halves(foreign, len(said) + 1, seed)
        calibration = _fitted(classifier, fit, foreign_fit, notes)

    logits = classifier.logits(report.vectors).cpu()
    odds = classifier.for_each(report.vectors)
    c = calibration or Calibration(classifier.model, classifier.label_set)
    chances = (logits / c.temperature).softmax(dim=1)
    score, answer = chances.max(dim=1)
    right = answer == report.truth
    table = confusion(report.truth, answer, len(said))
    accuracy = wilson(int(right.sum()), len(right))
    assert accuracy is not None  # every label has a picture in this half
    so = torch.nn.functional.one_hot(report.truth, len(said)).bool()
    fitted_odds = c.slope * odds + c.offset
    return Evaluation(
        folder=folder,
        other=other,
        model=clip.source,
        labels=tuple(said),
        templates=classifier.templates,
        adapted=adapter is not None,
        device=str(clip.weight.device),
        machine=_machine(clip.weight.device),
        seed=seed,
        date=datetime.now().astimezone().isoformat(timespec="seconds"),
        seconds=time.monotonic() - began,
        fitted_on=c.pictures,
        reported_on=len(right),
        accuracy=accuracy,
        mean_recall=float((table.diagonal() / table.sum(axis=1)).mean()),
        classes=tuple(by_class(table)),
        table=table,
        before=_honesty(logits, report.truth),
        after=_honesty(logits / c.temperature, report.truth) if calibration else None,
        each_before=_each(odds, so, [0.5] * len(said)),
        each_after=_each(fitted_odds, so, c.thresholds) if calibration else None,
        risk=risk_coverage(score, right),
        rejection=_rejection(classifier, report, foreign_report, calibration),
        wrong=_wrong(report, answer, score, said),
        unreadable=tuple(unreadable),
        notes=tuple(notes),
        calibration=calibration,
    )


# --- what there is ------------------------------------------------------------------------------


def _labelled_files(folder: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """The files of each label, and what to say about folders that hold none."""
    _must_be_folder(folder)
    part, held_out = folder_parts(folder)
    if part != folder:
        parts = " or ".join(f"{there}" for there in (part, held_out) if there is not None)
        raise BadInput(
            f"{folder}: holds parts of a data set, not labels; name one of them: {parts}"
        )
    files: dict[str, list[Path]] = {}
    for name in class_folders(folder):
        if not tidy(name) or not name.isprintable():
            raise BadData(f"{folder}: the folder {name!r} has no name that could be a label's")
        files[tidy(name)], strange = picture_files(folder / name)
        if not files[tidy(name)]:
            raise BadData(f"{folder / name}: no picture in it ({strange} other files)")
    lost = lost_links(folder)
    empty = [
        path.name
        for path in sorted(visible(folder.iterdir()))
        if is_folder(path) and path not in lost and tidy(path.name) not in files
    ]
    notes = [f"{path}: {why}; left out" for path, why in lost.items()]
    return files, [*notes, *([f"empty, so left out: {_few_of(empty)}"] if empty else [])]


def _labels(folder: Path, names: list[str], given: Labels | None) -> list[Label]:
    """What each folder's label is called; given labels keep the order they are given in."""
    if given is None:
        said = [
            Label(name, tuple(n for some in own_name(name).values() for n in some))
            for name in names
        ]
        return as_labels(said)
    said = as_labels(given)
    known = {label.name for label in said}
    if missing := [label.name for label in said if label.name not in names]:
        raise BadInput(
            f"{folder}: no folder for the label {_few_of(missing)}; its folders are "
            f"{_few_of(names)}; a label is called as its folder is, and more: folder=name|name"
        )
    if unnamed := [name for name in names if name not in known]:
        raise BadInput(
            f"{folder}: no label for the folder {_few_of(unnamed)}; the labels are "
            f"{_few_of([label.name for label in said])}"
        )
    return said


def _without_learned(adapter: Adapter, files: dict[str, list[Path]], folder: Path) -> list[str]:
    """Leave out what the adapter learned from: that it knows them proves nothing."""
    learned, count = set(adapter.learned), 0
    if adapter.kind == "zero-shot" or not learned:
        return []
    for name, several in files.items():
        # What is no file is left for the reading to name.
        files[name] = [
            path for path in several if not path.is_file() or digest(path) not in learned
        ]
        count += len(several) - len(files[name])
        if not files[name]:
            raise BadData(
                f"{folder}: the adapter learned from every picture of {name!r}; what it can do is "
                "seen on others only"
            )
    return [f"left out: {count} pictures that the adapter learned from"] if count else []


def _few_of(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _other_files(other: Path, folder: Path) -> list[Path]:
    _must_be_folder(other)
    here, there = folder.resolve(), other.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise BadInput(
            f"{other}: shares pictures with {folder}; others are to which no label applies"
        )
    files, strange = picture_files(other)
    if not files:
        raise BadData(f"{other}: no picture in it ({strange} other files)")
    return files


def _must_be_folder(folder: Path) -> None:
    if not folder.exists():
        raise NotHere(f"{folder}: no such folder")
    if not folder.is_dir():
        raise BadInput(f"{folder}: not a folder; pictures lie as {folder.parent}/<label>/<picture>")


@dataclass(frozen=True)
class _Seen:
    """Pictures as the model sees them; those of no label have the number after the last one."""

    paths: list[Path]
    vectors: Float[Tensor, "n d"]
    truth: Int64[Tensor, " n"]

    def only(self, keep: Bool[Tensor, " n"]) -> "_Seen":
        some = [path for path, kept in zip(self.paths, keep.tolist(), strict=True) if kept]
        return _Seen(some, self.vectors[keep.to(self.vectors.device)], self.truth[keep])


def _seen(
    classifier: ZeroShotClassifier,
    listed: list[tuple[Path, int]],
    progress: Progress | None,
    stop: Callable[[], bool],
) -> tuple[_Seen, list[tuple[Path, str]]]:
    """Look at every picture once."""
    paths: list[Path] = []
    rows: list[Tensor] = []
    truth: list[int] = []
    unreadable: list[tuple[Path, str]] = []
    looked = classifier.embed([path for path, _ in listed])
    for number, ((path, label), row) in enumerate(zip(listed, looked, strict=True), start=1):
        if isinstance(row, str):
            unreadable.append((path, row))
        else:
            paths.append(path)
            rows.append(row)
            truth.append(label)
        if progress is not None:
            progress(number, len(listed))
        if stop():
            raise KeyboardInterrupt
    vectors = torch.stack(rows) if rows else torch.empty(0, classifier.clip.dim)
    if not bool(vectors.isfinite().all()):
        raise BadData(f"{classifier.clip.source}: gives no numbers (NaN) for some pictures")
    return _Seen(paths, vectors, torch.tensor(truth, dtype=torch.int64)), unreadable


def _parted(
    seen: _Seen,
    labels: list[Label],
    folder: Path,
    other: Path | None,
    unreadable: list[tuple[Path, str]],
) -> tuple[_Seen, _Seen | None]:
    """The labels' own pictures and the others; no kind may be without a readable one."""
    for number in range(len(labels) + (other is not None)):
        if bool((seen.truth == number).any()):
            continue
        foreign = number == len(labels)
        where = other if foreign else folder / labels[number].name
        reasons = [(path, why) for path, why in unreadable if where in path.parents] or unreadable
        first = f" ({reasons[0][0].name}: {reasons[0][1]})" if reasons else ""
        raise BadData(f"{where}: none of its {len(reasons)} files is a readable picture{first}")
    own = seen.truth < len(labels)
    return seen.only(own), seen.only(~own) if other is not None else None


# --- the two halves -----------------------------------------------------------------------------


def _halves(seen: _Seen, kinds: int, seed: int) -> tuple[_Seen, _Seen]:
    """(to fit on, to report on): half of every label; what is odd, or the only one, is reported."""
    fit = torch.zeros(len(seen.paths), dtype=torch.bool)
    for kind in range(kinds):
        of_kind = np.flatnonzero(seen.truth.numpy() == kind)
        drawn = np.random.default_rng([seed, kind]).permutation(of_kind)
        fit[drawn[: len(drawn) // 2]] = True
    return seen.only(fit), seen.only(~fit)


def _few(own: _Seen, labels: list[Label], fitted_on: int) -> list[str]:
    """What so few pictures cannot tell."""
    counts = torch.bincount(own.truth, minlength=len(labels)).tolist()
    single = [label.name for label, count in zip(labels, counts, strict=True) if count == 1]
    notes: list[str] = []
    if single:
        notes.append(f"one picture only, so measured but not fitted on: {_few_of(single)}")
    if not fitted_on:
        notes.append("nothing is fitted: no label has two pictures, one for each half")
    elif fitted_on < _STEADY:
        notes.append(f"fitted on {fitted_on} pictures; with {_STEADY} or more it would be steadier")
    return notes


def _fitted(
    classifier: ZeroShotClassifier, fit: _Seen, foreign: _Seen | None, notes: list[str]
) -> Calibration | None:
    """What the first half teaches."""
    if not fit.paths:
        return None
    logits, odds = classifier.logits(fit.vectors).cpu(), classifier.for_each(fit.vectors)
    so = torch.nn.functional.one_hot(fit.truth, odds.shape[1]).bool()
    slope, offset = logistic(odds.flatten(), so.flatten())
    if slope == 0:
        notes.append("each label by itself: the scores don't tell where a label applies")
    known_slope, known_offset = None, 0.0
    if foreign is not None and foreign.paths:
        known_slope, known_offset = _known(classifier, fit, foreign)
        if known_slope == 0:
            notes.append("the scores don't tell other pictures from those of the labels")
    elif foreign is not None:
        notes.append("only one other picture, so measured but not fitted on")
    return Calibration(
        classifier.model,
        classifier.label_set,
        temperature=temperature(logits, fit.truth),
        slope=slope,
        offset=offset,
        thresholds=tuple(thresholds(slope * odds + offset, fit.truth)),
        known_slope=known_slope,
        known_offset=known_offset,
        pictures=len(fit.paths),
        said=tuple((label.name, *label.names) for label in classifier.all_labels),
    )


def _known(classifier: ZeroShotClassifier, fit: _Seen, foreign: _Seen) -> tuple[float, float]:
    """How the evidence for any label becomes a probability.

    Both kinds count the same: how many pictures of each lie there says nothing about how many will.
    """
    evidence = [classifier.evidence(some.vectors) for some in (fit, foreign)]
    so = [
        torch.full((len(some),), kind) for some, kind in zip(evidence, (True, False), strict=True)
    ]
    return logistic(torch.cat(evidence), torch.cat(so), balanced=True)


# --- measuring on the other ---------------------------------------------------------------------


def _honesty(logits: Float[Tensor, "n k"], truth: Int64[Tensor, " n"]) -> Honesty:
    chances = logits.double().softmax(dim=1)
    score, answer = chances.max(dim=1)
    bins = reliability(score, answer == truth)
    return Honesty(
        calibration_error(bins),
        error_by_chance(score),
        log_loss(logits, truth),
        brier(chances, truth),
        bins,
    )


def _each(
    odds: Float[Tensor, "n k"], so: Bool[Tensor, "n k"], from_on: Sequence[float]
) -> EachLabel:
    chances = odds.sigmoid()
    said = chances >= torch.tensor(from_on)
    hits = int((said & so).sum())
    return EachLabel(
        calibration_error(reliability(chances.flatten(), so.flatten())),
        right=wilson(hits, int(said.sum())),
        found=wilson(hits, int(so.sum())),
    )


def _rejection(
    classifier: ZeroShotClassifier,
    report: _Seen,
    foreign: _Seen | None,
    calibration: Calibration | None,
) -> Rejection | None:
    if foreign is None:
        return None
    own, others = (classifier.evidence(some.vectors) for some in (report, foreign))
    after = None
    if calibration is not None and calibration.known_slope is not None:
        after = _decision(own, others, calibration.known_slope, calibration.known_offset)
    return Rejection(roc(own, others), _decision(own, others, 1.0, 0.0), after)


def _decision(
    own: Float[Tensor, " n"], others: Float[Tensor, " m"], slope: float, offset: float
) -> Decision:
    kept = int(((slope * own + offset).sigmoid() >= _SURE).sum())
    refused = int(((slope * others + offset).sigmoid() < _SURE).sum())
    shares = wilson(kept, len(own)), wilson(refused, len(others))
    assert shares[0] is not None and shares[1] is not None  # both kinds are there
    return Decision(shares[0], shares[1])


def _wrong(
    report: _Seen, answer: Int64[Tensor, " n"], score: Float[Tensor, " n"], labels: list[Label]
) -> tuple[Wrong, ...]:
    every = zip(report.paths, report.truth.tolist(), answer.tolist(), score.tolist(), strict=True)
    wrong = [Wrong(p, labels[t].name, labels[a].name, s) for p, t, a, s in every if t != a]
    return tuple(sorted(wrong, key=lambda one: -one.score))


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{cpu_name()}, {torch.get_num_threads()} threads"
