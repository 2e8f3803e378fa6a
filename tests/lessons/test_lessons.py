"""The rules that keep the stored lessons honest. nbval compares their outputs; this checks what
nbval cannot.
"""

import io
import json
import re
import tokenize

import pytest

from notebooks.tools.editions import own_cells
from notebooks.tools.lessons import LESSONS, Lesson, map_of, with_map, with_next

FIRST_CELL = 'import sys; sys.path.insert(0, "..")\nfrom helpers import start\n\nprofile = start()'
EXEMPT = {"nbval-ignore-output", "nbval-skip"}
WIDTH = 92  # characters of a line of code
KNOWN_TAGS = EXEMPT | {"nbval-check-output"}

pytestmark = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)


def load(lesson: Lesson) -> dict:
    return json.loads(lesson.file.read_text(encoding="utf-8"))


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
    assert not [
        output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"
    ]


def test_first_cell_is_the_same_everywhere(lesson):
    assert "".join(code_cells(load(lesson))[0]["source"]) == FIRST_CELL


def test_most_cells_are_compared(lesson):
    cells = code_cells(load(lesson))
    compared = [cell for cell in cells if texts_of(cell) and not tags(cell) & EXEMPT]
    assert len(compared) >= 0.6 * len(cells), (
        f"{len(compared)} of {len(cells)} cells store a compared output"
    )


def test_few_cells_are_exempt_and_each_is_explained(lesson):
    notebook = load(lesson)
    cells = code_cells(notebook)
    exempt = [cell for cell in cells if tags(cell) & EXEMPT]
    allowed = len(cells) // 10 + (2 if lesson.stem.startswith("01") else 0)
    assert len(exempt) <= allowed, f"{len(exempt)} of {len(cells)} code cells are exempt"
    for before, cell in zip(notebook["cells"], notebook["cells"][1:], strict=False):
        if cell["cell_type"] == "code" and tags(cell) & EXEMPT:
            assert before["cell_type"] == "markdown", "no explanation above an exempt cell"
            assert re.search(
                r"differ|your machine|each run|every run", "".join(before["source"])
            ), before["source"]


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


def test_no_share_has_more_digits_than_processors_agree_on(lesson):
    """Two machines gave 20.2692% and 20.2693% of one probability."""
    for cell in code_cells(load(lesson)):
        if not tags(cell) & EXEMPT:
            for text in texts_of(cell):
                assert not re.search(r"\.\d{3,}%", text), text


def prose_of(notebook: dict) -> str:
    return "\n\n".join(
        "".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"
    )


def test_the_frame_of_a_lesson(lesson):
    """Goals, needs, time and map; a range to expect; a failure on purpose; exercises, recap,
    glossary, next.
    """
    notebook = load(lesson)
    opening = "".join(notebook["cells"][0]["source"])
    for part in ("you can**", "**You need**", "**Time", "laptop", "GPU"):
        assert part in opening, f"no {part!r} at the start"
    assert with_map(opening, lesson) == opening, "run python -m notebooks.tools map"
    prose = prose_of(notebook)
    for part in ("**What you should see", "## Recap", "| term | meaning |"):
        assert part in prose, f"{part!r} is missing"
    last = "".join(notebook["cells"][-1]["source"])
    assert with_next(last, lesson) == last, "run python -m notebooks.tools map"
    assert any("except " in "".join(cell["source"]) for cell in code_cells(notebook)), (
        "nothing fails on purpose"
    )


def test_terms_are_explained_once(lesson):
    terms = re.findall(
        r"^\| ([^|]+?) \| [^|]+ \|$", prose_of(load(lesson)).split("| term | meaning |")[1], re.M
    )
    terms = [term for term in terms if "---" not in term]
    assert 4 <= len(terms) <= 15
    assert len(set(terms)) == len(terms)


