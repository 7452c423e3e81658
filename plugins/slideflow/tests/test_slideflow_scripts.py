"""Scripts in the form of Slideflow's documentation; what they give is known from how the slide was made."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import slideloom as sl
import slideloom_slideflow as sf
from numpy.typing import NDArray
from PIL import Image
from slideloom_slideflow.slide import qc

MadeSlide = Any  # of conftest.py, which no test imports
PLAIN: dict[str, Any] = {"grayspace_fraction": 1, "report": False}
# The slide of 2000 x 1000 um has 20 x 10 tiles of 100 um: 10 columns of glass, 5 of one colour, 5 of sharp tissue.
EVERY = {(50 + 100 * column, 50 + 100 * row) for column in range(20) for row in range(10)}
COLOURED = {(x, y) for x, y in EVERY if x > 1000}
SHARP = {(x, y) for x, y in EVERY if x > 1500}
# A square of 600 um, with a hole of 200 um, and another label beside it.
REGIONS = """roi_name,label,x_base,y_base
A,tumor,1000,200
A,tumor,1600,200
A,tumor,1600,800
A,tumor,1000,800
A_hole,tumor,1200,400
A_hole,tumor,1400,400
A_hole,tumor,1400,600
A_hole,tumor,1200,600
B,stroma,1700,0
B,stroma,1900,0
B,stroma,1900,100
B,stroma,1700,100
"""
TUMOR = {(x, y) for x, y in EVERY if 1000 < x < 1600 and 200 < y < 800 and not (1200 < x < 1400 and 400 < y < 600)}
STROMA = {(1750, 50), (1850, 50)}


@pytest.fixture
def project(made: MadeSlide, tmp_path: Path) -> sf.Project:
    (tmp_path / "labels.csv").write_text("patient,slide,site\np1,made,North\n", encoding="utf-8")
    return sf.create_project(str(tmp_path / "project"), slides=str(made.folder), annotations=tmp_path / "labels.csv")


@pytest.fixture
def with_regions(project: sf.Project, made: MadeSlide, tmp_path: Path) -> sf.Project:
    folder = tmp_path / "rois"
    folder.mkdir()
    (folder / "made.csv").write_text(REGIONS, encoding="utf-8")
    project.add_source("MyProject", slides=made.folder, roi=folder, tiles=tmp_path / "t", tfrecords=tmp_path / "r")
    return project


def places(dataset: sf.Dataset) -> set[tuple[int, int]]:
    """Centres of the stored tiles of the only slide."""
    (path,) = dataset.tfrecords()
    found = sf.TFRecord(path).locations
    assert found is not None
    return set(found)


def kept(wsi: sf.WSI) -> set[tuple[int, int]]:
    return {(x, y) for x, y, _, _ in wsi.get_tile_coord(anchor="center").tolist()}


def decoded(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


class TestTileExtraction:
    def test_every_tile_of_the_grid_is_stored_with_its_centre_and_its_pixels(
        self, project: sf.Project, made: MadeSlide
    ) -> None:
        reports = project.extract_tiles(tile_px=100, tile_um=100, img_format="png", **PLAIN)

        assert {path: report.written for path, report in reports.items()} == {str(made.path): 200}
        dataset = project.dataset(tile_px=100, tile_um=100)
        assert dataset.num_tiles == 200
        assert places(dataset) == EVERY
        tfrecord = sf.TFRecord(dataset.tfrecords()[0])
        assert (tfrecord.length, tfrecord.img_format) == (200, "png")
        assert tfrecord.fields == ["image_raw", "slide", "loc_x", "loc_y"]
        for x, y in [(1050, 50), (1950, 950), (1550, 450)]:
            slide, image = tfrecord.get_record_by_xy(x, y)
            assert slide == "made"
            assert np.array_equal(decoded(image), made.tile(x, y))

    def test_a_dataset_needs_no_arguments(self, project: sf.Project) -> None:
        dataset = project.dataset(tile_px=100, tile_um=100)

        dataset.extract_tiles()

        assert places(dataset) == COLOURED  # grayspace filtering is on: glass has no colour

    def test_a_magnification_reads_the_level_as_it_is(self, project: sf.Project, made: MadeSlide) -> None:
        project.extract_tiles(tile_px=200, tile_um="10x", img_format="png", **PLAIN)

        dataset = project.dataset(tile_px=200, tile_um="10x")
        assert Path(dataset.tfrecords()[0]).parent.name == "200px_10x"
        assert places(dataset) == {(100 + 200 * column, 100 + 200 * row) for column in range(10) for row in range(5)}
        record = sf.TFRecord(dataset.tfrecords()[0]).get_record_by_xy(1900, 100)
        assert np.array_equal(decoded(record[1]), made.tile(1900, 100, 200))

    def test_loose_tiles_lie_by_slide_under_their_place(self, project: sf.Project, tmp_path: Path) -> None:
        project.extract_tiles(tile_px=100, tile_um=100, save_tiles=True, save_tfrecords=False, max_tiles=7, **PLAIN)

        names = [path.name for path in (tmp_path / "project" / "tiles" / "100px_100um" / "made").iterdir()]
        assert len(names) == 7
        assert set(names) <= {f"made-{x}-{y}.jpg" for x, y in EVERY}

    def test_stride_edge_tiles_and_microns_per_pixel_are_honoured(self, project: sf.Project) -> None:
        project.extract_tiles(tile_px=100, tile_um=300, stride_div=2, use_edge_tiles=True, mpp_override=2.0, **PLAIN)

        # 300 um are 150 pixels of 2 um, a step is 75: 2000 / 75 = 26.7 and 1000 / 75 = 13.3, so 27 x 14 tiles begin.
        expected = {(75 * column + 75, 75 * row + 75) for column in range(27) for row in range(14)}
        assert places(project.dataset(100, 300)) == expected

    def test_the_same_settings_are_not_done_again_and_others_are_refused(self, project: sf.Project) -> None:
        project.extract_tiles(tile_px=100, tile_um=100, **PLAIN)
        (again,) = project.extract_tiles(tile_px=100, tile_um=100, **PLAIN).values()
        assert again.status == "skipped"

        with pytest.raises(sl.OutputError, match="made with other settings"):
            project.extract_tiles(tile_px=100, tile_um=100, whitespace_fraction=0.5, **PLAIN)
        project.extract_tiles(tile_px=100, tile_um=100, whitespace_fraction=0.5, skip_extracted=False, **PLAIN)

        assert places(project.dataset(100, 100)) == COLOURED

    def test_a_slide_that_fails_is_an_error_in_the_log_and_the_others_are_done(
        self, project: sf.Project, made: MadeSlide, caplog: pytest.LogCaptureFixture
    ) -> None:
        (made.folder / "broken.tif").write_bytes(b"II*\0" + bytes(100))
        project.annotations = str(Path(project.root) / "none.csv")

        with caplog.at_level(logging.ERROR):
            reports = project.extract_tiles(tile_px=100, tile_um=100, **PLAIN)

        assert {Path(path).name: report.status for path, report in reports.items()} == {
            "broken.tif": "failed", "made.tif": "done"
        }  # fmt: skip
        assert "broken" in caplog.text

    def test_a_dry_run_counts_as_the_run_does_and_writes_no_tile(self, project: sf.Project) -> None:
        (planned,) = project.extract_tiles(tile_px=100, tile_um=100, dry_run=True, report=False).values()

        assert planned.rejected == {"filter:grayspace": 100, "dry-run": 100}
        assert project.dataset(100, 100).tfrecords() == []

    def test_the_report_is_beside_the_tfrecords_and_its_table_has_the_columns_of_the_field(
        self, project: sf.Project
    ) -> None:
        project.extract_tiles(tile_px=100, tile_um=100, qc=qc.Otsu())

        (folder,) = map(Path, project.dataset(100, 100).tfrecords_folders())
        (pdf,) = folder.glob("tile_extraction_report-*.pdf")
        assert pdf.read_bytes().startswith(b"%PDF-")
        table = pd.read_csv(folder / "extraction_report.csv")
        assert list(table.columns[:6]) == ["slide", "num_tiles", "tile_px", "tile_um", "rois", "stride"]
        assert table.loc[0, ["slide", "num_tiles", "tile_px"]].tolist() == ["made", 100, 100]

    def test_a_report_of_stored_tiles_is_written_where_it_is_asked_for(
        self, project: sf.Project, tmp_path: Path
    ) -> None:
        project.extract_tiles(tile_px=100, tile_um=100, report=False)
        project.dataset(tile_px=100, tile_um=100).tfrecord_report(str(tmp_path / "reports"))

        (pdf,) = (tmp_path / "reports").glob("*.pdf")
        assert pdf.read_bytes().startswith(b"%PDF-")


class TestRegions:
    @pytest.mark.parametrize(
        ("method", "expected"), [("auto", TUMOR | STROMA), ("inside", TUMOR | STROMA), ("ignore", EVERY),
                                 ("outside", EVERY - TUMOR - STROMA)],
    )  # fmt: skip
    def test_tiles_are_kept_by_their_centres(
        self, with_regions: sf.Project, method: str, expected: set[tuple[int, int]]
    ) -> None:
        with_regions.extract_tiles(tile_px=100, tile_um=100, roi_method=method, **PLAIN)

        assert places(with_regions.dataset(100, 100)) == expected

    def test_a_share_of_the_area_is_a_threshold(self, with_regions: sf.Project) -> None:
        # Tiles of 400 um. The square of 600 um has a hole of 200 um, and covers of the tiles in column and row
        # 2, 0: 200 x 200 = 0.25; 3, 0: 400 x 200 = 0.5; 2, 1: 200 x 400 = 0.5; 3, 1: 400 x 400 without the hole.
        with_regions.extract_tiles(tile_px=100, tile_um=400, roi_filter_method=0.3, **PLAIN)

        assert places(with_regions.dataset(100, 400)) == {(1000, 600), (1400, 200), (1400, 600)}

    def test_regions_with_an_artifact_label_are_cut_out(self, with_regions: sf.Project) -> None:
        with_regions.extract_tiles(tile_px=100, tile_um=100, artifact_labels="stroma", **PLAIN)

        assert places(with_regions.dataset(100, 100)) == TUMOR

    def test_tile_labels_come_with_the_tiles(self, with_regions: sf.Project) -> None:
        dataset = with_regions.dataset(tile_px=100, tile_um=100)
        assert len(dataset.rois()) == 1
        assert dataset.get_unique_roi_labels() == ["stroma", "tumor"]

        df = dataset.get_tile_dataframe()
        df = df.loc[df.label.notnull()]

        assert {"loc_x", "loc_y", "grid_x", "grid_y", "roi_name", "roi_desc", "label", "slide"} <= set(df.columns)
        assert set(df.index) == {f"made-{x}-{y}" for x, y in TUMOR | STROMA}
        assert {(row.loc_x, row.loc_y) for row in df.itertuples() if row.label == "tumor"} == TUMOR
        assert df.loc["made-1750-50", ["grid_x", "grid_y", "roi_name"]].tolist() == [17, 0, "B"]
        assert list(dataset.filter({"slide": list(df.slide.unique())}).slides()) == ["made"]

    def test_a_slide_in_hand_knows_its_regions(self, made: MadeSlide, with_regions: sf.Project, tmp_path: Path) -> None:
        with sf.WSI(str(made.path), tile_px=100, tile_um=100, rois=with_regions.dataset(100, 100).rois()) as wsi:
            assert kept(wsi) == TUMOR | STROMA
            assert {roi.name: roi.label for roi in wsi.rois} == {"A": "tumor", "B": "stroma"}
            assert wsi.get_roi_by_name("A").poly.area == 600**2 - 200**2  # type: ignore[union-attr]
            number, found = wsi.get_tile_roi(coord=(1750, 50))
            assert number is not None
            assert found is not None
            assert found.name == wsi.rois[number].name == "B"
            assert wsi.get_tile_roi(grid=(0, 0)) == (None, None)
            wsi.set_artifacts("stroma")
            assert kept(wsi) == TUMOR

            again = sf.WSI(made.path, 100, 100)
            exported = wsi.export_rois(tmp_path / "made.csv")
            assert again.load_csv_roi(exported) == 2
            assert kept(again) == TUMOR | STROMA


class TestMasking:
    def test_otsu_masks_glass(self, project: sf.Project) -> None:
        project.extract_tiles(tile_px=100, tile_um=100, qc=qc.Otsu(), **PLAIN)

        assert places(project.dataset(100, 100)) == COLOURED

    @pytest.mark.parametrize("steps", [[qc.Otsu(), qc.GaussianV2()], [qc.Otsu(), qc.Gaussian()], "both"])
    def test_several_masks_leave_what_none_of_them_masks(self, project: sf.Project, steps: Any) -> None:
        (report,) = project.extract_tiles(tile_px=100, tile_um=100, qc=steps, **PLAIN).values()

        assert places(project.dataset(100, 100)) == SHARP
        assert report.blur_burden == pytest.approx(0.5, abs=0.05)  # 500 of the 1000 columns with colour

    def test_options_of_the_blur_filter_are_honoured(self, project: sf.Project) -> None:
        # No edge is as strong as 1.0, so all is out of focus; at a share of 1 nothing is dropped for it.
        (report,) = project.extract_tiles(
            tile_px=100, tile_um=100, qc="blur", qc_blur_threshold=1.0, qc_filter_threshold=1.0, **PLAIN
        ).values()
        assert report.written == 200
        assert report.metrics["gaussian-v2.masked"] == 1

        with pytest.raises(sf.NotOffered, match="use qc_blur_mpp"):
            project.extract_tiles(tile_px=100, tile_um=100, qc="blur", qc_mpp=4)

    def test_saved_masks_do_what_the_steps_did(self, project: sf.Project, made: MadeSlide, tmp_path: Path) -> None:
        project.extract_tiles(tile_px=100, tile_um=100, qc=[qc.Otsu(), qc.Save()], **PLAIN)

        with np.load(made.folder / "made_qc.npz") as saved:
            mask = saved["mask"]
        assert mask.dtype == bool
        half = mask.shape[1] // 2
        assert mask[:, : half - 8].all()
        assert not mask[:, half + 8 :].any()

        again = sf.create_project(tmp_path / "again", slides=made.folder)
        again.extract_tiles(tile_px=100, tile_um=100, qc=qc.Load(), **PLAIN)
        assert places(again.dataset(100, 100)) == COLOURED

    def test_a_function_of_the_slide_is_qc(self, project: sf.Project) -> None:
        project.extract_tiles(tile_px=100, tile_um=100, qc=upper_half, **PLAIN)

        assert places(project.dataset(100, 100)) == {(x, y) for x, y in EVERY if y > 500}

    def test_a_class_of_ones_own_inherits_from_strided_dl(self, project: sf.Project, made: MadeSlide) -> None:
        pytest.importorskip("slideloom_deepfocus")
        with sf.WSI(made.path, 100, 100) as wsi:
            preds = Bright()(wsi, threshold=False)
            assert preds.shape == (10, 20)
            expected = made.rgb.reshape(10, 100, 20, 100, 3).mean(axis=(1, 3, 4)) / 255
            assert np.abs(preds - expected).max() < 1e-5
            assert np.array_equal(Bright()(wsi), expected > 0.99)

        project.extract_tiles(tile_px=100, tile_um=100, qc=Bright(), **PLAIN)
        assert places(project.dataset(100, 100)) == COLOURED

    def test_a_class_of_ones_own_gives_maps_of_tiles(self, project: sf.Project, made: MadeSlide) -> None:
        with sf.WSI(made.path, 100, 100) as wsi:
            mask = WhitePixels(100, 100)(wsi)
        white = (made.rgb == 255).all(axis=2)
        assert np.array_equal(mask, white[5::10, 5::10])  # kept in cells of 10 x 10 pixels

        project.extract_tiles(tile_px=100, tile_um=100, qc=[WhitePixels(100, 100)], **PLAIN)
        assert places(project.dataset(100, 100)) == COLOURED

    def test_deepfocus_tells_soft_from_sharp_at_the_scale_that_is_asked_for(self, made: MadeSlide) -> None:
        pytest.importorskip("torch")
        cv2, pyvips = pytest.importorskip("cv2"), pytest.importorskip("pyvips")
        rgb = made.rgb[:500, 1000:].copy()
        rgb[:300, 500:] = cv2.GaussianBlur(rgb[:300, 500:], (0, 0), 3)
        soft = made.folder / "soft.tif"
        image = pyvips.Image.new_from_array(rgb, interpretation="srgb")
        image.tiffsave(str(soft), tile=True, compression="deflate", xres=1000, yres=1000, resunit="cm")

        with sf.WSI(soft, 100, 100) as wsi:
            preds = qc.DeepFocus(ckpt="bundled", tile_um="20x")(wsi, threshold=False)

        # Tiles of 64 pixels at 20x are 32 um wide: 1000 / 32 = 31.25 and 500 / 32 = 15.6.
        assert preds.shape == (16, 32)
        assert preds[:8, 17:].mean() > 5 * preds[11:, 17:].mean()

    def test_a_script_without_a_main_guard_runs_its_own_classes_over_several_slides(
        self, made: MadeSlide, tmp_path: Path
    ) -> None:
        (made.folder / "other.tif").write_bytes(made.path.read_bytes() + b"\0")  # of a copy, a run would tell
        script = tmp_path / "script.py"
        script.write_text(SCRIPT, encoding="utf-8")

        done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)

        assert done.stderr == ""
        assert done.stdout.split() == ["100", "100"]

    def test_tile_filters_have_slideflow_s_thresholds(self, project: sf.Project) -> None:
        # One colour is (225, 150, 195): its mean is 190, its saturation 75 / 225 = 0.33.
        project.extract_tiles(tile_px=100, tile_um=100, whitespace_fraction=0.9, whitespace_threshold=189, report=False)

        assert places(project.dataset(100, 100)) == SHARP


SCRIPT = """
import slideloom_slideflow as sf
from slideloom_slideflow.slide import qc

