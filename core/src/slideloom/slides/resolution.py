"""The sources of a slide's microns per pixel, in a fixed order, and the error if there is none."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from slideloom.base.csv_tables import Table, open_table
from slideloom.base.errors import ConfigError, MissingResolution
from slideloom.base.files import FileState
from slideloom.base.naming import option_name
from slideloom.slides.info import Resolution, SlideInfo

log = logging.getLogger(__name__)

# Files that do not come from a scanner have 72 or 300 dots per inch; no slide is scanned this coarsely or finely.
PLAUSIBLE_MPP = (0.01, 20.0)
# What a person gives may be that of a picture of a whole slide: 75 mm of glass on 256 pixels have 293 um per pixel.
GIVEN_MPP = (PLAUSIBLE_MPP[0], 300.0)
# Beyond what a scanner records, the side of a slide must stay below this: the largest glasses measure 8 x 6 inches.
LONGEST_MM = 250.0


def find_resolution(
    info: SlideInfo,
    *,
    mpp: float | None = None,
    mpp_by_slide: Mapping[str, Resolution] | None = None,
    allow_objective_power: bool = False,
) -> Resolution:
    """Microns per pixel of level 0.

    Taken from, in this order: the user's value for this slide, the user's value for all slides, the slide's properties,
    TIFF resolution tags, and 10 / objective power if allowed.

    Raises:
        MissingResolution: none of them gives it; the message names the remedies.
        ConfigError: the user's value is not plausible for a slide, or makes this one larger than any glass; or the list
            has two for this slide.
    """
    if mpp is not None and not may_be_given(mpp):
        raise ConfigError(
            f"{option_name('slides', 'mpp')} must be from {GIVEN_MPP[0]} to {GIVEN_MPP[1]} um per pixel, not {mpp!r}"
        )
    listed = _listed(info, mpp_by_slide or {})
    if listed is not None:
        return _on_glass(listed, info)
    if mpp is not None:
        return _on_glass(Resolution(mpp, mpp, "override for all slides"), info)
    if info.mpp is not None:
        return info.mpp
    odd = [f"it says {info.odd_mpp}"] if info.odd_mpp else []
    if info.tiff_mpp is not None:
        if is_plausible(info.tiff_mpp.x) and is_plausible(info.tiff_mpp.y):
            return info.tiff_mpp
        odd.append(f"its TIFF resolution tags say {info.tiff_mpp.x:g} um")
    implausible = f" ({' and '.join(odd)}, which no scanner has)" if odd else ""
    if allow_objective_power and info.objective_power:
        value = 10.0 / info.objective_power
        return Resolution(value, value, f"objective power {info.objective_power:g}x")
    power = ""
    if info.objective_power:
        value = 10 / info.objective_power
        option = option_name("slides", "allow_objective_power")
        power = f", or {option} to take {value:g} from its {info.objective_power:g}x"
    raise MissingResolution(
        f"{info.path.name}: no microns per pixel recorded{implausible}; give "
        f"{option_name('slides', 'mpp')} for all slides, or "
        f"{option_name('slides', 'mpp_file')}, a CSV with the columns slide,mpp{power}"
    )


def _listed(info: SlideInfo, mpp_by_slide: Mapping[str, Resolution]) -> Resolution | None:
    """What a list says of a slide, which may be named in it by itself or by its file, or by both if they agree."""
    found = {name: mpp_by_slide[name] for name in info.names if name in mpp_by_slide}
    values = {(each.x, each.y) for each in found.values()}
    if len(values) > 1:
        said = ", ".join(f"{name} = {each.x:g} x {each.y:g}" for name, each in found.items())
        raise ConfigError(
            f"{info.path.name}: {option_name('slides', 'mpp_file')} lists it by several names that differ in microns "
            f"per pixel ({said}); keep the right line"
        )
    return next(iter(found.values()), None)


def is_plausible(mpp: float) -> bool:
    """True for a number of microns per pixel that a scanner may have recorded."""
    return math.isfinite(mpp) and PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]


def may_be_given(mpp: float) -> bool:
    """True for a number of microns per pixel that a person may give; thumbnails of whole slides are coarse."""
    return math.isfinite(mpp) and GIVEN_MPP[0] <= mpp <= GIVEN_MPP[1]


def _on_glass(given: Resolution, info: SlideInfo) -> Resolution:
    """The resolution that a person gave, if the slide fits on a glass with it: 250 may be meant as nanometres."""
    if is_plausible(given.x) and is_plausible(given.y):
        return given
    side_mm = max(info.size.width * given.x, info.size.height * given.y) / 1000
    if side_mm > LONGEST_MM:
        raise ConfigError(
            f"{info.path.name}: mpp {given.x:g} ({given.source}) would make it {side_mm / 1000:.2g} m long, and no "
            f"glass is longer than {LONGEST_MM:g} mm; write microns per pixel such as 0.25"
        )
    return given


def odd_mpp(recorded: Mapping[str, str | None]) -> str:
    """What a file records as microns per pixel though it cannot be that, as "name = value, ..."; "" if nothing.

    Args:
        recorded: texts by the names that the file has for them; None where it has none. A comma may be the decimal one.
    """
    found = {name: text.strip() for name, text in recorded.items() if text is not None}
    numbers = {name: finite_number(text.replace(",", ".")) for name, text in found.items()}
    odd = [name for name, number in numbers.items() if number is None or not is_plausible(number)]
    return ", ".join(f"{name} = {found[name][:40] or 'nothing'}" for name in odd)


def finite_number(text: str | None) -> float | None:
    """The number in a slide property, which is text; None if it is missing or not a finite number."""
    try:
        value = float(text) if text is not None and "_" not in text else math.nan  # only Python reads 1_000 as a number
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_mpp_file(path: Path) -> Mapping[str, Resolution]:
    """Microns per pixel by slide name or file name, from a table with the columns slide,mpp (or slide,mpp_x,mpp_y).

    Separators, decimals and encodings are those of `open_table`. Each slide of a run asks for the file; it is parsed
    once per process unless it changes.

    Raises:
        ConfigError: the file is missing or a line is wrong; the message names line, value and remedy.
    """
    return _parsed(FileState.of(path))


@lru_cache(maxsize=4)
def _parsed(state: FileState) -> Mapping[str, Resolution]:
    found: dict[str, Resolution] = {}
    with open_table(state.path, fits=_has_mpp) as table:
        if not _has_mpp(table.header):
            raise table.mistake(f"needs the columns slide,mpp; has {table.shown() or 'none'}")
        names = [name.lower() for name in table.header]
        for line, cells in table.rows():
            slide, resolution = _resolution_of(dict(zip(names, cells, strict=True)), table, line)
            if slide in found:
                raise table.mistake(f"slide {slide} is listed twice; keep one of its lines", line=line)
            found[slide] = resolution
    for note in table.notes:
        log.warning("%s: %s", state.path, note)
    return MappingProxyType(found)


def _has_mpp(header: Sequence[str]) -> bool:
    names = {name.lower() for name in header}
    return "slide" in names and bool(names & {"mpp", "mpp_x"})


def _resolution_of(row: Mapping[str, str], table: Table, line: int) -> tuple[str, Resolution]:
    """Slide and microns per pixel of one line."""
    slide = row["slide"].strip()
    x = "mpp_x" if row.get("mpp_x", "").strip() else "mpp"
    y = "mpp_y" if row.get("mpp_y", "").strip() else x
    if not slide or not row.get(x, "").strip():
        raise table.mistake("slide or mpp is empty; fill it in, or delete the line", line=line)
    mpp = {column: table.numbers([row[column]], [line], column=column)[0] for column in (x, y)}
    for column, value in mpp.items():
        if not may_be_given(value):
            raise table.mistake(
                f"mpp of {slide} is {row[column]}, outside {GIVEN_MPP[0]} to {GIVEN_MPP[1]} um; "
                "write microns per pixel such as 0.25",
                line=line,
                column=column,
            )
    return slide, Resolution(mpp[x], mpp[y], f"override in {table.path.name}")
