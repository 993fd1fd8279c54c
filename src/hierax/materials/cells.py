"""Periodic cells: which phase is where, the same microstructure on every grid."""

from __future__ import annotations

import abc
import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from hierax._errors import InputError

TRIES = 20_000
"""Places that are tried for all inclusions before a packing is given up."""
THRESHOLD_GRID = {2: 128, 3: 32}
"""Grid on which the threshold of a random field is found, whatever grid it is used on."""


class AbstractMicrostructure(abc.ABC):
    """Which phase lies at each point of the unit cell."""

    dimension: int

    @abc.abstractmethod
    def phase(self, points: np.ndarray) -> np.ndarray:
        """Numbers of the phases at points `(..., dimension)`, from 0."""


@final
@dataclass(frozen=True, eq=False)
class Cell:
    """A periodic unit cell on a grid of pixels or voxels.

    Attributes
    ----------
    structure:
        Which phase is where.
    grid:
        Pixels along each axis, at least 4.
    """

    structure: AbstractMicrostructure
    grid: int

    def __post_init__(self) -> None:
        if self.grid < 4:
            raise InputError(f"The grid has {self.grid} pixels an axis.", "Cell(grid)", "Give at least 4.")

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return self.structure.dimension

    def on(self, grid: int) -> Cell:
        """The same microstructure on another grid: a level of the cell."""
        return dataclasses.replace(self, grid=grid)

    @cached_property
    def image(self) -> np.ndarray:
        """Phase at the centre of each pixel `(grid, ...)`."""
        return self.structure.phase(_centres(self.grid, self.dimension))

    @property
    def fractions(self) -> np.ndarray:
        """Volume fraction of each phase on this grid."""
        return np.bincount(self.image.ravel()) / self.image.size

    def window(self, corner: tuple[int, ...], grid: int) -> Cell:
        """A smaller piece of it as a cell of its own, made periodic: a level of the size of the cell."""
        places = [np.arange(start, start + grid) % self.grid for start in corner]
        return pixels(self.image[np.ix_(*places)])


