"""How good the small model and the small encyclopedia are together.

    python -m tests.benchmarks.bundle [--model DIR] [--encyclopedia DIR] [--books FILE ...]
    python -m tests.benchmarks.bundle --samples FILE [--against MODEL_DIR ENCYCLOPEDIA_DIR]

Tunes the model as the profile tiny does, in a home of its own, and prints the seconds of the 3
epochs, and the perplexity and the bits per byte of the validation split before and after. Then the
tuned model writes 60 tokens for each of 40 titles that no article has. Of its words, the share is
printed that are words of the books or of the encyclopedia; of the texts, the share that speak of
their title.

`--samples` writes 20 texts: seeds 1 to 20, titles of the test split. With `--against`, another
model is tuned too, and its 20 texts are shuffled among them for readers who do not know which is
which; FILE.key says it.
"""

import argparse
import json
import os
import random
import re
import tempfile
from pathlib import Path

from helpers.profiles import BUNDLED
from helpers.runtime.hub import SPLITS

PIECES = BUNDLED / "pieces"
TITLES = (
    "The ape", "The lamb", "The mackerel", "The puma", "The rook", "The sea lion", "The tadpole",
    "The beetroot", "The puffin", "The cauliflower", "Lavender", "The cypress", "The swift",
    "The foal", "The gooseberry", "The hawthorn", "Heather", "The lime tree", "Mint",
    "The primrose", "The radish", "Rye", "The bay", "The cliff", "The hill", "The meadow",
    "The pond", "The swamp", "The waterfall", "The axe", "The bucket", "The carpet", "The coat",
    "The cottage", "The fence", "The hat", "The lantern", "The plough", "The saw",
    "The umbrella",
)  # fmt: skip


