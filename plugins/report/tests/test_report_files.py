"""Where reports are written, what they may replace, and what importing the package costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pymupdf
import pytest
import slideloom_report
from slideloom import ConfigError, OutputError, SlideReport
from slideloom_report import Cohort, write_report, write_stored_report
from slideloom_report.files import unused
from slideloom_report.plugin import slideloom_commands

PACKAGE = Path(slideloom_report.__file__).parent


def cohort(*names: str) -> Cohort:
    slides = (SlideReport(slide=name, path="", status="done", label="64px_64um") for name in names)
    return Cohort(out=Path("out"), label="64px_64um", kind="run", slides=tuple(slides))


def command(*words: str) -> int:
    (report,) = slideloom_commands()
    parser = ArgumentParser()
    report.configure(parser)
    return report.run(parser.parse_args(list(words)))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_program_gets_the_file_it_asked_for_and_nothing_is_printed(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new folder" / "mine.pdf"

    assert write_stored_report(made.out, out, slides=[made.slide]) == out

    assert pymupdf.open(out).page_count == 2
    assert capsys.readouterr() == ("", "")


def test_the_command_says_what_it_wrote(made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(str(made.out), "--out", str(tmp_path / "r.pdf"), "--samples", "0") == 0

    assert capsys.readouterr().out == f"{tmp_path / 'r.pdf'}\n"
    assert "Sample tiles" not in "".join(page.get_text() for page in pymupdf.open(tmp_path / "r.pdf"))


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    path = tmp_path / "report-20250312-140500.pdf"
    assert unused(path) == path
    path.touch()
    (tmp_path / "report-20250312-140500-2.pdf").touch()

    assert unused(path).name == "report-20250312-140500-3.pdf"


def test_an_earlier_report_is_replaced(tmp_path: Path) -> None:
    write_report(cohort("first"), tmp_path / "r.pdf")
    write_report(cohort("second"), tmp_path / "r.pdf")

    assert "second" in pymupdf.open(tmp_path / "r.pdf")[-1].get_text()
    assert names_in(tmp_path) == ["r.pdf"]


@pytest.mark.parametrize("content", [b"", b"my thesis", b"%PDF-1.7 by somebody else", b"\0" * 100_000])
def test_a_file_of_somebody_else_is_never_replaced(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "r.pdf").write_bytes(content)

    with pytest.raises(OutputError, match=re.escape(f"{tmp_path / 'r.pdf'}: already exists")):
        write_report(cohort("a"), tmp_path / "r.pdf")

    assert (tmp_path / "r.pdf").read_bytes() == content
    assert names_in(tmp_path) == ["r.pdf"]


@pytest.mark.parametrize("change", [lambda old: old + b"a remark", lambda old: old.replace(b"/Title", b"/Titel")])
def test_a_report_that_somebody_has_edited_is_not_replaced(change: Any, tmp_path: Path) -> None:
    path = write_report(cohort("a"), tmp_path / "r.pdf")
    edited = change(path.read_bytes())
    path.write_bytes(edited)

    with pytest.raises(OutputError, match="move it away"):
        write_report(cohort("b"), path)

    assert path.read_bytes() == edited


def test_a_folder_or_a_link_to_nowhere_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder.pdf").mkdir()
    (tmp_path / "link.pdf").symlink_to(tmp_path / "nowhere")

    for name in ("folder.pdf", "link.pdf"):
        with pytest.raises(OutputError, match="already exists"):
            write_report(cohort("a"), tmp_path / name)

    assert names_in(tmp_path) == ["folder.pdf", "link.pdf"]


def test_a_report_that_fails_leaves_no_file(tmp_path: Path) -> None:
    broken = Cohort(tmp_path, "64px_64um", "run", cohort("a").slides, table={"tiles": {"stride_div": object}, "qc": 5})

    with pytest.raises(TypeError):
        write_report(broken, tmp_path / "r.pdf")

    assert names_in(tmp_path) == []


def test_what_cannot_be_reported_is_refused(made: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no slide reports and no TFRecords"):
        write_stored_report(tmp_path, tmp_path / "r.pdf")
    with pytest.raises(ConfigError, match="no such folder"):
        write_stored_report(tmp_path / "nowhere", tmp_path / "r.pdf")
    with pytest.raises(ConfigError, match="samples must be from 0 to 16, not 17"):
        write_report(cohort("a"), tmp_path / "r.pdf", samples=17)
    with pytest.raises(ConfigError, match="holds no tiles of 1px_1um; it holds 64px_64um"):
        command(str(made.out), "--label", "1px_1um")


def test_two_tile_sizes_are_two_reports_and_one_name_for_both_is_refused(made: Any, tmp_path: Path) -> None:
    for label in ("64px_64um", "64px_32um"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "demo.tfrecords").write_bytes(next(made.out.rglob("*.tfrecords")).read_bytes())

    with pytest.raises(ConfigError, match="holds 64px_32um, 64px_64um; choose one"):
        write_stored_report(tmp_path, tmp_path / "r.pdf")
    assert command(str(tmp_path)) == 0

    assert [name.rpartition("-")[2] for name in names_in(tmp_path) if name.endswith(".pdf")] == [
        "64px_32um.pdf",
        "64px_64um.pdf",
    ]


def test_what_a_plugin_is_asked_at_start_up_imports_nothing_heavy() -> None:
    code = "import sys, slideloom_report.plugin; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"reportlab", "PIL"} & set(found)


def test_no_two_modules_import_each_other() -> None:
    """Also not by way of others, and not within functions."""
    imports = {}
    for path in PACKAGE.glob("*.py"):
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        inner = [node for node in nodes if (node.module or "").startswith("slideloom_report")]
        names = {node.module.partition(".")[2] or alias.name for node in inner for alias in node.names if node.module}
        imports[path.stem] = names
    imports.pop("__init__")  # its names are found when they are asked for

    while free := [name for name, needs in imports.items() if not needs & set(imports)]:
        for name in free:
            del imports[name]

    assert not imports, f"a circle among {sorted(imports)}"
