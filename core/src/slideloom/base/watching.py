"""Someone who waits for a long call: is told how far it is, and may end it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import frozen

from slideloom.base.errors import Cancelled

StepProgress = Callable[[str, float], None]  # label of the step, share of it that is done, 0-1
Cancel = Callable[[], bool]  # True ends the call


@frozen
class Watch:
    """Functions of someone who waits. They may be called from any thread, and must not raise.

    Attributes:
        progress: told how far a step is, or None.
        cancel: asked often whether to end, or None.
    """

    progress: StepProgress | None = None
    cancel: Cancel | None = None

    def check(self) -> None:
        """Raise `Cancelled` if the call is to end."""
        if self.cancel is not None and self.cancel():
            raise Cancelled("cancelled")

    def tell(self, label: str, share: float) -> None:
        """Say how much of a step is done, and `check`."""
        self.check()
        if self.progress is not None:
            self.progress(label, min(1.0, max(0.0, share)))

    def of(self, label: str) -> Callable[[float], None]:
        """`tell` for one step."""
        return partial(self.tell, label)
