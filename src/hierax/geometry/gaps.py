"""Where a body faces itself across a gap: the sides of a notch, of a slit, and of a hole."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hierax.geometry.body import surface_rule
from hierax.geometry.cut_cells import Cells
from hierax.geometry.part import Part
from hierax.geometry.shape import AbstractShape

OPPOSITE = -0.7
"""Largest product of the normals of two faces that face each other; beyond it a notch is open wider than 45 degrees."""
MOST = 2000
"""Points of a boundary that are asked, evenly picked of all."""
NEAR, FAR, HALVINGS = 4, 24, 24
"""Places up to the end of the next cell, and across the body, where a gap may have ended; halvings to its end."""
TINY = 1e-6
"""Step, in sizes of the body, by which the normal of the other side is found."""


class Gaps(NamedTuple):
    """Points `(n, dim)` of a boundary behind which, along the outward normal, the body begins again.

    Attributes
    ----------
    points, weights:
        A quadrature of this part of the boundary.
    widths, room:
        How far away the body begins again, and how far along the normal their cells and those beside them reach, both
        `(n,)`. Where the gap is narrower than that the other side of it, taken as flat, is in one of these cells.
    """

    points: np.ndarray
    weights: np.ndarray
    widths: np.ndarray
    room: np.ndarray


def gaps(shape: AbstractShape, cells: Cells) -> Gaps:
    """The faces of a body that face each other, by points in the cells of a mesh."""
    wall, (low, high) = surface_rule(shape, Part(), cells, 2), shape.bounds()
    assert wall.normals is not None
    picked = slice(None, None, 1 + len(wall.points) // MOST)
    points, normals, weights = wall.points[picked], wall.normals[picked], wall.weights[picked]
    size = float(np.max(high - low))
    room = np.zeros(len(points))
    for lines, x, n in zip(cells, points.T, normals.T, strict=True):
        first = np.clip(np.searchsorted(lines, x, "right") - 1, 0, len(lines) - 2)
        end = np.where(n > 0, lines[np.minimum(first + 2, len(lines) - 1)], lines[np.maximum(first - 1, 0)])
        room += n * (end - x)
    steps = np.concatenate([np.outer(np.minimum(room, size), np.arange(1, NEAR + 1) / NEAR),
                            np.tile(size * np.arange(1, FAR + 1) / FAR, (len(points), 1))], axis=1)  # fmt: skip
    # steps within the rounding of a wall that runs along a cell say nothing
    steps = np.sort(np.maximum(steps, TINY * size), axis=1)
    ahead = points[:, None] + steps[..., None] * normals[:, None]
    inside = np.all((low <= ahead) & (ahead <= high), axis=2)
    inside[inside] = shape.level(ahead[inside]) < 0.0
    met = np.flatnonzero(np.any(inside, axis=1))
    points, normals, end = points[met], normals[met], np.argmax(inside[met], axis=1)
    after, before = steps[met, end], np.where(end > 0, steps[met, end - 1], 0.0)
    for _ in range(HALVINGS):
        middle = 0.5 * (before + after)
        beyond = shape.level(points + middle[:, None] * normals) < 0.0
        before, after = np.where(beyond, before, middle), np.where(beyond, middle, after)
    shifts = TINY * size * np.eye(shape.dim)
    other = points + after[:, None] * normals
    slope = np.stack([shape.level(other + shift) - shape.level(other - shift) for shift in shifts], axis=1)
    facing = np.sum(slope * normals, axis=1) < OPPOSITE * np.linalg.norm(slope, axis=1)
    return Gaps(points[facing], weights[met][facing], after[facing], room[met][facing])
