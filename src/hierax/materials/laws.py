"""Laws of phases: from strain and internal state to stress and new state, at one point."""

from __future__ import annotations

import abc
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax._errors import InputError

State = Any
"""Internal variables of a law: any tree of arrays."""


class AbstractLaw(eqx.Module):
    """A material at one point, for strains of small size in Mandel's notation (or gradients, for conduction).

    The stress has to be differentiable by JAX almost everywhere; its derivative is the consistent tangent.
    """

    @abc.abstractmethod
    def initial(self, size: int) -> State:
        """State before any load, for strains of so many components."""

    @abc.abstractmethod
    def __call__(self, strain: Float[Array, " size"], state: State) -> tuple[Float[Array, " size"], State]:
        """Stress and state at the end of a step whose strain is given, from the state at its beginning."""


@final
class Linear(AbstractLaw):
    """`stress = stiffness strain`; also `flux = conductivity gradient`."""

    stiffness: Float[Array, "size size"]

    def __init__(self, stiffness: Any) -> None:
        self.stiffness = jnp.asarray(stiffness, dtype=float)
        if np.any(np.linalg.eigvalsh(np.asarray(self.stiffness)) <= 0.0):
            raise InputError("The stiffness is not positive definite.", "Linear(stiffness)", "Check its entries.")

    def initial(self, size: int) -> State:
        return ()

    def __call__(self, strain: Float[Array, " size"], state: State) -> tuple[Float[Array, " size"], State]:
        return self.stiffness @ strain, state


@final
class J2(AbstractLaw):
    r"""Von Mises plasticity with linear isotropic hardening, integrated by radial return (implicit Euler).

    The yield stress is `yield_stress + hardening p` with the accumulated plastic strain `p`. In the plane the strain is
    plane and the stress across it is not returned. Simo and Hughes, Computational Inelasticity (1998), box 3.1. The
    state is the plastic strain and `p`.

    Raises
    ------
    InputError
        Unless `young > 0`, `-1 < poisson < 1/2`, `yield_stress > 0` and `hardening >= 0`.
    """

    young: float
    poisson: float
    yield_stress: float
    hardening: float

    def __init__(self, young: float, poisson: float, yield_stress: float, hardening: float = 0.0) -> None:
        self.young, self.poisson = float(young), float(poisson)
        self.yield_stress, self.hardening = float(yield_stress), float(hardening)
        if not (young > 0.0 and -1.0 < poisson < 0.5 and yield_stress > 0.0 and hardening >= 0.0):
            raise InputError(
                f"J2 with young {young}, poisson {poisson}, yield stress {yield_stress}, hardening {hardening}.", "J2",
                "Give young > 0, -1 < poisson < 0.5, yield_stress > 0 and hardening >= 0.",
            )  # fmt: skip

    def initial(self, size: int) -> State:
        return jnp.zeros(4 if size == 3 else 6), jnp.zeros(())

    def __call__(self, strain: Float[Array, " size"], state: State) -> tuple[Float[Array, " size"], State]:
        plastic, accumulated = state
        size = len(strain)
        # in the plane the component across it comes last
        unit = jnp.array([1.0, 1.0, 0.0, 1.0] if size == 3 else [1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
        shear = self.young / (2.0 * (1.0 + self.poisson))
        bulk = self.young / (3.0 * (1.0 - 2.0 * self.poisson))
        elastic = jnp.concatenate([strain, jnp.zeros(len(unit) - size)]) - plastic
        trace = elastic @ unit
        deviator = 2.0 * shear * (elastic - trace / 3.0 * unit)
        square = 1.5 * deviator @ deviator
        # where nothing flows the root is not differentiated
        trial = jnp.sqrt(jnp.where(square > (0.5 * self.yield_stress) ** 2, square, self.yield_stress**2))
        excess = jnp.where(square > (0.5 * self.yield_stress) ** 2, trial, 0.0) - self.yield_stress
        flow = jnp.maximum(excess - self.hardening * accumulated, 0.0) / (3.0 * shear + self.hardening)
        direction = 1.5 * deviator / trial
        stress = bulk * trace * unit + deviator - 2.0 * shear * flow * direction
        return stress[:size], (plastic + flow * direction, accumulated + flow)


def responses(
    laws: tuple[AbstractLaw, ...], phase: Any, strain: Any, states: tuple[State, ...]
) -> tuple[Any, Any, Any]:
    """Stress, tangent and new states at many points, each with the law of its phase.

    Every law is evaluated everywhere and the own one is taken, so that where which phase lies is data and not program.

    Parameters
    ----------
    phase:
        `(points,)`.
    strain:
        `(points, size)`.
    states:
        One for each law, with the points as leading axis.

    Returns
    -------
    `(points, size)`, `(points, size, size)`, and states as they came.
    """
    size = strain.shape[-1]
    basis = jnp.eye(size)

    def point(law: AbstractLaw, strain: Any, state: State) -> tuple[Any, Any, State]:
        stress, push, new = jax.linearize(lambda e: law(e, state), strain, has_aux=True)
        return stress, jax.vmap(push, out_axes=1)(basis), new

    stress, tangent, new = 0.0, 0.0, []
    for number, (law, state) in enumerate(zip(laws, states, strict=True)):
        own = jax.vmap(lambda e, s, law=law: point(law, e, s))(strain, state)
        here = phase == number
        stress = jnp.where(here[:, None], own[0], stress)
        tangent = jnp.where(here[:, None, None], own[1], tangent)
        new.append(own[2])
    return stress, tangent, tuple(new)


def initial_states(laws: tuple[AbstractLaw, ...], points: int, size: int) -> tuple[State, ...]:
    """States of all laws at many points, before any load."""
    return tuple(jax.tree.map(lambda a: jnp.broadcast_to(a, (points, *a.shape)), law.initial(size)) for law in laws)
