"""Pictures in parquet files: a column `image` of bytes, beside it labels or captions."""

import json
import math
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmfm.errors import BadData

if TYPE_CHECKING:
    import pyarrow

_ROWS = 128  # read at a time; the undecoded files of a large set need not fit in memory


def schema_of(path: Path) -> "pyarrow.Schema":
    """Read what columns a file has; one of them must hold pictures."""
    import pyarrow.parquet as parquet

    with _reading(path):
        schema = parquet.ParquetFile(path).schema_arrow
    if "image" not in schema.names:
        raise BadData(f"{path}: no column 'image'; it has {columns_of(schema)}")
    types, image = _arrow().types, schema.field("image").type
    if types.is_struct(image) and image.get_field_index("bytes") >= 0:
        image = image.field("bytes").type
    if not (types.is_binary(image) or types.is_large_binary(image)):
        raise BadData(
            f"{path}: column 'image' has to hold bytes of picture files; it has "
            f"{columns_of(schema)}"
        )
    return schema


def columns_of(schema: "pyarrow.Schema") -> str:
    """List the columns with their types, for a message."""
    return ", ".join(f"{field.name} ({field.type})" for field in schema)


def holds_text(kind: "pyarrow.DataType") -> bool:
    """Tell whether a column of this type holds text, or lists of texts."""
    types: Any = _arrow().types
    inside: Any = kind
    if types.is_list(inside) or types.is_large_list(inside) or types.is_dictionary(inside):
        inside = inside.value_type
    return types.is_string(inside) or types.is_large_string(inside)


def read_column(paths: Sequence[Path], name: str) -> list[Any]:
    """Read a column of all files as Python values."""
    import pyarrow.parquet as parquet

    values: list[Any] = []
    for path in paths:
        with _reading(path):
            values += parquet.ParquetFile(path).read(columns=[name]).column(name).to_pylist()
    return values


def read_pictures(paths: Sequence[Path]) -> Iterator[tuple[str, bytes | None]]:
    """Yield for every row where it lies and the bytes of its picture, still undecoded."""
    import pyarrow.parquet as parquet

    for path in paths:
        row = 0
        with _reading(path):
            for batch in parquet.ParquetFile(path).iter_batches(_ROWS, columns=["image"]):
                column: Any = batch.column(0)
                if _arrow().types.is_struct(column.type):
                    column = column.flatten()[column.type.get_field_index("bytes")]
                for picture in column.to_pylist():
                    yield f"{path} row {row}", picture
                    row += 1


def read_labels(
    paths: Sequence[Path], *, needed: bool = True
) -> tuple[list[int | None], tuple[str, ...]]:
    """Read the column `label` (whole numbers or text) as numbers from 0 on, and the classes' names.

    Numbers may be kept as 0.0, 1.0 and NaN, which is what pandas makes of those with gaps.
    The names come from the file's metadata, else from a classes.json beside it. Where labels are
    not needed, files without that column give none and no names.
    """
    if not needed and not any("label" in schema_of(path).names for path in paths):
        return [None] * sum(_count(path) for path in paths), ()
    known: tuple[str, ...] | None = None
    for path in paths:
        schema = schema_of(path)
        if "label" not in schema.names:
            raise BadData(f"{path}: no column 'label'; it has {columns_of(schema)}")
        types, label = _arrow().types, schema.field("label").type
        label = label.value_type if types.is_dictionary(label) else label
        if not (types.is_integer(label) or types.is_floating(label) or _is_text(label)):
            raise BadData(
                f"{path}: column 'label' has to hold whole numbers or text; it has "
                f"{columns_of(schema)}"
            )
        known = known or _metadata_names(schema, path)
    values = [label for path in paths for label in _labels(path)]
    classes = paths[0].with_name("classes.json")
    numbered = all(value is None or isinstance(value, int) for value in values)
    if known is None and numbered and classes.is_file():
        known = _json_names(classes)
    return _numbered(values, known, ", ".join(str(path) for path in paths))


def _is_text(kind: "pyarrow.DataType") -> bool:
    types: Any = _arrow().types
    return types.is_string(kind) or types.is_large_string(kind)


def _labels(path: Path) -> Iterator[int | str | None]:
    """The labels of one file; NaN is none."""
    for row, value in enumerate(read_column([path], "label")):
        if value is None or isinstance(value, int | str):
            yield value
        elif math.isnan(value):
            yield None
        elif float(value).is_integer():
            yield int(value)
        else:
            raise BadData(
                f"{path} row {row}: label {value}, but column 'label' has to hold whole numbers or "
                "text; give each class one, or call the column otherwise if it holds no classes"
            )


def _count(path: Path) -> int:
    import pyarrow.parquet as parquet

    with _reading(path):
        return parquet.ParquetFile(path).metadata.num_rows


def _metadata_names(schema: "pyarrow.Schema", path: Path) -> tuple[str, ...] | None:
    """Class names as the datasets library leaves them in a parquet file."""
    note = (schema.metadata or {}).get(b"huggingface")
    if note is None:
        return None
    try:
        label = json.loads(note)["info"]["features"]["label"]
        return tuple(label["names"]) if label["_type"] == "ClassLabel" else None
    except (ValueError, KeyError, TypeError) as error:
        raise BadData(f"{path}: its HuggingFace metadata does not describe 'label'") from error


def _json_names(path: Path) -> tuple[str, ...]:
    """Class names from a classes.json, in the order of the labels.

    It may be a list of names, a list of {"wnid", "names"}, or an object of label or WordNet number
    to name or names, or of name to label. Of several names the first counts.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        if isinstance(content, dict) and all(isinstance(v, int) for v in content.values()):
            entries = sorted(content, key=content.__getitem__)
        elif isinstance(content, dict) and all(key.isdecimal() for key in content):
            entries = [content[key] for key in sorted(content, key=int)]
        else:
            entries = list(content.values() if isinstance(content, dict) else content)
        names = [_first_name(entry) for entry in entries]
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise BadData(f"{path}: neither a list of class names nor an object of them") from error
    # ImageNet has two cranes.
    return tuple(
        f"{name} ({label})" if names.count(name) > 1 else name for label, name in enumerate(names)
    )


def _first_name(entry: Any) -> str:
    entry = entry["names"] if isinstance(entry, dict) else entry
    names = [entry] if isinstance(entry, str) else entry
    words = [str(name) for name in names if not re.fullmatch(r"n\d{8}", name)]
    return (words or names)[0]


def _numbered(
    values: Sequence[int | str | None], known: tuple[str, ...] | None, source: str
) -> tuple[list[int | None], tuple[str, ...]]:
    """Number the labels from 0; below 0 or empty means that the set itself gives none."""
    values = [None if isinstance(value, int) and value < 0 else value for value in values]
    found = {value for value in values if value is not None}
    if known is not None and all(isinstance(value, int) for value in found):
        top = max((value for value in found if isinstance(value, int)), default=-1)
        if top >= len(known):
            raise BadData(f"{source}: has label {top}, but its class names are only {len(known)}")
        return [value if isinstance(value, int) else None for value in values], known
    ordered = sorted(found, key=lambda value: (isinstance(value, str), value))
    number = {value: label for label, value in enumerate(ordered)}
    labels = [None if value is None else number[value] for value in values]
    return labels, tuple(str(value) for value in ordered)


@contextmanager
def _reading(path: Path) -> Generator[None, None, None]:
    """Say in one line which parquet file is none, or is damaged."""
    try:
        yield
    except (_arrow().ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadData(f"{path}: not a parquet file, or damaged ({reason})") from error


def _arrow() -> Any:
    import pyarrow

    return pyarrow
