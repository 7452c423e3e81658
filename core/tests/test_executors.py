"""The core's executors keep the contract that those of plugins keep."""

from __future__ import annotations

from slideloom.plugins.builtin import InProcess, Processes
from slideloom_testing import ExecutorContract


class TestInProcess(ExecutorContract):
    settings = InProcess()
    has_workers = False


class TestProcesses(ExecutorContract):
    settings = Processes(jobs=2)
