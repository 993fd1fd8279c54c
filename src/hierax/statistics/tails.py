r"""What samples do not show of a mean: the tails beyond the largest and the smallest of them.

Of `n` samples the largest `M` are above a threshold :math:`u` by excesses whose law is nearly that of Pareto, with a
shape :math:`\xi` and a scale :math:`\sigma` that probability-weighted moments tell. Beyond the largest sample excesses
have the scale :math:`\sigma + \xi (x_{max} - u)`, and with probability `1 / n` they are, on average, that over
:math:`1 - \xi`. What is more than an exponential tail lets expect is

.. math:: \frac{\xi}{1 - \xi} \frac{\sigma + \xi (x_{max} - u)}{n}.

Without a variance, :math:`\xi \ge 1/2`, it falls no faster than standard errors seem to.

References: Pickands, Ann. Statist. 3 (1975); Hosking and Wallis, Technometrics 29 (1987).
"""

from __future__ import annotations

import numpy as np

SHARE, ROOTS = 0.2, 3.0
"""Largest part of the samples that is a tail, and the most of it in roots of their number."""
FEWEST = 4
"""Samples of a tail, at least."""
HEAVIEST = 0.8
"""Largest shape that is assumed: with one the mean does not exist."""


def unseen_above(samples: np.ndarray) -> np.ndarray:
    """What the mean of each column of independent samples `(n, m)` may lack in its upper tail `(m,)`, at least zero.

    The shape is taken a standard error larger than it seems: a tail that is missed is one that few samples have shown.
    Values that occur more than once, as of events, have no tail.
    """
    count = len(samples)
    many = int(min(SHARE * count, ROOTS * np.sqrt(count)))
    if many < FEWEST or np.all(np.sum(samples == np.max(samples, axis=0), axis=0) > 1):
        return np.zeros(samples.shape[1])
    ordered = np.sort(np.partition(samples, count - many - 1, axis=0)[-many - 1 :], axis=0)
    excess = ordered[1:] - ordered[0]
    mean = np.mean(excess, axis=0)
    weighted = np.mean(excess * (1.0 - (np.arange(1, many + 1) - 0.35) / many)[:, None], axis=0)
    good = (excess[0] > 0.0) & (excess[-1] > excess[-2]) & (mean > 2.0 * weighted)
    rest = np.where(good, mean - 2.0 * weighted, 1.0)
    shape = 2.0 - mean / rest
    scale = 2.0 * mean * weighted / rest + np.maximum(shape, 0.0) * excess[-1]
    assumed = np.clip(shape + (1.0 + shape) / np.sqrt(many), 0.0, HEAVIEST)
    return np.where(good, scale * assumed / (1.0 - assumed) / count, 0.0)
