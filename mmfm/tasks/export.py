"""A denoiser for other programs: a folder that diffusers loads, or a file that onnxruntime runs.

    export(load_denoiser("mnist-nano"), "diffusers", Path("nano-diffusers"))

Neither needs mmfm to be used. Each folder has a card, README.md, with the few lines that draw
pictures with it, and they draw from a noise what mmfm draws from it. A folder appears whole or not
at all, and none is written over.
"""

import contextlib
import copy
import importlib.util
import json
import math
import re
import secrets
import shutil
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from textwrap import fill
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmfm import hub
from mmfm.errors import BadInput, MmfmError, NotHere, OutOfSpace
from mmfm.files import FULL, sync_folders, write_whole
from mmfm.models import wrapped_denoiser
from mmfm.models.checkpoints import denoiser_settings
from mmfm.models.denoiser import Denoiser
from mmfm.models.wrapped_denoiser import StockDenoiser
from mmfm.tasks.generate import JUMP, Sampling, chosen, names_of

_CLOSE = 1e-4  # by so much, beside the largest, an answer of onnxruntime may be off
_COMPARED = (1, 5)  # batches of examples, on which that is seen
_OPSET = 17  # of 2022, so that an older onnxruntime reads it too
_STRAIGHT = ("euler", "ddim")  # without fresh noise the same
_RANDOM = ("ddpm", "dpm++sde")  # their steps add fresh noise
_SHOWN = 20  # labels that a card names


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path
    told: str  # in a line, for a person


def export(den: Denoiser, to: str, out: Path) -> Exported:
    """Write a denoiser into a new folder, for "diffusers" or for "onnx"."""
    check(to, out)
    if den.config.text_dim:
        raise BadInput(
            f"{den.name or 'this model'} reads words, and its CLIP cannot go with it: models that "
            "are told labels are exported; mmfm sample --prompt draws with this one"
        )
    how = chosen(den)
    # For others it is kept in full precision, and this one stays as it is.
    plain = copy.deepcopy(den).to("cpu", torch.float32).eval()
    with _whole_folder(out) as folder:
        told = WAYS[to](plain, how, folder)
    return Exported(out, told)


def check(to: str, out: Path) -> None:
    """Refuse, before the model is loaded, what could not be written."""
    if to not in WAYS:
        raise BadInput(f"no export to {to!r:.40}; there are {', '.join(WAYS)}")
    if to == "onnx" and (missing := _missing()):
        raise NotHere(f'to onnx: {missing[0]} is not installed; run: pip install "mmfm[onnx]"')
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out}: this is a file; name a new folder")
    if out.is_dir() and any(out.iterdir()):
        raise BadInput(f"{out}: this folder is not empty; name a new one")
    if out.resolve() == Path.cwd():
        raise BadInput(f"{out}: this is where you are; name a new folder in it")
    if not out.resolve().parent.is_dir():
        raise NotHere(f"{out}: there is no folder {out.parent}")


@contextlib.contextmanager
def _whole_folder(out: Path) -> Generator[Path]:
    """A folder that takes its name only when everything in it has reached the disk."""
    out = out.resolve()  # a link is left as it is, and leads to the new folder
    part = out.parent / f".{secrets.token_hex(6)}.part"
    try:
        part.mkdir()
        yield part
        if out.is_dir():
            out.rmdir()  # it was empty; had something come into it meanwhile, this would refuse
        part.rename(out)
        sync_folders(out.parent)
    except OutOfSpace as error:
        raise OutOfSpace(f"no space left to write {out}; nothing was written") from error
    except OSError as error:
        if error.errno in FULL:
            raise OutOfSpace(f"no space left to write {out}; nothing was written") from error
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


# --- for diffusers --------------------------------------------------------------------------------


