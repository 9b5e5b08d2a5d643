"""What zero-shot answers cost beside the picture tower alone, and beside transformers' pipeline.

    python benchmarks/classify_speed.py [--pictures 48] [--rounds 5]

`clip-shapes`, and a CLIP of the size of ViT-B/32 with random weights, which transformers writes in
its own format and both load; its answers mean nothing, the work is the same as with trained ones.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from about import this_run
from PIL import Image

import mmfm
from mmfm.models.clip import TwoTowers


def write_checkpoint(folder: Path) -> None:
    """transformers' ViT-B/32 CLIP, with CLIP's own tokenizer out of open_clip's vocabulary."""
    import transformers
    from open_clip.tokenizer import SimpleTokenizer

    simple = SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(piece, piece): number for piece, number in simple.encoder.items()}
    tokenizer = transformers.CLIPTokenizer(vocab=vocabulary, merges=list(simple.bpe_ranks))
    # Where CLIP's own vocabulary ends its texts.
    config = transformers.CLIPConfig(text_config={"eos_token_id": 49407})
    transformers.CLIPModel(config).save_pretrained(folder)
    transformers.CLIPProcessor(transformers.CLIPImageProcessor(), tokenizer).save_pretrained(folder)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turns(rounds: int, **works: Callable[[], object]) -> dict[str, float]:
    """The median time of each work, all measured in turns after one turn to warm up."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            spent = seconds(work)
            if turn:
                taken[name].append(spent)
    return {name: statistics.median(several) for name, several in taken.items()}


def labels_of(count: int) -> list[str]:
    """Half English, half Korean."""
    return [f"thing number {n}" if n % 2 else f"물건 {n}번" for n in range(count)]


def classifier(clip: TwoTowers, count: int, cache: Path) -> mmfm.ZeroShotClassifier:
    return mmfm.ZeroShotClassifier(
        clip, labels_of(count), templates="simple", cache=cache, warn=lambda line: None
    )


def table(
    clip: TwoTowers, counts: Sequence[int], pictures: list[Image.Image], rounds: int, cache: Path
) -> None:
    """What labels cost at the start, and answers beside the picture tower alone."""
    print(f"\n{clip.name if clip.origin == 'bundled' else 'ViT-B/32'}")
    heading = ("labels", "first start", "next start", "beside the tower alone")
    print("{:>8} {:>12} {:>11} {:>24}".format(*heading))
    for count in counts:
        first = seconds(lambda n=count: classifier(clip, n, cache))
        again = min(seconds(lambda n=count: classifier(clip, n, cache)) for _ in range(3))
        clf = classifier(clip, count, cache)
        both = in_turns(
            rounds,
            tower=lambda: clip.encode_image(pictures, batch=32),
            answers=lambda clf=clf: clf.classify(pictures),
        )
        more = both["answers"] / both["tower"] - 1
        print(f"{count:8,} {first:10.1f} s {again * 1000:8.0f} ms {more:+23.1%}", flush=True)


def many(clip: TwoTowers, cache: Path, count: int = 10_000) -> mmfm.ZeroShotClassifier:
    """So many labels that reading them would take minutes: their rows are drawn instead."""
    clf = classifier(clip, 10, cache)
    clf.labels = tuple(labels_of(count))
    clf.vectors = F.normalize(torch.randn(count, clip.dim), dim=1)
    return clf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    numbers = np.random.default_rng(0)
    pictures = [
        Image.fromarray(numbers.integers(0, 256, (256, 320, 3), dtype=np.uint8))
        for _ in range(arguments.pictures)
    ]
    print(this_run())
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name) / "clip", Path(name) / "vectors.sqlite"
        write_checkpoint(folder)
        clip = mmfm.load_clip(str(folder))

        for model, counts in ((mmfm.load_clip("clip-shapes"), (1000, 10_000)), (clip, (10, 1000))):
            table(model, counts, pictures, arguments.rounds, cache)

        clf = many(clip, cache)
        both = in_turns(
            arguments.rounds,
            tower=lambda: clip.encode_image(pictures, batch=32),
            answers=lambda clf=clf: clf.classify(pictures),
        )
        print(
            f"{10_000:8,} {'rows drawn':>12} {'':>11} {both['answers'] / both['tower'] - 1:+23.1%}"
        )

        from transformers import pipeline

        few = labels_of(10)
        pipe = pipeline("zero-shot-image-classification", model=str(folder), device="cpu")
        clf = mmfm.ZeroShotClassifier(
            clip, few, templates=["{name}"], cache=cache, warn=lambda line: None
        )
        both = in_turns(
            arguments.rounds,
            transformers=lambda: pipe(pictures, candidate_labels=few, hypothesis_template="{}"),
            ours=lambda: clf.classify(pictures),
        )
        rates = {who: len(pictures) / spent for who, spent in both.items()}
        theirs = pipe(pictures[:4], candidate_labels=few, hypothesis_template="{}")
        gap = max(
            abs(row["score"] - found.scores[row["label"]])
            for rows, found in zip(theirs, clf.classify(pictures[:4]), strict=True)
            for row in rows
        )
        print(
            f"\n10 labels, one template: transformers {rates['transformers']:.1f} pictures/s, ours "
            f"{rates['ours']:.1f}: {rates['ours'] / rates['transformers']:.2f}x; largest "
            f"difference of a score {gap:.1e}"
        )


if __name__ == "__main__":
    main()
