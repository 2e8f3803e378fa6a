"""Executes the lessons without a browser, and makes what is made from them.

    python -m notebooks.tools run [NAME ...]      executed copies in runs/
    python -m notebooks.tools store [NAME ...]    stored in place, clean, with the tiny profile
    python -m notebooks.tools colab [NAME ...]    one-file editions for Google Colab
    python -m notebooks.tools map                 the links between lessons, README's tables

A NAME is the start of a lesson's name, such as 05; without one, all lessons run in order. The
model that lesson 05 trains goes to a temporary folder: your own `fine_tuned_gpt2` is not touched.
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
from notebooks.tools.editions import edition
from notebooks.tools.lessons import (
    COLAB,
    LESSONS,
    NOTEBOOKS,
    ROOT,
    Lesson,
    chosen,
    with_map,
    with_next,
    with_tables,
)  # fmt: skip

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def execute(lesson: Lesson) -> nbformat.NotebookNode:
    """The lesson with the outputs of a run from top to bottom.

    Raises CellExecutionError where a cell fails.
    """
    notebook = nbformat.read(lesson.file, as_version=4)
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
    """The notebook without what differs from machine to machine: times, versions, widget states."""
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
            output.get("metadata", {}).clear()
    return notebook


def execute_all(lessons: list[Lesson], folder: Path) -> bool:
    """Put executed copies of `lessons` into `folder`; False where one failed, which it says."""
    os.environ["JUPYTER_PLATFORM_DIRS"] = "1"  # else jupyter_core warns about a coming change
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ["GPT2_TUTORIAL_HOME"] = home
        for lesson in lessons:
            print(f"{lesson.file.name} ...", flush=True)
            try:
                notebook = execute(lesson)
            except CellExecutionError as error:
                print(error, file=sys.stderr)
                return False
            nbformat.write(notebook, folder / lesson.file.name)
    print(f"The executed lessons are in {folder}")
    return True


def write_editions(lessons: list[Lesson], folder: Path) -> None:
    """Put the one-file editions of `lessons` into `folder`, under the same names."""
    folder.mkdir(exist_ok=True)
    for lesson in lessons:
        nbformat.write(edition(lesson), folder / lesson.file.name)
    print(f"The one-file editions are in {folder}")


def write_maps() -> None:
    """Put maps and ways on into the lessons and tables into README, as `LESSONS` has them."""
    for lesson in LESSONS:
        notebook = nbformat.read(lesson.file, as_version=4)
        first, last = notebook.cells[0], notebook.cells[-1]
        first.source, last.source = with_map(first.source, lesson), with_next(last.source, lesson)
        nbformat.write(notebook, lesson.file)
    readme = ROOT / "README.md"
    readme.write_text(with_tables(readme.read_text(encoding="utf-8")), encoding="utf-8")
    print("The maps and README's tables are those of LESSONS")


def main() -> int:
    """Do what the command line says; 1 where a lesson failed, 2 where there is no such lesson."""
    parser = argparse.ArgumentParser(
        "python -m notebooks.tools",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("run", "store", "colab", "map"))
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    try:
        lessons = chosen(options.names)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.what == "map":
        write_maps()
        return 0
    if options.what == "colab":
        write_editions(lessons, COLAB)
        return 0
    if options.what == "store":
        os.environ["GPT2_TUTORIAL_PROFILE"] = "tiny"
    folder = NOTEBOOKS if options.what == "store" else ROOT / "runs"
    return 0 if execute_all(lessons, folder) else 1


if __name__ == "__main__":
    print_utf8()
    sys.exit(main())
