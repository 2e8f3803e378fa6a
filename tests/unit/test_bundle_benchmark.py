"""What the measurement of model and encyclopedia counts: bits, words, and who wrote which text."""

import json
import math

import pytest
import torch

from helpers.bundled import build_encyclopedia, pretrain
from tests.benchmarks import bundle


def test_bits_per_byte_of_a_model_that_knows_nothing(micro_model, tokenizer):
    """It needs log2 of the vocabulary for each token, the first one included."""
    with torch.no_grad():
        for weight in micro_model.parameters():
            weight.zero_()
    text = "The goose é is a bird ."
    tokens = len(tokenizer(text)["input_ids"])
    bits = pretrain.bits_per_byte(micro_model, tokenizer, text)
    vocabulary = micro_model.config.vocab_size
    assert bits == pytest.approx(tokens * math.log2(vocabulary) / (len(text) + 1), rel=1e-5)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (" = = Body = = \n The fox 's tail .", ["body", "the", "fox", "tail"]),
        ("It did n't eat 1 @,@ 200 long @-@ eared mice .",
         ["it", "didn't", "eat", "long", "eared", "mice"]),
        ("They 're the foxes ' dens ; \"naïve\" ones", ["they're", "the", "foxes", "dens",
                                                        "naïve", "ones"]),
    ],
)  # fmt: skip
def test_words_are_read_as_in_ordinary_print(text, found):
    assert bundle.words(text) == found


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (" It lives in wa", " It lives in "),
        (" It lives .", " It lives ."),
        ("It did n'", "It did "),
    ],
)
def test_a_word_that_breaks_off_is_not_counted(text, whole):
    assert bundle.whole_words(text) == whole


@pytest.mark.parametrize(
    ("title", "text", "named"),
    [
        ("Sea lion", " The lion swims .", True),
        ("Gooseberry", "Gooseberries are sour .", True),
        ("Bee", " The walrus has been an insect .", False),
        ("Rook", " It is rooky .", False),
    ],
)
def test_a_text_speaks_of_its_title(title, text, named):
    assert bundle.names(text, title) is named


def test_words_of_encyclopedia_and_books_are_known(tmp_path):
    for split in ("train", "validation", "test"):
        row = json.dumps({"text": f" The {split} barks . \n"}) + "\n"
        (tmp_path / f"{split}.jsonl").write_text(row, encoding="utf-8")
    (tmp_path / "book.txt").write_text("Gwendolen smiled.", encoding="utf-8")
    known, where = bundle.known_words(tmp_path, [str(tmp_path / "book.txt")])
    assert {"barks", "validation", "gwendolen", "umbrella"} <= known and "1 books" in where
    known, where = bundle.known_words(tmp_path, [])
    assert "gwendolen" not in known and "barks" in known and "book" not in where


def test_no_title_is_one_of_an_article():
    assert len(set(bundle.TITLES)) == 40
    names = {title.lower().replace(" ", "_") for title in bundle.TITLES}
    articles = {file.stem for file in (build_encyclopedia.FOLDER / "articles").glob("*.md")}
    assert articles and not articles & names


def test_the_shuffled_texts_and_their_key_belong_together(tmp_path):
    ours, others = ([f"{whose} {seed}" for seed in range(1, 21)] for whose in ("ours", "theirs"))
    bundle.save_samples(tmp_path / "texts.md", ours, others)
    parts = (tmp_path / "texts.md").read_text(encoding="utf-8").split("### Text ")[1:]
    texts = dict(part.strip().split("\n\n") for part in parts)
    key = (tmp_path / "texts.md.key").read_text(encoding="utf-8").splitlines()
    assert len(texts) == len(key) == 40
    whose = [line.split()[1] for line in key]
    assert whose.count("model") == 20 and set(whose[:20]) == {"model", "against"}
    for line in key:
        number, whose, _, seed = line.split()
        assert texts[number] == f"{'ours' if whose == 'model' else 'theirs'} {seed}"
