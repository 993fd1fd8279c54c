"""`Plan`: what a training is going to do, as a record that is read, changed and printed before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, final

from hierax._errors import InputError
from hierax._notebook import preformatted
from hierax.cycles import AbstractCycle
from hierax.hierarchy import AbstractRefinement, Hierarchy
from hierax.objective.build import Sampling
from hierax.objective.evolution import Evolution
from hierax.objective.interfaces import with_interfaces
from hierax.objective.missed import Feature
from hierax.objective.prescribed import with_prescribed_values
from hierax.objective.prior import Held, Prior
from hierax.objective.roughness import Roughness
from hierax.objective.separation import Separation
from hierax.problems.domain import Interface
from hierax.problems.keys import Key, seed_of
from hierax.problems.problem import Problem
from hierax.problems.units import Units
from hierax.solvers import AbstractSolver


@final
@dataclass(frozen=True, eq=False)
class Plan:
    """What is going to be done: made by `hierax.plan`, changed by `changed`, carried out by `train(..., plan=...)`.

    Attributes
    ----------
    hierarchy:
        The levels to begin with.
    rule:
        How further levels are made; `None` when none are.
    solver, cycle:
        How one level is trained; in which order.
    sampling:
        How densely the terms are sampled.
    penalties:
        Further terms after the problem's own: roughness of unknowns, whose factors the solver chooses, then priors.
    indifference:
        Levels whose validation error is within this factor of the best count as equal.
    order:
        Highest order of derivatives.
    local, linear:
        Whether all terms look only at their own point, so that curvature can be assembled cell by cell; whether all
        residuals are affine in the unknowns, so that one step of a linear field is the solution.
    convection:
        How much first derivatives outweigh second ones in the equations; see `hierax.objective.order.Reach`.
    evolution:
        The problem as an evolution in time where slabs may follow it; see `hierax.training.time_slabs`.
    separation:
        The terms as sums of products of functions of one coordinate, where they are such and fields are low-rank
        tensors; see `hierax.objective.separation`.
    condition_factor, equation_factor:
        Factor of boundary conditions against equations where both act; of equations against data.
    easier:
        Smaller factors of the equations against the data, with which the first level is trained before.
    validation_share:
        Share of the data kept back to choose the level.
    largest:
        Most parameters of a level.
    units:
        Those in which the problem is trained: its unknowns and equations have about size one in them. `None` for its
        own, where the user gave the fields.
    missed:
        Peaks of the terms that a coarse grid would miss, and jumps that equations at points do not see.
    interfaces:
        Planes across which coefficients jump inside of derivatives, where fields are broken and fluxes continuous.
    rivals:
        Whether other kinds of fields are tried beside, for an output of a table; see `hierax.training.rivals`.
    label:
        The kind of field, for tables.
    reasons:
        What was decided and why, one sentence a line.
    """

    hierarchy: Hierarchy
    rule: AbstractRefinement | None
    solver: AbstractSolver
    cycle: AbstractCycle
    sampling: Sampling = Sampling()
    penalties: tuple[Roughness | Prior | Held, ...] = ()
    condition_factor: float = 100.0
    equation_factor: float = 1e4
    easier: tuple[float, ...] = ()
    validation_share: float = 0.0
    largest: int = 2_000_000
    indifference: float = 1.01
    order: int = 0
    local: bool = True
    linear: bool = False
    convection: float = 0.0
    evolution: Evolution | None = None
    separation: Separation | None = None
    units: Units | None = None
    missed: tuple[Feature, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    rivals: bool = False
    label: str = ""
    reasons: tuple[str, ...] = ()

    def in_its_units(self, problem: Problem) -> Problem:
        """What is trained: the problem in the units of the plan, with prescribed values for data without noise, and
        with what holds on the interfaces."""
        if self.units is None:
            return problem
        return with_interfaces(self.units.converted(with_prescribed_values(problem)), self.interfaces)

    def seeded(self, key: Key) -> Plan:
        """The plan with a solver whose draws follow from the key of a training."""
        return replace(self, solver=self.solver.seeded(seed_of(key, 6)))

    @property
    def text(self) -> str:
        """The plan in words: the reasons, then solver and cycle."""
        return "\n".join((*self.reasons, f"Solver {named(self.solver)}, cycle {named(self.cycle)}."))

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return preformatted(self.text, "Plan")

    def changed(self, **changes: Any) -> Plan:
        """The plan with other settings, and a sentence that says which were changed by hand.

        Parameters
        ----------
        **changes
            New values of the attributes.

        Raises
        ------
        InputError
            For a name that is no attribute of a plan.

        Examples
        --------
        >>> plan = hx.plan(problem)  # doctest: +SKIP
        >>> hx.train(problem, plan=plan.changed(condition_factor=1e4))  # doctest: +SKIP
        """
        known = [f.name for f in fields(self)]
        if unknown := ", ".join(sorted(changes.keys() - set(known))):
            raise InputError(
                what=f"a plan has no {unknown}", where="plan.changed(...)", remedy=f"use {', '.join(known)}"
            )
        sentence = f"Changed by hand: {', '.join(changes)}."
        return replace(self, **{"reasons": (*self.reasons, sentence), **changes})


def named(part: Any) -> str:
    """Name of a solver or cycle for tables."""
    return type(part).__name__
