"""Fourier pseudospectral time stepping (ETDRK4) and dense output, for certified references of periodic problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Spectrum = np.ndarray


@dataclass(frozen=True)
class Etdrk4:
    r"""One step of fixed size for `v' = L v + N(v)` with diagonal `L` (Cox and Matthews 2002).

    The coefficient functions are means over a circle around each `h L` (Kassam and Trefethen 2005, section 4), which
    avoids the cancellation of the direct formulas for small `h L`.

    Parameters
    ----------
    linear:
        Diagonal of `L`, shape `(modes,)`, real.
    nonlinear:
        `N`, a map of spectra.
    step:
        `h`.
    """

    linear: np.ndarray
    nonlinear: Callable[[Spectrum], Spectrum]
    step: float

    def __post_init__(self) -> None:
        z = self.step * self.linear
        circle = np.exp(1j * np.pi * (np.arange(1, 33) - 0.5) / 32)
        r = z[:, None] + circle

        def mean(values: np.ndarray) -> np.ndarray:
            return self.step * np.real(np.mean(values, axis=1))

        with np.errstate(under="ignore"):
            grown = np.exp(r)
            parts = {
                "_full": np.exp(z),
                "_half": np.exp(z / 2),
                "_q": mean((np.exp(r / 2) - 1) / r),
                "_f1": mean((-4 - r + grown * (4 - 3 * r + r**2)) / r**3),
                "_f2": mean((2 + r + grown * (r - 2)) / r**3),
                "_f3": mean((-4 - 3 * r - r**2 + grown * (4 - r)) / r**3),
            }
        for name, value in parts.items():
            object.__setattr__(self, name, value)

    def __call__(self, v: Spectrum) -> Spectrum:
        """The spectrum one step later."""
        p = self.__dict__
        n_v = self.nonlinear(v)
        a = p["_half"] * v + p["_q"] * n_v
        n_a = self.nonlinear(a)
        b = p["_half"] * v + p["_q"] * n_a
        n_b = self.nonlinear(b)
        c = p["_half"] * a + p["_q"] * (2 * n_b - n_v)
        return p["_full"] * v + p["_f1"] * n_v + 2 * p["_f2"] * (n_a + n_b) + p["_f3"] * self.nonlinear(c)


@dataclass(frozen=True, eq=False)
class DenseTable:
    """Levels of a periodic function at increasing times, with high-order interpolation between them.

    The times come in blocks of equal spacing; inside a block the interpolant is the local polynomial of degree
    `DEGREE_T` in `t` through stored levels of that block alone, and of degree `DEGREE_X` in `x`.

    Parameters
    ----------
    times:
        One equally spaced array a block; a block starts where the one before ends.
    values:
        One array `(times, grid points)` a block, on the grid `lower + k * period / (grid points)`.
    lower, period:
        The interval in `x`.
    """

    times: Sequence[np.ndarray]
    values: Sequence[np.ndarray]
    lower: float
    period: float

    DEGREE_T = 8
    DEGREE_X = 11

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Values at rows `(t, x)`, shape `(n,)`."""
        ends = np.array([block[-1] for block in self.times])
        which = np.minimum(np.searchsorted(ends, points[:, 0]), len(ends) - 1)
        out = np.empty(len(points))
        for block in np.unique(which):
            rows = np.flatnonzero(which == block)
            for part in np.array_split(rows, max(1, len(rows) // 20_000)):
                out[part] = self._in_block(block, points[part])
        return out

    def _in_block(self, block: int, points: np.ndarray) -> np.ndarray:
        times, values = self.times[block], self.values[block]
        spacing, grid = times[1] - times[0], values.shape[1]
        t = (points[:, 0] - times[0]) / spacing
        x = (points[:, 1] - self.lower) / self.period * grid
        first_t = np.clip(np.floor(t).astype(int) - self.DEGREE_T // 2, 0, len(times) - 1 - self.DEGREE_T)
        first_x = np.floor(x).astype(int) - self.DEGREE_X // 2
        weight_t = _lagrange(t - first_t, self.DEGREE_T)
        weight_x = _lagrange(x - first_x, self.DEGREE_X)
        columns = (first_x[:, None] + np.arange(self.DEGREE_X + 1)) % grid
        levels = first_t[:, None] + np.arange(self.DEGREE_T + 1)
        return np.einsum("ni,nj,nij->n", weight_t, weight_x, values[levels[:, :, None], columns[:, None, :]])


def stepped(
    linear: np.ndarray,
    nonlinear: Callable[[Spectrum], Spectrum],
    start: Spectrum,
    blocks: Sequence[tuple[float, float, int, int]],
    span: tuple[float, float],
    grid: int,
) -> DenseTable:
    """The solution of `v' = L v + N(v)` as a table.

    Parameters
    ----------
    linear, nonlinear:
        As of `Etdrk4`.
    start:
        Spectrum (`rfft`) at the first time.
    blocks:
        Beginning, end, stored levels and steps between these of every block of times.
    span:
        Lower end of `x`, and period.
    grid:
        Points on which levels are stored.
    """
    modes, times, values, v = 2 * (len(start) - 1), [], [], start
    for begin, end, levels, inner in blocks:
        step = Etdrk4(linear, nonlinear, (end - begin) / (levels * inner))
        stored = [padded(v, modes, grid)]
        for _ in range(levels):
            for _ in range(inner):
                v = step(v)
            stored.append(padded(v, modes, grid))
        times.append(np.linspace(begin, end, levels + 1))
        values.append(np.stack(stored))
    return DenseTable(times, values, *span)


def _lagrange(position: np.ndarray, degree: int) -> np.ndarray:
    """Lagrange polynomials of the nodes `0 .. degree` at the positions `(n,)`: shape `(n, degree + 1)`."""
    nodes = np.arange(degree + 1)
    weights = np.ones((len(position), degree + 1))
    for k in nodes:
        for m in nodes[nodes != k]:
            weights[:, k] *= (position - m) / (k - m)
    return weights


def padded(spectrum: Spectrum, modes: int, grid: int) -> np.ndarray:
    """Values on a finer grid of the function whose `rfft` on `modes` points is `spectrum`."""
    return np.fft.irfft(spectrum, n=grid) * (grid / modes)
