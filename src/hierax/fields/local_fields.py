"""What stands on the subdomains of a partition of unity: recipes that draw one field a subdomain, stacked."""

import abc
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from hierax.fields.expansion import Expansion, Legendre, Ridges, Waves
from hierax.fields.mlp import MLP


class AbstractLocals(abc.ABC):
    """A recipe for the fields of all subdomains, which see local coordinates in ``[-1, 1]``."""

    @abc.abstractmethod
    def draw(self, dim: int, out: int | None, subdomains: int, generator: np.random.Generator) -> PyTree:
        """One field whose arrays carry the subdomains on their first axis.

        Parameters
        ----------
        dim : int
        out : int or None
            Number of outputs; none for values of shape ``()``.
        subdomains : int
        generator : NumPy generator
        """


@dataclass(frozen=True)
class RandomFeatures(AbstractLocals):
    r"""Random ridges :math:`\tanh(\alpha_j e_j \cdot (z - p_j))` with a trained linear readout that starts at zero.

    The middles :math:`p_j` are uniform in the box, the directions :math:`e_j` on the sphere, the slopes
    :math:`\alpha_j` between 0 and `slope`: every function bends inside of its subdomain.

    Attributes
    ----------
    count, slope, activation:
        Functions a subdomain, largest slope, and the function of one variable.
    """

    count: int = 32
    slope: float = 4.0
    activation: Callable[[Array], Array] = jnp.tanh

    def draw(self, dim: int, out: int | None, subdomains: int, generator: np.random.Generator) -> Expansion:
        shape = (subdomains, self.count)
        directions = generator.normal(size=(*shape, dim))
        directions /= np.linalg.norm(directions, axis=2, keepdims=True)
        weights = self.slope * generator.uniform(0.0, 1.0, size=(*shape, 1)) * directions
        shifts = -np.sum(weights * generator.uniform(-1.0, 1.0, size=weights.shape), axis=2)
        basis = Ridges(jnp.asarray(weights), jnp.asarray(shifts), self.activation)
        return Expansion(basis, _zeros(subdomains, out, self.count))


@dataclass(frozen=True)
class RandomWaves(AbstractLocals):
    """Cosines and sines of random frequencies with a trained linear readout that starts at zero.

    Attributes
    ----------
    modes, scale:
        Frequencies a subdomain, two functions each, and their standard deviation in periods across the subdomain.
    """

    modes: int = 16
    scale: float = 1.0

    def draw(self, dim: int, out: int | None, subdomains: int, generator: np.random.Generator) -> Expansion:
        frequencies = self.scale * generator.normal(size=(subdomains, self.modes, dim))
        return Expansion(Waves(jnp.asarray(frequencies)), _zeros(subdomains, out, 2 * self.modes))


@dataclass(frozen=True)
class Polynomials(AbstractLocals):
    """Tensor products of Legendre polynomials with coefficients that start at zero.

    Attributes
    ----------
    degree:
        For each coordinate; one integer serves all.
    """

    degree: int | tuple[int, ...] = 5

    def draw(self, dim: int, out: int | None, subdomains: int, generator: np.random.Generator) -> Expansion:
        del generator
        degrees = tuple(int(degree) for degree in np.broadcast_to(self.degree, (dim,)))
        return Expansion(Legendre(degrees), _zeros(subdomains, out, int(np.prod(np.array(degrees) + 1))))


@dataclass(frozen=True)
class Perceptrons(AbstractLocals):
    """Small perceptrons (Glorot, normal; shifts start at zero).

    Attributes
    ----------
    hidden, activation:
        Widths of the hidden layers, and what is applied to them.
    """

    hidden: tuple[int, ...] = (16,)
    activation: Callable[[Array], Array] = jnp.tanh

    def draw(self, dim: int, out: int | None, subdomains: int, generator: np.random.Generator) -> MLP:
        network = MLP([dim, *self.hidden, out or 1], key=0, activation=self.activation)
        arrays = []
        for inputs, outputs in itertools.pairwise(network.widths):
            spread = np.sqrt(2.0 / (inputs + outputs))
            arrays += [spread * generator.normal(size=(subdomains, outputs, inputs)), np.zeros((subdomains, outputs))]
        leaves = [jnp.asarray(array) for array in arrays]
        return eqx.tree_at(lambda net: [p for layer in net.layers for p in (layer.weight, layer.bias)], network, leaves)


@dataclass(frozen=True, eq=False)
class Copies(AbstractLocals):
    """The same field, of any kind, to begin with on every subdomain.

    Attributes
    ----------
    field:
        A field on ``[-1, 1]^dim`` whose values have the shape of the unknown.
    """

    field: Any

    def draw(self, dim: int, out: int | None, subdomains: int, generator: np.random.Generator) -> PyTree:
        del generator
        shape = jax.eval_shape(self.field, jax.ShapeDtypeStruct((dim,), float)).shape
        if shape != (() if out is None else (out,)):
            raise ValueError(
                f"Copies: the field has values of shape {shape}, but the unknown has {out or 'no'} outputs"
            )
        return stacked([self.field] * subdomains)


def stacked(fields) -> PyTree:
    """Fields of the same structure as one field whose arrays carry them on their first axis.

    Raises
    ------
    ValueError
        For fields of different structure.
    """
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack([np.asarray(leaf) for leaf in leaves])), *fields)


def _zeros(subdomains: int, out: int | None, count: int) -> Array:
    return jnp.zeros((subdomains, count) if out is None else (subdomains, out, count))
