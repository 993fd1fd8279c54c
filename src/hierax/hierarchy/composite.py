"""Several refinements at once, or the most promising of several."""

import abc
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from hierax.fields.base import partition
from hierax.hierarchy.level import Level
from hierax.hierarchy.refinement import AbstractRefinement
from hierax.hierarchy.transfer import AbstractTransfer, Params, Tag, tangent_of


class ComposedTransfer(AbstractTransfer):
    """Transfers one after the other, the coarsest first; it promises what all of them promise."""

    parts: tuple[AbstractTransfer, ...]

    @property
    def tags(self) -> frozenset[Tag]:
        return frozenset.intersection(*(part.tags for part in self.parts))

    def prolong(self, coarse: Params) -> Params:
        return functools.reduce(lambda value, part: part.prolong(value), self.parts, coarse)

    def inject(self, fine: Params) -> Params:
        return functools.reduce(lambda value, part: part.inject(value), reversed(self.parts), fine)

    def tangent(self, at: Params) -> lx.AbstractLinearOperator:
        return tangent_of(self.prolong, at)

    def restrict(self, cotangent: Params, at: Params | None = None) -> Params:
        places: list[Params | None] = [at]
        for part in self.parts[:-1]:
            before = places[-1]
            places.append(None if before is None else part.prolong(before))
        pairs = reversed(list(zip(self.parts, places, strict=True)))
        return functools.reduce(lambda value, pair: pair[0].restrict(value, pair[1]), pairs, cotangent)

    def lift(self, cotangent: Params) -> Params:
        return functools.reduce(lambda value, part: part.lift(value), self.parts, cotangent)

    def element(self, child: PyTree) -> Float[Array, "fine coarse"] | None:
        del child


class Composite(AbstractRefinement):
    """Apply several rules one after the other and call the result one level.

    Parameters
    ----------
    rules : sequence of AbstractRefinement
        Each refines what the one before made; evidence, which belongs to the coarse level, goes to the first.

    Raises
    ------
    ValueError
        Without a rule.
    """

    rules: tuple[AbstractRefinement, ...]

    def __init__(self, rules):
        self.rules = _some(rules, "Composite")

    @property
    def judges(self) -> bool:
        return self.rules[0].judges

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        parts = []
        for number, rule in enumerate(self.rules):
            own = None if key is None else jax.random.fold_in(key, number)
            level, transfer = rule.refine(level, key=own, evidence=None if number else evidence)
            parts.append(transfer)
        return level, ComposedTransfer(tuple(parts))


class AbstractEvidence(eqx.Module):
    """What training has shown about a level, as far as it says what a refinement would gain."""

    @abc.abstractmethod
    def gain(self, coarse: Level, fine: Level, transfer: AbstractTransfer) -> float:
        """Predicted decrease by training the fine level beyond what the coarse level can reach; not negative."""


class GradientEvidence(AbstractEvidence):
    r"""The squared gradient in the directions that only the fine level has, :math:`\|g - P (P'P)^+ P' g\|^2`.

    A step of gradient descent with a given small rate lowers the objective in proportion to it. It depends on the
    coordinates: `hierax.dynamics.NewtonEvidence` does not.

    Parameters
    ----------
    gradient : callable
        From a field to the gradient of the objective in its parameters, with their structure.
    """

    gradient: Callable[[PyTree], Params] = eqx.field(static=True)

    def gain(self, coarse: Level, fine: Level, transfer: AbstractTransfer) -> float:
        at = partition(coarse.field)[0]
        slope = self.gradient(fine.field)
        inside = nearest_in_range(transfer, at, slope)
        rest = ravel_pytree(slope)[0] - ravel_pytree(inside)[0]
        return float(rest @ rest)


class BestOf(AbstractRefinement):
    """Of several rules the one with the largest predicted decrease for each parameter that it adds.

    Work of a second-order solver grows faster than the parameters, so among equal gains the smaller level wins.

    Parameters
    ----------
    rules : sequence of AbstractRefinement
        They must keep the function, so that gradients of the refined fields are those of the trained one.

    Raises
    ------
    ValueError
        Without a rule, or if refined without evidence: then there is nothing to choose by.
    """

    rules: tuple[AbstractRefinement, ...]

    def __init__(self, rules):
        self.rules = _some(rules, "BestOf")

    @property
    def judges(self) -> bool:
        return True

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        if not isinstance(evidence, AbstractEvidence):
            raise ValueError(
                "BestOf: there is no evidence to choose by; train the level first and pass "
                "evidence=GradientEvidence(...) to Hierarchy.grow"
            )
        found = [rule.refine(level, key=key) for rule in self.rules]
        gains = [
            evidence.gain(level, fine, transfer) / (fine.parameters - level.parameters) for fine, transfer in found
        ]
        return found[max(range(len(gains)), key=gains.__getitem__)]


def nearest_in_range(transfer: AbstractTransfer, at: Params, vector: Params) -> Params:
    r"""The vector of the range of the tangent of prolong that is nearest to a fine one, :math:`P (P'P)^+ P' v`."""
    tangent = transfer.tangent(at)
    flat, build = ravel_pytree(at)
    columns = jax.vmap(lambda unit: ravel_pytree(tangent.mv(build(unit)))[0])(jnp.eye(flat.size, dtype=flat.dtype))
    values, unflat = ravel_pytree(vector)
    return unflat(columns.T @ jnp.linalg.lstsq(columns.T, values)[0])


def _some(rules, name: str) -> tuple[AbstractRefinement, ...]:
    rules = tuple(rules)
    if not rules:
        raise ValueError(f"{name}: at least one rule is needed")
    return rules
