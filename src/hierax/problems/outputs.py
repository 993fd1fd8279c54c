"""A table of which some outputs alone are looked at."""

from __future__ import annotations

from collections.abc import Collection

from hierax.problems.problem import Problem
from hierax.problems.terms import Data


def of_outputs(problem: Problem, names: Collection[str]) -> Problem:
    """The problem with the unknowns that are named, and with the data of these alone; itself where these are all."""
    if set(names) >= problem.unknowns.keys():
        return problem
    terms = [t for t in problem.terms if isinstance(t, Data) and problem.data_unknown(t) in names]
    whole = problem.reference
    known = {} if whole is None else {name: value for name, value in whole.named().items() if name in names}
    reference = None if whole is None or not known else type(whole)(known, whole.error_bound)
    unknowns = {name: problem.unknowns[name] for name in problem.unknowns if name in names}
    return Problem(problem.domain, terms, unknowns=unknowns, reference=reference, name=problem.name)
