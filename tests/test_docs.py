"""The pages of the documentation hang together: every page is reached, names of the reference and files exist."""

import ast
import pkgutil
import re
from pathlib import Path

import pytest

from hierax import cli
from hierax.checks.guards import GUARDS
from hierax.results.report.words import MEANINGS

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "build" not in path.parts)
GUIDE = [page for page in PAGES if page.parent.name == "guide"]


def text(name):
    return (DOCS / name).read_text(encoding="utf-8")


def test_every_page_is_in_the_contents_and_choosing_comes_before_the_reference():
    listed = re.findall(
        r"^(?:guide|api)/\w+$|^how_to_choose$|^gallery$|^command_line$", text("index.md"), flags=re.MULTILINE
    )
    assert sorted(f"{name}.md" for name in listed) == sorted(
        page.relative_to(DOCS).as_posix() for page in PAGES if page.name != "index.md"
    )
    assert listed.index("guide/first_script") == 0
    assert listed.index("how_to_choose") < listed.index("api/train")


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "api"], ids=lambda page: page.stem)
def test_names_of_the_reference_exist_and_are_documented(page):
    for name in re.findall(r"auto(?:class|function):: hierax\.([\w.]+)", page.read_text(encoding="utf-8")):
        assert pkgutil.resolve_name(f"hierax.{name}").__doc__, name


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_code_of_the_guide_is_python(page):
    cells = re.findall(r"```\{code-cell\}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert cells
    for cell in cells:
        lines = [line for line in cell.splitlines() if not line.startswith(":tags:")]
        if lines[0] != "%%bash":
            ast.parse("\n".join(line for line in lines if not line.startswith("%%writefile")))


def test_guards_options_and_commands_are_all_explained():
    names = {guard.name for guard in GUARDS}
    assert set(MEANINGS) >= names
    for name in names:
        assert f"`{name}`" in text("guide/guards.md")
        assert f"`{name}`" in text("how_to_choose.md")
    for name in cli.Options.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in text("command_line.md")
    for command in ("train", "fit", "predict", "report", "list", "doctor"):
        assert f"hierax {command}" in text("command_line.md")


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
