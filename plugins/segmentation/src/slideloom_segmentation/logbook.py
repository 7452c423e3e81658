"""What a person follows a training by: a table and a picture of each epoch, and TensorBoard's files if wanted."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom import PluginError, Rgb, write_whole

TABLE, PICTURES, BOARD = "epochs.csv", "validation", "tensorboard"
# Okabe and Ito (2008), which colour-blind readers can tell apart; the background stays as it is.
_COLOURS = ((213, 94, 0), (0, 114, 178), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (240, 228, 66))
_STRENGTH = 0.45
_GAP = 6  # pixels between pictures


@frozen
class EpochReport:
    """The results of one epoch.

    Attributes:
        epoch: its number, from 1.
        epochs: number of epochs in the whole training.
        train_loss: mean over the epoch's steps.
        val_loss: mean over the validation patches.
        val_iou: intersection over union on the validation patches, mean over the classes except background.
        class_iou: the same for each class except background, in the order of the classes.
        learning_rate: at the epoch's last step.
        seconds: wall time.
    """

    epoch: int
    epochs: int
    train_loss: float
    val_loss: float
    val_iou: float
    class_iou: tuple[float, ...]
    learning_rate: float
    seconds: float


@frozen(eq=False)
class Seen:
    """A validation patch: its pixels (side, side, 3), and its true and its found classes (side, side) uint8."""

    rgb: Rgb
    truth: NDArray[np.uint8]
    found: NDArray[np.uint8]


class Logbook:
    """Writes into the folder of a training, and is closed at its end.

    Args:
        out: the folder.
        classes: names; 0 is the background.
        with_board: also write TensorBoard's files.
    """

    def __init__(self, out: Path, classes: tuple[str, ...], *, with_board: bool) -> None:
        self._out = out
        self._classes = classes
        self._with_board = with_board
        self._board: Any = None  # tensorboard's writer has no types

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_about: object) -> None:
        if self._board is not None:
            self._board.close()

    def note(self, reports: Sequence[EpochReport], seen: Sequence[Seen]) -> None:
        """Write the table of all epochs so far, and the picture of the last one.

        Raises:
            OSError: a file cannot be written.
        """
        write_whole(self._out / TABLE, self._table(reports).encode())
        last = reports[-1]
        pictures = self._out / PICTURES
        pictures.mkdir(exist_ok=True)
        rgb = picture_of(seen)
        is_written, png = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        if not is_written:
            raise OSError(f"{pictures}: a picture of {rgb.shape} cannot be encoded")
        write_whole(pictures / f"epoch-{last.epoch:03d}.png", png.tobytes())
        if self._with_board:
            self._to_board(last, rgb)

    def _table(self, reports: Sequence[EpochReport]) -> str:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(
            ["epoch", "train_loss", "val_loss", "val_iou", *(f"iou_{name}" for name in self._classes[1:]),
             "learning_rate", "seconds"]
        )  # fmt: skip
        for report in reports:
            numbers = [report.train_loss, report.val_loss, report.val_iou, *report.class_iou]
            rows.writerow(
                [report.epoch, *(f"{number:.6f}" for number in numbers), f"{report.learning_rate:.3g}",
                 f"{report.seconds:.1f}"]
            )  # fmt: skip
        return text.getvalue()

    def _to_board(self, report: EpochReport, rgb: Rgb) -> None:
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter  # heavy, and not always installed

            # A training that goes on replaces what was written after its checkpoint.
            self._board = SummaryWriter(str(self._out / BOARD), purge_step=report.epoch)
        board = self._board
        board.add_scalar("loss/train", report.train_loss, report.epoch)
        board.add_scalar("loss/validation", report.val_loss, report.epoch)
        for name, share in zip(self._classes[1:], report.class_iou, strict=True):
            board.add_scalar(f"IoU/{name}", share, report.epoch)
        board.add_scalar("learning rate", report.learning_rate, report.epoch)
        board.add_image("validation", rgb, report.epoch, dataformats="HWC")
        board.flush()


def check_board(*, wanted: bool) -> None:
    """Raise `PluginError` if TensorBoard's files are wanted and cannot be written."""
    if wanted and find_spec("tensorboard") is None:
        raise PluginError("tensorboard = true needs a package that is missing: pip install tensorboard")


def picture_of(seen: Sequence[Seen]) -> Rgb:
    """A row for each patch: its pixels, its regions, and what the model found; classes are tinted."""
    side = seen[0].rgb.shape[0]
    rgb = np.full((len(seen) * (side + _GAP) - _GAP, 3 * side + 2 * _GAP, 3), 255, np.uint8)
    for row, patch in enumerate(seen):
        top = row * (side + _GAP)
        for column, classes in enumerate((None, patch.truth, patch.found)):
            left = column * (side + _GAP)
            shown = patch.rgb if classes is None else _tinted(patch.rgb, classes)
            rgb[top : top + side, left : left + side] = shown
    return rgb


def _tinted(rgb: Rgb, classes: NDArray[np.uint8]) -> Rgb:
    table = np.array([(0, 0, 0), *(_COLOURS[n % len(_COLOURS)] for n in range(255))], np.float32)
    strength = np.where(classes > 0, np.float32(_STRENGTH), np.float32(0))[..., None]
    blended: Rgb = np.rint(rgb * (1 - strength) + table[classes] * strength).astype(np.uint8)
    return blended
