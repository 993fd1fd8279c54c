"""Equations of four to ten coordinates by the default strategy, three to five of them parameters in some.

`-Lap u = f` on the unit cube with zero values on the boundary, for sines, for a constant source and for
`1 / (1 + sum x)`, whose solutions are integrals over time of products, the last with the source as a sum of
exponentials; with values of a rotated Gaussian on the boundary, also with `u^3`; diffusion with a conductivity of three
parameters; the heat equation with conductivity and two amplitudes, Burgers' with viscosity, and transport of a wave
with speed, wave number and diffusivity in wide ranges as coordinates. Errors are relative L2 errors against these
solutions; what was refused is marked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import matplotlib
import numpy as np
from jax.scipy.special import erf, erfc
from jaxtyping import Array, Float
from matplotlib.figure import Figure

import hierax as hx
from hierax.problems.burgers import cole_hopf
from hierax.problems.reference import TabulatedReference
from hierax.results.figures import STYLE
from hierax.results.record import plain
from studies.common import Row, aligned, record, save, write_files
from studies.registry import study
from studies.so_far import SoFar

NAME = "high-dimension"
TIMES = np.polynomial.legendre.leggauss(160)
"""Nodes and weights of the integral over the logarithm of time."""


@dataclass(frozen=True)
class Case:
    """A problem with a known solution, and the seconds it gets."""

    name: str
    make: Callable[[], hx.Problem]
    seconds: float
    asked: float


def poisson(
    dim: int,
    source: Callable[[Array], Any],
    exact: Callable[[Array], Any],
    zero: bool = True,
    bound: float = 0.0,
    cubic: float = 0.0,
) -> hx.Problem:
    """`-Lap u + cubic u^3 = f` on the unit cube, with zero on its boundary or with the values of the solution."""

    def interior(u: Any, x: Float[Array, " dim"]) -> Any:
        return -hx.laplacian(u)(x) + cubic * u(x) ** 3 - source(x)

    wall = hx.Residual("wall", lambda u, x: u(x) if zero else u(x) - exact(x), on="boundary")
    box = hx.Box([0.0] * dim, [1.0] * dim, names=tuple(f"x{k}" for k in range(dim)))
    return hx.Problem(box, (hx.Residual("interior", interior), wall), reference=hx.Reference(exact, bound))


def sines(dim: int) -> hx.Problem:
    """The product of sines."""
    exact = lambda x: jnp.prod(jnp.sin(jnp.pi * x))  # noqa: E731
    return poisson(dim, lambda x: dim * jnp.pi**2 * exact(x), exact)


def constant(dim: int) -> hx.Problem:
    """A source of one: the integral over time of what is left of one when the faces are cooled to zero."""
    low, high = np.log(1e-9), np.log(6.0)
    times = np.exp(low + (high - low) * (TIMES[0] + 1.0) / 2.0)
    weights, odd = TIMES[1] * (high - low) / 2.0 * times, np.arange(1, 60, 2)

    def exact(x: Float[Array, " dim"]) -> Any:
        late = jnp.sin(np.pi * x[:, None] * odd) @ (4 / np.pi / odd * np.exp(-np.outer(times, (odd * np.pi) ** 2))).T
        depth = 2.0 * np.sqrt(times)
        early = erf(x[:, None] / depth) + erf((1.0 - x[:, None]) / depth) - 1.0
        return weights @ jnp.prod(jnp.where(times > 0.005, late, early), axis=0)

    return poisson(dim, lambda x: 1.0, exact, bound=1e-7)


def rational(dim: int) -> hx.Problem:
    """A source of `1 / (1 + sum x)` as a sum of exponentials, each of which is a product."""
    low, high = np.log(1e-8), np.log(3.0)
    nodes, weights = np.polynomial.legendre.leggauss(96)
    times = np.exp(low + (high - low) * (nodes + 1.0) / 2.0)
    weights = weights * (high - low) / 2.0 * times
    rates = np.geomspace(1e-2, 12.0, 16)
    s = np.linspace(1.0, 1.0 + dim, 400)
    shares = np.linalg.lstsq(np.exp(-np.outer(s, rates)), 1.0 / s)[0] * np.exp(-rates)
    n = np.arange(1, 81)
    modes = 2 * n * np.pi * (1 - (-1.0) ** n * np.exp(-rates[:, None])) / (rates[:, None] ** 2 + (n * np.pi) ** 2)
    fading, r, depth = np.exp(-np.outer(times, (n * np.pi) ** 2)), rates[:, None], np.sqrt(times)

    def half(x: Any, rate: Any, deep: Any) -> Any:
        """What is left of `exp(-rate x)` beside a wall at 0 that is kept at zero."""
        ahead, back = (erfc((2 * rate * deep**2 - way * x) / (2 * deep)) * jnp.exp(-way * rate * x) for way in (1, -1))
        return 0.5 * jnp.exp(rate**2 * deep**2) * (ahead - back)

    def exact(x: Float[Array, " dim"]) -> Any:
        late = jnp.einsum("kn,tn,mn->ktm", jnp.sin(np.pi * x[:, None] * n), modes, fading)
        z, deep = x[:, None, None], depth[times <= 0.005]
        free = jnp.exp(-r * z + r**2 * deep**2)
        early = half(z, r, deep) + jnp.exp(-r) * half(1.0 - z, -r, deep) - free
        found = jnp.concatenate([early, late[:, :, len(deep) :]], axis=2)
        return shares @ jnp.prod(found, axis=0) @ weights

    return poisson(dim, lambda x: 1.0 / (1.0 + jnp.sum(x)), exact, bound=1e-6)


def gaussian(dim: int, cubic: float = 0.0) -> hx.Problem:
    """A Gaussian whose axes are not those of the box, also with a term `cubic u^3`."""
    turn = np.linalg.qr(np.random.default_rng(7).standard_normal((dim, dim)))[0]
    form = turn @ np.diag(np.linspace(0.5, 3.0, dim)) @ turn.T
    exact = lambda x: jnp.exp(-(x - 0.45) @ form @ (x - 0.45))  # noqa: E731

    def source(x: Array) -> Array:
        return exact(x) * (2 * np.trace(form) - 4 * jnp.sum((form @ (x - 0.45)) ** 2)) + cubic * exact(x) ** 3

    return poisson(dim, source, exact, zero=False, cubic=cubic)


def elliptic() -> hx.Problem:
    """Diffusion in two coordinates with a conductivity of three parameters, which the solution is divided by."""

    def conductivity(z: Array) -> Array:
        return 1.0 + z[2] * z[0] + z[3] * z[1] + z[4] * z[0] * z[1]

    def exact(x: Array) -> Array:
        return jnp.sin(jnp.pi * x[0]) * jnp.sin(jnp.pi * x[1]) / conductivity(x)

    def flux(u: Any, x: Array) -> Any:
        return sum(hx.derivative(lambda z, k=k: conductivity(z) * hx.derivative(u, k)(z), k)(x) for k in (0, 1))

    sides = tuple(hx.Face(name, side) for name in "xy" for side in ("lower", "upper"))
    terms = (
        hx.Residual("interior", lambda u, x: flux(u, x) - flux(exact, x)),
        hx.Residual("wall", lambda u, x: u(x), on=sides),
    )
    box = hx.Box([0.0] * 5, [1.0] * 5, names=("x", "y", "a", "b", "c"))
    return hx.Problem(box, terms, reference=exact)


def waves() -> hx.Problem:
    """A wave that is carried along and fades, by time, place, speed, wave number and diffusivity."""

    def exact(x: Array) -> Array:
        return jnp.exp(-x[4] * x[3] ** 2 * x[0]) * jnp.sin(x[3] * (x[1] - x[2] * x[0]))

    def interior(u: Any, x: Array) -> Any:
        return hx.derivative(u, "t")(x) + x[2] * hx.derivative(u, "x")(x) - x[4] * hx.derivative(u, "xx")(x)

    sides = (hx.Face("t", "lower"), hx.Face("x", "lower"), hx.Face("x", "upper"))
    terms = (hx.Residual("interior", interior), hx.Residual("sides", lambda u, x: u(x) - exact(x), on=sides))
    box = hx.Box([0.0, 0.0, 0.0, 1.0, 0.01], [1.0, 1.0, 5.0, 10.0, 0.1], names=("t", "x", "c", "k", "nu"))
    return hx.Problem(box, terms, reference=exact)


def burgers(low: float, high: float) -> hx.Problem:
    """Burgers' equation from `-sin(pi x)` with the logarithm of the viscosity as a coordinate."""

    def interior(u: Any, x: Array) -> Any:
        return hx.derivative(u, "t")(x) + u(x) * hx.derivative(u, "x")(x) - jnp.exp(x[2]) * hx.derivative(u, "xx")(x)

    def exact(points: np.ndarray) -> np.ndarray:
        return np.concatenate([cole_hopf(point[None, :2], float(np.exp(point[2]))) for point in points])

    terms = (
        hx.Residual("interior", interior),
        hx.Residual("wall", lambda u, x: u(x), on=(hx.Face("x", "lower"), hx.Face("x", "upper"))),
        hx.Residual("start", lambda u, x: u(x) + jnp.sin(jnp.pi * x[1]), on=hx.Face("t", "lower")),
    )
    box = hx.Box([0.0, -1.0, np.log(low)], [1.0, 1.0, np.log(high)], names=("t", "x", "log_viscosity"))
    return hx.Problem(box, terms, reference=TabulatedReference(exact, 1e-8))


