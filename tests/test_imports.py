"""Imports point one way (problems, fields -> hierarchy -> objective -> ...), and only the command line prints.

The arrows are read from the source text, so that one inside a function or under `TYPE_CHECKING` counts as well.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hierax

SOURCE = Path(next(iter(hierax.__path__)))
FILES = sorted(SOURCE.rglob("*.py"))

# Every room may use this, and it uses nothing.
FOUNDATION = frozenset({"_errors", "_notebook"})
# The package's own front page only collects names; inside the library it would hide where a name comes from.
FRONT = "hierax"

MET = frozenset({"geometry", "problems", "fields", "hierarchy", "objective"})
"""What a problem meets with: the rooms that say what is learned, by what, on which levels, and how well."""
TRAINED = MET | {"_results", "events", "solvers", "cycles"}

ARROWS: dict[str, frozenset[str]] = {
    "_errors": frozenset(),
    "_notebook": frozenset(),
    "_results": frozenset(),
    "clock": frozenset(),
    "devices": frozenset({"clock"}),
    "events": frozenset({"_results", "devices"}),
    "geometry": frozenset(),
    "problems": frozenset({"geometry"}),
    "fields": frozenset({"geometry"}),
    "hierarchy": frozenset({"fields"}),
    "objective": frozenset({"devices", "geometry", "problems", "fields", "hierarchy"}),
    "dynamics": MET,
    "solvers": MET | {"_results", "devices"},
    "cycles": frozenset({"objective"}),
    "planning": MET | {"solvers", "cycles"},
    "checks": MET | {"_results", "events"},
    "results": MET | {"_results", "clock", "events", "checks"},
    "training": TRAINED | {"clock", "devices", "dynamics", "planning", "checks", "results"},
    "materials": frozenset({"clock", "devices"}),
    "models": MET | {"_results", "clock", "devices", "events", "planning", "results", "training"},
    "statistics": frozenset({"clock", "models", "results"}),
    "records": MET
    | {"_results", "clock", "devices", "events", "dynamics", "planning", "results", "training"}
    | {"materials", "models", "statistics"},
    "testing": MET | {"_results", "solvers", "results", "training"},
    "sklearn": frozenset({"_results", "problems", "results", "training"}),
    "cli": frozenset({"_results", "problems", "solvers", "cycles", "planning", "training", "results", "records"})
    | {FRONT, "devices", "materials", "models", "statistics"},
    FRONT: TRAINED
    | {"devices", "planning", "training", "results", "materials", "models", "statistics", "records", "sklearn"},
    "__main__": frozenset({"cli"}),
}
"""What each room may import: nothing that is not named here."""

LOOSE = frozenset({"__init__", "__main__", "_errors", "_notebook", "_results", "clock", "devices", "events", "cli"})
"""Modules that lie at the top of the package: front page, foundations and the command line."""


def room_of(file: Path) -> str:
    """Room of a file given relative to the package: its folder there, or its own name."""
    room = file.parts[0].removesuffix(".py")
    return FRONT if room == "__init__" else room


def package_of(file: Path) -> list[str]:
    """Dotted name, in parts, of the package that a file (relative to the package) belongs to."""
    return [FRONT, *file.parts[:-1]]


def imported_modules(tree: ast.AST, package: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Line and full dotted name, in parts, of everything that is imported, by statement or by name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            for alias in node.names:
                yield node.lineno, [*base, alias.name]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in {"import_module", "__import__"} and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value.split(".")


def forbidden_arrows(source: str, file: Path) -> list[str]:
    """Sentences about the imports of a file, given relative to the package, that its room may not have."""
    room = room_of(file)
    if room not in ARROWS:
        return [f"{file}: room '{room}' has no row in the table of arrows; state there what it may import"]
    complaints = []
    for line, parts in imported_modules(ast.parse(source), package_of(file)):
        if parts[0] != FRONT:
            continue
        target = parts[1] if len(parts) > 1 and parts[1] in ARROWS else FRONT
        if target == room or target in ARROWS[room] | (FOUNDATION if room not in FOUNDATION else frozenset()):
            continue
        complaints.append(f"{file}:{line}: '{room}' may not import '{target}' ({'.'.join(parts)})")
    return complaints


def printing_lines(source: str) -> list[int]:
    """Lines that name the built-in `print`, called or passed on, or `jax.debug.print`."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if (isinstance(node, ast.Name) and node.id == "print")
        or (isinstance(node, ast.Attribute) and node.attr == "print" and ast.unparse(node.value).endswith("debug"))
    ]


