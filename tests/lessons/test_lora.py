"""Lesson 09 compares LoRA with full training: what decides who is ahead."""

import re

from notebooks.tools.lessons import chosen
from tests.lessons.test_lessons import code_cells, load


def test_the_short_runs_are_scored_in_windows_as_long_as_their_rows():
    """In windows of 256, models that had read rows of 128 came out in the wrong order: LoRA led."""
    [lesson] = chosen(["09"])
    code = "\n".join("".join(cell["source"]) for cell in code_cells(load(lesson)))
    [row] = set(re.findall(r"^rows = .*Blocks\(train_tokens, (\w+)\)", code, re.M))
    assert set(re.findall(r"loss\.evaluate\(\w+, new, ([\w.]+)\)", code)) == {row}
