"""Sentences about a class, made from its name: templates in English and Korean.

A template holds {name}, and where its language needs it {a} ("a cat", "an owl") or a pair of Korean
particles such as {이/가}, of which the name's last sound chooses one.
"""

import re
from collections.abc import Mapping, Sequence

from mmfm.errors import BadInput

Templates = Mapping[str, Sequence[str]]  # language -> templates

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
# Letters say little about sounds: "an hour" but "a unicorn", "an 8" but "a 1".
_AN = re.compile(
    r"(?!eu|ewe|uni(?!n|m)|us[aeu]|uten|uku|once|one\b)[aeiou]|hour|heir|honest|honou?r|8|1[18]\b",
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

    Where the last sound is not written in Hangul or digits, both are given, as 이(가).
    """
    if pair not in _PAIRS:
        raise BadInput(f"{{{pair}}} is nothing that a template may hold: {_SLOTS}")
    after_consonant, after_vowel = pair.split("/")
    spoken = re.sub(r"\W", "", re.sub(r"\([^()]*\)", "", name))
    last = spoken[-1:]
    if last in _DIGITS:
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
        for template in templates.get(language, _BARE)
    ]


def check_templates(templates: Templates) -> None:
    """Refuse templates that say nothing about the class, or hold an unknown slot."""
    for language, several in templates.items():
        if isinstance(several, str) or not several:
            raise BadInput(f"templates[{language!r}]: a list of templates is needed")
        for template in several:
            if "{name}" not in template:
                raise BadInput(f"the template {template!r} has no {{name}}")
            fill(template, "x")
