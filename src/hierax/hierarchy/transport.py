"""The state of a solver on its way to a finer level."""

import enum
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from hierax.hierarchy.transfer import AbstractTransfer


class Kind(enum.Enum):
    """What a part of a solver's state is, and therefore how it travels."""

    PRIMAL = "a vector of parameters, such as a step or a momentum of steps: prolonged"
    DUAL = "a cotangent, such as a gradient or a difference of gradients: lifted"
    METRIC = "a diagonal or second moment: no exact law, to be measured again on the new level"
    SQUARE = "mean squares of cotangents, as if these were independent: by the squares of the lift"
    NEWNESS = "which part of each parameter the coarse level does not have: a property of the transfer"
    SCALAR = "a number that means the same on both levels: kept"
    RESET = "anything else: started afresh"


PRIMAL, DUAL, METRIC, SQUARE, NEWNESS, SCALAR, RESET = Kind


class Stacked(eqx.Module):
    """A history: the kind of its entries, which are stacked along a leading axis of every array."""

    kind: Kind = eqx.field(static=True)


def transport(state: PyTree, kinds: PyTree, transfer: AbstractTransfer, fresh: PyTree = None) -> Any:
    r"""Carry a solver's state from the coarse to the fine level.

    Parameters
    ----------
    state : pytree
        State on the coarse level.
    kinds : pytree
        A prefix of `state` with a `Kind` or `Stacked` for each part; parts called primal or dual have the structure
        of the parameters.
    transfer : AbstractTransfer
        From the coarse to the fine level.
    fresh : pytree, optional
        State started on the fine level, the source of what is not carried.

    Returns
    -------
    pytree
        The state on the fine level. Parts of kind METRIC or RESET come from `fresh`, or are ``None`` without it, which
        tells the solver to measure or start them.

    Notes
    -----
    Pairs of steps ``s`` and gradient changes ``y`` keep ``<s, y>`` if inject is a left inverse of prolong.
    """
    laws = {
        PRIMAL: transfer.prolong,
        DUAL: transfer.lift,
        SQUARE: lambda part: lifted_squares(transfer, part),
        NEWNESS: lambda part: newness(transfer, part),
        SCALAR: lambda part: part,
    }

    def carry(kind: Kind | Stacked, part: PyTree, new: PyTree) -> PyTree:
        if isinstance(kind, Stacked):
            law = laws.get(kind.kind)
            return new if law is None else jax.vmap(law)(part)
        law = laws.get(kind)
        return new if law is None else law(part)

    labels, structure = jax.tree.flatten(kinds, is_leaf=_is_kind)
    parts = structure.flatten_up_to(state)
    news = [None] * len(parts) if fresh is None else structure.flatten_up_to(fresh)
    return structure.unflatten([carry(*triple) for triple in zip(labels, parts, news, strict=True)])


def lifted_squares(transfer: AbstractTransfer, squares: PyTree) -> PyTree:
    r"""Mean squares :math:`E[(I' y)_i^2] = \sum_j I_{ji}^2 E[y_j^2]` of lifted cotangents with independent entries.

    Fine parameters that the injection does not see get the mean of the coarse ones: zeros would let an optimiser that
    divides by them take steps of any length.
    """
    lift = lambda part: ravel_pytree(transfer.lift(part))[0]  # noqa: E731
    flat, build = ravel_pytree(squares)
    columns = jax.vmap(lambda unit: lift(build(unit)))(jnp.eye(flat.size, dtype=flat.dtype))
    fine = ravel_pytree(transfer.lift(squares))[1]
    return fine(jnp.where(jnp.any(columns != 0.0, axis=0), flat @ columns**2, jnp.mean(flat)))


def newness(transfer: AbstractTransfer, coarse: PyTree) -> PyTree:
    """One less the diagonal of prolong after inject, within 0 and 1: one for new parameters, zero for old ones.

    The coarse parameters only say what their structure is.
    """
    zero = jax.tree.map(jnp.zeros_like, coarse)
    flat, build = ravel_pytree(transfer.lift(zero))
    base = transfer.prolong(zero)

    def kept(unit: Array) -> Array:
        moved = jax.tree.map(jnp.subtract, transfer.prolong(transfer.inject(build(unit))), base)
        return ravel_pytree(moved)[0] @ unit

    return build(jnp.clip(1.0 - jax.vmap(kept)(jnp.eye(flat.size, dtype=flat.dtype)), 0.0, 1.0))


def resumed(state: PyTree, kinds: PyTree, fresh: PyTree) -> Any:
    """The state for another visit of the same level: all is kept but what is of kind RESET, which comes from `fresh`.

    The parameters may have moved in between, and the correction of a coarse objective has changed.
    """
    labels, structure = jax.tree.flatten(kinds, is_leaf=_is_kind)
    pairs = zip(labels, structure.flatten_up_to(state), structure.flatten_up_to(fresh), strict=True)
    return structure.unflatten([new if kind is RESET else part for kind, part, new in pairs])


def _is_kind(node: Any) -> bool:
    return isinstance(node, Kind | Stacked)
