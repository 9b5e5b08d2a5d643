"""Look a machine over: what is installed, what it can do, which models are here, what is broken."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from mmfm import hub, machine
from mmfm.errors import MmfmError

State = Literal["ok", "info", "broken"]
Where = Literal["bundled", "cached"]

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
    """Look at the folders that downloads go to: may they be written to, and is there room?"""
    import platformdirs
    from huggingface_hub import constants

    yield examine_folder("models' cache", Path(constants.HF_HUB_CACHE), "HF_HOME")
    data = os.environ.get("MMFM_DATA") or platformdirs.user_cache_path("mmfm")
    yield examine_folder("data sets' cache", Path(data), "MMFM_DATA")


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


def _checkpoint(name: str, folder: Path, where: Where) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    task, size = "unknown", 0
    try:
        found = hub.in_folder(folder, name)
        task = _task(found.settings() or {})
        size = sum(path.stat().st_size for path in found.weights)
        for path in found.weights:
            if path.suffix == ".safetensors":
                # Opening reads the list of weights and holds it against the size of the file.
                with safe_open(path, "numpy"):
                    pass
    except SafetensorError as error:
        fault = f"{folder}: not whole safetensors ({error})"
    except MmfmError as error:
        fault = str(error)
    else:
        fault = ""
    return Checkpoint(name, task, size, where, folder, fault)


def _task(settings: dict[str, Any]) -> str:
    """Say what a model is for, from the settings that its publisher wrote beside the weights."""
    architectures = settings.get("architectures") or []
    classifies = any(name.endswith("ForImageClassification") for name in architectures)
    if classifies or settings.get("labels") or settings.get("num_classes"):
        return "image classification"
    if "model_cfg" in settings:  # open_clip's
        return "clip"
    named = (settings.get(key) for key in ("model", "model_type", "architecture"))
    return next((str(name) for name in named if name), "unknown")


def examine_checkpoints(found: Iterable[Checkpoint]) -> Iterator[Finding]:
    """Report on each checkpoint: whether its list of weights could be read."""
    for checkpoint in found:
        if not checkpoint.fault:
            detail = f"{checkpoint.where}, {checkpoint.task}, {in_words(checkpoint.size)}"
            yield Finding(checkpoint.name, "ok", detail)
        elif checkpoint.where == "bundled":
            remedy = "install mmfm again from where you have it"
            yield Finding(checkpoint.name, "broken", checkpoint.fault, remedy)
        else:
            remedy = f"remove {checkpoint.folder}, and it is fetched anew"
            yield Finding(checkpoint.name, "broken", checkpoint.fault, remedy)


def in_words(size: int) -> str:
    """Write a number of bytes for a person: 23.5 GB."""
    for unit, bytes_each in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= bytes_each:
            return f"{size / bytes_each:.1f} {unit}"
    return f"{size} bytes"
