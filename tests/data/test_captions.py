"""Every source of pictures and captions ends in one form, or is refused in one line; and a caption
stays with its picture through every selection and split."""

import io
import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from mmfm.data import captions, decode, shapes
from mmfm.data.captions import CaptionedPictures, load_captioned
from mmfm.data.templates import language_of
from mmfm.errors import BadData, BadInput, NotHere

COLOURS = {"red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255), "white": (255,) * 3}


def picture_bytes(colour: str, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "PNG")
    return file.getvalue()


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def draw_files(folder: Path, *colours: str) -> None:
    for colour in colours:
        write(folder / f"{colour}.png", picture_bytes(colour))


def parquet_file(path: Path, **columns) -> Path:
    pictures = [picture_bytes(colour) for colour in ("red", "lime", "blue")]
    pq.write_table(pa.table({"image": pictures, **columns}), path)
    return path


def load(spec: Path | str, **options) -> CaptionedPictures:
    train, held_out = load_captioned(str(spec), **{"size": None, **options})
    assert held_out is None
    return train


def said(pictures: CaptionedPictures) -> dict[str, list[str]]:
    """What is said of each picture, which is named by its colour."""
    names = {rgb: name for name, rgb in COLOURS.items()}
    return {
        names[tuple(image[0, 0].tolist())]: pictures.captions_of(i)
        for i, image in enumerate(pictures.images)
    }


def refusal(error: type[Exception], spec: Path | str, **options) -> str:
    with pytest.raises(error) as caught:
        load_captioned(str(spec), **{"size": None, **options})
    line = str(caught.value)
    assert type(caught.value) is error and "\n" not in line and line
    return line


# --- class folders --------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    draw_files(tmp_path / "data" / "owl", "red", "lime")
    draw_files(tmp_path / "data" / "sea_lion", "blue")
    draw_files(tmp_path / "data" / "강아지", "white")
    return tmp_path / "data"


def test_classes_are_said_in_the_language_of_their_names(folders):
    pictures = load(folders)
    found = said(pictures)
    assert {"owl", "an owl", "a photo of an owl"} < set(found["red"]) and found["red"] == found[
        "lime"
    ]
    assert "a photo of a sea lion" in found["blue"]
    assert {"강아지", "강아지 사진", "강아지가 있는 그림", "강아지를 찍은 사진"} < set(
        found["white"]
    )
    assert pictures.names == ("owl", "sea_lion", "강아지") and pictures.labels.tolist() == [
        0,
        0,
        1,
        2,
    ]
    assert [list(several) for several in pictures.prompts] == [
        found["red"], found["blue"], found["white"],
    ]  # fmt: skip


def test_a_class_that_is_a_link_to_nowhere_is_named_and_the_others_are_said(folders):
    (folders / "fox").symlink_to("nowhere")
    pictures = load(folders)
    assert pictures.names == ("owl", "sea_lion", "강아지")
    assert pictures.skipped == ((str(folders / "fox"), "a link that leads nowhere"),)


def test_templates_can_be_ones_own(folders):
    pictures = load(folders, templates={"en": ["see {a} {name}", "{name}!"]})
    assert said(pictures) == {
        "red": ["see an owl", "owl!"],
        "lime": ["see an owl", "owl!"],
        "blue": ["see a sea lion", "sea lion!"],
        "white": ["강아지"],
    }
    assert "no {name}" in refusal(BadInput, folders, templates={"en": ["a photo"]})


NAMES = {
    "owl": {"en": ["owl", "night bird"], "ko": "올빼미", "fr": "hibou"},
    "sea_lion": ["sea lion", "바다사자"],
    "강아지": "puppy",
    "not here": "no matter",
}
AS_TOML = """
sea_lion = ["sea lion", "바다사자"]
"강아지" = "puppy"
[owl]
en = ["owl", "night bird"]
ko = "올빼미"
fr = "hibou"
"""
AS_CSV = (
    "class,en,ko,fr\nowl,owl|night bird,올빼미,hibou\nsea_lion,sea lion,바다사자,\n강아지,puppy,,\n"
)


@pytest.mark.parametrize("kind", ["json", "toml", "csv", "utf-16 csv"])
def test_a_class_has_the_names_that_a_file_gives_it(folders, kind):
    path = folders.parent / f"names.{kind[-4:].strip()}"
    content = {"json": json.dumps(NAMES), "toml": AS_TOML}.get(kind, AS_CSV)
    write(path, content.encode("utf-16") if kind.startswith("utf-16") else content)
    found = said(
        load(folders, names=path, templates={"en": ["{a} {name}"], "ko": ["{name}{이/가}"]})
    )
    assert found["red"] == ["an owl", "a night bird", "올빼미가", "hibou"]
    assert found["blue"] == ["a sea lion", "바다사자가"]
    assert found["white"] == ["a puppy"]


def test_a_names_file_that_does_not_fit_is_refused(folders):
    path = folders.parent / "names.json"
    assert "no such file of class names" in refusal(NotHere, folders, names=path)
    write(path, '{"owl": "owl"}')
    assert "has no names for sea_lion, 강아지" in refusal(BadData, folders, names=path)
    for content, reason in (
        ("{", "neither JSON nor"), ("[1]", "object of class to names"), ('{"owl": 3}', "no text"),
        ('{"owl": []}', "no name for 'owl'"), ('{"owl": {"en": " "}}', "no name for 'owl'"),
    ):  # fmt: skip
        write(path, content)
        assert reason in refusal(BadData, folders, names=path)
    assert refusal(BadInput, "shapes", names=path) and refusal(BadInput, folders, text=["caption"])


def test_names_that_macos_has_written_are_the_same_names(tmp_path):
    """It splits the letters of Hangul; a class and its captions are spelled in the usual way."""
    split = unicodedata.normalize("NFD", "강아지")
    assert split != "강아지"
    draw_files(tmp_path / "data" / split, "red")
    draw_files(tmp_path / "data" / "owl", "blue")
    names = write(tmp_path / "names.json", '{"강아지": "puppy", "owl": "owl"}')
    assert "강아지" in said(load(tmp_path / "data"))["red"]
    assert "a photo of a puppy" in said(load(tmp_path / "data", names=names))["red"]


def test_held_out_folders_may_have_classes_of_their_own(tmp_path):
    for part, classes in (("train", ("cat", "owl")), ("valid", ("owl", "yak"))):
        for name in classes:
            draw_files(tmp_path / part / name, "red" if name == "owl" else "blue")
    train, held_out = load_captioned(str(tmp_path), size=None)
    assert train.names == ("cat", "owl") and held_out.names == ("cat", "owl", "yak")
    assert held_out.labels.tolist() == [1, 2] and held_out.prompts[:2] == train.prompts
    assert held_out.prompts[2][0] == "yak" == held_out.captions_of(1)[0]


# --- parquet --------------------------------------------------------------------------------------


def test_parquet_columns_of_text_and_of_lists(tmp_path):
    path = parquet_file(
        tmp_path / "x.parquet",
        name_en=["red", "lime", "blue"],
        name_ko=["빨강", " ", None],
        words=[["a", "b", ""], [], ["red", "blue"]],
        number=[1, 2, 3],
    )
    pictures = load(path, text=("name_ko", "words", "name_en"))
    assert said(pictures) == {
        "red": ["빨강", "a", "b", "red"], "lime": ["lime"], "blue": ["red", "blue"],
    }  # fmt: skip
    assert sorted(pictures.texts) == ["a", "b", "blue", "lime", "red", "빨강"]
    assert pictures.labels is None


def test_pictures_without_a_caption_are_left_out_and_counted(tmp_path):
    path = parquet_file(tmp_path / "x.parquet", caption=["", "lime", None])
    pictures = load(path)
    assert said(pictures) == {"lime": ["lime"]}
    assert pictures.skipped == (
        (f"{path} row 0", "it has no caption"),
        (f"{path} row 2", "it has no caption"),
    )
    none = parquet_file(tmp_path / "y.parquet", caption=["", " ", None])
    assert "3 were skipped" in refusal(BadData, none)


def test_the_column_is_found_where_there_is_no_doubt(tmp_path):
    several = {"title": ["x", "y", "z"], "Caption": ["a", "b", "c"], "text": ["d", "e", "f"]}
    assert load(parquet_file(tmp_path / "x.parquet", **several)).texts == ("a", "b", "c")
    del several["Caption"], several["text"]
    assert load(parquet_file(tmp_path / "y.parquet", **several)).texts == ("x", "y", "z")
    two = parquet_file(tmp_path / "z.parquet", title=["x"] * 3, style=["y"] * 3, n=[1, 2, 3])
    assert "(--text): title, style" in refusal(BadInput, two)
    assert "no column of captions" in refusal(BadData, parquet_file(tmp_path / "0.parquet"))


def test_a_text_column_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    path = parquet_file(tmp_path / "x.parquet", title=["x"] * 3, tags=[["y"]] * 3, n=[1, 2, 3])
    for missing in ("titel", "n", "image"):
        line = refusal(BadInput, path, text=("title", missing))
        assert f"{missing!r}; it has title, tags" in line and "n," not in line
    table = write(tmp_path / "x.csv", "path,title,tags\nred.png,x,y\n")
    assert "'titel'; it has title, tags" in refusal(BadInput, table, text=("titel",))


def test_labels_of_a_parquet_file_are_said_through_templates(tmp_path):
    write(tmp_path / "classes.json", '["cat", "owl"]')
    path = parquet_file(tmp_path / "train.parquet", label=[1, 0, -1])
    parquet_file(tmp_path / "test.parquet", label=[1, 1, 0])
    train, held_out = load_captioned(str(path), size=None)
    assert "a photo of an owl" in said(train)["red"] and train.labels.tolist() == [1, 0]
    assert train.names == ("cat", "owl") and held_out.labels.tolist() == [1, 1, 0]
    words = parquet_file(tmp_path / "words.parquet", label=["owl", "cat", "owl"])
    assert load(words).names == ("cat", "owl")
    both = parquet_file(tmp_path / "both.parquet", label=["owl"] * 3, title=["x", "y", "z"])
    assert load(both, text=("title", "label")).captions_of(0) == ["x", "owl"]


def test_transparent_parts_are_white_and_sizes_are_made_one(tmp_path):
    clear = picture_bytes((255, 0, 0, 0), (20, 10), "RGBA")
    pictures = [clear, picture_bytes("blue"), picture_bytes("red", (5, 9))]
    pq.write_table(pa.table({"image": pictures, "text": list("abc")}), tmp_path / "x.parquet")
    loaded = load(tmp_path / "x.parquet", size=4)
    assert loaded.images.shape == (3, 4, 4, 3) and loaded.images[0].min() == 255
    assert "20x10 are not square" in refusal(BadData, tmp_path / "x.parquet", size=None)


# --- CSV ------------------------------------------------------------------------------------------


@pytest.fixture
def pairs(tmp_path):
    draw_files(tmp_path / "pictures", "red", "lime", "blue")
    return tmp_path


def test_several_rows_of_one_picture_are_its_captions(pairs):
    table = write(
        pairs / "pairs.csv",
        'path,caption\npictures/red.png,"warm, bright"\npictures/lime.png,green\n'
        'pictures/red.png,"he said ""red"""\npictures/red.png,"warm, bright"\n\n'
        'pictures/blue.png,"two\nlines"\n',
    )
    assert said(load(table)) == {
        "red": ["warm, bright", 'he said "red"'], "lime": ["green"], "blue": ["two lines"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "delimiter"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t"), ("a.txt", "\t")]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp949"])
def test_tables_of_every_kind_and_encoding(pairs, name, delimiter, encoding):
    rows = [
        ("File", "en", "ko"),
        ("pictures\\red.png", "red", "빨강"),
        (pairs / "pictures/blue.png", "", "파랑"),
    ]
    text = "\r\n".join(delimiter.join(map(str, row)) for row in rows)
    table = write(pairs / name, text.encode(encoding))
    assert said(load(table, text=("en", "ko"))) == {"red": ["red", "빨강"], "blue": ["파랑"]}


def test_pictures_that_cannot_be_read_are_counted_and_named(pairs):
    write(pairs / "broken.png", b"no picture")
    table = write(
        pairs / "pairs.csv",
        "path,caption\nbroken.png,a\nnowhere.png,b\n,c\n,d\npictures/lime.png,e\npictures,f\n",
    )
    pictures = load(table)
    assert said(pictures) == {"lime": ["e"]}
    assert [which for which, _ in pictures.skipped] == [
        str(pairs / "broken.png"), str(pairs / "nowhere.png"), f"{table} line 4", f"{table} line 5",
        str(pairs / "pictures"),
    ]  # fmt: skip
    assert pictures.skipped[2][1] == "it holds no picture"
    write(table, "path,caption\nbroken.png,a\nnowhere.png,b\n")
    assert "no readable picture (2 were skipped" in refusal(BadData, table)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no table; its first"),
        (b"path,caption\n", "no table; its first"),
        (b"path\npictures/red.png\n", "no table; its first"),
        (b"path,caption\npictures/red.png,warm, bright\n", "line 2 has 3 cells"),
        (b"path,caption\npictures/red.png,caf\xe9\xff\n", "save it as UTF-8"),
        ("path,caption\npictures/red.png,빨강".encode("utf-16-le"), "save it as UTF-8"),
        (b"path,caption\npictures/red.png," + b"x" * 200_000, "line 2 is no row"),
        (b"path,caption\npictures/red.png,\n", "no readable picture"),
        (b"path,caption,caption\npictures/red.png,a,b\n", "two columns are called 'caption'"),
        (b"photo,caption\nred,a\nlime,b\n", "it has photo, caption, none is called path, file,"),
        (b'path,caption\npictures/red.png,a\n\npictures/lime.png,"b\nx.png,c\n', "at line 4 and"),
        (b'path,caption\npictures/red.png,"a\n' + b"x.png,c\n" * 30_000, "at line 2 and"),
        (b'path,"caption\npictures/red.png,a\n', "at line 1 and"),
    ],
)
def test_what_is_no_table_of_pairs_is_refused(pairs, content, reason):
    assert reason in refusal(BadData, write(pairs / "pairs.csv", content))


