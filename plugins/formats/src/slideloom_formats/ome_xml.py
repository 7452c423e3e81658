"""OME-XML, the description in an OME-TIFF."""

from __future__ import annotations

from xml.etree import ElementTree

_LOOKED_AT = 2000  # characters; comments and schema addresses come before the first element


def is_ome_xml(text: str) -> bool:
    """True for a description that begins as OME-XML does."""
    return "<OME" in text[:_LOOKED_AT] or "<ome:OME" in text[:_LOOKED_AT]


def ome_xml(text: str) -> ElementTree.Element | None:
    """The root of a description; None if it is no OME-XML, or damaged."""
    if not is_ome_xml(text):
        return None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # never part of OME-XML, and a way to exhaust a parser's memory
        return None
    try:
        # As text, whatever encoding it names: it has been decoded already.
        return ElementTree.fromstring(text.strip())  # noqa: S314 - without entities, see above
    except (ElementTree.ParseError, ValueError):
        return None
