"""AnnData on disk, written by h5py: the anndata library itself would hold a user to older versions of pandas.

Source: anndata's documentation, "On disk format", encodings of version 0.8 and later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import h5py
import numpy as np
from numpy.typing import NDArray

Value = str | int | float | NDArray[np.float64] | NDArray[np.int64]
Column = NDArray[np.int64] | Sequence[str]


def write_anndata(
    file: h5py.File,
    *,
    names: Sequence[str],
    columns: Mapping[str, Column],
    spatial: NDArray[np.float64],
    uns: Mapping[str, Value],
) -> None:
    """All of an AnnData file but its `X`, which is there already, (N, D).

    Args:
        file: open for writing.
        names: of the N observations.
        columns: of `obs`.
        spatial: (N, 2) x and y, for `obsm["spatial"]`.
        uns: what holds for all.
    """
    _mark(file, "anndata", "0.1.0")
    _mark(file["X"], "array", "0.2.0")
    _frame(file, "obs", index=names, columns=columns)
    _frame(file, "var", index=[str(number) for number in range(file["X"].shape[1])], columns={})
    for name in ("layers", "obsp", "varm", "varp"):
        _mark(file.create_group(name), "dict", "0.1.0")
    obsm = file.create_group("obsm")
    _mark(obsm, "dict", "0.1.0")
    _mark(obsm.create_dataset("spatial", data=spatial), "array", "0.2.0")
    group = file.create_group("uns")
    _mark(group, "dict", "0.1.0")
    for name in sorted(uns):
        value = uns[name]
        if isinstance(value, str):
            _mark(group.create_dataset(name, data=value, dtype=h5py.string_dtype()), "string", "0.2.0")
        else:
            kind = "array" if isinstance(value, np.ndarray) else "numeric-scalar"
            _mark(group.create_dataset(name, data=value), kind, "0.2.0")


def _frame(file: h5py.File, name: str, *, index: Sequence[str], columns: Mapping[str, Column]) -> None:
    group = file.create_group(name)
    _mark(group, "dataframe", "0.2.0")
    group.attrs["_index"] = "_index"
    group.attrs["column-order"] = np.array(list(columns), dtype=h5py.string_dtype())
    for key, values in {"_index": index, **columns}.items():
        if isinstance(values, np.ndarray):
            _mark(group.create_dataset(key, data=values), "array", "0.2.0")
        else:
            _mark(group.create_dataset(key, data=list(values), dtype=h5py.string_dtype()), "string-array", "0.2.0")


def _mark(thing: h5py.HLObject, kind: str, version: str) -> None:
    thing.attrs["encoding-type"], thing.attrs["encoding-version"] = kind, version
