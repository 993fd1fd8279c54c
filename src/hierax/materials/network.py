r"""Material networks: a binary tree of laminates that carries load like a cell does.

Leaves are phases. A node is the laminate of its two children, in closed form: with fractions `f` and `1 - f`, the unit
normal `n` of the layers, `D = C1 - C2` and the matrix `N` of jumps along `n`,

    C = f C1 + (1 - f) C2 - f (1 - f) D N [N' ((1 - f) C1 + f C2) N]^-1 N' D.

Liu, Wu and Koishi, Comput. Methods Appl. Mech. Eng. 345 (2019) 1138; the form without rotations is that of Noels et al.
and Wan, Wei, Su and Chen, J. Mech. 40 (2024). Every tree keeps the bounds of Reuss and Voigt. What a tree learns from
linear phases serves nonlinear ones: see `hierax.materials.online`.
"""

from __future__ import annotations

from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hierax.materials.tensors import Physics


def normals_of(angles: Float[Array, "... angles"]) -> Float[Array, "... dimension"]:
    """Unit vectors from one angle, or from polar angle and azimuth."""
    cosine, sine = jnp.cos(angles), jnp.sin(angles)
    if angles.shape[-1] == 1:
        return jnp.concatenate([cosine, sine], axis=-1)
    return jnp.stack([sine[..., 0] * cosine[..., 1], sine[..., 0] * sine[..., 1], cosine[..., 0]], axis=-1)


def inverse(matrix: Float[Array, "... n n"]) -> Float[Array, "... n n"]:
    """Of small matrices, in closed form, which compilers fuse."""
    size = matrix.shape[-1]
    if size == 1:
        return 1.0 / matrix
    if size == 2:
        a, b, c, d = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 0], matrix[..., 1, 1]
        adjugate = jnp.stack([jnp.stack([d, -b], axis=-1), jnp.stack([-c, a], axis=-1)], axis=-2)
        return adjugate / (a * d - b * c)[..., None, None]
    rows = [matrix[..., i, :] for i in range(3)]
    columns = [jnp.cross(rows[1], rows[2]), jnp.cross(rows[2], rows[0]), jnp.cross(rows[0], rows[1])]
    return jnp.stack(columns, axis=-1) / jnp.sum(rows[0] * columns[0], axis=-1)[..., None, None]


def transposed(matrix: Array) -> Array:
    """Of matrices on the last two axes."""
    return jnp.swapaxes(matrix, -1, -2)


def jump_map(first: Array, second: Array, fraction: Array, jumps: Array, apart: Array | None = None) -> Array:
    """The matrix `A` with which a laminate answers a strain `E`: its layers have `E + (1-f) N A E` and `E - f N A E`.

    `apart` is what differs between the layers, columns of stresses; those that `E` causes if not given.
    """
    apart = first - second if apart is None else apart
    stiffness = transposed(jumps) @ ((1.0 - fraction) * first + fraction * second) @ jumps
    return -inverse(stiffness) @ transposed(jumps) @ apart


def laminate(first: Array, second: Array, fraction: Array, jumps: Array) -> Array:
    """Effective tensor of two layers; `fraction` is the first one's, `jumps` the matrix `N`."""
    mixed = fraction * first + (1.0 - fraction) * second
    answer = jumps @ jump_map(first, second, fraction, jumps)
    return mixed + fraction * (1.0 - fraction) * (first - second) @ answer


