"""What lesson 07 says of its own numbers, held against those that are stored in it."""

import re

import nbformat

from notebooks.tools.lessons import NOTEBOOKS


def lesson_07():
    cells = nbformat.read(NOTEBOOKS / "07_evaluate.ipynb", as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    printed = "\n".join(
        output.get("text", "") for cell in cells for output in cell.get("outputs", [])
    )
    return " ".join(prose.split()), printed


def test_how_much_of_the_gain_is_a_cure_is_what_the_table_says():
    """A factor of 24 on validation: most of it is the cure of a base that is too sure of itself."""
    prose, printed = lesson_07()
    row = re.search(r"^ +256 +([\d.]+) +([\d.]+) +([\d.]+)$", printed, re.M)
    base, calm, tuned = map(float, row.groups())
    claim = re.search(
        r"factor of about (\d+) on validation, about (\d+) .* about ([\d.]+) the", prose
    )
    whole, cure, rest = claim.groups()
    found = (f"{base / tuned:.0f}", f"{base / calm:.0f}", f"{calm / tuned:.1f}")
    assert (whole, cure, rest) == found


def test_a_gain_on_what_was_trained_on_stands_beside_one_on_new_passages():
    """B gains most on the passages that it read 6 times, and least on new ones: that is memory."""
    prose, printed = lesson_07()
    rows = re.findall(r"^([ABC]), .*passages ([-+.\d]+), on new ones ([-+.\d]+),", printed, re.M)
    read = {name: float(gain) for name, gain, _ in rows}
    new = {name: float(gain) for name, _, gain in rows}
    assert max(read, key=read.get) == min(new, key=new.get) == "B"
    assert f"gains {new['C']:.2f} against B's {new['B']:.2f}" in prose
