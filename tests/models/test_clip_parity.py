"""Our CLIP computes what open_clip's and transformers' own compute.

Each case is a model of theirs with random weights, moved away from their initial values, written
to a folder by its own library and read by `load_clip` as it is. Compared are every hidden state of
both towers, what they are summed up in, the common space and the logits: to 1e-9 in float64, to
1e-5 of the largest value in float32. Token numbers have a file of their own, test_tokenizer.py.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import transformers
from open_clip.push_to_hf_hub import save_for_hf
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from tokenizers import Tokenizer as Library
from tokenizers import models as library_models
from torch import Tensor, nn
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from mmfm import hub
from mmfm.data.pictures import open_picture
from mmfm.errors import BadInput
from mmfm.models import weights
from mmfm.models.checkpoints import load_clip
from mmfm.models.clip import CLIP
from mmfm.models.tables import open_clip as table
from mmfm.models.wrapped import OpenCLIP

DTYPES = [torch.float64, torch.float32]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    yield
    transformers.logging.enable_progress_bar()
    transformers.logging.set_verbosity_warning()


@dataclass
class Theirs:
    """What a library's own modules computed."""

    image_layers: list[Tensor]
    text_layers: list[Tensor]
    image: Tensor  # in the common space, before it is made one long
    text: Tensor
    logits: Tensor


def shake(model: nn.Module, by: float = 0.2) -> Any:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * by)
    return model.eval()


def assert_equal(ours: Tensor, theirs: Tensor) -> None:
    limit = 1e-9 if ours.dtype == torch.float64 else 1e-5 * max(1.0, theirs.abs().max().item())
    torch.testing.assert_close(ours, theirs, rtol=0, atol=limit)


def assert_all_equal(model: CLIP, images: Tensor, ids: Tensor, theirs: Theirs) -> None:
    assert model.image is not None
    assert model.text is not None
    with torch.no_grad():
        image, text = model.image(images, layers=True), model.text(ids, layers=True)
        out = model(images, ids)
        projected = model.project_image(images), model.project_text(ids)
    for ours, their in ((image.layers, theirs.image_layers), (text.layers, theirs.text_layers)):
        assert len(ours) == len(their) > 1
        for mine, its in zip(ours, their, strict=True):
            assert_equal(mine, its)
    assert_equal(projected[0], theirs.image)
    assert_equal(projected[1], theirs.text)
    assert_equal(out.logits, theirs.logits)