@final
class MaterialNetwork(eqx.Module):
    """A tree of laminates.

    Attributes
    ----------
    fractions:
        `(nodes,)` of the first child, in `[0, 1]`; level by level from the root, `nodes = 2^depth - 1`.
    angles:
        `(nodes, dimension - 1)` of the normals.
    phases:
        `(2^depth,)` numbers of the leaves' phases.
    physics:
        Conduction or elasticity, in two or three dimensions.
    """

    fractions: Float[Array, " nodes"]
    angles: Float[Array, "nodes angles"]
    phases: Int[Array, " leaves"]
    physics: Physics = eqx.field(static=True)

    @property
    def depth(self) -> int:
        """Levels of nodes."""
        return int(self.phases.shape[0]).bit_length() - 1

    @property
    def levels(self) -> list[slice]:
        """Where the nodes of each level are, from the root."""
        return [slice(2**k - 1, 2 ** (k + 1) - 1) for k in range(self.depth)]

    @property
    def jumps(self) -> Float[Array, "nodes size jumps"]:
        """The matrices `N` of the nodes."""
        return self.physics.jump(normals_of(self.angles))

    @property
    def weights(self) -> Float[Array, " leaves"]:
        """Volume fractions of the leaves; they sum to 1."""
        depth, leaf = self.depth, np.arange(len(self.phases))
        above = np.arange(depth)[:, None]
        own = self.fractions[2**above - 1 + (leaf >> depth - above)]
        return jnp.prod(jnp.where(leaf >> depth - 1 - above & 1, 1.0 - own, own), axis=0)

    def volume(self, count: int) -> Float[Array, " phases"]:
        """Volume fraction of each of `count` phases."""
        return jnp.zeros(count).at[self.phases].add(self.weights)

    def __call__(self, tensors: Float[Array, "phases size size"]) -> Float[Array, "size size"]:
        """Effective tensor of phases with these tensors."""
        return self.upward(lambda *own: (laminate(*own), None), tensors[self.phases])[0]

    @property
    def places(self) -> np.ndarray:
        """Nodes of each level from the root `(depth, leaves / 2)`, a level's own nodes again and again.

        All levels have one shape, so that one program, compiled once, goes over them.
        """
        above = 2 ** np.arange(self.depth)[:, None]
        return above - 1 + np.arange(len(self.phases) // 2) % above

    def gathered(self, levels: Any, leaves: Any) -> Array:
        """Values of all nodes and leaves in their order, from those of the levels as `places` has them."""
        nodes = np.arange(1, len(self.phases))
        level = np.frexp(nodes)[1] - 1
        return jnp.concatenate([levels[level, nodes - 2**level], leaves])

    def upward(self, combine: Any, leaves: Any) -> tuple[Any, Any]:
        """From the leaves to the root: `combine(first, second, fraction, jumps)` gives values of parents, and a remark.

        Returns
        -------
        The value at the root, and values and remarks of all levels from the root, as `places` has them.
        """

        def level(below: Any, own: tuple[Array, Array]) -> tuple[Any, Any]:
            pick = lambda start: jax.tree.map(lambda a: a[start::2], below)  # noqa: E731
            value, remark = combine(pick(0), pick(1), own[0][:, None, None], own[1])
            return jax.tree.map(lambda a: jnp.concatenate([a, a]), value), (value, remark)

        own = self.fractions[self.places], self.jumps[self.places]
        root, out = jax.lax.scan(level, leaves, own, reverse=True)
        return jax.tree.map(lambda a: a[0], root), out

    def nodes(self, tensors: Float[Array, "phases size size"]) -> Float[Array, "all size size"]:
        """Tensors of all nodes, level by level from the root, and then of the leaves."""
        leaves = tensors[self.phases]
        _, (levels, _) = self.upward(lambda *own: (laminate(*own), None), leaves)
        return self.gathered(levels, leaves)

    def localised(self, nodes: Float[Array, "all size size"]) -> tuple[Array, Array]:
        """Weights `w` `(all, 1, 1)` of all nodes and leaves, and their strains `T` `(all, size, size)` for unit loads.

        The derivative of the effective tensor by the tensor of a node is `w T' (.) T`, exactly, since strains of
        laminates are stationary.
        """
        fractions, below, jumps = self.fractions[:, None, None], nodes[1:], self.jumps
        answers = jumps @ jump_map(below[0::2], below[1::2], fractions, jumps)
        half, size = len(self.phases) // 2, self.physics.size

        def level(above: tuple[Array, Array], own: tuple[Array, Array]) -> Any:
            weight, strain = above[0][:half], above[1][:half]
            fraction, jump = own[0], own[1] @ strain
            first, second = strain + (1.0 - fraction) * jump, strain - fraction * jump
            return (_woven(weight * fraction, weight * (1.0 - fraction)), _woven(first, second)), (weight, strain)

        start = jnp.ones((2 * half, 1, 1)), jnp.broadcast_to(jnp.eye(size), (2 * half, size, size))
        leaves, levels = jax.lax.scan(level, start, (fractions[self.places], answers[self.places]))
        return self.gathered(levels[0], leaves[0]), self.gathered(levels[1], leaves[1])

    def jacobian(
        self, tensors: Float[Array, "phases size size"]
    ) -> tuple[Float[Array, "size size"], Float[Array, "parameters size size"]]:
        """Effective tensor, and its derivatives by all fractions and then all angles, exact by strain localisation."""
        nodes = self.nodes(tensors)
        weights, strains = self.localised(nodes)
        below, count = nodes[1:], self.fractions.size

        def local(fraction: Array, angles: Array, first: Array, second: Array) -> Array:
            return laminate(first, second, fraction, self.physics.jump(normals_of(angles)))

        slopes = jax.vmap(jax.jacfwd(local, argnums=(0, 1)))(self.fractions, self.angles, below[0::2], below[1::2])
        own = jnp.concatenate([slopes[0][..., None], slopes[1]], axis=-1)
        carried = jnp.einsum("mxyz,mxi,myj->mzij", own, weights[:count] * strains[:count], strains[:count])
        return nodes[0], jnp.concatenate([carried[:, 0], carried[:, 1:].reshape(-1, *nodes[0].shape)])

    def pruned(self, below: float = 1e-3) -> MaterialNetwork:
        """Without children whose share of their node is below a limit: fractions there become 0 or 1, exactly."""
        own = self.fractions
        rounded = jnp.where(own < below, 0.0, jnp.where(own > 1.0 - below, 1.0, own))
        return eqx.tree_at(lambda net: net.fractions, self, rounded)

    @property
    def alive(self) -> np.ndarray:
        """`(leaves,)` whether a leaf has any volume."""
        return np.asarray(self.weights) > 0.0


def _woven(first: Array, second: Array) -> Array:
    """Children of all nodes in their order, first and second by turns."""
    return jnp.stack([first, second], axis=1).reshape(-1, *first.shape[1:])


def leaf_normals(physics: Physics, count: int = 16) -> np.ndarray:
    """Angles `(count or 4 count, dimension - 1)` of normals spread over half a circle or half a sphere (Fibonacci)."""
    if physics.dimension == 2:
        return np.arange(count)[:, None] * np.pi / count
    places = np.arange(4 * count) + 0.5
    return np.stack([np.arccos(1.0 - places / (4 * count)), np.pi * (1.0 + 5.0**0.5) * places], axis=1)


def seedling(depth: int, physics: Physics, phases: int, seed: int, grown: int | None = None) -> MaterialNetwork:
    """A random tree whose levels below `grown` do nothing yet: their nodes are their first children.

    Leaves of the grown part take the phases by turns.
    """
    rng = np.random.default_rng(seed)
    grown = depth if grown is None else grown
    nodes, live = 2**depth - 1, 2**grown - 1
    choices = leaf_normals(physics, 64)
    fractions = np.where(np.arange(nodes) < live, rng.uniform(0.2, 0.8, nodes), 1.0)
    leaves = np.repeat(np.arange(2**grown) % phases, 2 ** (depth - grown))
    angles = choices[rng.integers(len(choices), size=nodes)]
    return MaterialNetwork(jnp.asarray(fractions), jnp.asarray(angles), jnp.asarray(leaves), physics)


def nucleated(
    network: MaterialNetwork, level: int, adjoints: Float[Array, "samples nodes size size"], samples: Any
) -> MaterialNetwork:
    r"""Let a level of nodes that do nothing grow: each gets as second child, of fraction 0, what lowers the loss most.

    A second phase of tensor `B` with normal `n` in a node of tensor `A` changes the latter at first order by
    `B - A - D N (N' B N)^-1 N' D`, `D = A - B`, times its fraction: the topological derivative. Contracted with the
    adjoint of the node it is the slope of the loss. The effective tensor does not change at all; if the slope is
    negative the fraction leaves its bound in the next step. Splitting a leaf in two of its own kind would do nothing,
    since these are the same laminate whatever their fractions.

    Parameters
    ----------
    level:
        Its fractions are 1, and so are those below.
    adjoints:
        Derivatives of the loss by the tensors of its nodes, sample by sample.
    samples:
        `(samples, phases, size, size)`.
    """
    physics, where = network.physics, network.levels[level]
    below = 2 ** (network.depth - level)
    own = network.phases[::below]
    choices = jnp.asarray(leaf_normals(physics))
    slopes = _nucleation_slopes(adjoints, jnp.asarray(samples), own, physics.jump(normals_of(choices)))
    # a phase nucleates in others only
    slopes = np.array(slopes)
    slopes[np.arange(len(own)), np.asarray(own)] = np.inf
    phase, normal = np.unravel_index(np.argmin(slopes.reshape(len(own), -1), axis=1), slopes.shape[1:])
    leaves = np.array(network.phases).reshape(len(own), 2, below // 2)
    leaves[:, 1] = phase[:, None]
    angles = network.angles.at[where].set(choices[normal])
    return MaterialNetwork(network.fractions, angles, jnp.asarray(leaves.reshape(-1)), physics)


@jax.jit
def _nucleation_slopes(adjoints: Any, samples: Any, own: Any, jumps: Any) -> Array:
    """`(nodes, phases, normals)`."""

    def sample(total: Array, pair: Any) -> tuple[Array, None]:
        adjoint, tensors = pair

        def slope(first: Array, second: Array) -> Array:
            apart = (first - second) @ jumps
            return second - first - apart @ inverse(transposed(jumps) @ second @ jumps) @ transposed(apart)

        changes = jax.vmap(lambda a: jax.vmap(lambda b: slope(a, b))(tensors))(tensors)
        return total + jnp.einsum("mij,mpaij->mpa", adjoint, changes[own]), None

    start = jnp.zeros((len(own), samples.shape[1], len(jumps)))
    return jax.lax.scan(sample, start, (adjoints, samples))[0]
