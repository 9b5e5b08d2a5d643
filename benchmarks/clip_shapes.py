"""What clip-shapes answers about drawings of combinations that it was never trained on.

python benchmarks/clip_shapes.py [--model clip-shapes] [--count 2000]
"""

import argparse
import math

import torch
from about import this_run

import mmfm
from mmfm.data import shapes
from mmfm.models.clip import TwoTowers
from mmfm.models.retrieval import class_vectors

# (what is drawn, what is asked)
QUESTIONS: list[tuple[shapes.Kind, tuple[shapes.About, ...]]] = [
    ("seen", ("colour and shape", "everything")),
    (
        "colour and shape",
        ("colour and shape", "everything", "colour", "shape", "size", "place"),
    ),
    ("shape and place", ("colour and shape", "everything", "place")),
    ("size and colour", ("colour and shape", "everything", "size")),
    ("two", ("relation", "order")),
]


@torch.inference_mode()
def likeness(model: TwoTowers, images: torch.Tensor, questions: shapes.Questions) -> torch.Tensor:
    """How near each picture lies to each answer; an answer said in several ways is their mean."""
    rows = [model.encode_image(model.preprocessing.normalise(part)) for part in images.split(250)]
    return torch.cat(rows) @ class_vectors(model, questions.answers).T


def interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share that was counted."""
    z = 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return middle - half, middle + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="clip-shapes", help="bundled, or a run's folder")
    parser.add_argument("--count", type=int, default=2000, help="pictures of each kind")
    arguments = parser.parse_args()
    model = mmfm.load_clip(arguments.model)
    # Training draws with seed 0, its held-out part with 1.
    size = model.preprocessing.size[0]
    print(f"{this_run()}; {model.source}")
    print(f"{'drawn':18} {'asked':18} {'chance':>7}  {'English':>24}  {'Korean':>24}")
    for kind, asked in QUESTIONS:
        images, scenes = shapes.evaluation(kind, arguments.count, seed=2, size=size)
        for about in asked:
            cells: list[str] = []
            for language in ("en", "ko"):
                questions = shapes.ask(scenes, about, language)
                right = questions.judge(likeness(model, images, questions)).float().mean().item()
                low, high = interval(right, len(scenes))
                cells.append(f"{right:6.1%} ({low:.1%}-{high:.1%})")
            chance = 1 / questions.choices.shape[1]
            print(f"{kind:18} {about:18} {chance:7.1%}  {cells[0]:>24}  {cells[1]:>24}", flush=True)


if __name__ == "__main__":
    main()
