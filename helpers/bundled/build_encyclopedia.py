"""Turn the articles of the bundled encyclopedia into rows of the form that WikiText-2 has.

    python -m helpers.bundled.build_encyclopedia

reads `encyclopedia/articles/*.md` (one article a file: `# Title`, paragraphs, `## Section`) and
writes `encyclopedia/{train,validation,test}.jsonl`. After changing an article, run it and commit
both.
"""

import json
import re
from pathlib import Path

FOLDER = Path(__file__).parent / "encyclopedia"
# Two articles from each of the eight fields; the other 48 are for training.
VALIDATION = {
    "tide", "glacier", "barn_owl", "octopus", "cheese", "rice", "iceland", "danube",
    "compass", "paper", "ada_lovelace", "rosetta_stone", "violin", "haiku", "rainbow", "zero",
}  # fmt: skip
TEST = {
    "aurora", "coral_reef", "red_fox", "spider", "tulip", "olive", "venice", "sahara",
    "windmill", "bicycle", "james_cook", "apollo_11", "chess", "orchestra", "magnetism",
    "panama_canal",
}  # fmt: skip
_ABBREVIATIONS = r"(?<!\bSt)(?<!\bMr)(?<!\bDr)(?<!\bMrs)(?<!\bNo)(?<!\b[A-Z])(?<!\bc)"


def tokenise(text: str) -> str:
    """`text` with WikiText's spacing: `long @-@ distance`, `1 @,@ 250`, `3 @.@ 5`,
    `the ship 's crew ,`.
    """
    for pattern, replacement in (
        (r"(?<=\d),(?=\d{3})", " @,@ "),
        (r"(?<=\d)\.(?=\d)", " @.@ "),
        (r"(?<=\w)-(?=\w)", " @-@ "),
        (r"–", " – "),
        (r"(?<!@)([,;:?!()\"%°£$/&+=])(?!@)", r" \1 "),
        (r"(?<=\w)(n't|'(?:s|re|ve|ll|d))\b", r" \1"),  # contractions and the possessive
        (
            r"(?<=\w)'(?!\w)|(?<!\w)'(?=\w)(?!s\b|re\b|ve\b|ll\b|d\b)",
            " ' ",
        ),  # quotes, and the plural's possessive
        (rf"{_ABBREVIATIONS}\.(?=\s|$)", " ."),
    ):
        text = re.sub(pattern, replacement, text)
    return " ".join(text.split())


def rows_of(article: str) -> list[str]:
    """The rows of one article: each heading between blank rows, each line led by a space and ended
    by ` \\n`.
    """
    rows = []
    for paragraph in article.strip().split("\n\n"):
        marks, _, words = paragraph.partition(" ")
        if set(marks) == {"#"}:
            bar = " ".join("=" * len(marks))
            rows += ["", f" {bar} {tokenise(words)} {bar} \n", ""]
        else:
            rows.append(f" {tokenise(paragraph)} \n")
    return rows


def build() -> dict[str, str]:
    """The three files' contents, by split."""
    splits = {"train": "", "validation": "", "test": ""}
    for file in sorted((FOLDER / "articles").glob("*.md")):
        split = (
            "validation" if file.stem in VALIDATION else "test" if file.stem in TEST else "train"
        )
        for row in rows_of(file.read_text(encoding="utf-8")):
            splits[split] += json.dumps({"text": row}, ensure_ascii=False) + "\n"
    return splits


if __name__ == "__main__":
    for split, content in build().items():
        (FOLDER / f"{split}.jsonl").write_text(content, encoding="utf-8", newline="\n")
        print(f"{split}: {content.count(chr(10)):,} rows, {len(content.encode()):,} bytes")
