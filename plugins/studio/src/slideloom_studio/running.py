"""Requests for runs and their report."""

from __future__ import annotations

import base64
import hashlib
import re

from starlette.responses import Response
from starlette.routing import Route

from slideloom_studio.calls import Call, Refused, endpoint, json_answer
from slideloom_studio.studio import Studio

_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


class Running:
    """Answers requests for runs."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def routes(self) -> list[Route]:
        """The routes below `api/`."""
        return [
            Route("/api/run", endpoint(self.run), methods=["GET"]),
            Route("/api/run", endpoint(self.start), methods=["POST"]),
            Route("/api/run", endpoint(self.cancel), methods=["DELETE"]),
            Route("/api/run/report", endpoint(self.report)),
        ]

    def run(self, _call: Call) -> Response:
        """How the run goes."""
        return json_answer(self._studio.extraction.table())

    def start(self, call: Call) -> Response:
        """Start a run of one slide, or of all that are not excluded."""
        studio, given = self._studio, call.table()
        if studio.opening.read_only or studio.opening.mode != "slides":
            raise Refused(403, "nothing can be run: the studio was opened with --read-only, or for results")
        if given.get("slides") == "this":
            entries = [studio.shelf.entry(str(given.get("id")))]
        elif given.get("slides") == "all":
            entries = [e for e in studio.shelf.entries.values() if studio.review.of(e.name).status != "excluded"]
        else:
            raise Refused(422, 'slides must be "this", with the id of a slide, or "all"')
        if not entries:
            raise Refused(409, "every slide is excluded; take one in again")
        revision, pipeline = studio.pipeline.now
        if given.get("revision", revision) != revision:
            raise Refused(409, "the steps were changed in another window; reload the page to see what would run")
        studio.extraction.start(pipeline, entries, out=studio.opening.out, redo=given.get("redo") is True)
        return json_answer(studio.extraction.table(), 202)

    def cancel(self, _call: Call) -> Response:
        """End the run; finished slides stay."""
        self._studio.extraction.cancel()
        return json_answer(self._studio.extraction.table())

    def report(self, _call: Call) -> Response:
        """The page of the report."""
        content = self._studio.extraction.report()
        headers = {"Content-Security-Policy": _policy_of(content)}
        return Response(content, media_type="text/html", headers=headers)


def _policy_of(report: bytes) -> str:
    """A report is a page of its own. It may show itself and do nothing else: not even ask the studio."""
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _SCRIPT.findall(report)]
    scripts = " ".join(f"'sha256-{each}'" for each in hashes) or "'none'"
    return (
        f"sandbox allow-scripts; default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
