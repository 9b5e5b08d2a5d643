"""What the vectors of a CLIP say: who is near whom, what parts pictures from texts, what sums do.

    memory = Memory()                                # a picture is seen once, a text is read once
    images, texts = memory.images(clip, pictures), memory.texts(clip, captions)
    similarity(images, texts)                        # every picture with every text
    found_first(images, texts, pairs)                # recall@1, as a count
    rivals(similarity(images, texts), pairs)         # the wrong answers that come nearest
    plane(torch.cat([images, texts]))                # a flat map of all of them, and what it hides
    close_gap(images, texts, 1.0)                    # pictures and texts moved onto each other
    sums(image, red, blue, [0, 0.5, 1])              # this picture, but blue instead of red

All is plain arithmetic on unit rows; nothing here knows where they come from.

Shapes: n pictures, m texts, d numbers a vector, p pairs of a picture and a text of its own, q
questions, a answers, k vectors of any kind, s strengths.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from PIL import Image
from torch import Tensor

from mmfm.errors import BadInput
from mmfm.models.clip import TwoTowers
from mmfm.models.retrieval import recall

T = TypeVar("T")

MEMORY = 4096  # vectors that are remembered of each model


class Memory:
    """The vectors of what each model has seen and read lately, known by its content.

    They are forgotten together with their model.
    """

    def __init__(self, most: int = MEMORY) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._known: WeakKeyDictionary[TwoTowers, OrderedDict[str, Tensor]] = WeakKeyDictionary()

    def images(self, model: TwoTowers, pictures: Sequence[Image.Image]) -> Float[Tensor, "n d"]:
        """A unit row for each picture."""
        return self._rows(model, pictures, picture_key, model.encode_image)

    def texts(self, model: TwoTowers, texts: Sequence[str]) -> Float[Tensor, "m d"]:
        """A unit row for each text."""
        return self._rows(model, texts, lambda text: f"text {text}", model.encode_text)

    def _rows(
        self,
        model: TwoTowers,
        items: Sequence[T],
        key_of: Callable[[T], str],
        encode: Callable[[list[T]], Tensor],
    ) -> Tensor:
        if not items:
            return torch.empty(0, model.dim)
        keys = [key_of(item) for item in items]
        with self._lock:
            known = self._known.setdefault(model, OrderedDict())
            new = {key: item for key, item in zip(keys, items, strict=True) if key not in known}
            if new:
                known.update(zip(new, encode(list(new.values())).float().cpu(), strict=True))
            rows = torch.stack([known[key] for key in keys])
            for key in keys:
                known.move_to_end(key)
            while len(known) > self.most:
                known.popitem(last=False)
            return rows


def picture_key(picture: Image.Image) -> str:
    """A picture's name by what is in it: equal pixels, equal name."""
    pixels = hashlib.sha256(picture.tobytes()).hexdigest()
    return f"picture {picture.mode} {picture.size} {pixels}"


# --- who is near whom -----------------------------------------------------------------------------


