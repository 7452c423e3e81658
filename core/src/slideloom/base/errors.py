"""Every error slideloom raises on purpose; each carries one message, so that it survives the trip from a worker."""

from __future__ import annotations


class SlideloomError(Exception):
    """Base of all errors raised by slideloom. Its text names the thing, the place and the remedy."""


class ConfigError(SlideloomError):
    """A pipeline file, an option or an argument is wrong."""


class OptionError(ConfigError, ValueError):
    """An option was given a value that it cannot take; a `ValueError` too, as Python has for a wrong argument.

    Attributes:
        option: name of the option.
        problem: what is wrong, as it goes on after the name: "must be above 0, not -1".
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


class UnsupportedSlide(SlideError):
    """No installed reader recognises the file."""


class MissingResolution(SlideError):
    """The slide records no microns per pixel and none was given."""


class RoiError(SlideloomError):
    """A region-of-interest file is missing or cannot be understood."""


class OutputError(SlideloomError):
    """The output folder is locked, not writable, full, or holds something else."""
