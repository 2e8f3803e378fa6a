"""Lesson 08 with a learner's own text that is short: it says so in a sentence, not a traceback."""

import contextlib
import re
from datetime import date

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from notebooks.tools.lessons import NOTEBOOKS

DAYS = (
    "Monday. The boat came with coal and letters, and Ann read hers twice on the step.",
    "Tuesday. Rain, so we mended the net by the stove, and the cat slept in the wool.",
    "Wednesday. I walked to the far beach, and found a blue bottle without a message.",
    "Thursday. Nobody came, and nobody was expected. The bread did not rise.",
    "Friday. Ann painted the door green, and then the handle, and then her sleeve.",
    "Saturday. We counted eleven ships at anchor, and one of them whistled a hymn.",
)


def outputs_with(text, folder, monkeypatch):
    """What the cells of lesson 08 put out, with `text` for the log, up to the first error."""
    monkeypatch.setenv("GPT2_TUTORIAL_HOME", str(folder / "home"))
    file = folder / "diary.txt"
    file.write_text(text, encoding="utf-8")
    notebook = nbformat.read(NOTEBOOKS / "08_your_own_text.ipynb", as_version=4)
    [settings] = [cell for cell in notebook.cells if 'TEXT = BUNDLED / "' in cell.source]
    settings.source = settings.source.replace('BUNDLED / "keepers_log.txt"', repr(str(file)))
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": NOTEBOOKS}}
    )
    with contextlib.suppress(CellExecutionError):
        client.execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_a_text_too_short_to_train_on_stops_with_a_sentence(tmp_path, monkeypatch):
    outputs = outputs_with("\n\n".join(DAYS[:3]), tmp_path, monkeypatch)
    [error] = [output for output in outputs if output["output_type"] == "error"]
    [shown] = error["traceback"]
    assert shown.startswith("TutorialError: The text is too short: "), shown


def test_a_text_too_short_for_the_experiments_runs_to_the_end(tmp_path, monkeypatch):
    """24 entries, 300 words: the experiments and the leak are left out, and the exercises wait.

    The entries are found although a space is in the lines between them, and the five small files
    are as they were: the folds that read them say what they hold.
    """
    outputs = outputs_with("\n \n".join(4 * DAYS), tmp_path, monkeypatch)
    assert not [output for output in outputs if output["output_type"] == "error"]
    printed = " ".join("".join(output.get("text", "") for output in outputs).split())
    assert "Your model is trained and saved; only these experiments" in printed
    assert "40 documents, here 24" in printed
    assert "Exercise 3 waits" in printed
    letter = tmp_path / "home" / "toy_texts" / "letter.txt"
    assert "the café is open" in letter.read_bytes().decode("cp1252")


def test_what_a_learner_may_change_stands_in_the_settings_alone():
    """Block, batch and folder typed again further down would keep a new value from getting there.

    The table of steps an epoch compares fixed values, and one cell knows the settings as given.
    """
    notebook = nbformat.read(NOTEBOOKS / "08_your_own_text.ipynb", as_version=4)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    [settings] = [source for source in code if "BLOCK, BATCH, EPOCHS =" in source]
    below = code[code.index(settings) + 1 :]
    typed = [
        line
        for line in "\n".join(below).splitlines()
        if re.search(r"\b(128|512)\b|keeper_gpt2|\(4,\)|batch_size=\d", line)
    ]
    assert len(typed) == 2, typed
    assert typed[0].startswith("for block, batch in ") and "== (204, 128, 4, 3)" in typed[1]


def test_the_day_that_the_model_invents_is_another_day():
    notebook = nbformat.read(NOTEBOOKS / "08_your_own_text.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("Monday, 21 May 1897." in output.get("text", "") for output in outputs)
    assert f"{date(1897, 5, 21):%A}" == "Friday"
    assert any("21 May 1897 was a Friday" in cell.source for cell in notebook.cells)
