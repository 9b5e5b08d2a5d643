"""Every engine says what the model says; which one runs is measured, refused, kept, made anew."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import mmfm
from mmfm import engines, engines_onnx
from mmfm.data import probes
from mmfm.data.pictures import Preprocessing
from mmfm.engines import Agreement, Engine, Recorded, agreement, choose, is_out_of_memory, plain
from mmfm.errors import BadInput, MmfmError, NotHere
from mmfm.models.clip import CLIP, CLIPConfig, TextConfig, TwoTowers
from mmfm.models.vit import ViTConfig
from mmfm.models.wrapped import OpenCLIP

TEXT = TextConfig(vocabulary=8, context=4, dim=8, depth=1, heads=1, mlp_dim=8)
SMALL: dict[str, Any] = {
    "image_size": (32, 32), "patch_size": 8, "dim": 32, "depth": 3, "heads": 4, "mlp_dim": 64,
}  # fmt: skip


def tiny(*, projection: str = "linear", dim: int = 24, **changes: Any) -> CLIP:
    """A CLIP whose every weight is drawn, so that none can be forgotten unnoticed."""
    config = CLIPConfig(
        ViTConfig(**{**SMALL, **changes}), TEXT, dim=dim, image_projection=projection  # type: ignore[arg-type]
    )  # fmt: skip
    clip = CLIP(config).eval().requires_grad_(False)
    for name, weight in clip.named_parameters():
        if name.startswith("image") and weight.ndim == 2:
            torch.nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
        elif name.startswith("image"):
            torch.nn.init.normal_(weight, mean=float(name.endswith("weight")), std=0.3)
    return clip


def noise(clip: TwoTowers, count: int) -> Tensor:
    size = (count, *clip.preprocessing.size, len(clip.preprocessing.mean))
    return clip.preprocessing.normalise(torch.randint(0, 256, size, dtype=torch.uint8))


def in_whole_numbers(clip: CLIP, images: Tensor) -> Engine:
    with engines_onnx.watching(clip) as ranges:
        clip.project_image(images)
    return engines._int8(clip, 1, engines_onnx.write(clip, ranges))


def off_the_mean(reference: Tensor, rows: Tensor) -> float:
    mean = reference.mean(dim=0)
    return F.cosine_similarity(reference - mean, rows - mean).min().item()


@pytest.fixture(scope="module")
def shapes() -> CLIP:
    clip = mmfm.load_clip("clip-shapes")
    assert isinstance(clip, CLIP)
    return clip


@pytest.fixture(scope="module", autouse=True)
def pictures_drawn_once() -> Iterator[None]:
    """The real ones, but not decoded and drawn for each test."""
    made = probes.probes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "probes", lambda: made)
        yield


@pytest.fixture(autouse=True)
def one_thread(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads of torch beside other programs make minutes of seconds; `examined` has them."""
    if "examined" not in request.fixturenames:
        monkeypatch.setattr(engines, "usable_threads", lambda: 1)


@pytest.fixture(scope="module")
def examined(shapes: CLIP, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Engine]:
    """A cache that knows clip-shapes, and the engine that was chosen while it learned."""
    folder = tmp_path_factory.mktemp("engines")
    return folder, choose(shapes, cache=folder)


# --- what an engine answers -----------------------------------------------------------------------


def test_the_plain_engine_says_what_encode_image_says_however_many_come() -> None:
    clip = tiny()
    engine = plain(clip)
    assert engine.name == "fp32"
    assert engine(noise(clip, 0)).shape == (0, 24)
    for count in (1, engine.batch, 2 * engine.batch + 3):
        images = noise(clip, count)
        assert torch.equal(engine(images), clip.encode_image(images, batch=engine.batch))


def test_a_model_loaded_in_bf16_is_run_as_it_is_and_called_so() -> None:
    clip = tiny().bfloat16()
    engine = plain(clip)
    rows = engine(noise(clip, 3))
    assert engine.name == "bf16"
    assert rows.dtype == torch.float32
    assert torch.allclose(rows.norm(dim=1), torch.ones(3), atol=1e-6)


