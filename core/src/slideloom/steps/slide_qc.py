"""The contract of slide QC: a slide in, a mask of what to discard out, if wanted with classes."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from slideloom.base.geometry import Box, Mask
from slideloom.base.packed_masks import PackedMask, count_true
from slideloom.slides.slide import Slide
from slideloom.steps.scene import Scene

QcKind = Literal["background", "blur", "artifact"]
Labels = NDArray[np.uint8]  # (h, w), the value of a class in each pixel

_CLASS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_KEEP = "keep"


def _in_words(mask: object) -> str:
    if not isinstance(mask, np.ndarray | PackedMask):  # a plugin's mistake, which is told elsewhere
        return repr(mask)
    return f"<{' x '.join(map(str, mask.shape[::-1]))}, {count_true(mask) / mask.size if mask.size else 0:.1%} masked>"


@frozen
class QcClass:
    """One of the classes that a slide QC tells apart.

    Attributes:
        value: its number in the label map, 0-255.
        name: part of reasons and metrics, "qc:STEP:NAME": a letter or digit, then up to 39 letters, digits, - and _.
        kind: as that of a `QcResult`; None for what is not discarded, such as tissue.
        threshold: a tile is dropped if more than this share of it is of the class, 0-1; None: the class has no
            threshold of its own, and only what all classes mask together counts. A class without a kind drops nothing;
            with a threshold it is one that could, and is outlined in pictures, reports and GeoJSON.
    """

    value: int
    name: str
    kind: QcKind | None = None
    threshold: float | None = None

    @property
    def is_told(self) -> bool:
        """True if it is told but kept: it drops nothing, and has a threshold above which it could."""
        return self.kind is None and self.threshold is not None

    @property
    def is_outlined(self) -> bool:
        """True if its areas are for viewers to see: what is discarded but glass, and what is told but kept."""
        return self.is_told or self.kind in ("blur", "artifact")

    @property
    def fault(self) -> str:
        """What is wrong with it, in words; "" for nothing."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not 0 <= self.value <= 255:
            return f"the value of class {self.name!r} must be a whole number from 0 to 255, not {self.value!r}"
        if not isinstance(self.name, str) or not _CLASS_NAME.fullmatch(self.name):
            return f"a class is named by a letter or digit and up to 39 letters, digits, - and _, not {self.name!r}"
        if self.kind is not None and self.kind not in get_args(QcKind):
            return f"the kind of class '{self.name}' must be {', '.join(get_args(QcKind))} or None, not {self.kind!r}"
        if self.threshold is not None and not (isinstance(self.threshold, int | float) and 0 <= self.threshold <= 1):
            return f"the threshold of class '{self.name}' must be from 0 to 1 or None, not {self.threshold!r}"
        return ""


def faults_of_classes(classes: Iterable[QcClass]) -> list[str]:
    """What is wrong with the classes of a result, in words: each of them, and names and values used twice."""
    known = list(classes)
    faults = [one.fault for one in known if one.fault]
    # Without regard to case, as some file systems compare names.
    for what, values in (
        ("name", [str(one.name).lower() for one in known]),
        ("value", [str(one.value) for one in known]),
    ):
        twice = sorted({value for value in values if values.count(value) > 1})
        faults.extend(f"two classes have the {what} {value}" for value in twice)
    return faults


def qc_classes(words: Sequence[str], *, known: Sequence[str] | None = None) -> tuple[QcClass, ...]:
    """Classes from texts such as "fold:artifact:0.2": name, kind and threshold; numbered in their order.

    A name alone, or the kind "keep", is not discarded. The threshold may be left out.

    Args:
        words: one for each class.
        known: all names of the label map in the order of their values; those that `words` leaves out are kept. By
            default the names in `words`, in their order.

    Raises:
        ValueError: a text cannot be read, or names a class that is not known.
    """
    found: dict[str, QcClass] = {}
    for word in words:
        name, *rest = word.split(":")
        kind, *shares = rest or [_KEEP]
        if len(shares) > 1 or kind not in (*get_args(QcKind), _KEEP):
            raise ValueError(
                f"{word!r} is not NAME, NAME:KIND or NAME:KIND:SHARE with KIND one of "
                f"{', '.join(get_args(QcKind))} or {_KEEP}"
            )
        try:
            threshold = float(shares[0]) if shares else None
        except ValueError as error:
            raise ValueError(f"{word!r}: the share must be a number, not {shares[0]!r}") from error
        if name in found:
            raise ValueError(f"{word!r}: class '{name}' is given twice")
        value = known if known is not None else [*found, name]
        if name not in value:
            raise ValueError(f"{word!r}: there is no class '{name}'; there are {', '.join(value)}")
        chosen: Any = None if kind == _KEEP else kind
        found[name] = QcClass(value.index(name), name, chosen, threshold)
    names = known if known is not None else list(found)
    classes = tuple(found.get(name, QcClass(value, name)) for value, name in enumerate(names))
    if faults := faults_of_classes(classes):
        raise ValueError(faults[0])
    return classes


