"""Lesson 09 compares LoRA with full training: what decides who is ahead, and what it says of it."""

import copy
import re
import sys

import pytest
import torch

from helpers import data, lora, loss, plots
from notebooks.tools.lessons import chosen
from tests.lessons.test_lessons import code_cells, load

LESSON = "09"


def test_the_short_runs_are_scored_in_windows_as_long_as_their_rows():
    """In windows of 256, models that had read rows of 128 came out in the wrong order: LoRA led."""
    [lesson] = chosen([LESSON])
    code = "\n".join("".join(cell["source"]) for cell in code_cells(load(lesson)))
    [row] = set(re.findall(r"^rows = .*Blocks\(train_tokens, (\w+)\)", code, re.M))
    assert set(re.findall(r"loss\.evaluate\(\w+, unseen, ([\w.]+)\)", code)) == {row}
    assert set(re.findall(r"loss\.nats_gained\([^)]*?, (\d+)\)", code)) == {row}


@pytest.fixture(scope="module")
def names(cells):
    """What the code defines up to `trial`, but for what it trains on the way."""
    found: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPT2_TUTORIAL_PROFILE", "tiny")
        patch.setattr(sys, "path", [*sys.path])  # the first cell adds to it
        patch.setattr(plots, "show", lambda: None)
        for cell in cells:
            if cell.cell_type == "code" and "learn(theirs" not in cell.source:
                exec(cell.source, found)
            if "def trial(" in cell.source:
                return found
    raise AssertionError("no trial")


def trained(names, rate, seed, learns=lambda name: True):
    """A copy of the model after a short run of the parameters whose names `learns` takes."""
    pupil = copy.deepcopy(names["base"])
    for name, part in pupil.named_parameters():
        part.requires_grad_(learns(name))
    names["learn"](pupil, names["rows"], rate, names["STEPS"], seed)
    return pupil


def near(said: str, found: float) -> bool:
    """As said to its last digit, or the next: processors differ a little."""
    return abs(float(said) - found) <= 1.01 * 10 ** -len(said.partition(".")[2])


def test_what_lora_changes_and_what_all_weights_change_too(names, prose):
    """The names that the lesson leaves out are all those beside the four matrices."""
    assert "embeddings, positions, layer norms and biases" in prose
    for name, _ in names["base"].named_parameters():
        kinds = "wte", "wpe", "ln_", ".bias"
        is_matrix = name.rsplit(".", 2)[-2] in lora.TARGETS and name.endswith(".weight")
        assert is_matrix != any(kind in name for kind in kinds), name


@pytest.mark.figures
def test_full_training_of_the_four_matrices_alone(names, prose):
    """A part of what LoRA is behind comes with the parameters that it leaves alone."""
    first = r"At 0.0005, the matrices alone reach ([\d.]+) and ([\d.]+) at "
    said = re.search(first + r".*? seeds: ([\d.]+) worse", prose).groups()

    def matrices(name):
        return name.rsplit(".", 2)[-2] in lora.TARGETS and name.endswith(".weight")

    for one, seed in zip(said, (42, 1), strict=False):
        found = names["score"](trained(names, 5e-4, seed, matrices))
        assert near(one, found) and near(said[2], found - names["trial"](None, 5e-4, seed))


@pytest.mark.figures
def test_the_order_in_windows_of_256(names, prose):
    """It is turned round, and frozen position vectors do not turn it back."""
    full, low = re.search(r"([\d.]+) with all weights and ([\d.]+) at rank 8. So a", prose).groups()
    [frozen] = re.findall(r"still reaches only ([\d.]+\d) there", prose)

    def score(model):
        return loss.evaluate(model, names["unseen"], 256).perplexity

    assert near(full, score(trained(names, 3e-4, 42)))
    assert near(frozen, score(trained(names, 3e-4, 42, lambda name: "wpe" not in name)))
    pupil = lora.adapt(copy.deepcopy(names["base"]), 8, 42)
    names["learn"](pupil, names["rows"], 3e-3, 32, 42)
    assert near(low, score(pupil))


@pytest.mark.figures
def test_the_order_after_training_on_rows_of_256(names, cells, prose):
    full, low = re.search(r"([\d.]+) with all weights and ([\d.]+) at rank 8, at", prose).groups()
    [source] = [cell.source for cell in cells if "def learn(" in cell.source]
    changed = dict(names)
    exec(source.replace("(4,)", "(2,)"), changed)
    rows = torch.tensor(data.Blocks(names["train_tokens"], 256).rows).long()
    for said, rank, rate in ((full, None, 3e-4), (low, 8, 3e-3)):
        pupil = copy.deepcopy(names["base"])
        pupil = lora.adapt(pupil, rank, 42) if rank else pupil
        changed["learn"](pupil, rows, rate, 32, 42)
        assert near(said, loss.evaluate(pupil, names["unseen"], 256).perplexity)


@pytest.mark.figures
def test_a_rate_between_two_is_as_good_for_all_weights(names, prose):
    said = re.search(r"At 0.0005, all weights reached ([\d.]+), ([\d.]+) and ([\d.]+) at", prose)
    ahead = re.search(r"At 0.0005, they are ahead by ([\d.]+) to ([\d.]+\d)\.", prose).groups()
    gaps = []
    for one, seed in zip(said.groups(), (42, 1, 2), strict=True):
        full = names["trial"](None, 5e-4, seed)
        assert near(one, full)
        gaps.append(names["trial"](8, 3e-3, seed) - full)
    assert near(ahead[0], min(gaps)) and near(ahead[1], max(gaps))


@pytest.mark.figures
@pytest.mark.parametrize("rank", [1, 64])
def test_the_other_ranks(names, prose, rank):
    row = re.search(rf"\| {rank} \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", prose).groups()
    for cell, rate in zip(row, (3e-4, 1e-3, 3e-3, 1e-2), strict=True):
        said, found = cell.strip("*"), names["trial"](rank, rate, 42)
        assert found > 147 if "worse" in said else near(said, found)
