"""Quadrature on cells that the boundary of a shape in the plane cuts, and on the boundary cell by cell.

A cell is integrated along one axis after the other. Its base is cut at the ends of all pieces of boundary in it;
between them the pieces are graphs above the base, and the cell is inside or outside between neighbouring ones. Base
points are placed by the parameter of the steepest piece, so that nothing is singular where a curve turns. Weights are
positive, all points lie inside.

References
----------
R. I. Saye, SIAM J. Sci. Comput. 37 (2015) A993-A1019 (heights above a base); here the base is cut where the curves
themselves say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hierax.geometry.contour import Contour, Pieces
from hierax.geometry.curves import root

SAME = 1e-13
"""Positions that differ by less, in sizes of the shape, are the same."""


class Quadrature(NamedTuple):
    """Points `(n, dim)` with weights `(n,)`, and outward normals `(n, dim)` on a boundary."""

    points: np.ndarray
    weights: np.ndarray
    normals: np.ndarray | None = None


Cells = Sequence[np.ndarray]


def in_cells(contour: Contour, pieces: Pieces, cells: Cells) -> tuple[Pieces, np.ndarray]:
    """Pieces cut at the lines of a mesh, and the number of the cell of each, on the inner side of the boundary."""
    for axis, breaks in enumerate(cells):
        start, end = (contour.at(pieces, t)[:, axis] for t in (pieces.first, pieces.last))
        low, high = np.minimum(start, end), np.maximum(start, end)
        tiny = SAME * contour.size
        first = np.searchsorted(breaks, low + tiny, "right")
        count = np.maximum(np.searchsorted(breaks, high - tiny, "left") - first, 0)
        rows = np.repeat(np.arange(len(low)), count)
        line = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count) + first[rows]
        t = along(contour, pieces.take(rows), axis, np.asarray(breaks)[line])
        every = np.concatenate([rows, np.arange(len(low)), np.arange(len(low))])
        cut = np.concatenate([t, pieces.first, pieces.last])
        order = np.lexsort((cut, every))
        every, cut = every[order], cut[order]
        solid = (every[1:] == every[:-1]) & (cut[1:] > cut[:-1])
        pieces = pieces.take(every[:-1][solid]).between(cut[:-1][solid], cut[1:][solid])
    middle = contour.at(pieces, pieces.middle)
    inner = middle - 1e-9 * contour.size * contour.normals(pieces, pieces.middle)
    return pieces, numbered(inner, cells)


def numbered(points: np.ndarray, cells: Cells) -> np.ndarray:
    """Number of the cell of every point."""
    index = [np.clip(np.searchsorted(b, x, "right") - 1, 0, len(b) - 2) for b, x in zip(cells, points.T, strict=True)]
    return np.ravel_multi_index(index, [len(b) - 1 for b in cells])  # pyright: ignore


def along(contour: Contour, pieces: Pieces, axis: int | np.ndarray, value: np.ndarray) -> np.ndarray:
    """Parameters at which monotone pieces have a coordinate `value`; the nearer end where they do not reach it."""
    pick, axis = np.arange(len(value)), np.broadcast_to(axis, len(value))
    start, end = (contour.at(pieces, t)[pick, axis] for t in (pieces.first, pieces.last))
    rising = end >= start
    t = root(lambda t: contour.at(pieces, t)[pick, axis] - value, pieces.first, pieces.last)
    low, high = np.minimum(start, end), np.maximum(start, end)
    t = np.where(value <= low, np.where(rising, pieces.first, pieces.last), t)
    return np.where(value >= high, np.where(rising, pieces.last, pieces.first), t)


def on_boundary(contour: Contour, pieces: Pieces, cells: Cells | None, order: int) -> Quadrature:
    """Gauss points of pieces, `order` in every cell that a piece runs through."""
    if cells is not None:
        pieces, _ = in_cells(contour, pieces, cells)
    nodes, weights = np.polynomial.legendre.leggauss(order)
    half = 0.5 * (pieces.last - pieces.first)
    t = (pieces.middle[:, None] + half[:, None] * nodes).ravel()
    every = pieces.take(np.repeat(np.arange(len(half)), order))
    length = np.linalg.norm(contour.slope(every, t), axis=1)
    return Quadrature(contour.at(every, t), length * (half[:, None] * weights).ravel(), contour.normals(every, t))


def inside(contour: Contour, cells: Cells, order: int) -> Quadrature:
    """Points inside of the shape, those of a cell next to each other.

    Cells that are not cut have Gauss points, `order` along every axis; those that are cut have as many in every part.
    """
    pieces, cell = in_cells(contour, contour.pieces, cells)
    shape = [len(b) - 1 for b in cells]
    low, high = (np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 2)
                 for ends in ([b[:-1] for b in cells], [b[1:] for b in cells]))  # fmt: skip
    # pieces along the edges of cells cut nothing
    start, end = contour.at(pieces, pieces.first), contour.at(pieces, pieces.last)
    tiny = 10 * SAME * contour.size
    on_edge = np.zeros(len(cell), bool)
    for edge in (low[cell], high[cell]):
        on_edge |= np.any((np.abs(start - edge) <= tiny) & (np.abs(end - edge) <= tiny), axis=1)
    pieces, cell = pieces.take(~on_edge), cell[~on_edge]
    cut = np.zeros(np.prod(shape), bool)
    cut[cell] = True
    whole = np.flatnonzero(~cut)
    whole = whole[contour.shape.level(0.5 * (low + high)[whole]) < 0]
    nodes, weights = np.polynomial.legendre.leggauss(order)
    points, product = _products(low[whole], high[whole], nodes, weights)
    numbers = np.repeat(whole, order**2)
    if len(cell):
        more, own, where = _Cut(contour, pieces, cell, low, high, order).quadrature()
        points, product = np.concatenate([points, more]), np.concatenate([product, own])
        numbers = np.concatenate([numbers, where])
    keep = np.argsort(numbers, kind="stable")
    return Quadrature(points[keep], product[keep])


def _products(
    low: np.ndarray, high: np.ndarray, nodes: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gauss points and weights of boxes `(n, 2)`, those of one next to each other."""
    half, middle = 0.5 * (high - low), 0.5 * (high + low)
    x = middle[:, None, None, 0] + half[:, None, None, 0] * nodes[:, None]
    y = middle[:, None, None, 1] + half[:, None, None, 1] * nodes[None, :]
    shape = (len(low), len(nodes), len(nodes))
    points = np.stack([np.broadcast_to(x, shape), np.broadcast_to(y, shape)], axis=-1).reshape(-1, 2)
    product = (np.prod(half, axis=1)[:, None, None] * weights[:, None] * weights).reshape(-1)
    return points, product


