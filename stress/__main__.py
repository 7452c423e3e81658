# ruff: noqa: T201 - a script prints
"""Campaigns against slideloom: `python -m stress [CAMPAIGN ...] [--most N] [--seed N] [--out FILE]`."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from functools import partial
from pathlib import Path

from stress import crew
from stress.campaigns import CAMPAIGNS, USUAL
from stress.reading import CASES
from stress.verdicts import Kind, Tally, Verdict

# Cases of one campaign; all of it takes about a quarter of an hour on two cores.
MOST = {"slides": 600, "texts": 6000, "disks": 500, "kills": 60, "misdeeds": 400}


def main(words: list[str] | None = None) -> int:
    """Run campaigns, print their counts, and return 1 if there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m stress", description=__doc__)
    parser.add_argument(
        "campaign", nargs="*", choices=[*CAMPAIGNS, []], help="which; by default all but those of single readers"
    )
    parser.add_argument("--most", type=int, help="cases of each campaign at most")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other cases (1)")
    parser.add_argument("--case", help="judge this case only, as a fault names it")
    parser.add_argument("--out", type=Path, help="store counts and faults as JSON")
    chosen = parser.parse_args(words)
    tallies = []
    for name in chosen.campaign or USUAL:
        started = time.monotonic()
        if chosen.case:
            tallies.append(crew.run_one(CAMPAIGNS[name], chosen.case))
        else:
            most = chosen.most or MOST.get(name, CASES)
            store = partial(_store, chosen, tallies)
            tallies.append(crew.run(CAMPAIGNS[name], seed=chosen.seed, most=most, tell=store))
        print(_line(tallies[-1], time.monotonic() - started), flush=True)
        _show_faults(tallies[-1])
        _store(chosen, tallies)
    return 1 if any(tally.faults for tally in tallies) else 0


def _store(chosen: argparse.Namespace, tallies: list[Tally], unfinished: Tally | None = None) -> None:
    """Write counts and faults, also of a campaign that still runs, to the file that was asked for."""
    if chosen.out:
        table = {tally.name: tally.as_table() for tally in (*tallies, *([unfinished] if unfinished else []))}
        chosen.out.write_text(json.dumps({"seed": chosen.seed, "campaigns": table}, indent=2) + "\n", encoding="utf-8")


def _show_faults(tally: Tally) -> None:
    """Each kind of fault once, with how often it came and a case to see it again."""
    kinds: dict[str, list[tuple[str, Verdict]]] = {}
    for case, verdict in tally.faults:
        kinds.setdefault(re.sub(r"[\d.]+|/\S+|\s+", " ", verdict.words)[-160:], []).append((case, verdict))
    for found in sorted(kinds.values(), key=len, reverse=True):
        case, verdict = found[0]
        words = " ".join(verdict.words.split())
        print(f"    {len(found)} x {verdict.kind.value}, such as --case {case!r}: {words[:400]}", flush=True)


def _line(tally: Tally, seconds: float) -> str:
    counts = ", ".join(f"{tally.counts[kind]} {kind.value}" for kind in Kind)
    unconfirmed = f" ({len(tally.unconfirmed)} of the right ones only in part confirmed)" if tally.unconfirmed else ""
    return f"{tally.name}: {tally.counts.total()} cases in {seconds:.0f} s: {counts}{unconfirmed}"


if __name__ == "__main__":
    sys.exit(main())
