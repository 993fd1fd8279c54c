"""Several fields added up, such as partitions of unity with ever smaller subdomains."""

import functools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from hierax.fields.base import parameter_count, positions, supports_local
from hierax.fields.finders import UniformFinder
from hierax.fields.initial import Key, generator_of
from hierax.fields.joined import AbstractJoined
from hierax.fields.local_fields import AbstractLocals
from hierax.fields.partition_of_unity import PartitionOfUnity, own_sizes


class Sum(AbstractJoined):
    """The sum of fields, coarse ones first; local where one of them is.

    Parameters
    ----------
    parts : sequence of callable pytrees
        With values of the same shape. Parts without local support are seen as a whole from every point.

    Raises
    ------
    ValueError
        Without a part.

    References
    ----------
    Dolean, Heinlein, Mishra, Moseley, Comput. Methods Appl. Mech. Eng. 429 (2024), arXiv 2306.05486: levels of
    subdomains, there averaged.
    """

    parts: tuple[Any, ...]

    def __init__(self, parts):
        self.parts = tuple(parts)
        if not self.parts:
            raise ValueError("Sum: at least one part is needed")

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        return functools.reduce(operator.add, [part(x) for part in self.parts])

    @property
    def members(self) -> tuple[Any, ...]:
        return self.parts

    def joined(self, members: Sequence[Any]) -> "Sum":
        return Sum(members)

    @property
    def is_local(self) -> bool:
        return any(supports_local(part) for part in self.parts)

    @property
    def partitions(self) -> tuple[PartitionOfUnity, ...]:
        """The parts that are partitions of unity."""
        return tuple(part for part in self.parts if isinstance(part, PartitionOfUnity))

    def mesh(self) -> tuple[np.ndarray, ...] | None:
        """The lines of all uniform covers together, and of patches the middles and edges of their boxes."""
        meshes = [lines for lines in (part.mesh() for part in self.partitions) if lines is not None]
        if not meshes:
            return None
        whole = [functools.reduce(np.union1d, axis) for axis in zip(*meshes, strict=True)]
        for part in self.partitions:
            if part.mesh() is None:
                lines = np.concatenate([*part.cover.bounds(), np.asarray(part.cover.centres)])
                inner = [line[(line > a[0]) & (line < a[-1])] for a, line in zip(whole, lines.T, strict=True)]
                whole = [np.union1d(a, line) for a, line in zip(whole, inner, strict=True)]
        return tuple(_distinct(axis) for axis in whole)

    def crowd(self, cells: int) -> float:
        mean, parts = parameter_count(self) / cells, self.partitions
        if all(part.place is None and part.mesh() is not None for part in parts):
            return mean
        # where only some subdomains are refined, the mean says nothing of the cells there
        together = [sum(sum(own_sizes(p.locals)) for p in parts if _together(p, part)) for part in parts]
        return max(mean, *(own / 2**part.cover.dim for own, part in zip(together, parts, strict=True)))

    def positions(self, dim: int) -> np.ndarray:
        return np.concatenate([_within_sum(part, dim) for part in self.parts])


def multilevel(lower, upper, counts, overlap=1.9, *, local: AbstractLocals, key: Key = 0, **settings) -> Sum:
    """Partitions of unity on one box, added up; the coarsest first.

        Parameters
        ----------
        lower, upper : sequence of float
        counts : sequence of (int or sequence of int)
            Subdomains along each axis, level by level, such as ``[1, 2, 4, 8]``.
        overlap : float or sequence of float
        local : AbstractLocals
            Recipe of the local fields.
        key : key or int
        **settings
            Further settings of `PartitionOfUnity.uniform`.

        Examples
        --------
        >>> from hierax.fields.joined import AbstractJoined
    from hierax.fields.local_fields import Polynomials
        >>> field = multilevel([0.0], [1.0], [1, 2, 4], local=Polynomials(3))
        >>> [part.cover.subdomains for part in field.parts], len(field.at(field.locate(jnp.array([0.3])))[0])
        ([1, 2, 4], 20)
    """
    generator = generator_of(key)
    levels = [
        PartitionOfUnity.uniform(
            lower, upper, count, overlap, local=local, key=int(generator.integers(2**31)), **settings
        )
        for count in counts
    ]
    return Sum(levels)


def _together(one: PartitionOfUnity, other: PartitionOfUnity) -> bool:
    """Whether two parts stand on the same cover."""
    return one.cover.subdomains == other.cover.subdomains and one.cover.unity == other.cover.unity


def _within_sum(part: Any, dim: int) -> np.ndarray:
    """Parameters of levels so coarse that every point is in all subdomains act everywhere beside finer ones."""
    found = positions(part, dim)
    if not isinstance(part, PartitionOfUnity) or part.cover.members < part.cover.subdomains:
        return found
    finder = part.cover.finder
    alike = isinstance(finder, UniformFinder) and not any(finder.wraps)
    return np.full_like(found, np.nan) if alike else found


def _distinct(values: np.ndarray) -> np.ndarray:
    return values[np.r_[True, np.diff(values) > 1e-9 * (values[-1] - values[0])]]
