"""Lesson 08 with a learner's own text that is short: it stops with a sentence, not a traceback."""

import nbformat
import pytest
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


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("\n\n".join(DAYS[:3]), "The text is too short: "),
        ("\n\n".join(4 * DAYS), "Your model is trained and saved"),
    ],
    ids=["40_words", "300_words"],
)
def test_a_short_text_stops_with_a_sentence(text, sentence, tmp_path, monkeypatch):
    monkeypatch.setenv("GPT2_TUTORIAL_HOME", str(tmp_path / "home"))
    file = tmp_path / "diary.txt"
    file.write_text(text, encoding="utf-8")
    notebook = nbformat.read(NOTEBOOKS / "08_your_own_text.ipynb", as_version=4)
    [settings] = [cell for cell in notebook.cells if 'TEXT = BUNDLED / "' in cell.source]
    settings.source = settings.source.replace('BUNDLED / "keepers_log.txt"', repr(str(file)))
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": NOTEBOOKS}}
    )
    with pytest.raises(CellExecutionError):
        client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    [error] = [output for output in outputs if output["output_type"] == "error"]
    [shown] = error["traceback"]
    assert shown.startswith(f"TutorialError: {sentence}"), shown
