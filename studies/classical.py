"""Classical solvers of the problems that the studies train on: the controls.

Each is what a numerical analyst would write in an hour with SciPy, chosen for its problem: Chebyshev collocation for
smooth solutions on boxes, collocation in space with an implicit integrator for evolutions, second-order differences
where a coefficient jumps, interpolation of scattered data. Seconds leave out the values of the right hand side, which
come from the problem itself and would have to be compiled, and the evaluation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from scipy.integrate import solve_ivp
from scipy.interpolate import CloughTocher2DInterpolator, NearestNDInterpolator, RegularGridInterpolator
from scipy.sparse.linalg import spsolve

from hierax import clock
from hierax.problems.problem import Problem
from hierax.problems.terms import Data, Residual
from studies.gap import reference_values

Values = Callable[[np.ndarray], np.ndarray]
"""From points `(n, dim)` to the solution there, `(n,)`."""


@dataclass(frozen=True)
class Control:
    """A classical solution: its name, number of unknowns, seconds, and values anywhere in the domain."""

    name: str
    unknowns: int
    seconds: float
    values: Values


def source(problem: Problem, points: np.ndarray, term: int = 0) -> np.ndarray:
    """Minus the residual of one equation for unknowns that vanish: its right hand side, `(n,)`."""
    equation = problem.terms[term]
    assert isinstance(equation, Residual)
    nothing: Any = lambda x: 0.0 * x[0]  # noqa: E731
    if problem.named:
        nothing = _Nothing()
    return -np.asarray(jax.vmap(lambda x: jnp.sum(jnp.ravel(equation.function(nothing, x))))(jnp.asarray(points)))


class _Nothing:
    """Every unknown of a system, as zero; vectors have as many components as the space has dimensions."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return (lambda x: 0.0 * x[0]) if name == "u" else (lambda x: 0.0 * x)


def chebyshev(count: int, lower: float, upper: float) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev points, ascending, and the differentiation matrix (Trefethen, Spectral Methods in MATLAB, 2000)."""
    k = np.arange(count)
    z = -np.cos(np.pi * k / (count - 1))
    c = np.where((k == 0) | (k == count - 1), 2.0, 1.0) * (-1.0) ** k
    gaps = z[:, None] - z + np.eye(count)
    matrix = np.outer(c, 1.0 / c) / gaps
    matrix -= np.diag(matrix.sum(axis=1))
    return lower + (z + 1.0) * (upper - lower) / 2.0, matrix * 2.0 / (upper - lower)


def interpolation(nodes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Matrix `(points, nodes)` of barycentric interpolation at Chebyshev points (Berrut and Trefethen, 2004)."""
    count = len(nodes)
    weights = (-1.0) ** np.arange(count)
    weights[[0, -1]] *= 0.5
    gaps = points[:, None] - nodes
    exact = np.abs(gaps) < 1e-14
    ratio = weights / np.where(exact, 1.0, gaps)
    matrix = ratio / ratio.sum(axis=1, keepdims=True)
    hit = exact.any(axis=1)
    matrix[hit] = exact[hit]
    return matrix


