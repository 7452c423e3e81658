"""The downloader, against a small server on this machine that answers like Hugging Face."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from slideloom import ConfigError
from slideloom_deepfocus.published import CHECKSUMS, fetch

CONTENT = {"ver5.index": b"the index", "ver5.data-00000-of-00001": b"the data" * 1000}
COMMIT = "1" * 40


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT under /jamesdolezal/deepfocus/resolve/main/."""

    requests: list[str] = []  # noqa: RUF012 - shared by the threads of one server on purpose

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        self.requests.append(self.path)
        folder, _, name = self.path.rpartition("/")
        body = CONTENT.get(name, b"")
        is_known = folder == "/jamesdolezal/deepfocus/resolve/main" and name in CONTENT
        self.send_response(200 if is_known else 404)
        self.send_header("Content-Length", str(len(body) if is_known else 0))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body and is_known:
            self.wfile.write(body)


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Handler.requests.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_both_files_are_fetched_once_and_their_checksums_recorded(endpoint: str, tmp_path: Path) -> None:
    prefix = fetch(cache=tmp_path, endpoint=endpoint)
    for name, body in CONTENT.items():
        assert prefix.with_name(name).read_bytes() == body
    record = json.loads((tmp_path / CHECKSUMS).read_text())
    assert record["sha256"] == {name: hashlib.sha256(body).hexdigest() for name, body in CONTENT.items()}
    before = len(Handler.requests)
    assert fetch(cache=tmp_path, endpoint=endpoint) == prefix
    assert len(Handler.requests) == before, "the second use asked the server again"


def test_a_file_that_is_not_what_it_was_is_refused(endpoint: str, tmp_path: Path) -> None:
    prefix = fetch(cache=tmp_path, endpoint=endpoint)
    path = prefix.with_name("ver5.index").resolve()
    path.chmod(0o644)
    path.write_bytes(b"another index")
    with pytest.raises(ConfigError, match=r"ver5\.index: SHA-256 is .* at first use it was .*delete the file"):
        fetch(cache=tmp_path, endpoint=endpoint)


def test_without_a_connection_the_remedies_are_named(tmp_path: Path) -> None:
    # In a process of its own, as Hugging Face's library reads this variable when it is imported.
    code = "import sys, pathlib, slideloom_deepfocus.published as p; p.fetch(cache=pathlib.Path(sys.argv[1]))"
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ConfigError: ver5.index of jamesdolezal/deepfocus is not in" in run.stderr
    assert "connect once, or copy ver5.index and ver5.data-00000-of-00001 here" in run.stderr
    assert "use weights = 'bundled'" in run.stderr


def test_a_server_without_the_file_is_named_as_the_reason(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(CONTENT, "ver5.data-00000-of-00001")
    with pytest.raises(ConfigError, match=r"ver5\.data-00000-of-00001 .*cannot be fetched \(.*404"):
        fetch(cache=tmp_path, endpoint=endpoint)


@pytest.mark.parametrize("text", ["[]", '{"sha256": 3}', "[" * 200_000], ids=["list", "number", "deep"])
def test_a_record_that_is_no_table_is_refused(endpoint: str, tmp_path: Path, text: str) -> None:
    (tmp_path / CHECKSUMS).write_text(text)
    with pytest.raises(ConfigError, match="not a table of checksums"):
        fetch(cache=tmp_path, endpoint=endpoint)
