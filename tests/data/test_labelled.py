"""Every kind of set ends as the same tensor of pictures and labels, or is refused in one line."""

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from mmfm.data import decode, digits
from mmfm.data.decode import Sides
from mmfm.data.labelled import (
    NO_LABEL,
    LabelledPictures,
    Parts,
    load_labelled,
    load_parts,
)
from mmfm.errors import BadData, BadInput, NotHere

COLOURS = ("red", "lime", "blue", "black", "white")
NAMES = ["고양이", "dog", "bird", "fish", "frog"]


def picture_bytes(
    colour: str | tuple[int, int, int], size: tuple[int, int] = (8, 8), kind: str = "PNG"
) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def table(path: Path, labels=(0, 1, 2, 0, 1, 2), metadata=None, image=None, **columns) -> Path:
    """A parquet file whose picture i has the colour of its label."""
    pictures = [picture_bytes(COLOURS[i % 3]) for i in range(len(labels))]
    content = {"image": image or pictures, "label": labels, **columns}
    made = pa.table({name: values for name, values in content.items() if values is not None})
    pq.write_table(made.replace_schema_metadata(metadata), path, row_group_size=4)
    return path


def colours(pictures: LabelledPictures) -> list[tuple[int, ...]]:
    return [tuple(image[0, 0].tolist()) for image in pictures.images]


RGB = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


# Class folders ------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    write(tmp_path / "cat" / "b.png", picture_bytes("lime"))
    write(tmp_path / "cat" / "a.jpg", picture_bytes("red", kind="JPEG"))
    write(tmp_path / "cat" / "more" / "deep" / "c.webp", picture_bytes("blue", kind="WEBP"))
    write(tmp_path / "강아지" / "1.png", picture_bytes("white"))
    return tmp_path


def test_class_folders_give_their_names_as_labels(folders):
    train, held_out = load_labelled(str(folders), size=None)
    assert train.names == ("cat", "강아지") and held_out is None
    assert train.labels.tolist() == [0, 0, 0, 1] and train.labels.dtype == torch.int64
    assert train.images.shape == (4, 8, 8, 3) and train.images.dtype == torch.uint8
    assert np.abs(np.array(colours(train)[:3]) - np.array(RGB)).max() < 8
    assert train.skipped == () and str(folders) in train.source


def test_what_is_no_picture_is_skipped_and_named(folders):
    write(folders / "cat" / "aa.jpg", b"not a picture")
    write(folders / "cat" / "empty.png", b"")
    write(folders / "강아지" / "cut.jpg", picture_bytes("red", (64, 64), "JPEG")[:-200])
    (folders / "cat" / "gone.png").symlink_to("nowhere")
    train, _ = load_labelled(str(folders), size=None)
    assert len(train) == 4 and train.labels.tolist() == [0, 0, 0, 1]
    named = {Path(which).name: why for which, why in train.skipped}
    assert set(named) == {"aa.jpg", "empty.png", "cut.jpg", "gone.png"}
    assert "empty" in named["empty.png"] and "cut short" in named["cut.jpg"]


def test_hidden_files_and_loops_of_links_are_no_matter(folders):
    write(folders / "cat" / ".DS_Store", b"x")
    write(folders / ".cache" / "x.png", picture_bytes("red"))
    write(folders / "cat" / ".thumbs" / "x.png", picture_bytes("red"))
    (folders / "cat" / "loop").symlink_to(folders)
    write(folders / "readme.txt", b"beside the classes")
    train, _ = load_labelled(str(folders), size=None)
    assert len(train) == 4 and train.skipped == () and train.names == ("cat", "강아지")


def test_a_class_folder_that_is_a_link_to_nowhere_is_named_and_the_others_are_read(folders):
    (folders / "dog").symlink_to("nowhere")
    (folders / "fox").symlink_to("x" * 300)
    train, _ = load_labelled(str(folders), size=None)
    assert len(train) == 4 and train.names == ("cat", "강아지")
    named = {Path(which).name: why for which, why in train.skipped}
    assert list(named) == ["dog", "fox"] and "leads nowhere" in named["dog"]
    # Where labels are not needed it might be a picture, and is named once all the same.
    (folders / "self").symlink_to(".")
    parts = load_parts(str(folders), size=8)
    skipped = [Path(which).name for which, _ in parts.train.skipped]
    assert sorted(skipped) == ["dog", "fox", "self"]


