"""Serve the pages: to this machine only, with no request to any other, and within limits.

Gradio is imported when a page is served, not with this module: its settings have to stand first.
"""

import contextlib
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import warnings
import webbrowser
from collections.abc import Generator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mmfm import hub
from mmfm.errors import BadInput
from mmfm.machine import pick_device

from .page import LANGUAGES, STATIC, Context

if TYPE_CHECKING:
    import gradio as gr
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

FIRST_PORT = 7860
LOOPBACK = ("127.0.0.1", "localhost", "::1")
LARGEST_UPLOAD = "32mb"
# Gradio loads it with the first question of the first visitor, who would wait a second for it.
LOADED_AHEAD = "matplotlib.pyplot"

# The browser itself refuses what would leave this server. Gradio needs inline styles and scripts,
# and builds functions from the code of its HTML components.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'self'; object-src 'none'"
)


# Gradio heads each rule of `css` with the element inside of which pages are drawn. What lies around
# it is reached from the head only: its own links to the pages, in one language, and the rim.
HEAD = """<style>
.nav-holder { display: none !important; }
@media (max-width: 480px) { .gradio-container > .main.app { padding: 12px !important; } }
</style>"""


class Page(Protocol):
    """A module that draws a page; see page.py."""

    def title(self, lang: str) -> str: ...
    def takes(self, settings: Mapping[str, Any]) -> bool: ...
    def build(self, context: Context, blocks: "gr.Blocks") -> None: ...


def pages() -> dict[str, Page]:
    """The pages by name, the first one first."""
    from . import (
        denoise,
        diffusion_studio,
        meaning_map,
        patches,
        photos,
        text_to_picture,
        zero_shot,
    )

    return {
        "patches": patches,
        "zero_shot": zero_shot,
        "meaning_map": meaning_map,
        "photos": photos,
        "text_to_picture": text_to_picture,  # before that which takes any denoiser
        "denoise": denoise,
        "diffusion_studio": diffusion_studio,
    }


def serve(
    page: str | None = None,
    *,
    model: str | None = None,
    device: str = "auto",
    port: int | None = None,
    host: str = "127.0.0.1",
    allowed_hosts: Sequence[str] = (),
    auth: str | None = None,
    allow: Sequence[str | Path] = (),
    lang: str | None = None,
    open_browser: bool = True,
) -> None:
    """Serve the pages until they are interrupted; without a port, the first free one from 7860 on.

    Whatever is wrong with the wishes is said before anything is served.
    """
    if model is not None:
        hub.find(model, hub.FOR_ANY)  # first of all: a wrong name is said at once
    login = _login(auth, host)
    hosts = _hosts(host, allowed_hosts)
    if lang is not None and lang not in LANGUAGES:
        raise BadInput(f"no language {lang!r}; the pages speak {', '.join(LANGUAGES)}")
    context = Context(str(pick_device(device)), model, lang, _folders(allow))
    with private_gradio():
        known = pages()
        if page is not None and page not in known:
            raise BadInput(f"no page {page!r}; there are: {', '.join(known)}")
        if model is not None:
            page = _page_for(model, page, known)
        app = build(context, hosts=hosts, login=login)
        import_module(LOADED_AHEAD)
        with listen(host, port) as listening:
            address = _address(host, listening.getsockname()[1], page, known)
            print(f"mmfm runs at {address} (stop it with Ctrl-C)", flush=True)
            if open_browser and _has_screen():
                webbrowser.open(address)
            _run(app, listening)


def build(
    context: Context, *, hosts: Sequence[str] = LOOPBACK, login: tuple[str, str] | None = None
) -> "FastAPI":
    """Join the pages into one web application, the first page at its root."""
    import gradio as gr
    from fastapi import FastAPI
    from fastapi.middleware.trustedhost import TrustedHostMiddleware
    from gradio.themes import Base

    blocks = gr.Blocks(title="mmfm", analytics_enabled=False, delete_cache=(600, 3600))
    known = pages()
    first = next(iter(known))
    context.titles = {f"./{'' if name == first else name}": p.title for name, p in known.items()}
    for name, page in known.items():
        title = page.title(context.lang or LANGUAGES[0])
        with blocks if name == first else blocks.route(title, f"/{name}"):
            page.build(context, blocks)
    blocks.queue(max_size=64)  # of all visitors; one alone asks as fast as keys go
    # Its own pages of API documentation come from a CDN.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    with warnings.catch_warnings():
        # It says that what is not asked for, rendering on the server, is not there.
        warnings.filterwarnings("ignore", message="SSR mode is not supported")
        gr.mount_gradio_app(
            app,
            blocks,
            path="/",
            auth=login,
            allowed_paths=[],
            show_error=False,
            run_history=False,
            max_file_size=LARGEST_UPLOAD,
            footer_links=[],
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            # A theme of system fonts: the default one brings fonts of its own.
            theme=Base(
                font=["system-ui", "sans-serif"],
                font_mono=["ui-monospace", "monospace"],
                primary_hue="indigo",
                neutral_hue="slate",
            ),
            css_paths=sorted(STATIC.glob("*.css")),
            head=HEAD,
        )
    app.add_middleware(Headers)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    return app


