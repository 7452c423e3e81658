# ruff: noqa: S101 - asserts are what a contract is made of
"""The contract of formats."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, cast

import pytest
from slideloom.base.addresses import Address
from slideloom.steps.format import Format

from slideloom_testing.contracts.base import entry_module_of, heavy_imports
from slideloom_testing.remote import path_at


class FormatContract:
    """What holds for every format.

    Attributes:
        format: the format under test.
    """

    format: ClassVar[Format]

    def test_the_name_is_there_for_messages(self) -> None:
        """Such as "TIFF"."""
        assert isinstance(self.format, Format)
        assert self.format.name.strip() == self.format.name != ""

    def test_the_class_says_what_the_format_is(self) -> None:
        """The docstring is for readers of the code, and for the reference."""
        assert (type(self.format).__doc__ or "").strip()

    def test_extensions_are_endings_in_lower_case(self) -> None:
        """They are compared with the ends of names, in lower case."""
        extensions = self.format.extensions
        assert isinstance(extensions, tuple)
        assert [each for each in extensions if not each.startswith(".") or each != each.lower() or len(each) < 2] == []

    def test_a_file_with_one_of_its_extensions_is_found_in_a_folder_and_a_folder_so_named_is_not(
        self, tmp_path: Path
    ) -> None:
        """Whatever is in the file: a damaged one must be reported by a reader, and not left out."""
        for number, extension in enumerate(self.format.extensions):
            for path in (tmp_path / f"{number}{extension}", tmp_path / f"{number}{extension.upper()}"):
                path.write_bytes(b"damaged")
                assert self.format.slides_of(path, is_named=False) == [path]
            folder = tmp_path / "folders" / f"{number}{extension}"
            folder.mkdir(parents=True)
            assert self.format.slides_of(folder, is_named=False) is None

    def test_of_files_of_other_formats_it_says_nothing(self, tmp_path: Path) -> None:
        """Whatever is in them: nothing, text, or bytes that mean nothing."""
        for name, content in (("empty", b""), ("notes.txt", b"no slide"), ("bytes.bin", bytes(range(256)) * 8)):
            path = tmp_path / name
            path.write_bytes(content)
            self._knows_nothing_of(path)
            assert path.read_bytes() == content

    def test_of_what_is_not_there_and_of_folders_it_says_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Files may vanish between two questions, and the current folder has no name."""
        monkeypatch.chdir(tmp_path)
        for path in (tmp_path / "gone.txt", tmp_path, Path(), Path("..")):
            self._knows_nothing_of(path)

    def test_of_files_of_other_formats_at_addresses_it_says_nothing(self) -> None:
        """If it takes addresses, whatever is in the files; and files so named are its own, as on a disk."""
        if not self.format.takes_addresses:
            return
        named = [f"{number}{extension}" for number, extension in enumerate(self.format.extensions)]
        others = {"empty": b"", "notes.txt": b"no slide", "more/bytes.bin": bytes(range(256)) * 8}
        home = path_at(Address("memory://folder"), {**others, **dict.fromkeys(named, b"damaged")})
        for path in (
            home,
            home / "empty",
            home / "notes.txt",
            home / "more",
            home / "more" / "bytes.bin",
            home / "gone",
        ):
            asked = cast("Path", path)
            assert not self.format.recognises(asked)
            assert self.format.slides_of(asked, is_named=False) is None
            assert self.format.slides_of(asked, is_named=True) is None
            assert list(self.format.parts(asked)) == []
        for path in (home / name for name in named):
            assert list(self.format.slides_of(cast("Path", path), is_named=False) or ()) == [cast("Path", path)]

    def _knows_nothing_of(self, path: Path) -> None:
        assert not self.format.recognises(path)
        assert self.format.slides_of(path, is_named=False) is None
        assert self.format.slides_of(path, is_named=True) is None
        assert list(self.format.parts(path)) == []
        assert self.format.refusal(path) is None
        assert self.format.advice(path, ["another"]) is None

    def test_the_entry_module_imports_nothing_heavy(self) -> None:
        """Formats are made when plugins are listed; what looks into files is imported in their methods."""
        module = type(self.format).__module__
        entry = entry_module_of(module.split(".")[0]) or module
        assert heavy_imports((entry,)) == []
