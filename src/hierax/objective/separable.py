r"""Terms that separate: linear ones whose coefficients and sources are short sums of products of functions of one axis.

A row of such a term is :math:`\sum_j a_j(x) \, \partial^{\alpha_j} u(x) - f(x)`. The coefficients :math:`a_j` and the
source :math:`f` are tried: they are approximated from some of their values by tensor trains on Chebyshev grids, up to
a tolerance that is verified at other points. All coefficients together are one train over pairs of a node and an order
of derivative along each axis; the Laplacian has bonds of two. Integrals over the box are products of
integrals along the axes, whatever their number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, final

import numpy as np
from jaxtyping import Float

from hierax.objective.axis_order import chain_order
from hierax.objective.jets import JetTerm, jet_term
from hierax.objective.order import reach
from hierax.objective.pointwise import Place, point_term
from hierax.objective.tensor_train import Cross, Train, added, rounded
from hierax.problems.domain import Box, Face
from hierax.problems.problem import Problem
from hierax.problems.terms import Residual, Term
from hierax.problems.unknowns import Constant

NODES = (16, 32, 64)
"""Chebyshev nodes of an axis: more where fewer do not resolve a function."""
TOLERANCE = 1e-8
"""Largest error of coefficients and sources, beside their largest value."""
Found = TypeVar("Found")
FRESH = 1000
"""Points off the grid at which that is verified."""


@final
@dataclass(frozen=True, eq=False)
class Nodes:
    """A grid of Chebyshev nodes, one array an axis; an axis that is fixed at a face has one node."""

    places: tuple[Float[np.ndarray, " n"], ...]
    low: Float[np.ndarray, " d"]
    high: Float[np.ndarray, " d"]

    @classmethod
    def of(cls, box: Box, count: int, face: Face | None) -> Nodes:
        """So many nodes along each axis of a box, or of one of its faces."""
        low, high = (np.array(end, dtype=float) for end in box.bounds())
        if face is not None:
            axis = box.axis(face.name)
            low[axis] = high[axis] = (low if face.side == "lower" else high)[axis]
        unit = 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)
        places = tuple(a + (b - a) * unit if b > a else np.array([a]) for a, b in zip(low, high, strict=True))
        return cls(places, low, high)

    @property
    def sizes(self) -> list[int]:
        """Numbers of nodes."""
        return [len(own) for own in self.places]

    @property
    def measure(self) -> float:
        """Volume of the box, or area of the face."""
        return float(np.prod(self.high - self.low, where=self.high > self.low))

    def points(self, index: np.ndarray) -> Float[np.ndarray, "m d"]:
        """Points of the grid by their indices."""
        return np.stack([own[i] for own, i in zip(self.places, index.T, strict=True)], axis=1)

    def random(self, count: int) -> Float[np.ndarray, "m d"]:
        """Points off the grid."""
        return self.low + np.random.default_rng(1).random((count, len(self.low))) * (self.high - self.low)

    def interpolation(self, axis: int, x: Float[np.ndarray, " q"]) -> Float[np.ndarray, "q n"]:
        """Values at points of an axis from those at its nodes (Berrut, Trefethen, SIAM Review 46, 2004)."""
        nodes, count = self.places[axis], len(self.places[axis])
        if count == 1:
            return np.ones((len(x), 1))
        weights = (-1.0) ** np.arange(count) * np.sin(np.pi * (np.arange(count) + 0.5) / count)
        distance = x[:, None] - nodes
        near = np.abs(distance) < 1e-14 * (self.high[axis] - self.low[axis])
        terms = weights / np.where(near, 1.0, distance)
        rows = terms / terms.sum(axis=1, keepdims=True)
        return np.where(near.any(axis=1, keepdims=True), near.astype(float), rows)


@final
@dataclass(frozen=True, eq=False)
class SeparableRow:
    """A row of a term on the box or on a face.

    Attributes
    ----------
    nodes:
        The grid.
    chain:
        The order in which the axes stand in the trains.
    orders:
        For each axis of the chain the orders of the derivatives along it.
    operator:
        Cores `(a, order node, b)` of the coefficients, over pairs of an order and a node.
    source:
        Cores `(a, node, b)`.
    """

    nodes: Nodes
    chain: tuple[int, ...]
    orders: tuple[tuple[int, ...], ...]
    operator: Train
    source: Train


def has_one_scalar(problem: Problem) -> bool:
    """Whether a scalar function is all that is unknown."""
    single = list(problem.unknowns.values())
    return len(single) == 1 and not isinstance(single[0], Constant) and single[0].components is None


def separated(problem: Problem, term: Term) -> tuple[SeparableRow, ...] | None:
    """The rows of a term on all places where it holds; `None` where it does not separate within the tolerance.

    Tried are residuals that are affine in one scalar unknown function, on a box.
    """
    suits = isinstance(term, Residual) and has_one_scalar(problem) and reach(problem, term).linear
    if not suits or not isinstance(problem.domain, Box):
        return None
    jets = jet_term(problem, point_term(problem, term), 0)
    if jets is None:
        return None
    rows: list[SeparableRow] = []
    for place in problem.places(term):
        own = _on(problem.domain, jets, place if isinstance(place, Face) else None)
        if own is None:
            return None
        rows += own
    return tuple(rows)


def _on(box: Box, term: JetTerm, face: Face | None) -> list[SeparableRow] | None:
    affine = _Affine(term, normal_of(box, face))
    return resolved(box, face, lambda nodes: _with(nodes, affine))


def resolved(box: Box, face: Face | None, attempt: Callable[[Nodes], Found | None]) -> Found | None:
    """What is found on a grid of a box or of one of its faces, the coarsest that serves; `None` where none does."""
    attempts = (attempt(Nodes.of(box, count, face)) for count in NODES)
    return next((found for found in attempts if found is not None), None)


def normal_of(box: Box, face: Face | None) -> np.ndarray:
    """The outward normal of a face `(d,)`; zero inside."""
    normal = np.zeros(box.dim)
    if face is not None:
        normal[box.axis(face.name)] = -1.0 if face.side == "lower" else 1.0
    return normal


@final
@dataclass(frozen=True, eq=False)
class _Affine:
    """A residual that is affine in its jets: coefficients and source at points."""

    term: JetTerm
    normal: np.ndarray

    def __call__(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients `(n, rows, jets)` and sources `(n, rows)`."""
        e = self.term.expanded(*self._at(points))
        return e.rows, -e.residual

    def sources(self, points: np.ndarray) -> np.ndarray:
        """Sources `(n, rows)`."""
        return -self.term.residual(*self._at(points))

    def every(self, points: np.ndarray) -> np.ndarray:
        """All of these `(n, m)`."""
        coefficients, sources = self(points)
        return np.concatenate([coefficients.reshape(len(points), -1), sources], axis=1)

    def _at(self, points: np.ndarray) -> tuple[Place, np.ndarray]:
        place = Place(points, np.broadcast_to(self.normal, points.shape), np.zeros((len(points), 0)))
        return place, np.zeros((len(points), len(self.term.jets)))


