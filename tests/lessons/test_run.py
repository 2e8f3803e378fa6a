"""`python -m notebooks.tools run`: what runs side by side, what waits, and how a failure ends."""

import os
import time

import nbformat
import pytest

from notebooks.tools import __main__ as tools
from notebooks.tools.lessons import LESSONS, Lesson

WAIT = """
import time
from pathlib import Path
for _ in range(600):
    if Path({name!r}).exists():
        break
    time.sleep(0.1)
else:
    raise TimeoutError
"""


@pytest.fixture
def lessons(tmp_path, monkeypatch):
    """Makes lessons of one cell each, in a folder of their own."""
    monkeypatch.setattr(tools, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr("notebooks.tools.lessons.NOTEBOOKS", tmp_path)
    monkeypatch.setenv("GPT2_TUTORIAL_HOME", str(tmp_path))

    def make(**sources):
        made = []
        for stem, source in sources.items():
            notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
            nbformat.write(notebook, tmp_path / f"{stem}.ipynb")
            made.append(Lesson(stem, "", "", "", "", uses_the_model=stem.startswith("model")))
        return made

    return make


def test_lessons_run_side_by_side(lessons, tmp_path):
    """Each of two waits for a sign of the other: one after the other, neither would end."""
    sign = "from pathlib import Path; Path({name!r}).touch()\n"
    made = lessons(
        first=sign.format(name="first.sign") + WAIT.format(name="second.sign"),
        second=sign.format(name="second.sign") + WAIT.format(name="first.sign"),
    )
    assert tools.execute_all(made, tmp_path / "runs", at_once=2)
    assert {path.stem for path in (tmp_path / "runs").iterdir()} == {"first", "second"}


def test_lessons_with_one_model_wait_for_each_other(lessons, tmp_path):
    made = lessons(
        model_a="import time; time.sleep(2); open('done', 'w').close()",
        model_b="assert open('done')",
    )
    assert tools.tracks(made) == [made]
    assert tools.execute_all(made, tmp_path / "runs", at_once=2)


def test_those_with_one_model_begin_first():
    assert [lesson.number for lesson in tools.tracks(list(LESSONS))[0]] == ["05", "06", "07"]
    assert len(tools.tracks(list(LESSONS))) == len(LESSONS) - 2


def test_a_failure_ends_the_others_and_is_said(lessons, tmp_path, capsys):
    begun = "import os; print(os.getpid(), file=open('pid', 'w'), flush=True)\n"
    made = lessons(
        slow=begun + WAIT.format(name="never"),
        wrong=WAIT.format(name="pid") + "import time; time.sleep(1); 1 / 0",
        never="open('never_begun', 'w')",
    )
    assert not tools.execute_all(made, tmp_path / "runs", at_once=2)
    assert "ZeroDivisionError" in capsys.readouterr().err
    kernel = int((tmp_path / "pid").read_text(encoding="utf-8"))
    for _ in range(100):
        try:
            os.kill(kernel, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        raise AssertionError("the other lesson's kernel still runs")
    assert not (tmp_path / "never_begun").exists()


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGINT"])
def test_an_ended_kernel_gets_a_sentence(lessons, tmp_path, capsys, signal):
    """Killed as when memory runs out; and by Ctrl+C, which reaches the tool, not the kernel."""
    process = {"SIGKILL": "os.getpid()", "SIGINT": "os.getppid()"}[signal]
    kill = f"import os, signal, time; os.kill({process}, signal.{signal}); time.sleep(60)"
    began = time.monotonic()
    assert not tools.execute_all(lessons(ended=kill), tmp_path / "runs")
    assert "ended, by Ctrl+C or for want of memory" in capsys.readouterr().err
    assert time.monotonic() - began < 50


@pytest.mark.parametrize(
    ("profile", "cores", "wanted", "at_once", "threads"),
    [
        ("tiny", 8, 8, 3, "2"),
        ("tiny", 2, 8, 2, "1"),
        ("tiny", 8, 1, 1, None),
        ("gpt2", 8, 8, 1, None),
    ],
)
def test_the_cores_are_shared(monkeypatch, profile, cores, wanted, at_once, threads):
    monkeypatch.setattr(tools, "choose", lambda: type("Profile", (), {"name": profile}))
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(os, "environ", {})
    assert tools.lessons_at_once(wanted) == at_once
    assert os.environ.get("OMP_NUM_THREADS") == threads


def test_a_profile_that_does_not_exist_is_said(monkeypatch, capsys):
    monkeypatch.setenv("GPT2_TUTORIAL_PROFILE", "huge")
    monkeypatch.setattr("sys.argv", ["notebooks.tools", "run", "01"])
    assert tools.main() == 2
    assert "huge" in capsys.readouterr().err
