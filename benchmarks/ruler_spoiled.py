"""What the bundled rulers say of real digits that were spoiled in ten ways, and how far they agree.

    python benchmarks/ruler_spoiled.py [--data mnist] [--count 5000] [--surest 5000]

The digits are of the part that is held apart, from which neither ruler has learned, and whose score
is the floor. Nothing is left to chance: the same digits are spoiled in the same way each time. Last
come those training digits that each ruler is surest of, which are real, but all of one cast.

    --count 500 --surest 500      only to see that it works
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from about import this_run
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from mmfm.data.labelled import LabelledPictures
from mmfm.errors import MmfmError
from mmfm.models.ruler import Ruler, look
from mmfm.tasks.score import Score, Yardstick

Planes = Float[Tensor, "n 1 y x"]  # from 0 to 255

_ACROSS = 3  # the nine pixels around each one


# --- what is done to pictures ---------------------------------------------------------------------


def each(change: Callable[[Planes], Planes], real: LabelledPictures) -> LabelledPictures:
    """Do the same to every picture."""
    planes = rearrange(real.images, "n y x 1 -> n 1 y x").float()
    changed = change(planes).round().clamp(0, 255).byte()
    return replace(real, images=rearrange(changed, "n 1 y x -> n y x 1").contiguous())


def blurred(planes: Planes, share: float) -> Planes:
    """Bring every pixel so far towards the mean of the nine around it."""
    around = F.avg_pool2d(F.pad(planes, (1, 1, 1, 1), "replicate"), _ACROSS, stride=1)
    return torch.lerp(planes, around, share)


def noisy(planes: Planes, spread: float) -> Planes:
    """Add to every pixel a number that is 0 on the average."""
    random = torch.Generator().manual_seed(0)
    return planes + spread * torch.randn(planes.shape, generator=random)


def thicker(planes: Planes, share: float) -> Planes:
    """Bring every pixel so far towards the lightest of the nine around it."""
    return torch.lerp(planes, F.max_pool2d(planes, _ACROSS, stride=1, padding=1), share)


def thinner(planes: Planes, share: float) -> Planes:
    """Bring every pixel so far towards the darkest of the nine around it."""
    return 255 - thicker(255 - planes, share)


def moved(planes: Planes) -> Planes:
    """Shift all by a pixel to the right."""
    return planes.roll(1, dims=3)


def paler(planes: Planes, share: float) -> Planes:
    """Take away such a share of the ink."""
    return (1 - share) * planes


# --- what is done to the heap ---------------------------------------------------------------------


def without_half_the_ones(real: LabelledPictures) -> LabelledPictures:
    """Leave out half of the 1s, whosever they are."""
    ones = torch.nonzero(real.labels == real.names.index("1")).squeeze(1)
    order = torch.randperm(len(ones), generator=torch.Generator().manual_seed(0))
    kept = torch.ones(len(real), dtype=torch.bool)
    kept[ones[order[: len(ones) // 2]]] = False
    return real.select(torch.nonzero(kept).squeeze(1))


def partly_mixed(real: LabelledPictures, every: int = 20) -> LabelledPictures:
    """Make of every twentieth picture the mean of it and the next one of another digit."""
    images = real.images.clone()
    for place in range(0, len(real), every):
        others = torch.nonzero(real.labels.roll(-place) != real.labels[place]).squeeze(1)
        other = (place + int(others[0])) % len(real)
        both = torch.stack([real.images[place], real.images[other]]).float()
        images[place] = both.mean(dim=0).round().byte()
    return replace(real, images=images)


def repeated(real: LabelledPictures, times: int = 5) -> LabelledPictures:
    """Have every fifth picture five times, and the others not at all."""
    return real.select(torch.arange(len(real)) // times * times)


WAYS: dict[str, Callable[[LabelledPictures], LabelledPictures]] = {
    "half of the 1s left out": without_half_the_ones,
    "a twentieth mixed of two digits": partly_mixed,
    "a slight blur": partial(each, partial(blurred, share=0.5)),
    "a blur": partial(each, partial(blurred, share=1.0)),
    "a little noise": partial(each, partial(noisy, spread=16.0)),
    "strokes thicker": partial(each, partial(thicker, share=0.25)),
    "strokes thinner": partial(each, partial(thinner, share=0.25)),
    "moved by a pixel": partial(each, moved),
    "an eighth paler": partial(each, partial(paler, share=0.125)),
    "a fifth of them, five times each": repeated,
}


def surest(ruler: Ruler, pictures: LabelledPictures, count: int) -> LabelledPictures:
    """Those pictures whose answer a ruler is surest of."""
    logits = look(ruler, pictures.images).logits.double()
    best = logits.topk(1, dim=1)
    others = logits.scatter(1, best.indices, float("-inf")).logsumexp(dim=1)
    order = (best.values.squeeze(1) - others).argsort(descending=True, stable=True)
    return pictures.select(order[:count].sort().values)


# --- the table ------------------------------------------------------------------------------------


def heaps(
    yardstick: Yardstick, count: int, sure: int
) -> Iterator[tuple[str, UInt8[Tensor, "n y x 1"], Tensor]]:
    """Real digits as they are, spoiled, and too sure: what they are, the pictures, the labels."""
    real = yardstick.real(count)
    yield "as they are", real.images, real.labels
    for how, spoil in WAYS.items():
        heap = spoil(real)
        yield how, heap.images, heap.labels
    for ruler in yardstick.rulers:
        heap = surest(ruler, yardstick.parts.train, sure)
        yield f"those that {ruler.name} is surest of", heap.images, heap.labels


def line(how: str, found: Score) -> str:
    """What each ruler says: times the floor, recall, named right."""
    told = [
        f"{one.ratio:6.2f}x {one.these.recall:6.2f} {one.these.accuracy.value:8.2%}"
        for one in found.readings
        if one.these.accuracy is not None
    ]
    (agreement,) = found.agreements
    return f"{how:39} {'   '.join(told)}   {agreement.factor:6.2f}"


def head(rulers: Sequence[Ruler]) -> str:
    """The names of the rulers, and what is told of each."""
    names = "   ".join(f"{ruler.name:>23}" for ruler in rulers)
    columns = "   ".join(f"{'floors':>7} {'recall':>6} {'right':>8}" for _ in rulers)
    return f"{'':39} {names}   {'apart':>6}\n{'':39} {columns}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="mnist", help="mnist, or a folder with its IDX files")
    parser.add_argument("--count", type=int, default=5000, help="digits that are spoiled")
    parser.add_argument("--surest", type=int, default=5000, help="training digits, at the end")
    arguments = parser.parse_args()
    print(this_run())
    yardstick = Yardstick(arguments.data, device="cpu")
    digests = ", ".join(f"{ruler.name} {ruler.digest[:12]}" for ruler in yardstick.rulers)
    print(f"{arguments.count:,} digits held apart of {arguments.data}; {digests}\n")
    print(head(yardstick.rulers), flush=True)
    factors: list[float] = []
    for how, images, labels in heaps(yardstick, arguments.count, arguments.surest):
        found = yardstick.measure(images, labels, what=how)
        print(line(how, found), flush=True)
        if how in WAYS:
            factors.append(found.agreements[0].factor)
    print(f"\nof the ten ways the rulers are {max(factors):.2f} apart at most")


if __name__ == "__main__":
    try:
        main()
    except MmfmError as error:
        sys.exit(str(error))
