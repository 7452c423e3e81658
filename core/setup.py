"""Builds the core's compiled loops, where there is a compiler; without them it does the same in numpy, slower."""

import sys

from setuptools import Extension, setup

kernels = Extension(
    "slideloom.pixels._kernels",
    ["src/slideloom/pixels/_kernels.c"],
    extra_compile_args=["/std:c11", "/O2"] if sys.platform == "win32" else ["-O3", "-Wall", "-Wextra"],
    py_limited_api=True,
    optional=True,
)

setup(ext_modules=[kernels], options={"bdist_wheel": {"py_limited_api": "cp311"}})
