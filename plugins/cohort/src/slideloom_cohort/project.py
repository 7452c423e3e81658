"""A project: a folder that keeps a cohort's slides, annotations and outputs together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
from slideloom.base.addresses import is_address, local_path, place_of
from slideloom.base.errors import ConfigError
from slideloom.base.storing import storing_in
from slideloom.extraction.job import Progress
from slideloom.pipeline.tiling import Tiling
from slideloom.plugins.given_steps import Step
from slideloom.running.find_slides import find_slides
from slideloom.settings.field_names import hinted
from slideloom.slides.regions import RoiMethod
from slideloom.steps.reports import RunReport, SlideReport

from slideloom_cohort.annotations import Annotations, Filters, read_annotations
from slideloom_cohort.dataset import Dataset
from slideloom_cohort.params import tiling_of
from slideloom_cohort.sources import PROJECT_FILE, ProjectFile, Source, read_project_file, with_base, write_project_file
from slideloom_cohort.work import ANY_SIZE, extract

_MAIN = "main"


class Project:
    """A folder with a `project.toml`, which names sources of slides and a CSV of annotations.

    Args:
        root: the project's folder.

    Raises:
        ConfigError: the folder is not a project, or its files have mistakes.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = local_path(root).expanduser().absolute()
        self._file = read_project_file(self.root)

    @classmethod
    def open(cls, root: Path | str) -> Project:
        """The project in a folder; the same as `Project(root)`."""
        return cls(root)

    @classmethod
    def create(
        cls,
        root: Path | str,
        *,
        slides: Path | str | Sequence[Path | str] = (),
        annotations: Path | str | None = None,
        roi: Path | str | None = None,
        recursive: bool = False,
        name: str | None = None,
    ) -> Project:
        """Make a project.

        Slides and annotations stay where they are. Relative paths start from the current folder.

        Args:
            root: the project's folder, made if missing.
            slides: folder, files or patterns of the source "main".
            annotations: CSV with the columns patient and slide, and any others.
            roi: folder of ROI files.
            recursive: also the slides in subfolders; their names then tell their folders, as in "lab1/case7/slide".
            name: name of the project; by default that of the folder.

        Raises:
            ConfigError: the folder is already a project, slides or annotations are missing, or annotations have
                mistakes.
            OutputError: the folder cannot be written.
        """
        home = local_path(root).expanduser().absolute()
        if (home / PROJECT_FILE).exists():
            raise ConfigError(f"{home}: is already a project; open it with Project({str(root)!r})")
        csv = None if annotations is None else local_path(annotations).expanduser().absolute()
        if csv is not None:
            read_annotations(csv)
        source = _source(_MAIN, home, slides, roi, recursive=recursive)
        with storing_in(home):
            home.mkdir(parents=True, exist_ok=True)
        write_project_file(home, ProjectFile(name or home.name, csv, {_MAIN: source}))
        return cls(home)

    def __repr__(self) -> str:
        return f"<Project {self.name}: {self.root}; sources: {', '.join(self.sources) or 'none'}>"

    @property
    def name(self) -> str:
        """Name of the project."""
        return self._file.name

    @property
    def sources(self) -> dict[str, Source]:
        """The sources by name."""
        return dict(self._file.sources)

    @property
    def annotations(self) -> Annotations | None:
        """The annotations, read from the file each time; None if the project names none.

        Raises:
            ConfigError: the file has mistakes.
        """
        return None if self._file.annotations is None else read_annotations(self._file.annotations)

    def add_source(
        self,
        name: str,
        *,
        slides: Path | str | Sequence[Path | str] = (),
        roi: Path | str | None = None,
        recursive: bool = False,
    ) -> Source:
        """Add a source; its outputs go to a folder with its name. Relative paths start from the current folder.

        Raises:
            ConfigError: there is already a source with this name.
        """
        if name in self._file.sources:
            raise ConfigError(f"{self.root / PROJECT_FILE}: there is already a source '{name}'; choose another name")
        source = _source(name, self.root, slides, roi, recursive=recursive)
        self._file = attrs.evolve(self._file, sources={**self._file.sources, name: source})
        write_project_file(self.root, self._file)
        return source

    @hinted
    def dataset(
        self,
        tile_px: int,
        tile_um: float | str,
        *,
        filters: Filters | None = None,
        filter_blank: str | Sequence[str] = (),
        sources: str | Sequence[str] | None = None,
    ) -> Dataset:
        """The project's slides with their tiles of one size.

        Args:
            tile_px: width and height of a tile in pixels.
            tile_um: width of a tile in microns, or a magnification such as "10x".
            filters: column of the annotations to the accepted value or list of values.
            filter_blank: columns that must not be blank.
            sources: names of sources; by default all.

        Raises:
            ConfigError: there is no such source, column or value, or the annotations have mistakes.
        """
        return self.dataset_of(tiling_of(tile_px, tile_um), filters=filters, filter_blank=filter_blank, sources=sources)

    def dataset_of(
        self,
        tiling: Tiling,
        *,
        filters: Filters | None = None,
        filter_blank: str | Sequence[str] = (),
        sources: str | Sequence[str] | None = None,
    ) -> Dataset:
        """The same for a `Tiling`."""
        chosen, annotations = self._chosen(sources), self.annotations
        if annotations is not None and any(source.recursive for source in chosen):
            annotations = annotations.of_slides(Dataset(tiling, chosen).slides())
        whole = Dataset(tiling, chosen, annotations)
        return whole.filter(filters, filter_blank=filter_blank)

    def _chosen(self, names: str | Sequence[str] | None) -> tuple[Source, ...]:
        known = self._file.sources
        wanted = list(known) if names is None else [names] if isinstance(names, str) else list(names)
        for name in wanted:
            if name not in known:
                raise ConfigError(f"{self.root / PROJECT_FILE}: no source '{name}' (known: {', '.join(known)})")
        return tuple(known[name] for name in wanted)

    @hinted
    def extract_tiles(
        self,
        tile_px: int | None = None,
        tile_um: float | str | None = None,
        *,
        qc: Step | Sequence[Step] | None = None,
        filter_threshold: float = 0.6,
        roi_method: RoiMethod = "auto",
        roi_filter_method: Literal["center"] | float = "center",
        artifact_labels: Sequence[str] = (),
        normalizer: Step | None = None,
        normalizer_source: str | Path | None = None,
        context_normalize: bool = False,
        save_tiles: bool = False,
        save_tfrecords: bool = True,
        img_format: Literal["jpg", "png"] = "jpg",
        shuffle: bool = True,
        stride_div: float = 1.0,
        enable_downsample: bool = True,
        use_edge_tiles: bool = False,
        randomize_origin: bool = False,
        use_bounds: bool = False,
        max_tiles: int | None = None,
        seed: int = 0,
        context_um: Sequence[float | str] = (),
        tile_mask: str = "",
        mask_classes: Sequence[str] = (),
        mask_others: Literal["refuse", "background", "ignore"] = "refuse",
        mask_on_top: Literal["later", "smaller"] = "later",
        mask_without: Literal["refuse", "background"] = "refuse",
        grayspace_fraction: float = 0.6,
        grayspace_threshold: float = 0.05,
        whitespace_fraction: float = 1.0,
        whitespace_threshold: float = 230.0,
        tile_filters: Sequence[Step] = (),
        sinks: Sequence[Step] = (),
        placement: Step | None = None,
        mpp: float | None = None,
        mpp_file: str | Path | None = None,
        allow_objective_power: bool = False,
        reader: str | None = None,
        avoid_readers: Sequence[str] = (),
        icc: Literal["keep", "srgb"] = "keep",
        exclude: Sequence[str] = (),
        params: Path | str | None = None,
        filters: Filters | None = None,
        filter_blank: str | Sequence[str] = (),
        sources: str | Sequence[str] | None = None,
        jobs: int | None = None,
        threads: int | None = None,
        executor: str | None = None,
        buffer: Path | str | None = None,
        buffer_gb: float = 50.0,
        batch_tiles: int = 32,
        timeout_s: float | None = None,
        save_masks: bool = False,
        overview: bool = False,
        report: bool = True,
        redo: bool = False,
        shard: str | None = None,
        ignore_disk_space: bool = False,
        redo_updated: bool = False,
        dry_run: bool = False,
        plan_only: bool = False,
        progress: Progress | None = None,
        on_slide: Callable[[SlideReport], Any] | None = None,
    ) -> RunReport:
        """Cut the project's slides into tiles. Finished slides are skipped, so an interrupted run can be continued.

        Args:
            tile_px: width and height of a tile in pixels; by default that of `params`.
            tile_um: width of a tile in microns, or a magnification such as "10x"; by default that of `params`.
            qc: slide QC by name, as settings or as an object that can `assess`, one or several in order; "both" is
                blur and Otsu, "blur" is blur alone.
            filter_threshold: drop a tile if QC masks more than this share of it.
            roi_method: "auto" (inside if a slide has regions), "inside", "outside" or "ignore".
            roi_filter_method: "center", or the share of a tile's area that regions must cover.
            artifact_labels: labels of regions to cut out.
            normalizer: stain normalizer by name, as settings, or as a fitted `StainNormalizer`.
            normalizer_source: its target: a preset, an image or a fit file.
            context_normalize: measure the slide's thumbnail, excluding what QC and regions discard, not each tile.
            save_tiles: store image files in the source's folder of tiles.
            save_tfrecords: store TFRecords. If neither is stored, a run only decides which tiles to keep, and
                `dataset.torch(from_slides=True)` reads them from the slides.
            img_format: format of stored tiles, "jpg" or "png".
            shuffle: store a slide's tiles in random order.
            stride_div: stride is the tile's size divided by this.
            enable_downsample: False reads level 0 only.
            use_edge_tiles: include tiles that extend beyond the right and bottom edges, with padding.
            randomize_origin: start the grid at a random place.
            use_bounds: stay within the slide's scanned bounds.
            max_tiles: keep at most this many tiles per slide, chosen at random.
            seed: seed of everything random.
            context_um: also store each tile's centre at these fields of view, each a width in microns, or with its
                pixels, such as "604:256".
            tile_mask: store the mask of each tile: "roi" for the classes of regions, or a slide QC such as
                "qc:segment"; "" stores none.
            mask_classes: labels in the order of their values in masks, from 1; 0 is the background.
            mask_others: labels that are not listed: an error ("refuse"), 0 ("background") or 255 ("ignore").
            mask_on_top: where regions overlap: the "later" one in the file, or the "smaller" one.
            mask_without: slides without a file of regions: an error ("refuse") or all "background".
            grayspace_fraction, grayspace_threshold: drop a tile if more than this fraction of it (1 is off) has an HSV
                saturation below the threshold.
            whitespace_fraction, whitespace_threshold: drop a tile if more than this fraction of it (1 is off) is
                brighter than the threshold.
            tile_filters: more tile filters.
            sinks: more sinks.
            placement: where tiles are placed, if not on a grid.
            mpp: microns per pixel of every slide.
            mpp_file: CSV with the columns slide and mpp.
            allow_objective_power: use 10 / objective power as mpp if nothing else gives it.
            reader: name of the reader, or NAME:option=value.
            avoid_readers: names of readers not to choose automatically.
            icc: "srgb" transforms colours by each slide's ICC profile to sRGB.
            exclude: patterns of slides to leave out.
            params: `params.json` of a model, or its folder: refuse to make tiles unlike the model's training tiles.
            filters, filter_blank, sources: as `dataset`.
            jobs: number of processes, each with one slide at a time.
            threads: number of threads per slide.
            executor: where slides are processed, such as "processes" or "dask:address=tcp://head:8786".
            buffer: folder on a fast disk; slides are copied to it before they are read.
            buffer_gb: maximum size of the buffer in gigabytes.
            batch_tiles: tiles per batch.
            timeout_s: give up on a slide after this many seconds.
            save_masks: store each QC mask.
            overview: store a picture of kept and rejected tiles for each slide.
            report: write a PDF report, if the report plugin is installed.
            redo: process slides again that are finished or were made with other settings.
            shard: share of the slides, such as "3/16", or "auto" in a job array; the other shards may run at the same
                time, on other machines too.
            ignore_disk_space: go on although the output is likely larger than what is free on its disk.
            redo_updated: process slides again that other versions of slideloom or its plugins made.
            dry_run: decide on every tile as a run would, and write no tiles.
            plan_only: a dry run that reads only sample tiles: quick, but tile filters and normalizer decide nothing.
            progress: called with the slide's name, the number of tiles done, and their total number.
            on_slide: called with each slide's report.

        Returns:
            One report on the slides of all sources.

        Raises:
            ConfigError: an argument is wrong, there are no slides, or `params` asks for other tiles.
            OutputError: a folder cannot be written, or holds tiles made with other settings.
        """
        given = dict(locals())  # arguments have the names of the options
        dataset = self.dataset_of(ANY_SIZE, filters=filters, filter_blank=filter_blank, sources=sources)
        return extract(dataset, given, root=self.root)


