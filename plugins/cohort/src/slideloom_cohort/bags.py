"""Bags of features for multiple-instance learning: one per patient or slide, read when they are needed.

Features are in the HDF5 files that the sink `features` writes, and CLAM and TRIDENT alike. As with stored tiles, a file
in a project is used only if no report contradicts it; a slide whose file cannot be used is named with the reason.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom.base.errors import ConfigError, PluginError, SlideloomError
from slideloom.base.storing import names_in
from slideloom.extraction.output_folder import OutputFolder

from slideloom_cohort.serving import record_problem
from slideloom_cohort.slides import named
from slideloom_cohort.sources import Source

if TYPE_CHECKING:
    import h5py

log = logging.getLogger(__name__)

_PREFIX = "features_"
_MADE_BY = ("weights_sha256", "input_px", "mean", "std")


@frozen
class FeatureFile:
    """The features of one slide.

    Attributes:
        slide: name of the slide.
        path: the HDF5 file.
        tiles: number of rows.
        width: number of features of a tile.
        made_by: digest of the weights that made them, and their transform; "" if the file does not tell.
    """

    slide: str
    path: Path
    tiles: int
    width: int
    made_by: str = ""

    @classmethod
    def of(cls, slide: str, path: Path) -> Self:
        """What the file says about itself.

        Raises:
            SlideloomError: it cannot be read, or holds something else.
        """
        with _opened(path) as file:
            rows, places = file["features"], file["coords"]
            if rows.ndim != 2 or places.shape != (len(rows), 2):
                raise ValueError(f"features are {rows.shape} and coords {places.shape}, not (N, D) and (N, 2)")
            told = [rows.attrs[name] for name in _MADE_BY if name in rows.attrs]
            return cls(slide, path, len(rows), int(rows.shape[1]), " ".join(map(str, told)))

    def read(self, which: NDArray[np.int64] | None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Features (n, D) and places (n, 2) of these rows, in ascending order; None is all.

        Raises:
            SlideloomError: the file cannot be read.
        """
        with _opened(self.path) as file:
            rows = slice(None) if which is None else which
            return file["features"][rows].astype(np.float32, copy=False), file["coords"][rows].astype(np.int64)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise PluginError("features are read by h5py, which is not installed: pip install h5py") from error
    try:
        # Opened here: the library would ask for a lock, which some file systems do not have.
        with path.open("rb") as stored, h5py.File(stored, "r") as file:
            yield file
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise SlideloomError(f"{path}: its features cannot be read ({error}); extract the slide again") from error


@frozen
class BagTiles:
    """Tiles of a bag, as arrays of equal length.

    Attributes:
        features: (N, D) float32.
        coords: (N, 2) int64, the top left corner of each tile in level-0 pixels of its slide.
        slide: (N,) int64, the number of each tile's slide in the bag's `slides`.
    """

    features: NDArray[np.float32] = field(eq=False)
    coords: NDArray[np.int64] = field(eq=False)
    slide: NDArray[np.int64] = field(eq=False)

    def __len__(self) -> int:
        return len(self.features)


@frozen
class Bag:
    """The features of one patient or slide, which stay on the disk until they are read.

    Attributes:
        name: of the patient, or of the slide.
        patient: name of the patient.
        label: its label, or None.
        files: its slides' files, sorted by slide.
    """

    name: str
    patient: str
    label: Any
    files: tuple[FeatureFile, ...] = field(repr=False)

    def __len__(self) -> int:
        """Number of tiles."""
        return sum(file.tiles for file in self.files)

    @property
    def slides(self) -> tuple[str, ...]:
        """Names of its slides."""
        return tuple(file.slide for file in self.files)

    def read(self, most: int | None = None, *, seed: int = 0) -> BagTiles:
        """Its tiles.

        Args:
            most: at most so many, drawn at random without repetition; only these are read. None is all.
            seed: seed of the draw.

        Raises:
            SlideloomError: a file cannot be read.
        """
        count = len(self)
        chosen: NDArray[np.int64] | None = None
        if most is not None and most < count:
            chosen = np.sort(np.random.default_rng(seed).choice(count, size=most, replace=False)).astype(np.int64)
        features, coords, numbers, start = [], [], [], 0
        for number, file in enumerate(self.files):
            which = None
            if chosen is not None:
                which = chosen[(chosen >= start) & (chosen < start + file.tiles)] - start
            start += file.tiles
            rows, places = file.read(which)
            features.append(rows)
            coords.append(places)
            numbers.append(np.full(len(rows), number, np.int64))
        return BagTiles(np.concatenate(features), np.concatenate(coords), np.concatenate(numbers))


@frozen
class Bags(Sequence[Bag]):
    """The bags of a dataset, sorted by name, and what has no bag.

    Attributes:
        bags: the bags.
        missing: by slide that has no features: the reason.
        unlabelled: names of slides that have features, but no label.
    """

    bags: tuple[Bag, ...] = field(repr=False)
    missing: Mapping[str, str] = field(factory=dict)
    unlabelled: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[Any, ...]:
        """The labels, each once, sorted."""
        return tuple(sorted({bag.label for bag in self.bags if bag.label is not None}))

    @property
    def width(self) -> int:
        """Number of features of a tile."""
        return self.bags[0].files[0].width

    def __len__(self) -> int:
        return len(self.bags)

    @overload
    def __getitem__(self, index: int) -> Bag: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Bag]: ...
    def __getitem__(self, index: int | slice) -> Bag | Sequence[Bag]:
        return self.bags[index]


