r"""Effective tensors of random microstructures on levels: a coarse solve, bounds, a learned correction, an interval.

Pixels of a coarse grid that hold both phases are laminates of these, along the direction in which they are apart
(composite voxels: Kabel, Merkert and Schneider, Comput. Methods Appl. Mech. Eng. 294 (2015) 168). The result is written
as `C = R + S L S` with the bounds of Reuss `R` and Voigt `V`, `S = (V - R)^(1/2)`, and eigenvalues of `L` in `[0, 1]`
(Keshav, Herb and Fritzen, 2504.00712): whatever is learned about the logit of `L` keeps the bounds. What refinement
changes in it is learned from few fine solves, by ridge regression on the changes between two coarser grids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, final

import jax
import numpy as np

from hierax._errors import InputError
from hierax.materials.cells import Cell
from hierax.materials.fft import effective_of_field, wave_normals
from hierax.materials.network import laminate
from hierax.materials.tensors import Physics

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""Penalties that are tried, by samples left out one at a time; no correction at all is tried as well."""
CONFIDENCE = 0.95
"""Of intervals."""
FAR = 4.0
"""Standard deviations of a feature beyond which nothing is promised."""
TOLERANCE = 1e-4
"""Of all solves."""
LEAST, MOST = 1e-9, 1.0 - 1e-9
"""Where eigenvalues between the bounds are cut off before their logit is taken."""


class Homogenised(NamedTuple):
    """Effective tensors `(samples, size, size)`; relative Frobenius errors `(samples,)` that 95 % stay below."""

    tensors: np.ndarray
    bounds: np.ndarray


def composite_tensor(cell: Cell, grid: int, phases: np.ndarray, physics: Physics) -> np.ndarray:
    """Effective tensor of a cell of two phases, solved on a grid that is coarser by a whole factor.

    Parameters
    ----------
    cell:
        The microstructure on its own, fine grid.
    grid:
        Pixels an axis; that of the cell for the usual solve.
    phases:
        `(2, size, size)`.

    Raises
    ------
    InputError
        For a grid that does not divide that of the cell, and more than two phases.
    """
    if cell.grid % grid or len(phases) != 2 or cell.image.max() > 1:
        raise InputError(
            f"{cell.grid} pixels are solved on {grid}, with {len(phases)} phases.", "composite_tensor",
            "Give a grid that divides that of the cell, and two phases.",
        )  # fmt: skip
    fractions, normals = _blocks(cell, grid)
    found, residual, _ = _composite(
        fractions, normals, np.asarray(phases, float), wave_normals(grid, cell.dimension), physics
    )
    if not residual <= TOLERANCE:
        raise InputError("The solve does not converge.", "composite_tensor", "Give phases of less contrast.")
    return np.asarray(found)


@partial(jax.jit, static_argnames="physics")
def _composite(fractions: Any, normals: Any, phases: Any, waves: Any, physics: Physics) -> Any:
    field = laminate(phases[1], phases[0], fractions[..., None, None], physics.jump(normals))
    return effective_of_field(field, phases, waves, physics, TOLERANCE)


