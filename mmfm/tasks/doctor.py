"""Look a machine over: what is installed, what it can do, which models are here, what is broken."""

import itertools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, cast

from mmfm import hub, machine
from mmfm.errors import MmfmError, NotHere
from mmfm.files import digest
from mmfm.hub import in_words

State = Literal["ok", "info", "broken"]
Where = Literal["bundled", "cached", "yours"]

CARD = "README.md"  # of a checkpoint, beside its weights; so the hub has it too
WEIGHTS = "model.safetensors"  # of a checkpoint of ours

# Under which key the head of a bundled checkpoint's card states the checksum of which file: of the
# weights, in which the settings lie too, and of what its texts are cut into pieces with, if any.
SEALED = {
    "sha256": WEIGHTS,
    "sha256-tokenizer": "tokenizer.json",
    "sha256-tokenizer-settings": "tokenizer_settings.json",
}

# What our own checkpoints are for; a vit without labels is just that.
_TASKS = {"vit": "vit", "clip": "clip", "denoiser": "drawing", "ruler": "measuring pictures"}
# Pipelines of diffusers' that mmfm runs, as mmfm.models.wrapped_denoiser has them, with torch.
_RUN = ("DDPMPipeline", "DDIMPipeline", "PNDMPipeline", "DenoiserPipeline")

# Run in a process of its own: two libraries that don't fit can also crash it.
CALL_NMS = """
import torch, torchvision
box = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
assert torchvision.ops.nms(box, torch.ones(1), 0.5).tolist() == [0]
"""


@dataclass(frozen=True)
class Finding:
    """What was found about one part of the machine, and what mends it if it is broken."""

    part: str
    state: State
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """A model whose weights are on this machine."""

    name: str  # as `load_vit` takes it
    task: str
    size: int  # bytes
    where: Where
    folder: Path
    fault: str = ""  # why it cannot be loaded
    foreign: bool = False  # it is whole, but nothing that mmfm runs
    score: str = ""  # one figure that its card states
    card: str = ""  # what its publisher says of it: a file, or an address


def examine() -> Iterator[Finding]:
    """Examine one part after the other; what takes seconds comes last."""
    yield Finding("python", "ok", f"{sys.version.split()[0]}, {sys.executable}")
    yield from examine_libraries()
    yield from examine_machine()
    yield from examine_folders()
    yield from examine_checkpoints(checkpoints())
    yield examine_network()
    fit = examine_torchvision()
    yield fit
    if fit.state == "ok":
        yield from examine_devices()


# --- what is installed ------------------------------------------------------------------------


def examine_libraries() -> Iterator[Finding]:
    """Compare what is installed with what the package asks for, without importing any of it."""
    from packaging.requirements import Requirement

    try:
        asked = [Requirement(line) for line in metadata.requires("mmfm") or []]
    except metadata.PackageNotFoundError:
        remedy = pip("install", "-e", ".")
        yield Finding("mmfm", "broken", "runs from a folder and was never installed", remedy)
        return
    yield Finding("mmfm", "ok", metadata.version("mmfm"))
    for requirement in asked:
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _library(requirement.name, str(requirement.specifier))


def _library(name: str, wanted: str) -> Finding:
    from packaging.specifiers import SpecifierSet

    remedy = pip("install", f"{name}{wanted}")
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, "broken", "is not installed", remedy)
    if not SpecifierSet(wanted).contains(version, prereleases=True):
        return Finding(name, "broken", f"{version}, but mmfm needs {wanted}", remedy)
    return Finding(name, "ok", version)