def tensor_values(nodes: Sequence[np.ndarray], values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A tensor-product interpolant at scattered points."""
    out = interpolation(nodes[0], points[:, 0]) @ values.reshape(len(nodes[0]), -1)
    for axis in range(1, len(nodes)):
        out = out.reshape(len(points), len(nodes[axis]), -1)
        out = np.einsum("pi,pij->pj", interpolation(nodes[axis], points[:, axis]), out)
    return out[:, 0]


Operator = Callable[[Sequence[np.ndarray], np.ndarray], np.ndarray]
"""From the differentiation matrices of all axes and the points to the matrix of a linear operator."""


def minus_laplacian(slopes: Sequence[np.ndarray], points: np.ndarray) -> np.ndarray:
    """`-Laplacian`."""
    del points
    return -np.asarray(sum(d @ d for d in slopes))


def turning_diffusion(slopes: Sequence[np.ndarray], points: np.ndarray, contrast: float = 100.0) -> np.ndarray:
    """The operator of `anisotropic-diffusion`."""
    angle = np.pi / 4.0 + points[:, :1] / 2.0
    c, s = np.cos(angle), np.sin(angle)
    dx, dy = slopes
    first = (c**2 + s**2 / contrast) * dx + c * s * (1.0 - 1.0 / contrast) * dy
    second = c * s * (1.0 - 1.0 / contrast) * dx + (s**2 + c**2 / contrast) * dy
    return -(dx @ first + dy @ second)


def collocation(problem: Problem, count: int, operator: Operator, power: int = 0) -> Control:
    """Chebyshev collocation of `A u = f`, or `A u + u^power = f` by Newton's method, values given on the boundary."""
    lower, upper = problem.domain.bounds()
    pairs = [chebyshev(count, a, b) for a, b in zip(lower, upper, strict=True)]
    nodes = [pair[0] for pair in pairs]
    points = np.stack([part.ravel() for part in np.meshgrid(*nodes, indexing="ij")], axis=1)
    right = source(problem, points)
    began = clock.seconds_now()
    matrix = operator([_along(k, pair[1], len(pairs)) for k, pair in enumerate(pairs)], points)
    wall = np.any(np.isclose(points, lower) | np.isclose(points, upper), axis=1)
    u = np.where(wall, reference_values(problem, points)[:, 0], 0.0)
    inside = np.flatnonzero(~wall)
    for _ in range(20 if power else 1):
        reaction, rate = (u**power, power * u ** (power - 1)) if power else (0.0 * u, 0.0 * u)
        residual = (matrix @ u + reaction - right)[inside]
        slope = matrix[np.ix_(inside, inside)] + np.diag(rate[inside])
        step = np.linalg.solve(slope, residual)
        u[inside] -= step
        if np.abs(step).max() < 1e-12:
            break
    values = functools.partial(tensor_values, nodes, u)
    return Control(f"Chebyshev collocation, {count} points an axis", len(u), clock.seconds_now() - began, values)


def _along(axis: int, matrix: np.ndarray, dim: int) -> np.ndarray:
    """A matrix acting along one axis of a tensor of values."""
    parts = [np.eye(len(matrix))] * dim
    parts[axis] = matrix
    return functools.reduce(np.kron, parts)


def wave_lines(problem: Problem, count: int = 48) -> Control:
    """`u_tt = u_xx + u_yy`, zero at the walls, starting at rest: Chebyshev in space, Runge-Kutta of order eight."""
    lower, upper = problem.domain.bounds()
    (x, dx), (y, dy) = (chebyshev(count, a, b) for a, b in zip(lower[1:], upper[1:], strict=True))
    across, along = ((d @ d)[1:-1, 1:-1] for d in (dx, dy))
    points = np.stack([part.ravel() for part in np.meshgrid([lower[0]], x[1:-1], y[1:-1], indexing="ij")], axis=1)
    start = reference_values(problem, points)[:, 0]
    began = clock.seconds_now()

    def rate(_: float, state: np.ndarray) -> np.ndarray:
        u, speed = state.reshape(2, count - 2, count - 2)
        return np.concatenate([speed.ravel(), (across @ u + u @ along.T).ravel()])

    times, _ = chebyshev(24, lower[0], upper[0])
    path = solve_ivp(
        rate, (lower[0], upper[0]), np.r_[start, 0.0 * start], "DOP853", t_eval=times, rtol=1e-10, atol=1e-10
    )
    table = np.pad(path.y[: len(start)].T.reshape(-1, count - 2, count - 2), ((0, 0), (1, 1), (1, 1)))
    seconds = clock.seconds_now() - began
    values = functools.partial(_in_blocks, functools.partial(tensor_values, (times, x, y), table))
    return Control(f"Chebyshev and Runge-Kutta, {count} points an axis", 2 * len(start), seconds, values)


def _in_blocks(values: Values, points: np.ndarray) -> np.ndarray:
    return np.concatenate([values(block) for block in np.array_split(points, 1 + len(points) // 500)])


def l_shape_differences(problem: Problem, cells: int = 512) -> Control:
    r"""`Laplacian u + u = f` on an L-shape: compact differences of order four on nine points, sparse factorisation.

    The nine-point Laplacian is `L + h^2 L^2 / 12 + O(h^4)`, so `u` solves
    `(L_9 + 1 + h^2 L_5 / 12) u = (1 + h^2 L_5 / 12) f` to that order (Mehrstellenverfahren, Collatz 1960).
    """
    ticks = np.linspace(0.0, 1.0, cells + 1)
    x, y = (part.ravel() for part in np.meshgrid(ticks, ticks, indexing="ij"))
    points = np.stack([x, y], axis=1)
    # the stencil of a node inside of the L never reaches beyond its edge
    free = (x > 0) & (y > 0) & (((x < 0.5) & (y < 1)) | ((y < 0.5) & (x < 1)))
    right = source(problem, points)
    known = reference_values(problem, points)[:, 0]
    began = clock.seconds_now()
    second = _tridiagonal(np.ones(cells), np.full(cells + 1, -2.0))
    five = sp.csr_array(_kronecker_sum(second, second)) * cells**2
    compact = sp.eye_array(len(x), format="csr") + five / (12.0 * cells**2)
    matrix = sp.csr_array(five + sp.kron(second, second) * (cells**2 / 6.0) + compact)
    u = np.where(free, 0.0, known)
    balance = compact @ right - matrix @ u
    inner = sp.csc_array(matrix[free][:, free])
    u[free] = spsolve(inner, balance[free])
    seconds = clock.seconds_now() - began
    values = RegularGridInterpolator((ticks, ticks), u.reshape(cells + 1, cells + 1), method="cubic")
    return Control(f"compact differences, {cells} cells an axis", int(free.sum()), seconds, values)


def burgers_lines(problem: Problem, viscosity: float, count: int = 256) -> Control:
    """Burgers' equation: Chebyshev collocation in space, implicit Runge-Kutta steps in time."""
    began = clock.seconds_now()
    lower, upper = problem.domain.bounds()
    nodes, slope = chebyshev(count, lower[1], upper[1])
    second = slope @ slope
    inner = slice(1, -1)

    def rate(_: float, v: np.ndarray) -> np.ndarray:
        u = np.r_[0.0, v, 0.0]
        return (viscosity * second @ u - u * (slope @ u))[inner]

    start = -np.sin(np.pi * nodes)[inner]
    path = solve_ivp(rate, (lower[0], upper[0]), start, "Radau", dense_output=True, rtol=1e-8, atol=1e-10).sol

    def values(points: np.ndarray) -> np.ndarray:
        u = np.pad(path(points[:, 0]).T, ((0, 0), (1, 1)))
        return np.einsum("pi,pi->p", interpolation(nodes, points[:, 1]), u)

    return Control(f"Chebyshev and Radau, {count} points", count, clock.seconds_now() - began, values)


def allen_cahn_lines(problem: Problem, diffusion: float = 1e-4, count: int = 512) -> Control:
    """The Allen-Cahn equation: Fourier collocation in space, implicit multistep integration in time."""
    began = clock.seconds_now()
    lower, upper = problem.domain.bounds()
    nodes = lower[1] + (upper[1] - lower[1]) * np.arange(count) / count
    waves = 2.0 * np.pi * np.fft.fftfreq(count, (upper[1] - lower[1]) / count)
    second = np.real(np.fft.ifft(-(waves[:, None] ** 2) * np.fft.fft(np.eye(count), axis=0), axis=0))
    start = np.asarray([-float(problem.terms[1].function(lambda x: 0.0, x, None)) for x in _starts(lower[0], nodes)])  # pyright: ignore
    path = solve_ivp(
        lambda _, u: diffusion * second @ u + 5.0 * u - 5.0 * u**3,
        (lower[0], upper[0]), start, "BDF", dense_output=True, rtol=1e-8, atol=1e-10,
        jac=lambda _, u: diffusion * second + np.diag(5.0 - 15.0 * u**2),
    ).sol  # fmt: skip

    def values(points: np.ndarray) -> np.ndarray:
        modes = np.fft.fft(path(points[:, 0]), axis=0).T / count
        phases = np.exp(1j * np.outer(points[:, 1] - lower[1], waves))
        return np.real(np.sum(modes * phases, axis=1))

    return Control(f"Fourier and BDF, {count} points", count, clock.seconds_now() - began, values)


def _starts(at: float, nodes: np.ndarray) -> np.ndarray:
    return np.stack([np.full_like(nodes, at), nodes], axis=1)


def jump_differences(problem: Problem, cells: int = 256) -> Control:
    """`div(eps grad u) = f` with `eps` 1 and 1/2 on either side of `x = 0`: conservative differences, sparse solve."""
    lower, upper = problem.domain.bounds()
    x, y = (np.linspace(a, b, cells + 1) for a, b in zip(lower, upper, strict=True))
    inner = np.stack([part.ravel() for part in np.meshgrid(x[1:-1], y[1:-1], indexing="ij")], axis=1)
    shift = np.array([1e-9, 0.0])
    right = (source(problem, inner - shift, 1) + source(problem, inner + shift, 1)) / 2
    began = clock.seconds_now()
    h = x[1] - x[0]
    edges = np.where((x[1:] + x[:-1]) / 2 < 0, 1.0, 0.5)
    mean = (edges[1:] + edges[:-1]) / 2
    across = _tridiagonal(edges[1:-1], -(edges[1:] + edges[:-1]))
    along = _tridiagonal(np.ones(cells - 2), np.full(cells - 1, -2.0))
    matrix = sp.kron(across, sp.eye_array(cells - 1)) + sp.kron(sp.diags_array(mean), along)
    solved: Any = spsolve(sp.csc_array(matrix / h**2), right)
    grid = np.pad(solved.reshape(cells - 1, cells - 1), 1)
    values = RegularGridInterpolator((x, y), grid)
    return Control(f"differences, {cells} x {cells} cells", len(solved), clock.seconds_now() - began, values)


def scattered(problem: Problem) -> Control:
    """Piecewise cubic interpolation of scattered data on triangles; the nearest value outside of their hull."""
    began = clock.seconds_now()
    data = problem.terms[0]
    assert isinstance(data, Data)
    inside, outside = (
        CloughTocher2DInterpolator(data.points, data.values),
        NearestNDInterpolator(data.points, data.values),
    )

    def values(points: np.ndarray) -> np.ndarray:
        found = inside(points)
        return np.where(np.isfinite(found), found, outside(points))

    return Control("Clough-Tocher interpolation", len(data.points), clock.seconds_now() - began, values)


def poisson_differences(problem: Problem, cells: int) -> tuple[int, float, float]:
    """`-Laplacian u = f`, zero on the walls: second-order differences and a sparse factorisation.

    The control of cost: how the seconds of a direct sparse solver grow with the unknowns in 1, 2 and 3 dimensions.

    Returns
    -------
    Number of unknowns, seconds, relative L2 error over the nodes.
    """
    lower, upper = problem.domain.bounds()
    axes = [np.linspace(a, b, cells + 1)[1:-1] for a, b in zip(lower, upper, strict=True)]
    points = np.stack([part.ravel() for part in np.meshgrid(*axes, indexing="ij")], axis=1)
    right = source(problem, points)
    began = clock.seconds_now()
    n = cells - 1
    second = [
        _tridiagonal(np.full(n - 1, -1.0), np.full(n, 2.0)) * (cells / (b - a)) ** 2
        for a, b in zip(lower, upper, strict=True)
    ]
    matrix = functools.reduce(_kronecker_sum, second)
    solved: Any = spsolve(sp.csc_array(matrix), right)
    seconds = clock.seconds_now() - began
    exact = reference_values(problem, points)[:, 0]
    return len(points), seconds, float(np.linalg.norm(solved - exact) / np.linalg.norm(exact))


def _tridiagonal(beside: np.ndarray, middle: np.ndarray) -> Any:
    """Symmetric tridiagonal matrix."""
    return sp.diags_array([beside, middle, beside], offsets=[-1, 0, 1])  # pyright: ignore


def _kronecker_sum(first: Any, second: Any) -> Any:
    return sp.kron(first, sp.eye_array(second.shape[0])) + sp.kron(sp.eye_array(first.shape[0]), second)
