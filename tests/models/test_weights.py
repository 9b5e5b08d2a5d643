"""Weights on their way in: read safely, renamed by a table, loaded strictly or refused."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf
from torch import Tensor

from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput, BadWeights, MmfmError, NotHere
from mmfm.models import weights
from mmfm.models.checkpoints import load_vit, save_vit
from mmfm.models.vit import ViT, ViTConfig

CONFIG = ViTConfig(
    image_size=(16, 24),
    patch_size=8,
    dim=16,
    depth=2,
    heads=2,
    mlp_dim=24,
    registers=2,
    layer_scale=0.1,
    qk_norm=True,
    pool="map",
    classes=3,
)
PREPROCESSING = Preprocessing(
    (16, 24), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), fit="squash", interpolation="lanczos"
)
LABELS = ("dog", "고양이", "a, b")


def random_model() -> ViT:
    model = ViT(CONFIG, PREPROCESSING, LABELS).eval()
    generator = torch.Generator().manual_seed(1)
    model.reset(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    save_vit(random_model(), tmp_path / "ours")
    return tmp_path / "ours"


@pytest.fixture
def timms(tmp_path: Path) -> Path:
    small = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=3, **small)
    save_for_hf(model, str(tmp_path / "timms"), safe_serialization=True)
    return tmp_path / "timms"


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the weights in a folder and leave all else as it is."""
    path = folder / "model.safetensors"
    with safe_open(path, "pt") as file:
        settings = file.metadata()
    state = load_file(path)
    change(state)
    save_file(state, path, settings)


def refusal(name: object, kind: type[MmfmError] = BadWeights) -> str:
    """The one line with which a checkpoint is refused."""
    with pytest.raises(kind) as caught:
        load_vit(str(name))
    line = str(caught.value)
    assert "\n" not in line
    assert str(name) in line
    return line


# --- there and back -------------------------------------------------------------------------------


def test_a_saved_model_comes_back_the_same(ours: Path):
    model, loaded = random_model(), load_vit(str(ours))
    assert loaded.config == model.config
    assert loaded.preprocessing == model.preprocessing
    assert loaded.labels == LABELS
    assert not loaded.training
    assert str(ours) in loaded.source
    for key, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_saved_in_half_precision_comes_back_within_its_rounding(
    dtype: torch.dtype, tmp_path: Path
):
    model = random_model()
    save_vit(model, tmp_path, dtype=dtype)
    loaded = load_vit(str(tmp_path)).state_dict()
    for key, tensor in model.state_dict().items():
        assert loaded[key].dtype == torch.float32
        assert torch.equal(loaded[key], tensor.to(dtype).float())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_model_is_loaded_in_the_type_asked_for(dtype: torch.dtype, ours: Path):
    model = load_vit(str(ours), dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert model(torch.zeros(1, 3, 16, 24, dtype=dtype)).tokens.dtype == dtype


def test_the_weight_file_alone_is_enough(ours: Path, tmp_path: Path):
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((ours / "model.safetensors").read_bytes())
    loaded = load_vit(str(alone))
    assert loaded.labels == LABELS
    assert loaded.config == CONFIG


def test_a_weight_file_of_timm_needs_the_config_beside_it(timms: Path, tmp_path: Path):
    load_vit(str(timms / "model.safetensors"))
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((timms / "model.safetensors").read_bytes())
    assert "no config.json beside alone.safetensors" in refusal(alone, BadInput)


def test_the_settings_beside_the_weights_are_for_people_to_read(ours: Path):
    settings = json.loads((ours / "config.json").read_text(encoding="utf-8"))
    assert settings["model"] == "vit"
    assert settings["config"]["patch_size"] == 8
    assert "고양이" in (ours / "config.json").read_text(encoding="utf-8")


def test_saving_over_a_model_replaces_it(ours: Path):
    other = random_model()
    torch.nn.init.zeros_(other.embed.weight)
    save_vit(other, ours)
    assert load_vit(str(ours)).embed.weight.count_nonzero() == 0
    assert sorted(path.name for path in ours.iterdir()) == ["config.json", "model.safetensors"]


# --- weights that do not fit ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["embed.weight", "blocks.1.scale2.weight", "positions", "head.bias"]
)
def test_a_missing_weight_is_named(key: str, ours: Path):
    rewrite(ours, lambda state: state.pop(key))
    assert f"missing: {key}" in refusal(ours)


def test_a_left_over_weight_is_named(ours: Path):
    rewrite(ours, lambda state: state.update(surprise=torch.zeros(1)))
    assert "left over: surprise" in refusal(ours)


@pytest.mark.parametrize("key", ["embed.weight", "cls", "registers", "positions", "head.weight"])
@pytest.mark.parametrize("shape", [(5,), (4, 5), (1, 2, 16)])
def test_a_misshapen_weight_is_named_with_both_shapes(key: str, shape: tuple[int, ...], ours: Path):
    rewrite(ours, lambda state: state.update({key: torch.zeros(shape)}))
    line = refusal(ours)
    assert f"of another shape: {key} is {shape}, not (" in line


