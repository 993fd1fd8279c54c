"""Finer partitions of unity: a further level of smaller subdomains, more local functions, all subdomains halved."""

import functools
import itertools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Float, PyTree
from numpy.polynomial import legendre

from hierax.fields.base import linear_parameters, parameter_count, partition
from hierax.fields.cover import Cover
from hierax.fields.expansion import Expansion, Joined, Legendre
from hierax.fields.finders import TableFinder, UniformFinder, table_finder
from hierax.fields.initial import generator_of
from hierax.fields.local_fields import AbstractLocals, Polynomials
from hierax.fields.partition_of_unity import PartitionOfUnity
from hierax.fields.sums import Sum
from hierax.fields.unknowns import Unknowns
from hierax.fields.windows import SplineWindow
from hierax.hierarchy.axis_transfer import EXACT, AxisMap, LeafTransfer
from hierax.hierarchy.level import Level
from hierax.hierarchy.refinement import AbstractRefinement, grown, unchanged
from hierax.hierarchy.transfer import LINEAR, AbstractTransfer, Params, Tag, tangent_of


class Enlarged(AbstractTransfer):
    """Parameters that stay, and new ones with given start values.

    Parameters
    ----------
    coarse, fine : callable pytrees
    kept : sequence of bool
        For each array of the fine parameters whether it is one of the coarse ones; these keep their order, and where
        they have more entries on their first axis, the new ones stand at its end.
    """

    coarse_structure: Any = eqx.field(static=True)
    fine_structure: Any = eqx.field(static=True)
    kept: tuple[bool, ...] = eqx.field(static=True)
    start: tuple[Float[Array, "..."] | None, ...]
    declared: frozenset[Tag] = eqx.field(static=True)

    def __init__(self, coarse: PyTree, fine: PyTree, kept):
        given, self.coarse_structure = jax.tree.flatten(partition(coarse)[0])
        leaves, self.fine_structure = jax.tree.flatten(partition(fine)[0])
        old, self.kept = iter(given), tuple(bool(stays) for stays in kept)
        self.start = tuple(_beyond(next(old), leaf) if k else leaf for k, leaf in zip(self.kept, leaves, strict=True))
        silent = not any(np.any(np.asarray(leaf)) for leaf in self.start if leaf is not None)
        self.declared = EXACT if silent else EXACT - {LINEAR}

    @property
    def tags(self) -> frozenset[Tag]:
        return self.declared

    def prolong(self, coarse: Params) -> Params:
        return self._filled(coarse, self.start)

    def inject(self, fine: Params) -> Params:
        rows = [0 if more is None else len(more) for more in self.start]
        parts = zip(jax.tree.leaves(fine), rows, self.kept, strict=True)
        old = [leaf[: len(leaf) - count] if count else leaf for leaf, count, kept in parts if kept]
        return jax.tree.unflatten(self.coarse_structure, old)

    def tangent(self, at: Params) -> lx.AbstractLinearOperator:
        return tangent_of(self.prolong, at)

    def restrict(self, cotangent: Params, at: Params | None = None) -> Params:
        del at
        return self.inject(cotangent)

    def lift(self, cotangent: Params) -> Params:
        return self._filled(cotangent, jax.tree.map(jnp.zeros_like, self.start))

    def element(self, child: PyTree) -> Float[Array, "fine coarse"] | None:
        del child

    def _filled(self, coarse: Params, new) -> Params:
        old = iter(jax.tree.leaves(coarse))
        parts = [
            ([next(old)] if kept else []) + ([] if more is None else [more])
            for kept, more in zip(self.kept, new, strict=True)
        ]
        leaves = [pair[0] if len(pair) == 1 else jnp.concatenate(pair) for pair in parts]
        return jax.tree.unflatten(self.fine_structure, leaves)


def _beyond(old: Float[Array, "..."], new: Float[Array, "..."]) -> Float[Array, "..."] | None:
    """What stands behind the entries of an array in a longer one."""
    return None if old.shape == new.shape else new[len(old) :]


