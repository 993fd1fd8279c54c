"""Fields that are broken along an interface: one partition of unity on either side of it."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.fields.base import AbstractField, linear_in_parameters
from hierax.fields.cover import Cover
from hierax.fields.initial import Key, generator_of
from hierax.fields.joined import AbstractJoined
from hierax.fields.local_fields import AbstractLocals
from hierax.fields.partition_of_unity import PartitionOfUnity

Distance = Callable[[Float[Array, " dim"]], Float[Array, ""]]

SAMPLES = 9
"""Points along each axis at which a cell is looked at."""


class LocalBroken(AbstractField):
    """What a `BrokenPartition` is near a point: the pieces of both sides, of which the point's own counts."""

    inside: Any
    outside: Any
    distance: Distance = eqx.field(static=True)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        within = self.distance(x) < 0
        values = []
        for piece, own in ((self.inside, within), (self.outside, ~within)):
            # far from its side a piece has no window: it is asked at a place where it has, and the answer not used
            values.append(piece(jnp.where(own, x, piece.subdomains.centres[0])))
        return jnp.where(within, *values)

    @property
    def sides(self) -> tuple[Any, Any]:
        """The pieces inside and outside, see `hierax.problems.sides`."""
        return self.inside, self.outside

    @property
    def linear_in_parameters(self) -> bool:
        return linear_in_parameters(self.inside) and linear_in_parameters(self.outside)


class BrokenPartition(AbstractJoined):
    r"""A partition of unity whose local fields are cut in two where an interface crosses their subdomain.

    .. math:: u(x) = \sum_j w_j^-(x)\, u_j^-(x) \ \text{where}\ s(x) < 0,
              \qquad \sum_j w_j^+(x)\, u_j^+(x) \ \text{elsewhere}

    with a signed distance :math:`s`. Each sum runs over the boxes whose cells meet its side: those that the interface
    crosses stand in both, with functions of their own on each side, all others in one. So value and slopes can jump
    across the interface and nowhere else, and what holds there is said by terms on points of the interface, with the
    unknown from both sides by `hierax.problems.sides`.

    Parameters
    ----------
    inside, outside : PartitionOfUnity
        For negative and for other distances; they have to cover the interface both.
    distance : callable
        Signed distance of a point ``(dim,)`` to the interface, in JAX. Only its sign is used. It is not saved.

    References
    ----------
    Babuska, Melenk, Int. J. Numer. Meth. Eng. 40 (1997) (partitions of unity hold any local functions);
    Moes, Dolbow, Belytschko, Int. J. Numer. Meth. Eng. 46 (1999) (functions cut at an interface).
    """

    inside: PartitionOfUnity
    outside: PartitionOfUnity
    distance: Distance = eqx.field(static=True)

    @classmethod
    def uniform(
        cls, lower, upper, counts, overlap: Any = 1.5, *, distance: Distance, local: AbstractLocals, key: Key = 0,
        out: int | None = None,
    ) -> "BrokenPartition":  # fmt: skip
        """Boxes around equal cells, on either side those whose cells meet it.

        Parameters
        ----------
        lower, upper, counts, overlap
            As for `Cover.uniform`.
        distance : callable
        local : AbstractLocals
            Recipe of the local fields.
        key, out
            As for `PartitionOfUnity.uniform`.

        Raises
        ------
        ValueError
            If a side meets no cell.
        """
        cover, generator = Cover.uniform(lower, upper, counts, overlap), generator_of(key)
        least, largest = _extremes(cover, np.broadcast_to(overlap, (cover.dim,)), distance)
        sides = []
        for name, meets in (("negative", least < 0), ("positive", largest >= 0)):
            if not meets.any():
                raise ValueError(f"BrokenPartition: no cell has points of {name} distance: there is no interface")
            own = cover.keep(lambda low, high, meets=meets: meets)
            sides.append(PartitionOfUnity.on(own, local, key=int(generator.integers(2**31)), out=out))
        return cls(sides[0], sides[1], distance)

    @property
    def sides(self) -> tuple[PartitionOfUnity, PartitionOfUnity]:
        """The fields inside and outside, see `hierax.problems.sides`."""
        return self.inside, self.outside

    @property
    def members(self) -> tuple[PartitionOfUnity, PartitionOfUnity]:
        return self.sides

    def joined(self, members: Sequence[Any]) -> "BrokenPartition":
        inside, outside = members
        return BrokenPartition(inside, outside, self.distance)

    def pieces(self, members: Sequence[Any]) -> LocalBroken:
        inside, outside = members
        return LocalBroken(inside, outside, self.distance)


def _extremes(cover: Cover, overlap: np.ndarray, distance: Distance) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest distance in the cell of every subdomain, at a lattice of its inner points."""
    steps = np.linspace(-1.0, 1.0, SAMPLES + 2)[1:-1]
    lattice = np.stack([axis.ravel() for axis in np.meshgrid(*[steps] * cover.dim, indexing="ij")], axis=1)
    half = np.asarray(cover.half_widths) / overlap
    points = np.asarray(cover.centres)[:, None] + half[:, None] * lattice
    values = np.asarray(jax.vmap(jax.vmap(distance))(jnp.asarray(points)))
    return values.min(axis=1), values.max(axis=1)
