r"""The gap: the error of a trained field against the best error that its class can have.

    gap = |u - u*| / min_v |v - u*|,

with `u*` the reference and `v` in the class of the field: splines on the same knots, or a network of the same shape.
Near one, training is as good as the class allows, and only a finer level can help; a large gap is the solver's, the
loss's or the sampling's fault.

The minimum is found by fitting the reference itself. On a spline grid that is a linear least squares problem with the
structure of a tensor product, solved axis by axis in `O(N)`, at Gauss points of every cell. For a network it is a
nonlinear one, solved by Gauss-Newton from the trained parameters and from other starts; its best result is an upper
bound of the minimum, so the gap of a network is a lower bound.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu
from scipy.spatial import KDTree

from hierax import clock
from hierax.fields import SplineGrid, parameter_count
from hierax.fields.axis import SplineAxis
from hierax.fields.slabs import Slabs
from hierax.fields.spline_grid import with_coefficients
from hierax.objective import flat_parameters
from hierax.objective.pointwise import SquaredResidual
from hierax.objective.rows import RowObjective
from hierax.objective.samples import make_samples
from hierax.problems.domain import Box, PointCloud
from hierax.problems.problem import Problem
from hierax.problems.sampling import Sobol
from hierax.results.evaluation import evaluate
from hierax.solvers import GaussNewton, Tolerances

HELD_OUT = 20_000
"""Points at which every error is measured; no training sees them."""

BLOCK = 1 << 17
"""Points at which the reference is evaluated at once."""


@functools.lru_cache(maxsize=16)
def held_out(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Uniformly random points `(n, dim)`, the same for all fields, and the first unknown there, `(n, m)`.

    In a cloud they lie between one of its points, chosen at random, and one of the four that are nearest.
    """
    generator = np.random.default_rng(20_26)
    if isinstance(problem.domain, PointCloud):
        cloud = problem.domain.points
        one = generator.integers(len(cloud), size=HELD_OUT)
        near = np.asarray(KDTree(cloud).query(cloud[one], k=5)[1])
        other = near[np.arange(HELD_OUT), generator.integers(1, 5, size=HELD_OUT)]
        points = cloud[one] + generator.uniform(size=(HELD_OUT, 1)) * (cloud[other] - cloud[one])
    else:
        lower, upper = problem.domain.bounds()
        points = generator.uniform(lower, upper, (HELD_OUT, problem.domain.dim))
    return points, reference_values(problem, points)


def reference_values(problem: Problem, points: np.ndarray) -> np.ndarray:
    """The first unknown of the reference at points `(n, dim)`, as `(n, m)`.

    Raises
    ------
    ValueError
        If the problem has no reference for it.
    """
    reference = problem.reference
    blocks = [points[k : k + BLOCK] for k in range(0, len(points), BLOCK)]
    values = [None if reference is None else reference.evaluate(block, first(problem)) for block in blocks]
    if any(v is None for v in values):
        raise ValueError(f"{problem.name} has no reference for {first(problem)!r}")
    return np.concatenate([np.asarray(v).reshape(len(b), -1) for v, b in zip(values, blocks, strict=True)])


def first(problem: Problem) -> str:
    """Name of the first unknown function."""
    return next(iter(problem.functions))


def relative_error(problem: Problem, field: Any) -> float:
    """Relative L2 error of the first unknown on the held out points; never below the floor of the reference."""
    points, exact = held_out(problem)
    wrong = evaluate(problem, field, points, first(problem)).reshape(len(points), -1) - exact
    assert problem.reference is not None
    return max(float(np.linalg.norm(wrong) / np.linalg.norm(exact)), problem.reference.error_bound)


def gap(problem: Problem, field: Any, others: Sequence[Any] = (), seconds: float = 10.0) -> dict[str, float]:
    """Error of a trained field, the best error of its class, and their ratio.

    Parameters
    ----------
    problem:
        With a reference, and without a constraint.
    field:
        The trained field, all unknowns.
    others:
        Further fields of the same shape from which a network is fitted.
    seconds:
        For the fits of a network.

    Returns
    -------
    dict
        `parameters`, `error`, `best_error`, `gap`.
    """
    reached = relative_error(problem, field)
    best = min(reached, best_error(problem, field, others, seconds))
    return {"parameters": parameter_count(field), "error": reached, "best_error": best, "gap": reached / best}


