"""Flow through random media: coefficients that are one draw on every grid, and their solutions by finite volumes."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import scipy.fft as sf
from jaxtyping import Float

from hierax.models.catalogue import flow_by_cells


class Media(NamedTuple):
    """Coefficients `(n, cells, cells)` and solutions on two levels, with the seconds of one solve on each."""

    coefficient: np.ndarray
    fine: np.ndarray
    coarse: np.ndarray
    seconds: tuple[float, float]


def gaussian(waves: Float[np.ndarray, "m m"], cells: int) -> Float[np.ndarray, "cells cells"]:
    """Values at the centres of cells of the field with given amplitudes of cosines: one function on every grid."""
    padded = np.zeros((cells, cells))
    kept = min(cells, len(waves))
    padded[:kept, :kept] = waves[:kept, :kept]
    return np.asarray(sf.idctn(padded * cells, norm="ortho"))


def amplitudes(rng: np.random.Generator, modes: int, length: float = 3.0, power: float = 1.0) -> np.ndarray:
    """Amplitudes of `(pi^2 |k|^2 + length^2)^-power` times white noise, for a field of variance one."""
    k = np.pi * np.arange(modes)
    decay = (k[:, None] ** 2 + k[None] ** 2 + length**2) ** -power
    decay[0, 0] = 0.0
    return rng.standard_normal((modes, modes)) * decay / np.sqrt(np.sum(decay**2))


def coarsened(coefficient: np.ndarray, factor: int) -> np.ndarray:
    """Geometric means over blocks."""
    n = coefficient.shape[-1] // factor
    return np.exp(np.log(coefficient).reshape(*coefficient.shape[:-2], n, factor, n, factor).mean((-3, -1)))


def media(count: int, cells: int, coarse: int, seed: int, contrast: float | None = None) -> Media:
    """Samples with log-normal coefficients, or of two phases of a given contrast."""
    rng = np.random.default_rng(seed)
    fields = np.stack(
        [gaussian(amplitudes(rng, cells, power=1.0 if contrast is None else 1.5), cells) for _ in range(count)]
    )
    a = np.exp(fields) if contrast is None else np.where(fields > 0.0, contrast, 1.0)
    began = time.process_time()
    fine = np.stack([flow_by_cells(one) for one in a])
    middle = time.process_time()
    small = np.stack([flow_by_cells(one) for one in coarsened(a, cells // coarse)])
    seconds = (middle - began) / count, (time.process_time() - middle) / count
    return Media(a, fine, small, seconds)
