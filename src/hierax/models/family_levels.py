"""A quantity of the members of a family on the levels of a mesh, ever finer by halves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from hierax import clock
from hierax._errors import InputError
from hierax.fields import parameter_count, partition
from hierax.hierarchy import IntervalDoubling, Level, refine
from hierax.hierarchy.refinement import on_new_breakpoints, spline_axes
from hierax.models.asked import quantity_of
from hierax.models.common_mesh import CommonMesh
from hierax.models.family import Family
from hierax.models.leveled import AbstractLeveled
from hierax.models.solving import LARGEST, discretised, restored
from hierax.models.surrogate import Surrogate
from hierax.models.workers import One
from hierax.objective.objective import flat_parameters
from hierax.objective.view import physical

MOST = 8
"""Most levels."""
TOGETHER = 256
"""Predictions of a surrogate that are made at once."""


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
        unknown. It returns a number or an array. Or a text: `u at x=0.6`, `mean(u)`, `max(u)` or `min(u)`.
    levels:
        How many; as many as have 60,000 parameters at most, and eight at most, if not given.
    key:
        Seed of the points at which equations are met.
    processes:
        How many members are solved at a time; with more than one the family has to be made by a function of a module,
        or of a file that the command line reads.

    Raises
    ------
    InputError
        For families whose members cannot share kernels, and for fields that are no spline grids.
    """

    def __init__(
        self, family: Family, quantity: Callable[[Any], Any] | str, levels: int | None = None, key: int = 0,
        processes: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(family.inputs)
        self.family, self.processes, self.name = family, processes, family.name or AbstractLeveled.name
        self._given = family, quantity, levels, key
        self.quantity = quantity_of(quantity, family)
        self.plan, self.asked, self.discrete = discretised(family, key)
        fields = [self.plan.hierarchy.levels[0].field]
        while len(fields) < (levels or MOST):
            finer = _halved(fields[-1])
            if levels is None and parameter_count(finer) > LARGEST:
                break
            fields.append(finer)
        self.meshes = [CommonMesh(self.discrete, field) for field in fields]
        self._transfers = [
            on_new_breakpoints(Level(coarse), [axis.breakpoints() for axis in spline_axes(fine)])[1]
            for coarse, fine in itertools.pairwise(fields)
        ]
        self.levels = len(fields)
        self._warm: set[int] = set()
        self._seen = eqx.filter_jit(lambda field: jnp.asarray(self.quantity(physical(self.asked, field))))

    def __reduce__(self) -> tuple[Any, ...]:
        return FamilyLevels, self._given

    def run(self, inputs: np.ndarray, level: int) -> One:
        if level not in self._warm:
            # what is compiled for a level is not what a member costs
            self._one(inputs, level)
            self._warm.add(level)
        return self._one(inputs, level)

    def cheap(self, surrogate: Any) -> Callable[[np.ndarray], np.ndarray]:
        """See `AbstractLeveled.cheap`; of a `hx.Surrogate` the quantity of what it predicts."""
        if not isinstance(surrogate, Surrogate):
            return super().cheap(surrogate)
        if surrogate.names != self.names:
            raise InputError(
                f"The surrogate is one of {', '.join(surrogate.names)}.", "surrogate",
                f"Learn one of {', '.join(self.names)}.",
            )  # fmt: skip
        many = jax.jit(jax.vmap(lambda one: jnp.asarray(self.quantity(surrogate(one)))))
        many(np.tile(self.middle(), (TOGETHER, 1)))

        def predicted(inputs: np.ndarray) -> np.ndarray:
            padded = np.pad(inputs, ((0, -len(inputs) % TOGETHER), (0, 0)), mode="edge")
            parts = [np.asarray(many(part)) for part in padded.reshape(-1, TOGETHER, inputs.shape[1])]
            return np.concatenate(parts)[: len(inputs)]

        return predicted

    def _one(self, inputs: np.ndarray, level: int) -> One:
        began = clock.seconds_now()
        first = level if self.plan.linear else 0
        field = self.meshes[first].field
        for number, mesh in enumerate(self.meshes[first : level + 1], first):
            if number > first:
                finer = self._transfers[number - 1].prolong(partition(field)[0])
                field = eqx.combine(finer, partition(mesh.field)[1])
            theta, _, failure = mesh.parameters(inputs, field)
            if failure is not None:
                return One(None, clock.seconds_now() - began, failure)
            field = flat_parameters(field)[1](theta)
        value = np.asarray(self._seen(restored(self.plan, self.asked, field)))
        reason = None if np.all(np.isfinite(value)) else "values are not finite"
        return One(None if reason else value, clock.seconds_now() - began, reason)


def on_levels(source: Family | AbstractLeveled, quantity: Callable[[Any], Any] | str | None = None) -> AbstractLeveled:
    """A source of members on levels: a quantity of a family's solutions, or what is one by itself.

    Raises
    ------
    InputError
        For a family without a quantity, a quantity of something else, and for what is no source.
    """
    if isinstance(source, Family):
        if quantity is None:
            raise InputError("A family has many quantities.", "quantity", 'Say which one, such as "u at x=0.6".')
        return FamilyLevels(source, quantity)
    if not isinstance(source, AbstractLeveled):
        raise InputError(f"This is a {type(source).__name__}.", "estimate(...)", "Give hx.Simulation or hx.Family.")
    if quantity is not None:
        raise InputError("Only a hx.Family is asked for one.", "quantity", "Leave it out.")
    return source


def _halved(field: Any) -> Any:
    """The same function on intervals of half the length."""
    return refine(field, by=IntervalDoubling(), levels=2).levels[-1].field
