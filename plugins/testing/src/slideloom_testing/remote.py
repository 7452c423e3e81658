"""A file, or a folder of files, that is not local, without a network: bytes in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path

from slideloom.base.addresses import Address
from slideloom.slides.remote_file import RemoteFile
from slideloom.slides.remote_folder import RemoteFolder, RemoteState
from slideloom.slides.remote_path import RemotePath
from slideloom.slides.remote_tree import RemoteEntry, RemoteTree


class BytesAt(RemoteFile):
    """Bytes as a file at an address, for tests of readers that take ranges."""

    def __init__(self, address: Address, content: bytes) -> None:
        self.address = address
        self.size = len(content)
        self.version = sha256(content).hexdigest()
        self.is_closed = False
        self._content = content

    def read(self, offset: int, length: int) -> bytes:
        """See `RemoteFile.read`."""
        if offset < 0 or length < 0 or offset + length > self.size or self.is_closed:
            raise ValueError(f"bytes {offset} to {offset + length} are not in the file, which has {self.size}")
        return self._content[offset : offset + length]

    def read_pieces(self, pieces: Sequence[tuple[int, int]]) -> list[memoryview]:
        """See `RemoteFile.read_pieces`."""
        return [memoryview(self.read(start, end - start)) for start, end in pieces]

    def copy_to(self, path: Path) -> None:
        """See `RemoteFile.copy_to`."""
        path.write_bytes(self._content)

    def close(self) -> None:
        """See `RemoteFile.close`."""
        self.is_closed = True


class FilesAt(RemoteFolder):
    """Files by name as a folder at an address, for tests of readers that read folders where they are."""

    def __init__(self, address: Address, files: Mapping[str, bytes]) -> None:
        self.address = address
        self.is_closed = False
        self._files = dict(files)

    @classmethod
    def of(cls, address: Address, folder: Path) -> FilesAt:
        """The files of a local folder."""
        files = (file for file in folder.rglob("*") if file.is_file())
        return cls(address, {file.relative_to(folder).as_posix(): file.read_bytes() for file in files})

    def ask(self, name: str, start: int | None = None, end: int | None = None) -> Future[bytes | None]:
        """See `RemoteFolder.ask`."""
        answer: Future[bytes | None] = Future()
        content = self._files.get(name)
        answer.set_result(None if content is None else content[start:end])
        return answer

    def states(self, names: Sequence[str]) -> list[RemoteState | None]:
        """See `RemoteFolder.states`."""
        found = [self._files.get(name) for name in names]
        return [None if each is None else RemoteState(len(each), sha256(each).hexdigest()) for each in found]

    def close(self) -> None:
        """See `RemoteFolder.close`."""
        self.is_closed = True


def path_at(address: Address, files: Mapping[str, bytes]) -> RemotePath:
    """Files by name as a folder at an address, for tests of formats that take addresses."""
    home = address.without_slash().url

    def inside(folder: Address) -> dict[str, bytes]:
        below = folder.without_slash().url.removeprefix(home).strip("/")
        begin = f"{below}/" if below else ""
        return {name.removeprefix(begin): content for name, content in files.items() if name.startswith(begin)}

    def listed(folder: Address, below: bool) -> list[RemoteEntry]:
        found = inside(folder)
        if not found:
            raise FileNotFoundError(str(folder))
        if below:
            return [RemoteEntry(name, is_folder=False, size=len(content)) for name, content in found.items()]
        sizes = {name.partition("/")[0]: None if "/" in name else len(content) for name, content in found.items()}
        return [RemoteEntry(name, is_folder=size is None, size=size) for name, size in sizes.items()]

    tree = RemoteTree(listed, lambda folder: FilesAt(folder, inside(folder)))
    return RemotePath(address, tree, is_folder=True)
