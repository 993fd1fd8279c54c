"""Equations of four to ten coordinates: the default strategy, and a perceptron with the same seconds.

`-Lap u = f` on the unit cube with zero values on the boundary, for sines and for a constant source, whose solution is
an integral over time of products; with values of a rotated Gaussian on the boundary; and the heat equation with
conductivity and two amplitudes as coordinates. Errors are relative L2 errors against these solutions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import matplotlib
import numpy as np
from jax.scipy.special import erf
from jaxtyping import Array, Float
from matplotlib.figure import Figure

import hierax as hx
from hierax.results.figures import STYLE
from hierax.results.record import plain
from studies.common import Row, aligned, record, save, write_files
from studies.registry import study

NAME = "high-dimension"
TIMES = np.polynomial.legendre.leggauss(160)
"""Nodes and weights of the integral over the logarithm of time."""


@dataclass(frozen=True)
class Case:
    """A problem with a known solution, and the seconds it gets."""

    name: str
    make: Callable[[], hx.Problem]
    seconds: float


def poisson(
    dim: int, source: Callable[[Array], Any], exact: Callable[[Array], Any], zero: bool = True, bound: float = 0.0
) -> hx.Problem:
    """`-Lap u = f` on the unit cube, with zero on its boundary or with the values of the solution."""

    def interior(u: Any, x: Float[Array, " dim"]) -> Any:
        return -hx.laplacian(u)(x) - source(x)

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


def gaussian(dim: int) -> hx.Problem:
    """A Gaussian whose axes are not those of the box."""
    turn = np.linalg.qr(np.random.default_rng(7).standard_normal((dim, dim)))[0]
    form = turn @ np.diag(np.linspace(0.5, 3.0, dim)) @ turn.T
    exact = lambda x: jnp.exp(-(x - 0.45) @ form @ (x - 0.45))  # noqa: E731
    source = lambda x: exact(x) * (2 * np.trace(form) - 4 * jnp.sum((form @ (x - 0.45)) ** 2))  # noqa: E731
    return poisson(dim, source, exact, zero=False)


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


CASES = (
    *(Case(f"sines, {dim} coordinates", lambda dim=dim: sines(dim), s) for dim, s in ((4, 20), (6, 30), (10, 60))),
    *(
        Case(f"constant, {dim} coordinates", lambda dim=dim: constant(dim), s)
        for dim, s in ((4, 20), (6, 30), (10, 60))
    ),
    Case("rotated Gaussian, 4 coordinates", lambda: gaussian(4), 60),
    Case("heat, 3 parameters", heat, 60),
)
ARMS: dict[str, Any] = {"default": None, "perceptron": hx.families.Perceptron()}


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Train every case both ways; the short form has one case."""
    rows: list[Row] = []
    for case in CASES[:1] if quick else CASES:
        for arm, family in ARMS.items():
            for seed in range(1 if quick else 5):
                solution = hx.train(case.make(), family, budget=case.seconds, key=seed)
                error = solution.accuracy.relative_l2
                seconds, verdict = solution.seconds_total, solution.result.name
                rows.append({"case": case.name, "arm": arm, "seed": seed, "error": error, "seconds": seconds,
                             "parameters": solution.parameters, "verdict": verdict})  # fmt: skip
    title = "Equations of many coordinates" + (" (short form)" if quick else "")
    names = list(dict.fromkeys(row["case"] for row in rows))
    summary = {name: {arm: _middle(rows, name, arm) for arm in ARMS} for name in names}
    cells = [[n, *(f"{v:.1e}" if k == 0 else f"{v:.0f}" for arm in ARMS for k, v in enumerate(summary[n][arm]))]
             for n in names]  # fmt: skip
    text = "\n".join(aligned([["case", *(f"{arm}{what}" for arm in ARMS for what in (", error", ", s"))], *cells]))
    paths = write_files(out, NAME, title, text, rows, lambda path: _draw(path, title, names, summary))
    return plain(record(NAME, quick, summary, paths, text, __doc__, rows=rows))


def _middle(rows: list[Row], case: str, arm: str) -> list[float]:
    """Medians over the seeds of error and seconds."""
    own = [row for row in rows if (row["case"], row["arm"]) == (case, arm)]
    return [float(np.median([row[key] for row in own])) for key in ("error", "seconds")]


def _draw(path: Path, title: str, names: list[str], summary: dict[str, Any]) -> None:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.0, 0.4 * len(names) + 1.2), layout="constrained")
        axes = figure.subplots()
        for arm, marker in zip(ARMS, "os", strict=True):
            axes.semilogx([summary[name][arm][0] for name in names], range(len(names)), marker, label=arm)
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="relative L2 error")
        axes.legend()
        save(figure, path, title)
