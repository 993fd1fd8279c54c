"""One column of a table: its name, its numbers, and what is wrong with them."""

from __future__ import annotations

import abc
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hierax._errors import InputError

UNIT = re.compile(r"\s*[\[(][^\])]*[\])]\s*$")
"""A unit at the end of a heading, in brackets."""
NO_NUMBER = "The cell holds"
"""What is said of a cell with words begins so."""
NAMES = (
    "Leave a column of words out, or write a column of 0 and 1 for each of its words but one; dates as days, and "
    "numbers without marks between thousands."
)
SHOWN = 8
"""Most faults of a table that are told."""


@dataclass(frozen=True)
class Reading:
    """How a table is read.

    Attributes
    ----------
    rename:
        New names by the headings, or by what is left of them without their units.
    drop_missing:
        Whether rows with empty cells or NaN are left out.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    drop_missing: bool = False

    @classmethod
    def of(cls, words: Sequence[str], drop_missing: bool = False) -> Reading:
        """From words `HEADING=NAME`.

        Raises
        ------
        InputError
            For a word that is no such pair.
        """
        pairs = [word.rpartition("=") for word in words]
        for word, (old, separator, new) in zip(words, pairs, strict=True):
            if not separator or not old or not new.isidentifier():
                raise InputError(
                    f"{word!r} renames nothing.", "--rename", "Write HEADING=NAME, the name in letters and digits."
                )
        return cls({old: new for old, _, new in pairs}, drop_missing)

    def name(self, heading: str) -> str:
        """What a column is called: without its unit, `T [K]` as `T`."""
        bare = UNIT.sub("", heading).strip()
        return self.rename.get(heading) or self.rename.get(bare) or bare


@dataclass(frozen=True, eq=False)
class Column:
    """Numbers with what is wrong with them: `bad` by the places of cells, in words; lines for texts."""

    values: np.ndarray
    bad: Mapping[int, str]
    missing: np.ndarray
    lines: Sequence[int] = ()

    @classmethod
    def of(
        cls, values: np.ndarray, lines: Sequence[int] = (), empty: Mapping[int, str] = {}, words: Mapping[int, str] = {}
    ) -> Column:
        """A column; of NaN in it something else may be said: of cells that are `empty`, and of other `words`."""
        bad = {**empty, **words}
        for k in np.flatnonzero(~np.isfinite(values)):
            bad.setdefault(int(k), f"The value is {values[k]}, which is not finite")
        missing = np.isnan(values) & np.array([not bad.get(k, "").startswith(NO_NUMBER) for k in range(len(values))])
        return cls(values, bad, missing, lines)

    def faults(self, name: str, rows: set[int]) -> list[tuple[int, str, str]]:
        """Row, place and words of everything wrong in some rows."""
        where = lambda k: f"row {k + 1}" + (f" (line {self.lines[k]})" if len(self.lines) else "")  # noqa: E731
        return [(k, f"column {name!r}, {where(k)}", text) for k, text in self.bad.items() if k in rows]

    def logarithm(self) -> Column:
        """The column of natural logarithms."""
        wrong = {
            int(k): f"The value is {self.values[k]:g}, which has no logarithm" for k in np.flatnonzero(self.values <= 0)
        }
        with np.errstate(divide="ignore", invalid="ignore"):
            return Column(np.log(self.values), {**self.bad, **wrong}, self.missing, self.lines)


class AbstractColumns(abc.ABC):
    """The columns of a file.

    Attributes
    ----------
    headings:
        As they stand in the file.
    notes:
        What was passed over, in words.
    """

    headings: list[str]
    notes: tuple[str, ...] = ()

    def points(self, names: tuple[str, ...], reading: Reading) -> dict[str, Column]:
        """Coordinates that one array stands for; none by default."""
        del names, reading
        return {}

    @abc.abstractmethod
    def column(self, heading: str) -> Column:
        """A column as numbers."""

    @abc.abstractmethod
    def texts(self, heading: str) -> list[str]:
        """A column as it is."""


def faults_of(path: Path, faults: list[tuple[int, str, str]], rows: int, dropping: bool) -> InputError:
    """All that is wrong with a table as one error."""
    _, place, text = faults[0]
    others = [f"{where}: {words}" for _, where, words in faults[1:SHOWN]]
    more = f"; {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    bad = len({row for row, _, _ in faults})
    # a column of words is no column with wrong rows
    names = bad == rows and text.startswith(NO_NUMBER)
    drop = "" if dropping else ", or leave rows with missing values out by --drop-missing"
    return InputError(
        f"{text} ({bad} of {rows} rows are wrong)." + (f" Also {'; '.join(others)}{more}." if others else ""),
        f"{path}, {place}",
        NAMES if names else f"Remove or repair these rows{drop}; missing values are not filled in.",
    )
