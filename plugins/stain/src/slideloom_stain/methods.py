"""The methods by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from slideloom_stain.base import Method
from slideloom_stain.macenko import Macenko
from slideloom_stain.reinhard import Reinhard
from slideloom_stain.vahadane import Vahadane


@cache
def method(name: str) -> Method[Any, Any]:
    """The method with this name; `_` counts as `-`. Any: each method has its own types of statistics and fit.

    Raises:
        KeyError: there is no such method.
    """
    makers: dict[str, Callable[[], Method[Any, Any]]] = {
        "macenko": lambda: Macenko("macenko", standardise=True),
        "macenko-fast": lambda: Macenko("macenko-fast", standardise=False),
        "reinhard": lambda: Reinhard("reinhard", standardise=True),
        "reinhard-fast": lambda: Reinhard("reinhard-fast", standardise=False),
        "reinhard-mask": lambda: Reinhard("reinhard-mask", standardise=True, masked=True),
        "reinhard-fast-mask": lambda: Reinhard("reinhard-fast-mask", standardise=False, masked=True),
        "reinhard-tissue": lambda: Reinhard("reinhard-tissue", standardise=True, masked=True, on_tissue=True),
        "reinhard-fast-tissue": lambda: Reinhard(
            "reinhard-fast-tissue", standardise=False, masked=True, on_tissue=True
        ),
        "vahadane": lambda: Vahadane("vahadane"),
    }
    return makers[name.replace("_", "-")]()
