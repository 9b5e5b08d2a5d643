"""A sample is varied the same in whatever batch it comes, each way of varying stays within its
limits, and what is not asked for does not happen."""

import math

import pytest
import torch

from mmfm.data.augment import Augment, augment
from mmfm.errors import BadInput

ALL = Augment(
    flip=True,
    shift=3,
    zoom=0.2,
    turn=20.0,
    stretch=0.2,
    slant=0.2,
    erase=0.5,
    hue=20.0,
    saturation=0.3,
    brightness=0.2,
    contrast=0.3,
)
INDEX = torch.arange(64)


def batch(n: int = 64, side: int = 12) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_a_sample_is_varied_the_same_in_any_batch():
    images = batch()
    whole = augment(images, ALL, 1, 2, INDEX)
    assert whole.shape == images.shape and whole.dtype == images.dtype
    some = torch.tensor([7, 50, 3])
    assert torch.equal(augment(images[some], ALL, 1, 2, some), whole[some])
    epochs = torch.full((64,), 2)
    assert torch.equal(augment(images, ALL, 1, epochs, INDEX), whole)
    for seed, epoch in ((1, 3), (2, 2)):
        assert not torch.isclose(augment(images, ALL, seed, epoch, INDEX), whole).all(dim=-1).any()


def test_no_recipe_is_no_change_and_the_given_images_stay_as_they_are():
    images = batch()
    before = images.clone()
    assert torch.equal(augment(images, Augment(), 0, 0, INDEX), images)
    augment(images, ALL, 0, 0, INDEX)
    assert torch.equal(images, before)


def test_flip_turns_about_half_of_them_round():
    images = batch(400)
    out = augment(images, Augment(flip=True), 0, 0, torch.arange(400))
    flipped = (out == images.flip(3)).flatten(1).all(1)
    assert torch.equal(out[~flipped], images[~flipped])
    assert 150 < flipped.sum() < 250


def test_shift_is_a_crop_out_of_the_mirrored_picture_and_every_place_occurs():
    images, shift = batch(400, side=6), 2
    out = augment(images, Augment(shift=shift), 0, 0, torch.arange(400))
    padded = torch.nn.functional.pad(images, (shift,) * 4, mode="reflect")
    found = torch.zeros(5, 5)
    for top in range(5):
        for left in range(5):
            crop = padded[:, :, top : top + 6, left : left + 6]
            found[top, left] = (out == crop).flatten(1).all(1).sum()
    assert found.sum() == 400 and found.min() >= 4


def test_erase_fills_one_rectangle_with_the_mean_colour_as_often_as_asked():
    images = batch(400, side=16)
    out = augment(images, Augment(erase=0.3), 0, 0, torch.arange(400))
    changed = (out != images).all(1)
    hit = changed.flatten(1).any(1)
    assert 90 < hit.sum() < 150
    for image, result, mask in zip(images[hit], out[hit], changed[hit], strict=True):
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        box = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert box.all() and 0.01 < mask.float().mean() < 0.36
        assert torch.allclose(result[:, mask], image.mean(dim=(1, 2))[:, None])


def test_zoom_shows_a_part_as_large_as_the_whole_and_every_corner_occurs():
    ramp = torch.linspace(0, 1, 32)
    images = torch.stack([ramp[None, :].expand(32, 32), ramp[:, None].expand(32, 32)])  # x and y
    out = augment(images.expand(400, 2, 32, 32), Augment(zoom=0.5), 0, 0, torch.arange(400))
    first, last = out[:, 0, 0], out[:, 0, -1]  # along x, of the first row and the last
    wide = out[:, 0, 0, -1] - out[:, 0, 0, 0]
    tall = out[:, 1, -1, 0] - out[:, 1, 0, 0]
    assert torch.allclose(first, last, atol=1e-6)  # upright
    for side in (wide, tall):
        assert 0.49 < side.min() < 0.56 and 0.94 < side.max() <= 1 + 1e-6
    assert 0.02 < (wide - tall).abs().max() < 0.14
    left, top = out[:, 0, 0, 0], out[:, 1, 0, 0]
    assert left.min() < 0.01 and left.max() > 0.4 and top.max() > 0.4
    for image in (left, top, 1 - out[:, 0, 0, -1]):
        assert image.min() >= -1e-6  # nothing from outside the picture
    assert torch.equal(augment(images[None], Augment(), 0, 0, torch.arange(1))[0], images)
    some = torch.tensor([7, 50])
    again = augment(images.expand(2, 2, 32, 32), Augment(zoom=0.5), 0, 0, some)
    assert torch.equal(again, out[some])


def bar(side: int = 28) -> torch.Tensor:
    """A white bar, upright, in the middle of black."""
    image = torch.full((1, 1, side, side), -1.0)
    image[..., 6:22, 13:15] = 1
    return image


def _spread(images: torch.Tensor) -> torch.Tensor:
    """The mean of x², of x y and of y² over the ink, from the middle of the picture (b 3)."""
    ink = (images[:, 0] + 1) / 2
    at = torch.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    y, x = torch.meshgrid(at, at, indexing="ij")
    moments = [(ink * m).sum(dim=(1, 2)) / ink.sum(dim=(1, 2)) for m in (x * x, x * y, y * y)]
    return torch.stack(moments, dim=1)


