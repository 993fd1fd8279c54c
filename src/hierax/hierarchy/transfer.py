"""How parameters and cotangents travel between a coarse field and a finer one: the contract of all transfers."""

import abc
import enum

import equinox as eqx
import jax
import lineax as lx
from jaxtyping import Array, Float, PyTree

Params = PyTree[Float[Array, "..."]]


class Tag(enum.Enum):
    """What a transfer declares about itself; `hierax.testing.check_transfer` verifies it."""

    LINEAR = "prolong is linear: additive, homogeneous, and zero at zero"
    FUNCTION_PRESERVING = "the prolonged fine field equals the coarse field at every point"
    INJECTIVE = "inject after prolong is the identity"


LINEAR, FUNCTION_PRESERVING, INJECTIVE = Tag


class AbstractTransfer(eqx.Module):
    r"""Maps between the trained parameters of a coarse field and those of a finer field.

    Primal vectors go up with `prolong` (:math:`P`) and down with `inject` (:math:`I`), cotangents such as gradients go
    down with `restrict` (:math:`P'`) and up with `lift` (:math:`I'`). If :math:`I P = 1`, then
    :math:`\langle P s, I' y \rangle = \langle s, y \rangle`: pairs of steps and gradient changes keep their curvature.
    """

    @property
    @abc.abstractmethod
    def tags(self) -> frozenset[Tag]:
        """What this transfer promises."""

    @abc.abstractmethod
    def prolong(self, coarse: Params) -> Params:
        """Parameters from coarse to fine."""

    @abc.abstractmethod
    def inject(self, fine: Params) -> Params:
        """Parameters from fine to coarse."""

    @abc.abstractmethod
    def tangent(self, at: Params) -> lx.AbstractLinearOperator:
        """Derivative of `prolong` at coarse parameters; `prolong` itself where that is linear."""

    @abc.abstractmethod
    def restrict(self, cotangent: Params, at: Params | None = None) -> Params:
        """Cotangents from fine to coarse: the transpose of `tangent`. A linear transfer needs no base point."""

    @abc.abstractmethod
    def lift(self, cotangent: Params) -> Params:
        """Cotangents from coarse to fine: the transpose of `inject`."""


def tangent_of(function, at: Params) -> lx.FunctionLinearOperator:
    """Derivative of a map of parameters as an operator whose transpose JAX provides."""
    return lx.FunctionLinearOperator(lambda step: jax.jvp(function, (at,), (step,))[1], jax.eval_shape(lambda: at))
