r"""Finite strain: materials with a stored energy of :math:`C = F^T F`, and such energies found from measured stresses.

A function of the right Cauchy-Green tensor `C` does not change when the body is turned: frame indifference holds by
construction. Invariants are those that separate changes of shape from changes of volume, so that what is measured
fills a box: with :math:`J^2 = \det C`,

.. math::
    \bar I_1 = J^{-2/d} \mathrm{tr} C, \quad
    \bar I_2 - \bar I_1, \; \bar I_2 = \tfrac12 J^{-4/3} (\mathrm{tr}^2 C - \mathrm{tr} C^2), \quad J, \quad
    I_a = a \cdot C a

in `d` coordinates, the second one where it is asked for (the difference, as both agree to second order in small
strains); two coordinates are plane strain. (Holzapfel,
Nonlinear Solid Mechanics, 2000, chapter 6; Spencer, Deformations of Fibre-Reinforced Materials, 1972.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from hierax._errors import InputError
from hierax.problems.checked import as_floats
from hierax.problems.conditions import Value, at_point
from hierax.problems.continued import ContinuedEnergy
from hierax.problems.domain import Box
from hierax.problems.learned import Learned
from hierax.problems.operators import divergence, gradient
from hierax.problems.polyconvex import nonnegative, polyconvex
from hierax.problems.problem import Problem
from hierax.problems.terms import Data, Values
from hierax.problems.unknowns import Function
from hierax.problems.watched import Invertible, watched

MARGIN = 0.02
"""Room on every side of the invariants that were measured, in their range."""
ENERGY = "W"


class Invariants:
    """Invariants of `C`, `invariants(C)`: of an isotropic material, or of one with fibres.

    Parameters
    ----------
    dim:
        2 (plane strain) or 3.
    fibres:
        Directions `(dim,)` of fibres in the undeformed body; they are scaled to length one.
    second:
        Whether the second invariant is one of them, in space. Samples fill a thin wedge of its range, so that a law
        which needs it asks for many more of them.
    """

    def __init__(self, dim: int, fibres: Sequence[ArrayLike] = (), second: bool = False) -> None:
        directions = np.asarray(fibres, dtype=float) if len(fibres) else np.zeros((0, dim))
        if dim not in (2, 3) or directions.shape != (len(fibres), dim):
            raise InputError(
                f"{dim} coordinates, and fibres of shape {directions.shape}", "Invariants(dim, fibres)",
                "give 2 or 3 coordinates, and as many numbers for the direction of each fibre",
            )  # fmt: skip
        self.dim = dim
        self.fibres = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        middle = ("I2",) if second and dim == 3 else ()
        numbered = [f"I{4 + 2 * k}" for k in range(len(fibres))]
        self.names = ("I1", *middle, "J", *numbered)

    def __call__(self, c: Float[Array, "dim dim"]) -> Float[Array, " k"]:
        """The invariants, in the order of `names`."""
        volume = jnp.sqrt(jnp.linalg.det(c))
        trace = jnp.trace(c)
        out = {"I1": trace * volume ** (-2.0 / self.dim), "J": volume}
        if "I2" in self.names:
            out["I2"] = 0.5 * (trace**2 - jnp.trace(c @ c)) * volume ** (-4.0 / 3.0) - out["I1"]
        return jnp.stack([*(out[name] for name in self.names if name in out), *(a @ c @ a for a in self.fibres)])


class Hyperelastic:
    """A material with a stored energy `W` of a unit of undeformed volume; displacements may be large.

    Parameters
    ----------
    energy:
        Of `C` `(dim, dim)`; with `invariants` of these `(k,)`, as `solution.function("W")` is. It may be any JAX
        function with two derivatives.
    invariants:
        Of `C`. The energy is then taken without its value and slopes in the undeformed body, where a learned one would
        have some small ones: energy and stress are exactly zero there. A learned one is continued beyond its samples so
        that bodies have minima, see `hierax.problems.continued`; a guard tells how much of a body is there.
    """

    def __init__(self, energy: Callable[[Any], Any], invariants: Invariants | None = None) -> None:
        self._energy, self._mark = energy if invariants is None else _of_invariants(energy, invariants), Invertible()

    def deformation(self, u: Callable[[Any], Any]) -> Callable[[Any], Float[Array, "dim dim"]]:
        """`F = I + grad u`, `deformation(u)(x)`; a guard asks whether its determinant is positive."""
        return lambda x: watched(jnp.eye(len(x)) + gradient(u)(x), self._mark)

    def stored(self, f: Float[Array, "dim dim"]) -> Float[Array, ""]:
        """The energy of a deformation gradient."""
        return jnp.sum(self._energy(f.T @ f))

    def energy(self, u: Callable[[Any], Any]) -> Callable[[Any], Float[Array, ""]]:
        """The energy of a displacement, `energy(u)(x)`, for an `Energy`."""
        return lambda x: self.stored(self.deformation(u)(x))

    def stress(self, u: Callable[[Any], Any]) -> Callable[[Any], Float[Array, "dim dim"]]:
        """First Piola-Kirchhoff stress `P = dW/dF`, `stress(u)(x)`: `P n` is force on a unit of undeformed surface."""
        return lambda x: jax.grad(self.stored)(self.deformation(u)(x))

    def cauchy(self, u: Callable[[Any], Any]) -> Callable[[Any], Float[Array, "dim dim"]]:
        """Cauchy stress `P F' / det F`, `cauchy(u)(x)`: forces on a unit of deformed surface."""

        def sigma(x: Any) -> Float[Array, "dim dim"]:
            f = self.deformation(u)(x)
            return jax.grad(self.stored)(f) @ f.T / jnp.linalg.det(f)

        return sigma

    def balance(self, u: Callable[[Any], Any], force: Value = 0.0) -> Callable[[Any], Float[Array, " dim"]]:
        """The divergence of `P` plus a force on a unit of undeformed volume, `balance(u, force)(x)`: zero at rest."""
        return lambda x: divergence(self.stress(u))(x) + at_point(force, x)


def _of_invariants(energy: Callable[[Any], Any], invariants: Invariants) -> Callable[[Any], Float[Array, ""]]:
    """An energy of `C` that is zero at rest, without stress."""
    # a material may be made inside of a term
    with jax.ensure_compile_time_eval():
        rest = np.asarray(invariants(jnp.eye(invariants.dim)))
    felt = _felt_at_rest(invariants)

    if isinstance(energy, Learned):
        continued = ContinuedEnergy(energy, invariants.names, rest, felt)
        return lambda c: continued(invariants(c))

    def resting(c: Any) -> Any:
        value, slope = jax.value_and_grad(lambda i: jnp.sum(energy(i)))(jnp.asarray(rest))
        now = invariants(c)
        return jnp.sum(energy(now)) - value - (felt * slope) @ (now - rest)

    return resting


def _felt_at_rest(invariants: Invariants) -> np.ndarray:
    """Which invariants change in first order where the undeformed body is deformed, as 0 and 1."""
    names = invariants.names
    return np.array([0.0 if name in ("I1", "I2") else 1.0 for name in names])


def stored_energy(
    tensors: Float[ArrayLike, "n dim dim"],
    stresses: Float[ArrayLike, "n dim dim"],
    invariants: Invariants | None = None,
    *,
    noise: float | None = None,
    name: str = "stored_energy",
) -> Problem:
    r"""Find a stored energy from stresses: the problem whose unknown `W` is a function of the invariants.

    The stresses are :math:`S = 2 \, dW/dC`; nothing but such gradients are fitted, so that every answer is an energy.
    In the undeformed body energy and stress are zero.

    Parameters
    ----------
    tensors:
        :math:`C = F^T F` of each sample, `F.transpose(0, 2, 1) @ F`.
    stresses:
        Second Piola-Kirchhoff stresses `S`, symmetric; from first ones `P` they are `numpy.linalg.solve(F, P)`.
    invariants:
        Of which the energy is a function; those of an isotropic material if not given.
    noise:
        Standard deviation of the stresses in their own unit, where it is known.

    Returns
    -------
    Problem
        For `hx.train`, or as the object of a file for `hierax train`. `Hyperelastic(solution.function("W"),
        invariants)` is the material.

    Raises
    ------
    InputError
        For shapes that do not fit, and tensors that are not positive definite.
    """
    c, s = _measured(tensors, stresses, "stored_energy(tensors, stresses)")
    dim = c.shape[-1]
    own = invariants or Invariants(dim)
    rows, columns = np.triu_indices(dim)
    points = np.asarray(jax.vmap(own)(jnp.asarray(c)))
    rest = np.asarray(own(jnp.eye(dim)))
    low, high = np.minimum(points.min(axis=0), rest), np.maximum(points.max(axis=0), rest)
    room = MARGIN * np.maximum(high - low, 1e-6)

    def second_stress(w: Any, x: Any, given: Any) -> Any:
        """Chain rule with the slopes of `W` at the invariants `x`, and those of the invariants in `C`."""
        turned = jax.jacfwd(own)(given.reshape(dim, dim))
        ds = 2.0 * jnp.tensordot(gradient(w.W)(x), 0.5 * (turned + turned.transpose(0, 2, 1)), axes=1)
        return ds[rows, columns]

    felt = np.flatnonzero(_felt_at_rest(own))
    at_rest = rest[None, :]
    return Problem(
        Box(low - room, high + room, names=own.names),
        (
            Data("stress", points, s[:, rows, columns], noise, observe=second_stress, given=c.reshape(len(c), -1)),
            Values("W", at_rest, np.zeros(1)),
            Values("rest", at_rest, np.zeros((1, len(felt))), observe=lambda w, x: gradient(w.W)(x)[felt]),
        ),
        unknowns={ENERGY: Function()},
        name=name,
    )


def polyconvex_energy(
    tensors: Float[ArrayLike, "n dim dim"],
    stresses: Float[ArrayLike, "n dim dim"],
    invariants: Invariants | None = None,
) -> Callable[[Float[Array, " k"]], Float[Array, ""]]:
    r"""Find a stored energy that is polyconvex: the sum with weights :math:`a_j \ge 0` that meets stresses best.

    Less exact than `stored_energy`, and safe: bodies of it have minima, it can be trusted a little beyond the samples,
    and few of these serve. See `hierax.problems.polyconvex` for the energies that are summed.

    Parameters
    ----------
    tensors, stresses, invariants:
        As of `stored_energy`.

    Returns
    -------
    Callable
        Of the invariants `(k,)`; `Hyperelastic(energy, invariants)` is the material.

    Raises
    ------
    InputError
        As of `stored_energy`.
    """
    c, s = _measured(tensors, stresses, "polyconvex_energy(tensors, stresses)")
    own = invariants or Invariants(c.shape[-1])
    points = np.asarray(jax.vmap(own)(jnp.asarray(c)))
    energies = polyconvex(own.names, np.asarray(own(jnp.eye(own.dim))), points.max(axis=0))
    resting = [_of_invariants(energy, own) for energy in energies]
    slopes = jax.jit(jax.vmap(jax.jacfwd(lambda c: jnp.stack([energy(c) for energy in resting]))))(jnp.asarray(c))
    columns = np.moveaxis(np.asarray(slopes + jnp.swapaxes(slopes, 2, 3)), 1, 3)
    weights = nonnegative(columns.reshape(-1, len(energies)), np.ravel(s))
    # far away one that has no weight may not be finite
    kept = [(weight, energy) for weight, energy in zip(weights, energies, strict=True) if weight > 0.0]
    return lambda i: jnp.sum(jnp.stack([weight * energy(i) for weight, energy in kept]))


def _measured(tensors: Any, stresses: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Samples of `C` and of stresses that can be such."""
    c, s = as_floats(tensors, f"{where}, tensors"), as_floats(stresses, f"{where}, stresses")
    dim = c.shape[-1] if c.ndim == 3 else 0
    if c.ndim != 3 or c.shape[1:] != (dim, dim) or s.shape != c.shape or dim not in (2, 3):
        raise InputError(f"the shapes are {c.shape} and {s.shape}", where, "give (n, 2, 2) or (n, 3, 3) of both")
    if not np.all(np.linalg.eigvalsh(0.5 * (c + c.transpose(0, 2, 1))) > 0.0):
        raise InputError("some C is not positive definite", where, "give F'F; of strains E it is 2E + I")
    return c, s
