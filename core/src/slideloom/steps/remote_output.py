"""The contract for outputs at an address: a run works in a local folder, and finished files are put at the address."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence


class RemoteOutput(ABC):
    """Puts files of a local folder at an address, under their names in the folder.

    It never replaces or removes what is there, unless a record says that it was put there by it, and what is there is
    still what the record says. Records are files like others, kept at the address and in the folder.
    """

    @abstractmethod
    def publish(
        self,
        record: str,
        files: Sequence[str],
        *,
        last: str,
        within: Collection[str] = (),
        staying: Collection[str] | None = None,
    ) -> None:
        """Put files at the address, and look whether they have arrived whole. What is there already is not put again.

        Called for a slide or for the files of a run, never twice at a time. If it fails, a later call with the same
        record goes on where it ended: files that it names, and that are in the folder still, are put with the others.

        Args:
            record: name of the record of these files.
            files: their names, relative to the folder, with forward slashes.
            last: the one of them that says that the others are there. It is put after them, and if any of them changes,
                it is removed before. "" for none.
            within: files, and folders without their last slash. What the record names of these, and is not in `files`
                any more, is removed.
            staying: files and folders without their last slash. What the record names elsewhere, and is no more in the
                folder, is removed, too. None if nothing elsewhere is removed.

        Raises:
            OutputError: the address cannot be written, or other things have the names of files.
        """

    @abstractmethod
    def close(self) -> None:
        """Let other runs use the address; called once, and raises nothing."""
