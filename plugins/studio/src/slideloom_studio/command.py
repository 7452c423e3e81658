"""`slideloom studio`."""

from __future__ import annotations

import argparse
import sys
import threading
import webbrowser
from pathlib import Path

from slideloom.base.errors import ConfigError
from slideloom_cli.options import add_extract_options

from slideloom_studio.guarding import is_loopback
from slideloom_studio.opening import asked_opening

_LARGEST_PORT = 65535


def configure_studio(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom studio`: those of `slideloom extract` that describe a pipeline, and where to serve it."""
    text = "slides (files, folders or patterns), a project, a pipeline file, or the output folder of a run"
    parser.add_argument("slides", nargs="*", metavar="SLIDES", help=text)
    parser.add_argument("--out", type=Path, metavar="DIR", help="output folder of runs and of review.csv")
    page = parser.add_argument_group("page")
    page.add_argument("--port", type=_port, default=0, metavar="N", help="port (a free one)")
    page.add_argument("--host", default="127.0.0.1", help="address to listen at (this machine only)")
    page.add_argument(
        "--expose", action="store_true", help="allow a --host that other machines reach; they see the slides"
    )
    page.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")
    page.add_argument("--read-only", action="store_true", help="write nothing: no regions, no review, no run")
    page.add_argument("--pictures", action="store_true", help="also show label and macro images, which may hold names")
    add_extract_options(parser, needs_size=False)


def run_studio(chosen: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    if not is_loopback(chosen.host) and not chosen.expose:
        raise ConfigError(
            f"--host {chosen.host}: other machines could reach it, and see the slides; add --expose if they may"
        )
    opening = asked_opening(chosen)

    from slideloom_studio.serving import Server
    from slideloom_studio.studio import Studio

    studio = Studio(opening)
    server = Server(studio, host=chosen.host, port=chosen.port)
    if not is_loopback(chosen.host):
        warning = "whoever can reach this machine and knows the address sees the slides; nothing is encrypted"
        print(f"warning: {warning}", file=sys.stderr)
    count = len(opening.entries)
    print(f"{count} slide{'' if count == 1 else 's'}; regions in {opening.roi or 'no folder'}", file=sys.stderr)
    print(server.url, flush=True)
    threading.Thread(target=studio.warm_up, name="slideloom-warm-up", daemon=True).start()
    if not chosen.no_browser:
        webbrowser.open(server.url)
    print("Ctrl-C ends the studio", file=sys.stderr)
    try:
        server.serve()
    except KeyboardInterrupt:  # how a studio ends
        print(file=sys.stderr)
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to {_LARGEST_PORT}, not {text!r}")
    return int(text)
