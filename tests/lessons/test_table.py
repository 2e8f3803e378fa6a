"""The table of lessons: all that names them comes from it, and a new lesson is one line there."""

import re
import shutil
import subprocess
import sys

import pytest

from notebooks.tools.lessons import LESSONS, NOTEBOOKS, chosen, with_tables
from tests.conftest import ROOT


def test_the_table_has_every_lesson_and_no_other():
    assert [lesson.file for lesson in LESSONS] == sorted(NOTEBOOKS.glob("*.ipynb"))
    assert len({lesson.number for lesson in LESSONS}) == len(LESSONS)


def test_a_learner_sees_lessons_not_tools():
    seen = {path.name for path in NOTEBOOKS.iterdir() if not path.name.startswith((".", "__"))}
    assert seen == {lesson.file.name for lesson in LESSONS} | {"colab", "images", "tools"}


def test_readme_has_the_table():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_tables(readme) == readme, "run python -m notebooks.tools map"


def test_readme_without_a_place_for_the_table_is_noticed():
    with pytest.raises(ValueError, match="README needs one mark <!-- lessons -->"):
        with_tables("no marks")


def test_names_choose_lessons():
    assert chosen([]) == list(LESSONS)
    assert [lesson.number for lesson in chosen(["05", "01_i"])] == ["01", "05"]
    with pytest.raises(ValueError, match="No lesson begins with '99'; there are 01_install, "):
        chosen(["05", "99"])


def test_a_new_lesson_is_its_notebook_its_exercises_and_a_line(tmp_path):
    """In a copy, lesson 02 once more under a new number; then the rules are run on it."""
    skipped = shutil.ignore_patterns("__pycache__", "articles", "images", "*.safetensors")
    for folder in ("helpers", "notebooks", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=skipped)
    for file in ("README.md", "conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / file, tmp_path / file)
    number = f"{int(LESSONS[-1].number) + 1:02}"
    exercises = tmp_path / "helpers" / "bundled" / "exercises"
    shutil.copy(exercises / "02.md", exercises / f"{number}.md")
    again = (NOTEBOOKS / "02_explore_dataset.ipynb").read_text(encoding="utf-8")
    again = again.replace('exercises_of(\\"02\\"', f'exercises_of(\\"{number}\\"')
    (tmp_path / "notebooks" / f"{number}_again.ipynb").write_text(again, encoding="utf-8")
    table = tmp_path / "notebooks" / "tools" / "lessons.py"
    line = (
        f'    Lesson("{number}_again", "Again", "Again", "do it again", "in which it comes again"),'
    )
    text = table.read_text(encoding="utf-8")
    table.write_text(re.sub(r"^\)  # fmt: skip", f"{line}\n)", text, flags=re.M), encoding="utf-8")

    def python(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    python("-m", "notebooks.tools", "map")
    python("-m", "notebooks.tools", "colab", number)
    told = python(
        "-m", "pytest", "-q", "-o", "addopts=-p no:cacheprovider", "tests/lessons/test_lessons.py"
    )
    of_one = len(
        re.findall(
            r"^def test_",
            (ROOT / "tests/lessons/test_lessons.py").read_text(encoding="utf-8"),
            re.M,
        )
    )
    assert f"{of_one * (len(LESSONS) + 1)} passed" in told, "the rules have seen the new lesson"
    assert f"[{number} Again](notebooks/{number}_again.ipynb)" in (
        tmp_path / "README.md"
    ).read_text(encoding="utf-8")
    assert (tmp_path / "notebooks" / "colab" / f"{number}_again.ipynb").is_file()