def heat() -> hx.Problem:
    """`u_t = k u_xx` from `a sin(pi x) + b sin(2 pi x)`, as a function of time, place, `k`, `a` and `b`."""

    def exact(x: Float[Array, " 5"]) -> Any:
        waves = [jnp.exp(-x[2] * (n * jnp.pi) ** 2 * x[0]) * jnp.sin(n * jnp.pi * x[1]) for n in (1, 2)]
        return x[3] * waves[0] + x[4] * waves[1]

    terms = (
        hx.Residual("heat", lambda u, x: hx.derivative(u, "t")(x) - x[2] * hx.derivative(u, "xx")(x)),
        hx.Residual("wall", lambda u, x: u(x), on=(hx.Face("x", "lower"), hx.Face("x", "upper"))),
        hx.Residual("start", lambda u, x: u(x) - exact(x), on=hx.Face("t", "lower")),
    )
    box = hx.Box([0.0, 0.0, 0.05, 0.5, -1.0], [1.0, 1.0, 0.5, 1.5, 1.0], names=("t", "x", "k", "a", "b"))
    return hx.Problem(box, terms, reference=exact)


SOURCES = {"sines": sines, "constant": constant, "1 / (1 + sum x)": rational}
SIZES = ((4, 20.0, 1e-4), (6, 30.0, 5e-4), (10, 60.0, 1e-3))
CASES = (
    *(
        Case(f"Poisson, {name}, {dim} coordinates", lambda make=make, dim=dim: make(dim), seconds, asked)
        for name, make in SOURCES.items()
        for dim, seconds, asked in SIZES
    ),
    Case("rotated Gaussian, 4 coordinates", lambda: gaussian(4), 60.0, 1.5e-3),
    Case("the same with u^3", lambda: gaussian(4, 1.0), 60.0, 1.5e-3),
    Case("diffusion, 3 parameters", elliptic, 60.0, 5e-3),
    Case("heat, 3 parameters", heat, 60.0, 1e-3),
    Case("Burgers, viscosity 0.05 to 0.5", lambda: burgers(0.05, 0.5), 60.0, 1e-2),
    Case("Burgers, viscosity 0.02 to 0.2", lambda: burgers(0.02, 0.2), 60.0, 2e-2),
    Case("waves, 3 parameters in wide ranges", waves, 60.0, 1e-2),
)
SEEDS = 5


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Train every case from every seed, first all cases from the first; the short form has one case."""
    so_far = SoFar(out, NAME)
    for seed in range(1 if quick else SEEDS):
        for case in CASES[:1] if quick else CASES:
            so_far.add({"case": case.name, "seed": seed}, lambda case=case, seed=seed: [measured(case, seed)])
    rows = so_far.rows
    title = "Equations of many coordinates" + (" (short form)" if quick else "")
    summary = {case.name: found for case in CASES if (found := _over_seeds(rows, case)) is not None}
    cells = [[name, *(f"{own[key]:.1e}" for key in ("asked", "error", "worst")), f"{own['seconds']:.0f}",
              f"{own['refused']} of {own['seeds']}"] for name, own in summary.items()]  # fmt: skip
    text = "\n".join(aligned([["case", "asked", "error", "worst", "seconds", "refused"], *cells]))
    paths = write_files(out, NAME, title, text, rows, lambda path: _draw(path, title, summary))
    return plain(record(NAME, quick, summary, paths, text, __doc__, rows=rows, reading=_reading(so_far)))


def _reading(so_far: SoFar) -> str:
    """A sentence on the code that rows are from, and on what is missing."""
    seeds = {case.name: sum(row["case"] == case.name for row in so_far.rows) for case in CASES}
    few = [f"{name} ({count})" for name, count in seeds.items() if count < SEEDS]
    missing = f" With fewer than {SEEDS} seeds: {'; '.join(few)}." if few else ""
    return so_far.reading() + missing


def measured(case: Case, seed: int) -> Row:
    """One case from one seed."""
    solution = hx.train(case.make(), budget=case.seconds, key=seed)
    return {"error": solution.accuracy.relative_l2, "seconds": solution.seconds_total,
            "parameters": solution.parameters, "verdict": solution.result.name}  # fmt: skip


def _over_seeds(rows: list[Row], case: Case) -> Row | None:
    """Median and largest error, median of the seconds, and how often it was refused; `None` before there are rows."""
    own = [row for row in rows if row["case"] == case.name]
    if not own:
        return None
    errors, seconds = ([row[key] for row in own] for key in ("error", "seconds"))
    refused = sum(row["verdict"] != hx.RESULTS.successful.name for row in own)
    return {"asked": case.asked, "error": float(np.median(errors)), "worst": float(np.max(errors)),
            "seconds": float(np.median(seconds)), "refused": refused, "seeds": len(own)}  # fmt: skip


def _draw(path: Path, title: str, summary: dict[str, Row]) -> None:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.0, 0.3 * len(summary) + 1.2), layout="constrained")
        axes = figure.subplots()
        for key, marker in (("asked", "|"), ("error", "o")):
            axes.semilogx([own[key] for own in summary.values()], range(len(summary)), marker, label=key)
        axes.set_yticks(range(len(summary)), list(summary))
        axes.set(xlabel="relative L2 error")
        axes.legend()
        save(figure, path, title)
