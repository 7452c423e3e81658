"""Calls as people who come from Slideflow write them, on the demo slide, with the real plugins."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import slideloom as sl
from slideloom.pipeline.tiling import Tiling
from slideloom.pipeline.words import TABLES
from slideloom.plugins.discovery import registry
from slideloom.plugins.hookspecs import KINDS
from slideloom.settings.field_names import FIELD_NAMES
from slideloom.settings.options import options_of
from slideloom_cli.main import main
from slideloom_cyclegan.settings import CycleGan
from slideloom_qc import GaussianV2, Otsu
from slideloom_report.cohort import cohort_of
from slideloom_report.files import put_beside
from slideloom_testing.fixtures import DemoFiles

SIZE = ["--tile-px", "100", "--tile-um", "100"]


@pytest.fixture
def project(demo_slide: DemoFiles, tmp_path: Path) -> sl.Project:
    return sl.Project.create(tmp_path / "project", slides=demo_slide.path)


@pytest.fixture
def project_of_two(demo_slide: DemoFiles, tmp_path: Path) -> sl.Project:
    """A project of two slides that are alike."""
    slides = tmp_path / "slides"
    slides.mkdir()
    for name in ("one", "two"):
        shutil.copy(demo_slide.path, slides / f"{name}.svs")
    return sl.Project.create(tmp_path / "project", slides=slides)


def rejected_by(report: sl.RunReport) -> dict[str, int]:
    (slide,) = report.slides
    return dict(slide.rejected)


class TestNamesOfSlideQc:
    def test_both_is_blur_and_then_otsu_wherever_a_step_is_named(
        self, project: sl.Project, demo_slide: DemoFiles, tmp_path: Path
    ) -> None:
        by_hand = project.extract_tiles(100, 100, qc=[GaussianV2(), Otsu()], report=False)
        told = rejected_by(project.extract_tiles(100, 100, qc="both", report=False, redo=True))
        assert told == rejected_by(by_hand)
        assert {"qc:gaussian-v2", "qc:otsu"} <= told.keys()

        assert main(["extract", str(demo_slide.path), *SIZE, "--qc", "both", "--out", str(tmp_path / "flags")]) == 0
        file = tmp_path / "file" / "pipeline.toml"
        file.parent.mkdir()
        file.write_text(
            f'slideloom = 1\n[slides]\ninclude = ["{demo_slide.path}"]\n[tiles]\nsize_px = 100\nsize_um = 100\n'
            '[[qc]]\nuse = "both"\nfilter_threshold = 0.6\n'
        )
        assert main(["run", str(file)]) == 0
        for out in (tmp_path / "flags", file.parent):
            (slide,) = json.loads((out / "extraction_report.json").read_text())["slides"]
            assert slide["rejected"] == told

    def test_a_slide_takes_both_and_blur_and_lists(self, demo_slide: DemoFiles) -> None:
        with sl.WSI(demo_slide.path, 100, 100) as wsi:
            assert [result.kind for result in wsi.qc("both")] == ["blur", "background"]  # type: ignore[union-attr]
            kept = len(wsi)
            wsi.remove_qc()
            assert [result.kind for result in wsi.qc(["otsu", "blur"])] == ["background", "blur"]  # type: ignore[union-attr]
            assert len(wsi) == kept
            wsi.remove_qc()
            result = wsi.qc("blur", threshold=0.02)
            assert isinstance(result, sl.QcResult)
            assert result.kind == "blur"

    def test_options_for_several_steps_under_one_name_are_refused(self, project: sl.Project) -> None:
        with pytest.raises(sl.ConfigError, match="qc both: takes no sigma: it stands for gaussian-v2 and otsu"):
            project.extract_tiles(100, 100, qc="both:sigma=2")


class TestExtractionOfADataset:
    def test_a_dataset_is_cut_as_its_project_is(self, project: sl.Project) -> None:
        by_project = project.extract_tiles(100, 100)
        (record,) = project.dataset(100, 100).tfrecords()
        content = record.read_bytes()

        again = project.dataset(100, 100).extract_tiles()
        assert [slide.status for slide in again.slides] == ["skipped"]  # the same settings, so nothing is made again

        redone = project.dataset(100, 100).extract_tiles(redo=True)
        assert record.read_bytes() == content
        assert redone.digest == by_project.digest
        assert rejected_by(redone) == rejected_by(by_project)

    def test_only_the_dataset_s_slides_are_cut_with_the_tiling_it_has(self, project_of_two: sl.Project) -> None:
        whole = project_of_two.dataset_of(Tiling(size_px=100, magnification="10x", stride_div=2.0))

        report = whole.filter(slides=["two"]).extract_tiles(report=False)

        assert [slide.slide for slide in report.slides] == ["two"]
        assert report.slides[0].label == "100px_10x"
        assert report.slides[0].stride == (50, 50)

    def test_an_argument_that_it_has_itself_or_that_nobody_knows_is_refused(self, project: sl.Project) -> None:
        for name in ("tile_px", "filters", "nonsense"):
            with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
                project.dataset(100, 100).extract_tiles(**{name: 1})  # type: ignore[arg-type]


STEPS_OF_A_LAB = '''
import numpy as np
from slideloom import QcResult, SlideQc

class LeftHalf(SlideQc):
    """Discards the left part of a slide."""

    def __init__(self, share):
        self.share = share

    def assess(self, slide, scene):
        mask = np.zeros((10, 100), bool)
        mask[:, : int(100 * self.share)] = True
        return QcResult(mask=mask, kind="artifact")

class NoBaseClass:
    label = "their-qc"

    def assess(self, slide, scene):
        return QcResult(mask=np.ones((1, 1), bool), kind="background")
'''


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that a lab has beside its scripts."""
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "steps_of_a_lab.py").write_text(STEPS_OF_A_LAB)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.delitem(sys.modules, "steps_of_a_lab", raising=False)
    return importlib.import_module("steps_of_a_lab")


