"""The bundled encyclopedia: its size, its form, and that it is written rather than generated."""

import json
import re
from collections import Counter

import pytest

from helpers.bundled import build_encyclopedia as encyclopedia

ARTICLES = sorted((encyclopedia.FOLDER / "articles").glob("*.md"))
HEADING = re.compile(r" (= )+[^=].*[^=] (= )+\n")


def rows(split):
    lines = (encyclopedia.FOLDER / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def test_the_stored_rows_are_what_the_articles_give():
    for split, content in encyclopedia.build().items():
        assert (encyclopedia.FOLDER / f"{split}.jsonl").read_text(encoding="utf-8") == content


def test_it_is_large_enough():
    assert len(ARTICLES) >= 60
    assert (
        sum(len(row.encode()) for split in ("train", "validation", "test") for row in rows(split))
        >= 200_000
    )


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_rows_have_wikitexts_form(split):
    found = rows(split)
    for before, row, after in zip(["", *found], found, [*found[1:], ""], strict=False):
        assert row == "" or (row.startswith(" ") and row.endswith(" \n") and "  " not in row), row
        if row.startswith(" ="):
            assert HEADING.fullmatch(row) and before == after == "", row
        # Commas, points and hyphens stand alone, or between at signs inside numbers and words.
        assert not re.search(r"\w[,;:?!()]|[,;:?!()]\w|\w-\w|\d[.]\d", row), row
    text = "".join(found)
    assert all(sign in text for sign in (" @-@ ", " @,@ ", " @.@ ")) or split != "train"


@pytest.mark.parametrize(
    ("plain", "tokenised"),
    [
        ("A long-distance run of 1,250 km.", "A long @-@ distance run of 1 @,@ 250 km ."),
        (
            "It is 3.5 metres; the ship's crew didn't.",
            "It is 3 @.@ 5 metres ; the ship 's crew did n't .",
        ),
        ('He said "no" (twice), in 1914–1918.', 'He said " no " ( twice ) , in 1914 – 1918 .'),
        (
            "The sailors' songs, St. Paul's, H. G. Wells.",
            "The sailors ' songs , St. Paul 's , H. G. Wells .",
        ),
        ("About 45 °C or 20%: hot!", "About 45 ° C or 20 % : hot !"),
    ],
)
def test_tokenise(plain, tokenised):
    assert encyclopedia.tokenise(plain) == tokenised


def test_no_eight_words_stand_in_three_articles():
    counts = Counter()
    for file in ARTICLES:
        words = re.findall(r"\w+", file.read_text(encoding="utf-8").lower())
        counts.update({tuple(words[i : i + 8]) for i in range(len(words) - 7)})
    assert not [" ".join(run) for run, articles in counts.items() if articles >= 3]
