"""Value, gradient and curvature of a sum of terms, element by element: the Jacobian is never stored.

The pointwise kernel (a user's residual with its derivatives, pulled back to the local coefficients) is compiled once
for each term and family of local fields, for chunks of fixed shape, and used by all levels. Sums over elements, scatter
and factorisation are NumPy and LAPACK on the host.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.fields.base import has_fixed_cells, partition
from hierax.objective.compiled import compiled_for_each
from hierax.objective.curvature import AbstractCurvature
from hierax.objective.pointwise import PER_SAMPLE, AbstractPointTerm, Place, PointExpansion
from hierax.objective.reduction import CHUNK, concatenated, evaluated, fitting
from hierax.objective.samples import Elements, Samples


@dataclass(frozen=True)
class Layout:
    """How flat local coefficients are laid out in a local field; hashable, shared by all levels of a family."""

    structure: Any
    shapes: tuple[tuple[int, ...], ...]

    @property
    def coefficients(self) -> int:
        """Number of local coefficients."""
        return sum(int(np.prod(shape, dtype=int)) for shape in self.shapes)

    def build(self, c: Float[Array, " k"], rest: Any) -> Any:
        """The local field with coefficients `c`."""
        sizes = [int(np.prod(shape, dtype=int)) for shape in self.shapes]
        # a derivative of slices is a sum of padded pieces, which may take ten times as long as a network's own work
        parts = jax.lax.split(jnp.asarray(c), sizes) if sizes else []
        leaves = [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]
        return eqx.combine(jax.tree.unflatten(self.structure, leaves), rest)


def layout_of(stacked: Any) -> tuple[Layout, list[Any], Any]:
    """Layout, trained arrays and untrained part of local fields stacked along a leading axis."""
    params, rest = partition(stacked)
    leaves, structure = jax.tree.flatten(params)
    return Layout(structure, tuple(leaf.shape[1:] for leaf in leaves)), leaves, rest


def on_host(field: Any) -> Any:
    """The field with NumPy's arrays: gathering is NumPy's work, and nothing is converted again for every block."""
    return jax.tree.map(lambda a: np.asarray(a) if isinstance(a, jax.Array) else a, field)


@compiled_for_each(2, samples=(0, 0, PER_SAMPLE))
def expansions(
    term: AbstractPointTerm, layout: Layout, c: Float[Array, "n k"], rest: Any, places: Place
) -> PointExpansion:
    """Expansions at points that each have a local field of their own, with respect to its coefficients.

    The program of a term for fields with local pieces: rows and sums over elements are made of it.
    """

    def point(c: Array, rest: Any, place: Place) -> PointExpansion:
        return term.expand(lambda z: layout.build(z, rest), c, place)

    return jax.vmap(point, in_axes=(0, 0, PER_SAMPLE))(c, rest, places)


@compiled_for_each(2, samples=(0, 0, PER_SAMPLE))
def residuals(
    term: AbstractPointTerm, layout: Layout, c: Float[Array, "n k"], rest: Any, places: Place
) -> Float[Array, "n r"]:
    """Residuals alone: where there are many coefficients their rows take twenty times as long."""
    point = lambda c, rest, place: term.residual(layout.build(c, rest), place)  # noqa: E731
    return jax.vmap(point, in_axes=(0, 0, PER_SAMPLE))(c, rest, places)


FEW, LINE = 1024, 512
"""Most points in one call for fields whose cells move, and points in one along a line, where there are few in all."""
ENTRIES = 2**18
"""Most local coefficients of the points in one call: more rows leave the cache, and small levels would be padding."""
LARGE, ALONE = 32, 100
"""Local coefficients from which on matrices are added one by one, their entries being enough for a call each, and from
which on another program for residuals alone takes less time to compile than rows that nobody needs."""


def chunk(samples: Samples, coefficients: int) -> int:
    """Points in one call of the program of a term with so many local coefficients, the same for all levels."""
    most = CHUNK if samples.points.shape[1] > 1 else LINE
    return max(LINE, min(most, 1 << (ENTRIES // max(coefficients, 1)).bit_length() - 1))


def local_expansions(
    field: Any,
    samples: Samples,
    part: Callable[[np.ndarray, PointExpansion, np.ndarray], Any],
    shared: bool = False,
) -> Iterator[Any]:
    """Expansions of a term for a field with local pieces, at any points, block by block.

    `part` makes of the numbers of the points, their expansions and the numbers `(n, k)` of their coefficients what is
    kept, arrays with the points along the leading axis. For `shared` see `evaluated`.
    """
    own = lambda pick, index, *given: part(pick, expansions(samples.term, *given), index)  # noqa: E731
    return _gathered(field, samples, own, shared)


def _gathered(field: Any, samples: Samples, part: Callable[..., Any], shared: bool = False) -> Iterator[Any]:
    """What `part` makes of the numbers of some points, those of their coefficients, and what programs are given."""
    fixed, seen = has_fixed_cells(field), samples.term.with_sides(field)
    # where cells stay, all levels and whatever else is asked of the term share one program; others are small
    if fixed:
        seen = on_host(seen)
        size = chunk(samples, seen.gather(samples.points[:1])[0].shape[1])
    else:
        size = fitting(samples.count, FEW)

    def kernel(pick: np.ndarray) -> Any:
        index, stacked = seen.gather(samples.points[pick])
        layout, leaves, rest = layout_of(stacked)
        c = np.concatenate([np.asarray(leaf).reshape(len(pick), -1) for leaf in leaves], axis=1)
        return part(pick, index, layout, c, rest, samples.places(pick))

    return evaluated(kernel, samples.count, size, shared)


def local_residuals(field: Any, samples: Samples) -> np.ndarray:
    """Residuals `(n, r)` of a term for a field with local pieces, at any points."""

    def part(_: np.ndarray, index: np.ndarray, *given: Any) -> Any:
        alone = index.shape[1] >= ALONE
        return residuals(samples.term, *given) if alone else expansions(samples.term, *given).residual

    return np.concatenate(list(_gathered(field, samples, part)))


class AbstractSums(Protocol):
    """Weighted sums over the points of each element, of which the matrices are formed where they are asked for."""

    @property
    def value(self) -> np.ndarray:
        """Values `(elements,)`."""
        ...

    @property
    def gradient(self) -> np.ndarray:
        """Gradients `(elements, k)`."""
        ...

    @property
    def gram(self) -> np.ndarray:
        """Gram matrices `(elements, k, k)`."""
        ...

    @property
    def diagonal(self) -> np.ndarray:
        """Their diagonals `(elements, k)`."""
        ...


class ElementSums(NamedTuple):
    """Sums by rows, see `AbstractSums`: `tall` `(elements, rows, k)` are those of all points of an element."""

    value: np.ndarray
    gradient: np.ndarray
    tall: np.ndarray

    @classmethod
    def of(cls, points: PointExpansion, weights: np.ndarray) -> ElementSums:
        """Of expansions at the points of elements `(elements, width)`, one after the other; what follows is no part."""
        value, gradient, rows = (np.asarray(a)[: weights.size] for a in (points.value, points.gradient, points.rows))
        tall = rows * np.sqrt(weights).reshape(-1, 1, 1)
        tall = tall.reshape(len(weights), -1, rows.shape[2])
        gradient = gradient.reshape(*weights.shape, -1)
        return cls(
            np.einsum("ew,ew->e", weights, value.reshape(weights.shape)),
            np.matmul(weights[:, None], gradient)[:, 0],
            tall,
        )

    @property
    def gram(self) -> np.ndarray:
        return np.matmul(self.tall.swapaxes(1, 2), self.tall)

    @property
    def diagonal(self) -> np.ndarray:
        return np.einsum("erk,erk->ek", self.tall, self.tall)


@dataclass(frozen=True, eq=False)
class LocalTerm:
    """A term's samples as elements of a spline field.

    Of several processes each sums over its own share of the elements: what comes out is to be `added`.
    """

    samples: Samples
    elements: Elements
    layout: Layout
    together: int
    """Points in one call."""

    def gathered(self, pick: np.ndarray) -> tuple[np.ndarray, Any]:
        """Numbers `(n, k)` of the local coefficients, and the untrained part of the local fields, of some elements."""
        e = self.elements
        indices, stacked = e.field.gather(self.samples.points[e.order[pick, 0]])
        return indices, jax.tree.map(np.asarray, partition(stacked)[1])

    def indices(self) -> np.ndarray:
        """Numbers `(elements, k)` of the local coefficients of all elements."""
        count = len(self.elements.order)
        every = lambda: concatenated(lambda pick: self.gathered(pick)[0], count, min(count, CHUNK))  # noqa: E731
        return self.elements.remembered("indices", every)

    @property
    def coefficients(self) -> int:
        """Number of local coefficients."""
        return self.layout.coefficients

    def keeping(self) -> LocalTerm:
        """The same, which keeps what it gathers: for many members a program of its own size is worth compiling."""
        size = max(fitting(self.elements.order.size, self.together), self.elements.order.shape[1])
        return replace(self, elements=replace(self.elements, memory={}), together=size)

    def value(self, theta: np.ndarray) -> float:
        """Own share of the weighted sum of the density, without the term's scale."""
        # by the kernel that also gives gradient and curvature: a kernel of its own would cost more to compile
        return sum(float(np.sum(sums.value)) for _, sums in self.sums(theta))

    def sums(self, theta: np.ndarray) -> Iterator[tuple[np.ndarray, AbstractSums]]:
        """Numbers of the local coefficients and weighted sums of the elements of the own share, block by block.

        Arrays are NumPy's; the term's scale is not in them.
        """
        e, s = self.elements, self.samples

        def kernel(pick: np.ndarray) -> tuple[np.ndarray, AbstractSums]:
            indices, rest, places, weights = e.remembered((int(pick[0]), len(pick)), lambda: self._block(pick))
            places = places._replace(inputs=() if s.inputs is None else s.inputs)
            return indices, self._summed(theta[indices], rest, places, weights)

        return evaluated(kernel, len(e.order), self.together // e.order.shape[1], shared=True)

    def _summed(self, c: np.ndarray, rest: Any, places: Place, weights: np.ndarray) -> AbstractSums:
        """Sums over elements with local coefficients `c` `(elements, k)`, see `_block`."""
        own = np.minimum(np.arange(self.together) // weights.shape[1], len(c) - 1)
        c, rest = c[own], jax.tree.map(lambda a: a[own], rest)
        return ElementSums.of(expansions(self.samples.term, self.layout, c, rest, places), weights)

    def _block(self, pick: np.ndarray) -> tuple[np.ndarray, Any, Place, np.ndarray]:
        """Of some elements: numbers of the coefficients, the untrained part, places, and weights.

        No member's; points are those of the elements one after the other, filled up.
        """
        order, (indices, rest) = self.elements.order[pick], self.gathered(pick)
        weights = np.where(self.elements.padded[pick], 0.0, self.samples.weights[order])
        points = order.ravel()[np.minimum(np.arange(self.together), order.size - 1)]
        return indices, rest, self.samples.places(points), weights

    def meeting(self, parameters: np.ndarray) -> LocalTerm:
        """The part of the term on the elements with any of the parameters marked in the mask `(N,)`."""
        keep = np.flatnonzero(np.any(parameters[self.indices()], axis=1))
        return replace(self, elements=self.elements.take(keep))

    def add_diagonal(self, theta: np.ndarray, diagonal: np.ndarray) -> None:
        """Add the own share of the diagonal of the unscaled curvature."""
        for indices, sums in self.sums(theta):
            np.add.at(diagonal, indices, sums.diagonal)

    def accumulate(self, theta: np.ndarray, gradient: np.ndarray, gram: AbstractGramSum | None) -> float:
        """Add the own share of the term, times its scale, to `gradient` and `gram`; return its unscaled value."""
        total, scale = 0.0, self.samples.scale
        for indices, sums in self.sums(theta):
            total += float(np.sum(sums.value))
            np.add.at(gradient, indices, scale * sums.gradient)
            if gram is not None:
                gram.add(indices, sums.gram, scale)
        return total


class AbstractGramSum(abc.ABC):
    """Accumulates the matrices of elements."""

    @abc.abstractmethod
    def add(self, indices: np.ndarray, matrices: np.ndarray, scale: float = 1.0) -> None:
        """Add `scale` times symmetric matrices `(elements, k, k)` of elements with parameters `indices`
        `(elements, k)`."""

    @abc.abstractmethod
    def result(self) -> AbstractCurvature:
        """The operator, of the shares of all processes."""


FLUSH = 300_000
"""Entries that wait to be added together."""


class Scattered:
    """Adds numbers to places of a vector, many at once: `bincount` is several times faster than `np.add.at`."""

    def __init__(self, total: np.ndarray) -> None:
        self.total = total
        self._flat: list[np.ndarray] = []
        self._values: list[np.ndarray] = []
        self._waiting = 0

    def add(self, flat: np.ndarray, values: np.ndarray) -> None:
        """Add `values` at the places `flat`, now or later."""
        self._flat.append(flat.ravel())
        self._values.append(values.ravel())
        self._waiting += values.size
        if self._waiting > FLUSH:
            self.flush()

    def flush(self) -> None:
        """Add what waits."""
        if not self._waiting:
            return
        flat, values = np.concatenate(self._flat), np.concatenate(self._values)
        first = int(flat.min())
        sums = np.bincount(flat - first, weights=values)
        self.total[first : first + len(sums)] += sums
        self._flat, self._values, self._waiting = [], [], 0

    def add_each(self, starts: np.ndarray, to: np.ndarray, rows: Iterable[np.ndarray], pick: np.ndarray) -> None:
        """Add the entries `pick` of each row at the places `start + to`, none of which is there twice."""
        for start, row in zip(starts.tolist(), rows, strict=True):
            self.total[start:][to] += row[pick]


def by_pattern(place: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Elements whose parameters lie alike, together.

    Parameters
    ----------
    place:
        Position `(elements, k)` of every parameter of some elements.

    Yields
    ------
    Positions `(k,)` after the first of them, the numbers of the elements that have these, and where each begins. On a
    tensor grid most elements are alike.
    """
    first = place.min(axis=1)
    kinds, which = np.unique(place - first[:, None], axis=0, return_inverse=True)
    for number, kind in enumerate(kinds):
        alike = np.flatnonzero(which.ravel() == number)
        yield kind, alike, first[alike]
