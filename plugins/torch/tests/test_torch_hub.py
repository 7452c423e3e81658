"""Files of the hub: none is asked for where nobody answers, and one in the cache is taken without a question."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub")
from slideloom_torch.hub import hub_file


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[object]]:
    """An address at which nobody listens, and what was asked there."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    asked: list[object] = []
    connect = socket.create_connection

    def counted(address: tuple[str, int], *args: object, **options: object) -> socket.socket:
        if address[0] == "127.0.0.1":  # the client's other errands do not count
            asked.append(address)
        return connect(address, *args, **options)

    monkeypatch.setattr(socket, "create_connection", counted)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}", asked


def test_a_hub_that_cannot_be_reached_is_asked_once(deaf: tuple[str, list[object]], tmp_path: Path) -> None:
    endpoint, asked = deaf

    with pytest.raises(OSError, match=r"127\.0\.0\.1 cannot be reached: .*refused"):
        hub_file("owner/name", "weights.pth", cache=tmp_path, endpoint=endpoint)
    assert len(asked) == 1


def test_a_file_in_the_cache_is_taken_without_asking(deaf: tuple[str, list[object]], tmp_path: Path) -> None:
    endpoint, asked = deaf
    commit = "0" * 40
    snapshot = tmp_path / "models--owner--name/snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "weights.pth").write_bytes(b"weights")
    (tmp_path / "models--owner--name/refs").mkdir()
    (tmp_path / "models--owner--name/refs/main").write_text(commit)

    path = hub_file("owner/name", "weights.pth", cache=tmp_path, endpoint=endpoint)

    assert path.read_bytes() == b"weights"
    assert not asked
