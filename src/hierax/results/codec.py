"""Objects as data: a description for JSON and arrays beside it, and no pickle, which could run code when it is read.

A description names classes of this library, of Equinox and of Optax, and of those only that hold data; what is built
again is filled with its parts and not initialised. So a file cannot reach for anything else, and nothing in it runs.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from hierax._errors import InputError
from hierax.fields.axis import SplineAxis
from hierax.geometry.level_set import kept
from hierax.geometry.regions import Regions
from hierax.problems.domain import Box
from hierax.problems.kept import described
from hierax.problems.problem import Problem

ROOMS = (
    "hierax._results",
    "hierax.events",
    "hierax.fields",
    "hierax.geometry",
    "hierax.problems",
    "hierax.hierarchy",
    "hierax.materials",
    "hierax.models.doubt",
    "hierax.models.inputs",
    "hierax.models.kernel_map",
    "hierax.models.network",
    "hierax.models.operators",
    "hierax.models.regression",
    "hierax.models.surrogate",
    "hierax.models.telescoped",
    "hierax.results.intervals",
    "hierax.results.solution",
    "hierax.solvers.kernels",
    "hierax.solvers.value_scale",
    "hierax.training.state",
)
"""Packages and modules whose classes of data may be named."""
REMEDY = "Take the file from a copy, or train again; such a file must not be edited."

# Functions that a field may hold, by the name they are written under.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    f"jax.numpy.{name}": getattr(jnp, name) for name in ("tanh", "sin", "cos", "exp", "arctan")
} | {
    f"jax.nn.{name}": getattr(jax.nn, name)
    for name in ("relu", "gelu", "silu", "softplus", "sigmoid", "elu", "selu", "soft_sign", "identity")
}
# what a perceptron of Equinox ends with unless told otherwise
FUNCTIONS["equinox.nn.identity"] = inspect.signature(eqx.nn.MLP.__init__).parameters["final_activation"].default
OWN = "own:"
"""Before the names of classes that are the user's."""
_PLAIN = (bool, int, str, type(None))


@dataclass(frozen=True)
class Leaf:
    """Stands for any array in the structure of a tree."""


def _problem(problem: Problem) -> dict[str, Any]:
    bare = described(problem)
    unknowns = dict(bare.unknowns) if bare.named else None
    return {"domain": bare.domain, "terms": bare.terms, "unknowns": unknowns, "constraint": bare.constraint,
            "interfaces": bare.interfaces, "outputs": bare.outputs, "name": bare.name}  # fmt: skip


def _axis(axis: SplineAxis) -> dict[str, Any] | None:
    if np.ndim(axis.knots) != 1:
        return None  # the axes of many subdomains, stacked, or the structure of an axis alone
    # the tables of polynomial pieces follow from the knots, bit by bit
    return {"breakpoints": axis.breakpoints(), "degree": axis.degree, "ends": axis.ends}


MADE: dict[type, Callable[[Any], dict[str, Any] | None]] = {
    Box: lambda box: {
        "lower": box.lower,
        "upper": box.upper,
        "names": box.names,
        "periodic": box.periodic,
        "units": box.units,
    },
    Problem: _problem,
    Regions: lambda regions: {"domain": kept(regions.domain), "shapes": tuple(map(kept, regions.shapes))},
    SplineAxis: _axis,
}
"""Classes whose objects are made again by their constructors, which check, with these arguments."""


