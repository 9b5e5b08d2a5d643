"""What clip-nano answers about pictures that it was never trained on, in both languages.

    python benchmarks/clip_nano.py --data DATA [--model clip-nano | RUN]

DATA is the folder that it was trained on: what is held out is said in assets/sources/nano-*.toml.
Every figure has its 95 % interval: Wilson's for questions about pictures of their own, and that of
drawing whole emoji anew where several hands draw the same one.

A picture is looked for among all that one hand drew of a sort; no hand drew all of the 200 emoji
that are held out. So these are looked for once more in a gallery of all 200, one picture of each,
as the first hand by the alphabet draws it: this is the figure to be held against a target. Some of
them have a near twin that was learned (the woman's of a man who juggles, another tone of skin):
the same questions are counted once more without those.
"""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import skimage
import sklearn
import torch
from about import this_run

import mmfm
from mmfm.data.mixture import HeldOut, Mixture, load_mixture
from mmfm.errors import MmfmError, NotHere
from mmfm.measures import wilson
from mmfm.models.clip import TwoTowers
from mmfm.models.held_out import Outcome, examine
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
DEMANDED = ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png")  # not every version has all
OTHERS = {
    "dog": "개",
    "car": "자동차",
    "pizza": "피자",
    "tree": "나무",
    "house": "집",
    "fish": "물고기",
}

# What tells twins apart in their keys: joiners, the signs of a gender, tones of skin; and people.
_LEFT_OUT = (0x200D, 0xFE0F, 0x2640, 0x2642, *range(0x1F3FB, 0x1F400))
_PEOPLE = {"👨": "🧑", "👩": "🧑", "👦": "🧒", "👧": "🧒", "👴": "🧓", "👵": "🧓"}
_BASE = str.maketrans(_PEOPLE) | dict.fromkeys(_LEFT_OUT)


# --- the figures ----------------------------------------------------------------------------------


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
    rows: dict[str, dict[str, list[Outcome]]] = {}
    for one in answers(model, mixture):
        row = rows.setdefault(f"{one.title}{_whose(one, mixture)}, {one.measure}", {})
        row.setdefault(one.language, []).append(one)
    yield f"{'':52} {'questions':>9} {'among':>9}  {'English':>24}  {'Korean':>24}"
    for name, by_language in rows.items():
        some = next(iter(by_language.values()))
        asked, among = sum(len(one.right) for one in some), _span(one.among for one in some)
        cells = ["", ""]
        for language, outcomes in by_language.items():
            share, low, high = interval(outcomes)
            cells[("en", "ko").index(language)] = f"{share:6.1%} ({low:.1%}-{high:.1%})"
        yield f"{name:52} {asked:9,} {among:>9}  {cells[0]:>24}  {cells[1]:>24}"


def _whose(one: Outcome, mixture: Mixture) -> str:
    unseen = {hand for source in mixture.sources for hand in source.hold_hands}
    if not one.gallery:
        return ""
    if one.title.startswith("new hand"):
        return f", {one.gallery}"
    return ", the hand held out" if one.gallery in unseen else ", hands seen"


def _span(numbers: Iterable[int]) -> str:
    several = sorted(numbers)
    ends = dict.fromkeys((several[0], several[-1]))
    return "-".join(f"{number:,}" for number in ends)


def answers(model: TwoTowers, mixture: Mixture) -> Iterator[Outcome]:
    """All that is asked; what nobody drew in training is looked for once more among all of that."""
    yield from examine(model, mixture)
    learned = torch.cat([shown.unique() for shown in mixture.shown])
    new = [
        once_each(part)
        for part in mixture.held_out
        if part.way == "find" and not bool(torch.isin(part.kinds, learned).any())
    ]
    twins = {base(mixture.keys[kind]) for kind in learned.tolist()}
    for one in examine(model, replace(mixture, held_out=tuple(new))):
        yield one
        alone = [base(mixture.keys[kind]) not in twins for kind in one.kinds.tolist()]
        if any(alone):
            kept = torch.tensor(alone)
            title = f"{one.title}, no twin learned"
            yield replace(one, title=title, right=one.right[kept], kinds=one.kinds[kept])


def once_each(part: HeldOut) -> HeldOut:
    """One picture of each kind, by the first hand that drew it, all in one gallery."""
    first: dict[int, int] = {}
    for place in part.gallery.argsort(stable=True).tolist():
        first.setdefault(int(part.kinds[place]), place)
    some = part.select(torch.tensor(sorted(first.values())))
    title = f"{part.title}, one picture of each"
    return replace(some, title=title, gallery=torch.zeros_like(some.gallery), galleries=("",))


def base(key: str) -> str:
    """What an emoji shows, whoever does it: the same for a man, a woman and any tone of skin."""
    return key.translate(_BASE) or key  # the signs themselves are emoji, too


# --- photographs ----------------------------------------------------------------------------------


def photographs(model: TwoTowers) -> Iterator[str]:
    """What it says of photographs of any size, among plain labels."""
    folders = Path(skimage.data_dir), Path(sklearn.__file__).parent / "datasets" / "images"
    found = {name: [f / name for f in folders if (f / name).is_file()] for name in PHOTOS}
    missing = [name for name, paths in found.items() if not paths]
    if demanded := [name for name in missing if name in DEMANDED]:
        raise NotHere(
            f"{folders[0]} lacks {', '.join(demanded)}, about which there must be a figure; "
            "install another version of scikit-image"
        )
    yield from (f"  {name:20} is not here, and nothing is asked about it" for name in missing)
    for language, others in enumerate((list(OTHERS), list(OTHERS.values()))):
        labels = [*(names[language] for names in PHOTOS.values()), *others]
        classifier = ZeroShotClassifier(model, labels, cache=None)
        right, there = 0, len(PHOTOS) - len(missing)
        for name, paths in found.items():
            if not paths:
                continue
            answer, truth = classifier.classify(paths[0]), PHOTOS[name][language]
            right += answer.label == truth
            mark = "right" if answer.label == truth else f"but: {truth}"
            yield f"  {name:20} {answer.label} {answer.score or 0:.0%}, {mark}"
        spoken = ("English", "Korean")[language]
        yield f"photographs, of {len(labels)} labels in {spoken}: {right} of {there}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default="clip-nano", help="bundled, or a run's folder")
    arguments = parser.parse_args()
    model = mmfm.load_clip(arguments.model)
    sources = read_sources(["nano-photos", "nano-emoji"])
    mixture = load_mixture(sources, arguments.data, size=model.preprocessing.size[0])
    weights = sum(weight.numel() for weight in model.parameters())
    print(f"{this_run()}; {model.source}, {weights:,} weights")
    for line in chain(figures(model, mixture), photographs(model)):
        print(line, flush=True)


if __name__ == "__main__":
    try:
        main()
    except MmfmError as error:
        raise SystemExit(f"clip_nano.py: {error}") from error
