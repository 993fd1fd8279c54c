"""The study `cost-scaling` and its parts: climbs on a small problem, exponents from rows, table, answer and figure."""

from dataclasses import replace

import numpy as np
import pytest

from hierax.results.files import read_json
from studies import cost_scaling
from studies.climbs import CASES, CLIMBERS, Climb, Site, climb, elliptic, own_errors
from studies.cost_scaling import FULL, SPARSE
from studies.row_cost import row_cost

ARMS = {climber.name: climber for climber in CLIMBERS}


@pytest.fixture(scope="module")
def line():
    sizes = replace(CASES["poisson-1d"], depths=(4, 5, 6))
    return sizes, *own_errors(sizes, 6)


def test_own_errors_fall_with_the_order_of_the_splines(line):
    _, fields, errors = line
    assert len(fields) == 6
    assert 10 < errors[-2] / errors[-1] < 24


@pytest.mark.parametrize("name", [FULL, "cascade, Gauss-Newton, CG"])
def test_nested_iteration_comes_to_the_error_of_the_level(line, name):
    sizes, fields, errors = line
    found = climb(Site.of(sizes, ARMS[name], 6), 6, 2.0 * errors[-1])
    assert found.reached
    assert len(found.steps) == len(found.errors) == 6
    assert found.parameters[-1] == fields[-1].coefficients.size
    assert found.seconds > 0


def test_a_single_level_has_one_and_needs_many_iterations(line):
    sizes, _, errors = line
    site = Site.of(sizes, ARMS["single level, Gauss-Newton, CG"], 6)
    few, many = (climb(site, depth, 2.0 * errors[depth - 1]) for depth in (4, 6))
    assert len(many.parameters) == 1
    assert many.iterations[0] > 2 * few.iterations[0]
    assert many.work == pytest.approx(many.steps[0] + many.iterations[0])


def test_what_is_not_reached_in_time_says_so(line):
    sizes, _, errors = line
    late = replace(ARMS["single level, Adam"], cap=1e-6)
    found = climb(Site.of(sizes, late, 5), 5, 2.0 * errors[4])
    assert not found.reached
    assert found.steps == [50]


def row(arm, size, seconds, reached=True, problem="poisson-2d"):
    found = Climb([size], [2], [12], [1e-3], seconds, 0.5, reached)
    return cost_scaling.row(problem, arm, found, 2e-3)


def test_exponents_rest_on_large_sizes_that_were_reached():
    sizes = (100, 1000, 4000, 16_000, 64_000)
    rows = [row(FULL, n, 1.0 if n == 100 else 1e-4 * n**1.1) for n in sizes]
    rows += [row("single level, Adam", n, 1e-5 * n**2.0, reached=n < 4000) for n in sizes]
    fits = cost_scaling.exponents(rows)
    assert fits[FULL]["poisson-2d"].slope == pytest.approx(1.1)
    assert fits[FULL]["poisson-2d"].sizes == 4
    assert "single level, Adam" not in fits
    assert cost_scaling.exponents(rows, compiled=True)[FULL]["poisson-2d"].slope < 1.1


def test_rows_cost_a_few_evaluations_of_the_residual():
    found = row_cost(elliptic(2, 2), points=8192)
    # asked: three; a busy machine may add to it
    assert 0.5 < found["rows_over_residual"] < 6.0


def test_what_was_measured_is_kept_after_every_case(tmp_path):
    rows = [row(FULL, n, 1e-3 * n) for n in (1000, 2000, 4000)]
    cost_scaling.keep(tmp_path, rows, [])
    kept = read_json(tmp_path / "cost-scaling-rows.json", "")
    assert [r["seconds"] for r in kept["rows"]] == [1.0, 2.0, 4.0]
    assert (tmp_path / "cost-scaling.txt").exists()


def test_summary_table_answer_and_figure(tmp_path):
    slow = ARMS["single level, Gauss-Newton, CG"].name
    rows = [row(FULL, n, 1e-3 * n) for n in (1000, 2000, 4000)]
    rows += [row(slow, n, 1e-6 * n**2, reached=n < 4000) for n in (1000, 2000, 4000)]
    rows += cost_scaling.control_rows(1, 4, (50, 100, 200))
    gaps = [{"problem": "poisson-2d", "level": 3, "parameters": 1000, "error": 2e-3, "best_error": 1e-3, "gap": 2.0}]
    main = cost_scaling.summary(rows, gaps) | {
        "compile_ratio": 1.2,
        "peak_memory_mib": 500.0,
        "rows_over_residual": 2.0,
    }
    assert main["exponents"][FULL]["poisson-2d"][0] == pytest.approx(1.0)
    assert main["cg_iterations"][FULL]["poisson-2d"] == [6.0]
    assert main["gap"] == {"poisson-2d": 2.0}
    assert SPARSE in main["exponents"]
    assert f"{slow} 2 at 2000" in cost_scaling.answer(rows, main)
    text = cost_scaling.table(rows)
    assert text.count("not reached") == 1
    assert "2.00" in cost_scaling.gap_table(gaps)
    assert np.isfinite([float(r["error"]) for r in rows]).all()
    cost_scaling.draw(tmp_path / "figure.png", "title", rows)
    assert (tmp_path / "figure.png").stat().st_size > 10_000
