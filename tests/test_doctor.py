"""The doctor tells a whole machine from a broken one, and names what mends it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from mmfm import hub, machine
from mmfm.data.digits import MNIST, default_folder
from mmfm.errors import NotHere
from mmfm.files import digest
from mmfm.models.label_vectors import cache_file
from mmfm.store import default_store
from mmfm.tasks import doctor
from mmfm.tasks.doctor import Finding
from mmfm.tasks.studio import default_runs

# --- libraries ----------------------------------------------------------------------------------


def test_every_library_that_the_package_asks_for_is_examined_and_here():
    findings = {finding.part: finding for finding in doctor.examine_libraries()}
    assert {"mmfm", "torch", "torchvision", "gradio", "timm", "transformers"} <= findings.keys()
    assert "pytest" not in findings, "what only developers need is not missed"
    assert {finding.state for finding in findings.values()} == {"ok"}
    assert findings["torch"].detail == metadata.version("torch")


def test_a_library_that_is_missing_or_too_old_is_broken_and_the_remedy_names_the_right_one():
    missing = doctor._library("no-such-library", ">=2")
    old = doctor._library("numpy", ">=999")
    assert (missing.state, old.state) == ("broken", "broken")
    assert missing.remedy == f"{sys.executable} -m pip install 'no-such-library>=2'"
    assert old.remedy == f"{sys.executable} -m pip install 'numpy>=999'"
    assert metadata.version("numpy") in old.detail


def test_a_package_that_was_never_installed_is_broken(monkeypatch: pytest.MonkeyPatch):
    def nothing(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "requires", nothing)
    (finding,) = doctor.examine_libraries()
    assert finding.state == "broken" and finding.remedy.endswith("pip install -e .")


# --- torch with torchvision ---------------------------------------------------------------------


def test_torch_and_torchvision_here_are_built_for_each_other():
    assert doctor.examine_torchvision() == Finding(
        "torch with torchvision", "ok", "built for each other"
    )


def test_the_nms_trap_is_named_with_its_cause_and_the_command_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The true trap: torchvision without the compiled half that fits this torch."""
    spec = find_spec("torchvision")
    assert spec is not None and spec.origin is not None
    compiled = shutil.ignore_patterns("*.so", "*.pyd", "*.dylib", "__pycache__")
    shutil.copytree(Path(spec.origin).parent, tmp_path / "torchvision", ignore=compiled)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = doctor.examine_torchvision()
    assert finding.state == "broken"
    assert "operator torchvision::nms does not exist" in finding.detail
    assert "was built for another torch than torch" in finding.detail
    assert metadata.version("torchvision") in finding.detail
    assert finding.remedy == (
        f"{sys.executable} -m pip install --force-reinstall torch torchvision"
    )


