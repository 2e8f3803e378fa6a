"""One-file editions of the lessons for Google Colab, in notebooks/colab: upload one, and run it.

An edition is the lesson, and in front of it the helpers that it needs, each in a folded cell that
writes one file where there is none yet. Outputs stay out: the stored ones are of the profile
`tiny`, and on Colab `gpt2` runs. What a lesson says differently on Colab is a whole cell in
notebooks/tools/colab/LESSON.md, under the id of the lesson's cell; no text is patched.
"""

import ast
import re

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from notebooks.tools.lessons import ROOT, Lesson

CELLS = ROOT / "notebooks" / "tools" / "colab"
MARK = r"^<!-- (markdown|code) (instead of|after) (\S+) -->\n"
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}  # on Colab; in JupyterLab

NOTE = """\
## On Google Colab

This page holds the lesson and, folded in the cells below, the code that it shares with the
others, `helpers`. Colab brings all the packages that lesson 01 installs elsewhere: nothing else
is needed. Choose **Runtime > Run all**, or go through it cell by cell. (To read the code, open
**Show code**.)

Here the profile `gpt2` runs, GPT-2 with its 124,439,808 parameters. What the text says of
`tiny`, a small model that does not travel with this page, you only read, and so with commands
for a terminal (`python -m helpers`). The other lessons are files like this one: upload them in
the same way. Files go to `/content`; when a session ends, they are gone.\
"""

START = """\
#@title The helpers: each cell below writes one file, unless it is there already
from pathlib import Path


def put(name, text):
    file = Path(name)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")\
"""


def edition(lesson: Lesson) -> NotebookNode:
    """The one-file edition of a lesson."""
    notebook = nbformat.read(lesson.file, as_version=4)
    notebook.cells = [_bare(cell) for cell in _with_own_cells(notebook.cells, lesson)]
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    exercises = f"helpers/bundled/exercises/{lesson.number}.md"
    code += re.findall(r"^```python\n(.*?)^```", _read(exercises), re.MULTILINE | re.DOTALL)
    texts = re.findall(r'BUNDLED / "(\w+\.txt)"', "\n".join(code))
    files = [*needed(code), exercises, *(f"helpers/bundled/{name}" for name in texts)]
    folded = [new_markdown_cell(NOTE, id="colab"), _folded("helpers", START), *map(_file, files)]
    notebook.cells[1:1] = folded
    notebook.metadata = {
        "colab": {"provenance": [], **({"gpuType": "T4"} if lesson.gpu else {})},
        **({"accelerator": "GPU"} if lesson.gpu else {}),
        "kernelspec": {"display_name": "Python 3", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def own_cells(lesson: Lesson) -> list[tuple[str, str, str, str]]:
    """What a lesson says differently on Colab: each cell's kind, way, neighbour's id and source.

    The way is "instead of" the cell of that id, or "after" it. A cell that several lessons have is
    a file beside them, and its name stands for it.
    """
    file = CELLS / f"{lesson.stem}.md"
    if not file.is_file():
        return []
    _, *parts = re.split(MARK, file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    groups = zip(*(parts[start::4] for start in range(4)), strict=True)
    return [(kind, where, cell, _source(text.strip("\n"))) for kind, where, cell, text in groups]


def _source(text: str) -> str:
    """`text`, or, where it is the name of a file beside the lessons' cells, what is in there."""
    file = CELLS / text
    shared = len(text.split()) == 1 and file.is_file()
    return file.read_text(encoding="utf-8").strip("\n") if shared else text


def _with_own_cells(cells: list[NotebookNode], lesson: Lesson) -> list[NotebookNode]:
    """The lesson's cells with those of `own_cells` in their places.

    Raises ValueError where the lesson has no cell of that id, or one of another kind.
    """
    result = list(cells)
    for number, (kind, where, name, source) in enumerate(own_cells(lesson)):
        places = [place for place, cell in enumerate(result) if cell.id == name]
        if not places or (where == "instead of" and result[places[0]].cell_type != kind):
            raise ValueError(f"{lesson.stem} has no {kind} cell {name!r}, which {CELLS} speaks of")
        make = new_markdown_cell if kind == "markdown" else new_code_cell
        if where == "instead of":
            result[places[0]] = make(source, id=name)
        else:  # behind the cells that came there before it
            place = places[0] + 1
            while place < len(result) and result[place].id.startswith("colab-"):
                place += 1
            result.insert(place, make(source, id=f"colab-{number}"))
    return result


def _bare(cell: NotebookNode) -> NotebookNode:
    """A cell without outputs, and without what leads nowhere on Colab: the repository's files."""
    cell.metadata = {"cellView": "form"} if cell.source.startswith("#@title") else {}
    if cell.cell_type == "code":
        cell.outputs, cell.execution_count = [], None
    cell.source = re.sub(r"!\[[^\]]*\]\((?!https:)[^)]*\)\n*", "", cell.source)
    cell.source = re.sub(r"\[([^\]]+)\]\([\w./-]+\.(?:ipynb|md)\)", r"\1", cell.source)
    return cell


def needed(code: list[str]) -> list[str]:
    """The files of the helpers that `code` imports, and those that these import in turn."""
    found, new = set(), {"helpers/__init__.py"}.union(*map(_imported, code))
    while new:
        found |= new
        new = set().union(*(_imported(_read(name)) for name in new)) - found
    packages = {f"{name.rpartition('/')[0]}/__init__.py" for name in found}
    return sorted(found | packages)


def _imported(code: str) -> set[str]:
    """The files of the helpers that `code` imports, but for lines that say `# not on Colab`."""
    names, lines = set(), code.splitlines()
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.ImportFrom) or "# not on Colab" in lines[node.lineno - 1]:
            continue
        if (node.module or "").split(".")[0] == "helpers":
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    files = {f"{name.replace('.', '/')}.py" for name in names}
    return {file for file in files if (ROOT / file).is_file()}


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _file(name: str) -> NotebookNode:
    """The folded cell that writes a file, which stands in it as it is.

    Raises ValueError where that cannot be: it holds the quotation marks itself.
    """
    text = _read(name)
    cell = f"#@title {name}\nput(\"{name}\", r'''{text}''')"
    if ast.literal_eval(ast.parse(cell).body[0].value.args[1]) != text:
        raise ValueError(f"{name} cannot stand between three quotation marks as it is")
    return _folded(re.sub(r"\W+", "-", name), cell)


def _folded(name: str, code: str) -> NotebookNode:
    return new_code_cell(code, id=name, metadata=FOLDED)
