"""What vit-nano says of photographs it was never trained on, whole and with patches missing, and
whether its attention is fit to be looked at.

    python benchmarks/vit_nano.py --data DATA [--model vit-nano | RUN] [--maps maps.png]

DATA is the folder that it was trained on; assets/sources/nano-photos.toml says what is held out.

Large vision transformers put notes to themselves into a few patches that show nothing: their tokens
become many times as long as the others, and attention goes there (Darcet et al. 2023). Registers
are there so that it need not. How long the tokens are after every block tells whether any patch is
used so; --maps draws where CLS looks in photographs that came with scikit-image, without those.
"""

import argparse
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import skimage
import torch
from about import this_run
from einops import repeat
from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor

import mmfm
from mmfm import plot
from mmfm.data.draws import uniform
from mmfm.data.mixture import HeldOut, Mixture, load_mixture
from mmfm.data.pictures import open_picture
from mmfm.errors import MmfmError
from mmfm.measures import wilson
from mmfm.models.vit import ViT, rollout
from mmfm.recipes import read_sources

SOME = 2000  # pictures of which patches are dropped
LONG = 3.0  # times the median length of a patch's token: it holds something else than its patch
MAPPED = ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png", "motorcycle_left.png")


def truths(vit: ViT, mixture: Mixture, part: HeldOut) -> Int64[Tensor, " n"]:
    """The number of each picture's name among those that the head knows."""
    return torch.tensor([vit.labels.index(mixture.names[kind]) for kind in part.kinds.tolist()])


@torch.inference_mode()
def named(vit: ViT, mixture: Mixture) -> Iterator[str]:
    """How often it names the photographs of each set right, among all its names."""
    for part in mixture.held_out:
        logits = [vit(vit.preprocessing.normalise(some)).logits for some in part.images.split(250)]
        answer = torch.cat([some for some in logits if some is not None]).argmax(dim=1)
        right = answer == truths(vit, mixture, part)
        share = wilson(int(right.sum()), len(right))
        assert share is not None
        yield (
            f"{part.title}, of {len(vit.labels)} names: {share.value:.1%} "
            f"({share.low:.1%}-{share.high:.1%}) of {len(right):,}"
        )


@torch.inference_mode()
def without(vit: ViT, mixture: Mixture, part: HeldOut, share: float, how: str) -> float:
    """How often it is right when a share of the patches is dropped: by lot, or by attention."""
    patches = vit.config.grid[0] * vit.config.grid[1]
    kept = patches - round(share * patches)
    right, truth = 0, truths(vit, mixture, part)
    for index in torch.arange(len(truth)).split(250):
        images = vit.preprocessing.normalise(part.images[index])
        if how == "random":
            value = uniform(0, 0, index, patches)
        else:
            out = vit(images, attention=True)
            value = rollout(list(out.attention.values()))[:, 0, out.prefix :]
            value = -value if how == "least attended" else value
        keep = value.argsort(dim=1).argsort(dim=1) < kept
        logits = vit(images, keep=keep).logits
        assert logits is not None
        right += int((logits.argmax(dim=1) == truth[index]).sum())
    return right / len(truth)


def masked(vit: ViT, mixture: Mixture) -> Iterator[str]:
    """What is left of its answers when patches are missing."""
    for part in mixture.held_out:
        count = min(SOME, len(part.kinds))
        some = part.select(torch.linspace(0, len(part.kinds) - 1, count).round().long())
        for share in (0.25, 0.5, 0.75):
            for how in ("random", "most attended", "least attended"):
                right = without(vit, mixture, some, share, how)
                yield f"{part.title}, {share:.0%} dropped, {how:15} {right:.1%} of {count:,}"


@torch.inference_mode()
def lengths(vit: ViT, mixture: Mixture) -> Iterator[str]:
    """How long the tokens are after every block: those of the patches, and the others."""
    part = mixture.held_out[0]
    images = vit.preprocessing.normalise(part.images[:: max(1, len(part.images) // 500)])
    out = vit(images, layers=True)
    yield f"{'after':9} {'patches: median':>16} {'longest':>8} {'over 3 times':>13}   other tokens"
    for number, layer in enumerate(out.layers):
        long = layer.norm(dim=-1)
        patches, others = long[:, out.prefix :].flatten(), long[:, : out.prefix].mean(dim=0)
        middle = patches.median()
        over = float((patches > LONG * middle).float().mean())
        after = f"block {number}" if number else "embedding"
        ahead = ", ".join(f"{length:.1f}" for length in others.tolist())
        yield f"{after:9} {middle:16.1f} {patches.max():8.1f} {over:13.2%}   {ahead}"


@torch.inference_mode()
def maps(vit: ViT) -> Image.Image:
    """Where CLS looks in each photograph, a row: in the last block head by head, and by rollout."""
    rows: list[Tensor] = []
    for name in MAPPED:
        image = vit.preprocessing(open_picture(Path(skimage.data_dir) / name))
        out = vit(image[None], attention=True)
        layers = list(out.attention.values())
        heads = layers[-1][0, :, 0, out.prefix :]
        flow = rollout(layers)[0, 0, out.prefix :]
        cells = torch.cat([heads, flow[None]]).reshape(-1, *out.grid)
        rows.append(cells / cells.amax(dim=(1, 2), keepdim=True))
    return plot.grid(_large(torch.cat(rows)), columns=len(rows[0]))


def _large(cells: Float[Tensor, "n y x"]) -> Float[Tensor, "n 1 tall wide"]:
    """The root lets small weights be seen beside one that has nearly all."""
    return repeat(cells.sqrt(), "n y x -> n 1 (y 12) (x 12)")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default="vit-nano", help="bundled, or a run's folder")
    parser.add_argument("--maps", type=Path, help="where to put the picture of its attention")
    arguments = parser.parse_args()
    vit = mmfm.load_vit(arguments.model)
    mixture = load_mixture(
        read_sources(["nano-photos"]), arguments.data, size=vit.config.image_size[0]
    )
    print(f"{this_run()}; {vit.source}")
    for line in chain(named(vit, mixture), masked(vit, mixture), lengths(vit, mixture)):
        print(line, flush=True)
    if arguments.maps is not None:
        maps(vit).save(arguments.maps)
        print(f"{arguments.maps}: a row each for {', '.join(MAPPED)}; the last column is rollout")


if __name__ == "__main__":
    try:
        main()
    except MmfmError as error:
        raise SystemExit(f"vit_nano.py: {error}") from error
