"""Tables for the documentation from the reports of `focus_table.py` and `train_bundled.py`, in Markdown.

usage: python focus_page.py --before BEFORE.json --after AFTER.json --folds folds-compact.safetensors
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from fields import FIELDS
from numpy.typing import NDArray
from safetensors.numpy import load_file
from slideloom_deepfocus.sharpness import threshold_of

RADII = ("0", "1", "2", "3", "4")
Report = dict[str, dict[str, dict[str, float]]]


def percent(share: float) -> str:
    """Without decimals; what is not nothing does not read 0."""
    return "-" if np.isnan(share) else "<1" if 0 < share < 0.005 else f"{100 * share:.0f}"


def field_rows(before: Report, after: Report) -> list[str]:
    """Share of cells discarded at sharp, 1, 2, 3 and 4 um, by field and step."""
    columns = ("gaussian-v2 4", "gaussian-v2 2", "gaussian-v2 1")
    rows = [
        "| field | cells | `gaussian-v2`, mpp 4 | mpp 2 | mpp 1 | `deepfocus` before | now, 0.5 | now, auto |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, old in before.items():
        shares = [[old[f"{radius} um"][column] for radius in RADII] for column in (*columns, "deepfocus 0.5")]
        shares += [[after[name][f"{r} um"][column] for r in RADII] for column in ("deepfocus 0.5", "deepfocus")]
        cells = " | ".join(" ".join(map(percent, row)) for row in shares)
        rows.append(f"| {name} | {old['0 um']['cells']:.0f} | {cells} |")
    return rows


def median_rows(before: Report, after: Report) -> list[str]:
    """The median over the fields of the share discarded, and the least and the most, by step."""
    rows = ["| step | in focus | 1 um | 2 um | 3 um | 4 um |", "|---|---|---|---|---|---|"]
    for step, report, column in (
        ("`gaussian-v2` (mpp 4)", before, "gaussian-v2 4"),
        ("`gaussian-v2`, `mpp = 2`", before, "gaussian-v2 2"),
        ("`gaussian-v2`, `mpp = 1`", before, "gaussian-v2 1"),
        ("`deepfocus`, `threshold = 0.5`", after, "deepfocus 0.5"),
        ("`deepfocus`", after, "deepfocus"),
    ):
        shares = np.array([[rows_of[f"{radius} um"][column] for radius in RADII] for rows_of in report.values()])
        middle, least, most = np.median(shares, axis=0), shares.min(axis=0), shares.max(axis=0)
        texts = (f"{percent(m)}% ({percent(a)}-{percent(b)})" for m, a, b in zip(middle, least, most, strict=True))
        rows.append(f"| {step} | " + " | ".join(texts) + " |")
    return rows


def origin_rows(scores: dict[str, NDArray[np.float32]]) -> list[str]:
    """Figures of held-out tiles by origin; the threshold "auto" is that of each field, half of it at 3 um."""
    columns = (
        "origin (held out)", "tiles", "AUROC 2 um", "AUROC 3 um", "sharp discarded at 90% of 3 um", "at 0.5", "at auto",
        "2 um found at 0.5", "3 um found at 0.5", "at auto",
    )  # fmt: skip
    rows = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    origin_of = {field.name: field.origin for field in FIELDS}
    names = sorted({key.split("|")[0] for key in scores})
    for origin in dict.fromkeys(origin_of[name] for name in names):
        here = [name for name in names if origin_of[name] == origin]
        sharp, two, three = (np.concatenate([scores[f"{name}|{r}|1"] for name in here]) for r in "023")
        thresholds = [chosen(scores[f"{name}|0|1"], scores[f"{name}|3|1"]) for name in here]
        kept = np.concatenate([scores[f"{n}|0|1"] > t for n, t in zip(here, thresholds, strict=True)])
        found = np.concatenate([scores[f"{n}|3|1"] > t for n, t in zip(here, thresholds, strict=True)])
        shares = ((sharp > np.quantile(three, 0.1)), sharp > 0, kept, two > 0, three > 0, found)
        texts = " | ".join(f"{100 * share.mean():.1f}%" for share in shares)
        rows.append(f"| {origin} | {len(sharp)} | {auroc(sharp, two):.4f} | {auroc(sharp, three):.4f} | {texts} |")
    return rows


def chosen(sharp: NDArray[np.float32], soft: NDArray[np.float32]) -> float:
    """The log odds that "auto" would choose for a slide of which half is out of focus."""
    both = np.concatenate([sharp, soft]).astype(np.float64)
    threshold = threshold_of((1 / (1 + np.exp(-both))).astype(np.float32))
    return float(np.log(threshold / (1 - threshold)))


def auroc(negative: NDArray[np.float32], positive: NDArray[np.float32]) -> float:
    """Probability that a positive outranks a negative; ties count half."""
    ordered = np.sort(negative)
    low, high = np.searchsorted(ordered, positive, "left"), np.searchsorted(ordered, positive, "right")
    return float(((low + high) / 2).mean() / len(negative))


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--after", type=Path, required=True)
    parser.add_argument("--folds", type=Path, required=True)
    args = parser.parse_args()
    before, after = (json.loads(path.read_text()) for path in (args.before, args.after))
    scores = {
        name.removeprefix("scores/"): array
        for name, array in load_file(args.folds).items()
        if name.startswith("scores/")
    }
    parts = (field_rows(before, after), median_rows(before, after), origin_rows(scores))
    sys.stdout.write("\n\n".join("\n".join(part) for part in parts) + "\n")


if __name__ == "__main__":
    main()
