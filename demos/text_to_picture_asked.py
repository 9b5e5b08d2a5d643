"""What visitors of Drawn from Words ask for, read from what a browser or a picture's settings say.

None of it is taken on trust: a text is a line of so many letters, a number lies between its limits.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmfm.data.texts import tidy
from mmfm.models.denoiser import Denoiser
from mmfm.models.words import Reader
from mmfm.tasks.draw_words import Moment, Wish, between, draw
from mmfm.tasks.generate import names_of

from .parts import read_picture, real_number, whole_number
from .way import Told, as_number, as_whole, in_short, settings_in, usual

KIND = "text_to_picture"  # by which this page knows the settings in a picture as its own
NAMES = ("mode", "text", "other", "hand", "steps", "guidance", "seed")
MODES = ("one", "change", "between")

LONGEST = 120  # letters of a text
LIMITS = {"steps": (1, 50), "guidance": (0.0, 10.0), "seed": (0, 2**31 - 1)}


@dataclass(frozen=True)
class Asked:
    """What is to be drawn: a text, two of them from the same noise, or all that lies between."""

    mode: str
    text: str
    other: str | None
    wish: Wish

    @property
    def texts(self) -> tuple[str, ...]:
        """What is said, once or twice."""
        return (self.text,) if self.other is None else (self.text, self.other)

    def drawing(self, den: Denoiser, reader: Reader) -> Iterator[Moment]:
        """The way to it, step by step."""
        if self.mode == "between" and self.other is not None:
            return between(den, reader, self.text, self.other, self.wish)
        return draw(den, reader, self.texts, self.wish)

    def about(self, model: str) -> dict[str, Any]:
        """How all this can be had again; `as_asked` reads it."""
        w = self.wish
        return {
            "kind": KIND,
            "model": model,
            "mode": self.mode,
            "text": self.text,
            "other": self.other,
            "hand": w.hand,
            "steps": w.steps,
            "guidance": w.guidance,
            "seed": w.seed,
        }


def as_asked(told: Mapping[str, Any], den: Denoiser, say: Mapping[str, str]) -> Asked:
    """Read what is to be drawn, and how."""
    mode = told.get("mode")
    if mode not in MODES:
        raise Told(say["no_mode"].format(name=in_short(mode), known=", ".join(MODES)))
    return Asked(
        mode,
        as_text(told.get("text"), say),
        None if mode == "one" else as_text(told.get("other"), say),
        Wish(
            hand=as_hand(told.get("hand"), den, say),
            steps=as_whole(told, "steps", LIMITS, say),
            guidance=as_number(told, "guidance", LIMITS, say),
            seed=as_whole(told, "seed", LIMITS, say),
        ),
    )


def as_text(text: object, say: Mapping[str, str]) -> str:
    """Read a line of words, as they are spelled everywhere here."""
    if text is not None and not isinstance(text, str):
        raise Told(say["no_text"])
    # Half a letter, as JSON can write one, is none.
    line = tidy((text or "")[: 10 * LONGEST].encode("utf-8", "ignore").decode())
    if not line:
        raise Told(say["empty"])
    if len(line) > LONGEST:
        raise Told(say["too_long"].format(limit=LONGEST))
    return line


def as_hand(hand: object, den: Denoiser, say: Mapping[str, str]) -> str | None:
    """Read one of the hands that the model knows, or none."""
    names = names_of(den)
    if hand is not None and hand not in names:
        known = ", ".join(names[:20]) or "-"
        raise Told(say["no_hand"].format(hand=in_short(hand), hands=known))
    return None if hand is None else str(hand)


# --- a picture ------------------------------------------------------------------------------------


def wish_in(file: str, say: Mapping[str, str]) -> dict[str, Any]:
    """What a picture that was taken away from here says of how it was made."""
    about = settings_in(file, say)
    if about is None:
        read_picture(file)  # says what is wrong with a file that is no picture at all
        raise Told(say["unsigned"])
    if about.get("kind") != KIND:
        raise Told(say["other_kind"])
    return about


# --- a link ---------------------------------------------------------------------------------------


def from_link(query: Mapping[str, str], den: Denoiser, say: Mapping[str, str]) -> dict[str, Any]:
    """What the page opens with: what a link says, and where it says nonsense, what is usual."""
    best, names = usual(den, LIMITS), names_of(den)
    first, *_ = say["examples"].split("|")
    mode, hand, guidance = (query.get(name, "") for name in ("mode", "hand", "guidance"))
    return {
        "mode": mode if mode in MODES else "one",
        "text": tidy(query.get("text", ""))[:LONGEST] or first,
        "other": tidy(query.get("other", ""))[:LONGEST],
        "hand": hand if hand in names else None,
        "steps": whole_number(query.get("steps"), 1, int(LIMITS["steps"][1]), best.steps),
        "guidance": real_number(guidance, *LIMITS["guidance"], best.guidance),
        "seed": whole_number(query.get("seed"), 0, int(LIMITS["seed"][1]), 0),
    }