def _source(
    name: str, root: Path, slides: Path | str | Sequence[Path | str], roi: Path | str | None, *, recursive: bool
) -> Source:
    entries = [slides] if isinstance(slides, Path | str) else list(slides)
    whole = tuple(_entry(entry) for entry in entries)
    for entry in whole:
        find_slides([entry], recursive=recursive)
        if not is_address(entry) and not any(letter in entry for letter in "*?[") and not Path(entry).exists():
            raise ConfigError(f"slides: '{entry}' does not exist")
    home = Path() if name == _MAIN else Path(name)
    path = None if roi is None else local_path(roi).expanduser().absolute()
    if path is not None and not path.is_dir():
        raise ConfigError(f"roi: '{path}' is not a folder")
    return with_base(
        Source(
            name=name,
            slides=whole,
            roi=path,
            tiles=home / "tiles",
            tfrecords=home / "tfrecords",
            recursive=recursive,
        ),
        root,
    )


def _entry(entry: Path | str) -> str:
    """A file, folder or pattern with its whole path, or an address as it is."""
    place = place_of(entry)
    if isinstance(place, Path):
        return str(place.expanduser().absolute())
    if str(place) != place.url:
        raise ConfigError(
            f"slides: {place} holds a password or a token, which the project's file would keep; leave it out and give "
            "fsspec the credentials, as with the settings of its file systems or of the cloud's own tools"
        )
    return place.url
