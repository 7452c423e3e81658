"""OME-XML."""

from __future__ import annotations

import pytest
from slideloom_formats.ome_xml import ome_xml


@pytest.mark.parametrize("encoding", ["UTF-8", "ISO-8859-1", "UTF-16", "UT9-8"])
def test_a_description_is_text_whatever_encoding_it_names(encoding: str) -> None:
    described = f'<?xml version="1.0" encoding="{encoding}"?><OME><Pixels PhysicalSizeXUnit="\N{MICRO SIGN}m"/></OME>'

    root = ome_xml(described)

    assert root is not None
    assert root[0].get("PhysicalSizeXUnit") == "\N{MICRO SIGN}m"


@pytest.mark.parametrize("text", ["<OME", "<OME>\ud800</OME>", "<!DOCTYPE a><OME/>", "<ImageJ/>"])
def test_what_is_no_ome_xml_gives_nothing(text: str) -> None:
    assert ome_xml(text) is None
