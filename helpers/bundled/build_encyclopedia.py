"""Turn the articles of the bundled encyclopedia into rows of the form that WikiText-2 has.

    python -m helpers.bundled.build_encyclopedia [FOLDER]

reads `FOLDER/articles/*.md` (one article a file: `# Title`, paragraphs, `## Section`) and writes
`FOLDER/{train,validation,test}.jsonl`. FOLDER is `encyclopedia` beside this file, if not given.
After changing an article, run it and commit both.

`FOLDER/subjects.txt` names all articles, each kind after a line with the kind's name, next of kin
side by side. Of each 13 in this order, the 4th is for validation and the 10th for the test: so
every split has its part of each kind, and what is held out has a relative in training.
"""

import json
import re
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "encyclopedia"
KINDS = ("animals", "plants", "land", "things")
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


def subjects(folder: Path) -> dict[str, list[str]]:
    """The names of the articles of each kind, from `subjects.txt`, next of kin side by side."""
    kinds = {}
    for word in (folder / "subjects.txt").read_text(encoding="utf-8").split():
        if word in KINDS:
            kinds[word] = names = []
        else:
            names.append(word)
    return kinds


def held_out(folder: Path) -> tuple[set[str], set[str]]:
    """The names of the articles for validation, and of those for the test."""
    names = [name for kind in subjects(folder).values() for name in kind]
    return set(names[3::13]), set(names[9::13])


def build(folder: Path = FOLDER) -> dict[str, str]:
    """The three files' contents, by split."""
    validation, test = held_out(folder)
    splits = {"train": "", "validation": "", "test": ""}
    for file in sorted((folder / "articles").glob("*.md")):
        split = (
            "validation" if file.stem in validation else "test" if file.stem in test else "train"
        )
        for row in rows_of(file.read_text(encoding="utf-8")):
            splits[split] += json.dumps({"text": row}, ensure_ascii=False) + "\n"
    return splits


def main() -> None:
    """Do what the command line says; see the top of this file."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for split, content in build(folder).items():
        (folder / f"{split}.jsonl").write_text(content, encoding="utf-8", newline="\n")
        print(f"{split}: {content.count(chr(10)):,} rows, {len(content.encode()):,} bytes")


if __name__ == "__main__":
    main()