def test_one_class_is_not_enough(tmp_path):
    write(tmp_path / "cat" / "a.png", picture_bytes("red"))
    (tmp_path / "dog").mkdir()
    with pytest.raises(BadData, match="1 class folders"):
        load_labelled(str(tmp_path), size=None)
    write(tmp_path / "dog" / "a.png", b"broken")
    with pytest.raises(BadData, match="1 were skipped"):
        load_labelled(str(tmp_path), size=None)


def test_a_train_and_a_val_folder_are_two_parts_with_one_numbering(tmp_path):
    for part, names in (("train", "abc"), ("val", "bc"), ("test", "a")):
        for name in names:
            write(tmp_path / part / name / "1.png", picture_bytes(COLOURS["abc".index(name)]))
    train, held_out = load_labelled(str(tmp_path), size=None)
    assert train.names == ("a", "b", "c") and train.labels.tolist() == [0, 1, 2]
    assert held_out.names == train.names and held_out.labels.tolist() == [1, 2]
    assert colours(held_out) == RGB[1:]
    write(tmp_path / "val" / "zebra" / "1.png", picture_bytes("white"))
    with pytest.raises(BadData, match="zebra"):
        load_labelled(str(tmp_path), size=None)


@pytest.mark.parametrize(
    "names", [("train", "valley", "testtube"), ("train", "test", "bus"), ("train", "val")]
)
def test_classes_that_are_called_like_parts_are_classes(tmp_path, names):
    for name in names:
        write(tmp_path / name / "1.png", picture_bytes("red"))
    train, held_out = load_labelled(str(tmp_path), size=None)
    assert set(train.names) == set(names) and held_out is None
    # What lies deeper makes no parts of them, either, where any other class is beside them.
    write(tmp_path / "train" / "steam" / "2.png", picture_bytes("red"))
    if not {"train", "val", "test"} >= set(names):
        assert set(load_labelled(str(tmp_path), size=None)[0].names) == set(names)


@pytest.mark.parametrize("part", ["val", "valid", "validation", "test"])
def test_held_out_folders_go_by_four_names(tmp_path, part):
    for folder in ("train", part):
        for name in "ab":
            write(tmp_path / folder / name / "1.png", picture_bytes("red"))
    train, held_out = load_labelled(str(tmp_path), size=None)
    assert train.names == ("a", "b") and len(held_out) == 2


def test_pictures_of_several_sizes_ask_for_one(folders):
    write(folders / "cat" / "wide.png", picture_bytes("red", (30, 10)))
    with pytest.raises(BadData, match="30x10"):
        load_labelled(str(folders), size=None)
    train, _ = load_labelled(str(folders), size=16)
    assert train.images.shape == (5, 16, 16, 3)


def test_pictures_that_are_not_square_ask_for_a_size(tmp_path):
    for name in "ab":
        write(tmp_path / name / "1.png", picture_bytes("red", (12, 8)))
    with pytest.raises(BadData, match="12x8"):
        load_labelled(str(tmp_path), size=None)


def test_the_middle_of_a_wide_picture_is_kept(tmp_path):
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste("lime", (100, 0, 200, 100))
    for name in "ab":
        (tmp_path / name).mkdir()
        wide.save(tmp_path / name / "1.png")
    train, _ = load_labelled(str(tmp_path), size=10)
    assert train.images[0, :, 1:-1].float().mean(dim=(0, 1)).tolist() == [0, 255, 0]


def test_large_and_small_files_keep_their_order(tmp_path, monkeypatch):
    """Large ones are decoded in threads, small ones at once."""
    monkeypatch.setattr(decode, "_CHUNK", 3)
    draw = np.random.default_rng(0)
    for number in range(40):
        side = 90 if number % 7 < 3 else 4
        noise = draw.integers(0, 256, (side, side, 3), dtype=np.uint8)
        noise[:] = noise // 128 + 5 * number
        path = tmp_path / "ab"[number >= 20] / f"{number:02}.bmp"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(noise).save(path)
    steps = []
    train, _ = load_labelled(str(tmp_path), size=2, progress=lambda *step: steps.append(step))
    assert ((train.images.float().mean(dim=(1, 2, 3)) - 0.5) / 5).round().tolist() == list(
        range(40)
    )
    assert steps[-1] == (40, 40) and steps == sorted(steps)


def test_grey_gives_one_channel(folders):
    train, _ = load_labelled(str(folders), size=4, grey=True)
    assert train.images.shape == (4, 4, 4, 1)
    assert train.images[1].unique().tolist() == [150]  # lime, as ITU-R 601 weighs it


