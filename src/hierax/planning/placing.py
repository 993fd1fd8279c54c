"""Fields on a box with periodic coordinates: placed on it, and refused where they do not close."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.fields import parameter_count, partition, place
from hierax.fields.foreign import enclosed
from hierax.hierarchy import Hierarchy, Level
from hierax.planning.families import periodic_axes
from hierax.problems.problem import Problem
from hierax.problems.terms import Data

POINTS = 16
"""Pairs of points on the faces of a periodic coordinate at which a field is compared."""


def on_domain(hierarchy: Hierarchy, problem: Problem) -> Hierarchy:
    """Networks built without a domain get the problem's.

    Raises
    ------
    InputError
        For levels that are to see a part of the data of a problem without data.
    """
    if any(level.points is not None for level in hierarchy.levels) and not any(
        isinstance(term, Data) for term in problem.terms
    ):
        raise InputError(
            what="levels say how many measured values they see (points), and the problem has no data",
            where="Level(field, points) or refine(..., points=...)",
            remedy="leave points out; the points of equations follow hx.plan(problem).sampling, which "
            "plan.changed(sampling=...) replaces",
        )
    box = (*problem.domain.bounds(), periodic_axes(problem))
    levels = [Level(enclosed(place(part.field, *box)), part.points) for part in hierarchy.levels]
    _refuse_unfit(problem, levels[0].field)
    return Hierarchy(levels, hierarchy.transfers)


def _refuse_unfit(problem: Problem, field: Any) -> None:
    """Refuse a field that has other inputs, values or names than the problem, or nothing to train."""
    where, at = "train(..., field=...)", jax.ShapeDtypeStruct((problem.domain.dim,), jnp.zeros(0).dtype)
    missing = [name for name in problem.unknowns if problem.named and not hasattr(field, name)]
    if missing:
        given = ", ".join(f"{name}=..." for name in problem.unknowns)
        raise InputError(f"the field has no {', '.join(missing)}", where, f"give hx.Unknowns({given})")
    if not parameter_count(field):
        raise InputError("the field has no arrays that could be trained", where, "give an Equinox module of arrays")
    for name, unknown in problem.functions.items():
        own = getattr(field, name) if problem.named else field
        expected = () if unknown.components is None else (unknown.components,)
        try:
            shape = jax.eval_shape(own, at).shape
        except (TypeError, ValueError, AttributeError) as error:
            text = f"{error}".strip().splitlines()[0]
            raise InputError(
                f"the field for {name!r} does not take a point of {problem.domain.dim} coordinates ({text})", where,
                f"give a function of an array of shape ({problem.domain.dim},), such as eqx.nn.MLP("
                f"in_size={problem.domain.dim}, ...)",
            ) from error  # fmt: skip
        if shape != expected:
            raise InputError(
                f"values of the field for {name!r} have shape {shape}, those of the unknown {expected}", where,
                f"of an eqx.nn.MLP, for example, it is out_size={expected[0] if expected else repr('scalar')}",
            )  # fmt: skip


def refuse_open(problem: Problem, hierarchy: Hierarchy) -> None:
    """Refuse levels whose fields do not close along the periodic coordinates of a problem.

    Raises
    ------
    InputError
        For the first field that does not.
    """
    if problem.domain.periodic:
        for level in hierarchy.levels:
            _refuse_open(problem, level.field)


def _refuse_open(problem: Problem, field: Any) -> None:
    """Refuse a field whose values or first derivatives differ at both ends of a periodic coordinate.

    A periodic coordinate has no conditions, so nothing else says that the solution has to close there. It is tried
    with parameters that random numbers have moved: a field may close by chance before training.
    """
    parts = field.parts if problem.named else {next(iter(problem.functions)): field}
    for coordinate in problem.domain.periodic:
        for name, part in parts.items():
            if not closes(part, *problem.domain.bounds(), problem.domain.axis(coordinate)):
                raise InputError(
                    what=f"the {type(part).__name__} for {name!r} is not periodic in {coordinate!r}, as the domain is",
                    where="train(..., hierarchy=...)",
                    remedy="build networks without a domain, or with domain=hx.InputBox(lower, upper, periodic=(...)); "
                    "build grids and covers with periodic=(...)",
                )


def closes(field: Any, lower: np.ndarray, upper: np.ndarray, axis: int) -> bool:
    """Whether values and first derivatives agree at both ends of a coordinate, with random parameters."""
    generator = np.random.default_rng(0)
    first = generator.uniform(lower, upper, size=(POINTS, len(lower)))
    last = first.copy()
    first[:, axis], last[:, axis] = lower[axis], upper[axis]
    params, rest = partition(field)
    moved = jax.tree.map(lambda leaf: leaf + jnp.asarray(generator.normal(size=leaf.shape), leaf.dtype), params)
    both = jnp.asarray(np.stack([first, last]))
    found = jax.tree.leaves(_values_and_slopes(eqx.combine(moved, rest), both))
    bound = float(np.sqrt(jnp.finfo(both.dtype).eps))
    return all(bool(np.abs(a - b).max() <= bound * np.abs([a, b]).max()) for a, b in map(np.asarray, found))


@eqx.filter_jit
def _values_and_slopes(field: Any, points: jax.Array) -> tuple[Any, Any]:
    return jax.vmap(jax.vmap(lambda x: (field(x), jax.jacfwd(field)(x))))(points)
