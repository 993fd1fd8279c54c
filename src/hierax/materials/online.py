r"""A material network with any law in its leaves: Newton's method on the jumps across its interfaces.

A step of Newton's method makes every law linear; then a node is a laminate again, with a stress of its own, and jumps
are eliminated from the leaves to the root and found from the root to the leaves: exactly, with work linear in the
number of nodes. What is left at the root is the consistent tangent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.materials.fft import LoadPath, checked_path
from hierax.materials.laws import AbstractLaw, State, initial_states, responses
from hierax.materials.network import MaterialNetwork, jump_map

NEWTON = 40
"""Newton steps of a load step, at most."""
TOLERANCE = 1e-8
"""Traction jumps relative to the stress at which Newton's method ends."""
LENGTHS = (1.0, 0.5, 0.2, 0.05)
"""Parts of a Newton step: the first that lowers the traction jumps is taken, else the one with the least."""


def _condensed(
    network: MaterialNetwork, tangent: Array, stress: Array
) -> tuple[Array, Array, Callable[[Array], Array]]:
    """All jumps eliminated: tangent and stress at the root, and the map from a change of the strain to the leaves'.

    Parameters
    ----------
    tangent, stress:
        Of the leaves, `(leaves, size, size)` and `(leaves, size)`.
    """

    def combine(first: Array, second: Array, fraction: Array, jumps: Array) -> tuple[Array, Array]:
        # one matrix carries the stress as a further column: its answer is the part of the jump without load
        share, tangents = fraction * (1.0 - fraction), (first[..., :-1], second[..., :-1])
        answer = jump_map(*tangents, fraction, jumps, first - second)
        answer = jnp.where(share > 0.0, jumps, 0.0) @ answer
        return fraction * first + (1.0 - fraction) * second + share * (tangents[0] - tangents[1]) @ answer, answer

    leaves = jnp.concatenate([tangent, stress[..., None]], axis=2)
    root, (_, answers) = network.upward(combine, leaves)
    half = len(network.phases) // 2

    def down(change: Array) -> Array:
        def level(strain: Array, own: tuple[Array, Array]) -> tuple[Array, None]:
            strain, fraction = strain[:half], own[0][:, None]
            jump = jnp.einsum("mij,mj->mi", own[1][..., :-1], strain) + own[1][..., -1]
            pair = strain + (1.0 - fraction) * jump, strain - fraction * jump
            return jnp.stack(pair, axis=1).reshape(2 * half, -1), None

        start = jnp.broadcast_to(change, (2 * half, change.size))
        return jax.lax.scan(level, start, (network.fractions[network.places], answers))[0]

    return root[:, :-1], root[:, -1], down


def _imbalance(network: MaterialNetwork, stress: Array) -> tuple[Array, Array]:
    """Stress at the root, and the mean square of the jumps of tractions, weighted by volume."""

    def combine(first: Any, second: Any, fraction: Array, jumps: Array) -> Any:
        fraction, weight = fraction[..., 0], first[1] + second[1]
        apart = jnp.einsum("mij,mi->mj", jumps, first[0] - second[0])
        jump = weight * jnp.sum(fraction * (1.0 - fraction) * apart**2, axis=1)
        return (fraction * first[0] + (1.0 - fraction) * second[0], weight), jump

    (mean, _), (_, jumps) = network.upward(combine, (stress, network.weights))
    own = np.arange(jumps.shape[1]) < 2 ** np.arange(network.depth)[:, None]
    return mean, jnp.sum(jnp.where(own, jumps, 0.0))


def _equilibrium(
    network: MaterialNetwork, laws: tuple[AbstractLaw, ...], states: Any, strain: Array, change: Array, free: Array
) -> tuple[Array, Array, Array]:
    """Strains of the leaves after a change of the mean strain; whether Newton's method converged; its steps.

    Parameters
    ----------
    strain:
        Of the leaves at the beginning.
    change:
        `(size,)`; not read where `free` is 1: there the mean stress becomes 0.
    """
    both = free[:, None] * free[None]

    def seen(strain: Array) -> tuple[Array, Array, Array]:
        """Stresses and tangents of the leaves, and how far they are from equilibrium."""
        stress, tangent, _ = responses(laws, network.phases, strain, states)
        mean, jumps = _imbalance(network, stress)
        size = jnp.sum(network.weights[:, None] * stress**2)
        return stress, tangent, (jumps + jnp.sum((free * mean) ** 2)) / (size + 1e-300)

    def newton(carry: Any) -> Any:
        strain, (stress, tangent, left), change, count = carry
        mean, own, down = _condensed(network, tangent, stress)
        held = (1.0 - free) * change
        answer = jnp.linalg.solve(both * mean + jnp.diag(1.0 - free), free * (own + mean @ held))
        step = down(held - answer)
        # the first step carries the load and is taken in full
        lengths = jnp.where(count == 0, 1.0, jnp.array(LENGTHS))

        def shorten(tried: Any) -> Any:
            best, part, number = tried
            new = seen(strain + lengths[number] * step)
            better = new[2] < best[2]
            best = jax.tree.map(lambda new, old: jnp.where(better, new, old), new, best)
            return best, jnp.where(better, lengths[number], part), number + 1

        nothing = stress, tangent, jnp.inf
        best, part, _ = jax.lax.while_loop(
            lambda tried: ~(tried[0][2] < left) & (tried[2] < len(LENGTHS)), shorten, (nothing, lengths[-1], 0)
        )
        return strain + part * step, best, jnp.zeros_like(change), count + 1

    go = lambda carry: ~(carry[1][2] <= TOLERANCE**2) & (carry[3] < NEWTON)  # noqa: E731
    start = *seen(strain)[:2], jnp.inf
    strain, (_, _, left), _, count = jax.lax.while_loop(go, newton, (strain, start, change, 0))
    return strain, left <= TOLERANCE**2, count