# Parquet files ------------------------------------------------------------------------------------


def test_a_parquet_file_of_bytes_and_numbers(tmp_path):
    train, held_out = load_labelled(str(table(tmp_path / "x.parquet")), size=None)
    assert held_out is None and train.names == ("0", "1", "2")
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 2] and colours(train) == RGB * 2


def test_hugging_face_structs_and_class_labels(tmp_path):
    images = [{"bytes": picture_bytes(COLOURS[i % 3]), "path": None} for i in range(6)]
    images[4] = None
    features = {"label": {"names": NAMES[:3], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    path = table(tmp_path / "x.parquet", metadata=metadata, image=images)
    train, _ = load_labelled(str(path), size=None)
    assert train.names == tuple(NAMES[:3]) and train.labels.tolist() == [0, 1, 2, 0, 2]
    assert train.skipped == ((f"{path} row 4", "it holds no picture"),)


@pytest.mark.parametrize(
    "content",
    [
        NAMES,
        [{"wnid": f"n0000000{i}", "names": [name, "other"]} for i, name in enumerate(NAMES)],
        {f"n0000000{i}": [name, "other"] for i, name in enumerate(NAMES)},
        {f"n0000000{i}": name for i, name in enumerate(NAMES)},
        {str(i): [f"n0000000{i}", NAMES[i]] for i in (4, 2, 0, 1, 3)},
        {name: i for i, name in reversed(list(enumerate(NAMES)))},
    ],
)
def test_class_names_from_the_file_beside_it(tmp_path, content):
    (tmp_path / "classes.json").write_text(json.dumps(content), "utf-8")
    train, _ = load_labelled(str(table(tmp_path / "x.parquet")), size=None)
    assert train.names == tuple(NAMES) and train.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_two_classes_of_one_name_stay_two(tmp_path):
    (tmp_path / "classes.json").write_text('["crane", "dog", "crane"]')
    train, _ = load_labelled(str(table(tmp_path / "x.parquet")), size=None)
    assert train.names == ("crane (0)", "dog", "crane (2)")


@pytest.mark.parametrize("content", ["no json", "3", "[[]]", '[{"wnid": "x"}]', "[1, 2]"])
def test_a_classes_file_that_names_nothing_is_refused(tmp_path, content):
    (tmp_path / "classes.json").write_text(content)
    with pytest.raises(BadData, match=r"classes\.json"):
        load_labelled(str(table(tmp_path / "x.parquet")), size=None)


def test_a_label_beyond_the_names_is_refused(tmp_path):
    (tmp_path / "classes.json").write_text('["cat", "dog"]')
    with pytest.raises(BadData, match="label 2"):
        load_labelled(str(table(tmp_path / "x.parquet")), size=None)


def test_labels_as_text_are_their_own_names(tmp_path):
    for values in (["b", "a", "c"] * 2, pa.array(["b", "a", "c"] * 2).dictionary_encode()):
        train, _ = load_labelled(str(table(tmp_path / "x.parquet", values)), size=None)
        assert train.names == ("a", "b", "c") and train.labels.tolist() == [1, 0, 2, 1, 0, 2]


def test_examples_without_a_label_are_skipped(tmp_path):
    path = table(tmp_path / "x.parquet", [0, -1, 2, None, 2, 0])
    train, _ = load_labelled(str(path), size=None)
    assert train.names == ("0", "2") and train.labels.tolist() == [0, 1, 1, 0]
    assert [which for which, _ in train.skipped] == [f"{path} row 1", f"{path} row 3"]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16()])
def test_whole_numbers_that_pandas_made_floats_of_are_labels(tmp_path, kind):
    """Of 0, 1 and a gap pandas makes 0.0, 1.0 and NaN, and writes that as a gap or as it is."""
    given = np.array([0, 1, np.nan, 1, -1, 0], dtype=kind.to_pandas_dtype())
    for gap in (True, False):
        path = table(tmp_path / "x.parquet", pa.array(given, type=kind, from_pandas=gap))
        train, _ = load_labelled(str(path), size=None)
        assert train.names == ("0", "1") and train.labels.tolist() == [0, 1, 1, 0]
        assert [which for which, _ in train.skipped] == [f"{path} row 2", f"{path} row 4"]
        parts = load_parts(str(path))
        every = torch.cat([part.labels for part in (parts.train, parts.apart, parts.test)])
        assert sorted(every.tolist()) == [-1, -1, 0, 0, 1, 1]


