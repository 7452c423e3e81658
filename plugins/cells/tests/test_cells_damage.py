"""Random and damaged files of cells: a clear error or places on the slide, never anything else."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path

import attrs
import numpy as np
import pytest
from slideloom import Placed, Size, SlideError
from slideloom_cells import CsvCells, QuPathCells
from slideloom_testing import PixelsSlide, scene_of

FILES = 3_000
WORDS = (
    b",", b";", b"\t", b"\n", b"\r", b'"', b"nan", b"inf", b"-1e999", b"1,5", b"1.5", b"1_0", b"\0", b"\xff\xfe",
    b"[", b"]", b"{", b"}", b"null", b"1e400", b"Centroid X", b"sep=;\n", b"\x1f\x8b", b"PK\x03\x04", b"\xb5",
)  # fmt: skip
VALUES = (
    None, True, -1, 1e308, 10**400, "x", "", [], {}, [[]], [1, 2], [[[1, 2]]], [None], [[[1], [2, 3], [4, 5], [1]]],
    {"type": "Point"}, {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, 0.5, "\ud800",
)  # fmt: skip


def valid_table(random: np.random.Generator) -> bytes:
    unit = random.choice(["px", "µm", "um", ""])
    rows = [["Image", "Object type", f"Centroid X {unit}", f"Centroid Y {unit}", "Area"]]
    for x, y in random.uniform(0, 200, (int(random.integers(1, 5)), 2)).tolist():
        rows.append(["a.svs", str(random.choice(["Cell", "Detection", "Annotation"])), f"{x:.2f}", f"{y:.2f}", "30"])
    separator = str(random.choice([",", ";", "\t"]))
    text = str(random.choice(["\n", "\r\n", "\r"])).join(separator.join(row) for row in rows)
    return text.encode(str(random.choice(["utf-8", "utf-16", "latin-1"])))


def valid_points(random: np.random.Generator) -> bytes:
    rows = [f"a,{x:.2f},{y:.2f}" for x, y in random.uniform(0, 200, (3, 2)).tolist()]
    return "\n".join(["slide,x,y", *rows]).encode()


def valid_geojson(random: np.random.Generator) -> object:
    features = []
    for x, y in random.integers(0, 180, (int(random.integers(1, 4)), 2)).tolist():
        ring = [[x, y], [x + 9, y], [x + 9, y + 9], [x, y + 9], [x, y]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        if random.random() < 0.3:
            geometry = {"type": "Point", "coordinates": [x, y]}
        properties = {"objectType": "cell", "classification": {"name": "Tumor"}}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return {"type": "FeatureCollection", "features": features}


def scrambled(content: object, random: np.random.Generator) -> object:
    """One value somewhere in the tree replaced, or a key taken out."""
    content = copy.deepcopy(content)
    node, path = content, None
    while isinstance(node, dict | list) and node and (path is None or random.random() < 0.85):
        key = random.choice(list(node)) if isinstance(node, dict) else int(random.integers(len(node)))
        path, node = (node, key), node[key]
    assert path is not None
    holder, key = path
    if random.random() < 0.2:
        del holder[key]
    else:
        holder[key] = VALUES[random.integers(len(VALUES))]
    return content


def damaged(raw: bytes, random: np.random.Generator) -> bytes:
    """Some bytes cut, changed, doubled or put in."""
    for _ in range(int(random.integers(1, 4))):
        start, end = sorted(random.integers(0, len(raw) + 1, 2).tolist())
        end = min(end, start + int(random.choice([1, 3, 40])))
        middle = raw[start:end]
        put = (b"", middle * 2, WORDS[random.integers(len(WORDS))], random.bytes(2), middle[::-1])[random.integers(5)]
        raw = raw[:start] + put + raw[end:]
    return raw if random.random() > 0.05 else raw[: random.integers(0, len(raw) + 1)]


def one_file(kind: str, random: np.random.Generator) -> bytes:
    if kind == "geojson":
        content = valid_geojson(random)
        is_tree = random.random() < 0.6
        text = json.dumps(scrambled(content, random) if is_tree else content)
        raw = text.encode() if is_tree else damaged(text.encode(), random)
    else:
        raw = damaged((valid_table if kind == "table" else valid_points)(random), random)
    return damaged(gzip.compress(raw, mtime=0), random) if random.random() < 0.05 else raw


@pytest.mark.parametrize("kind", ["table", "points", "geojson"])
def test_damaged_files_give_a_clear_error_or_places_on_the_slide(tmp_path: Path, kind: str) -> None:
    random = np.random.default_rng(20240301)
    slide = PixelsSlide(np.full((300, 300, 3), 200, np.uint8), mpp=0.5)
    scene = scene_of(tile_px=10, footprint=Size(10, 10), mpp=0.5)
    path = tmp_path / f"cells.{'geojson' if kind == 'geojson' else 'csv'}"
    path.touch()
    settings = CsvCells(folder=path) if kind == "points" else QuPathCells(folder=path)
    placement = settings.build()
    slide.info = attrs.evolve(slide.info, name="a", path=Path("a.svs"))
    refused = 0
    for _ in range(FILES):
        raw = one_file(kind, random)
        path.write_bytes(raw)
        said = ""
        try:
            found = placement.place(slide, scene)
        except SlideError as error:
            said = str(error)
        if said:
            refused += 1
            assert said.startswith((str(path), "a.svs: none of")), raw
            assert len(said) > len(str(path)) + 10 or said.startswith("a.svs"), raw
            continue
        assert isinstance(found, Placed)
        counts = found.metrics
        assert counts["cells"] == len(found.tiles) + counts["off_slide"] + counts["over_edge"], raw
        assert ((found.tiles.loc_x >= 0) & (found.tiles.loc_x < 300)).all(), raw
        assert ((found.tiles.loc_y >= 0) & (found.tiles.loc_y < 300)).all(), raw
    assert FILES * 0.1 < refused < FILES * 0.95
