"""A few own pictures beside the labels: what they change in a zero-shot answer, without training.

    tip       each example speaks for its label, the louder the more a picture is like it
              (Tip-Adapter; Zhang et al. 2022)
    linear    the label vectors themselves move a little towards the examples (a linear probe that
              is held near to where zero-shot stands)
    zero-shot nothing changes: examples did not help

Both speak in the model's own measure, cosines times its scale, and only shift weight from one label
to another: a picture's logits keep the mean over the labels that zero-shot gave them. So a softmax
over them means what it meant, and so does a comparison with texts that were not adapted: a picture
that is like no example more than another is as known, or as strange, as it was.

Shapes: n pictures, k labels, e examples, d numbers a vector.
"""

import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mmfm.data.labels import Label
from mmfm.errors import BadData, NotHere
from mmfm.files import write_named

Kind = Literal["zero-shot", "tip", "linear"]

_TENSORS = ("examples", "answers", "weights")
_PARTS: dict[str, tuple[str, ...]] = {  # what each kind is made of
    "zero-shot": (),
    "tip": ("examples", "answers"),
    "linear": ("weights",),
}
_STEPS = 300  # of the search for weights, at most
_MEMORY = 10  # steps that it learns from how the loss bends
_ENOUGH = 1e-6  # of the mean loss: a step that gains less is the last one