def main() -> None:
    """Do what the command line says; see the top of this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", type=Path, default=BUNDLED / "model", metavar="DIR")
    add("--encyclopedia", type=Path, default=BUNDLED / "encyclopedia", metavar="DIR")
    add("--books", nargs="+", default=[], metavar="FILE", help="what the model has read")
    add("--samples", type=Path, metavar="FILE", help="write 20 texts there")
    add("--against", nargs=2, type=Path, metavar="DIR", help="another model and encyclopedia")
    options = parser.parse_args()

    model, tokenizer = measure(options.model, options.encyclopedia)
    word_test(model, tokenizer, options.encyclopedia, options.books)
    if options.samples:
        ours = samples(model, tokenizer, options.encyclopedia)
        others = []
        if options.against:
            other = measure(*options.against)
            others = samples(*other, options.against[1])
        save_samples(options.samples, ours, others)


def measure(model_folder: Path, encyclopedia: Path):
    """The model, tuned on the training split, and its tokenizer; prints its figures."""
    from helpers import loading, profiles
    from helpers.bundled.pretrain import bits_per_byte
    from helpers.data import tokenize
    from helpers.training import train

    profile = profiles.choose("tiny")
    model, tokenizer = loading.load_pretrained(model_folder, dropout=profile.dropout)
    validation = articles(encyclopedia, "validation")
    streams = (
        tokenize(tokenizer, articles(encyclopedia, "train"), tokenizer.eos_token_id),
        tokenize(tokenizer, validation),
    )
    before = bits_per_byte(model, tokenizer, "".join(validation))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GPT2_TUTORIAL_HOME"] = folder
        summary = train(model.eval(), tokenizer, *streams, profile, Path(folder) / "tuned")
    after = bits_per_byte(model, tokenizer, "".join(validation))
    print(f"\n{model_folder} on {encyclopedia}")
    print(f"training:        {len(streams[0]):,} tokens; validation: {len(streams[1]):,}")
    print(f"3 epochs:        {summary['seconds']:.1f} s, {summary['steps']} steps kept")
    perplexities = summary["perplexity_before"], summary["perplexity_after"]
    print("perplexity:      {:.2f} before, {:.2f} after".format(*perplexities))
    print(f"bits per byte:   {before:.4f} before, {after:.4f} after", flush=True)
    return model.eval(), tokenizer


def word_test(model, tokenizer, encyclopedia: Path, books: list[str]) -> None:
    """Print the share of known words in what the model writes for the 40 titles, and the others."""
    known, where = known_words(encyclopedia, books)
    texts = [
        write(model, tokenizer, title, seed, length=60) for seed, title in enumerate(TITLES, 1)
    ]
    found = [word for text in texts for word in words(whole_words(text))]
    strange = [word for word in found if word not in known]
    print(f"words:           {1 - len(strange) / len(found):.2%} of {len(found):,} are of {where}")
    print(f"others:          {' '.join(sorted(set(strange)))}", flush=True)
    named = sum(names(text, title) for title, text in zip(TITLES, texts, strict=True))
    print(f"titles:          {named} of {len(texts)} texts speak of theirs", flush=True)


def names(text: str, title: str) -> bool:
    """Whether the last word of `title` is one of `text`, or its plural is."""
    word = words(title)[-1]
    return bool({word, f"{word}s", f"{word}es", f"{word[:-1]}ies"} & set(words(text)))


def articles(encyclopedia: Path, split: str) -> list[str]:
    """The articles of a split, each as one text."""
    from helpers import data

    lines = (encyclopedia / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return data.articles(json.loads(line)["text"] for line in lines)


def write(model, tokenizer, title: str, seed: int, length: int) -> str:
    """What the model writes under a title, at its default dials."""
    from helpers.generation import Sampling, generate

    sampling = Sampling(seed=seed, max_new_tokens=length)
    return generate(model, tokenizer, f" = {title} = \n", sampling)


def words(text: str) -> list[str]:
    """The words of `text` in lower case, with WikiText's `did n't` and `fox 's` made whole.

    A possessive counts as its noun; numbers and signs are no words.
    """
    text = re.sub(r" (n't|'(?:s|re|ve|ll|d|m))\b", r"\1", text.lower())
    return [word.removesuffix("'s") for word in re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", text)]


def whole_words(text: str) -> str:
    """`text` without the word that it breaks off in: the rest of it may be missing."""
    return re.sub(r"[\w']+$", "", text)


def known_words(encyclopedia: Path, books: list[str]) -> tuple[set[str], str]:
    """All words of the books, the encyclopedia, the pieces and the 40 titles; and what they are."""
    from helpers.bundled.pretrain import read_books

    texts = [text for split in SPLITS for text in articles(encyclopedia, split)]
    texts += [file.read_text(encoding="utf-8") for file in sorted(PIECES.glob("*.md"))]
    library = [book["text"] for book in read_books(books)]
    where = f"{len(library)} books, " if library else ""
    known = {word for text in [*texts, *library, *TITLES] for word in words(text)}
    return known, f"{where}the encyclopedia and the pieces ({len(known):,} words)"


def samples(model, tokenizer, encyclopedia: Path, count: int = 20) -> list[str]:
    """Texts under the titles of the test split, again from the first where these are too few."""
    titles = [article.split(" = ")[1] for article in articles(encyclopedia, "test")]
    texts = []
    for seed in range(1, count + 1):
        title = titles[(seed - 1) % len(titles)]
        texts.append(write(model, tokenizer, title, seed, length=80))
    titles = [titles[number % len(titles)] for number in range(count)]
    named = sum(names(text, title) for text, title in zip(texts, titles, strict=True))
    print(f"test titles:     {named} of {count} texts speak of theirs", flush=True)
    return [f" = {title} = \n{text}" for text, title in zip(texts, titles, strict=True)]


def save_samples(file: Path, ours: list[str], others: list[str]) -> None:
    """The texts, numbered; where there are others, shuffled, and FILE.key says whose each is."""
    texts = [("model", seed, text) for seed, text in enumerate(ours, 1)]
    texts += [("against", seed, text) for seed, text in enumerate(others, 1)]
    if others:
        random.Random(0).shuffle(texts)
        key = [f"{number} {whose} seed {seed}" for number, (whose, seed, _) in enumerate(texts, 1)]
        Path(f"{file}.key").write_text("\n".join(key) + "\n", encoding="utf-8")
    numbered = [f"### Text {number}\n\n{text}\n" for number, (*_, text) in enumerate(texts, 1)]
    file.write_text("\n".join(numbered), encoding="utf-8")


if __name__ == "__main__":
    main()
