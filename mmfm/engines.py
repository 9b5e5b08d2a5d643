"""One picture tower, several ways to run it; which is the best here is measured.

    fp32   as the model was loaded: the reference that all others have to agree with
    bf16   a copy with 8 significant bits: on processors that multiply those fast
    int8   linear layers in whole numbers, by onnxruntime: mmfm.engines_onnx
    cuda   a copy in half precision, its launches recorded once and replayed (CUDA graphs)

    engine = choose(clip, pictures=100_000)   # measures for a moment, once per machine and model
    rows = engine(images)                     # b e: rows of length 1

Shapes: b pictures, p probe pictures, k texts, e numbers in the common space.
"""

import copy
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from math import prod
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from mmfm import engines_onnx
from mmfm.data.probes import PROBES, TEXTS, probes
from mmfm.engines_onnx import Range
from mmfm.errors import BadInput, MmfmError, NotHere
from mmfm.files import write_whole
from mmfm.machine import (
    bf16_is_fast,
    cpu_features,
    cpu_name,
    memory_available,
    torch_threads,
    usable_threads,
)
from mmfm.models.clip import CLIP, TwoTowers
from mmfm.models.label_vectors import cache_file, fingerprint
from mmfm.models.wrapped import OpenCLIP

Name = Literal["fp32", "bf16", "int8", "cuda"]
Say = Callable[[str], None]
Tower = Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b e"]]

ENGINES = ("auto", *get_args(Name))

AGREEMENT = 0.99  # cosine of every probe picture to fp32, with the mean of fp32's rows taken off
MARGIN = 0.01  # cosine; where fp32's best text leads by more, the best text has to be the same

_MEASURED = 0.5  # seconds for all candidates
_LONG = 0.1  # seconds that the pictures of one turn take at the speed of fp32
_TIE = 1.05  # within five per cent the plainer engine wins, and the one with fewer threads
_TOKENS_IN_CACHE = 512  # for int8: about so many of a wide tower stay in a processor's cache
_HOPELESS = 3.0  # times slower than the fastest at the first call: not asked again
_FORMAT = 1  # of what is cached; a new number makes it anew
_FORGOTTEN = 90 * 24 * 3600  # seconds after which a tower that nobody used leaves the cache


