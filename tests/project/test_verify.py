"""`make verify-gpt2` as far as it can be tried without GPT-2's weights: its row, and a stand-in for
the Hub.
"""

import re

import pytest

from tests.conftest import ROOT
from tests.hub import Hub, make_repos
from tests.unit.test_hub import python
from tests.verify_gpt2 import HEADER, OUTPUT, with_row

RULE = "| --- | --- | --- | --- | --- | --- |"
TABLE = f"# Title\n\n{HEADER}\n{RULE}\n| not yet run | | | | | |\n\nMore.\n"


def test_the_row_replaces_the_one_before_it_and_nothing_else():
    cells = [
        "a GPU",
        "Python 3",
        "3 of 3 epochs",
        "30.00 → 20.00",
        "31.00 → 21.00",
        "25.00 → 18.00",
    ]
    written = with_row(TABLE, cells)
    row = "| a GPU | Python 3 | 3 of 3 epochs | 30.00 → 20.00 | 31.00 → 21.00 | 25.00 → 18.00 |"
    assert written == TABLE.replace("| not yet run | | | | | |", row)
    assert with_row(written, ["a | b", *cells[1:]]) == written.replace("| a GPU |", "| a / b |")


def test_a_readme_or_a_row_of_another_shape_is_left_alone():
    for text, count in (
        (TABLE, 5),
        (TABLE.replace("\n\nMore", "\n| another |\n"), 6),
        ("no table", 6),
    ):
        with pytest.raises(ValueError):
            with_row(text, ["cell"] * count)


def test_the_readme_has_the_table():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_row(readme, ["cell"] * 6) != readme


# What Ctrl-C in the third step does.
STOPPED = """
import runpy, signal, sys
from helpers.ui import progress_bar

class Stopped(progress_bar.ProgressBar):
    def on_step_begin(self, args, state, control, **_):
        if state.global_step == 2:
            signal.raise_signal(signal.SIGINT)

progress_bar.ProgressBar = Stopped
runpy.run_module("tests.verify_gpt2", run_name="__main__")
"""


def test_the_whole_verification_against_the_stand_in(tmp_path):
    make_repos(tmp_path / "hub")
    readme, home = tmp_path / "README.md", tmp_path / "home"
    readme.write_text(TABLE, encoding="utf-8")
    with Hub(tmp_path / "hub") as hub:
        where = {"endpoint": hub.url, "hf_home": tmp_path / "hf_home", "home": home}
        # Windows' encoding for pipes, which has no arrow
        settings = {
            "GPT2_TUTORIAL_MINUTES": "1",
            "GPT2_TUTORIAL_DEVICE": "cpu",
            "PYTHONIOENCODING": "cp1252",
        }
        stopped = python("-c", STOPPED, str(readme), **where, **settings)
        assert stopped.returncode == 1, stopped.stderr
        assert stopped.stderr.splitlines()[-1].startswith(
            "error: The training was stopped, so no row was written"
        )
        assert readme.read_text(encoding="utf-8") == TABLE
        done = python("-m", "tests.verify_gpt2", str(readme), **where, **settings)
    assert done.returncode == 0, done.stderr
    assert "Going on from step 3 of " in done.stdout
    assert done.stdout.count(" → ") == 3, "printed as it stands in the row"
    machine, versions, trained, *pairs = (
        readme.read_text(encoding="utf-8").splitlines()[4].strip("| ").split(" | ")
    )
    assert "CPU cores" in machine and "torch 2" in versions
    assert versions.endswith(f"files from {hub.url}"), (
        "nobody takes a stand-in's figures for GPT-2's"
    )
    assert re.match(r"[\d.]+ of 3 epochs, \d+ steps in (fp32|bf16), ", trained)
    assert len(pairs) == 3
    for pair in pairs:
        before, after = map(float, pair.split(" → "))
        assert after < before
    assert done.stdout.count("continuing ' = The lighthouse = \\n'") == 2
    assert {path.name for path in home.glob("fine_tuned_gpt2*")} == {OUTPUT, f"{OUTPUT}.previous"}
