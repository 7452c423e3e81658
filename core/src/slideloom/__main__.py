"""`python -m slideloom` is the same as the `slideloom` command."""

import sys
from importlib import import_module
from importlib.util import find_spec

if __name__ == "__main__":
    if find_spec("slideloom_cli") is None:
        sys.exit(
            "slideloom: the command line comes with slideloom-cli, which is not installed: pip install slideloom-cli"
        )
    import_module("slideloom_cli.main").entry()
