"""Files of named arrays of any shape: NPZ, and HDF5 and NetCDF, which are read and written as an extra."""

from __future__ import annotations

import importlib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from scipy.io import netcdf_file

from hierax._errors import InputError
from hierax.results.files import MOST_ARRAYS, check_sizes, written

HDF5 = (".h5", ".hdf5")
ARRAYS = (".npz", *HDF5, ".nc")
"""Endings of files with named arrays."""
PACKED, MISSING = ("scale_factor", "add_offset"), ("_FillValue", "missing_value")
"""Attributes of NetCDF: values that are stored as others, and the number that stands for none."""


UNREADABLE = (ValueError, TypeError, OSError, EOFError, LookupError, RuntimeError, MemoryError, zipfile.BadZipFile,
              zlib.error)  # fmt: skip
"""What is raised of files that are damaged, or of another kind."""


def named_arrays(path: Path, names: list[str] | None = None) -> dict[str, np.ndarray]:
    """Arrays of a file by name, all of them if none are named; nothing in it is executed.

    What an HDF5 or NetCDF file marks as missing is NaN.

    Raises
    ------
    InputError
        For files that are damaged, too large, or of another kind, and arrays that are missing or packed.
    """
    if path.suffix.lower() not in ARRAYS:
        raise InputError(f"{path.name} is no file of arrays.", str(path), f"Give one of {', '.join(ARRAYS)}.")
    try:
        if path.suffix.lower() == ".npz":
            return _npz(path, names)
        with path.open("rb") as file:
            classic = file.read(3) == b"CDF"
        return _netcdf(path, names) if classic else _hdf5(path, names)
    except UNREADABLE as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"The file cannot be read ({error}).", str(path), "Give an NPZ, HDF5 or NetCDF of arrays."
        ) from error


def check_arrays(path: Path) -> None:
    """Refuse a path at which arrays of any shape cannot be written; before any work."""
    if path.suffix.lower() not in (".npz", *HDF5):
        raise InputError(
            "Functions and tensors are written as arrays.", str(path), "Give a file that ends in .npz or .h5."
        )
    if path.suffix.lower() in HDF5:
        h5py_module(path)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by the ending of the file, NPZ or HDF5."""
    check_arrays(path)
    with written(path) as draft:
        (write_hdf5 if path.suffix.lower() in HDF5 else write_npz)(draft, arrays)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as NPZ."""
    with path.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore


def write_hdf5(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as datasets of an HDF5 file."""
    with h5py_module(path).File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def h5py_module(path: Path) -> ModuleType:
    """The package that reads HDF5."""
    return extra_module(path, "HDF5", "h5py", "h5py", "hdf5")


def extra_module(path: Path, kind: str, module: str, package: str, extra: str) -> ModuleType:
    """A module of a package that is not always there.

    Raises
    ------
    InputError
        Where it is not, with how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{kind} files need the package {package}, which is not installed.",
            str(path),
            f"Install it by `pip install 'hierax[{extra}]'`, or use CSV or NPZ.",
        ) from error


def _npz(path: Path, names: list[str] | None) -> dict[str, np.ndarray]:
    check_sizes(path, path, names)
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in _wanted(path, list(file.files), names)}


def _hdf5(path: Path, names: list[str] | None) -> dict[str, np.ndarray]:
    h5py = h5py_module(path)
    with h5py.File(path, "r") as file:
        own = [name for name, item in file.items() if isinstance(item, h5py.Dataset)]
        wanted = _wanted(path, own, names)
        _check_bytes(path, sum(file[name].nbytes for name in wanted))
        return {name: _meant(path, name, file[name][()], dict(file[name].attrs)) for name in wanted}


def _netcdf(path: Path, names: list[str] | None) -> dict[str, np.ndarray]:
    with netcdf_file(path, mmap=False) as file:
        found: dict[str, Any] = file.variables
        _check_bytes(path, path.stat().st_size)
        return {
            name: _meant(path, name, np.array(found[name][...]), vars(found[name])["_attributes"])
            for name in _wanted(path, list(found), names)
        }


def _wanted(path: Path, there: list[str], names: list[str] | None) -> list[str]:
    missing = [name for name in names or () if name not in there]
    if missing:
        raise InputError(f"There is no array {missing[0]!r}.", str(path), f"It has {', '.join(there) or 'none'}.")
    return there if names is None else names


def _check_bytes(path: Path, size: int) -> None:
    if size > MOST_ARRAYS:
        raise InputError(f"The arrays in it take {size / 2**30:.1f} GiB.", str(path), "Give fewer of them.")


def _meant(path: Path, name: str, values: Any, attributes: Mapping[str, Any]) -> np.ndarray:
    """Values as they are meant: where the file says that there is none, NaN; packed ones are refused."""
    if any(key in attributes for key in PACKED):
        raise InputError(
            "The array is packed.", f"{path}, array {name!r}", "Write it as floating-point numbers, without a scale."
        )
    marks = [attributes[key] for key in MISSING if key in attributes]
    if not marks:
        return np.asarray(values)
    return np.where(np.isin(values, np.ravel(marks)), np.nan, values)
