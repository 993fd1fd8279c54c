"""How a problem goes on in time: what its equations feel of derivatives along `t`, and how a slab joins the next."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hierax.fields.moving import frame_of
from hierax.hierarchy.regrid import breakpoints_of, rms
from hierax.objective.assembly import local_residuals
from hierax.objective.build import is_equation
from hierax.objective.compiled import compiled_quickly
from hierax.objective.pointwise import TRIED, Place, SquaredResidual, point_term
from hierax.objective.samples import Samples
from hierax.problems.domain import Box, Face
from hierax.problems.operators import derivative
from hierax.problems.problem import Problem
from hierax.problems.remembered import once_for_each
from hierax.problems.sampling import points_in
from hierax.problems.terms import Residual, Term

HIGHEST = 3
"""Highest time derivative that is looked for."""


@dataclass(frozen=True, eq=False)
class Evolution:
    """A problem as an evolution from the lower end of its time.

    Attributes
    ----------
    axis, span:
        Position of `t`; length of the whole time.
    orders:
        For each unknown function the order, component by component, of the highest time derivative in any equation:
        so many derivatives, counted from 0, go on from one slab to the next.
    scales:
        For each term the derivative of its residual, `(r,)`, in the time derivative that it feels most, time
        counted in units of the whole. A residual divided by it is an error in the units of the unknowns: that of the
        whole time, if it is an equation.
    """

    axis: int
    span: float
    orders: dict[str, np.ndarray]
    scales: tuple[np.ndarray, ...]
    named: bool

    @functools.cached_property
    def links(self) -> tuple[SquaredResidual, ...]:
        """Misfits of value, first derivative, ... to given ones, for the components that have them."""
        return tuple(self._link(k) for k in range(max(int(o.max()) for o in self.orders.values())))

    def _link(self, order: int) -> SquaredResidual:
        chosen = {name: np.flatnonzero(o > order) for name, o in self.orders.items() if np.any(o > order)}

        def misfit(field: Any, place: Place) -> Any:
            parts = []
            for name, components in chosen.items():
                u = getattr(field, name) if self.named else field
                value = (derivative(u, (self.axis,) * order) if order else u)(place.x)
                # in units of the whole time every derivative counts like the value
                parts.append(self.span**order * jnp.ravel(jnp.asarray(value))[components])
            value = jnp.concatenate(parts)
            return value - place.target if place.target.shape[-1] else value

        return SquaredResidual(f"link {order}", misfit)


@once_for_each
def evolution(problem: Problem) -> Evolution | None:
    """The problem as an evolution in time, or `None` if it is none.

    It is one when there is a box with a coordinate `t` and at most two others, conditions at the lower end of `t` and
    none at its upper end, nothing but residuals, no unknown constants, and every unknown has a time derivative in
    some equation or is free of one. Time derivatives are found by trying: the residuals of smooth functions plus
    `c_m ((t - t_0) / T)^m / m!` are differentiated in the `c_m` at random points.
    """
    axis, box = problem.time_axis, problem.domain
    if axis is None or not isinstance(box, Box) or box.dim > 3 or "t" in box.periodic or problem.constants:
        return None
    if not all(isinstance(term, Residual) for term in problem.terms):
        return None
    faces = [p for t in problem.terms for p in problem.places(t) if isinstance(p, Face) and p.name == box.names[axis]]
    if not faces or any(face.side == "upper" for face in faces):
        return None
    span = float(box.upper[axis] - box.lower[axis])
    felt = [_slopes(problem, term, axis) for term in problem.terms]
    equations = [np.abs(s) for s, t in zip(felt, problem.terms, strict=True) if is_equation(t, problem)]
    if not equations:
        return None
    each = np.any(np.concatenate([s.max(axis=(0, 1))[None] for s in equations]) > 0, axis=0)  # (components, m)
    top = np.where(each.any(axis=1), HIGHEST - np.argmax(each[:, ::-1], axis=1), 0)
    if top.max() == 0:
        return None
    orders, start = {}, 0
    for name, function in problem.functions.items():
        count = function.components or 1
        orders[name], start = top[start : start + count], start + count
    return Evolution(axis, span, orders, tuple(_scale(s) for s in felt), problem.named)


def _scale(slopes: np.ndarray) -> np.ndarray:
    """Size of the largest slope in a time derivative, else in the value, for each entry; 1 where none is felt.

    What is missed by `a u_tt + b u_t = ...` lets an error grow as `b` alone has it where damping is strong, and as `a`
    where it is weak.
    """
    size = np.sqrt(np.mean(np.sum(slopes**2, axis=2), axis=0))  # (r, m)
    rate = size[:, 1:].max(axis=1)
    own = np.where(rate > 0, rate, size[:, 0])
    return np.where(own > 0, own, 1.0)


def _slopes(problem: Problem, term: Term, axis: int) -> np.ndarray:
    """Derivatives of the residual at many points in the `c_m` of every component: `(points, r, components, m)`."""
    low, high = problem.domain.bounds()
    x = points_in(problem.domain, 0, TRIED)
    normals = np.random.default_rng(0).normal(size=x.shape)
    point, count = point_term(problem, term), sum(f.components or 1 for f in problem.functions.values())
    assert isinstance(point, SquaredResidual)

    def residual(c: jax.Array, place: Place) -> jax.Array:
        parts, start = {}, 0
        for name, function in problem.functions.items():
            width = function.components or 1
            own = c[start : start + width]
            parts[name] = _trial(own if function.components else own[0], place.x, axis, low, high)
            start += width
        return point.residual(SimpleNamespace(**parts) if problem.named else next(iter(parts.values())), place)

    places = Place(x, normals, np.zeros((len(x), 0)))
    slopes = compiled_quickly(jax.vmap(lambda p: jax.jacfwd(residual)(jnp.zeros((count, HIGHEST + 1)), p)))(places)
    return np.nan_to_num(np.asarray(slopes))


def _trial(c: jax.Array, x: jax.Array, axis: int, low: np.ndarray, high: np.ndarray) -> Any:
    """A smooth function plus powers of time with coefficients `c` `(..., m)`."""

    def u(z: jax.Array) -> jax.Array:
        t = (z[axis] - x[axis]) / (high[axis] - low[axis])
        s = 0.3 * jnp.sum((z - x) / (high - low) * jnp.linspace(0.7, 1.3, len(low)))
        powers = jnp.stack([t**m / factorial(m) for m in range(HIGHEST + 1)])
        return 0.5 + 0.2 * jnp.exp(s) + c @ powers

    return u


def rates(
    evolution: Evolution, field: Any, samples: Sequence[Samples], scales: Sequence[np.ndarray], equations: np.ndarray
) -> tuple[tuple[np.ndarray, ...], float, float]:
    r"""How fast an error grows on a slab by what the equations miss, and where.

    A residual `r` with the coefficient `a` of the time derivative lets an error grow by `r / a` a unit of time; its
    mean square over the slab, in units of the solution and the whole time, is the squared rate. What is missed at the
    start of the slab counts as often as there are slabs of this length in the whole time.

    Parameters
    ----------
    field:
        Spline grids on the slab.
    samples, scales, equations:
        For each term its samples, the scale of its residual (see `Evolution`), and whether it is an equation.

    Returns
    -------
    For each axis, in the coordinates of the field's frame, the part of every interval in the squared rate; half the
    integral of the squared residuals of the equations; and the root mean square of what is missed at the start, in
    units of the solution.
    """
    axis, breaks, frame = evolution.axis, breakpoints_of(field), frame_of(field)
    measure = np.prod([b[-1] - b[0] for b in breaks])
    shares = [np.zeros(len(b) - 1) for b in breaks]
    size, loss, jump = max(rms(field), 1e-300), 0.0, 0.0
    for own, scale, equation in zip(samples, scales, equations, strict=True):
        if not equation and not np.any(own.normals[:, axis] < 0):
            continue
        residual = local_residuals(field, own)
        loss += 0.5 * float(own.weights @ np.sum(residual**2, axis=1)) if equation else 0.0
        relative = np.sum((residual / (scale * size)) ** 2, axis=1)
        jump += 0.0 if equation else float(own.weights @ relative / own.weights.sum())
        density = own.weights * relative / measure * (1.0 if equation else evolution.span)
        points = own.points if frame is None else frame.inside(own.points)
        for k, (b, share) in enumerate(zip(breaks, shares, strict=True)):
            interval = np.clip(np.searchsorted(b, points[:, k], side="right") - 1, 0, len(share) - 1)
            share += np.bincount(interval, density, len(share))
    return tuple(shares), loss, float(np.sqrt(jump))


def loss_of(field: Any, scales: Sequence[np.ndarray], equations: np.ndarray, rate: float) -> float:
    """A loss of the equations on a slab that leaves no error that grows faster than `rate`, see `rates`."""
    measure = np.prod([b[-1] - b[0] for b in breakpoints_of(field)])
    least = min(float(np.min(scale)) for scale, equation in zip(scales, equations, strict=True) if equation)
    return float(0.5 * measure * (rate * least * rms(field)) ** 2)


def at_start(samples: Samples, axis: int) -> Samples:
    """Those at the lower end of an axis."""
    return samples.take(np.flatnonzero(samples.normals[:, axis] < 0))


def after_start(samples: Samples, axis: int) -> Samples:
    """Without those at the lower end of an axis."""
    return samples.take(np.flatnonzero(samples.normals[:, axis] >= 0))


def joined(samples: Sequence[Samples]) -> Samples:
    """Samples of one term on several parts of the domain."""
    first = samples[0]
    parts = [np.concatenate([getattr(s, n) for s in samples]) for n in ("points", "weights", "normals", "targets")]
    return Samples(first.term, *parts, scale=first.scale, on_boundary=first.on_boundary)
