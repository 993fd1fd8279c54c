r"""What a trained level leaves: frequency and size of its error, from the spectrum of its residual.

A linear equation of order `m` turns an error :math:`e` with the wave number `f` into a residual of about
:math:`(2 \pi f / L)^m |e|`, so the error is estimated by the residual over that factor at its strongest frequency.

References
----------
Wang and Lai, Multi-stage neural networks, J. Comput. Phys. 2024, arXiv 2307.08934, sections 3 and 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from hierax.dynamics.spectrum import band_edges, dominant, grid_bands, scattered_bands
from hierax.hierarchy import Remainder

PER_AXIS = {1: 512, 2: 64, 3: 20}
"""Points along an axis of the grid on which a residual is looked at; in more dimensions points are scattered."""
LOWEST = 0.5
"""Half a period: what is smoother than that needs no waves of its own."""


def grid_points(dim: int) -> Float[np.ndarray, "n dim"] | None:
    """Cell centres of a grid in the unit cube; nothing above three dimensions."""
    count = PER_AXIS.get(dim)
    if count is None:
        return None
    axes = [(np.arange(count) + 0.5) / count] * dim
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, dim)


def remainder(
    points: Float[np.ndarray, "n dim"], residuals: Float[np.ndarray, "n r"], order: int, bounds: Any
) -> Remainder:
    """What the residuals of a term say about the error of the field.

    Parameters
    ----------
    points:
        In the unit cube: those of `grid_points` in their order, or any others.
    residuals:
        At the points, of one term.
    order:
        Of the highest derivative in the term; 0 for data.
    bounds:
        Corners of the box of the problem.
    """
    dim, size = points.shape[1], np.asarray(bounds[1], dtype=float) - np.asarray(bounds[0], dtype=float)
    count = PER_AXIS.get(dim, 0)
    if len(points) == count**dim:
        edges = band_edges(count / 2)
        energy = sum(grid_bands(part.reshape([count] * dim), edges) for part in residuals.T)
    else:
        # three points for a wave are what the fit needs
        edges = band_edges(max(2.0, 0.5 * (len(points) / 3) ** (1 / dim)))
        energy = sum(scattered_bands(points, part, edges) for part in residuals.T)
    frequency = strongest(np.asarray(energy), edges)
    rate = 2.0 * np.pi * frequency * float(np.mean(1.0 / size))
    amplitude = float(np.sqrt(np.mean(np.sum(residuals**2, axis=1)))) / rate**order
    return Remainder(frequency, max(amplitude, 1e-300), (np.asarray(bounds[0]), np.asarray(bounds[1])))


def strongest(energy: Float[np.ndarray, " bands"], edges: Float[np.ndarray, " edges"]) -> float:
    """Wave number with the largest energy for each unit of it: bands widen, and of noise the widest has the most."""
    return max(LOWEST, dominant(energy / np.diff(edges), edges))
