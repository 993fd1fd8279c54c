"""Meshes of other programs as domains: the area or the body that their cells fill, with the names of their groups."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from hierax._errors import InputError
from hierax.geometry.faceted import Faceted
from hierax.geometry.outline import STRAIGHT, Outline, closed_lines
from hierax.geometry.shape import AbstractShape, positive

FACES = {"triangle": 3, "quad": 4}
"""Cells of surfaces in space, with the number of their corners."""
PLANE = {"triangle": 3, "quad": 4, "triangle6": 3, "quad8": 4, "quad9": 4}
"""Cells of areas, with the number of their corners; those of second order have a node on every edge as well."""
SOLID = {
    "tetra": ((0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)),
    "tetra10": ((0, 2, 1, 6, 5, 4), (0, 1, 3, 4, 8, 7), (1, 2, 3, 5, 9, 8), (0, 3, 2, 7, 9, 6)),
    "hexahedron": ((0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)),
    "wedge": ((0, 2, 1), (3, 4, 5), (0, 1, 4, 3), (1, 2, 5, 4), (2, 0, 3, 5)),
    "pyramid": ((0, 3, 2, 1), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)),
}
"""Cells of bodies, with their faces as they are seen from outside."""
FLAT_PARTS = {
    3: ((0, 1, 2),),
    4: ((0, 1, 2), (0, 2, 3)),
    6: ((0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5)),
}
"""Triangles for which a face with so many nodes stands; that of second order is four flat ones."""
WALL = "wall"
"""Name of boundary edges and faces that are in no named group."""
FLAT, SAME = 1e-12, 1e-9
"""Least measure of a cell, in powers of the size of the mesh; difference of measures or places that is rounding."""
SEEN = 500
"""Cells of a body in which it is looked for others."""


def mesh(path: str | Path, region: str | None = None, unit: float = 1.0) -> AbstractShape:
    """The area or the body that the cells of a mesh fill, or that a closed surface encloses, read by meshio.

    Its boundary is that of the mesh: edges of second order are parabolas, faces in space are flat. Edges, or faces, of
    a named group have the name of the group, others are called `wall`.

    Parameters
    ----------
    path:
        A file that meshio reads: `.msh` of Gmsh, `.vtu`, `.xdmf`, `.inp`, surfaces as `.stl` and others.
    region:
        A named group of cells: the body of these alone, for example for `hx.Interface(hx.mesh(path, "rod"))`.
    unit:
        Length of a unit of the file in units of the problem: 1e-3 for a file in millimetres and a problem in metres.

    Raises
    ------
    InputError
        For files that cannot be read, cells of other kinds, groups that are not there, and meshes that are broken:
        cells without area or volume, cells that overlap, edges or faces of more than two cells, boundaries that touch
        themselves, surfaces that are open or whose triangles do not agree on what is outside.

    Examples
    --------
    >>> plate = hx.mesh("plate.msh", unit=1e-3)  # doctest: +SKIP
    """
    found, where = read(path), f"mesh({str(path)!r})"
    points = positive(unit, "mesh(unit=...)") * np.asarray(found.points, float)
    if any(block.type in SOLID for block in found.cells):
        return _body(points, found, region, where)
    if points.shape[1] == 3 and np.ptp(points[:, 2]) > SAME * np.ptp(points):
        return _enclosed(points, found, region, where)
    return _area(points[:, :2], found, region, where)


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


def _chosen(found: Any, kinds: Any, region: str | None, where: str) -> list[tuple[str, np.ndarray]]:
    """Blocks of cells of some kinds, as the numbers of their nodes `(n, k)`, those of one region only."""
    dim = 3 if kinds is SOLID else 2
    tag, out = None if region is None else _group(found, region, dim, where), []
    for number, block in enumerate(found.cells):
        if block.type in kinds:
            tags = _tags(found, number)
            keep = slice(None) if tag is None else tags == tag if tags is not None else slice(0)
            out.append((block.type, np.asarray(block.data, int)[keep]))
        elif getattr(block, "dim", dim) >= dim:
            raise InputError(
                f"the mesh has cells of the kind {block.type!r}", where, f"give a mesh of {', '.join(kinds)}"
            )
    full = [(kind, cells) for kind, cells in out if len(cells)]
    if not full:
        raise InputError("the mesh has no cells", where, f"give a mesh of {', '.join(kinds)}")
    return full


def _united(points: Float[np.ndarray, "n dim"], used: Int[np.ndarray, " k"], where: str) -> Int[np.ndarray, " n"]:
    """For every node the number that stands for its place: parts that are meshed one by one have nodes of their own."""
    broken = used[~np.all(np.isfinite(points[used]), axis=1)]
    if len(broken):
        raise InputError(f"node {broken[0]} is at {points[broken[0]].tolist()}", where, "mesh the part again")
    pairs = used[
        KDTree(points[used]).query_pairs(SAME * float(np.ptp(points[used], axis=0).max()), output_type="ndarray")
    ]
    graph = sp.coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(len(points), len(points)))
    return connected_components(graph, directed=False)[1]


def _names(found: Any, dim: int, places: Int[np.ndarray, " n"]) -> dict[tuple[int, ...], str]:
    """The names of edges or faces, by the places of their corners in order."""
    groups = {int(tag): name for name, (tag, own) in found.field_data.items() if int(own) == dim}
    corners = {"line": 2, "line3": 2} if dim == 1 else PLANE
    out: dict[tuple[int, ...], str] = {}
    for number, block in enumerate(found.cells):
        tags = _tags(found, number)
        if block.type in corners and tags is not None:
            keys = np.sort(places[np.asarray(block.data, int)[:, : corners[block.type]]], axis=1)
            out |= {tuple(key): groups[int(t)] for key, t in zip(keys.tolist(), tags, strict=True) if int(t) in groups}
    return out


class _Line(NamedTuple):
    """Edges with the area on their left: places of their ends `(n, 2)`; first, middle and last point `(n, 3, 2)`."""

    ends: np.ndarray
    nodes: np.ndarray


def _area(points: Float[np.ndarray, "n 2"], found: Any, region: str | None, where: str) -> AbstractShape:
    blocks = _chosen(found, PLANE, region, where)
    places = _united(points, np.unique(np.concatenate([cells.ravel() for _, cells in blocks])), where)
    parts = [_edges(points, places, cells, PLANE[kind], where) for kind, cells in blocks]
    every = _Line(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    outer = _outer(every, where)
    names = _names(found, 1, places)
    sides = [names.get(tuple(sorted(ends)), WALL) for ends in outer.ends.tolist()]
    merged = [_merged(outer, sides, loop) for loop in _loops(outer, where)]
    shape = Outline(np.concatenate([nodes for nodes, _ in merged]), tuple(side for _, own in merged for side in own))
    inside = _surrounded(outer.nodes)
    if abs(shape.measure - inside) > SAME * inside:
        raise InputError(
            f"the cells have an area of {inside:.6g}, and fill one of {shape.measure:.6g}", where,
            "mesh the part again: cells overlap",
        )  # fmt: skip
    return shape


def _edges(
    points: Float[np.ndarray, "n 2"], places: np.ndarray, cells: Int[np.ndarray, "m k"], corners: int, where: str
) -> _Line:
    """The edges of cells, against the clock."""
    first, after = points[cells[:, :corners]], points[np.roll(cells[:, :corners], -1, axis=1)]
    straight = cells.shape[1] == corners
    middle = 0.5 * (first + after) if straight else points[cells[:, corners : 2 * corners]]
    # at a corner its edges go off along these directions
    ahead, back = 4.0 * middle - 3.0 * first - after, np.roll(4.0 * middle - 3.0 * after - first, 1, axis=1)
    turns = ahead[..., 0] * back[..., 1] - ahead[..., 1] * back[..., 0]
    low, high = turns.min(axis=1), turns.max(axis=1)
    size = float(np.ptp(points[cells.ravel()], axis=0).max())
    bad = np.flatnonzero((np.minimum(abs(low), abs(high)) <= FLAT * size**2) | (low * high < 0.0))
    if len(bad):
        x, y = first[bad[0]].mean(axis=0)
        what = f"cell {bad[0]}, at ({x:.6g}, {y:.6g}), has no area or is not convex"
        raise InputError(what, where, "mesh the part again, without such cells")
    ends = places[np.stack([cells[:, :corners], np.roll(cells[:, :corners], -1, axis=1)], axis=2)]
    nodes = np.stack([first, middle, after], axis=2)
    clockwise = low < 0.0
    ends[clockwise], nodes[clockwise] = ends[clockwise][:, :, ::-1], nodes[clockwise][:, :, ::-1]
    return _Line(ends.reshape(-1, 2), nodes.reshape(-1, 3, 2))


def _surrounded(nodes: Float[np.ndarray, "n 3 2"]) -> float:
    """Area on the left of closed lines of parabolas."""
    first, middle, last = np.moveaxis(nodes, 1, 0)
    bent, along = middle - 0.5 * (first + last), last - first
    under = 0.5 * (first[:, 0] * last[:, 1] - first[:, 1] * last[:, 0])
    return float(np.sum(under + 2.0 / 3.0 * (bent[:, 0] * along[:, 1] - bent[:, 1] * along[:, 0])))


def _outer(edges: _Line, where: str) -> _Line:
    """Those that belong to one cell only."""
    _, same, count = np.unique(np.sort(edges.ends, axis=1), axis=0, return_inverse=True, return_counts=True)
    same = same.ravel()
    if count.max() > 2:
        place = edges.nodes[np.argmax(count[same]), 1]
        raise InputError(f"more than two cells meet at an edge at {place.tolist()}", where, "mesh the part again")
    outer = count[same] == 1
    return _Line(edges.ends[outer], edges.nodes[outer])


def _loops(edges: _Line, where: str) -> list[Int[np.ndarray, " m"]]:
    """Numbers of the edges of every closed line, in order."""
    start, first, several = np.unique(edges.ends[:, 0], return_index=True, return_counts=True)
    if several.max(initial=0) > 1:
        place = edges.nodes[first[np.argmax(several)], 0]
        raise InputError(f"the boundary touches itself at {place.tolist()}", where, "separate the parts there")
    return closed_lines(first[np.searchsorted(start, edges.ends[:, 1])])


def _merged(edges: _Line, sides: Sequence[str], loop: Int[np.ndarray, " m"]) -> tuple[np.ndarray, list[str]]:
    """Pieces of a closed line, with their names: edges that go on straight under the same name are one."""
    first, middle, last = np.moveaxis(edges.nodes[loop], 1, 0)
    names, along = np.array(sides)[loop], last - first
    length = np.linalg.norm(along, axis=1)
    bent = np.linalg.norm(middle - 0.5 * (first + last), axis=1) > STRAIGHT * length
    before = np.roll(along, 1, axis=0)
    cross = np.abs(along[:, 0] * before[:, 1] - along[:, 1] * before[:, 0])
    goes_on = (cross <= SAME * length * np.roll(length, 1)) & ~bent & ~np.roll(bent, 1) & (names == np.roll(names, 1))
    corner = np.flatnonzero(~goes_on)
    start, stop = first[corner], first[np.roll(corner, -1)]
    nodes = np.stack([start, np.where(bent[corner, None], middle[corner], 0.5 * (start + stop)), stop], axis=1)
    return nodes, names[corner].tolist()


def _body(points: Float[np.ndarray, "n 3"], found: Any, region: str | None, where: str) -> AbstractShape:
    blocks = _chosen(found, SOLID, region, where)
    places = _united(points, np.unique(np.concatenate([cells.ravel() for _, cells in blocks])), where)
    names, corners = _names(found, 2, places), {6: 3}
    size = float(np.ptp(points[np.concatenate([cells.ravel() for _, cells in blocks])], axis=0).max())
    outer: dict[tuple[int, ...], list[np.ndarray]] = {}
    middles = []
    for kind, cells in blocks:
        faces = [cells[:, face] for face in SOLID[kind]]
        inverted = _volumes(points, faces, size, where) < 0.0
        for face in faces:
            keys = np.sort(places[face[:, : corners.get(face.shape[1], face.shape[1])]], axis=1).tolist()
            flat = [face[:, part] for part in FLAT_PARTS[face.shape[1]]]
            triangles = np.stack([np.where(inverted[:, None], t[:, ::-1], t) for t in flat], axis=1)
            for key, own in zip(keys, triangles, strict=True):
                outer.setdefault(tuple(key), []).append(own)
        middles.append(points[cells].mean(axis=1))
    _refuse_several(points, outer, where)
    single = {key: own[0] for key, own in outer.items() if len(own) == 1}
    triangles = places[np.concatenate(list(single.values()))]
    _refuse_touching(points, places, triangles, where)
    at = np.zeros((places.max() + 1, 3))
    at[places] = points
    used, triangles = np.unique(triangles, return_inverse=True)
    surface = Faceted(at[used], triangles.reshape(-1, 3),
                      tuple(names.get(key, WALL) for key, own in single.items() for _ in own))  # fmt: skip
    _refuse_overlap(surface, np.concatenate(middles), where)
    return surface


def _enclosed(points: Float[np.ndarray, "n 3"], found: Any, region: str | None, where: str) -> AbstractShape:
    """The inside of a closed surface of triangles and quadrilaterals."""
    blocks = _chosen(found, FACES, region, where)
    places = _united(points, np.unique(np.concatenate([cells.ravel() for _, cells in blocks])), where)
    names, triangles, sides = _names(found, 2, places), [], []
    for _, cells in blocks:
        flat = places[cells[:, FLAT_PARTS[cells.shape[1]]]]
        triangles.append(flat.reshape(-1, 3))
        sides += [names.get(tuple(sorted(own)), WALL) for own in places[cells].tolist() for _ in range(flat.shape[1])]
    every = np.concatenate(triangles)
    solid = np.array([len(set(own)) == 3 for own in every.tolist()])
    every, at = every[solid], np.zeros((places.max() + 1, 3))
    at[places] = points
    _refuse_open(at, every, where)
    a, b, c = np.moveaxis(at[every], 1, 0)
    if np.sum(a * np.cross(b, c)) < 0.0:
        every = every[:, ::-1]
    used, every = np.unique(every, return_inverse=True)
    return Faceted(at[used], every.reshape(-1, 3), tuple(side for side, own in zip(sides, solid, strict=True) if own))


def _refuse_open(points: np.ndarray, triangles: Int[np.ndarray, "m 3"], where: str) -> None:
    """Every edge of a closed surface belongs to two triangles, which run through it in opposite directions."""
    edges = np.concatenate([triangles[:, [k, (k + 1) % 3]] for k in range(3)])
    pairs, same, count = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True, return_counts=True)
    turns = np.bincount(same.ravel(), np.sign(edges[:, 1] - edges[:, 0]))
    for bad, what in ((count == 1, "is not closed"), (count > 2, "touches itself"), (turns != 0, "changes its side")):
        if bad.any():
            place = np.round(points[pairs[np.argmax(bad)]].mean(axis=0), 6).tolist()
            raise InputError(f"the surface {what} at {place}", where, "give a closed surface, seen from outside")


def _volumes(
    points: Float[np.ndarray, "n 3"], faces: Sequence[Int[np.ndarray, "m k"]], size: float, where: str
) -> Float[np.ndarray, " m"]:
    """Volumes of cells, negative for those that are turned inside out."""
    middle = points[np.concatenate(faces, axis=1)].mean(axis=1)
    parts = [points[face[:, part]] - middle[:, None] for face in faces for part in FLAT_PARTS[face.shape[1]]]
    volumes = np.sum([np.linalg.det(part) for part in parts], axis=0) / 6.0
    flat = np.flatnonzero(np.abs(volumes) <= FLAT * size**3)
    if len(flat):
        what = f"cell {flat[0]}, at {np.round(middle[flat[0]], 6).tolist()}, has no volume"
        raise InputError(what, where, "mesh the part again, without such cells")
    return volumes


def _refuse_several(points: np.ndarray, outer: Any, where: str) -> None:
    for own in outer.values():
        if len(own) > 2:
            place = points[own[0]].reshape(-1, 3).mean(axis=0)
            raise InputError(f"more than two cells meet at a face at {place.tolist()}", where, "mesh the part again")


def _refuse_touching(points: np.ndarray, places: np.ndarray, triangles: Int[np.ndarray, "m 3"], where: str) -> None:
    edges = np.sort(np.concatenate([triangles[:, [k, (k + 1) % 3]] for k in range(3)]), axis=1)
    pairs, count = np.unique(edges, axis=0, return_counts=True)
    if np.any(count != 2):
        place = points[np.isin(places, pairs[np.argmax(count != 2)])][0]
        raise InputError(f"the boundary touches itself at {place.tolist()}", where, "separate the parts there")


def _refuse_overlap(surface: Faceted, middles: Float[np.ndarray, "n 3"], where: str) -> None:
    """The surface winds once around every cell."""
    seen = middles[np.unique(np.linspace(0, len(middles) - 1, SEEN).astype(int))]
    for point in seen:
        a, b, c = np.moveaxis(surface.points[surface.triangles] - point, 1, 0)
        la, lb, lc = (np.linalg.norm(corner, axis=1) for corner in (a, b, c))
        below = la * lb * lc + np.sum(a * b, axis=1) * lc + np.sum(b * c, axis=1) * la + np.sum(c * a, axis=1) * lb
        angle = 2.0 * np.arctan2(np.sum(a * np.cross(b, c), axis=1), below)
        if abs(angle.sum() / (4.0 * np.pi) - 1.0) > 0.5:
            raise InputError(f"cells overlap at {point.tolist()}", where, "mesh the part again")
