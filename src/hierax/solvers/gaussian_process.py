r"""Kriging with lengths, tails and warps of its own for every input, chosen by maximum likelihood from coarse to fine.

Values are `c + g(x) + noise` with a Gaussian process `g` whose covariance is that of `hierax.solvers.kernels`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri  # pyright: ignore
from scipy.optimize import OptimizeResult, minimize
from scipy.spatial import KDTree
from scipy.special import chdtri

from hierax.solvers.kernels import Kernel, profile, squares, warped

LENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Lengths to begin with, in units of the box times the root of the number of inputs."""
TAILS, NOISES = 8.0, (1e-6, 2e-2)
"""Exponent of the tails, and noise over signal variance, to begin with."""
SIZES = (150, 500)
"""Rows of the coarse levels on which parameters are found."""
STEPS = (60, 30)
"""Most steps of the optimiser on the coarsest level and on the next."""
LOUD = 0.1
"""Noise over signal variance from which on what few rows say of lengths is not believed."""
BOUNDS = {
    "length": (-7.0, 4.0), "warp": (-9.0, 9.0), "direction": (-50.0, 50.0), "tails": (-1.5, 5.0), "noise": (-31.0, 3.0)
}  # fmt: skip
"""Of logarithms of one over the lengths, of warps, of parts of directions, of logarithms of `alpha` and of noise over
signal variance."""
STRAIGHT = 1e-4
"""Least size of a warp: the axis is as good as straight."""
WARPED = 3.0
"""Standard deviation of the prior of warps."""
MORE_NOISE = (10.0, 1e-6)
"""Factor of the noise where rounding leaves many rows no factor, and the noise with which that is given up."""
SILENT = 18.0
"""Logarithm of noise over signal variance at which a process is the mean of its values."""
SIGNIFICANCE, MANY = 0.99, 10
"""Probability with which values of noise alone are told from those of a process, by the ratio of likelihoods; rows for
each parameter from which that ratio tells."""
NEAREST = (4, 64)
"""Fewest and most values nearby whose misfits tell how large errors are."""
BLOCKS = (16, 32)
"""Values nearby that are left out together."""


Over = Callable[[int], bool]
"""Told that a likelihood of so many rows was evaluated: whether the time for this is over."""


