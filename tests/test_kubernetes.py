"""The manifest of the docs for Kubernetes: right by its schema, and the command of each pod does its share."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import slideloom as sl
from slideloom_testing.fixtures import DemoFiles

yaml = pytest.importorskip("yaml", reason="needs pip install PyYAML")
PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "cohort.md"


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    found = re.search(r"```yaml\n(apiVersion: batch/v1.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    manifest: dict[str, Any] = yaml.safe_load(found[1])
    return manifest


def test_the_manifest_fits_the_schema_of_kubernetes(job: dict[str, Any]) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="needs pip install kubernetes-validate")

    kubernetes_validate.validate(job, "1.31", strict=True)

    job["spec"]["template"]["spec"]["containers"][0]["comand"] = ["sh"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.31", strict=True)
    del job["spec"]["template"]["spec"]["containers"][0]["comand"]


@pytest.mark.skipif(os.name == "nt", reason="pods run Linux")
def test_the_pods_together_do_every_slide_once(job: dict[str, Any], demo_slide: DemoFiles, tmp_path: Path) -> None:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    pods = job["spec"]["completions"]
    slides = tmp_path / "slides"
    slides.mkdir()
    for number in range(5):
        shutil.copy(demo_slide.path, slides / f"s{number}.svs")
    (tools := tmp_path / "tools").mkdir()
    (tools / "slideloom").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m slideloom "$@"\n')
    (tools / "slideloom").chmod(0o755)

    done = [
        subprocess.run(
            [*container["command"], *(text.replace("/data", str(tmp_path)) for text in container["args"])],
            env={**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "JOB_COMPLETION_INDEX": str(index)},
            capture_output=True,
            text=True,
            check=False,
        )
        for index in range(pods)
    ]

    assert [each.returncode for each in done] == [0] * pods, done[0].stderr
    shares = [re.findall(r"done +(s\d):", each.stderr) for each in done]
    assert sorted(name for share in shares for name in share) == [f"s{number}" for number in range(5)]
    assert all(shares)
    reports = [sl.SlideReport.load(path) for path in (tmp_path / "out").glob("slideloom/*/slides/*.json")]
    assert {report.slide for report in reports} == {f"s{number}" for number in range(5)}
