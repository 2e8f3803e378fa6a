"""The lessons of the series, one line each: the only place that names them.

The map at the top of each lesson, README's tables, the one-file editions, `make run` and the
tests come from `LESSONS`. A new lesson is its notebook, its exercises file, and a line here;
then `python -m notebooks.tools map` writes the maps and README's tables anew.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
COLAB = NOTEBOOKS / "colab"
IN_A_ROW = 3  # links in a line of the map's source


@dataclass(frozen=True)
class Lesson:
    """A lesson: its file, its places in README, and what Colab should give it."""

    stem: str  # of its file, such as "01_install"
    name: str  # in the map
    title: str  # in README's table
    afterwards: str  # in README's table: "afterwards you can ..."
    teaser: str  # at the end of the lesson before: "in which ..."
    gpu: bool = False  # whether its Colab edition asks for a GPU
    uses_the_model: bool = False  # the one that lesson 05 trains; if it is lacking, it trains it

    @property
    def number(self) -> str:
        """Such as "01"."""
        return self.stem[:2]

    @property
    def file(self) -> Path:
        """The notebook."""
        return NOTEBOOKS / f"{self.stem}.ipynb"

    @property
    def edition(self) -> Path:
        """Its one-file edition for Colab."""
        return COLAB / f"{self.stem}.ipynb"


LESSONS = (
    Lesson("01_install", "Install", "Install",
           "get a first sentence from a model, teach it another, and choose a profile",
           "in which you check your machine", gpu=True),
    Lesson("02_explore_dataset", "Explore", "Explore the dataset",
           "read WikiText-2, undo its odd signs, and write with a model that only counts",
           "in which you look at the text before any model does"),
    Lesson("03_tokenize", "Tokenize", "Tokenize",
           "explain byte-level BPE, and count what packing saves over padding",
           "in which you see what the text looks like to the model"),
    Lesson("04_load_model", "Load", "Load the model",
           "name GPT-2's parts and count them, and compute its loss by hand",
           "in which you open the model that reads your rows", gpu=True),
    Lesson("05_fine_tune", "Fine-tune", "Fine-tune",
           "train for 3 epochs (or as many as you like), read the loss curves, and save the model",
           "in which the model learns from your text", gpu=True,
           uses_the_model=True),
    Lesson("06_generate", "Generate", "Generate",
           "sample with temperature, top-k and top-p, and play with the prompt box",
           "in which your model writes for you", gpu=True,
           uses_the_model=True),
    Lesson("07_evaluate", "Evaluate", "Evaluate",
           "say which perplexities compare, whether a gain is real, and what was memorised or "
           "forgotten",
           "in which you measure your model", gpu=True,
           uses_the_model=True),
    Lesson("08_your_own_text", "Your own text", "Your own text",
           "make documents of your files, look at them, and train a model that writes such texts",
           "in which the model learns from your own files", gpu=True),
    Lesson("09_lora", "LoRA", "LoRA",
           "train 3% as many parameters, say what that saves and costs, and switch adapters",
           "in which a model learns while its weights stay", gpu=True),
    Lesson("10_scale_and_share", "Scale and share", "Scale and share",
           "work out what a training takes, divide it among processes, and publish a model",
           "in which your model meets other people"),
)  # fmt: skip


def chosen(names: list[str]) -> list[Lesson]:
    """The lessons whose file names begin with one of `names`; all of them where there are none.

    Raises ValueError for a name that no lesson begins with.
    """
    for name in names:
        if not any(lesson.stem.startswith(name) for lesson in LESSONS):
            known = ", ".join(lesson.stem for lesson in LESSONS)
            raise ValueError(f"No lesson begins with {name!r}; there are {known}.")
    return [lesson for lesson in LESSONS if lesson.stem.startswith(tuple(names or [""]))]


def map_of(here: Lesson) -> str:
    """The map at the top of a lesson: links to all, with `here` in bold."""
    links = []
    for lesson in LESSONS:
        link = f"[{lesson.number} {lesson.name}]({lesson.file.name})"
        links.append(f"**{link} (you are here)**" if lesson == here else link)
    rows = [links[start : start + IN_A_ROW] for start in range(0, len(links), IN_A_ROW)]
    return " →\n".join(" → ".join(row) for row in rows)


def with_map(opening: str, here: Lesson) -> str:
    """The first cell of a lesson, with the map in its place: the lines that link to lesson 01."""
    old = re.search(r"^(\*\*)?\[01 .+?(?=\n\n|\Z)", opening, flags=re.MULTILINE | re.DOTALL)
    if not old:
        raise ValueError(f"{here.stem} has no map in its first cell, not even a line [01 ...")
    return opening.replace(old[0], map_of(here))


def with_next(closing: str, here: Lesson) -> str:
    """The last cell of a lesson, with the way on as its last line, which begins with `Next: `."""
    place = LESSONS.index(here) + 1
    following = LESSONS[place % len(LESSONS)]
    link = f"[{following.number} · {following.name}]({following.file.name})"
    line = f"Next: {link}, {following.teaser}."
    if place == len(LESSONS):
        line = f"Next: again from {link}, or with a text of your own."
    return re.sub(r"\n\nNext: .*\Z", "", closing, flags=re.DOTALL) + f"\n\n{line}"


def readme_tables() -> dict[str, str]:
    """What README says of the lessons, by the names of the marks around it."""
    rows, links = [], []
    for lesson in LESSONS:
        file, edition = (
            path.relative_to(ROOT).as_posix() for path in (lesson.file, lesson.edition)
        )
        rows.append(f"| [{lesson.number} {lesson.title}]({file}) | {lesson.afterwards} |")
        links.append(f"[{lesson.number} {lesson.name}]({edition})")
    return {
        "lessons": "\n".join(["| lesson | afterwards you can |", "| --- | --- |", *rows]),
        "editions": " ·\n".join(links),
    }


def with_tables(readme: str) -> str:
    """README with what stands between `<!-- NAME -->` and `<!-- end -->` made anew."""
    for name, table in readme_tables().items():
        pattern = rf"(<!-- {name} -->\n).*?(\n<!-- end -->)"
        readme, found = re.subn(
            pattern, lambda match, table=table: match[1] + table + match[2], readme, flags=re.DOTALL
        )
        if found != 1:
            raise ValueError(f"README needs one mark <!-- {name} -->, and <!-- end --> after it.")
    return readme
