"""A handler of log records that a function is called with."""

from __future__ import annotations

import logging
from collections.abc import Callable

from slideloom.base.addresses import redacted


class CallingHandler(logging.Handler):
    """Calls a function with each record and its formatted text, and an error of the function never stops the work.

    The text is without the secrets of addresses.

    Args:
        call: the function.
        level: lowest level of records.
    """

    def __init__(self, call: Callable[[logging.LogRecord, str], object], level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._call = call

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        try:
            self._call(record, redacted(self.format(record)))
        except Exception:  # as in every handler of the standard library
            self.handleError(record)
