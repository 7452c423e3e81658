"""What OpenSlide's properties mean."""

from __future__ import annotations

import pytest
from slideloom import Box, Resolution
from slideloom_openslide import metadata


def test_the_resolution_has_both_axes() -> None:
    found = metadata.resolution({"openslide.mpp-x": "0.2520", "openslide.mpp-y": "0.2525"})

    assert found == Resolution(0.2520, 0.2525, "openslide.mpp-x/-y")


@pytest.mark.parametrize("value", ["0", "-0.5", "nan", "inf", "1000", "", "half"])
def test_a_resolution_that_no_scanner_has_is_none(value: str) -> None:
    assert metadata.resolution({"openslide.mpp-x": value, "openslide.mpp-y": "0.5"}) is None
    assert metadata.resolution({"openslide.mpp-x": "0.5", "openslide.mpp-y": value}) is None


def test_one_axis_alone_is_no_resolution() -> None:
    assert metadata.resolution({"openslide.mpp-x": "0.5"}) is None


@pytest.mark.parametrize(
    ("unit", "microns"),
    [("inch", 25400 / 50800), ("centimeter", 10000 / 50800), (None, 25400 / 50800)],
)
def test_the_tiff_unit_sets_the_scale_and_inch_is_the_default(unit: str | None, microns: float) -> None:
    properties = {"tiff.XResolution": "50800", "tiff.YResolution": "50800"}
    if unit:
        properties["tiff.ResolutionUnit"] = unit

    found = metadata.tiff_resolution(properties)

    assert found == Resolution(microns, microns, "TIFF resolution")


@pytest.mark.parametrize("changed", [{"tiff.ResolutionUnit": "none"}, {"tiff.XResolution": "0"}])
def test_a_tiff_resolution_without_unit_or_of_zero_says_nothing(changed: dict[str, str]) -> None:
    properties = {"tiff.XResolution": "100", "tiff.YResolution": "100", "tiff.ResolutionUnit": "inch"}

    assert metadata.tiff_resolution(properties | changed) is None


def test_the_bounds_are_a_level_0_box() -> None:
    properties = {f"openslide.bounds-{key}": str(i) for i, key in enumerate(["x", "y", "width", "height"], start=3)}

    assert metadata.bounds(properties) == Box(3, 4, 5, 6)
    assert metadata.bounds({}) is None


def test_the_background_is_white_unless_the_slide_says_otherwise() -> None:
    assert metadata.background({}) == (255, 255, 255)
    assert metadata.background({"openslide.background-color": "0A80FF"}) == (10, 128, 255)
    assert metadata.background({"openslide.background-color": "red"}) == (255, 255, 255)


def test_personal_properties_are_left_out() -> None:
    found = metadata.public({"openslide.barcode": "S12-345", "dicom.PatientName": "X", "openslide.vendor": "dicom"})

    assert found == {"openslide.vendor": "dicom"}


def test_a_resolution_that_cannot_be_is_shown_as_it_was_found() -> None:
    assert metadata.odd_resolution({"openslide.mpp-x": "2500", "openslide.mpp-y": "0.5"}) == "openslide.mpp-x = 2500"
    assert metadata.odd_resolution({"aperio.MPP": "unknown"}) == "aperio.MPP = unknown"
    assert metadata.odd_resolution({"openslide.mpp-x": "0.5", "openslide.mpp-y": "0.5", "aperio.MPP": "0,5"}) == ""
