"""Measurements and cheaper imitations of them: several fidelities of one quantity, each with its cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hierax._errors import InputError
from hierax.problems.domain import Box
from hierax.problems.problem import SINGLE, Problem
from hierax.problems.reference import AnyReference
from hierax.problems.terms import Data
from hierax.problems.unknowns import Function


@dataclass(frozen=True, eq=False)
class Fidelity:
    """What one source of data says: a simulation on some mesh, a simplified model, an experiment.

    Parameters
    ----------
    points:
        Array `(n, dim)`; the points of different fidelities have nothing to do with each other.
    values:
        Array `(n,)`, or a mapping from the names of the unknowns to such arrays.
    cost:
        What one row costs, in any unit; the dearest fidelity is the one that is to be predicted.
    name:
        What tables call it; `cost ...` if not given.
    noise:
        Standard deviation of the values in their own units, where it is known.
    """

    points: np.ndarray
    values: np.ndarray | Mapping[str, np.ndarray]
    cost: float
    name: str = ""
    noise: float | None = None

    def __post_init__(self) -> None:
        name = self.name or f"cost {self.cost:g}"
        object.__setattr__(self, "name", name)
        if not (np.isfinite(self.cost) and self.cost >= 0):
            raise InputError(
                what=f"the cost is {self.cost}",
                where=f"Fidelity({name!r}, cost=...)",
                remedy="give a finite number that is not negative",
            )
        if isinstance(self.values, Mapping) and not self.values:
            raise InputError(what="no values", where=f"Fidelity({name!r})", remedy="give values of an unknown")

    @property
    def named_values(self) -> Mapping[str, np.ndarray]:
        """Values by the name of the unknown."""
        return self.values if isinstance(self.values, Mapping) else {SINGLE: self.values}


class Fidelities(Problem):
    r"""Predict the dearest of several fidelities of one quantity, from data of all of them.

    As a `Problem` it holds the data of the dearest fidelity alone. `hierax.training.train` couples them,

    .. math:: u_k(x) = F_k(x, u_j(x)) + \delta_k(x), \qquad j < k,

    cheapest first, with what leave-one-out errors at the data of fidelity `k` support: a constant factor, one that is
    linear in `x`, a quadratic or a free function `F_k`, or nothing at all of a fidelity that does not help.

    Parameters
    ----------
    domain:
        A `Box` that contains the points of all fidelities.
    fidelities:
        Two or more; their order is that of their costs, and for equal costs the given one.
    reference:
        A known solution of the dearest fidelity.

    Raises
    ------
    InputError
        For fewer than two fidelities, equal names, unknowns that differ, and what `Problem` refuses in any of them.

    References
    ----------
    Kennedy, O'Hagan, Biometrika 87 (2000); Perdikaris et al., Proc. R. Soc. A 473 (2017) for the free function.
    """

    fidelities: tuple[Fidelity, ...]

    def __init__(
        self,
        domain: Box,
        fidelities: Sequence[Fidelity],
        *,
        reference: AnyReference | None = None,
        name: str | None = None,
    ) -> None:
        self.fidelities = tuple(sorted(fidelities, key=lambda f: f.cost))
        _check(self.fidelities)
        dearest = self.fidelities[-1]
        self._single = not isinstance(dearest.values, Mapping)
        super().__init__(
            domain, _data(dearest), unknowns=self._unknowns(), reference=reference, name=name or "fidelities"
        )
        for k in range(len(self.fidelities) - 1):
            self.alone(k)

    def alone(self, level: int) -> Problem:
        """The problem of fitting the data of one fidelity (0 is the cheapest) without the others."""
        own = self.fidelities[level]
        return Problem(self.domain, _data(own), unknowns=self._unknowns(), name=f"{self.name}-{own.name}")

    def _unknowns(self) -> dict[str, Function] | None:
        """One unnamed unknown where nothing else is named, as in every `Problem`."""
        return None if self._single else {name: Function() for name in self.fidelities[-1].named_values}


def _data(fidelity: Fidelity) -> tuple[Data, ...]:
    return tuple(Data(n, fidelity.points, v, fidelity.noise) for n, v in fidelity.named_values.items())


def _check(fidelities: tuple[Fidelity, ...]) -> None:
    names = [f.name for f in fidelities]
    if len(names) < 2:
        raise InputError(
            what=f"{len(names)} fidelities", where="Fidelities(...)", remedy="give two or more, or use Data alone"
        )
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise InputError(
            what=f"two fidelities are called {twice!r}", where="Fidelities(...)", remedy="give each its own name"
        )
    expected = set(fidelities[-1].named_values)
    other = next((f for f in fidelities if set(f.named_values) != expected), None)
    if other is not None:
        raise InputError(
            what=f"fidelity {other.name!r} has values of {', '.join(other.named_values)}, "
            f"{fidelities[-1].name!r} of {', '.join(fidelities[-1].named_values)}",
            where="Fidelities(...)",
            remedy="give values of the same unknowns in each",
        )
