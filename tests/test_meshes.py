"""Meshes as domains: the body that they fill, names of groups, broken meshes, and predictions at their nodes."""

import numpy as np
import pytest

import hierax as hx
from hierax import cli

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


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "bracket.msh"
    bracket().write(file, **FORMAT)
    return file


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


@pytest.mark.parametrize(("change", "said"), [
    (lambda m: m.cells.append(meshio.CellBlock("triangle6", np.arange(6)[None])), "'triangle6'"),
    (lambda m: m.points.__setitem__((0, 2), 3.0), "does not lie in a plane"),
    (lambda m: m.points.__setitem__(0, m.points[1]), "no area"),
    (lambda m: m.points.__setitem__(6, [2.5, 0.5, 0.0]), "no area or is not convex"),
])  # fmt: skip
def test_broken_meshes_are_refused_by_what_and_where(tmp_path, change, said):
    mesh = bracket()
    mesh.cell_data = {}
    change(mesh)
    mesh.write(tmp_path / "broken.vtk")
    with pytest.raises(hx.InputError, match=said):
        hx.mesh(tmp_path / "broken.vtk")


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
    assert cli.main(["predict", str(run), "--mesh", str(path), "--out", str(out), "--values", "u", "u_x"]) == 0
    found = meshio.read(out)
    x, y = found.points.T[:2]
    inside = ~((x > 3) & (y > 3))
    assert inside.sum() == 24
    np.testing.assert_allclose(found.point_data["u"][inside], (x**2 - y**2 + x)[inside], atol=1e-8)
    np.testing.assert_allclose(found.point_data["u_x"][inside], (2 * x + 1)[inside], atol=1e-7)
    assert np.all(np.isnan(found.point_data["u"][~inside]))
