"""The pages that Sphinx reads, written from the lessons, README, the cards and the helpers.

What `LESSONS` names, and what is in helpers/, appears by itself. A lesson's page is its notebook
with links under its title; links between files of the repository lead to their pages.
"""

import ast
import os
import re
import shutil
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from notebooks.tools.lessons import LESSONS, NOTEBOOKS, ROOT, Lesson, readme_tables
from notebooks.tools.site.pictures import PICTURES

HERE = Path(__file__).resolve().parent
HELPERS = ROOT / "helpers"
UNTAUGHT = ("__init__", "__main__", "cli")  # of the flat modules
# Files of the repository that are pages of the site.
PAGES = {
    "README.md": "manual.md",
    "helpers/bundled/model/README.md": "model.md",
    "helpers/bundled/encyclopedia/README.md": "encyclopedia.md",
    **{f"notebooks/{lesson.file.name}": lesson.file.name for lesson in LESSONS},
}
OTHERS = ("runtime", "ui")  # folders of the modules that no lesson teaches: a page for each


def write_pages(folder: Path) -> None:
    """Put all that Sphinx needs into `folder`, which is not there yet."""
    folder.mkdir()
    shutil.copytree(NOTEBOOKS / "images", folder / "images")
    for name, page in PAGES.items():
        if page.endswith(".md"):
            write(folder / page, linked(card(ROOT / name), Path(name).parent))
    for lesson in LESSONS:
        nbformat.write(lesson_page(lesson), folder / lesson.file.name)
    home = (HERE / "index.md").read_text(encoding="utf-8")
    write(folder / "index.md", home.format(**home_parts()))
    (folder / "api").mkdir()
    for name, text in api_pages().items():
        write(folder / "api" / name, text)
    copy_downloads(folder)


def write(file: Path, text: str) -> None:
    """Write a text in UTF-8, with Unix's ends of lines."""
    file.write_text(text, encoding="utf-8", newline="\n")


def card(file: Path) -> str:
    """The text of a README, without what is for the Hub, or said on the home page already."""
    text = file.read_text(encoding="utf-8")
    if file == ROOT / "README.md":
        return "# Manual\n\n" + text[text.index("## Start") :]
    return re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)


# --- links ---


def linked(text: str, base: Path, up: str = "") -> str:
    """Markdown from the repository's folder `base`, with links that hold on the site.

    A file with a page becomes a link to it, another file a download. `up` leads to the site's root.
    """

    def link(match: re.Match) -> str:
        words, target = match[1], match[2]
        name = Path(os.path.normpath(base / target)).as_posix()
        if name in PAGES:
            return f"[{words}]({up}{PAGES[name]})"
        return f"{{download}}`{words} </files/{name}>`"

    # not a picture, not an address, not a place within the page
    return re.sub(r"(?<!!)\[([^\]\n]+)\]\((?!\w+:|#)([^)\s]+)\)", link, text)


def downloads() -> list[Path]:
    """The files that pages offer as they are."""
    found = [ROOT / "LICENSE"]
    for lesson in LESSONS:
        found += [lesson.file, lesson.edition]
    return found


def copy_downloads(folder: Path) -> None:
    """Put `downloads` into `folder`/files, each at its place in the repository."""
    for file in downloads():
        copy = folder / "files" / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)


def colab_address(lesson: Lesson) -> str | None:
    """Where Colab opens the lesson's edition; known where GitHub builds the site only."""
    repository = os.environ.get("GITHUB_REPOSITORY")
    name = lesson.edition.relative_to(ROOT).as_posix()
    base = f"https://colab.research.google.com/github/{repository}/blob/main"
    return f"{base}/{name}" if repository else None


# --- lessons ---


def lesson_page(lesson: Lesson) -> NotebookNode:
    """A lesson as the site shows it, its stored outputs included."""
    notebook = nbformat.read(lesson.file, as_version=4)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "name": "python3"}
    cells = notebook.cells
    for cell, after in zip(cells, [*cells[1:], None], strict=True):
        if cell.cell_type == "markdown":
            cell.source = linked(cell.source, Path("notebooks"))
            continue
        cell.outputs = [shown(output) for output in cell.outputs if not is_empty(output)]
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            cell.metadata["mystnb"] = {"image": {"alt": description(cell, after)}}
    title, _, rest = cells[0].source.partition("\n")
    cells[0].source = f"{title}\n\n{ways(lesson, cells)}\n{rest}"
    return notebook


