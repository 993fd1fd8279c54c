"""Values and derivatives of the unknowns of a trained field at many points, asked for by name."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from hierax._errors import InputError
from hierax.geometry import AbstractShape
from hierax.objective.compiled import compiled_for_each
from hierax.objective.reduction import concatenated, fitting
from hierax.objective.traced import trial
from hierax.objective.view import physical
from hierax.problems.calls import usable
from hierax.problems.checked import as_floats, as_points
from hierax.problems.domain import Box
from hierax.problems.operators import coordinates, derivative, parse_axes
from hierax.problems.problem import Problem
from hierax.problems.terms import Residual
from hierax.problems.unknowns import Constant

EDGE = 1e-6
"""Distance from a shape, in its size, up to which a point counts as one on its boundary: tables round."""


@final
@dataclass(frozen=True)
class Quantity:
    """One scalar column: an unknown or output, its component (`None` for a scalar one, a place in the flattened array
    for an output), the axes it is differentiated along.
    """

    label: str
    unknown: str
    component: int | None
    axes: tuple[int, ...]


def quantities(problem: Problem, value: str) -> tuple[Quantity, ...]:
    """Read the name of a value: `u`, `u_x`, `u_xxt`, `kappa`, `nu`; for vectors `u[0]`, `u[0]_x`.

    A vector unknown without a component, `u` or `u_x`, stands for all of its components.

    Raises
    ------
    InputError
        For an unknown, component or coordinate that the problem does not have, with near matches.
    """
    # Longer names first: an unknown may itself be called `u_x`.
    known = [*problem.unknowns, *problem.outputs]
    for name in sorted(known, key=len, reverse=True):
        match = re.fullmatch(rf"{re.escape(name)}(?:\[(\d+(?:, ?\d+)*)\])?(?:_(\w+))?", value)
        if match is not None:
            expand = _expand_output if name in problem.outputs else _expand
            return expand(problem, value, name, match.group(1), match.group(2))
    near = difflib.get_close_matches(value, known, n=3)
    outputs = f", the outputs {', '.join(problem.outputs)}" if problem.outputs else ""
    raise InputError(
        f"The value {value!r} is none of the unknowns, nor a derivative of one.",
        f"value {value!r}",
        (f"Did you mean {', '.join(near)}? " if near else "")
        + f"The unknowns are {', '.join(problem.unknowns)}{outputs}; derivatives are written u_x, components u[0], "
        "u[0]_x.",
    )


def _expand_output(
    problem: Problem, value: str, name: str, index: str | None, spec: str | None
) -> tuple[Quantity, ...]:
    """The columns of a function of the problem's own."""
    shape = output_shape(problem, name)
    axes = () if spec is None else parse_axes(spec, problem.domain.names)
    tail = "" if spec is None else f"_{spec}"
    every = list(np.ndindex(shape)) if index is None else [tuple(int(digits) for digits in index.split(","))]
    if any(len(one) != len(shape) or any(i >= n for i, n in zip(one, shape, strict=True)) for one in every):
        raise InputError(
            f"The output {name!r} has shape {shape}.", f"value {value!r}", f"Write {name!r} for all of it."
        )
    return tuple(
        Quantity(f"{name}[{','.join(map(str, one))}]{tail}" if shape else f"{name}{tail}", name,
                 int(np.ravel_multi_index(one, shape)) if shape else None, axes)
        for one in every
    )  # fmt: skip


def output_shape(problem: Problem, name: str) -> tuple[int, ...]:
    """Shape of an output at a point."""
    at = jax.ShapeDtypeStruct((problem.domain.dim,), jnp.zeros(0).dtype)
    seen = trial(problem, jnp.ones(len(problem.unknowns)))
    return jax.eval_shape(lambda x: _output(problem, name, seen)(x), at).shape


def _output(problem: Problem, name: str, seen: Any) -> Callable[[Any], Any]:
    """An output as a function of the point."""
    own = problem.outputs[name]

    def at(x: Any) -> Any:
        with coordinates(problem.domain.names or ()):
            return usable(own(seen, x), f"Problem(outputs={{{name!r}: ...}})", own)

    return at


def _expand(problem: Problem, value: str, name: str, index: str | None, spec: str | None) -> tuple[Quantity, ...]:
    unknown = problem.unknowns[name]
    where = f"value {value!r}"
    count = None if isinstance(unknown, Constant) else unknown.components
    if isinstance(unknown, Constant) and spec is not None:
        raise InputError(f"The unknown {name!r} is a number and has no derivatives.", where, f"Write {name!r}.")
    if index is not None and (count is None or int(index) >= count):
        have = "is scalar" if count is None else f"has the components 0 to {count - 1}"
        raise InputError(f"The unknown {name!r} {have}.", where, f"Write {name!r} for all of it.")
    axes = () if spec is None else parse_axes(spec, problem.domain.names)
    tail = "" if spec is None else f"_{spec}"
    if count is None:
        return (Quantity(f"{name}{tail}", name, None, axes),)
    chosen = range(count) if index is None else (int(index),)
    return tuple(Quantity(f"{name}[{k}]{tail}", name, k, axes) for k in chosen)