class TestSlideQcAsObjects:
    def test_a_built_step_drops_the_tiles_that_its_settings_drop(self, project: sl.Project) -> None:
        by_settings = project.extract_tiles(100, 100, qc=Otsu(), report=False)
        by_object = project.extract_tiles(100, 100, qc=Otsu().build(), report=False, redo=True)

        assert rejected_by(by_object)["qc:otsu-qc"] == rejected_by(by_settings)["qc:otsu"] > 0

    def test_an_object_of_a_third_party_reaches_worker_processes(
        self, lab: ModuleType, project_of_two: sl.Project
    ) -> None:
        report = project_of_two.extract_tiles(100, 100, qc=[lab.LeftHalf(0.5), "otsu"], jobs=2, report=False)

        # 2000 x 1500 pixels in tiles of 100: half of 20 columns in 15 rows.
        assert [slide.rejected["qc:left-half"] for slide in report.slides] == [150, 150]
        assert report.pipeline["qc"][0]["given"].startswith("steps_of_a_lab.LeftHalf ")

    def test_another_state_of_an_object_is_another_pipeline_and_the_same_state_the_same(
        self, lab: ModuleType, project: sl.Project
    ) -> None:
        project.extract_tiles(100, 100, qc=lab.LeftHalf(0.5), report=False)

        again = project.extract_tiles(100, 100, qc=lab.LeftHalf(0.5), report=False)
        assert [slide.status for slide in again.slides] == ["skipped"]
        with pytest.raises(sl.OutputError, match=r"made with other settings(.|\n)*steps_of_a_lab\.LeftHalf"):
            project.extract_tiles(100, 100, qc=lab.LeftHalf(0.25), report=False)

    def test_the_report_of_a_run_with_objects_has_its_regions_and_samples(
        self, lab: ModuleType, project: sl.Project
    ) -> None:
        run = project.extract_tiles(100, 100, qc=lab.LeftHalf(0.5), normalizer=sl.StainNormalizer("macenko"))

        cohort = cohort_of(run)

        assert cohort.notes == ()
        assert cohort.pipeline is not None
        assert cohort.pipeline.normalizer == sl.StainNormalizer("macenko").to_settings()
        assert list(project.root.glob("tile_extraction_report-*.pdf"))

    def test_slide_qc_needs_no_base_class(self, lab: ModuleType, project: sl.Project, demo_slide: DemoFiles) -> None:
        report = project.extract_tiles(100, 100, qc=lab.NoBaseClass(), report=False)
        assert rejected_by(report) == {"qc:their-qc": 300}
        with sl.WSI(demo_slide.path, 100, 100) as wsi:
            wsi.qc(lab.NoBaseClass())
            assert len(wsi) == 0

    def test_an_object_that_fails_is_named_by_its_class(self, lab: ModuleType, project: sl.Project) -> None:
        report = project.extract_tiles(100, 100, qc=lab.LeftHalf("half"), report=False)

        said = r"qc 'left-half' \(steps_of_a_lab\.LeftHalf\) failed on slide demo: (Type|Value)Error"
        assert re.match(said, report.slides[0].error)

    def test_an_object_that_cannot_be_made_again_is_refused(self, lab: ModuleType, project: sl.Project) -> None:
        class Here(lab.LeftHalf):  # type: ignore[misc, name-defined]
            pass

        with pytest.raises(sl.ConfigError, match="is defined within a function"):
            project.extract_tiles(100, 100, qc=Here(0.5))
        with sl.WSI(project.sources["main"].slides[0], 100, 100) as wsi:  # which needs nobody to make it again
            wsi.qc(Here(0.5))
            assert len(wsi) == 150
        with_a_lock = lab.LeftHalf(0.5)
        with_a_lock.lock = threading.Lock()
        with pytest.raises(sl.ConfigError, match=r"LeftHalf: cannot be made again .*lock"):
            project.extract_tiles(100, 100, qc=with_a_lock)
        with pytest.raises(sl.ConfigError, match="the class LeftHalf; make an object of it"):
            project.extract_tiles(100, 100, qc=lab.LeftHalf)


