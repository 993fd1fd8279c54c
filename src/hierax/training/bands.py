"""`intervals`: between which ends the function lies that a table was fitted by, point by point."""

from __future__ import annotations

import numpy as np

from hierax._errors import InputError
from hierax.fields.recursive import Coupled
from hierax.planning.data import has_process
from hierax.results.evaluation import Points, check_points, columns
from hierax.results.intervals import LEVEL
from hierax.results.solution import Solution
from hierax.training.processes import given_table_process, table_process
from hierax.training.table_process import TableProcess


def intervals(
    solution: Solution, points: Points, value: str | None = None, *, probability: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    r"""Ends of intervals that hold the function behind a table, its noise aside.

    They are those of the Gaussian process that each table has as a candidate and as a witness,
    :math:`m(x) \pm t_{\nu(x)} o(x) s(x)` with its mean and deviation, how much larger than expected misfits of rows
    left out nearby are, and the quantile of Student's t with as many degrees of freedom as the mean hangs on rows.
    Noise that is uneven, or has heavy tails, is told by these misfits. An interval reaches to the fitted value where
    that lies outside.

    Parameters
    ----------
    solution:
        The fit of a table.
    points:
        As of `Solution.evaluate`.
    value:
        The output; the first if not given.
    probability:
        With which the function is to lie in the interval of a point, in the mean over points and tables.

    Returns
    -------
    Lower and upper ends, `(n,)` each.

    Raises
    ------
    InputError
        For something else than the output of a table, of one fidelity, in a box; for a probability that is none.

    References
    ----------
    Rasmussen, Williams, Gaussian Processes for Machine Learning (2006), section 2.2; Nychka, J. Am. Stat. Assoc. 83
    (1988), on what such intervals hold in the mean over points; Satterthwaite, Biometrics Bull. 2 (1946).
    """
    if not 0.0 < probability < 1.0:
        raise InputError(f"The probability is {probability:g}.", "intervals", "Give one between 0 and 1.")
    name = value or next(iter(solution.problem.unknowns))
    process, places = _process(solution, name), check_points(solution.problem, points)
    fitted = columns(solution.problem, solution.field, places, [name])[name]
    low, high = process.band(places, probability)
    return np.minimum(low, fitted), np.maximum(high, fitted)


def _process(solution: Solution, name: str) -> TableProcess:
    problem = solution.problem
    own = solution.field.parts.get(name) if problem.named else solution.field
    known = name in problem.functions and has_process(problem, name) and not isinstance(own, Coupled)
    found = solution.processes.get(name)
    made = None
    if known:
        made = table_process(problem, name) if found is None else given_table_process(problem, name, found)
    if made is None:
        raise InputError(
            f"There are no intervals of {name!r}: they are known of the outputs of a table of one fidelity.",
            "intervals",
            "Name an output of a run of `hierax fit`, and no derivative, or leave the intervals out.",
        )
    return made
