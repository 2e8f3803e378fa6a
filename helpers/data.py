"""From rows of text to packed blocks of tokens (lessons 02 and 03)."""

import array
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.profiles import BUNDLED, ENCYCLOPEDIA, Profile
from helpers.runtime import hub
from helpers.runtime.errors import TutorialError
from helpers.runtime.hub import SPLITS
from helpers.runtime.progress import bar

TEXT_FILES = (".txt", ".md", ".csv", ".jsonl", ".parquet")
_TITLE = re.compile(r" = [^=].* = \n")


@dataclass(frozen=True)
class Dataset:
    """A text dataset: what it is called, where its rows are, and how they become documents."""

    name: str  # on the Hub OWNER/NAME or OWNER/NAME/CONFIG
    documents: Callable[[Iterable[str]], Iterator[str]]
    files: dict[str, str] | None = None  # JSON lines for each split, of one that came with us


def dataset_of(profile: Profile) -> Dataset:
    """The dataset of a profile: rows of WikiText are lines of articles, others are documents."""
    if profile.dataset == ENCYCLOPEDIA:
        files = {split: str(BUNDLED / "encyclopedia" / f"{split}.jsonl") for split in SPLITS}
        return Dataset(ENCYCLOPEDIA, each_article, files)
    is_wikitext = profile.dataset.startswith("Salesforce/wikitext/")
    return Dataset(profile.dataset, each_article if is_wikitext else each_document)


def load_splits(profile: Profile):
    """The profile's dataset, a `DatasetDict`: its splits, each with one column, `text`.

    Where it has no validation split, the last tenth of the training rows becomes one. Raises
    TutorialError where the Hub is needed and cannot be reached, and where there is no such text.
    """
    dataset = dataset_of(profile)
    if not dataset.files:
        hub.reach_hub(profile.model, dataset.name)
    texts = hub.load_texts(dataset.name, profile.column, dataset.files)
    if "validation" not in texts:
        count = len(texts["train"])
        cut = count - max(1, count // 10)
        texts["validation"] = texts["train"].select(range(cut, count))
        texts["train"] = texts["train"].select(range(cut))
    return texts


def validation_texts(profile: Profile) -> list[str]:
    """The documents of the profile's validation split."""
    rows = rows_of(load_splits(profile)["validation"])
    return list(dataset_of(profile).documents(rows))


def prepare(profile: Profile, tokenizer, texts: list[str] | None = None):
    """Two streams of tokens: for training, with end-of-text after each document; for validation.

    Of your own `texts`, the last tenth is for validation. Raises TutorialError where there is too
    little text for both.
    """
    ending = tokenizer.eos_token_id
    if texts is None:
        splits, documents = load_splits(profile), dataset_of(profile).documents
        training = documents(rows_of(splits["train"]))
        validation = documents(rows_of(splits["validation"]))  # scored as it stands
        streams = tokenize(tokenizer, training, ending), tokenize(tokenizer, validation)
    else:
        tokens = tokenize(tokenizer, texts, ending)
        cut = len(tokens) - len(tokens) // 10
        streams = tokens[:cut], tokens[cut:]
    if len(streams[0]) < profile.block_size or len(streams[1]) < 2:
        raise TutorialError(
            f"The text has {sum(map(len, streams)):,} tokens; training needs one block of "
            f"{profile.block_size:,} and a tenth more for validation: use a longer text."
        )
    return streams


def is_blank(row: str) -> bool:
    """Whether a row holds nothing but white space, as a third of WikiText-2's rows do."""
    return not row.strip()


def rows_of(split) -> Iterator[str]:
    """The rows of a split, a thousand in memory at a time."""
    for batch in split.iter(1000):
        yield from batch["text"]


def each_document(rows: Iterable[str | None]) -> Iterator[str]:
    """The rows that are not blank, each of them a document."""
    return (row for row in rows if row and not is_blank(row))


def articles(rows: Iterable[str]) -> list[str]:
    """All that `each_article` finds in `rows`."""
    return list(each_article(rows))


def each_article(rows: Iterable[str]) -> Iterator[str]:
    """The articles that `rows` hold, each as one text: its rows without the blank ones.

    One starts at a heading of the first level, ` = Title = `, between two blank rows: some rows of
    tables look like it. What comes before the first heading is an article as well.
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
    """The texts in your own files: whole .txt or .md files, or the rows of the column `text`.

    Raises TutorialError for a file that is missing, of another kind, not UTF-8, or without it.
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
        raise TutorialError(f"There is no text in {', '.join(files)}; choose a file with some.")
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
        columns = ", ".join(map(str, table.columns))
        raise TutorialError(f"{file} has no column named text, only {columns}; rename one.")
    return [text for text in table["text"] if isinstance(text, str)]


def tokenize(tokenizer, texts: Iterable[str], ending: int | None = None) -> np.ndarray:
    """All texts as one stream of token ids (tokens,), after each the token `ending`, if given.

    A few texts at a time, into an array of two bytes a token where the vocabulary allows: memory
    stays flat however long the texts are.
    """
    tail = [] if ending is None else [ending]
    texts = iter(bar(texts, "tokenizing"))
    stream = array.array("H" if len(tokenizer) <= 2**16 else "i")
    while batch := list(itertools.islice(texts, 64)):
        # verbose=False: no warning that a text is longer than the context. It is cut into blocks.
        for ids in tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]:
            stream.extend(ids + tail)
    return np.asarray(stream)


class Blocks:
    """A stream of tokens packed into rows of `block` tokens; only the last remainder is left out.

    `labels` are the inputs themselves: GPT-2 shifts them by one inside, so that each position is
    scored on the token that follows it.
    """

    def __init__(self, tokens: np.ndarray, block: int):
        count = len(tokens) // block
        if count == 0:
            raise TutorialError(
                f"This text has {len(tokens):,} tokens, too few for one block of {block:,}; use a "
                "longer text."
            )
        self.rows = tokens[: count * block].reshape(count, block)  # (blocks, block)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        row = self.rows[index].astype(np.int64)  # (block,)
        return {"input_ids": row, "labels": row}
