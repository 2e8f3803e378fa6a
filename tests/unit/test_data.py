"""From rows to blocks: nothing is lost, nothing is mixed."""

import json
import subprocess
import sys

import numpy as np
import pytest

from helpers import data, profiles
from helpers.runtime.errors import TutorialError
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def splits():
    return data.load_splits(profiles.choose("tiny"))


def test_articles_keep_every_row_that_is_not_blank(splits):
    for split in data.SPLITS:
        rows = list(splits[split]["text"])
        found = data.articles(rows)
        assert "".join(found) == "".join(row for row in rows if row.strip())
        assert all(article.startswith(" = ") for article in found)
        assert len(found) == (48 if split == "train" else 16)


def test_a_table_row_like_a_heading_starts_no_article():
    rows = [
        "",
        " = One = \n",
        "",
        " text \n",
        " = Played , W = \n",
        " more \n",
        "",
        " = Two = \n",
        "",
        " text \n",
    ]
    assert data.articles(rows) == [
        " = One = \n text \n = Played , W = \n more \n",
        " = Two = \n text \n",
    ]


def test_packing_loses_only_the_last_remainder(tokenizer, splits):
    tokens = data.tokenize(
        tokenizer, data.articles(list(splits["validation"]["text"])), tokenizer.eos_token_id
    )
    blocks = data.Blocks(tokens, 256)
    packed = np.concatenate([blocks[i]["input_ids"] for i in range(len(blocks))])
    assert np.array_equal(packed, tokens[: len(packed)])
    assert 0 <= len(tokens) - len(packed) < 256
    assert all(
        np.array_equal(blocks[i]["labels"], blocks[i]["input_ids"]) for i in range(len(blocks))
    )


def test_the_training_stream_ends_each_article_and_decodes_to_it(tokenizer, splits):
    training, validation = data.prepare(profiles.choose("tiny"), tokenizer)
    articles = data.articles(list(splits["train"]["text"]))
    assert tokenizer.decode(training.tolist()).split(tokenizer.eos_token) == [*articles, ""]
    assert tokenizer.eos_token_id not in validation, "validation is scored as it stands"
    assert tokenizer.decode(validation.tolist()) == "".join(
        data.articles(list(splits["validation"]["text"]))
    )


def test_tokenizing_articles_apart_or_together_is_the_same(tokenizer, splits):
    articles = data.articles(list(splits["test"]["text"]))
    assert np.array_equal(
        data.tokenize(tokenizer, articles), data.tokenize(tokenizer, ["".join(articles)])
    )


def test_more_texts_than_one_batch_of_the_tokenizer(tokenizer):
    texts = [f"text number {number}" for number in range(600)]
    assert tokenizer.decode(data.tokenize(tokenizer, texts).tolist()) == "".join(texts)


def test_the_splits_share_no_article(splits):
    titles = {
        split: {a.split("\n")[0] for a in data.articles(list(splits[split]["text"]))}
        for split in data.SPLITS
    }
    assert not titles["train"] & titles["validation"]
    assert not titles["train"] & titles["test"]
    assert not titles["validation"] & titles["test"]


def test_own_texts_of_every_kind(tmp_path):
    import pandas

    rows = ["first text", "second text"]
    (tmp_path / "a.txt").write_text("café\n", encoding="utf-8")
    (tmp_path / "b.md").write_text("# Title\n", encoding="utf-8")
    pandas.DataFrame({"n": [1, 2], "text": rows}).to_csv(tmp_path / "c.csv", index=False)
    (tmp_path / "d.jsonl").write_text(
        "".join(json.dumps({"text": row}) + "\n" for row in rows), encoding="utf-8"
    )
    pandas.DataFrame({"text": rows}).to_parquet(tmp_path / "e.parquet")
    files = sorted(map(str, tmp_path.iterdir()))
    assert data.read_texts(files) == ["café\n", "# Title\n", *rows, *rows, *rows]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.pdf", b"%PDF", "not a kind of text file"),
        ("a.txt", b"  \n\t ", "no text in"),
        ("a.txt", "é".encode("latin-1"), "not UTF-8"),
        ("a.csv", b"n,m\n1,2\n", "no column named text"),
        ("a.jsonl", b"{not json\n", "could not be read"),
        ("a.parquet", b"PAR1", "could not be read"),
        ("missing.txt", None, "There is no file"),
    ],
)
def test_a_wrong_file_gets_a_sentence(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TutorialError, match=words):
        data.read_texts([str(tmp_path / name)])


def test_a_text_too_short_for_one_block_is_refused(tokenizer):
    with pytest.raises(TutorialError, match="one block of 256"):
        data.prepare(profiles.choose("tiny"), tokenizer, ["a short text"])
    with pytest.raises(TutorialError, match="too few"):
        data.Blocks(np.arange(255), 256)


def test_own_text_is_cut_into_nine_tenths_and_one(tokenizer):
    training, validation = data.prepare(
        profiles.choose("tiny"), tokenizer, ["one two three four five " * 400]
    )
    assert len(validation) == (len(training) + len(validation)) // 10


def test_articles_are_read_one_at_a_time():
    read = []

    def rows():
        for number in range(100):
            for row in ("", f" = Title {number} = \n", "", f" Text {number} . \n"):
                read.append(row)
                yield row

    found = data.each_article(rows())
    assert next(found) == " = Title 0 = \n Text 0 . \n"
    assert len(read) <= 8, "only as far as the second title"
    assert len(list(found)) == 99


def test_tokens_come_from_a_stream_of_texts(tokenizer):
    texts = [f" Text {number} ." for number in range(150)]
    stream = data.tokenize(tokenizer, iter(texts), ending=0)
    assert stream.dtype == "uint16"
    assert tokenizer.decode(stream) == "".join(text + "<|endoftext|>" for text in texts)


@pytest.mark.parametrize("around", [("", " Text . \n"), (" Text . \n", "")])
def test_a_title_stands_between_blank_rows(around):
    before, after = around
    rows = [
        "",
        " = First = \n",
        "",
        " Text . \n",
        before,
        " = Played , W = \n",
        after,
        " Text . \n",
    ]
    assert len(data.articles(rows)) == 1


PEAK = """
import resource, sys
from datasets import DatasetDict, disable_progress_bars, load_dataset
from helpers import data, loading, profiles
disable_progress_bars()
profile = profiles.choose("tiny")
_, tokenizer = loading.load_pretrained(profile.model)
files = {"train": sys.argv[1], "validation": sys.argv[2]}
splits = load_dataset("json", data_files=files, cache_dir=sys.argv[3])
data.load_splits = lambda _: splits
tokens, _ = data.prepare(profile, tokenizer)
print(len(tokens), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_ten_times_the_data_takes_no_more_memory(tmp_path):
    """Rows and tokens are streamed: ten copies of the data within 1.2 times the peak of one."""
    pytest.importorskip("resource", reason="Windows does not tell a process's peak")
    folder = profiles.BUNDLED / "encyclopedia"
    rows = (folder / "train.jsonl").read_text(encoding="utf-8")
    found = []
    for copies in (8, 80):  # 1.6 and 16 MB
        file = tmp_path / f"{copies}.jsonl"
        file.write_text(rows * copies, encoding="utf-8")
        command = [
            sys.executable,
            "-c",
            PEAK,
            str(file),
            str(folder / "validation.jsonl"),
            str(tmp_path / "cache"),
        ]
        result = subprocess.run(
            command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True
        )
        found.append([int(number) for number in result.stdout.split()])
    (few, peak), (many, peak_of_many) = found
    assert many == 10 * few
    assert peak_of_many < 1.2 * peak