@final
@dataclass(frozen=True, eq=False)
class Codec:
    """Between objects and their descriptions.

    Parameters
    ----------
    classes, extra:
        Those that a description may name besides the ones of fields, problems, levels and results: the user's own, and
        those of further packages.
    """

    classes: tuple[type, ...] = ()
    extra: tuple[str, ...] = ()

    def describe(self, node: Any, arrays: Arrays) -> Any:
        """What JSON needs to build an object again; its arrays are put into `arrays` and named in the description.

        Raises
        ------
        InputError
            For something that cannot be kept, such as a function of one's own.
        """
        if type(node) in _PLAIN:
            return node
        if type(node) is float:
            return node if np.isfinite(node) else {"kind": "float", "value": repr(node)}
        if isinstance(node, jax.Array | np.ndarray | np.generic):
            return arrays.describe(node)
        if type(node) in (tuple, list, set, frozenset):
            return {"kind": type(node).__name__, "items": [self.describe(item, arrays) for item in node]}
        if type(node) is dict:
            pairs = [[self.describe(key, arrays), self.describe(item, arrays)] for key, item in node.items()]
            return {"kind": "dict", "items": pairs}
        if isinstance(node, jax.tree_util.PyTreeDef):
            tree = jax.tree.unflatten(node, [Leaf()] * node.num_leaves)
            return {"kind": "structure", "tree": self.describe(tree, arrays)}
        return self._object(node, arrays)

    def _object(self, node: Any, arrays: Arrays) -> Any:
        name = next((key for key, function in FUNCTIONS.items() if function is node), None)
        if name is not None:
            return {"kind": "function", "name": name}
        kind = next((base for base in (Problem,) if isinstance(node, base)), type(node))
        own = self._name(kind)
        if own is None:
            raise InputError(
                f"A {kind.__name__} ({node!r:.80}) cannot be kept in a file.",
                "saving",
                "Use the kinds of hierax.fields and the activations of jax.nn, no functions of your own.",
            )
        if own.startswith(OWN):
            arrays.classes.add(kind)
        if isinstance(node, enum.Enum):
            return {"kind": "member", "class": own, "name": node.name}
        made = MADE[kind](node) if kind in MADE else None
        members = made or {name: getattr(node, name) for name in _members(kind) if hasattr(node, name)}
        parts = {key: self.describe(item, arrays) for key, item in members.items()}
        return {"kind": "made" if made else "object", "class": own, "members": parts}

    def _name(self, kind: type) -> str | None:
        """The name of a class that holds data in descriptions; of a module of the user's own with a word before it."""
        if not _holds_data(kind):
            return None
        own = f"{OWN}{kind.__name__}" if issubclass(kind, eqx.Module) else None
        return _names(self.extra).get(kind, own)

    def rebuild(self, description: Any, arrays: Mapping[str, Any]) -> Any:
        """The inverse of `describe`.

        Raises
        ------
        InputError
            For a description that no version of this library wrote, or one of a later version.
        """
        try:
            return self._rebuilt(description, arrays)
        except InputError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError, IndexError) as error:
            raise InputError(
                f"The description cannot be read ({type(error).__name__}: {str(error)[:200]}).", "loading", REMEDY
            ) from error

    def _rebuilt(self, node: Any, arrays: Mapping[str, Any]) -> Any:
        if not isinstance(node, dict):
            if type(node) not in (*_PLAIN, float):
                raise TypeError(f"a {type(node).__name__} where a description is expected")
            return node
        return _KINDS[node["kind"]](self, node, arrays)

    def _items(self, node: Any, arrays: Mapping[str, Any]) -> Any:
        maker = {"tuple": tuple, "list": list, "set": set, "frozenset": frozenset}[node["kind"]]
        return maker(self._rebuilt(item, arrays) for item in node["items"])

    def _dict(self, node: Any, arrays: Mapping[str, Any]) -> Any:
        return {self._rebuilt(key, arrays): self._rebuilt(item, arrays) for key, item in node["items"]}

    def _array(self, node: Any, arrays: Mapping[str, Any]) -> Any:
        array = arrays[node["name"]]
        if node["of"] == "key":
            return jax.random.wrap_key_data(jnp.asarray(array))
        if node["of"] != "jax":
            return array[()] if node["of"] == "number" else array
        # in 32-bit mode digits would be lost in silence; what evaluates a solution switches 64 bits on by itself
        with jax.enable_x64(array.dtype.itemsize == 8 or jnp.zeros(()).dtype == np.float64):
            return jnp.asarray(array)

    def _float(self, node: Any, arrays: Mapping[str, Any]) -> float:
        del arrays
        return float(node["value"])

    def _function(self, node: Any, arrays: Mapping[str, Any]) -> Any:
        del arrays
        return FUNCTIONS[node["name"]]

    def _structure(self, node: Any, arrays: Mapping[str, Any]) -> Any:
        return jax.tree.structure(self._rebuilt(node["tree"], arrays))

    def _member(self, node: Any, arrays: Mapping[str, Any]) -> Any:
        del arrays
        kind = self._class(node["class"])
        if not issubclass(kind, enum.Enum):
            raise TypeError(f"{node['class']} is no enumeration")
        return kind[node["name"]]

    def _made(self, node: Any, arrays: Mapping[str, Any]) -> Any:
        kind = self._class(node["class"])
        if kind not in MADE:
            raise KeyError(f"{node['class']} is not made by its constructor")
        return kind(**{key: self._rebuilt(item, arrays) for key, item in node["members"].items()})

    def _filled(self, node: Any, arrays: Mapping[str, Any]) -> Any:
        kind = self._class(node["class"])
        if issubclass(kind, enum.Enum):
            raise TypeError(f"{node['class']} is an enumeration")
        members = {key: self._rebuilt(item, arrays) for key, item in node["members"].items()}
        stray = sorted(members.keys() - set(_members(kind)))
        # a member that came later has the default that says what was so before
        members = _defaults(kind) | members
        missing = sorted(set(_members(kind)) - members.keys())
        if stray or missing:
            raise KeyError(f"{node['class']} has no {stray}" if stray else f"{node['class']} lacks {missing}")
        if issubclass(kind, tuple):
            return kind(**members)
        # As JAX does when it unflattens a tree: the parts are given, so there is nothing to initialise.
        made = object.__new__(kind)
        for key, item in members.items():
            object.__setattr__(made, key, item)
        return made

    def _class(self, name: str) -> type:
        found = self._known.get(name)
        if found is None:
            raise InputError(
                f"The file holds an object of the class {name.removeprefix(OWN)!r}, which is not of this library.",
                "loading",
                "Give your own classes by hierax.load(path, classes=(...,)); otherwise use the version that wrote it.",
            )
        return found

    @functools.cached_property
    def _known(self) -> dict[str, type]:
        return _library(self.extra) | {f"{OWN}{kind.__name__}": kind for kind in self.classes}


