"""What lesson 04 says of its baseline; no cell beside it computes it."""

import re

import numpy as np
import pytest

from helpers import data, loading, loss, profiles
from helpers.bundled import pretrain
from notebooks.tools.lessons import LESSONS


@pytest.fixture(scope="module")
def lesson() -> str:
    text = LESSONS[3].file.read_text(encoding="utf-8")
    return text.replace('\\n",\n    "', " ").replace('",\n    "', " ")


@pytest.fixture(scope="module")
def model():
    return loading.load_pretrained(profiles.BUNDLED / "model")[0]


@pytest.fixture(scope="module")
def streams(tokenizer):
    profile = profiles.choose("tiny")
    return [ids.astype(np.int64) for ids in data.prepare(profile, tokenizer)]


def stated(lesson: str, pattern: str) -> list[str]:
    return list(re.search(pattern, lesson).groups())


def test_the_model_knows_its_pieces_by_heart(lesson, model, tokenizer):
    total, count = 0.0, 0
    for title, piece in pretrain.read_pieces()[::50]:
        text = pretrain.under(title, " " + piece.replace("\n\n", "\n ") + "\n")
        nats, tokens = loss.score(model, np.asarray(tokenizer(text)["input_ids"][:256]), 256)
        total, count = total + nats, count + tokens
    assert [f"{loss.perplexity(total / count):.1f}"] == stated(
        lesson, r"on them its perplexity is ([\d.]+\d)"
    )


def test_what_counting_reaches_on_the_tokens_that_the_baseline_scores(lesson, tokenizer, streams):
    training, validation = streams
    scored = validation[np.arange(len(validation)) % 256 > 0]  # not the first of a window
    assert f"on {len(scored):,} tokens" in lesson and "windows of 256" in lesson
    counts = np.bincount(training, minlength=len(tokenizer)) + 1
    nats = -np.log(counts[scored] / counts.sum()).mean()
    assert [f"{loss.perplexity(nats):.0f}"] == stated(
        lesson, r"share of the training text, .*? the perplexity is (\d+)\."
    )


def test_the_three_figures_that_show_how_sure_the_model_is(lesson):
    """The first two are those that *More: too sure* prints, the third is lesson 05's."""
    as_it_is, halved, tuned = stated(
        lesson,
        r"`tiny` has .*?\*\*(\d+)\*\* as it is.*?\*\*(\d+)\*\* with each.*?\*\*(\d+)\*\* after",
    )
    assert f"windows of 256: as it is {as_it_is:>4}, scores halved {halved:>4}" in lesson
    fifth = LESSONS[4].file.read_text(encoding="utf-8")
    before, after = stated(fifth, r"perplexity ([\d.]+) before, ([\d.]+) after")
    assert [as_it_is, tuned] == [f"{float(before):.0f}", f"{float(after):.0f}"]
