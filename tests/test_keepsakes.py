"""Settings go into a picture and come out again, and nothing else that a stranger put there."""

import io
import json
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mmfm import plot
from mmfm.errors import BadInput
from mmfm.keepsakes import VERSION, Later, Unsigned, about, check, gif, png
from mmfm.models.checkpoints import load_denoiser
from mmfm.tasks.generate import chosen, order, write_files, write_grid

SETTINGS: dict[str, Any] = {
    "model": "mnist-nano",
    "label": "숫자 셋 · trois",
    "guidance": 1.15,
    "interval": [0.0, 1.0],
    "seed": 2**53 + 1,
    "mask": None,
    "inner": {"steps": 8, "names": ["아홉", "\U0001f600", '"</script>', "a\nb\0c"]},
}
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8))


def frames(mode: str = "L", count: int = 4) -> list[Image.Image]:
    draw = np.random.default_rng(1)
    shades = [draw.integers(0, 256, (12, 16), np.uint8) for _ in range(count)]
    return [Image.fromarray(shade).convert(mode) for shade in shades]


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def with_text(text: str, name: str = "mmfm", **options: Any) -> bytes:
    """A PNG with any text in it, as any program may write one."""
    note = PngInfo()
    note.add_itxt(name, text, **options)
    return saved(PICTURE, "PNG", pnginfo=note)


def with_comment(comment: bytes) -> bytes:
    return saved(PICTURE, "GIF", comment=comment)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def header(wide: int = 30, tall: int = 20) -> bytes:
    body = struct.pack(">IIBBBBB", wide, tall, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", body)


def before_the_pixels(data: bytes, *chunks: bytes) -> bytes:
    """The PNG with these chunks put in behind its header."""
    return data[:33] + b"".join(chunks) + data[33:]


DAMAGED = "^this picture, or the settings in it, are damaged or cut short"
NONE = "^no settings of mmfm in it: another program made this (PNG|GIF)"


# --- round trips ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
def test_a_png_gives_back_its_settings_and_its_pixels(mode: str):
    picture = PICTURE.convert(mode)
    data = png(picture, SETTINGS)
    assert about(data) == SETTINGS
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.format == "PNG" and opened.mode == mode
        assert opened.tobytes() == picture.tobytes()


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_gif_gives_back_its_settings_and_is_the_film_that_plot_makes(mode: str, count: int):
    film = frames(mode, count)
    data = gif(film, SETTINGS, seconds=0.05, hold=1.5)
    assert about(data) == SETTINGS
    plain = plot.gif(film, seconds=0.05, hold=1.5)
    with Image.open(io.BytesIO(data)) as one, Image.open(io.BytesIO(plain)) as other:
        assert one.n_frames == other.n_frames == count
        for number in range(count):
            one.seek(number)
            other.seek(number)
            assert one.convert("RGB").tobytes() == other.convert("RGB").tobytes()
            assert one.info["duration"] == other.info["duration"]
    assert "comment" not in film[0].info  # the caller's picture is as it was


def test_a_long_comment_takes_many_of_a_gifs_blocks():
    long = {"text": "가나다" * 5000}
    assert about(gif(frames(), long)) == about(png(PICTURE, long)) == long


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab한", max_size=3), inner),
    max_leaves=10,
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from(["a", "b", "이름", "", "MMFM"]), VALUES))
def test_any_settings_come_back_from_either(told: dict[str, Any]):
    assert about(png(PICTURE, told)) == told
    assert about(gif(frames(count=2), told)) == told


def test_the_version_stands_first_and_any_program_can_read_it():
    data = png(PICTURE, SETTINGS)
    with Image.open(io.BytesIO(data)) as opened:
        text = opened.text["mmfm"]
    assert text.startswith('{"mmfm": 1, "model": "mnist-nano"') and "숫자" in text
    assert json.loads(text) == {"mmfm": VERSION, **SETTINGS}
    with Image.open(io.BytesIO(gif(frames(), SETTINGS))) as opened:
        assert json.loads(opened.info["comment"]) == {"mmfm": VERSION, **SETTINGS}


