"""Opens a slide that is not local: where it is, by ranges of its bytes, or as a copy that is removed afterwards."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from slideloom.base.addresses import Address
from slideloom.base.errors import PluginError, SlideError
from slideloom.base.lent_folders import lent_folder
from slideloom.base.naming import option_name
from slideloom.planning.remote_copies import copy_parts, parts_at
from slideloom.plugins.blaming import blaming
from slideloom.plugins.discovery import Registry
from slideloom.plugins.formats import reader_to_install
from slideloom.plugins.hookspecs import RemoteFiles
from slideloom.settings.options import Settings
from slideloom.slides.info import slide_name
from slideloom.slides.remote_file import RemoteFile
from slideloom.slides.remote_folder import RemoteFolder
from slideloom.slides.slide import Slide
from slideloom.steps.format import Format
from slideloom.steps.reader import Reader

log = logging.getLogger(__name__)


def open_remote(
    address: Address, readers: Sequence[Settings[Reader]], found: Registry, *, locally: Callable[[Path], Slide]
) -> Slide:
    """The slide at an address.

    Args:
        address: where it is.
        readers: that may open it, in order.
        found: the plugins.
        locally: opens a copy of it.

    Raises:
        PluginError: no installed plugin reads addresses.
        SlideError: it cannot be read.
    """
    files = found.remote_files(address)
    kind = found.formats.folder_of(address)
    is_named_folder = address.is_folder or not address.suffix or kind is not None
    if is_named_folder and (slide := _in_folder(files, address, readers, is_sure=kind is not None)) is not None:
        return slide
    if kind is not None:
        raise SlideError(_no_slide(address, kind, {plugin.dist for plugin in found.plugins}))
    try:
        file = files.open(address)
    except SlideError:
        slide = None if is_named_folder else _in_folder(files, address, readers, is_sure=False)
        if slide is None:
            raise
        return slide
    try:
        slide = _where_it_is(file, readers)
        if slide is None:
            slide = _copied(file, found, locally)
            file.close()
        else:
            slide.identity = file.identity
    except BaseException:
        file.close()
        raise
    slide.info = attrs.evolve(slide.info, path=address, name=slide_name(address))
    return slide


def _in_folder(
    files: RemoteFiles, address: Address, readers: Sequence[Settings[Reader]], *, is_sure: bool
) -> Slide | None:
    """The slide that a folder is, read where it is; None if no reader takes it for one.

    An address that is not said to be a folder may be a file, whose server refuses all names below it: that is no error.
    """
    if files.open_folder is None:
        return None
    folder = files.open_folder(address.without_slash())
    slide = None
    try:
        for settings in readers:
            with blaming(settings, "reader", folder.name), _network_to_blame(folder):
                reader = settings.build()
                if _is_recognised(reader, folder, is_sure=is_sure or address.is_folder):
                    slide = reader.open_remote_folder(folder)
                    break
    finally:
        if slide is None:
            folder.close()
    if slide is not None:
        slide.info = attrs.evolve(slide.info, path=address, name=slide_name(address))
    return slide


@contextmanager
def _network_to_blame(folder: RemoteFolder) -> Iterator[None]:
    """Within it, what the network does is no fault of the reader."""
    try:
        yield
    except OSError as error:
        raise SlideError(_unreachable(folder.name, folder.address, error)) from error


def _is_recognised(reader: Reader, folder: RemoteFolder, *, is_sure: bool) -> bool:
    try:
        return reader.recognises_remote_folder(folder)
    except (OSError, SlideError):
        if is_sure:
            raise
        return False


def _no_slide(address: Address, kind: Format, installed: Collection[str]) -> str:
    """What to say of an address that is named as a folder of some format, and at which no reader finds a slide."""
    remedy = reader_to_install(kind, installed) or "correct the address; it must be that of the folder of an image"
    return f"{address.name}: no reader finds an {kind.name} slide at {address}: {remedy}"


def _unreachable(name: str, address: Address, error: OSError) -> str:
    return (
        f"{name}: cannot be read from {address} ({error.strerror or error}); look whether the network and the server "
        "are there, and run again"
    )


def _where_it_is(file: RemoteFile, readers: Sequence[Settings[Reader]]) -> Slide | None:
    """The slide, read by ranges of its bytes; None if no reader can do that."""
    if not file.has_ranges:
        return None
    try:
        for settings in readers:
            try:
                with blaming(settings, "reader", file.name):
                    reader = settings.build()
                    recognised = reader.recognises_remote(file)
            except PluginError as error:  # a broken reader must not stop the others
                log.warning("%s; trying other readers", error)
                continue
            if recognised:
                with blaming(settings, "reader", file.name):
                    return reader.open_remote(file)
    except OSError as error:
        raise SlideError(_unreachable(file.name, file.address, error)) from error
    return None


def _copied(file: RemoteFile, found: Registry, locally: Callable[[Path], Slide]) -> Slide:
    """The slide, read from a copy of all its files in the folder of temporary files."""
    with ExitStack() as stack:
        home = stack.enter_context(lent_folder(Path(tempfile.gettempdir())))
        larger = f"name a folder on a larger disk with {option_name('run', 'buffer')}"
        path, identity = copy_parts(parts_at(file.address, found), home, found, first=file, remedy=larger)
        slide = locally(path)
        slide.identity = identity
        slide.when_closed(stack.pop_all().close)
        return slide
    raise AssertionError("an exit stack hides no error")
