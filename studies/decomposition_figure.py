"""What subdomains look like: a solution with its error, boxes and windows, and which of them a refinement touches."""

from __future__ import annotations

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullFormatter

from hierax.cycles import SingleLevel
from hierax.fields import Cover, PartitionOfUnity, Polynomials, Sum
from hierax.hierarchy import AdaptSubdomains, Level, LocalResiduals
from hierax.hierarchy.hp import pieces_of
from hierax.problems import Box, Problem, Reference, Residual, helmholtz_l_shape
from hierax.results.figures import ACCENT, INK, MUTED, STYLE, WARM, add_bar
from hierax.solvers import Cholesky, GaussNewton
from hierax.training.train import train
from studies.common import save

ACTIONS = {"split": WARM, "order": ACCENT, "band": INK}
REFINEMENTS, SECONDS = 3, 60.0


def draw_fields(path: Path) -> None:
    """Two rows: an L-shape with its boxes, and a front that is refined subdomain by subdomain."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.0, 6.0), layout="constrained")
        panels = figure.subplots(2, 3)
        _l_shape(panels[0])
        _refinement(panels[1])
        save(figure, path, "Subdomains: solution, error, boxes, windows, refinement")


def _l_shape(panels: np.ndarray) -> None:
    problem = helmholtz_l_shape(4, 24)
    points = problem.domain.points  # pyright: ignore
    whole = Cover.uniform(*problem.domain.bounds(), 10, 1.5)
    cover = whole.keep(lambda low, high: np.any(low + high < 1.0, axis=1))  # centres in the L
    field = PartitionOfUnity.on(cover, Polynomials(6))
    solution = train(problem, field, solver=GaussNewton(linear=Cholesky()), cycle=SingleLevel(), budget=SECONDS)
    values = solution.evaluate(points).ravel()
    assert problem.reference is not None
    wrong = np.abs(values - np.asarray(problem.reference.evaluate(points, "u")).ravel())
    for axes, shown, title, colours in (
        (panels[0], values, "Helmholtz on an L-shape, w = 4", "viridis"),
        (panels[1], np.log10(wrong + 1e-16), "error, powers of ten", "magma"),
    ):
        drawn = axes.scatter(*points.T, c=shown, s=3, cmap=colours, linewidths=0, rasterized=True)
        add_bar(axes, drawn)
        axes.set(title=title, aspect="equal", xlabel="x", ylabel="y")
    _boxes(panels[2], cover, ACCENT)
    panels[2].set(title=f"{cover.subdomains} boxes, at most {cover.members} at a point", xlabel="x", ylabel="y")
    panels[2].set_aspect("equal")


def front(x: jax.Array) -> jax.Array:
    """A circular front of width 0.05."""
    return jnp.tanh((jnp.sqrt((x[0] - 0.2) ** 2 + (x[1] - 0.1) ** 2) - 0.6) / 0.05)


def front_problem() -> Problem:
    """The front, to be fitted."""
    fit = Residual("fit", lambda u, x: u(x) - front(x))
    return Problem(domain=Box([0.0, 0.0], [1.0, 1.0]), terms=(fit,), reference=Reference(front, 1e-14), name="front")


def fitted(problem: Problem, field: PartitionOfUnity | Sum) -> tuple[PartitionOfUnity | Sum, float]:
    """The field after training on one level, and its relative L2 error."""
    solver = GaussNewton(linear=Cholesky())
    solution = train(problem, field, solver=solver, cycle=SingleLevel(), budget=SECONDS)
    assert solution.accuracy.relative_l2 is not None
    return solution.field, solution.accuracy.relative_l2


def refined(problem: Problem, steps: int) -> tuple[list[tuple[int, float]], Level, dict[str, list[np.ndarray]]]:
    """Parameters and errors of a few refinements, the last level, and the boxes that each action took."""
    rule, level, found = AdaptSubdomains(), Level(_start(4)), []
    taken: dict[str, list[np.ndarray]] = {action: [] for action in ACTIONS}
    for step in range(steps + 1):
        field, error = fitted(problem, level.field)
        found.append((level.parameters, error))
        if step < steps:
            left = lambda p, field=field: np.asarray(_left(field, jnp.asarray(p)))[:, None]  # noqa: E731
            evidence, level = LocalResiduals(left, *BOUNDS, 0), Level(field)
            parts = field.parts if isinstance(field, Sum) else (field,)
            pieces = pieces_of(parts)
            for (number, j), verdict in rule.verdicts(parts, pieces, evidence).items():
                low, high = pieces[number].cover.bounds()
                taken[verdict.action].append(np.stack([low[j], high[j]]))
            level, _ = rule.refine(level, evidence=evidence)
    return found, level, taken


BOUNDS = np.zeros(2), np.ones(2)


@eqx.filter_jit
def _left(field: PartitionOfUnity | Sum, points: jax.Array) -> jax.Array:
    return jax.vmap(lambda x: field(x) - front(x))(points)


def _start(count: int) -> PartitionOfUnity:
    return PartitionOfUnity.uniform(*BOUNDS, count, 1.9, local=Polynomials(3))


def _refinement(panels: np.ndarray) -> None:
    problem = front_problem()
    found, _, taken = refined(problem, REFINEMENTS)
    _windows(panels[0])
    for action, color in ACTIONS.items():
        for low, high in taken[action]:
            panels[1].add_patch(Rectangle(tuple(low), *(high - low), facecolor=color, edgecolor=color, alpha=0.18))
        panels[1].plot([], [], "s", color=color, label=f"{action}: {len(taken[action])}")
    panels[1].set(title=f"a front: what {REFINEMENTS} refinements did", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    panels[1].set(xlabel="x", ylabel="y")
    panels[1].legend(loc="upper right", frameon=True)
    uniform = [(level.parameters, fitted(problem, level.field)[1]) for level in map(Level, map(_start, (4, 8, 12)))]
    for rows, color, label in ((uniform, MUTED, "all boxes smaller"), (found, WARM, "subdomain by subdomain")):
        panels[2].loglog(*np.transpose(rows), "o-", color=color, ms=4, label=label)
    panels[2].set(title="relative L2 error of the front", xlabel="parameters")
    panels[2].set_xticks([300, 600, 1000, 2000], ["300", "600", "1000", "2000"])
    panels[2].xaxis.set_minor_formatter(NullFormatter())
    panels[2].legend(loc="lower left")
    panels[2].grid(lw=0.4, alpha=0.5)


def _windows(axes: Axes) -> None:
    cover = Cover.uniform([0.0], [1.0], 6, 1.5)
    x = np.linspace(0.0, 1.0, 601)[:, None]
    near = cover.locate(x)
    weights = np.asarray(jax.vmap(lambda x, ids: cover.at(ids).weights(cover.at(ids).coordinates(x)))(x, near))
    for j in range(cover.subdomains):
        axes.plot(x[:, 0], np.sum(np.where(near == j, weights, 0.0), axis=1), color=(ACCENT, INK, WARM)[j % 3], lw=1.2)
    axes.set(title="windows of overlap 1.5 along one axis", xlabel="x")
    axes.margins(x=0)


def _boxes(axes: Axes, cover: Cover, color: str) -> None:
    for low, high in zip(*cover.bounds(), strict=True):
        axes.add_patch(Rectangle(tuple(low), *(high - low), facecolor=color, edgecolor=INK, alpha=0.14, lw=0.8))
    axes.plot(*np.asarray(cover.centres).T, ".", color=INK, ms=2)
    axes.autoscale_view()
