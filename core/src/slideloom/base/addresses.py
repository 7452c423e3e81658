"""Addresses of files that are not local, such as `s3://bucket/a.svs`: known by their form, shown without secrets."""

from __future__ import annotations

import re
from os import PathLike, fspath
from pathlib import Path, PurePosixPath
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from slideloom.base.errors import ConfigError

# A scheme has two letters or more, because `C:` is a drive. Addresses may be chained: `simplecache::s3://bucket/a.svs`.
_SCHEME = r"[A-Za-z][A-Za-z0-9+.\-]+"
_ADDRESS = re.compile(rf"(?:{_SCHEME}::)*({_SCHEME}):/")
_FIRST = re.compile(rf"\A(?:{_SCHEME}::)*{_SCHEME}(?=:/)")
# Within any text; `pathlib` makes one slash of two.
_IN_TEXT = re.compile(rf"({_SCHEME}):(/+)([^\s'\"<>`]+)")
_WEB = ("http", "https")
_HIDDEN = "..."
_WRITE_LOCALLY = (
    "slideloom writes to local folders and reads settings from them, and only the output of `slideloom extract` and "
    "`slideloom run` may be at an address; copy with a tool of the store, such as `aws s3 sync`, `gcloud storage "
    "rsync` or `rclone`"
)


def _with_scheme(url: str) -> str:
    return _FIRST.sub(lambda found: found.group().lower(), url)


def _shown(url: str) -> str:
    return repr(redacted(url))


@frozen
class Address:
    """The place of a file that is not local.

    As text it is shown without what may be a secret: user names and passwords, and all behind a question mark.

    Attributes:
        url: the address as given, with its secrets; only what opens it may use it. Its scheme is in lower case, in
            which file systems are known.
    """

    url: str = field(repr=_shown, converter=_with_scheme)

    def __str__(self) -> str:
        return redacted(self.url)

    @property
    def scheme(self) -> str:
        """Such as "s3"; of a chain, that of its first address."""
        found = _ADDRESS.match(self.url)
        return found.group(1).lower() if found else ""

    @property
    def is_web(self) -> bool:
        """True for a web server, whose addresses are quoted, and end where a question mark begins."""
        return self.scheme in _WEB

    @property
    def is_redacted(self) -> bool:
        """True if its secrets were taken out, so that it opens nothing."""
        return f"/{_HIDDEN}@" in self.url or self.url.endswith(f"?{_HIDDEN}")

    @property
    def is_folder(self) -> bool:
        """True if it ends in a slash."""
        return self._path.endswith("/")

    def without_slash(self) -> Address:
        """The same place, without a slash at its end."""
        place, mark, query = self.url.partition("?") if self.is_web else (self.url, "", "")
        return Address(place.rstrip("/") + mark + query) if self.is_folder else self

    @property
    def is_pattern(self) -> bool:
        """True if it holds `*` or, of a store that is not a web server, `[`. `?` begins a query."""
        return "*" in self._path or ("[" in self._path and not self.is_web)

    @property
    def name(self) -> str:
        """The last part, as a file's name; "" if there is none that can be one. It never leads to another folder."""
        last = PurePosixPath(self._path).name
        name = unquote(last) if self.is_web else last
        return "" if name in (".", "..") or {"/", "\\", "\0"} & set(name) else name

    @property
    def suffix(self) -> str:
        """The extension of the name, such as ".svs"."""
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """The name without its extension."""
        return PurePosixPath(self.name).stem

    @property
    def _path(self) -> str:
        first = next(part for part in self.url.split("::") if ":/" in part)
        return urlsplit(first).path if self.is_web else first.partition("://")[2]


SlidePlace: TypeAlias = Path | Address
"""Where a slide is."""


def is_address(text: str | PathLike[str] | Address) -> bool:
    """True for the form of an address, even if `pathlib` has made one slash of its two."""
    return isinstance(text, Address) or _ADDRESS.match(fspath(text)) is not None


def place_of(text: str | PathLike[str] | Address) -> Path | Address:
    """A path, or the address that a text is.

    Raises:
        ConfigError: the address came as a `Path`, which has lost one of its slashes.
    """
    if isinstance(text, Address):
        return text
    words = fspath(text)
    if not is_address(words):
        return Path(text)
    if "://" not in words:
        raise ConfigError(f"{redacted(words)}: give an address as text or as slideloom.Address, not as a Path")
    address = Address(words)
    if address.scheme == "file":
        from urllib.request import url2pathname  # slow to import

        return Path(url2pathname(urlsplit(words).path))
    return address


def local_path(text: str | PathLike[str] | Address) -> Path:
    """The path that a text is, of a file or folder on this machine.

    Raises:
        ConfigError: it is an address.
    """
    if isinstance(text, Address) or is_address(text):
        shown = str(text) if isinstance(text, Address) else redacted(fspath(text))
        raise ConfigError(f"{shown} is not a local path: {_WRITE_LOCALLY}")
    return Path(text)


def check_local(text: str | PathLike[str]) -> None:
    """Refuse an address where only a path will do.

    Raises:
        ConfigError: it is one.
    """
    local_path(text)


def redacted(text: str) -> str:
    """A text with the secrets in its addresses taken out: user names and passwords, and what a question mark begins."""
    return _IN_TEXT.sub(_without_secrets, text) if ":/" in text else text


def _without_secrets(found: re.Match[str]) -> str:
    scheme, slashes, rest = found.groups()
    is_web = scheme.lower() in _WEB
    place, mark, query = rest.partition("?")
    host, slash, path = place.partition("/")
    user, at, machine = host.rpartition("@")
    # `abfs://container@account/` names no user.
    if at and (is_web or ":" in user):
        host = f"{_HIDDEN}@{machine}"
    path, sharp, _ = path.partition("#") if is_web else (path, "", "")
    if mark and (is_web or "=" in query):
        mark, query = "?", _HIDDEN
    return f"{scheme}:{slashes}{host}{slash}{path}{sharp and '#' + _HIDDEN}{mark}{query}"