@pytest.mark.parametrize("name", ["bf16", "int8"])
def test_the_fast_engines_agree_with_the_trained_checkpoint(
    shapes: CLIP, name: str, tmp_path: Path
) -> None:
    told: list[str] = []
    engine = choose(shapes, name, cache=tmp_path, say=told.append)
    images = shapes.preprocessing.batch(probes.probes())
    rows, reference = engine(images), plain(shapes)(images)
    assert engine.name == name
    assert rows.dtype == torch.float32
    assert torch.allclose(rows.norm(dim=1), torch.ones(len(rows)), atol=1e-5)
    assert off_the_mean(reference, rows) > 0.998
    assert not torch.equal(rows, reference)  # else it was no other engine
    assert not any("agrees too little" in line for line in told)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm_before": True, "qkv_bias": False, "patch_bias": False},
        {"cls_token": False, "pool": "mean", "activation": "quick_gelu"},
        {"pool": "cls+mean", "activation": "gelu_tanh", "registers": 3},
        {"cls_token": False, "pool": "map", "norm_after": False},
        {"pool": "map", "qk_norm": True, "projection": "affine"},
        {"distilled": True, "positions": "sincos"},
        {"activation": "swiglu", "layer_scale": 0.5, "positions": "none"},
        {"norm_after": False, "norm_pooled": True, "pooler": True, "layer_scale": 0.1},
        {"image_size": (35, 29), "drop_edge": True},
        {"image_size": (24, 40), "channels": 1},
        {"projection": "none", "dim": 32, "depth": 1},
    ],
    ids=str,
)
def test_every_kind_of_tower_is_the_same_in_whole_numbers(changes: dict[str, Any]) -> None:
    clip = tiny(**changes)
    images = noise(clip, 40)
    rows = in_whole_numbers(clip, images)(images)
    assert off_the_mean(clip.encode_image(images), rows) > 0.985


def test_a_picture_gets_the_same_row_in_whole_numbers_whoever_stands_beside_it() -> None:
    clip = tiny()
    images = noise(clip, 9)
    engine = in_whole_numbers(clip, images)
    assert torch.equal(engine(images)[4:5], engine(images[4:5]))


def test_pixels_reach_the_tower_in_whole_numbers_as_the_bytes_they_were() -> None:
    """Without blocks only the weights are rounded, and these fit their steps exactly."""
    clip = tiny(depth=0, cls_token=False, pool="mean", norm_after=False)
    assert clip.image is not None
    torch.nn.init.zeros_(clip.image.embed.weight)
    clip.image.embed.weight[range(32), range(32)] = 1.0
    images = noise(clip, 5)
    rows = in_whole_numbers(clip, images)(images)
    assert torch.allclose(rows, clip.encode_image(images), atol=1e-5)


def test_int8_takes_no_pictures_of_another_size() -> None:
    clip = tiny()
    engine = in_whole_numbers(clip, noise(clip, 4))
    with pytest.raises(BadInput, match="takes pictures of"):
        engine(torch.zeros(1, 3, 40, 40))


def test_neither_weights_nor_threads_are_changed_for_others(shapes: CLIP, tmp_path: Path) -> None:
    before = {name: weight.clone() for name, weight in shapes.state_dict().items()}
    threads = torch.get_num_threads()
    engine = choose(shapes, "bf16", cache=tmp_path)
    engine.threads = threads + 1
    engines._plain(shapes, threads + 1)(noise(shapes, 2))
    assert torch.get_num_threads() == threads
    after = shapes.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {weight.dtype for weight in after.values()} == {torch.float32}
    assert shapes.image is not None
    assert not any(part._forward_pre_hooks for part in shapes.modules())  # int8 looked by these


def test_a_copy_of_the_picture_tower_leaves_the_text_tower_alone(shapes: CLIP) -> None:
    copied = engines.tower_copy(shapes, torch.bfloat16)
    assert isinstance(copied, CLIP)
    assert copied.text is None
    assert shapes.text is not None


@pytest.mark.slow
def test_a_tower_of_open_clips_runs_in_bf16_and_is_refused_in_whole_numbers(tmp_path: Path) -> None:
    settings = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8},  # a ResNet
        "text_cfg": {"context_length": 8, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1},
    }
    preprocessing = Preprocessing((32, 32), mean=(0.5,) * 3, std=(0.5,) * 3)
    clip = OpenCLIP(settings, preprocessing, name="small").eval()
    before = {name: weight.clone() for name, weight in clip.state_dict().items()}
    engine = choose(clip, "bf16", cache=tmp_path)
    images = noise(clip, 5)
    assert F.cosine_similarity(engine(images), plain(clip)(images)).min() > 0.99
    assert all(torch.equal(before[name], weight) for name, weight in clip.state_dict().items())
    with pytest.raises(NotHere, match="no picture tower that is a plain transformer"):
        choose(clip, "int8", cache=tmp_path)
    assert "not int8: " in choose(clip, cache=tmp_path).about


# --- memory ---------------------------------------------------------------------------------------


def narrow(most: int, seen: list[int]) -> Callable[[Tensor], Tensor]:
    def tower(images: Tensor) -> Tensor:
        seen.append(len(images))
        if len(images) > most:
            torch.empty(10**15)  # no machine has so much
        return images.flatten(1)

    return tower


