"""Several starts: many short trainings of the coarsest level, of which the best goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hierax.hierarchy.transport import SCALAR
from hierax.objective import AbstractObjective
from hierax.objective.rows import RowObjective
from hierax.solvers.base import AbstractSolver, Step

SEARCH_POINTS = 4096


class StartsState(NamedTuple):
    """State of the solver that goes on, and whether the starts have been compared."""

    inner: Any
    searched: bool


class Candidate(NamedTuple):
    """One start with how far it has come."""

    value: float
    theta: np.ndarray
    state: Any
    done: bool


@dataclass(frozen=True)
class SeveralStarts(AbstractSolver):
    """Compare several starts on the coarsest level, then train with `solver` from the best one.

    Directions of a network's hidden nodes have local minima. On the coarsest level a training is cheap, and its loss
    tells good minima from bad ones, so that is where they are chosen: successive halving, with at most
    `SEARCH_POINTS` points of every term. The first start is the one that was given; the others have normal parameters
    of the same mean square in every array. The whole search is reported as the first step.

    Parameters
    ----------
    solver:
        Trains the candidates, and everything after the search.
    starts:
        Number of candidates.
    steps:
        Steps of every candidate between two halvings.

    References
    ----------
    Successive halving: Jamieson and Talwalkar, AISTATS (2016).
    """

    solver: AbstractSolver
    starts: int = 12
    steps: int = 5

    @property
    def second_order(self) -> bool:
        return self.solver.second_order

    def init(self, objective: AbstractObjective, theta: np.ndarray) -> StartsState:
        return StartsState(self.solver.init(objective, theta), False)

    def kinds(self, state: StartsState) -> Any:
        return StartsState(self.solver.kinds(state.inner), SCALAR)  # pyright: ignore

    def step(self, objective: AbstractObjective, theta: np.ndarray, state: StartsState) -> Step:
        if not state.searched:
            assert isinstance(objective, RowObjective), "starts are compared for networks"
            theta = self._search(objective, theta)
            state = StartsState(self.solver.init(objective, theta), True)
        step = self.solver.step(objective, theta, state.inner)
        return step._replace(state=StartsState(step.state, True))

    def _search(self, objective: RowObjective, theta: np.ndarray) -> np.ndarray:
        few = objective.with_samples([s.take(_spaced(s.count)) for s in objective.samples])
        scales = [s.count / f.count for s, f in zip(objective.samples, few.samples, strict=True)]
        few = few.rescaled([c * f.scale for c, f in zip(scales, few.samples, strict=True)])
        sizes = [int(np.prod(shape, dtype=int)) for shape in objective.layout.shapes]
        thetas = [theta, *_like(theta, sizes, self.starts - 1)]
        candidates = [Candidate(np.inf, t, self.solver.init(few, t), False) for t in thetas]
        while len(candidates) > 1:
            candidates = sorted((self._advanced(few, c) for c in candidates), key=lambda c: c.value)
            candidates = candidates[: len(candidates) // 2]
        return candidates[0].theta

    def _advanced(self, objective: RowObjective, candidate: Candidate) -> Candidate:
        """Some steps further; one that fails is never chosen."""
        value, theta, state, done = candidate
        for _ in range(self.steps):
            if done:
                break
            step = self.solver.step(objective, theta, state)
            theta, state, done = step.theta, step.state, step.done
            value = step.value if step.failure is None and np.isfinite(step.value) else np.inf
        return Candidate(value, theta, state, done)


def _spaced(count: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(count, SEARCH_POINTS)).astype(int)


def _like(theta: np.ndarray, sizes: list[int], count: int) -> list[np.ndarray]:
    """Random parameters with the mean square of `theta` in every array; they depend on `theta` alone."""
    generator = np.random.default_rng(np.ascontiguousarray(theta[:8]).view(np.uint64).tolist())
    parts = np.split(theta, np.cumsum(sizes)[:-1])
    scale = np.concatenate([np.full(part.size, np.sqrt(np.mean(part**2))) for part in parts if part.size])
    return list(scale * generator.normal(size=(count, theta.size)))
