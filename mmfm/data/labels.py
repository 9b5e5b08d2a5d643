"""Labels as a person writes them: dog=강아지|puppy,cat.

What stands before = is shown; what stands after it, parted by |, is what the label is called, and
what the model reads. Without = a label is called as it is shown, by its first name.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmfm.data.tables import tidy
from mmfm.data.templates import Templates, fill, language_of, sentences
from mmfm.data.texts import read_text
from mmfm.errors import BadInput, NotHere


@dataclass(frozen=True)
class Label:
    """One answer that a picture can get."""

    name: str  # as it is shown
    names: tuple[str, ...]  # as it is said; several are synonyms

    def sentences(self, templates: Templates) -> list[str]:
        """Everything that is said of it."""
        by_language: dict[str, list[str]] = {}
        for name in self.names:
            by_language.setdefault(language_of(name), []).append(name)
        return sentences(by_language, templates)

    @property
    def text(self) -> str:
        """One plain sentence, for looking into the text tower."""
        name = self.names[0]
        return name if language_of(name) != "en" else fill("{a} {name}", name)


def read_labels(wish: str) -> list[Label]:
    """Read what was written on a command line: labels parted by commas, or @FILE, one a line."""
    if wish.startswith("@"):
        path = Path(wish[1:]).expanduser()
        if path.is_dir():
            raise BadInput(f"--labels {wish}: this is a folder; name a file, one label a line")
        if not path.is_file():
            raise NotHere(f"--labels {wish}: no such file; it holds one label a line")
        lines = read_text(path).splitlines()
        several = [line for line in map(tidy, lines) if line and not line.startswith("#")]
        if not several:
            raise BadInput(f"--labels {wish}: the file holds no label; write one a line")
        return as_labels(several)
    if not tidy(wish):
        raise BadInput(
            'no labels; write them as --labels "dog=강아지|puppy,cat", or --labels @FILE'
        )
    return as_labels(wish.split(","))


def as_labels(labels: Sequence[str | Label] | Mapping[str, str | Sequence[str]]) -> list[Label]:
    """Take labels in any form they come in: texts, or what is shown -> what it is called."""
    if isinstance(labels, str):
        raise BadInput(f"one text where a list of labels is expected: write [{labels!r:.60}]")
    if not isinstance(labels, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise BadInput(f"labels are a list of texts, not {type(labels).__name__}")
    if isinstance(labels, Mapping):
        made = [
            _named(shown, [said] if isinstance(said, str) else said)
            for shown, said in labels.items()
        ]
    else:
        made = [label if isinstance(label, Label) else _read(label) for label in labels]
    if not made:
        raise BadInput("no labels; at least one is needed")
    _refuse_doubles(made)
    return made


def _read(text: str) -> Label:
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise BadInput(f"a label is a text, not {type(text).__name__}: {text!r:.60}")
    shown, equals, said = text.partition("=")
    names = (said if equals else shown).split("|")
    return _named(shown if equals else names[0], names)


def _named(shown: str, said: Sequence[str]) -> Label:
    name, names = tidy(shown), tuple(tidy(one) for one in said)
    if not name and not any(names):
        raise BadInput("an empty label; between two commas stands a name")
    if not name:
        raise BadInput(f"the label {'|'.join(names)!r} has no name before its =")
    if not names or not all(names):
        raise BadInput(f"the label {name!r} has an empty synonym; write it as dog=강아지|puppy")
    return Label(name, tuple(dict.fromkeys(names)))


def _refuse_doubles(labels: Sequence[Label]) -> None:
    shown = Counter(label.name.casefold() for label in labels)
    for label in labels:
        if shown[label.name.casefold()] > 1:
            raise BadInput(f"the label {label.name!r} is there twice; each is named once")
    owner: dict[str, Label] = {}
    for label in labels:
        for name in label.names:
            other = owner.setdefault(name.casefold(), label)
            if other is not label:
                raise BadInput(
                    f"{name!r} is a name of {other.name!r} and of {label.name!r}; "
                    "it can be one label's only"
                )
