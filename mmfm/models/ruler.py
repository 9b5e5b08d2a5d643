"""The ruler: a small convolutional classifier, whose features measure how good pictures are.

    ruler = load_ruler("mnist-ruler")
    seen = look(ruler, images)            # bytes, as pictures lie in memory
    seen.features, seen.logits            # (n 128), (n classes)

It names digits, and just before it does, 128 numbers hold what it saw. Held against those of real
digits they tell how true and how manifold others are (see `mmfm.likeness`), as Inception's features
do for photographs. A ruler must not change: each says by a `digest` which weights it measures with.

Shapes: b or n pictures, c channels, y x pixels, d features, k classes.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from mmfm import hub
from mmfm.errors import BadInput, BadWeights
from mmfm.hub import Origin
from mmfm.machine import pick_device
from mmfm.models import weights
from mmfm.nn import shapes_only

_AT_ONCE = 500  # pictures


@dataclass(frozen=True)
class RulerConfig:
    """What a ruler is made of."""

    image_size: int = 28  # side of the pictures, which are square
    channels: int = 1
    classes: int = 10
    widths: tuple[int, ...] = (24, 48, 96)  # channels at the full size, the half, the quarter, ...
    groups: int = 8  # of channels that are normed together
    cells: int = 3  # so many times so many parts of the picture are told apart at the end
    features: int = 128

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))  # JSON knows lists only
        numbers = (*self.widths, self.groups, self.cells, self.features, self.channels)
        if not all(type(n) is int and n >= 1 for n in (*numbers, self.image_size)):
            raise BadInput("sizes, widths, groups, cells and features are whole numbers above 0")
        if type(self.classes) is not int or self.classes < 2:
            raise BadInput(f"{self.classes} classes; a ruler tells at least two from each other")
        if len(self.widths) < 2 or any(width % self.groups for width in self.widths):
            raise BadInput(f"two widths or more are needed, multiples of {self.groups} (groups)")
        if self.image_size < 2 ** (len(self.widths) - 1):
            raise BadInput(
                f"pictures of {self.image_size}x{self.image_size} cannot be halved "
                f"{len(self.widths) - 1} times; name fewer widths"
            )


class Seen(NamedTuple):
    """What a ruler makes of pictures."""

    features: Float[Tensor, "b d"]
    logits: Float[Tensor, "b k"]


class Level(nn.Module):
    """One size of the picture: take up what the larger one has found, then look once more."""

    def __init__(self, width_in: int, width: int, groups: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(width_in, width, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(groups, width)
        self.again = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(groups, width)

    def forward(self, x: Float[Tensor, "b v y x"]) -> Float[Tensor, "b w y x"]:
        x = F.relu(self.norm1(self.enter(x)))
        return x + F.relu(self.norm2(self.again(x)))


class Ruler(nn.Module):
    """A small convolutional classifier.

    Its norms know nothing of other pictures (Wu & He 2018): a picture's features are the same in
    whatever company it is seen, and the averaged weights need no statistics of their own.
    """

    def __init__(self, config: RulerConfig, labels: Sequence[str] = ()) -> None:
        super().__init__()
        c = self.config = config
        self.labels = tuple(labels)
        self.name = ""
        self.origin: Origin | Literal["random"] = "random"
        self.stem = nn.Conv2d(c.channels, c.widths[0], 3, padding=1)
        self.norm = nn.GroupNorm(c.groups, c.widths[0])
        pairs = zip(c.widths[:-1], c.widths[1:], strict=True)
        self.levels = nn.ModuleList(Level(before, width, c.groups) for before, width in pairs)
        self.gather = nn.Linear(c.widths[-1] * c.cells**2, c.features)
        self.head = nn.Linear(c.features, c.classes)
        self.reset()

    def reset(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh weights (He et al. 2015), and a head that starts out silent."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                wide = (2 / module.weight[0].numel()) ** 0.5
                nn.init.normal_(module.weight, std=wide, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.zeros_(self.head.weight)

    def matrices(self) -> list[str]:
        """The weights that Muon takes: those between the first and the last layer."""
        inner = ("levels.", "gather.")
        return [n for n, p in self.named_parameters() if n.startswith(inner) and p.ndim >= 2]

    def forward(self, images: Float[Tensor, "b c y x"]) -> Seen:
        """Look at pictures from -1 to 1."""
        x = images.contiguous(memory_format=torch.channels_last)
        x = F.relu(self.stem(x))  # b w y x
        # Averages, not maxima: as good, and a processor takes them several times as fast.
        x = self.norm(F.avg_pool2d(x, 2))  # b w y/2 x/2
        for number, level in enumerate(self.levels):
            x = level(F.avg_pool2d(x, 2) if number else x)  # b 2w y/2 x/2, b 4w y/4 x/4, ...
        x = F.adaptive_avg_pool2d(x, self.config.cells)  # b 4w 3 3
        features = F.relu(self.gather(rearrange(x, "b w y x -> b (w y x)")))  # b d
        return Seen(features, self.head(features))  # b d, b k

    def as_seen(self, images: UInt8[Tensor, "b y x c"]) -> Float[Tensor, "b c y x"]:
        """Turn bytes into what the ruler looks at."""
        c = self.config
        if images.ndim != 4 or images.dtype != torch.uint8:
            raise BadInput(f"pictures come as bytes (n y x c), not as {tuple(images.shape)}")
        if tuple(images.shape[1:]) != (c.image_size, c.image_size, c.channels):
            height, width, channels = images.shape[1:]
            raise BadInput(
                f"{self.source} looks at {c.image_size}x{c.image_size} pixels and {c.channels} "
                f"channels, the pictures have {height}x{width} and {channels}"
            )
        return rearrange(images.float() / 127.5 - 1, "b y x c -> b c y x")

    @property
    def source(self) -> str:
        """Which weights these are, for a person."""
        return "random weights" if self.origin == "random" else self.name

    @property
    def digest(self) -> str:
        """By what a ruler is known: the SHA-256 of its settings and its weights in float32."""
        known = hashlib.sha256(json.dumps(asdict(self.config), sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            known.update(f"{name}{tuple(tensor.shape)}".encode())
            known.update(tensor.detach().cpu().float().numpy().astype("<f4").tobytes())
        return known.hexdigest()


@torch.inference_mode()
def look(
    ruler: Ruler,
    images: UInt8[Tensor, "n y x c"],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Seen:
    """Look at any number of pictures, a few hundred at a time; what is seen comes in float32."""
    if len(images) == 0:
        raise BadInput("there are no pictures to look at")
    device = next(ruler.parameters()).device
    parts: list[Seen] = []
    for some in images.split(_AT_ONCE):
        # A GPU's short cut for float32 keeps three digits: too few to measure with.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            seen = ruler(ruler.as_seen(some).to(device))
        parts.append(Seen(seen.features.float().cpu(), seen.logits.float().cpu()))
        if progress is not None:
            progress(sum(len(part.logits) for part in parts), len(images))
    return Seen(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


# --- files ----------------------------------------------------------------------------------------


def load_ruler(name: str | PathLike[str], *, device: str = "cpu") -> Ruler:
    """Load a ruler: bundled, or a path."""
    name = hub.name_of(name)
    where = pick_device(device)
    found = hub.find(name)
    settings = _settings(found)
    kind = settings.get("model")
    if kind != "ruler":
        raise BadInput(
            f"{name}: this is {_a(kind)}, not a ruler; mmfm train ruler makes one, and mnist-ruler "
            "comes with the package"
        )
    try:
        config = RulerConfig(**settings["config"])
        labels = tuple(str(label) for label in settings["labels"])
        if len(labels) != config.classes:
            raise ValueError(f"{len(labels)} labels for {config.classes} classes")
    except (KeyError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise BadWeights(f"{name}: settings of another version, or damaged ({what})") from error
    state = {key: tensor.float() for key, tensor in weights.read(found.weights).items()}
    weights.check(_drafted(config, name), state, name)
    ruler = Ruler(config, labels)
    weights.load_strictly(ruler, state, name)
    ruler.name, ruler.origin = name, found.origin
    return ruler.to(where).eval()


def _drafted(config: RulerConfig, name: str) -> Ruler:
    """A ruler of shapes without numbers: settings that ask for one of any size cost nothing."""
    try:
        with shapes_only():
            return Ruler(config)
    except RuntimeError as error:
        raise BadWeights(f"{name}: settings of a size that no ruler has ({error})") from error


def _settings(found: hub.Found) -> dict[str, Any]:
    """What the checkpoint says of itself: inside its own weight file, else in the config beside."""
    first = found.weights[0]
    inside = weights.read_settings(first) if first.suffix == ".safetensors" else None
    return inside or found.settings() or {}


def _a(kind: object) -> str:
    return f"a {kind!r}" if isinstance(kind, str) else "something else"


def save_ruler(ruler: Ruler, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write a ruler into a folder that `load_ruler` takes: weights, then settings, each whole."""
    weights.save_folder(folder, ruler, ruler_settings(ruler), dtype)


def ruler_settings(ruler: Ruler) -> dict[str, Any]:
    """What it takes, apart from its weights, to build a ruler again."""
    return {
        "mmfm": 1,
        "model": "ruler",
        "config": asdict(ruler.config),
        "labels": list(ruler.labels),
    }


def ruler_from(settings: Mapping[str, Any]) -> Ruler:
    """A ruler as its settings say, before it has its weights."""
    return Ruler(RulerConfig(**settings["config"]), tuple(settings["labels"]))
