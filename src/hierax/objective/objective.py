"""Where a problem and a field meet: values, gradients and curvature of a weighted sum of terms at flat parameters."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer
from scipy.sparse import csr_array

from hierax._errors import InputError
from hierax.fields.base import partition
from hierax.objective.curvature import AbstractCurvature
from hierax.objective.pointwise import SquaredResidual
from hierax.objective.samples import Samples


@dataclass(frozen=True, eq=False)
class Linearisation:
    """An objective near one point: `value`, `gradient` `(N,)` and `curvature`."""

    value: float
    gradient: np.ndarray
    curvature: AbstractCurvature

    def model_decrease(self, step: np.ndarray) -> float:
        """Decrease of the quadratic model along a step: `-g's - s'As/2`."""
        return -float(self.gradient @ step) - 0.5 * self.curvature.quadratic(step)


class AbstractObjective(abc.ABC):
    """A sum of `scale * sum_q weight_q density_q` over terms, as a function of flat parameters `theta` `(N,)`.

    Solvers see only this class and the capabilities below, which they ask for by `required` when they begin.
    """

    samples: tuple[Samples, ...]
    quadratic: bool = False
    """Whether the objective is a quadratic function: linear residuals of a linear field."""
    assembled: bool = False
    """Whether curvature is assembled cell by cell, which costs much less than rows of the Jacobian."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Number of parameters."""

    @abc.abstractmethod
    def values(self, theta: np.ndarray) -> np.ndarray:
        """Unscaled value of each term, `(terms,)`."""

    @abc.abstractmethod
    def value_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient."""

    @abc.abstractmethod
    def linearise(self, theta: np.ndarray) -> Linearisation:
        """Value, gradient and curvature."""

    @abc.abstractmethod
    def residuals(self, theta: np.ndarray) -> list[np.ndarray]:
        """Residuals `(n, r)` of each term at its samples."""

    @property
    @abc.abstractmethod
    def work(self) -> float:
        """Cost of one linearisation in work units (a fixed count of evaluated rows and solves)."""

    def least_squares(self) -> AbstractLeastSquares | None:
        """The objective as half a sum of squares; `None` with energies, penalties or corrections."""
        return None

    def value(self, theta: np.ndarray) -> float:
        """The objective."""
        return float(self.scales @ self.values(theta))

    @property
    def scales(self) -> np.ndarray:
        """Factor of each term."""
        return np.array([s.scale for s in self.samples])

    @property
    def exact(self) -> AbstractObjective | None:
        """The same whose curvature is the second derivative, which need not be positive, where that can be told."""
        return None


class AbstractSampledObjective(AbstractObjective):
    """An objective made of a field and samples, whose terms can be weighed anew.

    Attributes
    ----------
    field:
        What is trained; its parameters are the start.
    """

    field: Any

    @property
    def has_residuals(self) -> bool:
        """Whether every sampled term is half the square of residuals: no energy."""
        return all(isinstance(s.term, SquaredResidual) for s in self.samples)

    @abc.abstractmethod
    def rescaled(self, scales: Sequence[float]) -> AbstractSampledObjective:
        """The same objective with other factors of the terms; nothing is gathered again."""

    @abc.abstractmethod
    def diagonals(self, theta: np.ndarray, equations: np.ndarray | None = None) -> np.ndarray:
        """Diagonal of each term's unscaled curvature, `(terms, N)`: what the terms weigh on each parameter.

        Of the terms marked in `equations` `(terms,)` only the entries that another term touches need to be right:
        beside a condition on the boundary these are few.
        """


class AbstractLeastSquares(AbstractSampledObjective):
    """Capability: the rows of the Jacobian of all residuals, times the roots of weights and scales.

    Half the square of the residuals is the objective wherever `least_squares` has given it.
    """

    @abc.abstractmethod
    def with_samples(self, samples: Sequence[Samples]) -> AbstractLeastSquares:
        """The same objective on other points."""

    @abc.abstractmethod
    def weighted_rows(self, theta: np.ndarray) -> list[np.ndarray]:
        """Rows `(m, N)` of each term."""

    @abc.abstractmethod
    def sparse_rows(self, theta: np.ndarray) -> csr_array:
        """Rows `(R, N)` of all terms together, without the zeros."""

    def weighted_residuals(self, theta: np.ndarray) -> list[np.ndarray]:
        """Residuals `(m,)` of each term."""
        pairs = zip(self.samples, self.residuals(theta), strict=True)
        return [np.ravel(r * np.sqrt(s.scale * s.weights)[:, None]) for s, r in pairs]


class AbstractProgrammed(AbstractObjective):
    """Capability: the objective is one function that JAX can trace, for first-order optimisers."""

    @abc.abstractmethod
    def program(self) -> tuple[Any, Any]:
        """A hashable pure function of `(theta, data)`, see `Program`, and its data."""


class AbstractSeparable(AbstractObjective):
    """Capability: terms are linearised one by one in one storage, so that their weights can be searched for."""

    @abc.abstractmethod
    def linearise_each(self, theta: np.ndarray) -> list[Linearisation]:
        """Linearisation of each unscaled term; all curvatures fit one ordering, so `BandCombination` can add them."""


Capability = TypeVar("Capability", bound=AbstractObjective)


def required(objective: AbstractObjective, capability: type[Capability], solver: str, remedy: str) -> Capability:
    """The objective as one with a capability that a solver cannot do without.

    Raises
    ------
    InputError
        Where the objective lacks it.
    """
    if not isinstance(objective, capability):
        raise InputError(what=f"an objective of the kind {type(objective).__name__}", where=solver, remedy=remedy)
    return objective


def flat_parameters(field: Any) -> tuple[np.ndarray, Any]:
    """Flat trained parameters `(N,)` and the function that puts such a vector back into the field."""
    params, rest = partition(field)
    leaves, structure = jax.tree.flatten(params)
    # by NumPy: every level has shapes of its own, and each would compile kernels to run once
    arrays = [np.asarray(leaf) for leaf in leaves]
    ends = np.cumsum([0, *(array.size for array in arrays)])

    def build(vector: np.ndarray) -> Any:
        # slices serve NumPy's arrays and traced ones; an array of JAX would compile one for every shape
        whole = np.asarray(vector) if isinstance(vector, jax.Array) and not isinstance(vector, Tracer) else vector
        parts = [whole[start:stop] for start, stop in pairwise(ends)]
        new = [jax.numpy.asarray(p.reshape(a.shape), a.dtype) for p, a in zip(parts, arrays, strict=True)]
        return eqx.combine(jax.tree.unflatten(structure, new), rest)

    return np.concatenate([array.ravel() for array in arrays]) if arrays else np.zeros(0), build