_KINDS: dict[str, Callable[[Codec, Any, Mapping[str, Any]], Any]] = {
    "tuple": Codec._items,
    "list": Codec._items,
    "set": Codec._items,
    "frozenset": Codec._items,
    "dict": Codec._dict,
    "array": Codec._array,
    "float": Codec._float,
    "function": Codec._function,
    "structure": Codec._structure,
    "member": Codec._member,
    "made": Codec._made,
    "object": Codec._filled,
}


@final
@dataclass(frozen=True, eq=False)
class Arrays:
    """The arrays of a description, by name, one that occurs twice once; and the user's own classes in it."""

    named: dict[str, np.ndarray] = field(default_factory=dict)
    seen: dict[int, tuple[Any, dict[str, Any]]] = field(default_factory=dict)
    classes: set[type] = field(default_factory=set)

    def describe(self, node: Any) -> dict[str, Any]:
        """Keep an array and return its name, and of which library it is."""
        if id(node) not in self.seen:
            name, of = f"a{len(self.named)}", "jax" if isinstance(node, jax.Array) else "numpy"
            if of == "jax" and jnp.issubdtype(node.dtype, jax.dtypes.prng_key):
                self.named[name], of = np.asarray(jax.random.key_data(node)), "key"
            else:
                self.named[name] = np.asarray(node)
                of = "number" if isinstance(node, np.generic) else of
            # the object itself is held, so that its number is not given to another one
            self.seen[id(node)] = node, {"kind": "array", "name": name, "of": of}
        return self.seen[id(node)][1]


def _members(kind: type) -> tuple[str, ...]:
    if issubclass(kind, tuple):
        return kind._fields  # pyright: ignore
    return tuple(f.name for f in dataclasses.fields(kind))  # pyright: ignore


def _defaults(kind: type) -> dict[str, Any]:
    if issubclass(kind, tuple):
        return dict(kind._field_defaults)  # pyright: ignore
    return {f.name: f.default for f in dataclasses.fields(kind) if f.default is not dataclasses.MISSING}  # pyright: ignore


def _holds_data(kind: Any) -> bool:
    if not isinstance(kind, type):
        return False
    named = issubclass(kind, tuple) and hasattr(kind, "_fields")
    return named or dataclasses.is_dataclass(kind) or issubclass(kind, enum.Enum) or kind in MADE


@functools.cache
def _library(extra: tuple[str, ...]) -> dict[str, type]:
    """All classes that hold data: of the rooms by their names, of Equinox and Optax with the package before it.

    Where two classes of the rooms have one name, each has that of its module before it.
    """
    found: dict[str, type] = {Leaf.__name__: Leaf}
    for library in (eqx.nn, optax):
        found |= {f"{library.__name__}.{name}": kind for name, kind in vars(library).items() if _holds_data(kind)}
    modules = itertools.chain.from_iterable(map(_modules, (*ROOMS, *extra)))
    # a module may be of the rooms and of a further package as well
    own = list(dict.fromkeys(kind for module in modules for kind in vars(module).values()
                             if _holds_data(kind) and kind.__module__ == module.__name__))  # fmt: skip
    count = collections.Counter(kind.__name__ for kind in own)
    return found | {k.__name__ if count[k.__name__] == 1 else f"{k.__module__}.{k.__name__}": k for k in own}


@functools.cache
def _names(extra: tuple[str, ...]) -> dict[type, str]:
    return {kind: name for name, kind in _library(extra).items()}


def _modules(package: str) -> Iterable[Any]:
    """A package with all modules in it."""
    top = importlib.import_module(package)
    yield top
    for entry in pkgutil.walk_packages(getattr(top, "__path__", ()), f"{package}."):
        yield importlib.import_module(entry.name)
