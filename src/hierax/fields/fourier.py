"""Networks that see waves of their inputs: fixed random modes against the bias of training towards low frequencies."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from hierax.fields.base import AbstractField, AbstractFixed
from hierax.fields.initial import Key, generator_of
from hierax.fields.inputs import InputBox, input_box, place
from hierax.fields.mlp import MLP


class FourierFeatures(AbstractFixed):
    r"""The waves :math:`\cos(\pi k_j \cdot z), \sin(\pi k_j \cdot z)` of given modes; never trained.

    Parameters
    ----------
    box : InputBox, optional
        Maps the domain to ``z`` in ``[-1, 1]``, across which a wave with ``k = 1`` has one period.
    frequencies : array of shape ``(modes, dim)``
        The :math:`k_j`. The two waves of a mode stand next to each other in the result.
    """

    box: InputBox | None
    frequencies: Float[Array, "modes dim"]

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, " waves"]:
        phase = jnp.pi * self.frequencies @ (x if self.box is None else self.box(x))
        return jnp.stack([jnp.cos(phase), jnp.sin(phase)], axis=1).ravel()


class FourierNetwork(AbstractField):
    r"""A perceptron of fixed random waves of the inputs.

    Parameters
    ----------
    widths : sequence of int
        Numbers of nodes, inputs first, as for `MLP`; the waves stand between inputs and first hidden layer.
    modes : int
        Number of modes, two waves each.
    scale : float
        Standard deviation of the frequencies in periods across the box: about the finest scale that is resolved.
    key : key or int
    activation : callable
    domain : pair of arrays, optional
        As for `MLP`.

    Raises
    ------
    ValueError
        Without modes.

    Examples
    --------
    >>> field = FourierNetwork([2, 16, 1], modes=8, scale=3.0, key=0)
    >>> field.network.widths, field(jnp.zeros(2)).shape
    ((16, 16, 1), ())

    References
    ----------
    Tancik et al., NeurIPS 2020, arXiv 2006.10739.
    """

    features: FourierFeatures
    network: MLP

    def __init__(
        self,
        widths,
        *,
        key: Key,
        modes: int = 32,
        scale: float = 2.0,
        activation: Callable[[Array], Array] = jnp.tanh,
        domain=None,
    ):
        dim, *rest = (int(width) for width in widths)
        if modes < 1:
            raise ValueError(f"FourierNetwork: at least one mode is needed, got modes={modes}")
        generator = generator_of(key)
        frequencies = jnp.asarray(scale * generator.normal(size=(modes, dim)))
        self.features = FourierFeatures(input_box(domain, dim), frequencies)
        self.network = MLP([2 * modes, *rest], key=int(generator.integers(2**31)), activation=activation)

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.features.frequencies.shape[1], *self.network.widths[1:])

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, "..."]:
        return self.network(self.features(x))

    def linear_parameters(self) -> PyTree[bool]:
        nothing = super().linear_parameters()
        return eqx.tree_at(lambda field: field.network, nothing, self.network.linear_parameters())


def with_modes(field: FourierNetwork, frequencies: np.ndarray, network: MLP) -> FourierNetwork:
    """The field on other modes with a perceptron that fits them."""
    features = FourierFeatures(field.features.box, jnp.asarray(frequencies))
    return eqx.tree_at(lambda net: (net.features, net.network), field, (features, network))


@place.register
def _(field: FourierNetwork, lower, upper) -> FourierNetwork:
    if field.features.box is not None:
        return field
    box = input_box((lower, upper), field.widths[0])
    return eqx.tree_at(lambda net: net.features.box, field, box, is_leaf=lambda node: node is None)
