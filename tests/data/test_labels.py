"""Labels as people write them, and the mistakes they make."""

from pathlib import Path

import pytest

from mmfm.data.labels import Label, as_labels, read_labels
from mmfm.data.templates import read_templates
from mmfm.errors import BadInput, MmfmError, NotHere


def test_commas_part_labels_and_bars_part_synonyms():
    assert read_labels(" dog=강아지|puppy , cat|kitty,sea  lion") == [
        Label("dog", ("강아지", "puppy")),
        Label("cat", ("cat", "kitty")),
        Label("sea lion", ("sea lion",)),
    ]


def test_a_list_and_a_mapping_say_the_same():
    assert as_labels(["dog=강아지|puppy", "cat"]) == as_labels(
        {"dog": ["강아지", "puppy"], "cat": "cat"}
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
def test_a_file_holds_one_label_a_line_in_the_encodings_that_are_about(
    encoding: str, tmp_path: Path
):
    path = tmp_path / "labels.txt"
    path.write_text("# pets, of all kinds\n강아지|개\n\ncat, the small one\n", encoding=encoding)
    names = [label.name for label in read_labels(f"@{path}")]
    assert names == ["강아지", "cat, the small one"]  # a comma parts nothing here


def test_a_letter_written_in_two_ways_is_one_letter():
    apart = "\u1100\u1161"  # as macOS writes 가 in names of files
    assert as_labels([apart]) == as_labels(["가"])


def test_every_synonym_is_said_in_the_templates_of_its_language():
    said = Label("dog", ("강아지", "puppy")).sentences(read_templates("simple"))
    assert said == ["강아지 사진", "a photo of a puppy"]


@pytest.mark.parametrize(
    ("wish", "kind", "line"),
    [
        ("", BadInput, "no labels"),
        ("dog,,cat", BadInput, "an empty label"),
        ("dog,cat,", BadInput, "an empty label"),
        ("dog=|puppy", BadInput, "'dog' has an empty synonym"),
        ("dog|", BadInput, "'dog' has an empty synonym"),
        ("dog=", BadInput, "'dog' has an empty synonym"),
        ("=puppy", BadInput, "'puppy' has no name before its ="),
        ("dog,Dog", BadInput, "'dog' is there twice"),
        ("dog|puppy,cat|puppy", BadInput, "'puppy' is a name of 'dog' and of 'cat'"),
        ("@nowhere.txt", NotHere, "no such file"),
    ],
)
def test_mistakes_are_one_clear_line(wish: str, kind: type[MmfmError], line: str):
    with pytest.raises(kind, match=line) as caught:
        read_labels(wish)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("labels", [[], {}, "dog", [3]])
def test_what_is_no_list_of_labels_is_refused(labels: object):
    with pytest.raises(BadInput):
        as_labels(labels)  # type: ignore[arg-type]


def test_an_empty_file_of_labels_is_refused(tmp_path: Path):
    path = tmp_path / "labels.txt"
    path.write_text("\n# nothing\n")
    with pytest.raises(BadInput, match="holds no label"):
        read_labels(f"@{path}")
