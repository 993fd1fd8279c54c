"""Low-rank tensors of splines: sums of products of one spline a coordinate, for many coordinates."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.fields.axis import Clamped, Periodic, SplineAxis, collocation
from hierax.fields.base import AbstractField
from hierax.fields.initial import Key, generator_of

Ends = tuple[bool, bool]
"""Whether values are zero at the lower and at the upper end of an axis."""

SHAPED, ROUGH = 0.3, 0.03
"""Sizes of the smooth and of the rough part of random factors beside their constant part."""
WAVES = 6
"""Half waves of a random smooth factor."""
ROUNDING = 1e-14
"""Values of basis functions below this are zero."""


class LowRank(AbstractField):
    r"""A canonical tensor of splines, :math:`u_c(x) = \sum_r o_{cr} \prod_a \sum_j w^a_{jr} b^a_j(x_a)`.

    Parameters and work grow linearly with the number of coordinates, for derivatives of any order as well. It is
    linear in each factor and not in all of them together. Where values are zero at an end of an axis, the one basis
    function that is not zero there is left out.

    Parameters
    ----------
    axes : sequence of SplineAxis
        One for each coordinate; clamped where values are zero at an end.
    factors : sequence of arrays of shape ``(free, rank)``
        For each axis its coefficients, without those that are zero.
    outputs : array of shape ``(out, rank)``, optional
        Factor of the outputs; without it values have shape ``()``.
    zero : sequence of pairs of bool, optional
        For each axis whether values are zero at its lower and at its upper end.

    Raises
    ------
    ValueError
        If the shapes do not fit, or an axis with zero values at an end is not clamped.

    References
    ----------
    Hackbusch, Tensor Spaces and Numerical Tensor Calculus, Springer 2012, chapter 7 (the canonical format);
    Beylkin, Mohlenkamp, SIAM J. Sci. Comput. 26 (2005).
    """

    axes: tuple[SplineAxis, ...]
    factors: tuple[Float[Array, "free rank"], ...]
    outputs: Float[Array, "out rank"] | None
    zero: tuple[Ends, ...] = eqx.field(static=True)

    def __init__(self, axes, factors, outputs=None, zero=None):
        self.axes = tuple(axes)
        self.factors = tuple(jnp.asarray(factor, dtype=float) for factor in factors)
        self.outputs = None if outputs is None else jnp.asarray(outputs, dtype=float)
        self.zero = tuple((bool(a), bool(b)) for a, b in zero or [(False, False)] * len(self.axes))
        shapes = [factor.shape for factor in self.factors]
        expected = [(axis.size - sum(ends), self.rank) for axis, ends in zip(self.axes, self.zero, strict=True)]
        if shapes != expected or (self.outputs is not None and self.outputs.shape[1] != self.rank):
            raise ValueError(f"LowRank: factors of shapes {shapes} do not fit the axes, which ask for {expected}")
        for axis, ends in zip(self.axes, self.zero, strict=True):
            if any(ends) and not isinstance(axis.ends, Clamped):
                raise ValueError(f"LowRank: values can be zero at the ends of clamped axes, not of {axis.ends}")

    @classmethod
    def uniform(
        cls, lower, upper, intervals, degree, rank: int, *, key: Key, out: int | None = None, periodic=None, zero=None
    ) -> "LowRank":
        """Equidistant knots, clamped where an axis is not periodic, and factors near one.

        Parameters
        ----------
        lower, upper : sequence of float
            Corners of the box.
        intervals, degree : int or sequence of int
            For each axis; one integer serves all.
        rank : int
            Number of products.
        key : key or int
            For the random part of the factors.
        out : int, optional
            Number of outputs; none for values of shape ``()``.
        periodic : sequence of bool, optional
            For each axis; none is periodic by default.
        zero : sequence of pairs of bool, optional
            As for the class.

        Examples
        --------
        >>> LowRank.uniform([0.0] * 6, [1.0] * 6, 4, 3, 2, key=0).factors[0].shape
        (7, 2)
        """
        lower, upper = np.atleast_1d(np.asarray(lower, float)), np.atleast_1d(np.asarray(upper, float))
        intervals, degree = np.broadcast_to(intervals, lower.shape), np.broadcast_to(degree, lower.shape)
        periodic = np.broadcast_to(False if periodic is None else periodic, lower.shape)
        axes = tuple(
            SplineAxis(np.linspace(a, b, int(n) + 1), int(p), Periodic() if wraps else Clamped())
            for a, b, n, p, wraps in zip(lower, upper, intervals, degree, periodic, strict=True)
        )
        zero = tuple(zero or [(False, False)] * len(axes))
        factors = drawn([a.size - sum(ends) for a, ends in zip(axes, zero, strict=True)], rank, key)
        outputs = None if out is None else generator_of(key).normal(size=(out, rank))
        return cls(axes, factors, outputs, zero)

    @property
    def rank(self) -> int:
        """Number of products."""
        return self.factors[0].shape[1]

    @property
    def linear_in_parameters(self) -> bool:
        return len(self.axes) == 1 and self.outputs is None

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        product = jnp.ones(self.rank)
        for axis, factor, ends, coordinate in zip(self.axes, self.factors, self.zero, x, strict=True):
            interval = axis.locate(coordinate)
            whole = jnp.pad(factor, [(int(ends[0]), int(ends[1])), (0, 0)])
            product = product * (axis.piece(interval)(coordinate) @ whole[axis.alive(interval)])
        return product.sum() if self.outputs is None else self.outputs @ product

    def basis(self, number: int, x: Float[np.ndarray, " n"], order: int = 0) -> Float[np.ndarray, "n free"]:
        """Derivatives of an order of the basis functions of an axis that are not left out (NumPy)."""
        rows = free(collocation(self.axes[number], x, order), self.zero[number])
        # at an end where values are zero all that is left of them is rounding, which would count as a condition
        return rows if order else np.where(np.abs(rows) > ROUNDING, rows, 0.0)

    def grams(self) -> list[Float[np.ndarray, "rank rank"]]:
        """For each axis the mean products of its factors over the axis, by Gauss points (NumPy)."""
        out = []
        for number, factor in enumerate(self.factors):
            x, weights = gauss(self.axes[number])
            values = self.basis(number, x) @ np.asarray(factor)
            out.append(values.T @ (values * (weights / weights.sum())[:, None]))
        return out


def gauss(axis: SplineAxis, more: int = 2) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Points and weights of Gauss-Legendre rules in the intervals of an axis: the degree and `more` points in each."""
    nodes, weights = np.polynomial.legendre.leggauss(axis.degree + more)
    breaks = axis.breakpoints()
    half = 0.5 * np.diff(breaks)[:, None]
    return (breaks[:-1, None] + half * (nodes + 1.0)).ravel(), (half * weights).ravel()


