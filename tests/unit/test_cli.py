"""The commands as a learner types them, on the bundled model and encyclopedia.

One of each kind in a process of its own; more of them in this one, since each process loads torch.
"""

import contextlib
import copy
import io
import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from helpers import cli, data, loading, profiles
from helpers.generation import LAST_SEED, Sampling, generate
from helpers.runtime import saving
from helpers.runtime.errors import TutorialError
from helpers.ui import progress_bar, terminal
from tests import forked
from tests.conftest import ROOT, run
from tests.unit.test_loss import by_hand


def here(*arguments, home, typed=""):
    """As `run`, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPT2_TUTORIAL_HOME", str(home))
        patch.setattr(sys, "stdin", io.StringIO(typed))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main([str(argument) for argument in arguments])
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


@pytest.fixture(scope="module")
def trained(trained_home):
    """A home with what `python -m helpers train`, as in the README, makes there."""
    return trained_home


@pytest.fixture(scope="module")
def summary(trained):
    return json.loads((trained / "fine_tuned_gpt2" / saving.SUMMARY).read_text(encoding="utf-8"))


def test_three_epochs_bring_perplexity_down(summary):
    assert summary["epochs"] == 2  # of 3: the validation loss rose, and the best model is kept
    assert summary["perplexity_after"] < 0.6 * summary["perplexity_before"]


def test_a_short_training_changes_the_style_and_is_what_lesson_05_makes(tmp_path):
    """The lesson's cells, and the command; to the last bit, though only the lesson writes texts in
    between.
    """
    done = run("train", "--epochs", "0.25", home=tmp_path / "script")
    assert done.returncode == 0, done.stderr
    before, after = done.stdout.split("Before, continuing")[1].split("After, continuing")
    # The encyclopedia sets its punctuation apart; the books of the pre-training do not.
    assert after.split("Done")[0].count(" .") >= 2 > before.count(" .")
    assert "Done after" in done.stdout

    cells = lesson_05("EPOCHS = 0.25")
    environment = {**os.environ, "GPT2_TUTORIAL_HOME": str(tmp_path / "lesson")}
    code = forked.run(["-c", cells], cwd=ROOT / "notebooks", env=environment)
    assert code.returncode == 0, code.stderr
    script, lesson = (
        tmp_path / home / "fine_tuned_gpt2" / "model.safetensors" for home in ("script", "lesson")
    )
    assert script.read_bytes() == lesson.read_bytes()


def lesson_05(epochs: str) -> str:
    """Its cells up to the training, with these epochs, and without what it tries out before."""
    notebook = nbformat.read(ROOT / "notebooks" / "05_fine_tune.ipynb", as_version=4)
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    ends = [place for place, source in enumerate(sources) if "training.train(" in source]
    needed = ("start()", "EPOCHS =", "load_base", "PROMPT =", "class Samples", "training.train(")
    kept = [source for source in sources[: ends[0] + 1] if any(part in source for part in needed)]
    assert len(kept) == len(needed) and kept[1].count("EPOCHS = 3") == 1
    kept.insert(0, "from transformers import TrainerCallback")  # the trial with Trainer brings it
    return "\n".join(kept).replace("EPOCHS = 3", epochs)


def test_the_same_command_again_leaves_the_result_alone(trained):
    """So lesson 05, whose model this is where it was run, has the settings of the command."""
    home = trained
    file = home / "fine_tuned_gpt2" / "model.safetensors"
    before = file.stat().st_mtime_ns
    result = run("train", home=home)
    assert result.returncode == 0
    assert "holds the finished result of these settings" in result.stdout
    assert file.stat().st_mtime_ns == before


def test_evaluate_gives_the_summarys_figure(trained, summary):
    result = run("evaluate", "--json", home=trained)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert set(found) == {"loss", "perplexity", "tokens", "block", "stride"}
    assert found["perplexity"] == pytest.approx(summary["perplexity_after"], rel=1e-6)
    assert (found["tokens"], found["block"], found["stride"]) == (
        summary["validation_tokens"],
        256,
        256,
    )


@pytest.mark.parametrize(("block", "stride"), [(64, 64), (100, 30), (256, 255)])
def test_evaluate_agrees_with_a_double_loop_on_real_text(trained, tmp_path, block, stride):
    text = (
        "A ragged text, with an odd end.\n\n\n  It has blank lines; an emoji 🦊 ; and “quotes”\n"
        * 4
        + "and no last line end"
    )
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    (tmp_path / "b.md").write_text("# Second file\n", encoding="utf-8")
    files = (tmp_path / "a.txt", tmp_path / "b.md")
    result = here(
        "evaluate", "--json", "--block", block, "--stride", stride, "--text", *files, home=trained
    )
    found = json.loads(result.stdout.splitlines()[-1])
    model, tokenizer = loading.load_pretrained(trained / "fine_tuned_gpt2")
    ids = np.array(tokenizer(text)["input_ids"] + tokenizer("# Second file\n")["input_ids"])
    total, count = by_hand(model, ids, block, stride)
    assert found["tokens"] == count
    assert found["loss"] == pytest.approx(total / count, abs=1e-4)


def test_prompt_writes_rewrites_and_leaves(trained):
    arguments = ("prompt", "--max-new-tokens", "20")
    result = run(
        *arguments, home=trained, typed=" = The lighthouse =\n\n = The bridge =\n:q\nnever read\n"
    )
    assert result.returncode == 0, result.stderr
    texts = result.stdout.split("prompt> ")[1:]
    assert len(texts) == 4
    first, again, other, _ = texts
    assert first.startswith(again[:15]) and first.startswith(" = The lighthouse =")
    assert first.split("[seed")[0] != again.split("[seed")[0]
    assert other.startswith(" = The bridge =")
    assert (
        here(*arguments, home=trained, typed=" = The lighthouse =\n:q\n").stdout.split("prompt> ")[
            1
        ]
        == first
    )
    assert "never read" not in result.stdout
    kept = r"profile tiny, kept after epoch 2 of 3, perplexity \d+\.\d\d"
    which = rf"This is fine_tuned_gpt2 \({kept}\)\.\n"
    assert re.match(which, result.stdout)


@pytest.fixture
def typing(micro_model, tokenizer, monkeypatch, capsys):
    """What `prompt` prints when somebody types these lines at a terminal."""

    def play(*lines):
        typed = iter([*lines, ":q"])
        monkeypatch.setattr("builtins.input", lambda _: next(typed))
        monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
        monkeypatch.setattr(loading, "load_fine_tuned", lambda *_: (micro_model, tokenizer))
        assert cli.main(["prompt", "--max-new-tokens", "5"]) == 0
        return capsys.readouterr().out.partition("ends a text.")[2]

    return play


def test_a_blank_line_gets_a_hint_and_the_prompt_before_it_stays(typing):
    printed = typing("Once upon", "   ", "")
    assert printed.count("Once upon") == 2
    assert printed.count("The prompt is empty") == 1


def test_settings_can_be_typed_between_prompts(typing):
    cold = typing(":temperature 0", "Once", "")
    texts = [text.split("\n[seed")[0] for text in cold.split("Once")[1:]]
    assert texts[0] == texts[1], "greedy: no seed changes it"
    assert "[seed 7]" in typing(":seed 7", "Once")
    wrong = typing(":temperature cold", ":top_p 3")
    assert "temperature must be a number such as 0.8, not 'cold'" in wrong
    assert "top_p must be" in wrong and "is now" not in wrong


def test_a_line_with_a_colon_is_a_command_and_never_a_prompt(typing):
    printed = typing(":top-k 5", ":top_k", ":temperature 0.5", ":seed", ":max_new_tokens 7")
    said = ["top_k is now 5", "top_k is 5", "temperature is now 0.5", "seed is 0"]
    assert printed.split("\n")[1:-1] == [*said, "max_new_tokens is now 7"]
    wrong = typing(":unknown 3", ":", ":)", ":\udc9f", ":help now")
    assert wrong.count("There is no command :") == 4 and wrong.count("see :help") == 4
    assert "[seed" not in wrong, "nothing was written"
    told = typing(":top-p 0.5", ":help")
    assert "An empty line writes another text" in told
    assert "Now: repetition penalty 1, temperature 0.8, top k 50, top p 0.5," in told
    for word in (":q", ":quit", " :quit "):
        assert "[seed" not in typing(word, "Once")
    assert " :) she" in typing(" :) she")


def test_a_seed_that_is_none_gets_a_hint_and_the_last_is_followed_by_the_first(typing):
    printed = typing(f":seed {2**64}", ":seed -1", "Once", f":seed {LAST_SEED}", "", "")
    assert printed.count("seed must be from 0 to 1e+15, not") == 2
    assert re.findall(r"\[seed (\d+)]", printed) == ["0", str(LAST_SEED), "0"]


def test_a_long_prompt_and_a_broken_one_are_written_on(typing):
    assert "tokens of the prompt do not fit" in typing("one two three " * 100)
    assert "half ? an emoji" in typing("half \udc9f an emoji")


def test_a_space_at_the_end_of_a_prompt_gets_a_hint(typing, once):
    assert "[The prompt ends in a space;" in typing("The old man ", ":q")
    assert "ends in a space" not in typing("The old man", " = Title =", ":q")
    out, err = once("--prompt", "The old man ")
    assert "ends in a space" in err and "ends in a space" not in out


def test_ctrl_c_ends_the_text_and_not_the_loop(typing, monkeypatch):
    def interrupted(*_):
        yield "begun"
        raise KeyboardInterrupt

    monkeypatch.setattr("helpers.generation.decode_stream", interrupted)
    printed = typing("Once", "Twice")
    assert printed.count("begun\n[stopped, seed") == 2


@pytest.fixture
def once(micro_model, tokenizer, monkeypatch, capsys):
    """What `prompt --prompt "Once upon" ...` prints on stdout and on stderr."""
    monkeypatch.setattr(loading, "load_fine_tuned", lambda *_: (micro_model, tokenizer))

    def play(*options, code=0):
        arguments = ["prompt", "--prompt", "Once upon", "--max-new-tokens", "12", *options]
        assert cli.main([str(argument) for argument in arguments]) == code
        return capsys.readouterr()

    return play


def text_of(model, tokenizer, seed: int) -> str:
    return generate(model, tokenizer, "Once upon", Sampling(max_new_tokens=12, seed=seed))


def test_a_prompt_in_the_command_is_written_on_once_a_seed(once, micro_model, tokenizer):
    wanted = [f"Once upon{text_of(micro_model, tokenizer, seed)}\n" for seed in (3, 4)]
    printed = once("--samples", "2", "--seed", "3")
    assert printed.out == "\n".join(wanted), "texts alone, so that it pipes"
    assert printed.err == "[seed 3]\n[seed 4]\n"
    printed = once("--prompt", "one two three " * 100)
    assert "do not fit" in printed.err and "do not fit" not in printed.out


@pytest.mark.skipif(sys.platform == "win32", reason="there, a closed pipe is another error")
def test_a_reader_that_has_had_enough_ends_it_without_a_word():
    arguments = ["prompt", profiles.BUNDLED / "model", "--prompt", "a", "--max-new-tokens", "1"]
    child = subprocess.Popen(
        [sys.executable, "-m", "helpers", *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    child.stdout.close()
    assert (child.stderr.read(), child.wait()) == ("", 0)


def test_a_text_ends_before_a_string_that_spans_tokens(
    once, micro_model, tokenizer, tmp_path, monkeypatch
):
    steps, grow = [], terminal.grow
    monkeypatch.setattr(terminal, "grow", lambda *run: map(steps.append, grow(*run)))
    whole = text_of(micro_model, tokenizer, 0)
    pieces = tokenizer.convert_ids_to_tokens(tokenizer(whole)["input_ids"])
    place = len(whole) // 2
    stop = whole[place : place + 12]
    assert stop and all(stop not in piece for piece in pieces)
    wanted = whole[: whole.index(stop)]
    file = tmp_path / "texts.jsonl"
    assert once("--stop", stop).out == f"Once upon{wanted}\n"
    assert len(steps) < 12, "what comes after it is not written at all"
    once("--stop", stop, "--output", file)
    assert json.loads(file.read_text(encoding="utf-8"))["text"] == wanted


@pytest.mark.parametrize("prompt", ["<|endoftext|>", "A fox<|endoftext|>", "<|startoftext|>[PAD]"])
def test_marks_in_a_prompt_and_as_a_stop_string_are_texts(once, prompt):
    printed = once("--prompt", prompt).out
    assert printed.startswith(prompt) and len(printed) > len(prompt) + 12
    for stop in ("<|endoftext|>", "<|startoftext|>", "[PAD]"):
        assert once("--prompt", prompt, "--stop", stop).out == printed, "it is not in the text"


def test_texts_go_to_a_new_file_and_never_to_an_old_one(once, micro_model, tokenizer, tmp_path):
    file = tmp_path / "texts.jsonl"
    assert once("--samples", "2", "--stop", "zebra", "--output", file).out == ""
    lines = file.read_text(encoding="utf-8").splitlines()
    for seed, record in enumerate(map(json.loads, lines)):
        assert record["text"] == text_of(micro_model, tokenizer, seed)
        assert (record["prompt"], record["seed"], record["stop"]) == ("Once upon", seed, "zebra")
        assert record["top_k"] == 50
    assert seed == 1
    refused = once("--output", file, code=2)
    assert f"{file} could not be written (File exists)" in refused.err
    assert file.read_text(encoding="utf-8").splitlines() == lines
    once("--prompt", "half \udc9f an emoji", "--output", tmp_path / "new")
    assert '"half ? an emoji"' in (tmp_path / "new").read_text(encoding="utf-8")
    once("--prompt", "  ", "--output", tmp_path / "none", code=2)
    assert not (tmp_path / "none").exists(), "an empty prompt leaves no empty file"


def test_the_saved_model_opens_without_the_helpers(trained):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(trained / "fine_tuned_gpt2")
    tokenizer = AutoTokenizer.from_pretrained(trained / "fine_tuned_gpt2")
    assert model.dtype == torch.float32
    assert tokenizer.decode(
        model.generate(**tokenizer(" = Bridge", return_tensors="pt"), max_new_tokens=3)[0]
    )


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("fine_tuned_gpt2", "python -m helpers prompt"),
        ("my_model", "python -m helpers prompt my_model"),
        ("my model", "python -m helpers prompt 'my model'"),
        ("-мой 🦊.", "python -m helpers prompt './-мой 🦊.'"),
        ("/else/fine_tuned_gpt2", "python -m helpers prompt /else/fine_tuned_gpt2"),
    ],
)
def test_the_report_says_how_to_try_the_model_and_to_go_on(home, capsys, folder, command):
    figures = {"seconds": 1, "perplexity_before": 9.0, "perplexity_after": 8.0, "steps": 3}
    progress_bar.report(figures | {"stopped_early": False}, loading.model_folder(folder), "", {})
    assert capsys.readouterr().out.splitlines()[-1] == f"Try it: {command}"
    progress_bar.report(figures | {"stopped_early": True}, loading.model_folder(folder), "", {})
    *_, saved, tried, last = capsys.readouterr().out.splitlines()
    assert f"Saved in {loading.model_folder(folder)}." in saved and tried == f"Try it: {command}"
    assert last == "The same command as before goes on where this training stopped."


def test_prompt_and_evaluate_take_an_adapter_as_a_model(tmp_path):
    done = run("train", "--lora", "4", "--epochs", "0.1", "--output-dir", "small", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "bundled GPT-2 with LoRA of rank 4 on " in done.stdout.splitlines()[0]
    assert "Training all 4 steps." in done.stdout
    assert "Warning" not in done.stderr, done.stderr
    folder = tmp_path / "small"
    summary, settings = saving.read_summary(folder), saving.read_json(folder / saving.SETTINGS)
    assert summary["lora"] == 4 and settings["learning_rate"] == pytest.approx(3e-3)
    assert summary["perplexity_after"] < 0.9 * summary["perplexity_before"]
    done = here("evaluate", "--json", "small", home=tmp_path)
    assert done.returncode == 0 and "Warning" not in done.stderr, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["perplexity"] == pytest.approx(summary["perplexity_after"], rel=1e-4)
    done = here("prompt", "small", "--max-new-tokens", "5", home=tmp_path, typed="A turtle\n:q\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("This is small (profile tiny, LoRA of rank 4, ")
    assert "A turtle" in done.stdout
    refused = here("train", "--lora", "0", home=tmp_path)
    assert refused.returncode == 2 and "--lora must be a whole number above zero" in refused.stderr
    refused = here("train", "--lora", "100000", "--output-dir", "large", home=tmp_path)
    assert refused.returncode == 2 and "The rank must be from 1 to" in refused.stderr


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A model trained on two files of one's own, each named by an option; what was printed."""
    home = tmp_path_factory.mktemp("own")
    articles = data.articles(list(data.load_splits(profiles.choose("tiny"))["test"]["text"]))
    for name, part in (
        ("a.txt", articles[:4]),
        ("b.txt", articles[4:9]),
        ("c.txt", articles[9:11]),
    ):
        (home / name).write_text("".join(part), encoding="utf-8")
    result = here("train", "--text", home / "a.txt", "--text", home / "b.txt", "--epochs", "1",
                  "--output-dir", "mine", "--batch-size", "3", home=home)  # fmt: skip
    assert result.returncode == 0, result.stderr
    return home, result.stdout, saving.read_summary(home / "mine")


