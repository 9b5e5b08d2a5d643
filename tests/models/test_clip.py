"""Two towers and one space: what they promise, in memory and through files."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import transformers
from huggingface_hub import constants
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as Library
from tokenizers.models import WordLevel
from torch import Tensor

import mmfm
from mmfm.data.pictures import Preprocessing
from mmfm.errors import BadInput, BadWeights, MmfmError, NotHere, Offline
from mmfm.models import weights
from mmfm.models.checkpoints import load_clip, load_vit, save_clip, save_vit
from mmfm.models.clip import CLIP, CLIPConfig, TextConfig, TextTransformer
from mmfm.models.tokenizer import clip_bpe, learn
from mmfm.models.vit import ViT, ViTConfig
from mmfm.models.wrapped import OpenCLIP

CAPTIONS = ["a red circle", "빨간 원", "a blue square above a green star"]
TOKENIZER = learn(CAPTIONS * 3, vocabulary=300, context=16)
IMAGE = ViTConfig((16, 24), 8, dim=16, depth=2, heads=2, mlp_dim=24, norm_before=True)
TEXT = TextConfig(300, 16, dim=20, depth=2, heads=2, mlp_dim=24, pool="end", end=2)
CONFIG = CLIPConfig(IMAGE, TEXT, dim=12, bias=-3.0)
PREPROCESSING = Preprocessing(
    (16, 24), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), interpolation="bilinear"
)


def random_model(config: CLIPConfig = CONFIG) -> CLIP:
    model = CLIP(config, PREPROCESSING, TOKENIZER).eval()
    generator = torch.Generator().manual_seed(1)
    model.reset(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def images(count: int = 3) -> Tensor:
    return torch.randn(count, 3, 16, 24, generator=torch.Generator().manual_seed(2))


def noise(height: int, width: int) -> Image.Image:
    return Image.effect_noise((width, height), 80).convert("RGB")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_clip(random_model(), tmp_path / "clip")
    return tmp_path / "clip"


def refusal(call: Callable[[], object], kind: type[MmfmError] = BadInput) -> str:
    """The one line with which something is refused."""
    with pytest.raises(kind) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    return line


# --- the text tower -------------------------------------------------------------------------------


def tower(**changes: Any) -> TextTransformer:
    torch.manual_seed(0)
    model = TextTransformer(replace(TEXT, **changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


@pytest.mark.parametrize("causal", [True, False])
def test_a_causal_tower_does_not_see_what_comes_later(causal: bool):
    model = tower(causal=causal)
    ids = torch.arange(3, 13)[None]
    changed = ids.clone()
    changed[0, 6] = 99
    before, after = model(ids).tokens, model(changed).tokens
    assert torch.equal(before[:, :6], after[:, :6]) == causal
    assert not torch.equal(before[:, 6:], after[:, 6:])


@pytest.mark.parametrize(
    ("pool", "end", "place"),
    [("argmax", None, 1), ("end", 2, 3), ("last", None, 5), ("first", None, 0)],
)
def test_a_text_is_summed_up_in_the_token_that_the_settings_name(
    pool: Any, end: int | None, place: int
):
    out = tower(pool=pool, end=end)(torch.tensor([[9, 50, 4, 2, 7, 2]]))
    assert torch.equal(out.pooled, out.tokens[:, place])


def test_the_tower_hands_out_layers_and_attention():
    model = tower()
    ids = torch.randint(3, 300, (2, 7))
    out = model(ids, layers=True, attention=[1])
    assert len(out.layers) == 3
    assert torch.equal(out.layers[0], model.embed(ids) + model.positions[:7])
    assert torch.equal(model.norm_after(out.layers[-1]), out.tokens)
    assert list(out.attention) == [1]
    rows = out.attention[1]
    assert rows.shape == (2, 2, 7, 7)
    torch.testing.assert_close(rows.sum(-1), torch.ones(2, 2, 7))
    assert rows.triu(1).count_nonzero() == 0
    assert model(ids).layers == [] and model(ids).attention == {}


@pytest.mark.parametrize("causal", [True, False])
def test_attention_that_is_asked_for_changes_no_number_and_a_gradient_reaches_it(causal: bool):
    model = tower(causal=causal).double().requires_grad_(False)
    ids = torch.tensor([[1, 50, 4, 2, 0, 0], [1, 9, 8, 7, 6, 2]])
    plain, out = model(ids), model(ids, attention=True)
    torch.testing.assert_close(out.tokens, plain.tokens, rtol=0, atol=1e-9)
    torch.testing.assert_close(out.pooled, plain.pooled, rtol=0, atol=1e-9)
    assert out.place.tolist() == [3, 5]
    for gradient in torch.autograd.grad(out.pooled.square().sum(), list(out.attention.values())):
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: tower()(torch.zeros(2, 17, dtype=torch.int64)),
        lambda: tower()(torch.zeros(17, dtype=torch.int64)),
        lambda: tower()(torch.zeros(2, 0, dtype=torch.int64)),
        lambda: tower()(torch.zeros(2, 3, dtype=torch.int64), attention=[2]),
        lambda: TextConfig(dim=20, heads=3),
        lambda: TextConfig(vocabulary=0),
        lambda: TextConfig(pool="end"),
        lambda: TextConfig(pool="last", end=3),
        lambda: TextConfig(pool="mean"),  # type: ignore[arg-type]
        lambda: TextConfig(activation="relu"),  # type: ignore[arg-type]
        lambda: CLIPConfig(image=replace(IMAGE, classes=3)),
        lambda: CLIPConfig(IMAGE, TEXT, dim=16, text_projection="none"),
        lambda: CLIPConfig(IMAGE, TEXT, dim=0),
        lambda: CLIPConfig(IMAGE, TEXT, image_projection="mlp"),  # type: ignore[arg-type]
        lambda: CLIP(CONFIG, tokenizer=clip_bpe()),
        lambda: CLIP(CONFIG, towers="images"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_right_is_refused_in_one_line(call: Callable[[], object]):
    refusal(call)


# --- the common space -----------------------------------------------------------------------------


def test_logits_are_cosines_times_the_scale_and_the_bias():
    model = random_model()
    ids = TOKENIZER(CAPTIONS[:2])
    out = model(images(), ids)
    assert out.image is not None and out.text is not None and out.bias is not None
    torch.testing.assert_close(out.image.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(out.scale, model.scale.exp())
    cosines = torch.nn.functional.cosine_similarity(
        model.project_image(images())[:, None], model.project_text(ids)[None], dim=-1
    )
    torch.testing.assert_close(out.logits, cosines * model.scale.exp() + model.bias)


def test_without_a_bias_logits_have_none():
    out = random_model(replace(CONFIG, bias=None))(images(), TOKENIZER(CAPTIONS))
    assert out.bias is None
    torch.testing.assert_close(out.logits, out.scale * out.image @ out.text.T)


def test_one_half_alone_can_be_asked():
    model = random_model()
    only = model(ids=TOKENIZER(CAPTIONS))
    assert only.image is None
    assert "both" in refusal(lambda: only.logits)
    assert model().text is None


def test_every_weight_of_both_towers_learns():
    model = random_model()
    model(images(2), TOKENIZER(CAPTIONS[:2])).logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_projections_may_be_left_out_or_have_a_bias():
    same = CLIPConfig(
        replace(IMAGE, dim=20), TEXT, dim=20, image_projection="none", text_projection="affine"
    )
    model = CLIP(same)
    assert model.image is not None
    assert torch.equal(model.project_image(images()), model.image(images()).pooled)
    assert "text_projection.bias" in model.state_dict()
    assert not any(key.startswith("image_projection") for key in model.state_dict())


def test_fresh_weights_come_from_the_generator_alone():
    first, second = CLIP(CONFIG), CLIP(CONFIG)
    first.reset(torch.Generator().manual_seed(3))
    second.reset(torch.Generator().manual_seed(3))
    for mine, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert first.scale.item() == pytest.approx(CONFIG.scale)
    assert first.bias is not None and first.bias.item() == -3.0
    assert first.source == "random weights"


def test_pictures_may_be_files_pictures_or_a_tensor(tmp_path: Path):
    model = random_model()
    pictures = [noise(40, 30), noise(17, 50)]
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    rows = model.encode_image(pictures)
    assert torch.equal(model.encode_image(PREPROCESSING.batch(pictures)), rows)
    assert torch.equal(model.encode_image([str(paths[0]), paths[1]]), rows)
    with torch.no_grad():
        assert torch.equal(model(PREPROCESSING.batch(pictures)).image, rows)


def test_texts_may_be_strings_or_numbers():
    model = random_model()
    rows = model.encode_text(CAPTIONS)
    assert torch.equal(model.encode_text(TOKENIZER(CAPTIONS)), rows)
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(3))


def test_the_size_of_a_batch_changes_nothing():
    model = random_model().double()
    for encode, items in ((model.encode_image, images(5)), (model.encode_text, CAPTIONS * 2)):
        torch.testing.assert_close(encode(items, batch=2), encode(items), rtol=0, atol=1e-12)


def test_nothing_gives_no_rows():
    assert random_model().encode_image([]).shape == (0, 12)
    assert random_model().encode_text([]).shape == (0, 12)


def test_encoding_remembers_nothing_for_a_gradient_and_its_rows_can_be_computed_on():
    model = random_model()
    rows = model.encode_image(images())
    assert not rows.requires_grad and model.project_image(images()).requires_grad
    logits = model.scale.exp() * rows @ model.encode_text(CAPTIONS).T
    logits.sum().backward()
    assert model.scale.grad is not None


def test_rows_are_one_long_in_half_precision_too():
    rows = random_model().to(torch.bfloat16).encode_text(CAPTIONS)
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(3), rtol=0, atol=1e-6)


def test_pictures_may_be_encoded_bytes_and_come_one_by_one(tmp_path: Path):
    model = random_model()
    pictures = [noise(40, 30), noise(17, 50)]
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
    files = [(tmp_path / f"{number}.png").read_bytes() for number in range(2)]
    rows = model.encode_image(pictures)
    assert torch.equal(model.encode_image(files), rows)
    assert torch.equal(
        model.encode_image(iter(pictures), batch=1), model.encode_image(pictures, batch=1)
    )
    assert torch.equal(model.encode_text(text for text in CAPTIONS), model.encode_text(CAPTIONS))


@pytest.mark.parametrize(
    ("pictures", "says"),
    [
        (None, "a list or a tensor, not NoneType"),
        (3, "a list or a tensor, not int"),
        (b"\x89PNG", "write [picture]"),
        ([None], "not NoneType"),
        ([np.zeros((16, 24, 3), np.uint8)], "not ndarray"),
        (np.zeros((2, 16, 24, 3), np.uint8), "not ndarray"),
        ([torch.zeros(3, 16, 24)], "not Tensor"),
        ([b"no picture"], "picture"),
        (torch.zeros(2, 3, 16, 24, dtype=torch.uint8), "preprocessing.normalise"),
    ],
    ids=str,
)
def test_what_is_no_picture_is_refused_in_one_line(pictures: Any, says: str):
    assert says in refusal(lambda: random_model().encode_image(pictures))


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (None, "a list or a tensor, not NoneType"),
        (["a", None], "a text is a str, not NoneType"),
        (["a", b"b"], "a text is a str, not bytes"),
        (torch.tensor([[1.0, 2.0]]), "not torch.float32"),
        (torch.tensor([[True, False]]), "not torch.bool"),
    ],
    ids=str,
)
def test_what_is_no_text_is_refused_in_one_line(texts: Any, says: str):
    assert says in refusal(lambda: random_model().encode_text(texts))


def test_one_thing_where_a_list_is_expected_is_refused():
    model = random_model()
    assert "[picture]" in refusal(lambda: model.encode_image("a.png"))
    assert "['dog']" in refusal(lambda: model.encode_text("dog"))
    assert "at least one" in refusal(lambda: model.encode_text(["dog"], batch=0))


@pytest.mark.parametrize("number", [-1, 300])
def test_a_token_number_that_the_tower_does_not_know_is_refused(number: int):
    line = refusal(lambda: random_model().encode_text(torch.tensor([[5, number, 2]])))
    assert "from 0 to 299" in line


def test_without_a_tokenizer_texts_are_refused_and_numbers_read():
    model = CLIP(CONFIG)
    assert "no tokenizer" in refusal(lambda: model.encode_text(["dog"]))
    assert model.encode_text(TOKENIZER(["dog"])).shape == (1, 12)


# --- there and back -------------------------------------------------------------------------------


def test_a_saved_model_comes_back_the_same(folder: Path):
    model, loaded = random_model(), mmfm.load_clip(str(folder))
    assert isinstance(loaded, CLIP)
    assert (loaded.config, loaded.preprocessing) == (model.config, model.preprocessing)
    assert (loaded.name, loaded.origin) == (str(folder), "local")
    assert loaded.source == f"{folder} (local)"
    assert not loaded.training
    for key, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor)
    assert torch.equal(loaded.encode_text(CAPTIONS), model.encode_text(CAPTIONS))
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_what_was_loaded_learns(folder: Path):
    loaded = load_clip(str(folder))
    loaded(images(2), TOKENIZER(CAPTIONS[:2])).logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in loaded.parameters())


def test_a_model_without_a_tokenizer_is_saved_without(tmp_path: Path):
    save_clip(CLIP(CONFIG), tmp_path)
    assert load_clip(str(tmp_path)).tokenizer is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_model_is_loaded_in_the_type_asked_for_but_for_its_temperature(
    dtype: torch.dtype, folder: Path
):
    model = load_clip(str(folder), dtype=dtype)
    assert {p.dtype for p in model.parameters() if p.ndim} == {dtype}
    exact = random_model()
    assert model.scale.item() == exact.scale.item()
    assert model.encode_image([noise(30, 30)]).shape == (1, 12)


def test_our_own_checkpoints_need_no_foreign_library(folder: Path):
    script = (
        "import sys; from mmfm import load_clip\n"
        f"model = load_clip({str(folder)!r}); model.encode_text(['a red circle'])\n"
        "assert not {'open_clip', 'transformers', 'timm', 'torchvision'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


# --- one tower ------------------------------------------------------------------------------------


class Spy:
    """Stands where an open weight file stands, and notes what is read from it."""

    def __init__(self, file: Any, read: dict[str, int]) -> None:
        self.file, self.read = file, read

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def get_tensor(self, key: str) -> Tensor:
        tensor = self.file.get_tensor(key)
        self.read[key] = tensor.nbytes
        return tensor


@pytest.fixture
def was_read(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The bytes that are read from weight files, by name."""
    from contextlib import contextmanager

    read: dict[str, int] = {}
    real = weights._opened

    @contextmanager
    def spied(path: Path) -> Any:
        with real(path) as file:
            yield Spy(file, read)

    monkeypatch.setattr(weights, "_opened", spied)
    return read


