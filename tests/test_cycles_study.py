"""The study `cycles`: its clock, its verdicts by hand, and the short form."""

import math
from dataclasses import replace

import numpy as np
import pytest

from hierax.cycles import Done, Grow, NestedIteration, Outcome, VCycle, Visit
from studies import cycles, laps
from studies.laps import NESTED, Clocked, Lap, Mark, Stopwatch


class Stopped(Stopwatch):
    """A watch whose time is over when a test says so."""

    stopped = False

    @property
    def over(self) -> bool:
        return self.stopped


def test_a_second_cycle_follows_the_first_until_the_time_is_over():
    watch = Stopped(1.0, 9, 2)
    cycle = Clocked(NestedIteration(most=2), VCycle(), watch)
    state, action = cycle.next(cycle.init(2), None)
    seen = [action]
    for level in (0, 1, 1):
        state, action = cycle.next(state, Outcome(level, 2, value=1.0))
        seen.append(action)
    assert [a.level for a in seen] == [0, 1, 1, 1]  # both levels, then the V-cycle: its visit and its way down
    assert isinstance(seen[2], Visit)
    assert seen[2].until.steps == 1
    watch.stopped = True
    assert cycle.next(state, Outcome(1, 2, value=1.0))[1] == Done("budget")
    assert not any(isinstance(a, Grow) for a in seen)


def made(times: list[float], errors: list[float], compiling: float = 1.0) -> Lap:
    """A training with these marks, whose losses are the squares of the errors."""
    watch = Stopwatch(10.0, 9, 2)
    watch.marks = [Mark(t, compiling, e**2, np.zeros(1)) for t, e in zip(times, errors, strict=True)]
    return Lap(np.array(times), np.full(len(times), compiling), np.array(errors), np.square(errors), watch)


def test_seconds_to_an_error_and_their_parts():
    found = cycles.measured([made([2.0, 3.0, 4.0], [1.0, 0.1, 0.01])] * 3, 0.1)
    assert (found["seconds"], found["compiling"], found["way"], found["there"]) == (3.0, 1.0, 1.0, 1.0)
    assert found["error"] == 0.01
    # one step is half a cycle: in that the loss fell to a hundredth
    assert found["factor"] == pytest.approx(1e-4)
    assert found["cycle_seconds"] == 2.0
    assert math.isinf(cycles.measured([made([2.0], [1.0])], 0.1)["seconds"])
    assert math.isinf(cycles.measured([made([], [])], 0.1)["way"])


def arms(nested: Lap, cycle: Lap) -> dict:
    other = dict.fromkeys(cycles.CYCLES, cycles.measured([cycle], 0.1))
    return cycles.verdict({NESTED: cycles.measured([nested], 0.1), **other})


def test_rows_are_won_and_lost_by_seconds_with_and_without_compilation():
    slow, fast = made([2.0, 9.0], [1.0, 0.1]), made([2.0, 3.0], [1.0, 0.1])
    assert arms(slow, fast)["verdict"] == "won"
    assert "saves most in the finest level itself" in arms(slow, fast)["reason"]
    assert arms(fast, slow)["verdict"] == "lost"
    assert arms(fast, fast)["verdict"] == "equal"
    never = arms(fast, made([2.0, 3.0], [1.0, 0.5]))
    assert (never["verdict"], never["ratios"]["V"]) == ("lost", 0.0)
    assert "does not get there and ends at an error of 0.5" in never["reason"]
    late = arms(fast, made([7.0, 8.0], [1.0, 0.1], compiling=6.0))
    assert (late["verdict"], late["verdict_without_compilation"]) == ("lost", "equal")
    assert "loses most in compiling" in late["reason"]


def test_the_full_form_has_enough_rows_of_every_kind():
    assert len(laps.CASES) >= 12
    for word in ("fit", "Poisson", "Burgers", "knots", "width", "batches", "relaxation"):
        assert any(word in name for name in laps.CASES), word


@pytest.mark.slow
def test_the_short_form_leaves_table_figure_and_reasons(tmp_path, monkeypatch):
    name = "Poisson in 1-D, grid, relaxation"
    monkeypatch.setattr(cycles, "SHORT", {name: replace(laps.SHORT[name], levels=2)})
    monkeypatch.setattr(cycles, "CYCLES", ("V",))
    found = cycles.run(tmp_path, True)
    main = found["summary"]
    assert main["rows"] == 1
    assert main["wins"] + main["losses"] + main["equal"] == [name]
    assert all("multiplies the loss by" in reason and "Newton step" in reason for reason in main["reasons"].values())
    for case in found["cases"]:
        # nested iteration comes to its own target; the level below can bring a share of a step and not more
        assert math.isfinite(case["arms"][NESTED]["seconds"])
        assert 0.0 <= case["share_below"] <= 1.0
    assert all((tmp_path / f"cycles.{suffix}").stat().st_size > 100 for suffix in ("txt", "csv", "png"))