def _to_diffusers(den: Denoiser, how: Sampling, folder: Path) -> str:
    """As a pipeline of diffusers' own if one will do, else with the code that it takes."""
    if not isinstance(den, StockDenoiser):
        settings = denoiser_settings(den)
        _write_network(
            folder / "denoiser", "Denoiser", {"settings": settings["config"]}, den, settings
        )
        _copy("network.py", folder / "denoiser")
        return _write_pipeline(den, how, folder, ["network", "Denoiser"])
    plain = not den.config.classes and how.sampler in _STRAIGHT
    part = folder / ("unet" if plain and not den.says_more else "denoiser")
    _write_network(part, "UNet2DModel", den.model.config, den.model)
    betas = {"_diffusers_version": version("diffusers")} | wrapped_denoiser.scheduler_settings(den)
    _write_json(folder / "scheduler" / "scheduler_config.json", betas)
    if part.name == "denoiser":
        return _write_pipeline(den, how, folder, ["diffusers", "UNet2DModel"])
    parts = {"scheduler": ["diffusers", "DDIMScheduler"], "unet": ["diffusers", "UNet2DModel"]}
    _write_index(folder, "DDIMPipeline", parts)
    return _write_stock_card(den, how, folder)


def _write_network(
    folder: Path,
    kind: str,
    settings: Mapping[str, Any],
    network: nn.Module,
    ours: Mapping[str, Any] | None = None,
) -> None:
    """Weights and settings under diffusers' names; `ours` are what load_denoiser reads in there."""
    from safetensors.torch import save

    said = {key: value for key, value in settings.items() if not key.startswith("_")}
    head = {"_class_name": kind, "_diffusers_version": version("diffusers")}
    _write_json(folder / "config.json", head | said)
    state = {key: weight.detach().contiguous() for key, weight in network.state_dict().items()}
    inside = {"format": "pt"} | ({"mmfm": json.dumps(ours)} if ours else {})
    write_whole(folder / "diffusion_pytorch_model.safetensors", save(state, inside))


def _write_pipeline(den: Denoiser, how: Sampling, folder: Path, network: Sequence[str]) -> str:
    """What makes a folder a pipeline with code of its own."""
    counts = isinstance(den, StockDenoiser)
    labels = {str(number): name for number, name in enumerate(den.labels)}
    parts: dict[str, Any] = {
        "denoiser": list(network),
        "scheduler": ["diffusers", "DDIMScheduler"] if counts else [None, None],
        "id2label": labels or None,
        "sampling": asdict(how),
        "clip": den.clip,
        "guidable": den.guidable,
    }
    _copy("pipeline.py", folder)
    _write_index(folder, wrapped_denoiser.OUR_PIPELINE, parts)
    c = den.config
    if counts:
        code = "`pipeline.py`: the samplers"
        convention = f"The network counts betas: at time t it is told t * {len(c.schedule)} - 1."
    else:
        code = "`pipeline.py`: the samplers; `denoiser/network.py`: the network"
        convention = (
            f"The network is told it as it is; what it says is the {c.objective!r} of the "
            f"{c.schedule!r} schedule, which `pipeline.py` has in formulas."
        )
    names = names_of(den)
    shown = json.dumps(list(names[:2]), ensure_ascii=False)
    call = f"class_labels={shown}" if names else "batch_size=2"
    fresh = (
        "Steps of this model add noise, too: a list, `noise=[first, second, ...]`, says which."
        if how.sampler in _RANDOM or (how.sampler == JUMP and c.jumps == "picture")
        else ""
    )
    card = {"code": code, "convention": convention, "call": call, "fresh": fresh}
    _write_card("diffusers.md", den, how, folder, card)
    return "for diffusers, with the code that it takes (trust_remote_code=True)"


def _write_stock_card(den: StockDenoiser, how: Sampling, folder: Path) -> str:
    call, clip = f"batch_size=2, num_inference_steps={how.steps}", ""
    if den.clip is not None:
        call += ", use_clipped_model_output=True"
        clip = "Where a guess is clipped, `use_clipped_model_output` has the noise read anew, too."
    card = {"call": call, "betas": f"{len(den.config.schedule):,}", "clip": clip}
    _write_card("stock.md", den, how, folder, card)
    return "for diffusers, as a pipeline of its own kinds"


def _write_index(folder: Path, kind: str | Sequence[str], parts: Mapping[str, Any]) -> None:
    head = {"_class_name": kind, "_diffusers_version": version("diffusers")}
    _write_json(folder / "model_index.json", {**head, **parts})


# --- for onnxruntime ------------------------------------------------------------------------------


def _missing() -> list[str]:
    return [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]


