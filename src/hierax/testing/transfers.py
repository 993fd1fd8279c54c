"""The laws of transfers, for the library's own and for users' new ones."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from hierax.fields.base import partition
from hierax.fields.initial import Key, generator_of
from hierax.hierarchy.transfer import FUNCTION_PRESERVING, INJECTIVE, LINEAR, AbstractTransfer

# for each law the norm of what should vanish and the size it is compared with
Sizes = dict[str, tuple[Float[Array, ""], Float[Array, ""]]]


def check_transfer(
    transfer: AbstractTransfer,
    coarse: PyTree,
    fine: PyTree,
    *,
    key: Key,
    points: Float[Array, "points dim"],
    tolerance: float = 1e-12,
) -> None:
    """Verify the laws of a transfer and every tag it declares.

    Always: structures fit, `tangent` is the derivative of `prolong`, `restrict` its transpose, `lift` the transpose of
    `inject`. By tag: linearity including zero at zero; inject after prolong is the identity and pairs keep their
    product; the function is kept at the points.

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
        Naming each broken law and the size of its violation.
    """
    params = partition(coarse)[0], partition(fine)[0]
    generator = generator_of(key)
    _structures(transfer, *params)
    vectors = [_draw(like, generator) for like in (*params[:1] * 3, *params[1:] * 2)]
    always, linear, identity = _algebra(transfer, *vectors)
    found = always
    if LINEAR in transfer.tags:
        found |= linear
    if INJECTIVE in transfer.tags:
        found |= identity
    if FUNCTION_PRESERVING in transfer.tags:
        found |= _function(transfer, coarse, fine, jnp.asarray(points))
    _demand(type(transfer).__name__, found, tolerance)


def _demand(name: str, found: Sizes, tolerance: float) -> None:
    broken = []
    for law, (difference, size) in found.items():
        violation = float(difference) / max(float(size), 1e-300)
        if not violation <= tolerance:
            broken.append(f"{law!r} does not hold: relative violation {violation:.2e}, allowed {tolerance:.0e}")
    if broken:
        raise AssertionError(f"{name}: " + "; ".join(broken))


def _structures(transfer: AbstractTransfer, coarse: PyTree, fine: PyTree) -> None:
    maps = (
        ("prolong gives fine parameters", transfer.prolong, coarse, fine),
        ("inject gives coarse parameters", transfer.inject, fine, coarse),
        ("restrict gives coarse cotangents", lambda v: transfer.restrict(v, coarse), fine, coarse),
        ("lift gives fine cotangents", transfer.lift, coarse, fine),
    )
    for law, function, given, wanted in maps:
        got, expected = (jax.tree.map(jnp.shape, part) for part in (jax.eval_shape(function, given), wanted))
        if got != expected:
            raise AssertionError(f"{type(transfer).__name__}: {law!r} does not hold: got {got}, expected {expected}")


@eqx.filter_jit
def _algebra(
    transfer: AbstractTransfer, u: PyTree, s: PyTree, y: PyTree, fine: PyTree, v: PyTree
) -> tuple[Sizes, Sizes, Sizes]:
    """The laws of parameters alone: those that always hold, of linearity, and of the left inverse."""
    tangent, pu, lifted = transfer.tangent(u).mv(s), transfer.prolong(u), transfer.lift(y)
    down = jax.jvp(transfer.inject, (fine,), (v,))[1]
    always = {
        "tangent is the derivative of prolong": _same(tangent, jax.jvp(transfer.prolong, (u,), (s,))[1]),
        "<P u, v> = <u, P' v>": _paired((tangent, v), (s, transfer.restrict(v, u))),
        "<inject' y, v> = <y, inject v>": _paired((lifted, v), (y, down)),
    }
    zero = transfer.prolong(jax.tree.map(jnp.zeros_like, u))
    mixed = transfer.prolong(_mixed(u, s))
    linear = {
        "linear, P(0) = 0": (_size(zero), _size(pu)),
        "linear, P(2u - 3v) = 2Pu - 3Pv": _same(mixed, _mixed(pu, transfer.prolong(s))),
    }
    identity = {
        "inject after prolong is the identity": _same(transfer.inject(pu), u),
        "<P s, inject' y> = <s, y>": _paired((tangent, lifted), (s, y)),
    }
    return always, linear, identity


@eqx.filter_jit
def _function(transfer: AbstractTransfer, coarse: PyTree, fine: PyTree, points: Float[Array, "points dim"]) -> Sizes:
    prolonged = eqx.combine(transfer.prolong(partition(coarse)[0]), partition(fine)[1])
    before, after = (ravel_pytree(jax.vmap(field)(points))[0] for field in (coarse, prolonged))
    # one size for all points: a value near a zero of the function has no relative accuracy of its own
    return {"the fine field equals the coarse field": (jnp.max(jnp.abs(after - before)), jnp.max(jnp.abs(before)))}


def _draw(like: PyTree, generator: np.random.Generator) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.asarray(generator.normal(size=leaf.shape), leaf.dtype), like)


def _mixed(left: PyTree, right: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: 2.0 * a - 3.0 * b, left, right)


def _size(tree: PyTree) -> Float[Array, ""]:
    return jnp.linalg.norm(ravel_pytree(tree)[0])


def _same(left: PyTree, right: PyTree) -> tuple[Array, Array]:
    a, b = ravel_pytree(left)[0], ravel_pytree(right)[0]
    return jnp.linalg.norm(a - b), jnp.linalg.norm(a) + jnp.linalg.norm(b)


def _paired(left: tuple[PyTree, PyTree], right: tuple[PyTree, PyTree]) -> tuple[Array, Array]:
    (a, b), (c, d) = (tuple(ravel_pytree(part)[0] for part in side) for side in (left, right))
    scale = jnp.linalg.norm(a) * jnp.linalg.norm(b) + jnp.linalg.norm(c) * jnp.linalg.norm(d)
    return jnp.abs(a @ b - c @ d), scale
