"""Nonlinear Schwarz: groups of subdomains solve their own nonlinear problems before all are corrected together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from hierax.hierarchy.transport import RESET
from hierax.objective import AbstractObjective, LocalObjective
from hierax.objective.least_squares import is_least_squares, weighted_residual
from hierax.objective.rows import RowObjective
from hierax.solvers.base import AbstractSolver, Step
from hierax.solvers.linear.subdomains import Schwarz, parts_of

LEAST, RAISE, LOWER = 1e-10, 4.0, 0.2
"""Smallest damping of a group, and its factors after a refused and a good step."""


class NonlinearSchwarzState(NamedTuple):
    """State of the solver of the common step, and whether sweeps over subdomains are still worth their price."""

    common: Any
    sweeping: bool = True


@dataclass(frozen=True)
class NonlinearSchwarz(AbstractSolver):
    r"""Nonlinear solves on groups of subdomains, then one common step: nonlinearly preconditioned Gauss-Newton.

    For half the square of residuals `r(theta)` and blocks `theta_j` of parameters, one for each group of neighbouring
    subdomains of a partition of unity, a sweep goes through colours of groups. Those of one colour share no row, so
    that each can lower

    .. math:: \tfrac12 \sum_{i \in I_j} r_i(\theta)^2, \qquad I_j = \{i : \partial r_i / \partial \theta_j \ne 0\},

    by damped Gauss-Newton steps of its own, `(J_j^T J_j + \lambda_j D_j) s_j = -J_j^T r`, with its own damping and its
    own decision whether to keep a step, and the objective falls by the sum of what all gain. The rows of all groups of
    a colour are computed together, by kernels that are compiled once. The common step is that of another solver, by
    default `Schwarz` with its coarse space. Neither raises the objective. Sweeps end when one lowers it by less than
    `worth`: near the solution the common step alone is better. Objectives that are not least squares are left to
    `common`.

    It saves few steps, since damped Gauss-Newton steps from a coarser level need few, and a sweep costs more than it
    saves (the study `nonlinear-preconditioning`): `Schwarz` alone is the default.

    Parameters
    ----------
    common:
        Solver of the common step.
    layers:
        Layers of neighbours that belong to a group; with none a group is a subdomain.
    steps:
        Damped steps of every group in a sweep.
    worth:
        Share of the objective that a sweep has to remove for another one.
    damping:
        Of the groups at the beginning of a sweep.

    References
    ----------
    Cai, Keyes, SIAM J. Sci. Comput. 24 (2002) (nonlinear preconditioning by local solves); Dolean, Gander, Kheriji,
    Kwok, Masson, SIAM J. Sci. Comput. 38 (2016) (restricted, with a coarse correction).
    """

    common: AbstractSolver = Schwarz()
    layers: int = 1
    steps: int = 1
    worth: float = 0.1
    damping: float = 1e-3

    @property
    def second_order(self) -> bool:
        return True

    def init(self, objective: AbstractObjective, theta: np.ndarray) -> NonlinearSchwarzState:
        return NonlinearSchwarzState(self.common.init(objective, theta))

    def kinds(self, state: NonlinearSchwarzState) -> Any:
        return NonlinearSchwarzState(self.common.kinds(state.common), RESET)  # pyright: ignore

    def step(self, objective: AbstractObjective, theta: np.ndarray, state: NonlinearSchwarzState) -> Step:
        going = state.sweeping and is_least_squares(objective) and not objective.quadratic
        if going:
            assert isinstance(objective, RowObjective | LocalObjective)
            known = isinstance(objective, RowObjective)
            rows = objective if known else RowObjective(objective.field, objective.samples)
            theta, share = self.swept(rows, theta)
            going = share >= self.worth
        step = self.common.step(objective, theta, state.common)
        return step._replace(state=NonlinearSchwarzState(step.state, going))

    def swept(self, objective: RowObjective, theta: np.ndarray) -> tuple[np.ndarray, float]:
        """Parameters after one sweep over all subdomains, and the share of the objective that it removed."""
        residual = weighted_residual(objective, theta)
        if not np.all(np.isfinite(residual)):
            return theta, 0.0
        before = float(residual @ residual)
        for blocks in _colours(objective, theta, self.layers):
            damping = np.full(len(blocks), self.damping)
            for _ in range(self.steps):
                theta, residual, damping = _relaxed(objective, theta, residual, blocks, damping)
        return theta, (before - float(residual @ residual)) / max(before, 1e-300)


def _colours(objective: RowObjective, theta: np.ndarray, layers: int) -> Iterator[list[np.ndarray]]:
    """Sets of groups of parameters; groups of a set share no row. Coarse levels come first."""
    rows = objective.sparse_rows(theta)
    touched = sp.csr_array((np.ones(rows.nnz), rows.indices, rows.indptr), rows.shape)
    for part in parts_of(objective.field):
        count, own = part.numbers.shape
        near = _meeting(touched, part.numbers.ravel(), np.repeat(np.arange(count), own))
        group = _groups(near, layers)
        near = _meeting(touched, part.numbers.ravel(), np.repeat(group, own))
        color = _colored(near)
        for c in range(color.max(initial=-1) + 1):
            yield [part.numbers[group == g].ravel() for g in np.flatnonzero(color == c)]


def _meeting(touched: sp.csr_array, columns: np.ndarray, owner: np.ndarray) -> sp.csr_array:
    """Which sets of columns share a row, `(sets, sets)`."""
    shape = (touched.shape[1], int(owner.max()) + 1)  # pyright: ignore
    image = touched @ sp.csr_array((np.ones(len(columns)), (columns, owner)), shape)
    return sp.csr_array(image.T @ image)


def _near(graph: sp.csr_array, j: int) -> np.ndarray:
    return graph.indices[graph.indptr[j] : graph.indptr[j + 1]]


def _groups(graph: sp.csr_array, layers: int) -> np.ndarray:
    """The number of the group of every subdomain: one that is left over and those around it that are, too."""
    out, number = np.full(graph.shape[0], -1), 0  # pyright: ignore
    for j in range(len(out)):
        if out[j] >= 0:
            continue
        found = np.array([j])
        for _ in range(layers):
            found = np.unique(np.concatenate([_near(graph, k) for k in found]))
        out[found[out[found] < 0]] = number
        number += 1
    return out


def _colored(graph: sp.csr_array) -> np.ndarray:
    """The smallest number for each that no neighbour before has."""
    color = np.full(graph.shape[0], -1)  # pyright: ignore
    for j in range(len(color)):
        taken = set(color[_near(graph, j)].tolist())
        color[j] = next(c for c in range(len(color)) if c not in taken)
    return color


def _relaxed(
    objective: RowObjective, theta: np.ndarray, residual: np.ndarray, groups: list[np.ndarray], damping: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A damped step of every group of parameters, each kept where it lowers its own part of the objective."""
    ends = np.cumsum([0, *map(len, groups)])
    numbers = np.concatenate(groups)
    rows = sp.csr_array(sp.csc_array(objective.sparse_rows(theta))[:, numbers])
    gram, slope = sp.csr_array(rows.T @ rows), rows.T @ residual
    trial = theta.copy()
    for start, stop, weight in zip(ends, ends[1:], damping, strict=False):
        matrix = gram[start:stop, start:stop].toarray()
        diagonal = np.diagonal(matrix)
        shift = weight * np.maximum(diagonal, 1e-10 * diagonal.max(initial=0.0) + 1e-300)
        trial[numbers[start:stop]] -= np.linalg.solve(matrix + np.diag(shift), slope[start:stop])
    # a row belongs to the one group of this colour that it depends on, if to any
    full = np.diff(rows.indptr) > 0
    owner = np.repeat(np.arange(len(groups)), np.diff(ends))[rows.indices[rows.indptr[:-1][full]]]
    after = weighted_residual(objective, trial)
    with np.errstate(over="ignore", invalid="ignore"):  # such a step is refused
        gain = np.bincount(owner, residual[full] ** 2 - after[full] ** 2, minlength=len(groups))
    kept = gain > 0.0
    chosen = numbers[np.repeat(kept, np.diff(ends))]
    theta = theta.copy()
    theta[chosen] = trial[chosen]
    residual = residual.copy()
    residual[full] = np.where(kept[owner], after[full], residual[full])
    return theta, residual, np.where(kept, np.maximum(LOWER * damping, LEAST), RAISE * damping)