def test_quotes_and_empty_names_that_are_in_order_are_no_fault(pairs):
    rows = (
        b'photo,caption,,\npictures/red.png,"a ""red"" one,\nwarm",,\npictures/lime.png,5" wide\n'
    )
    assert said(load(write(pairs / "pairs.csv", rows))) == {
        "red": ['a "red" one, warm'],
        "lime": ['5" wide'],
    }


def test_a_path_that_no_file_can_have_is_named_and_left_out(pairs):
    long = "x" * 300 + ".png"
    rows = f"path,caption\n{long},a\npictures/lime.png,b\ny\\{long},c\n"
    table = write(pairs / "pairs.csv", rows)
    pictures = load(table)
    assert said(pictures) == {"lime": ["b"]}
    assert [which for which, _ in pictures.skipped] == [
        f"{table} line 2 (File name too long)", f"{table} line 4 (File name too long)",
    ]  # fmt: skip
    write(table, rows.replace("path,", "photo,"))  # the first column still names a file
    assert said(load(table)) == {"lime": ["b"]}
    assert "no pictures 'xxx" in refusal(NotHere, "x" * 300)


def test_the_table_beside_a_training_table_is_held_out(pairs):
    for name, colour in (("train", "red"), ("val", "lime"), ("test", "blue"), ("valley", "blue")):
        write(pairs / f"{name}.csv", f"path,caption\npictures/{colour}.png,{colour}\n")
    for spec in (pairs, pairs / "train.csv"):
        train, held_out = load_captioned(str(spec), size=None)
        assert (train.texts, held_out.texts) == (("red",), ("lime",))
    assert load(pairs / "valley.csv").texts == ("blue",)


