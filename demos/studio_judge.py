"""Whether drawn digits can be read: by a judge that has learned from the same kind of digits.

MNIST's are read by the bundled classifier `mnist-ruler`, scikit-learn's of 8x8 pixels by the one
that looks most alike among the real ones. Of other pictures there is no judge, and people look.
"""

import io
import threading
from functools import cached_property

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from mmfm.data.digits import load_digits8
from mmfm.models.ruler import Ruler, load_ruler, look
from mmfm.tasks.studio import Sheets

from .studio_sources import NUMERALS


def tiles(sheet: bytes, laid_out: Sheets) -> UInt8[ndarray, "n y x c"]:
    """Take the sheet of a run apart into its pictures, row by row."""
    with Image.open(io.BytesIO(sheet)) as picture:
        pixels = np.asarray(picture.convert("L" if laid_out.channels == 1 else "RGB"))
    apart = laid_out.side + 1  # with the gap
    times = pixels.shape[1] // (laid_out.columns * apart - 1)  # each pixel was enlarged so often
    pixels = pixels[::times, ::times].reshape(-(-pixels.shape[0] // times), -1, laid_out.channels)
    with_last_gap = np.pad(pixels, ((0, 1), (0, 1), (0, 0)))
    parts = rearrange(with_last_gap, "(r y) (k x) c -> (r k) y x c", y=apart, x=apart)
    return parts[:, :-1, :-1]


class Judge:
    """Reads digits; what it needs for that is loaded when it is first asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def reads(self, sheet: bytes, laid_out: Sheets, data: str) -> list[bool] | None:
        """Of each picture of a sheet, whether it is read as what it was meant to be."""
        known = data in ("mnist", "digits") and set(laid_out.labels) <= set(NUMERALS)
        if not known or not laid_out.labels:
            return None
        images = tiles(sheet, laid_out)
        meant = np.array([int(laid_out.labels[n % laid_out.columns]) for n in range(len(images))])
        with self._lock:
            read = self._of_mnist(images) if data == "mnist" else self._of_8x8(images)
        return (read == meant).tolist()

    def _of_mnist(self, images: UInt8[ndarray, "n y x c"]) -> ndarray:
        return look(self._ruler, torch.tensor(images)).logits.argmax(dim=1).numpy()

    def _of_8x8(self, images: UInt8[ndarray, "n y x c"]) -> ndarray:
        rows, labels = self._real
        drawn = rearrange(images.astype(np.float32), "n y x c -> n (y x c)")
        # The squared distance to each, but for what is the same for all of them.
        far = (rows**2).sum(axis=1) - 2 * drawn @ rows.T
        return labels[far.argmin(axis=1)]

    @cached_property
    def _ruler(self) -> Ruler:
        return load_ruler("mnist-ruler")

    @cached_property
    def _real(self) -> tuple[ndarray, ndarray]:
        real = load_digits8()
        images = np.concatenate([real.train_images, real.test_images])
        labels = np.concatenate([real.train_labels, real.test_labels])
        return rearrange(images.astype(np.float32), "n y x -> n (y x)"), labels.astype(int)
