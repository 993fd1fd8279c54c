"""The laws of transfers, for the library's own and for users' new ones."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from hierax.fields.base import partition, supports_local
from hierax.fields.inputs import as_key
from hierax.hierarchy.transfer import FUNCTION_PRESERVING, INJECTIVE, LINEAR, AbstractTransfer


def check_transfer(
    transfer: AbstractTransfer,
    coarse: PyTree,
    fine: PyTree,
    *,
    key: Array | int,
    points: Float[Array, "points dim"],
    tolerance: float = 1e-12,
) -> None:
    """Verify the laws of a transfer and every tag it declares.

    Always: structures fit, `tangent` is the derivative of `prolong`, `restrict` its transpose, `lift` the transpose of
    `inject`, and `element` agrees with `prolong` on cells. By tag: linearity including zero at zero; inject after
    prolong is the identity and pairs keep their product; the function is kept at the points.

    Parameters
    ----------
    transfer : AbstractTransfer
    coarse, fine : callable pytrees
        Fields on both levels; only the structure of the fine one matters.
    key : key or int
        For random vectors.
    points : array ``(points, dim)``
        Where functions are compared.
    tolerance : float
        Allowed violation relative to the size of what is compared.

    Raises
    ------
    AssertionError
        Naming the law and the size of its violation.
    """
    check = _Check(transfer, partition(coarse)[0], partition(fine)[0], as_key(key), tolerance)
    check.structures()
    check.transposes()
    if LINEAR in transfer.tags:
        check.linearity()
    if INJECTIVE in transfer.tags:
        check.identity()
    if FUNCTION_PRESERVING in transfer.tags:
        check.function(coarse, fine, jnp.asarray(points))
    if supports_local(coarse) and supports_local(fine):
        check.elements(coarse, fine, jnp.asarray(points))


class _Check(eqx.Module):
    transfer: AbstractTransfer
    coarse: PyTree
    fine: PyTree
    key: Array
    tolerance: float

    def draw(self, like: PyTree, name: int) -> PyTree:
        flat, unravel = ravel_pytree(like)
        return unravel(jax.random.normal(jax.random.fold_in(self.key, name), flat.shape, flat.dtype))

    def demand(self, law: str, difference: float, size: float) -> None:
        violation = float(difference) / max(float(size), 1e-300)
        if not violation <= self.tolerance:
            raise AssertionError(
                f"{type(self.transfer).__name__}: {law} does not hold; relative violation {violation:.2e}, "
                f"allowed {self.tolerance:.0e}"
            )

    def same(self, law: str, left: PyTree, right: PyTree, size: float = 0.0) -> None:
        a, b = ravel_pytree(left)[0], ravel_pytree(right)[0]
        self.demand(law, jnp.linalg.norm(a - b), jnp.linalg.norm(a) + jnp.linalg.norm(b) + size)

    def paired(self, law: str, left: tuple[PyTree, PyTree], right: tuple[PyTree, PyTree]) -> None:
        (a, b), (c, d) = (tuple(ravel_pytree(part)[0] for part in side) for side in (left, right))
        size = jnp.linalg.norm(a) * jnp.linalg.norm(b) + jnp.linalg.norm(c) * jnp.linalg.norm(d)
        self.demand(law, abs(a @ b - c @ d), size)

    def structures(self) -> None:
        at = self.draw(self.coarse, 0)
        maps: tuple[tuple[str, Callable, PyTree, PyTree], ...] = (
            ("prolong gives fine parameters", self.transfer.prolong, at, self.fine),
            ("inject gives coarse parameters", self.transfer.inject, self.fine, self.coarse),
            ("restrict gives coarse cotangents", lambda v: self.transfer.restrict(v, at), self.fine, self.coarse),
            ("lift gives fine cotangents", self.transfer.lift, at, self.fine),
        )
        for law, function, given, wanted in maps:
            got = jax.tree.map(jnp.shape, function(given))
            expected = jax.tree.map(jnp.shape, wanted)
            if got != expected:
                raise AssertionError(f"{type(self.transfer).__name__}: {law} does not hold; got {got}, not {expected}")

    def transposes(self) -> None:
        at, step, y = (self.draw(self.coarse, number) for number in (1, 2, 3))
        fine_at, v = self.draw(self.fine, 4), self.draw(self.fine, 5)
        up = self.transfer.tangent(at).mv(step)
        derivative = jax.jvp(self.transfer.prolong, (at,), (step,))[1]
        self.same("tangent is the derivative of prolong", up, derivative)
        self.paired("<P u, v> = <u, P' v>", (up, v), (step, self.transfer.restrict(v, at)))
        down = jax.jvp(self.transfer.inject, (fine_at,), (v,))[1]
        self.paired("<inject' y, v> = <y, inject v>", (self.transfer.lift(y), v), (y, down))

    def linearity(self) -> None:
        u, v = self.draw(self.coarse, 6), self.draw(self.coarse, 7)
        zero = self.transfer.prolong(jax.tree.map(jnp.zeros_like, u))
        pu, pv = self.transfer.prolong(u), self.transfer.prolong(v)
        size = float(jnp.linalg.norm(ravel_pytree(pu)[0]))
        self.same("linear: P(0) = 0", zero, jax.tree.map(jnp.zeros_like, zero), size)
        mixed = self.transfer.prolong(jax.tree.map(lambda a, b: 2.0 * a - 3.0 * b, u, v))
        self.same("linear: P(2u - 3v) = 2Pu - 3Pv", mixed, jax.tree.map(lambda a, b: 2.0 * a - 3.0 * b, pu, pv))

    def identity(self) -> None:
        p, s, y = (self.draw(self.coarse, number) for number in (8, 9, 10))
        self.same("inject after prolong is the identity", self.transfer.inject(self.transfer.prolong(p)), p)
        up = self.transfer.tangent(p).mv(s)
        self.paired("<P s, inject' y> = <s, y>", (up, self.transfer.lift(y)), (s, y))

    def function(self, coarse: PyTree, fine: PyTree, points: Float[Array, "points dim"]) -> None:
        prolonged = eqx.combine(self.transfer.prolong(self.coarse), partition(fine)[1])
        # one size for all points: a value near a zero of the function has no relative accuracy of its own
        before, after = ravel_pytree(_values(coarse, points))[0], ravel_pytree(_values(prolonged, points))[0]
        difference = np.max(np.abs(np.asarray(after - before)), initial=0.0)
        self.demand(
            "the fine field equals the coarse field", difference, np.max(np.abs(np.asarray(before)), initial=0.0)
        )

    def elements(self, coarse: PyTree, fine: PyTree, points: Float[Array, "points dim"]) -> None:
        flat, fine_flat = ravel_pytree(self.coarse)[0], ravel_pytree(self.transfer.prolong(self.coarse))[0]
        for x in points[:8]:
            child = fine.locate(x)
            matrix = self.transfer.element(child)
            if matrix is None:
                return
            indices, parent_indices = fine.at(child)[0], coarse.at(coarse.locate(x))[0]
            self.same("element carries the parameters of a cell", matrix @ flat[parent_indices], fine_flat[indices])


@eqx.filter_jit
def _values(field: PyTree, points: Float[Array, "points dim"]) -> PyTree:
    return jax.vmap(field)(points)