class Engine:
    """Turns prepared pictures into rows of length 1, however many come.

    `tower` is called with at most `batch` pictures. When memory runs out the batch is halved, for
    good.
    """

    def __init__(
        self, name: str, tower: Tower, *, dim: int, batch: int, threads: int, about: str = ""
    ) -> None:
        self.name = name
        self.threads = threads
        self.batch = batch
        self.about = about or name
        self._tower, self._dim = tower, dim

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e"]:
        rows = [torch.empty(0, self._dim)]
        start = 0
        while start < len(images):
            part = images[start : start + self.batch]
            made = self._attempt(part)
            if made is None:
                self.batch = max(1, len(part) // 2)
            else:
                rows.append(made)
                start += len(part)
        return torch.cat(rows)

    def _attempt(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e"] | None:
        """The rows, or None where there is no memory for so many pictures."""
        try:
            return F.normalize(self._tower(images).float(), dim=-1).cpu()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if len(images) == 1:
                raise MmfmError(
                    f"the {self.name} engine has no memory for a single picture "
                    f"({memory_available() / 1e6:,.0f} MB are left); close other programs, or take "
                    "a smaller model"
                ) from error
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how torch, its allocator, or that of onnxruntime says so."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error).lower()
    return any(words in said for words in _NO_MEMORY)


_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "cuda out of memory",
    "failed to allocate memory",
    "bad_alloc",
    "bad allocation",
)


# --- the engines ----------------------------------------------------------------------------------


def plain(clip: TwoTowers) -> Engine:
    """The model as it was loaded, on its device and in its type: what `encode_image` does."""
    return _plain(clip, torch.get_num_threads())


def _plain(clip: TwoTowers, threads: int) -> Engine:
    def tower(images: Tensor) -> Tensor:
        with torch_threads(threads):
            return clip.project_image(images.to(clip.weight))

    kinds = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
    kind = kinds.get(clip.weight.dtype, str(clip.weight.dtype).removeprefix("torch."))
    return _engine(kind, tower, clip, threads)


def _bf16(clip: TwoTowers, copied: TwoTowers, threads: int) -> Engine:
    def tower(images: Tensor) -> Tensor:
        with torch_threads(threads):
            return copied.project_image(images.to(copied.weight))

    return _engine("bf16", tower, clip, threads)


def _engine(name: str, tower: Tower, clip: TwoTowers, threads: int) -> Engine:
    return Engine(name, tower, dim=clip.dim, batch=_batch(clip, name), threads=threads)


def tower_copy(
    clip: TwoTowers, dtype: torch.dtype, device: torch.device | None = None
) -> TwoTowers:
    """A copy of the picture tower in another type; the model itself stays as it is."""
    # What stands in the memo is not copied; the text tower would cost as much memory again.
    left_out: list[Any] = []
    if isinstance(clip, CLIP):
        left_out = [clip.text, clip.text_projection]
    elif isinstance(clip, OpenCLIP):
        left_out = [part for name, part in clip.model.named_children() if name != "visual"]
    memo: dict[int, Any] = {id(part): None for part in left_out if part is not None}
    copied = copy.deepcopy(clip, memo)
    return copied.to(device=device or clip.weight.device, dtype=dtype).requires_grad_(False)


def _batch(clip: TwoTowers, name: str) -> int:
    """How many pictures at a time: as many as are run fastest, if there is memory for them."""
    device = clip.weight.device
    if name == "cuda" or device.type == "cuda":
        free = torch.cuda.mem_get_info(device if device.type == "cuda" else None)[0]
        return _fitting(128, free, clip)
    if name != "int8":
        return _fitting(16, memory_available(), clip)
    # Whole numbers multiply so fast that the floats in between should not leave the cache.
    few = _TOKENS_IN_CACHE // (_tokens(clip) or _TOKENS_IN_CACHE)
    return _fitting(1 << max(0, few.bit_length() - 1), memory_available(), clip)


def _tokens(clip: TwoTowers) -> int | None:
    """Of one picture, where the tower is a plain transformer."""
    if not isinstance(clip, CLIP):
        return None
    c, (height, width) = clip.config.image, clip.preprocessing.size
    return c.prefix + (height // c.patch_size) * (width // c.patch_size)


def _fitting(most: int, free: int, clip: TwoTowers) -> int:
    """The largest half, quarter ... of `most` that takes no more than a quarter of what is free."""
    tokens = _tokens(clip)
    if isinstance(clip, CLIP) and tokens is not None:
        c = clip.config.image
        numbers = tokens * (8 * c.dim + 3 * c.mlp_dim) + c.heads * tokens**2
    else:
        # The first layers of a convolutional tower hold about so many numbers for each pixel.
        numbers = 256 * prod(clip.preprocessing.size)
    while most > 1 and most * 4 * numbers > free / 4:
        most //= 2
    return most


# --- on a processor: whole numbers ----------------------------------------------------------------


def _int8(clip: TwoTowers, threads: int, model: bytes) -> Engine:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what goes wrong comes as an exception too
    # Threads that wait in a loop would take the processors from those that open pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    shape = (len(clip.preprocessing.mean), *clip.preprocessing.size)

    def tower(images: Tensor) -> Tensor:
        if images.shape[1:] != shape:
            raise BadInput(f"the int8 engine takes pictures of {shape}, not {tuple(images.shape)}")
        given = {"images": images.float().cpu().contiguous().numpy()}
        return torch.from_numpy(session.run(None, given)[0])

    return _engine("int8", tower, clip, threads)


def _levels() -> int:
    """To how many steps on either side of 0 weights are rounded.

    Without VNNI an x86 processor adds pairs of products in 16 bits, where two full bytes would run
    over; so weights have seven bits there.
    """
    x86 = platform.machine() in ("x86_64", "AMD64")
    return 63 if x86 and not cpu_features() & {"avx512_vnni", "avx_vnni"} else 127


def _note_use(model: Path) -> None:
    """Let a file's time say on which day it was last of use."""
    with suppress(OSError):  # a cache that may only be read serves as well
        if time.time() - model.stat().st_mtime > 24 * 3600:
            os.utime(model)


def _forget_unused(folder: Path) -> None:
    """Clear away the towers of models that have long not been used, each as large as its model."""
    for model in folder.glob("*.onnx"):
        with suppress(FileNotFoundError):  # another process clears away at the same time
            if time.time() - model.stat().st_mtime > _FORGOTTEN:
                model.unlink()
                model.with_suffix(".sha256").unlink(missing_ok=True)


# --- on a GPU: half precision, recorded -----------------------------------------------------------


def _cuda(clip: TwoTowers, say: Say) -> Engine:
    here = clip.weight.device
    device = here if here.type == "cuda" else torch.device("cuda", torch.cuda.current_device())
    dtype = torch.bfloat16 if bf16_is_fast(str(device)) else torch.float16
    copied = tower_copy(clip, dtype, device)
    recorded = Recorded(copied.project_image, _record, say)

    def tower(images: Tensor) -> Tensor:
        with torch.cuda.device(device):
            return recorded(images.to(device).to(dtype))

    return _engine("cuda", tower, clip, torch.get_num_threads())


class Recorded:
    """A tower whose work is recorded once for each size of batch, and then only replayed.

    A recording fits one size, so a batch is filled up with black pictures to the next power of two.
    What cannot be recorded is run as it is.
    """

    def __init__(self, tower: Tower, record: Callable[[Tower, Tensor], Tower], say: Say) -> None:
        self._tower, self._say = tower, say
        self._record: Callable[[Tower, Tensor], Tower] | None = record
        self._recordings: dict[int, Tower] = {}

    def __call__(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b e"]:
        size = 1 << (len(images) - 1).bit_length()
        full = torch.cat([images, images.new_zeros(size - len(images), *images.shape[1:])])
        if self._record is not None and size not in self._recordings:
            try:
                self._recordings[size] = self._record(self._tower, full)
            except Exception as error:  # whatever CUDA cannot record, in words of its own
                if is_out_of_memory(error):
                    raise
                self._record = None
                self._recordings.clear()
                reason = " ".join(str(error).split())
                self._say(f"this tower cannot be recorded as a CUDA graph ({reason:.200})")
        if self._record is None:
            return self._tower(images)
        return self._recordings[size](full)[: len(images)]


def _record(tower: Tower, example: Float[Tensor, "b c h w"]) -> Tower:
    """Record all launches of one pass, to be replayed as one (a CUDA graph)."""
    given = example.clone()
    # Libraries set themselves up on their first calls, which must not be recorded.
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            tower(given)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = tower(given)

    def replay(images: Tensor) -> Tensor:
        given.copy_(images)
        graph.replay()
        return made.clone()

    return replay


# --- agreement ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Agreement:
    """How far an engine says of some pictures what the model itself says of them."""

    cosine: float  # the least of all pictures, with the mean of the model's own rows taken off
    asked: int  # pictures of which the model prefers one text clearly
    changed: int  # of those, for how many the engine prefers another

    @property
    def enough(self) -> bool:
        return self.cosine >= AGREEMENT and not self.changed  # no number is not enough

    def __str__(self) -> str:
        return f"cosine {self.cosine:.4f}, {self.changed} of {self.asked} best texts differ"


def agreement(
    reference: Float[Tensor, "p e"],
    rows: Float[Tensor, "p e"],
    texts: Float[Tensor, "k e"] | None,
) -> Agreement:
    """Compare rows of the same pictures; without texts the pictures themselves are chosen from.

    All pictures of a model share a large part, which would hide what tells them apart: so it is
    taken off before cosines are.
    """
    mean = reference.mean(dim=0)
    cosines = F.cosine_similarity(reference - mean, rows - mean)
    offered = reference if texts is None else texts
    likeness, theirs = reference @ offered.T, rows @ offered.T  # p k
    if texts is None:  # but not the picture itself
        for some in (likeness, theirs):
            some.fill_diagonal_(-2.0)
    best = likeness.topk(2, dim=1).values
    clear = best[:, 0] - best[:, 1] > MARGIN
    changed = likeness.argmax(dim=1) != theirs.argmax(dim=1)
    return Agreement(float(cosines.min()), int(clear.sum()), int((changed & clear).sum()))


# --- the choice -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What was measured once, as it is kept."""

    engine: str
    threads: int
    speeds: dict[str, float]  # pictures a second, by engine and threads: "int8 x 2"
    agreements: dict[str, str]  # of each engine with fp32, in words
    refused: dict[str, str]  # engine -> why
    doubt: str = ""  # what has to be said of an engine that was wished for

    def __str__(self) -> str:
        speeds = sorted(self.speeds.items(), key=lambda item: -item[1])
        said = ", ".join(f"{way} {speed:,.0f}" for way, speed in speeds)
        lines = [f"{self.engine} on {_counted(self.threads)} (pictures/s: {said})"]
        if (agrees := self.agreements.get(self.engine)) is not None:
            lines.append(f"against fp32: {agrees}")
        lines += [f"not {name}: {why}" for name, why in self.refused.items()]
        return "; ".join(lines)


def _counted(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def choose(
    clip: TwoTowers,
    wish: str = "auto",
    *,
    pictures: int | None = None,
    cache: Path | Literal["user"] | None = "user",
    say: Say | None = None,
) -> Engine:
    """The fastest engine here that agrees with the model, or the one that is wished for.

    What was measured once for a machine and a model is kept in the folder `cache`. `pictures` says
    how many wait: for a few it would take longer to measure than to run them as they are. A wished
    engine is not refused for what it says, but `say` is told.
    """
    if wish not in ENGINES:
        raise BadInput(f"there is no engine {wish!r}; there are {', '.join(ENGINES)}")
    if wish == "fp32":
        return plain(clip)
    choice = _Choice(clip, wish, cache, say or (lambda line: None))
    return choice.engine(pictures)


class _Choice:
    """One choice for one model: what can run here, what is known about it, how it is found out."""

    def __init__(
        self, clip: TwoTowers, wish: str, cache: Path | Literal["user"] | None, say: Say
    ) -> None:
        self.clip, self.wish, self.say = clip, wish, say
        self.folder = cache_file().parent / "engines" if cache == "user" else cache
        self.refused: dict[str, str] = {}
        self.agreements: dict[str, str] = {}
        self.doubt = ""
        self._unkept: bytes | None = None
        self.names = self._able()
        self.mark = fingerprint(clip)

    def engine(self, pictures: int | None) -> Engine:
        if self.names == ["fp32"] and self.clip.weight.device.type != "cpu":
            return self._told(plain(self.clip), "fp32: nothing else runs here")
        verdict = self._remembered()
        if verdict is not None:
            if verdict.doubt:
                self.say(verdict.doubt)
            return self._told(self._made(verdict.engine, verdict.threads), f"{verdict}; kept")
        if self.wish == "auto" and pictures is not None and not _pays(self.clip, pictures):
            engine = plain(self.clip)
            return self._told(
                engine, f"{engine.name}: too few pictures to measure for ({pictures:,})"
            )
        verdict, engine = self._examined()
        self._remember(verdict)
        return self._told(engine, str(verdict))

    @staticmethod
    def _told(engine: Engine, about: str) -> Engine:
        engine.about = about
        return engine

    def _able(self) -> list[Name]:
        """Which engines can run here, the plain one first; a wish that cannot is an error."""
        on = self.clip.weight.device.type
        why_not: dict[Name, str] = {}
        if not torch.cuda.is_available():
            why_not["cuda"] = "there is no CUDA device here"
        if not isinstance(self.clip, CLIP) or self.clip.image is None:
            why_not["int8"] = f"{self.clip.source} has no picture tower that is a plain transformer"
        elif any(find_spec(package) is None for package in ("onnx", "onnxruntime")):
            why_not["int8"] = 'onnxruntime is not installed: pip install "mmfm[onnx]"'
        if self.wish != "auto":
            wished: Name = next(name for name in get_args(Name) if name == self.wish)
            if wished in why_not:
                raise NotHere(f"engine {wished}: {why_not[wished]}")
            return [wished]
        if on == "cuda":
            return ["fp32", "cuda"]
        if on != "cpu":
            return ["fp32"]
        if self.clip.weight.dtype != torch.float32:
            why_not["bf16"] = f"the model was loaded as {self.clip.weight.dtype}"
        self.refused = {name: why for name, why in why_not.items() if name != "cuda"}
        names: tuple[Name, ...] = ("fp32", "bf16", "int8")
        return [name for name in names if name not in why_not]

    # --- finding out ------------------------------------------------------------------------------

    def _examined(self) -> tuple[Verdict, Engine]:
        """Try all that can run here on the probe pictures: do they agree, and how fast are they?"""
        self.say(f"measuring once how {self.clip.source} runs best on this machine")
        counts = sorted({1, usable_threads()})
        if self.clip.weight.device.type != "cpu":
            counts = [torch.get_num_threads()]
        seen = self._seen(counts)
        engines: dict[str, Engine] = {}
        for name in self.names:
            if name == "bf16" and self.wish == "auto" and not self._bf16_pays():
                self.refused[name] = "this processor is no faster with it"
                continue
            made = self._agreeing(name, counts[-1:] if name == "cuda" else counts, seen)
            engines |= {f"{name} x {engine.threads}": engine for engine in made}
        several = max(2, min(len(seen.images), int(_LONG / seen.seconds)))
        speeds = _speeds(engines, seen.images[:several])
        best = max(speeds.values())
        way = next(way for way in speeds if speeds[way] >= best / _TIE)
        rounded = {way: float(f"{speed:.4g}") for way, speed in speeds.items()}
        # By what it was asked for: a model in bf16 is the "fp32" of its own choice.
        name, threads = way.partition(" ")[0], engines[way].threads
        verdict = Verdict(name, threads, rounded, self.agreements, self.refused, self.doubt)
        return verdict, engines[way]

    def _seen(self, counts: Sequence[int]) -> "_Seen":
        """Let the model itself look at the probe pictures and read the texts.

        Every second picture also says how large the layers' inputs are, for int8, which so is
        judged by pictures as well that it was not made with.
        """
        images = self.clip.preprocessing.batch(probes())
        # Beside another busy program all threads together may be far slower than one.
        engine = min(
            (_plain(self.clip, threads) for threads in counts),
            key=lambda engine: _seconds(engine, images[:2]),
        )
        ranges = None
        start = time.perf_counter()
        if "int8" in self.names and self._kept_model() is None:
            with self._watching() as ranges:
                even = engine(images[::2])
        else:
            even = engine(images[::2])
        rows = torch.empty(len(images), self.clip.dim)
        rows[::2], rows[1::2] = even, engine(images[1::2])
        seconds = (time.perf_counter() - start) / len(images)
        with torch_threads(engine.threads):
            texts = self.clip.encode_text(TEXTS).float().cpu() if _reads(self.clip) else None
        return _Seen(images, rows, texts, ranges, engine.threads, seconds)

    def _agreeing(self, name: Name, counts: Sequence[int], seen: "_Seen") -> list[Engine]:
        """An engine with each number of threads; none where it is refused."""
        try:
            made = [self._made(name, threads, seen.ranges) for threads in counts]
            if name == "fp32":
                return made
            judged = next((e for e in made if e.threads == seen.threads), made[-1])
            found = agreement(seen.rows, judged(seen.images), seen.texts)
        except Exception as error:
            # A library of another version, a layer that knows no bf16: then the others are left,
            # and `about` says why.
            if self.wish != "auto":
                raise
            self.refused[name] = " ".join(str(error).split())[:200]
            return []
        self.agreements[name] = str(found)
        if not found.enough and self.wish == "auto":
            self.refused[name] = f"agrees too little with fp32 ({found})"
            return []
        if not found.enough:
            self.doubt = f"engine {name}: agrees too little with {self.clip.source} ({found})"
            self.say(self.doubt)
        return made

    @staticmethod
    def _bf16_pays() -> bool:
        with torch_threads(1):  # beside other programs two would measure each other
            return bf16_is_fast("cpu")

    # --- making -----------------------------------------------------------------------------------

    def _made(self, name: str, threads: int, ranges: Mapping[str, Range] | None = None) -> Engine:
        if name == "int8":
            return _int8(self.clip, threads, self._model(ranges))
        if name == "bf16":
            return _bf16(self.clip, self._copied, threads)
        return _cuda(self.clip, self.say) if name == "cuda" else _plain(self.clip, threads)

    @cached_property
    def _copied(self) -> TwoTowers:
        return tower_copy(self.clip, torch.bfloat16)

    def _model(self, ranges: Mapping[str, Range] | None) -> bytes:
        """The tower in whole numbers: from the cache, or made and put there."""
        if (kept := self._kept_model()) is not None:
            return kept
        self.say(f"writing {self.clip.source} in whole numbers (once)")
        if ranges is None:
            with self._watching() as ranges:
                pictures = self.clip.preprocessing.batch(probes()[::2])
                _plain(self.clip, usable_threads())(pictures)
        assert isinstance(self.clip, CLIP)
        model = engines_onnx.write(self.clip, ranges, levels=_levels())
        self._unkept = model
        if self.folder is not None:
            with self._told_if_not_kept(self.folder):
                _forget_unused(self.folder)
                write_whole(self._model_file(self.folder), model)
                write_whole(self._seal_file(self.folder), self._seal(model))
        return model

    def _watching(self) -> AbstractContextManager[Mapping[str, Range]]:
        assert isinstance(self.clip, CLIP)
        return engines_onnx.watching(self.clip)

    # --- what is kept -----------------------------------------------------------------------------

    def _kept_model(self) -> bytes | None:
        """The tower in whole numbers, if it is there, whole, and of this model."""
        if self._unkept is not None:
            return self._unkept
        if self.folder is None or not self._model_file(self.folder).is_file():
            return None
        try:
            model = self._model_file(self.folder).read_bytes()
            seal = self._seal_file(self.folder).read_bytes()
        except OSError:
            return None  # is made anew; why it cannot be kept is said then
        if seal != self._seal(model):
            return None
        _note_use(self._model_file(self.folder))
        return model

    def _model_file(self, folder: Path) -> Path:
        return folder / f"{self.mark}-{_FORMAT}-{_levels()}.onnx"

    def _seal_file(self, folder: Path) -> Path:
        return self._model_file(folder).with_suffix(".sha256")

    def _seal(self, model: bytes) -> bytes:
        """Fits these bytes under this model's name only."""
        return hashlib.sha256(self.mark.encode() + model).hexdigest().encode()

    @cached_property
    def _about_here(self) -> dict[str, str]:
        """All that a verdict depends on."""
        device = self.clip.weight.device
        on_gpu = device.type == "cuda" or self.wish == "cuda"
        return {
            "format": str(_FORMAT),
            "model": self.mark,
            "type": str(self.clip.weight.dtype),
            "wish": self.wish,
            "machine": f"{platform.system()} {platform.machine()} {cpu_name()}",
            "features": " ".join(sorted(cpu_features())),
            "threads": str(usable_threads()),
            "device": torch.cuda.get_device_name() if on_gpu else device.type,
            "torch": torch.__version__,
            "onnxruntime": _version("onnxruntime"),
        }

    def _verdict_file(self, folder: Path) -> Path:
        here = json.dumps(self._about_here, sort_keys=True)
        return folder / f"{hashlib.sha256(here.encode()).hexdigest()[:32]}.json"

    def _remembered(self) -> Verdict | None:
        if self.folder is None:
            return None
        try:
            kept = json.loads(self._verdict_file(self.folder).read_bytes())
            verdict = Verdict(**kept["verdict"])
            fits = kept["here"] == self._about_here and verdict.engine in self.names
            return verdict if fits and verdict.threads >= 1 else None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # not there, or damaged: then it is measured again

    def _remember(self, verdict: Verdict) -> None:
        if self.folder is None:
            return
        with self._told_if_not_kept(self.folder):
            said = {"here": self._about_here, "verdict": asdict(verdict)}
            write_whole(self._verdict_file(self.folder), json.dumps(said, indent=1))

    @contextmanager
    def _told_if_not_kept(self, folder: Path) -> Generator[None]:
        try:
            yield
        except (OSError, MmfmError) as error:
            self.say(f"{folder}: engines cannot be kept there ({error})")


@dataclass(frozen=True)
class _Seen:
    """What the model itself makes of the probe pictures."""

    images: Float[Tensor, "p c h w"]
    rows: Float[Tensor, "p e"]
    texts: Float[Tensor, "k e"] | None
    ranges: Mapping[str, Range] | None  # of the layers' inputs
    threads: int  # with how many it was faster
    seconds: float  # a picture took


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _reads(clip: TwoTowers) -> bool:
    """Whether the model has all that texts need."""
    here = clip.text is not None if isinstance(clip, CLIP) else True
    if isinstance(clip, OpenCLIP):
        here = clip.towers != "image"
    return here and clip.tokenizer is not None


def _pays(clip: TwoTowers, pictures: int) -> bool:
    """Whether measuring costs less time than a fast engine may save on so many pictures.

    The estimate goes by the model's own time for a few pictures: probes are seen once by the model,
    faster by the others, texts are read; weights are written in whole numbers.
    """
    saved, looks = 0.75 * pictures, 1.6 * PROBES  # in terms of the time for one picture
    if saved <= looks:
        return False
    few = torch.zeros(2, len(clip.preprocessing.mean), *clip.preprocessing.size)
    engine = plain(clip)
    engine(few)  # the first call sets things up
    seconds = _seconds(engine, few) / len(few)
    tower = clip.image if isinstance(clip, CLIP) and clip.image is not None else clip
    weights = sum(weight.numel() for weight in tower.parameters())
    cost = 1.5 + _MEASURED + 2e-8 * weights + looks * seconds
    return saved * seconds > cost


def _speeds(engines: Mapping[str, Engine], images: Float[Tensor, "b c h w"]) -> dict[str, float]:
    """Pictures a second of each; they take turns, so that what else runs here slows all alike."""

    took = {way: [_seconds(engine, images)] for way, engine in engines.items()}
    fastest = min(first for (first,) in took.values())
    racing = [way for way in took if took[way][0] <= _HOPELESS * fastest]
    for way in racing:
        took[way].clear()  # the first call sets things up
    start = time.perf_counter()
    while True:
        for way in racing:
            took[way].append(_seconds(engines[way], images))
        if time.perf_counter() - start > _MEASURED:
            return {way: len(images) / median(took[way]) for way in took}


def _seconds(engine: Engine, images: Float[Tensor, "b c h w"]) -> float:
    start = time.perf_counter()
    engine(images)
    return time.perf_counter() - start