def write_transformers(folder: Path) -> None:
    tower = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    tower |= {"intermediate_size": 24}
    text = {"vocab_size": 49_408, "max_position_embeddings": 9, "eos_token_id": 2}
    vision = {"image_size": 16, "patch_size": 8}
    config = transformers.CLIPConfig(
        vision_config={**tower, **vision}, text_config={**tower, **text}, projection_dim=12
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    write_words(folder)


def write_words(folder: Path) -> None:
    library = Library(WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2, "a": 3}, unk_token="a"))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=library, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)


def write_open_clip(folder: Path, **whole: Any) -> Any:
    settings: dict[str, Any] = {
        "embed_dim": 12,
        "vision_cfg": {
            "layers": 1,
            "width": 16,
            "head_width": 8,
            "patch_size": 8,
            "image_size": 16,
            **whole.pop("vision_cfg", {}),
        },
        "text_cfg": {
            "context_length": 9,
            "width": 16,
            "heads": 2,
            "layers": 1,
            **whole.pop("text_cfg", {}),
        },
        **whole,
    }
    torch.manual_seed(0)
    given = {k: v for k, v in deepcopy(settings).items() if k != "custom_text"}
    if "hf_model_name" in given["text_cfg"]:
        given["text_cfg"]["hf_model_pretrained"] = False
    kind = open_clip.CoCa if "multimodal_cfg" in settings else open_clip.CLIP
    kind = open_clip.CustomTextCLIP if settings.get("custom_text") else kind
    model = kind(**given).eval()
    folder.mkdir(exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": settings}))
    save_file(
        {key: x.clone() for key, x in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return model


WRITERS: dict[str, Callable[[Path], object]] = {
    "ours": lambda folder: save_clip(random_model(), folder),
    "transformers": write_transformers,
    "open_clip": write_open_clip,
    "open_clip, a text tower of its own": lambda folder: write_open_clip(folder, custom_text=True),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("half", ["image", "text"])
def test_one_tower_alone_costs_only_its_memory(
    writer: str, half: Any, tmp_path: Path, was_read: dict[str, int]
):
    WRITERS[writer](tmp_path)
    model = load_clip(str(tmp_path), towers=half)
    assert isinstance(model, CLIP)
    assert (model.image is None, model.text is None) == (half == "text", half == "image")
    built = sum(parameter.nbytes for parameter in model.parameters())
    read = sum(was_read.values())
    # The position of the class token is added to that token, and so needs no place of its own.
    assert read == built + 16 * 4 * (half == "image" and writer != "ours")
    everything = sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    assert read < everything - 5000


def test_a_tower_loaded_alone_computes_the_same(folder: Path):
    both = load_clip(str(folder))
    image, text = (load_clip(str(folder), towers=half) for half in ("image", "text"))
    assert torch.equal(image.encode_image(images()), both.encode_image(images()))
    assert torch.equal(text.encode_text(CAPTIONS), both.encode_text(CAPTIONS))
    assert "without its text tower" in refusal(lambda: image.encode_text(TOKENIZER(CAPTIONS)))
    assert "without its picture tower" in refusal(lambda: text.encode_image(images()))


def test_a_tower_saved_alone_is_loaded_alone(folder: Path, tmp_path: Path):
    image = load_clip(str(folder), towers="image")
    assert isinstance(image, CLIP)
    save_clip(image, tmp_path / "half")
    again = load_clip(str(tmp_path / "half"), towers="image")
    assert torch.equal(again.encode_image(images()), image.encode_image(images()))
    line = refusal(lambda: load_clip(str(tmp_path / "half")))
    assert "towers='image'" in line and str(tmp_path / "half") in line


# --- refused --------------------------------------------------------------------------------------


def rewrite(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the weights in a file and leave all else as it is."""
    with safe_open(path, "pt") as file:
        settings = file.metadata()
    state = load_file(path)
    change(state)
    save_file(state, path, settings)


@pytest.mark.parametrize("towers", ["both", "image", "text"])
@pytest.mark.parametrize(
    ("writer", "image", "text"),
    [
        ("ours", "image.blocks.0.norm1.bias", "text.blocks.1.norm1.bias"),
        ("open_clip", "visual.ln_post.bias", "ln_final.bias"),
    ],
)
@pytest.mark.parametrize("half", ["image", "text"])
def test_weights_that_are_missing_left_over_or_misshapen_are_named(
    half: str, writer: str, image: str, text: str, towers: Any, tmp_path: Path
):
    """In the tower that is not read too: half a model of another kind is not half of this one."""
    key = {"image": image, "text": text}[half]
    faults: dict[str, Callable[[dict[str, Tensor]], object]] = {
        "missing": lambda state: state.pop(key),
        f"{key}2|left over": lambda state: state.update({f"{key}2": torch.zeros(3)}),
        "of another shape": lambda state: state.update({key: torch.zeros(3)}),
    }
    for says, change in faults.items():
        WRITERS[writer](tmp_path)
        rewrite(next(tmp_path.glob("*.safetensors")), change)
        line = refusal(lambda: load_clip(str(tmp_path), towers=towers), BadWeights)
        assert any(word in line for word in says.split("|"))
        assert str(tmp_path) in line


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("length", [0, 4, 100, 5000])
def test_a_file_that_is_cut_short_is_refused(writer: str, length: int, tmp_path: Path):
    WRITERS[writer](tmp_path)
    path = next(tmp_path.glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:length])
    for towers in ("both", "image"):
        refusal(lambda towers=towers: load_clip(str(tmp_path), towers=towers), BadWeights)


def test_a_model_of_another_family_is_refused(folder: Path, tmp_path: Path):
    save_vit(ViT(IMAGE), tmp_path / "vit")
    assert "load_vit" in refusal(lambda: load_clip(str(tmp_path / "vit")))
    assert "load_clip" in refusal(lambda: load_vit(str(folder)))
    write_open_clip(tmp_path / "open_clip")
    assert "load_clip" in refusal(lambda: load_vit(str(tmp_path / "open_clip")))
    write_transformers(tmp_path / "transformers")
    assert "'clip'" in refusal(lambda: load_vit(str(tmp_path / "transformers")))
    transformers.ViTConfig().save_pretrained(tmp_path / "transformers")
    assert "'vit'" in refusal(lambda: load_clip(str(tmp_path / "transformers")))
    (tmp_path / "transformers" / "config.json").write_text('{"architecture": "vit_tiny"}')
    assert "not that of a CLIP" in refusal(lambda: load_clip(str(tmp_path / "transformers")))


def test_a_tokenizer_that_is_not_there_is_missed(folder: Path, tmp_path: Path):
    (folder / "tokenizer.json").unlink()
    assert "tokenizer" in refusal(lambda: load_clip(str(folder)), NotHere)
    write_transformers(tmp_path / "bare")
    (tmp_path / "bare" / "tokenizer.json").unlink()
    assert "no tokenizer" in refusal(lambda: load_clip(str(tmp_path / "bare")), NotHere)
    for place in (folder, tmp_path / "bare"):  # who only looks at pictures needs none
        assert load_clip(str(place), towers="image").encode_image([noise(20, 20)]).shape == (1, 12)


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Without a network, a cache: where in it a repository's files lie."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def make(repository: str) -> Path:
        home = tmp_path / f"models--{repository.replace('/', '--')}"
        (home / "refs").mkdir(parents=True)
        (home / "refs" / "main").write_text("0" * 40)
        folder = home / "snapshots" / ("0" * 40)
        folder.mkdir(parents=True)
        return folder

    return make


def test_a_tokenizer_may_lie_in_a_repository_of_its_own(cached: Callable[[str], Path]):
    """CLIPA's is that of BERT; a cache without a network must hold both."""
    write_open_clip(cached("owner/clip"), text_cfg={"hf_tokenizer_name": "owner/words"})
    line = refusal(lambda: load_clip("hf:owner/clip"), Offline)
    assert "hf:owner/words (for hf:owner/clip)" in line
    write_words(cached("owner/words"))
    loaded = load_clip("hf:owner/clip")
    assert loaded.tokenizer is not None
    assert loaded.tokenizer(["a"]).tolist() == [[3] + 8 * [0]]
    assert loaded.source == "hf:owner/clip (hub)"


def test_a_cache_that_holds_half_of_a_repository_is_no_whole_model(cached: Callable[[str], Path]):
    """As transformers' CLIPModel leaves it: how pictures and texts are read is not known then."""
    folder = cached("owner/clip")
    write_transformers(folder)
    processor = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    words = [(folder / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")]
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    absent = folder.parent.parent / ".no_exist" / folder.name
    absent.mkdir(parents=True)

    def line(towers: Any = "both") -> str:
        start = time.perf_counter()
        said = refusal(lambda: load_clip("hf:owner/clip", towers=towers), Offline)
        assert time.perf_counter() - start < 10
        return said

    assert "tokenizer.json" in line()
    (folder / "tokenizer.json").write_bytes(words[0])
    assert "no tokenizer_config.json" in line()
    (folder / "tokenizer_config.json").write_bytes(words[1])
    assert "no preprocessor_config.json" in line()
    assert "no preprocessor_config.json" in line("image")
    # The publisher may have none: then it is remembered, and the family's own is meant.
    for name in ("preprocessor_config.json", "processor_config.json"):
        (absent / name).touch()
    assert load_clip("hf:owner/clip").preprocessing.std[0] == pytest.approx(0.26862954)
    (absent / "processor_config.json").unlink()
    assert "no preprocessor" not in (said := line()) and "processor_config.json" in said
    joint = {"image_processor": {**processor, "image_std": [0.25] * 3}}
    (folder / "processor_config.json").write_text(json.dumps(joint))
    assert load_clip("hf:owner/clip").preprocessing.std == (0.25, 0.25, 0.25)
    (folder / "processor_config.json").write_text("{}")
    (absent / "preprocessor_config.json").unlink()
    assert "no preprocessor_config.json" in line()
    (folder / "preprocessor_config.json").write_text(
        json.dumps({**processor, "image_std": [0.5] * 3})
    )
    assert load_clip("hf:owner/clip").preprocessing.std == (0.5, 0.5, 0.5)


def test_a_picture_model_needs_its_processor_from_the_cache_too(cached: Callable[[str], Path]):
    folder = cached("owner/vit")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    small |= {"intermediate_size": 24, "image_size": 16, "patch_size": 8}
    config = transformers.ViTConfig(**small)
    transformers.ViTModel(config).save_pretrained(folder)
    assert "no preprocessor_config.json" in refusal(lambda: load_vit("hf:owner/vit"), Offline)
    size = {"height": 16, "width": 16}
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": size}))
    assert load_vit("hf:owner/vit").preprocessing.size == (16, 16)
    transformers.ViTModel(config).save_pretrained(folder.parents[3] / "own")
    assert load_vit(str(folder.parents[3] / "own")).preprocessing.size == (16, 16)


def test_our_own_tokenizer_is_missed_from_the_cache(cached: Callable[[str], Path]):
    folder = cached("owner/ours")
    save_clip(random_model(), folder)
    assert load_clip("hf:owner/ours").tokenizer is not None
    (folder / "tokenizer.json").unlink()
    assert "tokenizer.json" in refusal(lambda: load_clip("hf:owner/ours"), Offline)


def test_towers_that_no_model_has_are_refused(folder: Path):
    line = refusal(lambda: load_clip(str(folder), towers="images"))  # type: ignore[arg-type]
    assert "both, image, text" in line


def test_settings_of_another_version_are_refused(folder: Path):
    path = folder / "model.safetensors"
    with safe_open(path, "pt") as file:
        settings = json.loads(file.metadata()["mmfm"])
    for change in ({"config": {"depth": 3}}, {"preprocessing": None}):
        save_file(load_file(path), path, {"mmfm": json.dumps({**settings, **change})})
        assert "another version" in refusal(lambda: load_clip(str(folder)), BadWeights)


def change_settings(path: Path, **changes: Any) -> None:
    """Set settings by their names, of parts too: `text_cfg__heads`; `...` takes one away."""
    settings = json.loads(path.read_text())
    for name, value in changes.items():
        *parts, last = name.split("__")
        part = settings
        for key in parts:
            part = part[key]
        part.pop(last, None)
        if value is not ...:
            part[last] = value
    path.write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_cfg": {}}, "vision_cfg, text_cfg, embed_dim"),
        ({"model_cfg": []}, "model_cfg is []"),
        ({"model_cfg__vision_cfg": ...}, "says nothing of vision_cfg"),
        ({"model_cfg__text_cfg": ...}, "says nothing of text_cfg"),
        ({"model_cfg__embed_dim": ...}, "says nothing of embed_dim"),
        ({"model_cfg__text_cfg": None}, "text_cfg is None"),
        ({"preprocess_cfg": None}, "preprocess_cfg is None"),
        ({"preprocess_cfg": {"mean": [0.5]}}, "mean is [0.5]"),
        ({"preprocess_cfg": {"std": "x"}}, "std is 'x'"),
        ({"preprocess_cfg": {"std": 0}}, "std"),
        ({"model_cfg__vision_cfg__patch_size": 0}, "patch_size is 0"),
        ({"model_cfg__vision_cfg__patch_size": None}, "its open_clip_config.json"),
        ({"model_cfg__vision_cfg__head_width": 0}, "head_width is 0"),
        ({"model_cfg__vision_cfg__head_width": 64}, "0 heads"),
        ({"model_cfg__vision_cfg__layers": "x"}, "layers is 'x'"),
        ({"model_cfg__vision_cfg__pool_type": []}, "pool_type is []"),
        ({"model_cfg__vision_cfg__norm_kwargs": {"eps": "x"}}, "eps is 'x'"),
        ({"model_cfg__vision_cfg__act_kwargs": 3}, "act_kwargs is 3"),
        ({"model_cfg__vision_cfg__timm_model_name": 3}, "timm_model_name is 3"),
        ({"model_cfg__text_cfg__heads": "8"}, "heads is '8'"),
        ({"model_cfg__text_cfg__heads": 7}, "7 heads"),
        ({"model_cfg__text_cfg__layers": 1_000_000}, "1000000 layers"),
        ({"model_cfg__text_cfg__context_length": 10**9}, "context_length is 1000000000"),
        ({"model_cfg__text_cfg__context_length": 10**7}, "text.positions"),
        ({"model_cfg__text_cfg__vocab_size": 10**7}, "text.embed.weight"),
        ({"model_cfg__text_cfg__tokenizer_kwargs": []}, "tokenizer_kwargs is []"),
    ],
    ids=str,
)
def test_settings_of_open_clips_that_no_model_has_are_named(
    changes: dict[str, Any], says: str, tmp_path: Path
):
    write_open_clip(tmp_path)
    change_settings(tmp_path / "open_clip_config.json", **changes)
    line = refusal(lambda: load_clip(str(tmp_path)), MmfmError)
    assert says in line and str(tmp_path) in line


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": []}, "model_type is []"),
        ({"vision_config": 3}, "vision_config is 3"),
        ({"vision_config__patch_size": 0}, "patch_size is 0"),
        ({"vision_config__hidden_size": "x"}, "hidden_size is 'x'"),
        ({"vision_config__image_size": {"height": 16}}, "image_size is {'height': 16}"),
        ({"vision_config__image_size": 10**6}, "image.positions"),
        ({"vision_config__num_hidden_layers": 10**6}, "1000000 layers"),
        ({"vision_config__hidden_act": []}, "hidden_act is []"),
        ({"text_config__eos_token_id": [2]}, "eos_token_id is [2]"),
        ({"text_config__max_position_embeddings": 10**7}, "text.positions"),
        ({"projection_dim": True}, "projection_dim is True"),
    ],
    ids=str,
)
def test_settings_of_transformers_that_no_model_has_are_named(
    changes: dict[str, Any], says: str, tmp_path: Path
):
    write_transformers(tmp_path)
    change_settings(tmp_path / "config.json", **changes)
    line = refusal(lambda: load_clip(str(tmp_path)), MmfmError)
    assert says in line and str(tmp_path) in line


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"resample": 4}, "resample is 4, not one of 0 (nearest), 1 (lanczos)"),
        ({"resample": 9}, "resample is 9"),
        ({"resample": []}, "resample is []"),
        ({"size": "x"}, "size is 'x'"),
        ({"size": {"shortest_edge": "x"}}, "size is {'shortest_edge': 'x'}"),
        ({"image_mean": 3}, "image_mean is 3"),
        ({"image_std": [0, 1, 1]}, "std is above 0"),
    ],
    ids=str,
)
def test_a_processor_that_cannot_be_is_named(changes: dict[str, Any], says: str, tmp_path: Path):
    write_transformers(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text('{"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}')
    assert load_clip(str(tmp_path)).preprocessing.interpolation == "bicubic"
    change_settings(path, **changes)
    line = refusal(lambda: load_clip(str(tmp_path)), MmfmError)
    assert says in line and "preprocessor_config.json" in line and str(tmp_path) in line


@pytest.mark.parametrize("changes", [{"heads": "2"}, {"depth": 10**6}, {"context": 10**7}])
def test_our_own_settings_are_held_against_the_weights(folder: Path, changes: dict[str, Any]):
    path = folder / "model.safetensors"
    with safe_open(path, "pt") as file:
        settings = json.loads(file.metadata()["mmfm"])
    settings["config"]["text"] |= changes
    save_file(load_file(path), path, {"mmfm": json.dumps(settings)})
    refusal(lambda: load_clip(str(folder)), BadWeights)


def test_a_type_that_no_model_runs_in_is_refused(folder: Path):
    assert "torch.int8" in refusal(lambda: load_clip(str(folder), dtype=torch.int8))
    assert "torch.int8" in refusal(lambda: load_vit("vit-nano", dtype=torch.int8))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("writer", WRITERS)
def test_weights_that_are_no_numbers_are_named(writer: str, number: float, tmp_path: Path):
    WRITERS[writer](tmp_path)

    def spoil(state: dict[str, Tensor]) -> None:
        key = next(key for key in state if key.endswith(("mlp.up.bias", "c_fc.bias", "fc1.bias")))
        state[key][2] = number

    rewrite(next(tmp_path.glob("*.safetensors")), spoil)
    line = refusal(lambda: load_clip(str(tmp_path)), BadWeights)
    assert "blocks.0.mlp.up.bias" in line and str(tmp_path) in line


def test_large_numbers_are_numbers():
    large = {"a": torch.full((3,), 3e38), "b": torch.full((3,), 6e4, dtype=torch.float16)}
    weights.check_finite(large, "x")


# --- what open_clip runs --------------------------------------------------------------------------

COCA = {
    "multimodal_cfg": {"context_length": 9, "width": 16, "heads": 2, "layers": 1},
    "vision_cfg": {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
    "text_cfg": {"embed_cls": True, "output_tokens": True},
}
WRAPPED: dict[str, dict[str, Any]] = {
    "ResNet": {"vision_cfg": {"layers": [1, 1, 1, 1], "image_size": 64, "head_width": 64}},
    "CoCa": COCA,
    "timm's": {
        "vision_cfg": {"timm_model_name": "test_convnext", "timm_pool": "avg", "image_size": 64},
        "custom_text": True,
    },
    "an option of our own blocks": {"vision_cfg": {"scale_heads": True}},
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_what_is_no_pair_of_transformers_is_run_by_open_clip(kind: str, tmp_path: Path):
    theirs = write_open_clip(tmp_path, **deepcopy(WRAPPED[kind]))
    ours = load_clip(str(tmp_path))
    assert isinstance(ours, OpenCLIP)
    side = ours.preprocessing.size[0]
    picture = noise(50, 70)
    transform = image_transform_v2(PreprocessCfg(size=side), is_train=False)
    ids = open_clip.SimpleTokenizer(context_length=9)(CAPTIONS)
    with torch.inference_mode():
        image = theirs.encode_image(transform(picture)[None], normalize=True)
        text = theirs.encode_text(ids, normalize=True)
    torch.testing.assert_close(ours.encode_image([picture]), image, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.encode_text(CAPTIONS), text, rtol=0, atol=1e-6)
    out = ours(torch.zeros(1, 3, side, side), ids)
    assert out.logits.shape == (1, 3)
    assert ours.source == f"{tmp_path} (local)"


def test_a_language_model_of_transformers_is_run_by_open_clip(
    cached: Callable[[str], Path], tmp_path: Path
):
    tower = {
        "hf_model_name": "owner/words",
        "hf_tokenizer_name": "owner/words",
        "hf_pooler_type": "mean_pooler",
        "hf_proj_type": "mlp",
    }
    settings = {"vocab_size": 50, "max_position_embeddings": 40, "num_hidden_layers": 1}
    settings |= {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}
    words = cached("owner/words")
    transformers.XLMRobertaConfig(**settings).save_pretrained(words)
    write_words(words)
    # open_clip, building the model for the test, asks for the same settings by their path.
    theirs = write_open_clip(
        tmp_path / "clip", text_cfg={**tower, "hf_model_name": str(words)}, custom_text=True
    )
    path = tmp_path / "clip" / "open_clip_config.json"
    path.write_text(path.read_text().replace(str(words), "owner/words"))
    write_words(tmp_path / "clip")
    ours = load_clip(str(tmp_path / "clip"))
    assert isinstance(ours, OpenCLIP)
    ids = torch.tensor([[3, 3, 0, 0], [3, 0, 0, 0]])
    with torch.inference_mode():
        rows = theirs.encode_text(ids, normalize=True)
    torch.testing.assert_close(ours.encode_text(ids), rows, rtol=0, atol=1e-6)
    assert ours.encode_text(["a", "a a"]).shape == (2, 12)
    assert "from 0 to 49" in refusal(lambda: ours.encode_text(torch.tensor([[3, 50]])))


@pytest.mark.parametrize("kind", WRAPPED)
def test_one_tower_of_what_open_clip_runs_can_be_kept_alone(kind: str, tmp_path: Path):
    write_open_clip(tmp_path, **deepcopy(WRAPPED[kind]))
    both, image, text = (
        load_clip(str(tmp_path), towers=half) for half in ("both", "image", "text")
    )
    picture = [noise(50, 70)]
    assert torch.equal(image.encode_image(picture), both.encode_image(picture))
    assert torch.equal(text.encode_text(CAPTIONS), both.encode_text(CAPTIONS))
    size = {m: sum(p.numel() for p in m.parameters()) for m in (both, image, text)}
    assert size[image] + size[text] <= size[both] + 2
    assert "without its text tower" in refusal(lambda: image.encode_text(TOKENIZER(CAPTIONS)))
    assert "without its picture tower" in refusal(lambda: text.encode_image(images()))


def test_what_of_a_coca_is_never_asked_may_be_anything(tmp_path: Path):
    """open_clip itself leaves a weight there as the memory happened to be."""
    write_open_clip(tmp_path, **deepcopy(WRAPPED["CoCa"]))
    path = tmp_path / "open_clip_model.safetensors"
    rewrite(path, lambda state: state["text_decoder.text_projection"].fill_(float("nan")))
    assert load_clip(str(tmp_path)).encode_text(CAPTIONS).isfinite().all()


def test_a_weight_that_open_clip_misses_is_told_in_a_line(tmp_path: Path):
    write_open_clip(tmp_path, **deepcopy(WRAPPED["ResNet"]))
    path = tmp_path / "open_clip_model.safetensors"
    rewrite(path, lambda state: state.pop("visual.conv1.weight"))
    assert "visual.conv1.weight" in refusal(lambda: load_clip(str(tmp_path)), BadWeights)
    write_open_clip(tmp_path, **deepcopy(WRAPPED["ResNet"]))
    rewrite(path, lambda state: state["visual.conv1.weight"].fill_(float("nan")))
    assert "visual.conv1.weight" in refusal(lambda: load_clip(str(tmp_path)), BadWeights)


def test_settings_that_open_clip_does_not_know_are_refused(tmp_path: Path):
    write_open_clip(tmp_path)
    path = tmp_path / "open_clip_config.json"
    settings = json.loads(path.read_text())
    settings["model_cfg"]["vision_cfg"]["shape_of_things_to_come"] = 3
    path.write_text(json.dumps(settings))
    assert "shape_of_things_to_come" in refusal(lambda: load_clip(str(tmp_path)))
