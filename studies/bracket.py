"""A bracket of a mesh in the format of Gmsh, linear elasticity by its energy, and its displacement by finite elements.

The bracket is an L of five by five units, one unit thick, with a square bore of one unit: one edge into the body at the
elbow and four in the bore. It hangs by the end of its upper arm, and a force pulls the end of the lower one down.

The reference is by scikit-fem: hexahedra of second order, not those of the mesh, graded by quarters towards the edges.
Its error bound is what the last layer of elements at the edges changes.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse.linalg import splu

import hierax as hx
from hierax.problems.reference import TabulatedReference

NEEDED = ("meshio", "skfem")
"""What reads the mesh, and what the reference is made with."""
LAYERS = (3, 4)
"""Layers of elements on either side of an edge, each a quarter of the one before, in the two references."""
YOUNG, POISSON, PULL = 1.0, 0.3, 0.01


def possible() -> bool:
    """Whether all that is needed is installed."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDED)


def solid(x: Any, z: Any) -> Any:
    """Whether places lie in the bracket; they do not depend on the thickness `y`."""
    x, z = np.asarray(x), np.asarray(z)
    return ~((x > 3) & (z > 3)) & ~((x > 1) & (x < 2) & (z > 1) & (z < 2))


def write_mesh(path: Path) -> Path:
    """The mesh: six tetrahedra for every unit cube, and triangles for the two ends that have names."""
    number = np.arange(72).reshape(6, 2, 6)
    points = np.stack(np.unravel_index(np.arange(72), number.shape), axis=1)
    cells = []
    for i, k in itertools.product(range(5), repeat=2):
        if solid(i + 0.5, k + 0.5):
            for order in itertools.permutations(np.eye(3, dtype=int).tolist()):
                cells.append([number[tuple(corner)] for corner in np.cumsum([[i, 0, k], *order], axis=0)])
    faces = {}
    for cell in cells:
        for face in itertools.combinations(cell, 3):
            faces[tuple(sorted(face))] = face
    ends = [(2, face) for face in faces.values() if np.all(points[list(face), 0] == 5)]
    ends += [(3, face) for face in faces.values() if np.all(points[list(face), 2] == 5)]
    elements = [f"2 2 {tag} {tag} " + " ".join(str(n + 1) for n in face) for tag, face in ends]
    elements += ["4 2 1 1 " + " ".join(str(n + 1) for n in cell) for cell in cells]
    blocks = {
        "MeshFormat": ["2.2 0 8"],
        "PhysicalNames": ["2", '2 2 "tip"', '2 3 "fixed"'],
        "Nodes": [str(len(points)), *(f"{k + 1} {x} {y} {z}" for k, (x, y, z) in enumerate(points))],
        "Elements": [str(len(elements)), *(f"{k + 1} {element}" for k, element in enumerate(elements))],
    }
    path.write_text("".join(f"${name}\n" + "\n".join(rows) + f"\n$End{name}\n" for name, rows in blocks.items()))
    return path


def problem(path: Path) -> hx.Problem:
    """The bracket of the mesh in a file, with the reference."""
    material = hx.Elastic(YOUNG, POISSON)
    terms = (
        hx.Energy("stored", lambda w, x: material.energy(w.u)(x)),
        hx.Energy("pull", lambda w, x, normal: PULL * w.u(x)[2], on="tip"),
        hx.dirichlet("fixed", unknown="u"),
    )
    coarse, fine = (Displacement(layers) for layers in LAYERS)
    points = fine.nodes
    bound = np.linalg.norm(fine(points) - coarse(points)) / np.linalg.norm(fine(points))
    reference = TabulatedReference({"u": fine}, float(bound))
    unknowns = {"u": hx.Function(3)}
    return hx.Problem(hx.mesh(path), terms, unknowns=unknowns, reference=reference, name="bracket")


class Displacement:
    """The displacement by finite elements of second order on a tensor grid, at points `(n, 3)`."""

    def __init__(self, layers: int) -> None:
        beside = 0.5 * 0.25 ** np.arange(layers + 1)
        bent = np.unique([[c + s, c - s] for c in (1.0, 2.0, 3.0) for s in (0.0, *beside)])
        x = np.unique(np.r_[0.0, bent, 4.0, 5.0])
        self.ticks = (x, np.linspace(0.0, 1.0, 3), np.unique(np.r_[x, 5.0 - beside]))
        basis, solution = _solved(self.ticks)
        self.lines = [np.sort(np.r_[own, 0.5 * (own[1:] + own[:-1])]) for own in self.ticks]
        # zero where the grid lies outside of the bracket
        self.values = np.zeros((*map(len, self.lines), 3))
        for component, dofs in enumerate(basis.split_indices()):
            at = basis.doflocs[:, dofs]
            place = [np.argmin(np.abs(line - own[:, None]), axis=1) for line, own in zip(self.lines, at, strict=True)]
            self.values[(*place, component)] = solution[dofs]

    @property
    def nodes(self) -> np.ndarray:
        """Corners `(n, 3)` of the elements."""
        points = np.stack(np.meshgrid(*self.ticks, indexing="ij"), axis=-1).reshape(-1, 3)
        return points[solid(points[:, 0], points[:, 2])]

    def __call__(self, points: np.ndarray) -> np.ndarray:
        numbers, shares = [], []
        for ticks, x in zip(self.ticks, points.T, strict=True):
            cell = np.clip(np.searchsorted(ticks, x, "right") - 1, 0, len(ticks) - 2)
            t = (x - ticks[cell]) / (ticks[cell + 1] - ticks[cell])
            numbers.append(2 * cell[:, None] + np.arange(3))
            shares.append(np.stack([(1 - t) * (1 - 2 * t), 4 * t * (1 - t), t * (2 * t - 1)], axis=1))
        i, j, k = numbers
        own = self.values[i[:, :, None, None], j[:, None, :, None], k[:, None, None, :]]
        return np.einsum("na,nb,nc,nabcd->nd", *shares, own, optimize=True)


def _solved(ticks: Sequence[np.ndarray]) -> tuple[Any, np.ndarray]:
    """Basis and coefficients by scikit-fem."""
    import skfem  # pyright: ignore[reportMissingImports]
    from skfem.helpers import ddot, sym_grad, trace  # pyright: ignore[reportMissingImports]

    mesh = skfem.MeshHex.init_tensor(*ticks)
    middle = mesh.p[:, mesh.t].mean(axis=1)
    mesh = mesh.restrict(elements=np.flatnonzero(solid(middle[0], middle[2])))
    basis = skfem.Basis(mesh, skfem.ElementVector(skfem.ElementHex2()), intorder=5)
    shear, lame = YOUNG / (2 + 2 * POISSON), YOUNG * POISSON / ((1 + POISSON) * (1 - 2 * POISSON))

    def stiffness(u: Any, v: Any, w: Any) -> Any:
        a, b = sym_grad(u), sym_grad(v)
        return 2.0 * shear * ddot(a, b) + lame * trace(a) * trace(b)

    tip = skfem.FacetBasis(mesh, basis.elem, facets=mesh.facets_satisfying(lambda x: np.isclose(x[0], 5.0)))
    pull = skfem.LinearForm(lambda v, w: -PULL * v[2]).assemble(tip)
    held = basis.get_dofs(mesh.facets_satisfying(lambda x: np.isclose(x[2], 5.0)))
    matrix, load, solution, free = skfem.condense(skfem.BilinearForm(stiffness).assemble(basis), pull, D=held)
    # for a symmetric, definite matrix: no pivots, and an order that fills in little
    factor = splu(matrix.tocsc(), "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    solution[free] = factor.solve(load)
    return basis, solution
