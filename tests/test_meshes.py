"""Meshes as domains: the body that they fill, names of groups, broken meshes, and predictions at their nodes."""

import io
import itertools

import numpy as np
import pytest

import hierax as hx
from hierax import cli
from hierax.results.codec import Arrays, Codec

meshio = pytest.importorskip("meshio")

FORMAT = {"file_format": "gmsh22", "binary": False}


def bracket():
    """4 x 4 unit squares without the upper right one, with a hole of one square; one column of triangles."""
    number = np.arange(25).reshape(5, 5)
    points = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0), [0.0], indexing="ij"), axis=-1).reshape(-1, 3)
    quads, triangles = [], []
    for i in range(4):
        for j in range(4):
            if (i, j) == (3, 3) or (i, j) == (1, 1):
                continue
            a, b, c, d = number[i, j], number[i + 1, j], number[i + 1, j + 1], number[i, j + 1]
            if i == 3:
                triangles += [[a, c, b], [a, c, d]]  # the first against the sense of the others
            else:
                quads.append([a, b, c, d])
    hole = [number[1, 1], number[2, 1], number[2, 2], number[1, 2]]
    lines = [[hole[k], hole[(k + 1) % 4]] for k in range(4)] + [[number[0, k], number[0, k + 1]] for k in range(4)]
    cells = {"quad": quads, "triangle": triangles, "line": lines}
    groups = {"quad": [1] * len(quads), "triangle": [2] * len(triangles), "line": [7] * 4 + [8] * 4}
    physical = [np.array(tags) for tags in groups.values()]
    return meshio.Mesh(
        points, {kind: np.array(own) for kind, own in cells.items()},
        cell_data={"gmsh:physical": physical, "gmsh:geometrical": physical},
        field_data={"arm": np.array([2, 2]), "hole": np.array([7, 1]), "fixed": np.array([8, 1])},
    )  # fmt: skip


def ring(turns=8):
    """A ring between radii 1 and 2, of curved triangles whose edges have their nodes on the circles."""
    angles = 2.0 * np.pi * np.arange(2 * turns) / (2 * turns)
    circle = np.stack([np.cos(angles), np.sin(angles), 0.0 * angles], axis=1)
    points = np.concatenate([circle, 1.5 * circle, 2.0 * circle])
    number = np.arange(len(points)).reshape(3, -1)
    cells, lines = [], []
    for k in range(turns):
        a, m, b = (2 * k) % (2 * turns), 2 * k + 1, (2 * k + 2) % (2 * turns)
        inner, outer = number[0], number[2]
        centre = len(points)
        points = np.vstack([points, 0.5 * (points[outer[a]] + points[inner[b]])])
        cells += [[outer[a], outer[b], inner[b], outer[m], number[1, b], centre],
                  [outer[a], inner[b], inner[a], centre, inner[m], number[1, a]]]  # fmt: skip
        lines.append([inner[a], inner[b], inner[m]])
    tags = [np.full(len(cells), 1), np.full(len(lines), 5)]
    return meshio.Mesh(
        points, {"triangle6": np.array(cells), "line3": np.array(lines)},
        cell_data={"gmsh:physical": tags, "gmsh:geometrical": tags}, field_data={"hole": np.array([5, 1])},
    )  # fmt: skip


def angle():
    """Three unit cubes around an edge, each of six tetrahedra, in one file with the names of two faces."""
    points = np.stack(np.meshgrid(np.arange(3.0), np.arange(2.0), np.arange(3.0), indexing="ij"), axis=-1)
    number = np.arange(18).reshape(3, 2, 3)
    cells = []
    for i, k in ((0, 0), (1, 0), (0, 1)):
        for order in itertools.permutations(np.eye(3, dtype=int).tolist()):
            steps = np.cumsum([[i, 0, k], *order], axis=0)
            cells.append([number[tuple(step)] for step in steps])
    top = [[number[0, 0, 2], number[1, 0, 2], number[1, 1, 2]], [number[0, 0, 2], number[0, 1, 2], number[1, 1, 2]]]
    tags = [np.repeat([1, 2, 1], 6), np.full(2, 5)]
    return meshio.Mesh(
        points.reshape(-1, 3), {"tetra": np.array(cells), "triangle": np.array(top)},
        cell_data={"gmsh:physical": tags, "gmsh:geometrical": tags},
        field_data={"arm": np.array([2, 3]), "tip": np.array([5, 2])},
    )  # fmt: skip


