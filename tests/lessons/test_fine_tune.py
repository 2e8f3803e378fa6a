"""What lesson 05 shows in folds and in its script, and what it says that they print or leave."""

import copy
import math
import re
from dataclasses import replace

import nbformat
import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from helpers import data, loading, loss, profiles, training
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


def figures(pattern: str) -> list[str]:
    """The figures that the prose states where it matches; its lines may be wrapped anywhere."""
    [found] = re.findall(pattern, " ".join(prose().split()))
    return [found] if isinstance(found, str) else list(found)


def test_a_hard_place_of_the_batch(surroundings):
    tokens = surroundings["train_tokens"]
    read = surroundings["tokenizer"].decode(tokens[:42])
    assert read.endswith(" often flies about")
    assert surroundings["tokenizer"].decode(tokens[42]) == " 10"
    losses = loss.token_losses(surroundings["model"], surroundings["batch"])
    assert figures(r"` 10` after ` often flies about` costs ([\d.]+\d)") == [f"{losses[0, 41]:.2f}"]


def after_one_step(surroundings, rate):
    pupil = copy.deepcopy(surroundings["model"])
    optimizer = torch.optim.AdamW(pupil.parameters(), lr=rate)
    loss.token_losses(pupil, surroundings["batch"]).mean().backward()
    optimizer.step()
    return pupil


def test_one_step_with_the_full_rate_and_what_other_text_gains_by_one(surroundings):
    full = loss.token_losses(after_one_step(surroundings, 1e-3), surroundings["batch"]).mean()
    assert figures(r"with the settings' 1e-3 goes too far: the loss is then ([\d.]+\d)") == [
        f"{full:.2f}"
    ]
    other = torch.tensor(surroundings["validation_tokens"][:1024]).long().reshape(16, 64)
    models = surroundings["model"], after_one_step(surroundings, 5e-4)
    assert figures(r"loss of 1,024 validation tokens falls from ([\d.]+\d) to ([\d.]+\d)") == [
        f"{loss.token_losses(model, other).mean():.2f}" for model in models
    ]


def test_what_weight_decay_pulls_at(surroundings, tmp_path):
    assert "It then spares layer norms and biases" in " ".join(prose().split())
    arguments = TrainingArguments(
        output_dir=str(tmp_path), weight_decay=0.01, report_to="none", use_cpu=True
    )
    trainer = Trainer(model=surroundings["model"], args=arguments)
    pulled, spared = trainer.create_optimizer().param_groups
    assert (pulled["weight_decay"], spared["weight_decay"]) == (0.01, 0)
    names = {parameter: name for name, parameter in surroundings["model"].named_parameters()}
    for group, is_spared in ((pulled, False), (spared, True)):
        for parameter in group["params"]:
            name = names[parameter]
            assert (name.endswith("bias") or ".ln_" in name) == is_spared, name
    assert torch.optim.AdamW(surroundings["model"].parameters()).defaults["weight_decay"] == 0.01


def test_one_slope_by_hand(surroundings, capsys):
    exec(programs("Measure its slope yourself")[0], surroundings)
    assert f"On `tiny` it prints `{capsys.readouterr().out.strip()}`" in prose()


def test_three_slopes_that_agree_and_three_that_do_not(capsys):
    exec(programs("See it in numbers")[0], {})
    assert f"```text\n{capsys.readouterr().out}```" in prose()


@pytest.mark.figures
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


class Log(TrainerCallback):
    def on_evaluate(self, args, state, control, **kwargs):
        self.history = state.log_history


@pytest.mark.figures
@pytest.mark.parametrize(
    ("rate", "validation", "pattern"),
    [
        (1e-4, 1, r"1e-4 is slow: after the first epoch it has a perplexity of ([\d.]+\d)"),
        (1e-2, -1, r"the loss jumps above ln \*V\*, and perplexity ends at about (\d+)"),
    ],
)
def test_other_rates(surroundings, monkeypatch, tmp_path, rate, validation, pattern):
    monkeypatch.setenv("GPT2_TUTORIAL_HOME", str(tmp_path))
    names = ("model", "tokenizer", "train_tokens", "validation_tokens")
    profile, log = replace(surroundings["profile"], learning_rate=rate), Log()
    streams = [surroundings[name] for name in names]
    training.train(*streams, profile, tmp_path / "model", callbacks=[log], resume=False)
    found = [entry["eval_perplexity"] for entry in log.history if "eval_perplexity" in entry]
    # A run that jumps is not repeated so exactly on another machine.
    near = 0.1 if rate == 1e-2 else 0.001
    assert found[validation] == pytest.approx(float(figures(pattern)[0]), rel=near)
    losses = [entry["loss"] for entry in log.history if "loss" in entry]
    assert (max(losses) > math.log(surroundings["model"].config.vocab_size)) == (rate == 1e-2)
