"""PDF reports of runs, dry runs and folders of stored tiles.

`write_report` reports on a run, `write_stored_report` on a folder, `merged_report` on several.
`cohort_of` and `cohorts_in` give its subject.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME_OF = {
    "Cohort": "cohort",
    "cohort_of": "cohort",
    "cohorts_in": "cohort",
    "merged_report": "stored",
    "write_report": "document",
    "write_stored_report": "stored",
    "write_tables": "tables",
}

__all__ = ["Cohort", "cohort_of", "cohorts_in", "merged_report", "write_report", "write_stored_report", "write_tables"]

if TYPE_CHECKING:
    from slideloom_report.cohort import Cohort, cohort_of, cohorts_in
    from slideloom_report.document import write_report
    from slideloom_report.stored import merged_report, write_stored_report
    from slideloom_report.tables import write_tables


def __getattr__(name: str) -> Any:  # Any: a module attribute of any kind
    if name not in _HOME_OF:
        raise AttributeError(f"module 'slideloom_report' has no attribute {name!r}")
    return getattr(import_module(f"slideloom_report.{_HOME_OF[name]}"), name)
