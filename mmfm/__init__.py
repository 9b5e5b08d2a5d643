"""Vision transformers, CLIP and diffusion in short parts: the version you read is the one you run.

The names below are imported when they are first used, so that `import mmfm` takes no time and
loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmfm.errors import (
        BadData,
        BadInput,
        BadRun,
        BadWeights,
        InUse,
        MmfmError,
        NotHere,
        Offline,
        OutOfSpace,
        UnreadablePicture,
    )
    from mmfm.models.checkpoints import load_clip, load_denoiser, load_vit
    from mmfm.tasks.classify import Prediction, ZeroShotClassifier
    from mmfm.tasks.generate import generate

__version__ = "0.1.0"

__all__ = [
    "BadData",
    "BadInput",
    "BadRun",
    "BadWeights",
    "InUse",
    "MmfmError",
    "NotHere",
    "Offline",
    "OutOfSpace",
    "Prediction",
    "UnreadablePicture",
    "ZeroShotClassifier",
    "__version__",
    "generate",
    "load_clip",
    "load_denoiser",
    "load_vit",
]

# Every other public name lives in mmfm.errors.
_HOME = {
    "Prediction": "mmfm.tasks.classify",
    "ZeroShotClassifier": "mmfm.tasks.classify",
    "generate": "mmfm.tasks.generate",
    "load_clip": "mmfm.models.checkpoints",
    "load_denoiser": "mmfm.models.checkpoints",
    "load_vit": "mmfm.models.checkpoints",
}


def __getattr__(name: str) -> object:
    """Fetch a public name from its home on first use; from then on it is an ordinary attribute."""
    if name not in __all__:
        known = ", ".join(__all__)
        raise AttributeError(f"module 'mmfm' has no attribute {name!r}; it has {known}")
    value = getattr(import_module(_HOME.get(name, "mmfm.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
