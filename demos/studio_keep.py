"""What a visitor takes along from the studio: pictures and films that hold their settings."""

import io
from typing import Any

from PIL import Image

from mmfm import keepsakes
from mmfm.errors import BadInput, NotHere
from mmfm.tasks.studio import About, Studio

from .studio_sources import as_wish

KIND = "studio"  # in the settings, among those of other pages
MOST_FRAMES = 100
_BETWEEN = 28  # pixels between two sheets
_GROUND = 255


def settings(about: About, step: int, beside: About | None) -> dict[str, Any]:
    """What a picture remembers: enough to train the same again."""
    told: dict[str, Any] = {"kind": KIND, "choice": as_wish(about.choice), "step": step}
    if beside is not None:
        told |= {"beside": as_wish(beside.choice), "changed": beside.changed}
    return told


def wish_of(data: bytes) -> tuple[dict[str, Any], str]:
    """The settings in a picture of the studio's, and what was changed, as anybody wrote them.

    They are checked where they are used, by `as_choice`.
    """
    told = keepsakes.about(data)
    if told.get("kind") != KIND or not isinstance(told.get("choice"), dict):
        raise BadInput("this picture is of another page of mmfm, and was not trained here")
    return told["choice"], str(told.get("changed", ""))


def picture(studio: Studio, name: str, step: int, beside: tuple[str, int] | None) -> bytes:
    """What a run drew after a step as a PNG, beside what another one did."""
    places = [(name, step), *([beside] if beside else [])]
    together = _together([_opened(studio.sheet(*place)) for place in places])
    other = studio.about(beside[0]) if beside else None
    return keepsakes.png(together, settings(studio.about(name), step, other))


def film(studio: Studio, name: str, step: int, beside: tuple[str, int] | None) -> bytes:
    """How a run learned, up to a step, as a GIF; two of them side by side, step by step."""
    runs = [(name, step), *([beside] if beside else [])]
    drawn = [[s for s in _steps(studio, one) if s <= last] for one, last in runs]
    if not all(drawn):
        raise NotHere("there is nothing drawn yet to make a film of")
    moments = sorted({s for steps in drawn for s in steps})
    every = -(-len(moments) // MOST_FRAMES)
    frames: list[Image.Image] = []
    for moment in moments[::-every][::-1]:  # the last one is among them
        shown = [max((s for s in steps if s <= moment), default=steps[0]) for steps in drawn]
        places = zip([one for one, _ in runs], shown, strict=True)
        frames.append(_together([_opened(studio.sheet(*place)) for place in places]))
    other = studio.about(beside[0]) if beside else None
    about = settings(studio.about(name), step, other)
    return keepsakes.gif(frames, about, seconds=0.2, hold=3.0)


def _steps(studio: Studio, name: str) -> tuple[int, ...]:
    sheets = studio.sheets(name)
    return () if sheets is None else sheets.steps


def _opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as found:
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


def file_name(about: About, step: int, ending: str) -> str:
    """How the file is called when it is saved."""
    return f"{about.name}-{step:06}.{ending}"