class TestNormalizers:
    def test_a_fitted_normalizer_makes_the_tiles_that_its_fit_file_makes(
        self, project_of_two: sl.Project, tmp_path: Path
    ) -> None:
        project = project_of_two
        fitted = sl.StainNormalizer("reinhard_fast", unfit="reject").fit("v2")
        fitted.save(tmp_path / "fit.json")
        options = {"report": False, "shuffle": False, "redo": True}

        def stored() -> list[bytes]:
            return [path.read_bytes() for path in project.dataset(100, 100).tfrecords()]

        project.extract_tiles(100, 100, normalizer="reinhard-fast", normalizer_source=tmp_path / "fit.json", **options)
        by_file = stored()
        report = project.extract_tiles(100, 100, normalizer=fitted, jobs=2, **options)
        assert stored() == by_file
        assert len(by_file) == 2
        assert report.pipeline["normalizer"]["target"]["target_stds"] == list(fitted.fit_values["target_stds"])

        with pytest.raises(sl.OutputError, match=r"normalizer\.target"):  # another fit is another pipeline
            project.extract_tiles(100, 100, normalizer=sl.StainNormalizer("reinhard-fast").fit("v1"), report=False)

    def test_a_normalizer_that_holds_one_slide_s_statistics_is_refused(
        self, project: sl.Project, demo_slide: DemoFiles
    ) -> None:
        fitted = sl.StainNormalizer("macenko")
        with sl.open_slide(demo_slide.path) as slide:
            fitted.in_context(slide)

        with pytest.raises(sl.ConfigError, match="has the statistics of one slide, which hold for no other"):
            project.extract_tiles(100, 100, normalizer=fitted)

    def test_augment_is_a_normalizer_of_extraction_and_differs_from_the_plain_tiles(self, project: sl.Project) -> None:
        options = {"report": False, "redo": True, "shuffle": False, "img_format": "png"}
        project.extract_tiles(100, 100, **options)
        (record,) = project.dataset(100, 100).tfrecords()
        plain = record.read_bytes()

        by_name = project.extract_tiles(100, 100, normalizer="augment", **options)
        varied = record.read_bytes()
        assert varied != plain
        assert by_name.slides[0].written > 20

        project.extract_tiles(100, 100, normalizer=sl.StainNormalizer("augment"), **options)
        assert record.read_bytes() == varied

    def test_the_slide_s_context_is_asked_for_in_three_ways(self, project: sl.Project) -> None:
        options = {"qc": "otsu", "report": False, "redo": True}
        in_words = project.extract_tiles(100, 100, normalizer="macenko:context=slide", **options)
        (record,) = project.dataset(100, 100).tfrecords()
        content = record.read_bytes()

        for normalizer in ("macenko", sl.StainNormalizer("macenko", unfit="reject")):
            report = project.extract_tiles(100, 100, normalizer=normalizer, context_normalize=True, **options)
            assert record.read_bytes() == content
            assert rejected_by(report) == rejected_by(in_words)
        project.extract_tiles(100, 100, normalizer="macenko", **options)
        assert record.read_bytes() != content

        for normalizer, said in {
            "hsv-augment": "takes no statistics of slides",
            "macenko:context=tile": "give one of them",
            None: "needs a normalizer",
        }.items():
            with pytest.raises(sl.ConfigError, match=f"context_normalize.*{said}"):
                project.extract_tiles(100, 100, normalizer=normalizer, context_normalize=True)


