"""Every error slideloom raises on purpose; each carries one message, so that it survives the trip from a worker."""


class SlideloomError(Exception):
    """Base of all errors raised by slideloom. Its text names the thing, the place and the remedy."""


class ConfigError(SlideloomError):
    """A pipeline file, an option or an argument is wrong."""


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