def written(mesh, file):
    mesh.write(file, **FORMAT)
    return file


@pytest.fixture
def path(tmp_path):
    return written(bracket(), tmp_path / "bracket.msh")


def test_a_mesh_is_the_body_that_its_cells_fill(path):
    body = hx.mesh(path)
    assert body.measure == pytest.approx(14.0, rel=1e-12)
    assert {"hole", "fixed", "wall"} <= set(body.boundaries)
    assert body.contains([[0.5, 0.5], [1.5, 1.5], [3.5, 3.5]]).tolist() == [True, False, False]
    half = hx.mesh(path, unit=0.5)
    assert half.measure == pytest.approx(14.0 / 4.0, rel=1e-12)
    arm = hx.mesh(path, region="arm")
    assert arm.measure == pytest.approx(3.0, rel=1e-12)
    np.testing.assert_allclose(arm.bounds(), [[3.0, 0.0], [4.0, 3.0]])


def test_curved_edges_are_parabolas(tmp_path):
    body = hx.mesh(written(ring(), tmp_path / "ring.msh"))
    # parabolas through three points of a circle, eight a turn
    assert body.measure == pytest.approx(3.0 * np.pi, rel=1e-3)
    hole, inside = body.quadrature("hole"), body.quadrature()
    assert hole.weights.sum() == pytest.approx(2.0 * np.pi, rel=1e-3)
    np.testing.assert_allclose(hole.normals, -hole.points / np.linalg.norm(hole.points, axis=1)[:, None], atol=2e-2)
    assert inside.weights.sum() == pytest.approx(body.measure, rel=1e-13)
    points = np.random.default_rng(0).uniform(-2.1, 2.1, (500, 2))
    away = np.linalg.norm(points, axis=1)
    np.testing.assert_allclose(body.level(points), np.maximum(1.0 - away, away - 2.0), atol=2e-3)
    half = body.rotated(20.0).scaled(0.5)
    assert half.measure == pytest.approx(body.measure / 4.0, rel=1e-12)
    up = hx.Extrusion(body, 0.0, 1.0)
    assert up.quadrature("hole", cells=6, order=3).weights.sum() == pytest.approx(hole.weights.sum(), rel=1e-5)


@pytest.mark.parametrize("made", [ring, angle])
def test_files_keep_the_bodies_of_meshes(tmp_path, made):
    body, arrays, saved = hx.mesh(written(made(), tmp_path / "part.msh")), Arrays(), io.BytesIO()
    described = Codec().describe(body, arrays)
    np.savez(saved, **arrays.named)  # pyright: ignore
    saved.seek(0)
    again = Codec().rebuild(described, dict(np.load(saved)))
    points = np.random.default_rng(0).uniform(-1.0, 3.0, (50, body.dim))
    np.testing.assert_array_equal(again.level(points), body.level(points))


def test_a_field_is_trained_in_tetrahedra(tmp_path):
    body = hx.mesh(written(angle(), tmp_path / "angle.msh"))

    def exact(x):  # harmonic, and of the degree of the splines
        return x[0] ** 4 - 6.0 * x[0] ** 2 * x[2] ** 2 + x[2] ** 4 + x[1]

    slope = hx.neumann("tip", lambda x: 4.0 * x[2] ** 3 - 12.0 * x[0] ** 2 * x[2])
    terms = (hx.Residual("laplace", lambda u, x: hx.laplacian(u)(x)), slope, hx.dirichlet("wall", exact))
    solution = hx.train(hx.Problem(body, terms, reference=hx.Reference(exact)), levels=1)
    assert solution.accuracy.relative_l2 < 1e-8
    with pytest.raises(hx.InputError):
        solution.evaluate([[1.5, 0.5, 1.5]], "u")


