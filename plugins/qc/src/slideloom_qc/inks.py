"""Families of marker inks: what tells each from stained tissue, as optical densities relative to the slide's glass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import cv2
import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import Rgb

from slideloom_qc.glass import Floats, Glass, density_tables

# Optical density (natural log) of the densest channel from which a pixel is something else than glass: tissue or ink,
# so stain, at which `tissue` looks, will not do: black ink has none. docs/explanation/qc.md compares all tests for
# tissue.
NOT_GLASS = 0.15
# Densities of a channel that lets hardly any light through are noise; red and black are judged up to this one.
DARKEST = 2.7
# What a pixel may be for a family of inks, as bits: tissue or ink of this colour, however pale; dense enough to be ink
# if its ratio says so; of a colour that is ink if it is opaque as well; of a colour that may continue a stroke.
FAINT, DENSE, VIVID, ALIKE = (np.uint8(1 << bit) for bit in range(4))
# Rows that are processed at a time.
STRIP_PX = 128

_Shades = tuple[Floats, Floats, NDArray[np.uint8]]
_Flags = NDArray[np.bool_]


@frozen
class InkRule:
    """A family of inks, defined by the ratio of two optical densities and by how deep its colour is.

    Attributes:
        shades: ratio, depth and bits of pixels, from their densities of red, green and blue.
        faint: ratio below which a pixel is never ink, unless it is deep.
        sure_from, sure: the limit above which a pixel is ink on its own is between these, depending on the staining.
        is_even: True if the ratio of tissue varies so little that the lowest third of it shows how the slide is
            stained, so that ink on most of the slide is not taken for its staining.
        opaque: depth from which a vivid pixel is ink on its own, and how many times the depth of the paler tissue that
            must be; infinite if no depth is enough.
        deep: the depth from which an alike pixel continues a stroke is that which the slide's tissue does not reach,
            within these limits.
    """

    shades: Callable[[Floats, Floats, Floats], _Shades]
    faint: float
    sure_from: float
    sure: float
    is_even: bool = False
    opaque: tuple[float, float] = (np.inf, 0.0)
    deep: tuple[float, float] = (np.inf, np.inf)


@frozen
class Looks:
    """Pixels as judged by the rule of one family of inks; only of those that may be tissue or ink, the FAINT ones.

    Attributes:
        faint: (h, w) bool, where these N pixels are.
        ratio: (N,) float32 row by row, the ratio of the rule.
        depth: (N,) float32, the optical density by which this family is opaque.
        bits: (N,) uint8, sums of FAINT, DENSE, VIVID and ALIKE.
    """

    faint: _Flags = field(eq=False)
    ratio: Floats = field(eq=False)
    depth: Floats = field(eq=False)
    bits: NDArray[np.uint8] = field(eq=False)

    def placed(self, flags: _Flags) -> _Flags:
        """(h, w) bool from (N,); False where a pixel is not faint."""
        return _placed(flags, self.faint).view(np.bool_)


@frozen
class Staining:
    """The slide's tissue as a family of inks sees it, away from ink.

    Attributes:
        ratio: the end of its range, which 99% of it stays below.
        depth: its median.
        deepest: four standard deviations above it, which it does not reach.
    """

    ratio: float
    depth: float
    deepest: float


def looks(rule: InkRule, rgb: Rgb, glass: Glass) -> Looks:
    """How the pixels of a slide look to a rule, strip by strip, because intermediate arrays need many times the memory.

    Args:
        rule: of the family of inks.
        rgb: (h, w, 3) uint8.
        glass: of the slide.
    """
    shape, count = rgb.shape[:2], 0
    most = shape[0] * shape[1]  # of which only what is written to takes memory
    faint = np.zeros(shape, np.bool_)
    ratio, depth, bits = np.empty(most, np.float32), np.empty(most, np.float32), np.empty(most, np.uint8)
    for rows, other, densities in _not_glass(rgb, glass):
        seen = rule.shades(*densities)
        here = seen[2] > 0
        faint[rows][other] = here
        found = slice(count, count + int(np.count_nonzero(here)))
        ratio[found], depth[found], bits[found] = (values[here] for values in seen)
        count = found.stop
    return Looks(faint, ratio[:count], depth[:count], bits[:count])


def promising(rules: Sequence[InkRule], rgb: Rgb, glass: Glass) -> list[bool]:
    """For each rule, False if no pixel of a slide can be sure ink, whatever its staining; all in one pass.

    Args:
        rules: of the families of inks.
        rgb: (h, w, 3) uint8.
        glass: of the slide.
    """
    found = [False] * len(rules)
    for _, other, densities in _not_glass(rgb, glass):
        for number, rule in enumerate(rules):
            if not found[number]:
                ratio, depth, bits = rule.shades(*densities)
                sure = ((bits & DENSE) > 0) & (ratio > rule.sure_from)
                sure |= ((bits & VIVID) > 0) & (depth > rule.opaque[0])
                # Of 3 x 3 pixels across two strips, two rows lie in one of them, and what is beyond a strip counts as
                # sure.
                found[number] = bool(sure.any() and without_specks(_placed(sure, other)).any())
        if all(found):
            break
    return found


def without_specks(sure: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w) uint8, 0 or 1, without what does not hold 3 x 3 pixels."""
    return cast("NDArray[np.uint8]", cv2.morphologyEx(sure, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))


