"""Which slides a dataset of the drop-in has: sources, annotations, filters, and what they leave."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import attrs
import slideloom
from slideloom import ConfigError, local_path, slide_name
from slideloom_cohort.annotations import Annotations
from slideloom_cohort.params import tiling_of
from slideloom_cohort.slides import source_slides
from slideloom_cohort.sources import Source

from slideloom_slideflow.adapting import Refusing, adapted
from slideloom_slideflow.annotating import annotations_from, annotations_of
from slideloom_slideflow.balancing import Balance
from slideloom_slideflow.project_files import PeerSource, read_json, sources_of

if TYPE_CHECKING:
    import pandas as pd

_OWN_SOURCE = "dataset"


class ChosenSlides(Refusing):
    """Slides by sources, annotations and filters; `ours` is the `slideloom.Dataset` behind them."""

    peer = "Dataset"

    @adapted("Dataset")
    def __init__(
        self,
        config: str | Path | Mapping[str, Any] | None = None,
        sources: str | Sequence[str] | None = None,
        tile_px: int | None = None,
        tile_um: float | str | None = None,
        *,
        tfrecords: str | Path | None = None,
        tiles: str | Path | None = None,
        roi: str | Path | None = None,
        slides: str | Path | None = None,
        filters: Mapping[str, Any] | None = None,
        filter_blank: str | Sequence[str] | None = None,
        annotations: str | Path | pd.DataFrame | None = None,
        min_tiles: int = 0,
    ) -> None:
        own = {"slides": slides, "roi": roi, "tiles": tiles, "tfrecords": tfrecords}
        given = {kind: local_path(path) for kind, path in own.items() if path is not None}
        folders = {kind: str(path.expanduser().absolute()) for kind, path in given.items()}
        if (config is None) != bool(folders):
            raise ConfigError("Dataset: give either config, or folders: slides, tfrecords, tiles, roi")
        if config is None and "tfrecords" not in folders:
            raise ConfigError("Dataset: give the folder of TFRecords, tfrecords=...; it need not exist")
        names = [sources] if isinstance(sources, str) else None if sources is None else list(sources)
        table, root, where = _configured(config, folders)
        self.tile_px, self.tile_um = tile_px, tile_um
        self.sources: dict[str, PeerSource] = sources_of(table, names, root=root, where=where)
        self._annotations = annotations_from(annotations)
        self._filters: dict[str, Any] = dict(filters or {})
        self._filter_blank: list[str] = names_of(filter_blank)
        self._min_tiles = min_tiles
        self._slides: frozenset[str] | None = None
        self._balance = Balance()

    def __repr__(self) -> str:
        return f"<Dataset {self.label or 'of no tile size'}: {', '.join(self.sources)}>"

    @property
    def ours(self) -> slideloom.Dataset:
        """The `slideloom.Dataset`.

        Raises:
            ConfigError: no tile size is given, or filters are wrong.
        """
        if self.tile_px is None or self.tile_um is None:
            raise ConfigError("the dataset has no tile size; give tile_px and tile_um where it is made")
        found = self._of(tuple(self.sources.values()))
        if self._min_tiles:
            counts = {item.slide: item.count() for item in found.stored()}
            chosen = frozenset(name for name in found.slides() if counts.get(name, 0) >= self._min_tiles)
            found = found.filter(slides=sorted(chosen))
        return found

    def _of(self, sources: tuple[Source, ...]) -> slideloom.Dataset:
        tiling = tiling_of(self.tile_px or 1, 1 if self.tile_um is None else self.tile_um)
        known = self._annotations
        chosen = self._slides
        if known is not None:
            annotated = frozenset(known.rows)
            chosen = annotated if chosen is None else chosen & annotated
        whole = slideloom.Dataset(tiling, sources, known, chosen=chosen, balanced=self._balance.by)
        if known is None and (self._filters or self._filter_blank):
            whole = attrs.evolve(whole, annotations=annotations_of(whole.slides()))
        return whole.filter(self._filters, filter_blank=self._filter_blank)

    @property
    def label(self) -> str | None:
        """Tile size label such as `299px_302um`."""
        return None if self.tile_px is None or self.tile_um is None else tiling_of(self.tile_px, self.tile_um).label

    @property
    def annotations(self) -> pd.DataFrame | None:
        """A row per annotated slide, all text; None without annotations."""
        return None if self._annotations is None else _frame(self._annotations, self._annotations.rows)

    @property
    def filtered_annotations(self) -> pd.DataFrame | None:
        """The same, of the slides that filters leave."""
        if self._annotations is None:
            return None
        left = self._annotations.slides(self._filters, self._filter_blank)
        return _frame(self._annotations, [name for name in left if self._slides is None or name in self._slides])

    @property
    def filters(self) -> dict[str, Any]:
        """Column to a value or a list of values."""
        return self._filters

    @property
    def filter_blank(self) -> list[str]:
        """Columns that must not be blank."""
        return self._filter_blank

    @property
    def min_tiles(self) -> int:
        """Slides with fewer stored tiles are left out."""
        return self._min_tiles

    def copied(self, **changes: Any) -> Self:
        """A copy with other filters, slides or balance."""
        copied = copy.copy(self)
        for name, value in changes.items():
            setattr(copied, f"_{name}", value)
        return copied

    @adapted("Dataset.load_annotations")
    def load_annotations(self, annotations: str | Path | pd.DataFrame) -> None:
        """Use these annotations in place of those there were."""
        self._annotations = annotations_from(annotations)

    @adapted("Dataset.filter")
    def filter(
        self,
        filters: Mapping[str, Any] | None = None,
        *,
        filter_blank: str | Sequence[str] | None = None,
        min_tiles: int | None = None,
    ) -> Self:
        """The slides with these values, in addition to the filters there are."""
        return self.copied(
            filters={**self._filters, **(filters or {})},
            filter_blank=[*self._filter_blank, *names_of(filter_blank)],
            min_tiles=self._min_tiles if min_tiles is None else min_tiles,
        )

    @adapted("Dataset.remove_filter")
    def remove_filter(
        self, *, filters: str | Sequence[str] | None = None, filter_blank: str | Sequence[str] | None = None
    ) -> Self:
        """Without the filters of these columns.

        Raises:
            ConfigError: there is no such filter.
        """
        for name in names_of(filters):
            if name not in self._filters:
                raise ConfigError(f"remove_filter: no filter of column '{name}'")
        for name in names_of(filter_blank):
            if name not in self._filter_blank:
                raise ConfigError(f"remove_filter: no blank filter of column '{name}'")
        return self.copied(
            filters={key: value for key, value in self._filters.items() if key not in names_of(filters)},
            filter_blank=[key for key in self._filter_blank if key not in names_of(filter_blank)],
        )

    @adapted("Dataset.clear_filters")
    def clear_filters(self) -> Self:
        """Without any filter."""
        return self.copied(filters={}, filter_blank=[], min_tiles=0)

    @adapted("Dataset.slides")
    def slides(self) -> list[str]:
        """Names of slides, sorted: those with a file or TFRecords, and annotated if there are annotations."""
        return self.sized().slides()

    def sized(self) -> slideloom.Dataset:
        """Ours, for what needs no tile size."""
        return self.ours if self.label is not None else self._of(tuple(self.sources.values()))

    @adapted("Dataset.slide_paths")
    def slide_paths(self, source: str | None = None, apply_filters: bool = True) -> list[str]:
        """Files of slides."""
        chosen = self.chosen_sources(source)
        if not apply_filters:
            return [str(path) for each in chosen for path in source_slides(each)]
        left = set(self.slides())
        return [str(path) for name, path in self._of(chosen).slide_paths().items() if name in left]

    def chosen_sources(self, name: str | None) -> tuple[PeerSource, ...]:
        """The source of a name, or all."""
        if name is not None and name not in self.sources:
            raise ConfigError(f"no source '{name}' (known: {', '.join(self.sources)})")
        return tuple(self.sources.values()) if name is None else (self.sources[name],)

    @adapted("Dataset.find_slide")
    def find_slide(self, *, slide: str | None = None, patient: str | None = None) -> str | None:
        """The file of a slide, or of a patient's only one."""
        return self.one_of({name: str(path) for name, path in self.sized().slide_paths().items()}, slide, patient)

    def one_of(self, paths: Mapping[str, str], slide: str | None, patient: str | None) -> str | None:
        """The path of a slide, or of a patient's only one."""
        if (slide is None) == (patient is None):
            raise ConfigError("give either slide or patient")
        if slide is not None:
            return paths.get(slide)
        mine = [name for name, of in self.patients().items() if of == patient and name in paths]
        if len(mine) > 1:
            raise ConfigError(f"patient '{patient}' has {len(mine)} slides; name the slide")
        return paths[mine[0]] if mine else None

    @adapted("Dataset.get_slide_source")
    def get_slide_source(self, slide: str) -> str:
        """The name of the source that has a slide."""
        for name, source in self.sources.items():
            if slide in {each.name for each in source_slides(source)}:
                return name
        raise ConfigError(f"no source has a slide '{slide}'")

    @adapted("Dataset.patients")
    def patients(self) -> dict[str, str]:
        """The patient of each slide."""
        return self.sized().patients()

    @adapted("Dataset.rois")
    def rois(self) -> list[str]:
        """Files of regions that belong to the slides."""
        left = set(self.slides())
        return [
            str(path)
            for source in self.sources.values()
            if source.roi is not None and source.roi.is_dir()
            for path in sorted(source.roi.iterdir())
            if path.suffix.lower() in (".csv", ".geojson", ".json", ".xml", ".ndpa") and slide_name(path) in left
        ]

    @adapted("Dataset.find_rois")
    def find_rois(self, slide: str) -> str | None:
        """The file of regions of a slide."""
        return next((path for path in self.rois() if slide_name(Path(path)) == slide), None)


def _configured(
    config: str | Path | Mapping[str, Any] | None, folders: Mapping[str, str]
) -> tuple[Mapping[str, Any], Path, str]:
    """The configuration of sources, the folder that its paths start from, and its name in messages."""
    if config is None:
        return {_OWN_SOURCE: folders}, Path(), "Dataset"
    if isinstance(config, Mapping):
        return config, Path(), "Dataset: config"
    path = Path(config).expanduser()
    return read_json(path), Path(), str(path)


def names_of(value: str | Sequence[str] | None) -> list[str]:
    """One name, several, or none, as a list."""
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _frame(annotations: Annotations, slides: Sequence[str] | Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([annotations.rows[slide] for slide in slides], columns=list(annotations.columns))