RING = "roi_name,x_base,y_base\n" + "".join(
    f"{name},{x},{y}\n"
    for name, (left, top, right, bottom) in {"tumour": (0, 0, 1000, 1000), "necrosis": (400, 400, 600, 600)}.items()
    for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))
)
COLUMNS = ["loc_x", "loc_y", "grid_x", "grid_y", "roi_name", "roi_desc", "label"]


class TestTablesOfTiles:
    @pytest.fixture
    def rois(self, tmp_path: Path) -> Path:
        folder = tmp_path / "rois"
        folder.mkdir()
        (folder / "demo.csv").write_text(RING)
        return folder

    def test_a_slide_s_tiles_are_named_by_slide_and_centre(self, demo_slide: DemoFiles, rois: Path) -> None:
        with sl.WSI(demo_slide.path, 100, 100, roi=rois) as wsi:
            frame = wsi.get_tile_dataframe()

        assert frame.columns.tolist() == COLUMNS
        assert frame.index.tolist() == [f"demo-{x}-{y}" for x, y in zip(frame.loc_x, frame.loc_y, strict=True)]
        assert len(frame) == 100 - 4  # the square of 10 x 10 tiles without the hole of 2 x 2
        assert set(frame.roi_name) == {"tumour"}
        assert set(frame.roi_desc) == {"tumour (holes: necrosis)"}

    def test_tables_of_our_tiles_and_of_another_program_s_say_the_same(
        self, demo_slide: DemoFiles, rois: Path, tmp_path: Path
    ) -> None:
        project = sl.Project.create(tmp_path / "project", slides=demo_slide.path, roi=rois)
        project.extract_tiles(100, 100, report=False)
        ours = project.dataset(100, 100).get_tile_dataframe()
        (record,) = project.dataset(100, 100).tfrecords()

        other = sl.Project.create(tmp_path / "other", slides=demo_slide.path, roi=rois)
        folder = other.sources["main"].tfrecords / "100px_100um"
        folder.mkdir(parents=True)
        (folder / record.name).write_bytes(record.read_bytes())  # without our report and table, as another's are
        theirs = other.dataset(100, 100).get_tile_dataframe()

        assert theirs.columns.tolist() == ["slide", *COLUMNS]
        assert len(theirs) > 20
        assert theirs.loc[ours.index, ["slide", *COLUMNS]].equals(ours[["slide", *COLUMNS]])

    def test_tiles_off_the_grid_have_a_region_and_no_column(
        self, demo_slide: DemoFiles, rois: Path, tmp_path: Path
    ) -> None:
        project = sl.Project.create(tmp_path / "project", slides=demo_slide.path, roi=rois)
        project.extract_tiles(100, 100, stride_div=2, report=False)
        (record,) = project.dataset(100, 100).tfrecords()
        other = sl.Project.create(tmp_path / "other", slides=demo_slide.path, roi=rois)
        folder = other.sources["main"].tfrecords / "100px_100um"
        folder.mkdir(parents=True)
        (folder / record.name).write_bytes(record.read_bytes())

        frame = other.dataset(100, 100).get_tile_dataframe()
        is_on = (frame.loc_x % 100 == 50) & (frame.loc_y % 100 == 50)
        assert (frame.grid_x.notna() == is_on).all()
        assert 0 < is_on.sum() < len(frame)
        assert (frame.roi_name == "tumour").all()
        halves = other.dataset_of(Tiling(size_px=100, size_um=100.0, stride_div=2.0)).get_tile_dataframe()
        assert halves.grid_x.tolist() == ((frame.loc_x - 50) // 50).tolist()

    def test_tiles_of_a_slide_that_is_gone_keep_their_places(self, demo_slide: DemoFiles, tmp_path: Path) -> None:
        slide = tmp_path / "demo.svs"
        slide.write_bytes(demo_slide.path.read_bytes())
        project = sl.Project.create(tmp_path / "project", slides=slide)
        project.extract_tiles(100, 100, report=False)
        (record,) = project.dataset(100, 100).tfrecords()
        other = sl.Project.create(tmp_path / "other", slides=slide)
        folder = other.sources["main"].tfrecords / "100px_100um"
        folder.mkdir(parents=True)
        (folder / record.name).write_bytes(record.read_bytes())
        slide.unlink()

        frame = other.dataset(100, 100).get_tile_dataframe()

        assert len(frame) == len(project.dataset(100, 100).get_tile_dataframe()) > 20
        assert frame.grid_x.isna().all()
        assert frame.index[0] == f"demo-{frame.loc_x.iloc[0]}-{frame.loc_y.iloc[0]}"

    def test_edge_tiles_are_asked_for_by_their_name_in_the_field(self, demo_slide: DemoFiles) -> None:
        # 2000 x 1500 pixels of 1 um in tiles of 300: 6 x 5 fit, and a seventh column reaches over the right side.
        with (
            sl.WSI(demo_slide.path, 100, 300) as inside,
            sl.WSI(demo_slide.path, 100, 300, use_edge_tiles=True) as all_,
        ):
            assert inside.grid.shape == (6, 5)
            assert all_.grid.shape == (7, 5)


class TestWhatIsMissing:
    STEPS = (
        ("qc", {"use": "segment", "model": "no-model"}, "no such model"),
        ("qc", {"use": "strided-model", "model": "no.onnx"}, "no such model file"),
        ("qc", {"use": "deepfocus", "weights": "no.safetensors"}, "no such file"),
        ("qc", {"use": "saved-mask", "folder": "no-folder", "of": "otsu"}, "no such folder"),
        ("normalizer", {"use": "macenko", "target": "no.png"}, "cannot be read"),
        ("normalizer", {"use": "cyclegan"}, "no weights given"),
        ("normalizer", {"use": "cyclegan", "weights": "no.pth", "second_weights": "no.pth"}, "no such file"),
    )

    @pytest.mark.parametrize(("kind", "step", "said"), STEPS, ids=[f"{step['use']} {said}" for _, step, said in STEPS])
    @pytest.mark.parametrize("dry_run", [False, True])
    def test_weights_and_targets_are_one_error_before_the_first_slide(
        self, project: sl.Project, kind: str, step: dict[str, str], said: str, dry_run: bool
    ) -> None:
        seen: list[sl.SlideReport] = []

        with pytest.raises(sl.ConfigError, match=said):
            project.extract_tiles(100, 100, **{kind: step}, dry_run=dry_run, on_slide=seen.append)  # type: ignore[arg-type]

        assert seen == []
        assert not list(project.root.rglob("slideloom"))

    @pytest.mark.parametrize("step", ["deepfocus", "segment:model=no-model", "strided-model:model=here.pt,trust=true"])
    def test_a_missing_torch_is_one_error_that_says_what_to_install(
        self, step: str, demo_slide: DemoFiles, tmp_path: Path
    ) -> None:
        (tmp_path / "here.pt").touch()
        script = (
            "import sys; sys.modules['torch'] = sys.modules['tensorflow'] = None\n"  # as if they were not installed
            "from slideloom_cli.main import main\n"
            f"sys.exit(main(['extract', {str(demo_slide.path)!r}, *{SIZE!r}, '--qc', {step!r}, '--out', 'out']))\n"
        )
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)

        assert done.returncode == 1
        assert re.search(r"torch.*pip install '?slideloom-\w+\[torch\]", done.stderr.replace("\n", " "))
        assert "demo" not in done.stderr  # no slide was begun
        assert not list((tmp_path / "out").rglob("*.json"))

    def test_everything_that_is_missing_is_told_at_once(self, project: sl.Project) -> None:
        with pytest.raises(sl.ConfigError, match=r"no-model(.|\n)*no\.png"):
            project.extract_tiles(100, 100, qc="segment:model=no-model", normalizer="macenko:target=no.png")


