"""Opens a slide: chooses the reader and determines the microns per pixel."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve

from slideloom.base.addresses import Address, SlidePlace, place_of
from slideloom.base.errors import PluginError, SlideError, UnsupportedSlide
from slideloom.base.system_errors import reading_slide
from slideloom.pipeline.pipeline import Slides
from slideloom.planning.opening_remote import open_remote
from slideloom.plugins.blaming import blaming
from slideloom.plugins.discovery import Registry, dashed, registry
from slideloom.plugins.shorthand import folder_of_regions, named_step
from slideloom.settings.options import Settings
from slideloom.slides.icc import in_srgb
from slideloom.slides.info import SlideInfo
from slideloom.slides.names import NamedSlide
from slideloom.slides.regions import Regions
from slideloom.slides.resolution import find_resolution, read_mpp_file
from slideloom.slides.slide import Slide
from slideloom.steps.reader import Reader

log = logging.getLogger(__name__)


def open_slide(path: SlidePlace | NamedSlide | str, *, slides: Slides | None = None, mpp: float | None = None) -> Slide:
    """The slide at `path`, with its microns per pixel determined.

    Args:
        path: of the file (or of the folder, for formats that use one), or an address such as "s3://bucket/a.svs", or
            one of `named_slides`.
        slides: reader and mpp rules; by default any reader, and what the slide records.
        mpp: microns per pixel, instead of what the slide records.

    Raises:
        UnsupportedSlide: no reader recognises it.
        MissingResolution: no source gives its mpp.
        SlideError: it cannot be read.
        ConfigError: the mpp file is wrong; the slide is then not opened.
    """
    rules = slides or Slides()
    by_slide = read_mpp_file(rules.mpp_file) if rules.mpp_file is not None else None
    slide = open_without_mpp(path if isinstance(path, NamedSlide) else place_of(path), rules)
    try:
        slide.use_mpp(
            find_resolution(
                slide.info,
                mpp=mpp if mpp is not None else rules.mpp,
                mpp_by_slide=by_slide,
                allow_objective_power=rules.allow_objective_power,
            )
        )
    except BaseException:
        slide.close()
        raise
    return slide


def load_regions(folder: SlidePlace, info: SlideInfo) -> Regions | None:
    """The regions that a folder of ROI files holds for a slide; None if it holds no file for it.

    Warnings about files that seem to be meant for the slide but are not read are logged.

    Raises:
        PluginError: the ROI plugin is not installed.
        RoiError: the slide's file cannot be parsed.
    """
    settings = folder_of_regions(folder)
    with blaming(settings, "roi", info.name):
        found: Regions | None = settings.build().regions(info)
    if found is not None and not found.items and not found.source:
        for note in found.notes:
            log.warning("%s: %s", info.name, note)
        return None
    return found


def open_without_mpp(path: SlidePlace | NamedSlide, rules: Slides, plugins: Registry | None = None) -> Slide:
    """The slide at `path`, by the reader of `rules` or the first that recognises it, in the colours they ask for."""
    slide = _chosen(path.place if isinstance(path, NamedSlide) else path, rules, plugins or registry())
    if isinstance(path, NamedSlide):
        slide.info = evolve(slide.info, name=path.name, shares_name=path.shares_name)
    if rules.icc == "keep":
        return slide
    try:
        return in_srgb(slide)
    except BaseException:
        slide.close()
        raise


def _chosen(path: SlidePlace, rules: Slides, found: Registry) -> Slide:
    if isinstance(path, Address):
        readers = _candidates(rules, found)
        return open_remote(path, readers, found, locally=lambda copy: _chosen(copy, rules, found))
    with reading_slide(path):
        return _opened(path, rules, found)


def _candidates(rules: Slides, found: Registry) -> list[Settings[Reader]]:
    """The readers that may open a slide, in the order in which they are asked."""
    if rules.reader is not None:
        return [named_step("reader", rules.reader, plugins=found)]
    avoided = {dashed(name) for name in rules.avoid_readers}
    return [cls() for cls in found.all("reader") if dashed(cls.name) not in avoided]


def _opened(path: Path, rules: Slides, found: Registry) -> Slide:
    if not path.exists():
        gone = f"is a link to {path.readlink()}, which is not there" if path.is_symlink() else "no such file"
        raise SlideError(f"{path}: {gone}; check the path")
    if not (path.is_file() or path.is_dir()):  # reading from a pipe would wait for ever
        raise SlideError(f"{path}: is a pipe, a socket or a device, and no file; leave it out of the slides")
    _read_ends(path)
    candidates = _candidates(rules, found)
    if rules.reader is not None:
        return _open(candidates[0], path)
    if path.is_file() and path.stat().st_size == 0:
        raise SlideError(f"{path.name}: the file is empty; copy it again from its source")
    tried: list[tuple[str, Reader]] = []
    failed = []
    for settings in candidates:
        try:
            with blaming(settings, "reader", path.name):
                reader = settings.build()
                tried.append((settings.name, reader))
                recognised = reader.recognises(path)
        except PluginError as error:  # a broken reader must not stop the others
            log.warning("%s; trying other readers", error)
            failed.append(str(error))
            continue
        if recognised:
            return _open(settings, path)
    _read_ends(path)  # a reader takes what it cannot read for another format
    broken = "; ".join([*failed, *(f"{plugin.dist}: {plugin.error}" for plugin in found.plugins if plugin.error)])
    remedy = found.formats.to_install(path, {plugin.dist for plugin in found.plugins})
    said = "; ".join(part for part in (_unsupported(path, tried, found), remedy) if part)
    raise UnsupportedSlide(f"{path.name}: {said}" + (f"; not loaded: {broken}" if broken else ""))


def _unsupported(path: Path, tried: Sequence[tuple[str, Reader]], found: Registry) -> str:
    """Why no reader takes a file, as far as its content or a reader tells, and what to do."""
    names = [name for name, _ in tried]
    readers = f"tried {', '.join(names) or 'none: no reader is installed'}"
    told = (_refusal(name, reader, path) for name, reader in tried)
    obstacle = (
        found.formats.refusal(path, readers_say_more=False)
        or next((text for text in told if text), None)
        or found.formats.refusal(path, readers_say_more=True)
    )
    if obstacle is not None:
        return f"{obstacle} (no reader takes it as it is; {readers})"
    advice = found.formats.advice(path, names)
    return (
        f"no reader recognises it as a slide ({readers})"
        + (f"; {advice}" if advice else "")
        + "; is it complete, and an image? `slideloom doctor` shows what is installed"
    )


def _refusal(name: str, reader: Reader, path: Path) -> str | None:
    try:
        return reader.refusal(path)
    except Exception as error:  # whatever a plugin raises, the file is refused all the same
        log.warning("reader '%s' failed to say why it does not take %s: %s", name, path.name, error)
        return None


def _read_ends(path: Path) -> None:
    """Raise what the system says if a file cannot be read."""
    if path.is_file():
        with path.open("rb", buffering=0) as file:
            file.read(1)
            file.seek(max(0, path.stat().st_size - 1))
            file.read(1)


def _open(settings: Settings[Reader], path: Path) -> Slide:
    with blaming(settings, "reader", path.name), reading_slide(path):
        slide = settings.build().open(path)
    if not isinstance(slide, Slide) or not isinstance(getattr(slide, "info", None), SlideInfo):
        raise PluginError(
            f"reader '{settings.name}' opened {path.name} as {type(slide).__name__}, not as a slideloom.Slide with info"
        )
    return slide
