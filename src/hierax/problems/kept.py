"""What files keep of a problem: domain, unknowns, data and names, and none of its code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NoReturn

from hierax._errors import InputError
from hierax.geometry import AbstractShape, Part
from hierax.geometry.level_set import kept
from hierax.problems.domain import Interface
from hierax.problems.problem import Problem
from hierax.problems.terms import Energy, Residual, Term


@dataclass(frozen=True)
class NotKept:
    """Stands for a function of the user, which files do not keep; it refuses to be called."""

    what: str

    def __call__(self, *arguments: Any) -> NoReturn:
        del arguments
        raise InputError(
            f"The {self.what} is code, which files do not keep.",
            "a solution or run that was read from a file",
            "Give the problem as well: hierax.load(path, problem=...), or --problem FILE.py:OBJECT.",
        )


def described(problem: Problem) -> Problem:
    """The problem without code: equations, energies and constraint refuse to be evaluated, a reference is left out."""
    constraint = None if problem.constraint is None else NotKept("constraint")
    unknowns = {name: replace(unknown, initial=None) if callable(unknown.initial) else unknown
                for name, unknown in problem.unknowns.items()}  # fmt: skip
    return Problem(
        kept(problem.domain) if isinstance(problem.domain, AbstractShape) else problem.domain,
        [_described(term) for term in problem.terms],
        unknowns=unknowns if problem.named else None,
        constraint=constraint,
        interfaces=[_place(place) for place in problem.interfaces],
        outputs={name: NotKept(f"output {name!r}") for name in problem.outputs},
        name=problem.name,
    )


def _described(term: Term) -> Term:
    if isinstance(term, Residual):
        return replace(term, function=NotKept(f"equation {term.name!r}"), on=_place(term.on))
    if isinstance(term, Energy):
        return replace(term, density=NotKept(f"energy {term.name!r}"), on=_place(term.on))
    return term if term.observe is None else replace(term, observe=NotKept(f"observation {term.name!r}"))


def _place(on: Any) -> Any:
    """Without predicates, which are code."""
    if isinstance(on, tuple | list):
        return tuple(_place(place) for place in on)
    if isinstance(on, Interface) and on.shape is not None:
        return replace(on, name=kept(on.shape))
    return Part(on.name) if isinstance(on, Part) else on


def is_kept(term: Term) -> bool:
    """Whether a term can be evaluated: not if it was read from a file."""
    named = {Residual: "function", Energy: "density"}
    function = getattr(term, named.get(type(term), "observe"))
    return not isinstance(function, NotKept)
