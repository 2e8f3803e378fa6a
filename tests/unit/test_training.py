"""Runs that are planned, kept, continued, and overwrite nobody's files. On a micro model."""

import functools
import json
import os
import re
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoTokenizer, TrainerCallback, TrainerControl, TrainerState, pipeline

from helpers import generation, loading, loss, profiles, training
from helpers.callbacks import STOPS, Clock, Deadline, StopRequest
from helpers.data import Blocks
from helpers.runtime import budget, checkpoints, saving
from helpers.runtime.errors import TutorialError
from tests.conftest import new_micro_model

FIELDS = (
    "profile model dataset device precision processes epochs steps tokens_seen seconds "
    "tokens_per_second train_loss_first train_loss_last validation_loss_before "
    "validation_loss_after perplexity_before perplexity_after validation_tokens "
    "resumed_from_step stopped_early"
).split()


class StopAt(TrainerCallback):
    """Does something after a step: raises what stands for a kill, or sends a signal."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            self.action()


class Killed(Exception):
    pass


def kill():
    raise Killed


@pytest.fixture
def go(tokenizer, streams, micro_profile, home):
    """Train a new micro model; returns it and the summary."""

    def go(callbacks=(), output="model", resume=True, **changes):
        model = new_micro_model()
        profile = replace(micro_profile, **changes)
        summary = training.train(
            model, tokenizer, *streams, profile, home / output, callbacks, resume
        )
        return model, summary

    return go


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_a_run_learns_and_its_summary_tells(go, home, streams):
    model, summary = go()
    assert list(summary) == FIELDS
    assert json.loads((home / "model" / saving.SUMMARY).read_text(encoding="utf-8")) == summary
    assert summary["perplexity_after"] < 0.5 * summary["perplexity_before"]
    assert summary["train_loss_last"] < summary["train_loss_first"]
    assert (summary["steps"], summary["tokens_seen"]) == (
        24,
        24 * 4 * 32,
    )  # 46 rows, 4 a step, 2 epochs
    assert summary["epochs"] == 2
    assert (summary["resumed_from_step"], summary["stopped_early"]) == (None, False)
    assert not model.training
    assert model.config.use_cache
    total, count = loss.score(model, streams[1], 32)
    assert summary["validation_tokens"] == count
    assert summary["validation_loss_after"] == pytest.approx(total / count, abs=1e-6)


def test_mixed_precision_is_for_training_only(go, home, streams):
    model, summary = go(precision="bf16")
    assert summary["precision"] == "bf16"
    total, count = loss.score(model, streams[1], 32)
    assert summary["validation_loss_after"] == pytest.approx(total / count, abs=1e-6)
    reloaded, _ = loading.load_fine_tuned("model")
    ids = torch.randint(1, 4096, (1, 20))
    assert reloaded.dtype == torch.float32
    assert torch.allclose(model(ids).logits, reloaded(ids).logits, atol=1e-6)


def test_what_was_saved_is_what_was_trained(go, home):
    model, _ = go()
    loaded, _ = loading.load_fine_tuned("model")
    ids = torch.randint(1, 4096, (1, 20))
    assert all(
        torch.equal(*pair) for pair in zip(model.parameters(), loaded.parameters(), strict=True)
    )
    assert torch.allclose(model(ids).logits, loaded(ids).logits, atol=1e-6)


def test_the_saved_model_writes_what_the_one_in_memory_writes(go, home, tokenizer):
    model, _ = go(epochs=1)
    greedy = generation.Sampling(temperature=0, max_new_tokens=20)
    wanted = generation.generate(model, tokenizer, "The fox", greedy)
    assert generation.generate(*loading.load_fine_tuned("model"), "The fox", greedy) == wanted
    write = pipeline("text-generation", str(home / "model"), device="cpu")
    [found] = write("The fox", do_sample=False, max_new_tokens=20)
    assert found["generated_text"] == f"The fox{wanted}"


def test_a_pipeline_that_is_told_no_length_stays_within_the_context(home, tokenizer, capfd):
    """Its own default is 256 new tokens: all of the bundled model's context, and then a prompt."""
    if transformers.__version__ < "5":
        pytest.skip("pipelines of transformers 4 take no length from a model")
    model, _ = loading.load_pretrained(profiles.BUNDLED / "model")
    model.save_pretrained(home / "copy")  # as a training of it does
    tokenizer.save_pretrained(home / "copy")
    write = pipeline("text-generation", str(home / "copy"), device="cpu")
    write.model.generation_config.eos_token_id = None  # it goes on and on
    count = {}
    for name, options in (("none", {}), ("five", {"max_new_tokens": 5})):
        [found] = write("The fox", return_tensors=True, **options)
        count[name] = len(found["generated_token_ids"])
    start = len(tokenizer("The fox")["input_ids"])
    assert count == {"none": start + 80, "five": start + 5}
    assert "max_length" not in capfd.readouterr().err, "no warning of two limits"


