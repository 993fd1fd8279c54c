"""`GaussianField`: a random function as what varies within a family, one draw on every grid and mesh."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.interpolate import CubicSpline
from scipy.sparse.linalg import eigsh
from scipy.special import gamma, kv, ndtri

from hierax._errors import InputError
from hierax.models.inputs import SPREAD, AbstractInput
from hierax.problems.domain import Box

LARGEST = 5000
"""Most points at which the covariance is taken: its matrix is dense."""
BEYOND, FIT = 0.25, 1e-10
"""How far the waves in which functions are written reach beyond the box; what is cut off where they are fitted."""


@final
@dataclass(frozen=True, eq=False)
class RandomFunction:
    """One draw of a random field: a function of the point, `g(x)`, traced by JAX; see `on_cells` for arrays.

    Attributes
    ----------
    table:
        Factors `(*waves)` of products of cosines along each axis.
    box, mean, transform:
        As of the field.
    """

    table: Any
    box: Box
    mean: float
    transform: Callable[[Any], Any]

    def __call__(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        low, size = self._place
        if jnp.shape(x) != low.shape:
            raise InputError(
                f"The random field has {len(low)} coordinates, and the point has shape {jnp.shape(x)}.",
                "GaussianField(box=...)",
                "Give it the box of the coordinates that it depends on, and those of the point.",
            )
        at, found = (x - low) / size, jnp.asarray(self.table)
        for axis in reversed(range(len(low))):
            found = found @ _cosines(at[axis], found.shape[-1], jnp)
        return self.transform(self.mean + found)

    def on_cells(self, cells: tuple[int, ...]) -> Float[np.ndarray, "*cells"]:
        """Values at the centres of the cells of a grid over the box."""
        found = np.asarray(self.table)[..., None]
        for count, waves in zip(cells, self.table.shape, strict=True):
            found = _moved(_cosines((np.arange(count) + 0.5) / count, waves, np), found)
        return np.asarray(self.transform(self.mean + found[..., 0]))

    @property
    def _place(self) -> tuple[np.ndarray, np.ndarray]:
        return self.box.lower, self.box.upper - self.box.lower


@final
@dataclass(frozen=True, eq=False)
class GaussianField(AbstractInput):
    r"""A random function :math:`g = T(\mu + \sigma \sum_i \sqrt{\lambda_i} \xi_i \phi_i)`, given to `make` as `g(x)`.

    The :math:`\xi_i` are independent standard normal numbers, and :math:`\lambda_i, \phi_i` the largest eigenvalues of
    the Matern covariance and their functions (Karhunen-Loeve), sums of waves here. So a draw is one smooth
    function of the point, the same whatever mesh it meets; its first numbers count most, as low-discrepancy sequences
    like it.

    Parameters
    ----------
    correlation:
        Length :math:`\ell` of the covariance :math:`2^{1-\nu}/\Gamma(\nu) (\sqrt{2\nu} r/\ell)^\nu
        K_\nu(\sqrt{2\nu} r/\ell)`, in the units of the coordinates; one for each of them if several are given.
    smoothness:
        :math:`\nu`: 0.5 is the exponential covariance, infinity that of Gauss.
    transform:
        :math:`T`; `None` for the Gaussian field itself.
    mean, deviation:
        :math:`\mu` and :math:`\sigma`.
    modes:
        Numbers of a draw; `share` says how much of the variance they hold.
    box:
        Where it lives; the domain of the problem, which has to be a box then, if not given.

    Raises
    ------
    InputError
        For lengths, a smoothness, a deviation or modes that are not positive, and for more modes than can be found.

    References
    ----------
    Ghanem, Spanos, Stochastic Finite Elements (1991); Lord, Powell, Shardlow, An Introduction to Computational
    Stochastic PDEs (2014), chapter 7.
    """

    correlation: float | tuple[float, ...]
    smoothness: float = 1.5
    transform: Callable[[Any], Any] | None = jnp.exp
    mean: float = 0.0
    deviation: float = 1.0
    modes: int = 100
    box: Box | None = None

    def __post_init__(self) -> None:
        given = np.r_[self.correlation, self.smoothness, self.deviation, self.modes]
        if not (np.all(given > 0.0) and np.all(np.isfinite(np.r_[self.correlation, self.deviation, self.mean]))):
            raise InputError(
                "Lengths, smoothness, deviation and modes are not all positive.", f"{self}", "Give positive numbers."
            )

    def __repr__(self) -> str:
        return f"GaussianField(correlation={self.correlation}, smoothness={self.smoothness}, modes={self.modes})"

    @property
    def count(self) -> int:
        return self.modes

    def quantile(self, u: np.ndarray) -> np.ndarray:
        return _normal(u)

    def learned(self, u: np.ndarray, spread: float) -> np.ndarray:
        del spread
        return _normal(u)

    def scaled(self, values: Any) -> Any:
        return values / SPREAD

    def value(self, scaled: Any) -> Any:
        return SPREAD * scaled

    @property
    def share(self) -> float:
        """Share of the variance that the modes hold."""
        return float(np.sum(self._expansion[0] ** 2))

    def made(self, values: Float[Any, " modes"]) -> RandomFunction:
        amplitudes, waves = self._expansion
        xp = np if isinstance(values, np.ndarray) else jnp
        table = self.deviation * xp.tensordot(waves, amplitudes * values, 1)
        return RandomFunction(table, self._box, self.mean, self.transform or (lambda value: value))

    def many(self, values: np.ndarray) -> np.ndarray:
        return values

    @property
    def _box(self) -> Box:
        if self.box is None:
            raise InputError("The random field has no domain.", "GaussianField(box=...)", "Give it a hx.Box.")
        return self.box

    @functools.cached_property
    def _expansion(self) -> tuple[np.ndarray, np.ndarray]:
        """Roots of the eigenvalues `(modes,)`, and the waves `(*degrees, modes)` of their functions."""
        box = self._box
        size = np.subtract(box.upper, box.lower)
        lengths = np.broadcast_to(self.correlation, size.shape)
        counts = _points(size / lengths, self.modes)
        if math.prod(counts) > LARGEST:
            raise InputError(
                f"{self.modes} modes are too many.", f"{self}", "Give fewer modes, or a box that is less long."
            )
        nodes, weights = zip(*(_gauss(n) for n in counts), strict=True)
        square = np.zeros((1, 1))
        for axis, x in enumerate(nodes):
            apart = np.abs(x[:, None] - x) * size[axis]
            if box.names[axis] in box.periodic:
                # the way across the circle whose circumference is the period
                apart = size[axis] / np.pi * np.sin(np.pi * apart / size[axis])
            own = (apart / lengths[axis]) ** 2
            square = (square[:, None, :, None] + own[None, :, None, :]).reshape(len(square) * len(x), -1)
        root = np.sqrt(functools.reduce(np.kron, weights))
        matrix = root[:, None] * _matern(np.sqrt(square), self.smoothness) * root
        values, vectors = eigsh(matrix, self.modes, v0=root)
        found = (vectors[:, ::-1] / root[:, None]).reshape(*counts, self.modes)
        for x in nodes:
            found = _moved(np.linalg.pinv(_cosines(x, len(x), np), rcond=FIT), found)
        return np.sqrt(np.maximum(values[::-1], 0.0)), found


def _moved(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A matrix along the first axis of values, which becomes the last but one: once for each axis and all are done."""
    return np.moveaxis(np.tensordot(matrix, values, 1), 0, -2)