class AddSubdomainLevel(AbstractRefinement):
    """Add a level of subdomains half as wide, whose readouts start at zero; the function stays.

    With indicators as evidence, one number for each of the finest subdomains, only the worst are split: the new level
    then consists of patches whose windows end smoothly. The shapes of the local pieces do not depend on how many there
    are, so nothing that is evaluated point by point is compiled again.

    Parameters
    ----------
    local : AbstractLocals
        Recipe of the new local fields; their readout has to be linear.
    share : float
        Of the sum of squared indicators that the split subdomains carry (Doerfler's marking).

    References
    ----------
    Dolean, Heinlein, Mishra, Moseley, Comput. Methods Appl. Mech. Eng. 429 (2024), arXiv 2306.05486.
    """

    local: AbstractLocals = eqx.field(static=True, default=Polynomials(3))
    share: float = 0.5

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        """See `AbstractRefinement.refine`; `evidence` is an array ``(subdomains,)`` or nothing."""
        generator = generator_of(level.parameters if key is None else key)
        fine, kept = self._added(level.field, generator, evidence)
        if all(kept):
            raise ValueError(f"AddSubdomainLevel: {type(level.field).__name__} has no subdomains to be split")
        transfer = Enlarged(level.field, fine, kept)
        points = level.points and round(level.points * parameter_count(fine) / level.parameters)
        return Level(fine, points), transfer

    def _added(self, field: Any, generator: np.random.Generator, evidence: Any) -> tuple[PyTree, list[bool]]:
        """The field with a further level, and for each array of its parameters whether it is an old one."""
        if isinstance(field, Unknowns):
            found = {name: self._added(part, generator, evidence) for name, part in sorted(field.parts.items())}
            kept = [old for _, answers in found.values() for old in answers]
            return Unknowns(**{name: part for name, (part, _) in found.items()}), kept
        old = [True] * len(jax.tree.leaves(partition(field)[0]))
        parts = field.parts if isinstance(field, Sum) else (field,)
        last = parts[-1]
        if not isinstance(last, PartitionOfUnity):
            return field, old
        marked = None if evidence is None else worst(np.asarray(evidence), self.share)
        shape = jax.eval_shape(last, jax.ShapeDtypeStruct((last.cover.dim,), float)).shape
        cover = halved(last.cover, marked)
        locals_ = self.local.draw(cover.dim, shape[0] if shape else None, cover.subdomains, generator)
        new = PartitionOfUnity(cover, _silent(locals_))
        return Sum((*parts, new)), old + [False] * len(jax.tree.leaves(partition(new)[0]))


class AddFunctions(AbstractRefinement):
    """More functions on every subdomain: a higher order, a band of frequencies, more features; the function stays.

    Polynomials of a higher degree take the place of those of a lower one; everything else is put beside what is there.

    Parameters
    ----------
    local : AbstractLocals
        Recipe of an `Expansion`.
    """

    local: AbstractLocals = eqx.field(static=True, default=Polynomials(6))

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        del evidence
        generator = generator_of(level.parameters if key is None else key)
        fine, leaves = self._more(level.field, generator)
        if parameter_count(fine) == level.parameters:
            raise ValueError(f"AddFunctions: {type(level.field).__name__} has no subdomains with an expansion")
        return grown(level, fine, leaves)

    def _more(self, field: Any, generator: np.random.Generator) -> tuple[PyTree, tuple[LeafTransfer, ...]]:
        if isinstance(field, Unknowns):
            found = {name: self._more(part, generator) for name, part in sorted(field.parts.items())}
            leaves = tuple(leaf for _, more in found.values() for leaf in more)
            return Unknowns(**{name: part for name, (part, _) in found.items()}), leaves
        if isinstance(field, Sum):
            each = [self._more(part, generator) for part in field.parts]
            return Sum(part for part, _ in each), tuple(leaf for _, more in each for leaf in more)
        if not isinstance(field, PartitionOfUnity) or not isinstance(field.locals, Expansion):
            return field, unchanged(field)
        old, cover = field.locals, field.cover
        values, functions = old.coefficients.ndim, old.coefficients.shape[-1]
        out = old.coefficients.shape[1] if values > 2 else None
        new = self.local.draw(cover.dim, out, len(old.coefficients), generator)
        basis, rows = _joined(old, new)
        matrix = np.zeros((len(rows), functions))
        matrix[np.flatnonzero(rows), np.arange(functions)] = 1.0
        leaf = LeafTransfer((AxisMap(values - 1, jnp.asarray(matrix), jnp.asarray(matrix.T)),))
        more = Expansion(basis, leaf.prolong(old.coefficients))
        return eqx.tree_at(lambda whole: whole.locals, field, more), (leaf,)


class SubdomainHalving(AbstractRefinement):
    """Halve all subdomains of partitions of unity that are made of B-splines and polynomials; the function stays.

    Every window is a sum of windows half as wide (see `SplineWindow`), and a polynomial is one on any subdomain. The
    spaces are nested, which is what coarse corrections want.
    """

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        del key, evidence
        fine, leaves = _halved_field(level.field)
        if parameter_count(fine) == level.parameters:
            raise ValueError(
                f"SubdomainHalving: {type(level.field).__name__} has no polynomials on a cover by B-splines; make one "
                f"with Cover.splines, or use AddSubdomainLevel"
            )
        return grown(level, fine, leaves)


