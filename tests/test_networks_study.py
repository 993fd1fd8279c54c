"""The study of networks: its arms end with the same network and all data, and its controls are what they say."""

from dataclasses import replace

import numpy as np
import pytest

from hierax.fields import parameter_count
from hierax.problems import constitutive, curved_fronts
from studies import networks
from studies.registry import studies

FRONTS, STRESS = networks.CASES


def test_it_is_entered():
    assert studies()["networks"] is networks.run


@pytest.mark.parametrize("case", [replace(FRONTS, options={"points": 2000}), replace(STRESS, options={"points": 900})])
def test_all_arms_end_with_the_same_network_on_all_data(case):
    problem = case.make()
    size = parameter_count(case.network(problem, 0, case.width))
    for make in (case.units, case.data, case.both):
        levels = make(problem, 0).levels
        assert levels[-1].parameters == size
        assert levels[-1].points is None
        points = [level.points for level in levels[:-1] if level.points is not None]
        assert points == sorted(points)
    assert len({level.parameters for level in case.data(problem, 0).levels}) == 1
    assert all(level.points is None for level in case.units(problem, 0).levels)


def test_turning_the_strain_turns_the_stress():
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    strain = np.random.default_rng(1).uniform(-0.5, 0.5, 6)
    reference = constitutive(points=8).reference
    assert reference is not None

    def matrix(parts, shear):
        a, b, c, d, e, f = parts
        d, e, f = shear * np.array([d, e, f])
        return np.array([[a, d, e], [d, b, f], [e, f, c]])

    def stress(tensor):
        parts = np.array([*np.diag(tensor), 2 * tensor[0, 1], 2 * tensor[0, 2], 2 * tensor[1, 2]])
        value = reference.evaluate(parts[None], "stress")
        assert value is not None
        return matrix(value[0], 1.0)

    tensor = matrix(strain, 0.5)
    np.testing.assert_allclose(stress(turn @ tensor @ turn.T), turn @ stress(tensor) @ turn.T, atol=1e-12)


def test_control_and_summary():
    case = replace(FRONTS, options={"points": 1500, "width": 0.3})
    row = networks.control(case, case.make())
    assert 1e-14 < row["relative_l2"] < 0.1
    rows = [{"problem": "curved-fronts", "arm": arm, "relative_l2": error} for arm, error in
            ((networks.BOTH, 0.01), (networks.SECOND, 0.2), (networks.FIRST, 0.1))]  # fmt: skip
    main = networks.summary(rows)
    assert main["gain_over_one_level_second_order"] == pytest.approx({"curved-fronts": 20.0})
    assert main["gain_over_best_one_level"] == pytest.approx({"curved-fronts": 10.0})


def test_values_change_across_the_first_front_and_the_second():
    reference = curved_fronts(points=8, width=0.02).reference
    assert reference is not None
    # both sides of each front, at places where the wave has the same value
    around = np.array([[0.35 + 0.3 - 0.1, 0.4], [0.35 + 0.3 + 0.1, 0.4], [0.9, 0.63 - 0.125], [0.9, 0.63 + 0.125]])
    values = reference.evaluate(around, "u")
    assert values is not None
    assert values[1] - values[0] == pytest.approx(2.0, abs=1e-3)
    assert values[3] - values[2] == pytest.approx(1.0, abs=1e-3)
