"""Unknown constants and coefficients from data with noise, with a known truth."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from scipy.integrate import solve_ivp
from scipy.interpolate import RectBivariateSpline

import hierax as hx
from studies.honesty.battery import END, LEFT, START, WALLS, Posed, at, enter, fixed, line
from studies.honesty.curves import initial_value

WEEK = 7.0 * 86400.0


@enter()
def diffusivity_of_steel() -> Posed:
    """`T_t = a T_xx` in SI units over 10 cm and ten minutes: `a = 1.2e-5 m^2/s` from 200 readings with 0.5 K noise."""
    value, width = 1.2e-5, 0.1
    rate = value * (np.pi / width) ** 2
    exact = lambda x: 300.0 + 90.0 * jnp.exp(-rate * x[0]) * jnp.sin(jnp.pi * x[1] / width)  # noqa: E731
    rng = np.random.default_rng(21)
    points = rng.uniform(0.0, 1.0, (200, 2)) * [600.0, width]
    readings = at(exact, points) + 0.5 * rng.normal(size=200)
    terms = (
        hx.Residual("heat", lambda w, x: hx.derivative(w.T, "t")(x) - w.a * hx.derivative(w.T, "xx")(x)),
        fixed("walls", 300.0, WALLS, lambda w: w.T),
        hx.Data("T", points, readings, noise=0.5),
    )
    unknowns = {"T": hx.Function(), "a": hx.Constant(5e-6, bounds=(0.0, None))}
    box = hx.Box([0.0, 0.0], [600.0, width], names=("t", "x"))
    return Posed(hx.Problem(box, terms, unknowns=unknowns), ({"T": exact, "a": value},), centred=True)


def _growth(guess: tuple[float, float]) -> Posed:
    """Logistic growth of a herd in days: `r = 0.021`, `K = 850`, from 60 counts with noise 8."""
    rate, capacity, first = 0.021, 850.0, 40.0
    exact = lambda x: capacity / (1.0 + (capacity / first - 1.0) * jnp.exp(-rate * x[0]))  # noqa: E731
    rng = np.random.default_rng(22)
    days = np.sort(rng.uniform(0.0, 365.0, (60, 1)), axis=0)
    counts = at(exact, days) + 8.0 * rng.normal(size=60)
    terms = (
        hx.Residual("growth", lambda w, x: hx.derivative(w.n, "t")(x) - w.r * w.n(x) * (1.0 - w.n(x) / w.K)),
        hx.Data("n", days, counts, noise=8.0),
    )
    unknowns = {"n": hx.Function(), "r": hx.Constant(guess[0]), "K": hx.Constant(guess[1])}
    problem = hx.Problem(line(365.0, name="t"), terms, unknowns=unknowns)
    return Posed(problem, ({"n": exact, "r": rate, "K": capacity},))


@enter()
def herd() -> Posed:
    """Logistic growth with fair guesses."""
    return _growth((0.01, 500.0))


@enter()
def herd_from_far() -> Posed:
    """Logistic growth with guesses of one."""
    return _growth((1.0, 1.0))


@enter()
def spring_and_damper() -> Posed:
    """`y'' + c y' + k y = 0`, `c = 0.3`, `k = 16`, from 80 values with noise 0.02 over eight periods."""
    damping, stiffness = 0.3, 16.0
    rate = np.sqrt(stiffness - damping**2 / 4.0)
    exact = lambda x: 1.5 * jnp.exp(-damping / 2.0 * x[0]) * jnp.cos(rate * x[0])  # noqa: E731
    rng = np.random.default_rng(23)
    times = rng.uniform(0.0, 12.0, (80, 1))
    terms = (
        hx.Residual(
            "motion",
            lambda w, x: hx.derivative(w.y, "tt")(x) + w.c * hx.derivative(w.y, "t")(x) + w.k * w.y(x),
        ),
        hx.Data("y", times, at(exact, times) + 0.02 * rng.normal(size=80), noise=0.02),
    )
    unknowns = {"y": hx.Function(), "c": hx.Constant(0.1), "k": hx.Constant(10.0)}
    problem = hx.Problem(line(12.0, name="t"), terms, unknowns=unknowns)
    return Posed(problem, ({"y": exact, "c": damping, "k": stiffness},), tolerances={"y": 3e-2, "c": 0.1})


@enter()
def predator_and_prey() -> Posed:
    """Lotka and Volterra with four unknown rates from 40 counts each, noise 0.1."""
    a, b, c, d = 1.1, 0.4, 0.4, 0.1
    prey, predator = initial_value(
        lambda t, y: np.array([a * y[0] - b * y[0] * y[1], d * y[0] * y[1] - c * y[1]]), [8.0, 3.0], (0.0, 12.0)
    )
    rng = np.random.default_rng(24)
    times = np.linspace(0.0, 12.0, 40)[:, None]
    terms = (
        hx.Residual("prey", lambda w, x: hx.derivative(w.u, "t")(x) - w.a * w.u(x) + w.b * w.u(x) * w.v(x)),
        hx.Residual("predator", lambda w, x: hx.derivative(w.v, "t")(x) - w.d * w.u(x) * w.v(x) + w.c * w.v(x)),
        hx.Data("u", times, at(prey, times) + 0.1 * rng.normal(size=40), noise=0.1),
        hx.Data("v", times, at(predator, times) + 0.1 * rng.normal(size=40), noise=0.1),
    )
    unknowns = {"u": hx.Function(), "v": hx.Function()} | {name: hx.Constant(0.5) for name in "abcd"}
    truth = {"u": prey, "v": predator, "a": a, "b": b, "c": c, "d": d}
    problem = hx.Problem(line(12.0, name="t"), terms, unknowns=unknowns)
    return Posed(problem, (truth,), tolerances={"u": 3e-2, "v": 3e-2})


@enter()
def conductivity_of_a_bar() -> Posed:
    """`(D u')' = -4`, `D = 1 + 0.5 sin(3 x)` unknown, heat flux 1 known at the left, 200 values with noise 1e-3."""
    coefficient = lambda x: 1.0 + 0.5 * jnp.sin(3.0 * x[0])  # noqa: E731
    # D u' = 1 - 4 x, integrated by Gauss's rule with 60 points
    nodes, weights = np.polynomial.legendre.leggauss(60)

    def exact(x):
        s = 0.5 * x[0] * (1.0 + nodes)
        return 0.5 * x[0] * jnp.sum(weights * (1.0 - 4.0 * s) / (1.0 + 0.5 * jnp.sin(3.0 * s)))

    rng = np.random.default_rng(25)
    points = rng.uniform(0.0, 1.0, (200, 1))
    flux = lambda w: lambda x: w.D(x) * hx.gradient(w.u)(x)  # noqa: E731
    terms = (
        hx.Residual("balance", lambda w, x: hx.divergence(flux(w))(x) + 4.0),
        hx.Residual("inflow", lambda w, x, normal: flux(w)(x)[0] - 1.0, on=LEFT),
        hx.Data("u", points, at(exact, points) + 1e-3 * rng.normal(size=200), noise=1e-3),
    )
    unknowns = {"u": hx.Function(), "D": hx.Function(bounds=(0.0, None))}
    problem = hx.Problem(line(1.0), terms, unknowns=unknowns)
    return Posed(problem, ({"u": exact, "D": coefficient},), tolerances={"D": 0.1})


@enter()
def strip_with_a_well() -> Posed:
    """`T h'' = Q g` over 1 km between rivers of 30 m: `T = 3e-3 m^2/s` from 25 piezometers with noise 0.05 m.

    The well takes `Q = 5e-5 m^2/s` at 437 m, over 3 m.
    """
    value, length, rate, place, width = 3e-3, 1000.0, 5e-5, 437.0, 3.0

    def twice(x):
        s = (x - place) / width
        return width * (s * norm.cdf(s) + norm.pdf(s))

    def exact(x):
        linear = (1.0 - x[0] / length) * twice(0.0) + x[0] / length * twice(length)
        return 30.0 + rate / value * (twice(x[0]) - linear)

    rng = np.random.default_rng(26)
    points = rng.uniform(0.0, length, (25, 1))

    def flow(w, x):
        return w.T * hx.derivative(w.h, "xx")(x) - rate * norm.pdf((x[0] - place) / width) / width

    terms = (
        hx.Residual("flow", flow),
        fixed("rivers", 30.0, WALLS, lambda w: w.h),
        hx.Data("h", points, at(exact, points) + 0.05 * rng.normal(size=25), noise=0.05),
    )
    unknowns = {"h": hx.Function(), "T": hx.Constant(1e-3, bounds=(0.0, None))}
    problem = hx.Problem(line(length), terms, unknowns=unknowns)
    return Posed(problem, ({"h": exact, "T": value},), tolerances={"h": 3e-2}, centred=True)


@enter()
def spreading_gene() -> Posed:
    """`u_t = D u_xx + r u (1 - u)`, `D = 0.4`, `r = 3`, a travelling wave, 300 values with noise 0.01."""
    spread, rate = 0.4, 3.0
    wave = np.sqrt(rate / (6.0 * spread))
    exact = lambda x: (1.0 + jnp.exp(wave * x[1] - 5.0 * rate / 6.0 * x[0])) ** -2.0  # noqa: E731
    rng = np.random.default_rng(27)
    points = rng.uniform(0.0, 1.0, (300, 2)) * [2.0, 12.0] - [0.0, 4.0]

    def growth(w, x):
        return hx.derivative(w.u, "t")(x) - w.D * hx.derivative(w.u, "xx")(x) - w.r * w.u(x) * (1.0 - w.u(x))

    terms = (
        hx.Residual("growth", growth),
        hx.Data("u", points, at(exact, points) + 0.01 * rng.normal(size=300), noise=0.01),
    )
    unknowns = {"u": hx.Function(), "D": hx.Constant(1.0, bounds=(0.0, None)), "r": hx.Constant(1.0)}
    problem = hx.Problem(hx.Box([0.0, -4.0], [2.0, 8.0], names=("t", "x")), terms, unknowns=unknowns)
    return Posed(problem, ({"u": exact, "D": spread, "r": rate},), tolerances={"u": 2e-2})


@enter()
def growth_that_varies() -> Posed:
    """`u_t = 0.01 u_xx + r(x) u (1 - u)`, insulated, `r = 1 + 0.6 cos(3 x)` unknown, 400 values with noise 5e-3."""
    count = 201
    x = np.linspace(0.0, 2.0, count)
    rates, start = 1.0 + 0.6 * np.cos(3.0 * x), 0.1 + 0.05 * np.cos(np.pi * x)

    def slope(t, u):
        padded = np.concatenate([[u[1]], u, [u[-2]]])
        return 0.01 * (padded[2:] - 2.0 * u + padded[:-2]) / (x[1] - x[0]) ** 2 + rates * u * (1.0 - u)

    times = np.linspace(0.0, 4.0, 201)
    found = solve_ivp(slope, (0.0, 4.0), start, method="BDF", t_eval=times, rtol=1e-8, atol=1e-10).y
    surface = RectBivariateSpline(times, x, found.T)
    rng = np.random.default_rng(28)
    points = rng.uniform(0.0, 1.0, (400, 2)) * [4.0, 2.0]
    values = surface.ev(points[:, 0], points[:, 1]) + 5e-3 * rng.normal(size=400)

    def growth(w, x):
        return hx.derivative(w.u, "t")(x) - 0.01 * hx.derivative(w.u, "xx")(x) - w.r(x) * w.u(x) * (1.0 - w.u(x))

    terms = (
        hx.Residual("growth", growth),
        hx.Residual("in space alone", lambda w, x: hx.derivative(w.r, "t")(x)),
        hx.Residual("insulated", lambda w, x, n: hx.derivative(w.u, "x")(x), on=WALLS),
        hx.Data("u", points, values, noise=5e-3),
    )
    box = hx.Box([0.0, 0.0], [4.0, 2.0], names=("t", "x"))
    problem = hx.Problem(box, terms, unknowns={"u": hx.Function(), "r": hx.Function()})
    # the state is a table in two dimensions; the rate is what was asked for
    truth = {"r": lambda p: 1.0 + 0.6 * jnp.cos(3.0 * p[1])}
    return Posed(problem, (truth,), tolerances={"r": 0.1}, satisfies=False)


@enter()
def pollutant_in_weeks() -> Posed:
    """`c_t + v c_x = 0` over 50 m and a week in seconds: `v = 4e-5 m/s` from 150 samples with noise 1e-4 kg/m^3."""
    speed, length = 4e-5, 50.0
    exact = lambda x: 0.01 * jnp.exp(-(((x[1] - 10.0 - speed * x[0]) / 6.0) ** 2))  # noqa: E731
    rng = np.random.default_rng(29)
    points = rng.uniform(0.0, 1.0, (150, 2)) * [WEEK, length]
    terms = (
        hx.Residual("transport", lambda w, x: hx.derivative(w.c, "t")(x) + w.v * hx.derivative(w.c, "x")(x)),
        fixed("start", exact, START, lambda w: w.c),
        hx.Data("c", points, at(exact, points) + 1e-4 * rng.normal(size=150), noise=1e-4),
    )
    unknowns = {"c": hx.Function(), "v": hx.Constant(1e-5)}
    problem = hx.Problem(hx.Box([0.0, 0.0], [WEEK, length], names=("t", "x")), terms, unknowns=unknowns)
    return Posed(problem, ({"c": exact, "v": speed},), tolerances={"c": 3e-2})


@enter()
def stiffness_of_a_beam() -> Posed:
    """`EI w'''' = 4000 N/m` over 3 m, simply supported: `EI = 2.5e6 N m^2` from one exact deflection in the middle."""
    stiffness, load, length = 2.5e6, 4e3, 3.0
    shape = lambda x: load / 24 * x[0] * (length**3 - 2 * length * x[0] ** 2 + x[0] ** 3)  # noqa: E731
    middle = np.array([[0.5 * length]])
    terms = (
        hx.Residual("bending", lambda w, x: w.EI * hx.derivative(w.w, "xxxx")(x) - load),
        fixed("held", 0.0, (LEFT, END), lambda w: w.w),
        hx.Residual("no moment", lambda w, x, n: w.EI * hx.derivative(w.w, "xx")(x), on=(LEFT, END)),
        hx.Data("w", middle, at(shape, middle) / stiffness, noise=0.0),
    )
    unknowns = {"w": hx.Function(), "EI": hx.Constant(1e6, bounds=(0.0, None))}
    problem = hx.Problem(line(length), terms, unknowns=unknowns)
    return Posed(problem, ({"w": lambda x: shape(x) / stiffness, "EI": stiffness},))


@enter()
def two_instruments() -> Posed:
    """`u' = 1 - k u`, `k = 2`, start unknown: half of 100 readings have a noise of 0.005, the others of 0.3."""
    rate, first = 2.0, 1.0
    exact = lambda x: 1.0 / rate + (first - 1.0 / rate) * jnp.exp(-rate * x[0])  # noqa: E731
    rng = np.random.default_rng(31)
    times, noise = rng.uniform(0.0, 3.0, (100, 1)), np.where(np.arange(100) % 2, 0.005, 0.3)
    terms = (
        hx.Residual("law", lambda w, x: hx.derivative(w.u, "t")(x) + w.k * w.u(x) - 1.0),
        hx.Data("u", times, at(exact, times) + noise * rng.normal(size=100), noise=noise),
    )
    unknowns = {"u": hx.Function(), "k": hx.Constant(0.5)}
    problem = hx.Problem(line(3.0, name="t"), terms, unknowns=unknowns)
    return Posed(problem, ({"u": exact, "k": rate},), tolerances={"k": 1e-2})
