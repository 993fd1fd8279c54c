"""Networks that see waves of their inputs: fixed random modes against the bias of training towards low frequencies."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from hierax.fields.base import AbstractField, AbstractFixed
from hierax.fields.initial import Key, generator_of
from hierax.fields.inputs import InputBox, input_box
from hierax.fields.mlp import MLP


class FourierFeatures(AbstractFixed):
    r"""The waves :math:`\cos(\pi k_j \cdot z), \sin(\pi k_j \cdot z)` of given modes; never trained.

    Parameters
    ----------
    box : InputBox, optional
        Maps the domain to ``z`` in ``[-1, 1]``, across which a wave with ``k = 1`` has one period.
    frequencies : array of shape ``(modes, dim)``
        The :math:`k_j`. The two waves of a mode stand next to each other in the result. Along periodic coordinates of
        the box they are rounded to whole numbers of periods.
    """

    box: InputBox | None
    frequencies: Float[Array, "modes dim"]

    def __init__(self, box: InputBox | None, frequencies: Float[Array, "modes dim"]):
        self.box = box
        self.frequencies = frequencies if box is None else _whole(frequencies, box.periodic)

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, " waves"]:
        phase = jnp.pi * self.frequencies @ (x if self.box is None else self.box.scaled(x))
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
    domain : InputBox or pair of arrays, optional
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

    def placed(self, box: Any) -> "FourierNetwork":
        if self.features.box is not None:
            return self
        features = FourierFeatures(input_box(box, self.widths[0]), self.features.frequencies)
        return eqx.tree_at(lambda net: net.features, self, features)


def _whole(frequencies: Float[Array, "modes dim"], periodic: Sequence[bool]) -> Float[Array, "modes dim"]:
    """Whole numbers along periodic coordinates; a coordinate that no wave would see gets the longest ones."""
    if not any(periodic):
        return frequencies
    whole = jnp.rint(frequencies)
    whole = jnp.where(jnp.any(whole != 0, axis=0), whole, jnp.sign(frequencies))
    return jnp.where(jnp.asarray(periodic), whole, frequencies)
