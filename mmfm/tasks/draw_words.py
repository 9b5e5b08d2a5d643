"""Pictures drawn from words, as a page or a notebook shows them: step by step, and word by word.

    for moment in draw(den, reader, ["red heart", "blue heart"], Wish(seed=3)):
        moment.noisy, moment.x0, moment.x     # shown to the model; its guess; what the step leaves
    for moment in between(den, reader, "red heart", "yellow star", Wish(seed=3)):
        moment.x                              # seven pictures, from the one text to the other
    shares = looked(den, told, moment)        # how much of each token every place has taken
    by_word(shares[0], words_of(reader, "red heart"))     # and how much of each word

All pictures of a call come from the same noise, that of the first picture which `generate` draws
from the same seed: whatever differs between them is the doing of the words.

Shapes: b pictures, c channels, y x pixels, or places where the model reads; m tokens of a text,
w words of it, h heads.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange, reduce, repeat
from jaxtyping import Float
from torch import Tensor

from mmfm.diffusion.course import Course, course
from mmfm.diffusion.objectives import Model
from mmfm.diffusion.samplers import Pictures, Sampler, Step
from mmfm.errors import BadInput
from mmfm.models.denoiser import Denoiser, Told
from mmfm.models.words import Reader, check_reader
from mmfm.tasks.generate import Label, Order, Sampling, Via, chosen, label_numbers, names_of, walk

PLACES = 16  # on a side of what `looked` shows; finer than that nobody points at
COUNT = 7  # pictures from one text to another


@dataclass(frozen=True)
class Wish:
    """How words are to be drawn; what is not said is as the model draws best."""

    hand: Label = None  # in whose hand: one of the model's labels; None: whichever it takes
    steps: int | None = None
    guidance: float | None = None
    seed: int = 0


class Moment(NamedTuple):
    """One step of the way from noise to pictures, and what there is to see of it."""

    noisy: Pictures  # what the model is shown
    x0: Pictures  # what it thinks is there: its guess of the clean pictures
    x: Pictures  # what the step makes of them
    t: float  # the time that it was asked about
    share: float  # of noise in what it is shown


class Word(NamedTuple):
    """A word of a text."""

    text: str
    places: tuple[int, ...]  # of its tokens; none: the text tower does not read as far as that


# --- drawing --------------------------------------------------------------------------------------


def draw(den: Denoiser, reader: Reader, texts: Sequence[str], wish: Wish) -> Iterator[Moment]:
    """Draw a picture of each text, all from the same noise, and show each step.

    A wrong value is refused here, not at the first step.
    """
    how = chosen(den, steps=wish.steps, guidance=wish.guidance)
    return _way(den, how, wish.seed, tell(den, reader, texts, wish.hand))


def between(
    den: Denoiser, reader: Reader, first: str, last: str, wish: Wish, *, count: int = COUNT
) -> Iterator[Moment]:
    """Draw pictures that lead from one text to another, all from the same noise.

    Two texts have no tokens between them, as they may differ in length. Answers have: at each step
    the model is asked about both texts and believed by shares, so much of the one answer and the
    rest of the other. At either end that is what `draw` does.
    """
    if count < 2:
        raise BadInput(f"{count} pictures from one text to another: there are two ends at least")
    how = chosen(den, steps=wish.steps, guidance=wish.guidance)
    told = tell(den, reader, [first, last], wish.hand)
    # All pictures but the last are asked about the one text, all but the first about the other.
    which = torch.cat([torch.arange(count - 1), torch.arange(1, count)]).to(told.kinds.device)
    twice = Told(*(repeat(part, "two ... -> (two n) ...", n=count - 1) for part in told))

    def via(
        sampler: Sampler, model: Model, x: Pictures, way: Course, **more: Any
    ) -> Iterator[Step]:
        shares = torch.linspace(0, 1, count).to(x)
        weights = rearrange(torch.cat([1 - shares[:-1], shares[1:]]), "b -> b 1 1 1")

        def mixed(x: Pictures, t: Tensor, condition: Any, *to: Any) -> Pictures:
            answers = model(x[which], t[which], condition, *to)
            return torch.zeros_like(x).index_add(0, which, weights * answers)

        return sampler(mixed, x, way, **more)

    return _way(den, how, wish.seed, twice, count=count, via=via)


def tell(den: Denoiser, reader: Reader, texts: Sequence[str], hand: Label = None) -> Told:
    """What the model is told to draw these texts in this hand."""
    check_reader(den, reader)
    if not texts or any(not text.strip() for text in texts):
        raise BadInput("a text without a word; say what is to be drawn")
    weight = next(den.parameters())
    words, seen = reader(texts)
    kinds = torch.full((len(texts),), _kind(den, hand), device=weight.device)
    return Told(kinds, words.to(weight), seen.to(weight.device))


def _kind(den: Denoiser, hand: Label) -> int:
    """The number of one hand, or the one that stands for none in particular."""
    if hand is None and not names_of(den):
        return den.null
    numbers = label_numbers(den, [hand])
    if len(numbers) != 1:
        raise BadInput(f"hand {hand!r:.40}: a picture is drawn in one hand; name one label")
    return numbers[0]


def _way(
    den: Denoiser,
    how: Sampling,
    seed: int,
    told: Told,
    *,
    count: int | None = None,
    via: Via | None = None,
) -> Iterator[Moment]:
    count = len(told.kinds) if count is None else count
    asked = Order(den, (), count, seed, how)
    same, epochs = torch.zeros(count, dtype=torch.int64), itertools.count()

    def noise() -> Pictures:
        """Of the first picture, for all of them: at first that of the start."""
        return asked.noise(same, next(epochs))

    way = course(den.config.schedule, how.steps)
    x = noise()
    x = way.start(x) if den.ours else x
    shares = (way.sigma / (way.alpha + way.sigma)).tolist()
    return _moments(x, shares, walk(den, how, x, way, told, noise=noise, via=via))


def _moments(x: Pictures, shares: list[float], steps: Iterator[Step]) -> Iterator[Moment]:
    for share, step in zip(shares, steps, strict=True):
        yield Moment(x, step.x0, step.x, step.t, share)
        x = step.x


def noise_of(den: Denoiser, seed: int) -> Float[Tensor, "1 c y x"]:
    """The noise that every picture of this seed comes from."""
    return Order(den, (), 1, seed, chosen(den)).noise(torch.arange(1))


# --- looking --------------------------------------------------------------------------------------


@torch.no_grad()
def looked(
    den: Denoiser, told: Told, moment: Moment, *, places: int = PLACES
) -> Float[Tensor, "b m y x"]:
    """How much of each token every place of the pictures took at a step; a place's shares sum to 1.

    The mean over all heads, and over the sizes at which the model reads, on one grid of at most so
    many places a side. It is asked anew for that, as drawing never writes these numbers down.
    """
    t = torch.full((len(moment.noisy),), moment.t, device=moment.noisy.device)
    means = [
        reduce(shares.float(), "b h y x m -> b m y x", "mean")
        for shares in den.reading(moment.noisy, t, told)
    ]
    side = min(places, max(mean.shape[-1] for mean in means))
    return torch.stack([_laid_out(mean, side) for mean in means]).mean(dim=0)


def _laid_out(mean: Float[Tensor, "b m y x"], side: int) -> Float[Tensor, "b m y2 x2"]:
    """The same on another grid: means of what is finer, squares of what is coarser."""
    if mean.shape[-1] >= side:
        return F.adaptive_avg_pool2d(mean, side)
    return F.interpolate(mean, size=(side, side), mode="nearest-exact")


def words_of(reader: Reader, text: str) -> list[Word]:
    """The words of a text in their order."""
    return [Word(word, tuple(places)) for word, places in reader.pieces(text)]


def by_word(shares: Float[Tensor, "m y x"], words: Sequence[Word]) -> Float[Tensor, "w y x"]:
    """How much every place took of each word: of all its tokens together."""
    return torch.stack([shares[list(word.places)].sum(dim=0) for word in words])
