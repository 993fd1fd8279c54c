"""Refinement of partitions of unity subdomain by subdomain: split it, raise its order, or add a band of frequencies."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree
from numpy.polynomial import legendre
from scipy.spatial import KDTree

from hierax.fields.base import parameter_count, partition
from hierax.fields.cover import Cover
from hierax.fields.expansion import AbstractBasis, Expansion, Legendre, Shell, Waves
from hierax.fields.finders import table_finder
from hierax.fields.partition_of_unity import PartitionOfUnity
from hierax.fields.sums import Sum
from hierax.hierarchy.level import Level
from hierax.hierarchy.refinement import AbstractRefinement
from hierax.hierarchy.subdomains import Enlarged, halved, worst
from hierax.hierarchy.transfer import AbstractTransfer

NODES = {1: 32, 2: 16}
"""Gauss points an axis at which a subdomain is looked at, by dimension; `FEW` in all others."""
FEW = 10


class LocalResiduals(NamedTuple):
    """What training has left, for `AdaptSubdomains`.

    Attributes
    ----------
    values:
        From points ``(n, dim)`` to the residuals of the field there, ``(n, r)`` (NumPy).
    lower, upper:
        Corners of a box around the domain, ``(dim,)``.
    order:
        Of the highest derivative: a residual `r` on a subdomain of half width `h` is worth an error of `h^order r`.
    """

    values: Callable[[np.ndarray], np.ndarray]
    lower: np.ndarray
    upper: np.ndarray
    order: int = 2


class Verdict(NamedTuple):
    """What is to be done with one subdomain, and what was seen there.

    Attributes
    ----------
    action:
        `"split"`, `"order"` or `"band"`.
    decay:
        Factor `e^-decay` from one Legendre coefficient of the field to the next.
    peak:
        Degrees along the axes of the largest Legendre coefficient of the residual.
    """

    action: str
    decay: float
    peak: tuple[int, ...]


class Piece(NamedTuple):
    """The parts of a sum that share a cover: their numbers, that of the lowest orders first, and the cover."""

    numbers: list[int]
    cover: Cover


class AdaptSubdomains(AbstractRefinement):
    r"""Refine the subdomains that carry the residual, each in the way that its local spectra ask for.

    On every marked subdomain the field and the residual are expanded in Legendre polynomials,
    :math:`a_k` and :math:`r_k` the sizes of their coefficients of degree :math:`k`.

    - Most of the residual lies in degrees well above the local order, and the error that its largest part
      stands for, :math:`(h / k)^m r_k` with the order :math:`m` of the equation, is larger than the last coefficients
      of the field: a band of waves of that frequency is added. (What a smooth function leaves has high degrees as well,
      those of the windows, but is smaller than all that is there.)
    - The coefficients fall fast, :math:`a_k \sim e^{-\sigma k}` with :math:`\sigma` at least `smooth`: the function
      is smooth at this scale, and the local order is raised by `step`.
    - Otherwise the subdomain is split: patches half as wide are laid upon it.

    Everything new starts at zero, so the function stays. Subdomains of unlike order do not fit a layout in which all
    have equally many parameters. So no array grows along the axis of functions: a field is a `Sum` of parts that share
    a cover, the first with the lowest orders on all of its subdomains, the others with the next orders, or with waves,
    on those that need them (`owners` of `PartitionOfUnity`); the windows are the same, and a subdomain with parts of
    orders 0 to 3 and 4 to 5 is one of order 5. Parts that exist are made longer, which changes no shape that is
    compiled: only what is there for the first time (a further order, first waves, first patches of a size) is compiled.

    Parameters
    ----------
    share : float
        Of the sum of squared indicators that the marked subdomains carry (Doerfler's marking).
    smooth : float
        Least decay for which the order is raised.
    step : int
        By how much.
    highest : int
        Orders are not raised beyond it; such subdomains are split.

    References
    ----------
    Mavriplis, Comput. Methods Appl. Mech. Eng. 116 (1994) 77-86 (decay of Legendre coefficients chooses between h and
    p); Doerfler, SIAM J. Numer. Anal. 33 (1996) 1106-1124.
    """

    share: float = 0.7
    smooth: float = 1.0
    step: int = 2
    highest: int = 12

    def refine(self, level: Level, *, key: Array | None = None, evidence: Any = None) -> tuple[Level, AbstractTransfer]:
        """See `AbstractRefinement.refine`.

        Parameters
        ----------
        level : Level
            Its field is a partition of unity with `Polynomials`, or what this rule has made of such.
        key : key, optional
            Not used.
        evidence : LocalResiduals

        Raises
        ------
        ValueError
            For another field, or without evidence.
        """
        del key
        if not isinstance(evidence, LocalResiduals):
            raise ValueError("AdaptSubdomains: there is no residual to look at; pass evidence=LocalResiduals(...)")
        parts = _parts(level.field)
        pieces = pieces_of(parts)
        verdicts = self.verdicts(parts, pieces, evidence)
        fine = list(parts)
        for number, piece in enumerate(pieces):
            for action in ("order", "band"):
                chosen = {j: v for (p, j), v in verdicts.items() if p == number and v.action == action}
                if chosen:
                    self._enrich(fine, piece, chosen)
        for number, piece in enumerate(pieces):
            chosen = [j for (p, j), v in verdicts.items() if p == number and v.action == "split"]
            if chosen:
                _split(fine, pieces[number + 1 : number + 2], piece, np.array(chosen))
        field = Sum(fine)
        old = len(jax.tree.leaves(partition(level.field)[0]))
        kept = np.arange(len(jax.tree.leaves(partition(field)[0]))) < old
        points = level.points and round(level.points * parameter_count(field) / level.parameters)
        return Level(field, points), Enlarged(level.field, field, kept)

    def verdicts(
        self, parts: tuple[PartitionOfUnity, ...], pieces: list[Piece], evidence: LocalResiduals
    ) -> dict[tuple[int, int], Verdict]:
        """For every marked subdomain, by number of its piece and its own, what is to be done."""
        names, indicators, seen = [], [], []
        for number, piece in enumerate(pieces):
            beside = pieces[number + 1].cover if number + 1 < len(pieces) else None
            looked = _looked(piece.cover, _unsplit(piece.cover, beside), evidence)
            for j, half, points in looked:
                residual = evidence.values(points).reshape(len(points), -1)
                names.append((number, j))
                seen.append((points, residual))
                indicators.append(
                    np.sqrt(np.mean(np.sum(residual**2, axis=1)) * np.prod(half)) * half.max() ** evidence.order
                )
        marked = worst(np.array(indicators), self.share)
        whole = Sum(parts)
        values = np.asarray(_values(whole, jnp.asarray(np.stack([seen[k][0] for k in marked]))))
        out = {}
        for row, k in enumerate(marked):
            number, j = names[k]
            order = max(_order(parts[n], j) for n in pieces[number].numbers)
            dim, half = pieces[number].cover.dim, float(np.ptp(seen[k][0], axis=0).max()) / 2
            worth = (half / np.maximum(np.arange(_nodes(dim)), 1)) ** evidence.order
            out[names[k]] = self.judged(values[row], seen[k][1], order, dim, worth)
        return out

    def judged(self, values: np.ndarray, residual: np.ndarray, order: int, dim: int, worth: np.ndarray) -> Verdict:
        """What is to be done where field ``(nodes, ...)`` and residual ``(nodes, r)`` have these values.

        `worth` are the errors that residuals of all degrees stand for.
        """
        field, left = (spectrum(part, dim) for part in (values, residual))
        sizes, rest = degrees(field), degrees(left)
        # odd and even functions leave out every second degree
        tail = np.maximum.accumulate(sizes[::-1])[::-1][: order + 2]
        known = tail > 1e-13 * tail[0]
        fit = np.polyfit(np.arange(len(tail))[known], np.log(tail[known]), 1) if known.sum() > 1 else [-np.inf]
        at = int(np.argmax(rest))
        peak = tuple(int(k) for k in np.unravel_index(np.argmax(left), left.shape))
        beyond = np.sum(rest[order + self.step + 1 :] ** 2) / max(np.sum(rest**2), 1e-300)
        if at > order + self.step and beyond > 0.5 and worth[at] * rest[at] > tail[min(order, len(tail) - 1)]:
            return Verdict("band", -float(fit[0]), peak)
        raised = -fit[0] >= self.smooth and order + self.step <= self.highest
        return Verdict("order" if raised else "split", -float(fit[0]), peak)

    def _enrich(self, fine: list, piece: Piece, chosen: dict[int, Verdict]) -> None:
        """Longer or further parts with higher orders or waves on some subdomains of a piece."""
        base = fine[piece.numbers[0]]
        for basis, owners in self._wanted(fine, piece, base, chosen):
            found = next((n for n in piece.numbers if n < len(fine) and _alike(fine[n].locals.basis, basis)), None)
            shape = (len(owners), *base.locals.coefficients.shape[1:-1], basis_size(basis))
            locals_ = Expansion(basis, jnp.zeros(shape))
            if found is None:
                piece.numbers.append(len(fine))
                fine.append(PartitionOfUnity(piece.cover, locals_, owners))
            else:
                old = fine[found]
                joined = _longer(old.locals, locals_)
                fine[found] = PartitionOfUnity(piece.cover, joined, np.concatenate([old.owners, owners]))

    def _wanted(self, fine: list, piece: Piece, base: PartitionOfUnity, chosen: dict[int, Verdict]):
        """Bases with the subdomains that get them."""
        waves = {j: v for j, v in chosen.items() if v.action == "band"}
        bearing = [set(fine[n].owners) for n in piece.numbers if isinstance(fine[n].locals.basis, Waves)]
        fresh = {j: v for j, v in waves.items() if not any(j in some for some in bearing)}
        if fresh:
            yield Waves(jnp.asarray(np.stack([_frequencies(v.peak) for v in fresh.values()]))), np.array(list(fresh))
        # a second band on the same subdomain would be nearly the first: its order is raised
        rest = [j for j in chosen if j not in fresh]
        degrees_ = base.locals.basis.degrees
        orders = {j: max(_order(fine[n], j) for n in piece.numbers) for j in rest}
        for order in sorted(set(orders.values())):
            more = order - max(degrees_)
            low, high = (tuple(d + k for d in degrees_) for k in (more, more + self.step))
            yield Shell(low, high), np.array([j for j in rest if orders[j] == order])


def pieces_of(parts: tuple[PartitionOfUnity, ...]) -> list[Piece]:
    """Parts by cover, wide subdomains first."""
    out: list[Piece] = []
    for number, part in enumerate(parts):
        same = next((p for p in out if _equal(p.cover, part.cover)), None)
        if same is None:
            out.append(Piece([number], part.cover))
        else:
            same.numbers.append(number)
    return sorted(out, key=lambda piece: -float(jnp.max(piece.cover.half_widths)))


def spectrum(values: np.ndarray, dim: int) -> np.ndarray:
    """Sizes of the Legendre coefficients ``(nodes, ...)`` of values ``(points, ...)`` at Gauss points."""
    count = _nodes(dim)
    nodes, weights = legendre.leggauss(count)
    matrix = (legendre.legvander(nodes, count - 1) * weights[:, None]).T * np.sqrt(np.arange(count) + 0.5)[:, None]
    out = values.reshape(*(count,) * dim, -1)
    for axis in range(dim):
        out = np.moveaxis(np.tensordot(matrix, out, axes=(1, axis)), 0, axis)
    return np.sqrt(np.sum(out**2, axis=-1))


def degrees(sizes: np.ndarray) -> np.ndarray:
    """Size of all coefficients whose largest degree along an axis is `k`, for all `k`."""
    highest = np.max(np.indices(sizes.shape), axis=0)
    return np.sqrt(np.bincount(highest.ravel(), (sizes**2).ravel()))


def basis_size(basis: AbstractBasis) -> int:
    """Functions of a basis, of one subdomain where it has arrays for all."""
    if isinstance(basis, Waves):
        return 2 * basis.frequencies.shape[-2]
    assert isinstance(basis, Legendre | Shell)
    return basis.size


def _parts(field: PyTree) -> tuple[PartitionOfUnity, ...]:
    parts = field.parts if isinstance(field, Sum) else (field,)
    for part in parts:
        good = isinstance(part, PartitionOfUnity) and isinstance(part.locals, Expansion)
        if not good or not isinstance(part.locals.basis, Legendre | Shell | Waves):
            raise ValueError(
                f"AdaptSubdomains: {type(part).__name__} is no partition of unity with polynomials; make one with "
                f"PartitionOfUnity.uniform(..., local=Polynomials(...)), or use AddSubdomainLevel"
            )
    return parts


def _order(part: PartitionOfUnity, j: int) -> int:
    """Local order of a part on a subdomain; -1 without polynomials there."""
    basis = part.locals.basis
    if isinstance(basis, Waves) or (part.place is not None and int(np.asarray(part.place)[j]) < 0):
        return -1
    return max(basis.high if isinstance(basis, Shell) else basis.degrees)


def _equal(one: Cover, other: Cover) -> bool:
    return one.centres.shape == other.centres.shape and bool(
        np.all(np.asarray(one.centres) == np.asarray(other.centres))
        and np.all(np.asarray(one.half_widths) == np.asarray(other.half_widths))
    )


def _alike(one: AbstractBasis, other: AbstractBasis) -> bool:
    """Whether two bases are of one kind, so that their subdomains can share arrays."""
    return isinstance(one, Waves) if isinstance(other, Waves) else one == other


def _unsplit(cover: Cover, finer: Cover | None) -> np.ndarray:
    """Subdomains upon which no patches lie."""
    free = np.ones(cover.subdomains, dtype=bool)
    if finer is not None:
        free[KDTree(np.asarray(cover.centres)).query(np.asarray(finer.centres))[1]] = False
    return np.flatnonzero(free)


def _looked(cover: Cover, chosen: np.ndarray, evidence: LocalResiduals):
    """Number, half widths and Gauss points `(n, dim)` of the part in the domain of every chosen subdomain."""
    nodes = legendre.leggauss(_nodes(cover.dim))[0]
    lattice = np.stack([axis.ravel() for axis in np.meshgrid(*[nodes] * cover.dim, indexing="ij")], axis=1)
    low, high = cover.bounds()
    low, high = np.maximum(low, evidence.lower), np.minimum(high, evidence.upper)
    for j in chosen:
        half = 0.5 * (high[j] - low[j])
        if np.all(half > 0):
            yield int(j), half, 0.5 * (high[j] + low[j]) + half * lattice


def _nodes(dim: int) -> int:
    return NODES.get(dim, FEW)


@eqx.filter_jit
def _values(field: Any, points: Array) -> Array:
    return jax.lax.map(jax.vmap(field), points)


def _frequencies(peak: tuple[int, ...]) -> np.ndarray:
    """Waves `(modes, dim)` around the one whose Legendre coefficients are largest at a degree: cos(k z) at about k."""
    signs = [signs for signs in itertools.product((1, -1), repeat=len(peak)) if signs[0] > 0]
    return np.array([factor * np.array(s) * peak / np.pi for s in signs for factor in (0.85, 1.0, 1.15)])


def _longer(old: Expansion, new: Expansion) -> Expansion:
    """The entries of a second expansion behind those of the first."""
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), old, new)


def _split(fine: list, finer: list[Piece], piece: Piece, chosen: np.ndarray) -> None:
    """Lay patches upon subdomains: further ones of a size that is there, or the first."""
    base, patches = fine[piece.numbers[0]].locals, halved(piece.cover, chosen)
    shape = base.coefficients.shape[1:]
    if not finer:
        fine.append(PartitionOfUnity(patches, Expansion(base.basis, jnp.zeros((patches.subdomains, *shape)))))
        return
    old = finer[0].cover
    cover = _joined_cover(old, patches, piece.cover.members)
    for number in finer[0].numbers:
        part = fine[number]
        if part.place is None:
            more = Expansion(part.locals.basis, jnp.zeros((patches.subdomains, *shape)))
            fine[number] = PartitionOfUnity(cover, _longer(part.locals, more))
        else:
            fine[number] = PartitionOfUnity(cover, part.locals, part.owners)


def _joined_cover(old: Cover, new: Cover, capacity: int) -> Cover:
    """The patches of two covers."""
    centres = np.concatenate([np.asarray(old.centres), np.asarray(new.centres)])
    half = np.concatenate([np.asarray(old.half_widths), np.asarray(new.half_widths)])
    finder = table_finder(centres - half, centres + half, capacity=max(capacity, old.members))
    return Cover(centres, half, window=old.window, finder=finder, unity=False)
