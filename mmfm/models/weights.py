"""Weights on their way from a file into a model: read safely, renamed by a table, loaded strictly.

A table is a list of rows (ours, theirs) or (ours, theirs, change), in which

    *         stands for the number of a layer, the same on both sides
    {q|k|v}   on our side: their one tensor is ours in equal parts, one below the other

and `change` turns their tensor into ours. Every row but an optional one must be found, and every
tensor of theirs must be used or be named as unused: a model that loads is a model that is right.
"""

import contextlib
import functools
import json
import re
import zipfile
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmfm.errors import BadWeights
from mmfm.files import whole, write_whole

Row = tuple[str, str] | tuple[str, str, Callable[[Tensor], Tensor]]
Table = Sequence[Row]


def read(paths: Iterable[Path], only: Collection[str] | None = None) -> dict[str, Tensor]:
    """Read every tensor of some weight files, or those named, without ever running code from them.

    What is not named is not read: it costs no memory.
    """
    state: dict[str, Tensor] = {}
    for path in paths:
        if path.suffix == ".safetensors":
            with _opened(path) as file:
                names = [key for key in file.keys() if only is None or key in only]  # noqa: SIM118
                state.update({key: file.get_tensor(key) for key in names})
        else:
            whole = _read_bin(path)
            state.update({k: tensor for k, tensor in whole.items() if only is None or k in only})
    return state


def shapes(paths: Iterable[Path]) -> dict[str, Tensor]:
    """What `read` would give, as tensors that have a shape and no numbers."""
    state: dict[str, Tensor] = {}
    for path in paths:
        if path.suffix == ".safetensors":
            with _opened(path) as file:
                sizes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
            state.update({k: torch.empty(size, device="meta") for k, size in sizes.items()})
        else:
            state.update({key: tensor.to("meta") for key, tensor in _read_bin(path).items()})
    return state


@contextlib.contextmanager
def _opened(path: Path) -> Generator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            yield file
    except (SafetensorError, ValueError) as error:
        raise BadWeights(f"{path}: not a whole safetensors file ({error})") from error


def _read_bin(path: Path) -> dict[str, Tensor]:
    state: Any = None
    try:
        # Mapped, not read: a tensor that nobody looks at never reaches the memory.
        mapped = zipfile.is_zipfile(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:
        # A damaged file meets nearly any exception in there, and torch's own words for one with
        # code in it advise to run that.
        raise BadWeights(
            f"{path}: not a whole file of plain weights; it is damaged, or holds code, which was "
            "not run"
        ) from error
    if isinstance(state, Mapping) and "state_dict" in state:
        # The state of a training of open_clip's, on one process or on several.
        state = state["state_dict"]
        if isinstance(state, Mapping):
            state = {str(key).removeprefix("module."): tensor for key, tensor in state.items()}
    if not isinstance(state, Mapping) or not all(isinstance(x, Tensor) for x in state.values()):
        raise BadWeights(f"{path}: holds something else than named weights")
    return dict(state)


def translate(
    theirs: Mapping[str, Tensor],
    table: Table,
    name: str,
    *,
    prefix: str = "",
    unused: Sequence[str] = (),
) -> dict[str, Tensor]:
    """Rename a publisher's weights to ours; raise if one of theirs has no row.

    Only names that start with `prefix` belong to the model, or have a row of their own without it
    (a head). `unused` are patterns of names that the publisher stores and the model never needs.
    """
    ours: dict[str, Tensor] = {}
    for key, (row, layer) in rows(theirs, table, name, prefix=prefix, unused=unused).items():
        try:
            changed = row[2](theirs[key]) if len(row) == 3 else theirs[key]
        except ValueError as error:
            raise BadWeights(f"{name}: {key} is {error}") from error
        ours.update(_parts(row[0], layer, changed))
    return ours


def rows(
    theirs: Iterable[str],
    table: Table,
    name: str,
    *,
    prefix: str = "",
    unused: Sequence[str] = (),
) -> dict[str, tuple[Row, tuple[str, ...]]]:
    """Find the row of each of a publisher's names, and the numbers of its layer."""
    found: dict[str, tuple[Row, tuple[str, ...]]] = {}
    left: list[str] = []
    for key in theirs:
        if any(_pattern(pattern).fullmatch(key) for pattern in unused):
            continue
        for row in table:
            match = _pattern(row[1]).fullmatch(key.removeprefix(prefix))
            if match:
                found[key] = row, match.groups()
                break
        else:
            left.append(key)
    if left:
        raise BadWeights(f"{name}: weights that the model has no place for: {_some(left)}")
    return found


def nested(table: Table, ours: str, theirs: str) -> Table:
    """The same rows for a part of a larger model, under its name there."""

    def under(row: Row) -> Row:
        names = ours + row[0], theirs + row[1]
        return (*names, row[2]) if len(row) == 3 else names

    return [under(row) for row in table]


@functools.cache
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(re.escape(glob).replace(r"\*\*", ".+").replace(r"\*", r"(\d+)"))


def _parts(ours: str, layer: tuple[str, ...], tensor: Tensor) -> dict[str, Tensor]:
    for number in layer:
        ours = ours.replace("*", number, 1)
    choice = re.search(r"\{(.+)\}", ours)
    if choice is None:
        return {ours: tensor}
    names = choice[1].split("|")
    return {
        ours.replace(choice[0], name): part
        for name, part in zip(names, tensor.tensor_split(len(names)), strict=True)
    }


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Put weights into a model: every one there, none left over, each of the right shape."""
    check(model, state, name)
    check_finite(state, name)
    model.load_state_dict(dict(state), strict=True)


def check(model: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Raise unless the weights fit the model to the last one; their numbers are not looked at."""
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in state]
    left = [key for key in state if key not in wanted]
    wrong = [
        f"{key} is {tuple(state[key].shape)}, not {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in state and state[key].shape != tensor.shape
    ]
    faults = [
        f"{what}: {_some(keys)}"
        for what, keys in (
            ("missing", missing),
            ("left over", left),
            ("of another shape", wrong),
        )
        if keys
    ]
    if faults:
        raise BadWeights(f"{name}: the weights do not fit the model; " + "; ".join(faults))