def test_masks_that_slideflow_saved_drop_the_tiles_they_cover(
    project: sl.Project, demo_slide: DemoFiles, tmp_path: Path
) -> None:
    mask = np.zeros((150, 200), bool)
    mask[:, 100:] = True  # ten columns of tiles in fifteen rows
    np.savez(tmp_path / f"{demo_slide.path.stem}_qc.npz", mask=mask)

    report = project.extract_tiles(100, 100, qc=f"saved-mask:folder={tmp_path},of=qc", report=False)

    assert rejected_by(report)["qc:saved-mask-qc"] == 150


class TestHints:
    """A name that other programs have is answered with ours, wherever it was written."""

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"mpp_override": 0.5}, "'mpp_override' (did you mean 'mpp'?)"),
            ({"num_threads": 4}, "'num_threads' (did you mean 'threads'?)"),
            ({"skip_extracted": False}, "'skip_extracted' (did you mean 'redo'?)"),
            ({"stride_dov": 2}, "'stride_dov' (did you mean 'stride_div'?)"),
            ({"artifact_rois": ["pen"]}, "'artifact_rois' (did you mean 'artifact_labels'?)"),
            ({"zzz": 1}, "unexpected keyword argument 'zzz'"),
        ],
    )
    def test_in_python(self, project: sl.Project, arguments: dict[str, object], said: str) -> None:
        for call in (project.extract_tiles, project.dataset(100, 100).extract_tiles):
            with pytest.raises(TypeError, match=re.escape(said)):
                call(**arguments)  # type: ignore[operator]

    def test_in_python_for_a_slide(self, demo_slide: DemoFiles) -> None:
        with pytest.raises(TypeError, match=r"WSI.__init__\(\) .* 'mpp_override' \(did you mean 'mpp'\?\)"):
            sl.WSI(demo_slide.path, 100, 100, mpp_override=0.5)  # type: ignore[call-arg]

    @pytest.mark.parametrize(
        ("table", "said"),
        [
            ("[slides]\nmpp_override = 0.5", "unknown key 'mpp_override' (did you mean 'mpp'?)"),
            ("[run]\nmpp_override = 0.5", "unknown key 'mpp_override' (what is called 'mpp' in slideloom"),
            ('[[qc]]\nuse = "blur"\nblur_radius = 3', "unknown key 'blur_radius' (did you mean 'sigma'?)"),
            ('[normalizer]\nuse = "macenko"\nsource = "v2"', "unknown key 'source'"),
            ('[[sink]]\nuse = "images"\nimg_format = "png"', "unknown key 'img_format' (did you mean 'format'?)"),
            ("[run]\noveriew = true", "unknown key 'overiew' (did you mean 'overview'?)"),
        ],
    )
    def test_in_a_file(self, table: str, said: str, tmp_path: Path) -> None:
        file = tmp_path / "pipeline.toml"
        file.write_text(f"slideloom = 1\n[tiles]\nsize_px = 100\nsize_um = 100\n{table}\n")

        with pytest.raises(sl.ConfigError, match=re.escape(said)):
            sl.load_pipeline(file)

    @pytest.mark.parametrize(
        ("flag", "said"),
        [
            ("--mpp-override=0.5", "--mpp-override (did you mean '--mpp'?)"),
            ("--overwrite", "--overwrite (did you mean '--redo'?)"),
            ("--rois=there", "--rois (did you mean '--roi'?)"),
        ],
    )
    def test_on_the_command_line(self, flag: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["extract", "a.svs", *SIZE, "--out", "out", flag])

        assert ended.value.code == 2
        assert said in capsys.readouterr().err

    def test_every_name_of_the_table_leads_to_an_option_or_argument_that_there_is(self) -> None:
        options = {name for kind in KINDS for cls in registry().all(kind) for name in options_of(cls)}
        options |= {name for cls in TABLES.values() for name in options_of(cls)}
        arguments = {*inspect.signature(sl.Project.extract_tiles).parameters, *inspect.signature(sl.WSI).parameters}
        arguments |= set(inspect.signature(sl.Project.create).parameters)

        nowhere = {name: set(there) - options - arguments for name, there in FIELD_NAMES.items()}

        assert {name: missing for name, missing in nowhere.items() if missing} == {}


