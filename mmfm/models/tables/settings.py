"""What the settings of a checkpoint may be: they come from files, and a file may hold anything.

A table of kinds says of each setting what it is. What is not in the table is not looked at, and
what the file leaves out is nobody's fault: it has a default.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from mmfm.errors import BadWeights


@dataclass(frozen=True)
class Kind:
    """A kind of value, and what it is called."""

    says: str
    holds: Callable[[Any], bool]
    null: bool = False  # whether null is as good as nothing

    def or_null(self) -> "Kind":
        """The same kind, where null means that there is none."""
        return Kind(self.says, self.holds, null=True)


Kinds = Mapping[str, Kind]

_LARGEST = 10_000_000  # of any size; a million tokens and 30,000 numbers each are about


def _is_whole(value: Any, least: int) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and least <= value <= _LARGEST


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _is_size(value: Any) -> bool:
    return _is_whole(value, 1)


def _is_sides(value: Any) -> bool:
    sides = value if isinstance(value, list) else [value, value]
    return len(sides) == 2 and all(map(_is_size, sides))


SIZE = Kind(f"a whole number from 1 to {_LARGEST:,}", _is_size)
COUNT = Kind(f"a whole number from 0 to {_LARGEST:,}", lambda value: _is_whole(value, 0))
SIDES = Kind("a size, or a list of height and width", _is_sides)
NUMBER = Kind("a number", _is_number)
SHARE = Kind("a number above 0, at most 1000", lambda v: _is_number(v) and 0 < v <= 1000)
TEXT = Kind("a text", lambda value: isinstance(value, str))
TABLE = Kind("an object with settings in it", lambda value: isinstance(value, Mapping))


def check(given: Any, kinds: Kinds, where: str) -> None:
    """Refuse settings that are of another kind than they can be; `where` names their file."""
    if not isinstance(given, Mapping):
        raise BadWeights(f"{where} is {given!r:.40}, not {TABLE.says}")
    for key, kind in kinds.items():
        value = given.get(key)
        if key in given and not ((value is None and kind.null) or kind.holds(value)):
            raise BadWeights(f"{where}: {key} is {value!r:.40}, not {kind.says}")


def demand(given: Any, kinds: Kinds, where: str) -> None:
    """Refuse also settings that are not there."""
    check(given, kinds, where)
    if missing := [key for key in kinds if key not in given]:
        raise BadWeights(f"{where} says nothing of {', '.join(missing)}")
