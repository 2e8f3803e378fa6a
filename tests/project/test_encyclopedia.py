"""The bundled encyclopedia and the pieces: their form, that they are written rather than generated,
and that nothing stands twice.
"""

import json
import re
from collections import Counter
from statistics import median

import pytest
from transformers import PreTrainedTokenizerFast

from helpers.bundled import build_encyclopedia
from helpers.data import articles
from tests.conftest import ROOT

BUNDLED = ROOT / "helpers" / "bundled"
ENCYCLOPEDIA = BUNDLED / "encyclopedia"
ARTICLES = sorted((ENCYCLOPEDIA / "articles").glob("*.md"))
SPLITS = ("train", "validation", "test")
SECTIONS = {
    "Body", "Food", "Home", "Young", "People", "Shape", "Growth", "Use", "Land", "Weather",
    "Plants and animals", "History", "Parts", "How it works", "How it is made",
}  # fmt: skip
HEADING = re.compile(r" (= )+[^=].*[^=] (= )+\n")
MARKS = (" @-@ ", " @,@ ", " @.@ ")


def pieces() -> list[str]:
    texts = [file.read_text(encoding="utf-8") for file in sorted((BUNDLED / "pieces").glob("*.md"))]
    found = [piece.strip() for text in texts for piece in re.split(r"^# \w+\n", text, flags=re.M)]
    return [piece for piece in found if piece]


def sentences(text: str) -> list[str]:
    return re.findall(r"[A-Z](?:[^.!?]|\.(?=\d))+[.!?]", re.sub(r"^#.*", "", text, flags=re.M))


def words(file) -> int:
    """How many words an article has, its headings included, without their signs."""
    return sum(word.strip("#") != "" for word in file.read_text(encoding="utf-8").split())


def rows(split) -> list[str]:
    lines = (ENCYCLOPEDIA / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def test_there_are_enough():
    assert len(ARTICLES) >= 240 and len(pieces()) >= 400


@pytest.mark.parametrize("file", ARTICLES, ids=lambda file: file.stem)
def test_an_article_has_the_form(file):
    text = file.read_text(encoding="utf-8")
    title, first = re.match(r"# ([A-Z][\w ]+)\n\n(.+)", text).groups()
    name = title.removeprefix("The ")
    assert file.stem == name.lower().replace(" ", "_")
    # A title has its noun as the text has it: `The fox` over `The fox is`, else `Bread`.
    assert re.match(rf"(The|An?) {name}\b" if name != title else rf"{title}\b", first)
    assert 140 <= words(file) <= 190
    found = re.findall(r"^## (.+)", text, re.M)
    assert 2 <= len(found) <= 3 and set(found) <= SECTIONS and len(set(found)) == len(found)
    assert not re.search(r"[;()\"]", text)
    assert re.search(r"\d", text), "no number"
    assert max(len(sentence.split()) for sentence in sentences(text)) <= 20
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


def test_section_titles_come_back():
    texts = "\n".join(file.read_text(encoding="utf-8") for file in ARTICLES)
    counts = Counter(re.findall(r"^## (.+)", texts, re.M))
    assert set(counts) == SECTIONS
    assert sum(count >= 20 for count in counts.values()) >= 12


def test_the_stored_rows_are_what_the_articles_give():
    for split, content in build_encyclopedia.build(ENCYCLOPEDIA).items():
        assert (ENCYCLOPEDIA / f"{split}.jsonl").read_text(encoding="utf-8") == content


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
    assert build_encyclopedia.tokenise(plain) == tokenised


def test_each_kind_is_in_each_split_in_proportion():
    kinds = build_encyclopedia.subjects(ENCYCLOPEDIA)
    names = [name for kind in kinds.values() for name in kind]
    assert sorted(names) == [file.stem for file in ARTICLES]
    validation, test = build_encyclopedia.held_out(ENCYCLOPEDIA)
    assert len(validation) == 26 and len(test) == 25 and not validation & test
    for kind in kinds.values():
        for chosen in (validation, test):
            assert len(chosen & set(kind)) in (len(kind) // 13, len(kind) // 13 + 1)
    # Next of kin stand side by side, and one of two neighbours at least is for training.
    held_out = validation | test
    assert not any({*pair} <= held_out for pair in zip(names, names[1:], strict=False))


@pytest.mark.parametrize(
    ("split", "least"), [("train", (100, 150, 30)), ("validation", (2,) * 3), ("test", (2,) * 3)]
)
def test_the_marks_of_lesson_02_are_there(split, least):
    text = "".join(rows(split))
    for mark, count in zip(MARKS, least, strict=True):
        assert text.count(mark) >= count, mark


def test_the_card_says_what_is_measured():
    tokenizer = PreTrainedTokenizerFast.from_pretrained(BUNDLED / "model")
    card = (ENCYCLOPEDIA / "README.md").read_text(encoding="utf-8")
    kinds = build_encyclopedia.subjects(ENCYCLOPEDIA).values()
    names = {file.stem for file in ARTICLES}
    validation, test = build_encyclopedia.held_out(ENCYCLOPEDIA)
    parts = {"train": names - validation - test, "validation": validation, "test": test}
    for split, chosen in parts.items():
        counts = [len(chosen), *(len(chosen & set(kind)) for kind in kinds)]
        counts += [sum(words(file) for file in ARTICLES if file.stem in chosen)]
        texts = articles(rows(split))
        assert len(texts) == len(chosen)
        counts += [sum(len(ids) for ids in tokenizer(texts, verbose=False)["input_ids"])]
        line = f"| {split} | {' | '.join(f'{count:,}' for count in counts)} |"
        assert line in card, line
    sizes = [words(file) for file in ARTICLES]
    assert f"{min(sizes)} to {max(sizes)} words, half of them at most {median(sizes)}" in card
