"""Options of the reader."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import Reader, Settings, in_range, option


@frozen
class ISyntaxReader(Settings[Reader]):
    """Philips iSyntax slides of the first version of the format."""

    name: ClassVar[str] = "isyntax"
    step: ClassVar[str] = "slideloom_isyntax.slide:ISyntaxFiles"
    install: ClassVar[str] = "slideloom-isyntax"
    rank: ClassVar[int] = 17

    cache_mb: int = option(
        64,
        help="pixels, and as many bytes of wavelet coefficients, kept in memory per open slide",
        unit="MiB",
        validator=in_range(1, 4096),
        affects_output=False,
    )
