"""Every code block of the README and the documentation is run, in the order of its page.

Python blocks share one namespace per page, console lines go through the command line's own `main`, and TOML blocks are
loaded as pipeline files. Two HTML comments steer this, invisible to readers:

    <!-- setup              Python that runs first, for names that a page takes for granted
    <!-- not run: reason    before a block that is not run; how many there are is tested
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path
from types import ModuleType
from typing import Any

import matplotlib as mpl
import pytest
from attrs import frozen
from slideloom import WSI, Slide
from slideloom.pipeline.file import pipeline_from_table
from slideloom_cli.main import main
from slideloom_testing.fixtures import DemoFiles

ROOT = Path(__file__).parents[1]
# Pages that are made out of the code; their blocks are signatures.
MADE = sorted(run_path(str(ROOT / "docs/gen_reference.py"))["PAGES"])
PAGES = [
    ROOT / "README.md",
    *sorted(
        path
        for path in ROOT.glob("docs/**/*.md")
        if "examples" not in path.parts and path.relative_to(ROOT / "docs").as_posix() not in MADE
    ),
]
# Raise this only with a reason that a reader would accept.
MOST_NOT_RUN = 6
SLOW = {"first-tiles.md"}  # it trains a classifier
_PIECE = re.compile(
    r"^<!-- (?P<word>setup|check:|not run:)(?P<said>.*?)-->$|^(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
# Lines of console blocks that are not ours to run: they install, move, or start other programs.
_OTHERS = ("pip", "cd", "git", "nox", "pytest", "python")
# It reads nothing of a page, and imports TensorFlow in a process of its own: a test by itself runs it once.
_DOCTOR = ["slideloom", "doctor"]
_LANGUAGES = {"python", "toml", "console", "bash", "", "text", "json", "yaml"}


@frozen
class Block:
    """A piece of a page: its language ("setup" and "check" for comments), its text, and its line."""

    language: str
    text: str
    line: int
    reason_not_run: str = ""


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    reason = ""
    for match in _PIECE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if match["word"] == "not run:":
            reason = match["said"].strip()
            assert reason, f"{page.name}:{line}: say why the block is not run"
        elif match["word"]:
            yield Block(match["word"].rstrip(":"), match["said"].strip(), line)
        else:
            assert match["language"] in _LANGUAGES, f"{page.name}:{line}: what is {match['language']}?"
            code = re.sub(f"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
            yield Block(match["language"], code, line, reason)
            reason = ""


class Reader:
    """Somebody who follows a page, in a folder of their own."""

    def __init__(self, page: Path, folder: Path) -> None:
        self._page = page
        self._folder = folder
        self._module = ModuleType("page")  # so that settings can name a step of the page
        self._names: dict[str, Any] = vars(self._module)

    def follow(self) -> None:
        blocks = list(blocks_of(self._page))
        for block in blocks:
            if block.language == "toml" and "slideloom = 1" in block.text:
                (self._folder / "pipeline.toml").write_text(block.text, encoding="utf-8")
                break
        sys.modules["page"] = self._module
        try:
            for block in blocks:
                if not block.reason_not_run:
                    self._do(block)
        finally:
            del sys.modules["page"]
            for value in self._names.values():
                if isinstance(value, Slide | WSI):
                    value.close()

    def _do(self, block: Block) -> None:
        place = f"{self._page.name}:{block.line}"
        if block.language in ("setup", "python"):
            padding = "\n" * block.line  # so that a traceback shows the line of the page
            exec(compile(padding + block.text, place, "exec"), self._names)
        elif block.language == "check":
            assert eval(block.text, self._names), f"{place}: {block.text}"
        elif block.language == "toml":
            self._load(block.text, place)
        elif block.language in ("console", "bash", ""):
            self._type(block.text, place)

    def _load(self, text: str, place: str) -> None:
        table = tomllib.loads(text)
        if "project" in table:
            return
        table.setdefault("slideloom", 1)
        table.setdefault("tiles", {"size_px": 100, "size_um": 100})
        pipeline_from_table(table, where=place, base=self._folder)

    def _type(self, text: str, place: str) -> None:
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if not words or words[0] in _OTHERS or words == _DOCTOR:
                continue
            assert words[0] == "slideloom", f"{place}: {line}"
            assert main([part for word in words[1:] for part in self._expanded(word)]) == 0, f"{place}: {line}"

    def _expanded(self, word: str) -> list[str]:
        """As a shell does it."""
        found = sorted(Path().glob(word)) if "*" in word else []
        return [str(path) for path in found] or [word]


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if page.name in SLOW else ()) for page in PAGES],
    ids=[page.relative_to(ROOT).as_posix() for page in PAGES],
)
def test_every_block_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, demo_slide: DemoFiles
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["page"])
    mpl.use("Agg")
    if page.name != "first-tiles.md":  # the tutorial makes its own slides
        supplies(tmp_path, demo_slide)

    Reader(page, tmp_path).follow()


def supplies(folder: Path, demo: DemoFiles) -> None:
    """The files that pages speak of."""
    content = demo.path.read_bytes()
    for place in ("a.svs", "slides/a.svs", "slides/b.svs"):
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_bytes(content)
    regions = (demo.rois / "demo.geojson").read_bytes()
    for place in ("rois", "annotations"):
        (folder / place).mkdir()
        for slide in "ab":
            (folder / place / f"{slide}.geojson").write_bytes(regions)
    (folder / "labels.csv").write_text("patient,slide,response\nP1,a,yes\nP2,b,no\n", encoding="utf-8")


def test_the_doctor_that_pages_call_finds_no_fault() -> None:
    assert main(_DOCTOR[1:]) == 0


@pytest.mark.slow
def test_the_demo_prints_the_account_that_the_tutorial_shows(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tutorial" / "first-tiles.md").read_text(encoding="utf-8")
    shown = re.search(r"^```text\n(tiles .*?)^```$", page, re.MULTILINE | re.DOTALL)

    done = subprocess.run(
        [sys.executable, "-m", "slideloom", "demo"], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    told = [line.split() for line in (done.stdout + done.stderr).splitlines()]
    assert shown is not None
    wanted = [line.split() for line in shown[1].splitlines()]
    assert [line for line in wanted if line not in told] == []


def test_few_blocks_are_not_run() -> None:
    skipped = [
        f"{page.name}:{block.line}: {block.reason_not_run}"
        for page in PAGES
        for block in blocks_of(page)
        if block.reason_not_run
    ]

    assert len(skipped) <= MOST_NOT_RUN, "\n".join(skipped)


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gen_reference", ROOT / "docs" / "gen_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_has_every_hook_with_its_arguments(reference: ModuleType) -> None:
    import inspect

    from slideloom.plugins import hookspecs

    page = reference.hooks_page()
    specs = [name for name in vars(hookspecs) if name.startswith("slideloom_")]

    assert len(specs) >= 13
    for name in specs:
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        function = getattr(hookspecs, name)
        assert (inspect.getdoc(function) or "").split("\n")[0] in section
        for argument in inspect.signature(function).parameters:
            assert f"{argument}:" in section, f"{name}: {argument}"


def test_the_reference_has_every_step_with_its_options(reference: ModuleType) -> None:
    from slideloom.plugins.discovery import registry
    from slideloom.plugins.hookspecs import KINDS
    from slideloom.settings.options import options_of

    page = reference.settings_page()
    for kind in KINDS:
        for cls in registry().all(kind):
            section = page.partition(f"\n### {kind} {cls.name}\n")[2].partition("\n### ")[0]
            assert all(f"`{option}`" in section for option in options_of(cls)), f"{kind} {cls.name}"


def test_the_reference_has_every_command(reference: ModuleType) -> None:
    page = reference.command_line_page()

    for name in ("extract", "run", "check", "tiles", "tissue", "info", "plugins", "doctor", "demo", "new-plugin"):
        assert f"\n## slideloom {name}\n" in page
    assert set(reference.command_names()) >= {"segment", "report"}


@pytest.mark.parametrize("page", MADE)
def test_a_page_made_out_of_the_code_is_that_of_the_code(reference: ModuleType, page: str) -> None:
    kept = (ROOT / "docs" / page).read_text(encoding="utf-8")

    assert kept == reference.PAGES[page](), "run: python docs/gen_reference.py docs"


def test_every_page_is_in_the_navigation(reference: ModuleType) -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    written = {path.relative_to(ROOT / "docs").as_posix() for path in PAGES[1:]}

    assert {page for page in written | set(reference.PAGES) if page not in text} == set()


def test_links_of_the_readme_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))

    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
