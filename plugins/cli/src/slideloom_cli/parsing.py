"""The parser of the command line: it answers an unknown flag with the one that may be meant, and checks paths."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from slideloom.base.addresses import Address, local_path, place_of, redacted
from slideloom.base.errors import ConfigError
from slideloom.settings.field_names import near


class Parser(argparse.ArgumentParser):
    """As `argparse` has it, with hints. An option of type `Path` refuses addresses such as `s3://bucket/out`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # Any: those of argparse
        super().__init__(*arguments, **options)
        self.register("type", Path, _local)

    def error(self, message: str) -> NoReturn:
        """As `argparse`, without the secrets of addresses."""
        super().error(redacted(message))

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


def slide_place(text: str) -> Path | Address:
    """The type of an argument that is a slide: a file or folder, or an address."""
    return place_of(text)


def _local(text: str) -> Path:
    try:
        return local_path(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
