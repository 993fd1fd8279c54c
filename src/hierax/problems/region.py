"""The region that a cloud of points fills: what lies between its points, without holes and notches.

It is the union of those simplices of a Delaunay triangulation that are not larger than the points are apart. Of
simplices without a corner inside those count that lie inside of the boundary by the normals at all of their corners.

References
----------
Edelsbrunner, Muecke, ACM Trans. Graphics 13 (1994) (alpha shapes, here with a size that follows the spacing of points).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import Delaunay, KDTree, QhullError

from hierax.problems.domain import PointCloud
from hierax.problems.sampling import Batch, Cells, Gauss

DIMENSIONS = (2, 3)
"""Numbers of coordinates in which points are triangulated."""
LEAST = 50
"""Fewest points that show what lies between them."""
NEIGHBOURS = 6
"""The spacing at a point is the distance to this neighbour, those of the interior counted."""
LARGEST = 2.5
"""Largest radius of the sphere through the corners of a simplex, in spacings."""
FLAT = 1e-9
"""Simplices with less than this part of the volume of a cube of their size are no part of the region."""
ROUNDING = 1e-9
"""Shares of corners that are below zero by less are zero."""


@dataclass(frozen=True, eq=False)
class Region:
    """The union of simplices with corners `(simplices, dim + 1, dim)`."""

    corners: np.ndarray

    @classmethod
    def of(cls, cloud: PointCloud, more: Sequence[np.ndarray] = ()) -> Region | None:
        """The region between the points of a cloud, of its boundaries and of `more` points of the domain.

        `None` where there are too few points, or too few or many coordinates.
        """
        dim = cloud.dim
        if dim not in DIMENSIONS or len(cloud.points) < LEAST:
            return None
        walls = list(cloud.boundaries.values())
        inner, others = np.zeros_like(cloud.points), [np.zeros_like(part) for part in more]
        points = np.concatenate([cloud.points, *(w.points for w in walls), *more])
        normals = np.concatenate([inner, *(w.normals for w in walls), *others])
        try:
            simplices = Delaunay(points).simplices
        except QhullError:  # all points in a plane
            return None
        inside = np.any(simplices < len(cloud.points), axis=1)
        kept = inside | _within(points[simplices], normals[simplices])
        kept &= _small(points[simplices], _spacing(cloud.points, points)[simplices])
        return cls(points[simplices[kept]])

    def holds(self, points: np.ndarray) -> np.ndarray:
        """Which points `(n, dim)` lie in the region."""
        # SciPy's own search calls LAPACK once a simplex, which takes minutes where its threads wait for each other
        centres = self.corners.mean(axis=1)
        radii = np.sqrt(np.sum((self.corners - centres[:, None]) ** 2, axis=2)).max(axis=1)
        near = KDTree(points).query_ball_point(centres, radii)
        simplex = np.repeat(np.arange(len(near)), [len(part) for part in near])
        index = np.concatenate([np.asarray(part, dtype=int) for part in near])
        to_shares = np.linalg.inv(self.corners[:, 1:] - self.corners[:, :1])
        shares = np.einsum("nij,ni->nj", to_shares[simplex], points[index] - self.corners[simplex, 0])
        inside = np.zeros(len(points), bool)
        inside[index[np.all(shares >= -ROUNDING, axis=1) & (shares.sum(axis=1) <= 1.0 + ROUNDING)]] = True
        return inside

    def sample(self, order: int, cells: Cells) -> Batch:
        """Those of the Gauss points of all cells of a mesh, `order` an axis, that lie in the region."""
        batch = Gauss(order).sample(0, 0, 0, cells)
        inside = self.holds(batch.points)
        return Batch(batch.points[inside], batch.weights[inside], batch.index[inside])


def _spacing(inner: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distance of points to the neighbour in the interior that is counted."""
    # a point of the interior is its own nearest
    return KDTree(inner).query(points, k=[min(NEIGHBOURS + 1, len(inner))])[0][:, 0]  # pyright: ignore


def _within(corners: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Which simplices with all corners on the boundary lie inside of it, as normals at all of them say."""
    outward = np.sum((corners.mean(axis=1)[:, None] - corners) * normals, axis=2)
    return np.all(np.any(normals != 0.0, axis=2), axis=1) & (outward.mean(axis=1) <= 0.0)


def _small(corners: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Which simplices are no larger than the points are apart."""
    dim = corners.shape[2]
    edges = corners[:, 1:] - corners[:, :1]
    size = np.sqrt(np.sum(edges**2, axis=2)).max(axis=1)
    flat = np.abs(np.linalg.det(edges)) <= FLAT * size**dim
    safe = np.where(flat[:, None, None], np.eye(dim), edges)
    centre = np.linalg.solve(safe, 0.5 * np.sum(edges**2, axis=2)[..., None])[..., 0]
    return ~flat & (np.sqrt(np.sum(centre**2, axis=1)) <= LARGEST * spacing.max(axis=1))
