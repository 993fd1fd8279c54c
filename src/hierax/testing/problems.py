"""Laws of a problem: its terms can be evaluated and differentiated, and its reference solves it."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierax.geometry import AbstractShape, Part
from hierax.geometry.body import surface_rule
from hierax.geometry.cut_cells import Quadrature
from hierax.problems import Box, Constant, Energy, PointCloud, Problem, Reference, Residual, Sobol
from hierax.problems.domain import Face, Interface
from hierax.problems.operators import coordinates
from hierax.problems.sampling import Batch, on_face, scattered, without
from hierax.problems.terms import AbstractValues

WAVES = 6
REFERENCE_RATIO = 1e-6


def check_problem(problem: Problem, *, key: jax.Array, points: int = 64, fields: int = 2) -> None:
    """Check a problem on random smooth fields and on its reference.

    Every term must return finite numbers of the right shape at sampled points, with finite derivatives with respect to
    the field, and must depend on the field. A reference must have the shape of its unknown; a pointwise one that covers
    all unknowns must make every residual small: rms at most 1e-6 of that of a random field. Data without noise must
    agree with the reference.

    Parameters
    ----------
    problem:
        The problem.
    key:
        For the points and the random fields.
    points:
        Number of points inside and on every boundary.
    fields:
        Number of random fields.

    Raises
    ------
    AssertionError
        With a sentence that says which term or unknown is wrong, and how.
    """
    point_key, *field_keys = jax.random.split(key, fields + 1)
    inside = _points(problem, None, point_key, points)
    _check_reference(problem, inside.points)
    parameters = [random_parameters(problem, k) for k in field_keys]
    for term in problem.terms:
        if isinstance(term, AbstractValues):
            _check_data(problem, term)
            continue
        _check_term(problem, term, _everywhere(problem, term, point_key, points), parameters)


WALL = 8
"""Points of every piece of the boundary of a shape."""


def random_parameters(problem: Problem, key: jax.Array) -> dict[str, Any]:
    """Parameters of a random smooth field for every unknown: amplitudes, wave vectors and phases of sines."""
    lower, upper = (jnp.asarray(b) for b in problem.domain.bounds())
    repeats = jnp.asarray([n in problem.domain.periodic for n in problem.domain.names or ()])
    out: dict[str, Any] = {}
    for name, unknown in problem.unknowns.items():
        key, a, b, c = jax.random.split(key, 4)
        if isinstance(unknown, Constant):
            out[name] = jnp.asarray(unknown.initial, dtype=float)
            continue
        wave = jax.random.uniform(a, (WAVES, len(lower)), minval=-4.0, maxval=4.0)
        wave = jnp.where(repeats, 2.0 * jnp.pi * jnp.round(wave / 2.0), wave) / (upper - lower)
        shape = (WAVES, unknown.components or 1)
        amplitude, phase = jax.random.normal(b, shape), jax.random.uniform(c, shape, maxval=2.0 * jnp.pi)
        out[name] = {"amplitude": amplitude, "wave": wave, "phase": phase}
    return out


def as_seen(problem: Problem, parameters: dict[str, Any]) -> Any:
    """What the terms get for these parameters: a callable, or the collection of all unknowns; constrained."""
    parts: dict[str, Any] = {}
    for name, unknown in problem.unknowns.items():
        p = parameters[name]
        parts[name] = p if isinstance(unknown, Constant) else _waves(p, unknown.components is None, unknown.bounds)
    seen = types.SimpleNamespace(**parts) if problem.named else next(iter(parts.values()))
    return problem.constraint(seen) if problem.constraint is not None else seen


def _waves(p: dict[str, Any], scalar: bool, bounds: tuple | None) -> Callable:
    low, high = bounds or (None, None)

    def field(x):
        value = jnp.sum(p["amplitude"] * jnp.sin((p["wave"] @ x)[:, None] + p["phase"]), axis=0) / np.sqrt(WAVES)
        if low is not None and high is not None:
            value = low + (high - low) * jax.nn.sigmoid(value)
        elif low is not None:
            value = low + jax.nn.softplus(value)
        elif high is not None:
            value = high - jax.nn.softplus(value)
        return value[0] if scalar else value

    return field


def _some(wall: Quadrature, count: int) -> Batch:
    """Some points of a boundary."""
    pick = np.linspace(0, len(wall.points) - 1, min(count, len(wall.points))).astype(int)
    assert wall.normals is not None
    return Batch(wall.points[pick], wall.weights[pick], pick, wall.normals[pick])


def _points(problem: Problem, place: Face | Interface | Part | str | None, key: jax.Array, count: int) -> Batch:
    domain = problem.domain
    if isinstance(place, Interface) and place.shape is not None:
        assert problem.regions is not None
        return _some(problem.regions.wall(place.shape, None, WALL), count)
    if isinstance(domain, AbstractShape):
        if not isinstance(place, Part):
            return scattered(domain, key, count)
        return _some(surface_rule(domain, place, None, WALL), count)
    if isinstance(domain, Box) and place is None:
        return Sobol(domain).sample(key, 0, count)
    if isinstance(domain, Box) and isinstance(place, Face | Interface):
        inner = Sobol(without(domain, domain.axis(place.name))) if domain.dim > 1 else Sobol(domain)
        return on_face(domain, place, inner, key, count, None)
    assert isinstance(domain, PointCloud)
    points, weights, normals = domain.points, domain.weights, None
    if isinstance(place, str):
        wall = domain.boundaries[place]
        points, weights, normals = wall.points, wall.weights, wall.normals
    chosen = np.linspace(0, len(points) - 1, min(count, len(points))).astype(int)
    return Batch(points[chosen], np.asarray(weights)[chosen], chosen, None if normals is None else normals[chosen])


def _everywhere(problem: Problem, term: Residual | Energy, key: jax.Array, count: int) -> Batch:
    """Points of all places of a term together: one compilation for all of them."""
    parts = [_points(problem, place, key, count) for place in problem.places(term)]
    normals = None if parts[0].normals is None else np.concatenate([p.normals for p in parts])  # pyright: ignore
    weights = np.concatenate([p.weights for p in parts])
    return Batch(np.concatenate([p.points for p in parts]), weights, np.arange(len(weights)), normals)


def _evaluate(problem: Problem, term: Residual | Energy, seen: Any, batch: Batch) -> jax.Array:
    """Values of a term's function at all points of a batch."""
    function = term.density if isinstance(term, Energy) else term.function
    with_normal = batch.normals is not None and _positional(function) >= 3

    def one(x, normal):
        with coordinates(problem.domain.names):
            return jnp.asarray(function(seen, x, normal) if with_normal else function(seen, x))

    normals = jnp.zeros_like(batch.points) if batch.normals is None else batch.normals
    return jax.vmap(one)(jnp.asarray(batch.points), jnp.asarray(normals))


