"""A class's name stands in a sentence as a speaker of its language would put it."""

import re
import unicodedata
from importlib.resources import files
from pathlib import Path

import pytest

from mmfm.data.templates import (
    EVERY,
    SETS,
    TEMPLATES,
    article,
    check_templates,
    fill,
    generic_texts,
    language_of,
    particle,
    read_templates,
    sentences,
    things,
)
from mmfm.errors import BadData, BadInput

# They end on a vowel, on ㄹ, on another consonant, on a digit, on what has no sound of its own.
AWKWARD = ["hour", "unicorn", "별", "하트", "강아지", "원", "MP3", "7", "🐶", "C++", "새 (닭)"]
SHELF = Path(str(files("mmfm.assets") / "templates"))


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
        "MP3",
        "HDTV",
        "LED lamp",
        "SUV",
        "X-ray",
        "F1 car",
        "unidentified object",
        "urn",
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
        "TV",
        "USB cable",
        "UFO",
        "U-turn",
        "utility pole",
        "urinal",
        "LION",  # the name of a folder, not letters to be spelled
        "ledge",
        "Mr Bean",
        "x레이",
        "🐶",
        "",
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
        ("버스 3", "버스 3이 버스 3을 버스 3은 버스 3과 버스 3으로 버스 3이다"),
        ("MP3", "MP3이(가) MP3을(를) MP3은(는) MP3과(와) MP3으로(로) MP3이다(다)"),
        ("🐶", "🐶이(가) 🐶을(를) 🐶은(는) 🐶과(와) 🐶으로(로) 🐶이다(다)"),
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
        ({"ko": ["{name}{가/이}"]}, r"\{가/이\} is nothing .*\{이/가\}"),
        ({"en": ["a {{name}}"]}, "a brace too many"),
        ({"en": ["a {name} {a"]}, "a brace too many"),
        ({"en": ()}, "a list of templates"),
        ({"en": "{name}"}, "a list of templates"),
    ],
)
def test_templates_that_cannot_be_are_refused(templates, says):
    with pytest.raises(BadInput, match=says):
        check_templates(templates)


# --- sets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "english", "korean"),
    [("default", 7, 7), ("simple", 1, 1), ("english", 60, 7), ("korean", 7, 50)],
)
def test_a_set_is_as_large_as_promised_and_says_nothing_twice(wish, english, korean):
    templates = read_templates(wish)
    assert set(templates) == {"en", "ko"}
    assert len(templates["en"]) >= english and len(templates["ko"]) >= korean
    for language, several in templates.items():
        assert len({template.casefold() for template in several}) == len(several)
        written = [t.replace("{name}", "") for t in several if t != "{name}"]
        assert {language_of(template) for template in written} == {language}


def test_a_set_in_one_language_leaves_the_default_to_the_other():
    default = read_templates("default")
    assert read_templates("english")["ko"] == default["ko"]
    assert read_templates("korean")["en"] == default["en"]
    assert read_templates("english")["en"] != default["en"]
    assert read_templates("korean")["ko"] != default["ko"]
    assert read_templates("simple") == {"en": ("a photo of {a} {name}",), "ko": ("{name} 사진",)}


@pytest.mark.parametrize("wish", SETS)
@pytest.mark.parametrize("name", AWKWARD)
def test_every_template_of_every_set_fills_with_awkward_names(wish, name):
    templates = read_templates(wish)
    check_templates(templates)
    for language, several in templates.items():
        said = sentences({language: [name]}, templates)
        assert len(set(said)) == len(several)
        for template, sentence in zip(several, said, strict=True):
            words = template.replace("{a}", "an?").replace("{name}", "NAME")
            words = re.sub(r"\{(\w+)/(\w+)\}", r"(\1|\2|\1\(\2\))", words)
            assert re.fullmatch(words.replace("NAME", re.escape(name)), sentence)
            assert sentence == " ".join(sentence.split())


