"""Input coordinates of networks: a box is mapped to ``[-1, 1]`` in each coordinate, periodic ones to a circle."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.fields.base import AbstractFixed, placed

GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))
"""Any number of its multiples is spread almost evenly over a circle."""


class InputBox(AbstractFixed):
    r"""The inputs that a network sees of a point in a box; never trained.

    A coordinate becomes :math:`z = (2 x - a - b) / (b - a)` in ``[-1, 1]``. A periodic one becomes
    :math:`\cos \pi z`, and :math:`\sin \pi z` is put behind all coordinates: whatever stands behind is periodic with
    all derivatives that it has.

    Parameters
    ----------
    lower, upper : arrays of shape ``(dim,)``
        Corners.
    periodic : sequence of bool, optional
        Which coordinates wrap around; none by default.

    Raises
    ------
    ValueError
        For corners that do not match, an empty box, or not one flag for each coordinate.

    Examples
    --------
    >>> box = InputBox([0.0, 0.0], [1.0, 2.0], periodic=(False, True))
    >>> [round(float(v), 12) for v in box(jnp.array([0.75, 1.5]))]
    [0.5, 0.0, 1.0]

    References
    ----------
    Dong and Ni, J. Comput. Phys. 435 (2021), arXiv 2007.07442 (smooth periodic inputs of networks).
    """

    lower: Float[Array, " dim"]
    upper: Float[Array, " dim"]
    periodic: tuple[bool, ...] = eqx.field(static=True, default=())

    def __init__(self, lower, upper, periodic=None):
        self.lower, self.upper = (jnp.atleast_1d(jnp.asarray(end, dtype=float)) for end in (lower, upper))
        self.periodic = tuple(bool(wraps) for wraps in periodic) if periodic is not None and any(periodic) else ()
        if self.lower.shape != self.upper.shape or self.lower.ndim != 1:
            raise ValueError(f"InputBox: corners of shape {self.lower.shape} and {self.upper.shape} do not match")
        flat = np.flatnonzero(~(np.asarray(self.lower) < np.asarray(self.upper)))
        if flat.size:
            raise ValueError(f"InputBox: lower must be below upper; it is not in coordinate {flat[0]}")
        if self.periodic and len(self.periodic) != self.dim:
            raise ValueError(f"InputBox: {len(self.periodic)} flags of periodicity for {self.dim} coordinates")

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return self.lower.shape[-1]

    @property
    def added(self) -> int:
        """Number of inputs beyond one for each coordinate."""
        return sum(self.periodic)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, " inputs"]:
        return self.wrapped(self.scaled(x))

    def scaled(self, x: Float[Array, " dim"]) -> Float[Array, " dim"]:
        """The coordinates in ``[-1, 1]``, those that wrap around as well."""
        return (2.0 * x - (self.lower + self.upper)) / (self.upper - self.lower)

    def wrapped(self, z: Any) -> Any:
        """Inputs from coordinates scaled to ``[-1, 1]``, on the last axis; NumPy for NumPy's arrays."""
        if not self.periodic:
            return z
        xp, wraps = np if isinstance(z, np.ndarray) else jnp, np.array(self.periodic)
        angle = np.pi * z
        return xp.concatenate([xp.where(wraps, xp.cos(angle), z), xp.sin(angle[..., wraps])], axis=-1)

    def on_rows(self, points: np.ndarray) -> np.ndarray:
        """The same for many points `(n, dim)`, in NumPy."""
        lower, upper = np.asarray(self.lower), np.asarray(self.upper)
        return self.wrapped((2.0 * points - (lower + upper)) / (upper - lower))

    def weights(self, straight: Float[Array, "units dim ..."]) -> Float[Array, "units inputs ..."]:
        r"""Weights of units behind the box from those of units that see plain coordinates.

        A unit's share of a periodic coordinate, ``w z``, becomes a wave of the same size,
        :math:`w \cos(\pi z - \phi)`, with a phase of its own.
        """
        if not self.periodic:
            return straight
        phases = GOLDEN_ANGLE * np.arange(straight.shape[0]).reshape(-1, *(1,) * (straight.ndim - 1))
        wraps = np.flatnonzero(self.periodic)
        waves = straight[:, wraps]
        straight = straight.at[:, wraps].set(waves * np.cos(phases))
        return jnp.concatenate([straight, waves * np.sin(phases)], axis=1)

    def reach(self, directions: np.ndarray) -> np.ndarray:
        """Largest scalar product with each of the directions ``(n, inputs)`` that an input can have."""
        if not self.periodic:
            return np.abs(directions).sum(axis=1)
        sizes = np.abs(directions[:, : self.dim])
        wraps = np.flatnonzero(self.periodic)
        sizes[:, wraps] = np.hypot(sizes[:, wraps], directions[:, self.dim :])
        return sizes.sum(axis=1)


def input_box(domain, dim: int) -> InputBox | None:
    """A box from an `InputBox` or its arguments, checked against the number of inputs; nothing for no domain."""
    if domain is None:
        return None
    box = domain if isinstance(domain, InputBox) else InputBox(*domain)
    if box.lower.shape != (dim,):
        raise ValueError(f"the domain has {box.lower.shape[0]} coordinates, the field has {dim} inputs")
    return box


def coordinates(box: InputBox | None, inputs: int) -> int:
    """Number of coordinates of a network that has so many inputs behind its box."""
    return inputs if box is None else inputs - box.added


def place(field: Any, lower, upper, periodic=None) -> Any:
    """Give a network without a domain this one; every other field is returned as it is.

    Parameters
    ----------
    field : callable pytree
        A network built with ``domain=None`` takes inputs in ``[-1, 1]`` until it is placed.
    lower, upper : arrays of shape ``(dim,)``
    periodic : sequence of bool, optional
        Coordinates in which the network is made periodic; none by default.
    """
    return placed(field, InputBox(lower, upper, periodic))