class Headers:
    """Adds to every answer what keeps a browser from leaving this server."""

    def __init__(self, app: "ASGIApp") -> None:
        self.app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def send_with_headers(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        await self.app(scope, receive, send_with_headers)


# --- what is asked for ------------------------------------------------------------------------


def _page_for(model: str, page: str | None, known: "dict[str, Page]") -> str:
    """The page to open for a model: the one that is wished if it can run it, else the first."""
    settings = hub.find(model, hub.FOR_ANY).settings() or {}
    fitting = [name for name, each in known.items() if each.takes(settings)]
    if not fitting:
        raise BadInput(f"{model}: no page runs such a model; they run ViTs, CLIPs and denoisers")
    if page is not None and page not in fitting:
        raise BadInput(f"the page {page} does not run {model}; these do: {', '.join(fitting)}")
    return page or fitting[0]


def _login(auth: str | None, host: str) -> tuple[str, str] | None:
    """Read USER:PASS, or a password alone for the user "mmfm"."""
    auth = auth or os.environ.get("MMFM_AUTH")
    if not auth:
        if host not in LOOPBACK:
            raise BadInput(
                f"{host} can be reached from other machines: ask visitors for a password with "
                "--auth USER:PASS (or MMFM_AUTH in the environment), or leave out --host"
            )
        return None
    user, colon, password = auth.partition(":")
    user, password = (user, password) if colon else ("mmfm", auth)
    if not user or not password:
        raise BadInput("--auth is USER:PASS, neither of them empty")
    return user, password


def _hosts(host: str, allowed: Sequence[str]) -> list[str]:
    """The names that a browser may call this server by; others are an attack or a mistake."""
    for name in allowed:
        if not re.fullmatch(r"(\*\.)?[\w.-]+", name):
            raise BadInput(f"--allowed-host {name!r} is no host name; write it without port or /")
    everywhere = host in ("0.0.0.0", "::")
    own = [socket.gethostname()] if everywhere else [host]
    # Starlette reads a host up to its first colon, which of an IPv6 address leaves a bracket.
    return (
        [*LOOPBACK, "[", *own, *allowed] if host in ("::1", "::") else [*LOOPBACK, *own, *allowed]
    )


def _folders(allow: Sequence[str | Path]) -> tuple[Path, ...]:
    folders = tuple(Path(folder).expanduser().resolve() for folder in allow)
    for folder in folders:
        if not folder.is_dir():
            raise BadInput(f"--allow {folder}: no such folder")
    return folders


# --- the server -------------------------------------------------------------------------------


@contextlib.contextmanager
def private_gradio() -> Generator[None]:
    """Have Gradio keep what visitors upload in a folder of this process, and report to no one."""
    settings = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
    before = {name: os.environ.get(name) for name in (*settings, "GRADIO_TEMP_DIR")}
    with tempfile.TemporaryDirectory(prefix="mmfm-", ignore_cleanup_errors=True) as folder:
        os.environ.update(settings, GRADIO_TEMP_DIR=folder)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def listen(host: str, port: int | None) -> socket.socket:
    """Take the port asked for, or the first free one; from here on a browser may knock."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ports = range(FIRST_PORT, FIRST_PORT + 100) if port is None else [port]
    error = OSError()
    for number in ports:
        listening = socket.socket(family, socket.SOCK_STREAM)
        if sys.platform != "win32":  # there it would let two servers have one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, number))
            listening.listen(128)
            return listening
        except OSError as found:
            listening.close()
            error = found
    tried = str(port) if port is not None else f"{ports[0]} to {ports[-1]}"
    raise BadInput(f"cannot listen on {host}, port {tried}: {error.strerror}") from error


def _address(host: str, port: int, page: str | None, known: dict[str, Page]) -> str:
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    path = "" if page is None or page == next(iter(known)) else page
    return f"http://{name}:{port}/{path}"


def _has_screen() -> bool:
    """Without a screen, opening a browser may start one in the terminal."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _run(app: "FastAPI", listening: socket.socket) -> None:
    import uvicorn

    # A service manager's SIGTERM ends it as Ctrl-C does, so that visitors' pictures are removed.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    # An open page keeps a connection; it shall not hold up Ctrl-C.
    settings = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1)
    uvicorn.Server(settings).run(sockets=[listening])
