"""An open OME-Zarr slide: chunks, read when they are needed."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any

import cv2
import numpy as np
import zarr
from attrs import frozen
from numpy.typing import NDArray
from slideloom import (
    LostSlide,
    NativeResampler,
    RemoteFolder,
    Rgb,
    Size,
    SlideError,
    SlideInfo,
    SlidePlace,
    levels_from_sizes,
    local_path,
    option_given,
    same_proportions,
    slide_name,
)
from slideloom_formats.grid_slide import GridSlide, TileGrid, in_eight_bits
from zarr.storage import LocalStore, ZipStore

from slideloom_zarr import metadata
from slideloom_zarr.chunks import RemoteChunks
from slideloom_zarr.metadata import Multiscale
from slideloom_zarr.scenes import chosen_scene
from slideloom_zarr.settings import OmeZarrReader
from slideloom_zarr.store import Attributes, Store
from slideloom_zarr.whole_chunks import WholeChunks

_resample = NativeResampler(cv2)
_DAMAGED = "it is damaged: copy it again from its source"
_MOST_CHUNK_BYTES = 1 << 29
_MOST_TILE_PX = 1 << 26
_SAMPLED = 64  # chunks of the smallest level that are looked at for their brightest sample
_DARK = 0.5  # of the range: a picture whose brightest sample is below this would come out nearly black
_RGB = 3
_AT_ONCE = 16  # chunks of a remote slide that are asked for in parallel
_IDENTIFYING = 64  # files of a remote slide by which it is known again


@frozen
class _View:
    """Which part of each array is shown: a range of channels, one focal plane, one point in time."""

    image: Multiscale
    channels: slice
    plane: int

    def selection(self, y: slice, x: slice) -> tuple[slice | int, ...]:
        """What to read of an array for an area; without its t and z, and with c if there is one."""
        chosen: dict[str, slice | int] = {"t": 0, "z": self.plane, "c": self.channels, "y": y, "x": x}
        return tuple(chosen[axis] for axis in self.image.axes)

    def as_picture(self, values: NDArray[Any]) -> NDArray[Any]:  # Any: as the array has them
        """What was read as (h, w, channels)."""
        kept = [axis for axis in self.image.axes if axis not in ("t", "z")]
        if "c" not in kept:
            kept.append("c")
            values = values[..., None]
        return np.moveaxis(values, [kept.index(axis) for axis in ("y", "x", "c")], [0, 1, 2])


class ZarrSlide(GridSlide):
    """An open slide.

    Args:
        place: of the folder or ZIP file, or its address.
        store: its files.
        attributes: what its first group says.
        settings: what to show.
    """

    def __init__(self, place: SlidePlace, store: Store, attributes: Attributes, settings: OmeZarrReader) -> None:
        scene = chosen_scene(store, attributes, settings.scene)
        self._store, self._scene, self._name = store, scene, place.name
        self._chunks = _chunks_of(place, store)
        self._whole = WholeChunks(self._chunks)
        arrays = [self._array(name) for name, _ in scene.image.levels]
        self._view = _view_of(place.name, scene.image, arrays[0], settings)
        self._arrays = _levels(arrays, scene.image)
        super().__init__(
            [self._grid(array) for array in self._arrays],
            cache_bytes=settings.cache_mb << 20,
            resampler=_resample,
            at_once=1 if store.remote is None else _AT_ONCE,
        )
        is_wide = self._arrays[0].dtype == np.uint16
        self._low, self._high = settings.low, settings.high or (65535 if is_wide else 255)
        if self._high <= self._low:
            raise SlideError(f"{place.name}: low={self._low} must be below high={self._high}")
        self._missing = settings.missing
        sizes = [grid.size for grid in self._grids]
        self.info = SlideInfo(
            path=place,
            name=slide_name(place),
            reader="ome-zarr",
            levels=levels_from_sizes(sizes),
            mpp=metadata.resolution(scene.image),
            odd_mpp=metadata.odd_resolution(scene.image),
            vendor="ome-zarr",
            properties={
                "zarr.format": str(self._arrays[0].metadata.zarr_format),
                "zarr.axes": "".join(scene.image.axes),
                **({"zarr.image": f"{scene.group} {scene.name}".strip()} if scene.group or scene.name else {}),
                **({"zarr.shown": f"{self._low} to {self._high} as 0 to 255"} if is_wide else {}),
            },
        )
        if is_wide and settings.high is None:
            self._refuse_dark()
        if store.remote is not None:
            self.identity = self._identity(store.remote)

    def decode(self, level: int, column: int, row: int) -> Rgb:
        """See `GridSlide.decode`."""
        samples = self._samples(level, column, row)
        if samples.dtype != np.uint8:
            samples = in_eight_bits(samples, low=self._low, high=self._high)
        tile = self._grids[level].tile
        rgb: Rgb = np.full((tile.height, tile.width, _RGB), self.info.background, np.uint8)
        rgb[: samples.shape[0], : samples.shape[1]] = samples  # one channel is repeated
        return rgb

    def close(self) -> None:
        """Release the ZIP file or the remote folder."""
        self._chunks.close()
        if self._store.remote is not None:
            self._store.remote.close()

    def _samples(self, level: int, column: int, row: int) -> NDArray[Any]:  # Any: 8 or 16 bits
        """A tile, cut at the sides of the level: (h, w, channels)."""
        array, grid = self._arrays[level], self._grids[level]
        width, height = grid.tile.width, grid.tile.height
        x = slice(column * width, min(grid.size.width, (column + 1) * width))
        y = slice(row * height, min(grid.size.height, (row + 1) * height))
        selection = self._view.selection(y, x)
        where = f"{self._name}: chunk ({column}, {row}) of level {level}"
        if self._store.remote is None:
            self._refuse_absent(array, selection, where)
        try:
            values = np.asarray(array[selection])
        except Exception as raised:  # each codec raises errors of its own
            error = _alone(raised)
            if isinstance(error, SlideError):  # no more of a remote folder can be read
                raise error from error.__cause__
            if isinstance(error, OSError) and error.errno is not None:
                raise SlideError(f"{where} cannot be read {self._trouble(error)}") from error
            raise SlideError(f"{where} cannot be decoded ({error or type(error).__name__}); {_DAMAGED}") from error
        if self._store.remote is not None:  # only now it is known which of them are there
            self._refuse_absent(array, selection, where)
        return self._view.as_picture(values)

    def _refuse_absent(self, array: zarr.Array[Any], selection: Sequence[slice | int], where: str) -> None:
        """Raise `SlideError` for a chunk that is not there, unless it has the fill value."""
        absent = self._absent(array, selection)
        if absent and not self._is_fill(array):
            raise SlideError(
                f"{where} is not there ({absent[0]}): copy the slide again, or, if it was written without its empty "
                f"chunks, say so: {option_given('slides', 'reader', 'ome-zarr:missing=fill')}"
            )
        if absent and self._store.remote is not None:
            self._check_still_there(self._store.remote)

    def _check_still_there(self, folder: RemoteFolder) -> None:
        """Raise `LostSlide` if the slide was removed or replaced: then chunks are missing that are not empty."""
        name, content = next(iter(self._store.small_files().items()))
        try:
            now = folder.read(name)
        except OSError as error:
            raise SlideError(f"{self._name}: {name} cannot be read again {self._trouble(error)}") from error
        if now != content:
            raise LostSlide(f"{self._name}: was removed or replaced at {folder.address} while it was read; run again")

    def _trouble(self, error: OSError) -> str:
        if self._store.remote is None:
            return f"({error.strerror}); check the disk that it is on"
        address = self._store.remote.address
        return f"from {address} ({error.strerror}); look whether the network and the server are there, and run again"

    def _identity(self, folder: RemoteFolder) -> list[object]:
        """What tells whether the slide has changed: its descriptions, and size and version of some of its chunks."""
        described: list[object] = [
            [name, len(content), sha256(content).hexdigest(), ""]
            for name, content in sorted({**self._store.small_files(), **self._described()}.items())
        ]
        names = [name for array in self._arrays for name in self._some_chunks(array)]
        try:
            states = folder.states(names)
        except OSError as error:
            raise SlideError(f"{self._name}: its chunks cannot be read {self._trouble(error)}") from error
        found = zip(names, states, strict=True)
        return described + [
            [name, "absent", "", ""] if state is None else [name, state.size, state.version, ""]
            for name, state in found
        ]

    def _described(self) -> Mapping[str, bytes]:
        return self._chunks.described if isinstance(self._chunks, RemoteChunks) else {}

    def _some_chunks(self, array: zarr.Array[Any]) -> list[str]:
        """Names of some files of an array, drawn by their number, so that the same ones are asked for each time."""
        stored = array.shards or array.chunks
        counts = [-(-length // side) for length, side in zip(array.shape, stored, strict=True)]
        count = math.prod(counts)
        drawn = random.Random(count).sample(range(count), min(count, _IDENTIFYING // len(self._arrays)))
        places = (np.unravel_index(number, counts) for number in sorted(drawn))
        return [self._file_of(array, [int(index) for index in place]) for place in places]

    @staticmethod
    def _file_of(array: zarr.Array[Any], place: Sequence[int]) -> str:
        return f"{array.path}/{array.metadata.encode_chunk_key(tuple(place))}"

    def _is_fill(self, array: zarr.Array[Any]) -> bool:
        """True if chunks that are not there have the fill value: it is white, or the user says so."""
        is_white = array.fill_value is not None and int(array.fill_value) == np.iinfo(array.dtype).max
        return self._missing == "fill" or (self._missing == "auto" and is_white)

    def _absent(self, array: zarr.Array[Any], selection: Sequence[slice | int]) -> list[str]:
        """The files of a selection's chunks that are not there; each may hold several chunks."""
        stored = array.shards or array.chunks
        spans = [index if isinstance(index, slice) else slice(index, index + 1) for index in selection]
        ranges = [range(span.start // side, -(-span.stop // side)) for span, side in zip(spans, stored, strict=True)]
        places = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, len(ranges))
        names = [self._file_of(array, place) for place in places.tolist()]
        if isinstance(self._chunks, RemoteChunks):
            return [name for name in names if name in self._chunks.absent]
        return [name for name in names if not self._store.has(name)]

    def _array(self, name: str) -> zarr.Array[Any]:
        group = self._scene.group
        try:
            found = zarr.open_array(self._whole, path=f"{group}/{name}" if group else name, mode="r")
        except SlideError:
            raise
        except Exception as error:  # zarr raises whatever a damaged description leads to
            if isinstance(error, OSError) and error.errno is not None:
                raise SlideError(f"{self._name}: array {name} cannot be read {self._trouble(error)}") from error
            raise SlideError(
                f"{self._name}: array {name} cannot be opened ({error or type(error).__name__}); {_DAMAGED}"
            ) from error
        axes = self._scene.image.axes
        if len(found.shape) != len(axes) or min(found.shape) < 1:
            raise SlideError(
                f"{self._name}: array {name} of shape {found.shape} does not fit its axes {', '.join(axes)}"
            )
        if math.prod(found.chunks) * found.dtype.itemsize > _MOST_CHUNK_BYTES:
            raise SlideError(
                f"{self._name}: chunks of shape {found.chunks} are too large to read; write it in smaller ones"
            )
        self._whole.know(found)
        return found

    def _grid(self, array: zarr.Array[Any]) -> TileGrid:
        y, x = (self._scene.image.axes.index(axis) for axis in "yx")
        tile = Size(min(array.chunks[x], array.shape[x]), min(array.chunks[y], array.shape[y]))
        if tile.area > _MOST_TILE_PX:
            raise SlideError(
                f"{self._name}: chunks of {tile.width} x {tile.height} pixels are too large; write smaller ones"
            )
        return TileGrid(Size(array.shape[x], array.shape[y]), tile)

    def _refuse_dark(self) -> None:
        """Raise `SlideError` where samples stay in the lower half of the range that they are said to have."""
        level, grid = len(self._grids) - 1, self._grids[-1]
        count, brightest = grid.columns * grid.rows, 0
        for index in range(0, count, max(1, count // _SAMPLED)):
            with suppress(SlideError):  # which reading that tile will tell
                samples = self._samples(level, index % grid.columns, index // grid.columns)
                brightest = max(brightest, int(samples.max()))
        if brightest < self._low + _DARK * (self._high - self._low):
            raise SlideError(
                f"{self._name}: its samples have 16 bits and reach only {brightest} of {self._high}, and would be "
                f"shown nearly black; name the value to show as white: "
                f"{option_given('slides', 'reader', f'ome-zarr:high={max(brightest, 1)}')}"
            )


def _chunks_of(place: SlidePlace, store: Store) -> ZipStore | LocalStore | RemoteChunks:
    if store.remote is not None:
        return RemoteChunks(store.remote)
    path = local_path(place)
    return ZipStore(path, mode="r") if store.is_zip else LocalStore(path, read_only=True)


def _view_of(name: str, image: Multiscale, array: zarr.Array[Any], settings: OmeZarrReader) -> _View:
    """What to show of an image.

    Raises:
        SlideError: it is no RGB picture, and nothing was chosen.
    """

    def count(axis: str) -> int:
        where = image.along(axis)
        return 1 if where is None else int(array.shape[where])

    if array.dtype not in (np.uint8, np.uint16):
        raise SlideError(f"{name}: its samples are {array.dtype}, and uint8 and uint16 are read; write it as 8-bit RGB")
    if count("t") > 1:
        raise SlideError(f"{name}: holds {count('t')} points in time; write one as an image of its own")
    planes, channels = count("z"), count("c")
    if settings.plane is None and planes > 1:
        choice = option_given("slides", "reader", "ome-zarr:plane=0")
        raise SlideError(f"{name}: holds {planes} focal planes; choose one: {choice} to plane={planes - 1}")
    if (settings.plane or 0) >= planes:
        raise SlideError(f"{name}: has no focal plane {settings.plane}; it has {planes}, from 0")
    if settings.channel is not None:
        if settings.channel >= channels:
            raise SlideError(f"{name}: has no channel {settings.channel}; it has {channels}, from 0")
        return _View(image, slice(settings.channel, settings.channel + 1), settings.plane or 0)
    names = ", ".join(label for label in image.channels if label)
    if channels != _RGB or not (settings.rgb or metadata.are_colours(image.channels)):
        held = f"{channels} {'channel' if channels == 1 else 'channels'}" + (f" ({names})" if names else "")
        rgb = ", or, if they are red, green and blue, say so with rgb=true" if channels == _RGB else ""
        choice = option_given("slides", "reader", "ome-zarr:channel=0")
        raise SlideError(f"{name}: holds {held}, not an RGB picture; choose one to show in grey: {choice}{rgb}")
    return _View(image, slice(0, channels), settings.plane or 0)


def _levels(arrays: Sequence[zarr.Array[Any]], image: Multiscale) -> list[zarr.Array[Any]]:
    """The arrays that are the first one made smaller, and hold the same channels and planes."""
    y, x = image.axes.index("y"), image.axes.index("x")
    others = [number for number in range(len(image.axes)) if number not in (y, x)]
    found = [arrays[0]]
    for array in arrays[1:]:
        last = found[-1]
        is_smaller = array.shape[x] < last.shape[x] and array.shape[y] < last.shape[y]
        has_all = all(array.shape[number] == last.shape[number] for number in others) and array.dtype == last.dtype
        proportions = same_proportions(Size(found[0].shape[x], found[0].shape[y]), Size(array.shape[x], array.shape[y]))
        if is_smaller and has_all and proportions:
            found.append(array)
    return found


def _alone(error: Exception) -> Exception:
    """An error without the groups that newer releases of zarr wrap it in, as several of their tasks may fail."""
    while isinstance(error, ExceptionGroup):
        error = next((each for each in error.exceptions if isinstance(each, SlideError)), error.exceptions[0])
    return error
