r"""Stored energies of rubber and tissue, functions of :math:`C = F^T F`; each is zero, and without stress, at rest.

A body is made of one by `hierax.Hyperelastic`. With :math:`J^2 = \det C` and `d` coordinates (two are plane strain).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from hierax._errors import InputError

Energy = Callable[[Float[Array, "dim dim"]], Float[Array, ""]]
"""The energy of a unit of undeformed volume, from `C`."""


def neo_hooke(shear: float = 1.0, lame: float = 2.0) -> Energy:
    r""":math:`\mu/2\,(\mathrm{tr}\,C - d) - \mu \log J + \lambda/2 \log^2 J`.

    Parameters
    ----------
    shear, lame:
        Moduli of small strains, in the unit of stresses; the shear modulus is positive.

    Raises
    ------
    InputError
        For moduli without a stable body.
    """
    _checked("neo_hooke", shear, lame)

    def energy(c: Array) -> Array:
        log = 0.5 * jnp.log(jnp.linalg.det(c))
        return 0.5 * shear * (jnp.trace(c) - len(c)) - shear * log + 0.5 * lame * log**2

    return energy


def gent(shear: float = 1.0, lame: float = 2.0, limit: float = 2.0) -> Energy:
    r""":math:`-\mu m/2 \log(1 - (\mathrm{tr}\,C - d)/m) - \mu \log J + \lambda/2 \log^2 J`: chains of limited length.

    The stress grows without bound as `tr C - d` comes near to the limit `m`; beyond it the energy is not a number.
    Lame's first parameter of small strains is `lame + 2 shear / limit`. (Gent, Rubber Chem. Technol. 69 (1996) 59.)

    Parameters
    ----------
    shear, lame:
        As of `neo_hooke`.
    limit:
        Positive.

    Raises
    ------
    InputError
        As of `neo_hooke`, and for a limit that is not positive.
    """
    _checked("gent", shear, lame, limit)

    def energy(c: Array) -> Array:
        log = 0.5 * jnp.log(jnp.linalg.det(c))
        stretch = jnp.log1p(-(jnp.trace(c) - len(c)) / limit)
        return -0.5 * shear * limit * stretch - shear * log + 0.5 * lame * log**2

    return energy


def fibre_reinforced(
    direction: ArrayLike | Sequence[float], stiffness: float = 1.0, stiffening: float = 1.0, shear: float = 1.0,
    lame: float = 2.0,
) -> Energy:  # fmt: skip
    r"""A matrix of neo-Hooke with :math:`k_1/(2 k_2) (\exp(k_2 \langle a \cdot C a - 1\rangle^2) - 1)` of fibres `a`.

    Fibres carry no pressure: :math:`\langle\cdot\rangle` is the positive part. (Holzapfel, Gasser and Ogden, J.
    Elasticity 61 (2000) 1.)

    Parameters
    ----------
    direction:
        `(dim,)` of the fibres in the undeformed body, of any length.
    stiffness, stiffening:
        `k1` in the unit of stresses, and `k2`; both positive.
    shear, lame:
        Of the matrix.

    Raises
    ------
    InputError
        For moduli without a stable body.
    """
    _checked("fibre_reinforced", shear, lame, stiffness, stiffening)
    along = np.asarray(direction, dtype=float)
    along = along / np.linalg.norm(along)
    matrix = neo_hooke(shear, lame)

    def energy(c: Array) -> Array:
        stretch = jnp.maximum(along @ c @ along - 1.0, 0.0)
        return matrix(c) + 0.5 * stiffness / stiffening * jnp.expm1(stiffening * stretch**2)

    return energy


def _checked(name: str, shear: float, lame: float, *positive: float) -> None:
    """Refuse moduli of a body that gives way."""
    if not (shear > 0.0 and lame > -2.0 / 3.0 * shear and all(value > 0.0 for value in positive)):
        raise InputError(
            f"shear modulus {shear}, Lame's first parameter {lame}" + "".join(f", {value}" for value in positive),
            f"hierax.materials.{name}",
            "give a positive shear modulus, lame > -2/3 shear, and positive numbers for all others",
        )
