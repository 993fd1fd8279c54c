"""Training again without outliers: values beside equations are left out until the same ones are far from the field."""

from __future__ import annotations

import numpy as np

from hierax.checks.limits import OUTLYING
from hierax.problems.terms import Data
from hierax.results.solution import Solution
from hierax.solvers.outliers import ROUNDS
from hierax.training.context import Context
from hierax.training.contradicted import Masks, counted, lonely, outliers, share_of_outliers
from hierax.training.finish import finish, returned
from hierax.training.run import run
from hierax.training.state import RunState

ANEW = "Outliers: {}, contradicted by the equations and all other values. Training begins anew without them."
LONELY = "Nothing follows all data, and {} are far from their neighbours. Training begins anew without them."


def trained(state: RunState, context: Context) -> Solution:
    """The solution from a state on, without the values that the equations and all others contradict.

    Values far from their neighbours may be all that shows a peak: they are only left out where a training with all of
    them has failed, and stay out if they are far from a field that has not seen them.
    """
    state, own = settled(state, context)
    solution = finish(state, own)
    if solution.result.exit_code not in (2, 3) or context.over or not context.problem_of(state).weighs_data:
        return solution
    alone = {term.name: lonely(term) for term in _data(context)}
    if _numbers(alone) <= _numbers(state.outliers):
        return solution
    context.say(LONELY.format(counted(alone)))
    return finish(*settled(_begun(context, alone), context))


def settled(state: RunState, context: Context) -> tuple[RunState, Context]:
    """A training to its end, after which the same values are outliers as before, and its context without these."""
    own = _without(context, state.outliers)
    state = run(state, own)
    for _ in range(ROUNDS):
        found = _contradicted(state, context, own)
        if found is None or _numbers(found) == _numbers(state.outliers):
            break
        context.say(ANEW.format(counted(found)))
        own = _without(context, found)
        state = run(_begun(context, found), own)
    return state, own


def _begun(context: Context, found: Masks) -> RunState:
    first = RunState.begin(context.plan, len(context.sequence.problems), context.sequence.first)
    return first._replace(outliers=dict(found))


def _contradicted(state: RunState, context: Context, own: Context) -> Masks | None:
    """Which values of all data are outliers after a training with those of `own`; `None` where that is not worth it."""
    if own.over or state.stopped == "interrupted" or state.failure is not None:
        return None
    discrete, field = own.problem_of(state), returned(state, own)[1]
    if not state.outliers and (share_of_outliers(discrete, field) or 0.0) < OUTLYING:
        return None
    return outliers(discrete, _data(context), field)


def _data(context: Context) -> list[Data]:
    return [term for term in context.problem.terms if isinstance(term, Data)]


def _without(context: Context, found: Masks) -> Context:
    """A training without some values."""
    data = {term.name: term for term in _data(context)}
    left = {name: data[name].rows(~which) for name, which in found.items() if which.any()}
    return context.measuring(left) if left else context


def _numbers(found: Masks) -> set[tuple[str, int]]:
    return {(name, int(row)) for name, which in found.items() for row in np.flatnonzero(which)}
