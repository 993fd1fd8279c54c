"""The study `decomposition` in small: rows, summary and files, written as they come."""

import numpy as np
import pytest

from hierax.problems import helmholtz_l_shape, oscillator, semilinear_2d, wave_2d
from studies import decomposition, named_study
from studies.classical import collocation, l_shape_differences, minus_laplacian, wave_lines
from studies.common import read_rows, write_files
from studies.decomposition import (
    Case,
    arms_of,
    cases,
    classical_row,
    cover_of,
    rows_of,
    runge_kutta,
    summary,
    table,
)
from studies.gap import held_out


def test_every_field_meets_every_solver_that_suits_it():
    first, names = cases()[0], [arm.name for arm in arms_of(cases()[0])]
    assert len(names) == len(set(names)) == 1 + 4 * 5 + 3 + 2
    assert "perceptrons, Schwarz" not in names
    wave = next(case for case in cases() if case.name.startswith("wave"))
    fewer = [arm.name for arm in arms_of(wave)]
    assert len(fewer) == 1 + 4 * 2 + 3 + 1
    assert first.dense
    assert not wave.schwarz


def test_the_cover_of_an_l_shape_leaves_out_its_notch():
    case = cases()[-1]
    centres = np.asarray(cover_of(case, case.problem()).centres)
    assert len(centres) == 0.75 * 32**2
    assert not np.any(np.all(centres > 0.5, axis=1))


def slow():
    return Case("slow", lambda: oscillator(10.0), 4, 1.9, "nothing", lambda p: runge_kutta(p, 10.0), 0.0)


def test_the_classical_row_is_measured_and_summed_up():
    row = classical_row(slow())
    assert row["relative_l2"] < 1e-10
    assert summary([row]) == {"error": {"slow": {row["arm"]: [row["relative_l2"], row["seconds"]]}}}
    assert "published: nothing" in table([row])


def test_rows_that_are_known_are_read_and_left_out(tmp_path):
    row = classical_row(slow()) | {"steps": [3, 4], "loss": float("inf"), "result": "nan"}
    write_files(tmp_path, "rows", "title", table([row]), [row], lambda path: None)
    (found,) = read_rows(tmp_path / "rows.csv")
    assert {k: v for k, v in found.items() if k != "result"} == {k: v for k, v in row.items() if k != "result"}
    assert read_rows(tmp_path / "none.csv") == []
    known = {"classical", *(arm.name for arm in arms_of(slow()))}
    assert list(rows_of(slow(), known, 0.0)) == []


METHODS = {
    "wave": (lambda: wave_2d(0.3), wave_lines, 20, 1e-3),
    "L-shape": (lambda: helmholtz_l_shape(4, 12), l_shape_differences, 64, 1e-2),
    "semilinear": (semilinear_2d, lambda p, n: collocation(p, n, minus_laplacian, 2), 20, 1e-9),
}


@pytest.mark.parametrize("name", METHODS)
def test_classical_methods_of_the_study_solve_their_problems(name):
    make, method, count, bound = METHODS[name]
    problem = make()
    points, exact = (part[:500] for part in held_out(problem))
    wrong = [np.linalg.norm(method(problem, n).values(points) - exact[:, 0]) for n in (count // 2, count)]
    assert wrong[1] < 0.1 * wrong[0]
    assert wrong[1] < bound * np.linalg.norm(exact)


@pytest.mark.slow
def test_the_short_form_leaves_its_files(tmp_path, monkeypatch):
    chosen = ("spline grid, default", "polynomials, Schwarz", "perceptrons, Adam")
    monkeypatch.setattr(decomposition, "arms_of", lambda case: [arm for arm in arms_of(case) if arm.name in chosen])
    found = named_study("decomposition")(tmp_path, True)
    (errors,) = found["summary"]["error"].values()
    assert errors.keys() == {"classical", *chosen}
    assert errors["polynomials, Schwarz"][0] < 1e-4
    assert np.isfinite([pair[0] for pair in errors.values()]).all()
    assert {path.suffix for path in tmp_path.iterdir()} >= {".txt", ".csv", ".png"}
