"""Runs that the page starts: in a process of their own, by the machinery of `slideloom extract`."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from attrs import define, evolve, field
from slideloom.base.parsing import parse_json
from slideloom.pipeline.pipeline import Pipeline

from slideloom_studio.calls import Refused
from slideloom_studio.pipelines import pipeline_for
from slideloom_studio.run_process import FAILED, STOPPED, Work
from slideloom_studio.shelf import Entry

State = Literal["none", "working", "done", "failed", "cancelled"]
_MOST_LINES = 500
_PATIENCE_S = 20
_SAID_AT_MOST = 2000  # characters of what a process that died said last


@define
class _Progress:
    """What the page gets to see of a run."""

    state: State = "none"
    done: int = 0
    total: int = 0
    kept: int = 0
    planned: int = 0
    tiles_done: int = 0
    tiles: int = 0
    slide: str | None = None
    lines: list[str] = field(factory=list)
    error: str | None = None
    listens: bool = False
    is_cancelled: bool = False

    def add(self, line: str) -> None:
        self.lines.append(line)
        del self.lines[:-_MOST_LINES]


class Extraction:
    """The run of a session; one at a time. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress = _Progress()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._outs: list[Path] = []
        self._reports_before: set[Path] = set()

    def start(self, pipeline: Pipeline, entries: Sequence[Entry], *, out: Path, redo: bool = False) -> None:
        """Start a run of these slides, with a report at its end.

        Raises:
            Refused: one is at work.
        """
        work = _work(pipeline, entries, out, redo=redo)
        try:
            content = pickle.dumps(work)
        except (AttributeError, TypeError, pickle.PicklingError) as error:
            said = f"a step cannot be sent to another process ({error}); define its class in a module"
            raise Refused(409, said) from error
        with self._lock:
            if self._progress.state == "working":
                raise Refused(409, "a run is at work; wait for it, or cancel it")
            self._outs = [each.out for each in work]
            self._reports_before = set(self._reports())
            self._progress = _Progress("working", total=len(entries))
            self._process = subprocess.Popen(
                [sys.executable, "-m", "slideloom_studio.run_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                start_new_session=os.name != "nt",  # so that a signal reaches its workers, as Ctrl-C would
            )
            self._thread = threading.Thread(target=self._follow, args=(self._process, content), daemon=True)
            self._thread.start()

    def cancel(self) -> None:
        """End the run as Ctrl-C does: finished slides stay."""
        with self._lock:
            now = self._progress
            if now.state == "working" and self._process is not None:
                now.is_cancelled = True
                if now.listens:  # else it is interrupted as soon as it does
                    _interrupt(self._process)

    def wait(self) -> None:
        """Wait until no run is at work."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """End a run that is at work, and wait for that."""
        self.cancel()
        thread, process = self._thread, self._process
        if thread is None or process is None:
            return
        thread.join(_PATIENCE_S)
        if thread.is_alive():
            process.kill()
            thread.join()

    def table(self) -> dict[str, Any]:
        """How the run goes."""
        with self._lock:
            now = self._progress
            report = "api/run/report" if now.state not in ("none", "working") and self._report() is not None else None
            return {
                "state": now.state,
                "done": now.done,
                "total": now.total,
                "kept": now.kept,
                "planned": now.planned,
                "slide": now.slide,
                "tiles_done": now.tiles_done,
                "tiles": now.tiles,
                "lines": list(now.lines),
                "report": report,
                "error": now.error,
            }

    def report(self) -> bytes:
        """The page of the last run's report.

        Raises:
            Refused: there is none.
        """
        with self._lock:
            path = self._report()
        if path is None:
            raise Refused(404, "there is no report yet; a run makes one")
        return path.read_bytes()

    def _reports(self) -> list[Path]:
        return [path for out in self._outs for path in sorted(out.glob("tile_extraction_report-*.html"))]

    def _report(self) -> Path | None:
        """The report that this run has written; names hold the time, so the last is the newest."""
        made = [path for path in self._reports() if path not in self._reports_before]
        return made[-1] if made else None

    def _follow(self, process: subprocess.Popen[bytes], content: bytes) -> None:
        """Hand over the work, and note what the process says until it ends."""
        said: list[bytes] = []
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None  # noqa: S101, PT018
        listening = threading.Thread(target=_keep_end, args=(process.stderr, said), daemon=True)
        listening.start()
        with process:
            try:
                process.stdin.write(content)
                process.stdin.close()
            except BrokenPipeError:  # it has died; its end is told below
                pass
            for line in process.stdout:
                self._note(parse_json(line))
            listening.join()
        with self._lock:
            self._end(process.returncode, b"".join(said)[-_SAID_AT_MOST:].decode("utf-8", "replace"))

    def _note(self, message: Mapping[str, Any]) -> None:
        with self._lock:
            now = self._progress
            if "listens" in message:
                now.listens = True
                if now.is_cancelled and self._process is not None:
                    _interrupt(self._process)
            elif "tiles" in message:
                now.slide, now.tiles_done, now.tiles = message["slide"], message["tiles_done"], message["tiles"]
            elif "report" in message:
                report = message["report"]
                now.done += 1
                now.kept += report["kept"]
                now.planned += report["planned"]
                counts = f"{report['kept']} of {report['planned']} tiles"
                said = f"{report['status']}: {report['error']}" if report["error"] else f"{report['status']}, {counts}"
                now.add(f"{report['slide']}: {said}")
                if report["status"] == "failed" and now.error is None:
                    now.error = f"{report['slide']}: {report['error']}"
            elif "problem" in message:
                now.add(message["problem"])
                now.error = now.error or message["problem"]
            else:
                now.error = message["error"]
                now.add(message["error"])

    def _end(self, code: int, said: str) -> None:
        now = self._progress
        if now.is_cancelled and code != 0:
            now.state, now.error = "cancelled", None
            now.add(f"cancelled; {now.done} of {now.total} slides are finished, and a new run goes on from there")
            return
        if code not in (0, FAILED, STOPPED) and now.error is None:
            now.error = f"the run ended with code {code}: {said.strip() or 'it said nothing'}"
            now.add(now.error)
        now.state = "failed" if now.error or code else "done"


def _work(pipeline: Pipeline, entries: Sequence[Entry], out: Path, *, redo: bool) -> list[Work]:
    """The slides by their folders of regions and of outputs."""
    groups: dict[tuple[Path | None, Path], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.roi, entry.out or out), []).append(entry)
    run = evolve(pipeline.run, report=True, redo=redo or pipeline.run.redo, out=None)
    return [
        Work(evolve(pipeline_for(pipeline, roi), run=run), [entry.slide for entry in members], folder)
        for (roi, folder), members in groups.items()
    ]


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    if os.name == "nt":
        process.terminate()
    else:
        os.killpg(process.pid, signal.SIGINT)


def _keep_end(stream: Any, said: list[bytes]) -> None:
    """Read to the end, and keep the last lines."""
    for line in stream:
        sys.stderr.buffer.write(line)
        said.append(line)
        del said[:-50]
