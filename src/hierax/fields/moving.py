"""Spline grids in a frame that moves: what travels with it stands still on the grid."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hierax.fields.base import AbstractField, AbstractFixed, AbstractLocalField
from hierax.fields.spline_grid import LocalSplineGrid, SplineGrid
from hierax.fields.stretched import StretchedGrid
from hierax.fields.unknowns import Unknowns


class Frame(AbstractFixed):
    r"""Coordinates :math:`y = x - a - s t` of a frame that moves along periodic axes, put back into their periods.

    Parameters
    ----------
    offset, velocity : arrays of shape ``(dim,)``
        :math:`a` and :math:`s`, with :math:`t` the coordinate `axis`; zero along all axes that are not periodic.
    lower, period : arrays of shape ``(dim,)``
        Lower end and length of the periodic axes; the length is zero for others.
    axis : int
        The coordinate that is time.
    """

    offset: Float[Array, "*n dim"]
    velocity: Float[Array, "*n dim"]
    lower: Float[Array, "*n dim"]
    period: Float[Array, "*n dim"]
    axis: int = eqx.field(static=True)

    def __init__(self, offset, velocity, lower, period, axis):
        arrays = (jnp.asarray(part, dtype=float) for part in (offset, velocity, lower, period))
        self.offset, self.velocity, self.lower, self.period = arrays
        self.axis = axis

    @classmethod
    def resting(cls, lower, upper, periodic, axis: int) -> "Frame":
        """The frame of the domain, whose periodic axes are those marked in `periodic`."""
        lower = np.asarray(lower, dtype=float)
        period = np.where(periodic, np.asarray(upper, dtype=float) - lower, 0.0)
        return cls(np.zeros_like(lower), np.zeros_like(lower), lower, period, axis)

    def turned(self, velocity, time: float) -> "Frame":
        """The frame with the same coordinates at a time and another velocity ``(dim,)``."""
        velocity = np.where(np.asarray(self.period) > 0, velocity, 0.0)
        offset = np.asarray(self.offset) + (np.asarray(self.velocity) - velocity) * time
        return Frame(offset, velocity, self.lower, self.period, self.axis)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, " dim"]:
        """Coordinates in the frame of one point."""
        moved = x - self.offset - self.velocity * x[self.axis]
        return moved - jax.lax.stop_gradient(_turns(moved, self.lower, self.period, jnp)) * self.period

    def inside(self, points: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n dim"]:
        """Coordinates in the frame of points of the domain (NumPy)."""
        return self._shifted(points, -1.0)

    def outside(self, points: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n dim"]:
        """Points of the domain with given coordinates in the frame (NumPy)."""
        return self._shifted(points, 1.0)

    def _shifted(self, points: np.ndarray, sign: float) -> np.ndarray:
        offset, velocity, lower, period = (
            np.asarray(part) for part in (self.offset, self.velocity, self.lower, self.period)
        )
        moved = points + sign * (offset + velocity * points[:, [self.axis]])
        return moved - _turns(moved, lower, period, np) * period


def _turns(x, lower, period, xp):
    return xp.floor((x - lower) / xp.where(period > 0, period, 1.0))


class LocalMovingGrid(AbstractField):
    """One cell of a `MovingGrid`."""

    grid: LocalSplineGrid
    frame: Frame

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        return self.grid(self.frame(x))

    @property
    def linear_in_parameters(self) -> bool:
        return True


class MovingGrid(AbstractLocalField):
    r"""A spline grid in the coordinates of a frame, :math:`u(t, x) = v(t, x - a - s t)`.

    Its cells are slanted: it has no mesh of boxes, but that of the grid in the coordinates of the frame.

    Parameters
    ----------
    grid : SplineGrid
        :math:`v`; periodic along the axes that the frame moves along.
    frame : Frame
        The frame.
    """

    grid: SplineGrid
    frame: Frame

    @property
    def linear_in_parameters(self) -> bool:
        return True

    @property
    def has_fixed_cells(self) -> bool:
        return True

    def positions(self, dim: int | None = None) -> np.ndarray:
        """Position ``(parameters, dim)`` of every parameter in the coordinates of the frame, where neighbours meet."""
        del dim
        return self.grid.positions()

    def locate(self, x: Float[Array, " dim"]) -> tuple[Int[Array, ""], ...]:
        return self.grid.locate(self.frame(x))

    def at(self, cell: tuple[Int[Array, ""], ...]) -> tuple[Int[Array, " local"], LocalMovingGrid]:
        nodes, piece = self.grid.at(cell)
        return nodes, LocalMovingGrid(piece, self.frame)

    def gather(self, points: np.ndarray) -> tuple[np.ndarray, LocalMovingGrid]:
        indices, pieces = self.grid.gather(self.frame.inside(points))
        frames = jax.tree.map(lambda part: np.broadcast_to(part, (len(points), *np.shape(part))), self.frame)
        return indices, LocalMovingGrid(pieces, frames)

    def cell_keys(self, points: np.ndarray) -> np.ndarray:
        return self.grid.cell_keys(self.frame.inside(points))


def reference_grid(field) -> SplineGrid | None:
    """The spline grid that holds all parameters of a field: itself, or that of a stretched or moving one; else none."""
    if isinstance(field, StretchedGrid | MovingGrid):
        return field.grid
    return field if isinstance(field, SplineGrid) else None


def frame_of(field) -> Frame | None:
    """The frame that all parts of a field share; `None` for one that does not move."""
    part = next(iter(field.parts.values())) if isinstance(field, Unknowns) else field
    return part.frame if isinstance(part, MovingGrid) else None


def at_rest(field):
    """The grids of a field, or of all its unknowns, without their frame: fields of its coordinates."""
    if isinstance(field, Unknowns):
        return Unknowns(**{name: at_rest(part) for name, part in field.parts.items()})
    return field.grid if isinstance(field, MovingGrid) else field


def in_frame(field, frame: Frame):
    """The grids of a field, or of all its unknowns, in another frame, with the coefficients that they have."""
    if isinstance(field, Unknowns):
        return Unknowns(**{name: in_frame(part, frame) for name, part in field.parts.items()})
    return MovingGrid(at_rest(field), frame)  # pyright: ignore
