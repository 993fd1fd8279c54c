"""Energies learned from stresses, and bodies made of them, beside bodies of the laws that the stresses came from.

Random deformations with entries up to 0.3 give `C` and second Piola-Kirchhoff stresses; `hx.stored_energy` finds the
energy as a function of invariants: 2,000 samples, without noise and with 2 % of the stresses' spread, and 12,000 of the
law with fibres. `fresh` is the relative error of the stresses (without noise) of 1,000 other deformations with entries
up to 0.25, `farther` that with entries up to 0.45, half as large again as those of the samples. Laws: Gent's in the
plane (cut at three quarters of its limit), and neo-Hooke's in space with and without fibres that carry no pressure.
`polyconvex` are sums of such energies (`hx.polyconvex_energy`). Every training has 30 s. The learned law of the plane
then stands in a block on rollers that is pulled, and in a quarter of a plate with a hole: relative L2 error of the
displacement, and that of the largest Cauchy stress (the plate's at the hole), against the same body with the law
itself. `beyond` is the part of the body whose invariants the samples have not reached. `seconds` are processor seconds
with compilation; `exit` is the worst exit code.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure

import hierax as hx
from hierax.results.figures import ACCENT, MUTED, STYLE, WARM
from hierax.results.files import write_json
from hierax.results.record import plain
from studies.common import Row, aligned, record, save, write_files
from studies.registry import study
from studies.so_far import SoFar

NAME = "learned-law"
NOISES = (0.0, 0.02)
MANY = 12_000
"""Samples of the law with fibres, once more."""
SEEDS = 5
BUDGET = 30.0
LIMIT = 2.0
"""Of Gent's law; samples keep three quarters of it."""


class Law(NamedTuple):
    """An energy of `C`, the coordinates, the fibres that a learned one is told of, and the largest `tr C - dim`."""

    energy: Callable[[Any], Any]
    dim: int
    fibres: tuple[tuple[float, ...], ...] = ()
    most: float = np.inf

    @property
    def invariants(self) -> hx.Invariants:
        """What a learned energy depends on."""
        return hx.Invariants(self.dim, self.fibres)


FIBRE = (1.0, 2.0, 0.5)
LAWS = {
    "gent": Law(hx.materials.gent(1.0, 2.0, LIMIT), 2, most=0.75 * LIMIT),
    "neo-hooke, space": Law(hx.materials.neo_hooke(1.0, 2.0), 3),
    "fibres, space": Law(hx.materials.fibre_reinforced(FIBRE, 1.0, 1.0), 3, (FIBRE,)),
}


LOOKS: tuple[dict[str, Any], ...] = (
    {"color": MUTED, "lw": 3.0, "label": "law"},
    {"color": WARM, "lw": 1.0, "label": "learned"},
)


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Learn, build bodies, and leave table, figure and rows in `out`; the short form is one law."""
    kept = SoFar(out, NAME)
    seeds, count = (1, 200) if quick else (SEEDS, 2000)
    bodies: dict[str, Callable[[hx.Hyperelastic], hx.Problem]] = {} if quick else {"block": block, "plate": plate}
    curves: list[tuple[Any, Any]] = []
    gent = LAWS["gent"]
    truths = {name: timed(make(hx.Hyperelastic(gent.energy)), quick)[0] for name, make in bodies.items()}

    def measured(name: str, noise: float, seed: int, samples: int) -> Iterator[Row]:
        law = LAWS[name]
        learned, seconds = timed(hx.stored_energy(*samples_of(law, samples, noise, seed), law.invariants), quick)
        row = {"what": name if samples < MANY else f"{name}, {samples}", "seconds": seconds}
        if law is gent and not curves:
            curves.append((hx.Hyperelastic(gent.energy), hx.Hyperelastic(learned.function("W"), gent.invariants)))
        energy = learned.function("W")
        errors = {"fresh": fresh_error(law, energy), "farther": fresh_error(law, energy, 0.45)}
        yield row | {"exit": learned.result.exit_code} | errors
        for body, make in bodies.items() if law is gent and not noise else ():
            found, seconds = timed(make(hx.Hyperelastic(learned.function("W"), law.invariants)), quick)
            yield {"what": body, "seconds": seconds, **compared(found, truths[body])}

    for seed, name, noise in itertools.product(range(seeds), () if quick else LAWS, NOISES):
        key = {"law": name, "noise": noise, "seed": seed, "samples": 2000, "way": "polyconvex"}
        kept.add(key, functools.partial(summed, name, noise, seed))
    laws = [(name, noise, count) for name in LAWS for noise in NOISES] + [("fibres, space", 0.0, MANY)]
    for seed in range(seeds):
        for name, noise, samples in laws[: 1 if quick else None]:
            key = {"law": name, "noise": noise, "seed": seed, "samples": samples, "way": "learned"}
            kept.add(key, functools.partial(measured, name, noise, seed, samples))
    result = written(out, kept.rows, quick, (curves, truths), kept.reading())
    write_json(out / f"{NAME}.json", plain(result))
    return result


def summed(name: str, noise: float, seed: int) -> Iterator[Row]:
    """A sum of polyconvex energies in place of a learned function."""
    law, began = LAWS[name], time.process_time()
    energy = hx.polyconvex_energy(*samples_of(law, 2000, noise, seed), law.invariants)
    row = {"what": f"{name}, polyconvex", "seconds": time.process_time() - began, "exit": 0}
    yield row | {"fresh": fresh_error(law, energy), "farther": fresh_error(law, energy, 0.45)}


def timed(problem: hx.Problem, quick: bool = False) -> tuple[hx.Solution, float]:
    """Trained with default settings, and its processor seconds; on two levels in the short form."""
    began = time.process_time()
    solution = hx.train(problem, levels=2 if quick else None, budget=BUDGET)
    return solution, time.process_time() - began


def drawn(law: Law, count: int, seed: int, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Tensors `C` `(count, dim, dim)` and second Piola-Kirchhoff stresses."""
    rng = np.random.default_rng(seed)
    f = np.eye(law.dim) + rng.uniform(-reach, reach, (4 * count, law.dim, law.dim))
    c = (f.transpose(0, 2, 1) @ f)[np.linalg.det(f) > 0.4]
    c = c[np.trace(c, axis1=1, axis2=2) - law.dim < law.most][:count]
    return c, stresses(law.energy, c)


