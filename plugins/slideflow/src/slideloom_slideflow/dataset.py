"""`Dataset` by Slideflow's names: slides of one tile size, and what is done with their tiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import slideloom
from slideloom import ConfigError, Rgb, slide_name

from slideloom_slideflow.adapting import NotOffered, adapted
from slideloom_slideflow.balancing import balance_of
from slideloom_slideflow.choosing import ChosenSlides, names_of
from slideloom_slideflow.extraction import extract
from slideloom_slideflow.labelling import labels_of
from slideloom_slideflow.loading import tensorflow_batches, torch_batches
from slideloom_slideflow.project_files import PeerSource
from slideloom_slideflow.splitting import divided, in_folds
from slideloom_slideflow.tfrecord import TFRecord

if TYPE_CHECKING:
    import pandas as pd


class Dataset(ChosenSlides):
    """Slides of one tile size; `ours` is the `slideloom.Dataset` behind it. Filters and splits give smaller copies."""

    @property
    def num_tiles(self) -> int:
        """Number of stored tiles."""
        return sum(counts["total"] for counts in self.manifest().values())

    @property
    def img_format(self) -> str | None:
        """The format of stored tiles, "jpeg" or "png", by the first stored tile; None without tiles."""
        return next((TFRecord(path).img_format for path in self.tfrecords()), None)

    @adapted("Dataset.find_tfrecord")
    def find_tfrecord(self, *, slide: str | None = None, patient: str | None = None) -> str | None:
        """The TFRecord file of a slide, or of a patient's only one."""
        return self.one_of({slide_name(Path(path)): path for path in self.tfrecords()}, slide, patient)

    @adapted("Dataset.tfrecords")
    def tfrecords(self, source: str | None = None) -> list[str]:
        """The TFRecord files, one per slide."""
        left = {item.slide: item for item in self.ours.stored()}
        chosen = {each.name for each in self.chosen_sources(source)}
        return [str(item.tfrecord) for item in left.values() if item.tfrecord and item.source.name in chosen]

    @adapted("Dataset.tfrecords_folders")
    def tfrecords_folders(self) -> list[str]:
        """The folder of TFRecords of each source, for this tile size."""
        return [str(source.tfrecords / str(self.ours.label)) for source in self.sources.values()]

    @adapted("Dataset.tfrecords_have_locations")
    def tfrecords_have_locations(self) -> bool:
        """True if every stored tile has its place."""
        return all(TFRecord(path).locations is not None for path in self.tfrecords())

    @adapted("Dataset.get_tfrecord_locations")
    def get_tfrecord_locations(self, slide: str) -> list[tuple[int, int]]:
        """Centre of each stored tile of a slide, in stored order."""
        path = self.find_tfrecord(slide=slide)
        found = None if path is None else TFRecord(path).locations
        if found is None:
            raise ConfigError(f"slide '{slide}' has no TFRecord file with places")
        return found

    @adapted("Dataset.read_tfrecord_by_location")
    def read_tfrecord_by_location(
        self, slide: str, loc: tuple[int, int], decode: bool | None = None
    ) -> tuple[str, Any]:
        """Slide name and image of the stored tile with this centre; by default decoded, (H, W, 3) uint8."""
        path = self.find_tfrecord(slide=slide)
        if path is None:
            raise ConfigError(f"slide '{slide}' has no TFRecord file of {self.label}")
        return TFRecord(path).get_record_by_xy(*loc, decode=decode is not False)

    @adapted("Dataset.manifest")
    def manifest(self, key: str = "path", filter: bool = True) -> dict[str, dict[str, int]]:
        """Number of stored tiles, "total" and "clipped", by TFRecord file."""
        dataset = self if filter else self.copied(filters={}, filter_blank=[], min_tiles=0, slides=None)
        counts = {path: entry["total"] for path, entry in dataset.ours.manifest().items()}
        return {
            (path if key == "path" else slide_name(Path(path))): {"total": total, "clipped": total}
            for path, total in counts.items()
        }

    @adapted("Dataset.slide_manifest")
    def slide_manifest(
        self,
        roi_method: str = "auto",
        stride_div: float = 1,
        tma: bool = False,
        source: str | None = None,
        low_memory: bool = False,
    ) -> dict[str, int]:
        """Tiles of the grid that regions leave, by slide file; nothing is extracted."""
        counts: dict[str, int] = {}
        for each in self.chosen_sources(source):
            for path in self.slide_paths(each.name):
                with self._opened(path, each, roi_method=roi_method, stride_div=stride_div) as wsi:
                    counts[path] = len(wsi)
        return counts

    def _size(self) -> tuple[int, float | str]:
        _ = self.ours  # says what is missing
        assert self.tile_px is not None  # noqa: S101 - it is not missing
        assert self.tile_um is not None  # noqa: S101
        return self.tile_px, self.tile_um

    @adapted("Dataset.summary")
    def summary(self) -> None:
        """Print what the dataset holds."""
        print(self.sized().summary())  # noqa: T201 - what it is called for
        for name, source in self.sources.items():
            print(f"{name}: slides {', '.join(source.slides) or 'none'}, TFRecords {source.tfrecords}")  # noqa: T201

    @adapted("Dataset.is_float")
    def is_float(self, header: str) -> bool:
        """True if every value of a column is a number."""
        return labels_of(self.sized(), [header], use_float="auto").is_float

    @adapted("Dataset.labels")
    def labels(
        self,
        headers: str | Sequence[str],
        use_float: bool | str | Mapping[str, Any] = False,
        assign: Mapping[str, Mapping[str, int]] | None = None,
        format: str = "index",
    ) -> tuple[dict[str, Any], Any]:
        """Label by slide, and the classes in the order of their numbers."""
        if format not in ("index", "name"):
            raise NotOffered(f"Dataset.labels: format={format!r} is not offered: use 'index' or 'name'")
        found = labels_of(self.sized(), names_of(headers), use_float=use_float, assign=assign)
        return (found.values if format == "index" else dict(found.names)), found.classes

    @adapted("Dataset.balance")
    def balance(
        self,
        headers: str | Sequence[str] | None = None,
        strategy: str | None = "category",
        *,
        force: bool = False,
    ) -> Self:
        """The dataset whose loaders draw each category, patient, slide or tile alike."""
        return self.copied(balance=balance_of(self.sized(), names_of(headers), strategy))

    @adapted("Dataset.split")
    def split(  # noqa: PLR0917 - in Slideflow's order
        self,
        model_type: str | None = None,
        labels: Mapping[str, Any] | str | None = None,
        val_strategy: str = "fixed",
        splits: str | Path | None = None,
        val_fraction: float | None = None,
        val_k_fold: int | None = None,
        k_fold_iter: int | None = None,
        site_labels: str | Mapping[str, str] | None = "site",
        read_only: bool = False,
        from_wsi: bool = False,
    ) -> tuple[Self, Self]:
        """A training and a validation dataset without a common patient."""
        made = divided(
            self.sized(), labels, strategy=val_strategy, fraction=val_fraction, k=val_k_fold, number=k_fold_iter
        )
        return self.copied(slides=made.training), self.copied(slides=made.validation)

    @adapted("Dataset.train_val_split")
    def train_val_split(self, *args: Any, **kwargs: Any) -> tuple[Self, Self]:
        """The same under its older name."""
        return self.split(*args, **kwargs)

    @adapted("Dataset.kfold_split")
    def kfold_split(
        self,
        k: int,
        *,
        labels: Mapping[str, Any] | str | None = None,
        preserved_site: bool = False,
        site_labels: str | Mapping[str, str] | None = "site",
        splits: str | Path | None = None,
        read_only: bool = False,
    ) -> tuple[tuple[Self, Self], ...]:
        """`k` pairs of training and validation dataset; each patient is in the validation dataset of one pair."""
        made = in_folds(self.sized(), labels, k)
        return tuple((self.copied(slides=each.training), self.copied(slides=each.validation)) for each in made)

    @adapted("Dataset.extract_tiles")
    def extract_tiles(self, **kwargs: Any) -> dict[str, slideloom.SlideReport]:
        """Cut the slides into tiles; gives the report of each slide by its path."""
        return extract(self.ours, kwargs)

    @adapted("Dataset.get_tile_dataframe")
    def get_tile_dataframe(self, roi_method: str = "auto", stride_div: float = 1) -> pd.DataFrame:
        """One row per tile of the grid that regions leave; the index is slide-x-y."""
        import pandas as pd

        frames = []
        for source in self.sources.values():
            for path in self.slide_paths(source.name):
                with self._opened(path, source, roi_method=roi_method, stride_div=stride_div) as wsi:
                    frames.append(wsi.get_tile_dataframe().assign(slide=wsi.name))
        if not frames:
            raise ConfigError("get_tile_dataframe: the dataset has no slide files")
        return pd.concat(frames)

    def _opened(self, path: str, source: PeerSource, *, roi_method: Any, stride_div: float = 1) -> slideloom.WSI:
        folder = source.roi if source.roi is not None and source.roi.is_dir() else None
        tile_px, tile_um = self._size()
        return slideloom.WSI(path, tile_px, tile_um, stride_div=stride_div, roi=folder, roi_method=roi_method)

    @adapted("Dataset.get_unique_roi_labels")
    def get_unique_roi_labels(self, allow_empty: bool = False) -> list[str]:
        """Labels of regions, sorted."""
        found: set[str] = set()
        for source in self.sources.values():
            for path in self.slide_paths(source.name):
                with self._opened(path, source, roi_method="auto") as wsi:
                    found |= {region.label or "" for region in wsi.regions.items}
        return sorted(label for label in found if label or allow_empty)

    @adapted("Dataset.tfrecord_report")
    def tfrecord_report(self, dest: str | Path | None = None, normalizer: Any = None) -> None:
        """Write a PDF of the stored tiles of each source."""
        self.ours.tfrecord_report(dest)

    @adapted("Dataset.thumbnails")
    def thumbnails(
        self, outdir: str | Path, size: int = 512, roi: bool = False, enable_downsample: bool = True
    ) -> None:
        """Write a PNG of each slide."""
        made = self.sized().thumbnails(outdir, max_px=size)
        failed = [str(found) for found in made.values() if isinstance(found, Exception)]
        if failed:
            raise slideloom.SlideError("\n".join(failed))

    def each_tile(self) -> Iterator[Rgb]:
        """The stored tiles one after another; a normalizer is fitted to them."""
        for item in self.ours.stored():
            if item.tfrecord is not None:
                tiles = item.open()
                yield from (tiles.read(number) for number in range(len(tiles)))

    @adapted("Dataset.torch")
    def torch(
        self,
        labels: Mapping[str, Any] | str | pd.DataFrame | None = None,
        batch_size: int | None = None,
        rebuild_index: bool = False,
        from_wsi: bool = False,
        **kwargs: Any,
    ) -> Any:  # Any: torch is not imported before
        """Batches of tiles for PyTorch, as tuples: images, labels, and what else is asked for."""
        return torch_batches(self.ours, self._balance, labels, batch_size=batch_size, from_wsi=from_wsi, **kwargs)

    @adapted("Dataset.tensorflow")
    def tensorflow(
        self,
        labels: Mapping[str, Any] | str | None = None,
        batch_size: int | None = None,
        from_wsi: bool = False,
        **kwargs: Any,
    ) -> Any:  # Any: TensorFlow ships no types
        """A `tf.data.Dataset` of tiles, as tuples: images, labels, and what else is asked for."""
        return tensorflow_batches(self.ours, self._balance, labels, batch_size=batch_size, from_wsi=from_wsi, **kwargs)