def test_out_of_memory_halves_the_batch_goes_on_and_is_remembered() -> None:
    seen: list[int] = []
    engine = Engine("fp32", narrow(3, seen), dim=4, batch=16, threads=1)
    images = torch.randn(21, 1, 2, 2)
    assert torch.equal(engine(images), F.normalize(images.flatten(1), dim=-1))
    assert seen == [16, 8, 4, *[2] * 10, 1]
    assert engine.batch == 2
    engine(images[:5])
    assert seen[-3:] == [2, 2, 1]


def test_no_memory_for_a_single_picture_is_one_line() -> None:
    engine = Engine("fp32", narrow(0, []), dim=4, batch=4, threads=1)
    with pytest.raises(MmfmError, match=r"no memory for a single picture .* smaller model"):
        engine(torch.randn(3, 1, 2, 2))


def test_another_failure_is_not_taken_for_a_lack_of_memory() -> None:
    def tower(images: Tensor) -> Tensor:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="do not fit"):
        Engine("fp32", tower, dim=4, batch=4, threads=1)(torch.randn(3, 1, 2, 2))


def test_the_way_onnxruntime_says_that_memory_ran_out_is_known() -> None:
    import onnxruntime
    from onnx import TensorProto, helper

    sides = helper.make_tensor_value_info("sides", TensorProto.INT64, [2])
    made = helper.make_tensor_value_info("made", TensorProto.FLOAT, ["a", "b"])
    node = helper.make_node("ConstantOfShape", ["sides"], ["made"])
    graph = helper.make_graph([node], "large", [sides], [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    with pytest.raises(Exception) as caught:
        session.run(None, {"sides": np.array([10**7, 10**7])})
    assert is_out_of_memory(caught.value)
    with pytest.raises(Exception) as caught:
        session.run(None, {"sides": np.array([-1, 1])})
    assert not is_out_of_memory(caught.value)


# --- agreement ------------------------------------------------------------------------------------


def test_agreement_is_judged_without_what_all_pictures_share() -> None:
    shared = torch.tensor([10.0, 0.0, 0.0])
    reference = shared + torch.tensor([[0, 1.0, 0], [0, -1.0, 0], [0, 0, 1.0], [0, 0, -1.0]])
    assert agreement(reference, reference, None) == Agreement(pytest.approx(1.0), 0, 0)
    swapped = reference[[1, 0, 2, 3]]
    assert F.cosine_similarity(reference, swapped).min() > 0.97  # what a plain cosine would say
    assert agreement(reference, swapped, None).cosine == pytest.approx(-1.0)


def test_another_best_text_counts_where_the_model_was_sure() -> None:
    texts = torch.eye(2)
    rows = F.normalize(torch.tensor([[1.0, 0.2], [0.2, 1.0], [1.0, 0.995], [1.0, -0.5]]), dim=1)
    changed = rows.clone()
    changed[2] = rows[2].flip(0)  # led by less than the margin
    assert (agreement(rows, changed, texts).asked, agreement(rows, changed, texts).changed) == (
        3,
        0,
    )
    changed[0] = rows[0].flip(0)
    found = agreement(rows, changed, texts)
    assert (found.asked, found.changed) == (3, 1)


def test_enough_is_a_cosine_of_0_99_for_every_picture_and_no_other_best_text() -> None:
    assert Agreement(cosine=0.99, asked=5, changed=0).enough
    assert not Agreement(cosine=0.9899, asked=5, changed=0).enough
    assert not Agreement(cosine=1.0, asked=5, changed=1).enough


def test_an_engine_that_says_nothing_does_not_agree() -> None:
    reference = F.normalize(torch.randn(4, 3), dim=1)
    assert not agreement(reference, torch.full((4, 3), torch.nan), None).enough


# --- the choice -----------------------------------------------------------------------------------


def test_auto_measures_once_and_a_later_start_reads_what_was_kept(
    shapes: CLIP, examined: tuple[Path, Engine]
) -> None:
    folder, first = examined
    kept = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    told: list[str] = []
    again = choose(shapes, cache=folder, say=told.append)
    assert told == []
    assert (again.name, again.threads) == (first.name, first.threads)
    assert again.about == f"{first.about}; kept"
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == kept
    assert sorted(path.suffix for path in kept) == [".json", ".onnx", ".sha256"]


def test_the_choice_says_speeds_and_agreement_in_one_line(examined: tuple[Path, Engine]) -> None:
    folder, engine = examined
    (file,) = folder.glob("*.json")
    verdict = json.loads(file.read_text())["verdict"]
    assert {"fp32 x 1", "int8 x 1"} <= verdict["speeds"].keys()
    assert verdict["speeds"][f"{verdict['engine']} x {verdict['threads']}"] >= 0.95 * max(
        verdict["speeds"].values()
    )
    assert engine.about.startswith(f"{engine.name} on {engine.threads} thread")
    assert "fp32 x 1 " in engine.about
    assert "int8" in verdict["agreements"]
    assert "\n" not in engine.about


def test_a_tower_that_was_not_used_for_months_leaves_the_cache(
    shapes: CLIP, tmp_path: Path
) -> None:
    days = {"month.onnx": 30, "month.sha256": 30, "year.onnx": 365, "year.sha256": 365}
    for name, old in days.items():
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (time.time() - old * 24 * 3600,) * 2)
    choose(shapes, "int8", cache=tmp_path)
    (model,) = set(tmp_path.glob("*.onnx")) - {tmp_path / "month.onnx"}
    assert (tmp_path / "month.sha256").is_file() and not (tmp_path / "year.sha256").exists()
    os.utime(model, (time.time() - 60 * 24 * 3600,) * 2)
    choose(shapes, "int8", cache=tmp_path)
    assert time.time() - model.stat().st_mtime < 24 * 3600  # to use it keeps it


@pytest.mark.parametrize("harm", ["torn", "foreign", "unsealed"])
def test_a_harmed_model_file_is_made_anew(shapes: CLIP, tmp_path: Path, harm: str) -> None:
    choose(shapes, "int8", cache=tmp_path)
    (model,) = tmp_path.glob("*.onnx")
    good = model.read_bytes()
    seal = model.with_suffix(".sha256")
    if harm == "torn":
        model.write_bytes(good[: len(good) // 2])
    elif harm == "unsealed":
        seal.unlink()
    else:
        other = tmp_path / "other"
        choose(tiny(), "int8", cache=other)
        next(other.glob("*.onnx")).replace(model)
        next(other.glob("*.sha256")).replace(seal)
    engine = choose(shapes, "int8", cache=tmp_path)
    assert model.read_bytes() == good
    images = noise(shapes, 8)
    assert off_the_mean(plain(shapes)(images), engine(images)) > 0.95


@pytest.mark.parametrize("harm", [b"", b"{", b"[]", b'{"verdict": {"engine": 3}}'])
def test_a_harmed_verdict_is_measured_again(shapes: CLIP, tmp_path: Path, harm: bytes) -> None:
    choose(shapes, "int8", cache=tmp_path)
    (file,) = tmp_path.glob("*.json")
    file.write_bytes(harm)
    assert choose(shapes, "int8", cache=tmp_path).name == "int8"
    assert json.loads(file.read_bytes())["verdict"]["engine"] == "int8"


def test_a_few_pictures_are_run_as_they_are_without_onnxruntime(tmp_path: Path) -> None:
    program = f"""
import sys, mmfm
from pathlib import Path
from mmfm.engines import choose
engine = choose(mmfm.load_clip("clip-shapes"), pictures=200, cache=Path({str(tmp_path)!r}))
assert engine.name == "fp32", engine.name
assert "too few pictures to measure for (200)" in engine.about, engine.about
assert not {{"onnx", "onnxruntime"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert list(tmp_path.iterdir()) == []


def with_an_outlier() -> CLIP:
    """A tower with one hidden number so large that one scale for all rounds the others away."""
    clip = tiny()
    assert clip.image is not None
    for block in clip.image.blocks:
        up, down = block.mlp.up, block.mlp.down  # type: ignore[union-attr]
        up.bias[0], up.weight[0] = 3e4, 0.0  # type: ignore[index]
        down.weight[:, 0] = 0.0  # type: ignore[index]
    return clip


def test_an_engine_that_agrees_too_little_is_refused_with_its_numbers(tmp_path: Path) -> None:
    clip = with_an_outlier()
    engine = choose(clip, cache=tmp_path)
    assert engine.name != "int8"
    assert "not int8: agrees too little with fp32 (cosine " in engine.about
    assert "best texts differ)" in engine.about
    again = choose(clip, cache=tmp_path)
    assert again.about == f"{engine.about}; kept"


def test_a_wished_engine_that_agrees_too_little_runs_and_it_is_said_each_time(
    tmp_path: Path,
) -> None:
    clip = with_an_outlier()
    for _ in range(2):
        told: list[str] = []
        assert choose(clip, "int8", cache=tmp_path, say=told.append).name == "int8"
        assert any("agrees too little" in line and "cosine" in line for line in told)


def test_without_the_extra_int8_says_what_to_install_and_auto_does_without(
    shapes: CLIP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as Python marks what is not there
    with pytest.raises(NotHere, match=r'pip install "mmfm\[onnx\]"'):
        choose(shapes, "int8", cache=tmp_path)
    engine = choose(shapes, cache=tmp_path)
    assert engine.name in ("fp32", "bf16")
    assert "not int8: onnxruntime is not installed" in engine.about


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_wish_that_cannot_be_met_is_an_error() -> None:
    with pytest.raises(NotHere, match="no CUDA device"):
        choose(tiny(), "cuda", cache=None)


def test_an_unknown_engine_is_answered_with_those_that_exist() -> None:
    with pytest.raises(BadInput, match="there are auto, fp32, bf16, int8, cuda"):
        choose(tiny(), "fast", cache=None)


def test_where_nothing_can_be_kept_it_is_said_and_the_engine_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    told: list[str] = []
    clip = tiny()
    engine = choose(clip, "int8", cache=tmp_path / "file" / "engines", say=told.append)
    assert engine(noise(clip, 2)).shape == (2, 24)
    assert any("cannot be kept there" in line for line in told)


def test_the_cache_lies_where_the_user_wants_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MMFM_CACHE", str(tmp_path))
    choose(tiny(), "int8")
    assert list((tmp_path / "engines").glob("*.json"))


def test_making_an_engine_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    clip = tiny()
    choose(clip, "int8", cache=tmp_path)(noise(clip, 2))
    assert capfd.readouterr() == ("", "")


# --- recordings -----------------------------------------------------------------------------------


def test_a_recording_serves_all_batches_up_to_its_size() -> None:
    recorded: list[int] = []

    def record(tower: Callable[[Tensor], Tensor], example: Tensor) -> Callable[[Tensor], Tensor]:
        recorded.append(len(example))

        def replay(images: Tensor) -> Tensor:
            assert images.shape == example.shape  # a CUDA graph knows one shape
            return tower(images)

        return replay

    clip, told = tiny(), list[str]()
    tower = Recorded(clip.project_image, record, told.append)
    for count in (8, 5, 7, 1, 3, 4):
        images = noise(clip, count)
        assert torch.allclose(tower(images), clip.project_image(images), atol=1e-5)
    assert recorded == [8, 1, 4]
    assert told == []


def test_what_cannot_be_recorded_runs_as_it_is_and_that_is_said_once() -> None:
    def record(tower: Callable[[Tensor], Tensor], example: Tensor) -> Callable[[Tensor], Tensor]:
        raise RuntimeError("operation not permitted when stream is capturing")

    clip, told = tiny(), list[str]()
    tower = Recorded(clip.project_image, record, told.append)
    images = noise(clip, 3)
    for _ in range(2):
        assert torch.equal(tower(images), clip.project_image(images))
    assert len(told) == 1
    assert "not permitted" in told[0]


def test_a_recording_that_does_not_fit_into_memory_halves_the_batch() -> None:
    def record(tower: Callable[[Tensor], Tensor], example: Tensor) -> Callable[[Tensor], Tensor]:
        if len(example) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return tower

    clip, told = tiny(), list[str]()
    recorded = Recorded(clip.project_image, record, told.append)
    engine = Engine("cuda", recorded, dim=24, batch=16, threads=1)
    images = noise(clip, 13)
    assert torch.allclose(engine(images), clip.encode_image(images), atol=1e-5)
    assert engine.batch <= 4
    assert told == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_gpu_the_recorded_tower_agrees_and_auto_chooses(tmp_path: Path) -> None:
    clip = mmfm.load_clip("clip-shapes", device="cuda")
    told: list[str] = []
    engine = choose(clip, "cuda", cache=tmp_path, say=told.append)
    images = clip.preprocessing.batch(probes.probes())
    for count in (1, 3, 64, 80):
        rows = engine(images[:count])
        assert rows.device.type == "cpu"
        assert torch.allclose(rows, plain(clip)(images[:count]), atol=0.05)
    assert not any("cannot be recorded" in line for line in told)
    assert choose(clip, cache=tmp_path).name in ("fp32", "cuda")


# --- probe pictures -------------------------------------------------------------------------------


def test_probe_pictures_are_photographs_and_drawings_and_always_the_same() -> None:
    pictures = probes.probes()
    assert len(pictures) >= 64
    assert {picture.mode for picture in pictures} == {"RGB"}
    assert len(probes.photographs()) == 16  # what the wheels of today hold
    again = probes.probes()
    assert all(a.tobytes() == b.tobytes() for a, b in zip(pictures, again, strict=True))
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
