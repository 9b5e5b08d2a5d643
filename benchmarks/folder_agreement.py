"""Whether the fast path sees what the exact one sees: drafted decode and chosen engine, against
every pixel in fp32.

    python benchmarks/folder_agreement.py [--models clip-nano clip-shapes] [--engine auto]
        [--pictures 1200] [--folder DIR]

The bundled models, over drawings and photographs saved as JPEGs of several sizes, or over the
pictures of a folder of one's own. The cosine of each picture's two vectors is taken after the mean
of all exact ones is taken off, since that part is common to all and hides what differs. Best labels
are compared where the exact path's first one leads the second by more than 0.01 in its score; of
clip-shapes the labels are its 64 colours and forms, of others what assets/names/photos.csv names.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
import torch.nn.functional as F
from about import this_run
from jaxtyping import Float
from photographs import jpeg, photograph
from PIL import Image
from torch import Tensor

import mmfm
from mmfm.data import shapes
from mmfm.data.folders import picture_files
from mmfm.data.kinds import read_kinds
from mmfm.encoding import encode
from mmfm.engines import Engine, choose, plain
from mmfm.models.clip import TwoTowers

COSINE, SAME, MARGIN = 0.99, 0.99, 0.01
DRAWINGS = (64, 300, 900, 2000)  # pixels of a side
PHOTOGRAPHS = ((160, 120), (500, 375), (1600, 1200), (2800, 2100))

Scores = Callable[[Float[Tensor, "n d"]], Float[Tensor, "n k"]]


@dataclass(frozen=True)
class Examined:
    """A model with what names pictures by its rows."""

    name: str
    clip: TwoTowers
    scores: Scores


def clip_by_labels(name: str) -> Examined:
    """A CLIP, asked for the colours and forms that were drawn, or for all photographs it knows."""
    clip = mmfm.load_clip(name)
    labels = [f"{colour} {form}" for colour, form in shapes.classes()]
    if name != "clip-shapes":
        table = Path(str(files("mmfm.assets"))) / "names" / "photos.csv"
        labels = list(dict.fromkeys(kind.names["en"][0] for kind in read_kinds(table).values()))
    return Examined(name, clip, mmfm.ZeroShotClassifier(clip, labels, cache=None).probabilities)


def write_pictures(folder: Path, count: int) -> dict[str, list[Path]]:
    """Drawings and photographs in several sizes, as many of each: what they are -> the files."""
    each = -(-count // (len(DRAWINGS) + len(PHOTOGRAPHS)))
    made: dict[str, list[Path]] = {}

    def write(kind: str, pictures: Callable[[int], Image.Image]) -> None:
        made[kind] = [folder / f"{kind} {number:04}.jpg" for number in range(each)]
        for number, path in enumerate(made[kind]):
            path.write_bytes(jpeg(pictures(number)))

    for seed, side in enumerate(DRAWINGS):
        several = shapes.scenes("seen", each, seed)
        write(
            f"drawing {side}x{side}",
            lambda number, side=side, several=several: _drawn(several[number], side, number),
        )
    for part, (wide, tall) in enumerate(PHOTOGRAPHS):
        write(
            f"photograph {wide}x{tall}",
            lambda number, size=(wide, tall), part=part: photograph(part * each + number, size),
        )
    return made


@torch.no_grad()
def rows_of(
    model: Examined, engine: Engine, paths: Sequence[Path], *, exact: bool
) -> Float[Tensor, "n d"]:
    """The unit row of each file; all of them have to be readable."""
    rows: list[Tensor] = []
    for some in encode(enumerate(paths), engine, model.clip.preprocessing, exact=exact):
        for path, row in zip(some.pictures, some.each(), strict=True):
            if isinstance(row, str):
                raise SystemExit(f"{path}: {row}")
            rows.append(row)
    return torch.stack(rows)


def examine(model: Examined, wish: str, made: dict[str, list[Path]]) -> None:
    """Print how far the fast path's rows and answers lie from the exact ones."""
    paths = [path for several in made.values() for path in several]
    kinds = [kind for kind, several in made.items() for _ in several]
    engine = choose(model.clip, wish, cache=None, say=print)  # measured anew
    print(f"\n{model.name}: {engine.about}")
    exact = rows_of(model, plain(model.clip), paths, exact=True)
    mean = exact.mean(dim=0)
    before = model.scores(exact)
    best = before.topk(2, dim=1).values
    clear = best[:, 0] - best[:, 1] > MARGIN
    print(f"{'':28} {'cosine: least':>13} {'0.1 %':>8} {'1 %':>8} {'median':>8}   same first label")
    ways = [("drafted decode, fp32", plain(model.clip), False)]
    if engine.name != "fp32":
        ways.append((f"every pixel, {engine.name}", engine, True))
        ways.append((f"drafted decode, {engine.name}", engine, False))
    for way, runner, every_pixel in ways:  # the last one is the fast path, which is judged
        rows = rows_of(model, runner, paths, exact=every_pixel)
        cosines = F.cosine_similarity(exact - mean, rows - mean)
        same = model.scores(rows).argmax(dim=1) == before.argmax(dim=1)
        kept = float(same[clear].float().mean())
        low, few, middle = cosines.quantile(torch.tensor([0.001, 0.01, 0.5])).tolist()
        print(
            f"{way:28} {cosines.min():13.5f} {low:8.5f} {few:8.5f} {middle:8.5f}   "
            f"{kept:.2%} of {int(clear.sum()):,} that lead by more than {MARGIN} "
            f"(of all {len(same):,}: {float(same.float().mean()):.2%})"
        )
    for kind in made:
        here = torch.tensor([each == kind for each in kinds])
        of_kind = f"{int((same & clear)[here].sum())} of {int(clear[here].sum())}"
        print(f"  {kind:26} {cosines[here].min():13.5f} {'':26}   {of_kind}")
    told = "kept" if float(cosines.min()) >= COSINE and kept >= SAME else "missed"
    print(
        f"target: every cosine at least {COSINE}, at least {SAME:.0%} the same: {told}", flush=True
    )


def _drawn(scene: shapes.Scene, side: int, number: int) -> Image.Image:
    return Image.fromarray(shapes.draw([scene], side, seed=number)[0].numpy())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["clip-nano", "clip-shapes"])
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--pictures", type=int, default=1200)
    parser.add_argument("--folder", type=Path, help="examine these instead")
    arguments = parser.parse_args()
    print(this_run(f"fp32 against {arguments.engine}"))
    with tempfile.TemporaryDirectory() as name:
        if arguments.folder:
            made = {
                arguments.folder.name: picture_files(arguments.folder).files[: arguments.pictures]
            }
        else:
            made = write_pictures(Path(name), arguments.pictures)
        print(f"{sum(map(len, made.values())):,} pictures", flush=True)
        for model in arguments.models:
            examine(clip_by_labels(model), arguments.engine, made)


if __name__ == "__main__":
    main()
