"""Out-of-focus areas by averaged edge strength: |Laplace| smoothed by a Gaussian."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from typing import Any

import cv2
import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom import Box, Mask, PackedMask, QcResult, Scene, Scratch, Size, Slide, SlideQc

from slideloom_qc.pictures import resolution_of
from slideloom_qc.settings import Gaussian, GaussianV2
from slideloom_qc.threads import threads_of

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]

# Luminance weights of R, G, B (ITU-R BT.709, four digits) as whole numbers, so that grey values are exact: all sums
# stay below 2^24, even in float32.
WEIGHTS = np.array([[2125, 7154, 721]], np.float32)
WHITE = 255 * 10_000
# The largest possible edge strength: the Laplacian of a white pixel among black ones.
STRONGEST = 4.0
# The Gaussian is truncated at this many sigmas.
TRUNCATE = 4.0
# The Gaussian's weights are whole multiples of 2^-20, and its first pass is rounded to 2^-14 of that: all sums are
# then whole numbers below 2^53, exact in float64 in any order. So a pixel does not depend on the block that contains
# it.
_WEIGHT_UNIT, _PASS_UNIT = 2.0**20, 2.0**14
# Pixels are read in chunks of this side on one fixed lattice, for the same reason.
CHUNK_PX = 256
# The cost of a pixel in a small crop, relative to a pixel of a large image.
_CROP_COST = 8


def gaussian_weights(sigma: float) -> Floats:
    """(2 r + 1,) weights with sum 1, r = int(4 sigma + 0.5), as whole multiples of 2^-20."""
    radius = int(TRUNCATE * sigma + 0.5)
    bell = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights = np.rint(bell / bell.sum() * _WEIGHT_UNIT)
    weights[radius] += _WEIGHT_UNIT - weights.sum()
    exact: Floats = weights / _WEIGHT_UNIT
    return exact


def edge_strength(grey: Floats32 | Floats, *, sigma: float) -> Floats:
    """|Laplace| of an image, averaged by a Gaussian.

    The Laplace operator is 4 x centre - 4 neighbours. Both operators mirror the image at its edges
    (`d c b a | a b c d`).

    Args:
        grey: (h, w) float, whole numbers from 0 to 2,550,000 (white).
        sigma: of the Gaussian in pixels, truncated at 4 sigma.

    Returns:
        (h, w) float64, where 1 is a Laplacian as large as white.
    """
    edges = _edges(grey).astype(np.float64)
    weights = gaussian_weights(sigma) * _WEIGHT_UNIT
    one = np.ones(1)
    across = np.asarray(cv2.sepFilter2D(edges, cv2.CV_64F, weights, one, borderType=cv2.BORDER_REFLECT), np.float64)
    across /= _PASS_UNIT
    np.rint(across, out=across)
    both = np.asarray(cv2.sepFilter2D(across, cv2.CV_64F, one, weights, borderType=cv2.BORDER_REFLECT), np.float64)
    both *= _PASS_UNIT / _WEIGHT_UNIT**2 / WHITE
    return both


def _edges(grey: Floats32 | Floats, out: Floats32 | None = None) -> Floats32:
    """|4 x centre - 4 neighbours|: whole numbers up to 10,200,000, so that they and all partial sums fit in float32."""
    whole = grey.astype(np.float32, copy=False)
    # OpenCV's own sign and kernel: [[0, 1, 0], [1, -4, 1], [0, 1, 0]].
    edges = cv2.Laplacian(whole, cv2.CV_32F, dst=out, ksize=1, borderType=cv2.BORDER_REFLECT)
    return np.asarray(np.abs(edges, out=edges), np.float32)


def out_of_focus(
    grey: Floats32, inner: Window, *, sigma: float, threshold: float, memory: Scratch | None = None
) -> Mask:
    """Where `edge_strength` is at most the threshold: exactly the same mask in a quarter of the time.

    The Gaussian is computed in float32, whose error is bounded; `edge_strength` decides only the few pixels that are
    closer to the threshold than that error.

    Args:
        grey: (h, w) float32 as for `edge_strength`.
        inner: the part for which the mask is computed.
        sigma: of the Gaussian in pixels.
        threshold: edge strength, at least 0.
        memory: buffers to work in.

    Returns:
        (inner height, inner width) bool.
    """
    weights = gaussian_weights(sigma).astype(np.float32)  # at most 20 bits each, so still exact
    memory = memory or Scratch()
    edges = _edges(grey, memory.take("edges", *grey.shape, dtype=np.float32))
    blurred = memory.take("blurred", *grey.shape, dtype=np.float32)
    smooth = cv2.sepFilter2D(edges, cv2.CV_32F, weights, weights, dst=blurred, borderType=cv2.BORDER_REFLECT)
    roughly = smooth[inner.within]
    level = min(threshold, 2 * STRONGEST) * WHITE
    # Nothing is subtracted, so each multiplication and addition adds an error of at most 2^-24 of the sum. There are
    # two per weight and pass; the bound is doubled. `edge_strength` also rounds its first pass by up to half a unit.
    error = level * 8 * len(weights) * 2.0**-24 + _PASS_UNIT / _WEIGHT_UNIT
    mask = roughly <= level + error
    certain = roughly < level - error
    doubtful = np.flatnonzero(np.logical_xor(mask, certain, out=certain))
    reach = len(weights) // 2 + 1
    if len(doubtful) * (2 * reach + 1) ** 2 * _CROP_COST > grey.size:
        return edge_strength(grey, sigma=sigma)[inner.within] <= threshold
    for row, column in (divmod(place, mask.shape[1]) for place in doubtful.tolist()):
        y, x = row + inner.top, column + inner.left
        top, left = max(0, y - reach), max(0, x - reach)
        crop = grey[top : y + reach + 1, left : x + reach + 1]
        mask[row, column] = edge_strength(crop, sigma=sigma)[y - top, x - left] <= threshold
    return mask


@frozen
class Window:
    """A rectangle of pixels; `right` and `bottom` are the first beyond it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def within(self) -> tuple[slice, slice]:
        """Rows and columns, to index the window in an array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def moved(self, x: int, y: int) -> Window:
        """The window moved right by x and down by y."""
        return Window(self.left + x, self.top + y, self.right + x, self.bottom + y)

    def grown(self, by: int, size: Size) -> Window:
        """The window with a margin, clipped to an image of `size`."""
        left, top = max(0, self.left - by), max(0, self.top - by)
        return Window(left, top, min(size.width, self.right + by), min(size.height, self.bottom + by))


@frozen
class Chunk:
    """A chunk of the lattice, read now or later together with others: submitting each separately is slower.

    Attributes:
        place: on the lattice.
        row, number: grey values of adjacent chunks, and the number of this one among them.
    """

    place: Window
    row: Future[list[Floats32]]
    number: int


class GreyGrid:
    """The slide in grey on a lattice of square pixels of `mpp`, read chunk by chunk, each once.

    Attributes:
        size: columns and rows; less than a pixel is left over at the right and the bottom.
        extent: the level-0 box of the lattice.
    """

    def __init__(self, slide: Slide, mpp: float) -> None:
        stored, whole = resolution_of(slide), slide.info.size
        self._slide = slide
        self._turn: AbstractContextManager[Any] = nullcontext() if slide.thread_safe else threading.Lock()
        self._step_x, self._step_y = mpp / stored.x, mpp / stored.y
        self.size = Size(
            max(1, math.floor(whole.width / self._step_x + 1e-6)),
            max(1, math.floor(whole.height / self._step_y + 1e-6)),
        )
        self.extent = Box(0, 0, self.size.width * self._step_x, self.size.height * self._step_y)
        self._chunks: dict[tuple[int, int], Chunk] = {}
        self._memory = Scratch()

    def chunks(self, window: Window, pool: Executor) -> list[Chunk]:
        """The chunks that a window touches; new ones are read in `pool`, a row at a time."""
        found = []
        columns = range(window.left // CHUNK_PX, (window.right - 1) // CHUNK_PX + 1)
        for row in range(window.top // CHUNK_PX, (window.bottom - 1) // CHUNK_PX + 1):
            missing = {column: self._place(column, row) for column in columns if (column, row) not in self._chunks}
            if missing:
                grey = pool.submit(self._read_row, list(missing.values()))
                for number, (column, place) in enumerate(missing.items()):
                    self._chunks[column, row] = Chunk(place, grey, number)
            found += [self._chunks[column, row] for column in columns]
        return found

    def _place(self, column: int, row: int) -> Window:
        x, y = column * CHUNK_PX, row * CHUNK_PX
        return Window(x, y, min(x + CHUNK_PX, self.size.width), min(y + CHUNK_PX, self.size.height))

    def _read_row(self, places: list[Window]) -> list[Floats32]:
        """Chunks beside each other; together, but for a narrower last one."""
        grey: list[Floats32] = []
        for _, alike in groupby(places, key=lambda place: place.right - place.left):
            grey += self._read(list(alike))
        return grey

    def _read(self, places: list[Window]) -> list[Floats32]:
        """Chunks of one size."""
        first = places[0]
        size = Size(first.right - first.left, first.bottom - first.top)
        width, height = size.width * self._step_x, size.height * self._step_y
        boxes = [Box(place.left * self._step_x, place.top * self._step_y, width, height) for place in places]
        with self._turn:
            pixels = self._slide.read_boxes(boxes, size)
        whole = self._memory.take("rgb", size.height, size.width, 3, dtype=np.float32)
        grey = []
        for rgb in pixels:
            whole[...] = rgb
            grey.append(np.asarray(cv2.transform(whole, WEIGHTS), np.float32))
        return grey

    def forget(self, *, right: int, bottom: int) -> None:
        """Drop the chunks that are entirely left of `right` and above `bottom`: no later block needs them."""
        self._chunks = {
            (column, row): chunk
            for (column, row), chunk in self._chunks.items()
            if (column + 1) * CHUNK_PX > right or (row + 1) * CHUNK_PX > bottom
        }


def pieced(chunks: list[Chunk], window: Window, memory: Scratch) -> Floats32:
    """(h, w) float32, the grey values from 0 to 2,550,000 of a window, from the chunks it touches."""
    grey = memory.take("grey", window.bottom - window.top, window.right - window.left, dtype=np.float32)
    for chunk in chunks:
        place = chunk.place
        x0, x1 = max(window.left, place.left), min(window.right, place.right)
        y0, y1 = max(window.top, place.top), min(window.bottom, place.bottom)
        common = Window(x0, y0, x1, y1)
        target = common.moved(-window.left, -window.top).within
        grey[target] = chunk.row.result()[chunk.number][common.moved(-place.left, -place.top).within]
    return grey


class BlurQc(SlideQc):
    """Masks out-of-focus areas."""

    uses_regions = False

    def __init__(self, settings: Gaussian | GaussianV2) -> None:
        self._settings = settings

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """The mask, True where averaged edge strength is at most the threshold; glass, without edges, is masked too."""
        asked = self._settings.mpp
        wanted = asked if asked is not None else 4 * scene.geometry.mpp
        finest = resolution_of(slide).mean
        notes: tuple[str, ...] = ()
        if wanted < finest * 0.99:
            notes = (f"blur: {wanted:g} um/px is finer than the slide, so {finest:g} is used",)
        mpp = max(wanted, finest) if notes else wanted
        grid = GreyGrid(slide, mpp)
        mask = PackedMask.empty(grid.size.height, grid.size.width)
        found = self._fill(mask, grid, scene)
        metrics = {"masked": float(found / mask.size), "mpp": mpp}
        return QcResult(mask, "blur", grid.extent, metrics, notes)

    def _fill(self, mask: PackedMask, grid: GreyGrid, scene: Scene) -> int:
        """Fill the mask, and count what is out of focus."""
        threads, side = scene.threads, -(-self._settings.block_px // 8) * 8  # whole bytes of the mask
        halo = int(TRUNCATE * self._settings.sigma + 0.5) + 1
        memory, count = Scratch(), 0
        with threads_of(threads) as pool:
            # A block waits for its chunks. They were submitted before it, so threads are at work on them or done.
            started: deque[Future[int]] = deque()
            for block in _blocks(grid.size, side):
                scene.tell(block.top / grid.size.height)
                around = block.grown(halo, grid.size)
                started.append(pool.submit(self._judge, mask, block, around, grid.chunks(around, pool), memory))
                is_last = block.right == grid.size.width
                grid.forget(right=block.right + CHUNK_PX if is_last else block.right - halo, bottom=block.bottom - halo)
                while len(started) > threads:
                    count += started.popleft().result()
            for block_done in started:
                count += block_done.result()
        return count

    def _judge(self, mask: PackedMask, block: Window, around: Window, chunks: list[Chunk], memory: Scratch) -> int:
        """Judge a block, and count what is out of focus."""
        inner = block.moved(-around.left, -around.top)
        grey = pieced(chunks, around, memory)
        settings = self._settings
        found = out_of_focus(grey, inner, sigma=settings.sigma, threshold=settings.threshold, memory=memory)
        mask.put(block.top, found, left=block.left)
        return int(np.count_nonzero(found))


def _blocks(size: Size, side: int) -> Iterator[Window]:
    """The blocks, row by row."""
    for top in range(0, size.height, side):
        for left in range(0, size.width, side):
            yield Window(left, top, min(left + side, size.width), min(top + side, size.height))
