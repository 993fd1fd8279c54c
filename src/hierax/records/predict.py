"""Values of a solution at the rows of a table, those outside of its domain marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hierax._errors import InputError
from hierax.geometry.mesh_file import read as read_mesh
from hierax.geometry.shape import positive
from hierax.problems.grouping import far_from
from hierax.problems.problem import Problem
from hierax.problems.terms import Data
from hierax.records.tables import LOGARITHM, Table
from hierax.results.evaluation import box_of, check_points, columns, nearest, quantities, region, within, wrapped
from hierax.results.solution import Solution
from hierax.training.bands import intervals

OUTSIDE = "outside"
"""The column that marks rows outside of the domain; it is there where such rows are."""

UNSEEN = "unseen"
"""The column that marks rows of which the fit of a table says nothing."""

BETWEEN = "{} of {} rows are between the values of {inputs} that occur in the table; nothing is claimed there ({} = 1)."
ALONE = "{} of {} rows are in the box of the table and far from all its rows; nothing is claimed there ({} = 1)."
SAME = 1e-6
"""Distance of values that are taken for the same, over their range."""

LOW, HIGH = "_low", "_high"
"""What the columns of the ends of intervals add to the name of a value."""

Outside = Literal["flag", "clip", "refuse"]


def predicted(
    solution: Solution, table: Table, values: Sequence[str], outside: Outside, probability: float | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], list[str]]:
    """Columns of the points, columns of values, and sentences about rows that lie outside.

    Parameters
    ----------
    values:
        Names of values and derivatives; all unknowns if there are none.
    outside:
        What happens to rows outside of the domain: `flag` marks them and leaves their values empty (NaN), `clip` marks
        them and takes the values at the nearest point of the domain, `refuse` refuses the table.
    probability:
        Of intervals, whose ends are columns beside each value; none if not given.

    Raises
    ------
    InputError
        For what cannot be read, values that are unknown or have no intervals, and with `refuse` for rows outside.
    """
    problem = solution.problem
    names = tuple(problem.domain.names or ())
    for value in values:
        quantities(problem, value)
    shown = {name: table.source(name) for name in names}
    read = table.numbers(tuple(dict.fromkeys((*names, *shown.values()))), points=names)
    points = np.stack([read[name] for name in names], axis=1)
    found, sentences = _valued(solution, points, str(table.path), values, outside, probability)
    return {shown[name]: read[shown[name]] for name in names}, found, sentences


def predicted_on_mesh(
    solution: Solution,
    path: Path,
    values: Sequence[str],
    outside: Outside,
    unit: float = 1.0,
    probability: float | None = None,
) -> tuple[Any, list[str]]:
    """A mesh as meshio reads it with values at its nodes, and sentences about nodes that lie outside.

    Parameters and errors are those of `predicted`; `unit` is the length of a unit of the file in units of the problem.
    """
    found = read_mesh(path)
    points = positive(unit, "--unit") * np.asarray(found.points, float)[:, : solution.problem.domain.dim]
    data, sentences = _valued(solution, points, str(path), values, outside, probability)
    found.point_data, found.cell_data, found.cell_sets, found.point_sets = data, {}, {}, {}
    return found, sentences


def write_on_mesh(found: Any, path: Path) -> None:
    """Write a mesh in the format of the file's name.

    Raises
    ------
    InputError
        For a format that meshio does not write.
    """
    try:
        found.write(path)
    except (Exception, SystemExit) as error:
        raise InputError(f"{error or type(error).__name__}", f"{path}", "give a file that ends in .vtu") from error


def _valued(
    solution: Solution,
    points: np.ndarray,
    where: str,
    values: Sequence[str],
    outside: Outside,
    probability: float | None,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Columns of values at points, and sentences about those outside."""
    problem = solution.problem
    inside, moved = _placed(problem, points, where, outside)
    found = _evaluated(solution, moved, tuple(values) or tuple(problem.unknowns), probability)
    inputs, between = _between(solution, moved)
    kinds = {BETWEEN: between, ALONE: inside & _alone(problem, moved)}
    sentences = [
        text.format(int(np.sum(told)), len(points), UNSEEN, inputs=" and ".join(inputs))
        for text, told in kinds.items()
        if np.any(told)
    ]
    if sentences:
        found[UNSEEN] = np.where(np.any(list(kinds.values()), axis=0), 1.0, 0.0)
    count = int(np.sum(~inside))
    if not count:
        return found, sentences
    if outside == "flag":
        found = {name: np.where(inside, column, np.nan) for name, column in found.items()}
    found[OUTSIDE] = np.where(inside, 0.0, 1.0)
    told = "their values are left empty" if outside == "flag" else "they have the values of the nearest point inside"
    sentence = f"{count} of {len(points)} rows are outside of {region(problem)}; {told} ({OUTSIDE} = 1)."
    return found, [*sentences, sentence]


def _between(solution: Solution, points: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Inputs of whose occurring values alone the guards speak, and which points have others."""
    names = solution.problem.domain.names or ()
    inputs = [name for name in names if any(name in guard.inputs for guard in solution.guards.values())]
    other = np.zeros(len(points), dtype=bool)
    for axis in map(names.index, inputs):
        terms = [term for term in solution.problem.terms if isinstance(term, Data)]
        own = np.unique(np.concatenate([term.points[:, axis] for term in terms]))
        other |= np.min(np.abs(points[:, axis, None] - own), axis=1) > SAME * np.ptp(own)
    return inputs, other


def _alone(problem: Problem, points: np.ndarray) -> np.ndarray:
    """Which points no row of a table is near to; none where equations say what happens between rows."""
    rows = [term.points for term in problem.terms if isinstance(term, Data) and term.observe is None]
    if len(rows) < len(problem.terms):
        return np.zeros(len(points), dtype=bool)
    corner, upper = problem.domain.bounds()
    widths = upper - corner
    return far_from(np.unique(np.concatenate(rows) - corner, axis=0) / widths, (points - corner) / widths)


def _placed(problem: Problem, points: np.ndarray, where: str, outside: Outside) -> tuple[np.ndarray, np.ndarray]:
    """Which points are inside, and points that all are."""
    box, points = box_of(problem), wrapped(problem, points)
    if outside == "refuse" or points.shape[1] != box.dim:
        return np.ones(len(points), dtype=bool), check_points(problem, points, where)
    inside = within(problem, points)
    return inside, np.where(inside[:, None], points, nearest(problem, points))


def _evaluated(
    solution: Solution, points: np.ndarray, wanted: Sequence[str], probability: float | None
) -> dict[str, np.ndarray]:
    """The values with their intervals; of unknowns that are logarithms the quantities themselves as well."""
    found = columns(solution.problem, solution.field, points, wanted)
    if probability is not None:
        for name in tuple(found):
            ends = intervals(solution, points, name, probability=probability)
            found |= dict(zip((f"{name}{LOW}", f"{name}{HIGH}"), ends, strict=True))
    logs = [name for name in solution.problem.unknowns if name.startswith(LOGARITHM) and name in found]
    of_logs = [name for name in found if name.removesuffix(LOW).removesuffix(HIGH) in logs]
    return found | {name.removeprefix(LOGARITHM): np.exp(found[name]) for name in of_logs}
