"""Spline grids in stretched coordinates: knots crowd where layers are, and transfers stay exact."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hierax.fields.base import AbstractField, AbstractFixed, AbstractLocalField
from hierax.fields.spline_grid import LocalSplineGrid, SplineGrid

HALVINGS = 200
"""Most halvings of the inverse map: far more than the digits of a number of 64 bits need."""


class Stretch(AbstractFixed):
    r"""A smooth monotone map of an interval onto itself that widens the surroundings of given places.

    .. math:: s(x) = a + (b - a) \frac{\sigma(x) - \sigma(a)}{\sigma(b) - \sigma(a)}, \qquad
              \sigma(x) = \frac{x}{b - a} + \sum_k \operatorname{asinh} \frac{x - x_k}{w_k} .

    Equal steps in :math:`s` are steps in :math:`x` in proportion to :math:`\sqrt{w_k^2 + (x - x_k)^2}` near
    :math:`x_k`: a layer of width :math:`w_k` there gets as many knots as each decade around it. A place at one end is
    the one-sided map, places at both ends are the two-sided one, a place inside is for inner layers. The map is
    analytic on the whole line, so derivatives are as accurate as those of the splines, also just outside of the domain.

    Parameters
    ----------
    lower, upper : float
        The interval :math:`[a, b]`.
    places : sequence of float
        :math:`x_k`, in the interval.
    widths : float or sequence of float
        :math:`w_k > 0`; one for all or one for each place.

    Raises
    ------
    ValueError
        For an empty interval, no places, places outside of it, or widths that are not positive.

    References
    ----------
    Vinokur, J. Comput. Phys. 50 (1983) 215-234, for one- and two-sided maps of this kind.

    Examples
    --------
    >>> stretch = Stretch(0.0, 1.0, [0.0], 0.01)
    >>> float(stretch(jnp.array(1.0))), bool(stretch(jnp.array(0.01)) > 0.1)
    (1.0, True)
    """

    lower: float = eqx.field(static=True)
    upper: float = eqx.field(static=True)
    places: tuple[float, ...] = eqx.field(static=True)
    widths: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, lower, upper, places, widths):
        self.lower, self.upper = float(lower), float(upper)
        self.places = tuple(float(place) for place in np.atleast_1d(places))
        self.widths = tuple(float(width) for width in np.broadcast_to(widths, len(self.places)))
        inside = all(self.lower <= place <= self.upper for place in self.places)
        if not (self.lower < self.upper and self.places and inside and all(width > 0 for width in self.widths)):
            raise ValueError(
                f"Stretch: [{lower}, {upper}] with places {self.places} and widths {self.widths}; expected at least "
                f"one place inside of the interval, and positive widths"
            )

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Reference coordinates of points."""
        start, end = self._sigma(np.array(self.lower), np), self._sigma(np.array(self.upper), np)
        share = (self._sigma(x, jnp) - start) / (end - start)
        return self.lower + (self.upper - self.lower) * share

    def inverse(self, s: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Points with given reference coordinates inside the interval (NumPy), by bisection."""
        start, end = self._sigma(np.array(self.lower), np), self._sigma(np.array(self.upper), np)
        wanted = start + (end - start) * (np.asarray(s, dtype=float) - self.lower) / (self.upper - self.lower)
        low, high = np.full(wanted.shape, self.lower), np.full(wanted.shape, self.upper)
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            if np.all((middle == low) | (middle == high)):
                break
            below = self._sigma(middle, np) < wanted
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        nearer = np.abs(self._sigma(low, np) - wanted) <= np.abs(self._sigma(high, np) - wanted)
        return np.where(nearer, low, high)

    def _sigma(self, x, xp):
        parts = [xp.arcsinh((x - place) / width) for place, width in zip(self.places, self.widths, strict=True)]
        return sum(parts, x / (self.upper - self.lower))


Stretches = tuple[Stretch | None, ...]


def stretched(maps: Stretches, x: Float[Array, " dim"]) -> Float[Array, " dim"]:
    """Reference coordinates of one point."""
    return jnp.stack([c if part is None else part(c) for part, c in zip(maps, x, strict=True)])


class LocalStretchedGrid(AbstractField):
    """One cell of a `StretchedGrid`."""

    grid: LocalSplineGrid
    maps: Stretches

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        return self.grid(stretched(self.maps, x))

    @property
    def linear_in_parameters(self) -> bool:
        return True


class StretchedGrid(AbstractLocalField):
    r"""A spline grid of stretched coordinates, :math:`u(x) = v(s_1(x_1), \dots, s_d(x_d))`.

    Refinement acts on the reference coordinates: all levels of a hierarchy share the maps, so knot insertion keeps the
    function, and a few levels of equal intervals do what many graded ones would have to.

    Parameters
    ----------
    grid : SplineGrid
        In reference coordinates.
    maps : sequence of Stretch or None
        One for each axis; none for an axis that stays as it is, such as a periodic one.

    Raises
    ------
    ValueError
        If maps and axes do not fit, or a periodic axis is to be stretched.
    """

    grid: SplineGrid
    maps: Stretches

    def __init__(self, grid: SplineGrid, maps):
        self.grid, self.maps = grid, tuple(maps)
        if len(self.maps) != len(grid.axes):
            raise ValueError(f"StretchedGrid: {len(self.maps)} maps for {len(grid.axes)} axes")
        for number, (part, axis) in enumerate(zip(self.maps, grid.axes, strict=True)):
            ends = axis.breakpoints()[[0, -1]]
            if part is not None and not np.allclose(ends, (part.lower, part.upper), rtol=0, atol=1e-12 * np.ptp(ends)):
                raise ValueError(
                    f"StretchedGrid: axis {number} is [{ends[0]}, {ends[1]}], its map [{part.lower}, {part.upper}]"
                )
            if part is not None and axis.size < axis.intervals + axis.degree:
                raise ValueError(f"StretchedGrid: axis {number} is periodic and cannot be stretched")

    @classmethod
    def uniform(cls, lower, upper, intervals, degree, maps, **settings) -> "StretchedGrid":
        """Equidistant knots in reference coordinates; all but `maps` as for `SplineGrid.uniform`.

        Examples
        --------
        >>> field = StretchedGrid.uniform([0.0], [1.0], 4, 3, [Stretch(0.0, 1.0, [1.0], 0.05)])
        >>> [round(float(x), 2) for x in field.breakpoints()[0]]
        [0.0, 0.49, 0.81, 0.94, 1.0]
        """
        return cls(SplineGrid.uniform(lower, upper, intervals, degree, **settings), maps)

    @property
    def linear_in_parameters(self) -> bool:
        return True

    def breakpoints(self) -> tuple[np.ndarray, ...]:
        """Breakpoints of each axis in the coordinates of the domain (NumPy): the cells of the field."""
        pairs = zip(self.maps, self.grid.breakpoints(), strict=True)
        return tuple(points if part is None else part.inverse(points) for part, points in pairs)

    def mesh(self) -> tuple[np.ndarray, ...]:
        return tuple(np.unique(points) for points in self.breakpoints())

    def positions(self, dim: int | None = None) -> np.ndarray:
        """Position ``(parameters, dim)`` of every parameter in the coordinates of the domain."""
        del dim
        return self.unstretched(self.grid.positions())

    def unstretched(self, points: np.ndarray) -> np.ndarray:
        """Points ``(n, dim)`` of the domain with given reference coordinates (NumPy)."""
        pairs = zip(self.maps, points.T, strict=True)
        return np.stack([s if part is None else part.inverse(s) for part, s in pairs], axis=1)

    def locate(self, x: Float[Array, " dim"]) -> tuple[Int[Array, ""], ...]:
        return self.grid.locate(stretched(self.maps, x))

    def at(self, cell: tuple[Int[Array, ""], ...]) -> tuple[Int[Array, " local"], LocalStretchedGrid]:
        nodes, piece = self.grid.at(cell)
        return nodes, LocalStretchedGrid(piece, self.maps)

    def gather(self, points: np.ndarray) -> tuple[np.ndarray, LocalStretchedGrid]:
        indices, pieces = self.grid.gather(self._reference(points))
        return indices, LocalStretchedGrid(pieces, self.maps)

    def cell_keys(self, points: np.ndarray) -> np.ndarray:
        return self.grid.cell_keys(self._reference(points))

    def _reference(self, points: np.ndarray) -> np.ndarray:
        pairs = zip(self.maps, points.T, strict=True)
        return np.stack([x if part is None else np.asarray(part(x)) for part, x in pairs], axis=1)
