"""The sink that runs a model over the tiles of a slide and stores what it gives."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np
from numpy.typing import NDArray
from slideloom import (
    Draft,
    Prepared,
    Rgb,
    Scene,
    Sink,
    SlideInfo,
    TileBatch,
    Tiles,
    Writer,
    check_size,
    path_inside,
    path_of_name,
    storing_in,
    sync_path,
    utf8,
)

from slideloom_features.anndata_form import write_anndata
from slideloom_features.conventions import coords_attributes, input_mpp, model_attributes
from slideloom_features.loading import encoder_of
from slideloom_features.rows_file import RowsFile, read_rows
from slideloom_features.settings import Features

_MPP_TOLERANCE = 0.1
Encoded = tuple[Rgb, str]  # the model's input, and the label of the tile's region or ""


class FeaturesSink(Sink):
    """Prepares the model's input in worker threads; the writer calls the model."""

    keeps_pixels = False

    def __init__(self, settings: Features) -> None:
        self._settings = settings
        self._encoder = encoder_of(settings)

    def open(self, info: SlideInfo, scene: Scene, folder: Path) -> Writer:
        """A writer of `<folder>/<sub-folder>/<tile size>/features_<encoder>/<slide>.h5` and what else is asked for."""
        return FeaturesWriter(self._settings, info, scene, folder)

    def encode(self, batch: TileBatch) -> Sequence[Encoded]:
        """Each tile in the size of the model's input, with its label."""
        resized = self._encoder.transform.resized
        return [(resized(rgb), label or "") for rgb, label in zip(batch.rgb, batch.labels, strict=True)]


class _Output(Protocol):
    """A file of the slide."""

    draft: Draft

    def prepare(self, tiles: int) -> Prepared: ...

    def abort(self) -> None: ...


