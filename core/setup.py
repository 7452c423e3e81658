"""Builds the core's compiled loops, where there is a compiler; without them it does the same in numpy, slower."""

import sys
import sysconfig

from setuptools import Extension, setup

# Products and sums stay two roundings, as numpy has them: fused ones would give other pixels on some processors.
FLAGS = ["-O3", "-Wall", "-Wextra", "-ffp-contract=off"]

# The limited interface gives one wheel for every Python from 3.11 on; builds without the global lock do not offer it.
LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")

kernels = Extension(
    "slideloom.pixels._kernels",
    ["src/slideloom/pixels/_kernels.c"],
    extra_compile_args=["/std:c11", "/O2", "/fp:precise"] if sys.platform == "win32" else FLAGS,
    define_macros=[("Py_LIMITED_API", "0x030b0000")] if LIMITED else [],
    py_limited_api=LIMITED,
    optional=True,
)

setup(ext_modules=[kernels], options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED else {})