@pytest.mark.parametrize(
    ("torchvision", "said"),
    [
        ("raise OSError('libcudart.so.99: cannot open')", "libcudart.so.99: cannot open"),
        ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_another_fault_of_torchvision_is_told_in_its_own_words(
    torchvision: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "torch.py").write_text("")
    (tmp_path / "torchvision.py").write_text(torchvision)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = doctor.examine_torchvision()
    assert finding.state == "broken" and said in finding.detail
    assert "--force-reinstall torch torchvision" in finding.remedy


def test_a_file_named_torch_in_the_current_folder_is_not_taken_for_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "torch.py").write_text("raise OSError('not torch')")
    monkeypatch.chdir(tmp_path)
    assert doctor.examine_torchvision().state == "ok"


# --- folders ------------------------------------------------------------------------------------


def test_a_folder_that_is_not_made_yet_is_fine_and_is_not_made(tmp_path: Path):
    finding = doctor.examine_folder("cache", tmp_path / "a" / "b", "HF_HOME")
    assert finding.state == "info" and "made when it is needed" in finding.detail
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_broken_and_the_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    blocked = doctor.examine_folder("cache", in_the_way / "b", "HF_HOME")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    read_only = doctor.examine_folder("cache", tmp_path, "HF_HOME")
    for finding in (blocked, read_only):
        assert finding.state == "broken"
        assert finding.remedy == "set HF_HOME to a folder that you may write to"


@pytest.mark.parametrize(
    ("part", "variable", "used"),
    [
        ("studio's runs", "MMFM_RUNS", default_runs),
        ("pictures' store", "MMFM_STORE", default_store),
        ("vectors' cache", "MMFM_CACHE", lambda: cache_file().parent),
        ("data sets' cache", "MMFM_DATA", lambda: default_folder(MNIST).parent),
    ],
)
def test_the_folders_that_are_looked_at_are_those_that_are_used(
    part: str,
    variable: str,
    used: Callable[[], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    def examined() -> Finding:
        return next(found for found in doctor.examine_folders() if found.part == part)

    for given in (str(tmp_path / "own"), ""):
        monkeypatch.setenv(variable, given)
        assert examined().state == "info"
        assert examined().detail.startswith((f"{used()};", f"{used()},"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(variable, str(tmp_path / "file" / "own"))
    assert examined().state == "broken"
    assert examined().remedy == f"set {variable} to a folder that you may write to"


# --- checkpoints --------------------------------------------------------------------------------


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a shelf of bundled checkpoints, both with one model."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    bundled = tmp_path / "bundled" / "vit-small"
    write_model(bundled, {"mmfm": 1, "model": "vit", "labels": ["cat", "dog"]})
    monkeypatch.setattr(hub, "bundled", lambda: {"vit-small": bundled})
    cached = tmp_path / "hub" / "models--timm--vit_x.y"
    write_model(cached / "snapshots" / "123", {"architecture": "vit_x", "num_classes": 0})
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("123")
    return tmp_path


def write_model(folder: Path, settings: dict[str, object]) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(settings))
    about = {"mmfm": json.dumps(settings)} if "mmfm" in settings else None
    save_file({"weight": np.zeros(2000, np.float16)}, folder / "model.safetensors", about)


def test_bundled_and_cached_models_are_listed_with_task_and_size(models: Path):
    small, cached = doctor.checkpoints()
    assert (small.name, small.task, small.where) == ("vit-small", "image classification", "bundled")
    assert (cached.name, cached.task, cached.where) == ("timm:vit_x.y", "vit_x", "cached")
    assert small.size == (small.folder / "model.safetensors").stat().st_size > 4000
    assert [f.state for f in doctor.examine_checkpoints([small, cached])] == ["ok", "ok"]


OURS = {
    "vit": {"model": "vit", "labels": ["cat"]},
    "headless": {"model": "vit", "labels": []},
    "nano": {"model": "denoiser", "labels": ["0"], "config": {"classes": 10}},
    "words": {"model": "denoiser", "labels": [], "config": {"text_dim": 64}},
    "ruler": {"model": "ruler", "labels": ["0"]},
    "clip": {"model": "clip"},
}


def test_what_our_own_are_for_is_told_apart(models: Path, monkeypatch: pytest.MonkeyPatch):
    for name, settings in OURS.items():
        write_model(models / "more" / name, {"mmfm": 1, **settings})
    folders = {name: models / "more" / name for name in OURS}
    monkeypatch.setattr(hub, "bundled", lambda: folders)
    assert [found.task for found in doctor.checkpoints() if found.where == "bundled"] == [
        "image classification",
        "vit",
        "drawing",
        "text to picture",
        "measuring pictures",
        "clip",
    ]


CARD = "---\nlicense: mit\nscore: '70.3 % of all'\ntags:\n  score: no\n---\n# Small\nscore: 1\n"


def test_the_score_and_the_card_are_the_cards_own(models: Path):
    small, cached = doctor.checkpoints()
    assert (small.score, small.card, cached.score) == ("", "", "")
    assert cached.card == f"{constants.ENDPOINT}/timm/vit_x.y"
    for found in (small, cached):
        (found.folder / "README.md").write_text(CARD)
    small, cached = doctor.checkpoints()
    assert (small.score, cached.score) == ("70.3 % of all", "70.3 % of all")
    assert small.card == str(small.folder / "README.md") and cached.card.endswith("README.md")


@pytest.mark.parametrize("text", ["", "# No head\nscore: 1", "---\nscore", "---\n--- : -", "\xff"])
def test_a_card_without_a_head_says_nothing(text: str, tmp_path: Path):
    (tmp_path / "README.md").write_text(text, encoding="latin-1")
    assert doctor.card_head(tmp_path / "README.md") == {}
    assert doctor.card_head(tmp_path / "none.md") == {}


def test_of_one_model_the_same_is_told_as_in_the_list(models: Path):
    assert [doctor.about("vit-small"), doctor.about("timm:vit_x.y")] == [*doctor.checkpoints()]
    assert doctor.about(str(models / "bundled" / "vit-small")).where == "yours"
    with pytest.raises(NotHere, match="mmfm models get hf:a/b fetches it"):
        doctor.about("hf:a/b")


def diffusers(models: Path, kind: str, pipeline: object = None) -> Path:
    """A network of diffusers' in the cache, in a pipeline or alone."""
    folder = models / "hub" / "models--a--drawn"
    shutil.rmtree(folder, ignore_errors=True)
    part = folder / "snapshots" / "123" / ("unet" if pipeline else "")
    write_model(part, {"_class_name": kind})
    (part / "model.safetensors").rename(part / "diffusion_pytorch_model.safetensors")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("123")
    if pipeline:
        index = {"_class_name": pipeline}
        (folder / "snapshots" / "123" / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    ("kind", "pipeline", "task", "foreign"),
    [
        ("UNet2DModel", None, "drawing", False),
        ("UNet2DModel", "DDPMPipeline", "drawing", False),
        ("DenoiserNetwork", ["pipeline", "DenoiserPipeline"], "drawing", False),
        ("AutoencoderKL", None, "AutoencoderKL", True),
        ("UNet2DConditionModel", "StableDiffusionPipeline", "StableDiffusionPipeline", True),
        ("UNet2DModel", "LDMPipeline", "LDMPipeline", True),
    ],
)
def test_diffusers_own_are_listed_and_what_mmfm_does_not_run_is_no_broken_part(
    kind: str, pipeline: object, task: str, foreign: bool, models: Path
):
    diffusers(models, kind, pipeline)
    found = next(found for found in doctor.checkpoints() if found.name == "hf:a/drawn")
    assert (found.task, found.foreign, bool(found.fault)) == (task, foreign, foreign)
    assert found.size > 4000
    (finding,) = doctor.examine_checkpoints([found])
    assert finding.state == ("info" if foreign else "ok")


def test_bundled_weights_that_are_not_those_of_their_card_are_broken(models: Path):
    folder = models / "bundled" / "vit-small"
    right = digest(folder / "model.safetensors")
    (folder / "README.md").write_text(f"---\nsha256: {right}\n---\n")
    assert [f.state for f in doctor.examine_checkpoints(doctor.checkpoints())] == ["ok", "ok"]
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    broken, ok = doctor.examine_checkpoints(doctor.checkpoints())
    assert (broken.state, ok.state) == ("broken", "ok")
    assert "not the one that its card states" in broken.detail and broken.remedy


def shipped(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of clip-shapes that is the one bundled checkpoint."""
    ours = hub.bundled()["clip-shapes"]
    folder = Path(shutil.copytree(ours, shelf / "clip-shapes"))
    monkeypatch.setattr(hub, "bundled", lambda: {"clip-shapes": folder})
    return folder


def told(folder: Path) -> str:
    """What the doctor says is broken about it, in one line with a remedy; "" if it is whole."""
    (found,) = (each for each in doctor.checkpoints() if each.folder == folder)
    (finding,) = doctor.examine_checkpoints([found])
    if finding.state == "ok":
        return ""
    assert finding.state == "broken" and "\n" not in finding.detail
    assert finding.remedy == "install mmfm again from where you have it"
    return finding.detail


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_settings.json"])
def test_a_bundled_tokenizer_that_is_not_the_one_of_its_card_is_broken(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = shipped(tmp_path, monkeypatch)
    assert told(folder) == ""
    (folder / file).write_text((folder / file).read_text(encoding="utf-8") + " ")
    line = f"{folder / file}: its checksum is not the one that its card states"
    assert told(folder) == line
    (folder / file).unlink()
    assert told(folder) == f"{folder / file}: it is missing, though its card states its checksum"


def test_bundled_settings_that_are_not_those_in_the_weights_are_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = shipped(tmp_path, monkeypatch)
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings["config"]["dim"] += 1
    (folder / "config.json").write_text(json.dumps(settings))
    line = f"{folder / 'config.json'}: its settings are not those that lie in model.safetensors"
    assert told(folder) == line


def test_bundled_weights_of_32_bits_are_broken_however_they_are_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = shipped(tmp_path, monkeypatch)
    weights, card = folder / "model.safetensors", folder / "README.md"
    before = digest(weights)
    with safe_open(weights, "numpy") as file:
        about = file.metadata()
    wide = {name: array.astype(np.float32) for name, array in load_file(weights).items()}
    save_file(wide, weights, about)
    card.write_text(card.read_text(encoding="utf-8").replace(before, digest(weights)))
    assert told(folder) == f"{weights}: it keeps weights as F32, not in 16 bits"


def test_a_model_of_open_clips_is_a_clip(models: Path):
    folder = next((models / "hub").rglob("model.safetensors")).parent
    (folder / "model.safetensors").rename(folder / "open_clip_model.safetensors")
    (folder / "config.json").unlink()
    (folder / "open_clip_config.json").write_text('{"model_cfg": {"num_classes": 3}}')
    _, cached = doctor.checkpoints()
    assert (cached.name, cached.task, cached.fault) == ("hf:timm/vit_x.y", "clip", "")


@pytest.mark.parametrize("length", [0, 4, 30, 2000])
def test_a_checkpoint_that_is_cut_short_is_broken(models: Path, length: int):
    weights = models / "bundled" / "vit-small" / "model.safetensors"
    os.truncate(weights, length)
    broken, ok = doctor.examine_checkpoints(doctor.checkpoints())
    assert (broken.part, broken.state, ok.state) == ("vit-small", "broken", "ok")
    assert str(weights.parent) in broken.detail and broken.remedy


def test_a_bundled_checkpoint_without_weights_is_broken(models: Path):
    (models / "bundled" / "vit-small" / "model.safetensors").unlink()
    assert next(doctor.examine_checkpoints(doctor.checkpoints())).state == "broken"


def test_a_cached_checkpoint_that_is_broken_says_which_folder_to_remove(models: Path):
    (weights,) = (models / "hub").rglob("model.safetensors")
    weights.write_bytes(b"\xff" * 100)
    _, broken = doctor.examine_checkpoints(doctor.checkpoints())
    assert broken.state == "broken" and str(weights.parent) in broken.remedy


def test_a_cached_repository_of_which_only_settings_came_is_no_model(models: Path):
    (weights,) = (models / "hub").rglob("model.safetensors")
    weights.unlink()
    assert [checkpoint.name for checkpoint in doctor.checkpoints()] == ["vit-small"]


def test_a_cached_repository_of_another_revision_than_main_is_passed_over(models: Path):
    (models / "hub" / "models--timm--vit_x.y" / "refs" / "main").unlink()
    assert [checkpoint.name for checkpoint in doctor.checkpoints()] == ["vit-small"]


# --- all of it ----------------------------------------------------------------------------------


def test_no_network_is_information_and_no_fault(monkeypatch: pytest.MonkeyPatch):
    for reached in (True, False):
        monkeypatch.setattr(hub, "network", lambda reached=reached: reached)
        assert doctor.examine_network().state == "info"


def test_a_whole_examination_covers_every_part_and_finds_this_machine_whole(
    models: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MMFM_DATA", str(models / "data"))
    monkeypatch.setenv("MMFM_RUNS", str(models / "runs"))
    monkeypatch.setattr(machine, "bf16_is_fast", lambda: True)
    monkeypatch.setattr(doctor, "examine_torchvision", lambda: Finding("fit", "ok", "yes"))
    findings = {finding.part: finding for finding in doctor.examine()}
    parts = {"python", "mmfm", "processor", "instructions", "threads", "memory", "network"}
    folders = {"models' cache", "data sets' cache", "studio's runs", "pictures' store"}
    assert parts | folders | {"vit-small", "timm:vit_x.y", "device"} <= findings.keys()
    assert str(models / "data") in findings["data sets' cache"].detail
    assert str(models / "runs") in findings["studio's runs"].detail
    assert not [f for f in findings.values() if f.state == "broken"]


def test_the_examination_goes_on_when_torch_is_broken(
    models: Path, monkeypatch: pytest.MonkeyPatch
):
    broken = Finding("fit", "broken", "no", "mend it")
    monkeypatch.setattr(doctor, "examine_torchvision", lambda: broken)
    findings = list(doctor.examine())
    assert findings[-1] == broken, "without torch no device is looked at"


def test_sizes_are_written_for_people():
    assert doctor.in_words(17) == "17 bytes"
    assert doctor.in_words(5_300_000) == "5.3 MB"
    assert doctor.in_words(24 * 10**9) == "24.0 GB"


def test_listing_models_imports_no_torch():
    code = (
        "import sys; from mmfm.tasks.doctor import checkpoints, examine_libraries\n"
        "list(checkpoints()), list(examine_libraries())\n"
        "print({'torch', 'gradio', 'transformers'} & sys.modules.keys())"
    )
    asked = [sys.executable, "-c", code]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
