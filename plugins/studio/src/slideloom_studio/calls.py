"""Requests as plain values, and the answers to them; what goes wrong becomes a sentence."""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import field, frozen
from slideloom.base.errors import ConfigError, OutputError, RoiError, SlideError, SlideloomError
from slideloom.base.parsing import parse_json
from slideloom.base.system_errors import in_words
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

log = logging.getLogger(__name__)

MOST_BYTES = 1 << 20
"""Size of a request's body, unless a route allows more."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_STATUS: Mapping[type[SlideloomError], int] = {ConfigError: 422, RoiError: 422, SlideError: 410, OutputError: 500}


class Refused(Exception):
    """A request that cannot be fulfilled.

    Attributes:
        status: of HTTP.
        body: what the page gets: "error", a sentence with its remedy, and what else it needs.
    """

    def __init__(self, status: int, error: str, **more: Any) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error, **more}


@frozen
class Call:
    """A request.

    Attributes:
        names: the parts of the path that vary, by name.
        query: what follows the question mark.
        body: the value that its JSON holds; None without a body.
    """

    names: Mapping[str, str]
    query: Mapping[str, str] = field(factory=dict)
    body: Any = None

    def table(self) -> dict[str, Any]:
        """The body, which must be a table.

        Raises:
            Refused: it is something else.
        """
        if not isinstance(self.body, dict):
            raise Refused(422, "the request must hold a JSON object; reload the page")
        return self.body

    def number(self, name: str, *, default: int | None = None, least: int = 0, most: int = 2**31) -> int:
        """A whole number out of the path or the query.

        Raises:
            Refused: it is none, or out of range.
        """
        text = self.names.get(name, self.query.get(name, "" if default is None else str(default)))
        if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and least <= int(text) <= most):
            raise Refused(404, f"{name} must be a whole number from {least} to {most}, not {text[:20]!r}")
        return int(text)


Handler = Callable[[Call], Response]


def endpoint(
    handle: Handler, *, most_bytes: int = MOST_BYTES, waits: bool = True
) -> Callable[[Request], Awaitable[Response]]:
    """What starlette calls for a route.

    Args:
        handle: answers a call.
        most_bytes: size of the body at most, also where it comes in parts.
        waits: False for a handler that reads no file and is answered at once, while the pool is busy.
    """

    async def answer(request: Request) -> Response:
        try:
            call = Call(request.path_params, request.query_params, await _body(request, most_bytes))
            return await run_in_threadpool(_handled, handle, call) if waits else _handled(handle, call)
        except Refused as refused:
            return JSONResponse(refused.body, refused.status, headers={"Connection": "close"})
        except ClientDisconnect:
            return Response(status_code=400)

    return answer


async def _body(request: Request, most_bytes: int) -> Any:
    declared = request.headers.get("content-length", "0")
    too_large = Refused(
        413, f"the request is larger than {most_bytes >> 20} MB; draw fewer points, or simplify regions"
    )
    if not declared.isdecimal() or int(declared) > most_bytes:
        raise too_large
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most_bytes:
            raise too_large
        parts.append(part)
    if not size:
        return None
    try:
        return await run_in_threadpool(parse_json, b"".join(parts))
    except ValueError as error:
        raise Refused(422, f"the request is not JSON ({error}); reload the page") from error


def _handled(handle: Handler, call: Call) -> Response:
    try:
        return handle(call)
    except Refused as refused:
        return JSONResponse(refused.body, refused.status)
    except SlideloomError as error:
        return JSONResponse({"error": str(error)}, status_of(error))
    except OSError as error:
        return JSONResponse({"error": in_words(error)}, status_of(error))
    except Exception as error:  # whatever a plugin raises, the studio goes on, and its log has the trace
        log.exception("a request failed")
        return JSONResponse({"error": f"this failed: {in_words(error)}; the terminal shows where"}, 500)


def status_of(error: BaseException) -> int:
    """The status of HTTP that tells a page what kind of error it is: 507 for a full disk."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
        return 507
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)


def json_answer(value: Any, status: int = 200) -> Response:
    """A value as JSON. Texts that are not UTF-8, such as file names of some systems, are escaped."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return Response(text.encode(), status, media_type="application/json")


def picture_answer(content: bytes, kind: str, *, keep_s: int = 600) -> Response:
    """A picture, which the browser may keep for a while; 0 for one that it may not."""
    caching = f"private, max-age={keep_s}" if keep_s else "no-store"
    return Response(content, media_type=f"image/{kind}", headers={"Cache-Control": caching})
