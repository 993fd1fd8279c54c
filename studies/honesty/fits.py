"""Tables for `hierax fit`: offsets, outliers, steps, few or clustered rows, columns in odd units, many inputs."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from studies.honesty.battery import Posed, Truth, at, enter, table

Columns = dict[str, np.ndarray]


def _fit(columns: Columns, values: np.ndarray, truth: Truth, tolerance: float = 0.05) -> Posed:
    """Output `y`; an error counts against the spread of the truth."""
    problem = table(columns | {"y": values}, ("y",))
    return Posed(problem, (truth,), tolerances={"y": tolerance}, centred=True, satisfies=False)


def _uniform(seed: int, count: int, names: str) -> tuple[Columns, np.ndarray]:
    """Columns of random numbers from 0 to 1 with one letter each, and the same as points."""
    points = np.random.default_rng(seed).uniform(0.0, 1.0, (count, len(names)))
    return dict(zip(names, points.T, strict=True)), points


@enter()
def offset_of_three_hundred() -> Posed:
    """200 exact rows of three inputs: `300 + 2 a - b + a c`."""
    columns, points = _uniform(51, 200, "abc")
    exact = lambda p: 300.0 + 2.0 * p[0] - p[1] + p[0] * p[2]  # noqa: E731
    return _fit(columns, at(exact, points), {"y": exact})


@enter()
def noisy_curve() -> Posed:
    """300 rows of `sin(7 x) + x` with noise 0.2."""
    columns, points = _uniform(52, 300, "x")
    exact = lambda p: jnp.sin(7.0 * p[0]) + p[0]  # noqa: E731
    return _fit(columns, at(exact, points) + 0.2 * np.random.default_rng(1).normal(size=300), {"y": exact}, 0.1)


@enter()
def pure_noise() -> Posed:
    """100 rows of noise around 5: nothing depends on the inputs, and the mean is all there is to be learned."""
    columns, _ = _uniform(53, 100, "ab")
    values = 5.0 + np.random.default_rng(2).normal(size=100)
    exact = lambda p: 5.0 + 0.0 * p[0]  # noqa: E731
    problem = table(columns | {"y": values}, ("y",))
    # the mean of a hundred values of spread one is known to 0.1
    return Posed(problem, ({"y": exact},), tolerances={"y": 0.06}, satisfies=False)


@enter()
def outliers() -> Posed:
    """400 rows of a smooth curve with noise 0.01, of which 12 are off by up to 50."""
    columns, points = _uniform(54, 400, "x")
    exact = lambda p: jnp.exp(-2.0 * p[0]) * jnp.cos(5.0 * p[0])  # noqa: E731
    rng = np.random.default_rng(3)
    values = at(exact, points) + 0.01 * rng.normal(size=400)
    values[rng.choice(400, 12, replace=False)] += rng.uniform(-50.0, 50.0, 12)
    return _fit(columns, values, {"y": exact})


@enter()
def step_across_a_square() -> Posed:
    """500 exact rows of a step along a slanted line."""
    columns, points = _uniform(55, 500, "ab")
    exact = lambda p: jnp.where(p[0] + 0.6 * p[1] > 0.8, 1.0, 0.0)  # noqa: E731
    return _fit(columns, at(exact, points), {"y": exact}, 0.1)


@enter()
def few_rows() -> Posed:
    """14 exact rows of `sin(5 a) cos(4 b)`: too few."""
    columns, points = _uniform(56, 14, "ab")
    exact = lambda p: jnp.sin(5.0 * p[0]) * jnp.cos(4.0 * p[1])  # noqa: E731
    return _fit(columns, at(exact, points), {"y": exact}, 0.1)


@enter()
def three_rows() -> Posed:
    """Three exact rows of `sin(9 x)`."""
    x = np.array([0.0, 0.45, 1.0])
    return _fit({"x": x}, np.sin(9.0 * x), {"y": lambda p: jnp.sin(9.0 * p[0])}, 0.1)


@enter()
def two_clusters() -> Posed:
    """120 exact rows of `sin(14 x)` in `[0, 0.25]` and `[0.8, 1]`: nothing is known between."""
    rng = np.random.default_rng(57)
    x = np.concatenate([rng.uniform(0.0, 0.25, 60), rng.uniform(0.8, 1.0, 60)])
    return _fit({"x": x}, np.sin(14.0 * x), {"y": lambda p: jnp.sin(14.0 * p[0])}, 0.1)


@enter()
def odd_units() -> Posed:
    """400 exact rows: pressure in Pa, thickness in m, a flow of 1e-9 m^3/s that goes with the cube of the thickness."""
    _, unit = _uniform(58, 400, "ab")
    points = np.array([1e5, 2e-5]) + unit * np.array([4e5, 8e-5])
    exact = lambda p: 1e-9 * (p[0] / 1e5) * (p[1] / 1e-4) ** 3  # noqa: E731
    return _fit({"pressure": points[:, 0], "gap": points[:, 1]}, at(exact, points), {"y": exact})


@enter()
def five_inputs() -> Posed:
    """Friedman's function of five inputs, 800 exact rows."""
    columns, points = _uniform(59, 800, "abcde")

    def exact(p):
        return 10.0 * jnp.sin(jnp.pi * p[0] * p[1]) + 20.0 * (p[2] - 0.5) ** 2 + 10.0 * p[3] + 5.0 * p[4]

    return _fit(columns, at(exact, points), {"y": exact})