def test_tetrahedra_are_a_body_with_flat_faces(tmp_path):
    file = written(angle(), tmp_path / "angle.msh")
    body = hx.mesh(file, unit=2.0)
    assert body.measure == pytest.approx(24.0, rel=1e-12)
    np.testing.assert_allclose(body.bounds(), [[0.0, 0.0, 0.0], [4.0, 2.0, 4.0]])
    assert body.contains([[1.0, 1.0, 1.0], [3.0, 1.0, 3.0], [1.0, 1.0, 4.1]]).tolist() == [True, False, False]
    assert body.distance([[1.0, 1.0, 3.0], [3.0, 1.0, 3.0], [5.0, 1.0, 1.0]]) == pytest.approx([-1.0, 1.0, 1.0])
    inside, tip, wall = (body.quadrature(on, cells=4, order=2) for on in (None, "tip", "wall"))
    assert inside.weights @ inside.points[:, 2] == pytest.approx(8.0 * (1.0 + 1.0 + 3.0), rel=1e-12)
    assert tip.weights.sum() == pytest.approx(4.0, rel=1e-12)
    np.testing.assert_allclose(tip.normals, np.tile([0.0, 0.0, 1.0], (len(tip.points), 1)), atol=1e-12)
    assert tip.weights.sum() + wall.weights.sum() == pytest.approx(4.0 * 14.0, rel=1e-12)
    assert hx.mesh(file, region="arm").measure == pytest.approx(1.0, rel=1e-12)
    shape = body - hx.Cylinder((1.0, -1.0, 3.0), (1.0, 3.0, 3.0), 0.5, name="bore")
    assert shape.measure == pytest.approx(24.0 - np.pi * 0.5, rel=1e-9)
    turned = body.rotated(30.0, axis="x").rotated(50.0, axis="y")
    assert turned.quadrature(cells=3, order=2).weights.sum() == pytest.approx(24.0, rel=1e-9)


def prism():
    """An L of three unit squares, one high, as triangles seen from outside that share no corners, as STL has them."""
    corners = np.array([[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]], float)
    flat = corners[[[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5]]]
    bottom, top = np.insert(flat[:, ::-1], 2, 0.0, axis=2), np.insert(flat, 2, 1.0, axis=2)
    low, high = np.insert(corners, 2, 0.0, axis=1), np.insert(corners, 2, 1.0, axis=1)
    after = np.roll(np.arange(6), -1)
    sides = [np.stack([low, low[after], high[after]], axis=1), np.stack([low, high[after], high], axis=1)]
    return np.concatenate([bottom, top, *sides])


def surface(triangles):
    number = np.arange(3 * len(triangles)).reshape(-1, 3)
    return meshio.Mesh(triangles.reshape(-1, 3), {"triangle": number})


def test_a_closed_surface_is_the_body_that_it_encloses(tmp_path):
    file = tmp_path / "prism.stl"
    surface(prism()).write(file)
    body = hx.mesh(file, unit=2.0)
    assert body.measure == pytest.approx(24.0, rel=1e-6)  # numbers of the file have seven digits
    assert body.contains([[1.0, 1.0, 1.0], [3.0, 3.0, 1.0], [1.0, 1.0, 2.1]]).tolist() == [True, False, False]
    assert body.quadrature("wall", cells=4, order=2).weights.sum() == pytest.approx(4.0 * 14.0, rel=1e-6)
    inside_out = tmp_path / "inside_out.stl"
    surface(prism()[:, ::-1]).write(inside_out)
    assert hx.mesh(inside_out).measure == pytest.approx(3.0, rel=1e-6)


@pytest.mark.parametrize(("change", "said"), [
    (lambda t: t[:-1], "is not closed at"),
    (lambda t: np.concatenate([t, t[:1, ::-1]]), "touches itself at"),
    (lambda t: np.concatenate([t[:1, ::-1], t[1:]]), "changes its side at"),
])  # fmt: skip
def test_broken_surfaces_are_refused_by_what_and_where(tmp_path, change, said):
    file = tmp_path / "broken.stl"
    surface(change(prism())).write(file)
    with pytest.raises(hx.InputError, match=said):
        hx.mesh(file)


