"""What a CLIP makes of the pictures that a mixture holds out, question by question.

    for outcome in examine(model, mixture):
        print(outcome, outcome.right.float().mean())

Every question is asked in each language alone, by the usual name in the source's own ensemble of
templates. A class is chosen among all of its set; a picture is looked for in a gallery that shows
each kind as one hand draws it.

Shapes: n questions, k kinds, d numbers a vector.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from mmfm.data.kinds import Kind
from mmfm.data.mixture import HeldOut, Mixture, ask_templates
from mmfm.data.templates import sentences
from mmfm.models.clip import TwoTowers
from mmfm.models.retrieval import class_vectors

LANGUAGES = ("en", "ko")
_FIRST = (1, 10)  # is a right picture the first one, or among the first ten?


@dataclass(frozen=True, eq=False)
class Outcome:
    """The answers to one sort of question in one language."""

    title: str  # of the pictures
    gallery: str  # whose pictures were looked through; "" where a class was asked for
    language: str
    measure: str  # "top-1", "R@1", "R@10"
    right: Bool[Tensor, " n"]
    kinds: Int64[Tensor, " n"]  # what each question was about
    among: int  # so many answers there were to choose from

    def __str__(self) -> str:
        hand = f" by {self.gallery}" if self.gallery else ""
        return f"{self.title}{hand}, {self.measure} {self.language}"


def examine(model: TwoTowers, mixture: Mixture, most: int | None = None) -> Iterator[Outcome]:
    """Ask about each held-out part, or about `most` of its pictures, spread evenly.

    Fewer questions make none of them easier: a gallery is looked through as a whole.
    """
    for part in mixture.held_out:
        count = len(part.kinds)
        chosen = torch.linspace(0, count - 1, min(most or count, count)).round().long()
        if part.way == "name":
            part = part.select(chosen)
        seen = encode_bytes(model, part.images)
        for language in LANGUAGES:
            if part.way == "name":
                yield from _named(model, part, mixture.kinds, seen, language)
            else:
                yield from _found(model, part, mixture.kinds, seen, language, chosen)


def encode_bytes(model: TwoTowers, images: UInt8[Tensor, "n h w c"]) -> Float[Tensor, "n d"]:
    """Unit rows of pictures that lie in memory."""
    parts = images.split(250)
    return torch.cat([model.encode_image(model.preprocessing.normalise(p)).cpu() for p in parts])


def said_of(
    model: TwoTowers,
    part: HeldOut,
    kinds: Sequence[Kind],
    numbers: Int64[Tensor, " k"],
    language: str,
) -> Float[Tensor, "k d"]:
    """A unit row for each kind, by its usual name in a language."""
    templates = ask_templates(part.source)
    texts = [
        sentences({language: kinds[number].names[language][:1]}, templates)
        for number in numbers.tolist()
    ]
    return class_vectors(model, texts).cpu()


def _named(
    model: TwoTowers,
    part: HeldOut,
    kinds: Sequence[Kind],
    seen: Float[Tensor, "n d"],
    language: str,
) -> Iterator[Outcome]:
    if any(language not in kinds[number].names for number in part.choices.tolist()):
        return
    answer = (seen @ said_of(model, part, kinds, part.choices, language).T).argmax(dim=1)
    right = part.choices[answer] == part.kinds
    yield Outcome(part.title, "", language, "top-1", right, part.kinds, len(part.choices))


def _found(
    model: TwoTowers,
    part: HeldOut,
    kinds: Sequence[Kind],
    seen: Float[Tensor, "n d"],
    language: str,
    chosen: Int64[Tensor, " m"],
) -> Iterator[Outcome]:
    """Look what the chosen pictures show up among all pictures of one hand, hand after hand."""
    spoken = torch.tensor([language in kinds[number].names for number in part.kinds.tolist()])
    picked = torch.isin(torch.arange(len(part.kinds)), chosen)
    for number, name in enumerate(part.galleries):
        here = part.gallery == number
        asked = part.kinds[here & spoken & picked].unique()
        if len(asked) == 0:
            continue
        near = said_of(model, part, kinds, asked, language) @ seen[here].T  # k n
        own = asked[:, None] == part.kinds[here]
        best = near.masked_fill(~own, -torch.inf).amax(dim=1, keepdim=True)
        # A wrong picture that is as near stands before the right one.
        ahead = ((near >= best) & ~own).sum(dim=1)
        count = int(here.sum())
        for first in _FIRST:
            yield Outcome(part.title, name, language, f"R@{first}", ahead < first, asked, count)
