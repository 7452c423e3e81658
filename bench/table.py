"""The results as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.goals import HEADER, goal_rows


def as_text(result: Mapping[str, Any]) -> str:
    """Markdown tables of every section that was run."""
    about, sections = result["about"], result["sections"]
    machine = f"{about['machine']}, Python {about['python']}, load {about['load_before']} before"
    lines = [f"Benchmarks of {about['started']}: {machine}, medians of {about['rounds']} rounds."]
    for name, found in sections.items():
        lines += ["", f"## {name}", ""]
        lines += _section(name, found)
    return "\n".join([*lines, ""])


def _section(name: str, found: Mapping[str, Any]) -> list[str]:
    if listed := found.get("slides") or found.get("rows"):
        lines = table([*listed[0]], [[*row.values()] for row in listed])
    else:
        lines = _contestants(found)
    for key in ("two_threads", "two_jobs", "each_first_tile_s", "to_decode"):
        if key in found:
            lines.append(f"\n{key.replace('_', ' ')}: {found[key]}")
    goals = goal_rows(name, found)
    return [*lines, "", *table(HEADER, goals)] if goals else lines


def _contestants(found: Mapping[str, Any]) -> list[str]:
    header = ["what", "wall s", "cpu s", "tiles"]
    bases = [key for key in ("to_floor", "to_slideloom", "to_plain", "to_dearest", "speed") if key in found]
    for base in bases:
        header += [f"wall {base.replace('_', ' ')}", f"cpu {base.replace('_', ' ')}"]
    rows = []
    for label, times in found["times"].items():
        row = [label, times["wall_s"], times["cpu_s"], times["tiles"]]
        for base in bases:
            row += [found[base].get(label, {}).get(kind, "") for kind in ("wall", "cpu")]
        rows.append(row)
    return table(header, rows)


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return lines


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
