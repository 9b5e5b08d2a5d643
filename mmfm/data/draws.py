"""Random numbers by address: the same seed, epoch and sample always draw the same numbers.

A generator's numbers depend on everything drawn before. Here a number is a hash of where it is used
(seed, stream, epoch, sample, column), so augmentation and noise do not depend on the order of the
samples, the size of the batch, the process or the thread, and a resumed run draws what an unbroken
one would. (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; the mixing is
splitmix64, Steele et al. 2014.)
"""

import math

import numpy as np
import torch
from jaxtyping import Float32, Int, Int64, UInt32, UInt64
from numpy import ndarray
from torch import Tensor

from mmfm.errors import BadInput

_MASK = (1 << 64) - 1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def uniform(
    seed: int, epoch: Int[Tensor, "b"] | int, index: Int[Tensor, "b"], count: int, stream: int = 0
) -> Float32[Tensor, "b count"]:
    """Draw `count` numbers in [0, 1) for each sample, evenly spread.

    `stream` keeps two uses of the same sample apart. Asking for more columns leaves the first ones
    as they were.
    """
    # 24 bits are all that a float32 in [0, 1) can hold evenly.
    bits = _words(seed, epoch, index, count, stream) >> np.uint32(8)
    return torch.from_numpy(bits.astype(np.float32) * np.float32(2**-24))


def normal(
    seed: int, epoch: Int[Tensor, "b"] | int, index: Int[Tensor, "b"], count: int, stream: int = 0
) -> Float32[Tensor, "b count"]:
    """Draw `count` numbers for each sample from the bell curve of mean 0 and variance 1.

    Box and Muller 1958. The arithmetic is float64, so that another processor's logarithm cannot
    show in the float32 that is returned.
    """
    words = _words(seed, epoch, index, count + count % 2, stream).astype(np.float64)
    # Contiguous halves: numpy computes strided arrays by other instructions, with other last bits.
    first, second = np.ascontiguousarray(words[:, 0::2]), np.ascontiguousarray(words[:, 1::2])
    radius = np.sqrt(-2 * np.log((first + 1) * 2**-32))  # + 1: the logarithm of 0 has no value
    angle = second * (2 * math.pi * 2**-32)
    out = np.empty(words.shape, np.float32)
    out[:, 0::2], out[:, 1::2] = radius * np.cos(angle), radius * np.sin(angle)
    return torch.from_numpy(out[:, :count].copy())


def generator(seed: int) -> torch.Generator:
    """A generator of torch's with any seed; beyond 64 bits, which are all it has, it wraps around.

    A seed below 0 gives the numbers that torch itself gives for it.
    """
    return torch.Generator().manual_seed(seed & _MASK)


def key(seed: int, epoch: int, index: int, stream: int = 0) -> int:
    """Make one number of an address, to seed a generator where very many numbers are wanted.

    A generator draws them several times faster than they could be looked up one by one.
    """
    words = _words(seed, epoch, torch.tensor([index]), 2, stream)
    return int(words.view("<u8").item()) >> 1  # a seed is not below 0


def stratified(
    labels: Int[Tensor, "n"], fraction: float, seed: int
) -> tuple[Int64[Tensor, "most"], Int64[Tensor, "rest"]]:
    """Split sample numbers in two so that every class gives the same share to the second part.

    A class of at least two keeps a sample on either side. Both parts are in rising order.
    """
    if not 0 < fraction < 1:
        raise BadInput(f"a fraction of {fraction} splits nothing: it lies between 0 and 1")
    draw = uniform(seed, 0, torch.arange(len(labels)), 1).squeeze(1)
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = torch.nonzero(labels == label).squeeze(1)
        share = min(max(round(len(members) * fraction), 1), len(members) - 1)
        held_out[members[draw[members].argsort(stable=True)[:share]]] = True
    return torch.nonzero(~held_out).squeeze(1), torch.nonzero(held_out).squeeze(1)


def _words(
    seed: int, epoch: Int[Tensor, "b"] | int, index: Int[Tensor, "b"], count: int, stream: int
) -> UInt32[ndarray, "b count"]:
    """32 well mixed bits for every sample and column."""
    key = np.zeros(len(index), np.uint64)
    # Mixed between any two, or seed 1 of stream 0 would be seed 0 of stream 1.
    for part in (seed, stream, epoch, index):
        key = _mix(key ^ _unsigned(part))
    pairs = np.arange((count + 1) // 2, dtype=np.uint64)
    # A 64-bit hash is two columns; little-endian order fixes which comes first on every machine.
    mixed = _mix(key[:, None] + pairs[None, :] * _GOLDEN)
    return mixed.astype("<u8", copy=False).view("<u4")[:, :count]


def _unsigned(part: Int[Tensor, "b"] | int) -> UInt64[ndarray, "*b"]:
    if isinstance(part, Tensor):
        return part.detach().cpu().to(torch.int64).numpy().view(np.uint64)
    return np.array(part & _MASK, np.uint64)


def _mix(x: UInt64[ndarray, "..."]) -> UInt64[ndarray, "..."]:
    """Spread every bit of x over all 64; the multiplications wrap around on purpose."""
    x = x + _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
