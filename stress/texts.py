"""Files that people and programs write, nearly right: pipelines, regions, cells, tables, and what we stored."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import slideloom as sl
from slideloom_testing import write_demo_slide
from slideloom_tfrecord import TFRecordFile

from stress.judging import Done, command, content_of, judged, left_over
from stress.mutations import damaged, damaged_text
from stress.verdicts import Campaign, Kind, Verdict

_SIZE = sl.Size(700, 500)
_TILES = ("--tile-px", 64, "--tile-um", 64)
_RUN = ("--qc", "otsu", "--sink", "tfrecord", "--filter", "none", "--jobs", 1, "--threads", 1, "--quiet")
_Judge = Callable[[Path, Path, Path], Verdict]  # of the good files, a folder for the case, and the damaged file
_SQUARE = [(100, 100), (400, 100), (400, 300), (100, 300)]

PIPELINE = """slideloom = 1

[slides]
include = ["slides/*.svs"]
mpp = 0.5
use_bounds = false

[tiles]
size_px = 299
size_um = 302.5
stride_div = 1
max_tiles = 100
seed = 3

[[roi]]
use = "qupath-csv"
folder = "roi"
method = "inside"
threshold = 0.5

[[qc]]
use = "gaussian-v2"
mpp = 4
filter_threshold = 0.6

[[filter]]
use = "grayspace"

[normalizer]
use = "macenko"
target = "v3"

[[sink]]
use = "tfrecord"
format = "jpeg"
quality = 95

[run]
jobs = 2
threads = 1
"""


def _region(points: list[tuple[int, int]]) -> dict[str, object]:
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*map(list, points), list(points[0])]]},
        "properties": {"objectType": "annotation", "classification": {"name": "tumor"}, "name": "a"},
    }


def _texts() -> dict[str, str]:
    """A good file of each form, by the path it has in a case's folder."""
    csv_rows = "".join(f"a,tumor,{x}.5,{y}\n" for x, y in _SQUARE)
    points = "".join(f"<point><x>{(x - 350) * 1000}</x><y>{(y - 250) * 1000}</y></point>" for x, y in _SQUARE)
    cells = [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [x, y]}, "properties": {"objectType": "cell"}}
        for x, y in _SQUARE
    ]
    return {
        "check/p.toml": PIPELINE,
        "roi/demo.csv": "ROI_name,label,x_base,y_base\n" + csv_rows,
        "roi/demo.geojson": json.dumps({"type": "FeatureCollection", "features": [_region(_SQUARE)]}),
        "roi/demo.svs.ndpa": '<?xml version="1.0"?>\n<annotations><ndpviewstate id="1"><title>tumor</title>'
        f'<annotation type="freehand"><pointlist>{points}</pointlist><closed>1</closed></annotation>'
        "</ndpviewstate></annotations>",
        "cells-csv/demo.csv": "slide,x,y\n" + "".join(f"demo,{x},{y}\n" for x, y in _SQUARE),
        "cells-qupath/demo.geojson": json.dumps({"type": "FeatureCollection", "features": cells}),
        "cells-qupath/demo.tsv": "Image\tName\tCentroid X px\tCentroid Y px\n"
        + "".join(f"demo.svs\tcell\t{x}\t{y}\n" for x, y in _SQUARE),
        "mpp/mpp.csv": "slide,mpp\ndemo,1.0\nother,0.25\n",
        "annotations/labels.csv": "patient,slide,response,age\nP1,demo,yes,61\nP2,other,no,\n",
    }


def prepare(folder: Path) -> None:
    """A slide, good files, and a finished run whose files are damaged, too."""
    made = folder / "made"
    made.mkdir()
    write_demo_slide(made / "demo.svs", size=_SIZE, mpp=1.0, seed=0)
    for name, text in _texts().items():
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_text(text, encoding="utf-8")
    done = command("extract", made / "demo.svs", *_TILES, *_RUN, "--save-masks", "--out", made / "run")
    if done.code != 0:
        raise RuntimeError(done.err)
    done = command("project", "create", made / "proj", "--slides", made / "demo.svs")
    if done.code != 0:
        raise RuntimeError(done.err)


def _forms(made: Path) -> dict[str, _Judge]:
    """What judges a damaged file of each form."""
    run = [path.relative_to(made).as_posix() for path in sorted((made / "run").rglob("*")) if path.is_file()]
    forms: dict[str, _Judge] = dict.fromkeys(_texts(), _tiles)
    forms |= {"check/p.toml": _check, "mpp/mpp.csv": _mpp, "annotations/labels.csv": _annotations}
    forms["proj/project.toml"] = _project
    for name in run:
        if name.endswith(".index.npz"):
            forms[name] = _index
        elif "/masks/" in name:
            forms[name] = _mask
        elif name.endswith("params.json"):
            forms[name] = _params
        elif "/slides/" in name or name.endswith(("pipeline.json", "manifest.json", "extraction_report.json")):
            forms[name] = _resumed
    return forms


def cases(folder: Path, seed: int) -> list[str]:
    """`NUMBER/FILE`, the forms in turn."""
    names = sorted(_forms(folder / "made"))
    return [f"{seed}.{number}/{name}" for number in range(2000) for name in names]