def test_own_text(own):
    _, printed, summary = own
    assert summary["perplexity_after"] < summary["perplexity_before"]
    assert summary["dataset"] == "own text: a.txt, b.txt"
    assert summary["tokens_seen"] == summary["steps"] * 3 * 256, "the batch that was asked for"
    assert re.search(r"^Files read: 2, documents: 2, characters: [\d,]+\.$", printed, re.MULTILINE)
    assert re.search(r"^[\d,]+ tokens to train on, [\d,]+ to validate on\.$", printed, re.MULTILINE)


def test_evaluate_scores_the_held_out_part_of_own_text(own):
    home, _, summary = own
    result = here("evaluate", "mine", "--json", home=home)
    assert result.returncode == 0, result.stderr
    assert "Files read: 2" in result.stderr
    assert "Tokens in a block while it was trained: 256." in result.stderr
    found = json.loads(result.stdout)  # nothing but the object
    assert found["perplexity"] == pytest.approx(summary["perplexity_after"], rel=1e-6)
    assert found["tokens"] == summary["validation_tokens"]


@pytest.mark.parametrize("content", [None, "Another text. " * 5_000])
def test_own_text_that_is_gone_or_changed_is_not_scored(
    own, tmp_path, monkeypatch, capsys, content
):
    shutil.copytree(own[0], tmp_path / "home")
    monkeypatch.setenv("GPT2_TUTORIAL_HOME", str(tmp_path / "home"))
    settings = tmp_path / "home" / "mine" / saving.SETTINGS
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace(str(own[0]), str(tmp_path / "home")), encoding="utf-8")
    if content is None:
        (tmp_path / "home" / "b.txt").unlink()
    else:
        (tmp_path / "home" / "b.txt").write_text(content, encoding="utf-8")
    assert cli.main(["evaluate", "mine"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "b.txt: this model's text is gone or has changed; name one to score with --text" in error


def test_training_goes_on_from_an_own_model_on_new_text(own, tmp_path):
    """Into the same folder: the model before it stays beside it."""
    shutil.copytree(own[0] / "mine", tmp_path / "mine")
    result = here("train", "--profile", "gpt2", "--model", "mine", "--text", own[0] / "a.txt",
                  "--validation", own[0] / "c.txt", "--epochs", "1", "--output-dir", "mine",
                  "--learning-rate", "1e-3", "--precision", "fp32", "--device", "cpu",
                  home=tmp_path)  # fmt: skip
    assert result.returncode == 0, result.stderr
    summary = saving.read_summary(tmp_path / "mine")
    assert (summary["model"], summary["dataset"]) == ("mine", "own text: a.txt")
    before, after = (tmp_path / name / "model.safetensors" for name in ("mine.previous", "mine"))
    assert before.read_bytes() == (own[0] / "mine" / before.name).read_bytes() != after.read_bytes()
    assert saving.read_summary(before.parent) == own[2]
    evaluated = here("evaluate", "mine", "--json", home=tmp_path)
    found = json.loads(evaluated.stdout)["perplexity"]
    assert found == pytest.approx(summary["perplexity_after"], rel=1e-6)


def test_a_text_too_short_for_one_row_is_trained_on_in_smaller_blocks(home, capsys):
    lines = ["number,line\n", *(f"{n},Number {n} is a line of a short list.\n" for n in range(9))]
    (home / "list.csv").write_text("".join(lines), encoding="utf-8")
    train = ["train", "--profile", "tiny", "--text", str(home / "list.csv"), "--column", "line"]
    train += ["--epochs", "0.1"]
    assert cli.main(train) == 2
    assert cli.main([*train, "--block", "16"]) == 0
    assert "x 16 tokens a step" in capsys.readouterr().out
    assert cli.main(["evaluate", "--json", "--block", "16"]) == 0  # on what was held out
    found, summary = (
        json.loads(capsys.readouterr().out),
        saving.read_summary(home / "fine_tuned_gpt2"),
    )
    assert found["loss"] == pytest.approx(summary["validation_loss_after"], rel=1e-6)
    assert found["tokens"] == summary["validation_tokens"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--profile", "gpt3"], "no profile"),
        (["train", "--device", "tpu"], "no device"),
        (["train", "--precision", "int3"], "no precision"),
        (["train", "--epochs", "0"], "--epochs must be"),
        (["train", "--learning-rate", "-1"], "--learning-rate must be"),
        (["train", "--minutes", "nan"], "--minutes must be"),
        (["train", "--batch-size", "1.5"], "--batch-size must be"),
        (["train", "--seed", "-1"], "seed must be from 0 to 4,294,967,295"),
        (["train", "--seed", str(2**40)], "seed must be from 0 to 4,294,967,295"),
        (["train", "--text", "missing.txt"], "no file"),
        (["train", "--text", "{home}/empty.txt"], "no text in"),
        (["train", "--text", "{home}/short.txt"], "or a smaller --block"),
        (["train", "--profile", "tiny", "--block", "257"], "--block must be from 2 to 256"),
        (["train", "--block", "1"], "--block must be from 2"),
        (["train", "--validation", "{home}/short.txt"], "name that with --text"),
        (["train", "--output-dir", "taken"], "nothing was overwritten"),
        (["prompt"], "There is no model in"),
        (["prompt", "broken"], "incomplete or broken (weights); delete it"),
        (["prompt", "unparsed"], "incomplete or broken (tokenizer.json); delete it"),
        (["prompt", "untokenized"], "has no tokenizer.json; copy it there"),
        (["prompt", "misfit"], "cannot be loaded (its config.json does not fit its weights)"),
        (["evaluate", "llama"], "is no GPT-2 but of the architecture llama"),
        (["prompt", "taken"], "There is no model in"),
        (["evaluate", "nowhere"], "There is no model in"),
        (["evaluate", "good", "--block", "257"], "from 2 to 256"),
        (["evaluate", "good", "--stride", "0"], "--stride must be"),
        (["evaluate", "good", "--stride", "300"], "The stride must be"),
        (["evaluate", "good", "--text", "{home}/one.txt"], "fewer than two tokens"),
        (["prompt", "good", "--temperature", "-1"], "temperature must be"),
        (["prompt", "good", "--seed", "-1"], "seed must be"),
        (["prompt", "good"], "The prompt is empty"),
        (["prompt", "good", "--prompt", " "], "The prompt is empty"),
        (["prompt", "good", "--samples", "2"], "need a --prompt"),
        (["prompt", "good", "--prompt", "a", "--samples", "0"], "--samples must be"),
        (["prompt", "good", "--prompt", "a", "--output", "{home}/no/x"], "could not be written"),
    ],
)
def test_bad_input_gets_one_sentence_and_changes_nothing(
    tmp_path, monkeypatch, capsys, arguments, words
):
    # In this process, for speed: the commands of a learner start torch anew each time.
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    (tmp_path / "short.txt").write_text("a short text", encoding="utf-8")
    (tmp_path / "one.txt").write_text("a", encoding="utf-8")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("years of work", encoding="utf-8")
    for name in ("good", "broken", "unparsed", "untokenized", "misfit", "llama"):
        shutil.copytree(profiles.BUNDLED / "model", tmp_path / name)
    (tmp_path / "untokenized" / "tokenizer.json").unlink()
    config = tmp_path / "untokenized" / "tokenizer_config.json"
    config.write_text('{"tokenizer_class": "GPT2Tokenizer"}', encoding="utf-8")
    (tmp_path / "unparsed" / "tokenizer.json").write_text("{", encoding="utf-8")
    config = (tmp_path / "good" / "config.json").read_text(encoding="utf-8")
    for name, was, now in (("llama", '"gpt2"', '"llama"'), ("misfit", ": null", ": 99")):
        changed = config.replace(was, now, 1)
        (tmp_path / name / "config.json").write_text(changed, encoding="utf-8")
    weights = tmp_path / "broken" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv("GPT2_TUTORIAL_HOME", str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.StringIO("  \n"))
    assert cli.main([argument.replace("{home}", str(tmp_path)) for argument in arguments]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and words in errors[0], errors
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "taken" / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def load_copy(tmp_path, monkeypatch, error: Exception) -> str:
    """What is said of a sound model, the bundled one's copy, where loading it raises `error`."""
    if not (tmp_path / "copy").exists():
        shutil.copytree(profiles.BUNDLED / "model", tmp_path / "copy")

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", refuse)
    with pytest.raises(TutorialError) as raised:
        loading.load_pretrained(tmp_path / "copy")
    return str(raised.value)


def test_nobody_is_advised_to_delete_a_sound_model(tmp_path, monkeypatch):
    said = load_copy(tmp_path, monkeypatch, MemoryError())
    assert "there is too little memory" in said and "delete" not in said
    said = load_copy(tmp_path, monkeypatch, ValueError("needs another version\nof it"))
    assert "cannot be loaded (needs another version)" in said and "delete" not in said
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda file, how: file.suffix == ".json" and access(file, how)
    )
    said = load_copy(tmp_path, monkeypatch, FileNotFoundError())
    assert "You may not read" in said and "delete" not in said


def test_the_bundled_model_is_restored_and_not_deleted(tmp_path, monkeypatch):
    shutil.copytree(profiles.BUNDLED / "model", tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"half")
    monkeypatch.setattr(saving, "BUNDLED", tmp_path)
    with pytest.raises(TutorialError, match="broken .weights.; restore it with git checkout"):
        loading.load_pretrained(tmp_path / "model")


def test_a_tokenizer_with_more_tokens_than_the_model_has_is_sound(tmp_path, tokenizer):
    """Such as one for padding, which the model never sees."""
    shutil.copytree(profiles.BUNDLED / "model", tmp_path / "model")
    larger = copy.deepcopy(tokenizer)
    larger.add_special_tokens({"pad_token": "[PAD]"})
    larger.save_pretrained(tmp_path / "model")
    assert len(loading.load_pretrained(tmp_path / "model")[1]) == 4097


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device", "a.txt"), "error: No space left on device: a.txt"),
        (ConnectionError("the line is dead"), "error: the line is dead"),
        (MemoryError(), "error: there is too little memory"),
        (TypeError("a bug"), None),
        (RuntimeError("a bug"), None),
    ],
    ids=str,
)
def test_what_the_machine_refuses_is_a_sentence_and_a_bug_is_not(
    monkeypatch, capsys, tmp_path, error, words
):
    def refuse(*_):
        raise error

    monkeypatch.setattr(loading, "load_fine_tuned", refuse)
    if words is None:
        with pytest.raises(type(error)):
            cli.main(["evaluate"])
    else:
        assert cli.main(["evaluate"]) == 2
        assert capsys.readouterr().err.startswith(words)


def test_an_error_is_the_exit_code_of_the_process(tmp_path):
    result = run("prompt", home=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("error: There is no model in")


@pytest.mark.parametrize(
    "command", [[], ["train"], ["inspect"], ["prompt"], ["evaluate"], ["download"]]
)
def test_help_reads_well(tmp_path, command):
    result = run(*command, "--help", home=tmp_path)
    assert result.returncode == 0
    assert "usage: python -m helpers" in result.stdout
