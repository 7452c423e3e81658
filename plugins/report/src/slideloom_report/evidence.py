"""What a slide's page shows, gathered from the slide, its tile table and the stored tiles."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from attrs import define, evolve, field
from numpy.typing import NDArray
from slideloom import (
    LEGEND,
    Mask,
    OutputFolder,
    Pipeline,
    QcResult,
    Region,
    Resolution,
    Rgb,
    Size,
    Slide,
    SlideError,
    SlideInfo,
    SlideloomError,
    SlideReport,
    Slides,
    apply_regions,
    assess_slide,
    load_mask,
    mask_from_npz,
    open_slide,
    plan_slide,
    stretched,
    tint,
    union_mask,
)

from slideloom_report.cohort import Cohort
from slideloom_report.samples import Boxes, Sample, samples_of, spread
from slideloom_report.stored import some_tiles, stored_locations, stored_tiles

MASK_COLOUR = LEGEND["mask"]
MASK_STRENGTH = 0.4
_UNION_PX = 1024


@define
class Evidence:
    """What is shown of a slide.

    Attributes:
        report: of the slide, with what opening it added (size, mpp).
        picture: (h, w, 3) uint8 of the whole slide, or None if it cannot be read.
        mask: (h, w) bool, what QC discards, on the picture's pixels, or None.
        boxes: tiles by what became of them, "kept" first.
        is_grid: False for tiles around cells, which lie over each other and are best drawn as points.
        regions: outlines.
        samples: of kept tiles.
        notes: what is missing and why.
    """

    report: SlideReport
    picture: Rgb | None = None
    mask: Mask | None = None
    boxes: dict[str, Boxes] = field(factory=dict)
    is_grid: bool = True
    regions: tuple[Region, ...] = ()
    samples: list[Sample] = field(factory=list)
    notes: list[str] = field(factory=list)


def gather(cohort: Cohort, report: SlideReport, *, max_px: int, samples: int) -> Evidence:
    """Everything a slide's page shows; what cannot be had becomes a note, never an error."""
    found = Evidence(report, is_grid="placement" not in cohort.table)
    try:
        with _opened(cohort, report) as slide:
            _from_slide(found, cohort, slide, max_px=max_px, samples=samples)
    except SlideloomError as error:
        found.notes.append(f"No picture of the slide: {error}")
    except Exception as error:  # a plugin of somebody else's must not cost the report of a whole run
        found.notes.append(f"No picture of the slide: {type(error).__name__}: {error}")
    if found.picture is None:
        _without_slide(found, cohort, samples)
    return found


@contextmanager
def _opened(cohort: Cohort, report: SlideReport) -> Iterator[Slide]:
    path = cohort.files.get(report.slide, Path(report.path) if report.path else None)
    if path is None:
        raise SlideError("the tiles do not say where their slide is; name it with --slides")
    if not path.exists():
        raise SlideError(f"{path} is not there any more; say with --slides where slides are now")
    if report.mpp is None:
        rules = cohort.pipeline.slides if cohort.pipeline is not None else Slides()
        with open_slide(path, slides=rules) as slide:
            yield slide
        return
    x, y = report.mpp
    with open_slide(path, slides=Slides(reader=report.reader or None), mpp=(x + y) / 2) as slide:
        slide.use_mpp(Resolution(x, y, report.mpp_source))
        yield slide


def _from_slide(found: Evidence, cohort: Cohort, slide: Slide, *, max_px: int, samples: int) -> None:
    slide.info = evolve(slide.info, name=found.report.slide)
    found.report = _completed(found.report, slide.info)
    picture: Rgb = np.array(slide.thumbnail(max_px=max_px))
    discard: QcResult | None = None
    if cohort.kind == "dry-run" and cohort.pipeline is not None:
        discard = _plan_again(found, cohort.pipeline, slide)
    else:
        found.boxes = _boxes_of_tables(found, cohort)
        found.regions = _regions(found, cohort.pipeline, slide.info)
        discard = _saved_mask(cohort, found.report, slide.info)
    if discard is not None:
        size = Size(picture.shape[1], picture.shape[0])
        found.mask = stretched(discard.mask, extent=slide.info.box, whole=slide.info.size, size=size)
        tint(picture, found.mask, colour=MASK_COLOUR, strength=MASK_STRENGTH)
    found.picture = picture
    kept = spread(found.boxes.get("kept"), samples)
    mask = None if discard is None else discard.mask
    found.samples = samples_of(slide, cohort, found.report, kept, discard=mask, notes=found.notes)


def _completed(report: SlideReport, info: SlideInfo) -> SlideReport:
    """The report of a slide that only its stored tiles are known of, with what the slide itself says."""
    if report.mpp is not None or info.mpp is None:
        return report
    scale = report.tile_um / info.mpp.x, report.tile_um / info.mpp.y
    footprint = (int(scale[0] + 1e-6), int(scale[1] + 1e-6))
    level = info.level_for(min(footprint) / report.tile_px) if report.tile_px and min(footprint) else 0
    return evolve(
        report,
        mpp=(info.mpp.x, info.mpp.y),
        mpp_source=info.mpp.source,
        size=(info.size.width, info.size.height),
        footprint=footprint,
        reader=info.reader,
        level=level,
    )