# Of torch.compile, what Trainer and saving have to do with: the tracing, and a model in a wrapper.
# Its C++ takes a minute to compile and is PyTorch's: COMPILER=inductor for that too.
COMPILER = os.environ.get("COMPILER", "aot_eager")


@pytest.mark.parametrize("change", [{"attention": "eager"}, {"compile": True}], ids=str)
def test_other_kernels_learn_the_same(go, home, change, monkeypatch):
    if COMPILER == "inductor" and not shutil.which("g++"):
        pytest.skip("it needs a compiler")
    made, compiled = training._arguments, torch._dynamo.utils.counters

    def arguments(*given):
        result = made(*given)
        result.torch_compile_backend = result.torch_compile_backend and COMPILER
        return result

    expected = go(output="one")[1]
    monkeypatch.setattr(training, "_arguments", arguments)
    compiled.clear()
    model, summary = go(output="other", **change)
    assert bool(compiled["stats"]["unique_graphs"]) == ("compile" in change)
    assert summary["train_loss_last"] == pytest.approx(expected["train_loss_last"], abs=1e-4)
    assert torch.equal(weights(model), weights(loading.load_fine_tuned("other")[0]))


def test_a_run_after_a_compiled_one_is_not_compiled(go, monkeypatch):
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "inductor")  # what it leaves
    go()
    assert "ACCELERATE_DYNAMO_BACKEND" not in os.environ


def test_the_kernel_that_was_asked_for_is_loaded(micro_profile):
    for attention in ("sdpa", "eager"):
        assert (
            loading.load_base(replace(micro_profile, attention=attention))[
                0
            ].config._attn_implementation
            == attention
        )


def test_the_best_model_by_validation_is_kept(go, streams):
    # Far too high a learning rate, without descent worth the name: the last model is not the best.
    model, summary = go(learning_rate=0.1, epochs=6)
    total, count = loss.score(model, streams[1], 32)
    assert summary["validation_loss_after"] == pytest.approx(total / count, abs=1e-6)
    assert summary["steps"] < 72, "the best of this run is not its last"


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(go, home):
    straight, expected = go(output="straight")
    with pytest.raises(Killed):
        go([StopAt(15, kill)], output="model")
    assert not (home / "model").exists()
    resumed, summary = go(output="model")
    assert summary["resumed_from_step"] == 8  # the last milestone: three in 24 steps
    assert torch.equal(weights(straight), weights(resumed))
    assert summary["perplexity_after"] == expected["perplexity_after"]
    assert not any((home / "checkpoints").iterdir()), "checkpoints of finished runs are removed"


def test_a_half_written_checkpoint_is_passed_over(go, home):
    with pytest.raises(Killed):
        go([StopAt(15, kill)])
    folder = next((home / "checkpoints").iterdir())
    newest = folder / "checkpoint-18"
    newest.mkdir()
    (newest / "model.safetensors").write_bytes(b"half")
    _, summary = go()
    assert summary["resumed_from_step"] == 8


def test_a_kill_while_checkpoints_are_deleted_leaves_nothing_to_go_on_from(go, home, monkeypatch):
    delete = shutil.rmtree

    def delete_half(folder, ignore_errors):
        if (Path(folder) / "plan.json").exists():
            (Path(folder) / "plan.json").unlink()
            raise Killed
        delete(folder, ignore_errors)

    with monkeypatch.context() as broken, pytest.raises(Killed):
        broken.setattr(shutil, "rmtree", delete_half)
        go()
    for file in (home / "model").iterdir():
        file.unlink()
    assert go()[1]["resumed_from_step"] is None
    assert not any((home / "checkpoints").iterdir()), "what was left over is gone too"


