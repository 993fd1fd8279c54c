"""What estimators cost for an error: Monte Carlo, Sobol sequences, levels, many fidelities, and a surrogate below them.

The mean of a number of three families, whose costs are stated: a pendulum of random length and amplitude (Runge-Kutta
steps of second order), flow through a line, and through a square, with a log-normal conductivity (finite volumes). Arms
without levels take the finest level that multilevel Monte Carlo has needed. The surrogate is a polynomial of degree two
of the numbers, from members whose cost is counted, and its arm has Sobol sequences too: beside "levels, Sobol" one sees
what it gains by itself. Errors are root mean squares over seeds, against multilevel estimates with Sobol sequences at a
tenth of the least tolerance; for the square, where that is too dear, what the estimates say. Slopes are those of cost
over tolerance; theory has -2 for levels whose variances fall faster than costs rise, and -2 less the ratio of the rates
of cost and bias for Monte Carlo, with the rates that the levels have shown; up to half of that for sequences. "Over
levels" is the cost over that of multilevel Monte Carlo at the least tolerance, "over hindsight" that of multilevel
Monte Carlo over the cost of the best numbers of samples for the same variance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from scipy.sparse import csc_array, csr_array, diags_array, kron, vstack
from scipy.sparse.linalg import splu

import hierax as hx
from hierax.results.figures import STYLE
from hierax.results.record import plain
from studies.common import Row, aligned, read_rows, record, save, write_files
from studies.registry import study

NAME = "estimators"
MODES, LENGTH, DEVIATION = 8, 0.3, 1.0
TOGETHER, LEARNED = 4096, 400
LEVELS, SEEDS = 9, 3
PLAIN, SEQUENCES, MULTILEVEL, BOTH, FIDELITIES, SURROGATE = (
    "Monte Carlo", "Sobol", "levels", "levels, Sobol", "fidelities", "levels, surrogate",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A family: its simulator on levels, inputs, rate of costs, tolerances, and whether errors are measured."""

    simulate: Callable[[dict[str, Any], int], Any]
    inputs: dict[str, Any]
    gamma: float
    tolerances: tuple[float, ...]
    measured: bool = True

    def on_levels(self, levels: int = LEVELS, first: int = 0, ensemble: bool = False) -> hx.Simulation:
        """The levels from one on."""
        costs = [2.0 ** (self.gamma * (k + first)) for k in range(levels)]
        return hx.Simulation(
            lambda inputs, level: self.simulate(inputs, level + first), self.inputs, levels, costs=costs,
            ensemble=ensemble, batch=True,
        )  # fmt: skip


def pendulum(inputs: dict[str, Any], level: int) -> np.ndarray:
    """Angle at time 5, by the explicit midpoint rule in `16 * 2^level` steps."""
    steps = 16 * 2**level
    angle, speed, pull = inputs["angle"].copy(), np.zeros_like(inputs["angle"]), 1.0 / inputs["length"]
    step = 5.0 / steps
    for _ in range(steps):
        half_angle, half_speed = angle + 0.5 * step * speed, speed - 0.5 * step * pull * np.sin(angle)
        angle, speed = angle + step * half_speed, speed - step * pull * np.sin(half_angle)
    return angle


