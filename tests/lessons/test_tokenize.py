"""What lesson 03 states without computing it there."""

import re

from helpers import data, profiles
from notebooks.tools.lessons import NOTEBOOKS


def test_the_lesson_states_what_padded_articles_lose(tokenizer):
    lesson = (NOTEBOOKS / "03_tokenize.ipynb").read_text(encoding="utf-8")
    number = r"(\d+(?:\.\d+)?)"
    pattern = (
        rf"Padded articles leave {number}% .*? sorted, {number}%\..*?An average article "
        rf"has {number} tokens .*? row holds {number}\..*? at most {number} tokens\."
        rf".*?no limit, {number}% would be"
    )
    stated = re.search(pattern, lesson, re.S).groups()

    profile = profiles.choose("tiny")
    articles = data.articles(data.load_splits(profile)["train"]["text"])
    whole = [len(ids) for ids in tokenizer(articles, verbose=False)["input_ids"]]
    block = profile.block_size
    rows = [min(block, size - start) for size in whole for start in range(0, size, block)]
    spilled = [size - block for size in whole if size > block]
    assert 0.45 < len(spilled) / len(whole) < 0.55, "every second article"

    def unscored(lengths, size=16):
        batches = [lengths[start : start + size] for start in range(0, len(lengths), size)]
        positions = sum(max(batch) * len(batch) for batch in batches)
        return f"{100 * (1 - sum(length - 1 for length in lengths) / positions):.1f}"

    average = f"{sum(whole) / len(whole) + 1:.0f}"  # with its end-of-text
    shares = unscored(rows), unscored(sorted(rows)), unscored(whole)
    assert stated == (*shares[:2], average, str(block), str(max(spilled)), shares[2])
