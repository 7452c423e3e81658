"""Lets a request through only if it comes from the page that was opened: token, Host, Origin, path.

A browser lets any page send requests to a loopback address. What keeps others out is a random token in the path, which
only the person who started the studio has seen. Host and Origin are compared as well, so that a name that somebody
points to 127.0.0.1 (DNS rebinding), or a page that got hold of the address, is refused.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from attrs import frozen
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_HTTP_SCHEMES = ("http", "https")  # https where a notebook server or a proxy stands in between
_FRAMING = "'self' http://127.0.0.1:* http://localhost:* https://127.0.0.1:* https://localhost:*"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    f"frame-ancestors {_FRAMING}"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@frozen
class Guard:
    """An ASGI application that asks for the token and passes on what may pass, with the path behind the token.

    Attributes:
        app: what is guarded.
        token: the first part of every path.
        host: the address that the server listens at.
    """

    app: ASGIApp
    token: str
    host: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page has no web socket
            await send({"type": "websocket.close", "code": 1008})
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self.refusal(scope)
        if refusal is not None:
            status, text = refusal
            # The rest of a body that nobody reads would be taken for the next request.
            response = JSONResponse({"error": text}, status, headers={"Connection": "close"})
            await response(scope, receive, sending)
            return
        path = scope["path"].removeprefix(f"/{self.token}")
        if not path:  # the page's own addresses are relative to its folder
            await RedirectResponse(f"/{self.token}/")(scope, receive, sending)
            return
        await self.app(
            {**scope, "path": path, "raw_path": path.encode(), "root_path": ""},
            receive,
            sending,
        )

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and words for a request that may not pass, or None."""
        first, _, rest = scope["path"].removeprefix("/").partition("/")
        if not hmac.compare_digest(first.encode(), self.token.encode()):
            return 404, "no such page; open the address that `slideloom studio` printed"
        if _is_odd(rest, bytes(scope.get("raw_path") or b"")):
            return 404, "no such page; its address is not written as the studio writes it"
        hosts, origins = _values(scope, b"host"), _values(scope, b"origin")
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            return 403, "this address is not the studio's; open the one that `slideloom studio` printed"
        if any(not _is_same(origin, hosts[0]) for origin in origins):
            return 403, "another page may not use the studio; open the address that `slideloom studio` printed"
        return None

    def _is_own(self, host: str) -> bool:
        """True for a Host header that can only mean this machine.

        A port may differ: that of a tunnel does. A number is no name, so nobody can point it elsewhere.
        """
        name = _name_of(host)
        if name is None:
            return False
        if name in _LOOPBACK_NAMES or is_loopback(self.host):
            return name in _LOOPBACK_NAMES or name == self.host
        return name == self.host.lower() or _is_number(name) or name in _own_names()


def _is_odd(path: str, raw: bytes) -> bool:
    """True for a path with parts that lead elsewhere, or with separators in disguise."""
    parts = path.split("/")
    written = raw.lower()
    disguised = any(code in written for code in (b"%2f", b"%5c", b"%2e", b"%00", b"%25"))
    return disguised or any(part in (".", "..") for part in parts) or "\\" in path or "\0" in path or "" in parts[:-1]


def _values(scope: Scope, name: bytes) -> Sequence[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _name_of(host: str) -> str | None:
    """The name in "name:port", in small letters; None for what is no such thing."""
    try:
        split = urlsplit(f"//{host}")
        _ = split.port  # a ValueError if it is no number
    except ValueError:
        return None
    return split.hostname if split.netloc == host and "@" not in host and not split.path else None


def _is_same(origin: str, host: str) -> bool:
    scheme, separator, rest = origin.partition("://")
    return bool(separator) and scheme in _HTTP_SCHEMES and rest.lower() == host.lower()


def is_loopback(host: str) -> bool:
    """True for an address or a name that only this machine can reach."""
    return host.lower() in _LOOPBACK_NAMES or (_is_number(host) and ipaddress.ip_address(host).is_loopback)


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _own_names() -> frozenset[str]:
    return frozenset({socket.gethostname().lower(), socket.getfqdn().lower()})