def _with(nodes: Nodes, affine: _Affine) -> list[SeparableRow] | None:
    """The rows on a grid of nodes; `None` where these do not resolve them."""
    fresh = nodes.random(FRESH)
    coefficients, sources = affine(fresh)
    if not (np.all(np.isfinite(coefficients)) and np.all(np.isfinite(sources))):
        return None
    jets, rows = affine.term.jets, []
    chain = chain_order(affine.every, nodes.low, nodes.high)
    for row in range(sources.shape[1]):
        trains = [
            train_of(nodes, chain, fresh, coefficients[:, row, j], lambda x, j=j, row=row: affine(x)[0][:, row, j])
            for j in range(len(jets))
        ]
        source = train_of(nodes, chain, fresh, sources[:, row], lambda x, row=row: affine.sources(x)[:, row])
        if source is None or any(train is None for train in trains):
            return None
        orders = tuple(tuple(sorted({jet.orders[k] for jet in jets})) for k in chain)
        spread = [
            [
                at_order(core, len(own), own.index(jet.orders[k]))
                for core, own, k in zip(train, orders, chain, strict=True)
            ]
            for train, jet in zip(trains, jets, strict=True)
            if train is not None
        ]
        rows.append(SeparableRow(nodes, chain, orders, rounded(added(spread)), rounded(source)))
    return rows


def train_of(
    nodes: Nodes,
    chain: Sequence[int],
    fresh: np.ndarray,
    known: np.ndarray,
    function: Callable[[np.ndarray], np.ndarray],
) -> Train | None:
    """A function as a train along a chain of axes, verified where it is known off the grid."""
    largest, sizes = float(np.abs(known).max()), [nodes.sizes[k] for k in chain]
    if np.ptp(known) <= 1e-13 * largest:
        train = [np.ones((1, size, 1)) for size in sizes]
        return [train[0] * known[0], *train[1:]]
    back = np.argsort(chain)
    train = Cross(0.1 * TOLERANCE)(lambda index: function(nodes.points(index[:, back])), sizes)
    if train is None:
        return None
    value = np.ones((len(fresh), 1, 1))
    for k, core in zip(chain, train, strict=True):
        value = value @ np.einsum("qn,anb->qab", nodes.interpolation(k, fresh[:, k]), core)
    return train if np.abs(value[:, 0, 0] - known).max() <= TOLERANCE * largest else None


def at_order(core: np.ndarray, count: int, which: int) -> np.ndarray:
    """A core over pairs of an order, of so many, and a node, zero at all orders but one."""
    a, n, b = core.shape
    out = np.zeros((a, count, n, b))
    out[:, which] = core
    return out.reshape(a, -1, b)
