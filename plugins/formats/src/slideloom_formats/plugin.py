"""What is known of formats of slides."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Format, hookimpl

from slideloom_formats.known import Czi, Dicom, ISyntax, Mirax, OmeZarr, Picture, Tiff, Vms, Vsi


@hookimpl
def slideloom_slide_formats() -> Sequence[Format]:
    """The formats that this package knows. One that looks into files of any name comes before those that know names."""
    return [Mirax(), Vms(), Vsi(), ISyntax(), OmeZarr(), Dicom(), Czi(), Tiff(), Picture()]
