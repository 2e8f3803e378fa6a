"""Executes the lessons without a browser, and makes their one-file editions.

    python -m notebooks.tools run [NAME ...]      executed copies in runs/
    python -m notebooks.tools store [NAME ...]    stored in place, clean, with the tiny profile
    python -m notebooks.tools colab [NAME ...]    one-file editions for Google Colab in notebooks/colab/

A NAME is the start of a lesson's name, such as 05; without one, all lessons run in order. The model that
lesson 05 trains goes to a temporary folder: your own `fine_tuned_gpt2` is not touched.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from helpers import print_utf8
from notebooks.tools.editions import ROOT, edition

NOTEBOOKS = ROOT / "notebooks"
COLAB = NOTEBOOKS / "colab"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def execute(lesson: Path) -> nbformat.NotebookNode:
    """The lesson with the outputs of a run from top to bottom. Raises CellExecutionError where a cell fails."""
    notebook = nbformat.read(lesson, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": NOTEBOOKS}},
        store_widget_state=False,
        coalesce_streams=True,  # else a print may be stored in two pieces, by chance
        extra_arguments=["--log-level=ERROR"],
    )
    client.execute()
    return clean(notebook)


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without what differs from machine to machine: times, Python's version, widget states."""
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
            output.get("metadata", {}).clear()
    return notebook


def write_editions(lessons: list[Path], folder: Path) -> None:
    """Put the one-file editions of `lessons` into `folder`, under the same names."""
    for lesson in lessons:
        nbformat.write(edition(lesson), folder / lesson.name)
    print(f"The one-file editions are in {folder}")


def main() -> int:
    """Do what the command line says; 1 where a lesson failed."""
    parser = argparse.ArgumentParser(
        "python -m notebooks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("run", "store", "colab"))
    parser.add_argument("names", nargs="*", metavar="NAME", default=[""])
    options = parser.parse_args()
    lessons = [
        path
        for path in sorted(NOTEBOOKS.glob("*.ipynb"))
        if path.name.startswith(tuple(options.names))
    ]
    folder = {"run": ROOT / "runs", "store": NOTEBOOKS, "colab": COLAB}[options.what]
    folder.mkdir(exist_ok=True)
    if options.what == "colab":
        write_editions(lessons, folder)
        return 0
    os.environ["JUPYTER_PLATFORM_DIRS"] = "1"  # else jupyter_core warns about a coming change
    if options.what == "store":
        os.environ["GPT2_TUTORIAL_PROFILE"] = "tiny"
    with tempfile.TemporaryDirectory() as home:
        os.environ["GPT2_TUTORIAL_HOME"] = home
        for lesson in lessons:
            print(f"{lesson.name} ...", flush=True)
            try:
                notebook = execute(lesson)
            except CellExecutionError as error:
                print(error, file=sys.stderr)
                return 1
            nbformat.write(notebook, folder / lesson.name)
    print(f"The executed lessons are in {folder}")
    return 0


if __name__ == "__main__":
    print_utf8()
    sys.exit(main())
