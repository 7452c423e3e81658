"""slideloom reader for Philips iSyntax slides."""

from slideloom_isyntax.settings import ISyntaxReader

__all__ = ["ISyntaxReader"]
