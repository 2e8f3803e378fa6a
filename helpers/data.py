"""From rows of text to packed blocks of tokens (lessons 02 and 03)."""

import array
import functools
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from helpers.profiles import BUNDLED, OR_TINY, WIKITEXT, Profile
from helpers.runtime.errors import TutorialError
from helpers.runtime.hub import reach_hub
from helpers.runtime.progress import bar

SPLITS = ("train", "validation", "test")
TEXT_FILES = (".txt", ".md", ".csv", ".jsonl", ".parquet")
_TITLE = re.compile(r" = [^=].* = \n")


def load_splits(profile: Profile):
    """The profile's dataset, a `DatasetDict`: three splits with one column, `text`, one row a line of an article.

    Raises TutorialError where the Hub is needed and cannot be reached.
    """
    from datasets import (
        DatasetDict,
        disable_progress_bars,
        enable_progress_bars,
        load_dataset,
        logging,
    )

    logging.set_verbosity_error()  # else it notes that it did not ask the Hub for what is in the cache

    if profile.name == "tiny":
        disable_progress_bars()  # a second's work
        try:
            files = {split: str(BUNDLED / "encyclopedia" / f"{split}.jsonl") for split in SPLITS}
            return load_dataset("json", data_files=files)
        finally:
            enable_progress_bars()
    reach_hub()
    try:
        found = load_dataset(*WIKITEXT)
        return DatasetDict({split: found[split] for split in SPLITS})  # the Hub lists test first
    except Exception as error:  # the network fails in too many ways to name
        raise TutorialError(
            f"WikiText-2 could not be fetched from the Hugging Face Hub ({type(error).__name__}): check the "
            f"connection and run this again{OR_TINY}."
        ) from error


def validation_texts(profile: Profile) -> list[str]:
    """The articles of the profile's validation split."""
    return articles(list(load_splits(profile)["validation"]["text"]))


def prepare(profile: Profile, tokenizer, texts: list[str] | None = None):
    """Two streams of tokens: for training, with end-of-text after each article, and for validation, as it stands.

    Of your own `texts`, the last tenth is for validation. Raises TutorialError where they are too short for that.
    """
    if texts is None:
        splits = load_splits(profile)
        training = tokenize(
            tokenizer, each_article(rows_of(splits["train"])), tokenizer.eos_token_id
        )
        return training, tokenize(tokenizer, each_article(rows_of(splits["validation"])))
    tokens = tokenize(tokenizer, texts, tokenizer.eos_token_id)
    cut = len(tokens) - len(tokens) // 10
    if cut < profile.block_size or len(tokens) - cut < 2:
        raise TutorialError(
            f"Your text has {len(tokens):,} tokens; training needs one block of {profile.block_size:,} and a tenth more "
            "for validation: use a longer text."
        )
    return tokens[:cut], tokens[cut:]


def is_blank(row: str) -> bool:
    """Whether a row holds nothing but white space, as a third of WikiText-2's rows do."""
    return not row.strip()


def rows_of(split) -> Iterator[str]:
    """The rows of a split, a thousand in memory at a time."""
    for batch in split.iter(1000):
        yield from batch["text"]


def articles(rows: Iterable[str]) -> list[str]:
    """All that `each_article` finds in `rows`."""
    return list(each_article(rows))


def each_article(rows: Iterable[str]) -> Iterator[str]:
    """The articles that `rows` hold, one after the other, each as one text: its rows without the blank ones.

    An article starts at a heading of the first level, ` = Title = `, between two blank rows; a few
    table rows look like such a heading, but stand in running text. What comes before the first heading is
    an article as well.
    """
    article: list[str] = []
    before, row = "", ""
    for after in itertools.chain(rows, [""]):
        if article and _TITLE.fullmatch(row) and is_blank(before) and is_blank(after):
            yield "".join(article)
            article = []
        if not is_blank(row):
            article.append(row)
        before, row = row, after
    if article:
        yield "".join(article)


def read_texts(files: list[str]) -> list[str]:
    """The texts in your own files: one for a .txt or .md file, one for each row of the column `text` of the others.

    Raises TutorialError for a file that is missing, of another kind, not UTF-8, or without such a column.
    """
    texts = []
    for file in map(Path, files):
        if file.suffix.lower() not in TEXT_FILES:
            raise TutorialError(
                f"{file} is not a kind of text file known here; use one of {', '.join(TEXT_FILES)}."
            )
        if not file.is_file():
            raise TutorialError(f"There is no file {file}; check its name and folder.")
        texts += _read(file)
    if not any(text.strip() for text in texts):
        raise TutorialError(
            f"There is no text in {', '.join(map(str, files))}; choose a file with some."
        )
    return texts


def _read(file: Path) -> list[str]:
    if file.suffix.lower() in (".txt", ".md"):
        try:
            return [file.read_text(encoding="utf-8-sig")]
        except UnicodeDecodeError as error:
            raise TutorialError(
                f"{file} is not UTF-8 text; save it as UTF-8 in your editor and try again."
            ) from error
    import pandas

    readers = {".csv": pandas.read_csv, ".jsonl": functools.partial(pandas.read_json, lines=True),
               ".parquet": pandas.read_parquet}  # fmt: skip
    try:
        table = readers[file.suffix.lower()](file)
    except Exception as error:  # each reader has errors of its own
        raise TutorialError(
            f"{file} could not be read as {file.suffix[1:]}: {str(error).splitlines()[0]}"
        ) from error
    if "text" not in table.columns:
        raise TutorialError(
            f"{file} has no column named text, only {', '.join(map(str, table.columns))}; rename one."
        )
    return [text for text in table["text"] if isinstance(text, str)]


def tokenize(tokenizer, texts: Iterable[str], ending: int | None = None) -> np.ndarray:
    """All texts as one stream of token ids, shape (tokens,); after each text the token `ending`, if given.

    No special tokens are added. A few texts at a time, into a compact array, two bytes a token where the vocabulary
    allows: memory stays flat however long the texts are.
    """
    tail = [] if ending is None else [ending]
    texts, stream = (
        iter(bar(texts, "tokenizing")),
        array.array("H" if len(tokenizer) <= 2**16 else "i"),
    )
    while batch := list(itertools.islice(texts, 64)):
        # verbose=False: the warning that a text is longer than the model's context. It is cut into blocks.
        for ids in tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]:
            stream.extend(ids + tail)
    return np.asarray(stream)


class Blocks:
    """A stream of tokens packed into rows of `block` tokens, for `Trainer`. Only the last remainder is left out.

    `labels` are the inputs themselves: GPT-2 shifts them by one inside, so that each position is scored on
    the token that follows it.
    """

    def __init__(self, tokens: np.ndarray, block: int):
        count = len(tokens) // block
        if count == 0:
            raise TutorialError(
                f"This text has {len(tokens):,} tokens, too few for one block of {block:,}; use a longer text."
            )
        self.rows = tokens[: count * block].reshape(count, block)  # (blocks, block)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        row = self.rows[index].astype(np.int64)  # (block,)
        return {"input_ids": row, "labels": row}
