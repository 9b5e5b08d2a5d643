"""Does relevance find the patches that the answer rests on? They are taken away to see.

python benchmarks/explain_deletion.py [--model clip-shapes] [--count 200]

Each picture is a drawn scene of one object, of a kind that no training picture was; its right label
is one of 64, and the score is its probability. Deletion takes the best patches away first, so a
good order has a small area under its curve; insertion shows the best first, so a good one has a
large area. The differences to random orders are paired: the same picture, the same label.
"""

import argparse
import math

import torch
from about import this_run
from einops import rearrange
from PIL import Image
from torch import Tensor

import mmfm
from mmfm.data import shapes
from mmfm.models.clip import CLIP
from mmfm.models.retrieval import class_vectors
from mmfm.tasks.explain import best_first, explain, random_orders, shown

CLASSES = shapes.classes()
SAID = [shapes.say_class(*pair) for pair in CLASSES]  # in English and Korean
LABELS = [" ".join(pair) for pair in CLASSES]


def last_attention(clip: CLIP, picture: Image.Image) -> Tensor:
    """How much of each patch the pooled token takes in the last layer, whatever the label."""
    assert clip.image is not None
    c = clip.image.config
    image = rearrange(clip.preprocessing(picture), "c y x -> 1 c y x").to(clip.weight)
    with torch.no_grad():
        out = clip.image(image, attention=[c.depth - 1])
    weights = out.attention[c.depth - 1][0].mean(dim=0)  # t t
    asking = slice(0, 1) if c.pool == "cls" else slice(c.prefix, None)
    if out.probe is not None:
        return out.probe[0, :, 0].mean(dim=0)
    return weights[asking, c.prefix :].mean(dim=0)


def untrained(clip: CLIP, generator: torch.Generator) -> CLIP:
    """The same model with weights that learned nothing."""
    other = CLIP(clip.config, clip.preprocessing, clip.tokenizer).eval()
    other.reset(generator)
    return other


def relevances(clip: CLIP, vectors: Tensor, picture: Image.Image, number: int) -> list[Tensor]:
    """Chefer's relevance for one label, and the patches' similarity to it."""
    [evidence] = explain(clip, picture, LABELS, vectors, LABELS, only=[number]).labels
    return [evidence.relevance, evidence.similarity]


def areas(scores: Tensor, shares: Tensor) -> Tensor:
    """The area under each curve, as a share of the widest: (m s) -> m."""
    return torch.trapezoid(scores, shares, dim=-1) / (shares[-1] - shares[0])


def interval(differences: Tensor) -> tuple[float, float, float]:
    """A mean with its 95 % interval (normal; the pictures are many)."""
    mean = differences.mean().item()
    half = 1.96 * differences.std().item() / math.sqrt(len(differences))
    return mean, mean - half, mean + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="clip-shapes", help="a bundled CLIP, or a run's folder")
    parser.add_argument("--count", type=int, default=200, help="pictures")
    parser.add_argument("--random", type=int, default=8, help="random orders a picture")
    arguments = parser.parse_args()
    clip = mmfm.load_clip(arguments.model)
    assert isinstance(clip, CLIP)
    generator = torch.Generator().manual_seed(0)
    control = untrained(clip, generator)
    own, blind = class_vectors(clip, SAID), class_vectors(control, SAID)
    size = clip.preprocessing.size[0]
    images, scenes = shapes.evaluation("colour and shape", arguments.count, seed=7, size=size)

    names = ("relevance", "similarity", "last attention", "relevance, untrained")
    deleted: list[Tensor] = []
    inserted: list[Tensor] = []
    for pixels, scene in zip(images, scenes, strict=True):
        picture = Image.fromarray(pixels.numpy())
        number = CLASSES.index(scene.objects[0].pair)
        ways = [
            *relevances(clip, own, picture, number),
            last_attention(clip, picture),
            relevances(control, blind, picture, number)[0],
        ]
        orders = torch.stack([best_first(values) for values in ways])
        random = random_orders(arguments.random, orders.shape[1], generator)
        every = torch.cat([orders, orders.flip(1), random])
        shares, scores = shown(clip, picture, own, number, every)
        found, turned, chance = areas(scores, shares).split([len(ways), len(ways), len(random)])
        inserted.append(torch.cat([found, chance.mean(dim=0, keepdim=True)]))
        deleted.append(torch.cat([turned, chance.mean(dim=0, keepdim=True)]))

    print(f"{this_run()}; {clip.source}, {len(scenes)} pictures, random orders: mean of", end=" ")
    print(arguments.random)
    print(f"{'':22} {'area':>6} {'less random (95 %)':>27}")
    for title, rows in (
        ("deletion (low is good)", deleted),
        ("insertion (high is good)", inserted),
    ):
        table = torch.stack(rows)
        print(f"{title}\n  {'random order':20} {table[:, -1].mean():6.3f}")
        for i, name in enumerate(names):
            mean, low, high = interval(table[:, i] - table[:, -1])
            cell = f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
            print(f"  {name:20} {table[:, i].mean():6.3f} {cell:>27}")


if __name__ == "__main__":
    main()
