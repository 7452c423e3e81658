"""Test an installed distribution with its compiled loops, and then without: `python packaging/try_wheel.py core`.

It removes the loops from the environment that it runs in, so that is one made for it.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOOPS = {"core": "slideloom.pixels._kernels", "stain": "slideloom_stain._kernels"}
TESTS = {
    "core": [f"core/tests/test_{part}.py" for part in ("linear", "gray", "resampling", "mosaic_reader")],
    "stain": [f"plugins/stain/tests/test_stain_{part}.py" for part in ("loops", "methods", "steps", "value_range")],
}


def main(words: list[str]) -> int:
    """Run the tests twice; the exit code is that of the first run that fails."""
    name = words[0]
    file = _file_of(LOOPS[name])
    if file is None or file.is_relative_to(ROOT):
        print(f"{LOOPS[name]} is not installed here", file=sys.stderr)
        return 2
    for state in ("with", "without"):
        if state == "without":
            file.unlink()
        print(f"{name} {state} its loops", flush=True)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS[name]]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603 - our own tests
        if code:
            return code
    return 0


def _file_of(module: str) -> Path | None:
    found = importlib.util.find_spec(module)
    return None if found is None or found.origin is None else Path(found.origin)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