def test_what_a_picture_remembered_before_is_forgotten():
    """Whoever opens one, changes it and saves it, tells the new story only."""
    with Image.open(io.BytesIO(png(PICTURE, {"seed": 1}))) as opened:
        assert about(png(opened, {"seed": 2})) == {"seed": 2}
    with Image.open(io.BytesIO(gif(frames(), {"seed": 1}))) as opened:
        assert about(gif([opened.convert("L")], {"seed": 2})) == {"seed": 2}


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"mmfm": 2}, "no setting may be called 'mmfm'"),
        ({"guidance": float("nan")}, "a picture can't hold these settings: .*JSON"),
        ({"x": [1, float("inf")]}, "a picture can't hold these settings"),
        ({"model": Path("here")}, "a picture can't hold these settings: .*Path"),
        ({"label": "\ud800"}, "a picture can't hold these settings"),
        ({"text": "가" * 30_000}, r"90,\d+ bytes of settings; a picture holds at most 65,536"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(wrong: dict[str, Any], line: str):
    check(SETTINGS)
    for write in (lambda: png(PICTURE, wrong), lambda: gif(frames(), wrong), lambda: check(wrong)):
        with pytest.raises(BadInput, match=line) as refused:
            write()
        assert "\n" not in str(refused.value)


def test_a_film_of_no_pictures_is_refused_as_plot_refuses_it():
    with pytest.raises(BadInput, match="at least one picture"):
        gif([], SETTINGS)


# --- older and later ------------------------------------------------------------------------------


def test_the_pictures_of_mmfm_sample_are_read(tmp_path: Path):
    """Those of before had no version, and say the same under the same names."""
    den = load_denoiser("mnist-nano")
    asked = order(den, ["3", "7"], count=2, seed=5, how=chosen(den, steps=1))
    write_grid(asked, tmp_path / "grid.png")
    write_files(asked, tmp_path / "files")
    told = json.loads(json.dumps(asked.about()))
    assert about((tmp_path / "grid.png").read_bytes()) == told
    assert told["labels"] == ["3", "7"] and told["seed"] == 5 and told["model"] == "mnist-nano"
    (seven,) = (tmp_path / "files").glob("7-*.png")
    assert about(seven.read_bytes())["label"] == "7"


def test_settings_without_a_version_are_of_version_0():
    assert about(with_text('{"model": "mnist-nano", "seed": 3}')) == {
        "model": "mnist-nano",
        "seed": 3,
    }
    assert about(with_text('{"mmfm": 0, "seed": 3}')) == {"seed": 3}


@pytest.mark.parametrize("later", [2, 10**30, 10**4000])
def test_settings_of_a_later_version_are_not_guessed_at(later: int):
    text = f'{{"mmfm": {later}, "seed": 3}}'
    for data in (with_text(text), with_comment(text.encode())):
        with pytest.raises(Later, match=r"^a later mmfm wrote .* of version \d+; .* update") as e:
            about(data)
        assert len(str(e.value)) < 200


@pytest.mark.parametrize("version", ["true", '"1"', "1.0", "-1", "null", "[1]"])
def test_a_version_is_a_whole_number(version: str):
    for data in (
        with_text(f'{{"mmfm": {version}}}'),
        with_comment(f'{{"mmfm": {version}}}'.encode()),
    ):
        with pytest.raises(BadInput, match=DAMAGED):
            about(data)


# --- what is none of ours -------------------------------------------------------------------------


def test_pictures_of_other_programs_hold_no_settings():
    texts = PngInfo()
    texts.add_text("parameters", "a cat, Steps: 20, Seed: 1")
    texts.add_itxt("Comment", '{"mmfm": 1}')
    for data in (
        saved(PICTURE, "PNG"),
        saved(PICTURE, "PNG", pnginfo=texts),
        saved(PICTURE, "GIF"),
        with_comment(b"Created with GIMP"),
        with_comment(b'{"seed": 1}'),
        plot.gif(frames()),
    ):
        with pytest.raises(Unsigned, match=NONE):
            about(data)


@pytest.mark.parametrize("kind", ["JPEG", "WebP", "BMP", "TIFF"])
def test_other_kinds_of_pictures_are_named(kind: str):
    with pytest.raises(Unsigned, match=f"^mmfm keeps settings in PNG and GIF .* the kind {kind}$"):
        about(saved(PICTURE.convert("RGB"), kind))


@pytest.mark.parametrize("data", [b"", b"\x89PNG", b"GIF", b"%PDF-1.7 ...", b'{"mmfm": 1}'])
def test_what_is_no_picture_is_called_so(data: bytes):
    with pytest.raises(BadInput, match=r"^this is not a picture"):
        about(data)


def test_another_comment_or_text_beside_ours_is_passed_over():
    text = '{"mmfm": 1, "seed": 4}'
    other = chunk(b"iTXt", b"Author\0\0\0\0\0someone") + chunk(b"tEXt", b"mmfm\0[]")
    assert about(before_the_pixels(with_text(text), other)) == {"seed": 4}
    data = with_comment(text.encode())
    place = data.index(b"!\xfe")
    assert about(data[:place] + b"!\xfe\x05hello\0" + data[place:]) == {"seed": 4}


# --- damaged, or meant to harm --------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: png(PICTURE, SETTINGS), lambda: gif(frames(), SETTINGS)])
def test_a_cut_file_gives_its_settings_or_an_error_of_one_line(make: Any):
    data = make()
    whole = 0
    for length in range(len(data)):
        try:
            found = about(data[:length])
        except BadInput as error:
            assert whole == 0  # once they are there, more of the file takes nothing away
            assert "\n" not in str(error) and "no settings" not in str(error)
        else:
            assert found == SETTINGS
            whole += 1
    assert whole > 100  # the pixels need not be there


def test_changed_settings_are_not_believed():
    data = bytearray(png(PICTURE, SETTINGS))
    data[data.index(b"mnist-nano")] ^= 1
    with pytest.raises(BadInput, match=DAMAGED):
        about(bytes(data))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"mmfm": 1, ',
        "seed 3",
        "[1, 2]",
        '"mmfm"',
        "3",
        "null",
        '{"mmfm": 1, "guidance": NaN}',
        '{"mmfm": 1, "guidance": [-Infinity]}',
        '{"mmfm": 1, "guidance": 1e999}',
        '{"mmfm": 1, "label": "\\ud800"}',
        '{"mmfm": 1, "seed": ' + 10_000 * "9" + "}",
        '{"mmfm": 1, "a": ' + 30_000 * "[" + 30_000 * "]" + "}",
        '{"mmfm": 1, "a": ' + 8_000 * '{"a": ' + "1" + 8_001 * "}",
    ],
    ids=lambda text: text[:24],
)
def test_wrong_json_is_an_error_of_one_line(text: str):
    both = [with_text(text)]
    if text.startswith('{"mmfm":'):
        both.append(with_comment(text.encode()))
    for data in both:
        with pytest.raises(BadInput, match=DAMAGED) as refused:
            about(data)
        assert "\n" not in str(refused.value)


