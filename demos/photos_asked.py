"""What visitors of Photos ask for, read from what a browser sends; none of it is taken on trust."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import gradio as gr

from mmfm.data.texts import tidy
from mmfm.errors import MmfmError

MOST_LABELS = 100
LONGEST = {"text": 200, "labels": 4000}  # letters


class Told(MmfmError):
    """What a visitor did wrong, in their own language already."""


@dataclass(frozen=True)
class Wish:
    """What is searched for."""

    text: str = ""
    minus: str = ""
    like: int | None = None  # a picture of the album


@dataclass(frozen=True)
class Question:
    """By what pictures are sorted, as it was typed."""

    labels: str
    none: bool = False
    multi: bool = False


def as_wish(event: gr.EventData, pictures: int, say: Mapping[str, str]) -> Wish:
    """Read what is searched for among so many pictures."""
    texts = [tidy(str(getattr(event, name, None) or "")) for name in ("text", "minus")]
    for text in texts:
        if len(text) > LONGEST["text"]:
            limit = LONGEST["text"]
            raise Told(say["too_long"].format(count=len(text), limit=limit))
    like = getattr(event, "like", None)
    if like is not None and not as_numbers([like], pictures):
        raise Told(say["no_picture"])
    if not texts[0] and like is None:
        raise Told(say["no_words"])
    return Wish(texts[0], texts[1], like)


def as_question(event: gr.EventData, say: Mapping[str, str]) -> Question:
    """Read by which labels pictures are sorted."""
    text = str(getattr(event, "labels", None) or "")
    if len(text) > LONGEST["labels"]:
        raise Told(say["too_long"].format(count=len(text), limit=LONGEST["labels"]))
    count = len(label_parts(text))
    if count > MOST_LABELS:
        raise Told(say["too_many_labels"].format(count=count, limit=MOST_LABELS))
    flags = [getattr(event, name, None) is True for name in ("none", "multi")]
    return Question(text, none=flags[0], multi=flags[1])


def label_parts(text: str) -> list[str]:
    """Part labels at commas and line ends; nothing typed is ever taken for a file's name."""
    return [part for part in re.split(r"[,\n]", text) if part.strip()]


def as_numbers(numbers: object, count: int) -> list[int]:
    """Those of some numbers that are below a count, each once; nonsense counts as nothing."""
    if not isinstance(numbers, list):
        return []
    fitting = (n for n in numbers[:1000] if type(n) is int and 0 <= n < count)
    return list(dict.fromkeys(fitting))
