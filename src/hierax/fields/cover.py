"""Overlapping subdomains: boxes of any dimension with windows that add up to one."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hierax.fields.base import AbstractFixed
from hierax.fields.finders import AbstractFinder, UniformFinder, table_finder
from hierax.fields.windows import AbstractWindow, PowerWindow, SplineWindow


class Subdomains(AbstractFixed):
    r"""Some subdomains with their windows, :math:`w_j(x) = \omega(z_j) / \sum_i \omega(z_i)`.

    Parameters
    ----------
    centres, half_widths : arrays ``(members, dim)``
    window : AbstractWindow
    periods : tuple of float
        Period of each coordinate, 0 for those that do not wrap.
    """

    centres: Float[Array, "members dim"]
    half_widths: Float[Array, "members dim"]
    window: AbstractWindow
    periods: tuple[float, ...] = eqx.field(static=True)

    def coordinates(self, x: Float[Array, " dim"]) -> Float[Array, "members dim"]:
        """Local coordinates :math:`(x - c_j) / h_j` of a point, in ``[-1, 1]`` inside of a subdomain."""
        apart = x - self.centres
        if any(self.periods):
            period = jnp.asarray(self.periods)
            turns = jnp.round(jax.lax.stop_gradient(apart) / jnp.where(period > 0, period, 1.0))
            apart = apart - period * turns
        return apart / self.half_widths

    def weights(self, z: Float[Array, "members dim"]) -> Float[Array, " members"]:
        """Windows from local coordinates, which add up to one; NaN where no subdomain is."""
        values = self.window(z)
        return values / jnp.sum(values)


class Cover(AbstractFixed):
    """A cover by overlapping boxes.

    Parameters
    ----------
    centres, half_widths : arrays ``(subdomains, dim)``
    window : AbstractWindow, optional
    finder : AbstractFinder, optional
        A table of cells by default.
    periods : sequence of float, optional
        Period of each coordinate, 0 for those that do not wrap.

    Raises
    ------
    ValueError
        For arrays that do not fit or widths that are not positive.

    Examples
    --------
    >>> cover = Cover.uniform([0.0, 0.0], [1.0, 1.0], (4, 4), 1.9)
    >>> cover.subdomains, cover.members, [int(j) for j in cover.locate(jnp.array([0.3, 0.9]))]
    (16, 4, [2, 3, 6, 7])

    References
    ----------
    Moseley, Markham, Nissen-Meyer, Adv. Comput. Math. 49 (2023), arXiv 2107.07871 (windows and local coordinates).
    """

    centres: Float[Array, "subdomains dim"]
    half_widths: Float[Array, "subdomains dim"]
    window: AbstractWindow
    finder: AbstractFinder
    periods: tuple[float, ...] = eqx.field(static=True)

    def __init__(
        self,
        centres,
        half_widths,
        *,
        window: AbstractWindow | None = None,
        finder: AbstractFinder | None = None,
        periods=None,
    ):
        centres, half_widths = (np.asarray(part, dtype=float) for part in (centres, half_widths))
        if centres.ndim != 2 or centres.shape != half_widths.shape or not len(centres):
            raise ValueError(
                f"Cover: centres of shape {centres.shape} and half widths of shape {half_widths.shape}; "
                f"expected (subdomains, dim) for both"
            )
        bad = np.flatnonzero(~(np.isfinite(centres) & (half_widths > 0)).all(axis=1))
        if bad.size:
            raise ValueError(f"Cover: subdomain {bad[0]} has half widths {half_widths[bad[0]]}; they must be positive")
        self.periods = tuple(float(p) for p in (periods or (0.0,) * centres.shape[1]))
        if finder is None and any(self.periods):
            raise ValueError("Cover: periodic coordinates need a uniform cover; use Cover.uniform(..., periodic=...)")
        self.finder = finder or table_finder(centres - half_widths, centres + half_widths)
        self.window = window or PowerWindow()
        self.centres, self.half_widths = (jnp.asarray(part, dtype=float) for part in (centres, half_widths))

    @classmethod
    def uniform(
        cls, lower, upper, counts, overlap: Any = 1.9, *, window: AbstractWindow | None = None, periodic=None
    ) -> "Cover":
        """Boxes around the middles of equal cells.

        Parameters
        ----------
        lower, upper : sequence of float
            Corners of the box that is covered.
        counts : int or sequence of int
            Subdomains along each axis.
        overlap : float or sequence of float
            Width of a subdomain over the spacing of the centres, above 1; published results use 1.9 and 2.9.
        window : AbstractWindow, optional
        periodic : sequence of bool, optional
            Which coordinates wrap around; none by default.

        Raises
        ------
        ValueError
            For an overlap that is not above 1, or so wide that a subdomain meets itself along a periodic axis.
        """
        lower, upper = (np.atleast_1d(np.asarray(end, dtype=float)) for end in (lower, upper))
        counts = np.broadcast_to(counts, lower.shape).astype(int)
        overlap = np.broadcast_to(np.asarray(overlap, dtype=float), lower.shape)
        wraps = np.broadcast_to(False if periodic is None else periodic, lower.shape)
        if np.any(counts < 1) or not np.all(overlap > 1.0) or not np.all(lower < upper):
            raise ValueError(
                f"Cover.uniform: counts {counts.tolist()} and overlap {overlap.tolist()} on {lower.tolist()} .. "
                f"{upper.tolist()}; counts must be positive, overlaps above 1, the box not empty"
            )
        tight = np.flatnonzero(wraps & (np.ceil(overlap) > counts))
        if tight.size:
            raise ValueError(
                f"Cover.uniform: along periodic axis {tight[0]} a subdomain would meet itself; "
                f"use at least {math.ceil(overlap[tight[0]])} subdomains"
            )
        spacing = (upper - lower) / counts
        axes = [a + h * (np.arange(n) + 0.5) for a, h, n in zip(lower, spacing, counts, strict=True)]
        centres = np.stack([part.ravel() for part in np.meshgrid(*axes, indexing="ij")], axis=1)
        half_widths = np.broadcast_to(0.5 * overlap * spacing, centres.shape)
        shape = tuple(counts.tolist()), tuple(overlap.tolist()), tuple(wraps.tolist())
        finder = UniformFinder(jnp.asarray(lower), jnp.asarray(spacing), *shape)
        periods = np.where(wraps, upper - lower, 0.0).tolist()
        return cls(centres, half_widths, window=window, finder=finder, periods=periods)

    @classmethod
    def splines(cls, lower, upper, cells, degree: int = 3, periodic=None) -> "Cover":
        """Supports of the B-splines on equal cells, with these splines as windows.

        There are `cells + degree` along each axis, `cells` where it wraps around.

        Parameters
        ----------
        lower, upper : sequence of float
            Corners of the box that is covered.
        cells : int or sequence of int
            Cells along each axis, more than `degree` where it wraps around.
        degree : int
        periodic : sequence of bool, optional
        """
        lower, upper = (np.atleast_1d(np.asarray(end, dtype=float)) for end in (lower, upper))
        cells = np.broadcast_to(cells, lower.shape).astype(int)
        window = SplineWindow(degree)
        wraps = np.broadcast_to(False if periodic is None else periodic, lower.shape)
        beyond = window.margin * (upper - lower) / cells
        upper, counts = upper + np.where(wraps, -beyond, beyond), cells + np.where(wraps, 0, degree)
        return cls.uniform(lower - beyond, upper, counts, degree + 1.0, window=window, periodic=wraps)

    @property
    def dim(self) -> int:
        return self.centres.shape[1]

    @property
    def subdomains(self) -> int:
        """Number of subdomains."""
        return self.centres.shape[0]

    @property
    def members(self) -> int:
        """How many subdomains `locate` names, at least as many as can contain a point."""
        return int(np.shape(self.locate(np.asarray(self.centres)[0]))[-1])

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper corners of all subdomains (NumPy), each ``(subdomains, dim)``."""
        centres, half_widths = np.asarray(self.centres), np.asarray(self.half_widths)
        return centres - half_widths, centres + half_widths

    def locate(self, x: Float[Array | np.ndarray, "... dim"]) -> Any:
        """Numbers ``(..., members)`` of all subdomains that contain `x`, filled up with near ones; NumPy for NumPy."""
        return self.finder(x if isinstance(x, np.ndarray) else jax.lax.stop_gradient(x))

    def at(self, ids: Int[Array, " members"]) -> Subdomains:
        """The subdomains of these numbers."""
        return Subdomains(self.centres[ids], self.half_widths[ids], self.window, self.periods)

    def keep(self, wanted: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> "Cover":
        """The subdomains for which ``wanted(lower, upper)``, of corners ``(subdomains, dim)``, is true."""
        lower, upper = self.bounds()
        chosen = np.flatnonzero(wanted(lower, upper))
        if any(self.periods):
            raise ValueError("Cover.keep: a periodic cover cannot lose subdomains")
        if not chosen.size:
            raise ValueError("Cover.keep: no subdomain is left")
        return Cover(np.asarray(self.centres)[chosen], np.asarray(self.half_widths)[chosen], window=self.window)