@pytest.mark.parametrize("name", ["hour", "MP3"])
def test_english_sets_say_an_where_it_is_due(name):
    said = " | ".join(sentences({"en": [name]}, read_templates("english")))
    assert f" an {name}" in said and not re.search(rf"\ba {name}", said)


@pytest.mark.parametrize(
    ("name", "subject", "object_", "topic", "with_it", "as_it", "is_it"),
    [
        ("하트", "하트가", "하트를", "하트는", "하트와", "하트로", "하트다"),
        ("별", "별이", "별을", "별은", "별과", "별로", "별이다"),
        ("원", "원이", "원을", "원은", "원과", "원으로", "원이다"),
    ],
)
def test_the_korean_set_uses_every_pair_of_particles_and_chooses_by_the_last_sound(
    name, subject, object_, topic, with_it, as_it, is_it
):
    assert {
        f"{subject} 나온 사진",
        f"{object_} 찍은 사진",
        f"{topic} 이렇게 생겼다",
        f"{with_it} 함께 찍은 사진",
        f"사진에 찍힌 것은 {as_it} 보인다",
        f"이것은 {is_it}",
    } <= set(sentences({"ko": [name]}, read_templates("korean")))


def test_no_particle_is_written_where_a_pair_is_needed():
    """A particle right behind {name} fits one half of the names only."""
    for wish in SETS:
        for template in read_templates(wish)["ko"]:
            assert not re.search(r"\{name\}[가-힣]", template)


# --- a person's own -------------------------------------------------------------------------------


def test_templates_of_one_language_hold_for_names_of_every_language():
    templates = read_templates(["a sketch of {a} {name}", "{name}"])
    assert sentences({"en": ["owl"], "ko": ["별"], "fr": ["chat"]}, templates) == [
        "a sketch of an owl", "owl", "a sketch of a 별", "별", "a sketch of a chat", "chat"
    ]  # fmt: skip
    assert sentences({"en": ["owl"]}, read_templates(["{name} 그림"])) == ["owl 그림"]
    assert set(read_templates(["{name}"]).values()) == {("{name}",)}


def test_templates_of_two_languages_are_parted_by_their_letters():
    templates = read_templates(["{name}", "{a} {name}", "{name}{이/가} 있다", "{name} T셔츠"])
    assert templates == {
        "en": ("{name}", "{a} {name}"),
        "ko": ("{name}", "{name}{이/가} 있다", "{name} T셔츠"),
    }
    assert sentences({"fr": ["chat"]}, templates) == ["chat"], "no sentence was written for it"


def test_one_text_with_a_name_in_it_is_one_template():
    assert read_templates("a map of {name}") == read_templates(["a map of {name}"])
    assert read_templates({"en": "a map of {name}"}) == {"en": ("a map of {name}",)}


def test_templates_by_language_are_taken_as_they_are_said():
    assert read_templates({"de": ["ein {name}"], "ko": ["{name}", "{name}"]}) == {
        "de": ("ein {name}",),
        "ko": ("{name}",),
    }
    own = {"en": ["an old {name}"], EVERY: ["{name}!"]}
    said = sentences({"en": ["owl"], "fr": ["chat"]}, read_templates(own))
    assert said == ["an old owl", "chat!"]


def test_what_is_there_twice_is_dropped_and_the_order_kept():
    split = "{name}{이/가} 있다"  # as a Mac's file may spell it, its letters taken apart
    given = ["b {name}", "a {name}", " b  {name} ", split, unicodedata.normalize("NFD", split)]
    assert read_templates(given) == {"en": ("b {name}", "a {name}"), "ko": (split,)}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_file_is_read_in_the_encodings_that_are_about(tmp_path, encoding, newline):
    path = tmp_path / "mine.txt"
    lines = [
        "# 내가 쓴 것",
        "",
        "  a drawing of {a} {name}",
        "{name}{을/를} 그린 그림",
        "{name} #1",
    ]
    path.write_bytes(newline.join([*lines, lines[-1]]).encode(encoding))
    wanted = {"en": ("a drawing of {a} {name}",), "ko": ("{name}{을/를} 그린 그림",)}
    wanted = {language: (*several, "{name} #1") for language, several in wanted.items()}
    assert read_templates(path) == read_templates(str(path)) == wanted


