"""The page as it is committed: built from the sources beside it, and within its content security policy."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

STUDIO = Path(__file__).parents[1]
PAGE = STUDIO / "page"
STATIC = STUDIO / "src" / "slideloom_studio" / "static"


def test_the_bundle_was_built_from_these_sources() -> None:
    folders = [path for name in ("src", "styles") for path in (PAGE / name).rglob("*") if path.is_file()]
    files = [PAGE / name for name in ("build.mjs", "index.html", "package.json", "studio.css")] + folders
    digest = hashlib.sha256()
    for name, path in sorted((path.relative_to(PAGE).as_posix(), path) for path in files):
        digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")

    bundle = (STATIC / "studio.js").read_text(encoding="utf-8")

    assert bundle.startswith(f"// sources {digest.hexdigest()}\n"), "run nox -s studio_js, and commit what it makes"


def test_the_html_holds_no_script_and_no_style_of_its_own() -> None:
    html = (STATIC / "index.html").read_text(encoding="utf-8")

    assert re.findall(r"<script[^>]*>(.+?)</script>", html) == []
    assert not re.search(r"<style|\sstyle=|\son\w+=|https?:", html)
    assert re.findall(r'(?:src|href)="([^"#]*)"', html) == ["data:,", "static/studio.css", "static/studio.js"]


def test_nothing_is_loaded_from_elsewhere() -> None:
    css = (STATIC / "studio.css").read_text(encoding="utf-8")

    assert re.findall(r"url\(|@import|https?:", css) == []


def test_versions_are_exact_and_their_licences_are_with_the_bundle() -> None:
    package = json.loads((PAGE / "package.json").read_text(encoding="utf-8"))
    versions = {**package["dependencies"], **package["devDependencies"], **package["overrides"]}
    licences = (STATIC / "LICENSES.txt").read_text(encoding="utf-8")

    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions.values())
    bundled = dict(re.findall(r"^(\S+) (\d+\.\d+\.\d+) \(", licences, flags=re.MULTILINE))
    assert bundled == package["dependencies"]
    assert not (PAGE / "package-lock.json").exists()


def test_the_modules_of_the_page_are_small() -> None:
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in (PAGE / "src").rglob("*.js")}

    assert {name: lines for name, lines in lengths.items() if lines > 300} == {}
