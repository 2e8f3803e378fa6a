"""Every exercise with its solution and with each typical mistake; and the checker itself."""

import json
import re

import pytest
import torch

from helpers import loading, profiles
from helpers.exercises import Exercises, exercises_of
from helpers.runtime.errors import TutorialError
from tests.conftest import ROOT

FOLDER = ROOT / "helpers" / "bundled" / "exercises"
LESSONS = sorted(path.stem for path in FOLDER.glob("[0-9][0-9].md"))
ALL = [
    (lesson, number + 1)
    for lesson in LESSONS
    for number in range(
        len(re.findall(r"^# Exercise", (FOLDER / f"{lesson}.md").read_text(encoding="utf-8"), re.M))
    )
]

# One of each kind: a number, a function, a word.
SAMPLE = """
```python
words = "one two two".split()
```

# Exercise 1
## Compare
`answer`
## Hint
Look at
the words.
## Hint
Count them.
## Solution
Count.
```python
answer = len(words)
```
## Right
Three
words.
## Mistake
You counted each word once.
```python
answer = len(set(words))
```

# Exercise 2
## Compare
`[answer(word) for word in words]`
## Hint
Use `len`.
## Solution
```python
def answer(word):
    return len(word) / 2
```
## Right
Done.
## Mistake
Halve it.
```python
def answer(word):
    return len(word)
```
"""


@pytest.fixture
def sample(tmp_path, monkeypatch):
    (tmp_path / "exercises").mkdir()
    (tmp_path / "exercises" / "99.md").write_text(SAMPLE, encoding="utf-8")
    monkeypatch.setattr("helpers.exercises.BUNDLED", tmp_path)
    return exercises_of("99", profiles.choose("tiny"))


ANOTHER_KIND = "Exercise {0}: not yet. I expect {1}, and got {2}. hint({0}) gives a push."


def said(capsys) -> str:
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines), default=0) <= 80, "else a word is broken"
    return " ".join(lines).strip()


@pytest.mark.parametrize(
    ("number", "answer", "expected"),
    [
        (1, 3, "✓ Exercise 1: right! Three words."),
        (1, 2, "✗ Exercise 1: not yet. You counted each word once."),
        (1, 7, "✗ Exercise 1: not yet. hint(1) gives a push."),
        (1, "3", "✗ Exercise 1: not yet. I expect a number, and got a text. hint(1) gives a push."),
        (1, ..., "Exercise 1 waits for your answer. hint(1) gives a push."),
        (1, None, "Exercise 1 waits for your answer. hint(1) gives a push."),
        (2, ..., "Exercise 2 waits for your answer. hint(2) gives a push."),
        (
            2,
            lambda word: ...,
            "Exercise 2 waits: the function returns nothing yet. hint(2) gives a push.",
        ),
        (2, lambda word: 1.503, "✓ Exercise 2: right! Done."),
        (2, lambda word: 1.52, "✗ Exercise 2: not yet. hint(2) gives a push."),
        (2, lambda word: 3, "✗ Exercise 2: not yet. Halve it."),
        (
            2,
            lambda word: 1 / 0,
            "✗ Exercise 2: checking your answer raised ZeroDivisionError: division by zero",
        ),
        (2, 5, f"✗ {ANOTHER_KIND.format(2, 'a function', 'a number')}"),
        (1, lambda: 3, f"✗ {ANOTHER_KIND.format(1, 'a number', 'a function')}"),
        (1, [], f"✗ {ANOTHER_KIND.format(1, 'a number', 'a list')}"),
    ],
)
def test_an_answer_is_judged(sample, capsys, number, answer, expected):
    check, _, _ = sample
    check(number, answer)
    assert said(capsys) == expected


@pytest.mark.parametrize(
    ("number", "answer", "wanted", "got"),
    [
        (1, [1, 2, 3, 4], "a list that begins with a text", "a list that begins with a number"),
        (1, 5, "a list that begins with a text", "a number"),
        (3, 2, "a text", "a number"),
    ],
)
def test_an_answer_of_another_kind_is_told_so_and_raises_nothing(
    capsys, number, answer, wanted, got
):
    Exercises("03", profiles.choose("tiny")).check(number, answer)
    assert said(capsys) == f"✗ {ANOTHER_KIND.format(number, wanted, got)}"


def test_at_least_is_not_more_than(capsys):
    def count_min_p(probabilities, share=0.1):
        return int((probabilities > share * probabilities.max()).sum())

    Exercises("06", profiles.choose("tiny")).check(3, count_min_p)
    assert "`>=`, not `>`" in said(capsys)


