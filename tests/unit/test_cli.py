"""The commands as a learner types them, on the bundled model and encyclopedia."""

import io
import json
import re
import shutil

import numpy as np
import pytest
import torch

from helpers import cli, data, loading, profiles
from helpers.generation import LAST_SEED
from helpers.runtime import saving
from tests.conftest import run
from tests.unit.test_loss import by_hand


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """`python -m helpers train`, as in the README; its folder and what it printed."""
    home = tmp_path_factory.mktemp("home")
    result = run("train", home=home)
    assert result.returncode == 0, result.stderr
    return home, result.stdout


@pytest.fixture(scope="module")
def summary(trained):
    return json.loads((trained[0] / "fine_tuned_gpt2" / saving.SUMMARY).read_text(encoding="utf-8"))


def test_three_epochs_bring_perplexity_down_and_change_the_style(trained, summary):
    home, printed = trained
    assert summary["epochs"] == 3
    assert summary["perplexity_after"] < 0.6 * summary["perplexity_before"]
    before, after = printed.split("Before, continuing")[1].split("After, continuing")
    # The encyclopedia sets its punctuation apart; the novels of the pre-training do not.
    assert after.split("Done")[0].count(" , ") >= 2 > before.count(" , ")
    assert "Done after" in printed


def test_the_same_command_again_leaves_the_result_alone(trained):
    home, _ = trained
    file = home / "fine_tuned_gpt2" / "model.safetensors"
    before = file.stat().st_mtime_ns
    result = run("train", home=home)
    assert result.returncode == 0
    assert "holds the finished result of these settings" in result.stdout
    assert file.stat().st_mtime_ns == before


def test_evaluate_gives_the_summarys_figure(trained, summary):
    result = run("evaluate", "--json", home=trained[0])
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
    result = run(
        "evaluate",
        "--json",
        "--block",
        block,
        "--stride",
        stride,
        "--text",
        *files,
        home=trained[0],
    )
    found = json.loads(result.stdout.splitlines()[-1])
    model, tokenizer = loading.load_pretrained(trained[0] / "fine_tuned_gpt2")
    ids = np.array(tokenizer(text)["input_ids"] + tokenizer("# Second file\n")["input_ids"])
    total, count = by_hand(model, ids, block, stride)
    assert found["tokens"] == count
    assert found["loss"] == pytest.approx(total / count, abs=1e-4)


def test_prompt_writes_rewrites_and_leaves(trained):
    arguments = ("prompt", "--max-new-tokens", "20")
    result = run(
        *arguments, home=trained[0], typed=" = Lighthouse = \n\n = Bridge = \n:q\nnever read\n"
    )
    assert result.returncode == 0, result.stderr
    texts = result.stdout.split("prompt> ")[1:]
    assert len(texts) == 4
    first, again, other, _ = texts
    assert first.startswith(again[:15]) and first.startswith(" = Lighthouse = ")
    assert first.split("[seed")[0] != again.split("[seed")[0]
    assert other.startswith(" = Bridge = ")
    assert (
        run(*arguments, home=trained[0], typed=" = Lighthouse = \n:q\n").stdout.split("prompt> ")[1]
        == first
    )
    assert "never read" not in result.stdout


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
    wrong = typing(":temperature cold", ":top_p 3", ":unknown 3")
    assert (
        "temperature must be a number such as 0.8, not 'cold'" in wrong
        and "top_p must be" in wrong
        and ":unknown 3" in wrong
    ), "else it is a prompt"


def test_a_seed_that_is_none_gets_a_hint_and_the_last_is_followed_by_the_first(typing):
    printed = typing(f":seed {2**64}", ":seed -1", "Once", f":seed {LAST_SEED}", "", "")
    assert printed.count("seed must be from 0 to 1e+15, not") == 2
    assert re.findall(r"\[seed (\d+)]", printed) == ["0", str(LAST_SEED), "0"]


def test_a_long_prompt_and_a_broken_one_are_written_on(typing):
    assert "tokens of the prompt do not fit" in typing("one two three " * 100)
    assert "half ? an emoji" in typing("half \udc9f an emoji")


def test_ctrl_c_ends_the_text_and_not_the_loop(typing, monkeypatch):
    def interrupted(*_):
        yield "begun"
        raise KeyboardInterrupt

    monkeypatch.setattr("helpers.generation.decode_stream", interrupted)
    printed = typing("Once", "Twice")
    assert printed.count("begun\n[stopped, seed") == 2


def test_the_saved_model_opens_without_the_helpers(trained):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(trained[0] / "fine_tuned_gpt2")
    tokenizer = AutoTokenizer.from_pretrained(trained[0] / "fine_tuned_gpt2")
    assert model.dtype == torch.float32
    assert tokenizer.decode(
        model.generate(**tokenizer(" = Bridge", return_tensors="pt"), max_new_tokens=3)[0]
    )


def test_own_text(tmp_path):
    articles = data.articles(list(data.load_splits(profiles.choose("tiny"))["test"]["text"]))
    (tmp_path / "mine.txt").write_text("".join(articles[:6]), encoding="utf-8")
    result = run("train", "--text", tmp_path / "mine.txt", "--epochs", "1", "--output-dir", "mine",
                 "--batch-size", "6", home=tmp_path)  # fmt: skip
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "mine" / saving.SUMMARY).read_text(encoding="utf-8"))
    assert summary["perplexity_after"] < summary["perplexity_before"]
    assert "mine.txt" in summary["dataset"]
    assert summary["tokens_seen"] == summary["steps"] * 6 * 256, "the batch that was asked for"
    evaluated = run("evaluate", "mine", home=tmp_path)
    assert (evaluated.returncode, evaluated.stderr.count("--text")) == (2, 1)


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
        (["train", "--text", "missing.txt"], "no file"),
        (["train", "--text", "{home}/empty.txt"], "no text in"),
        (["train", "--text", "{home}/short.txt"], "use a longer text"),
        (["train", "--output-dir", "taken"], "nothing was overwritten"),
        (["prompt"], "There is no model in"),
        (["prompt", "broken"], "incomplete or broken"),
        (["prompt", "untokenized"], "incomplete or broken"),
        (["prompt", "taken"], "There is no model in"),
        (["evaluate", "nowhere"], "There is no model in"),
        (["evaluate", "good", "--block", "257"], "from 2 to 256"),
        (["evaluate", "good", "--stride", "0"], "--stride must be"),
        (["evaluate", "good", "--stride", "300"], "The stride must be"),
        (["evaluate", "good", "--text", "{home}/one.txt"], "fewer than two tokens"),
        (["prompt", "good", "--temperature", "-1"], "temperature must be"),
        (["prompt", "good", "--seed", "-1"], "seed must be"),
        (["prompt", "good"], "The prompt is empty"),
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
    for name in ("good", "broken", "untokenized"):
        shutil.copytree(profiles.BUNDLED / "model", tmp_path / name)
    (tmp_path / "untokenized" / "tokenizer.json").unlink()
    config = tmp_path / "untokenized" / "tokenizer_config.json"
    config.write_text('{"tokenizer_class": "GPT2Tokenizer"}', encoding="utf-8")
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


def test_an_error_is_the_exit_code_of_the_process(tmp_path):
    result = run("prompt", home=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("error: There is no model in")


@pytest.mark.parametrize("command", [[], ["train"], ["prompt"], ["evaluate"], ["download"]])
def test_help_reads_well(tmp_path, command):
    result = run(*command, "--help", home=tmp_path)
    assert result.returncode == 0
    assert "usage: python -m helpers" in result.stdout
