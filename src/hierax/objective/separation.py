"""Problems whose terms all separate: objectives of low-rank tensors by integrals along the axes, without points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np
from scipy.linalg import LinAlgError, eigh

from hierax.fields import LowRank
from hierax.fields.low_rank import gauss
from hierax.objective.curvature import DenseGram
from hierax.objective.jet_rows import JetRows
from hierax.objective.objective import Linearisation
from hierax.objective.samples import Samples
from hierax.objective.separable import SeparableRow, separated
from hierax.objective.tensor_form import TensorForm, squared, weighed
from hierax.problems.problem import Problem

SYMMETRIC = 1e-7
"""Largest difference of a form with its arguments exchanged, beside its size, that is error of quadrature."""
POSITIVE = 1e-6
"""Least ratio of the lowest value of a form to that of random functions; below it it may have either sign."""
SWEEPS = 12
"""Sweeps over the axes in search of the lowest value."""


@final
@dataclass(frozen=True, eq=False)
class Separation:
    """The rows of all terms, and whether the equation is solved in the weak sense.

    Attributes
    ----------
    rows:
        For each term its rows.
    sign:
        Of the equation, where it is that of a minimum: symmetric and positive on functions that keep the conditions,
        which the field has built in. Without it squares are minimised.
    """

    rows: tuple[tuple[SeparableRow, ...], ...]
    sign: float | None = None

    @classmethod
    def of(cls, problem: Problem, field: LowRank) -> Separation | None:
        """That of a problem; `None` where a term does not separate.

        Parameters
        ----------
        field:
            A field of the kind that is trained, with the conditions that are built in.
        """
        rows = []
        for term in problem.terms:
            own = separated(problem, term)
            if own is None:
                return None
            rows.append(own)
        found = cls(tuple(rows))
        alive = [row for own in rows for row in own if _is_felt(row, field)]
        return cls(found.rows, _sign(alive[0], field)) if len(alive) == 1 and _is_inside(alive[0]) else found

    def forms(self, field: LowRank) -> tuple[tuple[TensorForm, ...], ...]:
        """For each term its quadratic forms on the factors of a field, without those that the field makes vanish."""
        if self.sign is None:
            return self.squares(field)
        form = partial(_weak, sign=self.sign)
        return tuple(tuple(form(row, field) for row in own if _is_felt(row, field)) for own in self.rows)

    def squares(self, field: LowRank) -> tuple[tuple[TensorForm, ...], ...]:
        """The same, of squares."""
        return tuple(tuple(_square(row, field) for row in own if _is_felt(row, field)) for own in self.rows)


def _is_felt(row: SeparableRow, field: LowRank) -> bool:
    """Whether a row is more than zero on a face where the field has built that in."""
    if any(not core.any() for core in row.source):
        ends = ((k, row.nodes.places[k]) for k, size in enumerate(row.nodes.sizes) if size == 1)
        bases = (field.basis(k, x, order) for k, x in ends for order in row.orders[row.chain.index(k)])
        return all(bool(basis.any()) for basis in bases)
    return True


def _is_inside(row: SeparableRow) -> bool:
    return min(row.nodes.sizes) > 1


def _square(row: SeparableRow, field: LowRank) -> TensorForm:
    operator, source, weights, _ = _on_axes(row, field)
    return squared(row.chain, operator, source, weights)


def _weak(row: SeparableRow, field: LowRank, sign: float) -> TensorForm:
    operator, source, weights, tests = _on_axes(row, field)
    return weighed(row.chain, operator, source, weights, tests, sign)


def _on_axes(row: SeparableRow, field: LowRank) -> tuple[list[np.ndarray], ...]:
    """For each axis of the chain the operator `(a, q, n, b)`, the source `(a, q, b)`, weights, the basis `(q, n)`."""
    operators, sources, weights, tests = [], [], [], []
    for k, orders, operator, source in zip(row.chain, row.orders, row.operator, row.source, strict=True):
        fixed = row.nodes.sizes[k] == 1
        # a condition is a mean over its face, as it is at points
        x, w = (row.nodes.places[k], np.ones(1) / row.nodes.measure) if fixed else gauss(field.axes[k])
        between = row.nodes.interpolation(k, x)
        a, _, b = operator.shape
        core = operator.reshape(a, len(orders), -1, b)
        basis = np.stack([field.basis(k, x, order) for order in orders])
        at_points = np.einsum("qm,aomb->aoqb", between, core, optimize=True)
        operators.append(np.einsum("aoqb,oqn->aqnb", at_points, basis, optimize=True))
        sources.append(np.einsum("qm,amb->aqb", between, source, optimize=True))
        weights.append(w)
        tests.append(field.basis(k, x))
    return operators, sources, weights, tests


def _sign(row: SeparableRow, field: LowRank) -> float | None:
    """The sign with which the weak form of a row is symmetric and positive; `None` where it is not."""
    form, generator = _weak(row, field, 1.0), np.random.default_rng(0)
    u, v = ([generator.normal(size=core.shape[1]) for core in form.matrix] for _ in range(2))
    uu, vv, uv, vu = (_between(form, *pair) for pair in ((u, u), (v, v), (u, v), (v, u)))
    size = np.sqrt(abs(uu * vv))
    if not (uu * vv > 0 and abs(uv - vu) <= SYMMETRIC * size):
        return None
    sign = float(np.sign(uu))
    mass = [test.T @ (test * w[:, None]) for test, w in zip(*reversed(_on_axes(row, field)[2:]), strict=True)]
    typical = sign * uu / np.prod([a @ m @ a for a, m in zip(u, mass, strict=True)])
    return sign if _lowest(form, mass, sign) > POSITIVE * typical else None


def _between(form: TensorForm, u: Sequence[np.ndarray], v: Sequence[np.ndarray]) -> float:
    """`u' K v` of two products."""
    row = np.ones((1, 1))
    for core, a, b in zip(form.matrix, u, v, strict=True):
        row = row @ np.einsum("aijb,i,j->ab", core, a, b, optimize=True)
    return float(row[0, 0])


def _lowest(form: TensorForm, mass: Sequence[np.ndarray], sign: float) -> float:
    """The lowest value of a form on products of norm one that sweeps over the axes find, each an eigenvalue problem."""
    products, value = [np.ones(len(m)) / np.sqrt(m.sum()) for m in mass], np.inf
    for _ in range(SWEEPS):
        for k, (core, m) in enumerate(zip(form.matrix, mass, strict=True)):
            chain = [np.einsum("aijb,i,j->ab", c, p, p, optimize=True)
                     for c, p in zip(form.matrix, products, strict=True)]  # fmt: skip
            before, after = np.ones((1, 1)), np.ones((1, 1))
            for matrix in chain[:k]:
                before = before @ matrix
            for matrix in reversed(chain[k + 1 :]):
                after = matrix @ after
            own = sign * np.einsum("a,aijb,b->ij", before[0], core, after[:, 0], optimize=True)
            try:
                values, vectors = eigh(0.5 * (own + own.T), m, subset_by_index=[0, 0])
            except LinAlgError:
                return -np.inf
            products[k], value = vectors[:, 0], float(values[0])
    return value


class SeparableObjective(JetRows):
    """An objective by integrals along the axes; residuals at points are those of its samples.

    Parameters
    ----------
    problem, field, samples:
        As for `JetRows`; the weights of the samples add up to the measure of where a term holds.
    forms:
        For each term its quadratic forms.
    """

    def __init__(
        self,
        problem: Problem,
        field: LowRank,
        samples: Sequence[Samples],
        forms: Sequence[Sequence[TensorForm]],
    ) -> None:
        super().__init__(problem, field, samples)
        self.forms = forms

    def rescaled(self, scales: Sequence[float]) -> SeparableObjective:
        samples = [s.scaled(c) for s, c in zip(self.samples, scales, strict=True)]
        return SeparableObjective(self.problem, self.field, samples, self.forms)

    def with_samples(self, samples: Sequence[Samples]) -> SeparableObjective:
        return SeparableObjective(self.problem, self.field, samples, self.forms)

    def values(self, theta: np.ndarray) -> np.ndarray:
        factors = self._factors(theta)
        return np.array([sum(form.value(factors) for form in own) for own in self.forms])

    def value_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        factors, gradient = self._factors(theta), np.zeros(self.size)
        for s, own in zip(self.samples, self.forms, strict=True):
            gradient += s.scale * sum((form.gradient(factors) for form in own), np.zeros(self.size))
        return self.value(theta), gradient

    def linearise(self, theta: np.ndarray) -> Linearisation:
        factors = self._factors(theta)
        value, gradient, matrix = 0.0, np.zeros(self.size), np.zeros((self.size, self.size))
        for s, own in zip(self.samples, self.forms, strict=True):
            for e in (form.expansion(factors) for form in own):
                value += s.scale * e.value
                gradient += s.scale * e.gradient
                matrix += s.scale * e.matrix
        return Linearisation(value, gradient, DenseGram(matrix))

    def diagonals(self, theta: np.ndarray, equations: np.ndarray | None = None) -> np.ndarray:
        del equations
        factors, none = self._factors(theta), np.zeros(self.size)
        return np.array([sum((np.diagonal(f.expansion(factors).matrix) for f in own), none) for own in self.forms])

    @property
    def work(self) -> float:
        return float(self.size) ** 2 * (self.size / 3 + 100)

    def _factors(self, theta: np.ndarray) -> list[np.ndarray]:
        return [np.asarray(factor) for factor in self.build(theta).factors]
