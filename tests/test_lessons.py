"""The rules that keep the stored lessons honest. nbval compares their outputs; this checks what nbval cannot."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("*.ipynb"))
FIRST_CELL = 'import sys; sys.path.insert(0, "..")\nfrom helpers import start\n\nprofile = start()'
EXEMPT = {"nbval-ignore-output", "nbval-skip"}
KNOWN_TAGS = EXEMPT | {"nbval-check-output"}

pytestmark = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


def load(lesson: Path) -> dict:
    return json.loads(lesson.read_text(encoding="utf-8"))


def code_cells(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def tags(cell: dict) -> set[str]:
    return set(cell["metadata"].get("tags", []))


def texts_of(cell: dict) -> list[str]:
    """What nbval compares of a cell: its streams, and every output but pictures."""
    found = []
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            found.append("".join(output["text"]))
        for kind, value in output.get("data", {}).items():
            if not kind.startswith("image/"):
                found.append("".join(value) if isinstance(value, list) else str(value))
    return found


def test_executed_in_order_without_errors(lesson):
    cells = code_cells(load(lesson))
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]


def test_first_cell_is_the_same_everywhere(lesson):
    assert "".join(code_cells(load(lesson))[0]["source"]) == FIRST_CELL


def test_most_cells_are_compared(lesson):
    cells = code_cells(load(lesson))
    compared = [cell for cell in cells if texts_of(cell) and not tags(cell) & EXEMPT]
    assert len(compared) >= 0.6 * len(cells), f"{len(compared)} of {len(cells)} cells store a compared output"


def test_few_cells_are_exempt_and_each_is_explained(lesson):
    notebook = load(lesson)
    cells = code_cells(notebook)
    exempt = [cell for cell in cells if tags(cell) & EXEMPT]
    allowed = len(cells) // 10 + (2 if lesson.stem.startswith("01") else 0)
    assert len(exempt) <= allowed, f"{len(exempt)} of {len(cells)} code cells are exempt"
    for before, cell in zip(notebook["cells"], notebook["cells"][1:], strict=False):
        if cell["cell_type"] == "code" and tags(cell) & EXEMPT:
            assert before["cell_type"] == "markdown", "no explanation above an exempt cell"
            assert re.search(r"differ|your machine|each run|every run", "".join(before["source"])), before["source"]


def test_no_other_exemptions(lesson):
    for cell in code_cells(load(lesson)):
        assert tags(cell) <= KNOWN_TAGS
        assert not re.search(r"NBVAL_|PYTEST_VALIDATE", "".join(cell["source"]))


def test_no_widget_state_and_no_machine_in_the_metadata(lesson):
    notebook = load(lesson)
    assert "widgets" not in notebook["metadata"]
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert all(set(cell["metadata"]) <= {"tags"} for cell in notebook["cells"])


def test_no_paths_and_no_warnings_in_the_outputs(lesson):
    for cell in code_cells(load(lesson)):
        for output in cell["outputs"]:
            assert output.get("name") != "stderr", "".join(output["text"])
        for text in texts_of(cell):
            assert not re.search(r"/root/|/home/|/Users/|/tmp/|[A-Z]:\\", text), text
            assert not re.search(r"Warning:|Traceback", text), text


def test_prose_comes_before_code(lesson):
    cells = load(lesson)["cells"]
    kinds = "".join("c" if cell["cell_type"] == "code" else "m" for cell in cells)
    assert kinds.startswith("m") and kinds.endswith("m")
    assert "ccc" not in kinds, "more than two code cells in a row"
    words = sum(len("".join(cell["source"]).split()) for cell in cells if cell["cell_type"] == "markdown")
    assert words >= 40 * kinds.count("c"), f"{words / kinds.count('c'):.0f} words of prose a code cell"