def _blocks(cell: Cell, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Fraction of phase 1 in each coarse pixel, and the unit vector from its centre to the centroid of that phase."""
    dimension, factor = cell.dimension, cell.grid // grid
    split = cell.image.reshape((grid, factor) * dimension)
    within = tuple(range(1, 2 * dimension, 2))
    offset = np.arange(factor) - 0.5 * (factor - 1)
    moments = []
    for axis in within:
        shape = [1] * (2 * dimension)
        shape[axis] = factor
        moments.append(np.mean(split * offset.reshape(shape), axis=within))
    vectors = np.stack(moments, axis=-1)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    first = np.eye(dimension)[0]
    return np.mean(split, axis=within), np.where(length > 1e-12, vectors / np.where(length > 0.0, length, 1.0), first)


def voigt_reuss(phases: np.ndarray, fractions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bounds `V >= R`, of phases `(samples, phases, size, size)` and fractions `(samples, phases)`."""
    voigt = np.einsum("sp,spij->sij", fractions, phases)
    return voigt, np.linalg.inv(np.einsum("sp,spij->sij", fractions, np.linalg.inv(phases)))


def _spectral(matrices: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    values, vectors = np.linalg.eigh(0.5 * (matrices + np.swapaxes(matrices, -1, -2)))
    return np.einsum("sij,sj,skj->sik", vectors, function(values), vectors)


def _root(voigt: np.ndarray, reuss: np.ndarray) -> np.ndarray:
    return _spectral(voigt - reuss, lambda w: np.sqrt(np.maximum(w, 1e-12 * np.max(np.abs(w)) + 1e-300)))


def encode(tensors: np.ndarray, voigt: np.ndarray, reuss: np.ndarray) -> np.ndarray:
    """Logits of where tensors are between their bounds, `(samples, size, size)`."""
    inverse = np.linalg.inv(_root(voigt, reuss))

    def logit(values: np.ndarray) -> np.ndarray:
        values = np.clip(values, LEAST, MOST)
        return np.log(values) - np.log1p(-values)

    return _spectral(inverse @ (tensors - reuss) @ inverse, logit)


def decode(logits: np.ndarray, voigt: np.ndarray, reuss: np.ndarray) -> np.ndarray:
    """The inverse of `encode`: tensors that keep the bounds, whatever the logits."""
    root = _root(voigt, reuss)
    return reuss + root @ _spectral(logits, lambda w: 0.5 * (1.0 + np.tanh(0.5 * w))) @ root


def _upper(matrices: np.ndarray) -> np.ndarray:
    rows, columns = np.triu_indices(matrices.shape[-1])
    return matrices[:, rows, columns]


class _Coarse(NamedTuple):
    """What is known of samples without a fine solve."""

    logits: np.ndarray
    features: np.ndarray
    voigt: np.ndarray
    reuss: np.ndarray


def _coarse(cells: Sequence[Cell], phases: np.ndarray, grids: tuple[int, int], physics: Physics) -> _Coarse:
    """Logits on the finer of two grids; features: how much they change between the two, phases, fraction, interface."""
    fractions = np.array([np.bincount(cell.image.ravel(), minlength=2) / cell.image.size for cell in cells])
    voigt, reuss = voigt_reuss(phases, fractions)
    first, second = (
        encode(np.array([composite_tensor(c, g, p, physics) for c, p in zip(cells, phases, strict=True)]), voigt, reuss)
        for g in grids
    )
    traces = np.log(np.trace(phases, axis1=2, axis2=3))
    interface = [np.mean([np.mean(c.image != np.roll(c.image, 1, a)) for a in range(c.dimension)]) for c in cells]
    contrast = traces[:, 1] - traces[:, 0]
    scalars = [fractions[:, 1], contrast, contrast * fractions[:, 1], np.array(interface)]
    features = np.concatenate([_upper(second - first), _upper(second), np.stack(scalars, axis=1)], axis=1)
    return _Coarse(second, features, voigt, reuss)


@final
@dataclass(frozen=True, eq=False)
class GridCorrection:
    """What two coarse solves lack, learned from few fine ones; see the head of this module.

    Attributes
    ----------
    grids:
        Pixels an axis of the two solves.
    shift, scale:
        Of the features.
    coefficients:
        `(1 + features, components)`, the constant first.
    errors:
        Relative Frobenius errors of the fine samples, each left out once.
    coarse_errors:
        Those of the coarse solve alone, on the finer of the two grids.
    """

    physics: Physics
    grids: tuple[int, int]
    shift: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray
    errors: np.ndarray
    coarse_errors: np.ndarray

    def __call__(self, cells: Sequence[Cell], phases: np.ndarray) -> Homogenised:
        """Effective tensors of further cells, on the grid of the fine solves, each with its interval.

        Parameters
        ----------
        phases:
            `(samples, 2, size, size)`.
        """
        known = _coarse(cells, np.asarray(phases, float), self.grids, self.physics)
        rows = (known.features - self.shift) / self.scale
        change = _symmetric(_ones(rows) @ self.coefficients, self.physics.size)
        order = np.sort(self.errors)
        # the finite-sample rank of split conformal prediction; with too few samples nothing can be promised
        rank = int(np.ceil(CONFIDENCE * (len(order) + 1)))
        bound = order[rank - 1] if rank <= len(order) else np.inf
        far = np.max(np.abs(rows), axis=1) > FAR
        return Homogenised(decode(known.logits + change, known.voigt, known.reuss), np.where(far, np.inf, bound))


def learn_correction(
    cells: Sequence[Cell], phases: np.ndarray, physics: Physics, grids: tuple[int, int]
) -> GridCorrection:
    """Solve cells on their own grid and on two coarser ones, and learn what the latter lack.

    Parameters
    ----------
    cells:
        At least 20 of two phases, on one grid, drawn like those that will be asked for.
    phases:
        `(samples, 2, size, size)`.
    grids:
        Two that divide it, the coarser one first.

    Raises
    ------
    InputError
        For too few samples, or grids that do not fit.
    """
    phases = np.asarray(phases, dtype=float)
    if len(cells) < 20 or len(cells) != len(phases) or grids[0] >= grids[1]:
        raise InputError(
            f"{len(cells)} cells, {len(phases)} sets of phases, grids {grids}.", "learn_correction",
            "Give at least 20 cells with their phases, and the coarser grid first.",
        )  # fmt: skip
    known = _coarse(cells, phases, grids, physics)
    fine = np.array([composite_tensor(c, c.grid, p, physics) for c, p in zip(cells, phases, strict=True)])
    target = _upper(encode(fine, known.voigt, known.reuss) - known.logits)
    shift, scale = known.features.mean(0), known.features.std(0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    rows = _ones((known.features - shift) / scale)

    def left_out(ridge: float) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients, and relative errors of tensors that were left out one at a time."""
        penalty = ridge * np.diag(np.r_[0.0, np.ones(rows.shape[1] - 1)])
        solve = np.linalg.solve(rows.T @ rows + penalty, rows.T)
        coefficients = solve @ target
        leverage = np.minimum(np.einsum("sf,fs->s", rows, solve), 1.0 - 1e-6)[:, None]
        predicted = target - (target - rows @ coefficients) / (1.0 - leverage)
        tensors = decode(known.logits + _symmetric(predicted, physics.size), known.voigt, known.reuss)
        return coefficients, _apart(tensors, fine)

    before = _apart(decode(known.logits, known.voigt, known.reuss), fine)
    nothing = np.zeros((rows.shape[1], target.shape[1])), before
    tried = [nothing, *(left_out(ridge) for ridge in RIDGES)]
    coefficients, errors = min(tried, key=lambda one: float(np.mean(one[1])))
    return GridCorrection(physics, grids, shift, scale, coefficients, errors, before)


def _apart(tensors: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.linalg.norm(tensors - truth, axis=(1, 2)) / np.linalg.norm(truth, axis=(1, 2))


def _ones(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([np.ones((len(rows), 1)), rows], axis=1)


def _symmetric(components: np.ndarray, size: int) -> np.ndarray:
    rows, columns = np.triu_indices(size)
    out = np.zeros((len(components), size, size))
    out[:, rows, columns] = out[:, columns, rows] = components
    return out
