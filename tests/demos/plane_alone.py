"""A page that holds the plane and nothing else, for its tests."""

from collections.abc import Mapping
from html import escape
from typing import Any

import gradio as gr
from mmfm.demos import denoise_plane, parts
from mmfm.demos.page import LANGUAGES, Context
from mmfm.demos.words_denoise_plane import WORDS


def title(lang: str) -> str:
    return WORDS[lang]["heading"]


def takes(settings: Mapping[str, Any]) -> bool:
    return False


def heading(lang: str) -> str:
    other = LANGUAGES[1 - LANGUAGES.index(lang)]
    return (
        f'<header lang="{lang}"><h1>{escape(title(lang))}</h1>'
        f'<a id="language" href="?lang={other}" lang="{other}">{other}</a></header>'
    )


def build(context: Context, blocks: gr.Blocks) -> None:
    top = parts.heading()

    def arrive(request: gr.Request) -> str:
        return heading(context.language(dict(request.query_params), dict(request.headers)))

    def speak(event: gr.EventData) -> str:
        return heading(event.query["lang"])

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    blocks.load(arrive, None, top, **quiet)
    top.speak(speak, None, top, **quiet)
    denoise_plane.build(context, blocks, top)
