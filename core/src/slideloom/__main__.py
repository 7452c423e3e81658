"""`python -m slideloom` is the same as the `slideloom` command."""

from slideloom.cli import entry

if __name__ == "__main__":
    entry()
