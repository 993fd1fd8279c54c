r"""Best linear unbiased estimators from groups of models, and how many samples of every group they need.

Models are evaluated in groups, each at inputs of its own; the mean of the first one is asked for. With `n_g` samples of
group `g`, restriction `R_g` to its models and covariance `C_g` of these, the best weights of the group's means are

.. math:: \beta_g = n_g C_g^{-1} R_g \Psi^{-1} e_0, \qquad \Psi = \sum_g n_g R_g^T C_g^{-1} R_g,

which sum to one for the first model and to zero for each other one: the estimator is unbiased whatever the others are.
Monte Carlo, control variates, multifidelity and approximate control variates are special cases. Its variance is
`(\Psi^{-1})_{00}`. The samples of least cost solve a convex problem of optimal design; at their optimum
`n_g` is proportional to `sqrt(\beta_g^T C_g \beta_g / w_g)` with the cost `w_g` of a sample, the rule of multilevel
Monte Carlo, and repeating this rule finds them.

References: Schaden, Ullmann, SIAM/ASA J. Uncertain. Quantif. 8 (2020); Giles, Acta Numerica 24 (2015); Gorodetsky,
Geraci, Eldred, Jakeman, J. Comput. Phys. 408 (2020); Yu, Ann. Statist. 38 (2010), on multiplicative algorithms.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Group = tuple[int, ...]
"""Models that are evaluated at the same inputs, by number."""

SAME, RIDGE = 1e-8, 1e-13
"""Variance of a model's own, over its variance, that is assumed at least: weights of models that tell the same stay
finite, and sum to what they have to; and what is added to the diagonal of a scaled matrix before it is solved with."""
MOST = 6
"""Most models of which every group is a candidate; of more only pairs and runs."""
REPEATS, SETTLED = 500, 1e-6
"""Most repetitions of the rule, and relative change of the cost at which it ends."""
NOTHING = 1e-4
"""Share of the cost below which a group is left out."""


class Design(NamedTuple):
    """Samples of groups for a unit of cost, and the variance that they leave: cost times variance of any multiple."""

    groups: tuple[Group, ...]
    samples: np.ndarray
    product: float


def candidates(models: int) -> tuple[Group, ...]:
    """Groups that a design may use."""
    numbers = range(models)
    if models <= MOST:
        return tuple(g for size in range(1, models + 1) for g in itertools.combinations(numbers, size))
    runs = {tuple(range(a, b)) for a in numbers for b in range(a + 1, models + 1)}
    return tuple(sorted(runs | set(itertools.combinations(numbers, 2)), key=lambda g: (len(g), g)))


def information(covariance: np.ndarray, groups: Sequence[Group]) -> np.ndarray:
    """`R^T C^{-1} R` `(groups, models, models)` of one sample of each group."""
    out = np.zeros((len(groups), *covariance.shape))
    for k, group in enumerate(groups):
        place = np.ix_(group, group)
        out[k][place] = _inverse(covariance[place])
    return out


def _inverse(covariance: np.ndarray) -> np.ndarray:
    size = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    scaled = covariance / np.outer(size, size) + SAME * np.eye(len(size))
    return np.linalg.inv(scaled) / np.outer(size, size)


def weights(covariance: np.ndarray, groups: Sequence[Group], samples: np.ndarray) -> list[np.ndarray]:
    """Weights of the means of the models of each group, for the mean of model 0."""
    known = information(covariance, groups)
    dual = _dual(np.tensordot(samples, known, 1))
    return [n * (one @ dual)[list(group)] for n, one, group in zip(samples, known, groups, strict=True)]


def _dual(whole: np.ndarray) -> np.ndarray:
    """`Psi^{-1} e_0`, with models that nothing tells of left out."""
    seen = np.diag(whole) > 0
    out = np.zeros(len(whole))
    size = np.sqrt(np.diag(whole)[seen])
    scaled = whole[np.ix_(seen, seen)] / np.outer(size, size) + RIDGE * np.eye(len(size))
    out[seen] = np.linalg.solve(scaled, np.r_[1.0 / size[0], np.zeros(len(size) - 1)]) / size
    return out


def best_design(covariance: np.ndarray, groups: Sequence[Group], costs: np.ndarray) -> Design:
    """Samples of groups that make the estimator of model 0 as exact as a unit of cost can.

    Parameters
    ----------
    covariance:
        Of the models `(models, models)`.
    groups, costs:
        Candidates, and the cost of one sample of each.
    """
    if covariance[0, 0] <= 0 or len(covariance) == 1:
        cheapest = int(np.argmin(np.where([0 in group for group in groups], costs, np.inf)))
        return Design((groups[cheapest],), 1.0 / costs[[cheapest]], float(max(covariance[0, 0], 0.0) * costs[cheapest]))
    known = information(covariance, groups)
    samples, before = 1.0 / (len(groups) * costs), np.inf
    for _ in range(REPEATS):
        dual = _dual(np.tensordot(samples, known, 1))
        # beta C beta of each group is n^2 times the quadratic form of its information at the dual
        spread = samples * np.sqrt(np.maximum(known @ dual @ dual, 0.0))
        root = float(np.sum(spread * np.sqrt(costs)))
        samples = spread / np.sqrt(costs) / max(root, 1e-300)
        if before - root < SETTLED * root:
            break
        before = root
    kept = samples * costs > NOTHING
    samples = samples[kept] / np.sum(samples[kept] * costs[kept])
    product = float(_dual(np.tensordot(samples, known[kept], 1))[0])
    return Design(tuple(g for g, k in zip(groups, kept, strict=True) if k), samples, product)
