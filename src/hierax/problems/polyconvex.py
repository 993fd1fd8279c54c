r"""Polyconvex energies of invariants, and sums of them that meet stresses best.

They are convex in `F`, its cofactors and its determinant, so that bodies of them have minima under all loads that keep
matter from vanishing, and no deformation is unstable by itself: :math:`(J^2 - 1)/2 - \log J`, functions of `J` that are
convex and have no bound where it vanishes, powers of :math:`\bar I_1 - d`, of :math:`\langle \mathrm{tr}\,C - d
\rangle` and of :math:`\bar I_2^{3/2} - 3^{3/2}`, and :math:`\exp(k \langle I_a - 1 \rangle^2)` for fibres, which resist
where they are stretched. (Hartmann and Neff, Int. J. Solids Structures 40 (2003) 2767; Schroeder and Neff, ibid. 401.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import nnls

Energy = Callable[[Any], Float[Array, ""]]
LEAST = 1e-2
"""Least weight of the energies that grow without bound: they have this part of the slopes of the samples."""
GROWING = 2
"""How many of the energies these are."""
OCTAVES, FINE = 5, 4
"""Of exponents of fibres, and how many an octave has: between two of them a sum grows like the steeper one."""


def nonnegative(matrix: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Weights of the columns, none below zero and the first ones above it, whose sum is nearest to what is wanted."""
    sizes = np.linalg.norm(matrix, axis=0)
    sizes = np.where(sizes > 0.0, sizes, 1.0)
    least = np.zeros(len(sizes))
    least[:GROWING] = LEAST * np.linalg.norm(wanted) / sizes[:GROWING]
    return least + nnls(matrix / sizes, wanted - matrix @ least)[0] / sizes


def polyconvex(names: tuple[str, ...], rest: np.ndarray, stretches: np.ndarray) -> list[Energy]:
    """Polyconvex energies of the invariants; first those that are never left out.

    Those of fibres have values of `k` up to a growth of `e^4` where samples have stretched them most, `stretches`.
    """
    first, volume = names.index("I1"), names.index("J")
    power, least = 2.0 / rest[first], rest[first]
    stretched = lambda i: jnp.maximum(i[first] * i[volume] ** power - least, 0.0)  # noqa: E731
    out: list[Energy] = [
        lambda i: 0.5 * (i[volume] ** 2 - 1.0) - jnp.log(i[volume]),
        lambda i: (i[first] - least) ** 2,
        lambda i: -jnp.log(i[volume]),
        lambda i: 1.0 / i[volume],
        lambda i: i[volume] ** -2,
        lambda i: jnp.minimum(jnp.log(i[volume]), 0.0) ** 2,
        lambda i: i[first],
        lambda i: (i[first] - least) ** 4,
        lambda i: i[first] * i[volume] ** power,
        lambda i: stretched(i) ** 2,
        lambda i: stretched(i) ** 4,
    ]
    for k, name in enumerate(names):
        if name == "I2":
            # the second invariant itself, of which this one is the difference to the first
            out += [lambda i, k=k, n=n: ((i[k] + i[first]) ** 1.5 - least**1.5) ** n for n in (1, 2)]
        elif k not in (first, volume):
            steepest = 4.0 / max(stretches[k] - 1.0, 1e-3) ** 2
            out.append(lambda i, k=k: jnp.maximum(i[k] - 1.0, 0.0) ** 2)
            out += [
                lambda i, k=k, steep=steepest * 2.0 ** (-step / FINE): (
                    jnp.expm1(steep * jnp.maximum(i[k] - 1.0, 0.0) ** 2) / steep
                )
                for step in range(OCTAVES * FINE)
            ]
    return out
