"""Weights on their way from a file into a model: read safely, renamed by a table, loaded strictly.

A table is a list of rows (ours, theirs) or (ours, theirs, change), in which

    *         stands for the number of a layer, the same on both sides
    {q|k|v}   on our side: their one tensor is ours in equal parts, one below the other

and `change` turns their tensor into ours. Every row but an optional one must be found, and every
tensor of theirs must be used or be named as unused: a model that loads is a model that is right.
"""

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmfm.errors import BadWeights
from mmfm.files import whole

Row = tuple[str, str] | tuple[str, str, Callable[[Tensor], Tensor]]
Table = Sequence[Row]


def read(paths: Iterable[Path]) -> dict[str, Tensor]:
    """Read every tensor of some weight files, without ever running code from them."""
    state: dict[str, Tensor] = {}
    for path in paths:
        state.update(_read_safetensors(path) if path.suffix == ".safetensors" else _read_bin(path))
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise BadWeights(f"{path}: not a whole safetensors file ({error})") from error


def _read_bin(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A damaged file meets nearly any exception in there, and torch's own words for one with
        # code in it advise to run that.
        raise BadWeights(
            f"{path}: not a whole file of plain weights; it is damaged, or holds code, which was "
            "not run"
        ) from error
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
    left: list[str] = []
    for key, tensor in theirs.items():
        if any(_pattern(pattern).fullmatch(key) for pattern in unused):
            continue
        for row in table:
            match = _pattern(row[1]).fullmatch(key.removeprefix(prefix))
            if match:
                try:
                    changed = row[2](tensor) if len(row) == 3 else tensor
                except ValueError as error:
                    raise BadWeights(f"{name}: {key} is {error}") from error
                ours.update(_parts(row[0], match.groups(), changed))
                break
        else:
            left.append(key)
    if left:
        raise BadWeights(f"{name}: weights that the model has no place for: {_some(left)}")
    return ours


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
    model.load_state_dict(dict(state), strict=True)


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


def drop_batch(tensor: Float[Tensor, "1 n d"]) -> Float[Tensor, "n d"]:
    """Take off the leading axis of one that publishers give to tokens and positions."""
    return tensor.squeeze(0)