def _plan_again(found: Evidence, pipeline: Pipeline, slide: Slide) -> QcResult | None:
    """What a dry run decided, decided again: it leaves nothing behind that could be read."""
    plan = plan_slide(slide, pipeline)
    apply_regions(plan)
    assess_slide(plan, pipeline)
    tiles = plan.ledger.tiles
    words = ["kept" if word == "candidate" else word for word in plan.ledger.status()]
    found.boxes = _grouped(words, np.stack([tiles.x, tiles.y], axis=1), found.report)
    found.regions = plan.regions
    if not plan.qc:
        return None
    size = slide.info.size
    scale = min(1.0, _UNION_PX / max(size.width, size.height))
    shape = (max(1, round(size.height * scale)), max(1, round(size.width * scale)))
    return QcResult(mask=union_mask([result for _, result in plan.qc], size, shape), kind="artifact")


def _boxes_of_tables(found: Evidence, cohort: Cohort) -> dict[str, Boxes]:
    """Tiles by what became of them, from the tile table, else the places that were stored."""
    report = found.report
    if report.tile_table:
        try:
            with (cohort.out / report.tile_table).open(newline="", encoding="utf-8") as file:
                rows = csv.DictReader(file)
                table = [(row["status"], int(row["loc_x"]), int(row["loc_y"])) for row in rows]
        except (OSError, ValueError, KeyError, csv.Error):  # the stored tiles know their places too
            table = []
        if table:
            words = ["kept" if word == "written" else word for word, _, _ in table]
            return _grouped(words, _corners(np.array([place for _, *place in table]), report), report)
    places = stored_locations(cohort.out, report)
    if places is None or not len(places):
        return {}
    found.is_grid = found.is_grid and _spacing(report, places) is not None
    return _grouped(["kept"] * len(places), _corners(places, report), report)


def _corners(centres: NDArray[np.int64], report: SlideReport) -> NDArray[np.int64]:
    """(N, 2) top left of tiles whose centres are known."""
    corners: NDArray[np.int64] = centres - np.array(_footprint(report, centres)) // 2
    return corners


def _footprint(report: SlideReport, centres: NDArray[np.int64]) -> tuple[int, int]:
    """Level-0 size of a tile: as reported, else the smallest distance of neighbours."""
    if min(report.footprint) > 0:
        return report.footprint
    return _spacing(report, centres) or (max(1, report.tile_px), max(1, report.tile_px))


def _spacing(report: SlideReport, centres: NDArray[np.int64]) -> tuple[int, int] | None:
    """Distance of neighbouring tiles along x and y, or None for tiles that are on no grid."""
    gaps = [np.diff(np.unique(centres[:, axis])) for axis in (0, 1)]
    width, height = (int(gap.min()) if len(gap) else max(1, report.tile_px) for gap in gaps)
    # Tiles of a grid are hardly ever this close to each other, cells by chance are.
    return (width, height) if min(width, height) >= report.tile_px / 8 else None


def _grouped(words: Sequence[str], corners: NDArray[np.int64], report: SlideReport) -> dict[str, Boxes]:
    """Tiles by word, "kept" first, also if there are none."""
    size = np.array(_footprint(report, corners))
    boxes = np.concatenate([corners, np.broadcast_to(size, corners.shape)], axis=1)
    status = np.array(words, dtype=object)
    names = ["kept", *sorted({word for word in words if word != "kept"})]
    return {name: boxes[status == name] for name in names}


def _regions(found: Evidence, pipeline: Pipeline | None, info: SlideInfo) -> tuple[Region, ...]:
    items: list[Region] = []
    for use in pipeline.roi if pipeline is not None else ():
        if use.method == "ignore":
            continue
        try:
            regions = use.source.build().regions(info)
        except SlideloomError as error:
            found.notes.append(f"Regions are not drawn: {error}")
            continue
        items.extend(regions.items if regions is not None else ())
    return tuple(items)


def _saved_mask(cohort: Cohort, report: SlideReport, info: SlideInfo) -> QcResult | None:
    path = OutputFolder(cohort.out, cohort.label).discard(report.slide) if report.tile_table else None
    if path is None or not path.exists():
        return None
    try:
        return load_mask(path, slide=info, decode=mask_from_npz)
    except SlideError:  # of an older version or damaged; the coloured tiles still show what was dropped
        return None


def _without_slide(found: Evidence, cohort: Cohort, count: int) -> None:
    """Places and pixels from stored tiles alone."""
    report = found.report
    try:
        found.boxes = _boxes_of_tables(found, cohort)
        kept = spread(found.boxes.get("kept"), count)
        places = [(x + width // 2, y + height // 2) for x, y, width, height in kept.tolist()]
        tiles = stored_tiles(cohort.out, report, places)
        found.samples = [
            Sample(place, after=tile) for place, tile in zip(places, tiles, strict=True) if tile is not None
        ]
        if not places and report.written:
            for output in report.outputs:
                found.samples = [Sample(None, after=tile) for tile in some_tiles(cohort.out / output, count)]
                break
    except SlideloomError as error:
        found.notes.append(f"No sample tiles: {error}")
