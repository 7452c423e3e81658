"""Serves a session on an address of this machine: in this thread until Ctrl-C, or in one of its own."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Self

import uvicorn
from anyio.to_thread import current_default_thread_limiter
from slideloom.base.errors import ConfigError
from slideloom.base.machine import usable_cores
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from slideloom_studio.guarding import Guard
from slideloom_studio.judging import Judging
from slideloom_studio.looking import Looking
from slideloom_studio.running import Running
from slideloom_studio.studio import Studio
from slideloom_studio.targeting import Targeting
from slideloom_studio.tuning import Tuning

_KINDS = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain",
    ".map": "application/json",
    ".woff2": "font/woff2",
}
_LEAST_THREADS = 2
_SHUTDOWN_S = 3


class Server:
    """A studio and the address where it is served.

    Args:
        studio: the session; closed with the server.
        host: the address to listen at.
        port: the port, or 0 for a free one.

    Raises:
        ConfigError: the address cannot be used.
    """

    def __init__(self, studio: Studio, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.studio = studio
        self.host = host
        self.token = secrets.token_urlsafe(24)
        self._socket = _bound(host, port)
        self.port: int = self._socket.getsockname()[1]
        app = Guard(_app(studio), token=self.token, host=host)
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="none",
                lifespan="on",
                timeout_graceful_shutdown=_SHUTDOWN_S,
            )
        )
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address of the page, with its token."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.port}/{self.token}/"

    def serve(self) -> None:
        """Answer requests until the process is asked to end."""
        try:
            self._uvicorn.run(sockets=[self._socket])
        finally:
            self._close()

    def start(self) -> Self:
        """Answer requests in a thread of its own, as long as the process runs or until `stop`."""
        self._thread = threading.Thread(
            target=self._uvicorn.run, kwargs={"sockets": [self._socket]}, name="slideloom-studio", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the thread, and close all slides."""
        self._uvicorn.should_exit = True
        if self._thread is not None:
            self._thread.join()
        self._close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _close(self) -> None:
        self._socket.close()
        self.studio.close()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"--host {host}: is no address of this machine ({error})") from error
    try:
        if os.name != "nt":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        # Connections that come before the server is ready wait.
        made.listen(128)
    except OSError as error:
        made.close()
        raise ConfigError(
            f"{host}, port {port}: cannot listen there ({error.strerror}); choose another --port, or leave it out"
        ) from error
    return made


def _app(studio: Studio) -> Starlette:
    """The routes of a session. What they do runs on a pool of threads as large as the cores."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = max(_LEAST_THREADS, usable_cores())
        yield

    parts = (Looking(studio), Tuning(studio), Judging(studio), Running(studio), Targeting(studio))
    routes = [*_static_routes(), *(route for part in parts for route in part.routes())]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _refused, 500: _failed})


def _static_routes() -> list[Route]:
    """The page's own files: those in `static/` when the server starts, and no other."""
    folder = files("slideloom_studio") / "static"
    found = {item.name: item for item in folder.iterdir() if item.is_file()} if folder.is_dir() else {}

    def answer(name: str) -> Response:
        suffix = f".{name.rpartition('.')[2]}"
        return Response(found[name].read_bytes(), media_type=_KINDS.get(suffix, "application/octet-stream"))

    async def page(_request: Request) -> Response:
        return answer("index.html") if "index.html" in found else Response(_NO_PAGE, media_type="text/html")

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        return answer(name) if name in found else JSONResponse({"error": f"the page has no file {name!r}"}, 404)

    return [Route("/", page), Route("/static/{name}", static)]


async def _refused(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse({"error": "the studio has no such request; reload the page"}, status)


async def _failed(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "this failed; the terminal shows where"}, 500)


_NO_PAGE = b"<!doctype html><title>slideloom studio</title><p>The page is not installed; the studio itself answers."
