"""Directions across the inputs along which the values of a Gaussian process change faster than along their axes."""

from __future__ import annotations

import numpy as np

from hierax.solvers.gaussian_process import MANY, SIZES, Likelihood, Over, Process, rows_for

STEPS = 120
"""Most steps of the optimiser with few rows."""
SIZES_OF, LESS = (0.3, 1.0, 3.0), (1.0, 0.3)
"""Sizes of a new direction, over those of the axes together, and factors of the latter, to begin with."""


def directed(process: Process, over: Over) -> Process | None:
    r"""The process with one direction more, by the largest likelihood of a few of its rows.

    Ridges across the axes, as waves, fronts and fibres make them, need rows everywhere if lengths belong to the axes
    alone. With :math:`|y - y'|^2` also along a direction `p`, the likelihood's derivative by :math:`p p^T` at `p = 0`
    tells where to begin: it falls fastest along the lowest eigenvector.

    Parameters
    ----------
    process:
        Of values in the unit box.
    over:
        Told of steps of the optimiser.

    Returns
    -------
    The process of all values; `None` where there are too few for the parameters, one input alone, or no direction
    along which the likelihood rises.

    References
    ----------
    Rasmussen, Williams, Gaussian Processes for Machine Learning (2006), section 5.1, on factors of the metric.
    """
    count, dim = process.centres.shape
    rows = rows_for(count, SIZES[-1])
    given = process.centres[rows], process.values[rows], process.spread[rows], process.free
    before = len(process.kernel.directions)
    parameters = len(process.kernel.parameters) + dim
    found = Likelihood(*given, before).given(process.kernel)
    if process.silent or dim == 1 or len(rows) < MANY * parameters // 2 or found is None:
        return None
    lengths, few = process.kernel.inverse_lengths, Likelihood(*given, before + 1)
    starts = []
    for metric in (np.ones(dim), lengths):
        values, vectors = np.linalg.eigh(Likelihood(*given, before).turning(found) * np.outer(metric, metric))
        if values[0] < 0.0:
            across = metric * vectors[:, 0]
            across *= np.linalg.norm(lengths) / np.linalg.norm(across)
            for size in SIZES_OF:
                for less in LESS:
                    kernel = process.kernel._replace(
                        inverse_lengths=less * lengths, directions=np.vstack([process.kernel.directions, size * across])
                    )
                    starts.append(kernel.parameters)
    if not starts:
        return None
    low, high = np.array(few.bounds()).T
    start = min((np.clip(theta, low, high) for theta in starts), key=lambda theta: few(theta)[0])
    best = few.kernel(few.climbed(start, STEPS, over)[0])
    return Likelihood(process.centres, process.values, process.spread, process.free, before + 1).given(best)
