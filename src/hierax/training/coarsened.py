"""Levels below a perceptron, from what a problem's Gauss-Newton matrix says about its units."""

from __future__ import annotations

from typing import Any

from hierax._errors import InputError
from hierax.hierarchy import Hierarchy, Level, NodeCoarsening
from hierax.objective.corrected import dense
from hierax.objective.rows import DENSE_LIMIT
from hierax.planning.choose import choose
from hierax.problems.keys import Key, seed_of
from hierax.problems.problem import Problem
from hierax.solvers import GaussNewton
from hierax.training.discrete import Bench


def coarsened(
    problem: Problem, field: Any, *, levels: int = 2, by: NodeCoarsening = NodeCoarsening(), key: Key = 0
) -> Hierarchy:
    """A hierarchy whose finest level is the given perceptron, for cycles that correct.

    Every coarser level keeps the units that the others depend on, by the Gauss-Newton matrix of the problem where the
    level stands (`hierax.hierarchy.NodeCoarsening`).

    Parameters
    ----------
    problem : Problem
        What is to be learned.
    field : MLP
        The finest field, trained or not.
    levels : int
        Most levels; fewer where no unit can be left out any more.
    by : NodeCoarsening
        The rule.
    key : int or key
        Of the points.

    Raises
    ------
    InputError
        For fields that are no perceptrons with hidden layers, with too many parameters for a matrix, or whose units all
        stand alone.

    Examples
    --------
    >>> hierarchy = hx.coarsened(problem, hx.MLP([2, 40, 1], key=0))  # doctest: +SKIP
    >>> hx.train(problem, hierarchy, solver=hx.lbfgs(), cycle=hx.VCycle())  # doctest: +SKIP
    """
    plan = choose(problem, key=seed_of(key, 0), hierarchy=field, solver=GaussNewton())
    bench, made = Bench(problem, plan, seed_of(key, 1)), [plan.hierarchy.levels[0]]
    if made[0].parameters > DENSE_LIMIT:
        raise _refused(f"{made[0].parameters} parameters", f"at most {DENSE_LIMIT} have a matrix; use WidthGrowth")
    transfers = []
    while len(made) < levels:
        prepared = bench.prepare(made[0].field)
        curvature = prepared.objective.linearise(prepared.theta).curvature
        try:
            coarser, transfer = by.coarsen(made[0], dense(curvature))
        except ValueError as error:
            if transfers:
                break
            raise _refused(str(error), "give a perceptron with several units in its hidden layers") from error
        made, transfers = [Level(coarser.field), *made], [transfer, *transfers]
    return Hierarchy(made, transfers)


def _refused(what: str, remedy: str) -> InputError:
    return InputError(what=what, where="coarsened(problem, field)", remedy=remedy)