def check_finite(state: Mapping[str, Tensor], name: str) -> None:
    """Raise for weights that are no numbers, or infinite: a run that fell over leaves such."""

    def is_finite(tensor: Tensor) -> bool:
        # What is not finite makes the sum so, too, and that costs no second tensor. The sum alone
        # may be too large for its type.
        exact = torch.promote_types(tensor.dtype, torch.float32)
        return bool(tensor.sum(dtype=exact).isfinite()) or bool(tensor.isfinite().all())

    odd = [key for key, x in state.items() if x.is_floating_point() and not is_finite(x)]
    if odd:
        raise BadWeights(f"{name}: weights with NaN or infinite numbers in them: {_some(odd)}")


def _some(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def save(path: Path, model: nn.Module, settings: Mapping[str, Any], dtype: torch.dtype) -> None:
    """Write a model as one safetensors file that also holds what it takes to build it again."""
    from safetensors.torch import save as to_bytes

    state = {
        key: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype)
        for key, tensor in model.state_dict().items()
    }
    contiguous = {key: tensor.contiguous() for key, tensor in state.items()}
    with whole(path) as file:
        file.write(to_bytes(contiguous, metadata={"mmfm": json.dumps(settings)}))


def save_folder(
    folder: Path, model: nn.Module, settings: Mapping[str, Any], dtype: torch.dtype
) -> None:
    """Write a model and, for a person, its settings beside it: weights first, each whole."""
    save(folder / "model.safetensors", model, settings, dtype)
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    write_whole(folder / "config.json", text + "\n")


def read_settings(path: Path) -> dict[str, Any] | None:
    """What `save` wrote beside the weights; None for a file of somebody else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get("mmfm")
    except (SafetensorError, OSError) as error:
        raise BadWeights(f"{path}: not a whole safetensors file ({error})") from error
    try:
        return None if text is None else dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise BadWeights(f"{path}: its settings are not whole JSON ({error})") from error


# --- changes that rows name -----------------------------------------------------------------


def flat_patches(kernel: Float[Tensor, "d c p q"]) -> Float[Tensor, "d pqc"]:
    """A convolution that strides by its own size is a linear map over patches."""
    if kernel.ndim != 4:
        raise ValueError(f"{tuple(kernel.shape)}, not a kernel of four axes")
    return kernel.permute(0, 2, 3, 1).flatten(1)


def add_batch(token: Float[Tensor, " d"]) -> Float[Tensor, "1 d"]:
    """A publisher's lone token as the first of some."""
    return token[None]


def transposed(matrix: Float[Tensor, "d e"]) -> Float[Tensor, "e d"]:
    """A matrix that stands to the right of its input, as a linear layer keeps it."""
    if matrix.ndim != 2:
        raise ValueError(f"{tuple(matrix.shape)}, not a matrix")
    return matrix.T


def number(tensor: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """A lone number that some publishers keep in a row of one."""
    if tensor.numel() != 1:
        raise ValueError(f"{tuple(tensor.shape)}, not a number")
    return tensor.reshape(())


def drop_batch(tensor: Float[Tensor, "1 n d"]) -> Float[Tensor, "n d"]:
    """Take off the leading axis of one that publishers give to tokens and positions."""
    return tensor.squeeze(0)
