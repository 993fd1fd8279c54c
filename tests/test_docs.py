"""The pages of the documentation hang together: every page is reached, names of the reference and files exist."""

import ast
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import pytest

import hierax
from hierax import cli
from hierax.checks.guards import GUARDS
from hierax.results.report.words import MEANINGS
from studies import overview, pages

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "build" not in path.parts)
MEASURED = sorted(path.stem for path in pages.PAGES.glob("*.json"))
FACTS = {"3.11", "64", "0", "1", "2", "3", "130", "2.0"}
"""Numbers of the README that nobody measured: versions, bits, exit codes, the licence."""
LISTED = {path for path in PAGES if path.parent != pages.PAGES} - {DOCS / "index.md"} | {pages.PAGES / "index.md"}
"""Pages of the contents; those of measurements are in a list of their own."""
GUIDE = [page for page in PAGES if page.parent.name == "guide"]


def text(name):
    return (DOCS / name).read_text(encoding="utf-8")


def test_every_page_is_in_the_contents_and_choosing_comes_before_the_reference():
    listed = re.findall(
        r"^(?:guide|api)/\w+$|^how_to_choose$|^gallery$|^command_line$|^tried$|^promises$|^measurements/index$",
        text("index.md"),
        flags=re.MULTILINE,
    )
    assert {f"{name}.md" for name in listed} == {page.relative_to(DOCS).as_posix() for page in LISTED}
    assert sorted(MEASURED) == sorted(page.stem for page in pages.PAGES.glob("*.md") if page.name != "index.md")
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
    for name in {**cli.Options.__dataclass_fields__, **cli.Placement.__dataclass_fields__}.keys() - {"where"}:
        assert f"--{name.replace('_', '-')}" in text("command_line.md")
    for command in ("train", "fit", "resume", "predict", "report", "list", "doctor"):
        assert f"hierax {command}" in text("command_line.md")


def test_every_promise_is_kept_by_a_test_or_taken_off_with_a_reason():
    said = text("promises.md")
    assert set(re.findall(r"^\| (R\d+) \|", said, flags=re.MULTILINE)) == {f"R{k + 1}" for k in range(30)}
    for file, name in re.findall(r"`(tests/\w+\.py)::(\w+)`", said):
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), name


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("name", MEASURED)
def test_pages_of_measurements_are_what_their_json_says(name):
    assert text(f"measurements/{name}.md") == pages.page(pages.read(name))


def test_every_study_is_listed_with_its_page():
    assert text("measurements/index.md") == pages.index()


def test_the_table_of_the_readme_is_that_of_the_overview_and_two_of_its_eight_rows_lose():
    record = pages.read("overview")
    rows = record["rows"]
    assert record["table"] == overview.table(rows)
    assert record["excerpt"] == overview.excerpt(rows)
    assert record["reading"] == overview.reading(rows)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme == pages.with_excerpt(readme, "overview", record["excerpt"])
    assert record["excerpt"] in readme
    assert len(overview.SHOWN) == 8
    assert sum(overview.loses(row, rows) for row in rows if row["command"] in overview.SHOWN) == 2


def test_the_readme_is_short_and_its_numbers_were_measured():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    prose = re.sub(r"```.*?```|^    .*?$|`[^`]*`|\]\([^)]*\)", "", readme, flags=re.DOTALL | re.MULTILINE)
    known = "\n".join(text(f"measurements/{name}.md") for name in MEASURED)
    measured = set(re.findall(r"\d[\d.]*(?:e[-+]?\d+)?", known))
    assert set(re.findall(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?", prose)) <= FACTS | measured


def test_versions_agree(capsys):
    assert f"version: {hierax.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"hierax {hierax.__version__}\n"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_files_that_are_linked_or_named_exist(name):
    said = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\w\]\((?!https?:|#)([^)#]+)", re.sub(r"`[^`]*`", "", said)):
        assert (ROOT / target).exists(), target
    for target in re.findall(r"`((?:tests|docs|examples|studies|src)/[\w./]*)`", said):
        assert (ROOT / target).exists(), target


def test_dotted_names_in_text_exist():
    files = {*(ROOT / "src").rglob("*.py"), *(ROOT / "studies").rglob("*.py"), *PAGES}
    files |= {ROOT / "README.md", ROOT / "CONTRIBUTING.md"}
    files -= {DOCS / "tried.md"}  # names there are of the commits in which they existed
    for file in sorted(files):
        for name in re.findall(r"`(?:hierax|hx)\.([A-Za-z_.]+?)\.?[`(]", file.read_text(encoding="utf-8")):
            assert pkgutil.resolve_name(f"hierax.{name}"), f"{file.name}: {name}"


def test_every_public_name_is_in_the_reference():
    text = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    public = {name for name, item in vars(hierax).items() if not (name.startswith("_") or isinstance(item, ModuleType))}
    assert {name for name in public - {"IMPORT_BEGAN"} if f"hierax.{name}\n" not in text} == set()
