"""The contract of formats: which files make a slide, and what is said of a file that no reader takes."""

from __future__ import annotations

from abc import ABC
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import ClassVar


class Format(ABC):
    """A format of slides, as finding and opening them needs to know it.

    What no installed format knows goes to the readers as it is: a file that is named is one slide, whatever lies beside
    it. One object is made when plugins are listed, so heavy modules are imported in its methods. They may be called
    from several threads at once, never change a file, and raise nothing for a file of another format.

    Attributes:
        name: for messages, such as "TIFF".
        extensions: endings of its files, in lower case and with their dots. Files so named are looked for in folders.
        folder_extensions: endings of folders that are slides, in lower case and with their dots. At an address, nothing
            else tells a folder from a file.
        reader: the distribution that brings a reader of it, for the advice to install that; "" for no advice.
        is_series: True if a slide is a series of files, each of which stands for it, usually in a folder of their own.
            These are looked for in folders below a given one, too, and one file alone is not copied from an address.
        is_picture: True if such files are as likely tiles as slides, so that no folder is taken for one of slides
            because of them.
        parts_look_like_slides: True if `parts` are files that are taken for slides of their own where they lie alone.
        takes_addresses: True if `recognises`, `slides_of` and `parts` take a `RemotePath` as well as a `Path`, and then
            return such ones, so that slides of several files are found and copied where they are not local. It has the
            methods of `Path` that slideloom's own formats need; of a file that is opened, only what is read is asked
            for. Otherwise files at addresses are known by their names alone, and `parts` is called for a copy of the
            slide's first file.
        readers_say_more: True if a reader tells more exactly than `refusal` what it does not take of this format, so
            that `refusal` is called only if no reader says anything.
    """

    name: ClassVar[str]
    extensions: ClassVar[tuple[str, ...]] = ()
    folder_extensions: ClassVar[tuple[str, ...]] = ()
    reader: ClassVar[str] = ""
    is_series: ClassVar[bool] = False
    is_picture: ClassVar[bool] = False
    parts_look_like_slides: ClassVar[bool] = False
    takes_addresses: ClassVar[bool] = False
    readers_say_more: ClassVar[bool] = False

    def has_ending(self, path: Path) -> bool:
        """True if the name of a file ends with one of `extensions`."""
        return path.name.lower().endswith(self.extensions)

    def recognises(self, path: Path) -> bool:
        """True if a file or folder is of this format, by its content. Called where `reader` or `is_series` is set."""
        return False

    def slides_of(self, path: Path, *, is_named: bool) -> Sequence[Path] | None:
        """The slides that a file or folder stands for; None if it is of another format.

        That is itself, or for a file of a series the one file that stands for the slide, or nothing if it only belongs
        to a slide. By default a file is a slide if it is named by one of `extensions`.

        Args:
            path: what was found, or named.
            is_named: True if somebody named it. Else it was found in a folder, and only files with names of this
                format may be looked into, because folders hold many.
        """
        return [path] if self.has_ending(path) and not path.is_dir() else None

    def parts(self, path: Path) -> Sequence[Path]:
        """The other files of the slide that a file stands for, in order; none if it is whole, or of another format.

        They are copied with it, and a slide whose parts have changed is processed again. Of an address, a part that is
        named and not there may be among them: copying says so. Of a copy of the first file (see `takes_addresses`),
        parts that are not there yet are copied from beside that.

        Raises:
            OSError: it cannot be read.
            Unlisted: which files there are is unknown, because the store of an address does not list them.
        """
        return ()

    def refusal(self, path: Path) -> str | None:
        """Why no reader takes a file of this format, and what to do; None if it may be readable, or another format.

        Called for a file that no reader recognises. The text goes on after the file's name and a colon.
        """
        return None

    def advice(self, path: Path, readers: Collection[str]) -> str | None:
        """What a file is, and what would read it; None if there is nothing to say, or it is of another format.

        Called if no `refusal` explains why no reader recognises a file.

        Args:
            path: of the file.
            readers: names of the readers that were asked.
        """
        return None
