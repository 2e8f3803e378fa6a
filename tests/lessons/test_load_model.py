"""What lesson 04 says in a fold of the window's length; no cell computes it."""

import re

import numpy as np
import torch

from helpers import data, loading, loss, profiles
from notebooks.tools.lessons import LESSONS


def losses_by_place(model, tokens: np.ndarray, block: int) -> dict[int, float]:
    """The loss of each token that windows of `block` tokens score, by its place in the text."""
    found = {}
    for start in range(0, len(tokens) - 1, block):
        row = torch.from_numpy(tokens[None, start : start + block].astype(np.int64))  # (1, length)
        with torch.no_grad():
            losses = loss.token_losses(model, row)[0].tolist()
        found |= {start + 1 + place: value for place, value in enumerate(losses)}
    return found


def test_the_scores_of_two_windows_on_the_tokens_that_both_score(tokenizer):
    lesson = LESSONS[3].file.read_text(encoding="utf-8").replace('\\n",\n    "', " ")
    stated = re.search(r"on the ([\d,]+) tokens that both score, it is (\d+) against (\d+)", lesson)
    profile = profiles.choose("tiny")
    model, _ = loading.load_pretrained(profiles.BUNDLED / "model")
    _, tokens = data.prepare(profile, tokenizer)
    short, long = (losses_by_place(model, tokens, block) for block in (32, 256))
    both = sorted(short.keys() & long.keys())
    found = [loss.perplexity(np.mean([one[place] for place in both])) for one in (short, long)]
    assert [f"{len(both):,}", *(f"{value:.0f}" for value in found)] == list(stated.groups())