def relative(file: Path) -> Path:
    return file.relative_to(SOURCE)


@pytest.mark.parametrize("file", FILES, ids=lambda file: relative(file).as_posix())
def test_imports_follow_the_arrows(file):
    complaints = forbidden_arrows(file.read_text(encoding="utf-8"), relative(file))
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("file", FILES, ids=lambda file: relative(file).as_posix())
def test_only_the_command_line_prints(file):
    if room_of(relative(file)) == "cli":
        return
    lines = printing_lines(file.read_text(encoding="utf-8"))
    assert not lines, f"{relative(file)} prints in lines {lines}; emit an event or return a text instead"


def test_problems_import_no_other_room_but_geometry():
    others = ARROWS.keys() - FOUNDATION - {"problems", "geometry"}
    for file in (f for f in FILES if room_of(relative(f)) == "problems"):
        for line, parts in imported_modules(ast.parse(file.read_text(encoding="utf-8")), package_of(relative(file))):
            if parts[0] == FRONT:
                target = parts[1] if len(parts) > 1 and parts[1] in ARROWS else FRONT
                assert target not in others, f"{relative(file)}:{line}: a problem imports {'.'.join(parts)}"


def test_there_is_something_to_check():
    assert {room_of(relative(file)) for file in FILES} == ARROWS.keys()


def test_only_foundations_lie_outside_the_rooms():
    assert {file.stem for file in FILES if file.parent == SOURCE} <= LOOSE


def test_the_arrows_have_no_loop():
    # `__init__` aside: Kahn's order over the rooms that do the work.
    below = {room: set(targets) - {room, FRONT} for room, targets in ARROWS.items() if room != FRONT}
    while below:
        free = [room for room, targets in below.items() if not targets & below.keys()]
        assert free, f"loop among {sorted(below)}"
        for room in free:
            del below[room]


@pytest.mark.parametrize(
    ("file", "source", "target"),
    [
        ("problems/heat.py", "from hierax.fields import KAN", "fields"),
        ("problems/heat.py", "import hierax as hx", "hierax"),
        ("problems/heat.py", "from .. import solvers", "solvers"),
        ("fields/kan.py", "from ..problems.domain import Box", "problems"),
        ("fields/kan.py", "def f():\n    import hierax.hierarchy.level", "hierarchy"),
        ("objective/local.py", "from ..solvers import GaussNewton", "solvers"),
        ("solvers/gauss_newton.py", "from hierax.cycles import VCycle", "cycles"),
        ("solvers/linear/multigrid.py", "from ...planning import choose", "planning"),
        ("cycles/nested.py", "import importlib\nimportlib.import_module('hierax.training.train')", "training"),
        ("results/solution.py", "from hierax.records.figures import draw", "records"),
        ("training/train.py", "from hierax import records", "records"),
        ("training/train.py", "from hierax import KAN", "hierax"),
        ("planning/choose.py", "from ..training.train import train", "training"),
        ("checks/guards.py", "from ..results.solution import Solution", "results"),
        ("dynamics/spectrum.py", "from hierax.solvers import GaussNewton", "solvers"),
        ("_errors.py", "from ._results import RESULTS", "_results"),
    ],
)
def test_a_forbidden_arrow_is_found(file, source, target):
    complaints = forbidden_arrows(source, Path(file))
    assert len(complaints) == 1
    assert f"may not import '{target}'" in complaints[0]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("problems/heat.py", "from .domain import Box\nfrom hierax._errors import InputError\nimport jax"),
        ("hierarchy/level.py", "from ..fields.base import AbstractField\nfrom .transfer import Transfer"),
        ("objective/local.py", "from ..problems import Problem\nfrom . import dense"),
        ("records/figures.py", "from hierax.results.solution import Solution"),
        ("training/train.py", "from ..planning.choose import plan\nfrom ..cycles.nested import NestedIteration"),
        ("__init__.py", "from .training.train import train as train"),
    ],
)
def test_a_permitted_arrow_passes(file, source):
    assert forbidden_arrows(source, Path(file)) == []


def test_an_unknown_room_is_asked_for_its_arrows():
    assert "no row" in forbidden_arrows("import jax", Path("attic/old.py"))[0]


@pytest.mark.parametrize("source", ["print('x')", "list(map(print, [1]))", "import jax\njax.debug.print('{}', 1)"])
def test_printing_is_found(source):
    assert printing_lines(source)


def test_a_method_called_print_is_not_printing():
    assert not printing_lines("'''Does not print.'''\nconsole.print('x')  # print")