def pictures(height: int, width: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(3, 3, height, width, generator=generator).to(dtype)


def texts(vocabulary: int, context: int, end: int) -> Tensor:
    """Rows with the end at different places; behind it padding, in one more ends."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(8, vocabulary - 4, (4, context), generator=generator)
    for row, place in enumerate((1, context // 2, context - 1)):
        ids[row, place] = end
        ids[row, place + 1 :] = 0 if row else 3
    ids[3, context // 3 :] = end
    return ids


def hidden(blocks: Any) -> list[Tensor]:
    """A list that the next pass fills: what came into the first block, then out of each."""
    layers: list[Tensor] = []
    blocks[0].register_forward_pre_hook(
        lambda _, given, named: layers.append(given[0] if given else named["hidden_states"]),
        with_kwargs=True,
    )
    for block in blocks:
        block.register_forward_hook(
            lambda _m, _given, made: layers.append(made[0] if isinstance(made, tuple) else made)
        )
    return layers


# --- open_clip ------------------------------------------------------------------------------------

VISION = {"layers": 3, "width": 32, "head_width": 8, "patch_size": 8, "image_size": 32}
TEXT = {"context_length": 12, "width": 24, "heads": 4, "layers": 2}
SIGLIP_TEXT = {
    "no_causal_mask": True,
    "pool_type": "last",
    "proj_bias": True,
    "norm_kwargs": {"eps": 1e-6},
    "act_kwargs": {"approximate": "tanh"},
}
TRUNK = {"timm_model_name": "vit_tiny_patch16_224", "image_size": 224}

# The picture tower's options, the text tower's, the whole model's.
OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}, {}),
    "quick GELU": ({}, {}, {"quick_gelu": True}),
    "a text tower of its own": ({}, {}, {"custom_text": True}),
    "layer scale": ({"ls_init_value": 0.1}, {"ls_init_value": 0.1}, {}),
    "wide MLPs": ({"mlp_ratio": 4.9231}, {"mlp_ratio": 3.7362}, {}),
    "narrow heads": ({"head_width": 4}, {"heads": 2}, {}),
    "not square": ({"image_size": [32, 48]}, {}, {}),
    "a rest beside the patches": ({"image_size": 37}, {}, {}),
    "no norm before": ({"no_ln_pre": True}, {}, {}),
    "average": ({"pool_type": "avg"}, {}, {}),
    "norm after the average": ({"pool_type": "avg", "final_ln_after_pool": True}, {}, {}),
    "norm after the class token": ({"final_ln_after_pool": True}, {}, {}),
    "fixed positions": ({"pos_embed_type": "sin_cos_2d"}, {}, {}),
    "another eps": ({"norm_kwargs": {"eps": 0.1}}, {"norm_kwargs": {"eps": 0.2}}, {}),
    "tanh GELU": ({"act_kwargs": {"approximate": "tanh"}}, SIGLIP_TEXT, {}),
    "no mask": ({}, {"no_causal_mask": True}, {"custom_text": True}),
    "the last token": ({}, {"pool_type": "last"}, {}),
    "the first token": ({}, {"pool_type": "first"}, {"custom_text": True}),
    "the end by its number": ({}, {"pool_type": "eos", "eos_id": 7}, {}),
    "no text projection": ({}, {"proj_type": "none"}, {"custom_text": True, "embed_dim": 24}),
    "a bias of the projection": ({}, {"proj_bias": True}, {}),
    "a bias of the logits": ({}, {}, {"init_logit_bias": -10, "init_logit_scale": 1.0}),
    "scale and bias in rows": ({}, {}, {"nonscalar_logit_scale": True, "init_logit_bias": -10}),
    "CLIPA": (
        {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
        {"no_causal_mask": True, "pool_type": "last"},
        {},
    ),
    "SigLIP's kind": (
        {**TRUNK, "timm_pool": "map", "timm_proj": "none"},
        SIGLIP_TEXT,
        {"custom_text": True, "init_logit_bias": -10, "embed_dim": 192},
    ),
    "timm's, linear": ({**TRUNK, "timm_pool": "token", "timm_proj": "linear"}, {}, {}),
    "timm's, average and bias": (
        {**TRUNK, "timm_pool": "avg", "timm_proj": "linear", "timm_proj_bias": True},
        {},
        {"custom_text": True},
    ),
    "timm's own head": ({**TRUNK, "timm_pool": "token", "timm_proj": None}, {}, {}),
}


def open_clip_settings(name: str) -> dict[str, Any]:
    vision, text, whole = OPTIONS[name]
    small = {} if "timm_model_name" in vision else VISION
    towers = {"vision_cfg": {**small, **vision}, "text_cfg": {**TEXT, **text}}
    return {"embed_dim": 16, **towers, **whole}


def open_clip_model(settings: dict[str, Any]) -> Any:
    given = deepcopy(settings)
    kind = open_clip.CustomTextCLIP if given.pop("custom_text", False) else open_clip.CLIP
    # A wider and deeper tower multiplies what it is given.
    large = given["text_cfg"]["width"] > 100 or "timm_model_name" in given["vision_cfg"]
    model = shake(kind(**given), by=0.01 if large else 0.2)
    open_clip.model.set_model_preprocess_cfg(
        model, {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "size": model.visual.image_size}
    )
    return model


class NoTokenizer:
    """CLIP's own comes with the package and is not saved."""

    def save_pretrained(self, folder: Path) -> None: ...


def write_open_clip(settings: dict[str, Any], folder: Path) -> Any:
    model = open_clip_model(settings)
    save_for_hf(model, NoTokenizer(), settings, str(folder), safe_serialization=True)
    return model


def open_clip_computes(model: Any, images: Tensor, ids: Tensor) -> Theirs:
    visual = model.visual
    text = model.text if hasattr(model, "text") else model
    trunk = getattr(visual, "trunk", None)
    image_layers = hidden(visual.transformer.resblocks if trunk is None else trunk.blocks)
    text_layers = hidden(text.transformer.resblocks)
    with torch.no_grad():
        image, words = model.encode_image(images), model.encode_text(ids)
        image_layers, text_layers = list(image_layers), list(text_layers)  # of this pass alone
        logits, _ = model.get_logits(images, ids)
    return Theirs(image_layers, text_layers, image, words, logits)


def compare_with_open_clip(settings: dict[str, Any], folder: Path, dtype: torch.dtype) -> None:
    theirs = write_open_clip(settings, folder).to(dtype)
    ours = load_clip(str(folder), dtype=dtype)
    assert isinstance(ours, CLIP)
    text = ours.config.text
    end = text.end or text.vocabulary - 1
    images = pictures(*ours.config.image.image_size, dtype)
    ids = texts(text.vocabulary, text.context, end)
    assert_all_equal(ours, images, ids, open_clip_computes(theirs, images, ids))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", OPTIONS)
def test_a_folder_of_open_clip_computes_what_open_clip_computes(
    name: str, dtype: torch.dtype, tmp_path: Path
):
    compare_with_open_clip(open_clip_settings(name), tmp_path, dtype)


@pytest.mark.parametrize("size", [[64, 64], [24, 40]], ids=str)
def test_open_clips_positions_at_another_resolution(size: list[int], tmp_path: Path):
    settings = open_clip_settings("plain")
    state = write_open_clip(settings, tmp_path).state_dict()
    settings["vision_cfg"]["image_size"] = size
    larger = open_clip_model(settings)
    open_clip.model.resize_pos_embed(state, larger)
    larger.load_state_dict(state)
    images = pictures(size[0], size[1], torch.float32)
    with torch.no_grad():
        ours = load_clip(str(tmp_path), towers="image").project_image(images)
        assert_equal(ours, larger.encode_image(images))


def test_the_older_weight_file_and_that_of_a_training_are_the_same_model(tmp_path: Path):
    model = write_open_clip(open_clip_settings("plain"), tmp_path / "safe")
    state = model.state_dict()
    training = {"epoch": 3, "state_dict": {f"module.{key}": x for key, x in state.items()}}
    for folder, content in (("old", state), ("training", training)):
        (tmp_path / folder).mkdir()
        settings = (tmp_path / "safe" / "open_clip_config.json").read_bytes()
        (tmp_path / folder / "open_clip_config.json").write_bytes(settings)
        torch.save(content, tmp_path / folder / "open_clip_pytorch_model.bin")
    images = pictures(32, 32, torch.float32)
    safe, *others = (
        load_clip(str(tmp_path / folder))(images).image for folder in ("safe", "old", "training")
    )
    for other in others:
        assert torch.equal(safe, other)


def test_a_weight_file_beside_its_settings_is_enough(tmp_path: Path):
    write_open_clip(open_clip_settings("plain"), tmp_path)
    renamed = tmp_path / "epoch_3.safetensors"
    (tmp_path / "open_clip_model.safetensors").rename(renamed)
    model = load_clip(str(renamed))
    assert (model.name, model.origin) == (str(renamed), "local")


# --- all that open_clip publishes -----------------------------------------------------------------

PUBLISHED = [f"{model}/{tag}" for model, tag in open_clip.list_pretrained()]

# Their text towers are language models of transformers, whose settings lie on the hub.
ELSEWHERE = {
    "roberta-ViT-B-32",
    "xlm-roberta-base-ViT-B-32",
    "xlm-roberta-large-ViT-H-14",
    "nllb-clip-base",
    "nllb-clip-large",
    "nllb-clip-base-siglip",
    "nllb-clip-large-siglip",
}
PLAIN = ("ViT-", "MobileCLIP2-L-14")  # how the names of plain pairs begin
FIRST_OF_EACH_KIND = (
    "RN50/openai",
    "ViT-B-32/openai",
    "ViT-B-32/laion2b_s34b_b79k",
    "ViT-B-16/dfn2b",
    "ViT-B-32-quickgelu/metaclip_400m",
    "ViT-g-14/laion2b_s12b_b42k",
    "convnext_base/laion400m_s13b_b51k",
    "convnext_large_d/laion2b_s26b_b102k_augreg",
    "coca_ViT-B-32/laion2b_s13b_b90k",
    "EVA02-B-16/merged2b_s8b_b131k",
    "ViT-B-16-SigLIP/webli",
    "ViT-SO400M-14-SigLIP-384/webli",
    "ViT-B-32-SigLIP2-256/webli",
    "ViT-L-14-CLIPA/datacomp1b",
    "MobileCLIP-S1/datacompdr",
    "MobileCLIP-B/datacompdr",
    "MobileCLIP2-L-14/dfndr2b",
    "ViTamin-S/datacomp1b",
    "PE-Core-T-16-384/meta",
    "ViT-H-14-worldwide/metaclip2_worldwide",
)


def take(name: str) -> str:
    """Take a published model as `load_clip` would, but for its weights; say how it was taken."""
    entry = hub.open_clip_entry(name)
    assert entry is not None
    settings = entry["model_cfg"]
    preprocessing = table.preprocessing(entry["preprocess_cfg"], settings, name)
    with torch.device("meta"):
        theirs = OpenCLIP(settings, preprocessing, name=name)
    side = theirs.model.visual.image_size
    assert preprocessing.size == ((side, side) if isinstance(side, int) else tuple(side))
    if table.unlike(settings) is not None:
        assert theirs.scale.ndim == 0
        return "wrapped"
    state = weights.translate(
        theirs.model.state_dict(), table.table(settings), name, prefix=table.PREFIX
    )
    with torch.device("meta"):
        ours = CLIP(table.config(settings))
    ahead = 1 if ours.image is not None and ours.config.image.cls_token else 0
    state["image.positions"] = state["image.positions"][ahead:]  # the class token's own
    weights.check(ours, state, name)
    return "ours"


def assert_taken_rightly(name: str) -> None:
    model = name.partition("/")[0]
    if model in ELSEWHERE:
        entry = hub.open_clip_entry(name)
        assert entry is not None
        assert "hf_model_name" in str(table.unlike(entry["model_cfg"]))
        pytest.skip("its text tower's settings lie on the hub")
    assert take(name) == ("ours" if model.startswith(PLAIN) else "wrapped")


@pytest.mark.parametrize("name", FIRST_OF_EACH_KIND)
def test_what_open_clip_publishes_is_taken(name: str):
    assert_taken_rightly(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_all_that_open_clip_publishes_is_taken(name: str):
    assert_taken_rightly(name)


@pytest.mark.parametrize(
    ("name", "quick"),
    [
        ("ViT-B-32/openai", True),  # by its tag; open_clip's settings of ViT-B-32 say otherwise
        ("ViT-B-32-quickgelu/openai", True),
        ("ViT-B-32/laion400m_e32", True),
        ("ViT-B-16/laion400m_e32", False),
        ("ViT-B-32/laion2b_s34b_b79k", False),
        ("ViT-B-16/datacomp_xl_s13b_b90k", False),
        ("ViT-B-16/dfn2b", True),
        ("ViT-L-14/dfn2b_s39b", False),
        ("ViT-H-14-378/dfn5b", True),
        ("ViT-B-16/metaclip_400m", True),
        ("ViT-H-14/metaclip_altogether", False),
    ],
)
def test_the_activation_is_the_one_that_the_weights_were_trained_with(name: str, quick: bool):
    entry = hub.open_clip_entry(name)
    assert entry is not None
    config = table.config(entry["model_cfg"])
    wanted = "quick_gelu" if quick else "gelu"
    assert (config.image.activation, config.text.activation) == (wanted, wanted)


# --- transformers ---------------------------------------------------------------------------------

TOWER = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
SIGHT = {**TOWER, "image_size": 32, "patch_size": 8}
WORDS = {
    **TOWER,
    "num_hidden_layers": 2,
    "vocab_size": 20,
    "bos_token_id": 1,
    "eos_token_id": 18,
    "pad_token_id": 0,
    "max_position_embeddings": 12,
}


def clip_config(vision: Any = {}, text: Any = {}, **whole: Any) -> Any:  # noqa: B006
    return transformers.CLIPConfig(
        vision_config={**SIGHT, **vision}, text_config={**WORDS, **text}, **whole
    )


def siglip_config(vision: Any = {}, text: Any = {}) -> Any:  # noqa: B006
    return transformers.SiglipConfig(
        vision_config={**SIGHT, **vision},
        text_config={**WORDS, "projection_size": 32, **text},
    )


TRANSFORMERS: dict[str, tuple[Any, Any]] = {
    "CLIP": (transformers.CLIPModel, clip_config(projection_dim=24)),
    "CLIP, the end said wrongly": (transformers.CLIPModel, clip_config(text={"eos_token_id": 2})),
    "CLIP, GELU": (
        transformers.CLIPModel,
        clip_config({"hidden_act": "gelu"}, {"hidden_act": "gelu_pytorch_tanh"}),
    ),
    "CLIP, another eps": (
        transformers.CLIPModel,
        clip_config({"layer_norm_eps": 0.1}, {"layer_norm_eps": 0.2}),
    ),
    "CLIP, a rest beside the patches": (transformers.CLIPModel, clip_config({"image_size": 37})),
    "CLIP, towers of two sizes": (
        transformers.CLIPModel,
        clip_config({"hidden_size": 40}, {"num_attention_heads": 2}),
    ),
    "MetaCLIP 2": (
        transformers.MetaClip2Model,
        transformers.MetaClip2Config(vision_config=SIGHT, text_config={**WORDS, "eos_token_id": 2}),
    ),
    "SigLIP": (transformers.SiglipModel, siglip_config()),
    "SigLIP, a rest beside the patches": (
        transformers.SiglipModel,
        siglip_config({"image_size": 37}),
    ),
    "SigLIP, another eps": (
        transformers.SiglipModel,
        siglip_config({"layer_norm_eps": 0.1}, {"layer_norm_eps": 0.2}),
    ),
}


def write_tokenizer(folder: Path) -> None:
    """A small tokenizer in the form of a checkpoint's, so that the folder is whole."""
    pieces = {"<pad>": 0, "<s>": 1, "</s>": 2, "a": 3}
    library = Library(library_models.WordLevel(pieces, unk_token="a"))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=library, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)


def write_transformers(name: str, folder: Path) -> Any:
    kind, config = TRANSFORMERS[name]
    torch.manual_seed(0)
    model = shake(kind(deepcopy(config)))
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return model


def transformers_computes(model: Any, images: Tensor, ids: Tensor) -> Theirs:
    image_layers = hidden(model.vision_model.encoder.layers)
    text_layers = hidden(model.text_model.encoder.layers)
    with torch.no_grad():
        out = model(input_ids=ids, pixel_values=images)
        image_layers, text_layers = list(image_layers), list(text_layers)
        image = model.get_image_features(images).pooler_output
        text = model.get_text_features(ids).pooler_output
    return Theirs(image_layers, text_layers, image, text, out.logits_per_image)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_folder_of_transformers_computes_what_transformers_computes(
    name: str, dtype: torch.dtype, tmp_path: Path
):
    theirs = write_transformers(name, tmp_path).to(dtype)
    ours = load_clip(str(tmp_path), dtype=dtype)
    assert isinstance(ours, CLIP)
    images = pictures(*ours.config.image.image_size, dtype)
    ids = texts(20, 12, 18 if "wrongly" in name else theirs.config.text_config.eos_token_id)
    assert_all_equal(ours, images, ids, transformers_computes(theirs, images, ids))


def test_to_read_a_folder_of_transformers_needs_no_symbols(tmp_path: Path):
    """Its towers are first held to its shapes; of those alone torch would compute with sympy."""
    write_transformers("CLIP", tmp_path)
    code = f"import sys, mmfm; mmfm.load_clip({str(tmp_path)!r}); print('sympy' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout == "False\n"


@pytest.mark.parametrize("size", [(64, 64), (24, 40)], ids=str)
@pytest.mark.parametrize("name", ["CLIP", "SigLIP"])
def test_transformers_positions_at_another_resolution(
    name: str, size: tuple[int, int], tmp_path: Path
):
    theirs = write_transformers(name, tmp_path)
    images = pictures(*size, torch.float32)
    with torch.no_grad():
        ours = load_clip(str(tmp_path), towers="image").project_image(images)
        out = theirs.get_image_features(images, interpolate_pos_encoding=True)
        assert_equal(ours, out.pooler_output)


def test_settings_that_are_said_twice_are_the_second_ones(tmp_path: Path):
    """LAION's files of the hub are of this kind."""
    theirs = write_transformers("CLIP", tmp_path)
    path = tmp_path / "config.json"
    settings = json.loads(path.read_text())
    for tower in ("vision_config", "text_config"):
        settings[f"{tower}_dict"] = settings[tower]
        settings[tower] = {**settings[tower], "num_hidden_layers": 9, "hidden_act": "gelu"}
    path.write_text(json.dumps(settings))
    ours = load_clip(str(tmp_path))
    assert isinstance(ours, CLIP)
    images, ids = pictures(32, 32, torch.float32), texts(20, 12, 18)
    assert_all_equal(ours, images, ids, transformers_computes(theirs, images, ids))


def test_transformers_defaults_that_the_file_leaves_out():
    """The hub's SigLIP says of its towers only what kind they are; all the rest are defaults."""
    from mmfm.models.tables import transformers as names

    for kind in ("clip", "siglip", "metaclip_2"):
        theirs = transformers.AutoConfig.for_model(kind)
        ours = names.clip_config({"model_type": kind}, kind)
        for mine, its in ((ours.image, theirs.vision_config), (ours.text, theirs.text_config)):
            assert (mine.dim, mine.depth, mine.heads, mine.mlp_dim, mine.norm_eps) == (
                its.hidden_size,
                its.num_hidden_layers,
                its.num_attention_heads,
                its.intermediate_size,
                its.layer_norm_eps,
            )
            activations = {"quick_gelu": "quick_gelu", "gelu_pytorch_tanh": "gelu_tanh"}
            assert mine.activation == activations[its.hidden_act]
        assert ours.image.image_size == (theirs.vision_config.image_size,) * 2
        assert ours.image.patch_size == theirs.vision_config.patch_size
        assert ours.text.vocabulary == theirs.text_config.vocab_size
        assert ours.text.context == theirs.text_config.max_position_embeddings
        assert ours.text.end == (None if kind == "siglip" else theirs.text_config.eos_token_id)
        assert ours.dim == getattr(theirs, "projection_dim", theirs.text_config.hidden_size)


@pytest.mark.parametrize(
    ("config", "because"),
    [
        (transformers.ViTConfig(), "'vit'"),
        (transformers.Siglip2Config(), "'siglip2'"),
        (clip_config({"hidden_act": "relu"}), "'relu'"),
        (clip_config({"patch_size": [8, 16]}), "8x16"),
        (siglip_config({"vision_use_head": False}), "pooling head"),
    ],
)
def test_a_transformers_model_that_we_would_compute_differently_is_refused(
    config: Any, because: str, tmp_path: Path
):
    write_transformers("CLIP", tmp_path)
    config.save_pretrained(tmp_path)
    with pytest.raises(BadInput, match=because) as caught:
        load_clip(str(tmp_path))
    assert str(tmp_path) in str(caught.value)


# --- pictures -------------------------------------------------------------------------------------


def write_awkward_pictures(folder: Path) -> list[Path]:
    """Ten files that a folder of photos holds one day."""
    random = np.random.default_rng(0)

    def noise(height: int, width: int, channels: int = 3) -> Image.Image:
        pixels = random.integers(0, 256, (height, width, channels), dtype=np.uint8)
        return Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels)

    turned = Image.Exif()
    turned[0x0112] = 6
    deep = random.integers(0, 65_536, (40, 50), dtype=np.uint16)
    files = {
        "one pixel.png": noise(1, 1),
        "tall.png": noise(500, 1),
        "wide.png": noise(1, 500),
        "odd.png": noise(61, 83),
        "just too small.png": noise(31, 33),
        "alpha.png": noise(45, 38, 4),
        "palette.gif": noise(45, 38).quantize(16),
        "16 bits.png": Image.fromarray(deep),
        "grey.png": noise(70, 41, 1),
        "turned.jpg": noise(64, 97),
    }
    for name, picture in files.items():
        options = {"exif": turned} if name == "turned.jpg" else {}
        picture.save(folder / name, **options)
    return [folder / name for name in files]


