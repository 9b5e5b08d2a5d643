"""The folder of a training run, and the checkpoints from which it goes on after any kill."""

import json
import os
import shlex
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from torch.optim import Optimizer

from mmfm.errors import BadInput, BadRun, InUse, NotHere, OutOfSpace
from mmfm.files import FULL, write_whole
from mmfm.team import Team


class Run:
    """A folder that holds one run: what it is, how it goes, and where it can go on.

    run.json                 what is trained, on what, by which plan
    metrics.jsonl            a line for every step, and for every measurement
    checkpoint.safetensors   everything that going on takes
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        lock: FileLock | None,
        *,
        resumed: bool = False,
    ) -> None:
        self.folder, self.settings, self.resumed = folder, dict(settings), resumed
        self.checkpoint = folder / "checkpoint.safetensors"
        self.metrics = folder / "metrics.jsonl"
        self._lock = lock
        self._lines: list[str] = []

    @property
    def writable(self) -> bool:
        """Of several processes that train together only the first one writes."""
        return self._lock is not None

    @classmethod
    def start(cls, folder: Path, settings: Mapping[str, Any]) -> Self:
        """Begin a new run in a folder that is new or empty."""
        if Team.of_this_process().rank > 0:
            return cls(folder, settings, None)
        cls.check_new(folder)
        run = cls(folder, settings, cls._locked(folder))
        run._write_settings()
        return run

    @staticmethod
    def check_new(folder: Path) -> None:
        """Refuse a folder in which a run cannot begin."""
        if (folder / "run.json").exists():
            kind = Run.read_settings(folder).get("train")
            own = f"a run of mmfm train {kind}" if kind else "a run"
            raise BadRun(
                f"{folder} already holds {own}; go on with it (--resume) or name another folder"
            )
        if folder.exists() and not folder.is_dir():
            raise BadInput(f"{folder} is a file; name a folder for the run")
        if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise BadInput(f"{folder} is not empty and holds no run; name a new folder for the run")

    @classmethod
    def resume(cls, folder: Path, kind: str) -> Self:
        """Go on with the run in a folder, which must be of this kind."""
        settings = cls.read_settings(folder)
        if (own := settings.get("train")) != kind:
            raise BadRun(
                f"{folder} is a run of {own!r}, not of {kind!r}; mmfm train {own} --out "
                f"{shlex.quote(str(folder))} --resume goes on with it"
            )
        if Team.of_this_process().rank > 0:
            return cls(folder, settings, None, resumed=True)
        return cls(folder, settings, cls._locked(folder), resumed=True)

    @staticmethod
    def read_settings(folder: Path) -> dict[str, Any]:
        """What a run folder says it is."""
        path = folder / "run.json"
        if not path.is_file():
            half = (folder / "checkpoint.safetensors").exists()
            what = (
                "is half there: its run.json is missing" if half else "holds no run to go on with"
            )
            raise BadRun(f"{folder} {what}; leave out --resume to start one in a new folder")
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise BadRun(
                f"{path}: not whole JSON ({error}); name another folder for a new run"
            ) from error
        if not isinstance(settings, dict):
            raise BadRun(f"{path}: does not describe a run")
        return settings

    @staticmethod
    def _locked(folder: Path) -> FileLock:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / ".lock")
            lock.acquire(timeout=0)
            for part in folder.glob(".*.part"):  # what a kill left of a file that was never whole
                part.unlink()
        except Timeout as error:
            raise InUse(f"{folder}: another process is training there") from error
        except OSError as error:
            raise BadInput(f"{folder}: cannot be written ({error.strerror})") from error
        return lock

    def data_now(self, named: str | None, *, known: Collection[str] = ()) -> str:
        """Where the data lie: where they lay, unless the person has `named` where they lie now.

        What is `known` by its name does not move. Whether the data are the same `go_on_with` sees.
        """
        then = self.settings.get("data")
        if not isinstance(then, str):
            raise of_another_version(self.folder, KeyError("data"))
        now = then if named is None else absolute(named, known=known)
        if now != then and (now in known or then in known):
            raise BadRun(f"{self.folder} was trained on {then}, not on {named}; leave out --data")
        if now not in known and not Path(now).exists():
            gone = "which is gone" if now == then else f"and there is no {now}"
            raise NotHere(
                f"{self.folder} was trained on {then}, {gone}; put it back, or say with --data "
                "where it lies now"
            )
        return now

    def go_on_with(
        self,
        data: str,
        pictures: Mapping[str, Any],
        told: Callable[[Mapping[str, Any]], str] | None = None,
    ) -> None:
        """Go on with the pictures that the run began with, and write down where they lie now.

        `pictures` is what is known of them, as `labelled.described` tells it; `told` says that to
        a person.
        """
        told = told or _told
        if pictures != self.settings.get("pictures"):
            try:
                then = told(self.settings["pictures"])
            except (KeyError, TypeError, ValueError) as error:
                raise of_another_version(self.folder, error) from error
            began = self.settings["data"]
            raise BadRun(
                f"{self.folder}: {data} is not what {'it' if data == began else began} was: {then} "
                f"to learn from then, {told(pictures)} now; put it back, or start a new run"
            )
        if self.writable and data != self.settings["data"]:
            self.settings["data"] = data
            self._write_settings()

    def go_on_by(self, plan: Mapping[str, Any]) -> None:
        """Write down by which plan the run goes on, for whoever goes on with it after that."""
        recipe, plan = self.settings.get("recipe"), json.loads(json.dumps(plan))
        if self.writable and recipe is not None and recipe.get("plan") != plan:
            self.settings["recipe"] = {**recipe, "plan": plan}
            self._write_settings()

    def _write_settings(self) -> None:
        text = json.dumps(self.settings, indent=2, ensure_ascii=False)
        write_whole(self.folder / "run.json", text + "\n")

    def log(self, **row: object) -> None:
        """Add a line to the metrics; it reaches the disk before the next checkpoint does."""
        if self.writable:
            self._lines.append(json.dumps(row) + "\n")
            if len(self._lines) >= 50:
                self.sync()

    def sync(self) -> None:
        """Bring the lines so far to the disk."""
        if not self._lines:
            return
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write("".join(self._lines))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if error.errno in FULL:
                raise OutOfSpace(
                    f"{self.metrics}: no space left on the disk; the last checkpoint is intact"
                ) from error
            raise
        self._lines = []

    def rows(self) -> list[dict[str, Any]]:
        """All lines of the metrics; one that a kill cut short is left out."""
        self.sync()
        if not self.metrics.is_file():
            return []
        whole = self.metrics.read_bytes().split(b"\n")[:-1]
        return [self._row(number, line) for number, line in enumerate(whole, start=1)]

    def _row(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise BadRun(f"{self.metrics}: line {number} is damaged; take it out to go on")
        return row

    def trim(self, step: int) -> None:
        """Forget the lines after a step: the run goes on from there and will write them again."""
        if not self.writable or not self.metrics.is_file():
            return
        kept = [row for row in self.rows() if row["step"] <= step]
        write_whole(self.metrics, "".join(json.dumps(row) + "\n" for row in kept))

    def close(self) -> None:
        """Let another process have the folder, even if the last lines cannot be written."""
        try:
            self.sync()
        finally:
            if self._lock is not None:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def absolute(name: str, *, known: Collection[str] = ()) -> str:
    """A run must find its data and its beginning again from wherever it is resumed.

    What is known by its name is no path, whatever lies in the folder where one happens to be.
    """
    return name if name in known or not Path(name).exists() else str(Path(name).resolve())


def of_another_version(out: Path, error: Exception) -> BadRun:
    """What is said of a run whose run.json lacks something that going on takes."""
    what = f"no {error}" if isinstance(error, KeyError) else str(error)
    return BadRun(
        f"{out}: its run.json is damaged or of another version ({what}); name another folder for a "
        "new run"
    )


def _told(pictures: Mapping[str, Any]) -> str:
    side, colour = pictures["side"], "grey" if pictures["channels"] == 1 else "coloured"
    labels = f"{len(pictures['classes'])} labels" if pictures["classes"] else "no labels"
    start = str(pictures["sha256"])[:8]
    return f"{pictures['count']:,} {colour} pictures of {side}x{side} and {labels} ({start})"


# --- what a checkpoint holds --------------------------------------------------------------------


class State:
    """All that training has made so far: what goes into a checkpoint and comes out of it."""

    def __init__(
        self, model: nn.Module, averaged: nn.Module | None, optimizers: list[Optimizer]
    ) -> None:
        self.model, self.averaged, self.optimizers = model, averaged, optimizers
        self.step = 0
        self.seconds = 0.0
        self.precision = ""

    def save(self, run: Run) -> None:
        """Write everything into one file, whole."""
        from safetensors.torch import save

        if not run.writable:
            return
        tensors = {"random/cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            tensors["random/cuda"] = torch.cuda.get_rng_state()
        for kind, module in self._modules():
            tensors |= {f"{kind}/{name}": tensor for name, tensor in module.state_dict().items()}
        for number, optimizer in enumerate(self.optimizers):
            for index, entry in optimizer.state_dict()["state"].items():
                for name, tensor in entry.items():
                    tensors[f"optimizer{number}/{index}/{name}"] = tensor
        about = {"step": self.step, "seconds": self.seconds, "precision": self.precision}
        packed = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        run.sync()
        write_whole(run.checkpoint, save(packed, metadata={"mmfm": json.dumps(about)}))

    def restore(self, run: Run) -> bool:
        """Go back to the last checkpoint, if there is one; without, stay at the start."""
        from safetensors import SafetensorError, safe_open

        if not run.checkpoint.is_file():
            run.trim(0)
            return False
        try:
            with safe_open(run.checkpoint, "pt") as file:
                about = json.loads(file.metadata()["mmfm"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise BadRun(
                f"{run.checkpoint}: not a whole checkpoint ({error}); {_instead(run)}"
            ) from error
        try:
            for kind, module in self._modules():
                module.load_state_dict(_under(kind, tensors), strict=True)
            for number, optimizer in enumerate(self.optimizers):
                _restore_optimizer(optimizer, _under(f"optimizer{number}", tensors))
        except (RuntimeError, KeyError, ValueError) as error:
            line = str(error).splitlines()[0]
            raise BadRun(f"{run.checkpoint}: of another model ({line})") from error
        torch.set_rng_state(tensors["random/cpu"])
        if "random/cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random/cuda"])
        self.step, self.seconds = about["step"], about["seconds"]
        self.precision = about["precision"]
        run.trim(self.step)
        return True

    def _modules(self) -> list[tuple[str, nn.Module]]:
        averaged = [] if self.averaged is None else [("averaged", self.averaged)]
        return [("model", self.model), *averaged]


def _instead(run: Run) -> str:
    """What can be done where the checkpoint is damaged; a student of few steps begins anew."""
    if run.settings.get("train") == "few-steps" or not (run.folder / "model.safetensors").is_file():
        return "name another folder for a new run"
    start = f"--start {shlex.quote(str(run.folder))}"
    return f"a new run in another folder may begin with the model that lies beside it, {start}"


def _under(kind: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = kind + "/"
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}


def _restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    entries: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split("/")
        entries.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": entries, "param_groups": groups})
