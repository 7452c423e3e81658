"""Formats as finding and opening slides asks for them; what looks into files is imported when it is needed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from slideloom import Format, RemotePath

_MOST_CODECS = "tifffile"  # the reader that decodes the compressions of TIFF which others leave out
_DICOM_EXTENSIONS = ("", ".dcm", ".dicom", ".ima")
_PathT = TypeVar("_PathT", Path, RemotePath)


class Known(Format):
    """A format that knows files at addresses as it knows those on disks."""

    takes_addresses: ClassVar[bool] = True

    def has_ending(self, path: Path | RemotePath) -> bool:
        """See `Format.has_ending`."""
        return path.name.lower().endswith(self.extensions)

    def slides_of(self, path: _PathT, *, is_named: bool) -> Sequence[_PathT] | None:
        """See `Format.slides_of`."""
        return [path] if self.has_ending(path) and not path.is_dir() else None

    def recognises(self, path: Path | RemotePath) -> bool:
        """See `Format.recognises`."""
        return False

    def parts(self, path: _PathT) -> Sequence[_PathT]:
        """See `Format.parts`."""
        return ()


class InSeveralFiles(Known):
    """A file that names others, or has them beside it, which hold the slide's pixels."""

    def parts(self, path: _PathT) -> Sequence[_PathT]:
        """See `Format.parts`."""
        if not self.has_ending(path):
            return ()
        from slideloom_formats.files_beside import files_beside

        return files_beside(path)

    def refusal(self, path: Path) -> str | None:
        """See `Format.refusal`."""
        if not self.has_ending(path):
            return None
        from slideloom_formats.files_beside import missing_part

        return missing_part(path)


class Mirax(InSeveralFiles):
    """3DHistech: a small picture of the slide, and a folder of its name beside it that holds the pixels."""

    name: ClassVar[str] = "MIRAX"
    extensions: ClassVar[tuple[str, ...]] = (".mrxs",)

    def slides_of(self, path: _PathT, *, is_named: bool) -> Sequence[_PathT] | None:
        """See `Format.slides_of`. The folder is part of its slide, and stands for it if somebody named it."""
        slide = path.parent / f"{path.name}.mrxs"
        if path.is_dir() and slide.exists():
            if not is_named:
                return []
            from slideloom_formats.files_beside import MIRAX_INDEX

            if (path / MIRAX_INDEX).exists():
                return [slide]
        return super().slides_of(path, is_named=is_named)


class Vms(InSeveralFiles):
    """Hamamatsu, with VMU: a list of files that hold the pixels, which for VMS are JPEGs."""

    name: ClassVar[str] = "VMS"
    extensions: ClassVar[tuple[str, ...]] = (".vms", ".vmu")
    parts_look_like_slides: ClassVar[bool] = True


class Vsi(InSeveralFiles):
    """Olympus: small pictures, beside a folder of files that no reader takes."""

    name: ClassVar[str] = "VSI"
    extensions: ClassVar[tuple[str, ...]] = (".vsi",)


class ISyntax(Known):
    """Philips: one file. A reader refuses the second version of the format, by what its header says."""

    name: ClassVar[str] = "iSyntax"
    extensions: ClassVar[tuple[str, ...]] = (".isyntax", ".i2syntax")
    reader: ClassVar[str] = "slideloom-isyntax"

    def recognises(self, path: Path | RemotePath) -> bool:
        """See `Format.recognises`."""
        from slideloom_formats.formats_apart import is_isyntax

        return is_isyntax(path)


class OmeZarr(Known):
    """A folder of arrays, or a ZIP file of one."""

    name: ClassVar[str] = "OME-Zarr"
    extensions: ClassVar[tuple[str, ...]] = (".zarr.zip", ".ozx")
    folder_extensions: ClassVar[tuple[str, ...]] = (".zarr",)
    reader: ClassVar[str] = "slideloom-zarr"

    def recognises(self, path: Path | RemotePath) -> bool:
        """See `Format.recognises`."""
        from slideloom_formats.formats_apart import is_zarr

        return is_zarr(path)

    def slides_of(self, path: _PathT, *, is_named: bool) -> Sequence[_PathT] | None:
        """See `Format.slides_of`. What a folder of arrays holds are chunks, and never slides."""
        return [path] if self.recognises(path) else None


class Dicom(Known):
    """A slide is a series of files in a folder, of any name."""

    name: ClassVar[str] = "DICOM"
    extensions: ClassVar[tuple[str, ...]] = (".dcm",)
    reader: ClassVar[str] = "slideloom-dicom"
    is_series: ClassVar[bool] = True

    def recognises(self, path: Path | RemotePath) -> bool:
        """See `Format.recognises`."""
        from slideloom_formats.dicom import read_dicom

        return read_dicom(path) is not None

    def slides_of(self, path: _PathT, *, is_named: bool) -> Sequence[_PathT] | None:
        """See `Format.slides_of`. A file that does not begin as DICOM, such as a damaged one, is what its name says."""
        if not (is_named or _may_be_dicom(path)) or not self.recognises(path):
            return super().slides_of(path, is_named=is_named)
        from slideloom_formats.dicom import stands_for_series

        slide = stands_for_series(path)
        return [] if slide is None else [slide]

    def parts(self, path: _PathT) -> Sequence[_PathT]:
        """See `Format.parts`."""
        from slideloom_formats.dicom import series_in

        return [file for file in series_in(path) if file != path]

    def refusal(self, path: Path) -> str | None:
        """See `Format.refusal`."""
        from slideloom_formats.dicom import dicom_obstacle

        return dicom_obstacle(path)


class Czi(Known):
    """Zeiss."""

    name: ClassVar[str] = "CZI"
    extensions: ClassVar[tuple[str, ...]] = (".czi",)
    reader: ClassVar[str] = "slideloom-czi"

    def recognises(self, path: Path | RemotePath) -> bool:
        """See `Format.recognises`."""
        from slideloom_formats.formats_apart import is_czi

        return is_czi(path)


class Tiff(Known):
    """Also BigTIFF, and what scanners write in that form: SVS, NDPI, SCN, BIF, QPTIFF and others."""

    name: ClassVar[str] = "TIFF"
    extensions: ClassVar[tuple[str, ...]] = (
        ".svs", ".tif", ".tiff", ".btf", ".tf2", ".tf8", ".qptiff", ".ndpi", ".scn", ".svslide", ".bif",
    )  # fmt: skip
    readers_say_more: ClassVar[bool] = True

    def refusal(self, path: Path) -> str | None:
        """See `Format.refusal`."""
        from slideloom_formats.tiff import tiff_obstacle

        return tiff_obstacle(path)

    def advice(self, path: Path, readers: Collection[str]) -> str | None:
        """See `Format.advice`."""
        from slideloom_formats.tiff import tiff_codec

        codec = tiff_codec(path)
        if codec is None:
            return None
        missing = _MOST_CODECS not in readers
        install = f"pip install slideloom-{_MOST_CODECS}, which reads most compressions, or " if missing else ""
        return f"it is a TIFF in {codec}: {install}convert it to JPEG (QuPath, bfconvert)"


class Picture(Known):
    """Pictures of a slide, or of a tile."""

    name: ClassVar[str] = "JPEG and PNG"
    extensions: ClassVar[tuple[str, ...]] = (".jpg", ".jpeg", ".png")
    is_picture: ClassVar[bool] = True


def _may_be_dicom(path: Path | RemotePath) -> bool:
    """True if DICOM files have such names: an extension of theirs, none, or a UID."""
    return path.suffix.lower() in _DICOM_EXTENSIONS or path.suffix[1:].isdecimal()
