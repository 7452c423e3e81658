"""User names, passwords and tokens of addresses open slides, and are shown nowhere."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import slideloom as sl
from slideloom_cli.main import main

USER, PASSWORD, TOKEN = "somebody-9", "hunter-7-secret", "tok-3-secret"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://host/a.svs", "https://host/a.svs"),
        ("https://user:pw@host:8000/a.svs", "https://...@host:8000/a.svs"),
        ("https://ghp_token@host/a.svs", "https://...@host/a.svs"),
        ("https://host/a.svs?X-Amz-Signature=abc&b=1", "https://host/a.svs?..."),
        ("https://host/a.svs?abc", "https://host/a.svs?..."),
        ("https://host/a.svs#token", "https://host/a.svs#..."),
        ("s3://key:secret@bucket/a.svs", "s3://...@bucket/a.svs"),
        ("s3://bucket/a?.svs", "s3://bucket/a?.svs"),
        ("s3://bucket/a.svs?versionId=1", "s3://bucket/a.svs?..."),
        ("abfs://container@account.dfs.core.windows.net/a.svs", "abfs://container@account.dfs.core.windows.net/a.svs"),
        ("simplecache::https://u:p@host/a.svs?t=1", "simplecache::https://...@host/a.svs?..."),
        ("https:/user:pw@host/a.svs", "https:/...@host/a.svs"),  # as pathlib makes it
        ("ftp://user:p:w@host/a.svs", "ftp://...@host/a.svs"),
        ("cannot read 'https://u:p@host/a?t' (https://u:p@host/b)", "cannot read 'https://...@host/a?...' (https://...@host/b)"),
        ("C:/slides/a.svs and 10:/", "C:/slides/a.svs and 10:/"),
    ],
)  # fmt: skip
def test_what_may_be_a_secret_is_taken_out_of_a_text(address: str, shown: str) -> None:
    assert sl.redacted(address) == shown


def test_an_address_shows_no_secret_however_it_is_shown() -> None:
    address = sl.Address(f"https://{USER}:{PASSWORD}@host/a.svs?t={TOKEN}")

    for text in (str(address), repr(address), f"{address}", f"{address!r}", repr([address])):
        assert text.find("secret") == -1
        assert USER not in text


def _run(web: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], names: list[str], *options: str) -> str:
    """All that a run says and writes."""
    places = [web.url(name).replace("//", f"//{USER}:{PASSWORD}@") + f"?token={TOKEN}" for name in names]
    out = tmp_path / "out"
    words = ["--tile-px", "128", "--tile-um", "64", "--filter", "none", "--report", "--save-masks", "--qc", "otsu"]
    main(["extract", *places, "--out", str(out), *words, "--log", str(tmp_path / "run.jsonl"), "--json", *options])
    said = "".join(capfd.readouterr())
    files = [path for path in [*out.rglob("*"), tmp_path / "run.jsonl"] if path.is_file()]
    assert len(files) > 8
    return said + "".join(f"{path} {path.read_bytes().decode('latin-1')}" for path in files)


@pytest.mark.parametrize("options", [(), ("--debug",), ("-v", "--jobs", "2")], ids=["", "debug", "two jobs"])
def test_no_file_and_no_word_of_a_run_holds_a_secret(
    web: Any, slide: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    web.put("a.tif", slide.read_bytes())
    web.put("broken.tif", b"no slide")
    web.password = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    everything = _run(web, tmp_path, capfd, ["a.tif", "broken.tif", "gone.tif"], *options)

    assert '"done"' in everything
    assert '"failed"' in everything
    assert [word for word in (USER, PASSWORD, TOKEN) if word in everything] == []


@pytest.mark.parametrize("command", ["info", "tiles", "extract"])
def test_no_message_of_a_command_that_fails_holds_a_secret(
    command: str, web: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = web.url("gone.tif").replace("//", f"//{USER}:{PASSWORD}@") + f"?token={TOKEN}"
    size = ["--tile-px", "128", "--tile-um", "64"]
    words = {"info": [place], "tiles": [place, *size], "extract": [place, "--out", place, *size]}[command]

    try:
        code = main([command, *words, "--debug"] if command == "extract" else [command, *words])
    except SystemExit as stop:
        code = int(stop.code or 0)
    said = "".join(capfd.readouterr())

    assert code != 0
    assert said
    assert [word for word in (USER, PASSWORD, TOKEN) if word in said] == []


def test_a_project_refuses_to_keep_a_secret(tmp_path: Path) -> None:
    with pytest.raises(sl.ConfigError, match="holds a password or a token") as refused:
        sl.Project.create(tmp_path / "p", slides=[f"https://host/a.svs?token={TOKEN}"])

    assert TOKEN not in str(refused.value)
    assert not (tmp_path / "p").exists()


def test_an_address_without_its_secrets_is_refused_and_not_asked_for(web: Any, slide: Path) -> None:
    url = web.put("a.tif", slide.read_bytes())

    with pytest.raises(sl.SlideError, match="give the whole address"):
        sl.open_slide(sl.redacted(f"{url}?token={TOKEN}"))

    assert web.asked == []