def test_a_folder_with_a_names_file_is_still_one_of_classes(folders):
    names = write(folders / "names.csv", AS_CSV)
    assert "puppy" in said(load(folders, names=names))["white"]


# --- what is common -------------------------------------------------------------------------------


def test_a_source_that_does_not_exist_is_answered_with_what_may_be_given():
    line = refusal(NotHere, "nowhere")
    assert "'nowhere'" in line and "shapes" in line and "CSV" in line


def test_sizes_and_memory_are_checked_beforehand(folders, monkeypatch):
    assert refusal(BadInput, folders, size=0) and refusal(BadInput, "shapes", size=-1)
    monkeypatch.setattr(decode, "memory_available", lambda: 1000)
    assert "60%" in refusal(BadInput, folders, size=8)
    assert "60%" in refusal(BadInput, "shapes", size=64)


def test_progress_ends_with_all(folders):
    told = []
    load(folders, progress=lambda *step: told.append(step))
    assert told[-1] == (4, 4)


@pytest.fixture
def whole():
    """60 pictures, whose pixels say which they are, with up to 3 captions each; 20 first ones."""
    images = torch.arange(60, dtype=torch.uint8).reshape(60, 1, 1, 1)
    own = [[f"first {i % 20}", *(f"more {i} {k}" for k in range(i % 3))] for i in range(60)]
    return CaptionedPictures.of(images, own, "test")


