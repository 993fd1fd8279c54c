"""What is refused before training: terms from which nothing can be learned, or that read past the end of an array."""

from __future__ import annotations

from hierax._errors import InputError
from hierax.objective.traced import OutOfRange, traced
from hierax.problems.problem import Problem
from hierax.problems.terms import AbstractValues, Term


def examine(problem: Problem) -> None:
    """Trace every equation, energy and condition once.

    Raises
    ------
    InputError
        For a term that depends on no unknown, an unknown without a prior on which no term depends, and for an index
        that is out of range, with the user's line.
    """
    unseen = {name for name, unknown in problem.unknowns.items() if unknown.prior is None}
    for term in problem.terms:
        if isinstance(term, AbstractValues) and term.observe is None:
            unseen.discard(problem.data_unknown(term) or "")
            continue
        try:
            found = traced(problem, term)
        except (TypeError, ValueError, ZeroDivisionError, FloatingPointError) as error:
            if isinstance(error, InputError):
                raise
            unseen.clear()
            continue  # a term that cannot be traced with other unknowns than fields is judged by training
        if found.out_of_range is not None:
            raise _out_of_range(term, found.out_of_range)
        if not found.depends:
            raise _independent(term)
        unseen -= found.depends
    if unseen and problem.constraint is None:
        raise InputError(
            what=f"no term depends on the unknown {min(unseen)!r}: nothing says what it is",
            where="Problem(unknowns=...)",
            remedy="use it in an equation or a condition, give it a prior, or leave it out",
        )


def _out_of_range(term: Term, found: OutOfRange) -> InputError:
    return InputError(
        what=f"index {found.place} of something that has {found.entries} entries; its last would be read instead",
        where=f"{_place(term)}{', ' * bool(found.line)}{found.line}",
        remedy=f"indices go from 0 to {found.entries - 1}; check the number of coordinates or components",
    )


def _independent(term: Term) -> InputError:
    return InputError(
        what=f"the term {term.name!r} depends on no unknown: nothing can be learned from it",
        where=_place(term),
        remedy="use the unknown in it, as in u(x) - value; look for factors that are zero, comparisons and roundings, "
        "through which no derivative comes; or leave the term out",
    )


def _place(term: Term) -> str:
    return f"{type(term).__name__}({term.name!r}, ...)"
