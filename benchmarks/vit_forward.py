"""Our ViT-B/16 beside timm's and transformers': the same weights, the same pictures, in turns.

    python benchmarks/vit_forward.py [--batch 8] [--rounds 7]

Random weights, written by each library in its own format and loaded by ours.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from about import this_run
from torch import Tensor

import mmfm


def timm_pair(folder: Path) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """timm's model and ours, from the folder that timm wrote."""
    import timm
    from timm.models import save_for_hf

    theirs = timm.create_model("vit_base_patch16_224", pretrained=False).eval()
    save_for_hf(theirs, folder, safe_serialization=True)
    ours = mmfm.load_vit(str(folder))
    return theirs.forward_features, lambda images: ours(images).tokens


def transformers_pair(
    folder: Path,
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """transformers' model and ours, from the folder that transformers wrote."""
    from transformers import ViTConfig, ViTModel

    theirs = ViTModel(ViTConfig(), add_pooling_layer=False).eval()
    theirs.save_pretrained(folder)
    ours = mmfm.load_vit(str(folder))
    return lambda x: theirs(x).last_hidden_state, lambda images: ours(images).tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    images = torch.randn(arguments.batch, 3, 224, 224)
    print(this_run())
    for name, pair in (("timm", timm_pair), ("transformers", transformers_pair)):
        with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
            theirs, ours = pair(Path(folder))
            gap = (theirs(images) - ours(images)).abs().max().item()
            seconds: dict[str, list[float]] = {"theirs": [], "ours": []}
            for _ in range(arguments.rounds):
                for who, model in (("theirs", theirs), ("ours", ours)):
                    start = time.perf_counter()
                    model(images)
                    seconds[who].append(time.perf_counter() - start)
        a, b = (arguments.batch / statistics.median(seconds[who]) for who in ("theirs", "ours"))
        print(f"{name:13} {a:5.1f} pictures/s, ours {b:5.1f}: {b / a:.2f}x; largest gap {gap:.1e}")


if __name__ == "__main__":
    main()
