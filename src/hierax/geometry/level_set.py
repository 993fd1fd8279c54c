"""The set where a function of the user is negative: its boundary is traced, and fitted by polynomials."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.geometry.curves import AbstractCurves, Fitted, root
from hierax.geometry.shape import AbstractLeaf, AbstractShape, corners

CELLS = 64
"""Cells of the grid on which a boundary is traced, along the longer edge of the box."""
DEGREE = 12
"""Degree of the polynomials that follow the boundary through a cell."""
SETTLED = 1e-9
"""A step, in the most that there may be, after which Newton's method has converged to rounding."""
KEPT = {2: 257, 3: 65}
"""Points along an axis of the grid on which files keep a function."""
SAMPLES = 33
"""Points of a piece at which the signs of its slopes are looked at."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class LevelSet(AbstractLeaf):
    """The points of a box where a function is negative: a signed distance, or any smooth function.

    Parameters
    ----------
    function:
        `function(x)` of a point `(dim,)`, written with `jax.numpy`; negative inside. Its derivative must not vanish
        where it is zero.
    lower, upper:
        Corners of a box that contains the set; what lies outside of the box does not belong to it.
    name:
        Name of the boundary.
    frame:
        Where the function is taken for a point `y` of the shape: at `frame[0] @ y + frame[1]`.
    """

    function: Callable[[Any], Any]
    lower: Any
    upper: Any
    name: str = "level"
    frame: tuple[np.ndarray, np.ndarray] | None = None

    def __post_init__(self) -> None:
        dim = int(np.size(self.lower))
        if dim not in (2, 3):
            raise InputError(f"a box of {dim} coordinates", "LevelSet(function, lower, upper)", "give two or three")
        low, high = corners(self.lower, self.upper, dim, "LevelSet(function, lower, upper)")
        object.__setattr__(self, "lower", low)
        object.__setattr__(self, "upper", high)
        if not callable(self.function):
            raise InputError("this is no function", "LevelSet(function, ...)", "give a function of a point")
        try:
            shape = jax.eval_shape(self.function, jax.ShapeDtypeStruct((self._outer,), float)).shape
        except Exception as error:  # whatever the user's function raises
            raise InputError(
                f"{type(error).__name__}: {error}", "LevelSet(function, ...)", "write it with jax.numpy"
            ) from error
        if shape != ():
            raise InputError(f"its values have shape {shape}", "LevelSet(function, ...)", "return one number a point")

    @property
    def _outer(self) -> int:
        return len(self.lower) if self.frame is None else len(self.frame[1])

    @property
    def dim(self) -> int:
        return len(self.lower)

    def function_at(self, points: np.ndarray) -> np.ndarray:
        """The function at points `(n, dim)`."""
        return _evaluated(self.function, self._placed(points))[0]

    def both(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The function `(n,)` and its gradient `(n, dim)`."""
        values, slopes = _evaluated(self.function, self._placed(points))
        return values, slopes if self.frame is None else slopes @ self.frame[0]

    def _placed(self, points: np.ndarray) -> np.ndarray:
        return points if self.frame is None else points @ self.frame[0].T + self.frame[1]

    def level(self, points: np.ndarray) -> np.ndarray:
        values, slopes = self.both(points)
        # about a distance beside the boundary
        own = values / np.maximum(np.sqrt(np.sum(slopes**2, axis=1)), 1e-12)
        return np.maximum(own, np.max(np.maximum(self.lower - points, points - self.upper), axis=1))

    def traced(self, x: Any) -> Any:
        """Whether a point lies inside, while JAX traces."""
        own = x if self.frame is None else self.frame[0] @ x + self.frame[1]
        return (self.function(own) <= 0.0) & jnp.all((x >= self.lower) & (x <= self.upper))

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        return self.lower, self.upper

    def mapped(self, matrix: np.ndarray, shift: np.ndarray) -> AbstractShape:
        if not np.all(matrix == np.diag(np.diagonal(matrix))):
            raise InputError(
                "a level set is given in a box along the coordinates", "rotated(...)",
                "turn the coordinates in its function",
            )  # fmt: skip
        inverse = np.linalg.inv(matrix)
        outer = (np.eye(self.dim), np.zeros(self.dim)) if self.frame is None else self.frame
        ends = np.sort([matrix @ self.lower + shift, matrix @ self.upper + shift], axis=0)
        return LevelSet(self.function, ends[0], ends[1], self.name,
                        (outer[0] @ inverse, outer[1] - outer[0] @ inverse @ shift))  # fmt: skip

    def sliced(self, axis: int, value: float) -> LevelSet:
        """The set in the plane where a coordinate has a value."""
        matrix, shift = (np.eye(self.dim), np.zeros(self.dim)) if self.frame is None else self.frame
        keep = [k for k in range(self.dim) if k != axis]
        frame = (matrix[:, keep], shift + value * matrix[:, axis])
        return replace(self, lower=self.lower[keep], upper=self.upper[keep], frame=frame)

    def curves(self) -> AbstractCurves:
        return self._traced

    def labels(self) -> tuple[tuple[str, ...], ...]:
        return ((self.name,),) * len(self._traced.spans)

    @functools.cached_property
    def _traced(self) -> Fitted:
        return _monotone(_trace(self))


