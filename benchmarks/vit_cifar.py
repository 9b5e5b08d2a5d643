"""What vit-cifar scores on pictures it was never trained on, whole and with patches missing.

    python benchmarks/vit_cifar.py --data test.parquet [--model vit-cifar]

The parquet file has CIFAR-10's test pictures: `image` (bytes of a picture file) and `label`.
"""

import argparse
import math

import torch
from about import this_run

import mmfm
from mmfm.data.draws import uniform
from mmfm.data.labelled import LabelledPictures, load_labelled
from mmfm.models.vit import ViT, rollout
from mmfm.tasks.train_vit import accuracy


def interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share that was counted."""
    z = 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return middle - half, middle + half


@torch.inference_mode()
def masked(model: ViT, pictures: LabelledPictures, share: float, how: str) -> float:
    """Accuracy when a share of the patches is dropped: random ones, or those most attended."""
    patches = model.config.grid[0] * model.config.grid[1]
    kept = patches - round(share * patches)
    right = 0
    for index in torch.arange(len(pictures)).split(250):
        images = model.preprocessing.normalise(pictures.images[index])
        if how == "random":
            value = uniform(0, 0, index, patches)
        else:
            out = model(images, attention=True)
            value = rollout(list(out.attention.values()))[:, 0, out.prefix :]
            value = -value if how == "least attended" else value
        keep = value.argsort(dim=1).argsort(dim=1) < kept
        logits = model(images, keep=keep).logits
        assert logits is not None
        right += int((logits.argmax(-1) == pictures.labels[index]).sum())
    return right / len(pictures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default="vit-cifar")
    arguments = parser.parse_args()
    model = mmfm.load_vit(arguments.model)
    pictures, _ = load_labelled(arguments.data, size=model.config.image_size[0])
    print(this_run())
    share = accuracy(model, pictures)
    low, high = interval(share, len(pictures))
    print(
        f"all patches        {share:.2%} of {len(pictures):,} (95 % interval {low:.1%}-{high:.1%})"
    )
    some = pictures.select(torch.linspace(0, len(pictures) - 1, 2000).round().long())
    for part in (0.25, 0.5, 0.75):
        for how in ("random", "most attended", "least attended"):
            print(f"{part:.0%} dropped, {how:15} {masked(model, some, part, how):.1%} of 2,000")


if __name__ == "__main__":
    main()
