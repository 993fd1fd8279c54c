"""Tables of numbers in files: CSV with named columns, NPZ and HDF5 with named arrays."""

from __future__ import annotations

import csv
import difflib
import importlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hierax._errors import InputError
from hierax.results.files import check_sizes, written

POINTS = "points"
"""Name of the one array `(n, dim)` that may stand for all coordinates."""

HDF5 = (".h5", ".hdf5")


def read_columns(path: Path, names: Sequence[str], *, points: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Read named columns of finite numbers, all of the same length.

    Parameters
    ----------
    path:
        `.csv` with a line of headings, `.npz`, or `.h5` with arrays of these names.
    names:
        What is needed; other columns are not looked at.
    points:
        Those of the names that one array `points` of shape `(n, len(points))` may stand for, in NPZ and HDF5.

    Raises
    ------
    InputError
        For a file that is missing, empty or of another kind, a column that is missing, given twice, of another length
        or shape, and for cells that are empty, no number, NaN or Inf; with file, column and row, counted from 1.
    """
    if not path.is_file():
        near = difflib.get_close_matches(path.name, _neighbours(path), n=3)
        raise InputError(
            "There is no such file." if not path.is_dir() else "This is a folder, not a file.",
            str(path),
            f"Did you mean {', '.join(near)}?" if near else "Check the path; relative ones start where you are.",
        )
    if path.stat().st_size == 0:
        raise InputError("The file is empty.", str(path), "Give a file with a line of headings and rows of numbers.")
    reader = _by_suffix(path, {".csv": _read_csv, ".npz": _read_npz} | dict.fromkeys(HDF5, _read_hdf5))
    table = reader(path, names, tuple(points))
    _check_lengths(path, table)
    for name, column in table.items():
        bad = np.flatnonzero(~np.isfinite(column))
        if bad.size:
            raise InputError(
                f"The value is {column[bad[0]]}, which is not finite ({bad.size} of {len(column)} rows).",
                f"{path}, column {name!r}, row {bad[0] + 1}",
                "Remove or repair these rows; missing values are not filled in.",
            )
    return {name: table[name] for name in names}


def read_labels(path: Path, name: str) -> np.ndarray:
    """Read a column of names or numbers as texts `(n,)`, numbers written the same way where they are equal.

    Raises
    ------
    InputError
        As `read_columns`, and for empty cells.
    """
    if path.suffix.lower() == ".npz" and path.is_file():
        with np.load(path, allow_pickle=False) as archive:
            if name not in archive.files:
                raise _unknown_column(path, name, archive.files)
            cells = np.ravel(archive[name]).astype(str)
    elif path.suffix.lower() == ".csv" and path.is_file():
        header, rows = _csv_rows(path)
        if name not in header:
            raise _unknown_column(path, name, header)
        cells = np.array([row[header.index(name)].strip() for row in rows])
    else:
        cells = read_columns(path, (name,))[name].astype(str)
    empty = np.flatnonzero(cells == "")
    if empty.size:
        raise InputError("The cell is empty.", f"{path}, column {name!r}, row {empty[0] + 1}", "Repair the row.")
    numbers = [_number(cell) for cell in cells]
    return cells if any(n is None for n in numbers) else np.array([f"{n:g}" for n in numbers])


def write_columns(path: Path, table: Mapping[str, np.ndarray]) -> None:
    """Write columns of equal length by the suffix of the path: `.csv`, `.npz` or `.h5`; numbers keep all digits.

    Raises
    ------
    InputError
        For another suffix, or a place that cannot be written.
    """
    writer = writer_for(path)
    with written(path) as draft:
        writer(draft, table)


def writer_for(path: Path) -> Callable[[Path, Mapping[str, np.ndarray]], None]:
    """What writes a table to such a path; asked before the work, an unknown suffix is refused early."""
    if path.suffix.lower() in HDF5:
        _h5py(path)
    return _by_suffix(path, {".csv": _write_csv, ".npz": _write_npz} | dict.fromkeys(HDF5, _write_hdf5))


def _by_suffix(path: Path, table: Mapping[str, Any]) -> Any:
    suffix = path.suffix.lower()
    if suffix not in table:
        raise InputError(
            f"Files that end in {suffix!r} are not known here.", str(path), f"Use one of {', '.join(table)}."
        )
    return table[suffix]


def _neighbours(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []


def _unknown_column(path: Path, name: str, known: Sequence[str]) -> InputError:
    near = difflib.get_close_matches(name, known, n=3) or [k for k in known if k.lower() == name.lower()]
    have = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return InputError(
        f"There is no column {name!r}.",
        str(path),
        (f"Did you mean {', '.join(near)}? " if near else "") + f"The columns are {have or 'none'}.",
    )


# CSV


def _read_csv(path: Path, names: Sequence[str], points: tuple[str, ...]) -> dict[str, np.ndarray]:
    header, rows = _csv_rows(path)
    missing = next((name for name in names if name not in header), None)
    if missing is not None:
        raise _unknown_column(path, missing, header)
    return {name: _numbers(path, name, [row[header.index(name)] for row in rows]) for name in names}


def _csv_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """The headings, and the rows below them."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            # Spreadsheets of many countries separate by semicolons because their decimal sign is the comma.
            delimiter = max(",;\t", key=first.count)
            file.seek(0)
            rows = [row for row in csv.reader(file, delimiter=delimiter) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"This is no CSV text ({error}).", str(path), "Save the table as CSV in UTF-8, or give an NPZ file."
        ) from error
    if not rows:
        raise InputError("The file has no rows.", str(path), "Give a line of headings and rows of numbers.")
    header = [cell.strip() for cell in rows[0]]
    _check_header(path, header)
    if len(rows) == 1:
        raise InputError("The file has headings but no rows.", str(path), "Give at least one row of numbers.")
    _check_widths(path, rows)
    return header, rows[1:]


def _check_header(path: Path, header: list[str]) -> None:
    if all(_number(cell) is not None for cell in header):
        raise InputError(
            f"The first line holds numbers ({', '.join(header[:4])}) in place of names.",
            f"{path}, line 1",
            "Write the names of the columns into the first line.",
        )
    twice = next((cell for cell in header if header.count(cell) > 1), None)
    if twice is not None:
        places = [str(k + 1) for k, cell in enumerate(header) if cell == twice]
        raise InputError(
            f"The heading {twice!r} occurs more than once.",
            f"{path}, line 1, columns {' and '.join(places)}",
            "Give each column its own name.",
        )


def _check_widths(path: Path, rows: list[list[str]]) -> None:
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(rows[0]):
            raise InputError(
                f"The row has {len(row)} cells, the header {len(rows[0])}.",
                f"{path}, row {number}: {', '.join(row)[:60]}",
                "All columns must have the same length; write one cell a column in every row.",
            )


def _numbers(path: Path, name: str, cells: list[str]) -> np.ndarray:
    values = np.empty(len(cells))
    for row, cell in enumerate(cells):
        value = _number(cell)
        if value is None:
            found = f"The cell holds {cell.strip()!r}, which is no number." if cell.strip() else "The cell is empty."
            comma = " Write a point, not a comma, before decimals." if _number(cell.replace(",", ".")) else ""
            raise InputError(
                found,
                f"{path}, column {name!r}, row {row + 1}",
                f"Remove or repair the row; missing values are not filled in.{comma}",
            )
        values[row] = value
    return values


def _number(cell: str) -> float | None:
    try:
        return float(cell) if "_" not in cell else None  # Python itself reads 1_000 as a thousand
    except ValueError:
        return None


def _write_csv(path: Path, table: Mapping[str, np.ndarray]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows([repr(float(value)) for value in row] for row in zip(*table.values(), strict=True))


# Arrays


def _read_npz(path: Path, names: Sequence[str], points: tuple[str, ...]) -> dict[str, np.ndarray]:
    try:
        check_sizes(path, path, (*names, POINTS))
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("one array without a name")
            return _from_arrays(path, archive, list(archive.files), names, points)
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"The file cannot be read as NPZ ({error}).", str(path), "Write it by numpy.savez with named arrays."
        ) from error


def _h5py(path: Path) -> ModuleType:
    try:
        return importlib.import_module("h5py")
    except ImportError as error:
        raise InputError(
            "HDF5 files need the package h5py, which is not installed.",
            str(path),
            "Install it by `pip install 'hierax[hdf5]'`, or use CSV or NPZ.",
        ) from error


def _read_hdf5(path: Path, names: Sequence[str], points: tuple[str, ...]) -> dict[str, np.ndarray]:
    h5py = _h5py(path)
    try:
        with h5py.File(path, "r") as file:
            known = [key for key, item in file.items() if isinstance(item, h5py.Dataset)]
            return _from_arrays(path, file, known, names, points)
    except OSError as error:
        raise InputError(
            f"The file cannot be read as HDF5 ({error}).", str(path), "Check that it was written completely."
        ) from error


def _from_arrays(
    path: Path, store: Any, known: list[str], names: Sequence[str], points: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Columns out of named arrays; one array `points` may stand for the coordinates that have no array."""
    lacking = [name for name in points if name not in known]
    table: dict[str, np.ndarray] = {}
    if lacking and POINTS in known:
        array = _real(path, POINTS, store[POINTS][()])
        if array.ndim == 1 and len(points) == 1:
            array = array[:, None]
        if array.ndim != 2 or array.shape[1] != len(points):
            raise InputError(
                f"The array has shape {array.shape}, but (n, {len(points)}) is needed.",
                f"{path}, array {POINTS!r}",
                f"Give one column each for {', '.join(points)}, in this order.",
            )
        table = {name: array[:, k] for k, name in enumerate(points)}
    for name in names:
        if name in table:
            continue
        if name not in known:
            raise _unknown_column(path, name, known)
        column = _real(path, name, store[name][()])
        if column.ndim == 2 and column.shape[1] == 1:
            column = column[:, 0]
        if column.ndim != 1 or column.size == 0:
            raise InputError(
                f"The array has shape {column.shape}, but one number a row is needed.",
                f"{path}, array {name!r}",
                "Give arrays of shape (n,) with n at least 1, one for each column.",
            )
        table[name] = column
    return table


def _real(path: Path, name: str, array: Any) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise InputError(
            f"The array holds {array.dtype} in place of real numbers.",
            f"{path}, array {name!r}",
            "Convert it to floating-point numbers.",
        )
    return array.astype(float)


def _check_lengths(path: Path, table: Mapping[str, np.ndarray]) -> None:
    lengths = {name: len(column) for name, column in table.items()}
    first = next(iter(lengths))
    other = next((name for name, length in lengths.items() if length != lengths[first]), None)
    if other is not None:
        raise InputError(
            f"Column {first!r} has {lengths[first]} rows, column {other!r} has {lengths[other]}.",
            f"{path}, column {other!r}",
            "All columns must have the same length.",
        )


def _write_npz(path: Path, table: Mapping[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, **table)  # pyright: ignore


def _write_hdf5(path: Path, table: Mapping[str, np.ndarray]) -> None:
    with _h5py(path).File(path, "w") as file:
        for name, column in table.items():
            file[name] = column
