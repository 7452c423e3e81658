"""15,000 random and damaged files: a clear error or a right result, never anything else."""

from __future__ import annotations

import copy
import gzip
import json

import numpy as np
import pytest
from shapely.geometry import MultiPolygon, Polygon
from slideloom import RoiError, Size
from slideloom_roi import GeoJson, QuPathCsv, Xml
from slideloom_testing.tiles import info_of

FILES = 5_000
WORDS = (
    b",", b";", b"\n", b'"', b"nan", b"inf", b"-1e999", b"x", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"ROI_0", b"[", b"]",
    b"{", b"}", b"<", b"/>", b"&amp;", b"<?xml", b"<Vertex", b"PK\x03\x04", b"\x1f\x8b",
    b"null", b"1_0", b"-", b"e", b"\xe9", b"999999999999", b":", b"true", b"1,5",
)  # fmt: skip
VALUES = (
    None, True, -1, 1e308, 10**400, "x", "", [], {}, [[]], [1, 2], {"type": "Polygon"}, float("nan"), [[[1, 2]]],
    {"name": ["a"]}, "\ud800", {"names": [None, 3]}, [None], 0.5,
)  # fmt: skip


def valid_csv(random: np.random.Generator) -> bytes:
    lines = ["ROI_Name,X_base,Y_base,label"]
    for i in range(int(random.integers(1, 4))):
        points = random.integers(0, 900, (int(random.integers(3, 7)), 2))
        lines += [f"ROI_{i},{x},{y},{random.choice(['', 'tumor'])}" for x, y in points.tolist()]
    return "\n".join(lines).encode()


def valid_geojson(random: np.random.Generator) -> object:
    features = []
    for i in range(int(random.integers(1, 4))):
        ring = random.integers(0, 900, (int(random.integers(3, 7)), 2)).tolist()
        properties = {"objectType": "annotation", "name": f"a{i}", "classification": {"name": "t", "color": [1, 2, 3]}}
        polygon = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
        geometry = random.choice([polygon, {"type": "GeometryCollection", "geometries": [polygon]}])
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return {"type": "FeatureCollection", "features": features}


def valid_xml(random: np.random.Generator) -> bytes:
    is_asap, parts = random.random() < 0.5, []
    for i in range(int(random.integers(1, 4))):
        points = random.integers(0, 900, (int(random.integers(3, 7)), 2)).tolist()
        if is_asap:
            listed = "".join(f'<Coordinate Order="{n}" X="{x}" Y="{y}"/>' for n, (x, y) in enumerate(points))
            kind = random.choice(["Polygon", "Spline", "Dot"])
            parts.append(f'<Annotation Name="a{i}" Type="{kind}"><Coordinates>{listed}</Coordinates></Annotation>')
        else:
            listed = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in points)
            kind, negative = random.integers(0, 4), random.integers(0, 2)
            parts.append(f'<Region Type="{kind}" NegativeROA="{negative}"><Vertices>{listed}</Vertices></Region>')
    inner = "".join(parts)
    if is_asap:
        return (
            f'<?xml version="1.0"?>\n<ASAP_Annotations><Annotations>{inner}</Annotations></ASAP_Annotations>'.encode()
        )
    return f'<Annotations><Annotation Name="t"><Regions>{inner}</Regions></Annotation></Annotations>'.encode()


def damaged(raw: bytes, random: np.random.Generator) -> bytes:
    """Some bytes cut, changed, doubled or put in."""
    for _ in range(int(random.integers(1, 4))):
        start, end = sorted(random.integers(0, len(raw) + 1, 2).tolist())
        end = min(end, start + int(random.choice([1, 3, 40])))
        kind = random.integers(0, 6)
        middle = raw[start:end]
        put = (b"", middle * 2, WORDS[random.integers(len(WORDS))], random.bytes(2), middle[::-1], middle)[kind]
        raw = raw[:start] + put + (raw[start:] if kind == 5 else raw[end:])
    return raw if random.random() > 0.05 else raw[: random.integers(0, len(raw) + 1)]


def scrambled(content: object, random: np.random.Generator) -> object:
    """One value somewhere in the tree replaced, or a key taken out."""
    content = copy.deepcopy(content)
    node, path = content, None
    while isinstance(node, dict | list) and node and (path is None or random.random() < 0.85):
        key = random.choice(list(node)) if isinstance(node, dict) else int(random.integers(len(node)))
        path, node = (node, key), node[key]
    holder, key = path
    if random.random() < 0.2:
        del holder[key]
    else:
        holder[key] = VALUES[random.integers(len(VALUES))]
    return content


@pytest.mark.parametrize("kind", ["csv", "geojson", "xml"])
def test_damaged_files_give_a_clear_error_or_valid_regions(tmp_path, kind) -> None:
    random = np.random.default_rng(20240229)
    info = info_of("s", size=Size(1000, 800), folder=tmp_path)
    source = {"csv": QuPathCsv, "geojson": GeoJson, "xml": Xml}[kind](folder=tmp_path).build()
    path = tmp_path / f"s.{kind}"
    refused = 0
    for _ in range(FILES):
        if kind in ("csv", "xml"):
            raw = damaged((valid_csv if kind == "csv" else valid_xml)(random), random)
        else:
            content = valid_geojson(random)
            if random.random() < 0.6:
                raw = json.dumps(scrambled(content, random)).encode()
            else:
                raw = damaged(json.dumps(content).encode(), random)
        path.write_bytes(damaged(gzip.compress(raw, mtime=0), random) if random.random() < 0.05 else raw)
        said = ""
        try:
            found = source.regions(info)
        except RoiError as error:
            said = str(error)
        if said:
            refused += 1
            assert said.startswith(f"{path}"), raw
            assert len(said) > len(str(path)) + 10, raw
            continue
        assert len({region.name for region in found.items}) == len(found.items), raw
        for region in found.items:
            assert isinstance(region.shape, Polygon | MultiPolygon), raw
            assert region.shape.is_valid, raw
            assert region.shape.area > 0, raw
            assert region.name.encode(), raw
            assert region.shape.intersects(Polygon([(0, 0), (1000, 0), (1000, 800), (0, 800)])), raw
    assert FILES * 0.1 < refused < FILES * 0.9
