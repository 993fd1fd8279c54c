"""The catalogue of families: what varies is a handful of numbers, random functions, or both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jaxtyping import Float
from scipy.sparse.linalg import spsolve

from hierax.models.family import Family
from hierax.models.inputs import LogUniform, Uniform
from hierax.models.leveled import AbstractLeveled, Simulation
from hierax.models.random_fields import GaussianField
from hierax.problems.domain import Box, Face
from hierax.problems.operators import derivative, divergence, gradient, laplacian
from hierax.problems.problem import Problem
from hierax.problems.terms import Residual
from hierax.problems.unknowns import Function

Varied = Family | AbstractLeveled
Maker = TypeVar("Maker", bound=Callable[..., Varied])
SQUARE = Box([0.0, 0.0], [1.0, 1.0])
RING = Box([0.0], [1.0], names=("x",), periodic="x")
TIME = Box([0.0, 0.0], [1.0, 1.0], names=("t", "x"), periodic="x")
COARSEST = 16
"""Cells an axis of the coarsest level of finite volumes."""

_FAMILIES: dict[str, Callable[..., Varied]] = {}


def families() -> dict[str, Callable[..., Varied]]:
    """All families by name; each is made by a function whose keywords are its settings."""
    return dict(_FAMILIES)


def _catalogued(name: str) -> Callable[[Maker], Maker]:
    def enter(make: Maker) -> Maker:
        _FAMILIES[name] = make
        return make

    return enter


def _flow(k: Callable[[Any], Any]) -> Problem:
    def flow(u: Any, x: Any) -> Any:
        return -divergence(lambda y: k(y) * gradient(u)(y))(x) - 1.0

    return Problem(SQUARE, (Residual("flow", flow), Residual("walls", lambda u, x: u(x), on="boundary")))


def _in_time(equation: Callable[[Any, Any], Any], start: Callable[[Any], Any]) -> Problem:
    terms = (
        Residual("equation", equation),
        Residual("start", lambda u, x: u(x) - start(x[1:]), on=Face("t", "lower")),
    )
    return Problem(TIME, terms)


@_catalogued("darcy-log-normal")
def darcy_log_normal(correlation: float = 0.3, smoothness: float = 1.5) -> Family:
    """Flow `-div(k grad u) = 1` in the unit square, `u = 0` around it, `k` the exponential of a Gaussian field."""
    return Family(lambda k: _flow(k), {"k": GaussianField(correlation, smoothness)}, "darcy-log-normal")


@_catalogued("darcy-two-phases")
def darcy_two_phases(contrast: float = 6.0, correlation: float = 0.3, smoothness: float = 1.5) -> Simulation:
    """The same flow where `k` is one or the contrast, with rough interfaces, by finite volumes on levels of cells."""
    field = GaussianField(correlation, smoothness, lambda g: np.where(g > 0.0, contrast, 1.0), box=SQUARE)

    def simulate(inputs: dict[str, Any], level: int) -> np.ndarray:
        return flow_by_cells(inputs["k"].on_cells((COARSEST * 2**level,) * 2))

    return Simulation(simulate, {"k": field}, levels=3, name="darcy-two-phases")


@_catalogued("darcy-trigonometric")
def darcy_trigonometric(scale: int = 5) -> Family:
    """The same flow where `log k` is a sum of waves of lengths from one to one over `scale`, with four amplitudes."""

    def make(a: float = 0.0, b: float = 0.0, c: float = 0.0, d: float = 0.0) -> Problem:
        def k(x: Any) -> Any:
            w = 2.0 * jnp.pi * x
            coarse = a * jnp.sin(w[0]) * jnp.sin(w[1]) + b * jnp.cos(2.0 * w[0]) + c * jnp.cos(2.0 * (w[0] + w[1]))
            return jnp.exp(coarse + d * jnp.sin(scale * w[0]) * jnp.sin(scale * w[1]))

        return _flow(k)

    return Family(make, {name: Uniform(-1.0, 1.0) for name in "abcd"}, "darcy-trigonometric")


@_catalogued("burgers-starts")
def burgers_starts(correlation: float = 0.3) -> Family:
    """`u_t + u u_x = viscosity u_xx` on a ring: viscosity, amplitude and a random start."""

    def make(viscosity: Any, amplitude: Any, start: Any) -> Problem:
        def equation(u: Any, x: Any) -> Any:
            return derivative(u, "t")(x) + u(x) * derivative(u, "x")(x) - viscosity * derivative(u, "xx")(x)

        return _in_time(equation, lambda x: amplitude * start(x))

    inputs = {"viscosity": LogUniform(0.02, 0.1), "amplitude": Uniform(0.5, 1.0), "start": _starts(correlation, None)}
    return Family(make, inputs, "burgers-starts")


@_catalogued("reaction-diffusion")
def reaction_diffusion(correlation: float = 0.3) -> Family:
    """`u_t = diffusion u_xx + rate u (1 - u)` on a ring: diffusion, rate and a random start between zero and one."""

    def make(diffusion: Any, rate: Any, start: Any) -> Problem:
        def equation(u: Any, x: Any) -> Any:
            return derivative(u, "t")(x) - diffusion * derivative(u, "xx")(x) - rate * u(x) * (1.0 - u(x))

        return _in_time(equation, start)

    starts = _starts(correlation, lambda g: 0.5 + 0.5 * jnp.tanh(g))
    inputs = {"diffusion": LogUniform(0.002, 0.02), "rate": Uniform(1.0, 5.0), "start": starts}
    return Family(make, inputs, "reaction-diffusion")


@_catalogued("advected-fields")
def advected_fields(correlation: float = 0.3) -> Family:
    """`u_t + speed u_x = 0` on a ring: the speed and a random start."""

    def make(speed: Any, start: Any) -> Problem:
        return _in_time(lambda u, x: derivative(u, "t")(x) + speed * derivative(u, "x")(x), start)

    return Family(make, {"speed": Uniform(0.2, 1.0), "start": _starts(correlation, None)}, "advected-fields")


@_catalogued("helmholtz-media")
def helmholtz_media(wave_number: float = 5.0, variation: float = 0.15) -> Family:
    """`Lap u + wave_number^2 m u = -f` in the unit square, `u = 0` around it: a medium `m` that varies about one."""

    def make(medium: Any) -> Problem:
        def wave(u: Any, x: Any) -> Any:
            source = 10.0 * jnp.exp(-50.0 * jnp.sum((x - 0.4) ** 2))
            return laplacian(u)(x) + wave_number**2 * medium(x) * u(x) + source

        return Problem(SQUARE, (Residual("wave", wave), Residual("walls", lambda u, x: u(x), on="boundary")))

    field = GaussianField(0.3, 2.5, lambda g: 1.0 + variation * jnp.tanh(g))
    return Family(make, {"medium": field}, "helmholtz-media")


@_catalogued("elastic-inclusions")
def elastic_inclusions(width: float = 0.05) -> Family:
    """A square that is stretched, with a soft inclusion: its stiffness, radius and place; `width` of its edge."""

    def make(stiffness: Any, radius: Any, place_x: Any, place_y: Any) -> Problem:
        def stress(u: Any, y: Any) -> Any:
            r = jnp.sqrt((y[0] - place_x) ** 2 + (y[1] - place_y) ** 2 + 1e-12)
            modulus = 1.0 + (stiffness - 1.0) * 0.5 * (1.0 - jnp.tanh((r - radius) / width))
            slope = gradient(u)(y)
            return 0.4 * modulus * (slope + slope.T + jnp.trace(slope) * jnp.eye(2))

        def balance(w: Any, x: Any) -> Any:
            return divergence(lambda y: stress(w.u, y))(x)

        def grips(w: Any, x: Any) -> Any:
            return w.u(x) - jnp.array([0.1 * x[0], 0.0])

        terms = (Residual("balance", balance), Residual("grips", grips, on="boundary"))
        return Problem(SQUARE, terms, unknowns={"u": Function(2)})

    places = {name: Uniform(0.4, 0.6) for name in ("place_x", "place_y")}
    inputs = {"stiffness": LogUniform(0.05, 0.5), "radius": Uniform(0.15, 0.25), **places}
    return Family(make, inputs, "elastic-inclusions")


def _starts(correlation: float, transform: Callable[[Any], Any] | None) -> GaussianField:
    return GaussianField(correlation, 2.5, transform, modes=10, box=RING)


def flow_by_cells(a: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Cell values of `-div(a grad u) = 1` on the unit square, `u = 0` on its boundary; second order in `1 / n`."""
    n = len(a)
    number = np.arange(n * n).reshape(n, n)
    diagonal = np.zeros((n, n))
    rows, columns, values = [], [], []
    for axis in (0, 1):
        first, second = np.delete(a, -1, axis), np.delete(a, 0, axis)
        flow = 2.0 * first * second / (first + second)
        one, two = (np.delete(number, end, axis).ravel() for end in (-1, 0))
        rows += [one, two]
        columns += [two, one]
        values += [-flow.ravel()] * 2
        pad = [(1, 1) if k == axis else (0, 0) for k in (0, 1)]
        wide = np.pad(flow, pad)
        ends = np.zeros_like(a)
        for end in (0, -1):
            index = tuple(end if k == axis else slice(None) for k in (0, 1))
            ends[index] = 2.0 * a[index]
        diagonal += np.delete(wide, -1, axis) + np.delete(wide, 0, axis) + ends
    entries = np.concatenate([*values, diagonal.ravel()])
    where = np.concatenate([*rows, number.ravel()]), np.concatenate([*columns, number.ravel()])
    matrix = sp.csc_array(sp.coo_array((entries, where), shape=(n * n, n * n)))
    return np.asarray(spsolve(matrix, np.full(n * n, 1.0 / n**2))).reshape(n, n)
