"""What lesson 05 shows in folds and in its script, and what it says that they print or leave."""

import re

import nbformat
import pytest
import torch

from helpers import data, loading, loss, profiles
from notebooks.tools.lessons import LESSONS


def prose():
    cells = nbformat.read(LESSONS[4].file, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def programs(after: str) -> list[str]:
    """The programs that stand in the prose after the words `after`, the nearest first."""
    return re.findall(r"^```python\n(.*?)^```", prose().split(after)[1], re.M | re.S)


@pytest.fixture
def surroundings():
    """What the cells above the folds leave behind."""
    profile = profiles.choose("tiny")
    model, tokenizer = loading.load_base(profile)
    train_tokens, validation_tokens = data.prepare(profile, tokenizer)
    return {
        "profile": profile,
        "model": model,
        "train_tokens": train_tokens,
        "validation_tokens": validation_tokens,
        "batch": torch.tensor(train_tokens[:128]).long().reshape(2, 64),
        "token_losses": loss.token_losses,
        "loading": loading,
        "torch": torch,
    }


def test_one_slope_by_hand(surroundings, capsys):
    exec(programs("Measure its slope yourself")[0], surroundings)
    assert f"On `tiny` it prints `{capsys.readouterr().out.strip()}`" in prose()


def test_three_slopes_that_agree_and_three_that_do_not(capsys):
    exec(programs("See it in numbers")[0], {})
    assert f"```text\n{capsys.readouterr().out}```" in prose()


def test_only_the_positions_of_the_rows_have_a_slope(surroundings):
    model, batch = surroundings["model"], surroundings["batch"]
    loss.token_losses(model, batch).mean().backward()
    moved = model.transformer.wpe.weight.grad.abs().sum(1) > 0
    assert moved[:63].all() and not moved[64:].any() and len(moved) == 256


@pytest.mark.slow
def test_one_text_is_harder_before_training(surroundings, capsys):
    exec(programs("Is one text harder?")[0], surroundings)
    shown = " and ".join(f"`{line}`" for line in capsys.readouterr().out.splitlines()[-2:])
    assert f"On `tiny` it prints {shown}" in prose()


@pytest.mark.slow
def test_the_script_trains_ends_documents_and_keeps_two_checkpoints(
    tmp_path, monkeypatch, micro_model, tokenizer, capsys
):
    monkeypatch.chdir(tmp_path)
    micro_model.save_pretrained("small")
    tokenizer.save_pretrained("small")
    (tmp_path / "my_texts").mkdir()
    for name, words in ("one", "The hare runs home . "), ("two", "An owl sees in the dark . "):
        (tmp_path / "my_texts" / f"{name}.txt").write_text(60 * words, encoding="utf-8")
    script, writing = programs("## A whole run without helpers")[:2]
    found: dict = {}
    exec(re.sub(r'"openai-community/gpt2", 512', '"small", 32', script), found)
    assert found["ids"].count(tokenizer.eos_token_id) == 2
    assert len(list((tmp_path / "my_run").glob("checkpoint-*"))) == 2
    rows = torch.tensor([row["input_ids"] for row in found["rows"][found["cut"] :]])
    with torch.no_grad():
        true = loss.token_losses(found["model"].eval(), rows).mean().item()
    assert found["trainer"].evaluate()["eval_loss"] == pytest.approx(true, rel=1e-4)
    capsys.readouterr()
    exec(writing, {})
    assert capsys.readouterr().out.startswith("It was a dark night")
