"""`mmfm demo`: the pages in the browser."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mmfm.commands.options import Device


class Language(StrEnum):
    """The languages that the pages speak."""

    en = "en"
    ko = "ko"


def demo(
    page: Annotated[
        str | None, typer.Argument(metavar="PAGE", help="Open this page first.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="M", help="Run this model.")] = None,
    device: Device = "auto",
    port: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, max=65535, help="Listen on this port, not the first free from 7860."
        ),
    ] = None,
    host: Annotated[str, typer.Option(metavar="H", help="Listen on this address.")] = "127.0.0.1",
    allowed_host: Annotated[
        list[str] | None, typer.Option(metavar="H", help="Answer to this host name too.")
    ] = None,
    auth: Annotated[
        str | None,
        typer.Option(metavar="USER:PASS", envvar="MMFM_AUTH", help="Ask visitors for this."),
    ] = None,
    allow: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Let the pages read this folder.")
    ] = None,
    lang: Annotated[
        Language | None, typer.Option(help="Speak this language, not the browser's.")
    ] = None,
) -> None:
    """Open the demo pages in the browser."""
    # Pyright reads the checkout, where these pages lie in demos/; installed, they are mmfm.demos.
    from mmfm.demos.app import serve  # pyright: ignore[reportMissingImports]

    serve(
        page,
        model=model,
        device=device,
        port=port,
        host=host,
        allowed_hosts=allowed_host or [],
        auth=auth,
        allow=allow or [],
        lang=None if lang is None else lang.value,
        open_browser=sys.stdout.isatty(),
    )
