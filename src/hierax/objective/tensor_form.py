r"""Quadratic forms of canonical tensors whose matrix and right side are chains along the axes.

For :math:`u = \sum_r \bigotimes_k c^k_r` the form is :math:`\tfrac12 \langle u, K u \rangle - \langle F, u \rangle + e`
with cores `(a, n, n, b)` of `K` and `(a, n, b)` of `F`. Value, gradient and Gauss-Newton matrix in all factors follow
from products along the chain; nothing is of the size of the whole tensor.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
from jaxtyping import Float

Factors = Sequence[Float[np.ndarray, "n rank"]]


class Expansion(NamedTuple):
    """Value, gradient `(N,)` and Gauss-Newton matrix `(N, N)` in all factors, one after the other."""

    value: float
    gradient: np.ndarray
    matrix: np.ndarray


@final
@dataclass(frozen=True, eq=False)
class TensorForm:
    """A quadratic form; see the head of the file.

    Attributes
    ----------
    chain:
        The order in which the axes of tensors stand in the chains.
    matrix, right, constant:
        Cores of `K` and `F`, and `e`. `K` as a whole is symmetric.
    """

    chain: tuple[int, ...]
    matrix: tuple[np.ndarray, ...]
    right: tuple[np.ndarray, ...]
    constant: float

    def value(self, factors: Factors) -> float:
        """The form at a tensor."""
        return self._value(_Chains.of(self, self._along(factors)))

    def gradient(self, factors: Factors) -> np.ndarray:
        """Its derivative in all factors `(N,)`."""
        places = self._places(factors)
        gradient = np.zeros(len(places))
        gradient[places] = _Chains.of(self, self._along(factors)).gradient(self)
        return gradient

    def expansion(self, factors: Factors) -> Expansion:
        """Value, derivative, and the second derivative that tensors near this one would have if factors were linear."""
        chains = _Chains.of(self, self._along(factors))
        places = self._places(factors)
        gradient, matrix = np.zeros(len(places)), np.zeros((len(places), len(places)))
        gradient[places], matrix[np.ix_(places, places)] = chains.gradient(self), chains.curvature(self)
        return Expansion(self._value(chains), gradient, matrix)

    def along(self, product: Sequence[np.ndarray], axis: int | None) -> np.ndarray:
        """`u' K u` of a product of one factor an axis; with an axis given the matrix of that along it."""
        row, left, own = np.ones(1), None, None
        for k, core in zip(self.chain, self.matrix, strict=True):
            if k == axis:
                left, own, row = row, core, np.eye(core.shape[3])
            else:
                row = row @ np.einsum("aijb,i,j->ab", core, product[k], product[k], optimize=True)
        if own is None or left is None:
            return row[0]
        matrix = np.einsum("a,aijb,b->ij", left, own, row[:, 0], optimize=True)
        return 0.5 * (matrix + matrix.T)

    def _value(self, chains: _Chains) -> float:
        return 0.5 * float(chains.left[-1].sum()) - float(chains.plain_left[-1].sum()) + self.constant

    def _along(self, factors: Factors) -> list[np.ndarray]:
        return [factors[k] for k in self.chain]

    def _places(self, factors: Factors) -> np.ndarray:
        """Where the parameters of the factors along the chain stand among all."""
        ends = np.cumsum([0, *(factor.size for factor in factors)])
        return np.concatenate([np.arange(ends[k], ends[k + 1]) for k in self.chain])


class _Chains(NamedTuple):
    """Products of the cores with the factors: of one axis, of all axes before, of all axes after.

    `half[k]` `(s, n, a, b)`: core of the matrix with factor `s` in its second place; `halved` `(r, n, a, b)`: with
    factor `r` in its first. `left[k]` and `right[k]` `(r, s, a)`: everything before and after axis `k`. `plain` are
    those of the right side.
    """

    half: list[np.ndarray]
    halved: list[np.ndarray]
    middle: list[np.ndarray]
    left: list[np.ndarray]
    right: list[np.ndarray]
    plain_left: list[np.ndarray]
    plain_right: list[np.ndarray]

    @classmethod
    def of(cls, form: TensorForm, factors: Factors) -> _Chains:
        pairs = list(zip(form.matrix, factors, strict=True))
        half = [np.ascontiguousarray(np.tensordot(c, k, axes=(0, 2)).transpose(0, 2, 1, 3)) for k, c in pairs]
        halved = [np.ascontiguousarray(np.tensordot(c, k, axes=(0, 1)).transpose(0, 2, 1, 3)) for k, c in pairs]
        middle = [np.tensordot(c, h, axes=(0, 1)) for h, c in zip(half, factors, strict=True)]
        plain = [np.tensordot(c, f, axes=(0, 1)) for f, c in zip(form.right, factors, strict=True)]
        rank = factors[0].shape[1]
        return cls(
            half, halved, middle, *_both_ways(middle, np.ones((rank, rank, 1))), *_both_ways(plain, np.ones((rank, 1)))
        )

    def gradient(self, form: TensorForm) -> np.ndarray:
        out = []
        for k, (half, core) in enumerate(zip(self.half, form.right, strict=True)):
            slopes = np.einsum("rsa,siab,rsb->ir", self.left[k], half, self.right[k + 1], optimize=True)
            sources = np.einsum("ra,aib,rb->ir", self.plain_left[k], core, self.plain_right[k + 1], optimize=True)
            out.append((slopes - sources).ravel())
        return np.concatenate(out)

    def curvature(self, form: TensorForm) -> np.ndarray:
        rank, sizes = len(self.plain_left[0]), [half.shape[1] for half in self.half]
        ends = np.cumsum([0, *(rank * n for n in sizes)])
        matrix = np.zeros((ends[-1], ends[-1]))
        after = [_through(halved[:, None], right[:, :, None, :]) for halved, right in
                 zip(self.halved, self.right[1:], strict=True)]  # fmt: skip
        for k, core in enumerate(form.matrix):
            own = slice(ends[k], ends[k + 1])
            block = np.einsum("rsa,aijb,rsb->irjs", self.left[k], core, self.right[k + 1], optimize=True)
            matrix[own, own] = block.reshape(rank * sizes[k], -1)
            before = np.matmul(self.left[k][:, :, None, None, :], self.half[k])[..., 0, :]
            for m in range(k + 1, len(sizes)):
                block = np.matmul(before, np.swapaxes(after[m], 2, 3)).transpose(2, 0, 3, 1)
                matrix[own, ends[m] : ends[m + 1]] = block.reshape(rank * sizes[k], -1)
                matrix[ends[m] : ends[m + 1], own] = matrix[own, ends[m] : ends[m + 1]].T
                before = np.matmul(before, self.middle[m])
        return 0.5 * (matrix + matrix.T)


def _through(cores: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Cores `(..., n, a, b)` closed by what comes after them `(..., b)`: `(..., n, a)`."""
    return np.matmul(cores, ends[..., None])[..., 0]


