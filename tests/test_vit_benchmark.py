"""benchmarks/vit_nano.py: what it counts, it counts right."""

import re
import sys
from pathlib import Path

import pytest
import torch
from mixtures import SIZE, make_sources, tables

from mmfm.data.mixture import Mixture, load_mixture
from mmfm.models.vit import ViT, ViTConfig
from mmfm.recipes import read_sources

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import vit_nano as bench


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Mixture:
    folder = make_sources(tmp_path_factory.mktemp("sources"))
    return load_mixture(read_sources(tables(folder)[:2]), folder, size=SIZE)


@pytest.fixture
def vit(mixture: Mixture) -> ViT:
    """A ViT of random weights that knows all names."""
    names = tuple(dict.fromkeys(mixture.names))
    config = ViTConfig(
        (SIZE, SIZE), 2, dim=16, depth=2, heads=2, mlp_dim=16, registers=2, classes=len(names)
    )
    vit = ViT(config, labels=names)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    return vit.eval()


def test_each_set_is_counted_by_its_own_names(vit: ViT, mixture: Mixture) -> None:
    photos, coarse = bench.named(vit, mixture)
    for line, part in zip((photos, coarse), mixture.held_out, strict=True):
        with torch.no_grad():
            logits = vit(vit.preprocessing.normalise(part.images)).logits
        assert logits is not None
        said = [vit.labels[number] for number in logits.argmax(dim=1).tolist()]
        truth = [mixture.names[kind] for kind in part.kinds.tolist()]
        share = sum(a == b for a, b in zip(said, truth, strict=True)) / len(truth)
        assert line.startswith(f"{part.title}, of {len(vit.labels)} names: {share:.1%} (")
        assert line.endswith(f" of {len(truth)}")


def test_with_nothing_dropped_it_answers_as_ever_and_dropping_changes_the_answer(
    vit: ViT, mixture: Mixture
) -> None:
    part = mixture.held_out[0]
    whole = float(re.search(r"([\d.]+)%", next(bench.named(vit, mixture)))[1])  # pyright: ignore
    for how in ("random", "most attended", "least attended"):
        share = bench.without(vit, mixture, part, 0.0, how)
        assert 100 * share == pytest.approx(whole, abs=0.06)
    lines = list(bench.masked(vit, mixture))
    assert len(lines) == 2 * 3 * 3
    assert lines[0].startswith("photos, 25% dropped, random ")
    kept: list[int] = []

    def count(module: ViT, given: tuple[torch.Tensor], named: dict[str, torch.Tensor]) -> None:
        if "keep" in named:
            kept.extend(named["keep"].sum(dim=1).tolist())

    vit.register_forward_pre_hook(count, with_kwargs=True)
    bench.without(vit, mixture, part, 0.5, "most attended")
    assert kept == [8] * len(part.kinds)  # of sixteen patches


def test_a_token_of_great_length_is_told(vit: ViT, mixture: Mixture) -> None:
    _, embedding, *blocks = bench.lengths(vit, mixture)
    assert embedding.startswith("embedding") and len(blocks) == 2
    assert all(line.rstrip().count(",") == 2 for line in blocks)  # CLS and two registers
    with torch.no_grad():
        vit.positions[5] += 1000.0
    _, loud, *_ = bench.lengths(vit, mixture)
    assert f"{1 / 16:.2%}" in loud and "0.00%" in embedding


def test_the_maps_are_a_row_for_each_photograph(vit: ViT) -> None:
    sheet = bench.maps(vit)
    side = 12 * 4
    wide, tall = (len(range(3)), len(bench.MAPPED))  # two heads and rollout
    assert sheet.size[0] // wide >= side and sheet.size[1] // tall >= side
    assert sheet.getextrema() not in ((0, 0), (255, 255))
