"""What a few own drawings a label bring to clip-shapes, and whether adapt says so honestly.

python benchmarks/adapt_shapes.py [--rounds 3]

Each round learns from other drawings; all are of combinations that clip-shapes was never trained
on. "Said" is the gain that the held-out folds promise, "true" that of the same way on drawings that
had no part in anything; "kept" tells how often it was taken to be more than chance. The last rows
shuffle the labels: there nothing can be learned, and a gain would be a lie.
"""

import argparse
import time
from collections.abc import Callable
from statistics import mean

import torch
from about import this_run
from torch import Tensor

import mmfm
from mmfm.data import shapes
from mmfm.models.clip import TwoTowers
from mmfm.models.retrieval import class_vectors
from mmfm.tasks.adapt import UNCHOSEN, WAYS, Examples, Way, choose

FORMS = list(shapes.FORMS)
SIZES = [f"{size} {form}" for size in shapes.SIZES for form in ("circle", "star", "heart", "cross")]
MADE_UP = ["wug", "blicket", "dax", "fep", "toma", "zav", "modi", "lorp"]
RELATIONS = list(shapes.RELATIONS)
TIP = Way("tip", alpha=0.5, beta=5.5)  # near what the paper begins with
SHOTS = (1, 2, 4, 8, 16)


def form(scene: shapes.Scene) -> int:
    return FORMS.index(scene.objects[0].form)


def size(scene: shapes.Scene) -> int:
    name = f"{scene.objects[0].size} {scene.objects[0].form}"
    return SIZES.index(name) if name in SIZES else -1


def relation(scene: shapes.Scene) -> int:
    return RELATIONS.index(str(scene.relation))


def warmth(scene: shapes.Scene) -> int:
    return int(scene.objects[0].colour in ("red", "orange", "yellow", "pink"))


# (question, what is drawn, the number of a scene's label or -1, what the labels are called)
QUESTIONS: list[tuple[str, shapes.Kind, Callable[[shapes.Scene], int], list[str]]] = [
    ("forms, well named", "colour and shape", form, FORMS),
    ("forms, made-up names", "colour and shape", form, MADE_UP),
    ("forms, names swapped", "colour and shape", form, FORMS[1:] + FORMS[:1]),
    ("sizes and forms", "size and colour", size, SIZES),
    ("cold or warm", "seen", warmth, ["cold", "warm"]),
    ("relation of any two", "two", relation, [f"one shape {r} another" for r in RELATIONS]),
]


def seen(
    model: TwoTowers, kind: shapes.Kind, label: Callable[[shapes.Scene], int], count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """The rows of drawings, and the numbers of their labels."""
    images, scenes = shapes.evaluation(kind, count, seed=seed, size=model.preprocessing.size[0])
    parts = images.split(250)
    rows = torch.cat([model.encode_image(model.preprocessing.normalise(part)) for part in parts])
    answers = torch.tensor([label(scene) for scene in scenes])
    return rows[answers >= 0], answers[answers >= 0]


def some(answers: Tensor, each: int, labels: int, seed: int) -> Tensor:
    """The numbers of so many drawings of each label."""
    order = torch.randperm(len(answers), generator=torch.Generator().manual_seed(seed))
    return torch.cat([order[answers[order] == label][:each] for label in range(labels)])


def right(logits: Tensor, answers: Tensor) -> float:
    return float((logits.argmax(dim=1) == answers).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="draws of examples for each line")
    rounds = parser.parse_args().rounds
    model = mmfm.load_clip("clip-shapes")
    scale = float(model.scale.detach().exp())
    begin = time.perf_counter()
    print(f"{this_run()}; {model.source}; {rounds} rounds; Tip: {TIP}; probe: {UNCHOSEN}")
    print(
        f"{'question':22} {'each':>4}  {'zero-shot':>9} {'Tip':>6} {'probe':>6} {'chosen':>6}  "
        f"{'said':>6} {'true':>6} {'in interval':>11} {'kept':>5}"
    )
    for question, kind, label, names in QUESTIONS:
        rows, answers = seen(model, kind, label, 1500, seed=2)
        fresh, asked = seen(model, kind, label, 1500, seed=3)
        labels = class_vectors(model, [[name] for name in names])
        for each in SHOTS:
            found: list[tuple[float, ...]] = []
            for number in range(rounds):
                index = some(answers, each, len(names), number)
                examples = Examples(rows[index], answers[index], labels, scale)
                said = dict(zip(WAYS, examples.ways(fresh), strict=True))
                share = {way: right(logits, asked) for way, logits in said.items()}
                plain, tip, probe = share[WAYS[0]], share[TIP], share[UNCHOSEN]
                c = choose(examples, seed=number)
                if c is None:
                    found.append((plain, tip, probe))
                    continue
                true = share[c.best] - plain
                inside = c.interval[0] <= true <= c.interval[1]
                kept = c.way.kind != "zero-shot"
                found.append((plain, tip, probe, share[c.way], c.gain, true, inside, kept))
            means = [mean(column) for column in zip(*found, strict=True)]
            line = f"{question:22} {each:4}  {means[0]:9.1%} {means[1]:6.1%} {means[2]:6.1%} "
            if len(means) == 3:
                print(line + "     -   nothing can be held out")
                continue
            said_, true_ = (f"{100 * gain:+6.1f}" for gain in means[4:6])
            print(
                f"{line}{means[3]:6.1%}  {said_} {true_} {means[6]:11.0%} {means[7]:5.0%}",
                flush=True,
            )
    rows, answers = seen(model, "colour and shape", form, 1500, seed=2)
    labels = class_vectors(model, [[name] for name in FORMS])
    for each in (2, 4, 8):
        tries = []
        for number in range(5 * rounds):
            index = some(answers, each, 4, number)
            order = torch.randperm(len(index), generator=torch.Generator().manual_seed(number))
            c = choose(Examples(rows[index], answers[index][order], labels[:4], scale), seed=number)
            assert c is not None
            tries.append((c.gain, c.way.kind != "zero-shot"))
        gain, kept = (mean(column) for column in zip(*tries, strict=True))
        head = f"{'four forms, shuffled':22} {each:4}"
        print(f"{head} {'':34} {100 * gain:+6.1f} {0:+6.1f} {'':11} {kept:5.0%}", flush=True)
    print(f"{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
