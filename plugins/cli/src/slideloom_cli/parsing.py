"""The parser of the command line, which answers an unknown flag with the one that may be meant."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from slideloom.settings.field_names import near


class Parser(argparse.ArgumentParser):
    """As `argparse` has it, with hints."""

    def parse_known_args(  # type: ignore[override]  # argparse types each of its ways to call it
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As `argparse`; a command tells of unknown flags itself, because it knows its own."""
        chosen, unknown = super().parse_known_args(args, namespace)
        if any(word.startswith("--") for word in unknown) and self._subparsers is None:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._hints(unknown)}")
        return chosen, unknown

    def _hints(self, unknown: Sequence[str]) -> str:
        known = [name.removeprefix("--") for name in self._option_string_actions if name.startswith("--")]
        flags = [word.partition("=")[0] for word in unknown if word.startswith("--")]
        hints = {flag: near(flag.removeprefix("--"), known).replace("mean '", "mean '--") for flag in flags}
        return "".join(f"; {flag}{hint}" for flag, hint in hints.items() if hint)
