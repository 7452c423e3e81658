"""What other programs call our options, so that a name from there is answered with ours.

One table for files, flags and Python: the names of one option differ between these, and the one that is known where the
mistake was made is suggested.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache, wraps
from inspect import signature
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_ALIKE = 0.65  # of 1: "rwa" is like "raw" by 0.67, and "mpp_override" like "overview" by 0.6

FIELD_NAMES: Mapping[str, tuple[str, ...]] = {
    # sizes and resolution
    "tile_px": ("size_px",),
    "tile_size": ("tile_px", "size_px"),
    "patch_size": ("tile_px", "size_px"),
    "patch_px": ("tile_px", "size_px"),
    "size_px": ("tile_px",),
    "tile_um": ("size_um", "magnification"),
    "size_um": ("tile_um",),
    "mag": ("magnification", "tile_um"),
    "magnification": ("tile_um",),
    "target_mag": ("magnification", "tile_um"),
    "mpp_override": ("mpp",),
    "slide_mpp": ("mpp",),
    "target_mpp": ("size_um", "tile_um"),
    "qc_mpp": ("mpp",),
    "qc_blur_mpp": ("mpp",),
    "blur_mpp": ("mpp",),
    # where tiles are
    "overlap": ("stride_div",),
    "stride": ("stride_div",),
    "step_size": ("stride_div",),
    "use_edge_tiles": ("edge_tiles",),
    "edge_tiles": ("use_edge_tiles",),
    "randomize_origin": ("random_origin",),
    "random_origin": ("randomize_origin",),
    "origin": ("random_origin", "randomize_origin"),
    "num_tiles": ("max_tiles",),
    "tiles_per_slide": ("max_tiles",),
    "max_tiles_per_slide": ("max_tiles",),
    # regions
    "rois": ("roi",),
    "roi_dir": ("roi",),
    "roi_method": ("method",),
    "roi_filter_method": ("filter_method",),
    "artifact_rois": ("artifact_labels", "artifacts"),
    "artifact_labels": ("artifacts",),
    # slide QC and filters
    "qc_filter_threshold": ("filter_threshold",),
    "qc_kwargs": ("qc",),
    "blur_radius": ("sigma",),
    "qc_blur_radius": ("sigma",),
    "blur_threshold": ("threshold",),
    "qc_blur_threshold": ("threshold",),
    "grayspace_fraction": ("fraction",),
    "grayspace_threshold": ("threshold",),
    "whitespace_fraction": ("fraction",),
    "whitespace_threshold": ("threshold",),
    "pred_threshold": ("threshold",),
    "ckpt": ("weights", "model"),
    "checkpoint": ("weights", "model"),
    "dest": ("folder",),
    "source": ("folder", "sources"),
    # normalizers
    "normalizer_source": ("target",),
    "normalizer_kwargs": ("normalizer",),
    "preset": ("target",),
    "context_normalize": ("context",),
    # files and runs
    "img_format": ("format",),
    "outdir": ("out",),
    "output": ("out",),
    "save_dir": ("out",),
    "slides_path": ("slides", "include"),
    "slide_dir": ("slides", "include"),
    "num_threads": ("threads",),
    "num_workers": ("jobs",),
    "num_processes": ("jobs",),
    "n_jobs": ("jobs",),
    "skip_extracted": ("redo",),
    "overwrite": ("redo",),
    "force": ("redo",),
    "skip_existing": ("redo",),
    "save_qc": ("save_masks",),
    "annotations_file": ("annotations",),
}
"""Names of the field, with underscores, to our names of the same thing, the nearest first."""


def ours(word: str) -> tuple[str, ...]:
    """Our names for what others call `word`; dashes and underscores are the same."""
    return FIELD_NAMES.get(word.strip("-").replace("-", "_"), ())


def meant(word: str, known: Iterable[str]) -> str | None:
    """The known name that means the same as `word`."""
    spelt = {name.replace("-", "_"): name for name in known}
    return next((spelt[name] for name in ours(word) if name in spelt), None)


def near(word: str, known: Collection[str]) -> str:
    """The text ` (did you mean 'x'?)` for a known word that means or is written nearly the same, or one elsewhere."""
    same = meant(word, known)
    if same is None:
        import difflib  # only mistakes need it

        spelt = {name.replace("_", "-"): name for name in known}
        written = difflib.get_close_matches(word.replace("_", "-"), spelt, n=1, cutoff=_ALIKE)
        same = spelt[written[0]] if written else None
    if same is not None:
        return f" (did you mean '{same}'?)"
    return f" (what is called '{ours(word)[0]}' in slideloom, and does not belong here)" if ours(word) else ""


def hinted(function: Callable[P, T]) -> Callable[P, T]:
    """A decorator: an argument that the function does not have is refused with the one that may be meant."""

    @cache  # not before the first call: there are hundreds of such functions, and signatures take time
    def known() -> list[str]:
        return [name for name in signature(function).parameters if name != "self"]

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        for name in kwargs:
            refuse_argument(name, known(), of=function.__qualname__)
        return function(*args, **kwargs)

    return called


def refuse_argument(name: str, known: Collection[str], *, of: str) -> None:
    """Raise `TypeError`, as Python does, with the argument that may be meant, unless a function has this one.

    Args:
        name: of the keyword argument.
        known: those that the function has.
        of: the function's name.
    """
    if name not in known:
        raise TypeError(f"{of}() got an unexpected keyword argument '{name}'{near(name, known)}")
