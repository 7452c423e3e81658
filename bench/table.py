"""The results as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Section, contestant, base, largest ratio: the goals of the project on two cores.
GOALS = {
    ("near", "slideloom"): 1.6,
    ("far", "slideloom"): 2.7,
    ("steps", "macenko"): 7.0,
}
TO_OPENSLIDE, MEMORY_MB = 2.3, 300


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
        return table([*listed[0]], [[*row.values()] for row in listed])
    header = ["what", "wall s", "cpu s", "tiles"]
    bases = [key for key in ("to_floor", "to_slideloom", "to_plain") if key in found]
    for base in bases:
        header += [f"wall {base.replace('_', ' ')}", f"cpu {base.replace('_', ' ')}"]
    rows = []
    for label, times in found["times"].items():
        row = [label, times["wall_s"], times["cpu_s"], times["tiles"]]
        for base in bases:
            row += [found[base][label]["wall"], found[base][label]["cpu"]]
        rows.append(row)
    lines = table(header, rows)
    for (section, label), most in GOALS.items():
        if section == name:
            lines.append(f"\nGoal: {label} at most {most} x the floor.")
    if "to_slideloom" in found and "openslide per tile" in found["to_slideloom"]:
        lines.append(f"Goal: openslide per tile at least {TO_OPENSLIDE} x slideloom.")
        lines.append(f"Peak memory {found['memory']['peak_mb']:.0f} MB (goal {MEMORY_MB}).")
    for key in ("two_threads", "two_jobs", "first_tile_s", "to_decode"):
        if key in found:
            lines.append(f"\n{key.replace('_', ' ')}: {found[key]}")
    return lines


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return lines


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
