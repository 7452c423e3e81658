"""`WSI` by Slideflow's names: one slide in a person's hands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import slideloom
from slideloom import ConfigError, Mask, QcResult, Rgb, union_mask
from slideloom.plugins.shorthand import step_settings

from slideloom_slideflow.adapting import NotOffered, Refusing, adapted
from slideloom_slideflow.pictures import as_image, painted, squared
from slideloom_slideflow.slide.facts import SlideFacts
from slideloom_slideflow.slide.generating import tile_dictionaries
from slideloom_slideflow.slide.qc.saver import Save
from slideloom_slideflow.slide.qc.steps import NamedQc, QcObject, as_list, named_steps, settings_named
from slideloom_slideflow.slide.roi import ROI, write_rois

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image


class WSI(SlideFacts, Refusing):
    """A slide cut into tiles. `ours` is the `slideloom.WSI` behind it."""

    peer = "WSI"

    @adapted("WSI")
    def __init__(
        self,
        path: str | Path,
        tile_px: int,
        tile_um: float | str,
        stride_div: float = 1,
        *,
        enable_downsample: bool = True,
        roi_dir: str | Path | None = None,
        rois: Sequence[str] | None = None,
        roi_method: Literal["auto", "inside", "outside", "ignore"] = "auto",
        roi_filter_method: Literal["center"] | float = "center",
        origin: Literal["random"] | tuple[int, int] = (0, 0),
        pb: Any = None,
        verbose: bool = True,
        use_edge_tiles: bool = False,
        mpp: float | None = None,
        simplify_roi_tolerance: float | None = None,
        artifact_labels: str | Sequence[str] | None = None,
        disable_grid: bool = False,
        use_bounds: bool = False,
        **reader_kwargs: Any,
    ) -> None:
        if origin not in ("random", (0, 0), [0, 0]):
            raise NotOffered(f"WSI: origin={origin!r} is not offered: the grid starts at (0, 0), or 'random'")
        self.path = str(path)
        self._options: dict[str, Any] = {
            "tile_px": tile_px,
            "tile_um": tile_um,
            "stride_div": stride_div,
            "enable_downsample": enable_downsample,
            "roi_method": roi_method,
            "roi_filter_method": roi_filter_method,
            "randomize_origin": origin == "random",
            "use_edge_tiles": use_edge_tiles,
            "use_bounds": use_bounds,
            "mpp": mpp,
            "artifact_labels": [artifact_labels] if isinstance(artifact_labels, str) else list(artifact_labels or ()),
        }
        self._simplify = simplify_roi_tolerance or 0.0
        folder = roi_dir if roi_dir is not None else _folder_of(rois, Path(path))
        self._masks: list[tuple[QcResult, float]] = []
        self._regions = None if folder is None else ("roi-folder", Path(folder))
        self._open()

    def _open(self) -> None:
        roi = None
        if self._regions is not None:
            use, folder = self._regions
            roi = step_settings("roi", use, {"folder": str(folder), "simplify_px": self._simplify})
        ours = slideloom.WSI(self.path, roi=roi, **self._options)
        for result, threshold in self._masks:
            ours.apply_mask(result, filter_threshold=threshold)
        self.ours = ours

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ours.close()

    def __repr__(self) -> str:
        return repr(self.ours)

    def _repr_png_(self) -> bytes:
        return self.ours.preview().png()

    def __getitem__(self, index: tuple[int, int]) -> Rgb | None:
        """The tile in a column and row of the grid, (tile_px, tile_px, 3) uint8; None if it was dropped."""
        return self.ours[index] if self.grid[index] else None

    @adapted("WSI.qc")
    def qc(
        self,
        method: Any,  # Any: a name, a QC object, a function of the slide, or a list of these
        *,
        blur_radius: float = 3,
        blur_threshold: float = 0.02,
        filter_threshold: float = 0.6,
        blur_mpp: float | None = None,
        pool: Any = None,
    ) -> Image:
        """Drop the tiles that QC masks; gives the thumbnail with masked parts in black."""
        for one in as_list(method):
            if isinstance(one, Save):
                one(self)
                continue
            for result in self._assessed(one, {"sigma": blur_radius, "threshold": blur_threshold, "mpp": blur_mpp}):
                self._mask(result, filter_threshold)
        return self._masked("black", self.thumb())

    def _assessed(self, one: Any, blur: dict[str, Any]) -> list[QcResult]:
        if isinstance(one, QcObject):
            return [one.found_on(self)]
        if callable(one):
            return [QcResult(mask=np.asarray(one(self), np.bool_), kind="artifact")]
        steps = [settings_named(name, **(blur if name == "gaussian-v2" else {})) for name in named_steps(one)]
        return [NamedQc(settings).found_on(self) for settings in steps]

    def _mask(self, result: QcResult, threshold: float) -> None:
        self.ours.apply_mask(result, filter_threshold=threshold)
        self._masks.append((result, threshold))

    @adapted("WSI.apply_qc_mask")
    def apply_qc_mask(
        self, mask: Mask | None = None, filter_threshold: float | None = None, *, is_roi: bool = False
    ) -> Image:
        """Drop the tiles that a mask over the whole slide covers, (h, w) bool."""
        if mask is None:
            raise ConfigError("apply_qc_mask: give a mask, (h, w) bool; masks of QC are applied as QC is run")
        share = 0.6 if filter_threshold is None else filter_threshold
        self._mask(QcResult(mask=np.asarray(mask, np.bool_), kind="artifact"), share)
        return self._masked("black", self.thumb())

    @adapted("WSI.remove_qc")
    def remove_qc(self) -> None:
        """Forget all QC; the tiles it dropped are back."""
        self._masks.clear()
        self.ours.remove_qc()

    @property
    def qc_mask(self) -> Mask | None:
        """What QC discards, (h, w) bool over the whole slide; None without QC."""
        return self.get_qc_mask()

    @adapted("WSI.get_qc_mask")
    def get_qc_mask(self, roi: bool = True) -> Mask | None:
        """The same; regions are no part of it."""
        results = [result for result, _ in self._masks]
        return union_mask(results, self.ours.info.size) if results else None

    @adapted("WSI.area")
    def area(self) -> float:
        """Area of the slide without what QC discards, in square millimetres."""
        resolution, mask = self.ours.info.mpp, self.qc_mask
        if resolution is None:
            raise ConfigError(f"{self.name}: its microns per pixel are not known")
        kept = 1.0 if mask is None else 1 - float(mask.mean())
        return self.width * resolution.x * self.height * resolution.y * kept / 1e6

    @adapted("WSI.has_non_roi_qc")
    def has_non_roi_qc(self) -> bool:
        """True if QC was run."""
        return bool(self._masks)

    @adapted("WSI.thumb")
    def thumb(
        self,
        mpp: float | None = None,
        width: int | None = None,
        *,
        coords: Any = None,
        rect_linewidth: int = 2,
        rect_color: str = "black",
        rois: bool = False,
        linewidth: int = 2,
        color: str = "black",
        use_associated_image: bool = False,
        low_res: bool = False,
    ) -> Image:
        """The slide, small: at a resolution in microns per pixel, or so many pixels wide (1024 by default)."""
        if mpp is None:
            mpp = self.ours.mpp * self.width / (width or 1024)
        return as_image(self.ours.thumb(mpp=mpp, rois=rois))

    @adapted("WSI.square_thumb")
    def square_thumb(self, width: int = 512, use_associated_image: bool = True) -> Image:
        """The slide, fitted into a white square."""
        return squared(as_image(self.ours.thumb(max_px=width)), width)

    @adapted("WSI.masked_thumb")
    def masked_thumb(self, background: str = "white", *, mpp: float | None = None, width: int | None = None) -> Rgb:
        """The slide, small, with what QC discards in one colour: (h, w, 3) uint8."""
        return np.asarray(self._masked(background, self.thumb(mpp, width)))

    def _masked(self, colour: str, image: Image) -> Image:
        mask = self.qc_mask
        return image if mask is None else painted(image, mask, colour)

    @adapted("WSI.preview")
    def preview(self, rois: bool = True, thumb_kwargs: Any = None, low_res: bool = True, **kwargs: Any) -> Image:
        """The slide with regions, masks, kept and dropped tiles."""
        return as_image(self.ours.preview())

    @adapted("WSI.build_generator")
    def build_generator(
        self,
        *,
        shuffle: bool = True,
        whitespace_fraction: float | None = None,
        whitespace_threshold: float | None = None,
        grayspace_fraction: float | None = None,
        grayspace_threshold: float | None = None,
        normalizer: Any = None,
        normalizer_source: Any = None,
        context_normalize: bool = False,
        img_format: Literal["numpy", "jpg", "jpeg", "png"] = "numpy",
        dry_run: bool = False,
        max_tiles: int | None = None,
        num_threads: int | None = None,
        num_processes: int | None = None,
        show_progress: bool = False,
        deterministic: bool = True,
        **kwargs: Any,
    ) -> Callable[[], Iterator[dict[str, Any]]]:
        """A function that starts a generator of tiles: dictionaries with "image", "grid" and "loc"."""
        fractions = {
            "grayspace": {"fraction": grayspace_fraction, "threshold": grayspace_threshold},
            "whitespace": {"fraction": whitespace_fraction, "threshold": whitespace_threshold},
        }

        def generate() -> Iterator[dict[str, Any]]:
            return tile_dictionaries(
                self.ours,
                filters=fractions,
                normalizer=normalizer,
                normalizer_source=normalizer_source,
                in_context=context_normalize,
                img_format=img_format,
                shuffle=shuffle,
                with_pixels=not dry_run,
                max_tiles=max_tiles,
            )

        return generate

    @adapted("WSI.get_tile_dataframe")
    def get_tile_dataframe(self) -> pd.DataFrame:
        """One row per kept tile: loc_x, loc_y, grid_x, grid_y, roi_name, roi_desc, label; the index is slide-x-y."""
        return self.ours.get_tile_dataframe()

    @property
    def rois(self) -> list[ROI]:
        """The regions."""
        return [ROI(region) for region in self.ours.regions.items]

    @adapted("WSI.has_rois")
    def has_rois(self) -> bool:
        """True if there are regions."""
        return bool(self.rois)

    @adapted("WSI.get_rois")
    def get_rois(self, ignore_artifact: bool = False) -> list[ROI]:
        """The regions, if wanted without those that are cut out."""
        cut = self._options["artifact_labels"] if ignore_artifact else ()
        return [roi for roi in self.rois if roi.label not in cut]

    @adapted("WSI.get_artifacts")
    def get_artifacts(self) -> list[ROI]:
        """The regions that are cut out."""
        return [roi for roi in self.rois if roi.label in self._options["artifact_labels"]]

    @adapted("WSI.set_artifacts")
    def set_artifacts(self, artifact_labels: str | Sequence[str] | None) -> None:
        """Labels of regions to cut out, in place of those given before."""
        names = [artifact_labels] if isinstance(artifact_labels, str) else list(artifact_labels or ())
        self._options["artifact_labels"] = names
        self._again()

    @adapted("WSI.get_roi_by_name")
    def get_roi_by_name(self, name: str) -> ROI | None:
        """The region of a name."""
        return next((roi for roi in self.rois if roi.name == name), None)

    @adapted("WSI.get_tile_roi")
    def get_tile_roi(
        self, coord: tuple[int, int] | None = None, grid: tuple[int, int] | None = None
    ) -> tuple[int, ROI] | tuple[None, None]:
        """The region that a tile, given by its centre or its place in the grid, belongs to, after its number in `rois`.

        Raises:
            ConfigError: there is no such tile.
        """
        if (coord is None) == (grid is None):
            raise ConfigError("get_tile_roi: give either coord or grid")
        every = self.ours.ledger.tiles
        x, y = (every.loc_x, every.loc_y) if grid is None else (every.grid_x, every.grid_y)
        column, row = grid or coord or (0, 0)
        (found,) = np.nonzero((x == column) & (y == row))
        if not len(found):
            raise ConfigError(f"get_tile_roi: no tile at {column}, {row}")
        number = int(every.roi[found[0]])
        return (number, self.rois[number]) if number >= 0 else (None, None)

    @adapted("WSI.load_csv_roi")
    def load_csv_roi(
        self,
        path: str | Path,
        *,
        process: bool = True,
        scale: int = 1,
        skip_invalid: bool = True,
        simplify_tolerance: float | None = None,
    ) -> int:
        """Use the regions of a CSV file in place of those there were; gives their number."""
        self._simplify = simplify_tolerance or 0.0
        return self._load("qupath-csv", Path(path))

    @adapted("WSI.load_json_roi")
    def load_json_roi(
        self, path: str | Path, *, scale: int = 1, process: bool = True, skip_invalid: bool = True
    ) -> int:
        """Use the regions of a GeoJSON or LabelMe file in place of those there were; gives their number."""
        return self._load("geojson", Path(path))

    def _load(self, use: str, path: Path) -> int:
        if path.stem != self.name:
            raise ConfigError(f"{path}: a region file has its slide's name; rename it to {self.name}{path.suffix}")
        if not path.is_file():
            raise ConfigError(f"{path}: no such file of regions")
        self._again((use, path.parent))
        return len(self.rois)

    def _again(self, regions: tuple[str, Path] | None = None) -> None:
        self.ours.close()
        self._regions = regions or self._regions
        self._open()

    @adapted("WSI.export_rois")
    def export_rois(self, dest: str | Path | None = None) -> str:
        """Write the regions as CSV, by default `<slide>.csv` in the current folder; gives the path."""
        path = Path(dest) if dest is not None else Path(f"{self.name}.csv")
        write_rois(self.rois, path)
        return str(path.absolute())


def _folder_of(rois: Sequence[str] | None, slide: Path) -> Path | None:
    """The folder of the file, out of a list of region files, that has the slide's name."""
    from slideloom import slide_name

    return next((Path(path).parent for path in rois or () if Path(path).stem == slide_name(slide)), None)
