"""The ruler: what it sees of a picture is its own, and which ruler it was can be told."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmfm.data.labelled import load_labelled
from mmfm.errors import BadInput, BadWeights, NotHere
from mmfm.models.checkpoints import load_vit, save_vit
from mmfm.models.ruler import Ruler, RulerConfig, load_ruler, look, save_ruler
from mmfm.models.vit import ViT, ViTConfig

ASSETS = Path(__file__).parents[2] / "assets" / "checkpoints"
TINY: dict[str, Any] = {"image_size": 8, "classes": 3, "widths": (8, 16), "features": 12}


def tiny(**options: Any) -> Ruler:
    """A small ruler with weights that matter: none at its initial value."""
    config = RulerConfig(**{**TINY, **options})
    ruler = Ruler(config, [f"kind {number}" for number in range(config.classes)]).eval()
    generator = torch.Generator().manual_seed(1)
    ruler.reset(generator)
    with torch.no_grad():
        for parameter in ruler.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return ruler


def pictures(count: int, side: int = 8, channels: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(
        0, 256, (count, side, side, channels), dtype=torch.uint8, generator=generator
    )


# --- what it sees -------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [8, 13, 28, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_looks_at_pictures_of_any_size_and_kind(side: int, channels: int) -> None:
    seen = look(tiny(image_size=side, channels=channels), pictures(5, side, channels))
    assert seen.features.shape == (5, 12) and seen.logits.shape == (5, 3)
    assert seen.features.dtype == torch.float32
    assert bool((seen.features >= 0).all())


def test_a_picture_looks_the_same_in_any_company() -> None:
    ruler, images = tiny(), pictures(1100)  # more than are looked at at once
    together, alone = look(ruler, images), look(ruler, images[1099:])
    assert torch.allclose(together.features[1099:], alone.features, atol=1e-5)
    assert torch.allclose(together.logits[1099:], alone.logits, atol=1e-5)
    spread = together.features.std(dim=0)
    assert float(spread.max()) > 0.01  # or nothing would have been compared


def test_bytes_become_numbers_from_minus_1_to_1() -> None:
    ends = torch.tensor([0, 255], dtype=torch.uint8).repeat(32).reshape(1, 8, 8, 1)
    assert tiny().as_seen(ends).unique().tolist() == [-1, 1]


def test_looking_tells_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    look(tiny(), pictures(1100), progress=lambda done, total: told.append((done, total)))
    assert told == [(500, 1100), (1000, 1100), (1100, 1100)]


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (pictures(2, 9), "8x8 pixels and 1 channels, the pictures have 9x9 and 1"),
        (pictures(2, 8, 3), "the pictures have 8x8 and 3"),
        (pictures(2).float(), "come as bytes"),
        (pictures(0), "no pictures"),
    ],
)
def test_pictures_of_another_kind_are_refused(images: torch.Tensor, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        look(tiny(), images)


# --- weights ------------------------------------------------------------------------------------


def test_first_weights_are_the_seeds_own_and_the_head_is_silent() -> None:
    one, two = tiny(), tiny()
    before = torch.get_rng_state()
    one.reset(torch.Generator().manual_seed(4))
    two.reset(torch.Generator().manual_seed(4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.stem.weight, two.stem.weight)
    two.reset(torch.Generator().manual_seed(5))
    assert not torch.equal(one.stem.weight, two.stem.weight)
    assert look(one, pictures(3)).logits.abs().max() == 0
    # Features neither die nor explode on the way.
    assert 0.1 < float(look(one, pictures(50)).features.std()) < 10


def test_muon_takes_all_but_the_first_and_the_last_layer() -> None:
    ruler = tiny()
    assert ruler.matrices() == ["levels.0.enter.weight", "levels.0.again.weight", "gather.weight"]


def test_a_ruler_is_known_by_its_weights() -> None:
    ruler, twin = tiny(), tiny()
    assert ruler.digest == twin.digest and len(ruler.digest) == 64
    with torch.no_grad():
        twin.head.bias[0] += 1e-6
    assert ruler.digest != twin.digest
    assert tiny(groups=4).digest != ruler.digest  # the same weights, used otherwise


# --- files --------------------------------------------------------------------------------------


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    ruler = tiny()
    save_ruler(ruler, tmp_path / "a")
    again = load_ruler(str(tmp_path / "a"))
    assert again.digest == ruler.digest
    assert (again.labels, again.config) == (ruler.labels, ruler.config)
    assert torch.equal(look(again, pictures(9)).features, look(ruler, pictures(9)).features)
    assert not again.training


def test_in_half_precision_it_is_another_ruler_but_a_lasting_one(tmp_path: Path) -> None:
    save_ruler(tiny(), tmp_path / "half", dtype=torch.float16)
    half = load_ruler(str(tmp_path / "half"))
    assert half.digest != tiny().digest
    assert half.stem.weight.dtype == torch.float32
    save_ruler(half, tmp_path / "again", dtype=torch.float16)
    assert load_ruler(str(tmp_path / "again")).digest == half.digest


def _changed(folder: Path, **changes: Any) -> None:
    """Write other settings into the weights' file and beside it."""
    settings = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(settings))
    state = load_file(folder / "model.safetensors")
    save_file(state, folder / "model.safetensors", {"mmfm": json.dumps(settings)})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"config": {"wheels": 4}}, "damaged"),
        ({"config": {**TINY, "widths": [8, 24]}}, "do not fit"),
        ({"config": {**TINY, "features": 2**40}}, "do not fit|of a size"),
        ({"config": {**TINY, "features": "many"}}, "damaged"),
        ({"labels": ["a"]}, "1 labels for 3 classes"),
        ({"labels": None}, "damaged"),
    ],
)
def test_damaged_settings_are_one_line(tmp_path: Path, changes: Any, says: str) -> None:
    save_ruler(tiny(), tmp_path / "a")
    _changed(tmp_path / "a", **changes)
    with pytest.raises(BadWeights, match=says) as caught:
        load_ruler(str(tmp_path / "a"))
    assert "\n" not in str(caught.value)


