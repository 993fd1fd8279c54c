"""The state of a solver on its way to a finer level."""

import enum
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from hierax.hierarchy.transfer import AbstractTransfer


class Kind(enum.Enum):
    """What a part of a solver's state is, and therefore how it travels."""

    PRIMAL = "a vector of parameters, such as a step or a momentum of steps: prolonged"
    DUAL = "a cotangent, such as a gradient or a difference of gradients: lifted"
    METRIC = "a diagonal or second moment: no exact law, to be measured again on the new level"
    SCALAR = "a number that means the same on both levels: kept"
    RESET = "anything else: started afresh"


PRIMAL, DUAL, METRIC, SCALAR, RESET = Kind


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
    laws = {PRIMAL: transfer.prolong, DUAL: transfer.lift, SCALAR: lambda part: part}

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


def resumed(state: PyTree, kinds: PyTree, fresh: PyTree) -> Any:
    """The state for another visit of the same level: all is kept but what is of kind RESET, which comes from `fresh`.

    The parameters may have moved in between, and the correction of a coarse objective has changed.
    """
    labels, structure = jax.tree.flatten(kinds, is_leaf=_is_kind)
    pairs = zip(labels, structure.flatten_up_to(state), structure.flatten_up_to(fresh), strict=True)
    return structure.unflatten([new if kind is RESET else part for kind, part, new in pairs])


def _is_kind(node: Any) -> bool:
    return isinstance(node, Kind | Stacked)
