"""What lesson 10 says beside its cells, held by its own functions."""

import copy
import re
import sys

import matplotlib.pyplot as plt
import pytest
import torch

from helpers import lora, plots

LESSON = "10"


@pytest.fixture(scope="module")
def names(cells):
    """What the code of Part 1 defines, up to the program for several processes."""
    sources = [cell.source for cell in cells if cell.cell_type == "code"]
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])  # the first cell adds to it
        patch.setattr(plots, "show", lambda: None)
        for source in sources[: next(n for n, code in enumerate(sources) if "SETUP" in code)]:
            exec(source, found)
    yield found
    plt.close("all")


def rows_on(gpu: float, names: dict, fixed: float, row: float) -> int:
    """As the lesson's own function says, for a GPU with so many GB."""
    before, names["GPU"] = names["GPU"], gpu
    fit = names["rows_that_fit"](fixed, row)
    names["GPU"] = before
    return fit


def test_the_figures_of_the_opening_and_of_the_sum_by_hand(names, prose):
    xl, medium = names["sums"]["gpt2-xl"], names["sums"]["gpt2-medium"]
    fixed, row = f"{sum(xl[:3]):.1f} GB", f"{xl.iloc[3]:.1f} GB"
    assert f"takes {fixed} for its parameters, and {row} for a row of 1,024 tokens" in prose
    fixed, row = sum(medium[:3]), medium.iloc[3]
    kept = 1024 * names["token_bytes"](*names["FAMILY"]["gpt2-medium"]) / 1e9
    said = re.search(
        r"so ([\d.]+) GB may.* take ([\d.]+) GB: .* leaves ([\d.]+) GB.* keeps ([\d.]+) GB"
        r".*vocabulary: ([\d.]+) GB. So a row takes ([\d.]+) GB, and (\d) rows",
        prose,
    )
    sums = [0.9 * 16, fixed, 0.9 * 16 - fixed, kept, row - kept, row]
    assert said.groups() == (*(f"{s:.1f}" for s in sums), f"{rows_on(16, names, fixed, row)}")


def test_the_verdict_on_each_model(names, prose):
    def fit(name, a_layer=64, rank=0, gpu=16):
        shape = names["FAMILY"][name]
        fixed = names["lora_gb"](*shape, rank) if rank else 16 * names["parameters"](*shape) / 1e9
        return rows_on(gpu, names, fixed, names["row_gb"](*shape, a_layer=a_layer))

    small = [fit(name) for name in ("distilgpt2", "gpt2", "gpt2-medium")]
    assert "with {}, {} or {} rows at a time".format(*small) in prose
    assert fit("gpt2-large") == fit("gpt2-xl") == fit("gpt2-xl", 4) == 0
    assert f"weights with checkpointing, {fit('gpt2-large', 4)} rows at a time" in prose
    assert f"LoRA with checkpointing, {fit('gpt2-xl', 4, 16)} rows at a time" in prose
    assert f"40 GB: checkpointed, {fit('gpt2-xl', 4, gpu=40)} rows fit" in prose


def test_the_bars_are_the_sums_and_the_line_is_what_may_be_used(names):
    axes = names["axes"]
    drawn = [[bar.get_width() for bar in bars] for bars in axes.containers]
    for widths, (_, part) in zip(drawn, names["sums"].iterrows(), strict=True):
        assert widths == pytest.approx(list(part)[::-1])
    assert list(axes.lines[0].get_xdata()) == [0.9 * 16] * 2


def test_what_transformers_own_gelu_keeps(names, prose):
    from transformers.activations import ACT2FN

    before, own = re.search(r"eight steps, (\d+)\*d\* becomes (\d+)\*d\*", prose).groups()
    plain = copy.deepcopy(names["model"])
    for layer in plain.transformer.h:
        layer.mlp.act = ACT2FN["gelu_new"]
    layers, width, _ = names["SHAPE"]
    more = names["measured"](plain) - names["measured"](names["model"])
    assert more / (4 * width * layers) == pytest.approx(int(own) - int(before), rel=0.01)


def test_a_row_takes_nearly_as_much_with_lora(names, prose):
    """Less by the first norm's input and the last one's output, more by A @ x: four times 16."""
    assert "A row takes nearly as much as before" in prose
    layers, width, _ = names["SHAPE"]
    before = names["measured"](names["model"])
    adapted = names["measured"](lora.adapt(copy.deepcopy(names["model"]), 16))
    assert adapted == pytest.approx(before, rel=0.02)
    assert adapted - before == pytest.approx(4 * 4 * 16 * layers - 2 * 4 * width, abs=100)


def test_checkpointing_leaves_a_quarter_of_this_model(names):
    left = names["measured"](names["thrifty"]) / names["measured"](names["model"])
    assert 0.22 < left < 0.28


def test_twice_the_step_goes_past_the_lowest_loss(names):
    """Along the first step of *More: the division, forgotten*: down, and up on the other side."""
    rows, loss = names["rows"][:4], names["loss"]
    model = names["model"]
    loss.token_losses(model, rows).mean().backward()
    after = {}
    for rate in (0, 0.02, 0.03, 0.06):
        stepped = copy.deepcopy(model)
        with torch.no_grad():
            for old, new in zip(model.parameters(), stepped.parameters(), strict=True):
                new -= rate * old.grad
            after[rate] = loss.token_losses(stepped, rows).mean().item()
    model.zero_grad()
    assert after[0.02] < after[0.03] < after[0.06] < after[0]


def test_the_price_does_not_give_exercise_2_away(cells, prose):
    code = "\n".join(cell.source for cell in cells)
    share = float(re.search(r"^SHARE = ([\d.]+)", code, re.M)[1])
    answer = 300e9 * 854e6 / (8 * 312e12 * 4 * 86_400)
    assert abs(share / answer - 1) > 0.1
    printed = " ".join(o.get("text", "") for c in cells for o in c.get("outputs", []))
    hours = float(re.search(r"300 billion tokens +gpt2 +([\d,.]+)", printed)[1].replace(",", ""))
    assert round(hours / 24 / 365.25 * 12) == 6 and "takes six months" in prose