def lines_of(code: str) -> int:
    """The lines of code, one that is wrapped counted once: it is read as one."""
    kinds = [token.type for token in tokenize.generate_tokens(io.StringIO(code).readline)]
    return kinds.count(tokenize.NEWLINE)


def test_cells_are_short(lesson):
    """At most 15 lines, one that is wrapped counted once, and at most 20 as they stand there."""
    sources = ["".join(cell["source"]) for cell in code_cells(load(lesson))]
    lines = [lines_of(source) for source in sources]
    assert 3 <= sorted(lines)[len(lines) // 2] <= 6
    assert max(lines) <= 15
    assert max(sum(bool(line.strip()) for line in source.splitlines()) for source in sources) <= 20


def test_no_code_scrolls_sideways(lesson):
    """A window 1,280 pixels wide has room for 92 characters; Colab's own cells keep to it too."""
    sources = ["".join(cell["source"]) for cell in code_cells(load(lesson))]
    sources += [source for kind, _, _, source in own_cells(lesson) if kind == "code"]
    lines = [line for source in sources for line in source.splitlines()]
    assert not [line for line in lines if len(line) > WIDTH]


def test_the_main_path_takes_fifteen_minutes_to_read(lesson):
    """At 238 words a minute (Brysbaert 2019, doi.org/10.1016/j.jml.2019.104047) and 4 seconds a
    line of code, without what is folded, and without what stands from the exercises to the recap.
    """
    cells = ["".join(cell["source"]) for cell in load(lesson)["cells"]]
    exercises = next(n for n, source in enumerate(cells) if re.search("^## Exercise", source, re.M))
    code = [cell["cell_type"] == "code" for cell in load(lesson)["cells"][:exercises]]
    lines = sum(lines_of(source) for source, is_code in zip(cells, code, strict=False) if is_code)
    prose = prose_of(load(lesson)).replace(map_of(lesson), "")  # it grows with each new lesson
    whole = len(re.sub(r"\]\([^)]*\)", "]", prose).split()) / 238
    whole += sum(lines_of("".join(cell["source"])) for cell in code_cells(load(lesson))) * 4 / 60
    assert "15 minutes, 20 to 30 with folds" in prose and 20 <= whole <= 30, f"{whole:.1f} minutes"
    prose = re.sub(r"<details>.*?</details>(<p></p>)?", "", prose, flags=re.S)
    first, recap = re.search(r"^## Exercise", prose, re.M).start(), prose.index("## Recap")
    words = re.sub(r"\]\([^)]*\)", "]", prose[:first] + prose[recap:]).split()
    assert len(words) / 238 + lines * 4 / 60 <= 15, f"{len(words)} words, {lines} lines of code"


def test_plots_are_explained(lesson):
    """After each figure, a sentence on what to notice."""
    cells = load(lesson)["cells"]
    for number, cell in enumerate(cells):
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            after = next(c for c in cells[number + 1 :] if c["cell_type"] == "markdown")
            assert re.search(
                r"[Nn]otice|[Ll]ook (closely|at|for)|[Ss]ee ", "".join(after["source"])
            ), cell["source"]


def test_prose_comes_before_code(lesson):
    cells = load(lesson)["cells"]
    kinds = "".join("c" if cell["cell_type"] == "code" else "m" for cell in cells)
    assert kinds.startswith("m") and kinds.endswith("m")
    assert "ccc" not in kinds, "more than two code cells in a row"
    words = sum(
        len("".join(cell["source"]).split()) for cell in cells if cell["cell_type"] == "markdown"
    )
    assert words >= 40 * kinds.count("c"), (
        f"{words / kinds.count('c'):.0f} words of prose a code cell"
    )


def test_no_prompt_ends_in_a_bare_space(lesson):
    """The space before a word is the beginning of its token: a prompt ends in a word or a line."""
    for cell in code_cells(load(lesson)):
        source = "".join(cell["source"])
        assert not re.findall(r"""^\w*prompt\w* = .* ["']$""", source, re.MULTILINE | re.IGNORECASE)
