"""Rows of a table that belong to different fidelities, told apart by a column."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hierax._errors import InputError
from hierax.records.tables import Table


@dataclass(frozen=True, eq=False)
class Group:
    """The rows of one fidelity, its name, and what a row costs."""

    name: str
    rows: np.ndarray
    cost: float


def fidelity_groups(table: Table, level: str | None, cost: np.ndarray | None) -> list[Group] | None:
    """Rows by fidelity of a table that was read, or `None` without a column `level`.

    The cost of a fidelity is the median of the column of costs over its rows; without that column it is the number of
    the fidelity, which then only orders.

    Raises
    ------
    InputError
        For a cost without a level, a single fidelity, names without costs, and what cannot be read.
    """
    if level is None:
        if cost is not None:
            raise InputError(
                "Costs are given, but not which row is of which fidelity.", "--cost", "Name its column by --level."
            )
        return None
    labels = table.labels(level)
    names = sorted(set(labels.tolist()))
    if len(names) < 2:
        raise InputError(
            f"All rows are of one fidelity, {names[0]!r}.", f"{table.path}, column {level!r}", "Leave out --level."
        )
    groups = {name: np.flatnonzero(labels == name) for name in names}
    if cost is not None:
        found = [Group(name, rows, float(np.median(cost[rows]))) for name, rows in groups.items()]
        return sorted(found, key=lambda group: group.cost)
    return sorted(
        (Group(name, rows, _number(table.path, level, name)) for name, rows in groups.items()), key=lambda g: g.cost
    )


def _number(path: Path, level: str, name: str) -> float:
    try:
        return float(name)
    except ValueError as error:
        raise InputError(
            f"The fidelity {name!r} is a name, which says nothing of its order.",
            f"{path}, column {level!r}",
            "Name a column of costs by --cost, or number the fidelities, the best the highest.",
        ) from error
