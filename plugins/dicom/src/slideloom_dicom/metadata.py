"""What a DICOM slide says of itself, checked, and without the patient.

Source: DICOM PS3.3 C.8.12.4 (whole-slide microscopy image), C.8.12.5 (optical path), C.7.6.16.2.1 (pixel measures).
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset
from slideloom import Resolution, finite_number, is_plausible, odd_mpp

_FLUORESCENCE = "111743"  # epifluorescence illumination, of DCM's codes
_TOLD = {
    "Manufacturer": "dicom.Manufacturer", "ManufacturerModelName": "dicom.ManufacturerModelName",
    "SoftwareVersions": "dicom.SoftwareVersions", "LossyImageCompressionMethod": "dicom.LossyImageCompressionMethod",
    "DimensionOrganizationType": "dicom.DimensionOrganizationType",
    "PhotometricInterpretation": "dicom.PhotometricInterpretation", "BitsStored": "dicom.BitsStored",
    "FocusMethod": "dicom.FocusMethod", "ExtendedDepthOfField": "dicom.ExtendedDepthOfField",
}  # fmt: skip


def first_item(about: Dataset, name: str) -> Dataset:
    """The first item of a sequence; an empty one if there is none."""
    sequence = about.get(name)
    return sequence[0] if sequence else Dataset()


def spacing(about: Dataset) -> tuple[float | None, float | None]:
    """Microns per pixel along x and y, as recorded; None where there is no number.

    From the pixel measures that all frames share, else those of the first frame. The first value is the distance of
    rows, which is y.
    """
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        measures = first_item(first_item(about, groups), "PixelMeasuresSequence")
        stated = measures.get("PixelSpacing")
        if stated:
            y, x = (finite_number(str(value)) for value in (stated[0], stated[-1]))
            return (None if x is None else x * 1000), (None if y is None else y * 1000)
    return None, None


def resolution(about: Dataset) -> Resolution | None:
    """Microns per pixel of level 0; None if it is missing or implausible."""
    x, y = spacing(about)
    if x is None or y is None or not (is_plausible(x) and is_plausible(y)):
        return None
    return Resolution(x, y, "dicom.PixelSpacing")


def odd_resolution(about: Dataset) -> str:
    """What is recorded as microns per pixel and cannot be that; see `odd_mpp`."""
    x, y = spacing(about)
    return odd_mpp(
        {f"dicom.PixelSpacing, {axis}": None if value is None else f"{value:g}" for axis, value in (("x", x), ("y", y))}
    )


def optical_paths(about: Dataset) -> Iterator[Dataset]:
    """What is said of each optical path."""
    yield from about.get("OpticalPathSequence") or ()


def is_fluorescence(path: Dataset) -> bool:
    """True for an optical path that shows emitted light, on black."""
    return any(
        str(code.get("CodeValue", "")) == _FLUORESCENCE for code in path.get("IlluminationTypeCodeSequence") or ()
    )


def path_name(path: Dataset) -> str:
    """Identifier and description, such as "1 (DAPI)"."""
    described = str(path.get("OpticalPathDescription", "") or "")
    return str(path.get("OpticalPathIdentifier", "")) + (f" ({described})" if described else "")


def objective_power(path: Dataset) -> float | None:
    """Such as 20.0, or None."""
    power = finite_number(str(path.get("ObjectiveLensPower", "")))
    return power if power is not None and power > 0 else None


def icc_profile(path: Dataset) -> bytes | None:
    """The ICC profile of an optical path; None if it has none."""
    profile = path.get("ICCProfile")
    return bytes(profile) if profile else None


def properties(about: Dataset, path: Dataset) -> dict[str, str]:
    """What is told of the scanner, the image and the optical path, and nothing of the patient or the specimen."""
    found = {shown: str(about[name].value) for name, shown in _TOLD.items() if name in about}
    if "OpticalPathIdentifier" in path:
        found["dicom.OpticalPath"] = path_name(path)
    profile = icc_profile(path)
    if profile is not None:
        found["dicom.icc-size"] = str(len(profile))
    return found
