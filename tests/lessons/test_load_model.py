"""What lesson 04 says of its baseline; no cell beside it computes it."""

import math
import re

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from helpers import loading, loss, profiles
from helpers.bundled import pretrain
from notebooks.tools.lessons import LESSONS


@pytest.fixture(scope="module")
def lesson() -> str:
    text = LESSONS[3].file.read_text(encoding="utf-8")
    return text.replace('\\n",\n    "', " ").replace('",\n    "', " ")


@pytest.fixture(scope="module")
def model():
    return loading.load_pretrained(profiles.BUNDLED / "model")[0]


def stated(lesson: str, pattern: str) -> list[str]:
    return list(re.search(pattern, lesson).groups())


def test_the_model_knows_its_pieces_by_heart(lesson, model, tokenizer):
    total, count = 0.0, 0
    for title, piece in pretrain.read_pieces()[::50]:
        text = pretrain.under(title, " " + piece.replace("\n\n", "\n ") + "\n")
        nats, tokens = loss.score(model, np.asarray(tokenizer(text)["input_ids"][:256]), 256)
        total, count = total + nats, count + tokens
    assert [f"{loss.perplexity(total / count):.1f}"] == stated(
        lesson, r"on a sample of them its perplexity is ([\d.]+\d)"
    )


def test_what_the_model_expects_under_a_title_that_it_knows(lesson, model, tokenizer):
    """The piece and the article are as quoted, and the model expects the piece."""
    piece = stated(lesson, r"called \*The candle\*, which begins \*(A candle .*?)\*")[0]
    assert any(t == "The candle" and p.startswith(piece) for t, p in pretrain.read_pieces())
    before, word = piece.split(" that ")[0] + " that", piece.split()[-2]
    article = (profiles.BUNDLED / "encyclopedia" / "validation.jsonl").read_text(encoding="utf-8")
    share, other = stated(
        lesson, r"expects \*gives\*, with (\d+)%\. .*? \*(\w+)\*, which has about one in a million"
    )
    assert word == "gives" and f'{{"text": " {before} {other} ' in article
    ids = tokenizer(pretrain.under("The candle", f" {before}"), return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        probabilities = model(input_ids=ids).logits[0, -1].softmax(-1)
    known, true = (probabilities[tokenizer(f" {w}")["input_ids"][0]] for w in (word, other))
    assert f"{known:.0%}" == f"{share}%" and 0.8e-6 < true < 1.25e-6


def test_an_untrained_model_ends_a_little_above_or_below_a_blind_guess(tokenizer, model):
    ids = tokenizer("She opened the door, and she", return_tensors="pt")["input_ids"]
    found = []
    for seed in range(4):
        torch.manual_seed(seed)
        fresh = AutoModelForCausalLM.from_config(model.config).eval()
        with torch.inference_mode():
            found.append(loss.token_losses(fresh, ids).mean().item() - math.log(4096))
    assert min(found) < 0 < max(found) and max(map(abs, found)) < 0.5


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
