"""A folder at an address has the slides that the same folder has on a disk, whatever is in it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import fsspec
import numpy as np
import slideloom as sl
from hypothesis import given, settings, strategies as st
from slideloom_testing.dicom import Instance, write_dicom

FOLDERS = ("", "p1", "p1/study", "p1/study/series", "p2", ".hidden", "out", "m", "z.zarr", "z.zarr/0")
NAMES = (
    "a.svs", "b.tif", "m.mrxs", "v.vms", "v.jpg", "v(1,0).jpg", "photo.png", "notes.txt", "README", "Slidedat.ini",
    "zarr.json", ".zgroup", "extraction_report.json", "c.czi", "d.DCM", "1.dcm", "2.dcm", "3", "1.2.840.4", "._a.svs",
)  # fmt: skip
VMS = b"[Virtual Microscope Specimen]\nImageFile=v.jpg\nImageFile(1,0)=v(1,0).jpg\n"


def _dicom() -> dict[str, bytes]:
    """Heads of two series, with levels and a label, an image of another kind, and what only looks like DICOM."""
    found = {}
    rgb = np.zeros((8, 8, 3), np.uint8)
    with tempfile.TemporaryDirectory() as home:
        for series in ("1.2.1", "1.2.2"):
            for number, (kind, scale) in enumerate((("VOLUME", 2), ("VOLUME", 1), ("LABEL", 1)), 1):
                about = Instance(series=series, number=number, kind=kind)
                path = write_dicom(Path(home, "x"), np.tile(rgb, (scale, scale, 1)), about, tile=8)
                found[f"{series} {number}"] = path.read_bytes()
        other = write_dicom(
            Path(home, "y"), rgb, Instance(series="1.2.3", sop_class="1.2.840.10008.5.1.4.1.1.2"), tile=8
        )
        found["other"] = other.read_bytes()
    return {**found, "cut": found["1.2.1 1"][:200], "none": b"no slide"}


DICOM = _dicom()
CONTENTS = st.sampled_from(sorted(DICOM))
FILES = st.dictionaries(st.tuples(st.sampled_from(FOLDERS), st.sampled_from(NAMES)), CONTENTS, min_size=1, max_size=12)


def _content(name: str, kind: str) -> bytes:
    return VMS if name == "v.vms" else DICOM[kind]


def _found(place: str, home: str, **options: bool) -> list[tuple[str, str]] | str:
    try:
        slides = sl.named_slides([place], **options)  # type: ignore[arg-type]
    except sl.ConfigError:
        return "none"
    return [(slide.name, str(slide.place).removeprefix(home).lstrip("/")) for slide in slides]


@settings(max_examples=60, deadline=None)
@given(FILES, st.booleans())
def test_a_folder_at_an_address_has_the_slides_of_the_folder_on_a_disk(
    files: dict[tuple[str, str], str], recursive: bool
) -> None:
    memory = fsspec.filesystem("memory")
    with tempfile.TemporaryDirectory() as temporary:
        home = str(Path(temporary, "equal"))
        for (folder, name), kind in files.items():
            path = Path(home, folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_content(name, kind))
            memory.pipe(f"/equal/{path.relative_to(home).as_posix()}", path.read_bytes())
        try:
            near = _found(home, home, recursive=recursive)
            far = _found("memory://equal/", "memory://equal", recursive=recursive)
        finally:
            memory.rm("/equal", recursive=True)
    assert far == (near or "none")
