"""Memory layouts of a partition of unity: seconds for a residual and its gradient in all parameters.

Every layout computes the same sum of squared residuals of Poisson's equation with small networks on overlapping
subdomains, and the same gradient. The first is that of published codes: one entry for each pair of point and
subdomain, parameters gathered for every pair, derivatives forward over forward through all of it. The last is that of
the library, for local fields of any kind and terms of second order; those before are written by hand for this equation
and, where they are sorted, for one hidden layer of `tanh`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from hierax.fields import Cover, PartitionOfUnity, Perceptrons
from hierax.fields.partition_of_unity import taken
from hierax.objective.pointwise import SquaredResidual
from hierax.objective.rows import RowObjective
from hierax.objective.samples import make_samples
from hierax.problems.operators import laplacian
from hierax.results.figures import ACCENT, STYLE
from studies.common import Row, aligned, record, save, write_files
from studies.registry import study

BLOCK = 2048
"""Most points in a block."""

REPEATS = 3
"""Evaluations of which the median counts."""


class Work(NamedTuple):
    """Points and subdomains, as pairs and sorted by subdomain with padding.

    Attributes
    ----------
    cover, points:
        `points` is `(n, 2)`.
    pairs:
        `(n, members)` subdomains around each point, some of them beside it.
    owners, ids:
        `(pairs,)` point and subdomain of all pairs in which the subdomain contains the point.
    slots:
        `(subdomains, capacity)` points in each subdomain; the number `n` fills up.
    """

    cover: Cover
    points: jax.Array
    pairs: jax.Array
    owners: jax.Array
    ids: jax.Array
    slots: jax.Array


class WindowJet(NamedTuple):
    """A window at a point of its subdomain: value, slope and second derivative along each axis."""

    value: jax.Array
    slope: jax.Array
    second: jax.Array


@study("subdomain-layout")
def run(out: Path, quick: bool) -> dict[str, Any]:
    """Layouts side by side; the summary holds how much faster each is than pairs with gathered parameters."""
    points, subdomains = (4_000, 14) if quick else (100_000, 71)
    work = prepare(points, subdomains)
    field = PartitionOfUnity.on(work.cover, Perceptrons((16,)), key=0)
    rows, wanted = [], None
    for name, make in LAYOUTS.items():
        began = time.process_time()
        loss, data = make(work)
        setup = time.process_time() - began
        row, gradient = _measured(name, loss, field.locals, data)
        wanted = gradient if wanted is None else wanted
        rows.append(row | {"seconds_setup": setup, "difference": _difference(gradient, wanted)})
    for row in rows:
        row["faster"] = rows[0]["seconds"] / row["seconds"]
    summary = {"faster": {row["layout"]: row["faster"] for row in rows}, "points": points, "subdomains": subdomains**2}
    note = "Seconds of processor time, median of three evaluations of value and gradient; compare ratios only."
    title = f"Residual and gradient: {points} points, {subdomains**2} subdomains of 1 x 16 tanh networks"
    text = _table(rows)
    files = write_files(out, "subdomain-layout", title, text, rows, partial(_figure, title=title, rows=rows))
    return record("subdomain-layout", quick, summary, files, text, note, rows=rows)


def prepare(points: int, subdomains: int) -> Work:
    """Random points in the unit square and `subdomains` squared boxes of overlap 1.9."""
    cover = Cover.uniform([0.0, 0.0], [1.0, 1.0], subdomains, 1.9)
    x = np.random.default_rng(0).uniform(0.0, 1.0, (points, 2))
    pairs = np.asarray(cover.locate(x))
    lower, upper = cover.bounds()
    owners, place = np.nonzero(((x[:, None] > lower[pairs]) & (x[:, None] < upper[pairs])).all(axis=2))
    ids = pairs[owners, place]
    order = np.argsort(ids, kind="stable")
    counts = np.bincount(ids, minlength=cover.subdomains)
    slots = np.full((cover.subdomains, counts.max()), points, dtype=np.int32)
    slots[ids[order], np.arange(len(ids)) - np.repeat(np.cumsum(counts) - counts, counts)] = owners[order]
    return Work(cover, *map(jnp.asarray, (x, pairs, owners, ids, slots)))


def source(x: jax.Array) -> jax.Array:
    """Right-hand side at points `(n, 2)`."""
    return jnp.sin(jnp.pi * x[:, 0]) * jnp.sin(jnp.pi * x[:, 1])


def gathered_pairs(work: Work) -> tuple[Callable, Any]:
    """Parameters of every pair, sums over pairs by point, Laplacian by nested forward mode."""
    count = len(work.points)

    def loss(locals_: Any, work: Work) -> jax.Array:
        ids, owner = work.ids, work.owners
        fields, near = taken(locals_, ids), work.cover.at(ids)

        def values(x: jax.Array) -> jax.Array:
            z = jax.vmap(lambda x, c, h: (x - c) / h)(x[owner], near.centres, near.half_widths)
            window = jax.vmap(near.window)(z)
            total = jax.ops.segment_sum(window, owner, count, indices_are_sorted=True)
            parts = window * jax.vmap(lambda field, z: field(z))(fields, z) / total[owner]
            return jax.ops.segment_sum(parts, owner, count, indices_are_sorted=True)

        second = [_along(_along(values, axis), axis)(work.points) for axis in range(2)]
        return jnp.sum((sum(second) + source(work.points)) ** 2)

    return loss, work


def local_pieces(work: Work) -> tuple[Callable, Any]:
    """The local field of every point, differentiated there."""

    def loss(locals_: Any, work: Work) -> jax.Array:
        field = PartitionOfUnity(work.cover, locals_)

        def residual(x: jax.Array) -> jax.Array:
            return laplacian(field.at(field.locate(x))[1])(x)

        return jnp.sum((jax.vmap(residual)(work.points) + source(work.points)) ** 2)

    return loss, work


def jets_of_pairs(work: Work) -> tuple[Callable, Any]:
    """Windows differentiated once and for all, local fields in their own coordinates, parameters of every pair."""

    def loss(locals_: Any, data: Any) -> jax.Array:
        work, windows = data
        fields, near = taken(locals_, work.pairs), work.cover.at(work.pairs)
        z = (work.points[:, None] - near.centres) / near.half_widths
        parts = jax.vmap(jax.vmap(_laplacian))(fields, z, windows, near.half_widths)
        return jnp.sum((parts.sum(axis=1) + source(work.points)) ** 2)

    return loss, (work, window_jets(work))


def local_pieces_in_blocks(work: Work) -> tuple[Callable, Any]:
    """As `local_pieces`, a block of points after the other, so that what is computed stays in the cache."""
    count = len(work.points)
    size = next(width for width in range(BLOCK, 0, -1) if count % width == 0)
    blocks = work.points.reshape(-1, size, 2)

    def loss(locals_: Any, data: Any) -> jax.Array:
        work, blocks = data

        def part(points: jax.Array) -> jax.Array:
            field = PartitionOfUnity(work.cover, locals_)
            values = jax.vmap(lambda x: laplacian(field.at(field.locate(x))[1])(x))(points)
            return jnp.sum((values + source(points)) ** 2)

        return jnp.sum(jax.lax.map(jax.checkpoint(part), blocks))

    return loss, (work, blocks)


def sorted_by_subdomain(work: Work) -> tuple[Callable, Any]:
    """Windows known, points sorted by subdomain and padded: every parameter is read once."""

    def loss(locals_: Any, data: Any) -> jax.Array:
        work, windows, z = data
        return _sum_of_squares(work, _hidden_layer(locals_, work.cover.half_widths, windows, z))

    return loss, _sorted_data(work)


def sorted_in_blocks(work: Work) -> tuple[Callable, Any]:
    """As `sorted_by_subdomain`, a block of subdomains after the other; the backward pass computes each again."""

    def loss(locals_: Any, data: Any) -> jax.Array:
        work, windows, z = data
        side = int(np.sqrt(work.cover.subdomains))
        inputs = (locals_, work.cover.half_widths, windows, z)
        blocks = jax.tree.map(lambda leaf: leaf.reshape(side, -1, *leaf.shape[1:]), inputs)
        parts = jax.lax.map(jax.checkpoint(lambda block: _hidden_layer(*block)), blocks)
        return _sum_of_squares(work, parts.reshape(work.slots.shape))

    return loss, _sorted_data(work)


def _sorted_data(work: Work) -> tuple[Work, WindowJet, jax.Array]:
    """Windows and local coordinates by subdomain, the points on the last axis."""
    found, padded = _by_subdomain(work, window_jets(work)), jnp.concatenate([work.points, work.points[:1]])
    z = (padded[work.slots] - work.cover.centres[:, None]) / work.cover.half_widths[:, None]
    slope, second, z = (jnp.moveaxis(part, 1, -1) for part in (found.slope, found.second, z))
    return work, WindowJet(found.value, slope, second), z


def _hidden_layer(locals_: Any, half_widths: jax.Array, windows: WindowJet, z: jax.Array) -> jax.Array:
    """Laplacian of window times network `(subdomains, capacity)`, written out for one hidden layer of `tanh`."""
    first, last = locals_.layers
    slopes = (first.weight / half_widths[:, None, :])[..., None]
    unit = jnp.tanh(jnp.sum(first.weight[..., None] * z[:, None], axis=2) + first.bias[..., None])
    second = jnp.sum(windows.second, axis=1)[:, None]
    mixed = 2 * jnp.sum(slopes * windows.slope[:, None], axis=2)
    curved = 2 * unit * jnp.sum(slopes**2, axis=2) * windows.value[:, None]
    units = second * unit + (1 - unit**2) * (mixed - curved)
    return jnp.sum(last.weight[:, 0, :, None] * units, axis=1) + last.bias * second[:, 0]


def _sum_of_squares(work: Work, parts: jax.Array) -> jax.Array:
    total = jnp.zeros(len(work.points) + 1).at[work.slots].add(parts)[:-1]
    return jnp.sum((total + source(work.points)) ** 2)


def library(work: Work, hidden: int = 16) -> tuple[Callable, Any]:
    """What the optimisers of the library evaluate: the program of an objective, see `hierax.objective.program`."""
    field = PartitionOfUnity.on(work.cover, Perceptrons((hidden,)), key=0)
    term = SquaredResidual("interior", lambda u, place: laplacian(u)(place.x) + source(place.x[None])[0])
    points = np.asarray(work.points)
    samples = make_samples(term, points, np.full(len(points), 2.0))  # the sum of squares, and not half of it
    program, data = RowObjective(field, [samples]).program()

    def loss(locals_: Any, data: Any) -> jax.Array:
        return program(jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(locals_)]), data)

    return loss, data


LAYOUTS: dict[str, Callable[[Work], tuple[Callable, Any]]] = {
    "pairs, parameters gathered": gathered_pairs,
    "local pieces": local_pieces,
    "local pieces, in blocks": local_pieces_in_blocks,
    "pairs, windows known": jets_of_pairs,
    "sorted by subdomain, windows known": sorted_by_subdomain,
    "the same, in blocks": sorted_in_blocks,
    "the library": library,
}


@jax.jit
def window_jets(work: Work) -> WindowJet:
    """Windows of all pairs `(n, members)` with their derivatives."""

    def at(x: jax.Array, ids: jax.Array) -> WindowJet:
        near = work.cover.at(ids)

        def weights(x: jax.Array) -> jax.Array:
            return near.weights(near.coordinates(x))

        second = jnp.diagonal(jax.jacfwd(jax.jacfwd(weights))(x), axis1=1, axis2=2)
        return WindowJet(weights(x), jax.jacfwd(weights)(x), second)

    return jax.vmap(at)(work.points, work.pairs)


def _by_subdomain(work: Work, windows: WindowJet) -> WindowJet:
    """Windows of pairs in the order of the slots, zero where these are filled up."""
    count = len(work.points)
    owners = jnp.concatenate([work.pairs, jnp.full_like(work.pairs[:1], -1)])[work.slots]
    own = jnp.arange(work.cover.subdomains)[:, None, None] == owners
    member = jnp.argmax(own, axis=2)
    real = (work.slots < count).astype(float)
    slots = jnp.minimum(work.slots, count - 1)

    def pick(leaf: jax.Array) -> jax.Array:
        chosen = leaf[slots, member]
        return chosen * jnp.reshape(real, (*real.shape, *(1,) * (chosen.ndim - 2)))

    return jax.tree.map(pick, windows)


def _along(function: Callable, axis: int) -> Callable:
    def derivative(x: jax.Array) -> jax.Array:
        step = jnp.zeros_like(x).at[:, axis].set(1.0)
        return jax.jvp(function, (x,), (step,))[1]

    return derivative


def _laplacian(field: Any, z: jax.Array, window: WindowJet, half_widths: jax.Array) -> jax.Array:
    """Laplacian of window times local field at local coordinates, by the product rule along each axis."""
    total = jnp.zeros(())
    for axis in range(len(z)):
        unit = jnp.zeros_like(z).at[axis].set(1.0)

        def first(z: jax.Array, unit: jax.Array = unit) -> tuple[jax.Array, jax.Array]:
            return jax.jvp(field, (z,), (unit,))

        (value, slope), (_, second) = jax.jvp(first, (z,), (unit,))
        h = half_widths[axis]
        total += window.value * second / h**2 + 2 * window.slope[axis] * slope / h + window.second[axis] * value
    return total


def _measured(name: str, loss: Callable, params: Any, data: Any) -> tuple[dict[str, Any], Any]:
    step = eqx.filter_jit(jax.value_and_grad(loss))
    began = time.process_time()
    value, gradient = jax.block_until_ready(step(params, data))
    first, seconds = time.process_time() - began, []
    for _ in range(REPEATS):
        began = time.process_time()
        jax.block_until_ready(step(params, data))
        seconds.append(time.process_time() - began)
    usual = float(np.median(seconds))
    return {"layout": name, "seconds": usual, "seconds_compile": first - usual, "loss": float(value)}, gradient


def _difference(gradient: Any, wanted: Any) -> float:
    pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(wanted), strict=True)
    return max(float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in pairs)


def _table(rows: list[Row]) -> str:
    head = ["layout", "seconds", "(set-up)", "(compile)", "faster", "gradient differs by"]
    cells = [
        [
            row["layout"],
            *(f"{row[key]:.3f}" for key in ("seconds", "seconds_setup", "seconds_compile")),
            f"{row['faster']:.2f}",
            f"{row['difference']:.0e}",
        ]
        for row in rows
    ]
    return "\n".join(aligned([head, *cells]))


def _figure(path: Path, title: str, rows: list[Row]) -> None:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 2.4), layout="constrained")
        axes = figure.add_subplot()
        axes.barh([row["layout"] for row in rows], [row["faster"] for row in rows], color=ACCENT)
        axes.invert_yaxis()
        axes.set(xlabel="times faster than pairs with gathered parameters")
        save(figure, path, title)
