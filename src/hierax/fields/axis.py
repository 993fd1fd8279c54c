"""One axis of a spline space: knots, degree, and the rule for the knots beyond both ends."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.sparse import csr_array

from hierax.fields.base import AbstractFixed
from hierax.fields.bspline import (
    breakpoints_of,
    clamped_knots,
    extended_knots,
    find_interval,
    greville,
    insertion_matrix,
    periodic_knots,
)
from hierax.fields.pieces import Pieces, polynomial_pieces


class AbstractEnds(eqx.Module):
    """How a spline space continues beyond its domain, kept by refinement."""

    @abc.abstractmethod
    def knots(self, breakpoints: np.ndarray, degree: int) -> np.ndarray:
        """Full knot vector ``(n + 2 p + 1,)`` from ``n + 1`` breakpoints."""

    @abc.abstractmethod
    def coefficients(self, intervals: int, degree: int) -> int:
        """Number of coefficients of the axis."""


class Extended(AbstractEnds):
    """Knots continue with the length of the end interval: ``n + p`` coefficients."""

    def knots(self, breakpoints: np.ndarray, degree: int) -> np.ndarray:
        return extended_knots(breakpoints, degree)

    def coefficients(self, intervals: int, degree: int) -> int:
        return intervals + degree


class Clamped(AbstractEnds):
    """End knots are repeated: ``n + p`` coefficients, the first and the last are the end values."""

    def knots(self, breakpoints: np.ndarray, degree: int) -> np.ndarray:
        return clamped_knots(breakpoints, degree)

    def coefficients(self, intervals: int, degree: int) -> int:
        return intervals + degree


class Periodic(AbstractEnds):
    """Knots repeat periodically and coefficient ``j + n`` is coefficient ``j``: ``n`` coefficients."""

    def knots(self, breakpoints: np.ndarray, degree: int) -> np.ndarray:
        return periodic_knots(breakpoints, degree)

    def coefficients(self, intervals: int, degree: int) -> int:
        return intervals


class Flat(AbstractEnds):
    """One coefficient for all intervals, of degree 0: what does not depend on a coordinate has the mesh of the rest."""

    def knots(self, breakpoints: np.ndarray, degree: int) -> np.ndarray:
        return clamped_knots(breakpoints, degree)

    def coefficients(self, intervals: int, degree: int) -> int:
        return 1


class SplineAxis(AbstractFixed):
    """Knots of one axis; never trained.

    Parameters
    ----------
    breakpoints : array-like of shape ``(n + 1,)``
        Increasing positions; a repeated one lowers the smoothness there.
    degree : int
        Degree ``p``.
    ends : AbstractEnds
        `Extended`, `Clamped`, `Periodic` or `Flat`.

    Examples
    --------
    >>> axis = SplineAxis([0.0, 0.5, 1.0], 3, Periodic())
    >>> axis.intervals, axis.size
    (2, 2)
    """

    knots: Float[Array, " knots"]
    pieces: Pieces
    degree: int = eqx.field(static=True)
    equidistant: bool = eqx.field(static=True)
    ends: AbstractEnds

    def __init__(self, breakpoints, degree: int, ends: AbstractEnds):
        knots = ends.knots(np.asarray(breakpoints, dtype=float), degree)
        # with a type given the array is only moved; without, JAX compiles a program for every length
        self.knots = jnp.asarray(knots, dtype=float)
        self.pieces = polynomial_pieces(knots, degree)
        self.degree = degree
        # all pieces then are shifts of one: no search and no look-up, several times faster in small networks
        self.equidistant = bool(np.ptp(np.diff(knots)) <= 1e-12 * np.ptp(knots))
        self.ends = ends

    @property
    def intervals(self) -> int:
        return self.knots.shape[-1] - 2 * self.degree - 1

    @property
    def size(self) -> int:
        """Number of coefficients along the axis."""
        return self.ends.coefficients(self.intervals, self.degree)

    def breakpoints(self) -> np.ndarray:
        """The ``n + 1`` breakpoints (NumPy)."""
        return breakpoints_of(self.knots, self.degree)

    def positions(self) -> np.ndarray:
        """One position for each coefficient: its Greville abscissa (NumPy)."""
        return greville(self.knots, self.degree)[: self.size]

    def locate(self, x: Float[Array, "..."]) -> Int[Array, "..."]:
        """Interval of ``x``, clipped to ``0 .. n-1``."""
        if not self.equidistant:
            return find_interval(self.knots, self.degree, x)
        lower, spacing = self._grid()
        steps = jnp.floor((jax.lax.stop_gradient(x) - lower) / spacing)
        return jnp.clip(steps, 0, self.intervals - 1).astype(jnp.int32)

    def alive(self, interval: Int[Array, "..."]) -> Int[Array, "... alive"]:
        """Indices of the ``p + 1`` coefficients that act on an interval; on short periodic axes some repeat."""
        return (interval[..., None] + jnp.arange(self.degree + 1, dtype=interval.dtype)) % self.size

    def piece(self, interval: Int[Array, "..."]) -> Pieces:
        """The polynomials that are alive on an interval, or on each of several."""
        if not self.equidistant:
            return self.pieces.take(interval)
        lower, spacing = self._grid()
        table = self.pieces.coefficients[0]
        shared = jnp.broadcast_to(table, (*jnp.shape(interval), *table.shape))
        return Pieces(lower + (interval + 0.5) * spacing, jnp.full(jnp.shape(interval), 1.0 / spacing), shared)

    def with_breakpoints(self, breakpoints) -> "SplineAxis":
        """The axis of the same degree and ends on other breakpoints."""
        return SplineAxis(breakpoints, self.degree, self.ends)

    def _grid(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        lower = self.knots[self.degree]
        return lower, (self.knots[self.degree + self.intervals] - lower) / self.intervals


def unfolded_insertion(coarse: SplineAxis, fine: SplineAxis) -> csr_array:
    """Matrix between all basis functions, periodic copies not yet identified."""
    return insertion_matrix(coarse.knots, fine.knots, coarse.degree)


def insertion(coarse: SplineAxis, fine: SplineAxis) -> csr_array:
    """Matrix ``(fine.size, coarse.size)`` that carries the coefficients of a spline to a finer axis, exactly.

    Raises
    ------
    NotNested
        If a coarse breakpoint is missing in the fine axis.
    """
    full = csr_array(unfolded_insertion(coarse, fine)[: fine.size])
    # columns j and j + n of a periodic axis are one coefficient; without periodicity nothing is folded
    folded = csr_array((full.data, full.indices % coarse.size, full.indptr), shape=(fine.size, coarse.size))
    folded.sum_duplicates()
    return folded


def collocation(axis: SplineAxis, x: Float[np.ndarray, " n"], order: int = 0) -> Float[np.ndarray, "n size"]:
    """Derivatives of an order of the basis functions of an axis at points of its interval (NumPy)."""
    degree, n = axis.degree, axis.intervals
    inner = np.asarray(axis.knots)[degree + 1 : degree + n]
    interval = np.searchsorted(inner, x, side="right")
    inverse = np.asarray(axis.pieces.inverse_length)[interval]
    s = (x - np.asarray(axis.pieces.middle)[interval]) * inverse
    table = np.asarray(axis.pieces.coefficients)[interval]
    for _ in range(order):
        table = table[:, 1:] * (np.arange(1, table.shape[1])[:, None] * inverse[:, None, None])
    values = np.zeros((len(x), degree + 1))
    for power in range(table.shape[1] - 1, -1, -1):
        values = values * s[:, None] + table[:, power]
    out = np.zeros((len(x), axis.size))
    columns = (interval[:, None] + np.arange(degree + 1)) % axis.size
    np.add.at(out, (np.arange(len(x))[:, None], columns), values)
    return out
