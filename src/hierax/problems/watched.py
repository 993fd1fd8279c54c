"""Numbers inside of terms that are looked at after training: inputs of laws, deformation gradients.

`watched` marks an array and changes nothing. Marks survive derivatives and compilation, so that the terms of a trained
problem can be asked for every number that a mark was put on; see `hierax.objective.marked`.
"""

from __future__ import annotations

import abc
import itertools
from dataclasses import dataclass, field
from typing import Any, final
from weakref import WeakValueDictionary

import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float
from scipy.spatial import KDTree

from hierax.problems.domain import Box

_numbers = itertools.count()
MARKS: WeakValueDictionary[str, AbstractMark] = WeakValueDictionary()
"""The marks in use, by the name that stands in traced functions."""
SPACING = 0.99, 3.0
"""Quantile of the distances between neighbours among rows, and how many such distances beside them are still seen."""


@dataclass(frozen=True, eq=False)
class AbstractMark(abc.ABC):
    """What is asked about the numbers that a mark was put on."""

    key: str = field(default_factory=lambda: f"hierax:{next(_numbers)}", init=False)

    def __post_init__(self) -> None:
        MARKS[self.key] = self

    @abc.abstractmethod
    def beyond(self, values: np.ndarray) -> np.ndarray:
        """Of values `(n, ...)` which are beyond what is allowed, `(n,)`."""

    @abc.abstractmethod
    def words(self, value: np.ndarray) -> str:
        """One value, as the end of a sentence."""


@final
@dataclass(frozen=True, eq=False)
class Invertible(AbstractMark):
    """Deformation gradients `(dim, dim)`, whose determinant has to be positive: matter does not turn inside out."""

    def beyond(self, values: np.ndarray) -> np.ndarray:
        return ~(np.linalg.det(values) > 0.0)

    def words(self, value: np.ndarray) -> str:
        return f"det F = {np.linalg.det(value):.3g}"


@final
@dataclass(frozen=True, eq=False)
class SeenInputs(AbstractMark):
    """Inputs of a learned function: the box where it was trained, and the rows `(n, dim)` that it has seen there.

    With rows inputs count as seen near one of them: not farther, in units of the box, than a few distances between
    neighbouring rows.
    """

    name: str
    box: Box
    rows: np.ndarray | None = None

    def beyond(self, values: np.ndarray) -> np.ndarray:
        values = values.reshape(-1, self.box.dim)
        outside = ~self.box.contains(values)
        if self.rows is None or len(self.rows) <= self.box.dim + 1:
            return outside
        size = self.box.upper - self.box.lower
        tree, finite = KDTree(self.rows / size), np.all(np.isfinite(values), axis=1)
        between = tree.query(self.rows / size, k=2)[0][:, 1]
        far = np.full(len(values), True)
        far[finite] = tree.query(values[finite] / size)[0] > SPACING[1] * np.quantile(between, SPACING[0])
        return outside | far

    def words(self, value: np.ndarray) -> str:
        names = self.box.names or range(self.box.dim)
        return ", ".join(f"{name} = {number:.3g}" for name, number in zip(names, np.ravel(value), strict=True))


def watched(values: Any, mark: AbstractMark) -> Float[Array, "..."]:
    """The same values, marked."""
    return checkpoint_name(jnp.asarray(values), mark.key)
