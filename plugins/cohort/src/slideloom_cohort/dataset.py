"""A dataset: the slides of a project for one tile size, with their patients, labels, tiles and TFRecords."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

import attrs
import slideloom
from attrs import field, frozen
from slideloom.base.addresses import SlidePlace, local_path
from slideloom.base.errors import ConfigError, SlideloomError
from slideloom.pipeline.tiling import Tiling
from slideloom.settings.field_names import refuse_argument
from slideloom.settings.options import Settings
from slideloom.slides.names import NamedSlide
from slideloom.steps.reports import RunReport
from slideloom.viewing.frames import named_by_place

from slideloom_cohort.annotations import Annotations, Filters
from slideloom_cohort.arguments import ExtractOptions, sizes_of
from slideloom_cohort.bags import Bags, bags_of, feature_files
from slideloom_cohort.params import FittedNormalizer, save_params
from slideloom_cohort.slides import (
    DatasetSummary,
    named,
    planned_tiles,
    slides_of_all,
    source_slides,
    with_places,
    write_report,
    write_thumbnails,
)
from slideloom_cohort.sources import Source
from slideloom_cohort.splitting import folds, in_drawn_order, patient_labels, share
from slideloom_cohort.stored import StoredSlide, stored_slides
from slideloom_cohort.work import extract

if TYPE_CHECKING:
    import pandas as pd


@frozen
class Dataset:
    """Slides and their tiles of one size. Made by `Project.dataset`; `filter`, `split` and `k_fold` give parts of it.

    Attributes:
        tiling: size of tiles.
        sources: where slides and tiles are.
        annotations: annotations of the project, or None.
        chosen: names of the slides that filters and splits kept, or None for all.
        balanced: what loaders balance by: "label", "patient", "slide", or several of these, the outermost first.
    """

    tiling: Tiling
    sources: tuple[Source, ...]
    annotations: Annotations | None = None
    chosen: frozenset[str] | None = field(default=None, repr=False)
    balanced: tuple[str, ...] = ()

    def __repr__(self) -> str:
        chosen = "all slides" if self.chosen is None else f"{len(self.chosen)} slides chosen"
        sources = ", ".join(source.name for source in self.sources)
        labels = "" if self.annotations is None else f"; {len(self.annotations.rows)} slides annotated"
        balanced = f"; balanced by {', '.join(self.balanced)}" if self.balanced else ""
        return f"<Dataset {self.label}: {chosen} of {sources}{labels}{balanced}>"

    @property
    def label(self) -> str:
        """Tile size label such as `299px_302um`."""
        return self.tiling.label

    def slide_paths(self) -> dict[str, SlidePlace]:
        """The file of each slide, by name, sorted.

        A folder or pattern without files is left out, because training from TFRecords needs no slides.

        Raises:
            ConfigError: two slide files have the same name.
        """
        return {name: slide.place for name, slide in self.named_slides().items()}

    def named_slides(self) -> dict[str, NamedSlide]:
        """The same, with what tells a slide from others: for `WSI` and what else looks for files of the slide."""
        found = slides_of_all(self.sources)
        return {name: found[name] for name in sorted(found) if self._has(name)}

    def _has(self, slide: str) -> bool:
        return self.chosen is None or slide in self.chosen

    def slides(self) -> list[str]:
        """Names of slides that have a slide file or a TFRecord file, sorted."""
        return self._names(self.stored())

    def _names(self, stored: Sequence[StoredSlide]) -> list[str]:
        return sorted({*self.slide_paths(), *(item.slide for item in stored)})

    def patients(self) -> dict[str, str]:
        """The patient of each slide; each slide without annotations counts as its own patient."""
        return self._patients(self.slides())

    def _patients(self, slides: Sequence[str]) -> dict[str, str]:
        known = {} if self.annotations is None else self.annotations.patients()
        return {slide: known.get(slide, slide) for slide in slides}

    def missing(self) -> list[str]:
        """Names of slides with missing files.

        These are annotated slides with neither a slide file nor a TFRecord file, and slides whose TFRecord file is
        missing, empty, cut short or from a failed run although a report or `manifest.json` counts tiles in it;
        `damaged` gives the reason.
        """
        return [*self.without_files(), *self.damaged()]

    def without_files(self) -> list[str]:
        """Annotated slides with neither a slide file nor a TFRecord file."""
        return [] if self.annotations is None else self._absent(self.slides())

    def _absent(self, slides: Sequence[str]) -> list[str]:
        """Annotated slides that are not among `slides`."""
        here, rows = set(slides), {} if self.annotations is None else self.annotations.rows
        return [slide for slide in rows if self._has(slide) and slide not in here]

    def damaged(self) -> dict[str, str]:
        """Slides whose TFRecord file is missing or cannot be trusted, with the reason."""
        return {stored.slide: stored.problem for stored in self.stored() if stored.problem}

    def labels(self, column: str) -> dict[str, str]:
        """The value of each slide in a column of the annotations; slides without a value are left out.

        Raises:
            ConfigError: there are no annotations, or no such column.
        """
        values = self._annotated(f"labels '{column}'").column(column)
        return {slide: values[slide] for slide in self.slides() if values.get(slide)}

    def _annotated(self, what: str) -> Annotations:
        if self.annotations is None:
            raise ConfigError(
                f"{what}: the project has no annotations; name a CSV with the columns patient and slide in project.toml"
            )
        return self.annotations

    def filter(
        self,
        filters: Filters | None = None,
        *,
        filter_blank: str | Sequence[str] = (),
        slides: Sequence[str] | None = None,
    ) -> Dataset:
        """The dataset of the slides that match all conditions.

        Args:
            filters: column of the annotations to the accepted value or list of values.
            filter_blank: columns that must not be blank.
            slides: names of slides.

        Raises:
            ConfigError: there are no annotations, no such column, no row with such a value, or no slide with that name.
        """
        chosen: frozenset[str] | None = self.chosen
        if filters or filter_blank:
            matching = frozenset(self._annotated("filters").slides(filters, filter_blank))
            chosen = matching if chosen is None else chosen & matching
        if slides is not None:
            unknown = sorted(set(slides) - set(self.slides()))
            if unknown:
                in_folders = any(source.recursive for source in self.sources)
                how = "as slides() has them" if in_folders else "without folder and extension"
                raise ConfigError(f"slides: no slide is named {named(unknown)}; give names {how}")
            chosen = frozenset(slides) if chosen is None else chosen & frozenset(slides)
        return attrs.evolve(self, chosen=chosen)

    def split(self, val_fraction: float = 0.3, *, labels: str | None = None, seed: int = 0) -> tuple[Dataset, Dataset]:
        """A training and a validation dataset that share no patient.

        Args:
            val_fraction: share of the patients for validation.
            labels: a column of the annotations; each of its values has about the same share in both datasets.
            seed: seed of the random choice.

        Raises:
            ConfigError: there are too few patients, or a slide has no label.
        """
        patients = self.patients()
        ordered = in_drawn_order(patient_labels(patients, self._all_labels(labels)), seed=seed)
        held = set(share(ordered, val_fraction))
        return self._of(patients, held, inside=False), self._of(patients, held, inside=True)

    def k_fold(self, k: int = 3, *, labels: str | None = None, seed: int = 0) -> list[tuple[Dataset, Dataset]]:
        """`k` pairs of a training and a validation dataset; each patient is in the validation dataset of one pair.

        Arguments and errors are those of `split`.
        """
        patients = self.patients()
        groups = folds(in_drawn_order(patient_labels(patients, self._all_labels(labels)), seed=seed), k)
        return [
            (self._of(patients, set(group), inside=False), self._of(patients, set(group), inside=True))
            for group in groups
        ]

    def _all_labels(self, column: str | None) -> dict[str, str] | None:
        if column is None:
            return None
        labels = self.labels(column)
        without = sorted(set(self.slides()) - set(labels))
        if without:
            raise ConfigError(f"no value in column '{column}' for {named(without)}; use filter_blank='{column}'")
        return labels

    def _of(self, patients: Mapping[str, str], group: set[str], *, inside: bool) -> Dataset:
        slides = frozenset(slide for slide, patient in patients.items() if (patient in group) == inside)
        return attrs.evolve(self, chosen=slides)

    def balance(self, *by: str) -> Dataset:
        """The same dataset, whose loaders draw each label, patient or slide equally often.

        Args:
            by: "label", "patient", "slide", or several of these, the outermost first: `balance("label", "patient")`
                draws each label equally often, and within a label each patient.
        """
        return attrs.evolve(self, balanced=by)

    def stored(self) -> list[StoredSlide]:
        """The outputs for each slide at this tile size (TFRecords, tile table, report), sorted by name."""
        found: dict[str, StoredSlide] = {}
        for source in self.sources:
            for stored in stored_slides(source, self.label):
                if stored.slide in found:
                    raise ConfigError(
                        f"slide {stored.slide} has tiles in {found[stored.slide].source.out} and {source.out}; "
                        "name the sources to use"
                    )
                found[stored.slide] = stored
        return [found[name] for name in sorted(found) if self._has(name)]

    def tfrecords(self) -> list[Path]:
        """The TFRecord files, one per slide, sorted by slide."""
        return [stored.tfrecord for stored in self.stored() if stored.tfrecord is not None]

    def manifest(self) -> dict[str, dict[str, int]]:
        """Number of tiles in each TFRecord file: `{"<path>": {"total": n}}`."""
        return {
            str(stored.tfrecord): {"total": stored.count()} for stored in self.stored() if stored.tfrecord is not None
        }

    def tile_dataframe(self, *, every: bool = False, planned: bool = False) -> pd.DataFrame:
        """One row per tile of all slides: slide, loc_x, loc_y, grid_x, grid_y, roi_name, roi_desc, label, and scores.

        Of tiles that another program stored, column, row and region come from the slide, where that is at hand.

        Args:
            every: include dropped tiles, with a column `status` ("written", or the step that dropped the tile).
            planned: plan the grid on the slides and list the tiles that regions keep; no run is needed.

        Raises:
            ConfigError: no slide has tiles.
            SlideError: with `planned`, a slide cannot be opened.
        """
        import pandas as pd

        if planned:
            frames = [
                planned_tiles(source, self.tiling, slide, every=every)
                for source in self.sources
                for slide in source_slides(source)
                if self._has(slide.name)
            ]
        else:
            slides = self.named_slides()
            frames = [self._table(stored, slides.get(stored.slide), every=every) for stored in self.stored()]
        if not frames:
            raise ConfigError(f"no tiles of {self.label} in {self._places()}; run extract_tiles first")
        return pd.concat(frames, ignore_index=True)

    def _table(self, stored: StoredSlide, slide: NamedSlide | None, *, every: bool) -> pd.DataFrame:
        frame = stored.table(every=every)
        return frame if stored.tile_table else with_places(frame, stored.source, self.tiling, slide)

    def get_tile_dataframe(self) -> pd.DataFrame:
        """The stored tiles as `tile_dataframe`, with an index of text, "SLIDE-LOC_X-LOC_Y", as the field knows it."""
        return named_by_place(self.tile_dataframe())

    def _places(self) -> str:
        return ", ".join(str(source.out) for source in self.sources)

    def summary(self) -> DatasetSummary:
        """Counts of slides, patients and tiles, and what is missing."""
        stored = self.stored()  # once: it looks at every file
        slides = self._names(stored)
        rows = {} if self.annotations is None else self.annotations.rows
        counts = [item.count() for item in stored]
        return DatasetSummary(
            label=self.label,
            slides=len(slides),
            patients=None if self.annotations is None else len(set(self._patients(slides).values())),
            with_tiles=sum(1 for count in counts if count),
            tiles=sum(counts),
            missing=tuple(self._absent(slides)),
            damaged=tuple(item.slide for item in stored if item.problem),
            not_annotated=() if not rows else tuple(slide for slide in slides if slide not in rows),
        )

    def thumbnails(self, outdir: Path | str, *, max_px: int = 512) -> dict[str, Path | SlideloomError]:
        """Write a PNG of each slide, and return by slide the file or the error, which stops no other slide.

        Args:
            outdir: folder for the files, made if missing.
            max_px: maximum width and height in pixels.
        """
        return write_thumbnails(self.slide_paths(), local_path(outdir), max_px=max_px)

    def tfrecord_report(self, outdir: Path | str | None = None) -> list[Path]:
        """Write a PDF of the stored tiles of each source; needs the report plugin.

        Args:
            outdir: folder for the files; by default the folder of the TFRecords.

        Raises:
            PluginError: the report plugin is not installed.
            ConfigError: there are no TFRecords.
        """
        stored = [item for item in self.stored() if item.tfrecord is not None]
        folders = {item.source.tfrecords / item.label: item.source for item in stored}
        if not folders:
            raise ConfigError(f"no TFRecords of {self.label} in {self._places()}; run extract_tiles first")
        home = None if outdir is None else local_path(outdir)
        return [write_report(folder, source, home) for folder, source in folders.items()]

    def save_params(
        self, path: Path | str, *, normalizer: str | Settings[Any] | FittedNormalizer | None = None, **more: Any
    ) -> Path:
        """Write `params.json` beside a model trained on this dataset; see `slideloom.save_params`."""
        return save_params(path, tiling=self.tiling, normalizer=normalizer, **more)

    def extract_tiles(self, **options: Unpack[ExtractOptions]) -> RunReport:
        """Cut the dataset's slides into tiles of its size. Finished slides are skipped; an interrupted run goes on.

        Args:
            options: those of `Project.extract_tiles`, apart from the size of tiles and the choice of slides, which the
                dataset has.

        Returns:
            The report of all slides of all sources.

        Raises:
            TypeError: there is no such argument.
            ConfigError, OutputError: as `Project.extract_tiles`.
        """
        for name in options:
            refuse_argument(name, ExtractOptions.__annotations__, of="Dataset.extract_tiles")
        home = os.path.commonpath([source.out.absolute() for source in self.sources])
        return extract(self, {**sizes_of(self.tiling), **options}, root=Path(home))

    def bags(
        self,
        encoder: str | None = None,
        *,
        labels: str | Mapping[str, Any] | None = None,
        by: Literal["patient", "slide"] = "patient",
        folder: Path | str | None = None,
    ) -> Bags:
        """The features of these slides, as bags for multiple-instance learning; nothing but their heads is read now.

        Args:
            encoder: the model, by the name that the sink `features` gave it; not needed if there is one only.
            labels: a column of the annotations, or a value by slide; slides without one are left out and named.
            by: "patient": all slides of a patient are one bag; or "slide".
            folder: with one .h5 file per slide, such as TRIDENT's, in place of the dataset's own features.

        Raises:
            ConfigError: there are no features, they are of different models, or labels of one patient differ.
        """
        home = None if folder is None else local_path(folder)
        files, missing = feature_files(self.sources, self.label, encoder=encoder, folder=home)
        rows = self.annotations.rows if self.annotations is not None else {}
        names = [name for name in {*self.slides(), *files, *missing, *rows} if self._has(name)]
        missing |= dict.fromkeys(set(names) - set(files) - set(missing), "it has no file of features")
        return bags_of(
            {name: files[name] for name in names if name in files},
            {name: missing[name] for name in names if name in missing},
            patients=self._patients(names),
            labels=self._annotated(f"labels '{labels}'").column(labels) if isinstance(labels, str) else labels,
            by=by,
        )

    def torch(self, batch_size: int = 32, **options: Any) -> Any:  # Any: torch is not imported before
        """A `torch.utils.data.DataLoader` of this dataset's tiles; options as `slideloom.torch_loader`."""
        return slideloom.torch_loader(self, batch_size=batch_size, **options)

    def tensorflow(self, batch_size: int = 32, **options: Any) -> Any:  # Any: TensorFlow is not imported before
        """A `tf.data.Dataset` of this dataset's tiles; options as `slideloom.tensorflow_loader`."""
        return slideloom.tensorflow_loader(self, batch_size=batch_size, **options)
