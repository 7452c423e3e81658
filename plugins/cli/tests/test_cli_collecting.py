"""Garbage is looked for while a command runs, but not among what its start made; never in somebody else's process."""

from __future__ import annotations

import gc
import subprocess
import sys

from slideloom_cli.main import main

_RUN = """
import gc
from slideloom_cli.collecting import begin_collecting, collecting_put_off
with collecting_put_off():
    assert not gc.isenabled()
    kept = [[] for _ in range(1000)]
    begin_collecting()
    assert gc.isenabled()
    assert gc.get_freeze_count() >= 1000
    frozen = gc.get_freeze_count()
kept += [[] for _ in range(1000)]
begin_collecting()
assert gc.get_freeze_count() <= frozen
with collecting_put_off():
    pass
assert gc.isenabled()
"""


def test_a_command_collects_only_what_it_makes_after_its_start() -> None:
    subprocess.run([sys.executable, "-c", _RUN], check=True)


def test_a_caller_of_the_command_keeps_its_collector_as_it_is() -> None:
    enabled, frozen = gc.isenabled(), gc.get_freeze_count()

    assert main(["plugins"]) == 0

    assert gc.isenabled() == enabled
    assert gc.get_freeze_count() <= frozen  # of those that were left out before, some may be gone