def ways(lesson: Lesson, cells: list[NotebookNode]) -> str:
    """The line under a lesson's title: the files, and the helpers that the lesson imports."""
    colab = f"{{download}}`Colab edition </files/notebooks/colab/{lesson.edition.name}>`"
    if address := colab_address(lesson):
        colab = f"[Open in Colab]({address}) · {colab}"
    parts = [f"{{download}}`Notebook </files/notebooks/{lesson.file.name}>`", colab]
    if modules := imported([cell.source for cell in cells if cell.cell_type == "code"]):
        links = ", ".join(f"[{name}](api/{page}.md)" for name, page in modules.items())
        parts.append(f"Helpers: {links}")
    return f":::{{container}} ways\n{' · '.join(parts)}\n:::\n"


def imported(code: list[str]) -> dict[str, str]:
    """The modules of the helpers that cells import, each with its page."""
    found = {}
    for cell in code:
        plain = re.sub(r"^\s*[%!].*$", "", cell, flags=re.M)
        for node in ast.walk(ast.parse(plain)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("helpers"):
                for alias in node.names:
                    found |= page_of(f"{node.module}.{alias.name}")
    return dict(sorted(found.items()))


def page_of(dotted: str) -> dict[str, str]:
    """The module that `helpers.a.b` is, or is in, and its page; nothing for the package itself."""
    parts = dotted.split(".")[1:]
    while parts and not (HELPERS.joinpath(*parts).with_suffix(".py")).is_file():
        parts.pop()
    if not parts:
        return {}
    return {".".join(parts): parts[0]}


WIDGET = re.compile(r'<i class="note">\(No (.+?) here\? Run &gt; Run All Cells\.\)</i>')


def is_empty(output: NotebookNode) -> bool:
    """Whether it is all that is stored of a widget: nothing."""
    data = output.get("data", {})
    return set(data) == {"text/plain"} and not "".join(data["text/plain"]).strip()


def shown(output: NotebookNode) -> NotebookNode:
    """An output as the site shows it: a widget lives in JupyterLab only, and the page says so."""
    data = output.get("data", {})
    if "text/html" in data:
        note = r'<p class="widget">In JupyterLab, a working \1 stands here.</p>'
        data["text/html"] = WIDGET.sub(note, "".join(data["text/html"]))
    return output


def description(cell: NotebookNode, after: NotebookNode | None) -> str:
    """What a picture shows, for those who do not see it: ours or, without one, what is said of it.

    Raises ValueError where there is neither.
    """
    if cell.id in PICTURES:
        return PICTURES[cell.id]
    said = after.source.split("\n\n")[0] if after and after.cell_type == "markdown" else ""
    plain = re.sub(r"\[([^\]]+)\]\([^)]*\)|[*`]", r"\1", said).replace("\n", " ").strip()
    if not plain or plain[0] in "#<|":
        raise ValueError(f"the picture of cell {cell.id} needs a description in pictures.py")
    return f"A plot. {plain}"


# --- the home page and the helpers ---


def home_parts() -> dict[str, str]:
    """What the home page takes from `LESSONS`."""
    places = [f"{lesson.number} · {lesson.name} <{lesson.stem}>" for lesson in LESSONS]
    return {
        "table": linked(readme_tables()["lessons"], Path()),
        "first": LESSONS[0].file.name,
        "pages": "\n".join(places),
    }


def taught() -> list[str]:
    """The modules that lessons teach, in the order of the lessons."""

    def lesson(name: str) -> tuple[str, str]:
        found = re.search(r"\(lessons? (\d\d)", summary(HELPERS / f"{name}.py"))
        return (found[1] if found else "99", name)

    names = [path.stem for path in HELPERS.glob("*.py") if path.stem not in UNTAUGHT]
    return sorted(names, key=lesson)


def summary(file: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n")[0]


def api_pages() -> dict[str, str]:
    """The pages of the helpers: one for each taught module, one for each folder of the others."""
    files = [HELPERS / f"{name}.py" for name in taught()]
    pages = {f"{name}.md": module_page(name, [name]) for name in taught()}
    for name in OTHERS:
        files.append(HELPERS / name / "__init__.py")
        modules = sorted(path.stem for path in (HELPERS / name).glob("[!_]*.py"))
        pages[f"{name}.md"] = module_page(name, [f"{name}.{module}" for module in modules])
    order = [*taught(), *OTHERS]
    rows = [
        f"| [{name}]({name}.md) | {summary(file)} |"
        for name, file in zip(order, files, strict=True)
    ]
    text = (HERE / "api.md").read_text(encoding="utf-8")
    pages["index.md"] = text.format(table="\n".join(rows), pages="\n".join(order))
    return pages


def module_page(title: str, names: list[str]) -> str:
    """A page of modules, with their docstrings; headings where there are several."""
    parts = [f"# {title}"]
    for name in names:
        if len(names) > 1:
            parts.append(f"## `{name}`")
        directive = f".. automodule:: helpers.{name}\n   :members:"
        parts.append(f"```{{eval-rst}}\n{directive}\n```")
    return "\n\n".join(parts) + "\n"
