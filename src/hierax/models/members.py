"""A family as one discretised problem: its inputs are arguments of compiled kernels, so that all members share them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from hierax._errors import InputError
from hierax.models.family import Family
from hierax.objective.build import MemberTerms
from hierax.objective.pointwise import AbstractPointTerm, JetEnergy, Place, SquaredResidual, point_term
from hierax.planning.plan import Plan
from hierax.problems.checked import UNTRACEABLE
from hierax.problems.problem import Problem
from hierax.problems.terms import AbstractValues, Data
from hierax.training.discrete import DiscreteProblem


def shared_terms(family: Family, plan: Plan, middle: Problem) -> tuple[AbstractPointTerm, ...]:
    """The terms of all members of a family, in the units of a plan: functions of a point and of the inputs.

    Parameters
    ----------
    middle:
        A member in the units of the plan, for what does not depend on the inputs.

    Raises
    ------
    InputError
        For what depends on the inputs and cannot be traced: domains, prescribed values, interfaces, Python branches.
    """
    if any(isinstance(term, Data) for term in middle.terms):
        raise InputError(
            "A member of the family has data with noise.", "Family(make, ...)", "Fit such problems one by one."
        )
    terms = tuple(_shared(family, plan, middle, k) for k in range(len(middle.terms)))
    try:
        seen = jax.make_jaxpr(lambda z: _structure(plan.in_its_units(family.problem(z)), middle))(family.middle())
        del seen
    except UNTRACEABLE as error:
        raise InputError(
            f"The problem cannot be made for inputs that are traced ({str(error).splitlines()[0][:150]}).",
            "Family(make, ...)",
            "Let inputs enter terms through jax.numpy, without float(), int() or `if`; a domain of fixed size can be "
            "stretched by a factor in the equations.",
        ) from error
    return terms


def _structure(problem: Problem, middle: Problem) -> tuple[()]:
    """Refuse a member that has other terms than the one in the middle."""
    same = [t.name for t in problem.terms] == [t.name for t in middle.terms]
    if not same or repr(problem.domain) != repr(middle.domain):
        raise InputError(
            "Terms or domain differ between members.", "Family(make, ...)", "Let the inputs change coefficients only."
        )
    return ()


def _shared(family: Family, plan: Plan, middle: Problem, number: int) -> AbstractPointTerm:
    own = point_term(middle, middle.terms[number])
    if isinstance(middle.terms[number], AbstractValues):
        return own

    def of_member(inputs: Any) -> AbstractPointTerm:
        problem = plan.in_its_units(family.problem(inputs))
        return point_term(problem, problem.terms[number])

    if isinstance(own, JetEnergy):
        if middle.constraint is not None:
            raise InputError(
                "An energy beside a constraint, for many members.", "Family(make, ...)", "Write it as a Residual."
            )
        density: Callable[[Any, Place], Any] = lambda w, place: of_member(place.inputs).density(w, place)  # noqa: E731  # pyright: ignore
        return replace(own, density=density)
    return SquaredResidual(
        own.name,
        lambda field, place: of_member(place.inputs).function(field, place),  # pyright: ignore
        own.cut,
    )


def member(discrete: DiscreteProblem, inputs: np.ndarray) -> DiscreteProblem:
    """The same discretised family for other inputs `(k,)`; it shares all kernels."""
    sampled = discrete.sampled
    assert isinstance(sampled, MemberTerms)
    return replace(discrete, sampled=sampled.of(inputs))