@pytest.mark.parametrize("value", [0.5, float("inf")])
def test_a_label_that_is_no_whole_number_is_named_and_told_what_to_do(tmp_path, value):
    path = table(tmp_path / "x.parquet", [0.0, value, 1.0])
    with pytest.raises(BadData, match=rf"row 1: label {value}, but .* give each class one"):
        load_labelled(str(path), size=None)


def test_the_val_or_test_file_beside_a_train_file_is_held_out(tmp_path):
    train_path, test_path = tmp_path / "train-00000.parquet", tmp_path / "test.parquet"
    table(train_path)
    table(test_path, [2, 1])
    train, held_out = load_labelled(str(train_path), size=None)
    assert len(train) == 6 and held_out.names == train.names
    assert held_out.labels.tolist() == [2, 1]
    assert load_labelled(str(test_path), size=None)[1] is None
    table(tmp_path / "validation.parquet", [0, 1, 0])
    assert len(load_labelled(str(train_path), size=None)[1]) == 3


def test_a_file_that_only_begins_like_a_held_out_part_is_none(tmp_path):
    for name in ("train-0", "valley", "tests-of-mine"):
        table(tmp_path / f"{name}.parquet")
    assert load_labelled(str(tmp_path / "train-0.parquet"), size=None)[1] is None
    assert len(load_labelled(str(tmp_path), size=None)[0]) == 6


def test_a_folder_of_parquet_files_is_one_set(tmp_path):
    for name in ("train-0", "train-1", "val"):
        table(tmp_path / f"{name}.parquet")
    train, held_out = load_labelled(str(tmp_path), size=None)
    assert len(train) == 12 and colours(train) == RGB * 4 and len(held_out) == 6


def test_missing_columns_are_answered_with_what_is_there(tmp_path):
    path = table(tmp_path / "x.parquet", label=None, labels=[0] * 2, kind=["a", "b"])
    with pytest.raises(BadData, match=r"no column 'label'; it has image \(binary\), kind"):
        load_labelled(str(path), size=None)
    path = table(tmp_path / "y.parquet", image=["a.png"] * 6)
    with pytest.raises(BadData, match="bytes of picture files"):
        load_labelled(str(path), size=None)
    path = table(tmp_path / "z.parquet", [0.5] * 6)
    with pytest.raises(BadData, match="whole numbers or text"):
        load_labelled(str(path), size=None)


@pytest.mark.parametrize("kept", [0, 3, 200, -20])
def test_what_is_no_parquet_file_is_refused(tmp_path, kept):
    path = table(tmp_path / "x.parquet")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BadData) as caught:
        load_labelled(str(path), size=None)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_parquet_file_damaged_in_the_middle_is_refused(tmp_path):
    path = table(tmp_path / "x.parquet")
    data = bytearray(path.read_bytes())
    data[4:60] = b"\xff" * 56
    path.write_bytes(data)
    with pytest.raises(BadData):
        load_labelled(str(path), size=None)


# Digits, names and memory -------------------------------------------------------------------------


def test_digits_come_with_a_held_out_third():
    train, test = load_labelled("digits", size=None)
    assert train.images.shape == (1198, 8, 8, 1) and test.images.shape == (599, 8, 8, 1)
    assert train.names == tuple("0123456789")
    larger, _ = load_labelled("digits", size=16)
    assert larger.images.shape == (1198, 16, 16, 1)
    back = larger.images.float().unfold(1, 2, 2).unfold(2, 2, 2).mean(dim=(-1, -2))
    assert (back - train.images.float()).abs().mean() < 12


def idx_folder(folder: Path) -> None:
    for name, shape in zip(digits.FILES, ((6, 5, 5), (6,), (2, 5, 5), (2,)), strict=True):
        array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape) % 3
        sizes = b"".join(size.to_bytes(4, "big") for size in shape)
        write(
            folder / f"{name}.gz",
            gzip.compress(bytes([0, 0, 8, len(shape)]) + sizes + array.tobytes()),
        )


@pytest.mark.filterwarnings("error")  # torch warns where memory may not be written to
def test_a_folder_of_idx_files(tmp_path):
    idx_folder(tmp_path)
    train, test = load_labelled(str(tmp_path), size=None)
    assert train.images.shape == (6, 5, 5, 1) and test.images.shape == (2, 5, 5, 1)
    assert train.names == ("0", "1", "2") and train.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_name_that_does_not_exist_is_answered_with_those_that_do(tmp_path):
    with pytest.raises(NotHere, match="digits, mnist, fashion"):
        load_labelled("cifar", size=None)
    with pytest.raises(BadData, match="0 class folders"):
        load_labelled(str(tmp_path), size=None)
    with pytest.raises(BadInput, match="size"):
        load_labelled("digits", size=0)