def judge(folder: Path, case: str) -> Verdict:
    """A damaged file is understood, or refused in our words."""
    _, _, name = case.partition("/")
    made, place = folder / "made", folder / "case"
    shutil.rmtree(place, ignore_errors=True)
    target = place / name
    target.parent.mkdir(parents=True)
    good = (made / name).read_bytes()
    is_text = target.suffix not in (".npz", ".npy")
    target.write_bytes(damaged_text(good.decode("utf-8"), case) if is_text else damaged(good, case))
    return _forms(made)[name](made, place, target)


def _check(made: Path, place: Path, target: Path) -> Verdict:
    return judged(lambda: command("check", target))


def _tiles(made: Path, place: Path, target: Path) -> Verdict:
    """Regions, or cells, by `slideloom tiles`."""
    table = place / "tiles.csv"
    kind = target.parent.name
    words = ("--roi", target.parent) if kind == "roi" else ("--placement", f"{kind}:folder={target.parent}")
    return judged(
        lambda: command("tiles", made / "demo.svs", *_TILES, *words, "--out", table), lambda: _wrong_table(table)
    )


def _wrong_table(table: Path) -> str:
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        x, y = float(row["loc_x"]), float(row["loc_y"])
        if not (math.isfinite(x) and 0 <= x <= _SIZE.width and math.isfinite(y) and 0 <= y <= _SIZE.height):
            return f"a tile's centre lies at {x}, {y}"
    return ""


def _mpp(made: Path, place: Path, target: Path) -> Verdict:
    table = place / "tiles.csv"
    return judged(
        lambda: command("tiles", made / "demo.svs", *_TILES, "--mpp-file", target, "--out", table),
        lambda: _wrong_table(table),
    )


def _annotations(made: Path, place: Path, target: Path) -> Verdict:
    def act() -> Done:
        project = sl.Project.create(place / "proj", slides=made / "demo.svs", annotations=target)
        project.dataset(64, 64, filters={"response": "yes"}).summary()
        return Done(0, "", "")

    return judged(act)


def _project(made: Path, place: Path, target: Path) -> Verdict:
    return judged(lambda: command("project", "summary", target.parent, *_TILES))


def _index(made: Path, place: Path, target: Path) -> Verdict:
    """An index beside a good TFRecord may be ignored, but never be believed where it lies."""
    name = target.name.removesuffix(".index.npz")
    truth = next((made / "run").rglob(f"{name}.tfrecords"))
    shutil.copy(truth, target.with_name(truth.name))

    def is_right() -> str:
        with TFRecordFile(truth) as wanted, TFRecordFile(target.with_name(truth.name)) as found:
            if len(found) != len(wanted):
                return f"{len(found)} records instead of {len(wanted)}"
            same = all(found[at].image_raw == wanted[at].image_raw for at in range(len(wanted)))
            places, good = found.locations, wanted.locations
            is_same = places is None or (good is not None and np.array_equal(places, good))
            return "" if same and is_same else "other records or places than the file holds"

    def act() -> Done:
        with TFRecordFile(target.with_name(truth.name)) as file:
            return Done(0 if len(file) >= 0 else 1, "", "")

    return judged(act, is_right)


def _mask(made: Path, place: Path, target: Path) -> Verdict:
    """A mask and its record, one of them damaged, is the mask that was saved, or is refused."""
    for part in sorted((made / target.parent.relative_to(place)).glob(f"{target.stem}.*")):
        if part.name != target.name:
            shutil.copy(part, target.parent)
    good = next((made / target.parent.relative_to(place)).glob(f"{target.stem}.np[yz]"), None)
    stored = target.parent / good.name if good is not None else target
    truth = sl.load_mask(good) if good is not None else None

    def act() -> Done:
        sl.load_mask(stored)
        return Done(0, "", "")

    def is_right() -> str:
        found = sl.load_mask(stored)
        return "" if truth is None or np.array_equal(found.mask, truth.mask) else "another mask than was saved"

    return judged(act, is_right)


def _params(made: Path, place: Path, target: Path) -> Verdict:
    def act() -> Done:
        sl.load_params(target)
        return Done(0, "", "")

    return judged(act)


def _resumed(made: Path, place: Path, target: Path) -> Verdict:
    """A damaged report of an earlier run costs time, never a tile."""
    damaged_file = target.read_bytes()
    shutil.copytree(made / "run", place / "run", dirs_exist_ok=True)
    target.write_bytes(damaged_file)
    ran = judged(
        lambda: command("extract", made / "demo.svs", *_TILES, *_RUN, "--save-masks", "--out", place / "run"),
        lambda: _other_output(content_of(place / "run"), content_of(made / "run")),
    )
    if ran.kind is Kind.RIGHT and left_over(place / "run"):
        return Verdict(Kind.WRONG, f"left over: {left_over(place / 'run')}")
    return ran


def _other_output(found: dict[str, bytes], good: dict[str, bytes]) -> str:
    """What is no longer as it was; a manifest may hold more, but counts our files right."""
    if found.keys() != good.keys():
        return f"missing {sorted(good.keys() - found.keys())}, too many {sorted(found.keys() - good.keys())}"
    for name, content in good.items():
        if name.endswith("manifest.json"):
            ours, theirs = json.loads(content), json.loads(found[name])
            if any(theirs.get(key, {}).get("total") != ours[key]["total"] for key in ours):
                return f"{name} has other counts"
        elif found[name] != content:
            return f"other bytes in {name}"
    return ""


CAMPAIGN = Campaign(
    name="texts",
    help="damaged pipelines, regions, cells, tables, masks, indexes and reports",
    prepare=prepare,
    cases=cases,
    judge=judge,
)