def _positional(function: Callable) -> int:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return 3
    return sum(p.kind in kinds and p.default is inspect.Parameter.empty for p in parameters)


def _check_term(problem: Problem, term: Residual | Energy, batch: Batch, parameters: list) -> None:
    label = f"term {term.name!r}"

    # the points are arguments: as constants they would be folded while compiling
    def size(p, batch):
        out = _evaluate(problem, term, as_seen(problem, p), batch)
        return jnp.sum(out**2), out

    derivative = jax.jit(jax.value_and_grad(size, has_aux=True))
    sizes, moves = [], False
    for p in parameters:
        try:
            (_, out), slope = derivative(p, batch)
        except Exception as problem_found:
            raise AssertionError(
                f"{label} could not be evaluated and differentiated on a random smooth field: {problem_found}"
            ) from problem_found
        _check_values(label, isinstance(term, Energy), np.asarray(out), batch)
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(slope)]
        assert all(np.isfinite(leaf).all() for leaf in leaves), (
            f"{label} has a derivative with respect to the field that is not finite; a root or quotient of zero is the "
            f"usual cause"
        )
        moves = moves or any(np.any(leaf != 0) for leaf in leaves)
        sizes.append(float(np.sqrt(np.mean(np.asarray(out) ** 2))))
    assert moves, f"{label} does not depend on the unknowns"
    if isinstance(term, Residual):
        _check_solved(problem, term, label, batch, max(sizes))


def _check_values(label: str, energy: bool, out: np.ndarray, batch: Batch) -> None:
    shape = out.shape[1:]
    assert np.issubdtype(out.dtype, np.floating), f"{label} returns {out.dtype}, not real numbers"
    expected = "()" if energy else "() or (m,)"
    assert len(shape) <= (0 if energy else 1), f"{label} returns shape {shape} at a point; expected {expected}"
    bad = np.argwhere(~np.isfinite(out))
    if bad.size:
        i = int(bad[0][0])
        raise AssertionError(f"{label} is not finite at point {batch.points[i].tolist()} for a smooth field")


def _check_solved(problem: Problem, term: Residual, label: str, batch: Batch, scale: float) -> None:
    reference = problem.reference
    if not isinstance(reference, Reference) or any(n not in reference.named() for n in problem.unknowns):
        return
    parts = {n: reference.named()[n] for n in problem.unknowns}
    seen = types.SimpleNamespace(**parts) if problem.named else next(iter(parts.values()))
    out = jax.jit(lambda batch: _evaluate(problem, term, seen, batch))(batch)
    rms = float(np.sqrt(np.mean(np.asarray(out) ** 2)))
    assert rms <= REFERENCE_RATIO * scale, (
        f"the reference does not satisfy {label}: its residual has rms {rms:.3g}, that of a random field {scale:.3g}"
    )


def _check_reference(problem: Problem, points: np.ndarray) -> None:
    reference = problem.reference
    if reference is None:
        return
    bound = reference.error_bound
    assert 0 <= bound < 1, f"the error bound of the reference is {bound}, not in [0, 1)"
    for name, unknown in problem.unknowns.items():
        value = reference.evaluate(points, name)
        if value is None:
            continue
        components = None if isinstance(unknown, Constant) else unknown.components
        expected = (len(points),) if components is None else (len(points), components)
        assert value.shape == expected, (
            f"the reference of {name!r} has shape {value.shape} for {len(points)} points; expected {expected}"
        )
        assert np.isfinite(value).all(), f"the reference of {name!r} is not finite everywhere inside the domain"


def _check_data(problem: Problem, term: AbstractValues) -> None:
    name = problem.data_unknown(term)
    if name is None or problem.reference is None or getattr(term, "noise", None) or problem.constraint is not None:
        return
    known = problem.reference.evaluate(term.points, name)
    if known is None:
        return
    scale = float(np.sqrt(np.mean(term.values**2)))
    misfit = float(np.sqrt(np.mean((known - term.values) ** 2)))
    assert misfit <= max(REFERENCE_RATIO, 10 * problem.reference.error_bound) * scale, (
        f"data {term.name!r} state no noise, but differ from the reference of {name!r} by rms {misfit:.3g} "
        f"(rms of the values {scale:.3g})"
    )
