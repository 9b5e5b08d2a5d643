"""Sentences about a class, made from its name: templates in English and Korean.

A template holds {name}, and where its language needs it {a} ("a cat", "an owl") or a pair of Korean
particles such as {이/가}, of which the name's last sound chooses one.

    read_templates("default")   a set of ours, a file with a template a line, or a list
    generic_texts("en")         what can be said of a picture that shows nothing in particular
    things("en")                what photographs show, broadly; the answer may be none of the labels
"""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from mmfm.data.texts import read_text, tidy
from mmfm.errors import BadData, BadInput

Templates = Mapping[str, Sequence[str]]  # language -> templates

SETS = ("default", "simple", "english", "korean", "nano")  # each one a file in assets/templates
EVERY = "*"  # in place of a language: the templates of each that has none of its own

TEMPLATES: Templates = {
    "en": (
        "{name}",
        "{a} {name}",
        "a photo of {a} {name}",
        "a picture of {a} {name}",
        "this is {a} {name}",
    ),
    "ko": (
        "{name}",
        "{name} 사진",
        "{name}{을/를} 찍은 사진",
        "{name}{이/가} 있는 그림",
        "이것은 {name}{이다/다}",
    ),
}

_BARE = ("{name}",)  # in a language without templates a name stands alone
_LANGUAGES = ("en", "ko")
# Letters say little about sounds: "an hour" but "a unicorn", "an 8" but "a 1". What is spelled out
# begins as its first letter is called: "an MP3", "an X-ray", but "a USB cable".
_AN = re.compile(
    r"(?!eu|ewe|uni(?!n|m|d)|us[aeu]|ut[eio]|uku|ur[ai]|u\b|u(?:fo|k|n|rl|sb|v)\b|once|one\b)[aeiou]"
    r"|hour|heir|honest|honou?r|8|1[18]\b"
    r"|[fhlmnrsx](?:\b|\d)|(?:led|mri|suv)\b|(?-i:[FHLMNRSX][B-DF-HJ-NP-TV-XZ\d]+\b)",
    re.IGNORECASE,
)
_HANGUL = range(0xAC00, 0xD7A4)  # the 28 endings of a syllable lie one behind the other
_RIEUL = 8  # the ending ㄹ, after which 로 is said, not 으로
_DIGITS = dict(zip("0123456789", (21, 8, 0, 16, 0, 0, 1, 8, 8, 0), strict=True))  # 영, 일, 이 ...
_PAIRS = ("이/가", "을/를", "은/는", "과/와", "으로/로", "이다/다")  # after a consonant / a vowel
_SLOTS = ", ".join(f"{{{slot}}}" for slot in ("name", "a", *_PAIRS))


def fill(template: str, name: str) -> str:
    """Put a class's name into a template."""

    def put(match: re.Match[str]) -> str:
        slot = match[1]
        if slot == "name":
            return name
        return article(name) if slot == "a" else particle(name, slot)

    return re.sub(r"\{([^{}]*)\}", put, template)


def article(name: str) -> str:
    """Choose between "a" and "an" by how the name begins to sound."""
    return "an" if _AN.match(name) else "a"


def particle(name: str, pair: str) -> str:
    """Choose from a pair such as 이/가 by the name's last sound: 별이, 하트가.

    Where the last sound is not written in Hangul or digits, both are given, as 이(가); so they are
    for digits after Latin letters, as many of those are read in English: MP3 is 엠피쓰리.
    """
    if pair not in _PAIRS:
        raise BadInput(f"{{{pair}}} is nothing that a template may hold: {_SLOTS}")
    after_consonant, after_vowel = pair.split("/")
    spoken = re.sub(r"\W", "", re.sub(r"\([^()]*\)", "", name))
    last = spoken[-1:]
    if last in _DIGITS and not re.search(r"[A-Za-z]\d+$", spoken):
        ending = _DIGITS[last]
    elif last and ord(last) in _HANGUL:
        ending = (ord(last) - _HANGUL.start) % 28
    else:
        return f"{after_consonant}({after_vowel})"
    vowel = ending == 0 or (pair == "으로/로" and ending == _RIEUL)
    return after_vowel if vowel else after_consonant


def language_of(name: str) -> str:
    """Tell a name's language by its letters: "ko" where any is Hangul, else "en"."""
    return "ko" if any(ord(letter) in _HANGUL for letter in name) else "en"


