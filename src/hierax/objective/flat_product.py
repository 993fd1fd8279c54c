"""Changes of low-rank tensors that violate no term, looked for among products; see `hierax.objective.flatness`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

from hierax.fields import LowRank
from hierax.fields.low_rank import gauss
from hierax.objective.flatness import HALF_WAVES, ROUNDING, Direction
from hierax.objective.separation import Separation

SWEEPS = 12
"""Sweeps over the axes, each step of which is an eigenvalue problem of one axis."""
Product = list[np.ndarray]
"""One factor `(free,)` an axis."""


def flattest_product(separation: Separation, field: LowRank, name: str, points: Float[np.ndarray, "n d"]) -> Direction:
    """The product that violates the terms least, relative to smooth products of the same size.

    What determines a solution also determines each product. Most of what is free, such as a value at a face that
    nothing prescribes, shows in a single product already; what is carried in obliquely from such a face is no product,
    and is not seen. So it serves where there are too many coordinates for polynomials of high degree.

    Parameters
    ----------
    separation, field:
        The terms, and the space of the products.
    name:
        Of the unknown function.
    points:
        Where the change is told.
    """
    masses, terms = _masses(field), separation.squares(field)
    waves = _waves(field, masses)
    felt = [float(np.mean([float(sum(form.along(u, None) for form in own)) for u in waves])) for own in terms]
    forms = [(form, 1.0 / size) for own, size in zip(terms, felt, strict=True) for form in own if size > 0]
    product, value = waves[0], np.inf
    for _ in range(SWEEPS):
        for k, mass in enumerate(masses):
            own = sum(form.along(product, k) * scale for form, scale in forms)
            values, vectors = eigh(own, mass, subset_by_index=[0, 0])
            product[k], value = vectors[:, 0], float(values[0])
    values = np.prod([field.basis(k, points[:, k]) @ factor for k, factor in enumerate(product)], axis=0)
    return Direction(float(np.sqrt(max(value, ROUNDING**2))), {name: 1.0}, {}, 1.0, values[:, None])


def _masses(field: LowRank) -> list[np.ndarray]:
    """For each axis the mean products of its basis functions."""
    out = []
    for k, axis in enumerate(field.axes):
        x, weights = gauss(axis)
        basis = field.basis(k, x)
        out.append(basis.T @ (basis * (weights / weights.sum())[:, None]))
    return out


def _waves(field: LowRank, masses: Sequence[np.ndarray]) -> list[Product]:
    """Products of norm one that vary along one axis at most, by few half waves."""

    def factor(k: int, half_waves: int) -> np.ndarray:
        x, weights = gauss(field.axes[k])
        z = (x - x.min()) / np.ptp(x)
        right = field.basis(k, x).T @ (weights / weights.sum() * np.cos(np.pi * half_waves * z))
        found = np.linalg.solve(masses[k], right)
        return found / np.sqrt(found @ masses[k] @ found)

    even = [factor(k, 0) for k in range(len(masses))]
    bent = [[*even[:k], factor(k, h), *even[k + 1 :]] for k in range(len(masses)) for h in range(1, HALF_WAVES + 1)]
    return [even, *bent]