@pytest.mark.parametrize(
    ("size", "given"),
    [
        (32, {}),
        (32, {"resize_mode": "squash", "interpolation": "bilinear"}),
        (33, {"interpolation": "bilinear"}),
        ([32, 48], {}),
        ([32, 48], {"interpolation": "bilinear"}),
        ([48, 32], {"resize_mode": "squash"}),
        (32, {"mean": 0.5, "std": 0.25}),
    ],
    ids=str,
)
def test_open_clips_preprocessing_is_read_from_the_folder(
    size: Any, given: dict[str, Any], tmp_path: Path
):
    settings = open_clip_settings("plain")
    settings["vision_cfg"]["image_size"] = size
    write_open_clip(settings, tmp_path)
    path = tmp_path / "open_clip_config.json"
    both = json.loads(path.read_text())
    both["preprocess_cfg"] |= given
    path.write_text(json.dumps(both))
    ours = load_clip(str(tmp_path), towers="image").preprocessing
    theirs = image_transform_v2(PreprocessCfg(**both["preprocess_cfg"], size=size), is_train=False)
    for file in write_awkward_pictures(tmp_path):
        # How a file becomes an upright picture of three colours is ours, and better told apart.
        picture = open_picture(file)
        torch.testing.assert_close(ours(picture), theirs(picture), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "processor"),
    [
        (
            "CLIP",
            CLIPImageProcessorPil(
                size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
            ),
        ),
        (
            "CLIP",
            CLIPImageProcessorPil(
                size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}, resample=2
            ),
        ),
        ("SigLIP", SiglipImageProcessorPil(size={"height": 32, "width": 32})),
        ("SigLIP", SiglipImageProcessorPil(size={"height": 32, "width": 32}, resample=2)),
    ],
)
def test_transformers_preprocessing_is_read_from_the_folder(
    name: str, processor: Any, tmp_path: Path
):
    write_transformers(name, tmp_path)
    files = write_awkward_pictures(tmp_path)
    processor.save_pretrained(tmp_path)
    ours = load_clip(str(tmp_path), towers="image").preprocessing
    for file in files:
        picture = open_picture(file)
        theirs = torch.from_numpy(processor(picture).pixel_values[0])
        torch.testing.assert_close(ours(picture), theirs, rtol=0, atol=1e-6)
    # transformers 5 keeps the same settings in a file with those of the text.
    path = tmp_path / "preprocessor_config.json"
    both = {"processor_class": "X", "image_processor": json.loads(path.read_text())}
    (tmp_path / "processor_config.json").write_text(json.dumps(both))
    path.unlink()
    assert load_clip(str(tmp_path), towers="image").preprocessing == ours


