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
from hierax.objective.jets import jet_term
from hierax.objective.objective import Linearisation
from hierax.objective.pointwise import point_term
from hierax.objective.samples import Samples
from hierax.objective.separable import SeparableRow, has_one_scalar, separated
from hierax.objective.separable_energy import SeparableEnergy, separated_energy
from hierax.objective.tensor_form import TensorForm, squared, weighed
from hierax.problems.domain import Box, Face
from hierax.problems.problem import Problem
from hierax.problems.remembered import once_for_each
from hierax.problems.terms import Energy, Term

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
        For each term its rows, or its energies.
    sign:
        Of the equation, where it is that of a minimum: symmetric and positive on functions that keep the conditions,
        which the field has built in; 1 for energies. Without it squares are minimised.
    """

    rows: tuple[tuple[SeparableRow | SeparableEnergy, ...], ...]
    sign: float | None = None

    @classmethod
    def of(cls, problem: Problem, field: LowRank) -> Separation | None:
        """That of a problem; `None` where a term does not separate, and where an energy has no minimum.

        The conditions of an energy have to be built in.

        Parameters
        ----------
        field:
            A field of the kind that is trained, with the conditions that are built in.
        """
        rows = []
        for term in problem.terms:
            own = _separated(problem, term)
            if own is None:
                return None
            rows.append(own)
        found = cls(tuple(rows))
        alive = [row for own in rows for row in own if _is_felt(row, field)]
        energies = [row for row in alive if isinstance(row, SeparableEnergy)]
        if energies:
            bounded = len(energies) == len(alive) and _bounded([_stored(row, field) for row in energies], field)
            return cls(found.rows, 1.0) if bounded else None
        return cls(found.rows, _sign(alive[0], field)) if len(alive) == 1 and _is_inside(alive[0]) else found

    def forms(self, field: LowRank) -> tuple[tuple[TensorForm, ...], ...]:
        """For each term its quadratic forms on the factors of a field, without those that the field makes vanish."""
        if self.sign is None:
            return self.squares(field)
        form = partial(_least, sign=self.sign)
        return tuple(tuple(form(row, field) for row in own if _is_felt(row, field)) for own in self.rows)

    def squares(self, field: LowRank) -> tuple[tuple[TensorForm, ...], ...]:
        """The same, of squares, and of energies."""
        return tuple(tuple(_square(row, field) for row in own if _is_felt(row, field)) for own in self.rows)


@once_for_each
def _separated(problem: Problem, term: Term) -> tuple[SeparableRow | SeparableEnergy, ...] | None:
    """The rows of a term, or its energies, on all places where it holds; see `separated` and `separated_energy`."""
    if not isinstance(term, Energy):
        return separated(problem, term)
    jets = jet_term(problem, point_term(problem, term), 0) if has_one_scalar(problem) else None
    if jets is None or not isinstance(problem.domain, Box):
        return None
    found = [separated_energy(problem.domain, jets, p if isinstance(p, Face) else None) for p in problem.places(term)]
    return None if any(own is None for own in found) else tuple(row for own in found for row in own or ())


def _is_felt(row: SeparableRow | SeparableEnergy, field: LowRank) -> bool:
    """Whether a row is more than zero on a face where the field has built that in."""
    if isinstance(row, SeparableRow) and any(not core.any() for core in row.source):
        ends = ((k, row.nodes.places[k]) for k, size in enumerate(row.nodes.sizes) if size == 1)
        bases = (field.basis(k, x, order) for k, x in ends for order in row.orders[row.chain.index(k)])
        return all(bool(basis.any()) for basis in bases)
    return True


def _is_inside(row: SeparableRow | SeparableEnergy) -> bool:
    return min(row.nodes.sizes) > 1


def _square(row: SeparableRow | SeparableEnergy, field: LowRank) -> TensorForm:
    if isinstance(row, SeparableEnergy):
        return _stored(row, field)
    operator, source, weights, _ = _on_axes(row, field)
    return squared(row.chain, operator, source, weights)


def _least(row: SeparableRow | SeparableEnergy, field: LowRank, sign: float) -> TensorForm:
    return _stored(row, field) if isinstance(row, SeparableEnergy) else _weak(row, field, sign)


def _stored(row: SeparableEnergy, field: LowRank) -> TensorForm:
    """The form of an energy."""
    matrix, right, constant = [], [], np.ones((1, 1))
    for k, orders, products, loads, rest in zip(
        row.chain, row.orders, row.operator, row.source, row.constant, strict=True
    ):
        x, w = (row.nodes.places[k], np.ones(1)) if row.nodes.sizes[k] == 1 else gauss(field.axes[k])
        between, count = row.nodes.interpolation(k, x), len(orders)
        basis = np.stack([field.basis(k, x, order) for order in orders])
        core = products.reshape(len(products), count, count, -1, products.shape[2])
        core = np.einsum("qm,aopmb->aopqb", between * w[:, None], core, optimize=True)
        matrix.append(np.einsum("aopqb,oqi,pqj->aijb", core, basis, basis, optimize=True))
        core = np.einsum("qm,aomb->aoqb", between * w[:, None], loads.reshape(len(loads), count, -1, loads.shape[2]))
        right.append(np.einsum("aoqb,oqi->aib", core, basis, optimize=True))
        constant = constant @ np.einsum("q,qm,amb->ab", w, between, rest, optimize=True)
    return TensorForm(row.chain, tuple(matrix), tuple(right), float(constant[0, 0]))


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
    mass = _masses(field)
    own = [u[row.chain.index(k)] for k in range(len(u))]
    typical = sign * uu / np.prod([a @ m @ a for a, m in zip(own, mass, strict=True)])
    return sign if _lowest([form], mass, sign) > POSITIVE * typical else None


def _bounded(forms: Sequence[TensorForm], field: LowRank) -> bool:
    """Whether the sum of some forms is positive."""
    generator, mass = np.random.default_rng(0), _masses(field)
    product = [generator.normal(size=len(m)) for m in mass]
    size = np.prod([a @ m @ a for a, m in zip(product, mass, strict=True)])
    typical = sum(_between(form, *[[product[k] for k in form.chain]] * 2) for form in forms) / size
    return bool(typical > 0) and _lowest(forms, mass, 1.0) > POSITIVE * float(typical)


def _masses(field: LowRank) -> list[np.ndarray]:
    """For each axis the integrals of products of its basis functions."""
    rules = [gauss(axis) for axis in field.axes]
    bases = [field.basis(k, x) for k, (x, _) in enumerate(rules)]
    return [basis.T @ (basis * w[:, None]) for basis, (_, w) in zip(bases, rules, strict=True)]


def _between(form: TensorForm, u: Sequence[np.ndarray], v: Sequence[np.ndarray]) -> float:
    """`u' K v` of two products, whose factors stand as the chain does."""
    row = np.ones((1, 1))
    for core, a, b in zip(form.matrix, u, v, strict=True):
        row = row @ np.einsum("aijb,i,j->ab", core, a, b, optimize=True)
    return float(row[0, 0])


def _lowest(forms: Sequence[TensorForm], mass: Sequence[np.ndarray], sign: float) -> float:
    """The lowest value of a sum of forms on products of norm one that sweeps over the axes find, as eigenvalues."""
    products, value = [np.ones(len(m)) / np.sqrt(m.sum()) for m in mass], np.inf
    for _ in range(SWEEPS):
        for k, m in enumerate(mass):
            own = sign * np.sum([form.along(products, k) for form in forms], axis=0)
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
