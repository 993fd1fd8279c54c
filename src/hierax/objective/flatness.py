r"""How far the terms of a problem determine its solution: changes of the unknowns that violate no term.

About a field the rows of the terms have the Gauss-Newton matrices `A_t`, and the unknowns `u_j` the mass matrices
`M_j`. Flat directions are eigenvectors of

.. math:: \Big(\sum_t A_t / S_t^2\Big) v = \lambda \Big(\sum_j M_j / s_j^2\Big) v

with eigenvalues near zero. The sizes `s_j` of the unknowns and `S_t` of what smooth functions of these sizes violate
are found by equilibration, so that no unit matters; an eigenvalue is the square of a violation, relative to that by a
smooth change of the same size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import jax
import numpy as np
import scipy.linalg
import scipy.sparse as sp
from jaxtyping import Float

from hierax.fields import Unknowns, parameter_count
from hierax.objective.assembly import local_residuals
from hierax.objective.galerkin import jacobian_rows
from hierax.objective.local import LocalObjective
from hierax.objective.objective import flat_parameters
from hierax.objective.pointwise import JetEnergy, value_term
from hierax.objective.samples import Samples, make_samples
from hierax.objective.view import bounded
from hierax.problems.problem import Problem

LARGEST = 1100
"""Most parameters of a level whose dense matrices are formed."""
HALF_WAVES, PHASE = 2, 0.4
"""Half waves across the domain, over all coordinates, of what counts as smooth, and their phase at its lower end: at no
end is a derivative of all of them zero, as slopes of cosines without a phase are, which then would have no size."""
OPEN = 1e-3
"""Weight of the values of a field in the sizes of its components."""
DIRECTIONS, SWEEPS = 6, 8
"""Directions that are iterated together, and inverse iterations."""
ROUNDING = 1e-13
"""Added to diagonals, relative: what no point sees is not a direction."""
HIDDEN = 1e-2
"""Part of the sizes of terms that rounding of their matrices may be: on finer grids nothing can be told from them."""
DOUBTED, MOVED = 1e-2, 1e-4
"""Violations by less may be rounding of squared matrices, and are found from residuals on both sides; how far these
are, in sizes of the unknowns, where terms are not linear."""
LEAST_CONSTANT = 0.1
"""Least size of a constant, in units of its start."""


class Direction(NamedTuple):
    """A change of the unknowns of about their own sizes.

    Attributes
    ----------
    violation:
        What it violates, relative to smooth changes of the same size.
    shares:
        Share of each function and constant, by name, in the square of the change.
    changes:
        Derivative of each constant along the direction, in its own unit.
    smooth:
        Share of constants and of waves across the whole domain in the square of the change.
    values:
        Change of every function component, in its size, at the points of `flattest`; `(n, components)`.
    """

    violation: float
    shares: dict[str, float]
    changes: dict[str, float]
    smooth: float
    values: Float[np.ndarray, "n components"]


@final
@dataclass(frozen=True, eq=False)
class Flatness:
    """The least violations of some levels, coarsest first, and the flattest directions of the last of them.

    Attributes
    ----------
    violations:
        Of the flattest direction of each level; a last one may be what the pace of those before comes to.
    directions:
        Of the last level, the flattest first.
    points:
        Where they are known, `(n, dim)`.
    """

    violations: Sequence[float]
    directions: Sequence[Direction]
    points: Float[np.ndarray, "n dim"]


@final
@dataclass(frozen=True, eq=False)
class Functions:
    """How the parameters `theta` `(N,)` of a field change the function components of a problem.

    Attributes
    ----------
    names:
        The function that each component belongs to.
    rows:
        For each component its derivative at the points, `(n, N)`, sparse or dense.
    weights:
        Of the points, a quadrature; they add up to one.
    waves:
        For each component smooth functions at the points `(n, k)`.
    values:
        Mean square of every component.
    parts:
        Parts of the domain, each with its own equal share of the smooth functions, zero in the others.
    """

    names: tuple[str, ...]
    rows: tuple[Any, ...]
    weights: Float[np.ndarray, " n"]
    waves: tuple[Float[np.ndarray, "n k"], ...]
    values: Float[np.ndarray, " components"]
    parts: int = 1

    @classmethod
    def of(cls, problem: Problem, field: Any, inside: Samples, periodic: Sequence[bool]) -> Functions:
        """At the points of some samples inside the domain."""
        names = tuple(name for name, f in problem.functions.items() for _ in range(f.components or 1))
        samples = make_samples(value_term(problem), inside.points, inside.weights)
        rows, values = jacobian_rows(field, samples, flat_parameters(field)[0])
        weights = inside.weights / inside.weights.sum()
        own = tuple(sp.csr_array(rows[k :: len(names)]) for k in range(len(names)))
        waves, parts = _waves(inside.points, *problem.domain.bounds(), periodic), 1
        if problem.regions is not None:
            parts, number = len(problem.regions.table), problem.regions.number(inside.points)
            waves = np.concatenate([np.where(number[:, None] == k, waves, 0.0) for k in range(parts)], axis=1)
        squares = weights @ values.reshape(-1, len(names)) ** 2
        return cls(names, own, weights, (waves,) * len(names), squares, parts)

    @functools.cached_property
    def masses(self) -> list[np.ndarray]:
        """Mean square of a change of each component, `(N, N)`."""
        found = [r.T @ (sp.diags_array(self.weights) @ r) for r in self.rows]
        return [m.toarray() if sp.issparse(m) else m for m in found]

    @functools.cached_property
    def smooth(self) -> list[np.ndarray]:
        """Changes `(N, k)` of each component that are nearest to the waves, with mean square one."""
        factor = scipy.linalg.cho_factor(_regular(np.sum(self.masses, axis=0)))
        out = []
        for rows, mass, waves in zip(self.rows, self.masses, self.waves, strict=True):
            found = scipy.linalg.cho_solve(factor, rows.T @ (self.weights[:, None] * waves))
            out.append(found / np.sqrt(np.einsum("nk,nk->k", found, mass @ found)))
        return out


def flattest(
    problem: Problem,
    field: Any,
    samples: Sequence[Samples],
    inside: Samples,
    periodic: Sequence[bool],
    rough: Sequence[str] = (),
    linear: bool = False,
) -> list[Direction]:
    """The directions that violate the terms least, the flattest first; none where rounding hides them.

    Parameters
    ----------
    field:
        With fixed cells and at most `LARGEST` parameters.
    samples:
        Of all terms, at the points of the field's level.
    inside:
        One of them, whose points and weights are a quadrature over the domain.
    periodic:
        Which coordinates wrap around.
    rough:
        Functions of which only smooth changes are looked at: a penalty decides between others.
    """
    theta, _ = flat_parameters(field)
    functions = Functions.of(problem, field, inside, periodic)
    objective = LocalObjective(field, samples, periodic)
    felt = None if any(isinstance(s.term, JetEnergy) for s in samples) else _Felt(objective, theta, linear)
    return of_forms(_matrices(objective, theta), functions, numbers(problem, field, theta), rough, felt)


def of_forms(
    terms: Sequence[Float[np.ndarray, "N N"]],
    functions: Functions,
    constants: Sequence[Number] = (),
    rough: Sequence[str] = (),
    felt: _Felt | None = None,
) -> list[Direction]:
    """The same for any way to change the unknowns, by the Gauss-Newton matrices of rows or terms in its parameters.

    What is small in these matrices may be their rounding, and is asked of `felt`, where it is known.
    """
    own, left = _equilibrated(terms, functions)
    largest = np.array([np.max(np.diag(a)) for a in terms]) * own.max() * np.sqrt(len(terms[0]))
    if np.any(np.finfo(float).eps * largest > HIDDEN * np.abs(left)):
        return []
    mass = np.sum([m / s for m, s in zip(functions.masses, own, strict=True)], axis=0)
    for c in constants:
        mass[c.place, c.place] += c.relative**2
        left = left + np.array([a[c.place, c.place] for a in terms]) / c.relative**2
    whole = np.sum([a / s if s > 0 else 0.0 * a for a, s in zip(terms, left, strict=True)], axis=0)
    basis = _judged(functions, len(mass), rough)
    found = basis @ _flat(*(basis.T @ (basis.T @ form).T for form in (whole, mass)))

    def violation(v: np.ndarray) -> float:
        square = float(v @ whole @ v)
        if felt is not None and square < DOUBTED**2:
            square = float(np.sum(felt.squares(v)[left > 0] / left[left > 0]))
        return float(np.sqrt(max(square, 0.0)))

    return sorted((_direction(v, violation, functions, own, constants) for v in found.T), key=lambda d: d.violation)


class _Felt(NamedTuple):
    """What rows feel of a change, from the residuals on both sides: that has less rounding than a matrix."""

    objective: LocalObjective
    theta: np.ndarray
    linear: bool

    def squares(self, v: np.ndarray) -> np.ndarray:
        """The square of what each row feels of a change `v` `(N,)` that has about the size of the unknowns."""
        step = 1.0 if self.linear else MOVED
        after, before = (self.objective.residuals(self.theta + s * step * v) for s in (1.0, -1.0))
        rows = zip(self.objective.samples, after, before, strict=True)
        return np.concatenate([s.weights @ (a - b) ** 2 for s, a, b in rows]) / (2.0 * step) ** 2


class Number(NamedTuple):
    """A constant: the place of its parameter, and the derivative of its value by that, as it is and over its size."""

    name: str
    place: int
    slope: float
    relative: float


def numbers(problem: Problem, field: Any, theta: np.ndarray) -> list[Number]:
    """The unknown constants among the parameters of a field."""
    out, start = [], 0
    for name, part in field.parts.items() if isinstance(field, Unknowns) else ():
        if name in problem.constants:
            constant, parameter = problem.constants[name], float(theta[start])
            to_bounds = bounded(constant.bounds)
            size = max(abs(float(to_bounds(parameter))), LEAST_CONSTANT * abs(constant.initial)) or 1.0
            # bounds are kept by monotonic maps, whose slope vanishes by rounding alone
            slope = max(float(jax.grad(to_bounds)(parameter)), 1e-300)
            out.append(Number(name, start, slope, slope / size))
        start += parameter_count(part)
    return out


def _direction(
    v: np.ndarray,
    violation: Callable[[np.ndarray], float],
    functions: Functions,
    squares: np.ndarray,
    constants: Sequence[Number],
) -> Direction:
    values = np.stack([rows @ v for rows in functions.rows], axis=1) / np.sqrt(squares)
    shares: dict[str, float] = {}
    for name, square in zip(functions.names, functions.weights @ values**2, strict=True):
        shares[name] = shares.get(name, 0.0) + float(square)
    shares |= {c.name: float((v[c.place] * c.relative) ** 2) for c in constants}
    total = sum(shares.values())
    changes = {c.name: float(v[c.place] * c.slope) for c in constants}
    root, fine = np.sqrt(functions.weights), 0.0
    for waves, own in zip(functions.waves, (root[:, None] * values).T, strict=True):
        basis, _ = np.linalg.qr(root[:, None] * waves)
        fine += float(np.sum((own - basis @ (basis.T @ own)) ** 2))
    smooth = 1.0 - fine / total
    shares = {name: share / total for name, share in shares.items()}
    return Direction(violation(v / np.sqrt(total)), shares, changes, smooth, values)


def _matrices(objective: LocalObjective, theta: np.ndarray) -> list[np.ndarray]:
    """Gauss-Newton matrix `(N, N)` of each row of each term, and of each energy.

    Row by row, since one size for all rows of a term would hide those that are small beside others in its units.
    """
    every, out = np.arange(len(theta))[None], []
    for samples, near in zip(objective.samples, objective.linearise_each(theta), strict=True):
        energy = isinstance(samples.term, JetEnergy)
        several = 1 if energy else local_residuals(objective.field, samples).shape[1]
        if several == 1:
            out.append(near.curvature.blocks(every)[0])
            continue
        root = sp.diags_array(np.sqrt(np.repeat(samples.weights, several)))
        rows = sp.csr_array(root @ jacobian_rows(objective.field, samples, theta)[0])
        out += [(own.T @ own).toarray() for own in (rows[k::several] for k in range(several))]
    return out


def _equilibrated(terms: Sequence[np.ndarray], functions: Functions) -> tuple[np.ndarray, np.ndarray]:
    """Squares of the sizes of the function components, and of what changes by these violate in each term.

    The logarithms of sizes are those of least squares in which every component counts as much in every term that it
    enters (Curtis, Reid, J. Inst. Maths Applics 10, 1972); what is left open follows the values of the field. Of
    several parts of the domain the one counts where a term feels least: beside it the others may be as if rigid.
    """

    def least(squares: np.ndarray) -> float:
        means = squares.reshape(functions.parts, -1).mean(axis=1)
        return float(np.min(means[means > ROUNDING * means.max()], initial=np.inf)) if np.any(means > 0) else 0.0

    felt = np.array([[least(np.einsum("nk,nk->k", c, a @ c)) for c in functions.smooth] for a in terms])
    count = felt.shape[1]
    where = np.argwhere(felt > 0)
    matrix, right = np.zeros((len(where) + count, count + len(felt))), np.zeros(len(where) + count)
    rows = np.arange(len(where))
    matrix[rows, where[:, 1]], matrix[rows, count + where[:, 0]] = 1.0, -1.0
    right[: len(where)] = -np.log(felt[where[:, 0], where[:, 1]])
    known = functions.values > 0
    np.fill_diagonal(matrix[len(where) :], np.where(known, OPEN, 0.0))
    right[len(where) :] = OPEN * np.log(np.where(known, functions.values, 1.0))
    own = np.exp(np.linalg.lstsq(matrix, right, rcond=1e-12)[0][:count])
    return own, felt @ own


def _judged(functions: Functions, size: int, rough: Sequence[str]) -> sp.csr_array:
    """Basis `(N, m)` of the changes that are looked at, most of them single parameters."""
    free, smooth = np.ones(size, dtype=bool), []
    for name, mass, waves in zip(functions.names, functions.masses, functions.smooth, strict=True):
        if name in rough:
            free &= np.diag(mass) == 0.0
            smooth.append(sp.csr_array(waves))
    return sp.csr_array(sp.hstack([sp.csc_array(sp.eye_array(size))[:, free], *smooth]))


def _flat(whole: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Directions `(N, k)` with the smallest quotients of the two forms, by inverse iteration of a subspace."""
    factor = scipy.linalg.cho_factor(_regular(whole + ROUNDING * mass))
    found = np.random.default_rng(0).normal(size=(len(whole), min(DIRECTIONS, len(whole))))
    for _ in range(SWEEPS):
        found, _ = np.linalg.qr(scipy.linalg.cho_solve(factor, mass @ found))
    _, turn = scipy.linalg.eigh(found.T @ whole @ found, _regular(found.T @ mass @ found))
    return found @ turn


def _regular(matrix: np.ndarray) -> np.ndarray:
    """The matrix with a diagonal that is positive in spite of rounding, and one where no point sees anything."""
    diagonal = np.diag(matrix)
    return matrix + np.diag(np.where(diagonal > 0, ROUNDING * diagonal, 1.0))


def _waves(points: np.ndarray, low: np.ndarray, high: np.ndarray, periodic: Sequence[bool]) -> np.ndarray:
    """Products of waves `(n, k)` with at most `HALF_WAVES` half waves in all; whole ones along periodic axes."""
    z, found = (points - low) / (high - low), [(0, np.ones(len(points)))]
    for axis, wraps in enumerate(periodic):
        own = [(k, np.cos((np.pi * z[:, axis] + PHASE) * k)) for k in range(HALF_WAVES + 1)]
        if wraps:
            own = [own[0], own[2], (2, np.sin(2 * np.pi * z[:, axis]))]
        found = [(a + b, f * g) for a, f in found for b, g in own if a + b <= HALF_WAVES]
    return np.stack([f for _, f in found], axis=1)
