"""Coefficients of a reduced basis as functions of a few numbers: kernels and polynomial chaos, by samples left out.

Inputs are in the scaled coordinates of a family, `[-1, 1]` inside. All coefficients share what is chosen, which is
what predicts samples best that are left out one at a time; for both kinds that follows from one factorisation.
"""

from __future__ import annotations

import abc
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import scipy.linalg as sl
from jaxtyping import Array, Float
from scipy.optimize import minimize

NUGGET = 1e-12
"""Added to the diagonal of a kernel, times the number of samples: with less the weights cancel more digits."""
TREND = 2
"""Total degree of the polynomials that come before a kernel; their number is a third of the samples at most."""
SEARCHED = 250
"""Most samples with which lengths are searched for."""
ROUNDS = 35
"""Evaluations of a search for each length."""
DEGREES = 16
"""Highest degree of polynomial chaos."""
SHARE = 0.7
"""Most polynomials for each sample."""
GAIN = 0.95
"""Share of the error before that polynomials of a higher degree may leave."""
FOLDS = 8
"""Models with less data, whose differences are the doubt of the whole."""


class AbstractRegression(eqx.Module):
    """Coefficients `(m,)` at scaled inputs `(k,)` that are linear in features, beside those of models with less data.

    Attributes
    ----------
    weights:
        `(features, m)`, from all samples.
    committee:
        `(folds, features, m)`, each without the samples of one fold: how they differ shows the error to be expected.
    """

    weights: eqx.AbstractVar[Float[Array, "features m"]]
    committee: eqx.AbstractVar[Float[Array, "folds features m"]]

    @abc.abstractmethod
    def features(self, z: Float[Array, " k"]) -> Float[Array, " features"]:
        """The features."""

    def __call__(self, z: Float[Array, " k"]) -> Float[Array, " m"]:
        """The coefficients."""
        return self.features(z) @ self.weights

    def doubt(self, z: Float[Array, " k"]) -> Float[Array, ""]:
        """Geometric mean over the folds of what a model without one differs by: in proportion to the error."""
        apart = jnp.einsum("q,fqm->fm", self.features(z), self.committee - self.weights)
        return jnp.exp(0.5 * jnp.mean(jnp.log(jnp.sum(apart**2, axis=1) + 1e-300)))


class Regressed(NamedTuple):
    """A regression, and its errors `(n, m)` at samples left out one at a time."""

    model: AbstractRegression
    errors: np.ndarray


class KernelRegression(AbstractRegression):
    r"""Polynomials of low degree, and :math:`\sum_i w_i \phi(|(z - z_i) / \ell|)` for what these leave.

    The bump :math:`\phi` is Gaussian, or that of Matern of order 5/2 where `smooth` is false.

    References
    ----------
    Wendland, Scattered Data Approximation (2005); Dubrule, Math. Geology 15 (1983) (samples left out).
    """

    weights: Float[Array, "features m"]
    committee: Float[Array, "folds features m"]
    samples: Float[Array, "n k"]
    lengths: Float[Array, " k"]
    trend: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    smooth: bool = eqx.field(static=True)

    def features(self, z: Float[Array, " k"]) -> Float[Array, " features"]:
        bumps = kernel(z[None], self.samples, self.lengths, self.smooth, jnp)[0]
        return jnp.concatenate([products(z[None], self.trend, jnp)[0], bumps])


class SeveralRegressions(AbstractRegression):
    """Several regressions of the same inputs, whose coefficients stand one after the other."""

    weights: Float[Array, "features m"]
    committee: Float[Array, "folds features m"]
    parts: tuple[AbstractRegression, ...]

    @classmethod
    def of(cls, parts: Sequence[AbstractRegression]) -> AbstractRegression:
        """The regressions together; a single one as it is."""
        if len(parts) == 1:
            return parts[0]
        whole = sl.block_diag(*(np.asarray(part.weights) for part in parts))
        folds = [sl.block_diag(*(np.asarray(part.committee[k]) for part in parts)) for k in range(FOLDS)]
        return cls(jnp.asarray(whole), jnp.asarray(np.array(folds)), tuple(parts))

    def features(self, z: Float[Array, " k"]) -> Float[Array, " features"]:
        return jnp.concatenate([part.features(z) for part in self.parts])


