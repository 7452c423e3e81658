"""Builds the compiled loops, where there is a compiler; without them numpy gives the same pixels, slower."""

import sys
import sysconfig

from setuptools import Extension, setup

# Products and sums stay two roundings, as numpy has them: fused ones would give other pixels on some processors.
FLAGS = ["-O3", "-Wall", "-Wextra", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
FLAGS += ["-Wno-psabi"]  # vectors wider than the least processor has, within functions only

# The limited interface gives one wheel for every Python from 3.11 on; builds without the global lock do not offer it.
LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")

kernels = Extension(
    "slideloom_stain._kernels",
    ["src/slideloom_stain/_kernels.c"],
    extra_compile_args=["/std:c11", "/O2", "/fp:precise"] if sys.platform == "win32" else FLAGS,
    # The loops call nothing of the C library, but tools that make wheels for many systems tell by it which kind it is.
    extra_link_args=["-Wl,--no-as-needed"] if sys.platform == "linux" else [],
    define_macros=[("Py_LIMITED_API", "0x030b0000")] if LIMITED else [],
    py_limited_api=LIMITED,
    optional=True,
)

setup(ext_modules=[kernels], options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED else {})
