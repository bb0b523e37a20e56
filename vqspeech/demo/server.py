"""Serves the demo: its page, the sounds while they grow, nothing from elsewhere, and no file that stays."""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vqspeech.demo.sounds import Sound, Visitors
from vqspeech.errors import ConfigurationError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from vqspeech.demo.studio import Studio

LARGEST_UPLOAD = "50mb"
"""Largest file that may be dropped: half a minute of sound at the highest rates takes less."""

POLL_S = 0.02
"""How often a growing sound is looked at."""

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "worker-src 'self' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "media-src 'self' data: blob:",
        "connect-src 'self' data: blob:",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "object-src 'none'",
    )
)
"""Content security policy of every answer: a browser asks nobody but this server."""


def check_installed() -> None:
    """Raise `ConfigurationError` if Gradio is not installed."""
    if find_spec("gradio") is None:
        raise ConfigurationError("the demo needs Gradio: pip install 'vqspeech[demo]'")


def listen(host: str, port: int) -> socket.socket:
    """Open the socket to serve on; port 0 takes a free one.

    Raises
    ------
    ConfigurationError
        The address is not there or is in use.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigurationError(f"--host {host} --port {port}: {reason}; choose another") from None
    return opened


@contextmanager
def private_folder() -> Iterator[str]:
    """Have Gradio put uploads into a folder of its own, which is removed at the end, also by SIGTERM."""

    def end(*_: object) -> None:
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        with tempfile.TemporaryDirectory(
            prefix="vqspeech-demo-", ignore_cleanup_errors=True
        ) as folder:
            os.environ["GRADIO_TEMP_DIR"] = folder
            yield folder
    finally:
        os.environ.pop("GRADIO_TEMP_DIR", None)
        signal.signal(signal.SIGTERM, before)


def make_app(studio: "Studio", visitors: Visitors, *, at_once: int, waiting: int) -> "FastAPI":
    """Put page and sounds together; see `vqspeech.demo.page.build_page`."""
    import gradio as gr
    from fastapi import FastAPI, HTTPException
    from fastapi.responses import StreamingResponse

    from vqspeech.demo.page import build_page, head

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(_Guarded)

    @app.get("/sounds/{token}.wav")
    async def sound(token: str) -> StreamingResponse:
        found = visitors.sound(token)
        if found is None:
            raise HTTPException(404, "no such sound, or it is forgotten")
        headers = {"Cache-Control": "no-store"}
        return StreamingResponse(_growing(found), media_type="audio/wav", headers=headers)

    return gr.mount_gradio_app(
        app,
        build_page(studio, visitors, at_once, waiting),
        path="/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        show_error=True,
        max_file_size=LARGEST_UPLOAD,
        theme=gr.themes.Base(font="system-ui", font_mono="ui-monospace"),
        head=head(),
    )


async def _growing(sound: Sound) -> AsyncIterator[bytes]:
    """Yield a sound's file as it grows, until nothing more comes."""
    sent = 0
    while True:
        finished = sound.finished
        content = sound.since(sent)
        if content:
            sent += len(content)
            yield content
        elif finished:
            return
        else:
            await asyncio.sleep(POLL_S)


class _Guarded:
    """Middleware that adds `POLICY` to every answer."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on."""

        async def guarded(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await self._app(scope, receive, guarded)


def serve(app: "FastAPI", opened: socket.socket, ready: Callable[[], object]) -> None:
    """Serve until interrupted; `ready` is called when the page can be opened."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    Server(config).run(sockets=[opened])