def test_a_folder_without_a_processor_gets_its_familys_own(tmp_path: Path):
    square = {"height": 32, "width": 32}
    for name, processor in {
        "CLIP": CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=square),
        "MetaCLIP 2": CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=square),
        "SigLIP": SiglipImageProcessorPil(size=square),
    }.items():
        write_transformers(name, tmp_path / name)
        ours = load_clip(str(tmp_path / name), towers="image").preprocessing
        picture = Image.effect_noise((61, 83), 90).convert("RGB")
        theirs = torch.from_numpy(processor(picture).pixel_values[0])
        torch.testing.assert_close(ours(picture), theirs, rtol=0, atol=1e-6)


# --- true size ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT-B-32-quickgelu", "ViT-B-16-SigLIP"])
def test_open_clips_models_at_their_true_size(name: str, tmp_path: Path):
    settings = open_clip.get_model_config(name)
    assert settings is not None
    theirs = write_open_clip(settings, tmp_path)
    if "SigLIP" in name:
        write_tokenizer(tmp_path)
    ours = load_clip(str(tmp_path))
    assert isinstance(ours, CLIP)
    images = pictures(224, 224, torch.float32)
    text = ours.config.text
    ids = texts(text.vocabulary, text.context, text.vocabulary - 1)
    assert_all_equal(ours, images, ids, open_clip_computes(theirs, images, ids))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_transformers_models_at_their_true_size(name: str, tmp_path: Path):
    config = transformers.AutoConfig.for_model(name)
    theirs = transformers.AutoModel.from_config(config).eval()
    theirs.save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    ours = load_clip(str(tmp_path))
    assert isinstance(ours, CLIP)
    images = pictures(224, 224, torch.float32)
    text = ours.config.text
    ids = texts(text.vocabulary, text.context, text.end or text.vocabulary - 1)
    assert_all_equal(ours, images, ids, transformers_computes(theirs, images, ids))
