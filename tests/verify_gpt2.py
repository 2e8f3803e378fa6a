"""The true thing, for someone with a connection and, better, a GPU: `make verify-gpt2`.

    python -m tests.verify_gpt2 [README]

Fetches GPT-2 and WikiText-2, fine-tunes for 3 epochs (or as many minutes as GPT2_TUTORIAL_MINUTES
says), lets the model write before and after, scores it before and after on the test split, once in
blocks of 1,024 tokens and once sliding with a stride of 512, and writes the row of true results
into README.md. Stopped, it goes on when it is started again.
"""

import datetime
import os
import platform
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch

from helpers import data, loading, print_utf8, profiles, training
from helpers.cli import SAMPLE_PROMPT
from helpers.generation import generate
from helpers.loss import evaluate
from helpers.runtime import saving
from helpers.runtime.errors import TutorialError
from helpers.ui import progress_bar

README = Path(__file__).resolve().parent.parent / "README.md"
HEADER = (
    "| machine | versions | trained "
    "| validation, block 1,024 | test, block 1,024 | test, stride 512 |"
)
OUTPUT = "fine_tuned_gpt2_verified"  # a learner's own fine_tuned_gpt2 stays


def with_row(readme: str, cells: list[str]) -> str:
    """The text of README with `cells` as the one row of its table of true results."""
    lines = readme.splitlines()
    row = lines.index(HEADER) + 2  # below the header and its rule
    if (
        len(cells) != HEADER.count("|") - 1
        or not lines[row].startswith("|")
        or lines[row + 1].startswith("|")
    ):
        raise ValueError(
            "The table of true results in README is to have one row, with a cell for each column."
        )
    lines[row] = f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
    return "\n".join(lines) + "\n"


def machine() -> str:
    """The hardware, as the row names it."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"


def versions() -> str:
    """What the result depends on besides the hardware, the day included."""
    names = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "datasets"))
    found = f"Python {platform.python_version()}, {names}, {datetime.date.today()}"
    endpoint = os.environ.get(
        "HF_ENDPOINT"
    )  # a stand-in's weights are not GPT-2's: the row must say so
    return f"{found}, files from {endpoint}" if endpoint else found


def perplexities(model, ids) -> tuple[float, float]:
    """In blocks of the whole context, and sliding by half of it."""
    return tuple(evaluate(model, ids, 1024, stride).perplexity for stride in (1024, 512))


def main(readme: Path = README) -> None:
    """Do all of it, and write the row. TutorialError where it was stopped: half is no result."""
    with_row(
        readme.read_text(encoding="utf-8"), [""] * 6
    )  # raises now, not after hours of training
    profile = profiles.choose("gpt2")
    profile = replace(profile, minutes=profiles.budget())  # no budget unless one is asked for
    print(f"{profile}\n{machine()}\n{versions()}", flush=True)
    model, tokenizer = loading.load_base(profile)
    tokens = data.prepare(profile, tokenizer)
    test = data.tokenize(
        tokenizer, data.each_article(data.rows_of(data.load_splits(profile)["test"]))
    )
    texts, before = [generate(model, tokenizer, SAMPLE_PROMPT)], perplexities(model, test)
    output = loading.model_folder(OUTPUT)
    try:
        summary = training.train(
            model, tokenizer, *tokens, profile, output, [progress_bar.ProgressBar()]
        )
    except training.AlreadyFinished:  # by an earlier run, which was stopped after its training
        summary = saving.read_summary(output)
        model, _ = loading.load_fine_tuned(output, profile.device)
    if summary["stopped_early"]:
        raise TutorialError(
            "The training was stopped, so no row was written; start this again, and it goes on."
        )
    texts.append(generate(model, tokenizer, SAMPLE_PROMPT))
    after = perplexities(model, test)
    for when, text in zip(("Before", "After"), texts, strict=True):
        print(f"\n{when}, continuing {SAMPLE_PROMPT!r}:\n{text}")
    trained = (
        f"{summary['epochs']:g} of {profile.epochs} epochs, {summary['steps']:,} steps in "
        f"{summary['precision']}, {summary['seconds'] / 60:.1f} minutes, "
        f"{summary['tokens_per_second']:,.0f} tokens/s"
    )
    pairs = [
        (summary["perplexity_before"], summary["perplexity_after"]),
        *zip(before, after, strict=True),
    ]
    cells = [machine(), versions(), trained, *(f"{one:.2f} → {other:.2f}" for one, other in pairs)]
    readme.write_text(with_row(readme.read_text(encoding="utf-8"), cells), encoding="utf-8")
    print(f"\nWritten into {readme}:\n{' | '.join(cells)}\nThe model is in {output}.")


if __name__ == "__main__":
    print_utf8()
    try:
        main(*map(Path, sys.argv[1:]))
    except TutorialError as error:
        sys.exit(f"error: {error}")