def _both_ways(middle: Sequence[np.ndarray], one: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Products of matrices `(..., a, b)` from the left up to each place, and from the right."""
    left, right = [one], [one]
    for matrix in middle:
        left.append(np.matmul(left[-1][..., None, :], matrix)[..., 0, :])
    for matrix in reversed(middle):
        right.append(_through(matrix, right[-1]))
    return left, right[::-1]


def squared(
    chain: tuple[int, ...],
    operator: Sequence[np.ndarray],
    source: Sequence[np.ndarray],
    weights: Sequence[np.ndarray],
) -> TensorForm:
    r"""Half the square integral of :math:`L u - f`.

    Parameters
    ----------
    chain:
        The order of the axes.
    operator, source, weights:
        For each axis of the chain the operator on basis functions at quadrature points `(a, q, n, b)`, the source there
        `(a, q, b)`, and weights `(q,)`.
    """
    matrix, right, square = [], [], []
    for core, own, w in zip(operator, source, weights, strict=True):
        weighted = core * w[:, None, None]
        matrix.append(_merged(np.einsum("aqib,cqjd->acijbd", weighted, core, optimize=True)))
        right.append(_merged(np.einsum("aqib,cqd->acibd", weighted, own, optimize=True)))
        square.append(_merged(np.einsum("aqb,cqd->acbd", own * w[:, None], own, optimize=True)))
    norm = functools.reduce(np.matmul, square)
    return TensorForm(chain, tuple(matrix), tuple(right), 0.5 * float(norm[0, 0]))


def weighed(
    chain: tuple[int, ...],
    operator: Sequence[np.ndarray], source: Sequence[np.ndarray], weights: Sequence[np.ndarray],
    tests: Sequence[np.ndarray], sign: float,
) -> TensorForm:  # fmt: skip
    r"""The form whose minimum has :math:`\int v (L u - f) = 0` for all test functions, where that is symmetric.

    Parameters
    ----------
    chain, operator, source, weights:
        As for `squared`.
    tests:
        Basis functions at the quadrature points `(q, n)`.
    sign:
        Of the operator, so that the form is positive.
    """
    matrix, right = [], []
    for core, own, w, test in zip(operator, source, weights, tests, strict=True):
        matrix.append(np.einsum("qi,aqjb->aijb", test * w[:, None], core, optimize=True))
        right.append(np.einsum("qi,aqb->aib", test * w[:, None], own, optimize=True))
    matrix[0], right[0] = sign * matrix[0], sign * right[0]
    return TensorForm(chain, tuple(matrix), tuple(right), 0.0)


def _merged(core: np.ndarray) -> np.ndarray:
    """Two bonds at either end as one."""
    a, c, *middle, b, d = core.shape
    return core.reshape(a * c, *middle, b * d)
