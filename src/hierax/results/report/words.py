"""Sentences of the report: what a result, a guard and an end of training mean."""

from __future__ import annotations

from hierax._results import RESULTS
from hierax.results.report.account import Account

MEANINGS = {
    "fresh_residual": "Do the equations hold where they were not imposed? Residual at fresh points, a quarter of them "
    "in the first cells at the boundaries and the start, over that at the training points.",
    "boundary": "Are the boundary and start conditions met? Misfit of each over its own size, in its own units.",
    "levels": "Does refinement settle? Change by the last refinement over the change by the one "
    "before, or over the largest before, one for each axis, where it is small.",
    "resolution": "Is the last level fine enough? What is left to change at the pace of the last refinements, "
    "over the size of the solution.",
    "equation": "Do finer levels satisfy the equations better? Root of the loss on the last level over that on the "
    "first, while refinement still changes the solution or the loss is no small part of the untrained field's and not "
    "in a few cells alone; "
    "with one level, its residual over that of the untrained field. Each of several equations, and any beside data, "
    "over the size of its own parts.",
    "explained": "Does the field predict values that it has not seen? Share of their variance that neither it nor "
    "noise explains; the mean of the values leaves all of it.",
    "between": "Is anything known between the data? What a Gaussian process that explains them leaves open, over their "
    "spread, between any two rows.",
    "everywhere": "Do errors at rows left out hold in the box? What processes that fit the rows leave open there.",
    "validation": "Does the field follow the noise? Error of the returned level at data kept back, over that of the "
    "best level.",
    "regularity": "Is the solution smooth enough for its equation? Power of the mesh width with which the residual "
    "falls; kinks and jumps, of which an equation may admit several, leave 1/2.",
    "gaps": "Are the sides of notches and slits apart? Part of the faces of the body that face each other across a gap "
    "where both are in one cell, or in two beside each other.",
    "coverage": "Did the points of training see what the terms do? Peaks without points, and jumps that are "
    "differentiated away.",
    "admissible": "Do learned laws stay where they were learned, and is no matter inverted? Share of the body where "
    "they do not, or where it is.",
    "stationary": "Is the answer a minimum of its energy? Gradient over the size of its parts, and whether the energy "
    "curves downwards along any direction.",
    "determined": "Do the terms determine the solution? How far the unknowns can change on coarse levels, in units of "
    "what smooth changes that violate the terms as much amount to.",
    "data": "Does the solution fit the data? Misfit at measured values over their noise.",
    "outliers": "Do single wrong values move what is inferred? Part of the squared misfit at data that single ones "
    "make which the equations and all others contradict.",
    "prediction": "Do the cheaper fidelities and the other rows predict a row of the dearest one? Error when it is "
    "left out, over the spread of the values.",
}
CAVEAT = (
    "A guard that passes proves nothing: guards see only what the terms and the levels show. A guard that fails may be "
    "a false alarm; its number says how far it was from its limit."
)
STOPPED = {
    "converged": "further steps or refinements no longer change the solution",
    "stalled": "nothing lowered the loss, or the data support no finer level",
    "budget": "the time budget was spent; more time may give a smaller error",
    "levels": "all levels that were asked for or allowed are trained",
}


def number(value: float | None, digits: int = 3) -> str:
    """A number as people read it, a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}g}"


def headline(account: Account) -> tuple[str, str]:
    """What came out in one sentence, and whether that is `good`, `doubtful` or `bad`."""
    name = account.text("result")
    guards = account.record.get("guards") or {}
    failed = [key for key, guard in guards.items() if not guard["passed"]]
    if not name:
        return "This run has not ended, or was ended from outside: there is no result.", "bad"
    if name == RESULTS.successful.name:
        count = f"all {len(guards)} guards pass" if len(guards) > 1 else "its guard passes"
        return f"Training ended in order, and {count}.", "good"
    if name == RESULTS.unchecked.name:
        return "Do not rely on this answer yet: training ended in order, but nothing was checked.", "doubtful"
    if name.startswith("guard_"):
        which = f"of its guards {', '.join(failed)} failed" if failed else "its last level was not confirmed"
        return f"Do not rely on this answer yet: training ended in order, but {which}.", "doubtful"
    if name == RESULTS.interrupted.name:
        return "The run was interrupted; what is shown is the last good state.", "doubtful"
    return f"Training failed ({name}); what is shown is the last good state.", "bad"


def explanation(account: Account) -> str:
    """Causes and remedies that belong to the result; empty for success and where there is no result."""
    name = account.text("result")
    return "" if name not in RESULTS.__members__ or name == RESULTS.successful.name else RESULTS[name].value


def accuracy(account: Account) -> str:
    """How large the error is, or what there is in place of it."""
    error, floor, worst = (account.number(key) for key in ("relative_l2", "reference_floor", "max_error"))
    validation = account.number("validation_error")
    if error is not None:
        bound = f" The reference itself is known to {number(floor)}." if floor else ""
        most = f", the largest error {number(worst)}" if worst is not None else ""
        return f"The relative L2 error is {number(error)}{most}, at points that training did not use.{bound}"
    if validation is not None:
        return f"The relative error at data that were kept back is {number(validation)}; it holds their noise as well."
    return (
        "No reference is known, so the error is not measured. The guards and the changes from level to level are all "
        "the evidence; the training loss is not an error."
    )


def kind(account: Account) -> str:
    """What learned, and whether it is linear in its parameters."""
    linear = account.record.get("linear_in_parameters")
    if linear is None:
        return ""
    if linear:
        return (
            "The field is linear in its parameters: a collocation or least-squares method on a hierarchy of spaces, "
            "not a neural network."
        )
    return "The field is nonlinear in its parameters."
