"""The default strategy decides from what a problem shows, never from which problem it is.

Its source is read: no name of a catalogue problem may occur in it, no name of a problem may be looked at, and nothing
may be decided by comparing a name with a written-out text.
"""

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

import hierax
from hierax.problems import catalogue

SOURCE = Path(next(iter(hierax.__path__)))

KNOWN = frozenset(
    {"rotated-regression", "poisson-jump", "burgers", "allen-cahn", "elasticity"}
    | {"regression-1d", "regression-2d", "poisson-1d", "poisson-2d"}
)
IDENTITIES = frozenset({"name", "__name__", "__qualname__", "__module__", "__class__", "__doc__"})


def all_names() -> frozenset[str]:
    """Names of the catalogue as it is, and those known here, which a renaming in the catalogue must not free."""
    return KNOWN | frozenset(catalogue())


def strategy_files() -> list[Path]:
    return sorted((SOURCE / "planning").rglob("*.py"))


def texts(tree: ast.AST) -> Iterable[tuple[int, str]]:
    """Every string and every identifier of a source, with its line; documentation is included."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield line, node.value
        elif isinstance(node, ast.Name):
            yield line, node.id
        elif isinstance(node, ast.Attribute):
            yield line, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield line, node.module or ""
        elif isinstance(node, ast.alias | ast.FunctionDef | ast.ClassDef):
            yield line, node.name


def plain(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


def named_problems(tree: ast.AST, names: Iterable[str]) -> list[str]:
    return [
        f"line {line}: '{name}'" for line, text in texts(tree) for name in sorted(names) if plain(name) in plain(text)
    ]


def problem_variables(tree: ast.AST) -> set[str]:
    """Variables that hold a problem: called so, annotated so, or assigned from one that is."""
    found = {"problem"}
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation is not None and "Problem" in ast.unparse(node.annotation):
            found.add(node.arg)
    for _ in range(3):  # aliases of aliases
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and is_problem(node.value, found):
                found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            elif isinstance(node, ast.NamedExpr) and is_problem(node.value, found):
                found.add(node.target.id)
    return found


def is_problem(node: ast.AST, variables: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in variables
    return isinstance(node, ast.Attribute) and node.attr == "problem"


def identity_reads(tree: ast.AST) -> list[str]:
    """Places where a problem is asked who it is."""
    variables = problem_variables(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in IDENTITIES and is_problem(node.value, variables):
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            asks = node.func.id in {"getattr", "repr", "str", "vars", "id", "hash"}
            if asks and is_problem(node.args[0], variables):
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def decisions_by_name(tree: ast.AST) -> list[str]:
    """Comparisons of some `.name` with a text written in the source, and `match` statements on one."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            reads = any(isinstance(part, ast.Attribute) and part.attr in IDENTITIES for part in sides)
            written = any(
                isinstance(part, ast.Constant) and isinstance(part.value, str)
                for side in sides
                for part in ast.walk(side)
            )
            if reads and written:
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
        elif (
            isinstance(node, ast.Match) and isinstance(node.subject, ast.Attribute) and node.subject.attr in IDENTITIES
        ):
            found.append(f"line {node.lineno}: match {ast.unparse(node.subject)}")
    return found


def test_the_strategy_exists():
    assert strategy_files(), "there is no folder src/hierax/planning whose source could be read"


@pytest.mark.parametrize(
    "check",
    [lambda tree: named_problems(tree, all_names()), identity_reads, decisions_by_name],
    ids=["no problem is named", "no problem is asked its name", "nothing is decided by a name"],
)
def test_the_strategy_sees_no_names(check):
    for file in strategy_files():
        found = check(ast.parse(file.read_text(encoding="utf-8")))
        assert not found, f"{file.name}: " + "; ".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "if key == 'burgers': pass",
        "table = {'poisson-jump': 3}",
        "text = f'for allen_cahn and {x}'",
        "from hierax.problems import rotated_regression",
        "levels = problems.elasticity",
        "def poisson_1d_levels(): return 4",
    ],
)
def test_a_named_problem_is_found(source):
    assert named_problems(ast.parse(source), KNOWN)


@pytest.mark.parametrize(
    "source",
    [
        "problem.name",
        "self.problem.name",
        "getattr(problem, 'name')",
        "def plan(p: Problem): return p.name",
        "other = problem\nthird = other\nthird.name",
        "str(problem)",
        "problem.__class__",
    ],
)
def test_a_problem_asked_its_name_is_found(source):
    assert identity_reads(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    ["term.name == 'interior'", "residual.__name__ in ('wall', 'start')", "match term.name:\n    case 'x': pass"],
)
def test_a_decision_by_name_is_found(source):
    assert decisions_by_name(ast.parse(source))


def test_what_a_problem_shows_may_be_read():
    tree = ast.parse(
        "def plan(problem):\n"
        "    lines = [term.name for term in problem.terms]\n"
        "    return 't' in problem.domain.names, len(problem.unknowns), type(field).__name__, lines\n"
    )
    assert not named_problems(tree, KNOWN)
    assert not identity_reads(tree)
    assert not decisions_by_name(tree)