@final
@dataclass(frozen=True, eq=False)
class Capsules(AbstractMicrostructure):
    """Phase 1 within a radius of line segments: fibres with round ends; discs and balls where the length is 0."""

    centres: np.ndarray
    axes: np.ndarray
    length: float
    radius: float

    @property
    def dimension(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.centres.shape[1]

    def phase(self, points: np.ndarray) -> np.ndarray:
        inside = np.zeros(points.shape[:-1], dtype=bool)
        for centre, axis in zip(self.centres, self.axes, strict=True):
            offset = (points - centre + 0.5) % 1.0 - 0.5
            along = np.clip(offset @ axis, -self.length / 2.0, self.length / 2.0)
            inside |= np.linalg.norm(offset - along[..., None] * axis, axis=-1) < self.radius
        return inside.astype(int)


@final
@dataclass(frozen=True, eq=False)
class PlaneWaves(AbstractMicrostructure):
    """Phase 1 where a periodic random field is above a threshold.

    The field is `Re sum_k c_k exp(2 pi i k . x)` over wave numbers `k` in `[-modes, modes]^d`.
    """

    coefficients: np.ndarray
    threshold: float

    @property
    def dimension(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.coefficients.ndim

    def phase(self, points: np.ndarray) -> np.ndarray:
        return (self.values(points) > self.threshold).astype(int)

    def values(self, points: np.ndarray) -> np.ndarray:
        """The field at points of a tensor grid `(..., dimension)`."""
        modes = self.coefficients.shape[0] // 2
        waves = np.arange(-modes, modes + 1)
        out = self.coefficients
        for axis in range(self.dimension):
            line = points[(0,) * axis + (slice(None),) + (0,) * (self.dimension - 1 - axis) + (axis,)]
            # each contraction takes the first axis that is left and puts the points last
            out = np.tensordot(out, np.exp(2j * np.pi * np.outer(waves, line)), axes=(0, 0))
        return np.real(out)


@final
@dataclass(frozen=True, eq=False)
class Pixels(AbstractMicrostructure):
    """Phases of an image, such as a segmented micrograph; other grids see the pixel that their points lie in."""

    given: np.ndarray

    @property
    def dimension(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.given.ndim

    def phase(self, points: np.ndarray) -> np.ndarray:
        places = np.floor(points % 1.0 * np.array(self.given.shape)).astype(int)
        return self.given[tuple(np.moveaxis(places, -1, 0))]


def pixels(image: np.ndarray) -> Cell:
    """A cell from an image of phases `(n, n)` or `(n, n, n)`, whole numbers from 0.

    Raises
    ------
    InputError
        For an image of another shape, or with other values.
    """
    found = np.asarray(image)
    if found.ndim not in (2, 3) or len(set(found.shape)) > 1 or np.any(found != np.floor(found)) or np.any(found < 0):
        raise InputError(
            f"An image of shape {found.shape} is no cell.", "pixels(image)",
            "Give a square or cube of whole numbers from 0, the phase of each pixel.",
        )  # fmt: skip
    return Cell(Pixels(found.astype(int)), found.shape[0])


def discs(grid: int, count: int = 12, fraction: float = 0.3, seed: int = 0, dimension: int = 2) -> Cell:
    """Equal discs (in space: balls) of phase 1, which do not touch, at random places; random sequential addition."""
    unit = np.pi if dimension == 2 else 4.0 / 3.0 * np.pi
    radius = float((fraction / count / unit) ** (1.0 / dimension))
    rng = np.random.default_rng(seed)
    return Cell(_packed(rng, count, np.zeros((count, dimension)), 0.0, radius), grid)


def fibres(
    grid: int, count: int = 8, fraction: float = 0.15, aspect: float = 4.0, scatter: float = 0.4, seed: int = 0
) -> Cell:
    """Equal short fibres in space, phase 1, about along the first axis, which do not touch.

    Parameters
    ----------
    aspect:
        Length over diameter, ends included.
    scatter:
        Standard deviation of the two other components of an axis before it is made a unit vector.
    """
    radius = float((fraction / count / (np.pi * (2.0 * aspect - 2.0) + 4.0 / 3.0 * np.pi)) ** (1.0 / 3.0))
    rng = np.random.default_rng(seed)
    axes = np.array([1.0, 0.0, 0.0]) + scatter * rng.standard_normal((count, 3)) * np.array([0.0, 1.0, 1.0])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return Cell(_packed(rng, count, axes, (2.0 * aspect - 2.0) * radius, radius), grid)


def random_field(grid: int, fraction: float = 0.4, modes: int = 6, seed: int = 0, dimension: int = 2) -> Cell:
    """Phase 1 where a smooth Gaussian random field is above the quantile that leaves it the given fraction.

    The spectrum falls like `exp(-|k|^2 / (modes^2 / 2))`; the threshold is that of a fixed grid, so that all grids show
    the same microstructure.
    """
    rng = np.random.default_rng(seed)
    waves = np.meshgrid(*(np.arange(-modes, modes + 1),) * dimension, indexing="ij")
    amplitude = np.exp(-2.0 * sum(k**2 for k in waves) / modes**2)
    amplitude[(modes,) * dimension] = 0.0
    draws = rng.standard_normal((2, *amplitude.shape))
    field = PlaneWaves((draws[0] + 1j * draws[1]) * amplitude, 0.0)
    values = field.values(_centres(THRESHOLD_GRID[dimension], dimension))
    return Cell(dataclasses.replace(field, threshold=float(np.quantile(values, 1.0 - fraction))), grid)


def _centres(grid: int, dimension: int) -> np.ndarray:
    axis = (np.arange(grid) + 0.5) / grid
    return np.stack(np.meshgrid(*(axis,) * dimension, indexing="ij"), axis=-1)


def _packed(rng: np.random.Generator, count: int, axes: np.ndarray, length: float, radius: float) -> Capsules:
    """Places one after the other that keep 3 % of a diameter between surfaces; segments are sampled densely."""
    along = np.linspace(-length / 2.0, length / 2.0, 1 + int(np.ceil(length / radius)))
    centres: list[np.ndarray] = []
    placed = np.zeros((0, axes.shape[1]))
    for _ in range(TRIES):
        centre = rng.random(axes.shape[1])
        own = centre + along[:, None] * axes[len(centres)]
        apart = np.linalg.norm((own[:, None] - placed[None] + 0.5) % 1.0 - 0.5, axis=-1)
        if apart.size == 0 or apart.min() > 2.06 * radius:
            centres.append(centre)
            placed = np.concatenate([placed, own])
            if len(centres) == count:
                return Capsules(np.array(centres), axes, length, radius)
    raise InputError(
        f"Only {len(centres)} of {count} inclusions were placed.", "fraction",
        "Give a smaller fraction (discs: below 0.5), fewer or shorter fibres, or another seed.",
    )  # fmt: skip