def stresses(energy: Callable[[Any], Any], c: np.ndarray) -> np.ndarray:
    """`S = 2 dW/dC`."""
    slope = np.asarray(jax.vmap(jax.grad(energy))(jnp.asarray(c)))
    return slope + slope.transpose(0, 2, 1)


def samples_of(law: Law, count: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Tensors and stresses with noise."""
    c, s = drawn(law, count, seed, 0.3)
    error = np.random.default_rng(100 + seed).standard_normal(s.shape)
    error = (error + error.transpose(0, 2, 1)) / np.where(np.eye(law.dim), 2.0, np.sqrt(2.0))
    return c, s + noise * s.std() * error


def fresh_error(law: Law, energy: Callable[[Any], Any], reach: float = 0.25) -> float:
    """Relative error of stresses that were not seen, of deformations with entries up to `reach`."""
    material = hx.Hyperelastic(energy, law.invariants)
    c, s = drawn(law, 1000, 10_000, reach)
    found = stresses(lambda c: material.stored(jnp.linalg.cholesky(c).T), c)
    return float(np.linalg.norm(found - s) / np.linalg.norm(s))


def block(material: hx.Hyperelastic, load: float = 0.6) -> hx.Problem:
    """A square on rollers, pulled on its right side by a force that falls to zero at its corner."""

    def pull(w: Any, x: Any, normal: Any) -> Any:
        return -load * 0.5 * (1.0 + jnp.cos(jnp.pi * x[1])) * w.u(x)[0]

    return _body(
        material, hx.Box([0.0, 0.0], [1.0, 1.0]), hx.Energy("pull", pull, on=hx.Face("x", "upper")),
        (hx.Face("x", "lower"), hx.Face("y", "lower")),
    )  # fmt: skip


def plate(material: hx.Hyperelastic, tension: float = 0.15) -> hx.Problem:
    """A quarter of a plate with a hole at the origin, pulled along `x`."""
    shape = hx.Rectangle((0.0, 0.0), (1.0, 1.0)) - hx.Disk((0.0, 0.0), 0.25, name="hole")
    pull = hx.Energy("pull", lambda w, x, normal: -tension * w.u(x)[0], on="right")
    return _body(material, shape, pull, ("left", "bottom"))


def _body(material: hx.Hyperelastic, domain: Any, pull: hx.Energy, rollers: tuple[Any, Any]) -> hx.Problem:
    return hx.Problem(
        domain,
        (
            hx.Energy("stored", lambda w, x: material.energy(w.u)(x)),
            pull,
            *(hx.dirichlet(on, unknown="u", component=k) for k, on in enumerate(rollers)),
        ),
        unknowns={"u": hx.Function(2)},
        outputs={"sigma": lambda w, x: material.cauchy(w.u)(x)},
    )


def _points(hole: bool, count: int = 41) -> np.ndarray:
    axis = np.linspace(0.0, 1.0, count)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    return points[np.linalg.norm(points, axis=1) >= 0.25] if hole else points


def compared(found: hx.Solution, truth: hx.Solution) -> Row:
    """Displacement and largest stress of two bodies."""
    hole = "hole" in str(truth.problem.domain)
    points = _points(hole)
    u, exact = (solution.evaluate(points, "u") for solution in (found, truth))
    places = np.array([[0.0, 0.25]]) if hole else points
    peak, peak_exact = (np.abs(solution.evaluate(places, "sigma[0,0]")).max() for solution in (found, truth))
    seen = found.guards.get("admissible")
    return {"exit": max(found.result.exit_code, truth.result.exit_code),
            "displacement": float(np.linalg.norm(u - exact) / np.linalg.norm(exact)),
            "peak": float(abs(peak - peak_exact) / peak_exact),
            "beyond": float(seen.value or 0.0) if seen else 0.0}  # fmt: skip


def written(out: Path, rows: list[Row], quick: bool, shown: Any, reading: str) -> dict[str, Any]:
    """Table, figure and rows; medians and worst over the seeds."""
    title = "Laws that were learned" + (" (short form)" if quick else "")
    shown_errors = ("fresh", "farther", "displacement", "peak")
    heads = [head for error in shown_errors for head in (error, "worst")]
    cells = [["what", "noise", "seeds", *heads, "beyond", "seconds", "exit"]]
    summary: dict[str, float] = {}
    for what, noise in sorted({(row["what"], row["noise"]) for row in rows}, key=_place):
        own = [row for row in rows if (row["what"], row["noise"]) == (what, noise)]
        numbers = []
        for key in shown_errors:
            found = [row[key] for row in own if key in row]
            numbers += [f"{np.median(found):.1e}", f"{np.max(found):.1e}"] if found else ["-", "-"]
            summary |= {f"{what} {noise:g} {key}": float(np.median(found))} if found else {}
        beyond = [row["beyond"] for row in own if "beyond" in row]
        numbers.append(f"{np.median(beyond):.2g}" if beyond else "-")
        seconds, code = f"{np.median([row['seconds'] for row in own]):.1f}", str(max(row["exit"] for row in own))
        cells.append([what, f"{noise:.0%}", str(len(own)), *numbers, seconds, code])
    text = "\n".join(aligned(cells))
    files = write_files(out, NAME, title, text, rows, lambda path: draw(path, title, *shown))
    return record(NAME, quick, {NAME: summary}, files, text, __doc__, rows=rows, reading=reading)


def _place(what: tuple[str, float]) -> tuple[int, float]:
    """Where a line stands: laws in their order, then bodies."""
    order = [*LAWS, f"fibres, space, {MANY}", *(f"{name}, polyconvex" for name in LAWS), "block", "plate"]
    return order.index(what[0]), what[1]


def draw(path: Path, title: str, curves: list[tuple[Any, Any]], truths: dict[str, hx.Solution]) -> None:
    """Stress against stretch of the law and of a learned one, and the bodies in their deformed shape."""
    stretch = np.linspace(0.75, 1.28, 54)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.6 + 3.9 * len(truths), 3.4), layout="constrained")
        first, *others = figure.subplots(1, 1 + len(truths), squeeze=False)[0]
        for pair in curves:
            for material, look in zip(pair, LOOKS, strict=True):
                pull = jax.vmap(lambda s, m=material: jax.grad(m.stored)(jnp.diag(jnp.array([s, 1.0])))[0, 0])
                first.plot(stretch, pull(jnp.asarray(stretch)), **look)
        first.set(title="stress 11, sides held", xlabel="stretch")
        first.legend()
        for axes, (name, solution) in zip(others, truths.items(), strict=True):
            points = _points(name == "plate", 61)
            moved = points + solution.evaluate(points, "u")
            drawn = axes.scatter(*moved.T, c=solution.evaluate(points, "sigma[0,0]"), s=4, cmap="viridis")
            axes.plot([0, 1, 1], [1, 1, 0], color=ACCENT, lw=0.8, ls=":")
            axes.set(aspect="equal", title=f"{name}: stress 11, deformed")
            figure.colorbar(drawn, ax=axes, shrink=0.8)
        save(figure, path, title)
