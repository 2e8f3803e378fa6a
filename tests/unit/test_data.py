"""From rows to blocks: nothing is lost, nothing is mixed."""

import random
import subprocess
import sys
from dataclasses import replace

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
        assert len(found) == {"train": 280, "validation": 26, "test": 25}[split]


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


def gpt2_pieces():
    """Cuts a text as GPT-2's tokenizer does before its merges, which are within the pieces."""
    from tokenizers import pre_tokenizers

    cutter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return lambda text: [piece for piece, _ in cutter.pre_tokenize_str(text)]


NASTY = [
    *("\r\n", "\n", "\n\n", "\n\n\n", "  ", "   \n", "\n  ", "\t", "\xa0", "\u2028", "\x85"),
    *("word", "it's", "'s", "’t", "🦊", "👨\u200d👩", "é", "12", "3.5", "!", "中文", "_", "-"),
    *("<|endoftext|>", "<|end", *6 * [" ", "a", " b", "\nc"]),
]  # fmt: skip


def test_a_text_in_parts_has_the_same_tokens(tokenizer):
    """For any text, and on GPT-2's own tokenizer too, whose pieces these are."""
    random_ = random.Random(1)
    whole = gpt2_pieces()
    for _ in range(200):
        text = "".join(random_.choices(NASTY, k=100))
        parts = [part for part, _ in data._parts(text, random_.randint(1, 9))]
        assert len(parts) > 1 and "".join(parts) == text
        found = tokenizer(parts, verbose=False)["input_ids"]
        assert sum(found, []) == tokenizer(text, verbose=False)["input_ids"], text
        assert sum(map(whole, parts), []) == whole(text)


def test_a_long_text_without_any_line_end(tokenizer):
    text = "It goes on and on, 🦊 without an end. " * 3_000  # 0.1 MB
    found = data.tokenize(tokenizer, [text, "x" * 20_000, "", text], ending=0)
    whole = [tokenizer(part, verbose=False)["input_ids"] for part in (text, "x" * 20_000)]
    assert found.tolist() == [*whole[0], 0, *whole[1], 0, 0, *whole[0], 0]


def test_a_long_text_without_white_space_is_cut_and_loses_nothing(tokenizer):
    text = "雪が降る、長い夜。🦊" * 5_000
    assert [len(part) for part, _ in data._parts(text)] == [20_000, 20_000, 10_000]
    found, whole = (data.tokenize(tokenizer, [text], ending=0), tokenizer(text)["input_ids"])
    assert tokenizer.decode(found.tolist()) == text + tokenizer.eos_token
    assert abs(len(found) - len(whole)) < 5


def test_the_splits_share_no_article(splits):
    titles = {
        split: {a.split("\n")[0] for a in data.articles(list(splits[split]["text"]))}
        for split in data.SPLITS
    }
    assert not titles["train"] & titles["validation"]
    assert not titles["train"] & titles["test"]
    assert not titles["validation"] & titles["test"]


def test_a_text_too_short_for_one_block_is_refused(tokenizer):
    with pytest.raises(TutorialError, match="a block of 256"):
        data.prepare(profiles.choose("tiny"), tokenizer, data.hold_out(["a short text"]))
    with pytest.raises(TutorialError, match="too few"):
        data.Blocks(np.arange(255), 256)


@pytest.mark.parametrize("count", [1, 9])
def test_the_last_tenth_of_a_few_own_texts_is_held_out(count):
    texts = [f"{number} " + "one two three four five " * 40 for number in range(count)]
    training, validation = data.hold_out(texts)
    assert "".join(training + validation) == "".join(texts)
    assert len("".join(validation)) == pytest.approx(len("".join(texts)) / 10, abs=1)
    assert training[:-1] == texts[: len(training) - 1] and all(training + validation)


def test_of_ten_own_texts_or_more_a_tenth_from_anywhere_is_held_out():
    texts = [f"text {number}" for number in range(100)]
    training, validation = data.hold_out(texts)
    assert sorted(training + validation) == sorted(texts)
    assert len(validation) == 10
    assert any(texts.index(text) < 50 for text in validation), "not the last ones"
    assert data.hold_out(texts) == (training, validation), "always the same"


def test_own_texts_end_in_training_and_are_scored_as_they_stand(tokenizer):
    texts = [f"text {number} " + "one two three " * 40 for number in range(20)]
    training, validation = data.prepare(profiles.choose("tiny"), tokenizer, data.hold_out(texts))
    assert list(training).count(tokenizer.eos_token_id) == 18
    assert tokenizer.eos_token_id not in validation


def test_a_file_to_validate_on_is_never_trained_on(tmp_path, micro_profile):
    for name in ("a.txt", "b.txt", "own.txt"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    said = []
    profile = replace(micro_profile, text=[str(tmp_path)], validation=[str(tmp_path / "own.txt")])
    assert data.own_texts(profile, said.append) == (["a.txt", "b.txt"], ["own.txt"])
    assert "Only for validation: Files read: 1" in said[1]


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
    for copies in (5, 50):  # 1.6 and 16 MB
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


PEAK_OF_ONE = """
import resource, sys
from helpers import data, loading, profiles
_, tokenizer = loading.load_pretrained(profiles.choose("tiny").model)
text = sys.argv[2] * (int(sys.argv[1]) * 1_000_000 // len(sys.argv[2]))
print(len(data.tokenize(tokenizer, [text])), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize(
    "line", ["All work and no play makes Jack a dull boy.\n", "AllworkandnoplaymakesJackadullboy."]
)
def test_one_huge_text_takes_no_more_memory(line):
    """It is tokenized in parts: of 3 MB more, each may take 20 bytes, and not 140."""
    pytest.importorskip("resource", reason="Windows does not tell a process's peak")
    found = []
    for megabytes in (2, 5):
        command = [sys.executable, "-c", PEAK_OF_ONE, str(megabytes), line]
        result = subprocess.run(
            command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True
        )
        found.append([int(number) for number in result.stdout.split()])
    (few, peak), (many, peak_of_many) = found
    assert many > 2.4 * few
    assert peak_of_many - peak < 60_000  # of 1,024 bytes


def test_a_notebook_shows_what_is_wrong_and_no_traceback(tmp_path):
    code = f"""
from IPython.core.interactiveshell import InteractiveShell
cell = "from helpers.runtime.errors import TutorialError; raise TutorialError('Too short.')"
InteractiveShell.instance(ipython_dir={str(tmp_path)!r}).run_cell(cell)
"""
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60)
    assert (said.stdout, said.stderr) == ("TutorialError: Too short.\n", "")
