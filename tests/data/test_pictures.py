"""Any picture file opens upright in true colours, or is refused in one line; and the model's tensor
is the publisher's own."""

import io
import json
import os
import struct
import threading
import zlib
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image

from mmfm.data.pictures import Preprocessing, as_rgb, open_picture
from mmfm.errors import BadInput, NotHere, UnreadablePicture

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
# height, width: portrait, landscape, square, smaller than any crop, long strips, odd numbers
SIZES = [(300, 201), (201, 300), (224, 224), (33, 47), (1, 1), (1, 60), (517, 31), (225, 223)]


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def corners() -> Image.Image:
    """Four colours, so that every way of turning the picture shows."""
    picture = Image.new("RGB", (32, 16), "red")
    picture.paste("lime", (16, 0, 32, 8))
    picture.paste("blue", (0, 8, 16, 16))
    picture.paste("yellow", (16, 8, 32, 16))
    return picture


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG written by hand, for the kinds that Pillow doesn't write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


# The file opens as a person would see it ----------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_every_exif_orientation_comes_out_upright(orientation, kind):
    # How a camera that is held so stores what is upright: the reverse of what undoes it.
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    sensor = corners() if orientation == 1 else corners().transpose(stored[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossy = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    opened = open_picture(io.BytesIO(saved(sensor, kind, exif=exif, **lossy)))
    assert opened.size == (32, 16)
    assert np.abs(np.asarray(opened).astype(int) - np.asarray(corners())).max() < 6
    assert opened.getexif().get(0x0112, 1) == 1, "a second turn would be a wrong one"


def test_a_damaged_exif_note_leaves_the_picture_readable():
    data = saved(corners(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert open_picture(io.BytesIO(data)).size == (32, 16)


def test_16_bit_grey_is_scaled_and_not_cut_off():
    values = [0, 257, 32896, 65535]
    data = png(4, 1, 16, 0, b"\0" + struct.pack(">4H", *values))
    assert np.asarray(open_picture(io.BytesIO(data)))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_16_bit_colour_is_scaled():
    data = png(1, 1, 16, 2, b"\0" + struct.pack(">3H", 0, 32896, 65535))
    assert open_picture(io.BytesIO(data)).getpixel((0, 0)) == (0, 128, 255)


def test_deep_grey_of_other_kinds_is_scaled_too():
    def first(picture):
        return as_rgb(picture).getpixel((0, 0))

    assert first(Image.fromarray(np.full((1, 1), 65535, np.int32))) == (255, 255, 255)
    assert first(Image.fromarray(np.full((1, 1), 0.5, np.float32))) == (128, 128, 128)
    assert first(Image.fromarray(np.full((1, 1), 200.0, np.float32))) == (200, 200, 200)
    assert first(Image.fromarray(np.full((1, 1), np.nan, np.float32))) == (0, 0, 0)


def test_transparent_parts_are_white():
    half = Image.new("RGBA", (1, 1), (255, 0, 0, 128))
    assert as_rgb(half).getpixel((0, 0)) == (255, 127, 127)
    assert as_rgb(Image.new("LA", (1, 1), (0, 0))).getpixel((0, 0)) == (255, 255, 255)
    assert as_rgb(Image.new("La", (1, 1), (0, 0))).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.putpixel((1, 0), 1)
    opened = open_picture(io.BytesIO(saved(palette, "PNG", transparency=0)))
    assert [opened.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (10, 20, 30)]
    keyed = saved(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert open_picture(io.BytesIO(keyed)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LA", "I;16", "YCbCr", "HSV"]
)
def test_white_is_white_in_every_mode(mode):
    white = np.full((3, 2), 65535, np.uint16)
    picture = (
        Image.fromarray(white)
        if mode == "I;16"
        else Image.new("RGB", (2, 3), "white").convert(mode)
    )
    rgb = as_rgb(picture)
    assert (rgb.mode, rgb.size) == ("RGB", (2, 3))
    assert np.asarray(rgb).min() >= 254


def test_a_cmyk_jpeg_keeps_its_colours():
    data = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    red, green, blue = open_picture(io.BytesIO(data)).getpixel((4, 4))
    assert red > 240 and green < 15 and blue < 15


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_the_picture(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=10)
    assert open_picture(io.BytesIO(data)).getpixel((4, 4))[0] > 240


def test_one_pixel_is_a_picture(tmp_path):
    path = tmp_path / "한 점.png"
    Image.new("RGB", (1, 1), (1, 2, 3)).save(path)
    assert open_picture(path).getpixel((0, 0)) == (1, 2, 3)
    assert open_picture(str(path)).size == (1, 1)


def test_the_picture_outlives_its_file(tmp_path):
    path = tmp_path / "a.png"
    corners().save(path)
    picture = open_picture(path)
    path.unlink()
    assert picture.getpixel((0, 0)) == (255, 0, 0)


# What is no picture is refused in one line --------------------------------------------------------


def refused(path, error=UnreadablePicture, **options) -> str:
    with pytest.raises(error) as caught:
        open_picture(path, **options)
    line = str(caught.value)
    assert "\n" not in line and (not isinstance(path, os.PathLike) or str(path) in line)
    return line


def test_a_missing_file_is_not_here(tmp_path):
    refused(tmp_path / "none.jpg", NotHere)
    (tmp_path / "file").write_bytes(b"x")
    refused(tmp_path / "file" / "below.jpg", NotHere)


def test_a_folder_an_empty_file_and_a_text_are_named_as_such(tmp_path):
    folder, empty, text = tmp_path / "x.png", tmp_path / "empty.jpg", tmp_path / "text.jpg"
    folder.mkdir()
    empty.touch()
    text.write_text("not a picture")
    assert "folder" in refused(folder)
    assert "empty" in refused(empty)
    assert "not a picture" in refused(text)
    assert "empty" in refused(io.BytesIO(b""))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_and_a_device_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    lines = []

    def ask():
        lines.append(refused(tmp_path / "pipe.jpg"))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(5)
    assert lines and "pipe" in lines[0]
    assert "device" in refused("/dev/zero")


def test_a_loop_of_links_and_an_impossible_name_are_refused(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "b.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    refused(tmp_path / "a.jpg")
    refused(tmp_path / ("n" * 5000))
    with pytest.raises(UnreadablePicture):
        open_picture("a\0b.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9])
def test_a_picture_cut_short_anywhere_is_refused(tmp_path, kind, kept):
    data = saved(noise(64, 64), kind)
    path = tmp_path / f"cut.{kind.lower()}"
    path.write_bytes(data[: int(len(data) * kept)])
    refused(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "ICO", "PPM", "TGA"])
def test_damaged_bytes_give_a_picture_or_one_line_never_another_error(kind):
    data = saved(noise(24, 24), kind)
    draw = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(draw.integers(1, 6)):
            damaged[draw.integers(0, len(damaged))] = draw.integers(0, 256)
        try:
            picture = open_picture(io.BytesIO(bytes(damaged)), max_pixels=1_000_000)
        except UnreadablePicture as error:
            assert str(error)
        else:
            assert picture.mode == "RGB"


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    path = tmp_path / "large.png"
    noise(20, 30).save(path)
    assert "30 x 20" in refused(path, max_pixels=599)
    assert open_picture(path, max_pixels=600).size == (30, 20)


def test_a_decompression_bomb_is_refused():
    bomb = png(30_000, 30_000, 8, 0, b"")
    with pytest.raises(UnreadablePicture, match="pixels"):
        open_picture(io.BytesIO(bomb))


# The tensor is the publisher's own ----------------------------------------------------------------


@pytest.mark.parametrize("size", [(224, 224), (225, 225), (32, 32), (192, 256), (7, 5)])
@pytest.mark.parametrize("crop", [1.0, 0.875, 0.9, 0.95])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_crop_equals_timm_bit_for_bit(size, crop, interpolation):
    from timm.data.transforms_factory import create_transform

    theirs = create_transform(
        (3, *size), is_training=False, interpolation=interpolation, crop_pct=crop, **IMAGENET
    )
    ours = Preprocessing(size, interpolation=interpolation, crop_fraction=crop, **IMAGENET)
    for seed, (height, width) in enumerate(SIZES):
        picture = noise(height, width, seed)
        assert torch.equal(ours(picture), theirs(picture)), (height, width)


@pytest.mark.parametrize("crop", [1.0, 0.9])
def test_squash_equals_timm_bit_for_bit(crop):
    from timm.data.transforms_factory import create_transform

    theirs = create_transform(
        (3, 224, 192), is_training=False, interpolation="bicubic", crop_pct=crop,
        crop_mode="squash", **IMAGENET,
    )  # fmt: skip
    ours = Preprocessing((224, 192), fit="squash", crop_fraction=crop, **IMAGENET)
    for seed, (height, width) in enumerate(SIZES):
        picture = noise(height, width, seed)
        assert torch.equal(ours(picture), theirs(picture)), (height, width)


@pytest.mark.parametrize("family", ["siglip", "vit"])
def test_squash_equals_transformers(family):
    """To 1e-6 with its Pillow backend, which resizes in whole grey levels as we do.

    Its torchvision backend rounds elsewhere and differs by up to one grey level.
    """
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    theirs = SiglipImageProcessorPil() if family == "siglip" else ViTImageProcessorPil()
    interpolation = "bicubic" if family == "siglip" else "bilinear"
    half = (0.5, 0.5, 0.5)
    ours = Preprocessing((224, 224), half, half, fit="squash", interpolation=interpolation)
    for seed, (height, width) in enumerate(SIZES):
        picture = noise(height, width, seed)
        expected = torch.as_tensor(np.asarray(theirs(picture)["pixel_values"][0]))
        torch.testing.assert_close(ours(picture), expected, atol=1e-6, rtol=0)


def test_grey_models_get_one_channel():
    prep = Preprocessing((8, 8), mean=(0.5,), std=(0.5,))
    image = prep(Image.new("RGB", (20, 10), "white"))
    assert image.shape == (1, 8, 8) and image.eq(1).all()
    assert prep.undo(image).mode == "L"


def test_transparent_and_palette_pictures_can_be_given_as_they_are():
    prep = Preprocessing((4, 4), **IMAGENET)
    clear = Image.new("RGBA", (5, 9), (0, 0, 0, 0))
    assert torch.equal(prep(clear), prep(Image.new("RGB", (5, 9), "white")))


def test_undo_gives_back_what_the_model_saw():
    for mean, std in (((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0.13,), (0.31,))):
        prep = Preprocessing((17, 24), mean, std, crop_fraction=0.9)
        picture = noise(50, 40)
        assert np.array_equal(np.asarray(prep.undo(prep(picture))), np.asarray(prep.view(picture)))


def test_a_batch_is_its_pictures_one_by_one():
    prep = Preprocessing((16, 12), **IMAGENET)
    pictures = [noise(20, 30), noise(1, 1), noise(12, 16)]
    batch = prep.batch(pictures)
    assert batch.shape == (3, 3, 16, 12) and batch.is_contiguous()
    assert all(
        torch.equal(row, prep(picture)) for row, picture in zip(batch, pictures, strict=True)
    )
    assert prep.batch([]).shape == (0, 3, 16, 12)


def test_an_extreme_strip_fits_in_memory(monkeypatch):
    resize = Image.Image.resize

    def small_resize(picture, size, *options):
        assert size[0] * size[1] < 100_000_000
        return resize(picture, size, *options)

    monkeypatch.setattr(Image.Image, "resize", small_resize)
    for size in ((200_000, 1), (1, 200_000)):
        image = Preprocessing((224, 224), **IMAGENET)(Image.new("RGB", size, "red"))
        assert image.shape == (3, 224, 224)
        assert image.std(dim=(1, 2)).max() < 1e-6


def test_it_survives_json():
    prep = Preprocessing((16, 12), fit="squash", interpolation="bilinear", **IMAGENET)
    back = Preprocessing(**json.loads(json.dumps(asdict(prep))))
    assert back == prep and hash(back) == hash(prep)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": (0, 4)},
        {"size": (4, 4, 4)},
        {"mean": (0.5, 0.5)},
        {"std": (0.0, 1.0, 1.0)},
        {"fit": "pad"},
        {"interpolation": "best"},
        {"crop_fraction": 0.0},
        {"crop_fraction": 1.5},
    ],
)
def test_a_recipe_that_cannot_be_is_refused(wrong):
    with pytest.raises(BadInput):
        Preprocessing(**{"size": (4, 4), **IMAGENET, **wrong})