class TensorLeaf(LeafTransfer):
    """One array of coefficients ``(subdomains, [out,] functions)`` of tensor products, by a matrix for each axis.

    Parameters
    ----------
    matrices, inverses : tuple of arrays
        From `(subdomain, degree)` along an axis to the same on the finer cover, ``(fine, coarse)``, and back.
    coarse, fine : tuple of int
        Subdomains along each axis.
    degrees : tuple of int
    """

    matrices: tuple[Float[Array, "fine coarse"], ...] = ()
    inverses: tuple[Float[Array, "coarse fine"], ...] = ()
    coarse: tuple[int, ...] = eqx.field(static=True, default=())
    fine: tuple[int, ...] = eqx.field(static=True, default=())
    degrees: tuple[int, ...] = eqx.field(static=True, default=())

    def prolong(self, leaf: Float[Array, "..."]) -> Float[Array, "..."]:
        return self._apply(self.matrices, leaf, self.coarse, self.fine)

    def inject(self, leaf: Float[Array, "..."]) -> Float[Array, "..."]:
        return self._apply(self.inverses, leaf, self.fine, self.coarse)

    def restrict(self, leaf: Float[Array, "..."]) -> Float[Array, "..."]:
        return self._apply(tuple(m.T for m in self.matrices), leaf, self.fine, self.coarse)

    def lift(self, leaf: Float[Array, "..."]) -> Float[Array, "..."]:
        return self._apply(tuple(m.T for m in self.inverses), leaf, self.coarse, self.fine)

    def _apply(self, matrices, leaf, given: tuple[int, ...], wanted: tuple[int, ...]) -> Float[Array, "..."]:
        dim, out = len(given), leaf.shape[1:-1]
        orders = tuple(degree + 1 for degree in self.degrees)
        value = jnp.reshape(leaf, (*given, math.prod(out), *orders))
        for axis, (matrix, count, order) in enumerate(zip(matrices, wanted, orders, strict=True)):
            # subdomain and function along this axis side by side, in front
            moved = jnp.moveaxis(value, (axis, dim + 1 + axis), (0, 1))
            rest = moved.shape[2:]
            new = (matrix @ moved.reshape(-1, math.prod(rest))).reshape(count, order, *rest)
            value = jnp.moveaxis(new, (0, 1), (axis, dim + 1 + axis))
        return value.reshape(math.prod(wanted), *out, math.prod(orders))


def worst(indicators: np.ndarray, share: float) -> np.ndarray:
    """Numbers of the fewest subdomains that carry a share of the sum of squares; at least one."""
    order = np.argsort(-np.abs(indicators), kind="stable")
    carried = np.cumsum(indicators[order] ** 2)
    return np.sort(order[: 1 + int(np.searchsorted(carried, share * carried[-1]))])