def test_text_in_no_code_that_we_know_is_an_error():
    with pytest.raises(BadInput, match=DAMAGED):
        about(with_comment(b'{"mmfm": 1, "label": "\xff\xfe"}'))
    with pytest.raises(Unsigned, match=NONE):  # Pillow passes such a text over
        about(with_text('{"mmfm": 1}', tkey=b"\xff"))


def test_large_settings_are_refused():
    text = json.dumps({"mmfm": 1, "text": "x" * 65_536})
    for data in (with_text(text), with_text(text, zip=True), with_comment(text.encode())):
        with pytest.raises(BadInput, match=r"larger than any that mmfm writes \(65,536 bytes\)"):
            about(data)


def test_packed_settings_are_read():
    assert about(with_text(json.dumps(SETTINGS), zip=True)) == SETTINGS


def test_a_text_that_unpacks_to_much_more_is_not_unpacked():
    bomb = zlib.compress(bytes(50_000_000), 9)  # 50 KB of it
    began = time.perf_counter()
    with pytest.raises(BadInput, match=DAMAGED):
        about(before_the_pixels(saved(PICTURE, "PNG"), chunk(b"iTXt", b"mmfm\0\1\0\0\0" + bomb)))
    # In a text of another kind, or a colour profile, it is passed over.
    others = chunk(b"zTXt", b"mmfm\0\0" + bomb), chunk(b"iCCP", b"icc\0\0" + bomb)
    assert about(before_the_pixels(png(PICTURE, SETTINGS), *others)) == SETTINGS
    with pytest.raises(Unsigned, match=NONE):
        about(before_the_pixels(saved(PICTURE, "PNG"), *others))
    assert time.perf_counter() - began < 10


