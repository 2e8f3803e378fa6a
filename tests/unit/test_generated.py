"""Inputs that nobody thought of: files, lines typed in a terminal, answers to exercises.

Each test plays some dozens of them, always the same; with CASES in the environment, as many.
"""

import contextlib
import csv
import gzip
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import profiles
from helpers.exercises import Exercises
from helpers.generation import Sampling
from helpers.runtime.errors import TutorialError
from helpers.runtime.texts import KINDS, ODD, read_texts
from helpers.ui import terminal
from tests.instant import TOKENIZER, Instant


def cases(count: int):
    return settings(
        max_examples=int(os.environ.get("CASES", count)), deadline=None, derandomize=True,
        database=None, suppress_health_check=list(HealthCheck),
    )  # fmt: skip


# What a file of text may hold, and pieces of what its kind is made of.
WRITING = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
PIECES = ["text", "n,text\n", '"', '""', ",", ";", "\t", "\n", "\r\n", "\r", "{", "}", "[", "]",
          '{"text": "a"}', '{"text": null}', "null", "NaN", "1e999", "<|endoftext|>", "\0",
          "\ufeff", "ä", "€", "\ud7ff", "PAR1", "\x1f\x8b", "x" * 200]  # fmt: skip
PATCHWORK = st.lists(st.sampled_from(PIECES) | WRITING, max_size=12).map("".join)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "latin-1", "utf-32")
BYTES = st.binary(max_size=200) | st.builds(
    lambda text, encoding: text.encode(encoding, "replace"), PATCHWORK, st.sampled_from(ENCODINGS)
)


def in_a_sentence(error: TutorialError, data: bytes = b"") -> bool:
    """Short, of one line, and without a name from Python, unless the file itself has it."""
    said = str(error)
    return len(said) < 1000 and "\n" not in said and ("Error" not in said or b"Error" in data)


@cases(150)
@given(data=BYTES, kind=st.sampled_from(KINDS), packed=st.booleans(), column=st.just("text"))
def test_any_file_is_read_or_refused_in_a_sentence(tmp_path_factory, data, kind, packed, column):
    file = tmp_path_factory.getbasetemp() / f"any{kind}{'.gz' * packed}"
    file.write_bytes(gzip.compress(data) if packed and len(data) % 3 else data)
    try:
        found = read_texts([str(file)], column)
    except TutorialError as error:
        assert in_a_sentence(error, data), str(error)
    else:
        assert found.documents and all(text.strip() for text in found.documents)


def table_of(rows: list[str], kind: str) -> str:
    """The rows as another program would write them."""
    if kind == ".jsonl":
        return "".join(json.dumps({"n": 1, "text": row}) + "\n" for row in rows)
    if kind == ".json":
        return json.dumps(rows, ensure_ascii=False)
    file = io.StringIO(newline="")
    delimiter = "\t" if kind == ".tsv" else ","
    csv.writer(file, delimiter=delimiter).writerows([["n", "text"], *([1, row] for row in rows)])
    return file.getvalue()


@cases(150)
@given(rows=st.lists(WRITING, min_size=1, max_size=6),
       kind=st.sampled_from([".csv", ".tsv", ".json", ".jsonl"]))  # fmt: skip
def test_no_text_of_any_table_is_lost_or_changed(tmp_path_factory, rows, kind):
    file = tmp_path_factory.getbasetemp() / f"rows{kind}"
    file.write_text(table_of(rows, kind), encoding="utf-8", newline="")
    wanted = [row for row in rows if row.strip()]
    odd = sum(len(ODD.findall(row)) for row in rows)
    try:
        assert read_texts([str(file)]).documents == wanted
    except TutorialError as error:
        assert not wanted or odd, str(error)


VALUES = st.one_of(
    st.integers().map(str), st.floats().map(str), WRITING, st.sampled_from(["", "-0", "1e400", "٣"])
)
NAMES = st.sampled_from(
    [":help", ":q ", ":", "::", ":temperature", ":top-k", ":top_p", ":max-new-tokens", ":seed",
     ":repetition-penalty", ":Seed", ":none"]
)  # fmt: skip
COMMANDS = st.builds(lambda name, value: f"{name} {value}", NAMES, VALUES)
SURROGATES = st.text(max_size=20)  # with halves of an emoji, too


