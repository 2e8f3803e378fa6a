"""Exercises with a checker: `check`, `hint` and `solution` for the exercises of a lesson.

No answer is written down in `bundled/exercises/NN.md`: the code of the solution, and of each
typical mistake with its own hint, runs on your profile's data, and your answer is compared with
what comes out. (Checked exercises with hints are the idea of Kaggle's learntools.)
"""

import math
import re
from collections.abc import Callable
from functools import cached_property

from IPython.display import Markdown, display

from helpers import wrapped
from helpers.profiles import BUNDLED, Profile
from helpers.runtime.errors import TutorialError

TOLERANCE = 0.005  # of a decimal figure, relative: an answer may be rounded


class Exercises:
    """The exercises of lesson `lesson`, such as "03", on the data of `profile`.

    `parts[n - 1]` maps the headings of exercise n, such as Hint, to the texts under them.
    """

    def __init__(self, lesson: str, profile: Profile):
        text = (BUNDLED / "exercises" / f"{lesson}.md").read_text(encoding="utf-8")
        self.given, *exercises = re.split(r"^# Exercise \d+\n", text, flags=re.MULTILINE)
        self.profile, self.parts, self.hinted = profile, [], [0] * len(exercises)
        for exercise in exercises:
            sections = re.findall(
                r"^## (\w+)\n(.*?)(?=^## |\Z)", exercise, flags=re.MULTILINE | re.DOTALL
            )
            parts = {"Compare": ["answer"]} | {name: [] for name, _ in sections}
            for name, body in sections:
                parts[name].append(body.strip())
            self.parts.append(parts)

    def check(self, number: int, answer) -> None:
        """Say whether `answer` is right and, if it is not, what may have gone wrong."""
        print(wrapped(self._verdict(number, answer)))

    def _verdict(self, number: int, answer) -> str:
        parts, push = self._parts(number), f"hint({number}) gives a push."
        name = f"Exercise {number}"
        try:
            given = None if answer is ... else self._compared(number, answer)
        except Exception as error:  # whatever the learner's own function raises
            if callable(answer):
                return f"✗ {name}: checking your answer raised {type(error).__name__}: {error}"
            given = math.nan  # it equals nothing
        if _empty(given):
            waits = ": the function returns nothing yet" if callable(answer) else " for your answer"
            return f"{name} waits{waits}. {push}"
        wanted = self._answer(parts["Solution"][0])
        if _same(given, self._compared(number, wanted)):
            return f"✓ {name}: right! {_prose(parts['Right'][0])}"
        for mistake in parts["Mistake"]:
            if _same(given, self._compared(number, self._answer(mistake))):
                return f"✗ {name}: not yet. {_prose(mistake)}"
        if _kind(answer) != _kind(wanted):
            push = f"I expect {_kind(wanted)}, and got {_kind(answer)}. {push}"
        return f"✗ {name}: not yet. {push}"

    def hint(self, number: int) -> None:
        """Print the next hint; after the last one, the last one again."""
        hints = self._parts(number)["Hint"]
        self.hinted[number - 1] = place = min(self.hinted[number - 1] + 1, len(hints))
        last = f"the last one; solution({number}) shows the answer"
        more = last if place == len(hints) else "hint again for more"
        print(wrapped(f"Hint {place} of {len(hints)}: {_prose(hints[place - 1])} ({more})"))

    def solution(self, number: int) -> None:
        """Show one way to solve it, with its code."""
        display(Markdown(self._parts(number)["Solution"][0]))

    def _answer(self, text: str):
        """The `answer` that the code in `text` makes."""
        names = dict(self.names)
        exec(_code(text), names)
        return names["answer"]

    @cached_property
    def names(self) -> dict:
        """What the code of all exercises may use; made late, since it may load data or a model."""
        names = {"profile": self.profile}
        exec(_code(self.given), names)
        return names

    def _compared(self, number: int, answer):
        expression = self._parts(number)["Compare"][-1].strip("`")
        return _plain(eval(expression, {**self.names, "answer": answer}))

    def _parts(self, number: int) -> dict[str, list[str]]:
        if number not in range(1, len(self.parts) + 1):
            raise TutorialError(f"There are exercises 1 to {len(self.parts)}, and no {number}.")
        return self.parts[number - 1]


def exercises_of(lesson: str, profile: Profile) -> tuple[Callable, Callable, Callable]:
    """The functions `check(number, answer)`, `hint(number)` and `solution(number)` of a lesson."""
    exercises = Exercises(lesson, profile)
    return exercises.check, exercises.hint, exercises.solution


def _code(text: str) -> str:
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))


def _prose(text: str) -> str:
    return " ".join(text.split("```")[0].split())


def _plain(value):
    """Numbers, strings and lists of them, whatever arrays, tuples or sets they came in."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (set, frozenset)):
        value = sorted(value)
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return {key: _plain(part) for key, part in value.items()} if isinstance(value, dict) else value


def _empty(value) -> bool:
    if isinstance(value, list):
        return bool(value) and all(map(_empty, value))
    return value is None or value is ...


def _same(one, other) -> bool:
    # A whole number is wanted exactly, a decimal figure roughly.
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(other, float):
        near = type(one) in (int, float) and math.isclose(one, other, rel_tol=TOLERANCE)
        return near or type(one) is float and one == round(other, 3) != 0  # 0.031 for 0.0314
    if type(one) is float:
        return type(other) is int and one == other
    return type(one) is type(other) and one == other


def _kind(answer) -> str:
    try:
        value = _plain(answer)
    except (TypeError, RecursionError):  # a set of this and that, a list that holds itself
        return f"a {type(answer).__name__}"
    if isinstance(value, list) and value:
        return f"a list that begins with {_kind(value[0])}"
    kinds = {str: "a text", bool: "True or False", int: "a number", float: "a number"}
    return kinds.get(type(value), f"a {type(value).__name__}")