def free(rows: Float[np.ndarray, "n size"], ends: Ends) -> Float[np.ndarray, "n free"]:
    """The columns of those coefficients that are not zero by the ends of the axis."""
    return rows[:, int(ends[0]) : rows.shape[1] - int(ends[1])]


def drawn(sizes: Sequence[int], rank: int, key: Key) -> list[Float[np.ndarray, "free rank"]]:
    """Random factors near one: their products overlap with whatever is of one sign, and differ smoothly."""
    generator, out = generator_of(key), []
    for size in sizes:
        z = np.linspace(-1.0, 1.0, size)[:, None]
        first, second = generator.normal(size=(2, 1, rank))
        noise = generator.normal(size=(size, rank))
        out.append(1.0 + SHAPED * (first * z + second * (z * z - 0.5)) + ROUGH * noise)
    return out


def waves(sizes: Sequence[int], rank: int, key: Key) -> list[Float[np.ndarray, "free rank"]]:
    """Random smooth factors of either sign: their products overlap with whatever others have left."""
    generator, numbers = generator_of(key), np.arange(WAVES)
    return [
        np.cos(np.pi * np.linspace(0.0, 1.0, size)[:, None] * numbers)
        @ (generator.normal(size=(WAVES, rank)) / (1.0 + numbers)[:, None])
        for size in sizes
    ]


def with_factors(field: LowRank, factors, outputs=None) -> LowRank:
    """The same axes with other factors, maybe of another rank."""
    return LowRank(field.axes, factors, outputs, field.zero)


def balanced(field: LowRank) -> LowRank:
    """The same function with factors of one size: what one axis has too much in a product, the others get."""
    factors = [np.asarray(factor) for factor in field.factors]
    sizes = np.array([np.sqrt(np.mean(factor**2, axis=0)) for factor in factors])
    safe = np.where(np.all(sizes > 0, axis=0), sizes, 1.0)
    mean = np.exp(np.mean(np.log(safe), axis=0))
    outputs = field.outputs
    return with_factors(field, [f * mean / s for f, s in zip(factors, safe, strict=True)], outputs)