def field_on(numbers: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A Gaussian field `(n, len(x))`: cosines whose sizes fall as those of an exponential covariance do."""
    waves = np.pi * np.arange(numbers.shape[1])
    size = np.sqrt(2.0 * LENGTH / (1.0 + (LENGTH * waves) ** 2))
    # waves that do not end with the interval: on those the rule of midpoints would be exact
    return DEVIATION * (numbers * size) @ np.cos(np.outer(waves, x) + 0.5 * np.arange(len(waves))[:, None])


def line(inputs: dict[str, Any], level: int) -> np.ndarray:
    """Flow through `-(exp(g) u')' = 0` for a unit drop, on `4 * 2^level` cells."""
    x = (np.arange(4 * 2**level) + 0.5) / (4 * 2**level)
    parts = np.array_split(inputs["xi"], -(-len(inputs["xi"]) // TOGETHER))
    return np.concatenate([1.0 / np.mean(np.exp(-field_on(part, x)), axis=1) for part in parts])


def square(inputs: dict[str, Any], level: int) -> np.ndarray:
    """Flow through the unit square from left to right for a unit drop, on `4 * 2^level` cells an axis."""
    n = 4 * 2**level
    x = (np.arange(n) + 0.5) / n
    along, across = inputs["xi"][:, :MODES], inputs["xi"][:, MODES:]
    fields = field_on(along, x)[:, :, None] + field_on(across, x)[:, None, :]
    return np.array([_flow(np.exp(one / np.sqrt(2.0))) for one in fields])


def _flow(k: np.ndarray) -> float:
    n = len(k)
    inner = [2.0 / (1.0 / k[1:] + 1.0 / k[:-1]), 2.0 / (1.0 / k[:, 1:] + 1.0 / k[:, :-1])]
    step, same = csr_array(np.diff(np.eye(n), axis=0)), csr_array(np.eye(n))
    both = vstack([kron(step, same), kron(same, step)])
    matrix = both.T @ diags_array(np.concatenate([weight.ravel() for weight in inner])) @ both
    walls = np.zeros_like(k)
    walls[0], walls[-1] = 2.0 * k[0], 2.0 * k[-1]
    load = np.zeros_like(k)
    load[0] = walls[0]
    u = np.reshape(splu(csc_array(matrix + diags_array(walls.ravel()))).solve(load.ravel()), k.shape)
    return float(np.sum(walls[-1] * u[-1]))


CASES = {
    "line": Case(line, {"xi": (hx.Normal(0.0, 1.0), MODES)}, 1.0, (3e-2, 1e-2, 3e-3, 1e-3)),
    "pendulum": Case(
        pendulum, {"length": hx.Uniform(0.7, 1.3), "angle": hx.Uniform(0.5, 2.0)}, 1.0, (3e-2, 1e-2, 3e-3, 1e-3)
    ),
    "square": Case(
        square, {"xi": (hx.Normal(0.0, 1.0), 2 * MODES)}, 2.0, (6e-2, 2e-2), measured=False
    ),
}  # fmt: skip


@study(NAME)
def run(out: Path, quick: bool) -> dict[str, Any]:
    """All families; the short form has two tolerances of the line and one seed. Rows that `out` has are not made again.

    Every family is finished before the next, and files are written after each tolerance.
    """
    rows = [] if quick else read_rows(out / f"{NAME}.csv")
    found = written(out, rows, quick) if rows else None
    for name in ["line"] if quick else CASES:
        for own in measured(name, CASES[name], 2 if quick else None, 1 if quick else SEEDS, rows):
            rows += own
            found = written(out, rows, quick)
    assert found is not None
    return found


def written(out: Path, rows: list[Row], quick: bool) -> dict[str, Any]:
    """Table, figure and JSON of the rows so far."""
    summary, slopes = {}, []
    for name, arm in dict.fromkeys((row["family"], row["arm"]) for row in rows):
        own = [row for row in rows if (row["family"], row["arm"]) == (name, arm)]
        slope, theory, over = _slope(own), _median(own, "theory"), _median(own, "hindsight")
        ratio = _ratio(own, [r for r in rows if r["family"] == name])
        summary |= {f"{name}, {arm}: slope": slope, f"{name}, {arm}: cost over levels": ratio}
        summary |= {f"{name}, {arm}: cost over hindsight": over} if np.isfinite(over) else {}
        shown = [f"{number:.2f}" if np.isfinite(number) else "-" for number in (slope, theory, ratio, over)]
        slopes.append([f"{name}, {arm}", *shown])
    text = "\n".join(aligned([["family", "arm", "tolerance", "rms error", "cost"], *_cells(rows)]))
    text += "\n\n" + "\n".join(aligned([["family, arm", "slope", "theory", "over levels", "over hindsight"], *slopes]))
    title = "Cost of estimators" + (" (short form)" if quick else "")
    paths = write_files(out, NAME, title, text, rows, lambda path: _draw(path, title, rows))
    return plain(record(NAME, quick, summary, paths, text, __doc__, rows=rows))


def measured(name: str, case: Case, most: int | None, seeds: int, rows: list[Row]) -> Iterator[list[Row]]:
    """Every arm, tolerance by tolerance, at those that rows lack."""
    known = {row["tolerance"] for row in rows if row["family"] == name}
    left = [tolerance for tolerance in case.tolerances[:most] if tolerance not in known]
    if not left:
        return
    least = min(case.tolerances[:most])
    truth = hx.estimate(case.on_levels(), tolerance=0.1 * least, budget=1e12).value if case.measured else None
    for tolerance in left:
        each = [_arms(case, tolerance, seed, truth) for seed in range(seeds if case.measured else 1)]
        yield [row | {"family": name} for own in each for row in own]


def _arms(case: Case, tolerance: float, seed: int, truth: float | None) -> list[Row]:
    asked = {"tolerance": tolerance, "budget": 1e12, "key": seed}
    found = {MULTILEVEL: hx.estimate(case.on_levels(), quasi=False, **asked)}
    finest = int(found[MULTILEVEL].rows[-1].name)
    found[BOTH] = hx.estimate(case.on_levels(), quasi=True, **asked)
    cheap, price = _polynomial(case, seed)
    found[SURROGATE] = hx.estimate(case.on_levels(), surrogate=cheap, **asked)
    if case.measured:
        alone = case.on_levels(1, first=finest)
        found[PLAIN] = hx.estimate(alone, quasi=False, **asked)
        found[SEQUENCES] = hx.estimate(alone, quasi=True, **asked)
        found[FIDELITIES] = hx.estimate(case.on_levels(finest + 1, ensemble=True), **asked)
    alpha, beta, gamma = found[MULTILEVEL].rates
    theory = {PLAIN: -2.0 - gamma / alpha, MULTILEVEL: -2.0 - max(gamma - beta, 0.0) / alpha}
    return [
        {"arm": arm, "tolerance": tolerance, "seed": seed, "value": one.value, "estimated": one.error,
         "error": one.error if truth is None else abs(one.value - truth), "finest": finest,
         "cost": one.spent + (price if arm == SURROGATE else 0.0), "theory": theory.get(arm),
         "hindsight": _over_hindsight(one) if arm == MULTILEVEL else None}
        for arm, one in found.items()
    ]  # fmt: skip


def _over_hindsight(one: hx.Estimate) -> float:
    """Cost over that of the best numbers of samples for the same variance, were variances and costs known before."""
    variances = [
        row.variance if np.isnan(row.variance_of_difference) else row.variance_of_difference for row in one.rows
    ]
    costs = [row.cost for row in one.rows]
    reached = sum(v / row.samples for v, row in zip(variances, one.rows, strict=True))
    return one.spent * reached / float(np.sum(np.sqrt(np.multiply(variances, costs)))) ** 2


def _polynomial(case: Case, seed: int) -> tuple[Callable[[dict[str, Any]], np.ndarray], float]:
    """A polynomial of degree two of the numbers, by least squares, and what its members cost."""
    made, level = case.on_levels(), 2
    drawn = made.drawn(LEARNED, 1000 + seed)

    def terms(table: np.ndarray) -> np.ndarray:
        scaled = np.asarray(made.scaled(table))
        first, second = np.triu_indices(scaled.shape[1])
        return np.concatenate([np.ones((len(scaled), 1)), scaled, scaled[:, first] * scaled[:, second]], axis=1)

    found = made.evaluate(drawn, level)
    weights = np.linalg.lstsq(terms(drawn), found.values, rcond=None)[0]

    def cheap(inputs: dict[str, Any]) -> np.ndarray:
        return terms(np.concatenate([part.reshape(len(part), -1) for part in inputs.values()], axis=1)) @ weights

    return cheap, float(np.sum(found.seconds))


def _by_tolerance(rows: list[Row]) -> dict[float, tuple[float, float]]:
    """Root mean square error and mean cost at each tolerance."""
    own = {t: [row for row in rows if row["tolerance"] == t] for t in dict.fromkeys(row["tolerance"] for row in rows)}
    return {
        t: (float(np.sqrt(np.mean([r["error"] ** 2 for r in some]))), float(np.mean([r["cost"] for r in some])))
        for t, some in own.items()
    }


def _median(rows: list[Row], key: str) -> float:
    known = [row[key] for row in rows if row.get(key) is not None]
    return float(np.median(known)) if known else float("nan")


def _slope(rows: list[Row]) -> float:
    found = _by_tolerance(rows)
    if len(found) < 2:
        return float("nan")
    return float(np.polyfit(np.log(list(found)), np.log([cost for _, cost in found.values()]), 1)[0])


def _ratio(rows: list[Row], family: list[Row]) -> float:
    """Cost at the least tolerance over that of multilevel Monte Carlo."""
    own, other = _by_tolerance(rows), _by_tolerance([row for row in family if row["arm"] == MULTILEVEL])
    return own[min(own)][1] / other[min(other)][1]


def _cells(rows: list[Row]) -> list[list[str]]:
    cells = []
    for name, arm in dict.fromkeys((row["family"], row["arm"]) for row in rows):
        own = _by_tolerance([row for row in rows if (row["family"], row["arm"]) == (name, arm)])
        cells += [[name, arm, f"{t:g}", f"{error:.1e}", f"{cost:.2e}"] for t, (error, cost) in own.items()]
    return cells


def _draw(path: Path, title: str, rows: list[Row]) -> None:
    names = list(dict.fromkeys(row["family"] for row in rows))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.4 * len(names) + 1.6, 3.2), layout="constrained")
        for axes, name in zip(np.ravel(figure.subplots(1, len(names), squeeze=False)), names, strict=True):
            family = [row for row in rows if row["family"] == name]
            for arm in dict.fromkeys(row["arm"] for row in family):
                found = _by_tolerance([row for row in family if row["arm"] == arm])
                errors, costs = zip(*found.values(), strict=True)
                axes.loglog(errors, costs, "o-", label=arm)
            ends = np.array([min(row["tolerance"] for row in family), max(row["tolerance"] for row in family)])
            base = min(row["cost"] for row in family)
            for power, dash in ((2, "--"), (3, ":")):
                axes.loglog(ends, base * (ends / ends[1]) ** -power, dash, color="0.6", label=f"slope -{power}")
            axes.set(title=name, xlabel="rms error", ylabel="cost")
            axes.legend(fontsize="xx-small")
        save(figure, path, title)
