"""Classify pictures by labels that were never trained on, with scores that say what they are.

    clf = ZeroShotClassifier(load_clip("clip-shapes"), ["red circle", "star=파란 별|blue star"])
    clf.classify("drawing.png")                # one Prediction
    for prediction in clf.stream(paths): ...   # any number of them, in constant memory

The text tower reads the labels once, when the classifier is made, or not at all: their vectors are
kept on disk. A picture then costs its own tower and one small product.

Shapes: n pictures, k labels, m texts of the bank, d numbers a vector.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal, overload

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mmfm import hub
from mmfm.data.labels import Label, as_labels
from mmfm.data.templates import Templates, generic_texts, language_of, read_templates, things
from mmfm.encoding import Encoded, Keep, Known, Picture, Row, encode
from mmfm.engines import Engine, plain
from mmfm.errors import BadInput
from mmfm.models.adapters import Adapter
from mmfm.models.clip import TwoTowers
from mmfm.models.label_vectors import (
    Progress,
    cache_file,
    fingerprint,
    label_vectors,
    same_vectors,
)
from mmfm.models.reading import not_read
from mmfm.models.scores import Calibration, ScoreKind, known, margins, valley

Labels = Sequence[str | Label] | Mapping[str, str | Sequence[str]]

DEFAULT_MODEL = "clip-shapes"  # comes with the package; what the pages open with is made for it

# What is run unless a model is named: the first of these that comes with the package, and what it
# knows, for a person who may not know that it knows no more.
DEFAULTS = {
    "clip-nano": "small photographs of some 200 everyday kinds, and emoji, in English and Korean",
    DEFAULT_MODEL: "drawn shapes only",
}

_PROBED = 256  # pictures of a folder that say what it is like


@dataclass(frozen=True)
class Prediction:
    """What is said about one picture; `error` says why nothing is."""

    path: str | None  # None: it came as a picture, not as a file
    label: str | None = None  # None: none of these
    labels: tuple[str, ...] = ()  # all that apply, in multi-label mode; else the one, or none
    score: float | None = None  # of the label; of there being none, where that is the answer
    score_kind: ScoreKind | None = None
    scores: dict[str, float] = field(default_factory=dict[str, float])  # best first: of all labels,
    # or of the `top` that were asked for and all that apply
    error: str | None = None


def default_model() -> str:
    """The model that is run unless one is named."""
    here = hub.bundled()
    return next((name for name in DEFAULTS if name in here), DEFAULT_MODEL)


class ZeroShotClassifier:
    """Names pictures by labels, which it knows from their names alone.

    One of many: the scores are probabilities among the labels. `multi_label`: each label by itself.
    `none_of_these`: the answer may be that no label applies. `engine`: what runs the picture tower,
    of `mmfm.engines`; `exact`: files are decoded in full, and not at a size that is enough.
    """

    def __init__(
        self,
        clip: TwoTowers,
        labels: Labels,
        *,
        templates: str | Path | Sequence[str] | Templates = "default",
        multi_label: bool = False,
        none_of_these: bool = False,
        calibration: Calibration | str | Path | None = None,
        adapter: Adapter | str | Path | None = None,
        engine: Engine | None = None,
        exact: bool = False,
        cache: Path | Literal["user"] | None = "user",
        progress: Progress | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.clip = clip
        self.all_labels = as_labels(labels)
        self.labels = tuple(label.name for label in self.all_labels)
        self.multi_label, self.none_of_these = multi_label, none_of_these
        self.templates = read_templates(templates)
        self.engine, self.exact = engine or plain(clip), exact
        self.warn = warn or _warn
        self._cache = cache_file() if cache == "user" else cache
        self._progress = progress
        self.model = fingerprint(clip)  # which model's vectors, calibrations and adapters fit

        said = [label.sentences(self.templates) for label in self.all_labels]
        for line in not_read(clip, [label.names for label in self.all_labels], said):
            self.warn(line)
        self.vectors = self._vectors(said)  # k d
        self.scale = float(clip.scale.detach().exp())
        self.bias = None if clip.bias is None else float(clip.bias.detach())
        self.adapter = self._adapting(adapter)
        self.label_set = self._name_of_all()  # for which labels, in which words, a calibration fits
        self.calibration = self._fitting(calibration)

    # --- what a picture gets --------------------------------------------------------------------

    @overload
    def classify(self, pictures: Picture) -> Prediction: ...
    @overload
    def classify(self, pictures: Sequence[Picture]) -> list[Prediction]: ...

    def classify(self, pictures: Picture | Sequence[Picture]) -> Prediction | list[Prediction]:
        """Name one picture, or each of a list."""
        if isinstance(pictures, str | Path | Image.Image):
            return next(self.stream([pictures]))
        if not isinstance(pictures, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise BadInput(f"a picture is a path or a PIL picture, not {type(pictures).__name__}")
        return list(self.stream(pictures))

    def stream(
        self,
        pictures: Iterable[Picture],
        *,
        batch: int | None = None,
        top: int | None = None,
        known: Known | None = None,
        keep: Keep | None = None,
        cut: float | None = None,
        keep_cut: Callable[[float], None] | None = None,
    ) -> Iterator[Prediction]:
        """Name any number of pictures, in their order; the next ones are opened meanwhile.

        `top`: how many scores each gets, all if not said. What is `known` is not looked at again,
        and `keep` is told what was seen (see `mmfm.encoding`).

        With `none_of_these` some pictures are looked at beforehand, to see where in this folder the
        evidence for any label begins; `keep_cut` is told. A `cut` from before is taken as it is, so
        that what is left of a folder is judged as all of it was.
        """
        if isinstance(pictures, str | Path | Image.Image):
            raise BadInput("one picture where several are expected: write [picture], or classify")
        if self.none_of_these and not self._knows_others and cut is None:
            pictures, seen = self._probe(pictures, batch, known, keep)
            rows = [row for row in seen.values() if not isinstance(row, str)]
            if rows:
                cut = valley(self.evidence(torch.from_numpy(np.stack(rows))).tolist())
                if keep_cut is not None:
                    keep_cut(cut)
            known = _after(seen, known)
        for some in self._encoded(enumerate(pictures), batch, known, keep):
            paths = [None if isinstance(p, Image.Image) else str(p) for p in some.pictures]
            read = [path for place, path in enumerate(paths) if place not in some.errors]
            said = self.judge(some.rows, paths=read, cut=cut or 0.0, top=top) if read else []
            judged = iter(said)
            for place, path in enumerate(paths):
                error = some.errors.get(place)
                yield next(judged) if error is None else Prediction(path, error=error)

    def judge(
        self,
        vectors: Float[Tensor, "n d"],
        *,
        paths: Sequence[str | None] | None = None,
        cut: float = 0.0,
        top: int | None = None,
    ) -> list[Prediction]:
        """Name pictures by their unit rows; the evidence for any label begins above `cut`."""
        if top is not None and top < 1:
            raise BadInput(f"the top {top} of the scores; ask for at least one")
        vectors = vectors.to(self.vectors.device)
        chances = self.probabilities(vectors)  # n k
        share = self.known(vectors, cut).tolist() if self.none_of_these else [1.0] * len(vectors)
        if self.none_of_these and not self.multi_label:
            chances = chances * torch.tensor(share)[:, None]
        # Of several that apply each has its own threshold, so that all have to be looked at.
        most = len(self.labels) if self.multi_label or top is None else min(top, len(self.labels))
        ordered, order = chances.topk(most, dim=1)
        # Ten thousand names a picture are many for a loop.
        names = np.array(self.labels, dtype=object)[order.numpy()]
        where = paths or [None] * len(vectors)
        rows = zip(where, ordered.tolist(), order.tolist(), names.tolist(), share, strict=True)
        return [self._said(*row, top or most) for row in rows]

    def _said(
        self,
        path: str | None,
        scores: list[float],
        order: list[int],
        names: list[str],
        share: float,
        top: int,
    ) -> Prediction:
        labels: tuple[str, ...] = ()
        if share >= 0.5:
            labels = (names[0],)
            if self.multi_label:
                from_on = self.thresholds
                several = zip(names, order, scores, strict=True)
                labels = tuple(name for name, i, score in several if score >= from_on[i])
        none = 1 - (share if share < 0.5 else scores[0])
        by_name = dict(zip(names, scores, strict=True))
        label = labels[0] if labels else None
        score = by_name[labels[0]] if labels else none
        if top < len(by_name):
            shown = {*names[:top], *labels}
            by_name = {name: score for name, score in by_name.items() if name in shown}
        return Prediction(path, label, labels, score, self.score_kind, by_name)

    def embed(
        self, pictures: Iterable[Picture], *, batch: int | None = None
    ) -> Iterator[Float[Tensor, " d"] | str]:
        """The unit row of each picture, in their order, or why it cannot be read."""
        for some in self._encoded(enumerate(pictures), batch):
            yield from some.each()

    # --- numbers, for those who want to see or fit them -------------------------------------------

    def logits(self, vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """The model's own measure: cosines times its scale, with the adapter where there is one."""
        logits = self.scale * self.cosines(vectors)
        return logits if self.adapter is None else self.adapter.logits(vectors, logits)

    def cosines(self, vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """How near each picture lies to each label."""
        return vectors.float() @ self.vectors.T

    def bank_logits(self, vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """The same for the texts that say nothing in particular."""
        return self.scale * vectors.float() @ self.bank.T

    def evidence(self, vectors: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """By how much the labels say more about each picture than generic texts do."""
        return known(self.logits(vectors), self.bank_logits(vectors)).cpu()

    def known(self, vectors: Float[Tensor, "n d"], cut: float = 0.0) -> Float[Tensor, " n"]:
        """How likely it is that any label applies."""
        evidence = self.evidence(vectors)
        c = self.calibration
        if c is not None and c.known_slope is not None:
            return (c.known_slope * evidence + c.known_offset).sigmoid()
        return (evidence - cut).sigmoid()

    def for_each(self, vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Log-odds of each label by itself: as the sigmoid loss taught, or against the bank."""
        if self.bias is not None:
            return (self.logits(vectors) + self.bias).cpu()
        return margins(self.logits(vectors), self.bank_logits(vectors)).cpu()

    def probabilities(self, vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """The scores; what kind they are says `score_kind`."""
        c = self.calibration
        if self.multi_label:
            odds = self.for_each(vectors)
            return (odds if c is None else c.slope * odds + c.offset).sigmoid()
        logits = self.logits(vectors).cpu()
        return (logits if c is None else logits / c.temperature).softmax(dim=1)

    @property
    def score_kind(self) -> ScoreKind:
        """What the scores mean; `mmfm.models.scores.SCORE_KINDS` says it in words."""
        if not self.multi_label:
            return "among_labels" if self.calibration is None else "among_labels_calibrated"
        if self.calibration is not None:
            return "each_label_calibrated"
        return "each_label_uncalibrated" if self.bias is None else "each_label"

    @property
    def thresholds(self) -> tuple[float, ...]:
        """From which score on each label applies, in multi-label mode."""
        fitted = self.calibration.thresholds if self.calibration is not None else ()
        return fitted or (0.5,) * len(self.labels)

    @property
    def bank(self) -> Float[Tensor, "m d"]:
        """Texts that fit many pictures: general phrases, and everyday things that are no label."""
        return self._bank[1]

    @property
    def bank_texts(self) -> tuple[str, ...]:
        """What each row of the bank says; of a thing, its name."""
        return self._bank[0]

    @cached_property
    def _bank(self) -> tuple[tuple[str, ...], Float[Tensor, "m d"]]:
        """What means nearly the same as a label would compete with it; it is left out."""
        languages = {language_of(name) for label in self.all_labels for name in label.names}
        own = {name.casefold() for label in self.all_labels for name in label.names}
        generic = [text for language in sorted(languages) for text in generic_texts(language)]
        nouns = [n for language in sorted(languages) for n in things(language)]
        nouns = [noun for noun in nouns if noun.casefold() not in own]
        said = [[text] for text in generic]
        plain = read_templates("simple")  # in a large set so many things would take minutes
        said += [Label(noun, (noun,)).sentences(plain) for noun in nouns]
        rows = self._vectors(said)
        among = rows @ rows.T  # m m
        near = among[~torch.eye(len(rows), dtype=torch.bool, device=rows.device)].quantile(0.95)
        far = (rows @ self.vectors.T).amax(dim=1) <= near
        far[: len(generic)] = True
        kept = far.tolist()
        texts = [text for text, is_kept in zip([*generic, *nouns], kept, strict=True) if is_kept]
        return tuple(texts), rows[far]

    # --- inside -----------------------------------------------------------------------------------

    def _vectors(self, said: Sequence[Sequence[str]]) -> Float[Tensor, "k d"]:
        return label_vectors(
            self.clip,
            said,
            cache=self._cache,
            progress=self._progress,
            note=self.warn,
            mark=self.model,
        )

    def _name_of_all(self) -> str:
        """A name for the labels as they are read, and for what examples have changed in that."""
        # In one order, whatever order they were written in.
        order = sorted(range(len(self.labels)), key=lambda number: self.labels[number])
        rows, words = [self.vectors[order]], [self.labels[number] for number in order]
        if self.adapter is not None and self.adapter.kind != "zero-shot":
            a = self.adapter
            rows += [a.weights[order]] if a.weights is not None else []
            rows += [a.examples] if a.examples is not None else []
            words += [a.kind, f"{a.alpha} {a.beta}"]
            if a.answers is not None:
                words += [self.labels[number] for number in a.answers.tolist()]
        return same_vectors(torch.cat([row.float() for row in rows]), words)

    @property
    def _knows_others(self) -> bool:
        return self.calibration is not None and self.calibration.known_slope is not None

    def _fitting(self, given: Calibration | str | Path | None) -> Calibration | None:
        where = (
            "this calibration" if given is None or isinstance(given, Calibration) else f"{given}"
        )
        c = Calibration.read(Path(given)) if isinstance(given, str | Path) else given
        if c is None:
            return None
        again = "mmfm evaluate DIR --save FILE makes one for these"
        if c.model != self.model:
            raise BadInput(
                f"{where}: was fitted for another model than {self.clip.source}; {again}"
            )
        if c.labels != self.label_set:
            raise BadInput(f"{where}: was fitted for {self._otherwise(c)}; {again}")
        names = [shown for shown, *_ in c.said] or list(self.labels)
        if len(c.thresholds) not in (0, len(names)) or set(names) != set(self.labels):
            raise BadInput(f"{where}: has not one threshold for each of its labels; {again}")
        fitted = dict(zip(names, c.thresholds, strict=False))
        return replace(c, thresholds=tuple(fitted[name] for name in self.labels if fitted))

    def _otherwise(self, c: Calibration) -> str:
        """In what these labels differ from those of a calibration."""
        theirs = {shown: tuple(said) for shown, *said in c.said}
        if set(theirs) != set(self.labels):
            return f"the labels {_listed(list(theirs))}" if theirs else "other labels"
        for label in self.all_labels:
            if label.names != theirs[label.name]:
                return f"{label.name!r} called {'|'.join(theirs[label.name])}"
        return "other templates, or with another adapter"

    def _adapting(self, given: Adapter | str | Path | None) -> Adapter | None:
        where = "this adapter" if given is None or isinstance(given, Adapter) else f"{given}"
        adapter = Adapter.read(Path(given)) if isinstance(given, str | Path) else given
        if adapter is None:
            return None
        again = "mmfm adapt DIR --save FILE makes one for these"
        if adapter.model != self.model:
            raise BadInput(f"{where}: was made for another model than {self.clip.source}; {again}")
        if set(adapter.labels) != set(self.labels):
            there = _listed(adapter.labels)
            raise BadInput(f"{where}: was made for the labels {there}; {again}")
        if adapter.dim not in (None, self.vectors.shape[1]):
            raise BadInput(
                f"{where}: holds vectors of {adapter.dim} numbers, and those of {self.clip.source} "
                f"have {self.vectors.shape[1]}; {again}"
            )
        return adapter.ordered(self.labels).to(self.vectors.device)

    def _probe(
        self,
        pictures: Iterable[Picture],
        batch: int | None,
        known: Known | None,
        keep: Keep | None,
    ) -> tuple[Iterable[Picture], dict[int, Row | str]]:
        """Look at some pictures of the folder beforehand; they need not be looked at twice."""
        if not isinstance(pictures, Sequence):
            # Of a stream the first ones have to stand for all.
            waiting = iter(pictures)
            first = list(islice(waiting, _PROBED))
            probed, pictures = list(enumerate(first)), _chained(first, waiting)
        else:
            step = max(1, -(-len(pictures) // _PROBED))
            probed = [(i, pictures[i]) for i in range(0, len(pictures), step)]
        seen: dict[int, Row | str] = {}
        places = iter([place for place, _ in probed])
        for some in self._encoded(probed, batch, known, keep):
            for one in some.each():
                seen[next(places)] = one if isinstance(one, str) else one.numpy()
        return pictures, seen

    def _encoded(
        self,
        pictures: Iterable[tuple[int, Picture]],
        batch: int | None,
        known: Known | None = None,
        keep: Keep | None = None,
    ) -> Iterator[Encoded]:
        if batch is not None and batch < 1:
            raise BadInput(f"a batch of {batch}; it holds at least one")
        return encode(
            pictures,
            self.engine,
            self.clip.preprocessing,
            exact=self.exact,
            batch=batch,
            known=known,
            keep=keep,
        )


def _after(seen: Mapping[int, Row | str], known: Known | None) -> Known:
    """What was looked at beforehand is known, and then what was known before that."""

    def both(pictures: Sequence[tuple[int, Picture]]) -> list[Row | str | None]:
        rows = [None] * len(pictures) if known is None else known(pictures)
        return [seen.get(number, row) for (number, _), row in zip(pictures, rows, strict=True)]

    return both


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _chained(first: Sequence[Picture], rest: Iterator[Picture]) -> Iterator[Picture]:
    yield from first
    yield from rest


def _warn(line: str) -> None:
    warnings.warn(line, stacklevel=4)
