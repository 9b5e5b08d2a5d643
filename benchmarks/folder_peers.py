"""How other packages classify a folder, each as its own documentation shows it.

    python benchmarks/folder_peers.py transformers FOLDER WEIGHTS     (what folder_speed.py runs)

One process runs one of them; so each imports what it needs for itself. A line of JSON a picture.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

LABELS = ("dog", "cat", "flower", "temple", "cup", "rocket", "astronaut", "bicycle", "tree", "car")
TEMPLATE = "a photo of a {}"

Answers = Iterator[tuple[str, dict[str, float]]]


def with_pipeline(folder: str, weights: str, *, batch: int | None) -> Answers:
    """transformers' zero-shot-image-classification pipeline over a list of paths."""
    from transformers import pipeline

    classifier = pipeline("zero-shot-image-classification", model=weights, device="cpu")
    paths = _files(folder)
    more = {} if batch is None else {"batch_size": batch}
    answers = classifier(paths, candidate_labels=list(LABELS), hypothesis_template=TEMPLATE, **more)
    for path, answer in zip(paths, answers, strict=True):
        yield path, {row["label"]: row["score"] for row in answer}


def with_loop(folder: str, weights: str) -> Answers:
    """The lines of open_clip's README, a picture at a time; the labels are read once."""
    import open_clip
    import torch
    from PIL import Image

    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{weights}")
    model.eval()
    with torch.no_grad():
        texts = _texts(model, weights)
        for path in _files(folder):
            image = preprocess(Image.open(path)).unsqueeze(0)
            yield path, _scores(model, model.encode_image(image), texts)[0]


def with_workers(
    folder: str, weights: str, *, batch: int, workers: int, precision: str = "fp32"
) -> Answers:
    """open_clip behind torch's DataLoader, which opens pictures in processes of its own."""
    import open_clip
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    model, _, preprocess = open_clip.create_model_and_transforms(
        f"local-dir:{weights}", precision=precision
    )
    model.eval()
    paths = _files(folder)

    class Pictures(Dataset):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, number: int) -> torch.Tensor:
            return preprocess(Image.open(paths[number]))

    with torch.no_grad():
        texts = _texts(model, weights)
        waiting = iter(paths)
        for images in DataLoader(Pictures(), batch_size=batch, num_workers=workers):
            images = images.to(open_clip.get_input_dtype(precision))
            scores = _scores(model, model.encode_image(images), texts)
            yield from zip(_next(waiting, len(scores)), scores, strict=True)


PEERS = {
    "transformers": partial(with_pipeline, batch=None),
    "transformers-batch": partial(with_pipeline, batch=32),
    "open_clip": with_loop,
    "open_clip-1-worker": partial(with_workers, batch=32, workers=1),
    "open_clip-workers": partial(with_workers, batch=32, workers=2),
    "open_clip-workers-bf16": partial(with_workers, batch=32, workers=2, precision="bf16"),
}


def _files(folder: str) -> list[str]:
    return sorted(str(path) for path in Path(folder).iterdir())


def _next(waiting: Iterator[str], count: int) -> Iterable[str]:
    return [next(waiting) for _ in range(count)]


def _texts(model, weights: str):
    import open_clip

    tokenizer = open_clip.get_tokenizer(f"local-dir:{weights}")
    rows = model.encode_text(tokenizer([TEMPLATE.format(label) for label in LABELS]))
    return rows / rows.norm(dim=-1, keepdim=True)


def _scores(model, rows, texts) -> list[dict[str, float]]:
    rows = rows / rows.norm(dim=-1, keepdim=True)
    chances = (model.logit_scale.exp() * rows @ texts.T).float().softmax(dim=-1)
    return [dict(zip(LABELS, some, strict=True)) for some in chances.tolist()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("folder")
    parser.add_argument("weights")
    arguments = parser.parse_args()
    for path, scores in PEERS[arguments.peer](arguments.folder, arguments.weights):
        print(json.dumps({"path": path, "scores": scores}), flush=True)