def test_checkpoints_that_somebody_has_open_cost_no_model(go, home, monkeypatch):
    """Windows renames no folder with an open file in it."""
    rename = Path.replace

    def replace(path, target):
        if path.parent.name == "checkpoints":
            raise PermissionError(13, "Access is denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    assert not go()[1]["stopped_early"]
    assert loading.load_fine_tuned("model")


def test_a_finished_run_does_not_train_again(go, home):
    go()
    with pytest.raises(training.AlreadyFinished, match="finished result of these settings"):
        go(epochs=2.0)  # as the command line has it: the same as 2
    go(resume=False)
    go(epochs=1)


def test_a_model_trained_anew_under_the_same_name_makes_another_run(go, home):
    go(output="a")
    again = functools.partial(go, model=str(home / "a"), model_name="a", output="b")
    again()
    with pytest.raises(training.AlreadyFinished):
        again()
    go(output="a", seed=1)
    assert again()[1]["resumed_from_step"] is None


def test_a_run_that_replaces_its_own_model_is_the_same_run_afterwards(go, home):
    go(output="a")
    again = functools.partial(go, model=str(home / "a"), model_name="a", output="a")
    stop = StopAt(15, lambda: signal.raise_signal(signal.SIGINT))
    assert again([stop])[1]["stopped_early"]
    assert again()[1]["resumed_from_step"] == 15
    with pytest.raises(training.AlreadyFinished):
        again()
    go(output="a", seed=1)
    assert again()[1]["resumed_from_step"] is None


def test_a_whole_number_is_the_same_run_as_a_fraction_without_a_rest(micro_profile, streams, home):
    folders = {
        checkpoints.run_folder(
            checkpoints.settings_of(replace(micro_profile, epochs=epochs), *streams, home), home
        )
        for epochs in (3, 3.0)
    }
    assert len(folders) == 1


@pytest.mark.parametrize("number", [signal.SIGINT])
def test_a_second_ctrl_c_leaves_a_model_that_can_write(
    go, home, tokenizer, streams, micro_profile, number
):
    def twice():
        signal.raise_signal(number)
        signal.raise_signal(number)

    model = new_micro_model().train()
    with pytest.raises(KeyboardInterrupt):
        training.train(
            model, tokenizer, *streams, micro_profile, home / "model", [StopAt(5, twice)]
        )
    assert not model.training
    assert model.config.use_cache


def test_under_torchrun_a_ctrl_c_counts_once(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    stop = StopRequest()
    stop.on_train_begin(None, None, None)
    try:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert stop.requested
    finally:
        stop.release()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_every_step_has_a_whole_batch(go):
    """46 rows, 4 a step: the last step of an epoch gets the first rows once more."""

    class Rows(TrainerCallback):
        def on_train_begin(self, args, state, control, train_dataloader, **kwargs):
            self.sizes = [len(batch["input_ids"]) for batch in train_dataloader]

    rows = Rows()
    go([rows])
    assert rows.sizes == [4] * 12


def test_afresh_when_asked(go):
    with pytest.raises(Killed):
        go([StopAt(15, kill)])
    assert go(resume=False)[1]["resumed_from_step"] is None


def test_a_lesson_that_finds_no_model_shows_the_training_and_says_which_model_it_is(home, capsys):
    profile = replace(profiles.choose("tiny"), epochs=0.03)
    for shown in (True, False):
        origin = loading.ensure_model(profile)[2]
        assert ("the loss curves grow while the cell runs" in capsys.readouterr().out) is shown
        assert re.fullmatch(
            r"This is the model that you fine-tuned: fine_tuned_gpt2 "
            r"\(profile tiny, 0\.\d+ epochs, perplexity \d+\.\d\d\)\.", origin
        )  # fmt: skip


def test_other_settings_are_another_run(go, home):
    with pytest.raises(Killed):
        go([StopAt(15, kill)])
    assert go(learning_rate=0.02)[1]["resumed_from_step"] is None
    assert go(global_batch_size=2)[1]["resumed_from_step"] is None
    checkpoint = next((home / "checkpoints").rglob("checkpoint-8"))
    shutil.copytree(checkpoint, checkpoint.with_name("checkpoint-8 copy"))  # no step of the run
    assert go()[1]["resumed_from_step"] == 8


def test_another_number_of_processes_is_another_run(micro_profile, streams, home, monkeypatch):
    alone = checkpoints.settings_of(micro_profile, *streams, home / "model")
    monkeypatch.setenv("WORLD_SIZE", "2")
    both = checkpoints.settings_of(micro_profile, *streams, home / "model")
    folders = [checkpoints.run_folder(one, home / "model") for one in (alone, both)]
    assert folders[0] != folders[1]


@pytest.mark.parametrize("minutes", [None, 1.0])
def test_a_block_longer_than_the_context_gets_a_sentence(go, home, minutes):
    with pytest.raises(TutorialError, match="from 2 to 64 tokens, this model's context, not 1,024"):
        go(block_size=1024, minutes=minutes)
    assert not (home / "model").exists()


def test_a_loss_that_is_not_a_number_ends_the_run_with_a_sentence(go, home):
    with pytest.raises(TutorialError, match="learning rate 1e\\+30 is too high"):
        go(learning_rate=1e30)
    assert not (home / "model").exists()


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_ends_the_run_cleanly_and_it_can_go_on(go, home, number):
    model, summary = go([StopAt(5, lambda: signal.raise_signal(number))])
    assert summary["stopped_early"]
    assert summary["steps"] == 5, "the step in which the signal arrived, and no more"
    assert not model.training
    assert (home / "model" / "model.safetensors").is_file()
    straight, _ = go(output="straight")
    again, summary = go()
    assert (summary["resumed_from_step"], summary["stopped_early"]) == (5, False)
    assert torch.equal(weights(straight), weights(again))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, (
        "the handlers are given back"
    )


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has none")
@pytest.mark.parametrize("nohup", [False, True])
def test_a_terminal_that_is_closed_hangs_up_twice_and_under_nohup_nothing_stops(go, nohup):
    """Its shell sends one to each of its jobs, and the system another one when the shell ends."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)
    try:
        _, summary = go([StopAt(5, lambda: [signal.raise_signal(signal.SIGHUP) for _ in "12"])])
        assert summary["stopped_early"] is not nohup
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos"), "free some"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "too little memory"),
        (MemoryError(), "too little memory"),
    ],
    ids=str,
)
def test_what_the_machine_refuses_in_mid_run_is_said_and_the_run_goes_on(go, error, words):
    def refuse():
        raise error

    with pytest.raises(TutorialError, match=f"{words}.*same command continues"):
        go([StopAt(15, refuse)])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert go()[1]["resumed_from_step"] == 8


def test_a_bug_in_mid_run_is_not_hidden(go):
    def broken():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        go([StopAt(5, broken)])


def test_others_can_read_all_files_of_a_model(go, home):
    """safetensors 0.8 lets nobody but the owner read the weights."""
    go()
    (home / "new").touch()
    modes = {file.name: oct(file.stat().st_mode) for file in (home / "model").iterdir()}
    assert set(modes.values()) == {oct((home / "new").stat().st_mode)}, modes


def test_the_tokenizer_opens_with_older_libraries(go, home, tokenizer):
    go()
    told = saving.read_json(home / "model" / "tokenizer_config.json")
    assert told["tokenizer_class"] == "PreTrainedTokenizerFast", "transformers 4 has no other name"
    inputs = ["input_ids", "attention_mask"]
    assert told["model_input_names"] == inputs, "4 would make token types, which GPT-2 adds"
    opened = AutoTokenizer.from_pretrained(home / "model")
    assert list(opened(" = Lighthouse")) == inputs
    text = " = Lighthouse = \n <unk> A café 🦊"
    assert opened(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert opened.eos_token_id == tokenizer.eos_token_id


def test_what_a_run_replaces_is_said_before(go, home, capsys):
    go()
    assert "kept as" not in capsys.readouterr().out
    old = go(seed=1, epochs=1)[1]["perplexity_after"]
    assert re.search(
        r"^model \(profile tiny, 2 epochs, perplexity \S+\) will be kept as \S+\.previous\.$",
        capsys.readouterr().out,
        re.M,
    )
    go([StopAt(5, lambda: signal.raise_signal(signal.SIGTERM))])
    said = capsys.readouterr().out
    assert f"model (profile tiny, 1 epoch, perplexity {old:.2f}) will be kept as" in said
    assert "model.previous, in place of model.previous (profile tiny, 2 epochs, " in said
    assert ", stopped early, perplexity" in saving.describe_model(home / "model")
    assert "without a record" in saving.describe_model(home / "nothing")


def test_a_stopped_run_goes_on_from_its_newest_checkpoint_though_another_is_the_best(go, home):
    changes = {"learning_rate": 0.1, "epochs": 6}  # far too high: the last model is not the best
    _, summary = go([StopAt(30, lambda: signal.raise_signal(signal.SIGTERM))], **changes)
    assert summary["stopped_early"]
    assert summary["steps"] < 30, "the best of this run is not its last"
    assert len(list((home / "checkpoints").rglob("checkpoint-*"))) == 2, "the best and the newest"
    assert go(**changes)[1]["resumed_from_step"] == 30


def test_a_step_has_the_batch_that_was_asked_for(go):
    _, summary = go(global_batch_size=6)  # 4 rows at once do not go into it
    assert (summary["steps"], summary["tokens_seen"]) == (
        16,
        16 * 6 * 32,
    )  # 46 rows: 8 steps an epoch


def test_several_gpus_do_not_multiply_the_batch(go, monkeypatch):
    expected = go(output="one")[1]
    made = training._arguments

    def with_four_gpus(*arguments):
        result = made(*arguments)
        assert result.n_gpu == 0
        result._n_gpu = 4
        return result

    monkeypatch.setattr(training, "_arguments", with_four_gpus)
    assert go(output="four")[1]["train_loss_last"] == expected["train_loss_last"]


def test_the_log_begins_with_the_loss_before_training_also_of_a_run_that_goes_on(go):
    class Watch(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == 5

        def on_train_end(self, args, state, control, **kwargs):
            self.history = state.log_history

    for _ in range(2):
        watch = Watch()
        _, summary = go([watch])
        first = {"step": 0, "eval_loss": summary["validation_loss_before"]}
        assert watch.history[0] == {**first, "eval_perplexity": summary["perplexity_before"]}
        assert [entry["step"] for entry in watch.history if "eval_loss" in entry][:2] == [0, 5]


def test_a_continued_run_gets_its_budget_anew():
    clock, control = Clock(), TrainerControl()
    clock.before = 1000.0  # seconds that went into the run before it was stopped
    deadline = Deadline(clock, 60)
    deadline.on_step_end(None, None, control)
    assert not control.should_training_stop
    clock.started -= 61
    deadline.on_step_end(None, None, control)
    assert control.should_training_stop


def test_whoever_asks_for_the_end_gets_an_evaluated_and_saved_run(go, home):
    """The Stop button, the deadline or a callback of your own: they set one flag of `control`."""

    class Enough(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == 5

    _, summary = go([Enough()])
    assert (summary["steps"], summary["stopped_early"]) == (5, True)
    assert go()[1]["resumed_from_step"] == 5


def test_a_finished_run_is_recognised(go, home, streams, micro_profile):
    go()
    settings = checkpoints.settings_of(micro_profile, *streams, home / "model")
    assert checkpoints.finished(home / "model", settings)["steps"] == 24
    assert checkpoints.finished(home / "model", {**settings, "seed": 1}) is None
    assert checkpoints.finished(home / "nothing", settings) is None


def test_one_training_at_a_time_for_a_folder(go, home):
    with checkpoints.only_one(home / "model"):
        with pytest.raises(
            TutorialError, match="Another training for .*model is running; wait for it"
        ):
            go()
        go(output="other")
    with pytest.raises(Killed):
        go([StopAt(5, kill)])
    go()  # what has failed stands in nobody's way
    assert not (home / ".model.lock").exists()


def test_a_folder_of_somebody_elses_is_left_alone(go, home):
    folder = home / "model"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(TutorialError, match="thesis.txt"):
        go()
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
    (folder / "thesis.txt").unlink()
    go()  # an empty folder may be used
    assert not (home / "model.previous").exists(), "there was none"
    (folder / "thesis.txt").write_text("years of work", encoding="utf-8")
    go(seed=1)
    kept = home / "model.previous"
    assert (kept / "thesis.txt").read_text(encoding="utf-8") == "years of work"
    assert (kept / "model.safetensors").is_file()
    (kept / saving.SUMMARY).unlink()
    with pytest.raises(TutorialError, match="model.previous holds files that are not ours"):
        go(seed=2)  # it would delete them
    assert (kept / "thesis.txt").is_file()
    (home / "file").write_text("", encoding="utf-8")
    with pytest.raises(TutorialError, match="is a file"):
        go(output="file")


def test_a_model_is_replaced_as_a_whole_or_not_at_all(
    go, home, tokenizer, micro_model, monkeypatch
):
    go()
    old = (home / "model" / "model.safetensors").read_bytes()

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(micro_model), "save_pretrained", full_disk)
    with pytest.raises(TutorialError, match="No space left"):
        saving.save(micro_model, tokenizer, home / "model", dict, {})
    assert (home / "model" / "model.safetensors").read_bytes() == old
    assert sorted(path.name for path in home.iterdir()) == ["checkpoints", "model"]


def test_a_kill_between_the_two_renames_loses_nothing(go, home):
    go()
    shutil.copytree(home / "model", home / "model.previous")
    (home / "model").rename(home / ".model.new")
    assert (loading.model_folder("model") / saving.SUMMARY).is_file(), "whoever looks for it"
    assert loading.load_fine_tuned("model")
    assert sorted(path.name for path in home.iterdir()) == [
        "checkpoints",
        "model",
        "model.previous",
    ]


def test_a_kill_while_a_first_model_is_written_leaves_none(go, home):
    """The summary comes last: without a whole one, the rest may not be there either."""
    go()
    (home / "model").rename(home / ".model.new")
    (home / ".model.new" / saving.SUMMARY).write_text("", encoding="utf-8")
    assert not loading.model_folder("model").exists()
    shutil.rmtree(home / ".model.new")
    assert not loading.model_folder("model").exists()


def test_a_model_that_was_deleted_does_not_come_back(go, home):
    go()
    go(seed=1)
    shutil.rmtree(home / "model")
    assert not loading.model_folder("model").exists()
    assert go()[1]["resumed_from_step"] is None, "what is kept beside it is not the result"


@pytest.mark.parametrize(
    ("files", "whole"),
    [
        ("config.json model.safetensors", True),
        ("config.json model.safetensors.index.json model-00001-of-00002.safetensors", True),
        ("config.json", False),
        ("model.safetensors", False),
        ("adapter_config.json adapter_model.safetensors", True),
        ("config.json adapter_model.safetensors", False),
        ("", False),
    ],
)
def test_what_counts_as_a_model(tmp_path, files, whole):
    for name in files.split():
        (tmp_path / name).write_text("", encoding="utf-8")
    assert saving.is_model(tmp_path) == whole
    assert not saving.is_model(tmp_path / "nothing")


def test_a_budget_trains_the_part_that_fits(micro_model, micro_profile, streams, monkeypatch):
    blocks = Blocks(streams[0], 32)
    monkeypatch.setattr(budget, "_measure_step", lambda *_, limit: 2.0)
    before = weights(micro_model)
    functions = training.mean_loss, lambda *_: None  # scoring takes no time
    half_a_minute, hour = (replace(micro_profile, minutes=minutes) for minutes in (0.5, 60))
    plan = budget.make_plan(micro_model, blocks, streams[1], half_a_minute, *functions)
    assert plan.full_steps == 24
    assert 14 <= plan.steps <= 15  # 30 s, less a margin and the evaluations, at 2 s a step
    assert "all 24 steps would take 0.8 minutes" in str(plan)
    assert torch.equal(before, weights(micro_model))
    assert budget.make_plan(micro_model, blocks, streams[1], hour, *functions).steps == 24


def test_a_budget_is_kept_and_a_fifth_of_it_goes_into_validation(
    tokenizer, streams, micro_profile, home, monkeypatch
):
    seconds, spent, score = 6.0, [], training.score

    def timed(*arguments):
        began = time.perf_counter()
        result = score(*arguments)
        spent.append(time.perf_counter() - began)
        return result

    monkeypatch.setattr(training, "score", timed)
    profile = replace(micro_profile, minutes=seconds / 60, epochs=1000)
    validation = np.tile(streams[1], 1000)  # to score all of it would take longer than the budget
    began = time.perf_counter()
    summary = training.train(
        new_micro_model(), tokenizer, streams[0], validation, profile, home / "model"
    )
    assert summary["steps"] > 30
    # Within 10% on a machine of one's own; tests share theirs.
    assert 0.4 * seconds < time.perf_counter() - began < 1.6 * seconds
    assert len(spent) == 6, "twice to measure it, once before, and three times on the way"
    assert 0.01 * seconds < sum(spent) < 2 * 0.2 * seconds
    assert summary["validation_tokens"] < len(validation)


@pytest.mark.parametrize("minutes", [None, 0.5])
def test_a_full_disk_is_told_before_the_training_begins(go, home, monkeypatch, minutes):
    monkeypatch.setattr(budget.shutil, "disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    with pytest.raises(TutorialError, match="take 0.0 GB.* has 0.0 GB left; free some space"):
        go(minutes=minutes)
    assert list(home.iterdir()) == []
    monkeypatch.setattr(budget.shutil, "disk_usage", lambda _: SimpleNamespace(free=8_000_000))
    go(minutes=minutes)


def test_measuring_a_step_leaves_model_and_chance_alone(micro_profile, streams):
    model = new_micro_model(dropout=0.3)
    before = weights(model).clone()
    torch.manual_seed(7)
    blocks = Blocks(streams[0], 32)
    assert budget._measure_step(model, blocks, micro_profile, training.mean_loss, limit=0.0) > 0
    drawn = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(3))
    assert torch.equal(before, weights(model))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training


def test_it_is_said_where_the_validation_loss_rose(tokenizer, streams, micro_profile, home, capsys):
    noise = np.random.default_rng(1).integers(0, 4000, 333).astype(np.int32)
    for validation, rose in ((streams[1], False), (noise, True)):
        run = new_micro_model(), tokenizer, streams[0], validation, replace(micro_profile, epochs=1)
        summary = training.train(*run, home / f"rose_{rose}")
        said = capsys.readouterr().out
        line = rf"The validation loss rose by \d+\.\d+ after step {summary['steps']} of 12: that"
        assert bool(re.search(line, said)) == rose == (summary["steps"] < 12)


@pytest.mark.parametrize(
    ("rise", "advice"),
    [(0.007, "That may be chance."), (0.3, "Fewer epochs, or more text, may help.")],
)
def test_a_rise_that_may_be_chance_gets_no_advice(capsys, rise, advice):
    """With an earlier bundled model, three seeds rose by 0.011, 0.025 and 0.063 nats a token."""
    log = [{"eval_loss": 3.0, "step": 72}, {"eval_loss": 3.0 + rise, "step": 108}]
    log.append({"train_loss": 3.0, "step": 108})  # as Trainer writes it at the end
    state = TrainerState(log_history=log, best_metric=3.0, best_global_step=72, global_step=108)
    checkpoints.say_if_it_rose(state)
    assert capsys.readouterr().out == (
        f"The validation loss rose by {rise:.3f} after step 72 of 108: that step's model is kept. "
        f"{advice}\n"
    )


def test_a_model_is_described_by_the_epoch_after_which_it_was_kept(tmp_path):
    def described(epochs, asked=None, early=False):
        told = {"profile": "tiny", "epochs": epochs, "stopped_early": early}
        saving.write_json(tmp_path / saving.SUMMARY, told | {"perplexity_after": 21.4})
        (tmp_path / saving.SETTINGS).unlink(missing_ok=True)
        if asked:
            saving.write_json(tmp_path / saving.SETTINGS, {"epochs": asked})
        return saving.describe_model(tmp_path).removeprefix(f"{tmp_path.name} (profile tiny, ")

    assert described(2.0, 3) == "kept after epoch 2 of 3, perplexity 21.40)"
    assert described(1.3333, 3, True).startswith("kept after epoch 1.33 of 3, stopped early, ")
    assert described(3.0, 3) == described(3.0) == "3 epochs, perplexity 21.40)"
    assert described(1.0) == "1 epoch, perplexity 21.40)"


def test_checkpoints_of_runs_with_other_settings_are_named_at_the_start(go, home, capsys):
    with pytest.raises(Killed):
        go([StopAt(9, kill)])
    assert "other settings" not in capsys.readouterr().out
    go(epochs=0.1, global_batch_size=2)
    said = capsys.readouterr().out
    assert re.search(
        rf"A new run. {home / 'checkpoints'} holds 0.00\d+ GB of runs with other settings;", said
    )
    assert go()[1]["resumed_from_step"] == 8  # it is no other
    assert "other settings" not in capsys.readouterr().out