@frozen
class QcResult:
    """What a slide QC found. A result with classes is made by `of_labels`.

    Attributes:
        stored: the mask as it was given, as `mask`: (h, w) bool, True where the slide should be discarded, or the same
            as a `PackedMask`, which takes an eighth of the memory.
        kind: "background" (no tissue), "blur" (out of focus) or "artifact" (pen, folds, anything else).
        extent: the level-0 box that the mask covers; None means the whole slide.
        metrics: named numbers for the report.
        notes: sentences for the report.
        labels: (h, w) uint8, the value of a class in each pixel, or None. The mask is True exactly where that class
            has a kind.
        classes: every class that `labels` may contain, in the order in which tiles are dropped for them.
        measured: what the step measured before it decided, for `SlideQc.again`; kept only while a person looks at the
            slide, and None if there is nothing.
    """

    stored: Mask | PackedMask = field(alias="mask", eq=False)
    kind: QcKind
    extent: Box | None = None
    metrics: Mapping[str, float] = field(factory=dict, hash=False)
    notes: tuple[str, ...] = ()
    labels: Labels | None = field(default=None, eq=False)
    classes: tuple[QcClass, ...] = ()
    measured: Any = field(default=None, eq=False)  # Any: the step's own

    def __repr__(self) -> str:
        told = {name: getattr(self, name) for name in ("kind", "extent", "metrics", "notes", "classes")}
        rest = ", ".join(f"{name}={value!r}" for name, value in told.items())
        return f"QcResult(mask={_in_words(self.stored)}, {rest})"

    @property
    def mask(self) -> Mask:
        """(h, w) bool, True where the slide should be discarded; a copy if the mask is packed."""
        return self.stored.whole() if isinstance(self.stored, PackedMask) else self.stored

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) of the mask."""
        height, width = self.stored.shape
        return height, width

    @classmethod
    def of_labels(
        cls,
        labels: NDArray[np.integer],
        classes: Sequence[QcClass],
        *,
        extent: Box | None = None,
        metrics: Mapping[str, float] | None = None,
        notes: Sequence[str] = (),
        measured: Any = None,
    ) -> Self:
        """A result with classes. Its mask is what they discard together; its kind is theirs, or else "artifact".

        Args:
            labels: (h, w) whole numbers, each the value of one of the classes.
            classes: in the order in which tiles are dropped for them.
            extent, metrics, notes, measured: as the attributes.

        Raises:
            ValueError: `labels` holds no whole numbers, or one that is no class's, or the classes are at fault.
        """
        if faults := _faults_of_labels(labels, classes):
            raise ValueError(faults[0])
        kinds = {one.kind for one in classes if one.kind is not None}
        small: Labels = labels.astype(np.uint8, copy=False)
        return cls(
            mask=_discarded(small, classes),
            kind=kinds.pop() if len(kinds) == 1 else "artifact",
            extent=extent,
            metrics=dict(metrics or {}),
            notes=tuple(notes),
            labels=small,
            classes=tuple(classes),
            measured=measured,
        )

    def mask_of(self, one: QcClass) -> Mask:
        """(h, w) bool, True where the result is of a class; for a result with classes."""
        if self.labels is None:
            raise ValueError("the result has no classes")
        mask: Mask = self.labels == one.value
        return mask

    def of_kind(self, kind: QcKind) -> QcResult | None:
        """What of the result is of a kind, without classes; None if nothing can be."""
        if self.labels is None:
            return self if self.kind == kind else None
        wanted = [one for one in self.classes if one.kind == kind]
        return QcResult(_discarded(self.labels, wanted), kind, self.extent) if wanted else None

    def class_faults(self) -> list[str]:
        """How labels, classes and mask contradict each other, in words."""
        if self.labels is None:
            return ["it has classes but no labels"] if self.classes else []
        faults = _faults_of_labels(self.labels, self.classes)
        if not faults and self.labels.dtype != np.uint8:
            faults = [f"labels must be uint8, not {self.labels.dtype}; make the result by QcResult.of_labels"]
        if not faults and not np.array_equal(self.mask, _discarded(self.labels, self.classes)):
            faults = ["its mask is not what its classes discard; make the result by QcResult.of_labels"]
        return faults


def _discarded(labels: Labels, classes: Iterable[QcClass]) -> Mask:
    """(h, w) bool, True where the class has a kind."""
    mask = np.zeros(labels.shape, np.bool_)
    for one in classes:
        if one.kind is not None:
            mask |= labels == one.value
    return mask


def _faults_of_labels(labels: Any, classes: Sequence[QcClass]) -> list[str]:
    """Any: a plugin's mistake is told in words."""
    if not classes or not all(isinstance(one, QcClass) for one in classes):
        return [f"classes must be QcClass objects, at least one, not {classes!r:.80}"]
    if faults := faults_of_classes(classes):
        return faults
    if not isinstance(labels, np.ndarray) or labels.ndim != 2 or not labels.size or labels.dtype.kind not in "iu":
        shape = getattr(labels, "shape", type(labels).__name__)
        return [f"wanted labels (h, w) of whole numbers, got {shape} {getattr(labels, 'dtype', '')}"]
    known = np.zeros(labels.shape, np.bool_)
    for one in classes:
        known |= labels == one.value
    return [] if known.all() else [f"labels hold {labels[~known][0]}, which is no class's value"]


class SlideQc(ABC):
    """Finds parts of a slide to discard, at low magnification.

    Attributes:
        uses_regions: False for a step whose result does not depend on the regions of its scene; while a person draws
            regions, it is then not run again.
    """

    uses_regions: ClassVar[bool] = True

    @abstractmethod
    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """The mask of what to discard. Called once per slide; `slide.info.mpp` is known.

        Memory must be bounded: read blocks, not a whole large level. A slow step may process `scene.threads` blocks at
        a time; it starts and ends its own threads. It says how far it is by `scene.tell`.
        """

    def again(self, earlier: QcResult) -> QcResult | None:
        """What `assess` would return, from what an earlier result measured, without reading the slide.

        Called in place of `assess` while a person tries out options, if the earlier result is of the same step, slide
        and scene, and its settings differ only in options that are `live`. The result must be the same to the last
        pixel.

        Returns:
            The result; None if the slide must be assessed.
        """
        return None
