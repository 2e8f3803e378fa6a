"""One-file editions of the lessons for Google Colab, in notebooks/colab: upload one, and run it.

An edition is the lesson, and in front of it the helpers that it needs, each in a folded cell that writes one file where
there is none yet. Outputs stay out: the stored ones are of the profile `tiny`, and on Colab `gpt2` runs.
"""

import ast
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from notebooks.tools.colab_edits import DRIVE, EDITS

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}  # on Colab; in JupyterLab
GPU = ("01", "04", "05", "06")  # the lessons that ask Colab for one

NOTE = """\
## On Google Colab

This page holds the lesson and, folded in the cells below, the code that it shares with the others, `helpers`. Nothing
is installed, and nothing else is needed: choose **Runtime > Run all**, or go through it cell by cell. (To read the
code, open **Show code**.)

Here the profile `gpt2` runs. What the text says of `tiny`, a small model that does not travel with this page, you only
read, and so with commands for a terminal (`python -m helpers`). The other lessons are files like this one: upload them
in the same way. When a session ends, its files are gone.\
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


def edition(lesson: Path) -> NotebookNode:
    """The one-file edition of a lesson."""
    number = lesson.name[:2]
    notebook = nbformat.read(lesson, as_version=4)
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    for old, new in EDITS.get(number, []):
        _edit(notebook.cells, old, new)
    if number in DRIVE:
        _add_drive(notebook.cells, *DRIVE[number])
    for cell in (
        notebook.cells
    ):  # a link to a file of the repository leads nowhere on Colab: its words stay
        cell.source = re.sub(r"\[([^\]]+)\]\([\w./-]+\.(?:ipynb|md)\)", r"\1", cell.source)
    exercises = f"helpers/bundled/exercises/{number}.md"
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    code += re.findall(r"^```python\n(.*?)^```", _read(exercises), flags=re.MULTILINE | re.DOTALL)
    files = [*(f"helpers/{name}.py" for name in needed(code)), exercises]
    notebook.cells[1:1] = [_markdown("colab", NOTE), _folded("helpers", START), *map(_file, files)]
    notebook.metadata = {
        "colab": {"provenance": [], **({"gpuType": "T4"} if number in GPU else {})},
        **({"accelerator": "GPU"} if number in GPU else {}),
        "kernelspec": {"display_name": "Python 3", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def needed(code: list[str]) -> list[str]:
    """The modules of the helpers that these pieces of code import, and those that these import in turn."""
    found, new = {"__init__"}, {"__init__"} | set().union(*map(_imported, code))
    while new:
        found |= new
        new = set().union(*(_imported(_read(f"helpers/{name}.py")) for name in new)) - found
    return sorted(found)


def _imported(code: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(code)):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.split(".")[0] == "helpers"
        ):
            names |= (
                {alias.name for alias in node.names}
                if node.module == "helpers"
                else {node.module.split(".")[1]}
            )
    return {name for name in names if (ROOT / "helpers" / f"{name}.py").is_file()}


def _edit(cells: list[NotebookNode], old: str, new: str) -> None:
    """Put `new` in place of `old`, in which ` ... ` stands for any text. It must stand in the lesson exactly once."""
    pattern = ".*?".join(map(re.escape, old.split(" ... ")))
    hits = [cell for cell in cells for _ in re.finditer(pattern, cell.source, flags=re.DOTALL)]
    if len(hits) != 1:
        raise ValueError(
            f"{len(hits)} places in the lesson match this text of colab_edits.py, not one: {old!r}"
        )
    hits[0].source = re.sub(pattern, lambda _: new, hits[0].source, flags=re.DOTALL)


def _add_drive(cells: list[NotebookNode], after: str, text: str, code: str) -> None:
    """Add two cells that keep the model on the learner's Drive, or fetch it, behind the cell that holds `after`."""
    [place] = [number for number, cell in enumerate(cells, start=1) if after in cell.source]
    cells[place:place] = [
        _markdown("drive-why", text),
        new_code_cell(code, id="drive", metadata={"cellView": "form"}),
    ]


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _file(name: str) -> NotebookNode:
    text = _read(name)
    cell = f"#@title {name}\nput(\"{name}\", r'''{text}''')"
    if ast.literal_eval(ast.parse(cell).body[0].value.args[1]) != text:
        raise ValueError(
            f"{name} cannot stand between three quotation marks as it is: it holds some itself"
        )
    return _folded(re.sub(r"\W+", "-", name), cell)


def _folded(name: str, code: str) -> NotebookNode:
    return new_code_cell(code, id=name, metadata=FOLDED)


def _markdown(name: str, text: str) -> NotebookNode:
    return new_markdown_cell(text, id=name)
