"""Tensors of phases: Mandel's notation, in which fourth-order tensors are matrices and contractions their products.

Strains and stresses are vectors: `(11, 22, sqrt2 12)` in the plane (plane strain), `(11, 22, 33, sqrt2 23, sqrt2 13,
sqrt2 12)` in space; gradients and fluxes of conduction are vectors of the dimension. Mandel, Int. J. Solids Struct. 1
(1965) 273.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax._errors import InputError

PAIRS = {2: ((0, 0), (1, 1), (0, 1)), 3: ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))}
"""Indices of the components, by dimension."""


@final
@dataclass(frozen=True)
class Physics:
    """Conduction or elasticity in two or three dimensions.

    Parameters
    ----------
    dimension:
        2 or 3.
    elastic:
        Elasticity (in the plane: plane strain), or conduction.

    Raises
    ------
    InputError
        For another dimension.
    """

    dimension: int
    elastic: bool = True

    def __post_init__(self) -> None:
        if self.dimension not in PAIRS:
            raise InputError(f"The dimension is {self.dimension}.", "Physics(dimension)", "Give 2 or 3.")

    @property
    def size(self) -> int:
        """Components of a strain, or of a gradient."""
        return len(PAIRS[self.dimension]) if self.elastic else self.dimension

    def jump(self, normal: Float[Any, "... dimension"]) -> Float[Array, "... size jumps"]:
        """The matrix `N` from a jump `a` across an interface to the strain's, `sym(a x n)` or `a n` (conduction)."""
        n = jnp.asarray(normal)
        if not self.elastic:
            return n[..., None]
        zero, rows = jnp.zeros(n.shape[:-1]), []
        for i, j in PAIRS[self.dimension]:
            row = [zero] * self.dimension
            row[i] = row[i] + n[..., j] * (1.0 if i == j else np.sqrt(0.5))
            if i != j:
                row[j] = n[..., i] * np.sqrt(0.5)
            rows.append(jnp.stack(row, axis=-1))
        return jnp.stack(rows, axis=-2)


def isotropic(young: float, poisson: float, dimension: int = 2) -> np.ndarray:
    """Stiffness of an isotropic material; in the plane that of plane strain.

    Raises
    ------
    InputError
        Unless `young > 0` and `-1 < poisson < 1/2`.
    """
    if not (young > 0.0 and -1.0 < poisson < 0.5):
        raise InputError(
            f"Young's modulus {young}, Poisson's ratio {poisson}.", "isotropic(young, poisson)",
            "A stable material has young > 0 and -1 < poisson < 0.5.",
        )  # fmt: skip
    shear = young / (2.0 * (1.0 + poisson))
    lame = 2.0 * shear * poisson / (1.0 - 2.0 * poisson)
    unit = np.array([float(i == j) for i, j in PAIRS[dimension]])
    return lame * np.outer(unit, unit) + 2.0 * shear * np.eye(len(unit))


def orthotropic(young: np.ndarray, coupling: np.ndarray, shear: np.ndarray) -> np.ndarray:
    """Stiffness from the moduli along the axes, `nu_ij sqrt(E_j / E_i)` of each pair of axes, and shear moduli.

    Parameters
    ----------
    young:
        `(d,)`.
    coupling, shear:
        `(d (d - 1) / 2,)`, in the order of the shear components.
    """
    dimension = len(young)
    compliance = np.diag(np.concatenate([1.0 / young, 1.0 / (2.0 * shear)]))
    for (i, j), value in zip(PAIRS[dimension][dimension:], coupling, strict=True):
        compliance[i, j] = compliance[j, i] = -value / np.sqrt(young[i] * young[j])
    return np.linalg.inv(compliance)


def random_phases(count: int, physics: Physics, phases: int = 2, contrast: float = 100.0, seed: int = 0) -> np.ndarray:
    """Random orthotropic phases `(count, phases, size, size)` that show a network how a cell carries load.

    Moduli along the axes differ by up to a factor of 10 (conduction and plane) or 3 (space) from their geometric mean,
    which is 1 for the first phase and log-uniform in `[1 / contrast, contrast]` for the others.
    """
    rng = np.random.default_rng([seed, physics.size, phases])
    scale = contrast ** rng.uniform(-1.0, 1.0, (count, phases))
    scale[:, 0] = 1.0
    tensors = np.array([_random_phase(rng, physics) for _ in range(count * phases)])
    return tensors.reshape(count, phases, physics.size, physics.size) * scale[..., None, None]


def _random_phase(rng: np.random.Generator, physics: Physics) -> np.ndarray:
    dimension = physics.dimension
    spread, low, high = (0.5, 0.3, 0.7) if dimension == 2 else (0.5, 0.1, 0.4)
    logs = rng.uniform(-spread, spread, dimension)
    moduli = 10.0 ** (logs - logs.mean())
    if not physics.elastic:
        return np.diag(moduli)
    pairs = len(PAIRS[dimension]) - dimension
    mean = np.array([np.sqrt(moduli[i] * moduli[j]) for i, j in PAIRS[dimension][dimension:]])
    return orthotropic(moduli, rng.uniform(low, high, pairs), rng.uniform(0.25, 0.5, pairs) * mean)