def similarity(images: Float[Tensor, "n d"], texts: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """The cosine of every picture with every text."""
    return images @ texts.T


@dataclass(frozen=True)
class Found:
    """How many of those that were asked came upon a right answer first."""

    found: int
    asked: int


def found_first(
    questions: Float[Tensor, "q d"], answers: Float[Tensor, "a d"], pairs: Int64[Tensor, "p 2"]
) -> Found:
    """Recall@1 as a count: for how many questions is the nearest answer a right one?"""
    asked = len(pairs[:, 0].unique())
    if asked == 0:
        return Found(0, 0)
    [share] = recall(questions, answers, pairs, at=(1,))
    return Found(round(share * asked), asked)


def found_in_pile(
    questions: Float[Tensor, "q d"], answers: Float[Tensor, "a d"], pairs: Int64[Tensor, "p 2"]
) -> Found:
    """The same where the other questions lie in one pile with the answers.

    Where a gap parts pictures from texts, a picture finds other pictures first, however much
    nearer its own text is than every other text.
    """
    others = (questions @ questions.T).fill_diagonal_(-torch.inf)  # q q
    near = questions @ answers.T  # q a
    right = _marked(near, pairs)
    best = near.masked_fill(~right, -torch.inf).amax(dim=1)
    wrong = torch.cat([others, near.masked_fill(right, -torch.inf)], dim=1).amax(dim=1)
    asked = right.any(dim=1)
    return Found(int((asked & (best > wrong)).sum()), int(asked.sum()))


def _marked(near: Float[Tensor, "q a"], pairs: Int64[Tensor, "p 2"]) -> Bool[Tensor, "q a"]:
    """Which answers are right."""
    right = torch.zeros_like(near, dtype=torch.bool)
    right[pairs[:, 0], pairs[:, 1]] = True
    return right


@dataclass(frozen=True)
class Rival:
    """A question's nearest wrong answer beside its nearest right one."""

    question: int
    wrong: int
    right: int
    wrong_cosine: float
    right_cosine: float

    @property
    def margin(self) -> float:
        """By how much the wrong answer is nearer; below 0 the right one still wins."""
        return self.wrong_cosine - self.right_cosine


def rivals(near: Float[Tensor, "q a"], pairs: Int64[Tensor, "p 2"]) -> list[Rival]:
    """The hardest negative of every question that has a right answer, the most dangerous first."""
    right = _marked(near, pairs)
    found: list[Rival] = []
    for question in pairs[:, 0].unique().tolist():
        if right[question].all():
            continue  # nothing there is wrong
        best = near[question].masked_fill(~right[question], -torch.inf).max(dim=0)
        worst = near[question].masked_fill(right[question], -torch.inf).max(dim=0)
        found.append(
            Rival(
                question,
                int(worst.indices),
                int(best.indices),
                float(worst.values),
                float(best.values),
            )
        )
    return sorted(found, key=lambda rival: -rival.margin)


# --- a flat map -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plane:
    """A flat sheet through a space of many dimensions."""

    middle: Float[Tensor, " d"]
    axes: Float[Tensor, "2 d"]  # of length 1, at right angles

    def place(self, vectors: Float[Tensor, "k d"]) -> Float[Tensor, "k 2"]:
        """Where each vector lies on the sheet, seen from straight above."""
        return (vectors - self.middle) @ self.axes.T

    def kept(self, vectors: Float[Tensor, "k d"]) -> tuple[float, float]:
        """The share of the vectors' variance that lies along each axis; the rest is hidden."""
        centred = vectors - vectors.mean(dim=0)
        whole = centred.square().sum().clamp_min(1e-12)
        along = (centred @ self.axes.T).square().sum(dim=0) / whole
        return float(along[0]), float(along[1])


def plane(vectors: Float[Tensor, "k d"]) -> Plane:
    """The sheet that keeps most of the vectors' variance (principal components; Pearson 1901)."""
    count, dim = vectors.shape
    if count < 2 or dim < 2:
        raise BadInput(f"a map needs two vectors of two numbers; here are {count} of {dim}")
    middle = vectors.mean(dim=0)
    axes = torch.linalg.svd(vectors - middle, full_matrices=False).Vh[:2]  # 2 d
    # Which end of an axis is positive is left open; the same vectors shall give the same map.
    heaviest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))  # 2 1
    return Plane(middle, axes * heaviest.sign())


def plane_within(images: Float[Tensor, "n d"], texts: Float[Tensor, "m d"]) -> Plane:
    """The sheet for what differs among pictures and among texts, blind to what parts the two."""
    centres = images.mean(dim=0), texts.mean(dim=0)
    found = plane(torch.cat([images - centres[0], texts - centres[1]]))
    return Plane((centres[0] + centres[1]) / 2, found.axes)


def plane_across(images: Float[Tensor, "n d"], texts: Float[Tensor, "m d"]) -> Plane:
    """The sheet that shows the gap: its first axis leads from the mean text to the mean picture.

    Its second is the direction at right angles to it in which each kind spreads most.
    """
    across = F.normalize(gap(images, texts), dim=0)
    kinds = [vectors - vectors.mean(dim=0) for vectors in (images, texts)]
    within = torch.cat(kinds)  # k d
    flat = within - (within @ across)[:, None] * across
    found = plane_within(images, texts)
    return Plane(found.middle, torch.stack([across, plane(flat).axes[0]]))


# --- the gap between pictures and texts -----------------------------------------------------------


def gap(images: Float[Tensor, "n d"], texts: Float[Tensor, "m d"]) -> Float[Tensor, " d"]:
    """The way from the mean text to the mean picture; its length is the modality gap.

    (Liang et al. 2022, "Mind the Gap".)
    """
    return images.mean(dim=0) - texts.mean(dim=0)


def close_gap(
    images: Float[Tensor, "n d"], texts: Float[Tensor, "m d"], amount: float
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    """Move pictures and texts towards each other, and bring every row back to length 1.

    0 leaves all as it is, 1 lays the two means on one place (before lengths are mended), less than
    0 drives them further apart.
    """
    way = amount * gap(images, texts) / 2
    return F.normalize(images - way, dim=-1), F.normalize(texts + way, dim=-1)


# --- sums -----------------------------------------------------------------------------------------


def sums(
    start: Float[Tensor, " d"],
    minus: Float[Tensor, " d"] | None,
    plus: Float[Tensor, " d"] | None,
    strengths: Sequence[float],
) -> Float[Tensor, "s d"]:
    """Go from a vector in the direction plus - minus, so far and further, and back to length 1."""
    zero = torch.zeros_like(start)
    way = (zero if plus is None else plus) - (zero if minus is None else minus)
    steps = torch.tensor(strengths, dtype=start.dtype)[:, None] * way  # s d
    return F.normalize(start + steps, dim=-1)
