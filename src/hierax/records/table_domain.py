"""The box of a table: that around its rows, or as it is asked for in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from hierax._errors import InputError
from hierax.problems.domain import Box
from hierax.records.tables import LOGARITHM

Named = Callable[[str], str]
"""From a word to the name of the coordinate that it means."""


def box_of_table(
    points: np.ndarray, names: Sequence[str], domain: Sequence[str], periodic: Sequence[str], named: Named, path: Path
) -> tuple[Box, np.ndarray, list[str]]:
    """The box, the points in it, and sentences about what lies beyond the rows.

    Parameters
    ----------
    points, names:
        Points `(n, dim)`, and what their coordinates are called.
    domain:
        Words `COLUMN=LOW:HIGH`; a column without one reaches as far as its rows.
    periodic:
        Words `COLUMN=PERIOD`; points are moved by whole periods into the box.
    named:
        The name of the coordinate that a word before the `=` means.
    path:
        The table, for messages.

    Raises
    ------
    InputError
        For words that cannot be read, columns that are no inputs, and rows outside.
    """
    ends = {name: _ends(name, text) for name, text in _read(domain, "--domain", names, named).items()}
    periods = {name: _period(name, text) for name, text in _read(periodic, "--periodic", names, named).items()}
    lower, upper, notes = points.min(axis=0), points.max(axis=0), []
    points = points.copy()
    for axis, name in enumerate(names):
        low, high = ends.get(name, (lower[axis], upper[axis]))
        if name in periods:
            low, high = _around(name, low, high, periods[name], name in ends)
            points[:, axis] = low + np.mod(points[:, axis] - low, high - low)
        elif name in ends:
            _refuse_outside(points[:, axis], low, high, name, path)
            if low < lower[axis] or high > upper[axis]:
                notes.append(
                    f"{name}: rows reach from {lower[axis]:g} to {upper[axis]:g}, the domain from {low:g} to {high:g}; "
                    "what is learned beyond the rows is not checked by anything."
                )
        lower[axis], upper[axis] = low, high
    return Box(lower, upper, names=tuple(names), periodic=tuple(periods)), points, notes


def _read(words: Sequence[str], option: str, names: Sequence[str], named: Named) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for word in words:
        column, separator, text = word.rpartition("=")
        if not separator or not column:
            raise InputError(f"{word!r} says nothing of a column.", option, f"Write {FORMS[option]}, without spaces.")
        name = named(column)
        if name not in names:
            raise InputError(f"{column!r} is none of the inputs.", option, f"The inputs are {', '.join(names)}.")
        if name in found:
            raise InputError(f"{column!r} is given twice.", option, "Give it once.")
        found[name] = text
    return found


FORMS = {"--domain": "COLUMN=LOW:HIGH", "--periodic": "COLUMN=PERIOD"}


def _ends(name: str, text: str) -> tuple[float, float]:
    low, separator, high = text.partition(":")
    try:
        ends = float(low), float(high)
        if not separator or not np.all(np.isfinite(ends)) or ends[0] >= ends[1]:
            raise ValueError
        if name.startswith(LOGARITHM):
            if ends[0] <= 0.0:
                raise ValueError
            return float(np.log(ends[0])), float(np.log(ends[1]))
    except ValueError as error:
        positive = " Of a column of --log both are positive." if name.startswith(LOGARITHM) else ""
        raise InputError(
            f"{text!r} is no interval.", f"--domain {name}=...", f"Write LOW:HIGH, the lower number first.{positive}"
        ) from error
    return ends


def _period(name: str, text: str) -> float:
    try:
        period = float(text)
        if not np.isfinite(period) or period <= 0.0 or name.startswith(LOGARITHM):
            raise ValueError
    except ValueError as error:
        raise InputError(
            f"{text!r} is no period of {name}.", f"--periodic {name}=...", "Write a positive number, 360 for degrees."
        ) from error
    return period


def _around(name: str, low: float, high: float, period: float, given: bool) -> tuple[float, float]:
    """One period, from the lower end on."""
    if given and abs(high - low - period) > 1e-9 * period:
        raise InputError(
            f"The domain of {name} has the length {high - low:g}, its period is {period:g}.",
            f"--domain {name}=... --periodic {name}=...",
            "Leave --domain out for this column, or make both equal.",
        )
    return low, low + period


def _refuse_outside(column: np.ndarray, low: float, high: float, name: str, path: Path) -> None:
    outside = np.flatnonzero((column < low) | (column > high))
    if outside.size:
        raise InputError(
            f"{outside.size} of {len(column)} rows are outside of the domain, {name} = {low:g} to {high:g}.",
            f"{path}, column {name!r}, row {outside[0] + 1}: {column[outside[0]]:g}",
            "Widen the domain, or leave these rows out.",
        )
