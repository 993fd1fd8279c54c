"""Guards: what they see, in kinds of problems of which the answer is known."""

import numpy as np

import hierax as hx
from hierax.checks.guards import GUARDS, verdict
from hierax.events import Guard

BUDGET = 60.0


def test_where_no_guard_runs_nothing_was_checked():
    rows = np.array([[0.1, 0.2], [0.5, 0.9], [0.8, 0.4]])
    solution = hx.train(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), (hx.Data("u", rows, np.array([1.0, 3.0, 2.0])),)))
    assert solution.parameters > len(rows)
    assert solution.guards == {}
    assert solution.result is hx.RESULTS.unchecked
    assert solution.result.exit_code == 3
    assert "nothing was checked" in str(solution)
    assert "every guard passes" not in str(solution)


def test_the_first_guard_that_fails_gives_the_result():
    passed, failed = Guard(1.0, 2.0, True, ""), Guard(3.0, 2.0, False, "")
    assert verdict({}) is hx.RESULTS.unchecked
    assert verdict({"data": passed}) is hx.RESULTS.successful
    assert verdict({"data": failed, "boundary": failed}) is hx.RESULTS.guard_boundary
    for guard in GUARDS:
        assert verdict({guard.name: failed}) is guard.result
        assert guard.result.exit_code == 3