@cases(60)
@given(lines=st.lists(COMMANDS | SURROGATES | st.just(""), max_size=8))
def test_any_lines_in_a_terminal(lines):
    """Each is a command, a prompt, or answered by a sentence; none ends the loop."""
    typed = iter([*lines, EOFError()])

    def type_one(_=""):
        line = next(typed)
        if isinstance(line, EOFError):
            raise line
        printed.append(said.tell())
        Instant.steps = 30  # then somebody presses Ctrl-C
        return line

    printed, said = [], io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setattr("builtins.input", type_one)
        patch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
        patch.setattr(Instant, "steps", 0)
        terminal.prompt_loop(Instant(0), TOKENIZER, Sampling(max_new_tokens=4))
    left = [line.strip() in terminal.LEAVE for line in lines]
    heard = left.index(True) + 1 if any(left) else len(lines)
    assert len(printed) == heard, "each line was heard"
    ends = [*printed, len(said.getvalue())][1:]
    for line, begin, end in zip(lines[:heard], printed, ends, strict=True):
        answer = said.getvalue()[begin:end]
        assert answer.strip() or line.strip() in terminal.LEAVE, line
        assert not line.startswith(":") or "[seed" not in answer, "a command is never a prompt"


SAMPLE = """
# Exercise 1
## Compare
`answer`
## Hint
Look.
## Solution
```python
answer = {answer}
```
## Right
Yes.
## Mistake
Not this.
```python
answer = {mistake}
```
"""
CALLED = SAMPLE.replace("`answer`", "`[answer(word) for word in ('a', '')]`", 1)
SOLUTIONS = ["3", "0.25", "'word'", "True", "[1, 2, 3]", "[0.5, 'a']", "{'a': 1}", "{1, 2}"]


class Odd:
    """What compares with nothing."""

    def __eq__(self, other):
        raise ValueError("no")

    def __bool__(self):
        raise ValueError("no")


def circle() -> list:
    made = [1]
    made.append(made)
    return made


LEAVES = st.one_of(
    st.none(), st.just(...), st.booleans(), st.integers(), st.floats(), st.text(max_size=9),
    st.complex_numbers(), st.binary(max_size=3), st.just(Odd()), st.just(circle()), st.just(int),
    st.just({1, "a"}), st.just(float("nan")), st.just({(1, 2): {3}}),
    st.sampled_from([np.arange(3), np.float32(3), np.array([]), np.array(["a"]), torch.ones(2, 2),
                     torch.tensor(3), np.array([1, None], object)]),
)  # fmt: skip
ANSWERS = st.recursive(
    LEAVES,
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.tuples(inside)
        | st.dictionaries(st.text(max_size=2), inside, max_size=2)
    ),
    max_leaves=4,
)


def function_of(value, arguments: int):
    """A learner's function, which may take another number of arguments, or raise."""
    if arguments == 1:
        return lambda word: value
    return (lambda: value) if arguments == 0 else (lambda word: 1 / 0)


@cases(150)
@given(
    answer=ANSWERS | st.builds(function_of, ANSWERS, st.integers(0, 2)),
    solution=st.sampled_from(SOLUTIONS), called=st.booleans(),
)  # fmt: skip
def test_any_answer_to_an_exercise_is_judged_in_a_line(tmp_path_factory, answer, solution, called):
    folder = tmp_path_factory.getbasetemp()
    (folder / "exercises").mkdir(exist_ok=True)
    start = "lambda word: " * called
    made = (CALLED if called else SAMPLE).format(answer=start + solution, mistake=start + "[1]")
    Path(folder, "exercises", "99.md").write_text(made, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as said:
        patch.setattr("helpers.exercises.BUNDLED", folder)
        Exercises("99", profiles.choose("tiny")).check(1, answer)
    assert said.getvalue().removeprefix("✗ ").removeprefix("✓ ").startswith("Exercise 1")
