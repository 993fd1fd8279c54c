r"""Energies that separate: quadratic ones whose coefficients are short sums of products of functions of one axis.

A density is :math:`\tfrac12 \sum_{ij} A_{ij} \, \partial^i u \, \partial^j u - \sum_i b_i \, \partial^i u + c`. Its
coefficients follow from its derivatives in the jets, which are tried at random ones, and are approximated by tensor
trains as those of `hierax.objective.separable`. The bilinear form is one train over triples of two orders and a node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np

from hierax.objective.axis_order import chain_order
from hierax.objective.jets import JetTerm
from hierax.objective.pointwise import Place
from hierax.objective.separable import FRESH, Nodes, at_order, normal_of, resolved, train_of
from hierax.objective.tensor_train import Train, added, rounded
from hierax.problems.domain import Box, Face

TRIED = (1.0, -3.0, 1e3)
"""Sizes of the random jets at which it is tried whether a density is quadratic."""
SAME = 1e-12
"""Largest difference of coefficients that are the same, beside their size."""
EXACT = 1e-9
"""Largest difference of its slopes from those of a quadratic one, beside their size."""


@final
@dataclass(frozen=True, eq=False)
class SeparableEnergy:
    """A quadratic energy on the box or on a face.

    Attributes
    ----------
    nodes, chain, orders:
        As of `SeparableRow`.
    operator:
        Cores `(a, order order node, b)` of the coefficients of products of two derivatives.
    source:
        Cores `(a, order node, b)` of those of single ones, with the sign of a load.
    constant:
        Cores `(a, node, b)` of what does not depend on the unknown.
    """

    nodes: Nodes
    chain: tuple[int, ...]
    orders: tuple[tuple[int, ...], ...]
    operator: Train
    source: Train
    constant: Train


class _Coefficients(NamedTuple):
    """Those of a density at points: `(n, jets, jets)`, `(n, jets)` and `(n,)`."""

    products: np.ndarray
    loads: np.ndarray
    constants: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class _Quadratic:
    """A density that is quadratic in its jets."""

    term: JetTerm
    normal: np.ndarray

    def __call__(self, points: np.ndarray) -> _Coefficients:
        none = np.zeros(len(self.term.jets))
        constants, slopes = self._at(points, none)
        bent = [self._at(points, one)[1] - slopes for one in np.eye(len(none))]
        return _Coefficients(np.stack(bent, axis=2), -slopes, constants)

    def every(self, points: np.ndarray) -> np.ndarray:
        """All coefficients `(n, m)`."""
        return np.concatenate([part.reshape(len(points), -1) for part in self(points)], axis=1)

    def holds(self, points: np.ndarray) -> bool:
        """Whether the density is quadratic."""
        found, rng = self(points), np.random.default_rng(4)
        for size in TRIED:
            jets = size * (0.5 + rng.random(len(self.term.jets)))
            wrong = found.products @ jets - found.loads - self._at(points, jets)[1]
            largest = np.abs(found.products) @ np.abs(jets) + np.abs(found.loads)
            if not np.max(np.abs(wrong)) <= EXACT * np.max(largest):
                return False
        return True

    def _at(self, points: np.ndarray, jets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        place = Place(points, np.broadcast_to(self.normal, points.shape), np.zeros((len(points), 0)))
        found = self.term.expanded(place, np.tile(jets, (len(points), 1)))
        return found.value, found.gradient


def separated_energy(box: Box, term: JetTerm, face: Face | None) -> list[SeparableEnergy] | None:
    """An energy on a box or one of its faces; `None` where it is not quadratic or does not separate."""
    density = _Quadratic(term, normal_of(box, face))
    if not density.holds(Nodes.of(box, 1, face).random(FRESH)):
        return None
    return resolved(box, face, lambda nodes: _with(nodes, density))


def _with(nodes: Nodes, density: _Quadratic) -> list[SeparableEnergy] | None:
    fresh, jets = nodes.random(FRESH), density.term.jets
    found = density(fresh)
    if not all(np.all(np.isfinite(part)) for part in found):
        return None
    chain = chain_order(density.every, nodes.low, nodes.high)
    orders = tuple(tuple(sorted({jet.orders[k] for jet in jets})) for k in chain)
    places = [[own.index(jet.orders[k]) for k, own in zip(chain, orders, strict=True)] for jet in jets]
    sizes = [len(own) for own in orders]
    operator, source, known = [], [], []

    def train(values: np.ndarray, of: Callable[[_Coefficients], np.ndarray]) -> Train | None:
        """That of a coefficient; a conductivity is one for all directions."""
        same = (own for other, own in known if np.max(np.abs(values - other)) <= SAME * np.max(np.abs(values)))
        found = next(same, None) or train_of(nodes, chain, fresh, values, lambda x: of(density(x)))
        known.append((values, found))
        return found

    for i, first in enumerate(places):
        load = train(found.loads[:, i], lambda own, i=i: own.loads[:, i])
        if load is None:
            return None
        source.append([at_order(core, n, p) for core, n, p in zip(load, sizes, first, strict=True)])
        for j, second in enumerate(places):
            if not found.products[:, i, j].any():
                continue
            product = train(found.products[:, i, j], lambda own, i=i, j=j: own.products[:, i, j])
            if product is None:
                return None
            pairs = zip(product, sizes, first, second, strict=True)
            operator.append([at_order(core, n * n, p * n + q) for core, n, p, q in pairs])
    constant = train(found.constants, lambda own: own.constants)
    if constant is None or not operator:
        return None
    return [SeparableEnergy(nodes, chain, orders, rounded(added(operator)), rounded(added(source)), constant)]
