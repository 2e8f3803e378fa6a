"""`python -m helpers inspect`: what a training would read, and what is odd about it."""

import json

import pytest

from helpers import cli, data, profiles
from helpers.profiles import BUNDLED
from helpers.ui.inspection import inspect, warnings

LOG = BUNDLED / "keepers_log.txt"
GOOD = [f"Entry {number}: a day of its own." for number in range(40)]


def command(capsys, *arguments) -> str:
    assert cli.main(["inspect", "--profile", "tiny", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_the_log_as_train_would_read_it(capsys, tokenizer):
    printed = command(capsys, "--text", LOG)
    profile = profiles.choose("tiny")
    training, validation = data.streams(
        tokenizer, *data.hold_out([LOG.read_text(encoding="ascii")])
    )
    rows = len(training) // profile.block_size
    assert f"For training: documents 1, tokens {len(training):,} (90%)\n" in printed
    assert f"For validation: documents 1, tokens {len(validation):,} (10%)\n" in printed
    assert f"Rows of 256 tokens to train on: {rows}, 8 in a step\n" in printed
    assert "\n    'Monday, 1 March 1897. Wind SW 4. Glass 29.80, rising.\\n'\n" in printed
    assert printed.endswith("<|endoftext|>'\n"), "no warning"
    assert len(printed.splitlines()) <= 12 and max(map(len, printed.splitlines())) <= 140


def test_the_options_of_train(capsys, tmp_path):
    rows = "\n".join(json.dumps({"body": text}) for text in GOOD)
    (tmp_path / "a.jsonl").write_text(rows, encoding="utf-8")
    (tmp_path / "b.txt").write_text("For validation.", encoding="utf-8")
    ours = "--text", tmp_path / "a.jsonl", "--column", "body"
    printed = command(capsys, *ours, "--validation", tmp_path / "b.txt", "--block", 16)
    assert "For training: documents 40, " in printed and "documents 1, tokens " in printed
    assert "Rows of 16 tokens" in printed
    assert "\n    ' = " in command(capsys), "without files, it is the profile's data"


def test_what_cannot_be_read_is_said_in_a_sentence(capsys, tmp_path):
    assert cli.main(["inspect", "--profile", "tiny", "--text", str(tmp_path / "no.txt")]) == 2
    assert "There is no file" in capsys.readouterr().err


def test_no_model_is_loaded(monkeypatch):
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", None)
    heard = []
    inspect(profiles.choose("tiny"), heard.append)
    assert heard


@pytest.mark.parametrize(
    ("training", "validation", "words"),
    [
        (GOOD[:20] * 3, [], "40 of 60 lines repeat an earlier one"),
        (GOOD, GOOD[:2], "2 documents are in both parts"),
        ([*GOOD, "a\x07b"], [], r"control or lost characters: 1, such as '\x07'"),
        ([*GOOD, "caf\ufffd"], [], "control or lost characters: 1"),
        ([*GOOD, "cafÃ© and donâ€™t"], [], "signs of a wrong encoding: 2, such as 'Ã©'"),
        (["Contents " + "." * 80], [], "80 of 89 characters are '.'"),
    ],
)
def test_what_is_odd(training, validation, words):
    [warning] = warnings(training, validation, 8, 8)
    assert words in warning


def test_a_text_too_short_for_a_step():
    [warning] = warnings(GOOD, [], 7, 8)
    assert "7 rows, and a step takes 8; give more text, or a smaller --block" in warning


def test_what_is_not_odd():
    ours = "Naïve cafés: « à côté », 12 °C, Ça va – “yes”, «café».\tÃO\f"
    refrain = [f"A verse of its own, {number},\nand the refrain" for number in range(40)]
    assert list(warnings([*GOOD, ours, *refrain], [], 8, 8)) == []


@pytest.mark.parametrize(
    "text", ["Лодка пришла домой, и все спали. ", "小船回家了，大家都睡了。", "🦊 и 👩‍👩‍👧 ", "ж🦊"]
)
def test_both_ends_show_no_half_of_a_letter(capsys, tmp_path, text):
    (tmp_path / "a.txt").write_text(400 * text, encoding="utf-8")
    printed = command(capsys, "--text", tmp_path / "a.txt")
    assert "\ufffd" not in printed
    first = printed.split("decoded from its tokens:\n    ")[1].splitlines()[0]
    assert first.endswith(" ..."), "the line goes on"


@pytest.mark.parametrize(("words", "left"), [(60, True), (600, False)])
def test_a_remainder_that_is_much_of_the_text_is_said(capsys, tmp_path, words, left):
    (tmp_path / "a.txt").write_text("one two three four " * words, encoding="utf-8")
    printed = command(capsys, "--text", tmp_path / "a.txt", "--block", 150)
    assert ("tokens fill no row, so none is learned; try another --block." in printed) == left
