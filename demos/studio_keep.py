"""What a visitor takes along from the studio: pictures and films that hold their settings."""

import io
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from mmfm import keepsakes, plot
from mmfm.errors import BadInput, NotHere
from mmfm.tasks.generate import Order, as_bytes
from mmfm.tasks.studio import About, Studio

from .studio_sources import as_wish

KIND = "studio"  # in the settings, among those of other pages
MOST_FRAMES = 100
MOST_SEED = 2**31 - 1
_BETWEEN = 28  # pixels between two sheets
_GROUND = 255


@dataclass(frozen=True)
class Shown:
    """What is on a visitor's screen: a run after a step, and perhaps another one beside it."""

    name: str
    step: int
    beside: tuple[str, int] | None = None


# --- settings -------------------------------------------------------------------------------------


class Elsewhere(BadInput):
    """A picture that another page of mmfm has made."""


@dataclass(frozen=True)
class Kept:
    """What a picture says of itself: choices as anybody may have written them."""

    choice: dict[str, Any]
    beside: dict[str, Any] | None  # that of the run beside it
    seed: int | None  # of the other noise that it was drawn from


def settings(studio: Studio, shown: Shown, seed: int | None = None) -> dict[str, Any]:
    """What a picture remembers: enough to train the same again, and to draw from the same noise."""
    choice = as_wish(studio.about(shown.name).choice)
    told: dict[str, Any] = {"kind": KIND, "choice": choice, "step": shown.step}
    if shown.beside is not None:
        other = studio.about(shown.beside[0])
        told |= {"beside": as_wish(other.choice), "changed": other.changed}
    return told if seed is None else told | {"seed": seed}


def kept_in(data: bytes) -> Kept:
    """The settings in a picture of the studio's; its choices are checked by `as_choice`."""
    told = keepsakes.about(data)
    if told.get("kind") != KIND:
        raise Elsewhere("this picture is of another page of mmfm, and was not trained here")
    choice, beside, seed = (told.get(name) for name in ("choice", "beside", "seed"))
    if not isinstance(choice, dict) or not isinstance(beside, dict | None):
        raise BadInput("the settings in this picture are no choices for a training")
    return Kept(choice, beside, None if seed is None else as_seed(seed))


def as_seed(seed: object) -> int:
    """Which noise is drawn from, as anybody may have written it."""
    if type(seed) is not int or not 0 <= seed <= MOST_SEED:
        raise BadInput(f"seed of {seed!r:.40}: a whole number from 0 up")
    return seed


# --- pictures and films ---------------------------------------------------------------------------


def picture(studio: Studio, shown: Shown) -> bytes:
    """What a run drew after a step as a PNG, beside what another one did."""
    sheets = [_sheet(studio, shown.name, shown.step), *_beside(studio, shown)]
    return keepsakes.png(_together(sheets), settings(studio, shown))


def film(studio: Studio, shown: Shown) -> bytes:
    """How a run learned, up to a step, as a GIF; two of them side by side, step by step."""
    runs = [(shown.name, shown.step), *([shown.beside] if shown.beside else [])]
    drawn = [[s for s in _steps(studio, one) if s <= last] for one, last in runs]
    if not all(drawn):
        raise NotHere("there is nothing drawn yet to make a film of")
    moments = sorted({s for steps in drawn for s in steps})
    every = -(-len(moments) // MOST_FRAMES)
    frames: list[Image.Image] = []
    for moment in moments[::-every][::-1]:  # the last one is among them
        at = [max((s for s in steps if s <= moment), default=steps[0]) for steps in drawn]
        places = zip([one for one, _ in runs], at, strict=True)
        frames.append(_together([_sheet(studio, *place) for place in places]))
    return keepsakes.gif(frames, settings(studio, shown), seconds=0.2, hold=3.0)


def picture_anew(studio: Studio, shown: Shown, asked: Order) -> bytes:
    """The same, with what is drawn from other noise in place of the run's sheet."""
    *_, last = asked.steps(torch.arange(asked.count))
    sheets = [_laid_out(studio, shown, as_bytes(last.x)), *_beside(studio, shown)]
    return keepsakes.png(_together(sheets), settings(studio, shown, asked.seed))


def film_anew(studio: Studio, shown: Shown, asked: Order) -> bytes:
    """The way from that other noise to the pictures; what is shown beside it stands still."""
    still = _beside(studio, shown)
    ways = asked.film(frames=min(asked.how.steps + 1, MOST_FRAMES))
    frames = [_together([_laid_out(studio, shown, images), *still]) for images in ways]
    return keepsakes.gif(frames, settings(studio, shown, asked.seed), seconds=0.12, hold=3.0)


def sheet_of(images: UInt8[Tensor, "b y x c"], columns: int) -> Image.Image:
    """Pictures laid out as those of a run are."""
    spread = rearrange(images, "b y x c -> b c y x") / 255
    return plot.enlarged(plot.grid(spread, columns=columns, gap=1))


def _laid_out(studio: Studio, shown: Shown, images: UInt8[Tensor, "b y x c"]) -> Image.Image:
    sheets = studio.sheets(shown.name)
    if sheets is None:
        raise NotHere(f"{shown.name} has drawn nothing yet")
    return sheet_of(images, sheets.columns)


def _beside(studio: Studio, shown: Shown) -> list[Image.Image]:
    return [] if shown.beside is None else [_sheet(studio, *shown.beside)]


def _steps(studio: Studio, name: str) -> tuple[int, ...]:
    sheets = studio.sheets(name)
    return () if sheets is None else sheets.steps


def _sheet(studio: Studio, name: str, step: int) -> Image.Image:
    with Image.open(io.BytesIO(studio.sheet(name, step))) as found:
        return found.copy()


def _together(sheets: list[Image.Image]) -> Image.Image:
    """Side by side, in colour if one of them is."""
    if len(sheets) == 1:
        return sheets[0]
    mode = "RGB" if any(sheet.mode != "L" for sheet in sheets) else "L"
    wide = sum(sheet.width for sheet in sheets) + _BETWEEN * (len(sheets) - 1)
    tall = max(sheet.height for sheet in sheets)
    ground = _GROUND if mode == "L" else (_GROUND,) * 3
    whole = Image.new(mode, (wide, tall), ground)
    left = 0
    for sheet in sheets:
        whole.paste(sheet.convert(mode), (left, 0))
        left += sheet.width + _BETWEEN
    return whole


def file_name(about: About, step: int, ending: str, seed: int | None = None) -> str:
    """How the file is called when it is saved."""
    noise = "" if seed is None else f"-noise{seed}"
    return f"{about.name}-{step:06}{noise}.{ending}"