Points = ArrayLike | Mapping[str, ArrayLike] | Any
"""An array `(n, dim)`; or columns by the names of the coordinates: a mapping, a data frame, a data set of xarray."""


def check_points(problem: Problem, points: Points, where: str = "points") -> np.ndarray:
    """Points as an array `(n, dim)`, refused if not finite or outside of the domain (of its bounding box, for a cloud).

    Columns with names are taken by their names, in whatever order they come; others beside them are not looked at.

    Raises
    ------
    InputError
        With the first offending point.
    """
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(points)):
        raise InputError(
            "Points are checked one by one, which cannot be done while JAX traces a function.",
            where,
            "Inside of jit, grad and vmap use the function itself: u = solution.function('u'), then u(x).",
        )
    array = wrapped(problem, as_points(_by_name(problem, points, where), where))
    domain = problem.domain
    if array.shape[1] != domain.dim:
        raise InputError(
            f"The points have {array.shape[1]} coordinates, the domain has {domain.dim}.",
            where,
            f"Give the coordinates {', '.join(domain.names or ())}, in this order.",
        )
    outside = np.flatnonzero(~within(problem, array))
    if outside.size:
        first, box = int(outside[0]), box_of(problem)
        place = ", ".join(f"{n} = {v:.6g}" for n, v in zip(box.names, array[first], strict=True))
        raise InputError(
            f"{outside.size} of {len(array)} points are outside of {region(problem)}; nothing was learned there.",
            f"{where}, row {first + 1}: {place}",
            "Remove these points, or train on a domain that contains them.",
        )
    return array


def wrapped(problem: Problem, points: np.ndarray) -> np.ndarray:
    """Points `(n, dim)` moved by whole periods into the box, along coordinates that are periodic."""
    box = problem.domain
    if not isinstance(box, Box) or not box.periodic or points.shape[1] != box.dim:
        return points
    axes = [box.names.index(name) for name in box.periodic]
    low, high = box.lower[axes], box.upper[axes]
    own, moved = points[:, axes], points.copy()
    moved[:, axes] = np.where((own < low) | (own > high), low + np.mod(own - low, high - low), own)
    return moved


def within(problem: Problem, points: np.ndarray) -> np.ndarray:
    """Which points `(n, dim)` lie where a field was learned: in the domain, or in the box around a cloud."""
    domain = problem.domain
    return domain.contains(points, EDGE) if isinstance(domain, AbstractShape) else box_of(problem).contains(points)


def nearest(problem: Problem, points: np.ndarray) -> np.ndarray:
    """Points where a field was learned, next to points `(n, dim)` outside."""
    domain, box = problem.domain, box_of(problem)
    if isinstance(domain, AbstractShape):
        return domain.body.nearest(points)
    return np.clip(points, box.lower, box.upper)


def region(problem: Problem) -> str:
    """The domain in words."""
    domain = problem.domain
    return f"the shape {domain!r}" if isinstance(domain, AbstractShape) else repr(box_of(problem))


def _by_name(problem: Problem, points: Any, where: str) -> Any:
    """Columns in the order of the coordinates, where they have names."""
    known = getattr(points, "columns", points if isinstance(points, Mapping) else None)
    if known is None or not hasattr(points, "__getitem__"):
        return points
    names = tuple(problem.domain.names or ())
    lacking = [name for name in names if name not in known and name not in getattr(points, "coords", ())]
    if lacking:
        raise InputError(
            f"There is no column {', '.join(map(repr, lacking))} among {', '.join(map(str, known))}.",
            where,
            f"Give columns called {', '.join(names)}, in any order, or an array with the coordinates in this order.",
        )
    columns = [as_floats(points[name], f"{where}, column {name!r}") for name in names]  # pyright: ignore
    shapes = [column.shape for column in columns]
    if len(set(shapes)) > 1 or len(shapes[0]) != 1:
        raise InputError(
            f"The columns have the shapes {', '.join(map(str, shapes))}.",
            where,
            "Give one number a point in each; numpy.meshgrid and ravel make points of the lines of a grid.",
        )
    return np.stack(columns, axis=1)


def function(problem: Problem, field: Any, value: str) -> Callable[[Float[Array, " dim"]], Float[Array, " *m"]]:
    """One value as a function of a point, for use inside of `jit`, `grad` and `vmap`; points are not checked.

    Raises
    ------
    InputError
        See `quantities`.
    """
    wanted = quantities(problem, value)
    scalar = len(wanted) == 1

    def at(x: Float[Array, " dim"]) -> Float[Array, " *m"]:
        with coordinates(problem.domain.names or ()):
            found = _at_point(problem, physical(problem, field), wanted, jnp.asarray(x))
        return found[0] if scalar else found

    return at


