"""What lesson 04 says of its baseline; no cell beside it computes it."""

import math
import re
from collections import Counter

import numpy as np
import pytest
import torch

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


def losses_by_place(model, tokens: np.ndarray, block: int) -> dict[int, float]:
    """The loss of each token that windows of `block` tokens score, by its place in the text."""
    found = {}
    for start in range(0, len(tokens) - 1, block):
        row = torch.from_numpy(tokens[None, start : start + block])  # (1, length)
        with torch.no_grad():
            losses = loss.token_losses(model, row)[0].tolist()
        found |= {start + 1 + place: value for place, value in enumerate(losses)}
    return found


def test_the_scores_of_two_windows_on_the_tokens_that_both_score(lesson, model, streams):
    short, long = (losses_by_place(model, streams[1], block) for block in (32, 256))
    both = sorted(short.keys() & long.keys())
    found = [loss.perplexity(np.mean([one[place] for place in both])) for one in (short, long)]
    assert [f"{len(both):,}", *(f"{value:.0f}" for value in found)] == stated(
        lesson, r"on the ([\d,]+) tokens that both score, it is (\d+) against (\d+)"
    )


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
    places = np.flatnonzero(np.arange(len(validation)) % 256)  # without each window's first token
    scored = validation[places]
    assert f"{len(scored):,} tokens, windows of 256" in lesson
    shares = np.bincount(scored) / len(scored)
    known = shares[shares > 0]
    best = f"{loss.perplexity(-(known * np.log(known)).sum()):.0f}"
    assert [best] == stated(lesson, r"Even it has a perplexity of (\d+)")
    assert [best] == stated(lesson, r"a model that does not can reach (\d+) at best")
    counts = np.bincount(training, minlength=len(tokenizer)) + 1
    pairs, firsts = Counter(zip(training, training[1:], strict=False)), Counter(training[:-1])
    nats = [
        -math.log(
            0.5 * pairs[before, token] / max(1, firsts[before]) + 0.5 * counts[token] / counts.sum()
        )
        for before, token in zip(validation[places - 1], scored, strict=True)
    ]
    mixed = f"{loss.perplexity(np.mean(nats)):.0f}"
    assert [mixed] == stated(lesson, r"the unigram's\. That has a perplexity of (\d+)")
    assert [mixed] == stated(lesson, r"in the training articles reaches (\d+)")


def test_the_loss_of_the_first_row_and_of_all(lesson, model, tokenizer, streams):
    """The figures that the text sets side by side, and how many rows there are."""
    training, validation = streams
    rows = math.ceil(len(validation) / 256)
    counts = np.bincount(training, minlength=len(tokenizer)) + 1
    counting = -np.log(counts[validation[1:256]] / counts.sum()).mean()
    everywhere = np.arange(len(validation)) % 256 > 0
    counting_all = -np.log(counts[validation[everywhere]] / counts.sum()).mean()
    first, whole = (loss.evaluate(model, part).loss for part in (validation[:256], validation))
    found = [f"{first:.2f}", f"{counting:.2f}", str(rows), f"{counting_all:.2f}", f"{whole:.2f}"]
    assert found == stated(
        lesson,
        r"on `tiny`, (\d\.\d\d) after .*?counting, .*? (\d\.\d\d)\. "
        r"On all (\d+) rows it has (\d\.\d\d), the model (\d\.\d\d)",
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


def test_it_goes_on_from_an_article_with_its_pieces(lesson, model, tokenizer):
    def runs(text: str) -> list[tuple[str, ...]]:
        words = re.findall(r"[a-z]+", re.sub(r" @(.)@ ", r"\1", text).lower())
        return list(zip(*(words[start:] for start in range(6)), strict=False))

    def share_in_pieces(texts: list[str]) -> str:
        found = [run in pieces for text in texts for run in runs(text)]
        return f"{np.mean(found):.0%}"

    pieces = {run for _, piece in pretrain.read_pieces() for run in runs(piece)}
    articles, written = data.validation_texts(profiles.choose("tiny")), []
    for article in articles:
        start = torch.tensor([tokenizer(article, verbose=False)["input_ids"][:64]])
        ids = model.generate(
            start, attention_mask=torch.ones_like(start), do_sample=False, max_new_tokens=60
        )[0, 64:]
        written.append(tokenizer.decode(ids, skip_special_tokens=True))
    assert [share_in_pieces(written), share_in_pieces(articles)] == stated(
        lesson, r"that it wrote, (\d+%) stand in a piece\. .*? own runs, (\d+%) do"
    )
