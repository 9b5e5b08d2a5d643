"""From numbers to pictures one can look at: grids, patches, heat, curves, films."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from einops import rearrange
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mmfm.errors import BadInput

if TYPE_CHECKING:
    from matplotlib.axis import Axis

Points = Sequence[tuple[float, float]]
_FEW = 12  # points that a curve marks one by one


def to_picture(image: Float[Tensor, "c y x"]) -> Image.Image:
    """Turn a tensor of numbers from 0 to 1 into a picture; one channel is grey, three are RGB."""
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise BadInput(f"a picture comes as (1 or 3, h, w), not as {tuple(image.shape)}")
    pixels = image.detach().float().cpu().nan_to_num().clamp(0, 1).mul(255).round().byte()
    if len(pixels) == 1:
        return Image.fromarray(pixels[0].numpy())
    return Image.fromarray(rearrange(pixels, "c y x -> y x c").contiguous().numpy())


def grid(
    images: Float[Tensor, "b c y x"], *, columns: int | None = None, gap: int = 2
) -> Image.Image:
    """Lay pictures of the same size side by side, row by row."""
    if images.ndim != 4 or len(images) == 0:
        raise BadInput(f"a grid needs pictures as (b c h w), not {tuple(images.shape)}")
    return _sheet(
        [to_picture(image) for image in images], columns or math.ceil(len(images) ** 0.5), gap
    )


def patches(picture: Image.Image, size: int, *, gap: int = 2) -> Image.Image:
    """Pull a picture apart into its patches, with gaps that let one see them."""
    wide, tall = picture.size
    if size < 1 or wide % size or tall % size:
        raise BadInput(f"patches of {size} pixels do not divide a picture of {tall}x{wide}")
    picture = picture.convert("RGB")
    tiles = [
        picture.crop((left, top, left + size, top + size))
        for top in range(0, tall, size)
        for left in range(0, wide, size)
    ]
    return _sheet(tiles, wide // size, gap)


def heat(
    picture: Image.Image, weights: Float[Tensor, "y x"], *, strength: float = 0.85
) -> Image.Image:
    """Light up a picture where the weights are high and dim the rest, relative to the highest.

    Light needs no colour scale, so that the picture's own colours stay readable.
    """
    if weights.ndim != 2 or weights.numel() == 0:
        raise BadInput(f"heat needs one weight a patch as (h w), not {tuple(weights.shape)}")
    weights = weights.detach().float().cpu().nan_to_num().clamp_min(0)
    # The root lets small weights be seen beside one that has nearly all.
    light = 1 - strength * (1 - (weights / weights.max().clamp_min(1e-12)).sqrt())
    picture = picture.convert("RGB")
    mask = to_picture(rearrange(light, "y x -> 1 y x")).resize(
        picture.size, Image.Resampling.NEAREST
    )
    return Image.composite(picture, Image.new("RGB", picture.size), mask)


def curve(
    points: Points | Mapping[str, Points],
    *,
    x: str,
    y: str,
    title: str = "",
    log_x: bool = False,
    log_y: bool = False,
) -> Image.Image:
    """Draw one curve, or several by name, over named axes; few points are seen one by one."""
    # Drawn on a canvas of its own: pyplot would open windows and keep every figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    named = points if isinstance(points, Mapping) else {"": points}
    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    for name, line in named.items():
        marker = "o" if len(line) <= _FEW else ""
        axes.plot([p[0] for p in line], [p[1] for p in line], label=name, marker=marker)
    axes.set(xlabel=x, ylabel=y, title=title)
    if log_x:
        axes.set_xscale("log")
        _plain_ticks(axes.xaxis)
    if log_y:
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if any(named):
        axes.legend(frameon=False)
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    file.seek(0)
    return Image.open(file).convert("RGB")


def _plain_ticks(axis: "Axis") -> None:
    """Numbers as one reads them, 1 2 5 10, where an axis would say 10 to the power of 0."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def enlarged(picture: Image.Image, *, wide: int = 640) -> Image.Image:
    """Enlarge a small picture up to this width, a whole number of times: pixels stay squares."""
    times = max(1, wide // picture.width)
    size = (picture.width * times, picture.height * times)
    return picture.resize(size, Image.Resampling.NEAREST)


def gif(frames: Sequence[Image.Image], *, seconds: float = 0.1, hold: float = 2.0) -> bytes:
    """Make a film of pictures that begins again for ever, as the bytes of a GIF file.

    The last picture is shown longer. Grey ones keep every shade, coloured ones get the 256 colours
    that fit them best.
    """
    if not frames:
        raise BadInput("a film needs at least one picture")
    if any(frame.size != frames[0].size for frame in frames):
        raise BadInput("a film needs pictures of one size")
    if any(frame.mode != "L" for frame in frames):
        # Without dithering, which would put dots of other colours into flat areas.
        frames = [frame.convert("RGB").quantize(256, dither=Image.Dither.NONE) for frame in frames]
    file = io.BytesIO()
    frames[0].save(
        file,
        "GIF",
        save_all=True,
        append_images=frames[1:],
        optimize=False,  # what has not changed would become transparent, and take a shade away
        duration=[round(1000 * seconds)] * (len(frames) - 1) + [round(1000 * hold)],
        loop=0,
    )
    return file.getvalue()


def _sheet(tiles: Sequence[Image.Image], columns: int, gap: int) -> Image.Image:
    wide, tall = tiles[0].size
    rows = -(-len(tiles) // columns)
    size = (columns * (wide + gap) - gap, rows * (tall + gap) - gap)
    sheet = Image.new(tiles[0].mode, size, "white")
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        sheet.paste(tile, (column * (wide + gap), row * (tall + gap)))
    return sheet
