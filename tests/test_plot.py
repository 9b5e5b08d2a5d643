"""Pictures drawn from numbers show these numbers."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from mmfm import plot
from mmfm.errors import BadInput


def test_a_tensor_becomes_a_picture_and_keeps_its_values() -> None:
    image = torch.tensor([[[0.0, 1.0], [0.5, 2.0]]])
    assert np.array(plot.to_picture(image)).tolist() == [[0, 255], [128, 255]]
    colour = torch.rand(3, 5, 7)
    back = torch.from_numpy(np.array(plot.to_picture(colour))).permute(2, 0, 1) / 255
    torch.testing.assert_close(back, colour, atol=1 / 255, rtol=0)


def test_a_grid_holds_every_picture_in_order() -> None:
    images = torch.linspace(0, 1, 5)[:, None, None, None].expand(5, 3, 4, 6)
    sheet = plot.grid(images, columns=3, gap=2)
    assert sheet.size == (3 * 6 + 2 * 2, 2 * 4 + 2)
    corners = [sheet.getpixel((column * 8, row * 6)) for row in (0, 1) for column in range(3)]
    assert corners[:5] == [(v, v, v) for v in (0, 64, 128, 191, 255)]
    assert plot.grid(images).size[0] == 3 * 6 + 2 * 2


def test_patches_without_gaps_are_the_picture() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8))
    assert np.array_equal(plot.patches(picture, 4, gap=0), picture)
    apart = plot.patches(picture, 4, gap=3)
    assert apart.size == (12 + 2 * 3, 8 + 3)
    assert np.array_equal(apart.crop((14, 7, 18, 11)), picture.crop((8, 4, 12, 8)))


def test_heat_leaves_the_hottest_patch_as_it_is_and_dims_the_others() -> None:
    picture = Image.new("RGB", (8, 8), (200, 100, 40))
    warm = plot.heat(picture, torch.tensor([[0.0, 0.2], [0.1, 0.4]]), strength=1.0)
    assert warm.getpixel((7, 7)) == (200, 100, 40)
    assert warm.getpixel((0, 0)) == (0, 0, 0)
    # A quarter of the highest is drawn half as light: the eye sees the root.
    assert warm.getpixel((0, 7)) == pytest.approx((100, 50, 20), abs=1)


def test_no_heat_at_all_is_dark_and_not_an_error() -> None:
    picture = Image.new("RGB", (4, 4), "white")
    assert plot.heat(picture, torch.zeros(2, 2), strength=0.5).getpixel((0, 0)) == (128, 128, 128)


def test_curves_are_drawn_one_or_several_and_even_from_a_single_point() -> None:
    blank = plot.curve([], x="step", y="loss")
    for points in ([(0, 2.0), (10, 1.0)], {"train": [(0, 2.0)], "held out": [(1, 1.5)]}, [(3, 1)]):
        drawn = plot.curve(points, x="step", y="loss", title="a run")
        assert drawn.mode == "RGB"
        assert drawn.size == blank.size
        assert np.abs(np.asarray(drawn, int) - np.asarray(blank, int)).max() > 100


def test_what_cannot_be_drawn_is_one_clear_line() -> None:
    picture = Image.new("RGB", (6, 4))
    for wrong, line in (
        (lambda: plot.to_picture(torch.rand(2, 4, 4)), r"as \(1 or 3, h, w\), not as \(2, 4, 4\)"),
        (lambda: plot.grid(torch.rand(0, 3, 4, 4)), "a grid needs pictures"),
        (lambda: plot.patches(picture, 4), "patches of 4 pixels do not divide a picture of 4x6"),
        (lambda: plot.heat(picture, torch.rand(4)), "one weight a patch"),
    ):
        with pytest.raises(BadInput, match=line):
            wrong()


def film_of(data: bytes) -> tuple[list[np.ndarray], list[int]]:
    with Image.open(io.BytesIO(data)) as film:
        shown, times = [], []
        for number in range(film.n_frames):
            film.seek(number)
            shown.append(np.asarray(film.convert("RGB")))
            times.append(film.info["duration"])
        assert film.info["loop"] == 0  # for ever
        return shown, times


def test_a_film_of_grey_pictures_keeps_every_shade_of_every_picture() -> None:
    draw = np.random.default_rng(0)
    pictures = [draw.integers(0, 256, (20, 30), np.uint8) for _ in range(5)]
    pictures[3] = pictures[2].copy()
    pictures[3][5:9, 5:9] = np.arange(16).reshape(4, 4)  # little changes from one to the next
    data = plot.gif([Image.fromarray(p) for p in pictures], seconds=0.05, hold=1.5)
    shown, times = film_of(data)
    assert len(shown) == 5 and times == [50, 50, 50, 50, 1500]
    for picture, frame in zip(pictures, shown, strict=True):
        assert np.array_equal(frame, np.repeat(picture[..., None], 3, axis=2))


def test_a_film_in_colour_has_clean_areas() -> None:
    pictures = [Image.new("RGB", (16, 12), colour) for colour in ("red", "lime", "#123456")]
    pictures[2].paste("white", (3, 3, 6, 6))
    shown, _ = film_of(plot.gif(pictures))
    for picture, frame in zip(pictures, shown, strict=True):
        assert np.array_equal(frame, np.asarray(picture))


def test_a_film_of_one_picture_is_that_picture_and_one_of_none_is_refused() -> None:
    with Image.open(io.BytesIO(plot.gif([Image.new("L", (3, 3), 77)]))) as film:
        assert film.convert("L").getpixel((1, 1)) == 77
    with pytest.raises(BadInput, match="at least one"):
        plot.gif([])
    with pytest.raises(BadInput, match="of one size"):
        plot.gif([Image.new("L", (3, 3)), Image.new("L", (3, 4))])


def test_enlarged_pixels_stay_squares_of_one_colour() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7), np.uint8)
    large = plot.enlarged(Image.fromarray(pixels), wide=40)
    assert large.size == (35, 25)
    assert np.array_equal(np.asarray(large), pixels.repeat(5, axis=0).repeat(5, axis=1))
    assert plot.enlarged(Image.fromarray(pixels), wide=3).size == (7, 5)


def test_a_film_keeps_shades_where_little_changes_and_all_256_are_used() -> None:
    draw = np.random.default_rng(3)
    pictures, picture = [], draw.normal(128, 90, (60, 60)).clip(0, 255)
    for _ in range(12):
        changed = (picture + draw.normal(0, 20, picture.shape)).clip(0, 255)
        picture = np.where(draw.random(picture.shape) < 0.5, changed, picture)
        pictures.append(picture.round().astype(np.uint8))
    shown, _ = film_of(plot.gif([Image.fromarray(p) for p in pictures]))
    for picture, frame in zip(pictures, shown, strict=True):
        assert np.array_equal(frame[..., 0], picture)


def test_axes_of_many_sizes_are_drawn_by_doublings_and_a_few_points_are_marked() -> None:
    line = [(1, 40.0), (2, 4.0), (20, 1.5)]
    plain = np.asarray(plot.curve(line, x="minutes", y="times"))
    for logs in ({"log_x": True}, {"log_y": True}, {"log_x": True, "log_y": True}):
        assert not np.array_equal(plot.curve(line, x="minutes", y="times", **logs), plain)
    few = np.asarray(plot.curve(line, x="x", y="y"))
    many = np.asarray(plot.curve([*line, *[line[-1]] * 12], x="x", y="y"))
    assert (few < 200).any(axis=2).sum() > (many < 200).any(axis=2).sum()
