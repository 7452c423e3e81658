"""Whole slides through the command line with a normalizer: tiles on disk are what the step says."""

import json

import cv2
import numpy as np
import pytest
from slideloom_cli.main import main
from slideloom_stain.fits import preset
from slideloom_stain.methods import method

SLIDE = "cmu-1-small-region.svs"


def extract(real_data, out, *options):
    """Runs `slideloom extract`; gives the tiles by file name, and the slide's report."""
    pytest.importorskip("slideloom_openslide")
    pytest.importorskip("slideloom_images")
    arguments = ["--tile-px", "128", "--tile-um", "128", "--sink", "images:format=png", "--quiet", "--filter", "none"]
    code = main(["extract", *arguments, *options, "--reader", "openslide", "--out", str(out), str(real_data / SLIDE)])
    assert code == 0
    reports = [json.loads(path.read_text()) for path in out.rglob(f"slides/{SLIDE.removesuffix('.svs')}.json")]
    tiles = {path.name: cv2.imread(str(path))[..., ::-1] for path in out.rglob("*.png") if "tiles" in path.parts}
    return tiles, reports[0].get("report", reports[0])


def test_extraction_writes_the_tiles_as_macenko_makes_them(real_data, tmp_path):
    raw, _ = extract(real_data, tmp_path / "raw", "--qc", "otsu")
    normalized, report = extract(real_data, tmp_path / "macenko", "--qc", "otsu", "--normalizer", "macenko")

    assert len(normalized) == report["written"] > 20
    for name, tile in normalized.items():
        assert np.array_equal(tile, method("macenko").normalize(np.ascontiguousarray(raw[name]), preset("macenko")))


def test_unfit_tiles_are_counted_by_policy(real_data, tmp_path):
    _, rejecting = extract(real_data, tmp_path / "reject", "--normalizer", "macenko_fast")
    _, keeping = extract(real_data, tmp_path / "keep", "--normalizer", "macenko-fast:unfit=keep-original")

    assert rejecting["rejected"]["normalizer"] > 10  # a third of this slide is glass
    assert keeping["fallback"] == rejecting["rejected"]["normalizer"]
    assert keeping["written"] == keeping["planned"] == rejecting["written"] + rejecting["rejected"]["normalizer"]


def test_threads_do_not_change_tiles_in_the_slides_context(real_data, tmp_path):
    options = ("--qc", "otsu", "--normalizer", "macenko:context=slide,augment=v2,seed=3")

    one, _ = extract(real_data, tmp_path / "one", *options, "--threads", "1")
    three, _ = extract(real_data, tmp_path / "three", *options, "--threads", "3")

    assert one.keys() == three.keys()
    assert all(np.array_equal(tile, three[name]) for name, tile in one.items())