def box_of(problem: Problem) -> Box:
    """The box in which a field was learned: the domain, or the one around a cloud of points."""
    domain = problem.domain
    return domain if isinstance(domain, Box) else Box(*_widened(*domain.bounds()), names=domain.names)


def _widened(lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a box that is not flat, for clouds that lie in a plane or on a line."""
    flat = np.where(upper > lower, 0.0, 1e-9 * np.maximum(1.0, np.abs(upper)))
    return lower - flat, upper + flat


def evaluate(problem: Problem, field: Any, points: Points, value: str) -> Float[np.ndarray, "n *m"]:
    """One value at the points `(n, dim)`: shape `(n,)`, or `(n, m)` for all components of a vector.

    Raises
    ------
    InputError
        See `quantities` and `check_points`.
    """
    wanted = quantities(problem, value)
    values = _values(problem, field, check_points(problem, points), wanted)
    return values[:, 0] if len(wanted) == 1 else values


def columns(problem: Problem, field: Any, points: Points, values: Sequence[str]) -> dict[str, np.ndarray]:
    """Several values as columns of shape `(n,)`, by label; vectors give one column a component."""
    wanted = tuple(dict.fromkeys(q for value in values for q in quantities(problem, value)))
    table = _values(problem, field, check_points(problem, points), wanted)
    return {quantity.label: table[:, k] for k, quantity in enumerate(wanted)}


def residual(problem: Problem, field: Any, term: Residual, points: Points) -> Float[np.ndarray, "n r"]:
    """Residuals of an equation inside the domain at the points `(n, dim)`, one column a component.

    Raises
    ------
    InputError
        See `check_points`.
    """
    return _blockwise(functools.partial(_residual_block, problem, term, *_parts(field)), check_points(problem, points))


def _values(problem: Problem, field: Any, points: np.ndarray, wanted: tuple[Quantity, ...]) -> np.ndarray:
    # a field may come from a file or another process, where numbers had more digits than they have here
    double = any(getattr(leaf, "dtype", None) == np.float64 for leaf in jax.tree.leaves(field))
    with jax.enable_x64(double or jnp.zeros(()).dtype == np.float64):
        return _blockwise(functools.partial(_block, problem, wanted, *_parts(field)), points)


def _blockwise(evaluated: Callable[[Array], Array], points: np.ndarray) -> np.ndarray:
    """Rows of a function of many points, a chunk of one size after the other: few kernels serve any number of them."""
    size = max(64, fitting(len(points)))
    return concatenated(lambda pick: evaluated(jnp.asarray(points[pick])), len(points), size)


def _parts(field: Any) -> tuple[tuple[Any, ...], Any]:
    """What belongs to the compiled program of a field, hashable, and its arrays."""
    arrays, rest = eqx.partition(field, eqx.is_array)
    leaves, structure = jax.tree.flatten(rest)
    return (structure, *leaves), arrays


def _whole(rest: tuple[Any, ...], arrays: Any) -> Any:
    structure, *leaves = rest
    return eqx.combine(arrays, jax.tree.unflatten(structure, leaves))


@compiled_for_each(3, samples=(None, 0))
def _block(
    problem: Problem,
    wanted: tuple[Quantity, ...],
    rest: tuple[Any, ...],
    arrays: Any,
    points: Float[Array, "n dim"],
) -> Float[Array, "n k"]:
    with coordinates(problem.domain.names or ()):
        seen = physical(problem, _whole(rest, arrays))
        return jax.vmap(functools.partial(_at_point, problem, seen, wanted))(points)


@compiled_for_each(3, samples=(None, 0))
def _residual_block(
    problem: Problem, term: Residual, rest: tuple[Any, ...], arrays: Any, points: Float[Array, "n dim"]
) -> Float[Array, "n r"]:
    with coordinates(problem.domain.names or ()):
        seen = physical(problem, _whole(rest, arrays))
        return jax.vmap(lambda x: jnp.ravel(jnp.asarray(term.function(seen, x))))(points)


def _at_point(problem: Problem, seen: Any, wanted: tuple[Quantity, ...], x: Float[Array, " dim"]) -> Float[Array, " k"]:
    known: dict[tuple[str, tuple[int, ...]], Any] = {}
    out = []
    for quantity in wanted:
        key = (quantity.unknown, quantity.axes)
        if key not in known:
            output = quantity.unknown in problem.outputs
            if output:
                whole = _output(problem, quantity.unknown, seen)
                unknown = lambda z, whole=whole: whole(z).ravel() if whole(z).ndim else whole(z)  # noqa: E731
            else:
                unknown = getattr(seen, quantity.unknown) if problem.named else seen
            function = derivative(unknown, quantity.axes) if quantity.axes else unknown
            is_number = not output and isinstance(problem.unknowns[quantity.unknown], Constant)
            known[key] = jnp.asarray(unknown if is_number else function(x))
        out.append(known[key] if quantity.component is None else known[key][quantity.component])
    return jnp.stack(out)