class TestTheReport:
    def test_the_pdf_lies_beside_the_tfrecords_too(self, project: sl.Project) -> None:
        project.extract_tiles(100, 100)
        folder = project.sources["main"].tfrecords / "100px_100um"
        (there,) = folder.glob("tile_extraction_report-*.pdf")
        (at_root,) = project.root.glob("tile_extraction_report-*.pdf")
        assert there.name == at_root.name
        assert there.read_bytes() == at_root.read_bytes()
        assert there.read_bytes().startswith(b"%PDF")
        assert (folder / "extraction_report.csv").is_file()

    def test_a_pdf_of_another_program_is_not_replaced(self, tmp_path: Path) -> None:
        report = tmp_path / "tile_extraction_report-20260101-000000.pdf"
        report.write_bytes(b"ours")
        folder = tmp_path / "tfrecords"
        folder.mkdir()
        (folder / report.name).write_bytes(b"theirs")

        placed = put_beside(report, folder)

        assert placed.name == "tile_extraction_report-20260101-000000-2.pdf"
        assert placed.read_bytes() == b"ours"
        assert (folder / report.name).read_bytes() == b"theirs"


class TestParams:
    """`params.json` as Slideflow writes it."""

    @staticmethod
    def written(folder: Path, normalizer: str, fit: object) -> Path:
        table = {"tile_px": 100, "tile_um": 100, "hp": {"normalizer": normalizer, "normalizer_source": None}}
        (folder / "params.json").write_text(json.dumps({**table, "norm_fit": fit}))
        return folder

    @pytest.mark.parametrize("name", ["vahadane_spams", "vahadane_sklearn", "vahadane"])
    def test_vahadane_by_either_library_is_ours_with_the_values_of_the_file(self, name: str, tmp_path: Path) -> None:
        matrix = [[0.44, 0.75, 0.49], [0.28, 0.81, 0.52]]

        params = sl.load_params(self.written(tmp_path, name, {"stain_matrix_target": matrix}))

        assert params.normalizer is not None
        assert params.normalizer.name == "vahadane"
        assert params.normalizer.build().fit_table() == {"stain_matrix_target": matrix}
        normalizer = params.stain_normalizer()
        assert normalizer is not None
        assert normalizer.fit_values == {"stain_matrix_target": matrix}

    @pytest.mark.parametrize("fit", [None, {}])
    def test_augment_shifts_hue_saturation_and_value(self, fit: object, tmp_path: Path) -> None:
        params = sl.load_params(self.written(tmp_path, "augment", fit))

        assert params.normalizer is not None
        assert params.normalizer.name == "hsv-augment"
        normalizer = params.stain_normalizer()
        assert normalizer is not None
        assert normalizer.method == "hsv-augment"

    def test_cyclegan_has_its_weights(self, tmp_path: Path) -> None:
        (tmp_path / "a.pth").touch()
        (tmp_path / "b.pth").touch()
        own = {"he2mt_weights": str(tmp_path / "a.pth"), "mt2he_weights": str(tmp_path / "b.pth")}
        settings = sl.load_params(self.written(tmp_path, "cyclegan", own)).normalizer
        assert settings == CycleGan(weights=tmp_path / "a.pth", second_weights=tmp_path / "b.pth")

        for fit in (
            {"he2mt_weights": "/gone/cyclegan_he2mt.pth", "mt2he_weights": "/gone/cyclegan_mt2he.pth"},
            {"he2mt_weights": None, "mt2he_weights": None},
        ):
            settings = sl.load_params(self.written(tmp_path, "cyclegan", fit)).normalizer
            assert settings == CycleGan(weights="published")


def test_check_of_a_pipeline_file_tells_of_missing_weights(
    demo_slide: DemoFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pipeline.toml"
    slides = f'[slides]\ninclude = ["{demo_slide.path}"]\n[tiles]\nsize_px = 100\nsize_um = 100\n'
    file.write_text(f'slideloom = 1\n{slides}[[qc]]\nuse = "segment"\nmodel = "no-model"\n')

    assert main(["check", str(file)]) == 1
    assert "no-model/model.safetensors: no such model" in capsys.readouterr().err
