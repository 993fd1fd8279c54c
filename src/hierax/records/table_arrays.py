"""Tables as named arrays: NPZ, and HDF5 and Parquet as extras."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, final

import numpy as np

from hierax._errors import InputError
from hierax.records.columns import AbstractColumns, Column, Reading
from hierax.results.arrays import UNREADABLE, extra_module, h5py_module
from hierax.results.files import MOST_ARRAYS, check_sizes

POINTS = "points"
"""Name of the one array `(n, dim)` that may stand for all coordinates."""


@final
class Arrays(AbstractColumns):
    """Columns that are named arrays."""

    def __init__(self, path: Path, arrays: Mapping[str, Callable[[], Any]]) -> None:
        self.path, self._arrays = path, arrays
        self.headings = list(arrays)

    def points(self, names: tuple[str, ...], reading: Reading) -> dict[str, Column]:
        """One array `points` may stand for the coordinates that have no array."""
        known = {*self.headings, *map(reading.name, self.headings)}
        lacking = [name for name in names if name not in known]
        if not lacking or POINTS not in self._arrays:
            return {}
        array = _real(self.path, POINTS, self._arrays[POINTS]())
        if array.ndim == 1 and len(names) == 1:
            array = array[:, None]
        if array.ndim != 2 or array.shape[1] != len(names):
            raise InputError(
                f"The array has shape {array.shape}, but (n, {len(names)}) is needed.",
                f"{self.path}, array {POINTS!r}",
                f"Give one column each for {', '.join(names)}, in this order.",
            )
        return {name: Column.of(array[:, k]) for k, name in enumerate(names)}

    def column(self, heading: str) -> Column:
        column = _real(self.path, heading, self._arrays[heading]())
        if column.ndim == 2 and column.shape[1] == 1:
            column = column[:, 0]
        if column.ndim != 1 or column.size == 0:
            raise InputError(
                f"The array has shape {column.shape}, but one number a row is needed.",
                f"{self.path}, array {heading!r}",
                "Give arrays of shape (n,) with n at least 1, one for each column.",
            )
        return Column.of(column)

    def texts(self, heading: str) -> list[str]:
        return np.ravel(self._arrays[heading]()).astype(str).tolist()


def npz_columns(path: Path) -> Arrays:
    def array(name: str) -> Any:
        try:
            check_sizes(path, path, (name,))
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return archive[name]
        except UNREADABLE as error:
            raise _unreadable(path, error) from error

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("one array without a name")
            names = list(archive.files)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    return Arrays(path, {name: functools.partial(array, name) for name in names})


def _unreadable(path: Path, error: BaseException) -> InputError:
    if isinstance(error, InputError):
        return error
    return InputError(
        f"The file cannot be read as NPZ ({error}).", str(path), "Write it by numpy.savez with named arrays."
    )


def parquet_module(path: Path) -> ModuleType:
    return extra_module(path, "Parquet", "pyarrow.parquet", "pyarrow", "parquet")


def parquet_columns(path: Path) -> Arrays:
    parquet = parquet_module(path)

    def array(name: str) -> Any:
        try:
            column = file.read([name])[name]
            return column.to_numpy() if str(column.type) != "string" else np.array(column.to_pylist(), dtype=str)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"The column cannot be read ({error}).", f"{path}, {name!r}", "Write it again.") from error

    try:
        file = parquet.ParquetFile(path)
        size = sum(file.metadata.row_group(k).total_byte_size for k in range(file.metadata.num_row_groups))
        names = list(file.schema_arrow.names)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"The file cannot be read as Parquet ({error}).", str(path), "Check that it was written completely."
        ) from error
    if max(size, 8 * file.metadata.num_rows * len(names)) > MOST_ARRAYS:
        raise InputError("The table is too large.", str(path), "Give fewer rows or columns.")
    return Arrays(path, {name: functools.partial(array, name) for name in names})


def hdf5_columns(path: Path) -> Arrays:
    h5py = h5py_module(path)

    def array(name: str) -> Any:
        try:
            with h5py.File(path, "r") as file:
                if file[name].nbytes > MOST_ARRAYS:
                    raise InputError("The array is too large.", f"{path}, array {name!r}", "Give fewer rows.")
                return file[name][()]
        except (OSError, KeyError, RuntimeError) as error:
            raise InputError(f"The array cannot be read ({error}).", f"{path}, {name}", "Write it again.") from error

    try:
        with h5py.File(path, "r") as file:
            names = [key for key, item in file.items() if isinstance(item, h5py.Dataset)]
    except (OSError, KeyError, RuntimeError) as error:
        raise InputError(
            f"The file cannot be read as HDF5 ({error}).", str(path), "Check that it was written completely."
        ) from error
    return Arrays(path, {name: functools.partial(array, name) for name in names})


def _real(path: Path, name: str, array: Any) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"The array holds {array.dtype} in place of real numbers.",
            f"{path}, array {name!r}",
            "Convert it to floating-point numbers.",
        )
    return array.astype(float)
