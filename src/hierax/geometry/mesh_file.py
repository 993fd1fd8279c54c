"""Meshes of other programs as domains: in the plane the polygon around their cells, with the names of their groups."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from hierax._errors import InputError
from hierax.geometry.plane import Polygon
from hierax.geometry.shape import AbstractShape, positive

PLANE = ("triangle", "quad")
"""Cells that are read."""
BESIDE = ("line", "vertex")
"""Cells that carry names of boundaries, or nothing."""
WALL = "wall"
"""Name of boundary edges that are in no named group."""
FLAT, SAME = 1e-12, 1e-9
"""Least area of a cell, in squares of the size of the mesh; difference of areas, or angle, that is rounding."""


def mesh(path: str | Path, region: str | None = None, unit: float = 1.0) -> AbstractShape:
    """The body that a mesh of triangles and quadrilaterals in the plane fills, read by meshio.

    Its boundary is that of the mesh. Edges of a named group of lines have the name of the group, others are called
    `wall`; edges that go on in the same direction under the same name are one.

    Parameters
    ----------
    path:
        A file that meshio reads: `.msh` of Gmsh, `.vtu`, `.xdmf`, `.inp` and others.
    region:
        A named group of cells: the body of these alone, for example for `hx.Interface(hx.mesh(path, "rod"))`.
    unit:
        Length of a unit of the file in units of the problem: 1e-3 for a file in millimetres and a problem in metres.

    Raises
    ------
    InputError
        For files that cannot be read, cells of other kinds, groups that are not there, and meshes that are broken:
        cells without area, cells that overlap, edges of more than two cells, boundaries that touch themselves.

    Examples
    --------
    >>> plate = hx.mesh("plate.msh", unit=1e-3)  # doctest: +SKIP
    """
    found, where = read(path), f"mesh({str(path)!r})"
    points = positive(unit, "mesh(unit=...)") * np.asarray(found.points, float)
    if points.shape[1] == 3 and np.ptp(points[:, 2]) > SAME * np.ptp(points):
        raise InputError("the mesh does not lie in a plane z = constant", where, "meshes in space are not read")
    return _body(points[:, :2], _oriented(points[:, :2], _cells(found, region, where), where), _names(found), where)


def read(path: str | Path) -> Any:
    """What meshio reads.

    Raises
    ------
    InputError
        Without meshio, and for what it cannot read.
    """
    try:
        meshio = importlib.import_module("meshio")
    except ImportError as error:
        raise InputError("meshio is not installed", f"{path}", "pip install hierax[mesh]") from error
    try:
        return meshio.read(path)
    except (Exception, SystemExit) as error:  # its readers raise whatever comes, and one ends the program
        raise InputError(f"{error or type(error).__name__}", f"{path}", "give a file that meshio reads") from error


def _group(found: Any, name: str, dim: int, where: str) -> int:
    known = {n: int(tag) for n, (tag, own) in found.field_data.items() if int(own) == dim}
    if name not in known:
        raise InputError(f"no group of cells is called {name!r}", where, f"the groups are {', '.join(known) or 'none'}")
    return known[name]


def _tags(found: Any, number: int) -> np.ndarray | None:
    data = found.cell_data.get("gmsh:physical")
    return None if data is None else np.asarray(data[number])


def _cells(found: Any, region: str | None, where: str) -> list[np.ndarray]:
    """The cells of the plane, each as the numbers of its corners."""
    tag, out = None if region is None else _group(found, region, 2, where), []
    for number, block in enumerate(found.cells):
        if block.type not in (*PLANE, *BESIDE):
            raise InputError(
                f"the mesh has cells of the kind {block.type!r}", where,
                "give triangles and quadrilaterals of first order in the plane",
            )  # fmt: skip
        if block.type in PLANE:
            tags = _tags(found, number)
            keep = slice(None) if tag is None else tags == tag if tags is not None else slice(0)
            out += list(np.asarray(block.data, int)[keep])
    if not out:
        raise InputError("the mesh has no triangles or quadrilaterals", where, "give a mesh of an area")
    return out


def _oriented(points: Float[np.ndarray, "n 2"], cells: Sequence[np.ndarray], where: str) -> list[np.ndarray]:
    """The cells with their corners against the clock."""
    out, size = [], float(np.ptp(points, axis=0).max())
    for number, cell in enumerate(cells):
        x, y = points[cell].T
        if not np.all(np.isfinite(points[cell])):
            raise InputError(f"cell {number} has corners that are not finite", where, "mesh the part again")
        turns = [_twice(points[[cell[k - 2], cell[k - 1], cell[k]]]) for k in range(len(cell))]
        if min(np.abs(turns)) <= FLAT * size**2 or min(turns) * max(turns) < 0.0:
            what = f"cell {number}, at ({x.mean():.6g}, {y.mean():.6g}), has no area or is not convex"
            raise InputError(what, where, "mesh the part again, without such cells")
        out.append(cell if turns[0] > 0.0 else cell[::-1])
    return out


def _twice(corners: Float[np.ndarray, "n 2"]) -> float:
    """Twice the area inside of a closed line, positive against the clock."""
    x, y = corners.T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))


def _names(found: Any) -> dict[tuple[int, int], str]:
    """The names of edges, by their ends in order."""
    groups = {int(tag): name for name, (tag, dim) in found.field_data.items() if int(dim) == 1}
    out: dict[tuple[int, int], str] = {}
    for number, block in enumerate(found.cells):
        tags = _tags(found, number)
        if block.type == "line" and tags is not None:
            out |= {tuple(sorted(map(int, edge))): groups[int(t)]  # pyright: ignore
                    for edge, t in zip(block.data, tags, strict=True) if int(t) in groups}  # fmt: skip
    return out


def _body(
    points: Float[np.ndarray, "n 2"], cells: Sequence[np.ndarray], names: dict[tuple[int, int], str], where: str
) -> AbstractShape:
    # by size, so that what lies in a hole comes after it
    loops = sorted(_loops(points, cells, where), key=lambda loop: -abs(_twice(points[loop])))
    shape: AbstractShape | None = None
    for loop in loops:
        polygon = _polygon(points, loop, names)
        if _twice(points[loop]) > 0.0:
            shape = polygon if shape is None else shape | polygon
        else:
            assert shape is not None
            shape = shape - polygon
    assert shape is not None
    inside = 0.5 * sum(_twice(points[cell]) for cell in cells)
    if abs(shape.measure - inside) > SAME * inside:
        raise InputError(
            f"the cells have an area of {inside:.6g}, and fill one of {shape.measure:.6g}", where,
            "mesh the part again: cells overlap",
        )  # fmt: skip
    return shape


def _loops(points: Float[np.ndarray, "n 2"], cells: Sequence[np.ndarray], where: str) -> list[Int[np.ndarray, " m"]]:
    """The closed lines of edges that belong to one cell only, with the cells on their left."""
    edges = np.concatenate([np.stack([cell, np.roll(cell, -1)], axis=1) for cell in cells])
    _, same, count = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True, return_counts=True)
    if count.max() > 2:
        place = points[edges[np.argmax(count[same.ravel()])]].mean(axis=0)
        raise InputError(f"more than two cells meet at an edge at {place.tolist()}", where, "mesh the part again")
    outer = edges[count[same.ravel()] == 1]
    start, several = np.unique(outer[:, 0], return_counts=True)
    if several.max(initial=0) > 1:
        place = points[start[np.argmax(several)]]
        raise InputError(f"the boundary touches itself at {place.tolist()}", where, "separate the parts there")
    after, out = dict(outer.tolist()), []
    while after:
        first, at = next(iter(after.items()))
        loop = [first]
        del after[first]
        while at != first:
            loop.append(at)
            at = after.pop(at)
        out.append(np.array(loop))
    return out


def _polygon(
    points: Float[np.ndarray, "n 2"], loop: Int[np.ndarray, " m"], names: dict[tuple[int, int], str]
) -> Polygon:
    ends = np.roll(loop, -1)
    sides = [names.get(tuple(sorted((int(a), int(b)))), WALL) for a, b in zip(loop, ends, strict=True)]  # pyright: ignore
    along = points[ends] - points[loop]
    before = np.roll(along, 1, axis=0)
    cross = np.abs(along[:, 0] * before[:, 1] - along[:, 1] * before[:, 0])
    straight = cross <= SAME * np.linalg.norm(along, axis=1) * np.linalg.norm(before, axis=1)
    corner = ~straight | np.array([a != b for a, b in zip(sides, np.roll(sides, 1), strict=True)])
    return Polygon(points[loop][corner], "mesh", [s for s, c in zip(sides, corner, strict=True) if c])
