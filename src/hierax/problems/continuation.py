"""Continuation: a family of problems in one physical parameter, from an easy value to the one that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hierax._errors import InputError
from hierax.problems.problem import Problem


class Continuation(Problem):
    """The last problem of a family, trained by way of the others.

    Where a problem is hard from any start that one has, because convection dominates or because it has several
    solutions, a solution is followed from a value of a parameter for which the problem is easy: a larger viscosity, a
    smaller amplitude, a force that is switched off in the end. The first level is trained with the first value, the
    second with the second, and all further levels with the last. Where there are fewer levels than values, the first
    level is trained with several, one after the other.

    It is the problem of the last value in all that concerns its solution: reference, guards, errors, figures.

    Parameters
    ----------
    make:
        From a value to a `Problem`; all on the same domain and with the same unknowns.
    values:
        The easiest first, the one that is asked for last; anything that `make` takes.
    parameter:
        What tables call the parameter.
    notes:
        What tables say of each problem, in place of parameter and value.

    Raises
    ------
    InputError
        Without values, or if the problems differ in domain or unknowns.

    References
    ----------
    Allgower, Georg, Introduction to Numerical Continuation Methods (1990); along levels: Hackbusch, Multi-Grid Methods
    and Applications (1985), section 13.3.

    Examples
    --------
    >>> from hierax.problems import burgers
    >>> Continuation(lambda nu: burgers(viscosity=nu), [0.1, 0.03, 0.01], parameter="viscosity").notes
    ('viscosity 0.1', 'viscosity 0.03', 'viscosity 0.01')
    """

    def __init__(
        self,
        make: Callable[[Any], Problem],
        values: Sequence[Any],
        *,
        parameter: str = "value",
        notes: Sequence[str] = (),
    ) -> None:
        if not len(values):
            raise InputError(
                what="no values", where="Continuation(values=...)", remedy="give the easiest first, the target last"
            )
        problems = [make(value) for value in values]
        for value, problem in zip(values, problems, strict=True):
            _check_member(value, problem, problems[-1])
        target = problems[-1]
        super().__init__(
            target.domain,
            target.terms,
            unknowns=target.unknowns if target.named else None,
            constraint=target.constraint,
            reference=target.reference,
            interfaces=target.interfaces,
            outputs=target.outputs,
            name=target.name,
        )
        self.easier = tuple(problems[:-1])
        shown = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
        self.notes = tuple(notes) or tuple(f"{parameter} {text}" for text in shown)


def _check_member(value: Any, problem: Any, target: Any) -> None:
    """All problems of a family are solved by the same fields."""
    where = f"Continuation, value {value}"
    if not isinstance(problem, Problem):
        raise InputError(
            what=f"make gives a {type(problem).__name__}, not a Problem", where=where, remedy="return a hierax.Problem"
        )
    if repr(problem.domain) != repr(target.domain):
        raise InputError(
            what=f"the domain is {problem.domain}, for the last value {target.domain}",
            where=where,
            remedy="map the problem to one domain, with the changing length as a coefficient",
        )
    if problem.interfaces != target.interfaces:
        raise InputError(
            "the interfaces are others than those for the last value", where, "make them once, outside of the function"
        )
    if [str(u) for u in problem.unknowns.items()] != [str(u) for u in target.unknowns.items()]:
        raise InputError(
            what=f"the unknowns are {', '.join(problem.unknowns)}, for the last value {', '.join(target.unknowns)}",
            where=where,
            remedy="give all problems of the family the same unknowns",
        )