@pytest.mark.parametrize(("change", "said"), [
    (lambda m: m.points.__setitem__(0, m.points[1]), "no volume"),
    (lambda m: m.cells[0].data.__setitem__(1, m.cells[0].data[0]), "more than two cells"),
    (lambda m: setattr(m.cells[0], "data", m.cells[0].data[6:]), "touches itself"),
    (lambda m: m.points.__setitem__((2, 2), np.nan), "node 2 is at"),
    (lambda m: m.cells.append(meshio.CellBlock("tetra20", np.zeros((1, 20), int))), "'tetra20'"),
    (lambda m: m.points.__setitem__(slice(6, 12), np.add(m.points[6:12], [2.0, 0.0, 0.0])), "cells overlap at"),
])  # fmt: skip
def test_broken_bodies_are_refused_by_what_and_where(tmp_path, change, said, monkeypatch):
    mesh = angle()
    mesh.cell_data = {}
    change(mesh)
    monkeypatch.setattr("hierax.geometry.mesh_file.read", lambda path: mesh)
    with pytest.raises(hx.InputError, match=said):
        hx.mesh(tmp_path / "broken.msh")


@pytest.mark.parametrize(("change", "said"), [
    (lambda m: m.cells.append(meshio.CellBlock("triangle10", np.arange(10)[None])), "'triangle10'"),
    (lambda m: m.points.__setitem__((0, 2), 3.0), "is not closed at"),
    (lambda m: m.points.__setitem__(0, m.points[1]), "no area"),
    (lambda m: m.points.__setitem__(6, [2.5, 0.5, 0.0]), "no area or is not convex"),
])  # fmt: skip
def test_broken_meshes_are_refused_by_what_and_where(tmp_path, change, said, monkeypatch):
    mesh = bracket()
    mesh.cell_data = {}
    change(mesh)
    monkeypatch.setattr("hierax.geometry.mesh_file.read", lambda path: mesh)
    with pytest.raises(hx.InputError, match=said):
        hx.mesh(tmp_path / "broken.msh")


def test_what_is_no_mesh_and_groups_that_are_not_there_are_refused(tmp_path, path):
    (tmp_path / "text.msh").write_text("nothing")
    with pytest.raises(hx.InputError, match="give a file that meshio reads"):
        hx.mesh(tmp_path / "text.msh")
    with pytest.raises(hx.InputError, match="the groups are arm"):
        hx.mesh(path, region="foot")


FILE = """
import hierax as hx

def problem(path=""):
    exact = lambda x: x[0] ** 2 - x[1] ** 2 + x[0]
    terms = (hx.Residual("laplace", lambda u, x: hx.laplacian(u)(x)), hx.dirichlet("boundary", exact))
    return hx.Problem(hx.mesh(path), terms)
"""


def test_predictions_at_the_nodes_of_a_mesh(tmp_path, path):
    (tmp_path / "file.py").write_text(FILE)
    run, out = tmp_path / "run", tmp_path / "field.vtu"
    words = ["train", f"{tmp_path / 'file.py'}:problem", "--set", f"path={path}", "--levels", "1", "--run", str(run)]
    assert cli.main(words) == 0
    large = bracket()
    large.points *= 1000.0
    words = ["--mesh", str(written(large, tmp_path / "large.msh")), "--unit", "0.001", "--values", "u", "u_x"]
    assert cli.main(["predict", str(run), *words, "--out", str(out)]) == 0
    found = meshio.read(out)
    x, y = found.points.T[:2] / 1000.0
    inside = ~((x > 3) & (y > 3))
    assert inside.sum() == 24
    np.testing.assert_allclose(found.point_data["u"][inside], (x**2 - y**2 + x)[inside], atol=1e-8)
    np.testing.assert_allclose(found.point_data["u_x"][inside], (2 * x + 1)[inside], atol=1e-7)
    assert np.all(np.isnan(found.point_data["u"][~inside]))
