"""The `slideloom` command."""
