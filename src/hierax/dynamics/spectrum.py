r"""Values and errors per frequency, and when each frequency is learned.

A mode with the wave vector `k` (periods across the box along each axis) of values `v` has the complex amplitude

.. math:: c_k = \frac{2}{|\Omega|} \int_\Omega v(x) \, e^{-2\pi i \, k \cdot (x - a) / L} \, dx ,

so that `|c_k|` is the amplitude of a real wave and a constant (`k = 0`) counts once and not twice. On a grid it is the
discrete Fourier transform, for points with quadrature weights the sum over them (a non-uniform transform of type 1),
and for scattered points without weights the least-squares fit of given waves.

Errors of functions that are not periodic are told apart by cosines: the even extension of a function has no jump, and
with a sine or exponential series the jump at the boundary would fill all frequencies.

References
----------
Rahaman et al., On the spectral bias of neural networks, ICML 2019, arXiv 1806.08734.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft
from jaxtyping import Complex, Float
from numpy.typing import ArrayLike

MOST_LEAST_SQUARES = 4000
"""Most unknowns of the least-squares fit of waves: a dense problem."""


def grid_amplitudes(values: Float[np.ndarray, "n *components"]) -> Complex[np.ndarray, "modes *components"]:
    """Amplitudes of the modes `0, 1, ..., n // 2` of values on the equispaced points `j / n` of a period.

    The absolute value is the amplitude of the wave; the highest mode of an even number of points is counted once.
    """
    count = len(values)
    out = np.fft.rfft(values, axis=0) * (2.0 / count)
    out[0] *= 0.5
    if count % 2 == 0:
        out[-1] *= 0.5
    return out


def amplitudes(
    points: Float[np.ndarray, "n dim"],
    values: Float[np.ndarray, "n *components"],
    waves: Float[np.ndarray, "modes dim"],
    weights: Float[np.ndarray, " n"] | None = None,
) -> Complex[np.ndarray, "modes *components"]:
    """Amplitudes of given waves by sums over the points: exact up to the error of the quadrature.

    Parameters
    ----------
    points:
        Shape `(n, dim)`, mapped so that the box is the unit cube.
    values:
        Shape `(n,)` or `(n, components)`.
    waves:
        Wave vectors, in periods across the box.
    weights:
        Of a quadrature, of any scale; equal if not given.
    """
    share = np.full(len(points), 1.0 / len(points)) if weights is None else weights / np.sum(weights)
    turned = np.exp(-2j * np.pi * (waves @ points.T)) * share
    twice = np.where(np.any(waves != 0, axis=1), 2.0, 1.0)
    return (turned * twice[:, None]) @ values


def grid_bands(
    values: Float[np.ndarray, "*shape"], edges: Float[np.ndarray, " edges"], periodic: Sequence[bool] = ()
) -> Float[np.ndarray, " bands"]:
    """Mean square of values on a grid, divided among radial bands of wave numbers.

    Parameters
    ----------
    values:
        On cell centres `(j + 1/2) / n` of the unit box, one axis for each coordinate; along periodic axes any
        equispaced points of a period.
    edges:
        Increasing wave numbers, in periods across the box; a band holds its lower edge. What is above the last edge
        belongs to the last band, what is below the first to the first one: the bands add up to the mean square
        (Parseval).
    periodic:
        Which axes wrap around; the others are expanded in cosines, whose `j`-th has `j / 2` periods.
    """
    wraps = tuple(periodic) or (False,) * values.ndim
    axes, spectrum = [], np.asarray(values)
    for axis, (count, wrap) in enumerate(zip(values.shape, wraps, strict=True)):
        if not wrap:
            spectrum = scipy.fft.dct(spectrum, type=2, norm="ortho", axis=axis)
        axes.append(np.abs(np.fft.fftfreq(count, 1.0 / count)) if wrap else 0.5 * np.arange(count))
    around = [axis for axis, wrap in enumerate(wraps) if wrap]
    if around:
        spectrum = scipy.fft.fftn(spectrum, axes=around, norm="ortho")
    number = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    return _by_band(number.ravel(), np.abs(np.asarray(spectrum)).ravel() ** 2 / values.size, edges)


def scattered_bands(
    points: Float[np.ndarray, "n dim"], values: Float[np.ndarray, " n"], edges: Float[np.ndarray, " edges"]
) -> Float[np.ndarray, " bands"]:
    """Mean square of values at scattered points of the unit cube, divided among radial bands, by least squares.

    The waves are products of cosines (see the head of the file) up to the last edge, and fewer where the points do not
    determine them: never more than one for three points.
    """
    count, dim = points.shape
    ticks = np.arange(int(2 * edges[-1]) + 1)
    orders = np.stack(np.meshgrid(*[ticks] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    number = 0.5 * np.linalg.norm(orders, axis=1)
    kept = np.argsort(number, kind="stable")[: min(max(1, count // 3), MOST_LEAST_SQUARES)]
    kept = kept[number[kept] <= edges[-1]]
    design = np.ones((count, len(kept)))
    for axis in range(dim):
        order = orders[kept, axis]
        design *= np.cos(np.pi * points[:, axis, None] * order) * np.where(order > 0, np.sqrt(2.0), 1.0)
    found = np.linalg.lstsq(design, values, rcond=1e-10)[0]
    return _by_band(number[kept], found**2, edges)


def _by_band(number: np.ndarray, energy: np.ndarray, edges: np.ndarray) -> np.ndarray:
    band = np.clip(np.searchsorted(edges, number, side="right") - 1, 0, len(edges) - 2)
    return np.bincount(band, energy, minlength=len(edges) - 1)


def band_edges(highest: float, bands: int = 24) -> Float[np.ndarray, " edges"]:
    """Edges of bands from 0 to `highest`: of equal width while there are few wave numbers, then of growing width."""
    if highest <= bands:
        return np.arange(0.0, np.ceil(highest) + 1.0)
    # half a period, then geometric: a wave twice as fine is as far away everywhere
    return np.concatenate([[0.0], np.geomspace(0.75, highest, bands)])


def settled(
    when: ArrayLike, errors: Float[np.ndarray, "records modes"], tolerance: float
) -> Float[np.ndarray, " modes"]:
    """For every mode when its error fell to the tolerance for good; NaN where it did not.

    `when` holds steps or seconds, `(records,)`.
    """
    clock, above = np.asarray(when, dtype=float), ~(np.asarray(errors) <= tolerance)
    last = np.where(above.any(axis=0), len(clock) - 1 - np.argmax(above[::-1], axis=0), -1)
    return np.where(last + 1 < len(clock), clock[np.minimum(last + 1, len(clock) - 1)], np.nan)