def _to_onnx(den: Denoiser, how: Sampling, folder: Path) -> str:
    c = den.config
    channels, rows, columns = c.shape
    hears = ["x", "t", *(["label"] if c.classes else []), *(["to"] if _hears_to(den) else [])]
    data = _onnx(den, hears, folder / "model.onnx")
    error = _compared(data, den, hears)
    about: dict[str, Any] = {
        "mmfm": 1,
        "model": "denoiser",
        "name": den.name,
        "file": "model.onnx",
        "inputs": {name: _INPUTS[name] for name in hears},
        "outputs": {"answer": "what the objective asks for, b c y x"},
        "channels": channels,
        "rows": rows,
        "columns": columns,
        "labels": list(names_of(den)),
        "null": den.null if c.classes and den.guidable else None,
        "objective": c.objective,
        "schedule": c.schedule,
        "jumps": c.jumps,
        "clip": den.clip,
        "sampling": asdict(how),
    }
    write_whole(folder / "model.onnx", data)  # again, to the disk this time
    _write_json(folder / "model.json", about)
    ways = (*_STRAIGHT, "jump")
    euler = f"The lines above go by Euler's steps, not by {how.sampler}."
    card = {
        "lines": "\n".join(_numpy_lines(den, how)),
        "error": _at_most(error),
        "count": f"{sum(_COMPARED)}",
        "and_labels": "and what they shall show" if c.classes else "",
        "euler": "" if how.sampler in ways else euler,
    }
    _write_card("onnx.md", den, how, folder, card)
    return f"for onnxruntime, equal to {_at_most(error)} on {sum(_COMPARED)} examples"


_INPUTS = {
    "x": "noisy pictures, float32, b c y x",
    "t": "their times, float32, b: from 0 (the picture) to 1 (noise)",
    "label": "the number of what they show, int64, b",
    "to": "the times that the answer shall lead to, float32, b",
}


def _hears_to(den: Denoiser) -> bool:
    return den.config.jumps == "anywhere"


