"""`slideloom doctor`: libraries, requirements, the machine, and slides without names."""

import errno
import json
import re
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from slideloom.plugins.discovery import registry
from slideloom.plugins.hookspecs import Library
from slideloom_cli.doctor import machine
from slideloom_cli.doctor.libraries import examine, finding_of, unmet_requirements
from slideloom_cli.main import main


@pytest.fixture
def quick_libraries(install_plugin: Callable[..., None], tmp_path: Path) -> None:
    """Modules named as the libraries that doctor asks in a process of their own, which takes seconds for each."""
    for library in registry().libraries():
        if library.apart:
            (tmp_path / "site" / f"{library.module}.py").write_text('__version__ = "2.99"\n')


@pytest.mark.usefixtures("quick_libraries")
def test_doctor_tells_of_each_library_its_version_or_how_to_get_it(
    raw: Callable[..., None], capfd: pytest.CaptureFixture[str]
) -> None:
    raw("broken_plugin", "import no_such_thing")

    assert main(["doctor", "--json"]) == 1
    told = json.loads(capfd.readouterr().out)
    libraries = {row["library"]: row for row in told["libraries"]}
    assert libraries["numpy"]["version"]
    assert libraries["openslide"]["builds"] == {"openslide-bin": metadata.version("openslide-bin")}
    assert all(row["remedy"].startswith("pip install ") for row in libraries.values() if row["error"])
    assert "no_such_thing" in told["broken_plugins"]["broken_plugin"]
    assert told["missing"] == []
    assert main(["doctor"]) == 1
    assert re.search("fault +broken_plugin", capfd.readouterr().out)