@final
class NetworkLaw(AbstractLaw):
    """A material network as a law: the response of a microstructure at one point of a body.

    It can stand wherever a law can: in a term of a problem (`law(strain, law.initial(3))[0]` is the stress of one load
    step), or as a phase of another network. Derivatives by strain, state and parameters of the laws are exact (implicit
    differentiation, of any order); the network is held fixed. The stress is NaN where Newton's method did not converge.

    Parameters
    ----------
    network:
        A `MaterialNetwork`, or what `learn_network` has made.
    laws:
        One for each phase.
    """

    network: MaterialNetwork
    laws: tuple[AbstractLaw, ...]

    def __init__(self, network: Any, laws: tuple[AbstractLaw, ...]) -> None:
        self.network = getattr(network, "network", network)
        self.laws = tuple(laws)

    def initial(self, size: int) -> State:
        leaves = len(self.network.phases)
        return jnp.zeros((leaves, size)), initial_states(self.laws, leaves, size)

    def __call__(self, strain: Float[Array, " size"], state: State) -> tuple[Float[Array, " size"], State]:
        network = jax.lax.stop_gradient(self.network)
        leaves = _leaf_strains(network, self.laws, state, strain)
        stress, _, new = responses(self.laws, network.phases, leaves, state[1])
        return network.weights @ stress, (leaves, new)


@jax.custom_jvp
def _leaf_strains(network: MaterialNetwork, laws: Any, state: State, strain: Array) -> Array:
    """Strains of the leaves in equilibrium; NaN if none was found."""
    start, states = state
    change = strain - network.weights @ start
    found, converged, _ = _equilibrium(network, laws, states, start, change, jnp.zeros_like(strain))
    return jnp.where(converged, found, jnp.nan)


@_leaf_strains.defjvp
def _leaf_strains_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    network, laws, state, strain = primals
    _, laws_dot, state_dot, strain_dot = tangents
    leaves = _leaf_strains(network, laws, state, strain)

    def stresses(laws: Any, states: Any) -> tuple[Array, Array]:
        stress, tangent, _ = responses(laws, network.phases, leaves, states)
        return stress, tangent

    (_, tangent), (moved, _) = jax.jvp(stresses, (laws, state[1]), (laws_dot, state_dot[1]))
    _, _, down = _condensed(network, tangent, moved)
    return leaves, down(strain_dot)


def network_path(
    network: Any, laws: tuple[AbstractLaw, ...], targets: np.ndarray, free: tuple[int, ...] = ()
) -> LoadPath:
    """Mean stress of a material network along a path of mean strains; see `cell_path`.

    Parameters
    ----------
    network:
        A `MaterialNetwork`, or what `learn_network` has made.
    """
    tree: MaterialNetwork = getattr(network, "network", network)
    targets, control = checked_path(targets, free, laws, int(np.max(tree.phases)) + 1, tree.physics)
    return LoadPath(*map(np.asarray, _path(tree, tuple(laws), targets, control)))


@jax.jit
def _path(network: MaterialNetwork, laws: tuple[AbstractLaw, ...], targets: Any, free: Any) -> tuple[Any, ...]:
    size, leaves = network.physics.size, len(network.phases)

    def step(carry: Any, change: Array) -> Any:
        strain, states, _ = carry
        strain, converged, count = _equilibrium(network, laws, states, strain, change, free)
        stress, _, states = responses(laws, network.phases, strain, states)
        return (strain, states, stress), (network.weights @ strain, network.weights @ stress, converged, count)

    steps = jnp.diff(targets, axis=0, prepend=jnp.zeros((1, size)))
    nothing = jnp.zeros((leaves, size))
    (strain, _, stress), out = jax.lax.scan(step, (nothing, initial_states(laws, leaves, size), nothing), steps)
    return (*out, jnp.stack([strain, stress]))
