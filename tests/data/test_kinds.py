"""A table says what classes are called, and what is as true of them; ours says it of 210."""

from importlib.resources import files
from pathlib import Path

import pytest

from mmfm.data.kinds import Kind, read_kinds
from mmfm.data.templates import language_of
from mmfm.errors import BadData, NotHere

TABLE = """class,wnid,en,ko,broader
Chihuahua,n1,Chihuahua|Chihuahua dog,치와와,dog
dog,,dog|hound,개,mammal|pet
mammal,n2,mammal,포유류,animal
animal,,animal,동물,
pet,,pet,,animal
"""
PHOTOS = Path(str(files("mmfm.assets"))) / "names" / "photos.csv"
CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def table(folder: Path, text: str) -> Path:
    path = folder / "kinds.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_broader_comes_from_all_rows_above_the_nearest_first(tmp_path: Path) -> None:
    kinds = read_kinds(table(tmp_path, TABLE))
    chihuahua = kinds["Chihuahua"]
    assert chihuahua.names == {"en": ("Chihuahua", "Chihuahua dog"), "ko": ("치와와",)}
    assert chihuahua.words == {
        "en": ("dog", "hound", "mammal", "pet", "animal"),
        "ko": ("개", "포유류", "동물"),
    }
    assert kinds["pet"].words == {"en": ("animal",), "ko": ("동물",)}
    assert kinds["animal"].words == {} and kinds["pet"].names == {"en": ("pet",)}
    assert {"chihuahua", "치와와", "animal", "동물"} < chihuahua.everything


def test_data_may_call_a_kind_by_any_column_that_is_no_language(tmp_path: Path) -> None:
    kinds = read_kinds(table(tmp_path, TABLE))
    assert kinds["n1"] is kinds["Chihuahua"] and kinds["n2"] is kinds["mammal"]
    assert set(kinds) == {"Chihuahua", "n1", "dog", "mammal", "n2", "animal", "pet"}


def test_a_name_of_its_own_is_no_broader_word_too(tmp_path: Path) -> None:
    kinds = read_kinds(
        table(tmp_path, "class,en,broader\nship,ship|boat,boat\nboat,boat|dinghy,\n")
    )
    assert kinds["ship"] == Kind({"en": ("ship", "boat")}, {"en": ("dinghy",)})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("class,wnid\ndog,n1\n", "one of names for each language"),
        ("en,ko\ndog,개\n", "a column of what the data calls them"),
        ("class,en\ndog,dog\ndog,hound\n", "line 3: 'dog' has a row already"),
        ("class,en\ndog,\n", "no name in any language"),
        ("class,en\n ,dog\n", "no word for what the data calls it"),
        ("class,en,broader\ndog,dog,beast\n", "'beast' is to be broader, and has no row"),
        ("class,en,broader\na,a,b\nb,b,a\n", "broader than itself"),
        ("class,en,broader\nx,x,a\na,a,b\nb,b,a\n", "broader than itself"),
    ],
)
def test_a_table_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(BadData, match=says) as caught:
        read_kinds(table(tmp_path, text))
    assert "\n" not in str(caught.value) and "kinds.csv" in str(caught.value)


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotHere, match=r"nothing\.csv"):
        read_kinds(tmp_path / "nothing.csv")


# --- our own ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos() -> dict[str, Kind]:
    return read_kinds(PHOTOS)


@pytest.fixture(scope="module")
def tiny(photos: dict[str, Kind]) -> dict[str, Kind]:
    """The 200 classes of Tiny-ImageNet, by WordNet's numbers."""
    return {key: kind for key, kind in photos.items() if key[:2] in ("n0", "n1") and len(key) == 9}


def test_all_classes_of_both_sets_are_there(photos: dict[str, Kind], tiny: dict[str, Kind]) -> None:
    assert len(tiny) == 200 and set(CIFAR) <= set(photos)
    assert {"n01443537", "n02123394", "n04146614", "n12267677"} < set(tiny)


def test_no_two_classes_of_a_set_have_a_name_in_common(
    photos: dict[str, Kind], tiny: dict[str, Kind]
) -> None:
    for kinds in (list(tiny.values()), [photos[name] for name in CIFAR]):
        for language in ("en", "ko"):
            said = [name.casefold() for kind in kinds for name in kind.names[language]]
            assert sorted(said) == sorted(set(said))


def test_no_class_of_a_set_has_the_name_of_what_is_broader_than_another(
    tiny: dict[str, Kind],
) -> None:
    """Else the one would be a right answer to the other's question."""
    for language in ("en", "ko"):
        usual = {kind.names[language][0] for kind in tiny.values()}
        broader = {word for kind in tiny.values() for word in kind.words.get(language, ())}
        assert not usual & broader


def test_each_is_said_in_both_languages_and_more_broadly(photos: dict[str, Kind]) -> None:
    for key, kind in photos.items():
        for texts in (kind.names, kind.words):
            assert set(texts) in ({"en", "ko"}, set()), key
            assert all(language_of(text) == "en" for text in texts.get("en", ())), key
            # MP3 플레이어 is Korean, too.
            assert all(language_of(text) == "ko" for text in texts.get("ko", ())), key
        assert not any(mark in text for text in kind.everything for mark in "{}|,()")


def test_every_class_has_something_broader(photos: dict[str, Kind], tiny: dict[str, Kind]) -> None:
    for kind in (*tiny.values(), *(photos[name] for name in CIFAR)):
        assert kind.words["en"] and kind.words["ko"], kind


def test_what_belongs_together_does(photos: dict[str, Kind]) -> None:
    assert "dog" in photos["n02085620"].words["en"] and "개" in photos["n02085620"].words["ko"]
    assert {"butterfly", "insect", "animal"} < set(photos["n02279972"].words["en"])
    assert "vehicle" in photos["truck"].words["en"] and "탈것" in photos["ship"].words["ko"]
    assert "bird" not in photos["crane"].everything and "크레인" in photos["crane"].names["ko"]
    # A spiny lobster is one too; a birdhouse is no house, and a pole no building.
    for lobster in ("n01983481", "n01984695"):
        assert "바닷가재" in photos[lobster].words["ko"]
    assert "house" not in photos["birdhouse"].everything
    assert photos["pole"].words == {"en": ("post",), "ko": ("기둥",)}