def own_captions(pictures: CaptionedPictures) -> dict[int, list[str]]:
    return {int(image): pictures.captions_of(i) for i, image in enumerate(pictures.images)}


def test_select_keeps_captions_with_their_pictures_and_needless_texts_go(whole):
    chosen = whole.select(torch.tensor([7, 50, 3, 7]))
    assert chosen.images.flatten().tolist() == [7, 50, 3, 7] and len(chosen) == 4
    assert [chosen.captions_of(i) for i in range(4)] == [
        whole.captions_of(i) for i in (7, 50, 3, 7)
    ]
    assert sorted(chosen.texts) == sorted({t for i in (7, 50, 3) for t in whole.captions_of(i)})
    none = whole.select(torch.tensor([], dtype=torch.int64))
    assert len(none) == 0 and none.texts == () and none.offsets.tolist() == [0]


def test_pairs_are_all_captions_of_all_pictures(whole):
    listed = [(p, whole.texts[t]) for p, t in whole.pairs().tolist()]
    assert listed == [(i, text) for i in range(60) for text in whole.captions_of(i)]


def test_equal_captions_fit_both_pictures(whole):
    pictures, texts = torch.tensor([0, 20, 5, 0]), torch.arange(len(whole.texts))
    fits = whole.fits(pictures, texts)
    for row, picture in zip(fits, pictures.tolist(), strict=True):
        assert {t for t, fit in zip(whole.texts, row, strict=True) if fit} == set(
            whole.captions_of(picture)
        )
    assert fits[0, 0] and fits[1, 0] and not fits[2, 0]


