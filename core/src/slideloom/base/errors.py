"""The errors that slideloom raises. Each has one message, so that it can be pickled in a worker."""

from __future__ import annotations


class SlideloomError(Exception):
    """Base class of all errors raised by slideloom. The message says what is wrong, where, and how to fix it."""


class ConfigError(SlideloomError):
    """A pipeline file, an option or an argument is wrong."""


class OptionError(ConfigError, ValueError):
    """An option has a wrong value. It is also a `ValueError`, as usual for wrong arguments in Python.

    Attributes:
        option: name of the option.
        problem: what is wrong, worded to follow the name: "must be above 0, not -1".
    """

    def __init__(self, option: str, problem: str) -> None:
        super().__init__(f"{option} {problem}")
        self.option = option
        self.problem = problem

    def __reduce__(self) -> tuple[type[OptionError], tuple[str, str]]:
        return type(self), (self.option, self.problem)


class PluginError(SlideloomError):
    """A plugin is missing, does not load, or broke its contract."""


class SlideError(SlideloomError):
    """A slide cannot be opened or read."""


class LostSlide(SlideError):
    """No more of an open slide can be read: it has changed, is gone, or its server refuses; it is no damaged tile."""


class Unlisted(SlideError):
    """Which files lie in a folder at an address is unknown, because its store does not list them."""


class UnsupportedSlide(SlideError):
    """No installed reader recognises the file."""


class MissingResolution(SlideError):
    """The slide records no microns per pixel and none was given."""


class RoiError(SlideloomError):
    """A file of regions of interest is missing or cannot be read."""


class Cancelled(SlideloomError):
    """The caller asked a call to end early; what it was to change is as before."""


class OutputError(SlideloomError):
    """The output folder is locked, not writable, full, or holds files that may not be replaced."""
