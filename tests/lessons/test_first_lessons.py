"""What lessons 01 and 02 state without computing it there, and what a learner may change."""

import re
from collections import Counter

import pytest

from helpers import data, profiles
from helpers.bundled import pretrain
from notebooks.tools.lessons import LESSONS
from tests.lessons.test_lessons import code_cells, load, prose_of

INSTALL, EXPLORE = LESSONS[:2]


def run(lesson, first: str, last: str, changes: tuple = ()) -> dict:
    """The names that the code cells leave, from the one with `first` in it to the one with `last`.

    `changes` are pairs of what a learner replaces by what.
    """
    sources = ["".join(cell["source"]) for cell in code_cells(load(lesson))]
    start, end = (next(n for n, code in enumerate(sources) if text in code)
                  for text in (first, last))  # fmt: skip
    names = {"profile": profiles.choose("tiny")}
    code = "\n\n".join(sources[start : end + 1]).replace("plots.show()", "")
    for old, new in changes:
        assert code.count(old) == 1, old
        code = code.replace(old, new)
    exec(code, names)
    return names


def stated(lesson, pattern: str) -> tuple[str, ...]:
    return re.search(pattern, " ".join(prose_of(load(lesson)).split())).groups()


def test_the_others_get_a_tail_as_soon_as_the_captain_has_one():
    names = run(INSTALL, "load_pretrained", "def compare", (("range(1, 7)", "range(1, 4)"),))
    found = [names["best"](names["pupil"], f"The {who} shook his").split()
             for who in ("captain", "doctor", "teacher", "sailor")]  # fmt: skip
    assert {word for _, word, _ in found} == {"tail'"}
    shares = [int(share.rstrip("%")) for *_, share in found]
    captain, others = stated(INSTALL, r"his tail, with (\d+)%\..*?theirs, with (\d+)% or more")
    assert (int(captain), int(others)) == (shares[0], min(shares[1:]))


def test_with_a_title_the_small_model_writes_such_full_stops_before_any_training():
    names = run(INSTALL, "load_pretrained", "import Sampling")
    settings = [names["Sampling"](seed=seed, temperature=0.5, max_new_tokens=40)
                for seed in range(10)]  # fmt: skip
    prompt = " = The turtle = \n The turtle is a"
    texts = [names["generate"](names["model"], names["tokenizer"], prompt, dials)
             for dials in settings]  # fmt: skip
    assert stated(INSTALL, r"writes them even before, in (\w+) of the ten") == ("eight",)
    assert sum(" ." in text for text in texts) == 8


def test_a_prompt_after_which_the_model_ends_the_text_breaks_no_test_of_our_own():
    prompt = "And they lived happily ever after."
    run(INSTALL, "load_pretrained", "ids.append", (("The captain shook his", prompt),))


def test_the_blank_first_row_is_what_breaks_the_first_join():
    names = run(EXPLORE, "from_dict", "def join")
    with pytest.raises(IndexError):
        names["join"](names["rows"])
    assert names["kind"](names["rows"][0]) == "blank"
    assert len(names["join"](names["rows"][1:])) == 280


def test_looking_back_three_words_leaves_the_next_cell_as_it_is(capsys):
    run(EXPLORE, "from_dict", '"The gorilla eats fish".split()', (("(1, 2, 4)", "(1, 2, 3)"),))
    last = capsys.readouterr().out.splitlines()[-2:]
    assert last == ["An airplane is a -> ['flying']",
                    "The gorilla eats fish -> nothing: never seen"]  # fmt: skip


def test_what_the_lesson_says_of_gorillas_fish_and_pieces():
    splits = data.load_splits(profiles.choose("tiny"))
    train = "".join(splits["train"]["text"]).split()
    places = (n for n, word in enumerate(train) if word == "eats" and train[n + 1] == "fish")
    after = [train[n + 2] for n in places]
    assert set(after) == {","} and len(after) > 1
    pieces = Counter(title for title, _ in pretrain.read_pieces())
    for split in splits.values():
        titles = [text.split("\n")[0].strip("= ") for text in data.articles(list(split["text"]))]
        assert {pieces[title] for title in titles} == {6}
        assert " = = History = = \n" in split["text"]