def indicators(cover: Cover, points: np.ndarray, weights: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    r"""The residual around every subdomain, :math:`(\sum_q \omega_q |r_q|^2)^{1/2}`, ``(subdomains,)``.

    Parameters
    ----------
    cover : Cover
    points, weights, residuals : arrays ``(n, dim)``, ``(n,)``, ``(n,)`` or ``(n, r)``
        A point counts for all subdomains that contain it.
    """
    lower, upper = cover.bounds()
    ids = cover.locate(np.asarray(points))
    inside = ((points[:, None] > lower[ids]) & (points[:, None] < upper[ids])).all(axis=2)
    squares = weights * np.sum(np.reshape(residuals, (len(points), -1)) ** 2, axis=1)
    total = np.bincount(ids.ravel(), (inside * squares[:, None]).ravel(), minlength=cover.subdomains)
    return np.sqrt(total)


def halved(cover: Cover, marked: np.ndarray | None = None) -> Cover:
    """Subdomains half as wide: those of a uniform cover, or patches on the cells of the marked subdomains."""
    finder = cover.finder
    if marked is None and isinstance(finder, UniformFinder):
        lower, spacing = np.asarray(finder.lower), np.asarray(finder.spacing)
        upper = lower + spacing * finder.counts
        counts = [2 * count for count in finder.counts]
        return Cover.uniform(lower, upper, counts, finder.overlap, window=cover.window, periodic=finder.wraps)
    if any(cover.periods):
        raise ValueError("patches on a periodic cover are not known; refine all of its subdomains")
    chosen = np.arange(cover.subdomains) if marked is None else marked
    centres, half = np.asarray(cover.centres)[chosen], np.asarray(cover.half_widths)[chosen]
    signs = np.array(list(itertools.product((-0.5, 0.5), repeat=cover.dim)))
    # children sit in the middles of the parts of the parent's cell, which is its half width over the overlap
    overlap = np.asarray(finder.overlap) if isinstance(finder, UniformFinder) else _overlap(cover)
    new = (centres[:, None] + signs * (half / overlap)[:, None]).reshape(-1, cover.dim)
    widths = np.repeat(0.5 * half, len(signs), axis=0)
    table: TableFinder = table_finder(new - widths, new + widths, capacity=cover.members)
    return Cover(new, widths, window=cover.window, finder=table, unity=False)


def _overlap(cover: Cover) -> np.ndarray:
    """Width over the distance to the nearest centre, the median along each axis."""
    centres, half = np.asarray(cover.centres), np.asarray(cover.half_widths)
    ratios = []
    for axis in range(cover.dim):
        steps = np.diff(np.unique(np.round(centres[:, axis], 12)))
        ratios.append(2 * np.median(half[:, axis]) / np.median(steps) if len(steps) else 1.9)
    return np.array(ratios)


def _silent(field: PyTree) -> PyTree:
    """The field with zero for all that enters linearly."""
    answer = linear_parameters(field)
    if not any(jax.tree.leaves(answer)):
        raise ValueError(f"{type(field).__name__} names no linear readout that could start at zero")
    return jax.tree.map(lambda linear, leaf: jnp.zeros_like(leaf) if linear else leaf, answer, field)


def _joined(old: Expansion, new: Expansion) -> tuple[Any, np.ndarray]:
    """The larger basis, and for each of its functions whether it is an old one."""
    if isinstance(old.basis, Legendre) and isinstance(new.basis, Legendre):
        low, high = old.basis.degrees, new.basis.degrees
        if all(a <= b for a, b in zip(low, high, strict=True)):
            grids = [np.arange(b + 1) <= a for a, b in zip(low, high, strict=True)]
            return new.basis, functools.reduce(lambda a, b: np.logical_and.outer(a, b), grids).ravel()
        raise ValueError(f"AddFunctions: degrees {high} are not above those that are there, {low}")
    parts = old.basis.parts if isinstance(old.basis, Joined) else (old.basis,)
    rows = np.arange(old.coefficients.shape[-1] + new.coefficients.shape[-1]) < old.coefficients.shape[-1]
    return Joined((*parts, new.basis)), rows


def _halved_field(field: Any) -> tuple[PyTree, tuple[LeafTransfer, ...]]:
    if isinstance(field, Unknowns):
        found = {name: _halved_field(part) for name, part in sorted(field.parts.items())}
        leaves = tuple(leaf for _, more in found.values() for leaf in more)
        return Unknowns(**{name: part for name, (part, _) in found.items()}), leaves
    known = isinstance(field, PartitionOfUnity) and isinstance(field.locals, Expansion) and field.place is None
    if not known or not isinstance(field.locals.basis, Legendre) or not isinstance(field.cover.window, SplineWindow):
        return field, unchanged(field)
    finder, degrees, p = field.cover.finder, field.locals.basis.degrees, field.cover.window.degree
    assert isinstance(finder, UniformFinder)
    cells = [n if wraps else n - p for n, wraps in zip(finder.counts, finder.wraps, strict=True)]
    lower = np.asarray(finder.lower) + 0.5 * p * np.asarray(finder.spacing)
    upper = lower + np.asarray(finder.spacing) * cells
    cover = Cover.splines(lower, upper, [2 * n for n in cells], p, finder.wraps)
    axes = zip(cells, finder.wraps, degrees, strict=True)
    matrices = [_two_scale(n, wraps, p, degree) for n, wraps, degree in axes]
    arrays = tuple(jnp.asarray(matrix) for matrix in matrices)
    inverses = tuple(jnp.asarray(np.linalg.pinv(matrix)) for matrix in matrices)
    assert isinstance(cover.finder, UniformFinder)
    leaf = TensorLeaf((), arrays, inverses, finder.counts, cover.finder.counts, degrees)
    return PartitionOfUnity(cover, Expansion(field.locals.basis, leaf.prolong(field.locals.coefficients))), (leaf,)


def _two_scale(cells: int, wraps: bool, p: int, degree: int) -> np.ndarray:
    """From `(spline, polynomial)` on `cells` cells of an axis to twice as many, ``(fine, coarse)``."""
    order, coarse_count, fine_count = degree + 1, cells + p * (not wraps), 2 * cells + p * (not wraps)
    matrix = np.zeros((fine_count, order, coarse_count, order))
    nodes, weights = legendre.leggauss(order)
    values = legendre.legvander(nodes, degree)
    for coarse, k in itertools.product(range(coarse_count), range(p + 2)):
        fine = (2 * coarse - p + k) % fine_count if wraps else 2 * coarse - p + k
        if 0 <= fine < fine_count:
            # middles in units of the coarse half width (p + 1) / 2, measured from the left end of the coarse support
            shift = (0.5 * k - 0.25 * (p + 1)) / (0.5 * (p + 1))
            there = legendre.legvander(shift + 0.5 * nodes, degree)
            change = (values * weights[:, None]).T @ there * (np.arange(order) + 0.5)[:, None]
            matrix[fine, :, coarse] += math.comb(p + 1, k) / 2**p * change
    return matrix.reshape(fine_count * order, -1)