class FeaturesWriter(Writer):
    """Calls the model with full batches in the order of extraction, so that features depend on no other number."""

    def __init__(self, settings: Features, info: SlideInfo, scene: Scene, folder: Path) -> None:
        self._settings = settings
        self._encoder = encoder_of(settings)
        self._info = info
        self._geometry = scene.geometry
        self._batch = self._encoder.fixed_batch or settings.batch
        self._inputs: list[Rgb] = []
        self._tiles: list[Tiles] = []
        self._labels: list[str] = []
        self._count = 0
        self._width = 0
        self._prepared: tuple[Prepared, ...] | None = None
        self._rows: list[RowsFile] = []
        self._outputs: list[_Output] = []
        base = path_inside(folder, settings.folder, scene.geometry.label)
        bags = path_inside(base, f"features_{settings.encoder_name}")
        self._home = bags.relative_to(folder).as_posix()
        is_clam = settings.style == "clam"
        try:
            main = path_of_name(bags / "h5_files" if is_clam else bags, info.name, ending=".h5")
            self._open(RowsFile(main, dataset="features", finish=self._finish_bag))
            if is_clam:
                self._outputs.append(
                    TensorFile(path_of_name(bags / "pt_files", info.name, ending=".pt"), self._rows[0])
                )
            if settings.anndata:
                path = path_of_name(base / f"anndata_{settings.encoder_name}", info.name, ending=".h5ad")
                self._open(RowsFile(path, dataset="X", finish=self._finish_anndata))
        except BaseException:
            self.abort()
            raise

    def _open(self, file: RowsFile) -> None:
        self._rows.append(file)
        self._outputs.append(file)

    def write(self, tiles: Tiles, encoded: Sequence[Encoded]) -> None:
        """Collect the model's input; call the model for each batch that is full."""
        self._tiles.append(tiles)
        for pixels, label in encoded:
            self._inputs.append(pixels)
            self._labels.append(label)
            if len(self._inputs) == self._batch:
                self._run()

    def _run(self) -> None:
        rows = self._encoder(np.stack(self._inputs))
        if self._width not in (0, rows.shape[1]):
            raise ValueError(
                f"{self._encoder.told} gave {rows.shape[1]} features for a tile, and {self._width} for those before it"
            )
        self._width = rows.shape[1]
        self._count += len(rows)
        self._inputs.clear()
        for file in self._rows:
            file.add(rows)

    def targets(self) -> Sequence[Path]:
        """The slide's files."""
        return [output.draft.path for output in self._outputs]

    def prepare(self) -> Sequence[Prepared]:
        """Call the model for the last tiles, and make every file whole and durable."""
        if self._inputs:
            self._run()
        self._prepared = tuple(output.prepare(self._count) for output in self._outputs) if self._count else ()
        return self._prepared

    def commit(self) -> Sequence[Path]:
        """Give the files their names; if there was no tile, those of an earlier run are removed."""
        try:
            prepared = self.prepare() if self._prepared is None else self._prepared
            made = []
            for output in self._outputs:
                home = output.draft.path.parent
                with storing_in(home):
                    if prepared:
                        made.append(output.draft.publish())
                        sync_path(home)
                    else:
                        output.draft.withdraw()
            return made
        finally:
            self.abort()  # nothing temporary is left, whatever happened

    def notes(self) -> Sequence[str]:
        """A warning if the model was trained at another resolution."""
        wanted, seen = self._settings.mpp, input_mpp(self._encoder, self._geometry)
        if wanted is None or abs(seen / wanted - 1) <= _MPP_TOLERANCE or not self._count:
            return ()
        model = self._encoder.told
        return [
            f"features: {model} sees {seen:.3g} um per pixel, but was trained at {wanted:.3g}; change the tiles' size"
        ]

    def abort(self) -> None:
        """Remove the unfinished files."""
        for output in self._outputs:
            output.abort()

    def _columns(self) -> dict[str, NDArray[np.int64]]:
        names = ("x", "y", "loc_x", "loc_y", "grid_x", "grid_y")
        return {name: np.concatenate([getattr(tiles, name) for tiles in self._tiles]) for name in names}

    def _finish_bag(self, file: h5py.File) -> None:
        columns = self._columns()
        coords = file.create_dataset("coords", data=np.stack([columns["x"], columns["y"]], axis=1))
        place = coords_attributes(self._info, self._geometry, home=self._home)
        for name in sorted(place):
            coords.attrs[name] = place[name]
        about = {**model_attributes(self._settings, self._encoder, self._geometry), "name": place["name"]}
        for name, value in sorted({**about, "savetodir": self._home}.items()):
            file["features"].attrs[name] = value

    def _finish_anndata(self, file: h5py.File) -> None:
        columns = self._columns()
        slide = utf8(self._info.name).decode()
        places = zip(columns["loc_x"].tolist(), columns["loc_y"].tolist(), strict=True)
        write_anndata(
            file,
            names=[f"{slide}-{x}-{y}" for x, y in places],
            columns={**columns, "label": self._labels},
            spatial=np.stack([columns["loc_x"], columns["loc_y"]], axis=1).astype(np.float64),
            uns={
                **model_attributes(self._settings, self._encoder, self._geometry),
                "slide": slide,
                "mpp": self._geometry.mpp,
                "tile_px": self._geometry.tile_px,
                "tile_um": self._geometry.tile_um,
                "patch_size_level0": self._geometry.footprint.width,
            },
        )


class TensorFile:
    """The features alone, as a torch tensor: the file that CLAM trains from.

    Args:
        path: the final name.
        rows: the file that has the features; it is prepared before this one.
    """

    def __init__(self, path: Path, rows: RowsFile) -> None:
        self._rows = rows
        with storing_in(path.parent):
            self.draft = Draft(path)

    def prepare(self, tiles: int) -> Prepared:
        """Write it whole, and make it durable."""
        import torch

        memory = io.BytesIO()  # a file would give its name to the archive within, and the bytes would change with it
        torch.save(torch.from_numpy(read_rows(self._rows.draft.partial, "features")), memory)
        with storing_in(self.draft.path.parent):
            self.draft.partial.write_bytes(memory.getbuffer())
            sync_path(self.draft.partial)
            check_size(self.draft.partial, memory.getbuffer().nbytes)
        return Prepared(self.draft.path, self.draft.partial, tiles=tiles)

    def abort(self) -> None:
        """Remove the unfinished file."""
        self.draft.discard()