def _onnx(den: Denoiser, hears: Sequence[str], path: Path) -> bytes:
    """The network as an .onnx file, and as its bytes.

    torch follows what the network does with an example. Its newer way to do so takes one package
    more, onnxscript.
    """
    batches = {name: {0: "b"} for name in (*hears, "answer")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the older way, and of sizes that are meant to be fixed
        torch.onnx.export(
            _Question(den, hears).eval(),
            tuple(_example(den, hears, count=2).values()),
            str(path),
            input_names=list(hears),
            output_names=["answer"],
            dynamic_axes=batches,
            opset_version=_OPSET,
            dynamo=False,
        )
    return path.read_bytes()


class _Question(nn.Module):
    """A denoiser that is asked as a graph is: by position, for what it hears and nothing else."""

    def __init__(self, den: Denoiser, hears: Sequence[str]) -> None:
        super().__init__()
        self.hears = list(hears)
        self.den = den if isinstance(den, StockDenoiser) else _plain(den)

    def forward(self, *inputs: Tensor) -> Float[Tensor, "b c y x"]:
        given = dict(zip(self.hears, inputs, strict=True))
        x, t, label = given["x"], given["t"], given.get("label")
        if isinstance(self.den, StockDenoiser):
            return self.den.answer(x, t, label)
        return self.den(x, t, label, given.get("to"))[0]


def _plain(den: Denoiser) -> nn.Module:
    """The network as the exported folder has it: written without shapes that fix the batch."""
    spec = importlib.util.spec_from_file_location("mmfm_exported_network", str(_ours("network.py")))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network: nn.Module = module.Denoiser(denoiser_settings(den)["config"])
    network.load_state_dict(den.state_dict())
    return network.eval()


def _example(den: Denoiser, hears: Sequence[str], count: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(count)
    t = torch.linspace(1, 0.05, count)
    given = {
        "x": torch.randn(count, *den.config.shape, generator=random),
        "t": t,
        "label": torch.arange(count) % max(1, den.config.classes),
        "to": t / 2,
    }
    return {name: given[name] for name in hears}


def _compared(data: bytes, den: Denoiser, hears: Sequence[str]) -> float:
    """How far its answers are off at most; refused where that is more than rounding."""
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    worst = 0.0
    for count in _COMPARED:
        given = _example(den, hears, count)
        with torch.no_grad():
            right = den(given["x"], given["t"], given.get("label"), **_rest(given))
        (made,) = session.run(None, {name: part.numpy() for name, part in given.items()})
        error = (torch.from_numpy(made) - right).abs().max().item()
        if not error <= _CLOSE * max(right.abs().max().item(), 1e-12):  # nor is NaN
            raise MmfmError(
                f"{den.name or 'this model'}: what onnxruntime makes of it is off by {error:.0e}; "
                "nothing was written, please report this"
            )
        worst = max(worst, error)
    return worst


def _at_most(error: float) -> str:
    """A number of one digit that an error does not exceed."""
    error = max(error, 1e-7)  # what float32 can't tell apart
    unit = 10.0 ** math.floor(math.log10(error))
    return f"{math.ceil(error / unit) * unit:.0e}"


def _rest(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {"to": given["to"]} if "to" in given else {}


# --- the lines of numpy that a card has -----------------------------------------------------------


_LEVELS = {
    "flow": ["    return 1 - t, t"],
    "cosine": ["    return np.sin(np.pi / 2 * (1 - t)), np.sin(np.pi / 2 * t)"],
    "linear": [
        "    log_alpha = -(t**2) * 19.9 / 4 - t * 0.1 / 2",
        "    return np.exp(log_alpha), np.sqrt(-np.expm1(2 * log_alpha))",
    ],
}
_COUNTED = [
    "    kept = [1, *about['schedule']]  # of the picture's variance, after each beta",
    "    left = kept[round(t * (len(kept) - 1))]",
    "    return left**0.5, (1 - left) ** 0.5",
]
_GUESSES = {
    "noise": [
        "    picture = (x - sigma * v) / alpha if alpha > 0 else 0 * x",
        "    noise = v if alpha > 0 else x / sigma",
    ],
    "clean": ["    picture, noise = v, (x - alpha * v) / sigma"],
    "velocity": [
        "    size = np.hypot(alpha, sigma)",
        "    picture = (alpha * x / size - sigma * v) / size",
        "    noise = (sigma * x / size + alpha * v) / size",
    ],
    "flow": [
        "    picture = (x - sigma * v) / (alpha + sigma)",
        "    noise = (x + alpha * v) / (alpha + sigma)",
    ],
}


def _numpy_lines(den: Denoiser, how: Sampling) -> list[str]:
    """How to sample this model by its own steps, guidance and labels."""
    c, counts = den.config, isinstance(den, StockDenoiser)
    channels, rows, columns = c.shape
    kinds = [*range(min(2, c.classes))]
    lines = [
        "import json",
        "",
        "import numpy as np",
        "import onnxruntime",
        "",
        'about = json.load(open("model.json", encoding="utf-8"))',
        'model = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])',
        'how = about["sampling"]',
        *([f'labels = np.array({kinds})  # of about["labels"]'] if kinds else []),
        f"shape = {'len(labels)' if kinds else 2}, {channels}, {rows}, {columns}",
        "random = np.random.default_rng(0)",
        "",
        "",
        "def level(t):  # how much picture, how much noise",
        *(_COUNTED if counts else _LEVELS[c.schedule]),
        "",
        "",
        f"def ask({'x, t, to, labels' if kinds else 'x, t, to'}):",
        '    given = {"x": x.astype(np.float32), "t": np.full(len(x), t, np.float32)}',
        *(['    given["label"] = labels'] if kinds else []),
        *(['    given["to"] = np.full(len(x), to, np.float32)'] if _hears_to(den) else []),
        "    return model.run(None, given)[0]",
        "",
        "",
        f"x = {'' if counts else 'level(1)[1] * '}random.standard_normal(shape)",
        'times = np.linspace(1, 0, how["steps"] + 1)',
        "for t, to in zip(times, times[1:]):",
        "    (alpha, sigma), (next_alpha, next_sigma) = level(t), level(to)",
        f"    v = ask(x, t, to{', labels' if kinds else ''})",
    ]
    if kinds and how.guidance != 1:
        lines += _guided(how)
    lines += _GUESSES[c.objective]
    if den.clip is not None:
        lines += [
            '    picture = picture.clip(-about["clip"], about["clip"])',
            "    noise = (x - alpha * picture) / sigma",
        ]
    if c.jumps == "picture":
        lines += ["    noise = random.standard_normal(shape)  # fresh"]
    lines += [
        "    x = next_alpha * picture + next_sigma * noise",
        "",
        "pictures = ((x.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8)  # b c y x",
    ]
    return lines


def _guided(how: Sampling) -> list[str]:
    """Beyond what it says without a label, at the times when that is wanted."""
    lines = [
        'without = ask(x, t, to, np.full_like(labels, about["null"]))',
        *(["plain = v"] if how.rescale else []),
        'v = without + how["guidance"] * (v - without)',
    ]
    if how.rescale:
        lines += [
            "spread = plain.std((1, 2, 3), keepdims=True) / v.std((1, 2, 3), keepdims=True)",
            'v = v * (1 - how["rescale"] + how["rescale"] * spread)',
        ]
    if how.interval == (0, 1):
        return [f"    {line}" for line in lines]
    return [
        '    low, high = np.float32(how["interval"])  # as exact as times are told',
        "    if low <= np.float32(t) <= high:",
        *(f"        {line}" for line in lines),
    ]


# --- what folders have in common ------------------------------------------------------------------


WAYS: dict[str, Callable[[Denoiser, Sampling, Path], str]] = {
    "diffusers": _to_diffusers,
    "onnx": _to_onnx,
}


def _ours(name: str) -> Path:
    return Path(str(files("mmfm.assets") / "export" / name))


def _copy(name: str, folder: Path) -> None:
    write_whole(folder / name, _ours(name).read_bytes())


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _write_card(
    template: str, den: Denoiser, how: Sampling, folder: Path, more: Mapping[str, str]
) -> None:
    """README.md, and beside it what the model's own card says of it."""
    own = _own_card(den)
    if own is not None:
        write_whole(folder / "MODEL.md", own)
    text = Template(_ours(template).read_text(encoding="utf-8")).substitute(
        more,
        name=den.name or "A denoiser",
        what=_what(den),
        pictures=_pictures(den),
        sampling=_sampling(how),
        labels=_labels(den),
        card=""
        if own is None
        else "What the model saw, what it cannot do and its terms: MODEL.md.",
        **{"from": f" from {den.name}" if den.name else ""},
    )
    write_whole(folder / "README.md", _filled(text))


def _filled(text: str) -> str:
    """Paragraphs broken into lines anew, but for code and for what stands between lines of ---."""
    parts: list[str] = []
    for number, part in enumerate(re.split(r"(?m)^(```|---)", text)):
        # Odd parts are the marks themselves; what lies between two of them stays as it is.
        prose = number % 4 == 0
        blocks = [fill(block, 100, break_on_hyphens=False) for block in re.split(r"\n{2,}", part)]
        parts.append("\n\n".join(blocks) if prose else part)
    return "".join(parts).strip() + "\n"


def _own_card(den: Denoiser) -> bytes | None:
    if not den.name:
        return None
    try:
        path = hub.find(den.name, hub.FOR_DENOISER).folder / "README.md"
    except MmfmError:  # the model outlived its files, and can be exported all the same
        return None
    return path.read_bytes() if path.is_file() else None


def _what(den: Denoiser) -> str:
    count = f"{sum(weight.numel() for weight in den.parameters()):,} weights"
    if isinstance(den, StockDenoiser):
        return f"A `UNet2DModel` of {count}"
    return f"A {'U-Net' if den.config.kind == 'unet' else 'diffusion transformer'} of {count}"


def _pictures(den: Denoiser) -> str:
    channels, rows, columns = den.config.shape
    kind = {1: "grey ", 3: "coloured "}.get(channels, f"{channels}-channel ")
    return f"{kind}pictures of {rows}x{columns}"


def _sampling(how: Sampling) -> str:
    said = f"by {how.sampler} in {how.counted}"
    if how.guidance != 1:
        said += f", with guidance {how.guidance:g}"
        if how.interval != (0, 1):
            said += " from time {:g} to {:g}".format(*how.interval)
    return said


def _labels(den: Denoiser) -> str:
    names = names_of(den)
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    none = "; it has never drawn without one: leave the guidance at 1"
    if den.guidable:
        none = f"; number {len(names)} stands for none in particular"
    return f"**Labels**, from number 0 on: {', '.join(names[:_SHOWN])}{more}{none}."