@pytest.mark.parametrize("by", [None, "caption"])
def test_a_split_by_caption_holds_out_whole_captions(whole, by):
    train, held_out = whole.split(0.25, seed=0, by=by)
    assert (len(train), len(held_out)) == (45, 15)
    assert own_captions(train) | own_captions(held_out) == own_captions(whole)
    firsts = [{several[0] for several in own_captions(part).values()} for part in (train, held_out)]
    assert not firsts[0] & firsts[1] and len(firsts[1]) == 5
    assert not torch.equal(whole.split(0.25, seed=1, by=by)[1].images, held_out.images)


def test_a_split_by_picture_has_both_sides_of_every_class(whole):
    labels = torch.arange(60) % 4
    classes = replace(whole, labels=labels, names=tuple("abcd"))
    train, held_out = classes.split(0.2, seed=0)
    assert torch.bincount(held_out.labels).tolist() == [3] * 4 and held_out.names == classes.names
    assert torch.equal(held_out.images.flatten() % 4, held_out.labels.byte())
    train, held_out = classes.split(0.25, seed=0, by="class")
    assert (
        len(held_out.labels.unique()) == 1 and not torch.isin(train.labels, held_out.labels).any()
    )
    assert len(whole.split(0.1, seed=0, by="picture")[1]) == 6
    with pytest.raises(BadInput, match="no classes"):
        whole.split(0.1, seed=0, by="class")


def test_few_captions_are_not_held_out_whole(whole):
    """Two captions are classes under another name: half of the pictures would be held out."""
    few = CaptionedPictures.of(whole.images, [["cat"], ["dog"]] * 30, "test")
    train, held_out = few.split(0.1, seed=0)
    assert len(held_out) == 6 and set(train.texts) == {"cat", "dog"}


def test_a_picture_without_a_caption_is_refused(whole):
    with pytest.raises(BadInput, match="without a caption"):
        CaptionedPictures.of(whole.images[:2], [["a"], []], "test")


# --- drawn shapes ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(captions, "_DRAWN", (600, 120))
        return load_captioned("shapes", size=16)


def test_shapes_come_with_held_out_pairs_and_the_question_about_them(drawn):
    train, held_out = drawn
    assert train.images.shape == (600, 16, 16, 3) and held_out.images.shape == (120, 16, 16, 3)
    assert train.labels is None and len(held_out.names) == len(held_out.prompts) == 64
    for i, label in enumerate(held_out.labels.tolist()):
        own = set(held_out.captions_of(i))
        assert [k for k, ways in enumerate(held_out.prompts) if set(ways) <= own] == [label]
        assert {"en", "ko"} == {language_of(way) for way in held_out.prompts[label]}
    assert not set(held_out.prompts[held_out.labels[0]]) & set(train.texts)
    pairs = {held_out.names[label] for label in held_out.labels.tolist()}
    assert len(pairs) == 12 and "blue circle" in pairs


def test_what_is_true_of_a_drawn_picture_is_known_beyond_its_own_captions(drawn):
    """All scenes are described in the same ways, so here what is true is what is said."""
    for part in drawn:
        part = part.select(torch.arange(0, len(part), 7))
        every = torch.arange(len(part)), torch.arange(len(part.texts))
        fits = part.fits(*every)
        assert torch.equal(fits, replace(part, facts=None, meanings=None).fits(*every))


def test_shapes_are_64_pixels_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr(captions, "_DRAWN", (10, 5))
    assert load_captioned("shapes", size=None)[0].images.shape[1:] == (64, 64, 3)
    assert shapes.SIZE == 64