@enter()
def six_inputs_in_their_units() -> Posed:
    """The midpoint voltage of an output transformerless circuit, 400 exact rows of six inputs (kOhm, A)."""
    _, unit = _uniform(60, 400, "abcdef")
    lower = np.array([50.0, 25.0, 0.5, 1.2, 0.25, 50.0])
    upper = np.array([150.0, 70.0, 3.0, 2.5, 1.2, 300.0])
    points = lower + unit * (upper - lower)

    def exact(p):
        first, second, feedback, fourth, fifth, gain = p
        base = 12.0 * second / (first + second)
        load = gain * (fifth + 9.0)
        below = load + feedback
        return (
            (base + 0.74) * load / below
            + 11.35 * feedback / below
            + 0.74 * feedback * load / (below * fourth)
        )  # fmt: skip

    names = ("Rb1", "Rb2", "Rf", "Rc1", "Rc2", "beta")
    return _fit(dict(zip(names, points.T, strict=True)), at(exact, points), {"y": exact})


@enter()
def saturation() -> Posed:
    """Michaelis and Menten with a small constant: `3 a / (a + 0.03) + b / (b + 0.2)`, 300 exact rows."""
    columns, points = _uniform(61, 300, "ab")
    exact = lambda p: 3.0 * p[0] / (p[0] + 0.03) + p[1] / (p[1] + 0.2)  # noqa: E731
    return _fit(columns, at(exact, points), {"y": exact})


@enter()
def resonance_curve() -> Posed:
    """60 exact rows of the response of an oscillator with 1 % damping: the peak is fifty high and narrow."""
    columns, points = _uniform(62, 60, "r")
    exact = lambda p: 1.0 / jnp.sqrt((1.0 - 4.0 * p[0] ** 2) ** 2 + (0.04 * p[0]) ** 2)  # noqa: E731
    return _fit(columns, at(exact, points), {"y": exact})


@enter()
def replicates() -> Posed:
    """Twelve places, twenty readings each of `3 x - 1` with noise 0.3."""
    x = np.repeat(np.linspace(0.0, 1.0, 12), 20)
    values = 3.0 * x - 1.0 + 0.3 * np.random.default_rng(63).normal(size=240)
    return _fit({"x": x}, values, {"y": lambda p: 3.0 * p[0] - 1.0}, 0.1)