def kernel(a: Any, b: Any, lengths: Any, smooth: bool, xp: Any) -> Any:
    """Matrix of the bumps between rows."""
    square = xp.sum(((a[:, None] - b[None]) / lengths) ** 2, axis=-1)
    return xp.exp(-0.5 * square) if smooth else matern(square, xp)


def matern(square: Any, xp: Any) -> Any:
    """Matern's bump of order 5/2, of squared distances in its lengths."""
    r = xp.sqrt(5.0 * square + 1e-30)
    return (1.0 + r + r**2 / 3.0) * xp.exp(-r)


def fitted_kernel(z: np.ndarray, values: np.ndarray, sizes: np.ndarray, smooth: bool) -> Regressed:
    """A kernel whose lengths are best at samples left out.

    Parameters
    ----------
    z, values, sizes:
        Scaled inputs `(n, k)`, coefficients `(n, m)`, and the norm `(n,)` by which the error of each sample counts.
    """
    count = z.shape[1]
    trends = [_degrees(np.full(count, float(degree))) for degree in range(TREND, 0, -1)]
    trend = next((one for one in trends if 3 * len(one) <= len(z)), ((0,) * count,))
    table = products(z, trend, np)
    start = np.linalg.lstsq(table, values)[0]
    left, few = values - table @ start, slice(None, SEARCHED)

    def missed(logs: np.ndarray) -> float:
        if np.any(np.abs(logs) > 5.0):
            return np.inf
        found = _left_out(z[few], left[few], np.exp(logs), smooth)
        return np.inf if found is None else np.log(np.mean(np.sum(found[1] ** 2, 1) / sizes[few] ** 2) + 1e-300)

    first = min((np.full(count, np.log(length)) for length in (0.7, 2.0, 6.0)), key=missed)
    simplex = np.vstack([first, first + 0.7 * np.eye(count)])
    options = {"maxfev": ROUNDS * count, "initial_simplex": simplex, "xatol": 0.02, "fatol": 0.01}
    lengths = np.exp(minimize(missed, first, method="Nelder-Mead", options=options).x)
    whole = _left_out(z, left, lengths, smooth)
    while whole is None:
        lengths = 0.7 * lengths
        whole = _left_out(z, left, lengths, smooth)
    committee = np.zeros((FOLDS, len(start) + len(z), values.shape[1]))
    committee[:, : len(start)] = start
    for weights, keep in zip(committee, _folds(len(z)), strict=True):
        found = _left_out(z[keep], left[keep], lengths, smooth)
        weights[len(start) :][keep] = 0.0 if found is None else found[0]
    stacked, others, samples, own = map(jnp.asarray, (np.vstack([start, whole[0]]), committee, z, lengths))
    return Regressed(KernelRegression(stacked, others, samples, own, trend, smooth), whole[1])


def _folds(count: int) -> list[np.ndarray]:
    """Masks `(count,)` of what stays when each fold is left out."""
    return [np.arange(count) % FOLDS != fold for fold in range(FOLDS)]