class White(qc.StridedDL_V2):
    def apply(self, image):
        return (image == 255).all(axis=2)

P = sf.create_project("project", slides="slides")
done = P.extract_tiles(tile_px=100, tile_um=100, qc=[White(100, 100)], grayspace_fraction=1, num_threads=8)
print(*(report.written for report in done.values()))
"""


def upper_half(wsi: sf.WSI) -> NDArray[np.bool_]:
    """Masks the upper half of a slide."""
    mask = np.zeros((wsi.height // 10, wsi.width // 10), bool)
    mask[: len(mask) // 2] = True
    return mask


def brightness(tiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """Darkness and brightness of each tile, as a network with two outputs."""
    bright = tiles.mean(axis=(1, 2, 3))
    return np.stack([1 - bright, bright], axis=1)


class Bright(qc.StridedDL):
    """Masks what is white, as a network of one's own would."""

    def __init__(self) -> None:
        super().__init__(model=brightness, pred_idx=1, tile_px=100, tile_um=100, pred_threshold=0.99)


class WhitePixels(qc.StridedDL_V2):
    """Masks white pixels."""

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return (image == 255).all(axis=2)


class TestOneSlide:
    def test_facts_and_grid(self, made: MadeSlide) -> None:
        with sf.WSI(str(made.path), tile_px=100, tile_um=100) as wsi:
            assert (wsi.dimensions, wsi.shape, wsi.name, wsi.mpp) == ((2000, 1000), (20, 10), "made", 1.0)
            assert (wsi.full_extract_px, wsi.full_stride, wsi.estimated_num_tiles) == (100, 100, 200)
            assert wsi.grid.all()
            assert wsi.grid_to_coord(3, 4) == (350, 450)
            assert wsi.grid_to_coord(3, 4, anchor="topleft") == (300, 400)
            assert wsi.coord_to_grid(350, 450) == (3, 4)
            assert np.array_equal(wsi[19, 0], made.tile(1950, 50))  # type: ignore[arg-type]
            assert wsi.area() == 2.0
            assert wsi.mpp_to_dim(4.0) == (500, 250)

    def test_qc_drops_tiles_shows_the_mask_and_can_be_forgotten(self, made: MadeSlide) -> None:
        with sf.WSI(made.path, 100, 100) as wsi:
            shown = wsi.qc([qc.Otsu(), qc.GaussianV2()])
            assert isinstance(shown, Image.Image)
            assert shown.getpixel((10, 10)) == (0, 0, 0)
            assert kept(wsi) == SHARP
            assert wsi[0, 0] is None
            assert wsi.has_non_roi_qc()
            coord = wsi.get_masked_coord()
            assert {(x + 50, y + 50) for x, y in coord[~coord.mask[:, 0], :2].tolist()} == SHARP
            assert wsi.masked_thumb(width=200)[50, :90].min() == 255
            assert wsi.area() == pytest.approx(0.5, rel=0.1)  # sharpness is averaged over some microns
            wsi.remove_qc()
            assert kept(wsi) == EVERY
            wsi.apply_qc_mask(np.repeat([[True, False]], 5, axis=0))
            assert kept(wsi) == COLOURED

    def test_pictures_have_the_size_that_is_asked_for(self, made: MadeSlide) -> None:
        with sf.WSI(made.path, 100, 100) as wsi:
            assert wsi.thumb(width=500).size == (500, 250)
            assert wsi.thumb(mpp=8).size == (250, 125)
            square = wsi.square_thumb(200)
            assert square.size == (200, 200)
            assert square.getpixel((125, 100)) == pytest.approx((225, 150, 195), abs=2)
            assert wsi.preview().width > 500

    def test_a_generator_gives_tiles_filtered_and_encoded(self, made: MadeSlide) -> None:
        with sf.WSI(made.path, 100, 100) as wsi:
            generator = wsi.build_generator(shuffle=False, grayspace_fraction=0.6, grayspace_threshold=0.05)
            found = list(generator())
            assert {tuple(tile["loc"]) for tile in found} == COLOURED
            for tile in found[:20]:
                assert np.array_equal(tile["image"], made.tile(*tile["loc"]))
                assert tile["grid"] == [(tile["loc"][0] - 50) // 100, (tile["loc"][1] - 50) // 100]
            (one,) = wsi.build_generator(img_format="png", max_tiles=1)()
            assert np.array_equal(decoded(one["image"]), made.tile(*one["loc"]))


def lab(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """CIE L*a*b* by OpenCV, L from 0 to 100."""
    found: NDArray[np.float32] = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return found


class TestStain:
    # Preset v3 of reinhard_fast, as published: means and deviations of L*, a*, b*.
    MEANS, STDS = (58.12343, 26.483482, -12.701005), (14.675022, 7.5744166, 5.226378)

    def reinhard(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Reinhard (2001) by its formula."""
        own = lab(rgb)
        means, stds = own.mean(axis=(0, 1)), own.std(axis=(0, 1))
        moved = ((own - means) / stds * np.float32(self.STDS) + np.float32(self.MEANS)).astype(np.float32)
        back: NDArray[np.float32] = cv2.cvtColor(moved, cv2.COLOR_LAB2RGB)
        return np.clip(back * 255, 0, 255)

    def test_tiles_are_normalized_as_they_are_extracted(self, project: sf.Project, made: MadeSlide) -> None:
        project.extract_tiles(
            tile_px=100, tile_um=100, qc="both", normalizer="reinhard_fast", img_format="png", **PLAIN
        )

        tfrecord = sf.TFRecord(project.dataset(100, 100).tfrecords()[0], decode_images=True)
        for record in (tfrecord[0], tfrecord[7]):
            expected = self.reinhard(made.tile(record["loc_x"], record["loc_y"]))
            assert np.abs(record["image_raw"] - expected).mean() < 0.6

    def test_a_normalizer_in_hand_is_fitted_to_an_image_and_carried_into_extraction(
        self, project: sf.Project, made: MadeSlide, tmp_path: Path
    ) -> None:
        target = made.tile(1750, 500, 400)
        Image.fromarray(target).save(tmp_path / "target.png")

        normalizer = sf.norm.autoselect("reinhard_fast", source=str(tmp_path / "target.png"))

        fit = normalizer.get_fit()
        assert fit["target_means"] == pytest.approx(lab(target).mean(axis=(0, 1)), abs=0.3)
        assert fit["target_stds"] == pytest.approx(lab(target).std(axis=(0, 1)), abs=0.3)
        project.extract_tiles(tile_px=100, tile_um=100, qc="both", normalizer=normalizer, img_format="png", **PLAIN)
        record = sf.TFRecord(project.dataset(100, 100).tfrecords()[0])[3]
        by_hand = normalizer.rgb_to_rgb(made.tile(record["loc_x"], record["loc_y"]))
        assert np.array_equal(decoded(record["image_raw"]), by_hand)

    def test_every_form_gives_the_same_pixels(self, made: MadeSlide) -> None:
        normalizer = sf.norm.StainNormalizer("macenko").fit("v3")
        tile = made.tile(1850, 450)
        content = io.BytesIO()
        Image.fromarray(tile).save(content, "png")

        expected = normalizer.transform(tile)

        assert np.array_equal(normalizer.rgb_to_rgb(tile), expected)
        assert np.array_equal(normalizer.png_to_rgb(content.getvalue()), expected)
        assert np.array_equal(decoded(normalizer.png_to_png(content.getvalue())), expected)
        values = normalizer.get_fit(as_list=True)
        other = sf.norm.StainNormalizer("macenko").set_fit(**values)
        assert np.array_equal(other.transform(tile), expected)

    @pytest.mark.parametrize(("method", "ours"), [("augment", "hsv-augment"), ("vahadane_sklearn", "vahadane")])
    def test_a_method_that_is_not_quite_slideflow_s_says_so(self, method: str, ours: str) -> None:
        with pytest.warns(sf.DropInWarning, match=f"{method}: done as {ours}, which"):
            assert sf.norm.autoselect(method).ours.method == ours

    def test_augmentation_varies_the_image_s_own_staining(self, made: MadeSlide) -> None:
        normalizer = sf.norm.autoselect("reinhard_fast")
        tile = made.tile(1850, 450)

        means = np.array([lab(normalizer.augment(tile)).mean(axis=(0, 1)) for _ in range(200)])

        assert np.abs(means.mean(axis=0) - lab(tile).mean(axis=(0, 1))).max() < 1.5  # not around the preset
        assert (means.std(axis=0) > 0.5).all()

    def test_params_json_holds_what_a_model_saw(self, tmp_path: Path) -> None:
        hp = sf.ModelParams(tile_px=299, tile_um=302, normalizer="reinhard_fast", epochs=[1, 3], model="xception")

        file = hp.save_params(tmp_path / "model", outcomes=["site"])

        table = json.loads(file.read_text(encoding="utf-8"))
        assert (table["tile_px"], table["tile_um"], table["outcomes"]) == (299, 302, ["site"])
        assert table["hp"]["normalizer"] == "reinhard_fast"
        assert table["hp"]["epochs"] == [1, 3]
        assert table["norm_fit"]["target_means"] == pytest.approx(self.MEANS)
        assert hp.epochs == [1, 3]
        assert sf.ModelParams.from_dict(hp.to_dict()).to_dict() == hp.to_dict()
        with pytest.raises(sf.NotOffered, match="train on"):
            hp.build_model()