class _Cut:
    """Cells that are cut, by the pieces of boundary in them."""

    def __init__(
        self, contour: Contour, pieces: Pieces, cell: np.ndarray, low: np.ndarray, high: np.ndarray, order: int
    ) -> None:
        order_ = np.argsort(cell, kind="stable")
        self.contour, self.pieces, self.order = contour, pieces.take(order_), order
        self.cells, self.own = np.unique(cell[order_], return_inverse=True)
        self.low, self.high = low[self.cells], high[self.cells]
        self.tiny = SAME * contour.size
        self.start = contour.at(self.pieces, self.pieces.first)
        self.end = contour.at(self.pieces, self.pieces.last)
        self.base = self._bases()

    def _bases(self) -> np.ndarray:
        """Axis of the base of every cell: that along which its steepest piece is less steep, turns not counted."""
        steep = np.zeros((len(self.cells), 2))
        extent = np.abs(self.end - self.start)
        for t in (self.pieces.first, self.pieces.middle, self.pieces.last):
            slope = np.abs(self.contour.slope(self.pieces, t))
            for base in (0, 1):
                upright = (extent[:, base] <= self.tiny) | (slope[:, base] <= 1e-9 * slope[:, 1 - base])
                ratio = np.where(upright, 0.0, slope[:, 1 - base] / np.maximum(slope[:, base], 1e-300))
                np.maximum.at(steep[:, base], self.own, ratio)
        return np.where(steep[:, 0] <= steep[:, 1], 0, 1)

    def quadrature(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points, weights and numbers of their cells."""
        cell, first, last = self._intervals()
        unit, piece = self._pairs(cell, first, last)
        nodes, weights = self._nodes(first, last, unit, piece)
        heights, at = self._heights(nodes, unit, piece)
        return self._columns(cell, nodes, weights, heights, at)

    def _intervals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Intervals of all bases between the ends of pieces: cell, lower and upper end."""
        rows = np.arange(len(self.cells))
        base = self.base[self.own]
        pick = np.arange(len(base))
        cell = np.concatenate([rows, rows, self.own, self.own])
        at = np.concatenate(
            [self.low[rows, self.base], self.high[rows, self.base], self.start[pick, base], self.end[pick, base]]
        )
        at = np.clip(at, self.low[cell, self.base[cell]], self.high[cell, self.base[cell]])
        order = np.lexsort((at, cell))
        cell, at = cell[order], at[order]
        solid = (cell[1:] == cell[:-1]) & (at[1:] - at[:-1] > self.tiny)
        return cell[:-1][solid], at[:-1][solid], at[1:][solid]

    def _pairs(self, cell: np.ndarray, first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Intervals with the pieces above them."""
        counts = np.bincount(self.own, minlength=len(self.cells))
        begins = np.cumsum(counts) - counts
        unit = np.repeat(np.arange(len(cell)), counts[cell])
        within = np.arange(len(unit)) - np.repeat(np.cumsum(counts[cell]) - counts[cell], counts[cell])
        piece = begins[cell[unit]] + within
        base = self.base[cell[unit]]
        a, b = self.start[piece, base], self.end[piece, base]
        middle = 0.5 * (first + last)[unit]
        above = (np.minimum(a, b) < middle) & (middle < np.maximum(a, b))
        return unit[above], piece[above]

    def _nodes(
        self, first: np.ndarray, last: np.ndarray, unit: np.ndarray, piece: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Base points and weights `(intervals, order)`."""
        nodes, weights = np.polynomial.legendre.leggauss(self.order)
        half = 0.5 * (last - first)
        at, product = 0.5 * (first + last)[:, None] + half[:, None] * nodes, half[:, None] * weights
        if not len(unit):
            return at, product
        base = self.base[self.own[piece]]
        pieces = self.pieces.take(piece)
        begin, stop = (along(self.contour, pieces, base, ends[unit]) for ends in (first, last))
        pick = np.arange(len(piece))
        steep = np.zeros(len(piece))
        for t in (begin, 0.5 * (begin + stop), stop):
            slope = np.abs(self.contour.slope(pieces, t))
            steep = np.maximum(steep, slope[pick, 1 - base] / np.maximum(slope[pick, base], 1e-12))
        order = np.lexsort((steep, unit))
        leading = order[np.r_[unit[order][1:] != unit[order][:-1], True]]
        own, t0, t1 = pieces.take(leading), begin[leading], stop[leading]
        t = 0.5 * (t0 + t1)[:, None] + 0.5 * (t1 - t0)[:, None] * nodes
        every = own.take(np.repeat(np.arange(len(leading)), self.order))
        axis = np.repeat(base[leading], self.order)
        flat = np.arange(len(axis))
        at[unit[leading]] = self.contour.at(every, t.ravel())[flat, axis].reshape(t.shape)
        slope = np.abs(self.contour.slope(every, t.ravel())[flat, axis].reshape(t.shape))
        product[unit[leading]] = slope * np.abs(0.5 * (t1 - t0))[:, None] * weights
        return at, product

    def _heights(self, nodes: np.ndarray, unit: np.ndarray, piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Heights of pieces above base points, and the number of the base point of each."""
        where = (unit[:, None] * self.order + np.arange(self.order)).ravel()
        every = np.repeat(piece, self.order)
        base = self.base[self.own[every]]
        pieces = self.pieces.take(every)
        t = along(self.contour, pieces, base, nodes.ravel()[where])
        return self.contour.at(pieces, t)[np.arange(len(t)), 1 - base], where

    def _columns(
        self, cell: np.ndarray, nodes: np.ndarray, weights: np.ndarray, heights: np.ndarray, where: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gauss points between neighbouring heights where the shape is."""
        own = np.repeat(cell, self.order)
        count, height = np.arange(len(own)), 1 - self.base[own]
        column = np.concatenate([count, count, where])
        at = np.concatenate([self.low[own, height], self.high[own, height], heights])
        order = np.lexsort((at, column))
        column, at = column[order], at[order]
        solid = (column[1:] == column[:-1]) & (at[1:] - at[:-1] > 0.0)
        column, low, high = column[:-1][solid], at[:-1][solid], at[1:][solid]
        base = self.base[own[column]]
        x = nodes.ravel()[column]

        def placed(y: np.ndarray, base: np.ndarray, x: np.ndarray) -> np.ndarray:
            return np.where((base == 0)[:, None], np.stack([x, y], axis=1), np.stack([y, x], axis=1))

        within = self.contour.shape.level(placed(0.5 * (low + high), base, x)) < 0
        column, low, high, base, x = column[within], low[within], high[within], base[within], x[within]
        points, product = np.polynomial.legendre.leggauss(self.order)
        half = 0.5 * (high - low)
        y = (0.5 * (low + high)[:, None] + half[:, None] * points).ravel()
        total = (weights.ravel()[column] * half)[:, None] * product
        return (
            placed(y, np.repeat(base, self.order), np.repeat(x, self.order)),
            total.ravel(),
            np.repeat(self.cells[own[column]], self.order),
        )
