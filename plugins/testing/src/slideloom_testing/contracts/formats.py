# ruff: noqa: S101 - asserts are what a contract is made of
"""The contract of formats."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from slideloom.steps.format import Format

from slideloom_testing.contracts.base import entry_module_of, heavy_imports


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

    def test_of_files_of_other_formats_it_says_nothing(self, tmp_path: Path) -> None:
        """Whatever is in them: nothing, text, or bytes that mean nothing."""
        for name, content in (("empty", b""), ("notes.txt", b"no slide"), ("bytes.bin", bytes(range(256)) * 8)):
            path = tmp_path / name
            path.write_bytes(content)
            assert self.format.refusal(path) is None, name
            assert self.format.advice(path, ["another"]) is None, name
            assert path.read_bytes() == content

    def test_of_what_is_not_there_and_of_folders_it_says_nothing(self, tmp_path: Path) -> None:
        """Files may vanish between two questions."""
        for path in (tmp_path / "gone.txt", tmp_path):
            assert self.format.refusal(path) is None
            assert self.format.advice(path, []) is None

    def test_the_entry_module_imports_nothing_heavy(self) -> None:
        """Formats are made when plugins are listed; what looks into files is imported in their methods."""
        module = type(self.format).__module__
        entry = entry_module_of(module.split(".")[0]) or module
        assert heavy_imports((entry,)) == []
