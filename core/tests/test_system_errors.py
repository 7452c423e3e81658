"""What the system refuses is told with the file, its own words and the remedy, wherever it comes up."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from slideloom.base.errors import SlideError
from slideloom.base.system_errors import in_words, reading_slide, writing_trouble
from slideloom.pipeline.file import pipeline_from_table
from slideloom.running.run import run_pipeline

# Steps that the system refuses something, at the place that the slide's name says.
STEPS = """
import errno, os
from typing import ClassVar
import attrs
from slideloom import QcResult, Reader, Settings, Sink, SlideQc, Writer, hookimpl
from slideloom_testing import Analytic


def refuse(path, place):
    if path.stem == place:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))


class Refused(Reader):
    def recognises(self, path):
        return path.suffix == ".json"

    def open(self, path):
        refuse(path, "open")
        slide = Analytic().build().open(path)
        kind = type(slide)

        class RefusedSlide(kind):
            def read(self, origin, level, size):
                if path.stem == "read":
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                return super().read(origin, level, size)

        slide.__class__ = RefusedSlide
        return slide


@attrs.frozen
class RefusedFile(Settings[Reader]):
    "Reads what it can."
    name: ClassVar[str] = "refused"

    def build(self):
        return Refused()


class Looks(SlideQc):
    def assess(self, slide, scene):
        refuse(slide.info.path, "qc")
        import numpy as np
        return QcResult(mask=np.zeros((4, 4), bool), kind="artifact")


@attrs.frozen
class LooksAt(Settings[SlideQc]):
    "Looks at the file."
    name: ClassVar[str] = "looks"

    def build(self):
        return Looks()


class FullWriter(Writer):
    def __init__(self, path, slide):
        self.path, self.slide = path, slide

    def write(self, tiles, encoded):
        pass

    def commit(self):
        if self.slide == "unlink":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.path))
        return []

    def abort(self):
        pass


class Full(Sink):
    def open(self, info, scene, folder):
        return FullWriter(folder / "full.bin", info.name)

    def encode(self, batch):
        return [b""] * len(batch)


@attrs.frozen
class FullDisk(Settings[Sink]):
    "Cannot write."
    name: ClassVar[str] = "full"

    def build(self):
        return Full()


@hookimpl
def slideloom_readers():
    return [RefusedFile]


@hookimpl
def slideloom_slide_qc():
    return [LooksAt]


@hookimpl
def slideloom_sinks():
    return [FullDisk]
"""

OPEN = "{name}.json: cannot be read (Input/output error); check its permissions and its disk"
TOLD = {
    "open": OPEN,
    "read": "reader 'analytic' failed on slide read: Input/output error; check its permissions and its disk",
    "qc": "qc 'looks' of refusing 1.0 failed on slide qc: {path}: Input/output error; "
    "check its permissions and its disk",
    "unlink": "sink 'full' of refusing 1.0 failed on slide unlink: {out}/full.bin: not writable (Permission denied); "
    "change its permissions or choose another output folder",
}


@pytest.mark.parametrize("place", TOLD)
def test_what_the_system_refuses_a_step_is_told_with_file_and_remedy(
    tmp_path: Path, install_plugin: Callable[..., None], analytic_path: Path, place: str
) -> None:
    install_plugin("refusing", STEPS)
    path = analytic_path.rename(tmp_path / f"{place}.json")
    pipeline = pipeline_from_table(
        {
            "slideloom": 1,
            "slides": {"reader": "refused"},
            "tiles": {"size_px": 60, "size_um": 60},
            "filter": [],
            "qc": [{"use": "looks"}],
            "sink": [{"use": "full"}],
        },
        where="x",
    )

    (slide,) = run_pipeline(pipeline, [path], tmp_path / "out").slides

    assert slide.status == "failed"
    assert slide.error == TOLD[place].format(name=place, path=path, out=tmp_path / "out")


def test_the_file_of_an_error_while_a_slide_is_read_is_named_too_where_it_is_another() -> None:
    beside = OSError(errno.EIO, os.strerror(errno.EIO), "/disk/a/Index.dat")

    said = r"a\.mrxs: cannot be read \(Input/output error of /disk/a/Index\.dat\)"
    with pytest.raises(SlideError, match=said), reading_slide(Path("/disk/a.mrxs")):
        raise beside


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EMFILE, "ulimit -n"),
        (errno.ENOENT, "still there"),
        (errno.EACCES, "check its permissions"),
        (errno.EIO, "check its permissions and its disk"),
    ],
    ids=errno.errorcode.get,
)
def test_each_refusal_of_a_slide_has_its_remedy(number: int, remedy: str) -> None:
    with pytest.raises(SlideError, match=remedy), reading_slide(Path("a.svs")):
        raise OSError(number, os.strerror(number))


def test_a_library_that_does_not_load_is_no_trouble_of_the_slide() -> None:
    with pytest.raises(OSError, match="libvips"), reading_slide(Path("a.svs")):
        raise OSError("libvips.so: cannot open shared object file")


def test_an_error_that_is_not_of_the_system_keeps_its_kind() -> None:
    assert in_words(ValueError("of a plugin")) == "ValueError: of a plugin"
    assert in_words(ConnectionRefusedError(errno.ECONNREFUSED, "refused")).startswith("ConnectionRefusedError")


def test_a_file_is_named_once_where_it_is_what_cannot_be_written() -> None:
    error = OSError(errno.EIO, os.strerror(errno.EIO), "/out/a.tar")

    assert writing_trouble(error, at="/out/a.tar").count("/out/a.tar") == 1
    assert "(/out/a.tar)" in writing_trouble(error, at="/out")