@functools.lru_cache(maxsize=64)
def _compiled(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return jax.jit(jax.vmap(jax.value_and_grad(lambda x: jnp.asarray(function(x), float))))


def _evaluated(function: Callable[[Any], Any], points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count = len(points)
    if not count:
        return np.zeros(0), np.zeros(points.shape)
    # few lengths, so that few kernels are compiled
    rows = np.resize(np.arange(count), 1 << max(10, (count - 1).bit_length()))
    values, slopes = _compiled(function)(points[rows])
    return np.nan_to_num(np.asarray(values)[:count], nan=1.0), np.nan_to_num(np.asarray(slopes)[:count])


def _trace(leaf: LevelSet) -> np.ndarray:
    """Pieces of the boundary through the cells of a grid, as Chebyshev coefficients `(pieces, degree + 1, 2)`."""
    size = leaf.upper - leaf.lower
    counts = np.maximum(np.ceil(CELLS * size / size.max()).astype(int), 8)
    ticks = [np.linspace(a, b, n + 1) for a, b, n in zip(leaf.lower, leaf.upper, counts, strict=True)]
    nodes = np.stack(np.meshgrid(*ticks, indexing="ij"), axis=-1)
    values = leaf.function_at(nodes.reshape(-1, 2)).reshape(nodes.shape[:2])
    inside = values < 0.0
    found = _crossed(leaf, nodes, inside)
    starts, ends = [], []
    for i, j in np.argwhere(_mixed(inside)):
        edges = [(0, i, j), (1, i + 1, j), (0, i, j + 1), (1, i, j)]
        crossed = [found[e] for e in edges if e in found]
        if len(crossed) == 4:
            middle = leaf.function_at(0.5 * (nodes[i, j] + nodes[i + 1, j + 1])[None])[0] < 0
            pairs = [(1, 0), (2, 3)] if middle == inside[i, j] else [(0, 3), (1, 2)]
        else:
            pairs = [(0, 1)]
        for a, b in pairs:
            starts.append(crossed[a])
            ends.append(crossed[b])
    start, end = np.array(starts).reshape(-1, 2), np.array(ends).reshape(-1, 2)
    apart = np.linalg.norm(end - start, axis=1) > 1e-13 * size.max()
    pieces = _fitted(leaf, start[apart], end[apart], 0.5 * float(np.min(size / counts)))
    return np.concatenate([pieces, _rim(leaf, nodes, inside, found)])


def _crossed(leaf: LevelSet, nodes: np.ndarray, inside: np.ndarray) -> dict[Any, np.ndarray]:
    """Where the boundary crosses edges of the grid, by their axis and the numbers of their first node."""
    each = np.argwhere(inside[:-1] != inside[1:]), np.argwhere(inside[:, :-1] != inside[:, 1:])
    at, axis = np.concatenate(each), np.repeat([0, 1], [len(own) for own in each])
    start, end = nodes[tuple(at.T)], nodes[tuple((at + np.eye(2, dtype=int)[axis]).T)]
    t = root(lambda t: leaf.function_at(start + t[:, None] * (end - start)), np.zeros(len(at)), np.ones(len(at)))
    points = start + t[:, None] * (end - start)
    return {(k, *where): point for k, where, point in zip(axis.tolist(), at.tolist(), points, strict=True)}


def _mixed(inside: np.ndarray) -> np.ndarray:
    """Cells with corners on both sides."""
    four = np.stack([inside[:-1, :-1], inside[1:, :-1], inside[:-1, 1:], inside[1:, 1:]])
    return np.any(four, axis=0) & ~np.all(four, axis=0)


def _fitted(leaf: LevelSet, start: np.ndarray, end: np.ndarray, most: float) -> np.ndarray:
    """Polynomials through points of the boundary above the chords of its pieces."""
    nodes = np.cos(np.pi * np.arange(DEGREE + 1) / DEGREE)
    half, middle = 0.5 * (end - start), 0.5 * (end + start)
    normal = np.stack([-half[:, 1], half[:, 0]], axis=1) / np.maximum(np.linalg.norm(half, axis=1), 1e-300)[:, None]
    chord = middle[:, None] + nodes[:, None] * half[:, None]
    off = np.zeros(chord.shape[:2])
    for _ in range(12):
        points = chord + off[..., None] * normal[:, None]
        value, slope = leaf.both(points.reshape(-1, 2))
        along = np.sum(slope.reshape(points.shape) * normal[:, None], axis=2)
        safe = np.where(np.abs(along) > 1e-12, along, 1e-12)
        before, off = off, np.clip(off - value.reshape(off.shape) / safe, -most, most)
        if np.max(np.abs(off - before), initial=0.0) <= SETTLED * most:
            break
    off[:, [0, -1]] = 0.0
    points = chord + off[..., None] * normal[:, None]
    vandermonde = np.polynomial.chebyshev.chebvander(nodes, DEGREE)
    return np.einsum("kn,pnd->pkd", np.linalg.inv(vandermonde), points)


def _rim(leaf: LevelSet, nodes: np.ndarray, inside: np.ndarray, found: dict[Any, np.ndarray]) -> np.ndarray:
    """Pieces of the rim of the box that belong to the boundary, as polynomials."""
    starts, ends = [], []
    for axis in (0, 1):
        for row in (0, inside.shape[1 - axis] - 1):
            for k in range(inside.shape[axis] - 1):
                a, b = ((k, row), (k + 1, row)) if axis == 0 else ((row, k), (row, k + 1))
                crossed = found.get((axis, *a))
                if inside[a] or inside[b]:
                    starts.append(nodes[a] if inside[a] else crossed)
                    ends.append(nodes[b] if inside[b] else crossed)
    start, end = np.array(starts).reshape(-1, 2), np.array(ends).reshape(-1, 2)
    out = np.zeros((len(start), DEGREE + 1, 2))
    out[:, 0], out[:, 1] = 0.5 * (start + end), 0.5 * (end - start)
    return out


def _monotone(coefficients: np.ndarray) -> Fitted:
    """The pieces, cut where either coordinate turns."""
    whole = Fitted(coefficients, np.tile([-1.0, 1.0], (len(coefficients), 1)))
    ticks = np.linspace(-1.0, 1.0, SAMPLES)
    number = np.repeat(np.arange(len(coefficients)), SAMPLES)
    slopes = whole.slope(number, np.tile(ticks, len(coefficients))).reshape(-1, SAMPLES, 2)
    size = np.abs(slopes).max(axis=(1, 2), keepdims=True)
    slopes = np.where(np.abs(slopes) < 1e-12 * size, 0.0, slopes)
    cuts = [[-1.0, 1.0] for _ in range(len(coefficients))]
    for axis in (0, 1):
        at = np.argwhere(slopes[:, :-1, axis] * slopes[:, 1:, axis] < 0)
        turn = root(lambda t, p=at[:, 0], a=axis: whole.slope(p, t)[:, a], ticks[at[:, 1]], ticks[at[:, 1] + 1])
        for piece, t in zip(at[:, 0], turn, strict=True):
            cuts[piece].append(float(t))
    limits = [np.sort(c) for c in cuts]
    number = np.repeat(np.arange(len(cuts)), [len(c) - 1 for c in cuts])
    spans = np.concatenate([np.stack([c[:-1], c[1:]], axis=1) for c in limits]) if cuts else np.zeros((0, 2))
    return Fitted(coefficients[number], spans)


@final
@dataclass(frozen=True, eq=False)
class GridFunction:
    """Values on a uniform grid over a box, interpolated by cubic polynomials: a level as data, for files."""

    lower: Any
    upper: Any
    values: np.ndarray

    def __call__(self, x: Any) -> Any:
        count = np.array(self.values.shape)
        place = (x - self.lower) / (self.upper - self.lower) * (count - 1)
        first = jnp.clip(jnp.floor(place).astype(int) - 1, 0, count - 4)
        t, out = place - first, jnp.asarray(self.values)
        out = jax.lax.dynamic_slice(out, first, (4,) * len(count))
        for k in range(len(count)):
            weights = [jnp.prod(jnp.stack([(t[k] - j) / (i - j) for j in range(4) if j != i])) for i in range(4)]
            out = jnp.tensordot(jnp.stack(weights), out, axes=1)
        return out


def kept(shape: AbstractShape) -> AbstractShape:
    """The shape without functions of the user: their values on a fine grid stand for them."""

    def leaf(own: AbstractShape) -> AbstractShape:
        if not isinstance(own, LevelSet) or isinstance(own.function, GridFunction):
            return own
        ticks = [np.linspace(a, b, KEPT[own.dim]) for a, b in zip(own.lower, own.upper, strict=True)]
        points = np.stack(np.meshgrid(*ticks, indexing="ij"), axis=-1)
        values = own.function_at(points.reshape(-1, own.dim)).reshape(points.shape[:-1])
        return LevelSet(GridFunction(own.lower, own.upper, values), own.lower, own.upper, own.name)

    return shape.combined(leaf)