@dataclass(frozen=True, eq=False)
class Process:
    """A Gaussian process given values.

    Attributes
    ----------
    kernel, centres, weights, mean:
        The prediction is `mean + sum_i weights_i k(x, centres_i)`.
    values, spread:
        The values, and the variance of the noise of each over that of their mean, `(n,)`.
    root, inverse, variance:
        Lower Cholesky factor and inverse of the covariance over the signal variance `(n, n)`, and the latter.
    evidence:
        Logarithm of the likelihood at its maximum, up to a constant.
    free:
        Whether its axes are stretched and its tails chosen; a Gaussian kernel of the inputs as they are otherwise.
    """

    kernel: Kernel
    centres: np.ndarray
    weights: np.ndarray
    mean: float
    root: np.ndarray
    inverse: np.ndarray
    variance: float
    evidence: float
    values: np.ndarray
    spread: np.ndarray
    free: bool

    @property
    def silent(self) -> bool:
        """Whether nothing but noise was found: the process is the mean of the values."""
        return self.kernel.noise > 0.5 * np.exp(SILENT)

    def improved(self, steps: int, over: Over) -> Process:
        """The process after some steps of the optimiser with all values, fewer where the time is `over`."""
        if self.silent:
            return self
        kernel = self.kernel
        likelihood = Likelihood(self.centres, self.values, self.spread, self.free, len(kernel.directions))
        better = likelihood.given(likelihood.kernel(likelihood.climbed(kernel.parameters, steps, over)[0]))
        return better or self

    @property
    def noise(self) -> float:
        """Standard deviation of the noise."""
        return float(np.sqrt(self.variance * self.kernel.noise))

    def predict(self, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations `(n,)` of the process, noise aside, at inputs of the unit box."""
        cross = self.kernel.between(unit, self.centres)
        known = solve_triangular(self.root, cross.T, lower=True, check_finite=False)
        left = 1.0 - np.sum(known**2, axis=0)
        if self.silent:
            left = left + 1.0 / self.inverse.sum()  # the error of the mean of the values, which is all that is told
        return self.mean + cross @ self.weights, np.sqrt(self.variance * np.maximum(left, 0.0))

    @functools.cached_property
    def _precision(self) -> np.ndarray:
        """One over the variance `(n,)`, over the signal variance, of every value given all others."""
        ones = self.inverse.sum(axis=1)
        return np.maximum(np.diag(self.inverse) - ones**2 / ones.sum(), 1e-300)

    @property
    def misfits(self) -> np.ndarray:
        """Misfits `(n,)` of values left out one at a time."""
        return self.weights / self._precision

    @property
    def surprises(self) -> np.ndarray:
        """Their squares `(n,)` over the variances that are expected there."""
        return self.weights * self.misfits / self.variance

    @property
    def density(self) -> float:
        """Mean logarithm of the density of the values, each given all others."""
        return -0.5 * float(np.mean(self.surprises + np.log(2.0 * np.pi * self.variance / self._precision)))

    def overconfidence(self, unit: np.ndarray) -> np.ndarray:
        """Error over standard deviation `(m,)` at inputs of the unit box, as values left out nearby tell.

        A process whose function changes fast in one corner errs there, and in the mean over all values looks sure of
        itself. So the mean square of surprises counts over the nearest values, 4 to 64, or all, whichever is largest,
        and that of neighbourhoods left out as a whole, which at the edge of the values is what extrapolation comes to.
        """
        fewest, most = (min(count, len(self.centres)) for count in NEAREST)
        tree = KDTree(self.kernel.places(self.centres))
        near = np.asarray(tree.query(self.kernel.places(unit), k=most)[1]).reshape(len(unit), most)
        means = np.cumsum(self.surprises[near], axis=1) / np.arange(1, most + 1)
        local = np.maximum(means[:, fewest - 1 :].max(axis=1), self._neighbourhoods[near[:, 0]])
        return np.sqrt(np.maximum(local, self.surprises.mean()))

    @functools.cached_property
    def _neighbourhoods(self) -> np.ndarray:
        """Squares of misfits over the variances expected, sums over values about each `(n,)` that all are left out."""
        places, ones = self.kernel.places(self.centres), self.inverse.sum(axis=1)
        out = np.zeros(len(places))
        for count in (min(count, len(places) // 2) for count in BLOCKS):
            blocks = np.asarray(KDTree(places).query(places, k=count)[1]).reshape(len(places), count)
            own = self.inverse[blocks[:, :, None], blocks[:, None, :]]
            own -= ones[blocks][:, :, None] * ones[blocks][:, None, :] / ones.sum()
            covariance = np.linalg.pinv(own, hermitian=True)
            misfit = np.sum(covariance * self.weights[blocks][:, None, :], axis=2)
            expected = self.variance * np.trace(covariance, axis1=1, axis2=2)
            out = np.maximum(out, np.sum(misfit**2, axis=1) / np.maximum(expected, 1e-300))
        return out

    def freedom(self, unit: np.ndarray) -> np.ndarray:
        """Number of values `(m,)` on which the mean at inputs of the unit box hangs: degrees of freedom of its error.

        A mean is a sum of values with weights; the number is that of equal weights with the same variance of a variance
        by noise, but 2 at least.
        """
        cross = self.kernel.between(unit, self.centres)
        parts = self.spread[:, None] * cho_solve((self.root, True), cross.T, check_finite=False) ** 2
        return np.maximum(np.sum(parts, axis=0) ** 2 / np.maximum(np.sum(parts**2, axis=0), 1e-300), 2.0)

    def left_out(self, folds: Sequence[np.ndarray]) -> np.ndarray:
        r"""Misfit at every value of a fold, of the process that has not seen the fold; zero elsewhere.

        With `B` the inverse without the part of the constant, it is :math:`B_{FF}^{-1} (B v)_F` (Dubrule, Math. Geology
        15, 1983).
        """
        ones = self.inverse.sum(axis=1)
        out = np.zeros(len(self.weights))
        for fold in folds:
            own = self.inverse[np.ix_(fold, fold)] - np.outer(ones[fold], ones[fold]) / ones.sum()
            out[fold] = np.linalg.lstsq(own, self.weights[fold], rcond=None)[0]
        return out


def _factor(covariance: np.ndarray) -> np.ndarray | None:
    try:
        return cholesky(covariance, lower=True, check_finite=False)
    except LinAlgError:
        return None


class Likelihood:
    """Minus the logarithm of likelihood and prior with constant and signal variance at their best, and its gradient."""

    def __init__(
        self, unit: np.ndarray, values: np.ndarray, spread: np.ndarray, free: bool, directions: int = 0
    ) -> None:
        self.unit, self.values, self.spread, self.free = unit, values, spread, free
        self.dim, self.directions = unit.shape[1], directions

    def kernel(self, theta: np.ndarray) -> Kernel:
        d = self.dim
        warps = np.where(np.abs(theta[d : 2 * d]) < STRAIGHT, STRAIGHT, theta[d : 2 * d])
        directions = theta[2 * d : -2].reshape(-1, d)
        return Kernel(np.exp(theta[:d]), warps, float(np.exp(theta[-2])), float(np.exp(theta[-1])), directions)

    def bounds(self) -> list[tuple[float, float]]:
        most = BOUNDS["tails"][1]
        warp, tails = (BOUNDS["warp"], BOUNDS["tails"]) if self.free else ((0.0, 0.0), (most, most))
        across = [BOUNDS["direction"]] * (self.dim * self.directions)
        return [*[BOUNDS["length"]] * self.dim, *[warp] * self.dim, *across, tails, BOUNDS["noise"]]

    def given(self, kernel: Kernel) -> Process | None:
        covariance = kernel.between(self.unit, self.unit)
        covariance[np.diag_indices_from(covariance)] += kernel.noise * self.spread
        root = _factor(covariance)
        if root is None:
            return None
        inverse = dpotri(root, lower=1)[0]
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        ones = inverse.sum(axis=1)
        mean = float(ones @ self.values / ones.sum())
        rest = self.values - mean
        weights = cho_solve((root, True), rest, check_finite=False)
        variance = max(float(rest @ weights) / len(rest), 1e-300)
        evidence = -0.5 * len(rest) * np.log(variance) - float(np.sum(np.log(np.diag(root))))
        return Process(
            kernel, self.unit, weights, mean, root, inverse, variance, evidence, self.values, self.spread, self.free
        )

    def climbed(self, theta: np.ndarray, steps: int, over: Over) -> tuple[np.ndarray, float]:
        """Parameters after some steps of the optimiser, fewer where the time is `over`, and the value there."""

        def stopping(intermediate_result: OptimizeResult) -> None:
            del intermediate_result
            if over(len(self.values)):
                raise StopIteration

        options = {"maxiter": steps, "maxfun": 2 * steps}
        run = minimize(
            self, theta, jac=True, method="L-BFGS-B", bounds=self.bounds(), options=options, callback=stopping
        )
        return run.x, float(run.fun)

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        found = self.given(self.kernel(theta))
        if found is None:
            return 1e10, np.zeros_like(theta)
        kernel, d = found.kernel, self.dim
        by_warp = warped(self.unit, kernel.warps)[1]
        places = kernel.places(self.unit)
        _, by_square, by_tails = profile(squares(places, places), kernel.tails)
        outer = self._outer(found)
        pull = outer * by_square
        by_place = 4.0 * (pull.sum(axis=1)[:, None] * places - pull @ places)
        own = by_place[:, :d]
        gradient = np.r_[
            np.sum(own * places[:, :d], axis=0),
            np.sum(own * by_warp, axis=0) * kernel.inverse_lengths + kernel.warps / WARPED**2,
            (by_place[:, d:].T @ self.unit).ravel(),
            np.sum(outer * by_tails),
            kernel.noise * float(self.spread @ np.diag(outer)),
        ]
        return -found.evidence + 0.5 * float(np.sum(kernel.warps**2)) / WARPED**2, gradient

    def _outer(self, found: Process) -> np.ndarray:
        """Derivative of minus the logarithm by the covariance over the signal variance."""
        return 0.5 * (found.inverse - np.outer(found.weights, found.weights) / found.variance)

    def turning(self, found: Process) -> np.ndarray:
        r"""Derivative `(inputs, inputs)` by :math:`\sum_b p_b p_b^T`, of a process of the values.

        What it is along the directions there are is zero; one more serves most along its lowest eigenvector.
        """
        places = found.kernel.places(self.unit)
        pull = self._outer(found) * profile(squares(places, places), found.kernel.tails)[1]
        return 2.0 * self.unit.T @ (pull.sum(axis=1)[:, None] * self.unit - pull @ self.unit)


def begun(dim: int) -> Iterator[np.ndarray]:
    """Parameters to begin with."""
    for length in LENGTHS:
        for noise in NOISES:
            yield np.r_[np.full(dim, -np.log(length * np.sqrt(dim))), np.zeros(dim), np.log(TAILS), np.log(noise)]


def fit_process(
    unit: np.ndarray, values: np.ndarray, spread: np.ndarray, free: bool, over: Over = lambda rows: False
) -> Process | None:
    """The Gaussian process of the largest likelihood, found on a few of the rows first.

    Parameters
    ----------
    unit:
        Inputs `(n, inputs)` in units of their box.
    values:
        Values `(n,)`.
    spread:
        Variance `(n,)` of the noise of every value over that of their mean; ones where nothing is known.
    free:
        Whether axes may be stretched, and tails are chosen.
    over:
        Told after every step by how many rows it was; the optimiser stops with what it has where the time is over.

    Returns
    -------
    The process given all values; their mean where it explains many of them no better than chance does, by the theorem
    of Wilks (Ann. Math. Statist. 9, 1938); `None` where no covariance can be factorised.

    References
    ----------
    Rasmussen, Williams, Gaussian Processes for Machine Learning (2006), chapters 2, 4 and 5; the warp is that of no
    paper.
    """
    sizes = [size for size in SIZES if size < len(values)]
    sizes = sizes if len(sizes) == len(SIZES) else [*sizes, len(values)]
    theta = None
    for size, steps in zip(sizes, STEPS, strict=False):
        rows = rows_for(len(values), size)
        theta = climbed(Likelihood(unit[rows], values[rows], spread[rows], free), theta, steps, over)
    assert theta is not None
    likelihood = Likelihood(unit, values, spread, free)
    kernel = likelihood.kernel(theta)
    found, nothing = (likelihood.given(one) for one in (kernel, kernel._replace(noise=float(np.exp(SILENT)))))
    while found is None and kernel.noise < MORE_NOISE[1]:
        kernel = kernel._replace(noise=MORE_NOISE[0] * kernel.noise)
        found = likelihood.given(kernel)
    parameters = unit.shape[1] + 2
    if found is None or nothing is None or len(values) < MANY * parameters:
        return found
    chance = 0.5 * chdtri(parameters, 1.0 - SIGNIFICANCE)
    return found if found.evidence > nothing.evidence + chance else nothing


def rows_for(count: int, size: int) -> np.ndarray:
    """Which of `count` rows are the `size` of a coarse level."""
    return np.sort(np.random.default_rng(0).permutation(count)[:size])


def given_process(
    unit: np.ndarray, values: np.ndarray, spread: np.ndarray, free: bool, kernel: Kernel
) -> Process | None:
    """The Gaussian process of a known kernel; see `fit_process`."""
    return Likelihood(unit, values, spread, free, len(kernel.directions)).given(kernel)


def climbed(likelihood: Likelihood, theta: np.ndarray | None, steps: int, over: Over) -> np.ndarray:
    """Parameters of the largest likelihood near those given, and near the best to begin with where these are better.

    A wave that few rows do not show is noise to them; more of them tell, and the parameters found before are left.
    Where noise is large, few rows take an input for one that does not matter, and no gradient brings it back.
    """
    given = [] if theta is None else [theta]
    starts = [*given, *begun(likelihood.dim)]
    sure = theta is not None and theta[-1] < np.log(LOUD)
    starts = sorted(starts, key=lambda start: likelihood(start)[0])[: 1 if sure else 2]
    runs = [likelihood.climbed(start, steps, over) for start in starts]
    return min(runs, key=lambda run: run[1])[0]
