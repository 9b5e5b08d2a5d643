"""Whether it means anything which words emoji-nano's places look at.

    python benchmarks/emoji_looks.py [--model emoji-nano | RUN] [--clip CLIP] [--seeds 8]

Two texts that differ in one word are drawn from the same noise. Three things are told of the word:
how many of all looks it gets, in the mean of the steps; how much that differs from place to place
(the standard deviation over 16x16 places, by the mean); and whether it is looked at where the
picture changes when the word is another. That is the correlation over places of the word's shares
and of how far the two pictures lie apart, in the mean of the noises. Beside it stands, as what a
map tells that knows nothing of its picture, the same with the pictures of the other noises.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from about import this_run
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from mmfm.errors import BadInput, MmfmError
from mmfm.models.checkpoints import load_denoiser
from mmfm.models.denoiser import Denoiser
from mmfm.models.words import Reader, reader_for
from mmfm.tasks.draw_words import PLACES, Wish, by_word, draw, looked, tell, words_of

PAIRS = (
    ("red heart", "blue heart"),
    ("red heart", "red square"),
    ("blue book", "red book"),
    ("yellow circle", "yellow heart"),
    ("cat face", "dog face"),
    ("smiling face with sunglasses", "smiling face with hearts"),
    ("cat with sunglasses", "cat with hat"),
    ("빨간색 하트", "파란색 하트"),
    ("빨간색 하트", "빨간색 사각형"),
    ("노란색 원", "빨간색 원"),
    ("고양이 얼굴", "강아지 얼굴"),
)


@dataclass(frozen=True)
class Found:
    """What is told of a word."""

    word: str
    share: float  # of all looks
    contrast: float  # between places
    own: float  # correlation with where its picture changes
    others: float  # and with where those of other noises do

    def __str__(self) -> str:
        numbers = f"{self.share:6.0%} {self.contrast:10.2f} {self.own:8.2f} {self.others:8.2f}"
        return f"{self.word:12} {numbers}"


def changed(first: str, other: str) -> int:
    """Which word of the first text is another in the other."""
    pairs = list(zip(first.split(), other.split(), strict=True))
    which = [number for number, (a, b) in enumerate(pairs) if a != b]
    if len(which) != 1:
        raise BadInput(f"{first!r} and {other!r} differ in {len(which)} words, not in one")
    return which[0]


def told_of(den: Denoiser, reader: Reader, first: str, other: str, seeds: int) -> Found:
    """What there is to tell of the word in which two texts differ."""
    number, words = changed(first, other), words_of(reader, first)
    maps, changes = [], []
    for seed in range(seeds):
        steps = list(draw(den, reader, [first, other], Wish(seed=seed)))
        told = tell(den, reader, [first, other])
        each = [by_word(looked(den, told, step)[0], words)[number] for step in steps]
        maps.append(torch.stack(each).mean(dim=0))
        apart = reduce((steps[-1].x[0] - steps[-1].x[1]).abs(), "c y x -> 1 y x", "mean")
        changes.append(F.adaptive_avg_pool2d(apart, maps[-1].shape[-1])[0])
    a, b = torch.stack(maps), torch.stack(changes)  # s y x
    alike = correlations(a, b)
    among = ~torch.eye(seeds, dtype=torch.bool)
    return Found(
        words[number].text,
        a.mean().item(),
        (a.flatten(1).std(dim=1) / a.flatten(1).mean(dim=1)).mean().item(),
        alike.diagonal().mean().item(),
        alike[among].mean().item(),
    )


def correlations(a: Float[Tensor, "s y x"], b: Float[Tensor, "t y x"]) -> Float[Tensor, "s t"]:
    """How each of some maps goes with each of others, from -1 to 1."""

    def normed(maps: Tensor) -> Tensor:
        flat = rearrange(maps, "s y x -> s (y x)")
        return F.normalize(flat - flat.mean(dim=1, keepdim=True), dim=1)

    return normed(a) @ normed(b).T


def measured(den: Denoiser, reader: Reader, seeds: int) -> Iterator[str]:
    """All pairs, one after the other."""
    yield f"{this_run()}; {den.source}; {seeds} noises, at most {PLACES}x{PLACES} places"
    yield f"{'':46} {'word':12} {'share':>6} {'contrast':>10} {'own':>8} {'others':>8}"
    found: list[Found] = []
    for first, other in PAIRS:
        found.append(told_of(den, reader, first, other, seeds))
        yield f"{f'{first} / {other}':46.46} {found[-1]}"
    for name in ("share", "contrast", "own", "others"):
        mean = sum(getattr(one, name) for one in found) / len(found)
        yield f"mean {name}: {mean:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="emoji-nano", help="bundled, or a run's folder")
    parser.add_argument("--clip", default="", help="who reads, if not the CLIP that it names")
    parser.add_argument("--seeds", type=int, default=8, help="so many noises")
    arguments = parser.parse_args()
    if arguments.seeds < 2:
        raise BadInput("--seeds is two at least: each picture is held against the others")
    den = load_denoiser(arguments.model)
    for line in measured(den, reader_for(den, arguments.clip), arguments.seeds):
        print(line, flush=True)


if __name__ == "__main__":
    try:
        main()
    except MmfmError as error:
        raise SystemExit(f"emoji_looks.py: {error}") from error