def test_all_faults_are_told_at_once_and_many_are_counted(ours: Path):
    def spoil(state: dict[str, Tensor]) -> None:
        for key in [key for key in state if key.startswith("blocks.0.")]:
            del state[key]
        state["surprise"] = torch.zeros(1)
        state["head.bias"] = torch.zeros(9)

    rewrite(ours, spoil)
    line = refusal(ours)
    assert "missing: blocks.0." in line
    assert "more; left over: surprise; of another shape: head.bias is (9,), not (3,)" in line


@pytest.mark.parametrize(
    "key", ["norm.weight", "blocks.0.norm1.weight", "blocks.1.attn.qkv.bias", "pos_embed"]
)
def test_a_weight_missing_from_timms_is_told_by_our_name(key: str, timms: Path):
    rewrite(timms, lambda state: state.pop(key))
    assert "missing: " in refusal(timms)


@pytest.mark.parametrize("key", ["surprise", "blocks.0.attn.surprise", "blocks.7.norm1.weight"])
def test_a_weight_of_timms_without_a_place_is_refused(key: str, timms: Path):
    rewrite(timms, lambda state: state.update({key: torch.zeros(16)}))
    assert "surprise" in (line := refusal(timms)) or "blocks.7" in line


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("patch_embed.proj.weight", (16, 3, 4, 4)),
        ("blocks.0.attn.qkv.weight", (47, 16)),
        ("blocks.0.attn.qkv.weight", (4, 16)),
        ("blocks.0.attn.qkv.bias", (2,)),
        ("cls_token", (1, 1, 8)),
        ("pos_embed", (1, 5, 8)),
        ("pos_embed", (1, 3, 16)),
        ("pos_embed", (5, 16, 1)),
    ],
)
def test_a_misshapen_weight_of_timms_is_refused(key: str, shape: tuple[int, ...], timms: Path):
    rewrite(timms, lambda state: state.update({key: torch.zeros(shape)}))
    assert "of another shape" in refusal(timms)


def test_patches_that_somebody_flattened_in_another_order_are_refused(timms: Path):
    """Flat, they would fit in number: ours are in the order of rows, columns, channels."""
    flat = {"patch_embed.proj.weight": torch.zeros(16, 3 * 8 * 8)}
    rewrite(timms, lambda state: state.update(flat))
    assert "patch_embed.proj.weight is (16, 192), not a kernel of four axes" in refusal(timms)


def test_positions_of_tokens_that_are_not_there_are_refused(timms: Path):
    rewrite(timms, lambda state: state.update(pos_embed=torch.zeros(1, 7, 16)))
    assert "positions for 2 more tokens" in refusal(timms)


# --- files that are not what they say -------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_safetensors_file_is_refused(share: float, ours: Path):
    path = ours / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "not a whole safetensors file" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"<html>404</html>\n", b"\xff" * 100])
def test_a_text_named_safetensors_is_refused(content: bytes, ours: Path):
    path = ours / "model.safetensors"
    path.write_bytes(content)
    assert "not a whole safetensors file" in refusal(path)


def as_bin(folder: Path) -> Path:
    path = folder / "pytorch_model.bin"
    torch.save(load_file(folder / "model.safetensors"), path)
    (folder / "model.safetensors").unlink()
    return path


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_bin_file_is_refused(share: float, timms: Path):
    path = as_bin(timms)
    load_vit(str(timms))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "not a whole file of plain weights" in refusal(path)


@pytest.mark.parametrize("content", [b"hello", b"\x80\x04junk", b"PK\x03\x04" + b"\0" * 50])
def test_a_text_named_bin_is_refused(content: bytes, timms: Path):
    path = as_bin(timms)
    path.write_bytes(content)
    assert "not a whole file of plain weights" in refusal(path)