def test_another_kind_of_model_is_no_ruler(tmp_path: Path) -> None:
    vit = ViT(ViTConfig(image_size=(8, 8), patch_size=4, dim=8, depth=1, heads=1, mlp_dim=8))
    save_vit(vit, tmp_path / "vit")
    with pytest.raises(BadInput, match="this is a 'vit', not a ruler"):
        load_ruler(str(tmp_path / "vit"))
    save_ruler(tiny(), tmp_path / "ruler")
    with pytest.raises(BadInput, match="this is a 'ruler', not a 'vit'"):
        load_vit(str(tmp_path / "ruler"))
    with pytest.raises(NotHere, match="no model 'nowhere'"):
        load_ruler("nowhere")


def test_weights_that_are_cut_short_are_named(tmp_path: Path) -> None:
    save_ruler(tiny(), tmp_path / "a")
    whole = (tmp_path / "a" / "model.safetensors").read_bytes()
    (tmp_path / "a" / "model.safetensors").write_bytes(whole[:-40])
    with pytest.raises(BadWeights, match="not a whole safetensors file"):
        load_ruler(str(tmp_path / "a"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"widths": (8,)},
        {"widths": (8, 12)},
        {"widths": (8, 0)},
        {"image_size": 1},
        {"classes": 1},
        {"features": 0},
        {"cells": 1.5},
    ],
)
def test_settings_that_make_no_ruler_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        RulerConfig(**{**TINY, **wrong})


# --- those that come with the package -----------------------------------------------------------


def test_two_rulers_of_digits_come_with_the_package_and_differ() -> None:
    first, second = load_ruler("mnist-ruler"), load_ruler("mnist-ruler-2")
    assert first.digest != second.digest
    for ruler in (first, second):
        folder = ASSETS / ruler.name
        assert ruler.labels == tuple("0123456789")
        assert (ruler.config.image_size, ruler.config.channels) == (28, 1)
        assert ruler.digest in (folder / "README.md").read_text()  # its card says which it is
        assert (folder / "model.safetensors").stat().st_size < 1_000_000


def test_they_name_digits_of_other_hands_alike() -> None:
    """scikit-learn's digits are of other people, eight pixels wide, and were never shown them."""
    digits, _ = load_labelled("digits", size=28)
    named = [
        look(load_ruler(name), digits.images).logits.argmax(dim=1)
        for name in ("mnist-ruler", "mnist-ruler-2")
    ]
    for answers in named:
        assert float((answers == digits.labels).double().mean()) > 0.7
    assert float((named[0] == named[1]).double().mean()) > 0.75
