"""`Family`: one problem for every value of its inputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, final

import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.models.inputs import AbstractInput
from hierax.models.varied import AbstractVaried
from hierax.problems.domain import Box
from hierax.problems.problem import Problem


@final
class Family(AbstractVaried):
    """A problem that is to be solved for many values of its inputs.

    Parameters
    ----------
    make:
        `make(**inputs) -> Problem`. It is traced once: inputs enter terms through `jax.numpy`, and the domain, the
        terms that there are, and prescribed values do not depend on them.
    inputs:
        For each keyword that varies `Uniform`, `LogUniform`, `Normal` or `Choice`; `GaussianField` for one that is a
        function of the point.
    name:
        For run folders; the name of the problem by default.

    Raises
    ------
    InputError
        For keywords that `make` does not have, or that it needs and that do not vary.

    Examples
    --------
    >>> family = hx.Family(problem, {"conductivity": hx.LogUniform(0.02, 0.5)})  # doctest: +SKIP
    """

    def __init__(
        self, make: Callable[..., Problem], inputs: Mapping[str, AbstractInput], name: str | None = None
    ) -> None:
        if not callable(make):
            raise InputError(f"make is a {type(make).__name__}.", "Family(make, ...)", "Give a function of the inputs.")
        super().__init__(inputs)
        self.make, self.name = make, name
        self._check_keywords()
        self._place_fields()

    def __repr__(self) -> str:
        return f"Family({', '.join(f'{name}: {value}' for name, value in self.inputs.items())})"

    def _check_keywords(self) -> None:
        parameters = inspect.signature(self.make).parameters
        known = {n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return
        stray = next((name for name in self.inputs if name not in known), None)
        if stray is not None:
            raise InputError(
                f"The function has no keyword {stray!r}.",
                "Family(make, inputs)",
                f"Its keywords are {', '.join(sorted(known)) or 'none'}.",
            )
        needed = [n for n in known if parameters[n].default is inspect.Parameter.empty and n not in self.inputs]
        if needed:
            raise InputError(
                f"The function needs a value for {needed[0]!r}, which does not vary.",
                "Family(make, inputs)",
                "Give it a default, or let it vary.",
            )

    def _place_fields(self) -> None:
        """Random fields without a box live on the domain of the problem."""
        bare = [name for name, one in self.random_fields.items() if one.box is None]
        if not bare:
            return
        flat = dict.fromkeys(self.random_fields, lambda x: jnp.ones(()))
        numbers = {n: one.made(np.array([one.value(0.0)])) for n, one in self.inputs.items() if one.count == 1}
        domain = self.make(**numbers, **flat).domain
        if not isinstance(domain, Box):
            raise InputError("The domain is no box.", "GaussianField(box=...)", "Give a box that contains it.")
        for name in bare:
            self.inputs[name] = replace(self.random_fields[name], box=domain)

    def problem(self, values: Any) -> Problem:
        """The member with these inputs, `(k,)` in the order of `columns`; the numbers may be traced ones of JAX."""
        made = self.make(**self.given(values))
        if not isinstance(made, Problem):
            raise InputError(
                f"The function gives a {type(made).__name__}, not a Problem.", "Family(make, ...)", "Return hx.Problem."
            )
        return made