def examine_torchvision() -> Finding:
    """Call an operator of torchvision that is compiled against one torch and fails with others."""
    part = "torch with torchvision"
    reinstall = pip("install", "--force-reinstall", "torch", "torchvision")
    try:
        # -P: a file named torch.py in the current folder is not torch.
        call = [sys.executable, "-P", "-c", CALL_NMS]
        done = subprocess.run(call, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return Finding(part, "broken", "did not answer within two minutes", reinstall)
    if done.returncode == 0:
        return Finding(part, "ok", "built for each other")
    if done.returncode < 0:
        died_of = signal.Signals(-done.returncode).name
        return Finding(part, "broken", f"importing them ends in {died_of}", reinstall)
    if "torchvision::nms" in done.stderr:
        versions = f"torchvision {_version('torchvision')}", f"torch {_version('torch')}"
        cause = "{} was built for another torch than {}".format(*versions)
        cause += " (operator torchvision::nms does not exist)"
        return Finding(part, "broken", cause, reinstall)
    last = (done.stderr.strip() or "no reason given").splitlines()[-1]
    return Finding(part, "broken", last, reinstall)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def pip(*arguments: str) -> str:
    """The pip command line that works on this very Python."""
    return shlex.join([sys.executable, "-m", "pip", *arguments])


# --- what the machine can do ------------------------------------------------------------------


def examine_machine() -> Iterator[Finding]:
    """Look at processor, threads and memory."""
    yield Finding("processor", "info", machine.cpu_name())
    features = ", ".join(sorted(machine.cpu_features()))
    yield Finding("instructions", "info", features or "unknown on this system")
    allowed, there = machine.usable_threads(), os.cpu_count() or 1
    yield Finding("threads", "info", f"{allowed} of {there} may be used")
    yield Finding("memory", "info", f"{in_words(machine.memory_available())} free")


def examine_devices() -> Iterator[Finding]:
    """Look at what torch can compute on, and with which number type."""
    import torch

    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        yield Finding(f"cuda:{index}", "ok", f"{card.name}, {in_words(card.total_memory)}")
    chosen = machine.pick_device()
    fast = "pays" if machine.bf16_is_fast() else "does not pay"
    yield Finding("device", "ok", f'"auto" is {chosen}; there bf16 {fast}')


def examine_network() -> Finding:
    """See whether the hub answers; that it does not is no fault."""
    answer = "answers" if hub.network() else "does not answer; what is on this machine works anyway"
    return Finding("network", "info", f"the Hugging Face hub {answer}")


# --- folders and checkpoints --------------------------------------------------------------------


def examine_folders() -> Iterator[Finding]:
    """Look at the folders where things are kept: may they be written to, and is there room?"""
    import platformdirs
    from huggingface_hub import constants

    yield examine_folder("models' cache", Path(constants.HF_HUB_CACHE), "HF_HOME")
    data, cache = platformdirs.user_data_path("mmfm"), platformdirs.user_cache_path("mmfm")
    for part, variable, usual in (
        ("data sets' cache", "MMFM_DATA", cache),
        ("studio's runs", "MMFM_RUNS", data / "runs"),
        ("pictures' store", "MMFM_STORE", data / "store"),
        ("vectors' cache", "MMFM_CACHE", cache),
    ):
        folder = os.environ.get(variable) or usual
        yield examine_folder(part, Path(folder).expanduser(), variable)


def examine_folder(part: str, folder: Path, variable: str) -> Finding:
    """Look at one folder, or where it is not made yet, at the one that it would be made in."""
    there = next(f for f in (folder, *folder.parents) if f.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        remedy = f"set {variable} to a folder that you may write to"
        return Finding(part, "broken", f"{folder}: nothing can be written there", remedy)
    room = in_words(shutil.disk_usage(there).free)
    made = "" if there == folder else ", made when it is needed"
    return Finding(part, "info", f"{folder}{made}; {room} free on its disk")


def checkpoints() -> Iterator[Checkpoint]:
    """List the models whose weights are here: those that came with the package, then the cached."""
    for name, folder in hub.bundled().items():
        yield _checkpoint(name, folder, "bundled")
    for name, folder in hub.cached().items():
        yield _checkpoint(name, folder, "cached")


def about(name: str) -> Checkpoint:
    """Say of one model on this machine what `checkpoints` says of all."""
    found = hub.here(name)
    if found is None:
        raise NotHere(f"{name} is not on this machine; mmfm models get {name} fetches it")
    where = {"bundled": "bundled", "local": "yours", "hub": "cached"}[found.origin]
    return _checkpoint(name, found.folder, cast("Where", where), found)


def _checkpoint(
    name: str, folder: Path, where: Where, found: hub.Found | None = None
) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    task, size, foreign = "unknown", 0, False
    try:
        found = found or hub.in_folder(folder, name, layouts=_layouts(name))
        settings = found.settings() or _open_clips_own(name, where)
        index = found.settings("model_index.json") or {}
        task, foreign = _task(settings, index), _is_foreign(settings, index)
        size = sum(path.stat().st_size for path in found.weights)
        for path in found.weights:
            if path.suffix == ".safetensors":
                # Opening reads the list of weights and holds it against the size of the file.
                with safe_open(path, "numpy"):
                    pass
    except SafetensorError as error:
        fault, foreign = f"{folder}: not whole safetensors ({error})", False
    except MmfmError as error:
        fault, foreign = str(error), False
    else:
        fault = "whole, but nothing that mmfm runs" if foreign else ""
    score = card_head(folder / CARD).get("score", "")
    card = _card(folder, where)
    return Checkpoint(name, task, size, where, folder, fault, foreign, score, card)


def _layouts(name: str) -> tuple[hub.Layout, ...]:
    return hub.FOR_VIT if name.startswith("timm:") else hub.FOR_ANY


def _open_clips_own(name: str, where: Where) -> dict[str, Any]:
    """The settings of a tag of open_clip's, which need not lie beside its weights."""
    if where != "cached" or name.startswith(("hf:", "timm:")):
        return {}
    return hub.open_clip_entry(name) or {}


def _task(settings: Mapping[str, Any], index: Mapping[str, Any]) -> str:
    """Say what a model is for, from the settings that its publisher wrote beside the weights."""
    kind = settings.get("model")
    if "mmfm" in settings and kind in _TASKS:
        if kind == "vit" and settings.get("labels"):
            return "image classification"
        return "text to picture" if reads_words(settings) else _TASKS[kind]
    if index or "_class_name" in settings:  # diffusers' own
        named = str(_pipeline(index) or settings.get("_class_name"))
        return named if _is_foreign(settings, index) else "drawing"
    architectures = settings.get("architectures") or []
    classifies = any(name.endswith("ForImageClassification") for name in architectures)
    if classifies or settings.get("labels") or settings.get("num_classes"):
        return "image classification"
    if "model_cfg" in settings:  # open_clip's
        return "clip"
    named = (settings.get(key) for key in ("model", "model_type", "architecture"))
    return next((str(name) for name in named if name), "unknown")


def reads_words(settings: Mapping[str, Any]) -> bool:
    """Whether these are the settings of a denoiser that draws what words say."""
    config = settings.get("config")
    told = isinstance(config, Mapping) and bool(config.get("text_dim"))
    return settings.get("model") == "denoiser" and told


def _is_foreign(settings: Mapping[str, Any], index: Mapping[str, Any]) -> bool:
    """Whether diffusers' settings are of something that mmfm does not wrap."""
    pipeline = _pipeline(index)
    if pipeline is not None:
        return pipeline not in _RUN
    return settings.get("_class_name", "UNet2DModel") != "UNet2DModel" and "mmfm" not in settings


def _pipeline(index: Mapping[str, Any]) -> str | None:
    """The class of a pipeline; one with code of its own names the file before it."""
    named = index.get("_class_name")
    last = named[-1] if isinstance(named, list) and named else named
    return str(last) if last else None


def _card(folder: Path, where: Where) -> str:
    """Where a person reads what a model is: beside its weights, else at the hub's address."""
    if (folder / CARD).is_file():
        return str(folder / CARD)
    repository = folder.parent.parent.name  # of the hub's cache: models--OWNER--NAME
    if where != "cached" or not repository.startswith("models--"):
        return ""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{repository.removeprefix('models--').replace('--', '/', 1)}"


def card_head(card: Path) -> dict[str, str]:
    """What a card says of its model on single lines of its head, `score: 70.3 %`; {} without one.

    The head is YAML between two lines of ---, of which this reads no more than it needs.
    """
    if not card.is_file():
        return {}
    lines = card.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    if not lines or lines[0].strip() != "---":
        return {}
    head = itertools.takewhile(lambda line: line.rstrip() != "---", lines[1:])
    pairs = (line.partition(":") for line in head if line[:1].isalpha())
    return {key.strip(): value.strip().strip("'\"") for key, colon, value in pairs if colon}


def sealed_files(folder: Path) -> dict[str, Path]:
    """The files of a checkpoint whose checksums its card has to state, by the key of each."""
    files = {key: folder / file for key, file in SEALED.items()}
    return {key: path for key, path in files.items() if path.name == WEIGHTS or path.is_file()}


def examine_checkpoints(found: Iterable[Checkpoint]) -> Iterator[Finding]:
    """Report on each checkpoint: can it be read, and is a bundled one as it was sealed?"""
    for checkpoint in found:
        fault = checkpoint.fault or _not_sealed(checkpoint)
        if checkpoint.foreign or not fault:
            detail = f"{checkpoint.where}, {checkpoint.task}, {in_words(checkpoint.size)}"
            state: State = "info" if checkpoint.foreign else "ok"
            yield Finding(checkpoint.name, state, f"{detail}; {fault}" if fault else detail)
        elif checkpoint.where == "bundled":
            remedy = "install mmfm again from where you have it"
            yield Finding(checkpoint.name, "broken", fault, remedy)
        else:
            remedy = f"remove {checkpoint.folder}, and it is fetched anew"
            yield Finding(checkpoint.name, "broken", fault, remedy)


def _not_sealed(checkpoint: Checkpoint) -> str:
    """What of a bundled checkpoint is not as it was sealed; "" if all is, or nothing was."""
    folder, head = checkpoint.folder, card_head(checkpoint.folder / CARD)
    if checkpoint.where != "bundled" or "sha256" not in head:
        return ""
    for key, file in SEALED.items():
        if key in head and not (folder / file).is_file():
            return f"{folder / file}: it is missing, though its card states its checksum"
        if key in head and digest(folder / file) != head[key]:
            return f"{folder / file}: its checksum is not the one that its card states"
    return _not_as_saved(folder, checkpoint.name)


def _not_as_saved(folder: Path, name: str) -> str:
    """What is wrong with bundled weights, or with the settings beside them; "" if nothing is."""
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, "numpy") as file:
        kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
        inside = json.loads((file.metadata() or {}).get("mmfm", "null"))
    if wide := sorted(kinds - {"F16", "BF16"}):
        return f"{folder / WEIGHTS}: it keeps weights as {', '.join(wide)}, not in 16 bits"
    if hub.in_folder(folder, name).settings() != inside:
        return f"{folder / 'config.json'}: its settings are not those that lie in {WEIGHTS}"
    return ""