def best_error(problem: Problem, field: Any, others: Sequence[Any] = (), seconds: float = 10.0) -> float:
    """Relative L2 error of the best fit of the reference that was found in the class of `field`."""
    if problem.constraint is not None:
        raise ValueError(f"{problem.name} has a constraint: the class of its fields is not that of their free part")
    part = _part(problem, field)
    values = functools.partial(reference_values, problem)
    if isinstance(part, SplineGrid):
        found = [fitted_grid(part, values)]
    elif isinstance(part, Slabs) and all(isinstance(slab, SplineGrid) for slab in part.parts):
        found = [Slabs([fitted_grid(slab, values) for slab in part.parts], part.axis)]  # pyright: ignore
    else:
        starts = [part, *(_part(problem, other) for other in others)]
        found = [_fitted_network(problem, start, seconds / len(starts)) for start in starts]
    return min(relative_error(problem, _with_part(problem, field, part)) for part in found)


def _part(problem: Problem, field: Any) -> Any:
    """The field of the first unknown."""
    return getattr(field, first(problem)) if problem.named else field


def _with_part(problem: Problem, field: Any, part: Any) -> Any:
    if not problem.named:
        return part
    return type(field)(**{**field.parts, first(problem): part})


def fitted_grid(field: SplineGrid, values: Callable[[np.ndarray], np.ndarray]) -> SplineGrid:
    """The spline on the same knots that is nearest to a function in the mean square over Gauss points of the cells.

    The design matrix is a Kronecker product of one for each axis, so the normal equations are solved one axis after
    another with banded matrices.

    Parameters
    ----------
    field:
        Gives the knots.
    values:
        From points `(n, dim)` to `(n, m)`.
    """
    axes = [_design(axis) for axis in field.axes]
    grid = np.meshgrid(*(nodes for nodes, _, _ in axes), indexing="ij")
    right = values(np.stack([part.ravel() for part in grid], axis=1))
    right = right.reshape(*(len(nodes) for nodes, _, _ in axes), -1)
    for k, (_, weights, design) in enumerate(axes):
        weighted = design.T.multiply(weights).tocsr()
        turned = np.moveaxis(right, k, 0)
        shape = turned.shape[1:]
        solved = splu(sp.csc_array(weighted @ design)).solve(weighted @ turned.reshape(len(turned), -1))
        right = np.moveaxis(solved.reshape(-1, *shape), 0, k)
    return with_coefficients(field, right.reshape(field.coefficients.shape))


def _design(axis: SplineAxis) -> tuple[np.ndarray, np.ndarray, sp.csr_array]:
    """Gauss points of every interval, their weights, and the basis functions there `(points, size)`."""
    nodes, weights = np.polynomial.legendre.leggauss(max(3, axis.degree // 2 + 2))
    breaks = np.unique(axis.breakpoints())
    middle, half = (breaks[1:] + breaks[:-1]) / 2, np.diff(breaks) / 2
    points = (middle[:, None] + half[:, None] * nodes).ravel()

    def row(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        interval = axis.locate(x)
        return axis.alive(interval), axis.piece(interval)(x)

    columns, values = (np.asarray(part) for part in jax.vmap(row)(jnp.asarray(points)))
    rows = np.repeat(np.arange(len(points)), columns.shape[1])
    matrix = sp.csr_array((values.ravel(), (rows, columns.ravel())), shape=(len(points), axis.size))
    return points, (half[:, None] * weights).ravel(), matrix


def _fitted_network(problem: Problem, start: Any, seconds: float) -> Any:
    """A network fitted to the reference by Gauss-Newton steps, at several times as many points as parameters."""
    assert isinstance(problem.domain, Box)
    theta, build = flat_parameters(start)
    points = Sobol(problem.domain).sample(1, 0, max(2000, 6 * len(theta))).points
    targets = reference_values(problem, points)
    weights = np.full(len(points), 1.0 / (len(points) * np.mean(targets**2)))
    objective = RowObjective(start, [make_samples(_FIT, points, weights, None, targets)])
    solver = GaussNewton(tolerances=Tolerances(1e-3, 60))
    state, began, done = solver.init(objective, theta), clock.seconds_now(), False
    while not done and clock.seconds_now() - began < seconds:
        step = solver.step(objective, theta, state)
        theta, state, done = step.theta, step.state, step.done
    return build(theta)


_FIT = SquaredResidual("fit", lambda field, place: jnp.ravel(field(place.x)) - place.target)
"""Misfit of a field to a target; one object, so that its kernels are compiled once."""