def test_bad_data_and_a_wrong_option_end_a_command_differently(tmp_path):
    assert BadData("x").exit_status == 1 and BadInput("x").exit_status == 2
    for spec, size, error in (
        (str(table(tmp_path / "x.parquet", label=None)), 8, BadData),
        (str(tmp_path / "x.parquet"), 0, BadInput),
    ):
        with pytest.raises(error):
            load_labelled(spec, size=size)


@pytest.mark.parametrize("size", [None, 8])
def test_what_does_not_fit_in_memory_is_refused_beforehand(folders, monkeypatch, size):
    monkeypatch.setattr(decode, "memory_available", lambda: 1000)
    with pytest.raises(BadInput, match="60%"):
        load_labelled(str(folders), size=size)
    with pytest.raises(BadInput, match="smaller size"):
        load_labelled("digits", size=64)


def test_a_set_must_fit_in_memory_twice_for_some_of_it_is_set_apart(folders, monkeypatch):
    once = 4 * 8 * 8 * 3
    monkeypatch.setattr(decode, "memory_available", lambda: round(1.5 * once / 0.6))
    with pytest.raises(BadInput, match="twice that while some are set apart"):
        load_labelled(str(folders), size=8)
    monkeypatch.setattr(decode, "memory_available", lambda: round(2.1 * once / 0.6))
    assert len(load_labelled(str(folders), size=8)[0]) == 4


def test_split_and_select_keep_pictures_with_their_labels():
    labels = torch.arange(60) % 3
    images = labels.byte().reshape(60, 1, 1, 1)
    whole = LabelledPictures(images, labels, ("a", "b", "c"), "test")
    train, held_out = whole.split(0.25, seed=0)
    assert (len(train), len(held_out)) == (45, 15)
    for part in (train, held_out, whole.select(torch.tensor([5, 1, 1]))):
        assert torch.equal(part.images.flatten().long(), part.labels)
        assert part.names == whole.names and part.source == whole.source
    assert torch.bincount(held_out.labels).tolist() == [5, 5, 5]


# Three parts, with labels or without --------------------------------------------------------------


def counts(parts: Parts) -> tuple[int, int, int]:
    return len(parts.train), len(parts.apart), len(parts.test)


def values(pictures: LabelledPictures) -> list[int]:
    return pictures.images[:, 0, 0, 0].tolist()


def numbered(folder: Path, count: int, first: int = 0) -> None:
    """Pictures whose first channel tells which they are."""
    for number in range(first, first + count):
        write(folder / f"{number:03}.png", picture_bytes((number, 9, 9)))


