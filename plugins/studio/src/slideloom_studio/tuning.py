"""Requests for the pipeline: its forms, its state, and its texts."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import Route

from slideloom_studio.calls import Call, Refused, endpoint, json_answer
from slideloom_studio.step_forms import size_forms, step_forms
from slideloom_studio.studio import Studio


class Tuning:
    """Answers requests for the pipeline."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def routes(self) -> list[Route]:
        """The routes below `api/`."""
        return [
            Route("/api/steps", endpoint(self.steps)),
            Route("/api/size", endpoint(self.size)),
            Route("/api/pipeline", endpoint(self.pipeline), methods=["GET"]),
            Route("/api/pipeline", endpoint(self.change), methods=["PUT"]),
            Route("/api/pipeline/text", endpoint(self.text)),
        ]

    def steps(self, _call: Call) -> Response:
        """The form of each step."""
        return json_answer(step_forms())

    def size(self, _call: Call) -> Response:
        """The forms of tiles and regions."""
        return json_answer(size_forms())

    def pipeline(self, _call: Call) -> Response:
        """The pipeline on screen."""
        return json_answer(self._studio.pipeline.table())

    def change(self, call: Call) -> Response:
        """Change the pipeline on screen."""
        return json_answer(self._studio.pipeline.change(call.table()))

    def text(self, call: Call) -> Response:
        """The pipeline as a file, a command or Python."""
        studio = self._studio
        key = call.query.get("slide") or next(iter(studio.shelf.entries))
        made = studio.text(studio.shelf.entry(key))
        forms = {"toml": made.toml, "command": made.command, "python": made.python}
        wanted = call.query.get("as", "toml")
        if wanted not in forms:
            raise Refused(404, f"a pipeline is written as {', '.join(forms)}, not as {wanted[:20]!r}")
        return json_answer({"text": forms[wanted]()})
