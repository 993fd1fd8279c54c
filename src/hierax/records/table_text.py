"""Tables as texts: separators, comments, headings, a row of units, decimal commas."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from hierax._errors import InputError
from hierax.records.columns import NO_NUMBER, AbstractColumns, Column
from hierax.results.files import MOST_ARRAYS

DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
MISSING = ("", "nan", "na", "n/a", "null", "none")
SAVE = "Save the table as CSV in UTF-8, or give an NPZ file."
ROWS = "Give a line of headings and rows of numbers."


@dataclass(frozen=True, eq=False)
class TextTable:
    """A table as it stands in a file.

    Attributes
    ----------
    headings:
        Of the columns.
    rows, lines:
        The cells, and the number of the line of each row.
    commas:
        Whether numbers have decimal commas.
    notes:
        What was passed over, in words.
    """

    headings: list[str]
    rows: list[list[str]]
    lines: list[int]
    commas: bool
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> TextTable:
        """Read a file.

        Raises
        ------
        InputError
            For what is no text, has no headings, or rows of another length; all such rows at once.
        """
        rows, lines, comments = _cells(path)
        if not rows:
            raise InputError("The file has no rows.", str(path), ROWS)
        headings, first = [cell.strip() for cell in rows[0]], 1
        if all(number(cell) is not None for cell in headings):
            if len(comments) != len(headings) or any(number(cell) is not None for cell in comments):
                raise InputError(
                    f"The first line holds numbers ({', '.join(headings[:4])}) in place of names.",
                    f"{path}, line {lines[0]}",
                    "Write the names of the columns into the first line.",
                )
            headings, first = comments, 0
        _check_headings(path, headings, lines[0])
        rows, lines = rows[first:], lines[first:]
        if not rows:
            raise InputError("The file has headings but no rows.", str(path), "Give at least one row of numbers.")
        _check_widths(path, headings, rows, lines)
        notes: tuple[str, ...] = ()
        if _are_units(rows):
            notes = (f"Line {lines[0]} of {path} is read as units: {', '.join(cell.strip() for cell in rows[0])}.",)
            rows, lines = rows[1:], lines[1:]
        return cls(headings, rows, lines, _with_commas(rows), notes)

    def cells(self, heading: str) -> list[str]:
        """The cells of a column, stripped; decimal commas as points."""
        place = self.headings.index(heading)
        found = [row[place].strip() for row in self.rows]
        return [c.replace(",", ".") if DECIMAL_COMMA.fullmatch(c) else c for c in found] if self.commas else found


def number(cell: str) -> float | None:
    """The number in a cell; nothing where there is none."""
    try:
        return float(cell) if "_" not in cell else None  # Python itself reads 1_000 as a thousand
    except ValueError:
        return None


def _cells(path: Path) -> tuple[list[list[str]], list[int], list[str]]:
    """Rows of cells without empty ones and comments, their lines, and the cells of the last comment before them."""
    if path.stat().st_size > MOST_ARRAYS:
        raise InputError(f"The file has more than {MOST_ARRAYS} bytes.", str(path), "Give an NPZ file, or fewer rows.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"This is no CSV text ({error}).", str(path), SAVE) from error
    kept, comment = [], ""
    for count, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            comment = comment if kept else line.lstrip().lstrip("#")
        elif line.strip():
            kept.append((count, line))
    if not kept:
        return [], [], []
    # Spreadsheets of many countries separate by semicolons because their decimal sign is the comma.
    delimiter = max(",;\t", key=kept[0][1].count)
    spaced = delimiter not in kept[0][1]
    try:
        rows = [line.split() for _, line in kept] if spaced else _split([line for _, line in kept], delimiter)
        heads = comment.split() if spaced else next(csv.reader([comment], delimiter=delimiter), [])
    except csv.Error as error:
        raise InputError(f"This is no CSV text ({error}).", str(path), SAVE) from error
    filled = [(row, count) for row, (count, _) in zip(rows, kept, strict=False) if any(cell.strip() for cell in row)]
    return [row for row, _ in filled], [count for _, count in filled], [cell.strip() for cell in heads]


def _split(lines: list[str], delimiter: str) -> list[list[str]]:
    """Line by line, so that a stray quotation mark spoils its own line only."""
    return [next(csv.reader([line], delimiter=delimiter)) for line in lines]


def _check_headings(path: Path, headings: list[str], line: int) -> None:
    twice = next((cell for cell in headings if headings.count(cell) > 1), None)
    if twice is not None:
        places = [str(k + 1) for k, cell in enumerate(headings) if cell == twice]
        raise InputError(
            f"The heading {twice!r} occurs more than once.",
            f"{path}, line {line}, columns {' and '.join(places)}",
            "Give each column its own name.",
        )


def _check_widths(path: Path, headings: list[str], rows: list[list[str]], lines: list[int]) -> None:
    wrong = [(k, row) for k, row in enumerate(rows) if len(row) != len(headings)]
    if wrong:
        k, row = wrong[0]
        more = f" ({len(wrong)} such rows)" if len(wrong) > 1 else ""
        commas = any(DECIMAL_COMMA.search(",".join(row)) for _, row in wrong)
        raise InputError(
            f"The row has {len(row)} cells, the header {len(headings)}{more}.",
            f"{path}, row {k + 1} (line {lines[k]}): {', '.join(row)[:60]}",
            "All columns must have the same length; write one cell a column in every row."
            + " Where decimals are commas, separate columns by semicolons." * commas,
        )


def _are_units(rows: list[list[str]]) -> bool:
    """Whether the first row names units: short words in all cells, above numbers."""
    cells = [cell.strip() for cell in rows[0]]
    words = any(cells) and all(len(cell) <= 12 and number(cell.replace(",", ".")) is None for cell in cells)
    below = rows[1] if len(rows) > 1 else []
    return words and any(cells[k] and number(cell.replace(",", ".")) is not None for k, cell in enumerate(below))


def _with_commas(rows: list[list[str]]) -> bool:
    """Whether commas are decimal signs: some number has one, and none has a point."""
    cells = [cell.strip() for row in rows for cell in row]
    return any(map(DECIMAL_COMMA.fullmatch, cells)) and not any("." in c and number(c) is not None for c in cells)


@final
class Texts(AbstractColumns):
    """Columns of a text."""

    def __init__(self, path: Path) -> None:
        self.table = TextTable.read(path)
        self.headings, self.notes = self.table.headings, self.table.notes

    def column(self, heading: str) -> Column:
        cells = self.table.cells(heading)
        found = [number(cell) for cell in cells]
        odd = {k: _said(cells[k]) for k, value in enumerate(found) if value is None}
        empty = {k: text for k, text in odd.items() if cells[k].lower() in MISSING}
        words = {k: text for k, text in odd.items() if k not in empty}
        values = np.array([np.nan if value is None else value for value in found])
        return Column.of(values, self.table.lines, empty, words)

    def texts(self, heading: str) -> list[str]:
        return self.table.cells(heading)


def _said(cell: str) -> str:
    if cell.lower() in MISSING:
        return "The cell is empty" if not cell else f"The value is {cell}, which is missing"
    comma = "; write a point, not a comma, before decimals" if number(cell.replace(",", ".")) is not None else ""
    return f"{NO_NUMBER} {cell!r}, which is no number{comma}"