def test_the_name_of_a_set_wins_over_a_file_and_a_path_is_always_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("simple").write_text("my {name}")
    assert read_templates("simple")["en"] == ("a photo of {a} {name}",)
    assert read_templates(Path("simple"))["en"] == ("my {name}",)
    assert read_templates("./simple")["en"] == ("my {name}",)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # where Windows looks
    assert read_templates("~/simple")["en"] == ("my {name}",)


@pytest.mark.parametrize("wish", ["defaults", "mine.txt", Path("mine.txt"), "", "a photo of a {}"])
def test_an_unknown_set_is_refused_with_those_that_exist(wish):
    with pytest.raises(BadInput) as refused:
        read_templates(wish)
    said = str(refused.value)
    assert repr(str(wish)) in said and ", ".join(SETS) in said and "a text file" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no template"),
        ("# only a comment\n\n", "holds no template"),
        ("{name}\n\na photo of a {}\n", r"line 3: the template 'a photo of a \{\}' has no"),
        ("# mine\n{name} {what}", r"line 2: \{what\} is nothing that a template may hold"),
        ("{name}\n{name}}", "line 2: .* a brace too many"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_line(tmp_path, content, says):
    path = tmp_path / "mine.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadData, match=says) as refused:
        read_templates(path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes("{name}".encode("utf-16-le"))  # its mark is missing
    with pytest.raises(BadData, match="UTF-8"):
        read_templates(path)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ([], "a list of templates is needed"),
        ({}, "a list of templates is needed"),
        ({"en": []}, r"templates\['en'\]: a list"),
        (["{name}", "a photo"], "'a photo' has no"),
        ({"ko": ["{name}{는/은}"]}, r"\{는/은\} is nothing"),
        ("a {name} on {b}", r"\{b\} is nothing"),
    ],
)
def test_a_wish_that_cannot_be_is_refused(wish, says):
    with pytest.raises(BadInput, match=says):
        read_templates(wish)


# --- the bank -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("language", "count"), [("en", 40), ("ko", 25)])
def test_there_are_generic_texts_enough_in_their_own_language(language, count):
    texts = generic_texts(language)
    assert len(set(texts)) == len(texts) >= count
    assert {language_of(text) for text in texts} == {language}
    assert not any(sign in text for text in texts for sign in "{}|#")


def test_everyday_things_have_a_name_in_each_language():
    english, korean = things("en"), things("ko")
    assert len(english) == len(korean) >= 240
    assert {language_of(name) for name in english} == {"en"}
    assert {language_of(name) for name in korean} == {"ko"}
    for names in (english, korean):
        assert len({name.casefold() for name in names}) == len(names)
    pairs = dict(zip(english, korean, strict=True))
    assert (pairs["dog"], pairs["bicycle"], pairs["QR code"]) == ("개", "자전거", "QR 코드")


def test_a_bank_in_another_language_is_refused():
    for bank in (generic_texts, things):
        with pytest.raises(BadInput, match="no generic texts in 'fr'; there are some in en and ko"):
            bank("fr")


def test_every_line_of_our_own_files_is_written_as_it_is_read():
    """No space at an end, no letters taken apart, no tab: what one sees is what a model reads."""
    names = {path.stem for path in SHELF.glob("*.txt")}
    assert names == {*SETS, "generic", "things", "nano-photos", "nano-emoji"}
    for path in SHELF.glob("*.txt"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert [" ".join(line.split()) for line in lines] == lines
        said = [line for line in lines if line and not line.startswith("#")]
        assert len(set(said)) == len(said)
        assert all(line.count("|") == (path.stem == "things") for line in said)
