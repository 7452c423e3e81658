"""The files of a slide at an address, and copies of them: all parts of one version each, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from attrs import evolve, field, frozen

from slideloom.base.addresses import Address
from slideloom.base.errors import Cancelled, OutputError, SlideError, Unlisted
from slideloom.base.lent_folders import check_room
from slideloom.base.storing import path_inside, storing_in
from slideloom.plugins.discovery import Registry
from slideloom.plugins.hookspecs import RemoteFiles
from slideloom.slides.remote_file import RemoteFile
from slideloom.slides.remote_folder import RemoteState
from slideloom.slides.remote_path import RemotePath
from slideloom.slides.remote_tree import RemoteTree, in_parallel

_SMALL = 8 << 20  # bytes; larger files are copied one after the other, each by parallel requests


@frozen
class RemoteParts:
    """The files of a slide at an address.

    Attributes:
        address: of the slide.
        files: what opens addresses.
        parts: its files by their paths within the copy, the one that is opened first; of a folder, all in it.
        sizes: of the parts, in bytes; None for one that is not there.
        is_folder: True if the slide is a folder.
    """

    address: Address
    files: RemoteFiles
    parts: tuple[tuple[PurePosixPath, RemotePath], ...]
    sizes: tuple[int | None, ...] = field(repr=False)
    is_folder: bool = False

    @property
    def size(self) -> int:
        """Of all parts together, in bytes."""
        return sum(size or 0 for size in self.sizes)


def parts_at(address: Address, found: Registry) -> RemoteParts:
    """The files of a slide at an address that is one file, or begins with one, as formats tell.

    Raises:
        PluginError: no installed plugin reads addresses.
        SlideError: which files it consists of is unknown.
    """
    files = found.remote_files(address)
    tree = remote_tree(files)
    if tree is None:
        return RemoteParts(address, files, (), ())
    first = RemotePath(address, tree, is_folder=False)
    try:
        parts = [first, *found.formats.parts(first)]
    except Unlisted as error:
        raise SlideError(f"{address.name}: is one of several files of a slide: {error}") from error
    except FileNotFoundError:
        parts = [first]  # opening it says so
    return _measured(address, files, [(_within(part, first.parent), part) for part in parts])


def parts_of_folder(address: Address, found: Registry) -> RemoteParts:
    """The files of a slide at an address that is a folder.

    Raises:
        PluginError: no installed plugin reads addresses.
        SlideError: its files are unknown.
    """
    files = found.remote_files(address)
    tree = remote_tree(files)
    if tree is None:
        raise SlideError(f"{address.name}: {files.name} lists no folders; copy the folder to a disk")
    folder = RemotePath(address, tree, is_folder=True)
    home = PurePosixPath(address.name)
    try:
        parts = sorted(folder.rglob("*"))
    except FileNotFoundError as error:
        raise SlideError(f"{address.name}: there is no such folder at {address}; correct the address") from error
    inside = [(home / _within(part, folder), part) for part in parts]
    return evolve(_measured(address, files, inside), is_folder=True)


def remote_tree(files: RemoteFiles, *, is_search: bool = False) -> RemoteTree | None:
    """What knows files at addresses; None if the plugin that opens them lists none."""
    if files.entries is None or files.open_folder is None:
        return None
    return RemoteTree(files.entries, files.open_folder, is_search=is_search)


def _within(part: RemotePath, folder: RemotePath) -> PurePosixPath:
    """The path of a part below a folder.

    Raises:
        SlideError: it is not below it.
    """
    try:
        return part.relative_to(folder)
    except ValueError as error:
        raise SlideError(f"{part}: belongs to a slide in {folder}, and lies elsewhere; copy both") from error


def _measured(address: Address, files: RemoteFiles, parts: Sequence[tuple[PurePosixPath, RemotePath]]) -> RemoteParts:
    states = in_parallel(RemotePath.state, [part for _, part in parts]) if len(parts) > 1 else [None]
    sizes = tuple(None if state is None else state.size for state in states)
    return RemoteParts(address, files, tuple(parts), sizes)


def identity_at(address: Address, found: Registry) -> list[object] | None:
    """The identity of a slide of files, as `copy_parts` tells it, by what its server says of them; nothing is copied.

    None if it cannot be had so: the server tells no versions, a file is not there, or the slide is a folder, whose
    reader tells its identity.

    Raises:
        PluginError: no installed plugin reads addresses.
        SlideError: which files it consists of is unknown, or the server does not answer.
    """
    if address.is_folder or found.formats.folder_of(address) is not None:
        return None
    whole = parts_at(address, found)
    states = in_parallel(RemotePath.state, [part for _, part in whole.parts])
    identity: list[object] = []
    for (place, _), state in zip(whole.parts, states, strict=True):
        if state is None or not state.version:
            return None
        identity.append([place.as_posix() if identity else "", state.size, state.version, ""])
    return identity or None


def looks_plain(address: Address, found: Registry) -> bool:
    """False for a file of a series that is called otherwise, whose other files only a copy of it tells.

    Raises:
        SlideError: the server does not answer.
    """
    tree = remote_tree(found.remote_files(address))
    if tree is None or not found.formats.is_plain(address.name):
        return True
    return found.formats.series(RemotePath(address, tree, is_folder=False)) is None


def copy_parts(
    whole: RemoteParts,
    folder: Path,
    found: Registry,
    *,
    first: RemoteFile,
    remedy: str,
    goes_on: Callable[[], bool] = lambda: True,
) -> tuple[Path, list[object]]:
    """Copy a slide into a local folder, which must exist and be empty.

    Args:
        whole: the files of the slide.
        folder: where the copies go.
        found: the plugins.
        first: the file that the slide is opened by.
        remedy: what to do if the folder has no room, for the message.
        goes_on: False ends the copying.

    Returns:
        The copy that is to be opened, and the slide's identity.

    Raises:
        SlideError: a part cannot be copied, is not there or has changed; nothing may be opened then.
        Cancelled: it was ended.
    """
    name = whole.address.name
    beside = [(place, part, size) for (place, part), size in zip(whole.parts[1:], whole.sizes[1:], strict=True)]
    _refuse_missing(name, beside)
    check_room(folder, first.size + sum(size or 0 for _, _, size in beside), name=name, remedy=remedy)
    path = _copied(folder, PurePosixPath(first.name), first)
    beside += _parts_later(whole, folder, path, found)
    _refuse_missing(name, beside)
    check_room(folder, sum(size or 0 for _, _, size in beside), name=name, remedy=remedy)
    series = found.formats.series(path)
    if series is not None and not (whole.parts and series.takes_addresses):
        raise SlideError(
            f"{name}: a {series.name} slide is a series of files, and only one of them is at this address; copy their "
            "folder to a disk, and name that"
        )
    states = _copied_all(whole.files, folder, beside, goes_on)
    if beside:
        own = RemoteState(first.size, first.version)
        _refuse_changed(name, [whole.parts[0][1], *(part for _, part, _ in beside)], [own, *states])
    identity: list[object] = [*first.identity]
    identity += [
        [place.as_posix(), state.size, state.version, ""] for (place, _, _), state in zip(beside, states, strict=True)
    ]
    return path, identity


_Part = tuple[PurePosixPath, RemotePath, int | None]


def _parts_later(whole: RemoteParts, folder: Path, path: Path, found: Registry) -> list[_Part]:
    """Parts of which is known only when the first file was copied."""
    if not whole.parts:
        return []
    known, origin = {place for place, _ in whole.parts}, whole.parts[0][1]
    later: list[tuple[PurePosixPath, RemotePath]] = []
    for part in _told_later(whole, path, origin, found):
        if isinstance(part, RemotePath):
            later.append((_within(part, origin.parent), part))
        elif not part.is_relative_to(folder) or ".." in part.relative_to(folder).parts:
            raise SlideError(f"{path.name}: names {part}, which is not below its folder; correct the file")
        elif not part.exists():
            place = PurePosixPath(part.relative_to(folder).as_posix())
            file = origin.parent
            for name in place.parts:
                file = file / name
            later.append((place, file))
    new = [(place, file) for place, file in later if place not in known]
    states = in_parallel(RemotePath.state, [file for _, file in new])
    return [
        (place, file, None if state is None else state.size) for (place, file), state in zip(new, states, strict=True)
    ]


def _told_later(whole: RemoteParts, path: Path, origin: RemotePath, found: Registry) -> Sequence[Path | RemotePath]:
    try:
        return found.formats.parts_of_copy(path, origin)
    except Unlisted as error:
        raise SlideError(f"{whole.address.name}: is one of several files of a slide: {error}") from error


def copy_folder(whole: RemoteParts, folder: Path, *, remedy: str, goes_on: Callable[[], bool] = lambda: True) -> Path:
    """Copy a slide that is a folder; otherwise as `copy_parts`. Returns the copy."""
    name = whole.address.name
    parts = [(place, part, size) for (place, part), size in zip(whole.parts, whole.sizes, strict=True)]
    _refuse_missing(name, parts)
    check_room(folder, whole.size, name=name, remedy=remedy)
    home = path_inside(folder, name)
    with storing_in(folder):
        home.mkdir()
    states = _copied_all(whole.files, folder, parts, goes_on)
    _refuse_changed_folder(whole, states)
    return home


def _refuse_missing(name: str, parts: Sequence[_Part]) -> None:
    gone = [part for _, part, size in parts if size is None]
    if gone:
        raise SlideError(
            f"{name}: {len(gone)} of the files that it consists of are not there, such as {gone[0]}: copy them, too"
        )


def _copied_all(
    files: RemoteFiles, folder: Path, parts: Sequence[_Part], goes_on: Callable[[], bool]
) -> list[RemoteState]:
    """Size and version of each part, after all were copied: large ones one by one, small ones in parallel."""

    def copied(part: _Part) -> RemoteState:
        place, path, size = part
        if not goes_on():
            raise Cancelled("copying was ended")
        with files.open(path.address) as file:
            if file.size != size:
                raise SlideError(f"{path}: has {file.size} bytes, and had {size} when it was listed; run again")
            _copied(folder, place, file)
            return RemoteState(file.size, file.version)

    large = {number for number, (_, _, size) in enumerate(parts) if (size or 0) > _SMALL}
    states = {number: copied(parts[number]) for number in sorted(large)}
    small = [number for number in range(len(parts)) if number not in large]
    states.update(zip(small, in_parallel(copied, [parts[number] for number in small]), strict=True))
    return [states[number] for number in range(len(parts))]


def _copied(folder: Path, place: PurePosixPath, file: RemoteFile) -> Path:
    """Copy one file to its place within a folder, in which it must be new.

    Raises:
        SlideError: it cannot be copied.
    """
    try:
        path = path_inside(folder, *place.parts)
        with storing_in(folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.touch(exist_ok=False)
            except FileExistsError:
                raise SlideError(
                    f"{file.address}: this disk takes its name for that of another file; rename it"
                ) from None
            file.copy_to(path)
    except OutputError as error:
        raise SlideError(f"{file.name}: cannot be copied from {file.address}: {error}") from error
    return path


def _refuse_changed(name: str, parts: Sequence[RemotePath], copied: Sequence[RemoteState]) -> None:
    """Raise `SlideError` if a part is by now another than was copied: then they are of different versions."""
    for part, before, after in zip(parts, copied, parts[0].tree.states(parts), strict=True):
        if after is None or after.size != before.size or after.version not in ("", before.version):
            raise SlideError(f"{name}: {part} changed while the slide was copied; run again")


def _refuse_changed_folder(whole: RemoteParts, copied: Sequence[RemoteState]) -> None:
    """The same of a folder, whose files are listed again, which takes one request for a thousand of them."""
    name, tree = whole.address.name, remote_tree(whole.files)
    if tree is None:
        raise RuntimeError("it was listed before")
    folder = RemotePath(whole.address, tree, is_folder=True)
    home = PurePosixPath(name)
    try:
        now = {home / entry.name: entry for entry in tree.all_below(folder)}
    except FileNotFoundError:
        raise SlideError(f"{name}: was removed from {whole.address} while it was copied; run again") from None
    changed = now.keys() ^ {place for place, _ in whole.parts}
    if changed:
        raise SlideError(f"{name}: {min(changed)} came or went while the slide was copied; run again")
    untold = []
    for (place, part), before in zip(whole.parts, copied, strict=True):
        entry = now[place]
        if entry.size is None or not entry.version:
            untold.append((part, before))
        elif (entry.size, entry.version) != (before.size, before.version):
            raise SlideError(f"{name}: {part} changed while the slide was copied; run again")
    if untold:
        _refuse_changed(name, [part for part, _ in untold], [before for _, before in untold])