def mnist_like(folder: Path, count: int) -> None:
    """A set of tiny pictures that hold their number in the training file."""
    numbers = np.arange(count)
    images = np.zeros((count, 2, 2), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = numbers // 256, numbers % 256
    arrays = (images, numbers % 10, np.full((30, 2, 2), 255), np.arange(30) % 10)
    for name, array in zip(digits.FILES, arrays, strict=True):
        sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
        head = bytes([0, 0, 8, array.ndim])
        write(folder / name, head + sizes + array.astype(np.uint8).tobytes())


def test_of_mnist_the_first_50_000_train_and_the_last_10_000_are_apart(tmp_path):
    mnist_like(tmp_path, 60_000)
    parts = load_parts(str(tmp_path))
    order = [
        256 * p.images[:, 0, 0, 0].int() + p.images[:, 0, 1, 0] for p in (parts.train, parts.apart)
    ]
    assert torch.equal(order[0], torch.arange(50_000, dtype=torch.int32))
    assert torch.equal(order[1], torch.arange(50_000, 60_000, dtype=torch.int32))
    assert torch.equal(parts.apart.labels, torch.arange(50_000, 60_000) % 10)
    assert len(parts.test) == 30 and values(parts.test) == [255] * 30


def test_other_sets_give_a_tenth_of_every_class_to_either_side(tmp_path):
    mnist_like(tmp_path, 900)
    parts = load_parts(str(tmp_path))
    assert counts(parts) == (800, 100, 30)
    assert torch.bincount(parts.apart.labels).tolist() == [10] * 10
    assert counts(load_parts("digits")) == (1067, 131, 599)
    for name, first in (("a", 0), ("b", 60)):
        numbered(tmp_path / "folders" / name, 60, first)
    parts = load_parts(str(tmp_path / "folders"))
    assert counts(parts) == (96, 12, 12)
    for part in (parts.apart, parts.test):
        assert torch.bincount(part.labels).tolist() == [6, 6]
    everything = [v for part in (parts.train, parts.apart, parts.test) for v in values(part)]
    assert sorted(everything) == list(range(120))
    again = load_parts(str(tmp_path / "folders"))
    assert values(again.apart) == values(parts.apart)


def test_a_folder_of_pictures_needs_no_classes(tmp_path):
    numbered(tmp_path, 20)
    write(tmp_path / "notes.txt", b"beside the pictures")
    write(tmp_path / ".hidden.png", picture_bytes("red"))
    write(tmp_path / "torn.png", b"\x89PNG\r\n\x1a\n and no more")
    parts = load_parts(str(tmp_path))
    assert counts(parts) == (16, 2, 2)
    for part in (parts.train, parts.apart, parts.test):
        assert part.names == () and (part.labels == NO_LABEL).all()
    assert [Path(which).name for which, _ in parts.train.skipped] == ["torn.png"]
    with pytest.raises(BadData, match="class folders"):
        load_labelled(str(tmp_path), size=None)


def test_one_class_is_no_class_and_pictures_beside_two_have_none(tmp_path):
    numbered(tmp_path / "photos" / "deep", 10)
    assert load_parts(str(tmp_path)).train.names == ()
    numbered(tmp_path / "more", 10, first=10)
    numbered(tmp_path, 10, first=20)
    parts = load_parts(str(tmp_path))
    assert parts.train.names == ("more", "photos")
    for part in (parts.train, parts.apart, parts.test):
        for value, label in zip(values(part), part.labels.tolist(), strict=True):
            assert label == (1 if value < 10 else 0 if value < 20 else NO_LABEL)


def test_train_and_test_folders_are_parts_without_classes_too(tmp_path):
    numbered(tmp_path / "train", 18)
    numbered(tmp_path / "test", 5, first=100)
    parts = load_parts(str(tmp_path))
    assert counts(parts) == (16, 2, 5) and values(parts.test) == list(range(100, 105))
    assert parts.train.names == ()
    numbered(tmp_path / "steam", 5)  # now they are classes like any other
    assert load_parts(str(tmp_path)).train.names == ("steam", "test", "train")


def test_a_parquet_file_needs_no_labels(tmp_path):
    path = table(tmp_path / "x.parquet", label=None, labels=[0] * 10, text=["a caption"] * 10)
    parts = load_parts(str(path))
    assert counts(parts) == (8, 1, 1) and parts.train.names == ()
    path = table(tmp_path / "y.parquet", [0, 1, None, 0, 1, -1] * 5)
    parts = load_parts(str(path))
    labels = torch.cat([parts.train.labels, parts.apart.labels, parts.test.labels])
    assert parts.train.names == ("0", "1") and parts.train.skipped == ()
    assert torch.bincount(labels + 1).tolist() == [10, 10, 10]


def test_channels_are_as_the_pictures_are(tmp_path):
    for number in range(10):
        write(tmp_path / f"{number}.png", picture_bytes((number, number, number)))
    grey = load_parts(str(tmp_path))
    assert grey.train.images.shape == (8, 8, 8, 1)
    write(tmp_path / "10.png", picture_bytes((1, 1, 2)))
    assert load_parts(str(tmp_path)).train.images.shape[3] == 3
    (tmp_path / "10.png").unlink()
    for name in ("a.png", "b.png"):
        write(tmp_path / "sub" / "test" / name, picture_bytes("red"))
        write(tmp_path / "sub" / "train" / name, picture_bytes("white"))
    mixed = load_parts(str(tmp_path / "sub"))
    assert mixed.train.images.shape[3] == mixed.test.images.shape[3] == 3


def test_sizes_that_are_not_wanted_are_refused(tmp_path):
    numbered(tmp_path, 3)
    with pytest.raises(BadData, match=r"8x8, where 10x10 to 64x64 is wanted.*--size"):
        load_parts(str(tmp_path), sides=Sides(10, 64))
    with pytest.raises(BadInput, match="size 9 is not possible"):
        load_parts(str(tmp_path), size=9, sides=Sides(10, 64))
    assert load_parts(str(tmp_path), size=12, sides=Sides(10, 64)).train.images.shape[1] == 12
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match="no readable picture"):
        load_parts(str(tmp_path / "empty"))
