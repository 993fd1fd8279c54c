"""Where a problem and a field meet: values, gradients and curvature of a weighted sum of terms at flat parameters."""

from __future__ import annotations

import abc
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np
import scipy.sparse as sp
from jax.core import Tracer

from hierax._errors import InputError
from hierax.fields.base import partition, positions
from hierax.objective.assembly import AbstractGramSum, BandSum, LocalTerm, layout_of, local_residuals
from hierax.objective.curvature import AbstractCurvature, Ordering, SparseGram
from hierax.objective.ordering import narrow_order
from hierax.objective.samples import Elements, Samples, group
from hierax.objective.stencil import Mesh, StencilSum


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

    def value(self, theta: np.ndarray) -> float:
        """The objective."""
        return float(self.scales @ self.values(theta))

    @property
    def scales(self) -> np.ndarray:
        """Factor of each term."""
        return np.array([s.scale for s in self.samples])


class AbstractSampledObjective(AbstractObjective):
    """An objective made of a field and samples, whose terms can be weighed anew.

    Attributes
    ----------
    field:
        What is trained; its parameters are the start.
    """

    field: Any

    @abc.abstractmethod
    def rescaled(self, scales: Sequence[float]) -> AbstractSampledObjective:
        """The same objective with other factors of the terms; nothing is gathered again."""

    @abc.abstractmethod
    def diagonals(self, theta: np.ndarray, equations: np.ndarray | None = None) -> np.ndarray:
        """Diagonal of each term's unscaled curvature, `(terms, N)`: what the terms weigh on each parameter.

        Of the terms marked in `equations` `(terms,)` only the entries that another term touches need to be right:
        beside a condition on the boundary these are few.
        """


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


ROW_WORK = 30.0
"""Cost of one entry of an element matrix in units of one multiplication of a banded factorisation, measured."""


STENCIL_WORK = 5.0e3
"""Cost of a multigrid solve for one coupling of a stencil, in the same units, measured."""


class LocalObjective(AbstractSampledObjective, AbstractSeparable):
    """For fields with cells that do not depend on their parameters: band or stencil storage, cost linear in the points.

    Parameters
    ----------
    field:
        A field for which `has_fixed_cells` holds.
    samples:
        One entry a term.
    periodic:
        Which coordinates wrap around.
    quadratics:
        Quadratic penalties, see `SparseGram.penalty`; further terms after the sampled ones.
    mesh:
        Present if the curvature is stored as a stencil on this mesh and not as a band; not with penalties.
    quadratic:
        Whether all residuals are affine in the parameters and there is no energy of higher order.
    """

    def __init__(
        self,
        field: Any,
        samples: Sequence[Samples],
        periodic: Sequence[bool],
        quadratics: Sequence[SparseGram] = (),
        mesh: Mesh | None = None,
        quadratic: bool = False,
    ) -> None:
        self.field = field
        self.samples = tuple(samples)
        self.periodic = tuple(periodic)
        self.quadratics = tuple(quadratics)
        self.quadratic_scales = np.ones(len(self.quadratics))
        self.mesh = mesh
        self.quadratic = quadratic
        self.terms = [_local_term(field, s) for s in self.samples]

    @property
    def size(self) -> int:
        return len(flat_parameters(self.field)[0])

    @cached_property
    def ordering(self) -> Ordering:
        """Order of the parameters in the band."""
        where = positions(self.field, len(self.periodic))
        met = [t.indices() for t in self.terms]
        if self.quadratics:
            pattern = sp.triu(sum(abs(q.matrix) for q in self.quadratics), k=1, format="coo")
            met.append(np.stack(pattern.coords, axis=1))
        return narrow_order(where, met, self.periodic)

    @property
    def scales(self) -> np.ndarray:
        return np.r_[super().scales, self.quadratic_scales]

    def rescaled(self, scales: Sequence[float]) -> LocalObjective:
        if self.mesh is None:
            _ = self.ordering  # found once, and kept by the copy
        samples = [s.scaled(c) for s, c in zip(self.samples, scales[: len(self.samples)], strict=True)]
        other = copy.copy(self)
        other.samples, other.quadratic_scales = tuple(samples), np.asarray(scales[len(samples) :], dtype=float)
        other.terms = [LocalTerm(s, t.elements, t.layout) for s, t in zip(samples, self.terms, strict=True)]
        return other

    def values(self, theta: np.ndarray) -> np.ndarray:
        return np.array([t.value(theta) for t in self.terms] + [q.penalty(theta)[0] for q in self.quadratics])

    def value_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        gradient = np.zeros(len(theta))
        value = sum(t.samples.scale * t.accumulate(theta, gradient, None) for t in self.terms)
        for scale, quadratic in zip(self.quadratic_scales, self.quadratics, strict=True):
            own, slope = quadratic.penalty(theta)
            value, gradient = value + scale * own, gradient + scale * slope
        return float(value), gradient

    def linearise(self, theta: np.ndarray) -> Linearisation:
        gradient, gram = np.zeros(len(theta)), self._sum()
        value = sum(t.samples.scale * t.accumulate(theta, gradient, gram) for t in self.terms)
        curvature = gram.result()
        for scale, quadratic in zip(self.quadratic_scales, self.quadratics, strict=True):
            own, slope = quadratic.penalty(theta)
            value, gradient = value + scale * own, gradient + scale * slope
            quadratic.add_to(curvature, scale)  # pyright: ignore
        return Linearisation(float(value), gradient, curvature)

    def _sum(self) -> AbstractGramSum:
        return BandSum(self.ordering) if self.mesh is None else StencilSum(self.mesh)

    def linearise_each(self, theta: np.ndarray) -> list[Linearisation]:
        out = []
        for term in self.terms:
            gradient, gram = np.zeros(len(theta)), BandSum(self.ordering)
            value = LocalTerm(term.samples.scaled(1.0), term.elements, term.layout).accumulate(theta, gradient, gram)
            out.append(Linearisation(value, gradient, gram.result()))
        for quadratic in self.quadratics:
            out.append(Linearisation(*quadratic.penalty(theta), quadratic))
        return out

    def diagonals(self, theta: np.ndarray, equations: np.ndarray | None = None) -> np.ndarray:
        out = np.zeros((len(self.terms), len(theta)))
        inside = np.zeros(len(self.terms), dtype=bool) if equations is None else equations
        for term in np.flatnonzero(~inside):
            self.terms[term].add_diagonal(theta, out[term])
        touched = np.any(out != 0.0, axis=0)
        for term in np.flatnonzero(inside):
            self.terms[term].meeting(touched).add_diagonal(theta, out[term])
        return out

    def residuals(self, theta: np.ndarray) -> list[np.ndarray]:
        field = flat_parameters(self.field)[1](theta)
        return [local_residuals(field, s) for s in self.samples]

    @property
    def work(self) -> float:
        rows = sum(s.count * t.coefficients**2 for s, t in zip(self.samples, self.terms, strict=True))
        solving = STENCIL_WORK * self.mesh.couplings if self.mesh else self.ordering.size * self.ordering.band**2
        return ROW_WORK * rows + solving


def _local_term(field: Any, samples: Samples) -> LocalTerm:
    order, padded = group(field.cell_keys(samples.points))
    layout, _ = layout_of(field.gather(samples.points[:1])[1])
    # gathering is NumPy's work: with its arrays nothing is converted again for every block
    host = jax.tree.map(lambda a: np.asarray(a) if isinstance(a, jax.Array) else a, field)
    return LocalTerm(samples, Elements(order, padded, host), layout)
