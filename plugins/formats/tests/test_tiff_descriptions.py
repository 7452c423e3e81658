"""What image descriptions mean."""

from __future__ import annotations

import pytest
from slideloom import Resolution, Size
from slideloom_formats.tiff import described, imagej_resolution

SIZE = Size(2220, 2967)
APERIO = (
    "Aperio Image Library v11.2.1 \r\n46000x32914 [42673,5576 2220x2967] (240x240) JPEG/RGB Q=30;"
    "Aperio Image Library v10.0.51\r\n46920x33014 [0,100 46000x32914] (256x256) JPEG/RGB Q=30|AppMag = 20"
    "|Time = 09:59:15|MPP = {}|Left = 25.6"
)
OME = (
    '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    '<Instrument><Objective ID="Objective:0" NominalMagnification="40"/></Instrument>'
    '<Image><Pixels SizeX="400" SizeY="300" PhysicalSizeX="9" PhysicalSizeY="9"/></Image>'
    '<Image><Pixels SizeX="2220" SizeY="2967" SizeC="3" PhysicalSizeX="{}" {} PhysicalSizeY="{}" {}/></Image></OME>'
)


def test_an_aperio_description_gives_resolution_and_power() -> None:
    found = described(APERIO.format("0.4990"), size=SIZE)

    assert (found.vendor, found.mpp, found.objective_power) == ("aperio", Resolution(0.499, 0.499, "Aperio MPP"), 20)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "1e9", "unknown", ""])
def test_a_resolution_that_no_scanner_has_is_none(value: str) -> None:
    assert described(APERIO.format(value), size=SIZE).mpp is None
    assert described(OME.format(value, "", "0.5", ""), size=SIZE).mpp is None


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        ("0.25", ""),
        ("0.25", 'PhysicalSizeXUnit="µm"'),
        ("250", 'PhysicalSizeXUnit="nm"'),
        ("2.5e-4", 'PhysicalSizeXUnit="mm"'),
    ],
)
def test_an_ome_description_gives_the_resolution_of_the_image_of_this_size(value: str, unit: str) -> None:
    found = described(OME.format(value, unit, "0.5", ""), size=SIZE)

    assert found.mpp is not None
    assert (found.mpp.x, found.mpp.y) == (pytest.approx(0.25), 0.5)
    assert (found.vendor, found.objective_power) == ("ome", 40)


def test_an_unknown_unit_gives_no_resolution() -> None:
    assert described(OME.format("1", 'PhysicalSizeXUnit="pixel"', "1", ""), size=SIZE).mpp is None


@pytest.mark.parametrize("text", ["", "a photo", "<OME", '<!DOCTYPE x [<!ENTITY a "b">]><OME><Pixels/></OME>'])
def test_another_description_gives_nothing(text: str) -> None:
    found = described(text, size=SIZE)

    assert (found.mpp, found.objective_power) == (None, None)


@pytest.mark.parametrize(
    ("unit", "per_unit", "mpp"),
    [
        ("micron", 4, 0.25), ("um", 2, 0.5), ("\\u00B5m", 4, 0.25), ("mm", 4000, 0.25), ("pixel", 1, None),
        ("micron", 0, None),
    ],
)  # fmt: skip
def test_the_calibration_of_imagej_is_read(unit: str, per_unit: float, mpp: float | None) -> None:
    found = imagej_resolution(f"ImageJ=1.54\nunit={unit}\nloop=false\n", per_unit, per_unit)

    assert (found and (found.x, found.y)) == (mpp and (mpp, mpp))


def test_what_an_ome_description_says_of_the_size_of_a_pixel_is_shown_if_it_gives_none() -> None:
    pixels = '<OME><Image><Pixels SizeX="20" SizeY="10" PhysicalSizeX="1" PhysicalSizeXUnit="pixel"/></Image></OME>'

    found = described(pixels, size=Size(20, 10))

    assert (found.mpp, found.odd_mpp) == (None, "PhysicalSizeX = 1 pixel")


def test_an_mpp_of_aperio_that_cannot_be_is_shown() -> None:
    assert described("Aperio\r\n|MPP = 0.0|AppMag = 20", size=Size(20, 10)).odd_mpp == "aperio.MPP = 0.0"
