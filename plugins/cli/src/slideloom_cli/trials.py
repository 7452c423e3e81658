"""Words for what a run that only tries would do."""

WOULD = {
    "dry-run": " would be written",
    "plan-only": " left for tile filters and normalizer to decide on",
}
"""What is true of the tiles that a trial leaves, by the trial's name."""