def test_many_texts_cost_little():
    piece = zlib.compress(bytes(1_000_000), 9)
    many = 2000 * chunk(b"iTXt", b"other\0\1\0\0\0" + piece)
    began = time.perf_counter()
    with pytest.raises(BadInput):
        about(before_the_pixels(saved(PICTURE, "PNG"), many))
    assert time.perf_counter() - began < 20


def test_only_the_beginning_of_a_file_counts():
    """Ours stand there, behind a colour profile at the most."""
    profile = chunk(b"iCCP", b"icc\0\0" + bytes(100_000))
    assert about(before_the_pixels(png(PICTURE, SETTINGS), profile)) == SETTINGS
    with pytest.raises(Unsigned, match=NONE):
        about(before_the_pixels(png(PICTURE, SETTINGS), 3 * profile))
    data = saved(PICTURE, "PNG")
    with pytest.raises(Unsigned, match=NONE):
        about(data[:-12] + chunk(b"iTXt", b"mmfm\0\0\0\0\0{}") + data[-12:])


def test_a_picture_that_says_it_is_huge_is_read_without_making_room_for_it():
    """Pillow itself would, for the frame of a film that is to be wiped out after it was shown."""
    wide = 65_535
    screen = b"GIF89a" + struct.pack("<HHBBB", wide, wide, 0, 0, 0)
    wiped = b"!\xf9\x04\x08\x0a\x00\x00\x00"
    frame = b"," + struct.pack("<HHHHB", 0, 0, wide, wide, 0) + b"\x08"
    comment = b'!\xfe\x16{"mmfm": 1, "seed": 8}\0'
    began = time.perf_counter()
    assert about(screen + wiped + comment + frame) == {"seed": 8}
    with pytest.raises(Unsigned, match=NONE):
        about(screen + wiped + frame + comment)
    film = chunk(b"acTL", struct.pack(">II", 2, 0))
    piece = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 60_000, 60_000, 0, 0, 1, 1, 1, 0))
    text = chunk(b"iTXt", b'mmfm\0\0\0\0\0{"mmfm": 1, "seed": 9}')
    assert about(header(60_000, 60_000) + film + piece + text) == {"seed": 9}
    assert time.perf_counter() - began < 3


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_no_bytes_of_a_stranger_do_harm(data: Any):
    """Whatever is changed in a file, the answer is a dict or an error of one line."""
    whole = bytearray(data.draw(st.sampled_from(FILES)))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = about(bytes(whole))
    except BadInput as error:
        assert "\n" not in str(error)
    else:
        json.dumps(found, allow_nan=False)


FILES = [
    png(PICTURE, {"seed": 1}),
    gif(frames(), {"seed": 1}),
    with_text('{"mmfm": 1}', zip=True),
]
