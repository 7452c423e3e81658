"""The loops that methods use: the compiled ones, or those in numpy where nothing was compiled."""

from __future__ import annotations

from slideloom_stain.loops import Loops
from slideloom_stain.numpy_loops import NumpyLoops

NUMPY: Loops = NumpyLoops()
FASTEST: Loops
try:
    from slideloom_stain.compiled_loops import CompiledLoops
except ImportError:  # no compiler at installation
    FASTEST = NUMPY
else:
    FASTEST = CompiledLoops()
