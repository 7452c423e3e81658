"""The step: the network over the slide in blocks, its answers as one label map."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from safetensors.torch import load_file
from slideloom import (
    Box,
    MissingResolution,
    QcResult,
    Rgb,
    Scene,
    Size,
    Slide,
    SlideInfo,
    SlideQc,
    computing,
    torch_device,
)
from torch import Tensor, nn

from slideloom_artifacts.network import MULTIPLE, STRIDE, ArtifactNet, as_input
from slideloom_artifacts.settings import CLASSES, Artifacts

WEIGHTS = "artifacts.safetensors"
_CORE, _MARGIN = 960, 64  # at most so many pixels of a block whose answer counts along a side, and seen around it
_ENLARGED = 1.02
# The class of glass with nothing on it: at least this light, with no more than this many levels of noise and unevenness
# in each channel, and of tint between them. The network, too, takes such blocks for background, whole.
BARE = next(one.value for one in CLASSES if one.name == "background")
BARE_LIGHT, BARE_LEVELS, BARE_TINT = 180, 4, 16


@frozen
class Grid:
    """The network's pixels on a slide: an even number, stretched over it by less than a pixel.

    Attributes:
        size: in pixels of the network's input.
        scale_x, scale_y: level-0 pixels per pixel.
    """

    size: Size
    scale_x: float
    scale_y: float

    @property
    def core(self) -> Size:
        """The part of a block whose answer counts; as few blocks as are needed share the slide evenly."""
        width, height = (_share(side) for side in (self.size.width, self.size.height))
        return Size(width, height)

    @classmethod
    def of(cls, info: SlideInfo, mpp: float) -> Grid:
        """The grid for a slide; no finer than the slide.

        Raises:
            MissingResolution: the slide's microns per pixel are not known.
        """
        if info.mpp is None:
            raise MissingResolution(f"{info.path.name}: artifacts are told at {mpp:g} um/px; give the slide's mpp")
        width, height = (
            STRIDE * max(1, round(length * own / max(mpp, own) / STRIDE))
            for length, own in ((info.size.width, info.mpp.x), (info.size.height, info.mpp.y))
        )
        return cls(Size(width, height), info.size.width / width, info.size.height / height)

    def box(self, left: int, top: int, size: Size) -> Box:
        """The level-0 box of these pixels."""
        return Box(left, top, size.width, size.height).scaled(x=self.scale_x, y=self.scale_y)


def _share(side: int) -> int:
    """A side of the slide divided by the number of blocks along it, up to the next multiple that the network takes."""
    share = -(-side // -(-side // _CORE))
    return share + -share % MULTIPLE


class ArtifactsQc(SlideQc):
    """See `Artifacts`."""

    uses_regions = False

    def __init__(self, settings: Artifacts) -> None:
        self._settings = settings
        self._network = _network(str(torch_device(settings.device)))

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """The class of each square of two by two of the network's pixels; one byte of memory for each."""
        settings, info = self._settings, slide.info
        grid = Grid.of(info, settings.mpp)
        labels = np.empty((grid.size.height // STRIDE, grid.size.width // STRIDE), np.uint8)
        told = _Told(slide, grid, self._network, labels)
        with self._network.workers(scene.threads) as pool:
            at_work: deque[Future[None]] = deque()
            for places in _batches(grid, settings.batch):
                scene.tell(places[0][1] / grid.size.height)
                at_work.append(pool.submit(told.tell, places))
                while len(at_work) > scene.threads:
                    at_work.popleft().result()
            for work in at_work:
                work.result()
        notes = []
        if info.mpp is not None and info.mpp.mean > settings.mpp * _ENLARGED:
            notes.append(
                f"the slide has {info.mpp.mean:g} um per pixel and the network was made for {settings.mpp:g}; "
                "it looked at the slide as it is, and will miss what is small"
            )
        return QcResult.of_labels(
            labels,
            settings.qc_classes(),
            metrics={f"share_{one.name}": float((labels == one.value).mean()) for one in CLASSES},
            notes=notes,
        )

    def again(self, earlier: QcResult) -> QcResult | None:
        """See `SlideQc.again`: by the classes that the network told."""
        if earlier.labels is None:
            return None
        return QcResult.of_labels(
            earlier.labels, self._settings.qc_classes(), metrics=earlier.metrics, notes=earlier.notes
        )


class _Told:
    """Puts the answers for blocks into the label map; several threads may do so at once.

    Args:
        slide, grid, network: what is looked at, and by what.
        labels: the label map, written to.
    """

    def __init__(self, slide: Slide, grid: Grid, network: _Network, labels: NDArray[np.uint8]) -> None:
        self._slide, self._grid, self._network, self._labels = slide, grid, network, labels
        self._turn: AbstractContextManager[Any] = nullcontext() if slide.thread_safe else threading.Lock()

    def tell(self, places: Sequence[tuple[int, int]]) -> None:
        """Read blocks, given by left and top of the part of each that counts, and tell their classes."""
        core = self._grid.core
        with self._turn:
            blocks = [_block(self._slide, self._grid, left, top) for left, top in places]
        is_bare = [bare_glass(block) for block in blocks]
        seen = [block for block, bare in zip(blocks, is_bare, strict=True) if not bare]
        found = iter(self._network(np.stack(seen)) if seen else ())
        for (left, top), bare in zip(places, is_bare, strict=True):
            part = self._labels[top // STRIDE :, left // STRIDE :][: core.height // STRIDE, : core.width // STRIDE]
            part[:] = BARE if bare else next(found)[: part.shape[0], : part.shape[1]]


def bare_glass(block: Rgb) -> bool:
    """True for glass with nothing on it, of which the network says that it is background, so it need not be asked.

    The values of each channel are bright, and within the few levels of noise and of uneven light.
    """
    darkest, brightest = block.min(axis=(0, 1)), block.max(axis=(0, 1))
    is_even = (brightest.astype(np.int16) - darkest <= BARE_LEVELS).all()
    return bool(is_even and darkest.min() >= BARE_LIGHT and int(darkest.max()) - int(darkest.min()) <= BARE_TINT)


def _batches(grid: Grid, count: int) -> Iterator[list[tuple[int, int]]]:
    """Left and top of the parts that count of up to `count` blocks."""
    rows = range(0, grid.size.height, grid.core.height)
    places = [(left, top) for top in rows for left in range(0, grid.size.width, grid.core.width)]
    for start in range(0, len(places), count):
        yield places[start : start + count]


def _block(slide: Slide, grid: Grid, left: int, top: int) -> Rgb:
    """A block around the part that counts, mirrored at the slide's sides."""
    x, y = max(0, left - _MARGIN), max(0, top - _MARGIN)
    right = min(grid.size.width, left + grid.core.width + _MARGIN)
    bottom = min(grid.size.height, top + grid.core.height + _MARGIN)
    size = Size(right - x, bottom - y)
    rgb = slide.read_at(grid.box(x, y, size), size)
    before_x, before_y = x - (left - _MARGIN), y - (top - _MARGIN)
    after_x = grid.core.width + 2 * _MARGIN - before_x - size.width
    after_y = grid.core.height + 2 * _MARGIN - before_y - size.height
    around = ((before_y, after_y), (before_x, after_x), (0, 0))
    padded: Rgb = np.pad(rgb, around, mode="symmetric")
    return padded


class _Network:
    """The network on a device, for the part of each block that counts.

    Several threads may call it; on anything but a CPU they take turns.

    Args:
        device: of PyTorch.
        weights: by name; by default those that come with this package.
    """

    def __init__(self, device: str, weights: Mapping[str, Tensor] | None = None) -> None:
        self._device = torch.device(device)
        net = ArtifactNet(len(CLASSES))
        if weights is None:
            with as_file(files("slideloom_artifacts") / WEIGHTS) as path:
                weights = load_file(path)
        net.load_state_dict(weights)
        # A sixth faster on a CPU than channels first. torch's stubs do not know this call.
        self._net: nn.Module = net.eval().to(self._device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._is_cpu = self._device.type == "cpu"
        self._turn: AbstractContextManager[Any] = nullcontext() if self._is_cpu else threading.Lock()

    @contextmanager
    def workers(self, count: int) -> Iterator[Executor]:
        """Threads for blocks; after an error, pending work is cancelled.

        On a CPU, each computes by itself: the threads that PyTorch shares a block among wait for each other, awake. On
        another device they read blocks while it is at work on one.
        """
        before = torch.get_num_threads()
        alone = partial(torch.set_num_threads, 1) if self._is_cpu else None
        with ThreadPoolExecutor(count, "slideloom-artifacts", alone) as pool:
            try:
                yield pool
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            finally:
                if self._is_cpu:
                    torch.set_num_threads(before)  # what threads that start later begin with

    def __call__(self, blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(B, H, W, 3) uint8 to (B, core / 2, core / 2) numbers of classes."""
        with self._turn, torch.inference_mode(), computing(self._device):
            scores = self._net(as_input(torch.from_numpy(blocks).to(self._device)), margin=_MARGIN)
            found: NDArray[np.uint8] = scores.argmax(dim=1).to(torch.uint8).cpu().numpy()
        return found


@cache
def _network(device: str) -> _Network:
    """One per process and device."""
    return _Network(device)
