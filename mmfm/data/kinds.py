"""What pictures show, and all that it is called: names, and broader terms that are as true.

A table tells it of classes, a row each: what the data calls the class, its names in each language,
and to which other rows it belongs. A Chihuahua is a dog, a dog is a mammal, a mammal an animal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmfm.data.tables import read_table
from mmfm.data.texts import tidy
from mmfm.errors import BadData, NotHere

Texts = Mapping[str, tuple[str, ...]]  # language -> texts

_BROADER = "broader"  # the column that names the rows above


@dataclass(frozen=True)
class Kind:
    """One thing that pictures show."""

    names: Texts  # what it is called, the usual name first
    words: Texts  # what else is true of it: broader terms, keywords

    @property
    def everything(self) -> set[str]:
        """All that is true of it, however it is spelled in large and small letters."""
        said = (*self.names.values(), *self.words.values())
        return {text.casefold() for several in said for text in several}


def read_kinds(path: Path) -> dict[str, Kind]:
    """Read a table of kinds: what the data may call each -> the kind.

    Columns of two letters are languages, with names parted by |. `broader` names, parted likewise,
    the rows above: their names are true of this one too, and so are those of the rows above them.
    Every other column says what the data calls the kind: by a word, by a number of WordNet's.
    """
    if not path.is_file():
        raise NotHere(f"{path}: no such table of kinds")
    header, rows = read_table(path)
    languages = [column for column in header if len(column) == 2]
    keys = [column for column in header if column not in (*languages, _BROADER)]
    if not languages or not keys:
        raise BadData(
            f"{path}: a table of kinds has a column of what the data calls them, as class, and one "
            f"of names for each language, as en; this one has {', '.join(header)}"
        )
    number: dict[str, int] = {}  # of the row that the data calls so
    names: list[Texts] = []
    for line, row in rows:
        cells = dict(zip(header, row, strict=False))
        own = {key: None for column in keys if (key := tidy(cells.get(column, "")))}
        if taken := [key for key in own if key in number]:
            raise BadData(f"{path}: line {line}: {taken[0]!r} has a row already")
        several = {language: _parted(cells.get(language, "")) for language in languages}
        said = {language: texts for language, texts in several.items() if texts}
        if not own or not said:
            what = "name in any language" if own else "word for what the data calls it"
            raise BadData(f"{path}: line {line} has no {what}")
        number |= dict.fromkeys(own, len(names))
        names.append(said)
    above: list[list[int]] = []
    for line, row in rows:
        broader = _parted(dict(zip(header, row, strict=False)).get(_BROADER, ""))
        if missing := [key for key in broader if key not in number]:
            raise BadData(f"{path}: line {line}: {missing[0]!r} is to be broader, and has no row")
        above.append([number[key] for key in broader])
    for (line, _), i in zip(rows, range(len(rows)), strict=True):
        if i in _all_above(i, above):
            raise BadData(f"{path}: line {line} is said to be broader than itself")
    kinds = [Kind(names[i], _words(i, above, names)) for i in range(len(rows))]
    return {key: kinds[i] for key, i in number.items()}


def _parted(cell: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for part in cell.split("|") if (text := tidy(part))))


def _all_above(row: int, above: Sequence[Sequence[int]]) -> list[int]:
    """The rows above one and those above them, the nearest first."""
    found: list[int] = []
    waiting = list(above[row])
    while waiting:
        nearest = waiting.pop(0)
        if nearest not in found:
            found.append(nearest)
            waiting += above[nearest]
    return found


def _words(row: int, above: Sequence[Sequence[int]], names: Sequence[Texts]) -> Texts:
    """The names of all rows above one, without its own."""
    words: dict[str, dict[str, None]] = {}
    for other in _all_above(row, above):
        for language, several in names[other].items():
            own = names[row].get(language, ())
            fresh = [text for text in several if text not in own]
            words.setdefault(language, {}).update(dict.fromkeys(fresh))
    return {language: tuple(texts) for language, texts in words.items() if texts}