def test_turning_keeps_form_and_ink_and_stays_within_its_angle():
    images = bar().expand(200, 1, 28, 28)
    bent = augment(images, Augment(turn=30.0), 0, 0, torch.arange(200))
    assert torch.allclose((bent + 1).sum(dim=(1, 2, 3)), (images + 1).sum(dim=(1, 2, 3)), rtol=0.03)
    xx, xy, yy = _spread(bent).T
    angle = (0.5 * torch.atan2(2 * xy, yy - xx)).rad2deg()
    assert 27 < float(angle.abs().max()) < 31
    assert float(angle.min()) < -25 and float(angle.max()) > 25


def test_turning_and_slanting_together_keep_the_ink():
    images = bar().expand(200, 1, 28, 28)
    bent = augment(images, Augment(turn=40.0, slant=0.4), 0, 0, torch.arange(200))
    assert torch.allclose((bent + 1).sum(dim=(1, 2, 3)), (images + 1).sum(dim=(1, 2, 3)), rtol=0.05)


def test_stretching_and_slanting_stay_within_their_bounds():
    images = bar().expand(200, 1, 28, 28)
    before = _spread(images)[0]
    taller = (_spread(augment(images, Augment(stretch=0.2), 0, 0, torch.arange(200)))[:, 2]).sqrt()
    factor = taller / before[2].sqrt()
    assert 1 / 1.23 < float(factor.min()) < 0.86 and 1.16 < float(factor.max()) < 1.23
    _, xy, yy = _spread(augment(images, Augment(slant=0.3), 0, 0, torch.arange(200))).T
    lean = xy / yy
    assert 0.27 < float(lean.max()) < 0.31 and -0.31 < float(lean.min()) < -0.27


def test_colours_turn_about_the_greys_and_stay_as_light_as_they_were():
    images = batch(400)
    grey = images.mean(dim=1, keepdim=True)
    out = augment(images, Augment(hue=30.0, saturation=0.4), 0, 0, torch.arange(400))
    torch.testing.assert_close(out.mean(dim=1, keepdim=True), grey)
    same = augment(grey.expand(-1, 3, -1, -1), Augment(hue=90.0), 0, 0, torch.arange(400))
    torch.testing.assert_close(same, grey.expand(-1, 3, -1, -1))
    before, after = (images - grey), (out - grey)
    far = after.norm(dim=1) / before.norm(dim=1)
    factor = far.flatten(1).mean(dim=1)
    torch.testing.assert_close(far, factor[:, None, None].expand_as(far), rtol=1e-2, atol=1e-3)
    assert 0.6 - 1e-3 <= factor.min() < 0.65 and 1.35 < factor.max() <= 1.4 + 1e-3
    cosine = (before * after).sum(dim=(1, 2, 3)) / (before.norm(dim=1) * after.norm(dim=1)).sum(
        dim=(1, 2)
    )
    angle = cosine.clamp(max=1).acos().rad2deg()
    assert angle.min() < 2 and 28 < angle.max() < 30.1


def test_a_third_of_a_turn_brings_each_colour_to_the_next_either_way():
    """Red becomes green or blue: the ends of hue = 120."""
    red = torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1).expand(4000, 3, 1, 1)
    out = augment(red, Augment(hue=120.0), 0, 0, torch.arange(4000))[..., 0, 0]
    for end in ([0.0, 1, 0], [0.0, 0, 1]):
        assert (out - torch.tensor(end)).abs().amax(dim=1).min() < 0.01


def test_brightness_and_contrast_stay_within_their_limits():
    images = batch(400)
    out = augment(images, Augment(brightness=0.2, contrast=0.5), 0, 0, torch.arange(400))
    added = (out - images).mean(dim=(1, 2, 3))
    assert 0.19 < added.abs().max() <= 0.2 + 1e-6 and abs(added.mean()) < 0.02
    ratio = out.std(dim=(2, 3)) / images.std(dim=(2, 3))
    assert 0.5 - 1e-4 <= ratio.min() < 0.52 and 1.48 < ratio.max() <= 1.5 + 1e-4
    assert torch.allclose(ratio[:, 0], ratio[:, 2], atol=1e-4)


def test_a_picture_of_one_pixel_can_be_varied_but_not_shifted():
    one = batch(4, side=1)
    recipe = Augment(flip=True, erase=1.0, brightness=0.1, contrast=0.1)
    assert augment(one, recipe, 0, 0, torch.arange(4)).shape == one.shape
    with pytest.raises(BadInput, match="1x1"):
        augment(one, Augment(shift=1), 0, 0, torch.arange(4))
    with pytest.raises(BadInput, match="three colours, not pictures of 1 channel"):
        augment(one[:, :1], Augment(hue=1.0), 0, 0, torch.arange(4))


@pytest.mark.parametrize(
    "wrong",
    [
        {"shift": -1},
        {"erase": 1.5},
        {"brightness": -0.1},
        {"contrast": math.nan},
        {"zoom": 1.0},
        {"zoom": -0.1},
        {"turn": 181.0},
        {"turn": math.nan},
        {"stretch": 1.0},
        {"slant": -0.1},
        {"hue": 200.0},
        {"saturation": 1.1},
    ],
)
def test_a_recipe_that_cannot_be_is_refused(wrong):
    with pytest.raises(BadInput):
        Augment(**wrong)