def _gauss(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss on `[0, 1]`."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return 0.5 * (nodes + 1.0), 0.5 * weights


def _points(lengths: np.ndarray, modes: int) -> tuple[int, ...]:
    """Points along each axis that resolve so many modes, for the lengths of the box over those of the covariance."""
    mean = modes ** (1.0 / len(lengths)) / np.prod(lengths) ** (1.0 / len(lengths))
    return tuple(int(n) for n in np.ceil(2.0 * np.maximum(mean * lengths, 1.0)) + 6)


def _matern(r: np.ndarray, smoothness: float) -> np.ndarray:
    """The covariance at distances over its length, by a table: Bessel functions are dear."""
    if np.isinf(smoothness):
        return np.exp(-0.5 * r**2)
    known = np.linspace(0.0, np.sqrt(r.max()) + 1e-3, 3000) ** 2
    x = np.sqrt(2.0 * smoothness) * known[1:]
    values = 2.0 ** (1.0 - smoothness) / gamma(smoothness) * x**smoothness * kv(smoothness, x)
    return np.asarray(CubicSpline(known, np.r_[1.0, values])(r))


def _cosines(x: Any, count: int, xp: Any) -> Any:
    """Cosines at `x`, `(*x.shape, count)`, on an interval that is longer than `[0, 1]` by `BEYOND` at both ends."""
    return xp.cos(np.pi / (1.0 + 2.0 * BEYOND) * (x[..., None] + BEYOND) * np.arange(count))


def _normal(u: np.ndarray) -> np.ndarray:
    return ndtri(np.clip(u, 1e-12, 1.0 - 1e-12))
