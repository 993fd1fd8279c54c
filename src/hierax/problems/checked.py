"""Names and numbers as users give them, checked before anything else sees them."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from numpy.typing import ArrayLike

from hierax._errors import InputError

UNTRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerBoolConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)
"""What JAX raises where a function asks for the value of something that is traced."""


def default_names(dim: int) -> tuple[str, ...]:
    """`x`, `y`, `z`, then `x4`, `x5`, ..."""
    return tuple("xyz"[k] if k < 3 else f"x{k + 1}" for k in range(dim))


def check_names(names: Sequence[str], dim: int, where: str) -> None:
    """Refuse a wrong number of names, empty ones, and one given twice."""
    if len(names) != dim or len(set(names)) != dim or not all(n.isidentifier() for n in names):
        raise InputError(
            what=f"names {tuple(names)} do not name {dim} coordinates",
            where=where,
            remedy="give one different word a coordinate, letters and digits",
        )


def as_points(values: ArrayLike, where: str) -> np.ndarray:
    """Array of shape `(n, dim)` of finite numbers, or an `InputError` that names the first bad one."""
    points = as_floats(values, where)
    if points.ndim == 1:
        points = points[:, None]
    if points.ndim != 2 or points.size == 0:
        raise InputError(
            what=f"points have shape {points.shape}",
            where=where,
            remedy="give an array (number of points, coordinates)",
        )
    check_finite(points, where)
    return points


def as_floats(values: ArrayLike, where: str) -> np.ndarray:
    """Array of real numbers, or an `InputError` for texts, traced and complex numbers, or rows of unequal length."""
    try:
        array = np.asarray(values)
        if np.iscomplexobj(array):
            raise TypeError("complex numbers")
        return array.astype(float)
    except jax.errors.TracerArrayConversionError as problem:
        raise InputError(
            what="these values depend on something that is traced, such as the input of a family",
            where=where,
            remedy="give numbers, and let what varies enter the terms; a domain can be stretched by a factor there",
        ) from problem
    except (TypeError, ValueError) as problem:
        raise InputError(
            what=f"these values are no array of real numbers ({problem})",
            where=where,
            remedy="give an array of numbers; texts and rows of unequal length are not converted",
        ) from problem


def check_finite(values: np.ndarray, where: str) -> None:
    """Refuse NaN and Inf, naming the first index."""
    bad = np.argwhere(~np.isfinite(values))
    if bad.size:
        index = tuple(int(i) for i in bad[0])
        raise InputError(
            what=f"{values[index]} at index {index} ({len(bad)} bad entries of {values.size})",
            where=where,
            remedy="remove or repair these rows; missing values are not filled in",
        )


def as_weights(values: ArrayLike | None, count: int, where: str) -> np.ndarray:
    """Weights of shape `(count,)`; equal ones that add up to 1 when none are given."""
    weights = np.full(count, 1.0 / count) if values is None else as_floats(values, where)
    if weights.shape != (count,):
        raise InputError(
            what=f"weights have shape {weights.shape} for {count} points", where=where, remedy="give one number a point"
        )
    check_finite(weights, where)
    if np.any(weights < 0):
        raise InputError(what="negative weights", where=where, remedy="weights are areas or volumes: not below zero")
    return weights
