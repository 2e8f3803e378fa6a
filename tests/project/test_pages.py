"""What is written for Sphinx, and the lists that the site stands on. Sphinx itself is not needed:
with it, `make test-site` builds the site and looks at it.
"""

import ast
import re
import sys
from pathlib import Path

import nbformat
import pytest

from notebooks.tools.lessons import LESSONS
from notebooks.tools.site import pages
from notebooks.tools.site.pictures import PICTURES
from tests.conftest import ROOT
from tests.project.test_portable import commands, workflow
from tests.project.test_project import MODULES, TAUGHT, imported, parse

HERE = ROOT / "notebooks" / "tools" / "site"
LINK = re.compile(r"(?<!!)\[[^\]\n]+\]\((?!\w+:|#)([^)#\s]+)[^)\s]*\)")
DOWNLOAD = re.compile(r"\{download\}`[^`]+ <([^>]+)>`")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "source"
    pages.write_pages(folder)
    return folder


def texts(folder: Path) -> dict[Path, str]:
    """The Markdown of all pages, that of the notebooks included."""
    found = {file: file.read_text(encoding="utf-8") for file in folder.glob("**/*.md")}
    for file in folder.glob("*.ipynb"):
        cells = nbformat.read(file, as_version=4).cells
        found[file] = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return found


def test_every_lesson_and_module_is_on_the_site(written):
    assert all((written / lesson.file.name).is_file() for lesson in LESSONS)
    home = (written / "index.md").read_text(encoding="utf-8")
    assert all(f"<{lesson.stem}>" in home and lesson.afterwards in home for lesson in LESSONS)
    shown = "".join(file.read_text(encoding="utf-8") for file in written.glob("api/*.md"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in MODULES]
    hidden = ("__init__", "__main__", "helpers.cli")
    for name in names:
        assert (f":: {name}\n" in shown) == (not name.endswith(hidden)), name
    order = re.findall(r"^\| \[(\w+)\]", shown, re.M)
    assert set(order[: len(TAUGHT) - 1]) == {path.stem for path in TAUGHT} - {"__init__"}
    assert order.index("data") < order.index("training") < order.index("generation")


def test_every_description_has_its_plot():
    """A cell that draws something else gets a new id, or its old words are read to the blind."""
    drawing = {
        cell.id
        for lesson in LESSONS
        for cell in nbformat.read(lesson.file, as_version=4).cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    }
    assert set(PICTURES) == drawing


def test_links_lead_to_pages_and_files(written):
    links = downloads = 0
    for file, text in texts(written).items():
        for name in LINK.findall(text):
            assert (file.parent / name).is_file(), (file.name, name)
            links += 1
        for name in DOWNLOAD.findall(text):
            assert written.joinpath(name.lstrip("/")).is_file(), (file.name, name)
            downloads += 1
    assert links > 50 and downloads >= 3 * len(LESSONS)


def printed(notebook) -> list[str]:
    """What its cells have printed."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.text for output in outputs if output.output_type == "stream"]


def test_a_lesson_keeps_its_outputs_and_links_to_its_files(written):
    for lesson in LESSONS:
        stored, shown = (
            nbformat.read(file, as_version=4) for file in (lesson.file, written / lesson.file.name)
        )
        assert printed(stored) == printed(shown)
        opening = shown.cells[0].source
        assert f"</files/notebooks/{lesson.file.name}>" in opening
        assert f"</files/notebooks/colab/{lesson.file.name}>" in opening
        assert "Run &gt; Run All Cells" not in str(shown), "nobody runs a page"
        for cell in shown.cells:
            if "image/png" in str([output.get("data") for output in cell.get("outputs", [])]):
                assert len(cell.metadata.mystnb.image.alt.split()) >= 5


@pytest.mark.parametrize(
    ("base", "text", "expected"),
    [
        ("notebooks", "[07](07_evaluate.ipynb)", "[07](07_evaluate.ipynb)"),
        ("notebooks", "[it](../helpers/bundled/model/README.md)", "[it](model.md)"),
        (".", "[it](notebooks/01_install.ipynb)", "[it](01_install.ipynb)"),
        (".", "[MIT](LICENSE)", "{download}`MIT </files/LICENSE>`"),
        (".", "[a](https://a.org) [b](#c) ![d](e.png)", "[a](https://a.org) [b](#c) ![d](e.png)"),
    ],
)  # fmt: skip
def test_links_are_those_of_the_site(base, text, expected):
    assert pages.linked(text, Path(base)) == expected


def test_a_picture_without_a_line_is_described_by_what_is_said_below_it():
    cell, after = nbformat.v4.new_code_cell(""), nbformat.v4.new_markdown_cell
    said = after("**Notice** how [it](a.md) falls,\nand `x` stays.\n\nMore.")
    assert pages.description(cell, said) == "A plot. Notice how it falls, and x stays."
    for nothing in (after("## Title"), after("| a | b |"), None):
        with pytest.raises(ValueError, match="needs a description in pictures.py"):
            pages.description(cell, nothing)


def test_on_github_a_lesson_opens_in_colab(monkeypatch):
    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/name")
    address = "https://colab.research.google.com/github/owner/name/blob/main/notebooks/colab/"
    assert f"[Open in Colab]({address}{LESSONS[0].file.name})" in pages.ways(LESSONS[0], [])
    monkeypatch.delenv("GITHUB_REPOSITORY")
    assert "https:" not in pages.ways(LESSONS[0], [])


def test_the_sites_packages_are_pinned_explained_and_its_own():
    ours, its = (
        dict(re.findall(r"^([a-z][\w-]+)==([\d.]+) +#", path.read_text(encoding="utf-8"), re.M))
        for path in (ROOT / "requirements.txt", HERE / "requirements.txt")
    )
    lines = (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert len(its) == sum(bool(re.match("[a-z]", line)) for line in lines)
    assert {"sphinx", "myst-nb"} <= set(its) and not {"sphinx", "myst-nb"} & set(ours)
    assert all(ours[name] == its[name] for name in set(ours) & set(its)), "one version of each"


def test_what_the_helpers_import_is_there_or_has_a_stand_in():
    """Else Sphinx cannot read their docstrings."""
    settings = parse(HERE / "conf.py").body
    assigned = [node for node in settings if isinstance(node, ast.Assign)]
    lists = {ast.unparse(node.targets[0]): node.value for node in assigned}
    stand_ins = set(ast.literal_eval(lists["autodoc_mock_imports"]))
    known = {"helpers", "numpy", "matplotlib", "ipywidgets", "IPython", *sys.stdlib_module_names}
    nodes = [node for path in MODULES for node in ast.walk(parse(path))]
    needed = {dotted.split(".")[0] for node in nodes for dotted in imported(node)}
    assert needed - known <= stand_ins


def test_the_workflow_looks_at_the_site_before_it_publishes_it():
    text = (ROOT / ".github" / "workflows" / "pages.yml").read_text(encoding="utf-8")
    assert "# Not tried yet" in text
    [job] = workflow("pages.yml")["jobs"].values()
    assert commands(job).splitlines()[-1] == "make test-site site"
    [path] = [step["with"]["path"] for step in job["steps"] if "path" in step.get("with", {})]
    assert path == "runs/site"
