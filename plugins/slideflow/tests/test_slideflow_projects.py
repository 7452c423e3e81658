"""Projects and datasets as Slideflow keeps them: its files, its filters and splits, its TFRecords, its loaders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import slideloom as sl
import slideloom_slideflow as sf
from slideloom_tfrecord import TFRecordFile

MadeSlide = Any  # of conftest.py, which no test imports
PLAIN: dict[str, Any] = {"grayspace_fraction": 1, "report": False}
SITES = {"a": "North", "b": "North", "c": "South", "d": "South", "e": "South"}


@pytest.fixture
def old_project(made: MadeSlide, tmp_path: Path) -> Path:
    """A project with two sources, as Slideflow 3.0.2 leaves it."""
    root = tmp_path / "old"
    root.mkdir()
    for source, names in {"first": "abc", "second": "de"}.items():
        (root / source).mkdir()
        for name in names:
            shutil.copy(made.path, root / source / f"{name}.tif")
    settings = {
        "name": "Old", "annotations": "./annotations.csv", "dataset_config": "./datasets.json",
        "sources": ["first", "second"], "models_dir": "./models", "eval_dir": "./eval", "slideflow_version": "3.0.2",
    }  # fmt: skip
    config = {
        name: {"slides": f"./{name}", "roi": f"./roi/{name}", "tiles": None, "tfrecords": f"./tfrecords/{name}"}
        for name in ("first", "second")
    }
    (root / "settings.json").write_text(json.dumps(settings))
    (root / "datasets.json").write_text(json.dumps(config))
    lines = [f"p_{slide},{slide},{site},{number / 4}\n" for number, (slide, site) in enumerate(SITES.items())]
    (root / "annotations.csv").write_text("patient,slide,site,score\n" + "".join(lines), encoding="utf-8")
    return root


class TestProjectsOfSlideflow:
    def test_an_existing_project_opens_as_it_is(self, old_project: Path) -> None:
        before = {path: path.read_bytes() for path in old_project.glob("*.*")}

        project = sf.load_project(str(old_project))
        dataset = project.dataset(tile_px=100, tile_um=100)

        assert (project.name, project.sources) == ("Old", ["first", "second"])
        assert dataset.slides() == list("abcde")
        assert dataset.patients() == {name: f"p_{name}" for name in "abcde"}
        assert dataset.get_slide_source("d") == "second"
        assert [Path(path).name for path in dataset.slide_paths("second")] == ["d.tif", "e.tif"]
        assert dataset.find_slide(patient="p_b") == str(old_project / "first" / "b.tif")
        assert {path: path.read_bytes() for path in old_project.glob("*.*")} == before

    def test_sources_side_by_side_do_not_get_in_each_other_s_way(self, old_project: Path) -> None:
        project = sf.Project(str(old_project))

        reports = project.extract_tiles(tile_px=100, tile_um=200, **PLAIN)

        assert {report.written for report in reports.values()} == {50}
        for name, slides in {"first": "abc", "second": "de"}.items():
            home = old_project / "tfrecords" / name / "100px_200um"
            assert sorted(path.stem for path in home.glob("*.tfrecords")) == list(slides)
            assert json.loads((home / "manifest.json").read_text()) == {f"{x}.tfrecords": {"total": 50} for x in slides}
        dataset = project.dataset(100, 200)
        assert dataset.num_tiles == 250
        assert len(dataset.tfrecords("second")) == 2
        again = project.extract_tiles(tile_px=100, tile_um=200, source="second", **PLAIN)
        assert [report.status for report in again.values()] == ["skipped"] * 2

    def test_loose_tiles_need_a_folder_beside_the_tfrecords(self, old_project: Path) -> None:
        with pytest.raises(sl.ConfigError, match=r"save_tiles needs tiles .* beside each other"):
            sf.Project(old_project).extract_tiles(tile_px=100, tile_um=100, save_tiles=True)

    def test_what_slideflow_extracted_is_left_alone_and_can_be_made_anew(self, old_project: Path) -> None:
        # A file without a report of a run is one that another program made.
        elsewhere = sf.Dataset(slides=old_project / "second", tfrecords=old_project / "other", tile_px=100, tile_um=200)
        elsewhere.extract_tiles(max_tiles=3, **PLAIN)
        home = old_project / "tfrecords" / "second" / "100px_200um"
        home.mkdir(parents=True)
        shutil.copy(old_project / "other" / "100px_200um" / "d.tfrecords", home)
        content = (home / "d.tfrecords").read_bytes()
        dataset = sf.Project(old_project).dataset(100, 200, sources="second")
        assert dataset.num_tiles == 3

        with pytest.warns(sf.DropInWarning, match="1 slides have TFRecords that another program made.*: d;"):
            done = dataset.extract_tiles(**PLAIN)
        assert [Path(path).stem for path in done] == ["e"]
        assert (home / "d.tfrecords").read_bytes() == content

        dataset.extract_tiles(skip_extracted=False, **PLAIN)
        assert len(TFRecordFile(home / "d.tfrecords")) == 50
        assert content in [path.read_bytes() for path in home.iterdir() if path.is_file()]

    def test_a_new_project_has_slideflow_s_files(self, made: MadeSlide, tmp_path: Path) -> None:
        project = sf.create_project(tmp_path / "new", name="New", slides=made.folder)
        project.add_source("more", slides="/data/more")
        project.create_blank_annotations()

        assert json.loads((tmp_path / "new" / "settings.json").read_text())["sources"] == ["New", "more"]
        config = json.loads((tmp_path / "new" / "datasets.json").read_text())
        assert config["New"]["slides"] == str(made.folder)
        assert config["more"]["tfrecords"] == str(tmp_path / "new" / "tfrecords" / "more")
        assert pd.read_csv(tmp_path / "new" / "annotations.csv")["slide"].tolist() == ["made"]
        assert sf.Project(tmp_path / "new").sources == ["New", "more"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({}, "is not a project, it has no settings.json; make one with create=True or create_project"),
            ({"use_neptune": True}, "Project: use_neptune=True is not offered: slideloom sends nothing"),
        ],
    )
    def test_what_is_no_project_is_refused(self, tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(sl.ConfigError, match=message):
            sf.Project(tmp_path / "nothing", **arguments)

    def test_regions_are_looked_for_beside_the_slides_or_where_they_are_said_to_be(self, tmp_path: Path) -> None:
        for name in ("slides", "regions"):
            (tmp_path / name).mkdir()

        usual = sf.create_project(tmp_path / "one", slides=tmp_path / "slides")
        other = sf.create_project(tmp_path / "two", slides=tmp_path / "slides", rois=tmp_path / "regions")

        assert usual.dataset(100, 100).sources["MyProject"].roi == tmp_path / "slides" / "rois"
        assert other.dataset(100, 100).sources["MyProject"].roi == tmp_path / "regions"

    def test_an_argument_without_effect_is_told_once(self, old_project: Path) -> None:
        with pytest.warns(sf.DropInWarning, match="Project.extract_tiles: q_size has no effect") as told:
            sf.Project(old_project).extract_tiles(tile_px=100, tile_um=200, q_size=4, source="second", **PLAIN)

        assert len(told) == 1

    def test_a_project_is_not_made_over_another(self, old_project: Path) -> None:
        with pytest.raises(sl.ConfigError, match="is a project already; open it without name"):
            sf.Project(old_project, create=True, name="Other")

    def test_mistakes_in_the_files_are_named(self, old_project: Path) -> None:
        (old_project / "datasets.json").write_text('{"first": {"slides": 3}}')
        with pytest.raises(sl.ConfigError, match="source 'first': slides must be a path, not 3"):
            sf.Project(old_project).dataset(100, 100, sources="first")
        with pytest.raises(sl.ConfigError, match=r"no source 'third' \(known: first\)"):
            sf.Project(old_project).dataset(100, 100, sources="third")
        (old_project / "settings.json").write_text("{")
        with pytest.raises(sl.ConfigError, match=r"settings.json: is not JSON"):
            sf.Project(old_project)


class TestDatasets:
    def test_filters_add_up_and_can_be_taken_away(self, old_project: Path) -> None:
        dataset = sf.Project(old_project).dataset(100, 100, filters={"site": ["South"]})
        assert dataset.slides() == ["c", "d", "e"]
        fewer = dataset.filter({"patient": ["p_d", "p_e"]})
        assert fewer.slides() == ["d", "e"]
        assert fewer.filtered_annotations["score"].tolist() == ["0.75", "1.0"]  # type: ignore[index]
        assert fewer.remove_filter(filters="site").filters == {"patient": ["p_d", "p_e"]}
        assert fewer.clear_filters().slides() == list("abcde")
        assert dataset.slides() == ["c", "d", "e"]

    def test_slides_are_chosen_by_name_where_there_are_no_annotations(self, old_project: Path) -> None:
        (old_project / "annotations.csv").unlink()

        assert sf.Project(old_project).dataset(100, 100).filter({"slide": ["b", "e"]}).slides() == ["b", "e"]

    def test_slides_with_too_few_tiles_are_left_out(self, old_project: Path) -> None:
        project = sf.Project(old_project)
        project.extract_tiles(tile_px=100, tile_um=200, source="first", **PLAIN)

        assert project.dataset(100, 200, min_tiles=50).slides() == ["a", "b", "c"]
        assert project.dataset(100, 200).filter(min_tiles=51).slides() == []

    def test_a_dataset_is_made_of_folders_and_a_table(self, made: MadeSlide, tmp_path: Path) -> None:
        table = pd.DataFrame({"patient": ["p1", "p2"], "slide": ["made", "gone"], "age": [40, None]})

        dataset = sf.Dataset(
            slides=made.folder, tfrecords=tmp_path / "records", annotations=table, tile_px=100, tile_um=100
        )
        dataset.extract_tiles(qc="both", img_format="png", **PLAIN)

        assert dataset.slides() == ["made"]
        assert dataset.num_tiles == 50
        assert (tmp_path / "records" / "100px_100um" / "made.tfrecords").is_file()
        assert dataset.manifest(key="name") == {"made": {"total": 50, "clipped": 50}}
        assert dataset.slide_manifest() == {str(made.path): 200}
        assert dataset.tfrecords_have_locations()
        assert len(dataset.get_tfrecord_locations("made")) == 50
        slide, image = dataset.read_tfrecord_by_location("made", (1550, 450))
        assert slide == "made"
        assert np.array_equal(image, made.tile(1550, 450))

    def test_labels_are_numbers_of_classes_or_values(self, old_project: Path) -> None:
        dataset = sf.Project(old_project).dataset(100, 100)

        labels, unique = dataset.labels("site")
        assert unique == ["North", "South"]
        assert labels == {"a": 0, "b": 0, "c": 1, "d": 1, "e": 1}
        assert dataset.labels("site", format="name")[0] == SITES
        assert dataset.labels("site", assign={"site": {"South": 0, "North": 1}})[0]["a"] == 1
        assert dataset.is_float("score")
        assert not dataset.is_float("site")
        assert dataset.labels("score", use_float=True)[0]["c"] == 0.5
        with pytest.raises(sl.ConfigError, match="column 'site': 'North' of slide a is no number"):
            dataset.labels("site", use_float=True)

    def test_splits_divide_patients_and_keep_shares_of_labels(self, old_project: Path) -> None:
        dataset = sf.Project(old_project).dataset(100, 100)

        train, val = dataset.split(val_fraction=0.4, labels="site")
        assert sorted(train.slides() + val.slides()) == list("abcde")
        assert sorted(SITES[slide] for slide in val.slides()) == ["North", "South"]
        folds = dataset.kfold_split(k=2, labels="site")
        assert sorted(slide for _, held in folds for slide in held.slides()) == list("abcde")
        again = dataset.split(val_strategy="k-fold", val_k_fold=2, k_fold_iter=2, labels="site")
        assert again[1].slides() == folds[1][1].slides()
        with pytest.raises(sf.NotOffered, match=r"'k-fold-preserved-site' is not offered: use 'fixed'"):
            dataset.split(val_strategy="k-fold-preserved-site")
        with pytest.raises(sf.NotOffered, match=r"splits='splits.json' is not offered"):
            dataset.split(val_fraction=0.4, splits="splits.json")


class TestLoaders:
    @pytest.fixture
    def dataset(self, old_project: Path) -> sf.Dataset:
        project = sf.Project(old_project)
        project.extract_tiles(tile_px=50, tile_um=200, qc="both", img_format="png", **PLAIN)
        return project.dataset(tile_px=50, tile_um=200)

    def test_batches_are_images_labels_names_and_places(self, dataset: sf.Dataset) -> None:
        torch = pytest.importorskip("torch")
        labels, _ = dataset.labels("site")

        batches = dataset.torch(
            labels=labels, batch_size=16, infinite=False, incl_slidenames=True, incl_loc=True, standardize=False
        )

        seen: dict[tuple[str, int, int], int] = {}
        for images, targets, slides, loc_x, loc_y in batches:
            assert images.shape[1:] == (3, 50, 50)
            assert images.dtype == torch.uint8
            for key in zip(slides, loc_x.tolist(), loc_y.tolist(), targets.tolist(), strict=True):
                seen[key[:3]] = key[3]
        assert len(seen) == dataset.num_tiles
        assert all(labels[slide] == target for (slide, _, _), target in seen.items())

    def test_images_are_standardized_unless_told_otherwise(self, dataset: sf.Dataset) -> None:
        pytest.importorskip("torch")
        options: dict[str, Any] = {"batch_size": 4, "incl_slidenames": True, "incl_loc": True}

        images, labels, slides, loc_x, loc_y = next(iter(dataset.torch(**options)))

        assert labels is None
        for image, slide, x, y in zip(images, slides, loc_x.tolist(), loc_y.tolist(), strict=True):
            _, stored = dataset.read_tfrecord_by_location(slide, (x, y))
            assert np.abs(image.numpy().transpose(1, 2, 0) - (stored / 127.5 - 1)).max() < 1e-6

    def test_images_are_normalized_by_name_and_by_an_object_in_hand(self, dataset: sf.Dataset) -> None:
        pytest.importorskip("torch")
        target = {"target_means": [60.0, 20.0, -10.0], "target_stds": [10.0, 8.0, 6.0]}
        by_hand = sf.norm.StainNormalizer("reinhard_fast").set_fit(**target)
        options: dict[str, Any] = {"batch_size": 4, "incl_slidenames": True, "incl_loc": True, "standardize": False}

        for normalizer, expected in ((by_hand, by_hand), ("macenko_fast", sf.norm.autoselect("macenko_fast"))):
            images, _, slides, loc_x, loc_y = next(iter(dataset.torch(normalizer=normalizer, **options)))
            for image, slide, x, y in zip(images, slides, loc_x.tolist(), loc_y.tolist(), strict=True):
                _, stored = dataset.read_tfrecord_by_location(slide, (x, y))
                assert np.array_equal(image.numpy().transpose(1, 2, 0), expected.rgb_to_rgb(stored))

    def test_training_without_tfrecords_reads_the_slides(self, old_project: Path) -> None:
        torch = pytest.importorskip("torch")
        project = sf.Project(old_project)
        project.extract_tiles(tile_px=50, tile_um=200, qc="both", save_tfrecords=False, **PLAIN)
        dataset = project.dataset(tile_px=50, tile_um=200)
        assert dataset.tfrecords() == []
        train, _ = dataset.split(val_fraction=0.4, labels="site")

        batches = train.torch(labels="site", batch_size=8, from_wsi=True, infinite=False)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 50 * 50, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
        count = 0
        for images, targets in batches:
            loss = torch.nn.functional.cross_entropy(model(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            count += len(images)
        # Sharp tissue is 500 um wide from 1500 on: of the tiles of 200 um, two columns of five are inside, and the one
        # from 1400 on is half blurred.
        assert count == 3 * 15

    def test_a_class_draws_as_many_tiles_as_another(self, dataset: sf.Dataset) -> None:
        pytest.importorskip("torch")
        labels, _ = dataset.labels("site")

        balanced = dataset.balance("site", strategy="category")
        drawn = np.concatenate(
            [targets.numpy() for _, targets in balanced.torch(labels=labels, batch_size=32, infinite=False)]
        )

        assert abs(drawn.mean() - 0.5) < 0.2  # two slides of North, three of South
        with pytest.raises(sf.NotOffered, match="balancing by another column"):
            balanced.torch(labels={"a": 0, "b": 1, "c": 0, "d": 1, "e": 0})

    def test_processes_that_train_together_share_the_tiles(self, dataset: sf.Dataset) -> None:
        pytest.importorskip("torch")
        options: dict[str, Any] = {"batch_size": 1, "infinite": False, "incl_slidenames": True, "incl_loc": True}

        first, second = (
            {
                (slides[0], x.item(), y.item())
                for _, _, slides, x, y in dataset.torch(rank=rank, num_replicas=2, **options)
            }
            for rank in (0, 1)
        )

        # Of 75 tiles each process gets 37, so that both have as many batches; the one that is left changes by epoch.
        assert (len(first), len(second), len(first & second)) == (37, 37, 0)

    def test_tensorflow_gets_the_same_tuples(self, dataset: sf.Dataset) -> None:
        pytest.importorskip("tensorflow")
        labels, _ = dataset.labels("site")

        batches = dataset.tensorflow(
            labels=labels, batch_size=16, infinite=False, incl_slidenames=True, incl_loc=True, standardize=False
        )

        seen = {}
        for images, targets, slides, loc_x, loc_y in batches:
            assert images.shape[1:] == (50, 50, 3)
            keys = zip(slides.numpy(), loc_x.numpy().tolist(), loc_y.numpy().tolist(), strict=True)
            seen.update(zip(keys, targets.numpy().tolist(), strict=True))
        assert len(seen) == dataset.num_tiles
        assert all(labels[slide.decode()] == target for (slide, _, _), target in seen.items())

    def test_arguments_without_effect_are_told_and_others_refused(self, dataset: sf.Dataset) -> None:
        pytest.importorskip("torch")
        with pytest.warns(sf.DropInWarning, match="Dataset.torch: chunk_size has no effect"):
            dataset.torch(chunk_size=16)
        with pytest.raises(sf.NotOffered, match=r"Dataset.torch: tfrecord_parser=.* is not offered: use transform"):
            dataset.torch(tfrecord_parser=str)
        with pytest.raises(TypeError, match="no argument 'batchsize'"):
            dataset.torch(batchsize=3)


class TestRealSlide:
    # CMU-1-Small-Region is 2220 x 2967 pixels of 0.499 um: a tile of 302 um has int(302 / 0.499) = 605 pixels, and
    # 3 x 4 tiles fit. Their centres are int(605 / 2) = 302 from their corners.
    PLACES: ClassVar = {(605 * column + 302, 605 * row + 302) for column in range(3) for row in range(4)}

    def test_the_grid_is_that_of_existing_datasets(self, real_data: Path, tmp_path: Path) -> None:
        slides = tmp_path / "slides"
        slides.mkdir()
        shutil.copy(real_data / "cmu-1-small-region.svs", slides)
        project = sf.create_project(tmp_path / "project", slides=slides)

        (report,) = project.extract_tiles(tile_px=299, tile_um=302, normalizer="macenko", **PLAIN).values()

        assert report.written + report.rejected.get("normalizer", 0) == 12
        found = sf.TFRecord(project.dataset(299, 302).tfrecords()[0]).locations
        assert found is not None
        assert set(found) <= self.PLACES

    def test_a_tile_is_the_area_average_of_the_slide(self, real_data: Path) -> None:
        pyvips = pytest.importorskip("pyvips")
        path = real_data / "cmu-1-small-region.svs"
        with sf.WSI(path, tile_px=121, tile_um=302) as wsi:
            tile = wsi[1, 2]
        # 605 = 5 x 121, so every pixel of the tile is the mean of 25 of the slide's.
        whole = pyvips.Image.new_from_file(str(path)).numpy()[..., :3]
        part = whole[1210:1815, 605:1210].reshape(121, 5, 121, 5, 3).mean(axis=(1, 3))
        assert tile is not None
        assert np.abs(tile - part).max() <= 1
