"""Faces of a box on which conditions make an unknown zero, so that a field can leave out what is not zero there."""

from __future__ import annotations

import numpy as np

from hierax.objective.jets import jet_term
from hierax.objective.order import reach
from hierax.objective.pointwise import Place, point_term
from hierax.problems.domain import Box, Face
from hierax.problems.problem import Problem
from hierax.problems.terms import Residual

TRIALS = 256
"""Points of a face at which a condition is looked at."""
DETERMINES = 1e-6
"""Least ratio of the singular values of a condition that determines all that it looks at."""


def zero_ends(problem: Problem, name: str) -> tuple[tuple[bool, bool], ...]:
    """For each coordinate whether conditions make a function, all of its components, zero at either end.

    Such a condition is linear, looks at values only, determines them at every point, and asks for zero.
    """
    box = problem.domain
    zero = np.zeros((box.dim, 2), dtype=bool)
    faces = [(t, p) for t in problem.terms if isinstance(t, Residual) for p in problem.places(t) if isinstance(p, Face)]
    for term, face in faces if isinstance(box, Box) else []:
        if _is_zero(problem, term, face, name):
            zero[box.axis(face.name), int(face.side == "upper")] = True
    return tuple((bool(a), bool(b)) for a, b in zero)


def _is_zero(problem: Problem, term: Residual, face: Face, name: str) -> bool:
    found, box = reach(problem, term), problem.domain
    jets = jet_term(problem, point_term(problem, term), 0) if found.order == 0 and found.linear else None
    if jets is None or not isinstance(box, Box):
        return False
    if sum(jet.name == name for jet in jets.jets) != (problem.functions[name].components or 1):
        return False
    axis, upper = box.axis(face.name), face.side == "upper"
    points = box.lower + np.random.default_rng(2).random((TRIALS, box.dim)) * (box.upper - box.lower)
    points[:, axis] = (box.upper if upper else box.lower)[axis]
    normals = np.zeros_like(points)
    normals[:, axis] = 1.0 if upper else -1.0
    e = jets.expanded(Place(points, normals, np.zeros((TRIALS, 0))), np.zeros((TRIALS, len(jets.jets))))
    if np.any(e.residual != 0.0) or not np.all(np.isfinite(e.rows)) or e.rows.shape[1] < e.rows.shape[2]:
        return False
    sizes = np.linalg.svd(e.rows, compute_uv=False)
    return bool(np.all(sizes[:, -1] > DETERMINES * sizes.max()))