def _left_out(
    z: np.ndarray, values: np.ndarray, lengths: np.ndarray, smooth: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Weights, and errors at samples left out; `None` where the kernel has no factor."""
    matrix = kernel(z, z, lengths, smooth, np)
    matrix[np.diag_indices_from(matrix)] += NUGGET * len(z)
    try:
        factor = sl.cho_factor(matrix, lower=True, check_finite=False)
    except sl.LinAlgError:
        return None
    inverse = sl.cho_solve(factor, np.eye(len(z)), check_finite=False)
    weights = inverse @ values
    return weights, weights / np.maximum(np.diagonal(inverse), 1e-300)[:, None]


class Chaos(AbstractRegression):
    """Products of Legendre polynomials, by least squares.

    References
    ----------
    Ghanem, Spanos, Stochastic Finite Elements (1991); Blatman, Sudret, J. Comput. Phys. 230 (2011) (few products).
    """

    weights: Float[Array, "terms m"]
    committee: Float[Array, "folds terms m"]
    degrees: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    def features(self, z: Float[Array, " k"]) -> Float[Array, " terms"]:
        return products(z[None], self.degrees, jnp)[0]


def products(z: Any, degrees: tuple[tuple[int, ...], ...], xp: Any) -> Any:
    """Products of Legendre polynomials `(n, terms)`, of mean square one each."""
    most = max(max(row) for row in degrees)
    legendre = [xp.ones_like(z), z]
    for n in range(1, most):
        legendre.append(((2 * n + 1) * z * legendre[n] - n * legendre[n - 1]) / (n + 1))
    table = xp.stack([np.sqrt(2 * n + 1) * p for n, p in enumerate(legendre[: most + 1])], axis=-1)
    chosen = np.array(degrees)
    out = table[:, 0, chosen[:, 0]]
    for axis in range(1, chosen.shape[1]):
        out = out * table[:, axis, chosen[:, axis]]
    return out


def fitted_chaos(z: np.ndarray, values: np.ndarray, sizes: np.ndarray) -> Regressed | None:
    """Polynomials whose degrees grow along the input that gains most at samples left out; `None` for few samples."""
    count = z.shape[1]
    reach, best, least = np.ones(count), None, np.inf
    while True:
        trials = [reach] if best is None else [*(reach + np.eye(count)), reach + 1]
        found = [(_chaos(z, values, _degrees(trial)), trial) for trial in trials if trial.max() <= DEGREES]
        scored = [(_score(fit.errors, sizes), trial, fit) for fit, trial in found if fit is not None]
        if not scored:
            return best
        error, trial, fit = min(scored, key=lambda one: one[0])
        if error > GAIN * least:
            return best
        best, least, reach = fit, error, trial


def _degrees(reach: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """All products whose degrees, each over its reach, add up to one at most."""
    rows = itertools.product(*(range(int(r) + 1) for r in reach))
    return tuple(row for row in rows if np.sum(np.array(row) / reach) <= 1.0 + 1e-9)


def _chaos(z: np.ndarray, values: np.ndarray, degrees: tuple[tuple[int, ...], ...]) -> Regressed | None:
    if len(degrees) > SHARE * len(z):
        return None
    table = products(z, degrees, np)
    q, r = np.linalg.qr(table)
    weights = sl.solve_triangular(r, q.T @ values)
    unseen = np.maximum(1.0 - np.sum(q**2, axis=1), 1e-6)
    errors = (values - table @ weights) / unseen[:, None]
    committee = [np.linalg.lstsq(table[keep], values[keep])[0] for keep in _folds(len(z))]
    return Regressed(Chaos(jnp.asarray(weights), jnp.asarray(committee), degrees), errors)


def _score(errors: np.ndarray, sizes: np.ndarray) -> float:
    """Root mean square relative error at samples left out."""
    return float(np.sqrt(np.mean(np.sum(errors**2, axis=1) / sizes**2)))


def fitted(z: np.ndarray, values: np.ndarray, sizes: np.ndarray) -> tuple[str, Regressed, dict[str, float]]:
    """The best of all kinds at samples left out: its name, the fit, and the errors of all by name."""
    made: dict[str, Callable[[], Regressed | None]] = {
        "kernel (Gaussian)": lambda: fitted_kernel(z, values, sizes, True),
        "kernel (Matern 5/2)": lambda: fitted_kernel(z, values, sizes, False),
        "polynomial chaos": lambda: fitted_chaos(z, values, sizes),
    }
    found = {name: fit for name, one in made.items() if (fit := one()) is not None}
    errors = {name: _score(fit.errors, sizes) for name, fit in found.items()}
    best = min(errors, key=errors.__getitem__)
    return best, found[best], errors
