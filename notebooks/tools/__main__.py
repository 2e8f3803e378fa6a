"""Executes the lessons without a browser, and makes what is made from them.

    python -m notebooks.tools run [NAME ...]      executed copies in runs/
    python -m notebooks.tools store [NAME ...]    stored in place, clean, with the tiny profile
    python -m notebooks.tools colab [NAME ...]    one-file editions for Google Colab
    python -m notebooks.tools map                 the links between lessons, README's tables

A NAME is the start of a lesson's name, such as 05; without one, all lessons run. `run` has several
at work at once where there are cores for it. The model that lesson 05 trains goes to a temporary
folder: your own `fine_tuned_gpt2` is not touched.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from helpers import print_utf8
from helpers.profiles import choose
from helpers.runtime.errors import TutorialError
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

AT_ONCE = 3  # lessons, at most: each takes about a gigabyte of memory
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


async def execute(lesson: Lesson) -> nbformat.NotebookNode:
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
    await client.async_execute()
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


def tracks(lessons: list[Lesson]) -> list[list[Lesson]]:
    """What may run side by side: each lesson but those with one model, which keep their order."""
    one_model = [lesson for lesson in lessons if lesson.uses_the_model]
    alone = [[lesson] for lesson in lessons if not lesson.uses_the_model]
    return [one_model, *alone] if one_model else alone  # first what takes longest


def execute_all(lessons: list[Lesson], folder: Path, at_once: int = 1) -> bool:
    """Put executed copies of `lessons` into `folder`; False where one failed, which it says."""
    os.environ["JUPYTER_PLATFORM_DIRS"] = "1"  # else jupyter_core warns about a coming change
    folder.mkdir(exist_ok=True)

    async def run(track: list[Lesson], places: asyncio.Semaphore) -> None:
        async with places:
            for lesson in track:
                print(f"{lesson.file.name} ...", flush=True)
                nbformat.write(await execute(lesson), folder / lesson.file.name)

    async def run_all() -> None:
        places = asyncio.Semaphore(at_once)
        tasks = [asyncio.create_task(run(track, places)) for track in tracks(lessons)]
        try:
            await asyncio.gather(*tasks)
        finally:  # after a failure: end the others, with their kernels
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    with tempfile.TemporaryDirectory() as home:
        os.environ["GPT2_TUTORIAL_HOME"] = home
        try:
            asyncio.run(run_all())
        except CellExecutionError as error:
            print(error, file=sys.stderr)
            return False
        except (DeadKernelError, AssertionError):  # the second is nbclient's word for Ctrl+C
            print(
                "A lesson's Python has ended, by Ctrl+C or for want of memory. What was done is in "
                f"{folder}; one lesson at a time takes less: python -m notebooks.tools run 05",
                file=sys.stderr,
            )
            return False
    print(f"The executed lessons are in {folder}")
    return True


def lessons_at_once(wanted: int) -> int:
    """How many lessons, up to `wanted`, share this machine's cores: one where they share a GPU.

    PyTorch in each is given its part of the cores; the numbers that it computes are the same.
    """
    cores = os.cpu_count() or 1
    at_once = min(wanted, AT_ONCE, cores) if choose().name == "tiny" else 1
    if at_once > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(cores // at_once))
    return at_once


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
        return 0 if execute_all(lessons, NOTEBOOKS) else 1
    try:
        at_once = lessons_at_once(len(tracks(lessons)))
    except TutorialError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if execute_all(lessons, ROOT / "runs", at_once) else 1


if __name__ == "__main__":
    print_utf8()
    sys.exit(main())
