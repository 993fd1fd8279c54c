"""Periodic cells solved by the fast Fourier transform: effective tensors, and paths of laws with internal state.

The strain is sought among compatible fields by conjugate gradients, preconditioned by an isotropic reference: Zeman,
Vondrejc, Novak and Marek, J. Comput. Phys. 229 (2010) 8065, on the rotated grid of Willot, C. R. Mecanique 343 (2015)
232, which has no oscillations at interfaces. Nonlinear laws take Newton steps with their consistent tangent: Gelebart
and Mondon-Cancel, Comput. Mater. Sci. 77 (2013) 430.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax._errors import InputError
from hierax.materials.cells import Cell
from hierax.materials.laws import AbstractLaw, initial_states, responses
from hierax.materials.tensors import PAIRS, Physics

ITERATIONS = 2000
"""Of conjugate gradients, at most."""
NEWTON = 25
"""Newton steps of one load step, at most."""
INNER = 1e-2
"""Factor by which conjugate gradients reduce the residual of a Newton step."""


class ReferenceMedium(NamedTuple):
    """An isotropic reference medium `C`: inverse of `N' C N` along a normal `k` is `(1 - share k k') / modulus`."""

    stiffness: Array
    modulus: Array
    share: Array


def reference_of(tensors: Float[Array, "phases size size"], physics: Physics) -> ReferenceMedium:
    """Isotropic parts of the phases, and their geometric means."""
    size, d = physics.size, physics.dimension
    if not physics.elastic:
        mean = jnp.exp(jnp.mean(jnp.log(jnp.trace(tensors, axis1=1, axis2=2) / d)))
        return ReferenceMedium(mean * jnp.eye(size), mean, jnp.zeros(()))
    unit = jnp.array([float(i == j) for i, j in PAIRS[d]])
    bulks = jnp.einsum("i,pij,j->p", unit, tensors, unit) / d**2
    shears = (jnp.trace(tensors, axis1=1, axis2=2) - d * bulks) / (2.0 * (size - 1))
    bulk, shear = (jnp.exp(jnp.mean(jnp.log(part))) for part in (bulks, shears))
    lame = bulk - 2.0 * shear / d
    stiffness = lame * jnp.outer(unit, unit) + 2.0 * shear * jnp.eye(size)
    return ReferenceMedium(stiffness, shear, (lame + shear) / (lame + 2.0 * shear))


def wave_normals(grid: int, dimension: int) -> np.ndarray:
    """Unit wave vectors `(dimension, *frequencies)` of the rotated scheme, for real transforms; 0 without a wave."""
    full, half = np.pi * np.fft.fftfreq(grid), np.abs(np.pi * np.fft.rfftfreq(grid))
    angles = np.meshgrid(*(full,) * (dimension - 1), half, indexing="ij")
    rows = [np.sin(a) * np.prod([np.cos(b) for j, b in enumerate(angles) if j != i], axis=0)
            for i, a in enumerate(angles)]  # fmt: skip
    normals = np.stack(rows)
    length = np.linalg.norm(normals, axis=0)
    return np.where(length > 1e-12, normals / np.where(length > 1e-12, length, 1.0), 0.0)


def _projection(physics: Physics, normals: Array, reference: ReferenceMedium, free: Array) -> Any:
    """The map from a stress field `(size, *grid)` to the compatible strain that answers it in the reference medium.

    `free` `(size, size)` answers its mean: the inverse of the reference on components without stress, 0 elsewhere.
    """
    d, axes = physics.dimension, tuple(range(1, physics.dimension + 1))
    root = float(np.sqrt(0.5))
    k = [normals[i] for i in range(d)]

    def apply(stress: Array) -> Array:
        shape = stress.shape[1:]
        wave = jnp.fft.rfftn(stress, axes=axes)
        mean = (free @ jnp.mean(stress, axis=axes)).reshape(-1, *(1,) * d)
        if not physics.elastic:
            flux = sum(n * w for n, w in zip(k, wave, strict=True)) / reference.modulus
            return jnp.fft.irfftn(jnp.stack([n * flux for n in k]), s=shape, axes=axes) + mean
        force = [jnp.zeros_like(wave[0])] * d
        for (i, j), w in zip(PAIRS[d], wave, strict=True):
            force[i] = force[i] + k[j] * w * (1.0 if i == j else root)
            if i != j:
                force[j] = force[j] + k[i] * w * root
        along = reference.share * sum(n * f for n, f in zip(k, force, strict=True))
        moved = [(f - along * n) / reference.modulus for n, f in zip(k, force, strict=True)]
        strain = [k[i] * moved[i] if i == j else root * (k[i] * moved[j] + k[j] * moved[i]) for i, j in PAIRS[d]]
        return jnp.fft.irfftn(jnp.stack(strain), s=shape, axes=axes) + mean

    return apply


def _times(tensors: Array, strain: Array) -> Array:
    """Products at all pixels, `(size, size, *grid)` and `(size, *grid)`."""
    return jnp.sum(tensors * strain[None], axis=1)


def _conjugate_gradients(
    tensors: Array, stress: Array, project: Any, reference: Array, tolerance: float
) -> tuple[Array, Array, Array]:
    """The compatible change of the strain that makes `stress + tensors change` one in equilibrium; last norm and steps.

    Norms are those of the reference, relative to the first residual.
    """
    dot = lambda a, b: jnp.vdot(a, b)  # noqa: E731
    scaled = lambda e: jnp.tensordot(reference, e, axes=1)  # noqa: E731
    residual = -project(stress)
    first = dot(residual, scaled(residual))

    def body(state: Any) -> Any:
        change, residual, direction, norm, count = state
        answer = _times(tensors, direction)
        step = norm / dot(direction, answer)
        change, residual = change + step * direction, residual - step * project(answer)
        new = dot(residual, scaled(residual))
        return change, residual, residual + new / norm * direction, new, count + 1

    go = lambda state: (state[3] > tolerance**2 * first) & (state[4] < ITERATIONS)  # noqa: E731
    start = (jnp.zeros_like(stress), residual, residual, first, jnp.zeros((), int))
    change, _, _, norm, count = jax.lax.while_loop(go, body, start)
    return change, jnp.sqrt(norm / jnp.where(first > 0.0, first, 1.0)), count


class Effective(NamedTuple):
    """Effective tensors `(samples, size, size)` and iterations `(samples,)` of conjugate gradients."""

    tensors: np.ndarray
    iterations: np.ndarray


def effective_tensors(
    cell: Cell, phases: Float[np.ndarray, "samples phases size size"], physics: Physics, tolerance: float = 1e-4
) -> Effective:
    """Effective stiffness or conductivity of a cell for many sets of phases.

    Energies of the fields are returned, `E_a . C E_b = <e_a . C(x) e_b>`, whose error is the square of that of fields.

    Parameters
    ----------
    tolerance:
        Reduction of the residual.

    Raises
    ------
    InputError
        For phases that do not fit the cell, or are not positive definite; where the solver does not converge.
    """
    tensors = np.asarray(phases, dtype=float)
    count = int(cell.image.max()) + 1
    if tensors.ndim != 4 or tensors.shape[1] < count or tensors.shape[2:] != (physics.size,) * 2:
        raise InputError(
            f"Phases of shape {tensors.shape}.", "effective_tensors(phases)",
            f"Give (samples, {count}, {physics.size}, {physics.size}) for this cell.",
        )  # fmt: skip
    if not np.all(np.linalg.eigvalsh(tensors) > 0.0):
        raise InputError("A phase is not positive definite.", "effective_tensors(phases)", "Check its entries.")
    found, norms, counts = _effective(cell.image, tensors, wave_normals(cell.grid, cell.dimension), physics, tolerance)
    if not np.all(np.asarray(norms) <= tolerance):
        raise InputError(
            f"Conjugate gradients reduced the residual by {np.max(norms):.1e} in {ITERATIONS} steps.",
            "effective_tensors", "Give phases of less contrast, or a larger tolerance.",
        )  # fmt: skip
    return Effective(np.asarray(found), np.asarray(counts))


@partial(jax.jit, static_argnames=("physics", "tolerance"))
def _effective(image: Any, phases: Any, normals: Any, physics: Physics, tolerance: float) -> Any:
    return jax.lax.map(lambda tensors: effective_of_field(tensors[image], tensors, normals, physics, tolerance), phases)


def effective_of_field(
    tensors: Float[Array, "*grid size size"], phases: Array, normals: Array, physics: Physics, tolerance: float
) -> tuple[Array, Array, Array]:
    """Effective tensor of one field of tensors, last relative residual, and iterations; `phases` make the reference."""
    size, axes, grid = physics.size, tuple(range(1, physics.dimension + 1)), tensors.shape[:-2]
    reference = reference_of(phases, physics)
    project = _projection(physics, normals, reference, jnp.zeros((size, size)))
    local = jnp.moveaxis(tensors, (-2, -1), (0, 1))

    def load(mean: Array) -> Any:
        uniform = jnp.broadcast_to(mean.reshape(-1, *(1,) * physics.dimension), (size, *grid))
        change, norm, count = _conjugate_gradients(
            local, _times(local, uniform), project, reference.stiffness, tolerance
        )
        return uniform + change, norm, count

    fields, norm, count = jax.lax.map(load, jnp.eye(size))
    stresses = jax.lax.map(lambda e: _times(local, e), fields)
    energy = jnp.tensordot(fields, stresses, axes=((1, *(a + 1 for a in axes)),) * 2) / np.prod(grid)
    return 0.5 * (energy + energy.T), jnp.max(norm), jnp.max(count)


class LoadPath(NamedTuple):
    """Response along a path of loads.

    Attributes
    ----------
    strain, stress:
        Means over the cell `(steps, size)`.
    converged:
        `(steps,)` whether Newton's method ended.
    newton:
        `(steps,)` its iterations.
    field:
        Strains and stresses at the end, of the pixels `(2, size, *grid)`, or of the leaves `(2, leaves, size)`.
    """

    strain: np.ndarray
    stress: np.ndarray
    converged: np.ndarray
    newton: np.ndarray
    field: np.ndarray


def cell_path(
    cell: Cell, laws: tuple[AbstractLaw, ...], physics: Physics, targets: np.ndarray,
    free: tuple[int, ...] = (), tolerance: float = 1e-6,
) -> LoadPath:  # fmt: skip
    """Mean stress of a cell along a path of mean strains.

    Parameters
    ----------
    laws:
        One for each phase.
    targets:
        `(steps, size)`; entries of free components do not count.
    free:
        Components whose mean stress is zero, and whose mean strain is found.
    tolerance:
        Size of the last Newton step relative to the strain.
    """
    targets, control = checked_path(targets, free, laws, int(cell.image.max()) + 1, physics)
    normals = wave_normals(cell.grid, cell.dimension)
    return LoadPath(*map(np.asarray, _path(cell.image, normals, laws, targets, control, physics, tolerance)))


def checked_path(
    targets: Any, free: tuple[int, ...], laws: tuple[AbstractLaw, ...], phases: int, physics: Physics
) -> tuple[np.ndarray, np.ndarray]:
    """The targets, and 1 for components whose stress is free of load; refuses what does not fit."""
    targets = np.asarray(targets, dtype=float)
    size = physics.size
    if targets.ndim != 2 or targets.shape[1] != size or not np.all(np.isfinite(targets)):
        raise InputError(f"A path of shape {targets.shape}.", "targets", f"Give finite strains (steps, {size}).")
    if len(laws) != phases or any(not 0 <= k < size for k in free):
        raise InputError(
            f"{len(laws)} laws for {phases} phases, free components {free}.", "laws, free",
            f"Give one law for each phase, and components from 0 to {size - 1}.",
        )  # fmt: skip
    return targets, np.isin(np.arange(size), free).astype(float)


@partial(jax.jit, static_argnames=("physics",))
def _path(
    image: Any, normals: Any, laws: Any, targets: Any, free: Any, physics: Physics, tolerance: float
) -> tuple[Any, ...]:
    size, axes, grid = physics.size, tuple(range(1, physics.dimension + 1)), image.shape
    phase = image.reshape(-1)
    flat = lambda field: field.reshape(size, -1).T  # noqa: E731
    start = initial_states(laws, phase.size, size)
    virgin = responses(laws, jnp.arange(len(laws)), jnp.zeros((len(laws), size)), initial_states(laws, len(laws), size))
    reference = reference_of(virgin[1], physics)
    # the inverse of the reference on the free components alone
    both = free[:, None] * free[None]
    answer = jnp.linalg.inv(both * reference.stiffness + jnp.diag(1.0 - free)) * both
    project = _projection(physics, normals, reference, answer)

    def respond(strain: Array, states: Any) -> tuple[Array, Array, Any]:
        stress, tangent, new = responses(laws, phase, flat(strain), states)
        return stress.T.reshape(size, *grid), jnp.moveaxis(tangent, 0, -1).reshape(size, size, *grid), new

    def newton(states: Any, carry: Any) -> Any:
        strain, _, count = carry
        stress, tangent, _ = respond(strain, states)
        change, _, _ = _conjugate_gradients(tangent, stress, project, reference.stiffness, INNER)
        strain = strain + change
        return strain, jnp.linalg.norm(change) / jnp.maximum(jnp.linalg.norm(strain), 1e-300), count + 1

    def step(carry: Any, change: Array) -> Any:
        strain, states, _ = carry
        strain = strain + ((1.0 - free) * change).reshape(-1, *(1,) * len(grid))
        go = lambda c: (c[1] > tolerance) & (c[2] < NEWTON)  # noqa: E731
        strain, size_, count = jax.lax.while_loop(go, partial(newton, states), (strain, jnp.inf, 0))
        stress, _, states = respond(strain, states)
        out = jnp.mean(strain, axis=axes), jnp.mean(stress, axis=axes), size_ <= tolerance, count
        return (strain, states, stress), out

    steps = jnp.diff(targets, axis=0, prepend=jnp.zeros((1, size)))
    nothing = jnp.zeros((size, *grid))
    (strain, _, stress), out = jax.lax.scan(step, (nothing, start, nothing), steps)
    return (*out, jnp.stack([strain, stress]))
