"""Tables of numbers in files: CSV with named columns, NPZ, HDF5 and Parquet with named arrays."""

from __future__ import annotations

import csv
import difflib
import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from hierax._errors import InputError
from hierax.records.columns import UNIT, AbstractColumns, Column, Reading, faults_of
from hierax.records.table_arrays import hdf5_columns, npz_columns, parquet_columns, parquet_module
from hierax.records.table_text import Texts, number
from hierax.results.arrays import HDF5, h5py_module, write_hdf5, write_npz
from hierax.results.files import written

PARQUET, TEXTS = ".parquet", (".csv", ".tsv", ".txt", ".dat")
LOGARITHM = "log_"
"""Before the name of a column whose natural logarithm is meant."""


def is_table(path: Path) -> bool:
    """Whether a path has a suffix of tables."""
    return path.suffix.lower() in (*TEXTS, ".npz", PARQUET, *HDF5)


@final
class Table:
    """A file with columns, opened.

    Attributes
    ----------
    names:
        What the columns are called, by their headings.
    rows:
        Places of the rows that were read last; without those that had missing values, where these are left out.
    notes:
        What was passed over, in words.
    """

    def __init__(self, path: Path, reading: Reading = Reading()) -> None:
        _check_file(path)
        kinds = dict.fromkeys(TEXTS, Texts) | {".npz": npz_columns, PARQUET: parquet_columns}
        kinds |= dict.fromkeys(HDF5, hdf5_columns)
        self.path, self.reading = path, reading
        self._columns: AbstractColumns = _by_suffix(path, kinds)(path)
        self.names = {heading: reading.name(heading) for heading in self._columns.headings}
        self.notes, self.rows = list(self._columns.notes), np.zeros(0, dtype=int)

    def heading(self, asked: str) -> str:
        """The heading of a column that is asked for by its heading, or by its name.

        Raises
        ------
        InputError
            If there is none, or more than one.
        """
        if asked in self.names:
            return asked
        found = [heading for heading, name in self.names.items() if asked in (name, UNIT.sub("", heading).strip())]
        if not found:
            raise _unknown_column(self.path, asked, list(self.names))
        if len(found) > 1:
            raise InputError(
                f"Several columns are called {asked!r}: {', '.join(found)}.", str(self.path), "Write the whole heading."
            )
        return found[0]

    def listed(self, words: Sequence[str]) -> tuple[str, ...]:
        """Words as columns; `x,y` stands for two where no column is called so."""
        headings = {*self.names, *self.names.values(), *(UNIT.sub("", heading).strip() for heading in self.names)}
        parts = [[word] if word in headings or "," not in word else word.split(",") for word in words]
        return tuple(part.strip() for some in parts for part in some if part.strip())

    def numbers(self, asked: Sequence[str], points: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """Columns of finite numbers by the names they are asked for, all of the same length; see `read_columns`."""
        whole = self._columns.points(tuple(points), self.reading) if points else {}
        found = {name: whole[name] if name in whole else self._column(name) for name in asked}
        _check_lengths(self.path, {name: column.values for name, column in found.items()})
        missing = np.any([column.missing for column in found.values()], axis=0)
        self.rows = np.flatnonzero(~missing) if self.reading.drop_missing else np.arange(len(missing))
        dropped = len(missing) - len(self.rows)
        if dropped == len(missing):
            raise InputError("Every row has a missing value.", str(self.path), "Leave the empty column out.")
        if dropped:
            self.notes.append(f"{dropped} of {len(missing)} rows of {self.path} have missing values and are left out.")
        faults = [fault for name, column in found.items() for fault in column.faults(name, set(self.rows.tolist()))]
        if faults:
            raise faults_of(self.path, sorted(faults), len(missing), self.reading.drop_missing)
        return {name: column.values[self.rows] for name, column in found.items()}

    def source(self, asked: str) -> str:
        """The column that another one is made of: `u` for `log_u`, where there is no such column."""
        bare = asked.removeprefix(LOGARITHM)
        return bare if bare != asked and not self._has(asked) and self._has(bare) else asked

    def _column(self, asked: str) -> Column:
        source = self.source(asked)
        column = self._columns.column(self.heading(source))
        return column if source == asked else column.logarithm()

    def _has(self, asked: str) -> bool:
        return asked in self.names or asked in self.names.values()

    def labels(self, asked: str) -> np.ndarray:
        """A column of names or numbers as texts `(n,)`, in the rows that were read last, equal numbers alike."""
        cells = np.array(self._columns.texts(self.heading(asked)))[self.rows]
        empty = np.flatnonzero(cells == "")
        if empty.size:
            row = self.rows[empty[0]] + 1
            raise InputError("The cell is empty.", f"{self.path}, column {asked!r}, row {row}", "Repair the row.")
        known = [number(cell) for cell in cells]
        return cells if any(n is None for n in known) else np.array([f"{n:.15g}" for n in known])


def read_columns(
    path: Path, names: Sequence[str], *, points: Sequence[str] = (), reading: Reading = Reading()
) -> dict[str, np.ndarray]:
    """Read columns of finite numbers, all of the same length.

    Parameters
    ----------
    path:
        A text with a line of headings (`.csv`, `.tsv`, `.txt`, `.dat`); `.npz`, `.h5` or `.parquet` with arrays of
        these names.
    names:
        What is needed, by heading or name; other columns are not looked at. `log_u` is the natural logarithm of `u`
        where there is no such column.
    points:
        Those of the names that one array `points` of shape `(n, len(points))` may stand for, in NPZ and HDF5.
    reading:
        How columns are called, and whether rows with missing values are left out.

    Raises
    ------
    InputError
        For a file that is missing, empty, too large or of another kind, a column that is missing, given twice, of
        another length or shape, and for all cells that are empty, no number, NaN or Inf; with file, column and row.
    """
    return Table(path, reading).numbers(names, points)


def write_columns(path: Path, table: Mapping[str, np.ndarray]) -> None:
    """Write columns of equal length by the suffix, `.csv`, `.npz`, `.h5` or `.parquet`; numbers keep all digits.

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
        h5py_module(path)
    if path.suffix.lower() == PARQUET:
        parquet_module(path)
    writers = {".csv": _write_csv, ".npz": write_npz, PARQUET: _write_parquet}
    return _by_suffix(path, writers | dict.fromkeys(HDF5, write_hdf5))


def _check_file(path: Path) -> None:
    if not path.is_file():
        near = difflib.get_close_matches(path.name, _neighbours(path), n=3)
        raise InputError(
            "There is no such file." if not path.is_dir() else "This is a folder, not a file.",
            str(path),
            f"Did you mean {', '.join(near)}?" if near else "Check the path; relative ones start where you are.",
        )
    if path.stat().st_size == 0:
        raise InputError("The file is empty.", str(path), "Give a file with a line of headings and rows of numbers.")


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


def _write_csv(path: Path, table: Mapping[str, np.ndarray]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows([repr(float(value)) for value in row] for row in zip(*table.values(), strict=True))


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


def _write_parquet(path: Path, table: Mapping[str, np.ndarray]) -> None:
    arrow = importlib.import_module("pyarrow")
    parquet_module(path).write_table(arrow.table(dict(table)), path)
