"""What clip-nano answers about pictures that it was never trained on, in both languages.

    python benchmarks/clip_nano.py --data DATA [--model clip-nano | RUN] [--vit vit-nano | RUN]

DATA is the folder that it was trained on: what is held out is said in assets/sources/nano-*.toml.
Every figure has its 95 % interval: Wilson's for questions about pictures of their own, and that of
drawing whole emoji anew where several hands draw the same one.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import skimage
import sklearn
import torch
from about import this_run

import mmfm
from mmfm.data.mixture import Mixture, load_mixture
from mmfm.measures import wilson
from mmfm.models.clip import TwoTowers
from mmfm.models.held_out import Outcome, examine
from mmfm.models.vit import ViT
from mmfm.recipes import read_sources
from mmfm.tasks.classify import ZeroShotClassifier

# Photographs that scikit-image and scikit-learn carry along, by what a person would call them.
PHOTOS = {
    "chelsea.png": ("cat", "고양이"),
    "coffee.png": ("cup of coffee", "커피 한 잔"),
    "rocket.jpg": ("rocket", "로켓"),
    "astronaut.png": ("astronaut", "우주 비행사"),
    "motorcycle_left.png": ("motorcycle", "오토바이"),
    "flower.jpg": ("flower", "꽃"),
    "coins.png": ("coins", "동전"),
    "moon.png": ("moon", "달"),
}
OTHERS = {
    "dog": "개",
    "car": "자동차",
    "pizza": "피자",
    "tree": "나무",
    "house": "집",
    "fish": "물고기",
}


def interval(outcomes: list[Outcome]) -> tuple[float, float, float]:
    """The share of right answers to questions of one sort, and its interval."""
    right = torch.cat([one.right for one in outcomes])
    if len(outcomes) == 1:
        share = wilson(int(right.sum()), len(right))
        assert share is not None
        return share.value, share.low, share.high
    # The same emoji by several hands: whole emoji are drawn anew, not single pictures.
    kinds = torch.cat([one.kinds for one in outcomes])
    _, kind = kinds.unique(return_inverse=True)
    count = torch.bincount(kind).double().numpy()
    hits = torch.zeros(len(count), dtype=torch.float64).index_add(0, kind, right.double()).numpy()
    draws = np.random.default_rng(0).integers(len(count), size=(4000, len(count)))
    shares = hits[draws].sum(axis=1) / count[draws].sum(axis=1)
    low, high = np.quantile(shares, (0.025, 0.975))
    return float(right.double().mean()), float(low), float(high)


def figures(model: TwoTowers, mixture: Mixture) -> Iterator[str]:
    """A line for each sort of question, a column for each language."""
    unseen = {hand for source in mixture.sources for hand in source.hold_hands}
    rows: dict[str, dict[str, list[Outcome]]] = {}
    for one in examine(model, mixture):
        whose = ""
        if one.gallery and one.title.startswith("new hand"):
            whose = f", {one.gallery}"
        elif one.gallery:
            whose = ", the hand held out" if one.gallery in unseen else ", hands seen"
        row = rows.setdefault(f"{one.title}{whose}, {one.measure}", {})
        row.setdefault(one.language, []).append(one)
    yield f"{'':44} {'questions':>9}  {'English':>24}  {'Korean':>24}"
    for name, by_language in rows.items():
        asked = sum(len(one.right) for one in next(iter(by_language.values())))
        cells = ["", ""]
        for language, outcomes in by_language.items():
            share, low, high = interval(outcomes)
            cells[("en", "ko").index(language)] = f"{share:6.1%} ({low:.1%}-{high:.1%})"
        yield f"{name:44} {asked:9,}  {cells[0]:>24}  {cells[1]:>24}"


def photographs(model: TwoTowers) -> Iterator[str]:
    """What it says of photographs of any size, among plain labels."""
    folders = Path(skimage.data_dir), Path(sklearn.__file__).parent / "datasets" / "images"
    paths = {
        name: next((f / name for f in folders if (f / name).is_file()), None) for name in PHOTOS
    }
    for language, others in enumerate((list(OTHERS), list(OTHERS.values()))):
        labels = [*(names[language] for names in PHOTOS.values()), *others]
        classifier = ZeroShotClassifier(model, labels, cache=None)
        right, there = 0, 0
        for name, names in PHOTOS.items():
            path = paths[name]
            if path is None:
                continue
            answer = classifier.classify(path)
            there, right = there + 1, right + (answer.label == names[language])
            mark = "right" if answer.label == names[language] else f"but: {names[language]}"
            yield f"  {name:20} {answer.label} {answer.score or 0:.0%}, {mark}"
        spoken = ("English", "Korean")[language]
        yield f"photographs, of {len(labels)} labels in {spoken}: {right} of {there}"


@torch.inference_mode()
def named(vit: ViT, mixture: Mixture) -> Iterator[str]:
    """How often a ViT with a head names the held-out photographs right, among all its names."""
    for part in mixture.held_out:
        if part.way != "name":
            continue
        names = [next(iter(kind.names.values()))[0] for kind in mixture.kinds]
        truth = torch.tensor([vit.labels.index(names[number]) for number in part.kinds.tolist()])
        logits = [vit(vit.preprocessing.normalise(some)).logits for some in part.images.split(250)]
        answer = torch.cat([some for some in logits if some is not None]).argmax(dim=1)
        share = wilson(int((answer == truth).sum()), len(truth))
        assert share is not None
        yield (
            f"{part.title}, of {len(vit.labels)} names: {share.value:.1%} "
            f"({share.low:.1%}-{share.high:.1%})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default="clip-nano", help="bundled, or a run's folder")
    parser.add_argument("--vit", help="a model with a head over it: bundled, or a run's folder")
    arguments = parser.parse_args()
    model = mmfm.load_clip(arguments.model)
    sources = read_sources(["nano-photos", "nano-emoji"])
    mixture = load_mixture(sources, arguments.data, size=model.preprocessing.size[0])
    weights = sum(weight.numel() for weight in model.parameters())
    print(f"{this_run()}; {model.source}, {weights:,} weights")
    for line in (*figures(model, mixture), *photographs(model)):
        print(line, flush=True)
    if arguments.vit is not None:
        vit = mmfm.load_vit(arguments.vit)
        print(f"{vit.source}")
        for line in named(vit, mixture):
            print(line, flush=True)


if __name__ == "__main__":
    main()
