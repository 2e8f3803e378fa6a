"""What lesson 05 shows in folds and in its script, and what it says that they print or leave."""

import math
import re

import nbformat
import pytest
import torch
from transformers import Trainer, TrainingArguments

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
        "tokenizer": tokenizer,
        "train_tokens": train_tokens,
        "validation_tokens": validation_tokens,
        "batch": torch.tensor(train_tokens[:128]).long().reshape(2, 64),
        "token_losses": loss.token_losses,
        "loading": loading,
        "torch": torch,
    }


def test_the_logarithm_by_hand_is_the_loss_of_the_helpers(surroundings):
    cells = nbformat.read(LESSONS[4].file, as_version=4).cells
    [cell] = [cell for cell in cells if "p = probabilities[" in cell.source]
    shown = re.findall(r"p = ([\d.]+)%, -ln p = ([\d.]+)", cell.outputs[0].text)
    given = loss.token_losses(surroundings["model"], surroundings["batch"])[0, 11:14]
    for (p, by_hand), one in zip(shown, given, strict=True):
        assert by_hand == f"{one:.2f}" == f"{-math.log(float(p) / 100):.2f}"


def test_one_slope_by_hand(surroundings, capsys):
    exec(programs("Measure its slope yourself")[0], surroundings)
    assert f"On `tiny` it prints `{capsys.readouterr().out.strip()}`" in prose()


def test_three_slopes_that_agree_and_three_that_do_not(capsys):
    exec(programs("See it in numbers")[0], {})
    assert f"```text\n{capsys.readouterr().out}```" in prose()


@pytest.mark.slow
def test_the_plain_call_comes_near_the_real_run(surroundings, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("GPT2_TUTORIAL_HOME", str(tmp_path))
    tokens, block = surroundings["train_tokens"], surroundings["profile"].block_size
    blocks = data.Blocks(tokens, block)
    names = {"data": data, "blocks": blocks, "Trainer": Trainer}
    exec(
        programs("What does <code>training.train</code> call?")[0],
        surroundings | names | {"TrainingArguments": TrainingArguments},
    )
    assert f"At the end it prints `{capsys.readouterr().out.split()[-1]}`" in prose()
    assert divmod(len(blocks), 8) == (35, 2) and "35 steps of eight, and\none of two" in prose()


@pytest.fixture
def script(tmp_path, monkeypatch, micro_model, tokenizer):
    """The lesson's script for a small model, in a folder with two texts."""
    monkeypatch.chdir(tmp_path)
    micro_model.save_pretrained("small")
    tokenizer.save_pretrained("small")
    (tmp_path / "my_texts").mkdir()
    for name, words in ("one", "The hare runs home . "), ("two", "An owl sees in the dark . "):
        (tmp_path / "my_texts" / f"{name}.txt").write_text(60 * words, encoding="utf-8")
    code = programs("## A whole run without helpers")[0]
    return re.sub(r'"openai-community/gpt2", 512', '"small", 32', code)


@pytest.mark.slow
def test_the_script_trains_ends_documents_and_keeps_two_checkpoints(script, tmp_path, tokenizer):
    found: dict = {}
    exec(script, found)
    assert found["ids"].count(tokenizer.eos_token_id) == 2
    assert len(list((tmp_path / "my_run").glob("checkpoint-*"))) == 2
    rows = torch.tensor([row["input_ids"] for row in found["rows"][found["cut"] :]])
    with torch.no_grad():
        true = loss.token_losses(found["model"].eval(), rows).mean().item()
    assert found["trainer"].evaluate()["eval_loss"] == pytest.approx(true, rel=1e-4)


@pytest.mark.slow
def test_the_script_goes_on_from_the_last_whole_epoch(script, monkeypatch):
    [go_on] = re.findall(r"To go on after a stop, write\s`(trainer\.train\(.+?\))`", prose())
    assert "the end of the last whole epoch" in prose()
    steps, step = [], Trainer.training_step

    def until_the_second_epoch_is_begun(trainer, *args, **kwargs):
        if trainer.state.epoch > 1:
            raise KeyboardInterrupt
        return step(trainer, *args, **kwargs)

    def counted(trainer, *args, **kwargs):
        steps.append(trainer.state.global_step)
        return step(trainer, *args, **kwargs)

    monkeypatch.setattr(Trainer, "training_step", until_the_second_epoch_is_begun)
    with pytest.raises(KeyboardInterrupt):
        exec(script, {})
    monkeypatch.setattr(Trainer, "training_step", counted)
    found: dict = {}
    exec(script.replace("trainer.train()", go_on), found)
    last = found["trainer"].state.global_step
    assert last % 3 == 0 and steps == list(range(last // 3, last))