def test_min_p_keeps_as_many_as_exercise_3_of_lesson_06_says(trained_home):
    said_there = (FOLDER / "06.md").read_text(encoding="utf-8")
    [claim] = re.findall(r"on `tiny` (\d+) after `OPEN`, and (\d+) after `SURE`", said_there)
    cells = json.loads((ROOT / "notebooks" / "06_generate.ipynb").read_text(encoding="utf-8"))
    code = "".join(sum((c["source"] for c in cells["cells"] if c["cell_type"] == "code"), []))
    model, tokenizer = loading.load_pretrained(trained_home / "fine_tuned_gpt2")
    kept = []
    for name in ("OPEN", "SURE"):
        [prompt] = re.findall(rf'{name} = "(.+)"', code)
        with torch.no_grad():
            logits = model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1]  # (vocab,)
        shares = logits.softmax(-1)
        kept.append(str(int((shares >= 0.1 * shares.max()).sum())))
    assert tuple(kept) == claim


def test_arrays_sets_and_tuples_count_as_lists(sample, capsys):
    import numpy as np
    import torch

    from helpers.exercises import _plain, _same

    for value in (np.array([1, 2]), torch.tensor([1, 2]), {2, 1}, (1, 2)):
        assert _same(_plain(value), [1, 2])
    assert _same(_plain({"a": torch.tensor(1.0)}), {"a": 1.001})
    assert (
        _same(3.0, 3)
        and not _same(3.001, 3)
        and not _same(True, 1)
        and not _same([1], [1, 2])
        and not _same("1", 1)
        and not _same({"a": 1}, {"b": 1})
    )


def test_three_decimals_are_enough_however_small_the_figure():
    """Lesson 02's third answer is about 0.03 with gpt2; a learning rate is not nought."""
    from helpers.exercises import _same

    assert _same(0.031, 0.0314) and _same([0.032], [0.0316]) and _same(0.03138, 0.0314)
    assert not _same(0.032, 0.0314) and not _same(0.03, 0.0314) and not _same(0.0309, 0.0314)
    assert not _same(0.0, 5e-5) and not _same(0, 5e-5) and not _same("0.031", 0.0314)


def test_hints_come_one_after_the_other(sample, capsys):
    _, hint, _ = sample
    for expected in ("Hint 1 of 2: Look at the words. (hint again for more)",) + 2 * (
        "Hint 2 of 2: Count them. (the last one; solution(1) shows the answer)",
    ):
        hint(1)
        assert said(capsys) == expected


def test_an_exercise_that_does_not_exist_gets_a_sentence(sample):
    check, hint, solution = sample
    for ask in (hint, solution, lambda number: check(number, 1)):
        with pytest.raises(TutorialError, match="exercises 1 to 2, and no 3"):
            ask(3)


@pytest.mark.parametrize(("lesson", "number"), ALL)
def test_the_solution_is_right(lesson, number, capsys):
    exercises = Exercises(lesson, profiles.choose("tiny"))
    names = dict(exercises.names)
    exec(_code(exercises.parts[number - 1]["Solution"][0]), names)
    exercises.check(number, names["answer"])
    assert said(capsys).startswith(f"✓ Exercise {number}: right! ")
    exercises.check(number, ...)
    assert "right" not in said(capsys)


@pytest.mark.parametrize(("lesson", "number"), ALL)
def test_each_typical_mistake_gets_its_own_hint(lesson, number, capsys):
    exercises = Exercises(lesson, profiles.choose("tiny"))
    mistakes = exercises.parts[number - 1]["Mistake"]
    assert len(mistakes) >= 2
    heard = set()
    for mistake in mistakes:
        names = dict(exercises.names)
        exec(_code(mistake), names)
        exercises.check(number, names["answer"])
        heard.add(said(capsys))
    assert len(heard) == len(mistakes)
    assert all(
        text.startswith(f"✗ Exercise {number}: not yet. ") and "gives a push" not in text
        for text in heard
    ), heard


def _code(text: str) -> str:
    return re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_lesson_asks_what_is_checked(lesson):
    import nbformat

    cells = nbformat.read(next((ROOT / "notebooks").glob(f"{lesson}_*.ipynb")), as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    numbers = [number for name, number in ALL if name == lesson]
    assert 2 <= len(numbers) <= 4
    assert [int(number) for number in re.findall(r"^##+ Exercise (\d+)", prose, re.M)] == numbers
    assert [int(number) for number in re.findall(r"^check\((\d+), ", code, re.M)] == numbers
    assert f'exercises_of("{lesson}", profile)' in code
    assert all(f"{word}(1)" in prose for word in ("hint", "solution"))


def test_every_lesson_has_exercises():
    assert LESSONS == sorted(path.stem[:2] for path in (ROOT / "notebooks").glob("*.ipynb"))
