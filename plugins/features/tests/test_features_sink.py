"""What stands in the files, and what is left after an error."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from slideloom import (
    OutputError,
    Resolution,
    Size,
    SlideInfo,
    SlideReport,
    levels_from_sizes,
    pipeline_from_table,
    run_pipeline,
)
from slideloom_features import Features
from slideloom_testing.contracts import SinkContract
from slideloom_testing.disks import full_disk
from slideloom_testing.fixtures import DemoFiles

from plugins.features.tests.stored_features import SMALL_MODELS, batch, expected_colours, given, scene, stored


class TestFeatures(SinkContract):
    settings = Features(factory="network", code=SMALL_MODELS, device="cpu", batch=3)


class TestFeaturesForClamAndAnnData(SinkContract):
    settings = Features(factory="colours", code=SMALL_MODELS, device="cpu", style="clam", anndata=True, batch=4)


def rows(path: Path, name: str = "features") -> np.ndarray:
    with h5py.File(path, "r") as file:
        return file[name][:]


def test_features_are_those_of_the_formula_in_the_order_of_tiles(tmp_path: Path) -> None:
    tiles = batch(7)

    (path,) = stored(tmp_path, given(batch=3), tiles)

    assert path == tmp_path / "features" / scene().geometry.label / "features_colours" / "slide.h5"
    with h5py.File(path, "r") as file:
        assert sorted(file) == ["coords", "features"]
        assert file["features"].dtype == np.float32
        assert file["coords"].dtype == np.int64
        np.testing.assert_allclose(file["features"][:], expected_colours(tiles.rgb), rtol=1e-5, atol=1e-5)
        assert file["coords"][:].tolist() == np.stack([tiles.tiles.x, tiles.tiles.y], axis=1).tolist()


@pytest.mark.parametrize("size", [1, 2, 5, 64])
def test_another_batch_changes_features_by_rounding_only(tmp_path: Path, size: int) -> None:
    (one,) = stored(tmp_path / "one", given("network", batch=3), batch(7))
    (other,) = stored(tmp_path / "other", given("network", batch=size), batch(7))

    assert np.abs(rows(one) - rows(other)).max() <= 1e-5 * np.abs(rows(one)).max()


def test_the_model_and_its_transform_are_written_down(tmp_path: Path) -> None:
    settings = given(mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 1), mpp=1, input_px=32)

    (path,) = stored(tmp_path, settings, batch(2))

    with h5py.File(path, "r") as file:
        found = dict(file["features"].attrs)
    assert found["encoder"] == found["model"] == "colours"
    assert (found["input_px"], found["input_mpp"], found["model_mpp"], found["precision"]) == (32, 2.0, 1.0, "full")
    assert (found["mean"].tolist(), found["std"].tolist()) == ([0.5, 0.5, 0.5], [0.25, 0.5, 1.0])
    # names, types, shapes and values of the state dict
    import hashlib

    state = b"weight torch.float32 (6,)\n" + np.ones(6, np.float32).tobytes()
    assert found["weights_sha256"] == hashlib.sha256(state).hexdigest()
    assert found["savetodir"] == path.parent.relative_to(tmp_path).as_posix()


def test_a_tile_is_resized_to_the_input_by_the_mean_over_area(tmp_path: Path) -> None:
    tiles = batch(3)
    halved = tiles.rgb.reshape(3, 32, 2, 32, 2, 3).astype(float).mean(axis=(2, 4))

    (path,) = stored(tmp_path, given(input_px=32), tiles)

    np.testing.assert_allclose(rows(path), expected_colours(np.floor(halved + 0.5)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("mpp", "input_px", "warned"),
    [(1.0, 64, False), (1.09, 64, False), (0.5, 64, True), (2.0, 32, False), (1.0, 32, True)],
)
def test_a_slide_is_warned_of_once_if_the_model_sees_another_resolution(
    tmp_path: Path, mpp: float, input_px: int, warned: bool
) -> None:
    sink = given(mpp=mpp, input_px=input_px).build()
    writer = sink.open(info(), scene(), tmp_path)
    for part in (batch(3), batch(3)):
        writer.write(part.tiles, sink.encode(part))
    writer.commit()

    seen = 1.0 * 64 / input_px
    wanted = f"features: colours sees {seen:g} um per pixel, but was trained at {mpp:g}; change the tiles' size"
    assert list(writer.notes()) == ([wanted] if warned else [])


def info(name: str = "slide") -> SlideInfo:
    levels = levels_from_sizes([Size(20000, 16000), Size(5000, 4000)])
    return SlideInfo(
        path=Path(f"{name}.svs"), name=name, reader="none", levels=levels, mpp=Resolution(0.25, 0.25, "test")
    )


def test_clam_finds_its_two_folders_and_the_same_numbers_in_both(tmp_path: Path) -> None:
    made = stored(tmp_path, given(style="clam", encoder="enc"), batch(5))

    h5, pt = sorted(made)
    assert [path.relative_to(tmp_path).parts[-3:] for path in (h5, pt)] == [
        ("features_enc", "h5_files", "slide.h5"),
        ("features_enc", "pt_files", "slide.pt"),
    ]
    tensor = torch.load(pt, weights_only=True)
    assert tensor.dtype == torch.float32
    assert np.array_equal(tensor.numpy(), rows(h5))


def test_files_of_many_rows_hold_them_all(tmp_path: Path) -> None:
    """More than a chunk of 64 KiB, which is 2730 rows of six numbers."""
    part = batch(50, px=32)
    parts = [part] * 110

    (path,) = stored(tmp_path, given(batch=64), *parts)

    assert rows(path).shape == (5500, 6)
    np.testing.assert_allclose(rows(path), np.tile(expected_colours(part.rgb), (110, 1)), rtol=1e-4, atol=1e-5)


def test_a_slide_without_tiles_leaves_nothing_and_removes_an_older_result(tmp_path: Path) -> None:
    stored(tmp_path, given(anndata=True, style="clam"), batch(2))

    assert stored(tmp_path, given(anndata=True, style="clam")) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_disk_that_fills_up_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    with full_disk(after_bytes=20_000), pytest.raises(OutputError, match="no room left"):
        stored(tmp_path, given(batch=64), *[batch(50, px=32)] * 110)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("short", r"short gave an array of shape \(2, 6\): wanted a row of features for each tile, \(3, D\)"),
        ("tokens", r"shape \(3, 4, 6\): wanted .*; let the model pool its tokens or maps"),
        ("single", r"shape \(3,\): wanted"),
        ("several", r"several gave tuple: wanted"),
        ("nan", r"nan gave NaN or infinity for 1 of 3 tiles; check mean, std and precision"),
        ("wavering", r"wavering gave 5 features for a tile, and 6 for those before it"),
        ("raises", r"raises fails on 3 tiles of 64 x 64 px \(RuntimeError: no such layer\)"),
    ],
)
def test_a_model_that_breaks_its_word_is_an_error_with_its_shapes(tmp_path: Path, fault: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        stored(tmp_path, given(fault, batch=3), batch(6))


def test_places_have_the_attributes_that_the_sink_hdf5_gives_trident(tmp_path: Path) -> None:
    from slideloom_hdf5 import HDF5

    for footprint, px, mpp in ((1024, 256, 1.0), (1208, 299, 302 / 299), (50, 100, 0.125)):
        from slideloom.slides.tiles import TileGeometry
        from slideloom.steps.scene import Scene as AnyScene

        sizes = Size(footprint, footprint), Size(footprint // 2, footprint // 2)
        where = AnyScene(TileGeometry(px, px * mpp, *sizes, level=1, mpp=mpp, label=f"{px}px"))
        tiles = batch(2, px=px)
        home = tmp_path / str(footprint)
        (path,) = stored(home, given(), tiles, info=info(), scene=where)
        sink = HDF5().build()
        writer = sink.open(info(), where, home)
        writer.write(tiles.tiles, sink.encode(tiles))
        (places,) = writer.commit()
        with h5py.File(path, "r") as ours, h5py.File(places, "r") as theirs:
            assert np.array_equal(ours["coords"], theirs["coords"])
            own = {name: np.asarray(value).tolist() for name, value in ours["coords"].attrs.items()}
            other = {name: np.asarray(value).tolist() for name, value in theirs["coords"].attrs.items()}
        for name in ("savetodir", "save_path", "note"):
            own.pop(name, None), other.pop(name)
        assert own == other


def run_of(slide: Path, out: Path, *, run: dict[str, object] | None = None, **sink: object) -> SlideReport:
    table = {
        "slideloom": 1,
        "tiles": {"size_px": 64, "size_um": 64},
        "qc": [{"use": "tissue"}],
        "sink": [
            {"use": "features", "code": str(SMALL_MODELS), "device": "cpu", **sink},
            {"use": "tfrecord", "shuffle": False},
        ],
        "run": run or {"jobs": 1, "threads": 2},
    }
    return run_pipeline(pipeline_from_table(table, where="test"), [slide], out).slides[0]


def features_of(out: Path, report: SlideReport) -> Path:
    (path,) = [out / name for name in report.outputs if name.endswith(".h5")]
    return path


def test_a_run_stores_features_of_every_written_tile_and_is_finished(demo_slide: DemoFiles, tmp_path: Path) -> None:
    report = run_of(demo_slide.path, tmp_path, factory="colours", mpp=0.5)

    assert report.status == "done", report.error
    assert "features: colours sees 1 um per pixel, but was trained at 0.5" in " ".join(report.warnings)
    assert len(rows(features_of(tmp_path, report))) == report.written > 0
    assert run_of(demo_slide.path, tmp_path, factory="colours", mpp=0.5).status == "skipped"


def test_a_model_that_breaks_its_word_is_blamed_and_leaves_nothing_of_the_slide(
    demo_slide: DemoFiles, tmp_path: Path
) -> None:
    report = run_of(demo_slide.path, tmp_path, factory="nan")

    assert report.status == "failed"
    assert "sink 'features' of slideloom-features 0.1.0 failed on slide" in report.error
    assert "NaN or infinity" in report.error
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".h5", ".tfrecords"}]


def test_threads_and_batches_of_a_run_change_no_bit(demo_slide: DemoFiles, tmp_path: Path) -> None:
    runs = ({"jobs": 1, "threads": 1, "batch_tiles": 3}, {"jobs": 1, "threads": 2, "batch_tiles": 64})

    made = [
        features_of(tmp_path / str(n), run_of(demo_slide.path, tmp_path / str(n), run=run, factory="network", batch=8))
        for n, run in enumerate(runs)
    ]

    assert made[0].read_bytes() == made[1].read_bytes()


def test_a_run_with_other_weights_refuses_the_folder_and_a_redo_makes_the_features_again(
    demo_slide: DemoFiles, tmp_path: Path
) -> None:
    weights = tmp_path / "w.safetensors"

    def run(factor: float, **options: object) -> SlideReport:
        save_file({"weight": torch.full((6,), factor)}, weights)
        choice = {"jobs": 1, "threads": 2, **options}
        return run_of(demo_slide.path, tmp_path / "out", run=choice, factory="colours", weights=str(weights))

    first = run(1.0)
    before = rows(features_of(tmp_path / "out", first))
    assert run(1.0).status == "skipped"
    with pytest.raises(OutputError, match="made with other settings:\\n  the content of a file that the settings name"):
        run(2.0)
    again = run(2.0, redo=True)

    assert again.status == "done"
    np.testing.assert_allclose(rows(features_of(tmp_path / "out", again)), 2 * before, rtol=1e-6)


@pytest.mark.filterwarnings("ignore")  # anndata was made for an older pandas than the one beside it
def test_anndata_opens_what_was_written(tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata")
    tiles = batch(4, labels=["tumor", None, "stroma", "tumor"])

    made = stored(tmp_path, given(anndata=True, encoder="enc", mpp=1), tiles)

    (path,) = [each for each in made if each.suffix == ".h5ad"]
    (bag,) = [each for each in made if each.suffix == ".h5"]
    found = anndata.read_h5ad(path)
    assert path.parent.name == "anndata_enc"
    assert found.shape == (4, 6)
    assert np.array_equal(found.X, rows(bag))
    assert found.obs_names.tolist() == [
        f"slide-{x}-{y}" for x, y in zip(tiles.tiles.loc_x, tiles.tiles.loc_y, strict=True)
    ]
    assert found.obs["label"].tolist() == ["tumor", "", "stroma", "tumor"]
    assert found.obs["grid_x"].tolist() == tiles.tiles.grid_x.tolist()
    assert found.obsm["spatial"].tolist() == np.stack([tiles.tiles.loc_x, tiles.tiles.loc_y], axis=1).tolist()
    assert (found.uns["slide"], found.uns["mpp"], found.uns["encoder"], found.uns["model_mpp"]) == (
        "slide",
        1,
        "enc",
        1,
    )
    assert found.uns["mean"].tolist() == [0.485, 0.456, 0.406]