def sentences(names: Mapping[str, Sequence[str]], templates: Templates) -> list[str]:
    """Say what a class is in every way that its names and their languages allow."""
    return [
        fill(template, name)
        for language, several in names.items()
        for name in several
        for template in templates.get(language, templates.get(EVERY, _BARE))
    ]


def read_templates(wish: str | Path | Sequence[str] | Templates) -> Templates:
    """Read the templates that a person wishes for: language -> templates.

    `wish` is one of `SETS`; or a file that holds a template a line, where # begins a comment; or a
    template, a list of them, or a list for each language. A large set in one language leaves the
    default templates to the names in others. A person's own file or list holds for the names of
    every language if all of it is in one, and is parted by language if it is in several.
    """
    if isinstance(wish, Mapping):
        templates = {language: _once(several) for language, several in wish.items()}
        check_templates(templates or {EVERY: ()})
        return templates
    if isinstance(wish, str) and wish in SETS:
        return {**_by_language(_read_set("default")), **_by_language(_read_set(wish))}
    if isinstance(wish, Path) or (isinstance(wish, str) and "{name}" not in wish):
        own = _read_file(wish)
    else:
        own = _once(wish)
        check_templates({EVERY: own})
    parted = _by_language(own)
    return parted if len(parted) > 1 else dict.fromkeys((*_LANGUAGES, EVERY), own)


def check_templates(templates: Templates) -> None:
    """Refuse templates that say nothing about the class, or hold an unknown slot."""
    for language, several in templates.items():
        if isinstance(several, str) or not several:
            where = "" if language == EVERY else f"[{language!r}]"
            raise BadInput(f"templates{where}: a list of templates is needed")
        for template in several:
            _check(template)


def generic_texts(language: str) -> tuple[str, ...]:
    """Sentences that fit many pictures and say nothing in particular: "a photo of something"."""
    _check_bank(language)
    return tuple(text for text in _read_set("generic") if language_of(text) == language)


def things(language: str) -> tuple[str, ...]:
    """Names of what photographs show, broadly: people, animals, food, furniture, places, papers."""
    _check_bank(language)
    column = _LANGUAGES.index(language)
    return tuple(line.split("|")[column] for line in _read_set("things"))


def _check(template: str) -> None:
    if "{name}" not in template:
        raise BadInput(f"the template {template!r:.80} has no {{name}}")
    # What is put in holds no brace; one that is left over belongs to no slot.
    if re.search("[{}]", fill(template, "x")):
        raise BadInput(f"the template {template!r:.80} has a brace too many; it may hold {_SLOTS}")


def _check_bank(language: str) -> None:
    if language not in _LANGUAGES:
        raise BadInput(f"no generic texts in {language!r}; there are some in en and ko")


def _by_language(templates: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Part templates by their letters; "{name}" has none of its own, and is in every language."""
    spoken = [template.replace("{name}", "") for template in templates]
    kinds = [
        language_of(text) if any(letter.isalpha() for letter in text) else EVERY for text in spoken
    ]
    return {
        language: tuple(
            template
            for template, kind in zip(templates, kinds, strict=True)
            if kind in (language, EVERY)
        )
        for language in _LANGUAGES
        if language in kinds
    }


def _once(several: str | Sequence[str]) -> tuple[str, ...]:
    """Each template once, in their order; one text is one template."""
    return tuple(dict.fromkeys(map(tidy, [several] if isinstance(several, str) else several)))


def _read_set(name: str) -> tuple[str, ...]:
    path = Path(str(files("mmfm.assets") / "templates")) / f"{name}.txt"
    return tuple(line for _, line in _lines(path))


def _read_file(wish: str | Path) -> tuple[str, ...]:
    """Read a person's own file of templates."""
    path = Path(wish).expanduser()
    if not path.is_file():
        raise BadInput(
            f"no templates {str(wish)!r}: give one of {', '.join(SETS)}, or a text file that holds "
            "a template a line, such as a photo of {a} {name}"
        )
    lines = _lines(path)
    if not lines:
        raise BadData(f"{path}: holds no template; write one a line: a photo of {{a}} {{name}}")
    for number, line in lines:
        try:
            _check(line)
        except BadInput as error:
            raise BadData(f"{path}: line {number}: {error}") from error
    return _once([line for _, line in lines])


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text file that are neither empty nor a comment, with their numbers."""
    lines = enumerate(map(tidy, read_text(path).splitlines()), start=1)
    return [(number, line) for number, line in lines if line and not line.startswith("#")]
