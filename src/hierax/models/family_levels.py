"""A quantity of the members of a family on the levels of a mesh, ever finer by halves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from hierax import clock
from hierax.fields import parameter_count
from hierax.hierarchy import IntervalDoubling, refine
from hierax.models.family import Family
from hierax.models.leveled import AbstractLeveled, One
from hierax.models.solving import LARGEST, CommonMesh, discretised, restored
from hierax.objective.objective import flat_parameters
from hierax.objective.view import physical

MOST = 8
"""Most levels."""


@final
class FamilyLevels(AbstractLeveled):
    """A quantity of the solutions of a family on levels.

    The coarsest is the mesh with which a training begins; every further one has intervals of half the length. Members
    share all kernels of a level. A nonlinear member is followed from the coarsest level, which its seconds count.

    Parameters
    ----------
    family:
        Whose members they are.
    quantity:
        `quantity(u)` of the solution, traced by JAX: `u` is a function of the point, or has one attribute for each
        unknown. It returns a number or an array.
    levels:
        How many; as many as have 60,000 parameters at most, and eight at most, if not given.
    key:
        Seed of the points at which equations are met.

    Raises
    ------
    InputError
        For families whose members cannot share kernels, and for fields that are no spline grids.
    """

    def __init__(self, family: Family, quantity: Callable[[Any], Any], levels: int | None = None, key: int = 0) -> None:
        super().__init__(family.inputs)
        self.family = family
        self.plan, self.asked, self.discrete = discretised(family, key)
        fields = [self.plan.hierarchy.levels[0].field]
        while len(fields) < (levels or MOST):
            finer = _halved(fields[-1])
            if levels is None and parameter_count(finer) > LARGEST:
                break
            fields.append(finer)
        self.meshes = [CommonMesh(self.discrete, field) for field in fields]
        self.levels = len(fields)
        self._warm: set[int] = set()
        self._quantity = eqx.filter_jit(lambda field: jnp.asarray(quantity(physical(self.asked, field))))

    def each(self, inputs: np.ndarray, level: int) -> Iterable[One]:
        if level not in self._warm:
            # what is compiled for a level is not what a member costs
            self._one(inputs[0], level)
            self._warm.add(level)
        return (self._one(one, level) for one in inputs)

    def _one(self, inputs: np.ndarray, level: int) -> One:
        began = clock.seconds_now()
        first = level if self.plan.linear else 0
        field = None
        for mesh in self.meshes[first : level + 1]:
            field = mesh.field if field is None else _halved(field)
            found = mesh.solve(inputs, field)
            if found.failure is not None:
                return One(None, clock.seconds_now() - began, found.failure)
            field = flat_parameters(field)[1](found.theta)
        value = np.asarray(self._quantity(restored(self.plan, self.asked, field)))
        reason = None if np.all(np.isfinite(value)) else "values are not finite"
        return One(None if reason else value, clock.seconds_now() - began, reason)


def _halved(field: Any) -> Any:
    """The same function on intervals of half the length."""
    return refine(field, by=IntervalDoubling(), levels=2).levels[-1].field
