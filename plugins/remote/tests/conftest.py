"""A web server with ranges that can misbehave, an S3 server, and a small slide. Both servers listen to this machine."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import attrs
import fsspec
import numpy as np
import pytest
import pyvips

KEY, SECRET = "AKIA-somebody", "secret-of-somebody"
# What a request is answered with: None for the right answer, else whatever the function did.
Fault = Callable[["Asked"], bool]
Put = Callable[[Path], str]


@attrs.frozen
class Asked:
    """One request."""

    handler: BaseHTTPRequestHandler
    name: str
    start: int
    end: int
    count: int

    @property
    def is_first(self) -> bool:
        return self.count == 1

    def answer(self, status: int, content: bytes, **headers: str) -> bool:
        self.handler.send_response(status)
        for key, value in headers.items():
            self.handler.send_header(key.replace("_", "-"), value)
        self.handler.send_header("Content-Length", str(len(content)))
        self.handler.end_headers()
        self.handler.wfile.write(content)
        return True


@attrs.define
class WebServer:
    """Files by name; `fault` may answer a request in the server's place."""

    files: dict[str, bytes] = attrs.field(factory=dict)
    etags: dict[str, str] = attrs.field(factory=dict)
    has_ranges: bool = True
    has_versions: bool = True
    has_pages: bool = False
    password: str = ""
    fault: Fault | None = None
    asked: list[Asked] = attrs.field(factory=list)
    sent: int = 0
    root: str = ""
    lock: Any = attrs.field(factory=threading.Lock)

    def url(self, name: str) -> str:
        return f"{self.root}/{name}"

    def page(self, folder: str) -> bytes | None:
        """What lies in a folder, as a web server's index page; None if there is no such folder."""
        inside = {name.removeprefix(folder).partition("/")[:2] for name in self.files if name.startswith(folder)}
        if not inside:
            return None
        links = "".join(f'<a href="{quote(own + slash)}">{own}</a>\n' for own, slash in sorted(inside))
        title = f"<title>Index of /{folder}</title>"
        return f'<html>{title}<a href="../">../</a><a href="?C=M;O=A">Modified</a>{links}</html>'.encode()

    def put(self, name: str, content: bytes, *, etag: str = "first") -> str:
        self.files[name], self.etags[name] = content, etag
        return self.url(name)


def _limits(first: str, last: str, size: int) -> tuple[int, int]:
    """The bytes of a range: from first to last, or as many as `last` says at the end."""
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(int(last) + 1, size) if last else size


def _handler(server: WebServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *words: object) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            name = unquote(self.path.partition("?")[0].lstrip("/"))
            content = server.files.get(name)
            size = len(content or b"")
            found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            start, end = _limits(found[1], found[2], size) if found else (0, size)
            with server.lock:
                asked = Asked(self, name, start, end, len(server.asked) + 1)
                server.asked.append(asked)
            if server.password and self.headers.get("Authorization", "") != server.password:
                asked.answer(401, b"")
            elif server.fault is not None and server.fault(asked):
                pass
            elif server.has_pages and (not name or name.endswith("/")) and (page := server.page(name)) is not None:
                asked.answer(200, page, Content_Type="text/html; charset=utf-8")
            elif content is None:
                asked.answer(404, b"")
            else:
                headers = {"ETag": f'"{server.etags[name]}"'} if server.has_versions else {}
                if found and server.has_ranges:
                    headers["Content_Range"] = f"bytes {start}-{end - 1}/{size}"
                    asked.answer(206, content[start:end], **headers)
                else:
                    start, end = 0, size
                    try:
                        asked.answer(200, content, **headers)
                    except OSError:  # the client had enough
                        return
                with server.lock:
                    server.sent += end - start

    return Handler


@pytest.fixture
def web() -> Iterator[WebServer]:
    server = WebServer()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    http.daemon_threads = True
    server.root = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield server
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture(scope="session")
def written_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TIFF of 2048 x 1536 pixels in JPEG tiles of 256, with three levels; noise, so that its tiles are large."""
    path = tmp_path_factory.mktemp("written") / "a.tif"
    rng = np.random.default_rng(1)
    rgb = rng.integers(60, 200, (1536, 2048, 3), np.uint8)
    image = pyvips.Image.new_from_array(rgb)
    image.tiffsave(
        str(path), tile=True, pyramid=True, tile_width=256, tile_height=256, compression="jpeg", Q=80,
        xres=2000, yres=2000, resunit="cm",
    )  # fmt: skip
    return path


@pytest.fixture
def slide(written_slide: Path, tmp_path: Path) -> Path:
    """A copy of that slide, which a test may change, alone in a folder."""
    (folder := tmp_path / "local").mkdir()
    return Path(shutil.copy(written_slide, folder / "a.tif"))


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The file system of an empty bucket `slides`, with credentials from where users keep them."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server,
    }.items():
        monkeypatch.setenv(name, value)
    kind = fsspec.get_filesystem_class("s3")
    kind.clear_instance_cache()
    files = fsspec.filesystem("s3")
    files.call_s3("create_bucket", Bucket="slides")
    yield files
    files.rm("s3://slides", recursive=True)
    kind.clear_instance_cache()


@pytest.fixture
def put_web(web: Any) -> Put:
    """Puts the files of a folder on a web server that shows what lies in its folders; gives the address of that."""
    web.has_pages = True

    def put(folder: Path) -> str:
        for file in folder.rglob("*"):
            if file.is_file():
                name = f"x/{file.relative_to(folder).as_posix()}"
                web.put(name, file.read_bytes(), etag=f"{hash(file.read_bytes())}")
        return str(web.url("x"))

    return put


@pytest.fixture
def put_bucket(bucket: Any) -> Put:
    """Puts the files of a folder into a bucket; gives the address of that."""

    def put(folder: Path) -> str:
        for file in folder.rglob("*"):
            if file.is_file():
                bucket.pipe(f"slides/x/{file.relative_to(folder).as_posix()}", file.read_bytes())
        return "s3://slides/x"

    return put


@pytest.fixture(params=["put_web", "put_bucket"])
def put(request: pytest.FixtureRequest) -> Put:
    found: Put = request.getfixturevalue(request.param)
    return found