@dataclass(frozen=True, eq=False)
class Adapter:
    """What examples taught about one model's answers for some labels."""

    kind: Kind
    labels: tuple[str, ...]
    model: str  # the fingerprint of the model that made the vectors
    said: tuple[tuple[str, ...], ...] = ()  # what each label is called; () for as it is shown
    examples: Float[Tensor, "e d"] | None = None  # tip: unit rows of the examples
    answers: Int64[Tensor, " e"] | None = None  # tip: the number of each example's label
    alpha: float = 1.0  # tip: how much examples count beside the label's name, in logits
    beta: float = 5.5  # tip: how near a picture must be to be like one
    weights: Float[Tensor, "k d"] | None = None  # linear: what takes the place of label vectors
    note: str = ""  # what choosing it has shown
    learned: tuple[str, ...] = ()  # the files it learned from, as digests of what is in them

    def __post_init__(self) -> None:
        said = self.said or [(name,) for name in self.labels]
        object.__setattr__(self, "said", tuple(map(tuple, said)))
        object.__setattr__(self, "learned", tuple(self.learned))
        if fault := _fault(self):
            raise BadData(f"an adapter {fault}")

    def logits(
        self, vectors: Float[Tensor, "n d"], zero_shot: Float[Tensor, "n k"]
    ) -> Float[Tensor, "n k"]:
        """Pictures' unit rows and what zero-shot says of them -> what is said instead."""
        vectors = vectors.float()
        if self.weights is not None:
            return vectors @ self.weights.T
        if self.examples is not None and self.answers is not None:
            alike = likeness(vectors, self.examples, self.beta)
            return zero_shot + self.alpha * voices(alike, self.answers, len(self.labels))
        return zero_shot

    @property
    def all_labels(self) -> list[Label]:
        """The labels as a classifier takes them, with all that they are called."""
        return [Label(name, said) for name, said in zip(self.labels, self.said, strict=True)]

    @property
    def dim(self) -> int | None:
        """How many numbers a picture's vector has; None where any will do."""
        rows = self.weights if self.weights is not None else self.examples
        return None if rows is None else rows.shape[1]

    def to(self, device: torch.device) -> "Adapter":
        """The same on another device."""
        there = {name: getattr(self, name) for name in _PARTS[self.kind]}
        return replace(self, **{name: tensor.to(device) for name, tensor in there.items()})

    def ordered(self, labels: Sequence[str]) -> "Adapter":
        """The same for its labels in another order."""
        if tuple(labels) == self.labels:
            return self
        place = [self.labels.index(name) for name in labels]  # theirs -> ours
        answers = self.answers
        if answers is not None:
            answers = torch.tensor(place).argsort().to(answers.device)[answers]
        weights = None if self.weights is None else self.weights[place]
        said = tuple(self.said[number] for number in place)
        return replace(self, labels=tuple(labels), said=said, answers=answers, weights=weights)

    def save(self, path: Path) -> None:
        """Write it as one safetensors file, whose metadata hold as JSON what is no tensor."""
        tensors = {name: getattr(self, name).cpu().contiguous() for name in _PARTS[self.kind]}
        about = {"mmfm": 1, "kind": "adapter", "way": self.kind, "model": self.model}
        about |= {"labels": self.labels, "said": self.said, "note": self.note}
        about["learned"] = self.learned
        if self.kind == "tip":
            about |= {"alpha": self.alpha, "beta": self.beta}
        said = json.dumps(about, ensure_ascii=False, allow_nan=False)
        write_named(path, save(tensors, metadata={"mmfm": said}))

    @staticmethod
    def read(path: Path) -> "Adapter":
        """Read what `mmfm adapt --save` wrote."""
        again = "mmfm adapt DIR --save FILE makes one"
        if not path.is_file():
            raise NotHere(f"{path}: no such adapter; {again}")
        try:
            with safe_open(path, "pt") as file:
                about: Any = json.loads(file.metadata()["mmfm"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise BadData(f"{path}: not an adapter, or not a whole one; {again}") from error
        if not isinstance(about, Mapping) or about.get("kind") != "adapter":
            raise BadData(f"{path}: not an adapter; {again}")
        if about.get("mmfm") != 1:
            raise BadData(f"{path}: an adapter of another mmfm than this one; {again}")
        rest = {
            name: about[name]
            for name in ("said", "alpha", "beta", "note", "learned")
            if name in about
        }
        try:
            labels = tuple(about["labels"])
            return Adapter(about["way"], labels, about["model"], **tensors, **rest)
        except BadData as error:
            raise BadData(f"{path}: {error}; {again}") from error
        except (KeyError, TypeError) as error:
            raise BadData(
                f"{path}: an adapter with other parts than it should have; {again}"
            ) from error


def _fault(adapter: Adapter) -> str | None:
    """What is wrong with an adapter that somebody else may have written."""
    a: Any = adapter
    if a.kind not in get_args(Kind):
        return f"is of one of the kinds {', '.join(get_args(Kind))}, not {a.kind!r:.40}"
    if not a.labels or not all(isinstance(name, str) for name in (*a.labels, a.model, a.note)):
        return "has labels, a model and a note, all of them texts"
    if len(set(a.labels)) < len(a.labels) or len(a.said) != len(a.labels):
        return "names each label once, and says what it is called"
    if not all(said and all(isinstance(one, str) for one in said) for said in a.said):
        return "says for each label what it is called, in one text or several"
    if not all(isinstance(one, str) for one in a.learned):
        return "names what it learned from by texts"
    if not all(isinstance(x, int | float) and 0 <= x < math.inf for x in (a.alpha, a.beta)):
        return f"has an alpha and a beta from 0 up, not {a.alpha!r:.40} and {a.beta!r:.40}"
    there = tuple(name for name in _TENSORS if getattr(a, name) is not None)
    if there != _PARTS[a.kind]:
        return f"of the kind {a.kind} holds {_listed(_PARTS[a.kind])}, not {_listed(there)}"
    for name in ("examples", "weights"):
        rows = getattr(a, name)
        if rows is None:
            continue
        if rows.dtype != torch.float32 or rows.ndim != 2 or not rows.numel():
            return f"has {name} in rows of float32; these are {_form(rows)}"
        if not rows.isfinite().all():
            return f"holds numbers only, and among its {name} are some that are none (NaN or inf)"
    if a.weights is not None and len(a.weights) != len(a.labels):
        return f"has a row of weights for each of its {len(a.labels)} labels, not {len(a.weights)}"
    if a.answers is None or a.examples is None:
        return None
    if a.answers.dtype != torch.int64 or a.answers.shape != a.examples.shape[:1]:
        return f"has one answer for each of its {len(a.examples)} examples, not {_form(a.answers)}"
    if not bool(((a.answers >= 0) & (a.answers < len(a.labels))).all()):
        return f"has answers that are numbers of its {len(a.labels)} labels, and these are not"
    return None


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) or "no tensors"


def _form(tensor: Tensor) -> str:
    return f"{'x'.join(map(str, tensor.shape))} of {str(tensor.dtype).removeprefix('torch.')}"


# --- Tip-Adapter ---------------------------------------------------------------------------------


def likeness(
    vectors: Float[Tensor, "n d"], examples: Float[Tensor, "e d"], beta: float
) -> Float[Tensor, "n e"]:
    """How like each picture is to each example: 1 for the same, falling the faster with beta."""
    return (beta * (vectors @ examples.T - 1)).exp()


def voices(
    alike: Float[Tensor, "n e"], answers: Int64[Tensor, " e"], labels: int
) -> Float[Tensor, "n k"]:
    """How much the examples speak for each label, beyond what they say for all of them alike.

    Unlike in the paper a label's examples share one voice, so that a label with more of them is not
    the louder for it, and what all labels get is taken away. A label without examples gets nothing.
    """
    belongs = F.one_hot(answers, labels).to(alike.dtype)  # e k
    counts = belongs.sum(dim=0)
    heard = counts > 0
    said = alike @ (belongs / counts.clamp(min=1))  # n k
    return torch.where(heard, said - said[:, heard].mean(dim=1, keepdim=True), 0)


# --- a linear probe that starts from the labels ---------------------------------------------------


def probes(
    examples: Float[Tensor, "e d"],
    answers: Int64[Tensor, " e"],
    start: Float[Tensor, "k d"],
    strengths: Sequence[float],
) -> list[Float[Tensor, "k d"]]:
    """Weights whose softmax answers the examples right, and that stay near where they start.

    For each strength, which fall, those of the least sum: the cross-entropy of all examples +
    strength / 2 * the squared distance from the start. Every label weighs the same, however many
    examples it has; one without any stays where it is. As a softmax does not mind what is added to
    all labels, the mean of all weights does not move.
    """
    counts = torch.bincount(answers, minlength=len(start))
    seen = torch.nonzero(counts).squeeze(1)
    place = (counts > 0).cumsum(dim=0)[answers] - 1  # the number of the label among those seen
    weight = len(answers) / (len(seen) * counts[seen])  # of an example, by its label
    # The weights move only within what the examples span: of fewer examples than numbers a vector
    # that is a smaller room, and a shorter search.
    few = len(examples) < examples.shape[1]
    axes = torch.linalg.qr(examples.T).Q if few else torch.eye(examples.shape[1])  # d r
    inside = examples @ axes  # e r
    fixed = examples @ start[seen].T  # e k
    moved = torch.zeros(len(seen), axes.shape[1])  # k r
    found: list[Tensor] = []
    for strength in strengths:
        moved = _nearest(inside, place, fixed, weight, moved, strength / len(examples))
        weights = start.clone()
        weights[seen] += moved @ axes.T
        found.append(weights)
    return found


def _nearest(
    inside: Float[Tensor, "e r"],
    place: Int64[Tensor, " e"],
    fixed: Float[Tensor, "e k"],
    weight: Float[Tensor, " k"],
    begin: Float[Tensor, "k r"],
    strength: float,
) -> Float[Tensor, "k r"]:
    """How far the weights move, by L-BFGS (Nocedal & Wright, algorithm 7.4) from a beginning.

    Torch's own keeps gradients by autograd, which takes most of the time of so small a search.
    """
    share = weight[place] / len(place)  # of an example in the mean
    target = F.one_hot(place, len(weight)).to(inside)

    def loss(moved: Tensor) -> tuple[float, Tensor]:
        says = (fixed + inside @ moved.T).log_softmax(dim=1)
        surprise = -(share * says.gather(1, place[:, None])[:, 0]).sum()
        wrong = share[:, None] * (says.exp() - target)
        value = surprise + strength / 2 * moved.square().sum()
        return float(value), wrong.T @ inside + strength * moved

    moved = begin
    value, slope = loss(moved)
    seen: deque[tuple[Tensor, Tensor, float]] = deque(
        maxlen=_MEMORY
    )  # s, y and their product there
    for _ in range(_STEPS):
        # Of rows of length 1 nothing bends more than this.
        way = -_unbent(slope, seen, 1 / (0.5 + strength))
        falls = _dot(slope, way)
        length = 1.0
        while True:
            there = moved + length * way
            its_value, its_slope = loss(there)
            if its_value <= value + 1e-4 * length * falls:
                break
            length /= 2
            if length < 1e-3:  # no lower place that float32 can tell
                return moved
        bend = _dot(there - moved, its_slope - slope)
        if bend > 0:
            seen.append((there - moved, its_slope - slope, bend))
        fell = value - its_value
        moved, value, slope = there, its_value, its_slope
        if fell < _ENOUGH:
            break
    return moved


def _unbent(slope: Tensor, seen: Sequence[tuple[Tensor, Tensor, float]], first: float) -> Tensor:
    """The slope as it would be if the loss bent alike in all directions (algorithm 7.5)."""
    shares: list[float] = []
    for step, change, bend in reversed(seen):
        shares.append(_dot(step, slope) / bend)
        slope = slope - shares[-1] * change
    if seen:
        _, change, bend = seen[-1]
        first = bend / _dot(change, change)
    slope = first * slope
    for (step, change, bend), share in zip(seen, reversed(shares), strict=True):
        slope = slope + (share - _dot(change, slope) / bend) * step
    return slope


def _dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.flatten(), b.flatten()))
