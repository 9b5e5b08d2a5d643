"""Pictures varied anew each time that they are shown, so that a model learns what they show.

    Augment     how far a batch may be varied; a recipe says it in [augment]
    augment     vary a batch, keyed by seed, epoch and sample

A picture is flipped and shifted by whole pixels, looked at through one warp (zoom, turn, stretch,
slant), a part of it is erased, its colours turn, and its light changes: in this order.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, repeat
from jaxtyping import Float, Int, Int64
from torch import Tensor

from mmfm.data.draws import uniform
from mmfm.errors import BadInput

_AUGMENT = 1  # the stream of draws, so that noise for the same sample draws other numbers


@dataclass(frozen=True)
class Augment:
    """How far a picture may be varied each time that it is shown; all off is no change at all."""

    flip: bool = False  # left and right swapped, every second time
    shift: int = 0  # pixels up, down, left or right; what comes in is mirrored at the border
    zoom: float = 0.0  # by at most this share the part that is shown is smaller than the whole
    turn: float = 0.0  # at most so many degrees, either way
    stretch: float = 0.0  # at most this share wider or narrower, and taller or shorter
    slant: float = 0.0  # at most so far does a line of height 1 lean to either side
    erase: float = 0.0  # probability that a rectangle is filled with the picture's mean colour
    hue: float = 0.0  # at most so many degrees does every colour turn about the greys
    saturation: float = 0.0  # distances of colours to the greys change by at most this share
    brightness: float = 0.0  # at most so much is added or taken away, in the images' own unit
    contrast: float = 0.0  # distances to the picture's mean change by at most this share

    def __post_init__(self) -> None:
        if not 0 <= self.erase <= 1 or not self.shift >= 0:
            raise BadInput(f"{self}: erase lies between 0 and 1, and shift is not below 0")
        if not (0 <= self.brightness < math.inf and 0 <= self.contrast < math.inf):
            raise BadInput(f"{self}: brightness and contrast are numbers not below 0")
        if not 0 <= self.zoom < 1:
            raise BadInput(f"{self}: zoom lies from 0 up to 1, where nothing would be left")
        if not (0 <= self.turn <= 180 and 0 <= self.stretch < 1 and 0 <= self.slant <= 1):
            raise BadInput("turn lies from 0 to 180 degrees, stretch from 0 up to 1, slant to 1")
        if not (0 <= self.hue <= 180 and 0 <= self.saturation <= 1):
            raise BadInput("hue lies from 0 to 180 degrees, saturation from 0 to 1")


def augment(
    images: Float[Tensor, "b c h w"],
    recipe: Augment,
    seed: int,
    epoch: Int[Tensor, "b"] | int,
    index: Int[Tensor, "b"],
) -> Float[Tensor, "b c h w"]:
    """Vary a batch; sample `index[i]` of an epoch is varied the same in whatever batch it comes."""
    channels, height, width = images.shape[1:]
    if recipe.shift >= min(height, width):
        raise BadInput(f"a shift of {recipe.shift} is too far for pictures of {width}x{height}")
    if (recipe.hue or recipe.saturation) and channels != 3:
        raise BadInput(f"hue and saturation vary three colours, not pictures of {channels} channel")
    draw = uniform(seed, epoch, index, 21, stream=_AUGMENT).to(images.device)
    if recipe.flip or recipe.shift:
        images = _moved(images, recipe, draw[:, 0:3])
    if recipe.zoom or recipe.turn or recipe.stretch or recipe.slant:
        images = _warped(images, recipe, draw[:, 10:19])
    mean = images.mean(dim=(2, 3), keepdim=True)
    if recipe.erase:
        erased = _rectangles(recipe.erase, draw[:, 3:8], height, width)
        images = torch.where(rearrange(erased, "b h w -> b 1 h w"), mean, images)
    if recipe.hue or recipe.saturation:
        turned = _colour_turns(recipe, 2 * draw[:, 19:21] - 1).to(images.dtype)
        images, mean = (einsum(turned, x, "b d c, b c h w -> b d h w") for x in (images, mean))
    if recipe.brightness or recipe.contrast:
        change = rearrange(2 * draw[:, 8:10] - 1, "b two -> two b 1 1 1").to(images.dtype)
        images = (images - mean) * (1 + recipe.contrast * change[0]) + mean
        images = images + recipe.brightness * change[1]
    return images


def _moved(
    images: Float[Tensor, "b c h w"], recipe: Augment, draw: Float[Tensor, "b 3"]
) -> Float[Tensor, "b c h w"]:
    """Flip and shift by looking up, for every pixel, the one that moves there."""
    channels, height, width = images.shape[1:]
    offset = (draw[:, :2] * (2 * recipe.shift + 1)).long() - recipe.shift
    rows = _mirrored(torch.arange(height, device=images.device) + offset[:, 0:1], height)
    columns = _mirrored(torch.arange(width, device=images.device) + offset[:, 1:2], width)
    if recipe.flip:
        columns = torch.where(draw[:, 2:3] < 0.5, columns.flip(1), columns)
    pixels = rearrange(rows, "b h -> b h 1") * width + rearrange(columns, "b w -> b 1 w")
    moved = rearrange(images, "b c h w -> b c (h w)").gather(
        2, repeat(pixels, "b h w -> b c (h w)", c=channels)
    )
    return rearrange(moved, "b c (h w) -> b c h w", h=height)


def _warped(
    images: Float[Tensor, "b c h w"], recipe: Augment, draw: Float[Tensor, "b 9"]
) -> Float[Tensor, "b c h w"]:
    """Bend each picture about its middle and show a part of that as large as the whole."""
    # Both sides become shorter by nearly the same.
    sides = 1 - recipe.zoom * (0.75 * draw[:, 0:1] + 0.25 * draw[:, 1:3])
    middles = (1 - sides) * (2 * draw[:, 3:5] - 1)
    lots = 2 * draw[:, 5:9] - 1
    turn, slant = lots[:, 0] * math.radians(recipe.turn), lots[:, 3] * recipe.slant
    wide, tall = (1 + recipe.stretch) ** lots[:, 1], (1 + recipe.stretch) ** lots[:, 2]
    cos, sin = turn.cos(), turn.sin()
    across = torch.stack([cos * wide, cos * slant - sin * tall], dim=1)
    down = torch.stack([sin * wide, sin * slant + cos * tall], dim=1)
    bend = torch.stack([across, down], dim=1)
    # Where each pixel of the new picture is looked up in the old one.
    shown = rearrange(sides, "b xy -> b 1 xy"), rearrange(middles, "b xy -> b xy 1")
    affine = torch.cat([bend * shown[0], bend @ shown[1]], dim=2).to(images)  # b 2 3
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _colour_turns(recipe: Augment, lots: Float[Tensor, "b 2"]) -> Float[Tensor, "b 3 3"]:
    """Matrices that turn colours about the line of greys, and bring them nearer to it or farther.

    (Rodrigues' formula: what lies along the axis stays, what lies across is turned.)
    """
    angle = rearrange(lots[:, 0] * math.radians(recipe.hue), "b -> b 1 1")
    far = rearrange(1 + recipe.saturation * lots[:, 1], "b -> b 1 1")
    grey = torch.full((3, 3), 1 / 3, device=lots.device)
    across = torch.eye(3, device=lots.device) - grey
    quarter = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]], device=lots.device) / 3**0.5
    return grey + far * (angle.cos() * across + angle.sin() * quarter)


def _mirrored(position: Int64[Tensor, "b n"], length: int) -> Int64[Tensor, "b n"]:
    position = position.abs()
    return (length - 1) - ((length - 1) - position).abs()


def _rectangles(
    probability: float, draw: Float[Tensor, "b 5"], height: int, width: int
) -> Float[Tensor, "b h w"]:
    """Choose the pixels to erase (Zhong et al. 2017): 2 to 33 % of the area, 0.3 to 3.3 wide."""
    area = (0.02 + 0.31 * draw[:, 1:2]) * height * width
    aspect = 0.3 * (3.3 / 0.3) ** draw[:, 2:3]
    tall = (area / aspect).sqrt().round().clamp(1, height)
    wide = (area * aspect).sqrt().round().clamp(1, width)
    top, left = (
        (draw[:, 3:4] * (height - tall + 1)).floor(),
        (draw[:, 4:5] * (width - wide + 1)).floor(),
    )
    y, x = torch.arange(height, device=draw.device), torch.arange(width, device=draw.device)
    inside_y = rearrange((y >= top) & (y < top + tall), "b h -> b h 1")
    inside_x = rearrange((x >= left) & (x < left + wide), "b w -> b 1 w")
    return inside_y & inside_x & rearrange(draw[:, 0:1] < probability, "b 1 -> b 1 1")
