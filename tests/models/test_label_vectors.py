"""Label vectors: made once, kept on disk, never another model's."""

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmfm.data.pictures import Preprocessing
from mmfm.models.clip import CLIP, CLIPConfig, TextConfig
from mmfm.models.label_vectors import cache_file, fingerprint, label_vectors, same_vectors
from mmfm.models.retrieval import class_vectors
from mmfm.models.tokenizer import learn
from mmfm.models.vit import ViTConfig
from mmfm.models.wrapped import OpenCLIP

WORDS = ["a red circle", "a photo of a dog", "빨간 원 사진"]
TOKENIZER = learn(WORDS * 3, vocabulary=300, context=24)
SAID = [["a red circle", "a circle"], ["a photo of a dog"], ["빨간 원", "원 사진"]]


class Counted(CLIP):
    """A random model that counts the texts it reads."""

    def __init__(self, seed: int = 1) -> None:
        image = ViTConfig((16, 16), 8, dim=16, depth=1, heads=2, mlp_dim=24)
        text = TextConfig(300, 24, dim=20, depth=1, heads=2, mlp_dim=24, pool="end", end=2)
        super().__init__(CLIPConfig(image, text, dim=12), tokenizer=TOKENIZER)
        self.reset(torch.Generator().manual_seed(seed))
        self.eval()
        self.texts = 0

    def project_text(self, ids: torch.Tensor) -> torch.Tensor:
        self.texts += len(ids)
        return super().project_text(ids)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "vectors.sqlite"


def test_they_are_the_class_vectors_and_read_once(cache: Path):
    model = Counted()
    first = label_vectors(model, SAID, cache=cache)
    torch.testing.assert_close(first, class_vectors(model, SAID))
    read = model.texts
    again = label_vectors(model, SAID[::-1], cache=cache)
    assert model.texts == read
    torch.testing.assert_close(again, first.flip(0), rtol=0, atol=0)


def test_only_what_is_new_is_read(cache: Path):
    model = Counted()
    label_vectors(model, SAID, cache=cache)
    model.texts = 0
    label_vectors(model, [*SAID, ["a blue star"], ["a blue star"]], cache=cache)
    assert model.texts == 1


def test_other_weights_templates_and_synonyms_are_other_vectors(cache: Path):
    one, other = Counted(1), Counted(2)
    label_vectors(one, SAID, cache=cache)
    torch.testing.assert_close(label_vectors(other, SAID, cache=cache), class_vectors(other, SAID))
    changed = [["a circle", "a red circle of tin"]]
    torch.testing.assert_close(
        label_vectors(one, changed, cache=cache), class_vectors(one, changed)
    )


def test_a_fingerprint_is_of_the_weights_not_of_the_name():
    one, same, other = Counted(1), Counted(1), Counted(2)
    same.name = "otherwise"
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)
    with torch.no_grad():
        same.text.blocks[0].mlp.up.weight.mul_(1.001)  # type: ignore[union-attr]
    assert fingerprint(one) != fingerprint(same)


def test_a_fingerprint_is_of_the_settings_too():
    one = Counted().config
    image, text = one.image, one.text
    configs = [
        one,
        replace(one, image=replace(image, activation="quick_gelu")),
        replace(one, text=replace(text, activation="quick_gelu")),
        replace(one, image=replace(image, heads=4)),
        replace(one, image=replace(image, norm_eps=1e-5)),
        replace(one, image=replace(image, pool="mean")),
        replace(one, text=replace(text, causal=False)),
        replace(one, text=replace(text, pool="argmax", end=None)),
    ]
    marks: list[str] = []
    for config in configs:
        model = CLIP(config, tokenizer=TOKENIZER)
        model.load_state_dict(Counted().state_dict())
        marks.append(fingerprint(model))
    assert marks[0] == fingerprint(Counted()) and len(set(marks)) == len(configs)


def test_a_fingerprint_of_what_open_clip_runs_is_of_its_settings_too():
    preprocessing = Preprocessing((32, 32), mean=(0.5,) * 3, std=(0.5,) * 3)
    image = {"image_size": 32, "patch_size": 16, "layers": 1, "width": 64}
    text = {"context_length": 8, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1}
    settings = {"embed_dim": 16, "vision_cfg": image, "text_cfg": text}
    one, again = (OpenCLIP(settings, preprocessing) for _ in range(2))
    other = OpenCLIP({**settings, "quick_gelu": True}, preprocessing)
    for model in (again, other):
        model.load_state_dict(one.state_dict())
    assert fingerprint(one) == fingerprint(again) != fingerprint(other)


def test_label_sets_differ_by_vectors_and_by_what_is_shown():
    rows = torch.randn(3, 8)
    assert same_vectors(rows, "abc") == same_vectors(rows.clone(), "abc")
    assert same_vectors(rows, "abc") != same_vectors(rows, "abd")
    assert same_vectors(rows, "abc") != same_vectors(rows + 0.1, "abc")


def test_no_cache_is_no_file(tmp_path: Path):
    label_vectors(Counted(), SAID, cache=None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"no database at all" * 99, b"SQLite format 3\0" + b"x" * 900])
def test_a_damaged_cache_is_made_anew(content: bytes, cache: Path):
    cache.parent.mkdir()
    cache.write_bytes(content)
    model = Counted()
    torch.testing.assert_close(label_vectors(model, SAID, cache=cache), class_vectors(model, SAID))
    model.texts = 0
    label_vectors(model, SAID, cache=cache)
    assert model.texts == 0


def test_a_cache_that_cannot_be_kept_is_noted_once_and_costs_nothing_else(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    said: list[str] = []
    model = Counted()
    rows = label_vectors(model, SAID, cache=tmp_path / "file" / "v.sqlite", note=said.append)
    torch.testing.assert_close(rows, class_vectors(model, SAID))
    assert len(said) == 1 and "cannot be kept" in said[0]


def test_rows_of_another_width_are_not_taken(cache: Path):
    model = Counted()
    label_vectors(model, SAID, cache=cache)
    with sqlite3.connect(cache) as database:
        database.execute("update vectors set row = x'00000000'")
    torch.testing.assert_close(label_vectors(model, SAID, cache=cache), class_vectors(model, SAID))


def test_an_interrupted_reading_keeps_what_it_had(cache: Path):
    many = [[f"a photo of number {n}"] for n in range(150)]
    model = Counted()

    def stop(done: int, total: int) -> None:
        assert total == 150
        if done >= 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label_vectors(model, many, cache=cache, progress=stop)
    model.texts = 0
    label_vectors(model, many, cache=cache)
    assert model.texts == 150 - 128


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("MMFM_CACHE", str(tmp_path))
    assert cache_file().parent == tmp_path
    monkeypatch.delenv("MMFM_CACHE")
    assert "mmfm" in str(cache_file()) and os.fspath(tmp_path) not in str(cache_file())