class Trap:
    """A pickle that runs a command when it is read without care."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("write", [torch.save, lambda x, path: path.write_bytes(pickle.dumps(x))])
def test_code_in_a_pickle_does_not_run(write: Callable[..., object], timms: Path, tmp_path: Path):
    path, mark = as_bin(timms), tmp_path / "it ran"
    write({"cls_token": Trap(mark)}, path)
    assert "not a whole file of plain weights" in refusal(path)
    assert not mark.exists()


@pytest.mark.parametrize("held", [[torch.zeros(1)], {"a": 1}, {"model": {"a": torch.zeros(1)}}])
def test_a_bin_file_of_something_else_is_refused(held: object, timms: Path):
    path = as_bin(timms)
    torch.save(held, path)
    assert "something else than named weights" in refusal(path)


# --- settings that are not what they say ----------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{", "not json", "[1, 2]", '"vit"', "\udcff"])
def test_a_config_that_is_not_json_settings_is_refused(text: str, timms: Path):
    path = timms / "config.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadWeights, match=r"config\.json: "):
        load_vit(str(timms))


def test_a_folder_without_a_config_is_refused(timms: Path):
    (timms / "config.json").unlink()
    assert "no config.json beside model.safetensors" in refusal(timms, BadInput)


def test_a_config_of_nobody_we_know_is_refused(timms: Path):
    (timms / "config.json").write_text("{}")
    assert "neither ours, timm's nor transformers'" in refusal(timms, BadInput)


def test_a_folder_without_weights_names_what_it_holds(timms: Path):
    (timms / "model.safetensors").rename(timms / "weights.safetensors")
    line = refusal(timms, NotHere)
    assert "it holds config.json, weights.safetensors" in line


def test_shards_of_which_one_is_missing_are_refused(timms: Path):
    (timms / "model.safetensors").rename(timms / "model-1.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (timms / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "names model-2.safetensors" in refusal(timms, NotHere)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": [1]}', '{"weight_map": {"a": 1}}']
)
def test_an_index_of_shards_that_is_none_is_refused(text: str, timms: Path):
    (timms / "model.safetensors").unlink()
    (timms / "model.safetensors.index.json").write_text(text)
    assert "not an index of weight files" in refusal(timms)


@pytest.mark.parametrize("escape", ["../secret.safetensors", "/etc/hostname"])
def test_an_index_cannot_name_files_elsewhere(escape: str, timms: Path, tmp_path: Path):
    (timms / "model.safetensors").rename(tmp_path / "secret.safetensors")
    index = {"weight_map": {"a": escape}}
    (timms / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "not an index of weight files" in refusal(timms)


def resettle(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the settings inside our own weight file."""
    path = folder / "model.safetensors"
    settings = weights.read_settings(path)
    assert settings is not None
    change(settings)
    save_file(load_file(path), path, {"mmfm": json.dumps(settings)})


def test_a_model_of_another_kind_is_refused(ours: Path):
    resettle(ours, lambda settings: settings.update(model="clip"))
    assert "this is a 'clip', not a 'vit'" in refusal(ours, BadInput)


@pytest.mark.parametrize(
    "change",
    [
        lambda settings: settings["config"].update(wings=2),
        lambda settings: settings["preprocessing"].pop("mean"),
        lambda settings: settings.pop("config"),
        lambda settings: settings.update(config=None),
    ],
)
def test_settings_of_another_version_are_refused(
    change: Callable[[dict[str, Any]], object], ours: Path
):
    resettle(ours, change)
    assert "settings of another version" in refusal(ours)


@pytest.mark.parametrize(
    "changes",
    [{"heads": "2"}, {"dim": 16.0}, {"depth": 10**6}, {"mlp_dim": 10**7}, {"patch_size": 10**9}],
    ids=str,
)
def test_settings_that_the_weights_belie_are_refused(changes: dict[str, Any], ours: Path):
    """However large a model they ask for, it is not made first."""
    resettle(ours, lambda settings: settings["config"].update(image_size=[10**9] * 2, **changes))
    refusal(ours, MmfmError)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"architecture": []}, "config.json"),
        ({"architecture": "vit_of_nobody"}, "vit_of_nobody"),
        ({"model_args": {"patch_size": 0}}, "config.json"),
        ({"model_args": {"embed_dim": "x"}}, "config.json"),
        ({"model_args": 3}, "config.json"),
        ({"pretrained_cfg": 3}, "config.json"),
        ({"pretrained_cfg": {"mean": [0]}}, "config.json"),
    ],
    ids=str,
)
def test_settings_of_timms_that_no_model_has_are_refused(
    changes: dict[str, Any], says: str, timms: Path
):
    path = timms / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert says in refusal(timms, MmfmError)


@pytest.mark.parametrize("text", ["{", "[1]", "3"])
def test_damaged_settings_inside_the_weight_file_are_refused(text: str, ours: Path):
    path = ours / "model.safetensors"
    save_file(load_file(path), path, {"mmfm": text})
    assert "its settings are not whole JSON" in refusal(path)


def test_a_device_that_is_not_here_is_refused(ours: Path):
    with pytest.raises(BadInput, match="no device 'abacus'"):
        load_vit(str(ours), device="abacus")


# --- tables ---------------------------------------------------------------------------------------


def test_a_table_renames_numbers_parts_and_prefixes():
    table: weights.Table = [
        ("layers.*.{q|k|v}.weight", "tower.*.qkv"),
        ("head", "head"),
        ("half", "double", lambda tensor: tensor / 2),
    ]
    qkv = torch.arange(12.0).reshape(6, 2)
    theirs = {
        "net.tower.11.qkv": qkv,
        "head": torch.zeros(1),
        "net.double": torch.ones(1),
        "net.mask.token": torch.zeros(1),
    }
    ours = weights.translate(theirs, table, "x", prefix="net.", unused=["**token"])
    assert sorted(ours) == [
        "half",
        "head",
        "layers.11.k.weight",
        "layers.11.q.weight",
        "layers.11.v.weight",
    ]
    assert torch.equal(ours["layers.11.k.weight"], qkv[2:4])
    assert ours["half"] == 0.5


@pytest.mark.parametrize("key", ["tower.x.qkv", "tower.1.2.qkv", "towers.1.qkv", "tower.1.qkvs"])
def test_a_row_matches_its_own_names_only(key: str):
    with pytest.raises(BadWeights, match=key):
        weights.translate({key: torch.zeros(3)}, [("a.*", "tower.*.qkv")], "x")