@pytest.mark.usefixtures("quick_libraries")
@pytest.mark.parametrize(
    ("source", "version", "error"),
    [
        ('__version__ = "2.99"', "2.99", ""),
        ('raise ImportError("no libcudart")', "", "ImportError: no libcudart"),
        ("os.abort()", "", "importing it ends the process with code"),
    ],
)
def test_doctor_lets_tensorflow_tell_errors_but_not_of_itself(
    source: str,
    version: str,
    error: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    # TensorFlow's own rule: a message is written if its level is not below TF_CPP_MIN_LOG_LEVEL.
    module = """
import os
for level, text in enumerate(["I chatter", "W chatter", "E broken driver"]):
    if level >= int(os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0")):
        os.write(2, (text + "\\n").encode())
"""
    (tmp_path / "site" / "tensorflow.py").write_text(module + source + "\n")

    main(["doctor", "--json"])

    told = capfd.readouterr()
    (row,) = [row for row in json.loads(told.out)["libraries"] if row["library"] == "tensorflow"]
    assert row["version"] == version
    assert row["error"].startswith(error)
    assert bool(row["error"]) == bool(error)
    assert "chatter" not in told.err
    assert "E broken driver" in told.err


def test_a_release_that_is_known_to_be_wrong_is_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    installed = metadata.version("numpy")
    wrong = Library("numpy", "numpy", "arrays", faults={f"numpy =={installed}": "sums come out wrong"})
    right = Library("numpy", "numpy", "arrays", faults={f"numpy <{installed}": "sums come out wrong"})

    assert [(each.verdict, each.words) for each in finding_of(examine(wrong))][1:] == [
        ("fault", f"numpy {installed}: sums come out wrong: pip install --upgrade numpy")
    ]
    assert [each.verdict for each in finding_of(examine(right))] == ["ok"]


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Pretends that a distribution of ours with a requirement is installed."""

    def install(name: str, need: str) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-0.1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\nRequires-Dist: {need}\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    return install


@pytest.mark.parametrize(
    ("need", "said"),
    [
        ("numpy>=1", ""),
        ("numpy<1", "slideloom-odd 0.1 needs numpy<1; {numpy} is installed: pip install 'numpy<1'"),
        ("no-such-thing>=2", "slideloom-odd 0.1 needs no-such-thing>=2, which is not installed"),
        ("no-such-thing>=2; extra == 'more'", ""),
        ("no-such-thing>=2; python_version < '3'", ""),
    ],
)
def test_a_requirement_that_is_not_met_is_told(need: str, said: str, pretend: Callable[[str, str], None]) -> None:
    pretend("slideloom-odd", need)

    found = [words for words in unmet_requirements() if words.startswith("slideloom-odd")]

    expected = said.format(numpy=metadata.version("numpy"))
    assert len(found) == bool(said)
    assert "".join(found).startswith(expected)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00"])
def test_requirements_are_checked_beside_a_distribution_with_damaged_metadata(
    pretend: Callable[[str, str], None], tmp_path: Path, content: bytes | None
) -> None:
    pretend("slideloom-odd", "damaged")
    damaged = tmp_path / "damaged-1.0.dist-info"
    damaged.mkdir()
    if content is not None:
        (damaged / "METADATA").write_bytes(content)

    (found,) = [words for words in unmet_requirements() if words.startswith("slideloom-odd")]

    assert found.startswith("slideloom-odd 0.1 needs damaged, which is not installed")


@pytest.mark.usefixtures("quick_libraries")
def test_an_unmet_requirement_ends_the_command_with_1(
    pretend: Callable[[str, str], None], capfd: pytest.CaptureFixture[str]
) -> None:
    pretend("slideloom-odd", "numpy<1")

    assert main(["doctor"]) == 1
    assert "slideloom-odd 0.1 needs numpy<1" in capfd.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(("limit", "verdict"), [(64, "fault"), (512, "note"), (4096, "ok")])
def test_too_few_open_files_are_a_fault(limit: int, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (limit, 65536))

    found = machine.open_files()

    assert found is not None
    assert found.verdict == verdict
    assert ("ulimit -n 4096" in found.words) == (verdict != "ok")


def test_a_clock_before_the_first_release_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 86400.0)

    assert machine.clock().verdict == "fault"
    assert "1970-01-02" in machine.clock().words


def test_a_folder_that_takes_no_files_is_a_fault(tmp_path: Path) -> None:
    (missing,) = machine.folder(tmp_path / "none", "output folder", makes="tiles")

    assert missing.verdict == "fault"
    assert f"{tmp_path / 'none'}: tiles cannot be written" in missing.words


def test_a_full_disk_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1 << 20}))

    (found,) = machine.folder(tmp_path, "output folder", makes="tiles")

    assert found.verdict == "fault"
    assert found.words.endswith("too little for tiles")
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)

    notes = [each for each in machine.folder(tmp_path, "output folder", makes="tiles") if each.verdict == "note"]

    assert [note.words for note in notes] == [
        f"{tmp_path}: has no file locks; files stand in for them, and stay behind a killed run"
    ]


@pytest.mark.parametrize(
    ("gpus", "torch_version", "verdict", "words"),
    [
        ("", "2.9", "note", "lists no GPU"),
        ("NVIDIA H100, 81559 MiB", "", "note", "no PyTorch that could use it"),
        ("NVIDIA H100, 81559 MiB", "2.9+cpu", "note", "PyTorch 2.9+cpu cannot use it"),
    ],
)
def test_a_gpu_that_pytorch_cannot_use_is_noted(
    gpus: str, torch_version: str, verdict: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{gpus}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    found = machine.gpu(torch_version)

    assert found is not None
    assert found.verdict == verdict
    assert words in found.words


def test_a_machine_without_a_gpu_has_no_line_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert machine.gpu("2.9") is None


def _aperio(path: Path) -> Path:
    """A slide whose description holds what scanners write, a patient's name among it."""
    import numpy as np
    import tifffile

    rgb = np.full((600, 700, 3), 200, np.uint8)
    about = "Aperio Image Library v12\n700x600 (256x256) JPEG|AppMag = 20|MPP = 0.25|Filename = MillerAnna"
    about += "|Date = 12/29/09|ImageID = 1004486|User = dr.smith|Title = Miller, Anna *1950"
    tifffile.imwrite(path, rgb, tile=(256, 256), photometric="rgb", description=about, metadata=None)
    return path


def test_what_is_told_of_a_slide_names_nobody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = _aperio(tmp_path / "Miller_Anna.svs")

    assert main(["doctor", "--slide", str(path)]) == 0

    told = capfd.readouterr().out
    assert "aperio.MPP: 0.25" in told
    assert "aperio.AppMag: 20" in told
    assert "0: 700 x 600, tiles 256 x 256, no compression (1), photometric 2, 3 x 8 bits" in told
    assert "0: its middle is readable, mean colour (200, 200, 200)" in told
    assert "properties that may hold names, dates or labels" in told
    for private in ("Miller", "Anna", "12/29/09", "1004486", "smith", str(tmp_path)):
        assert private not in told


def test_names_are_told_if_asked_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = _aperio(tmp_path / "Miller_Anna.svs")

    assert main(["doctor", "--slide", str(path), "--with-names", "--json"]) == 0

    told = json.loads(capfd.readouterr().out)
    assert told["path"] == str(path)
    assert told["properties"]["aperio.Filename"] == "MillerAnna"
    assert "left out" not in told


@pytest.mark.parametrize("content", [b"", b"II*\0\x10\0\0\0cut", b"no slide at all"])
def test_a_slide_that_cannot_be_opened_is_told_without_its_name(
    content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "Miller_Anna.svs"
    path.write_bytes(content)

    assert main(["doctor", "--slide", str(path)]) == 1

    told = capfd.readouterr().out
    assert f".svs, {len(content)} bytes, starts with {content[:8].hex(' ')}" in told
    assert "cannot be opened: SLIDE" in told
    assert "Miller" not in told
    assert str(tmp_path) not in told