def _placed(flags: _Flags, where: _Flags) -> NDArray[np.uint8]:
    """(h, w) uint8, 1 where one of the (N,) `flags`, of the N pixels of `where`, is True."""
    whole = np.zeros(where.shape, np.uint8)
    whole[where] = flags
    return whole


def _not_glass(rgb: Rgb, glass: Glass) -> Iterator[tuple[slice, _Flags, tuple[Floats, Floats, Floats]]]:
    """Strips of a slide: their rows, where they are not glass, and the densities of red, green and blue there.

    Most of a slide is glass, and a comparison of bytes tells, because densities fall with the values of pixels. No rule
    looks at glass.
    """
    tables = density_tables(glass, least=0.01)
    darker = np.count_nonzero(tables > NOT_GLASS, axis=1).tolist()  # values from 0 to below it are not glass
    for top in range(0, len(rgb), STRIP_PX):
        part = rgb[top : top + STRIP_PX]
        planes = [cv2.extractChannel(part, channel) for channel in range(3)]
        other = (planes[0] < darker[0]) | (planes[1] < darker[1]) | (planes[2] < darker[2])
        if other.any():
            red, green, blue = (
                cast("Floats", cv2.LUT(plane[other][None], table)[0])
                for plane, table in zip(planes, tables, strict=True)
            )
            yield slice(top, top + len(part)), other, (red, green, blue)


def _bits(*, faint: _Flags, dense: _Flags, vivid: _Flags, alike: _Flags) -> NDArray[np.uint8]:
    seen = faint * FAINT
    for flags, bit in ((dense, DENSE), (vivid, VIVID), (alike, ALIKE)):
        seen |= (faint & flags) * bit
    return seen


def _cool(red: Floats, green: Floats, blue: Floats) -> _Shades:
    tissue = np.maximum(np.maximum(red, green), blue) > NOT_GLASS
    ratio = red / green
    # The haematoxylin of IHC may be as blue as faint ink, but it is pale, and absorbs blue nearly half as much as red.
    dense = (red > 0.35) & (ratio > 1.6) | (red > 0.7) & (blue < 0.4 * red)
    coloured = red > 1.2 * blue
    bits = _bits(
        faint=tissue & (red > NOT_GLASS), dense=dense, vivid=coloured & (ratio > 0.85), alike=coloured & (ratio > 0.7)
    )
    return ratio, red, bits


def _red(red: Floats, green: Floats, blue: Floats) -> _Shades:
    tissue = np.maximum(np.maximum(red, green), blue) > NOT_GLASS
    green, blue = np.minimum(green, DARKEST), np.minimum(blue, DARKEST)
    share, ratio = red / green, blue / green
    dense, vivid, alike = (share < 0.35) & (green > 0.4), (share < 0.2) & (ratio > 0.68), (share < 0.3) & (ratio > 0.6)
    return ratio, green, _bits(faint=tissue & (share < 0.5), dense=dense, vivid=vivid, alike=alike)


def _black(red: Floats, green: Floats, blue: Floats) -> _Shades:
    densest = np.minimum(np.maximum(np.maximum(red, green), blue), DARKEST)
    palest = np.minimum(np.minimum(np.minimum(red, green), blue), DARKEST)
    ratio = palest / densest
    return ratio, palest, _bits(faint=densest > 0.35, dense=palest > 0.75, vivid=ratio > 0.7, alike=ratio > 0.55)


# H&E absorbs green most (Ruifrok & Johnston 2001: red to green 0.92 for haematoxylin, 0.07-0.27 for eosin).
# Blue, cyan and green ink absorb red more than green.
COOL = InkRule(_cool, faint=0.7, sure_from=0.95, sure=1.25, opaque=(1.5, 3.0), deep=(0.6, np.inf))
# Red ink absorbs blue nearly as much as green, but not red; eosin's ratio of blue to green is 0.11-0.7. Where the light
# makes it more, ink is told by its depth.
RED = InkRule(_red, faint=0.65, sure_from=0.72, sure=0.8, is_even=True, opaque=(1.2, 2.5), deep=(1.0, np.inf))
# Black ink absorbs all colours nearly equally, more than a fold of tissue, whose palest density stays below 1.3.
BLACK = InkRule(_black, faint=0.55, sure_from=0.7, sure=0.8, opaque=(1.6, 0.0), deep=(0.5, 0.9))
