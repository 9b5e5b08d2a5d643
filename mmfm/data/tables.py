"""Tables in text files, as people and spreadsheets write them, and the names of classes in them.

CSV and TSV in the encodings that are about, Korean ones among them; names in JSON and TOML too.
"""

import csv
import io
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmfm.data.templates import language_of
from mmfm.data.texts import read_text, tidy
from mmfm.errors import BadData, NotHere

TABLES = (".csv", ".tsv", ".txt")  # how the files end

_END = "end"  # a last line of ours: what swallows it is a quote that was left open


def read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read a CSV or TSV file: (its header, (line number, cells) of every row)."""
    text = read_text(path)
    first = text.split("\n", 1)[0]
    # Spreadsheets of half of Europe part cells by semicolons.
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(f"{text}\n{_END}", newline=""), delimiter=delimiter)
    rows: list[tuple[int, list[str]]] = []
    last = begin = 1  # the lines on which the row read last, and the one being read, begin
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((reader.line_num, row))
            last, begin = begin, reader.line_num + 1
    except csv.Error as error:
        if reader.line_num > begin:
            raise BadData(_unclosed(path, begin)) from error
        raise BadData(f"{path}: line {reader.line_num} is no row of a table ({error})") from error
    if rows.pop()[1] != [_END]:
        raise BadData(_unclosed(path, last))
    if len(rows) < 2 or len(rows[0][1]) < 2:
        raise BadData(
            f"{path}: no table; its first line names at least two columns, as path,caption, and "
            "every line after it fills them"
        )
    header = [tidy(name) for name in rows[0][1]]
    for name in header:
        if name and header.count(name) > 1:
            raise BadData(f"{path}: two columns are called {name!r}; give each a name of its own")
    for line, row in rows:
        if any(cell.strip() for cell in row[len(header) :]):
            raise BadData(
                f"{path}: line {line} has {len(row)} cells, the first line {len(header)}; "
                f"a caption with {delimiter!r} in it is put in double quotes"
            )
    return header, rows[1:]


def _unclosed(path: Path, line: int) -> str:
    return f"{path}: a double quote opens in the row at line {line} and is never closed"


def read_names(path: Path) -> dict[str, dict[str, list[str]]]:
    """Read what classes are called: class -> language -> names, the usual one first.

    JSON and TOML hold for each class a name, a list of names, or an object of language to either;
    a CSV file has the columns class and one for each language, names parted by |. Where no language
    is said, the letters tell it.
    """
    if not path.is_file():
        raise NotHere(f"{path}: no such file of class names")
    if path.suffix.lower() in TABLES:
        header, rows = read_table(path)
        languages = header[1:]
        content: Any = {
            tidy(row[0]): {
                language: cell.split("|")
                for language, cell in zip(languages, row[1:], strict=False)
            }
            for _, row in rows
        }
    else:
        text = read_text(path)
        try:
            content = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
        except ValueError as error:
            raise BadData(f"{path}: neither JSON nor TOML nor CSV ({error})") from error
    if not isinstance(content, dict):
        raise BadData(f"{path}: an object of class to names is needed")
    return {tidy(str(name)): _by_language(path, str(name), said) for name, said in content.items()}


def _by_language(path: Path, name: str, said: Any) -> dict[str, list[str]]:
    by_language: dict[str, list[str]] = {}
    for language, several in (said if isinstance(said, Mapping) else {None: said}).items():
        for one in several if isinstance(several, list) else [several]:
            if not isinstance(one, str):
                raise BadData(f"{path}: {name!r} is called {one!r}, which is no text")
            if spoken := tidy(one):
                by_language.setdefault(language or language_of(spoken), []).append(spoken)
    if not by_language:
        raise BadData(f"{path}: no name for {name!r}")
    return by_language


def own_name(name: str) -> dict[str, list[str]]:
    """Take a class's own name for what it is called: sea_lion is a sea lion."""
    spoken = tidy(name.replace("_", " ")) or name
    return {language_of(spoken): [spoken]}
