"""A class's name stands in a sentence as a speaker of its language would put it."""

import pytest

from mmfm.data.templates import (
    TEMPLATES,
    article,
    check_templates,
    fill,
    language_of,
    particle,
    sentences,
)
from mmfm.errors import BadInput


@pytest.mark.parametrize(
    "name",
    [
        "owl",
        "Elephant",
        "hour",
        "honest",
        "onion",
        "umbrella",
        "unimportant",
        "8",
        "80",
        "11",
        "18",
    ],
)
def test_an_stands_before_the_sound_of_a_vowel(name):
    assert article(name) == "an"


@pytest.mark.parametrize(
    "name",
    [
        "cat",
        "honey",
        "unicorn",
        "uniform",
        "user",
        "European",
        "one-way",
        "ukulele",
        "110",
        "고양이",
    ],
)
def test_a_stands_before_all_others(name):
    assert article(name) == "a"


@pytest.mark.parametrize(
    ("name", "with_particles"),
    [
        ("고양이", "고양이가 고양이를 고양이는 고양이와 고양이로 고양이다"),
        ("원", "원이 원을 원은 원과 원으로 원이다"),
        ("별", "별이 별을 별은 별과 별로 별이다"),  # after ㄹ it is 로
        ("새 (닭)", "새 (닭)가 새 (닭)를 새 (닭)는 새 (닭)와 새 (닭)로 새 (닭)다"),
        ("별 (차)", "별 (차)이 별 (차)을 별 (차)은 별 (차)과 별 (차)로 별 (차)이다"),
        ("7", "7이 7을 7은 7과 7로 7이다"),
        ("2", "2가 2를 2는 2와 2로 2다"),
        ("cat", "cat이(가) cat을(를) cat은(는) cat과(와) cat으로(로) cat이다(다)"),
    ],
)  # fmt: skip
def test_korean_particles_follow_the_last_sound(name, with_particles):
    pairs = ("이/가", "을/를", "은/는", "과/와", "으로/로", "이다/다")
    found = " ".join(name + particle(name, pair) for pair in pairs)
    assert found == with_particles


def test_a_template_is_filled_and_nothing_else_is_changed():
    assert fill("here is {a} {name}.", "owl") == "here is an owl."
    assert fill("{name}{이/가} 있다", "별") == "별이 있다"
    assert fill("{name}", "{a}") == "{a}", "a name is no template"


def test_every_template_of_ours_works_for_every_ending():
    for language, names in (("en", ["cat", "owl"]), ("ko", ["별", "고양이", "원", "cat"])):
        said = sentences({language: names}, TEMPLATES)
        assert len(set(said)) == len(names) * len(TEMPLATES[language])
        assert not any("{" in sentence for sentence in said)


def test_a_language_without_templates_has_the_bare_names():
    assert sentences({"fr": ["chat", "minou"]}, TEMPLATES) == ["chat", "minou"]


def test_the_language_is_told_by_the_letters():
    assert [language_of(name) for name in ("cat", "고양이", "T셔츠", "")] == [
        "en",
        "ko",
        "ko",
        "en",
    ]


@pytest.mark.parametrize(
    ("templates", "says"),
    [
        ({"en": ["a photo"]}, r"no \{name\}"),
        ({"en": ["{name} {what}"]}, r"\{what\} is nothing .*\{a\}"),
        ({"en": ()}, "a list of templates"),
        ({"en": "{name}"}, "a list of templates"),
    ],
)
def test_templates_that_cannot_be_are_refused(templates, says):
    with pytest.raises(BadInput, match=says):
        check_templates(templates)
