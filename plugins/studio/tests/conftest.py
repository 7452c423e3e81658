"""A studio that really listens, and a client that sends it what a browser, or somebody else, would."""

from __future__ import annotations

import argparse
import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from slideloom_studio.command import configure_studio
from slideloom_studio.opening import asked_opening
from slideloom_studio.serving import Server
from slideloom_studio.studio import Studio
from slideloom_testing.fixtures import DemoFiles


@frozen
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@frozen
class Page:
    """A studio, and requests to it; paths start at the token unless they start with a slash."""

    server: Server

    @property
    def studio(self) -> Studio:
        return self.server.studio

    def send(
        self, method: str, path: str, *, body: Any = None, headers: Mapping[str, str | None] | None = None
    ) -> Answer:
        whole = path if path.startswith("/") else f"/{self.server.token}/{path}"
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port)
        sent = {"Host": f"127.0.0.1:{self.server.port}", **(headers or {})}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.putrequest(method, whole, skip_host=True, skip_accept_encoding=True)
            if content is not None and "Transfer-Encoding" not in sent:
                sent.setdefault("Content-Length", str(len(content)))
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders()
            if content is not None:
                with suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was sent
                    connection.sock.sendall(content)
            answer = connection.getresponse()
            return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **more: Any) -> Answer:
        return self.send("GET", path, **more)

    def put(self, path: str, body: Any) -> Answer:
        return self.send("PUT", path, body=body)

    def post(self, path: str, body: Any = None) -> Answer:
        return self.send("POST", path, body=body)

    def regions(self, slide: str = "s1") -> Any:
        return self.get(f"api/slides/{slide}/regions").json()

    def save(self, features: list[Any], *, slide: str = "s1", **more: Any) -> Answer:
        revision = more.pop("revision", None) or self.regions(slide)["revision"]
        collection = {"type": "FeatureCollection", "features": features}
        return self.put(f"api/slides/{slide}/regions", {"revision": revision, "geojson": collection, **more})


def region(*points: tuple[float, float], name: str | None = None, label: str | None = None, **more: Any) -> Any:
    """A polygon in QuPath's form."""
    properties: dict[str, Any] = {"objectType": "annotation", **more}
    if name is not None:
        properties["name"] = name
    if label is not None:
        properties["classification"] = {"name": label, "color": [200, 0, 0]}
    ring = [list(point) for point in (*points, points[0])]
    return {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}


@pytest.fixture
def draw() -> Callable[..., Any]:
    """Makes a region in QuPath's form."""
    return region


def _served(words: tuple[Any, ...], home: Path) -> Page:
    parser = argparse.ArgumentParser()
    configure_studio(parser)
    given = [str(word) for word in words]
    is_slide = Path(given[0]).suffix not in ("", ".toml")
    usual = [] if "--roi" in given or not is_slide else ["--roi", str(home / "rois")]
    out = [] if "--out" in given or not is_slide else ["--out", str(home / "out")]
    return Page(Server(Studio(asked_opening(parser.parse_args([*given, *usual, *out])))).start())


@pytest.fixture
def open_studio(tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Opens a studio with the words of the command line; regions go to `tmp_path / "rois"` unless told."""
    pages: list[Page] = []

    def opened(*words: Any) -> Page:
        pages.append(_served(words, tmp_path))
        return pages[-1]

    yield opened
    for page in pages:
        page.server.stop()


@pytest.fixture(scope="module")
def shared_page(demo_slide: DemoFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A studio of the demo slide, for tests that change nothing."""
    page = _served((demo_slide.path,), tmp_path_factory.mktemp("studio"))
    yield page
    page.server.stop()
