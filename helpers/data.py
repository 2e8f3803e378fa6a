"""From rows of text to packed blocks of tokens (lessons 02 and 03)."""

import array
import itertools
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from helpers.profiles import BUNDLED, ENCYCLOPEDIA, Profile
from helpers.runtime import hub
from helpers.runtime.errors import TutorialError
from helpers.runtime.hub import SPLITS
from helpers.runtime.progress import bar
from helpers.runtime.texts import read_texts

_TITLE = re.compile(r" = [^=].* = \n")
# Before white space between two words: GPT-2's tokenizer never makes a token across this place.
_SEAM = re.compile(r"(?<=\S)[ \n](?=\S)")


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


def prepare(profile: Profile, tokenizer, texts=None):
    """Two streams of tokens: for training, with end-of-text after each document; for validation.

    `texts` are documents of your own, for each of the two; without them, they are the profile's.
    Raises TutorialError where there is too little text.
    """
    training, validation = streams(tokenizer, *(texts or documents_of(profile, print)))
    if len(training) < profile.block_size or len(validation) < 2:
        raise TutorialError(
            f"The text is too short: {len(training):,} tokens to train on, {len(validation):,} to "
            f"score, at a block of {profile.block_size:,}; use a longer text, or a smaller --block."
        )
    return training, validation


def documents_of(profile: Profile, say: Callable) -> Iterable[Iterable[str]]:
    """The documents to train on, and those to validate on: your own, or the profile's dataset's."""
    if profile.text:
        return own_texts(profile, say)
    splits, documents = load_splits(profile), dataset_of(profile).documents
    return [documents(rows_of(splits[split])) for split in ("train", "validation")]


def streams(tokenizer, training: Iterable[str], validation: Iterable[str]):
    """The tokens (tokens,) of both; the second ones are scored as they stand."""
    return tokenize(tokenizer, training, tokenizer.eos_token_id), tokenize(tokenizer, validation)


def own_texts(profile: Profile, say: Callable) -> tuple[list[str], list[str]]:
    """The documents in your own files, for training and for validation; `say` hears what was read.

    Without files for validation, `hold_out` finds it. Raises TutorialError as `read_texts` does.
    """
    read = read_texts(profile.text or [], profile.column)
    say(read)
    if not profile.validation:
        return hold_out(read.documents)
    validation = read_texts(profile.validation, profile.column)
    say(f"Only for validation: {validation}")
    held = set(validation.documents)
    return [text for text in read.documents if text not in held], validation.documents


def hold_out(texts: list[str]) -> tuple[list[str], list[str]]:
    """All but a tenth of your own documents, and that tenth, drawn at random and always the same.

    With fewer than ten documents it is the last tenth of their text.
    """
    if count := len(texts) // 10:
        held = set(random.Random(42).sample(range(len(texts)), count))
        training = [text for number, text in enumerate(texts) if number not in held]
        return training, [texts[number] for number in sorted(held)]
    training, validation, left = [], [], 9 * sum(map(len, texts)) // 10
    for text in texts:
        training.append(text[:left])
        validation.append(text[left:])
        left = max(0, left - len(text))
    return list(filter(None, training)), list(filter(None, validation))


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


def tokenize(tokenizer, texts: Iterable[str], ending: int | None = None) -> np.ndarray:
    """All texts as one stream of token ids (tokens,), after each the token `ending`, if given.

    A few pages at a time, into an array of two bytes a token where the vocabulary allows: memory
    stays flat however many the texts are, and however long each is.
    """
    tail = [] if ending is None else [ending]
    parts = (part for text in bar(texts, "tokenizing") for part in _parts(text))
    stream = array.array("H" if len(tokenizer) <= 2**16 else "i")
    while batch := list(itertools.islice(parts, 64)):
        strings, lasts = zip(*batch, strict=True)
        # verbose=False: no warning that a text is longer than the context. It is cut into blocks.
        found = tokenizer(list(strings), add_special_tokens=False, verbose=False)["input_ids"]
        for ids, is_last in zip(found, lasts, strict=True):
            stream.extend(ids + tail if is_last else ids)
    return np.asarray(stream)


def _parts(text: str, size: int = 10_000, most: int = 20_000) -> Iterator[tuple[str, bool]]:
    """A text in parts of about `size` characters, whose tokens are the text's; is it the last?"""
    start = 0
    while start + size < len(text):
        seam = _SEAM.search(text, start + size, start + most)
        # Without a seam, a token or two beside the cut are others; but memory stays flat.
        end = seam.start() if seam else start + most
        yield text[start:end], False
        start = end
    yield text[start:], True


class Blocks:
    """A stream of tokens packed into rows of `block` tokens; only the last remainder is left out.

    `labels` are the inputs themselves: GPT-2 shifts them by one inside, so that each position is
    scored on the token that follows it.
    """

    def __init__(self, tokens: np.ndarray, block: int):
        count = len(tokens) // block
        if count == 0:
            raise TutorialError(
                f"{len(tokens):,} tokens are too few for one block of {block:,}; use a longer text."
            )
        self.rows = tokens[: count * block].reshape(count, block)  # (blocks, block)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        row = self.rows[index].astype(np.int64)  # (block,)
        return {"input_ids": row, "labels": row}
