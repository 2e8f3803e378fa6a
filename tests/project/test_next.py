"""The articles and pieces of the next bundle: their form, and that nothing stands twice."""

import re
from collections import Counter

import pytest

from helpers.bundled import build_encyclopedia
from tests.conftest import ROOT

NEXT = ROOT / "helpers" / "bundled" / "next"
ARTICLES = sorted((NEXT / "articles").glob("*.md"))
SECTIONS = set(
    "Body Food Home Young People Shape Growth Use Land Weather Plants and animals History Parts "
    "How it works How it is made Cause Look Effect Work Tools".split()
)


def pieces() -> list[str]:
    texts = [file.read_text(encoding="utf-8") for file in sorted((NEXT / "pieces").glob("*.md"))]
    found = [piece.strip() for text in texts for piece in re.split(r"^# \w+\n", text, flags=re.M)]
    return [piece for piece in found if piece]


def sentences(text: str) -> list[str]:
    return re.findall(r"[A-Z][^.!?]+[.!?]", re.sub(r"^#.*", "", text, flags=re.M))


def test_there_are_enough():
    assert len(ARTICLES) >= 240 and len(pieces()) >= 400


@pytest.mark.parametrize("file", ARTICLES, ids=lambda file: file.stem)
def test_an_article_has_the_form(file):
    text = file.read_text(encoding="utf-8")
    assert re.match(r"# [A-Z][\w ]+\n\n", text)
    assert 130 <= len(text.split()) <= 200
    assert set(" ".join(re.findall(r"^## (.+)", text, re.M)).split()) <= SECTIONS
    assert not re.search(r"[;()\"]", text)
    assert build_encyclopedia.rows_of(text)[1].startswith(" = ")


def test_no_sentence_stands_twice():
    texts = [file.read_text(encoding="utf-8") for file in ARTICLES]
    for group in (texts, pieces()):
        counts = Counter(one for text in group for one in sentences(text) if len(one.split()) > 4)
        assert [one for one, count in counts.items() if count > 1] == []


def test_no_twelve_words_stand_in_three_texts():
    counts = Counter()
    for text in [*(file.read_text(encoding="utf-8") for file in ARTICLES), *pieces()]:
        words = re.findall(r"\w+", text.lower())
        counts.update({tuple(words[i : i + 12]) for i in range(len(words) - 11)})
    assert [" ".join(run) for run, texts in counts.items() if texts >= 3] == []


def test_no_article_stands_among_the_pieces():
    """Not a sentence: what the model learns of an article before tuning, it learned elsewhere."""
    said = {one for piece in pieces() for one in sentences(piece) if len(one.split()) > 4}
    texts = "\n".join(file.read_text(encoding="utf-8") for file in ARTICLES)
    assert [one for one in sentences(texts) if one in said] == []
