"""Faces of a box on which conditions make an unknown zero, so that a field can leave out what is not zero there."""

from __future__ import annotations

from collections.abc import Callable

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
Ends = tuple[tuple[bool, bool], ...]
"""For each coordinate whether something holds at its lower and at its upper end."""


def zero_ends(problem: Problem, name: str) -> Ends:
    """For each coordinate whether conditions make a function, all of its components, zero at either end.

    Such a condition is linear, looks at values only, determines them at every point, and asks for zero.
    """
    return _ends(problem, name, lambda asked: not np.any(asked))


def prescribed_ends(problem: Problem, name: str) -> Ends:
    """The same for conditions that ask for any values: what changes of the function are zero there."""
    return _ends(problem, name, lambda asked: True)


def _ends(problem: Problem, name: str, suits: Callable[[np.ndarray], bool]) -> Ends:
    box = problem.domain
    found = np.zeros((box.dim, 2), dtype=bool)
    faces = [(t, p) for t in problem.terms if isinstance(t, Residual) for p in problem.places(t) if isinstance(p, Face)]
    for term, face in faces if isinstance(box, Box) else []:
        asked = _asked(problem, term, face, name)
        if asked is not None and suits(asked):
            found[box.axis(face.name), int(face.side == "upper")] = True
    return tuple((bool(a), bool(b)) for a, b in found)


def _asked(problem: Problem, term: Residual, face: Face, name: str) -> np.ndarray | None:
    """Residual of a condition on values at zero; `None` where it does not determine all components of a function."""
    found, box = reach(problem, term), problem.domain
    jets = jet_term(problem, point_term(problem, term), 0) if found.order == 0 and found.linear else None
    if jets is None or not isinstance(box, Box):
        return None
    if sum(jet.name == name for jet in jets.jets) != (problem.functions[name].components or 1):
        return None
    axis, upper = box.axis(face.name), face.side == "upper"
    points = box.lower + np.random.default_rng(2).random((TRIALS, box.dim)) * (box.upper - box.lower)
    points[:, axis] = (box.upper if upper else box.lower)[axis]
    normals = np.zeros_like(points)
    normals[:, axis] = 1.0 if upper else -1.0
    e = jets.expanded(Place(points, normals, np.zeros((TRIALS, 0))), np.zeros((TRIALS, len(jets.jets))))
    if not np.all(np.isfinite(e.rows)) or e.rows.shape[1] < e.rows.shape[2]:
        return None
    sizes = np.linalg.svd(e.rows, compute_uv=False)
    return e.residual if np.all(sizes[:, -1] > DETERMINES * sizes.max()) else None
