"""Flow through random media: coefficients that are one draw on every grid, and their solutions by finite volumes."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import scipy.fft as sf
import scipy.sparse as sp
from jaxtyping import Float
from scipy.sparse.linalg import spsolve


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


def solved(a: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Cell values of `-div(a grad u) = 1` on the unit square, `u = 0` on its boundary; second order in `1 / n`."""
    n = len(a)
    number = np.arange(n * n).reshape(n, n)
    diagonal = np.zeros((n, n))
    rows, columns, values = [], [], []
    for axis in (0, 1):
        first, second = np.delete(a, -1, axis), np.delete(a, 0, axis)
        flow = 2.0 * first * second / (first + second)
        one, two = (np.delete(number, end, axis).ravel() for end in (-1, 0))
        rows += [one, two]
        columns += [two, one]
        values += [-flow.ravel()] * 2
        pad = [(1, 1) if k == axis else (0, 0) for k in (0, 1)]
        wide = np.pad(flow, pad)
        ends = np.zeros_like(a)
        for end in (0, -1):
            index = tuple(end if k == axis else slice(None) for k in (0, 1))
            ends[index] = 2.0 * a[index]
        diagonal += np.delete(wide, -1, axis) + np.delete(wide, 0, axis) + ends
    entries = np.concatenate([*values, diagonal.ravel()])
    where = np.concatenate([*rows, number.ravel()]), np.concatenate([*columns, number.ravel()])
    matrix = sp.csc_array(sp.coo_array((entries, where), shape=(n * n, n * n)))
    return np.asarray(spsolve(matrix, np.full(n * n, 1.0 / n**2))).reshape(n, n)


def media(count: int, cells: int, coarse: int, seed: int, contrast: float | None = None) -> Media:
    """Samples with log-normal coefficients, or of two phases of a given contrast."""
    rng = np.random.default_rng(seed)
    fields = np.stack(
        [gaussian(amplitudes(rng, cells, power=1.0 if contrast is None else 1.5), cells) for _ in range(count)]
    )
    a = np.exp(fields) if contrast is None else np.where(fields > 0.0, contrast, 1.0)
    began = time.process_time()
    fine = np.stack([solved(one) for one in a])
    middle = time.process_time()
    small = np.stack([solved(one) for one in coarsened(a, cells // coarse)])
    seconds = (middle - began) / count, (time.process_time() - middle) / count
    return Media(a, fine, small, seconds)
