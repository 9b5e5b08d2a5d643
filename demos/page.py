"""What every page is given, and what a page gives back.

A page is a module of this folder with

    def title(lang: str) -> str: ...    # its name for people, in a language of `LANGUAGES`
    def takes(settings: Mapping[str, Any]) -> bool: ...    # whether it can run such a checkpoint
    def build(context: Context, blocks: gr.Blocks) -> None: ...   # inside `with blocks`

and app.py lists it in `pages()`. Heavy work carries `DEVICE` (one at a time over all pages), takes
its model from `context.slot`, and turns an `MmfmError` into a message; `api_name=` goes on what a
script would call, everything else is `api_visibility="private"`.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

T = TypeVar("T")

LANGUAGES = ("en", "ko")
STATIC = Path(__file__).parent / "static"
DEVICE: dict[str, Any] = {"concurrency_id": "device", "concurrency_limit": 1}


class Slot:
    """Holds the one model that is loaded; another one takes its place."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: object = None
        self._model: object = None

    def take(self, key: object, load: Callable[[], T]) -> T:
        """The model of this key, loaded now unless it is the one that is held."""
        with self._lock:
            if self._key != key:
                # Let go first: two heavy models at once may not fit.
                self._key = self._model = None
                self._model = load()
                self._key = key
            return cast(T, self._model)

    def held(self, key: object) -> object | None:
        """The model of this key if it is the one that is held; never waits for a load."""
        model = self._model
        return model if self._key == key else None


@dataclass
class Context:
    """What the person asked for when the pages were started."""

    device: str = "auto"
    model: str | None = None
    lang: str | None = None  # None: the browser decides
    allow: tuple[Path, ...] = ()  # folders that pages may read
    slot: Slot = field(default_factory=Slot)
    titles: dict[str, Callable[[str], str]] = field(default_factory=dict[str, Callable[[str], str]])
    """The pages there are: from their addresses, seen from any page, to their names."""

    def language(self, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
        """The language of one visitor: the link's, else `--lang`, else the browser's first choice
        that we speak."""
        if query.get("lang") in LANGUAGES:
            return query["lang"]
        if self.lang is not None:
            return self.lang
        for wish in headers.get("accept-language", "").split(","):
            language = wish.split(";")[0].strip().lower().split("-")[0]
            if language in LANGUAGES:
                return language
        return LANGUAGES[0]