def feature_files(
    sources: Iterable[Source], label: str, *, encoder: str | None, folder: Path | None
) -> tuple[dict[str, FeatureFile], dict[str, str]]:
    """The features of each slide, and why those of others cannot be used.

    Args:
        sources: where features may be.
        label: of the tiles' size.
        encoder: name of the model; None if there are features of one only.
        folder: with one .h5 file per slide, of this or another program, in place of the sources'.

    Raises:
        ConfigError: there are no features, or of several models, or a slide's are in two places.
    """
    homes = [(None, folder)] if folder is not None else _homes(sources, label, encoder)
    found: dict[str, FeatureFile] = {}
    wrong: dict[str, str] = {}
    for out, home in homes:
        if not home.is_dir():
            raise ConfigError(f"{home}: there is no such folder of features")
        for slide, path in _h5_files(home).items():
            if slide in found:
                raise ConfigError(
                    f"slide {slide} has features in {found[slide].path} and {path}; name the source to use"
                )
            wrong[slide] = "" if out is None else record_problem(OutputFolder(out, label), slide, path, {})
            if not wrong[slide]:
                try:
                    found[slide] = FeatureFile.of(slide, path)
                except PluginError:
                    raise
                except SlideloomError as error:
                    wrong[slide] = str(error)
    _check_alike(found.values())
    return found, {slide: problem for slide, problem in wrong.items() if problem}


def _h5_files(home: Path) -> dict[str, Path]:
    """The files of features by the names of their slides, which may have folders."""
    inner = home / "h5_files"
    found = names_in(inner if inner.is_dir() else home, ".h5")
    return {slide: path for slide, path in found.items() if not path.name.startswith(".")}


def _homes(sources: Iterable[Source], label: str, encoder: str | None) -> list[tuple[Path, Path]]:
    """Output folders with their folder of features."""
    places = {source.out: source.out / "features" / label for source in sources}
    known = {
        path.name.removeprefix(_PREFIX)
        for place in places.values()
        if place.is_dir()
        for path in place.iterdir()
        if path.name.startswith(_PREFIX) and path.is_dir()
    }
    names = sorted(known)
    where = ", ".join(str(place) for place in places.values())
    if not names:
        raise ConfigError(f"no features of {label} in {where}; extract with the sink features, or give their folder")
    if encoder is None and len(names) > 1:
        raise ConfigError(f"features of several models in {where}: {', '.join(names)}; name one as encoder")
    wanted = names[0] if encoder is None else encoder
    if wanted not in known:
        raise ConfigError(f"no features of {wanted} in {where}; there are those of {', '.join(names)}")
    found = [(out, place / f"{_PREFIX}{wanted}") for out, place in places.items()]
    return [(out, home) for out, home in found if home.is_dir()]


def _check_alike(files: Iterable[FeatureFile]) -> None:
    """Refuse to mix features of different models: nothing would show it later.

    Raises:
        ConfigError: files have other widths, or were made by other weights.
    """
    kinds: dict[tuple[int, str], list[FeatureFile]] = defaultdict(list)
    for file in files:
        kinds[file.width, file.made_by].append(file)
    if len(kinds) < 2:
        return
    usual, other = sorted(kinds.values(), key=len, reverse=True)[:2]
    told = [f"{each[0].path.name} ({each[0].width}, {each[0].made_by[:12] or 'unknown'})" for each in (usual, other)]
    raise ConfigError(
        f"features of different models or transforms in one folder: {' and '.join(told)}; extract the "
        f"{len(other)} slides of the latter again"
    )


def bags_of(
    files: Mapping[str, FeatureFile],
    missing: Mapping[str, str],
    *,
    patients: Mapping[str, str],
    labels: Mapping[str, Any] | None,
    by: Literal["patient", "slide"],
) -> Bags:
    """The bags of these files.

    Args:
        files: by slide.
        missing: by slide without features: the reason.
        patients: the patient of each slide.
        labels: by slide, None or "" where there is none; None if labels are not asked for.
        by: what makes a bag.

    Raises:
        ConfigError: slides of one patient have different labels, or no slide has features and, if asked for, a label.
    """
    known = {} if labels is None else {slide: value for slide, value in labels.items() if value not in (None, "")}
    unlabelled = tuple(sorted(slide for slide in files if labels is not None and slide not in known))
    groups: dict[str, list[FeatureFile]] = defaultdict(list)
    for slide in sorted(set(files) - set(unlabelled)):
        groups[patients[slide] if by == "patient" else slide].append(files[slide])
    for problem, slides in (("features", sorted(missing)), ("a label", unlabelled)):
        if slides:
            log.warning("%d slides without %s are left out: %s", len(slides), problem, named(slides))
    if not groups:
        reasons = Counter(missing.values()).most_common(1)
        why = f": {reasons[0][0]}" if reasons else f": {len(unlabelled)} have no label"
        raise ConfigError(f"no bag can be made of {len(missing) + len(unlabelled)} slides{why}")
    bags = tuple(_bag(name, groups[name], patients, known) for name in sorted(groups))
    return Bags(bags, dict(sorted(missing.items())), unlabelled)


def _bag(name: str, files: list[FeatureFile], patients: Mapping[str, str], labels: Mapping[str, Any]) -> Bag:
    found = {file.slide: labels.get(file.slide) for file in files}
    values = set(found.values())
    if len(values) > 1:
        told = ", ".join(f"{slide} {value}" for slide, value in found.items())
        raise ConfigError(f"slides of {name} have different labels: {told}; correct them, or make bags by='slide'")
    return Bag(name, patients[files[0].slide], values.pop(), tuple(files))
