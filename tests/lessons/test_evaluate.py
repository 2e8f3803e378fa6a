"""What lesson 07 says of its own numbers, held against those that are stored in it."""

import json
import math
import re

import nbformat
import pytest

from helpers.profiles import BUNDLED
from notebooks.tools.lessons import NOTEBOOKS


def lesson_07():
    cells = nbformat.read(NOTEBOOKS / "07_evaluate.ipynb", as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    printed = "\n".join(
        output.get("text", "") for cell in cells for output in cell.get("outputs", [])
    )
    return " ".join(prose.split()), printed


def test_how_much_of_the_gain_is_a_cure_is_what_the_table_says():
    """In windows of 256, most of the factor comes from halving; in windows of 32, much less."""
    prose, printed = lesson_07()
    table = re.findall(r"^ +(\d+) +([\d.]+) +([\d.]+) +([\d.]+)$", printed, re.M)
    rows = {int(block): [float(value) for value in found] for block, *found in table}
    base, calm, tuned = rows[256]
    factors = base / tuned, base / calm, calm / tuned
    claim = re.search(r"Factors multiply: (\d+) = (\d+) × ([\d.]+)\.", prose)
    whole, cure, rest = factors
    assert claim.groups() == (f"{whole:.0f}", f"{cure:.0f}", f"{rest:.1f}")
    claim = re.search(r"Nats add up: ([\d.]+) = ([\d.]+) \+ ([\d.]+)\.", prose)
    assert claim.groups() == tuple(f"{math.log(factor):.1f}" for factor in factors)
    assert math.log(base / calm) / math.log(base / tuned) == pytest.approx(3 / 5, abs=0.02)
    assert prose.count("about three fifths of the gain") == 2
    base, calm, tuned = rows[32]
    assert 1 / 4 < math.log(base / calm) / math.log(base / tuned) < 1 / 3


def test_the_leads_of_ann_and_ben_with_a_control_and_without():
    """Both are ahead by 1.4 on their half; beside new articles, Ann would seem to be by 1.6."""
    prose, printed = lesson_07()
    rows = re.findall(r"^(Ann's half|Ben's half|new articles) +([\d.]+) +([\d.]+)$", printed, re.M)
    losses = {name: (float(of_ann), float(of_ben)) for name, of_ann, of_ben in rows}
    (ann, his), (hers, ben) = losses["Ann's half"], losses["Ben's half"]
    new_ann, new_ben = losses["new articles"]
    leads = f"Ann is ahead by {his - ann:.1f} nats on her half, and Ben by {hers - ben:.1f} on his"
    assert leads in prose
    alone = f"Ann {new_ann - ann:.1f} nats ({new_ann} − {ann}), and Ben {new_ben - ben:.1f}."
    assert alone in prose
    assert f"Ben ahead by {new_ann - new_ben:.1f} on new articles" in prose


def test_of_the_runs_of_eight_words_in_the_test_split_1_percent_stand_in_a_piece():
    def runs_of_eight(text):
        words = re.findall(r"[a-z0-9']+", text.lower())
        return list(zip(*(words[at:] for at in range(8)), strict=False))

    pieces = set()
    for file in (BUNDLED / "pieces").glob("*.md"):
        pieces.update(runs_of_eight(file.read_text(encoding="utf-8")))
    rows = (BUNDLED / "encyclopedia" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    found = [run in pieces for row in rows for run in runs_of_eight(json.loads(row)["text"])]
    prose, _ = lesson_07()
    assert "of eight words in the test split, about 1% also stand in those pieces" in prose
    assert 0.005 < sum(found) / len(found) < 0.015


def test_a_gain_on_what_was_trained_on_stands_beside_one_on_new_passages():
    """B gains most on the passages that it read 6 times, and least on new ones: that is memory."""
    prose, printed = lesson_07()
    rows = re.findall(r"^([ABC]), .*passages ([-+.\d]+), on new ones ([-+.\d]+),", printed, re.M)
    read = {name: float(gain) for name, gain, _ in rows}
    new = {name: float(gain) for name, _, gain in rows}
    assert max(read, key=read.get) == min(new, key=new.get) == "B"
    assert f"gains {new['C']:.2f} against B's {new['B']:.2f}" in prose
    rows = re.findall(r"^([ABC]), .*new ones ([-+.\d]+), on the story ([-+.\d]+)$", printed, re.M)
    (a_new, a_story), _, (c_new, c_story) = ([float(gain) for gain in row[1:]] for row in rows)
    assert abs(a_new - c_new) < 0.1 > abs(a_story - c_story), "A did as well as C"
