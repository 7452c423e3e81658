"""Builds the core's compiled loops, where there is a compiler; without them it does the same in numpy, slower."""

import sys

from setuptools import Extension, setup

# Products and sums stay two roundings, as numpy has them: fused ones would give other pixels on some processors.
FLAGS = ["-O3", "-Wall", "-Wextra", "-ffp-contract=off"]

kernels = Extension(
    "slideloom.pixels._kernels",
    ["src/slideloom/pixels/_kernels.c"],
    extra_compile_args=["/std:c11", "/O2", "/fp:precise"] if sys.platform == "win32" else FLAGS,
    py_limited_api=True,
    optional=True,
)

setup(ext_modules=[kernels], options={"bdist_wheel": {"py_limited_api": "cp311"}})
