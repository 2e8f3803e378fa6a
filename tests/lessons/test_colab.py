"""The one-file editions for Google Colab: up to date, complete, and running where nothing else of
the repository is.

Each runs in a kernel of its own, in an empty folder, with a stub of `google.colab` and a stand-in
for the Hub (hub.py). `make test-colab` runs these tests with Colab's versions of everything but
Python and torch.
"""

import os
import re
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
import transformers
from nbclient import NotebookClient

from notebooks.tools.__main__ import main
from notebooks.tools.editions import edition as make_edition
from notebooks.tools.editions import own_cells
from notebooks.tools.lessons import COLAB, LESSONS, NOTEBOOKS, Lesson
from tests.hub import Hub, make_repos
from tests.unit.test_hub import NOBODY, OURS

pytestmark = pytest.mark.skipif(
    transformers.__version__ < "5",
    reason="Colab has 5; 4 takes the stub of torchao for a whole one",
)
ROOT = NOTEBOOKS.parent
EDITIONS = sorted(COLAB.glob("*.ipynb"))
ARTICLES = {"train": 600, "validation": 60, "test": 60}  # as in WikiText-2: lesson 02 counts them
STUB = {
    "google/colab/__init__.py": "",
    "sitecustomize.py": "import google.colab\n",  # Colab's kernel has imported it
    "torchao/__init__.py": "",  # which peft does not accept
    "torchao-0.10.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: torchao\nVersion: 0.10.0\n",
    "torchao-0.10.0.dist-info/top_level.txt": "torchao\n",
}
WRITTEN = {
    "05": {"fine_tuned_gpt2", "checkpoints"},
    "10": {"worker.py", "rows.pt", "shared_gpt2", "checkpoints"},
    "08": {"toy_texts", "toy_draft.txt", "entries.jsonl", "keeper_gpt2", "checkpoints"},
    "09": {"voices"},
}  # by a lesson, in the folder where it runs
BARE = """
import importlib.util, sys
assert "google.colab" in sys.modules and importlib.util.find_spec("helpers") is None
"""

each_edition = pytest.mark.parametrize("edition", EDITIONS, ids=lambda path: path.stem)


def code_cells(edition: Path) -> list:
    return [cell for cell in nbformat.read(edition, as_version=4).cells if cell.cell_type == "code"]


def folded(edition: Path) -> dict[str, str]:
    """The folded cells of an edition, by title."""
    cells = [
        cell.source
        for cell in code_cells(edition)
        if "source_hidden" in cell.metadata.get("jupyter", {})
    ]
    return {re.match(r"#@title (.+)\n", source)[1]: source for source in cells}


def test_the_editions_are_those_that_make_colab_writes(tmp_path, monkeypatch):
    monkeypatch.setattr("notebooks.tools.__main__.COLAB", tmp_path)
    monkeypatch.setattr(sys, "argv", ["notebooks", "colab"])
    assert main() == 0
    made = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text(encoding="utf-8") for path in EDITIONS}
    assert sorted(made) == sorted(kept) == [lesson.file.name for lesson in LESSONS]
    assert [name for name in made if made[name] != kept[name]] == [], "run make colab"


@each_edition
def test_an_edition_is_all_that_a_learner_needs(edition):
    notebook = nbformat.read(edition, as_version=4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    assert not any(cell.outputs or cell.execution_count for cell in code_cells(edition))
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert [
        link for link in re.findall(r"\]\(([^)]+)\)", prose) if not link.startswith("https://")
    ] == []
    lesson = "\n".join(cell.source for cell in notebook.cells if "jupyter" not in cell.metadata)
    assert (
        re.findall(r"(?<!\.)clone|pip3? install|apt |requirements\.txt|\.venv|make lab", lesson)
        == []
    )


@each_edition
def test_the_helpers_travel_folded_and_readable(edition, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "helpers" / "runtime" / "errors.py"
    mine.parent.mkdir(parents=True)
    mine.write_text("# mine", encoding="utf-8")
    cells = folded(edition)
    names = {}
    for source in cells.values():
        exec(source, names)
    written = {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert written == set(list(cells)[1:]), "the title of a cell is the file that it writes"
    assert mine.read_text(encoding="utf-8") == "# mine", "what is there already stays"
    for name in written - {"helpers/runtime/errors.py"}:
        assert (tmp_path / name).read_text(encoding="utf-8") == (ROOT / name).read_text(
            encoding="utf-8"
        )
        assert (ROOT / name).read_text(encoding="utf-8") in cells[name], "readable, as it stands"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    make_repos(folder, ARTICLES)
    with Hub(folder) as hub:
        yield hub


@pytest.fixture(scope="module")
def connected(hub, tmp_path_factory):
    """Lesson 04, which reads model and data, run with the Hub: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("connected")
    return folder, execute(COLAB / "04_load_model.ipynb", folder, hub.url)


def execute(edition: Path, folder: Path, endpoint: str, **environment: str) -> str:
    """Run all of an edition in an empty folder, `vm`, as on a fresh Colab; all that it printed."""
    for name, text in STUB.items():
        file = folder / "stub" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (folder / "vm").mkdir()
    outside = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    ours = {
        "PYTHONPATH": str(folder / "stub"), "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"),
        "NO_PROXY": "127.0.0.1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "GPT2_TUTORIAL_MINUTES": "0.1", "GPT2_TUTORIAL_DEVICE": "cpu",
    }  # fmt: skip
    notebook = nbformat.read(edition, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(BARE))
    where = {"metadata": {"path": str(folder / "vm")}}
    client = NotebookClient(
        notebook, timeout=600, resources=where, extra_arguments=["--log-level=ERROR"]
    )
    client.execute(env={**outside, **ours, **environment})
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    noise = [
        output.text
        for output in outputs
        if output.get("name") == "stderr" and "Warning" in output.text
    ]
    assert all("mtime may not be reliable" in text for text in noise), (
        noise
    )  # transformers 4, of fast checkpoints
    return "".join(output.text for output in outputs if output.output_type == "stream")


@each_edition
def test_an_edition_runs_in_an_empty_folder(edition, tmp_path, hub, request):
    if edition.stem == "04_load_model":
        folder, printed = request.getfixturevalue("connected")
    else:
        folder, printed = tmp_path, execute(edition, tmp_path, hub.url)
    assert "Profile gpt2 (the Hugging Face Hub answers): openai-community/gpt2" in printed
    left = {path.name for path in (folder / "vm").iterdir()}
    assert left == {"helpers"} | WRITTEN.get(edition.stem[:2], set())
    if edition.stem.startswith("09"):
        assert printed.count("torchao is hidden from it") == 1
    if edition.stem.startswith("06"):
        said = " ".join(printed.split())  # it is printed in lines of 80 characters
        assert re.search(r"openai-community/gpt2 as published.* run lesson 05 .*Drive", said)


# Two of the six, which ask transformers themselves: for the tokenizer, and for the model. What asks
# through the helpers is tried in `unit/test_hub.py`.
@pytest.mark.parametrize("edition", ["03_tokenize", "04_load_model"])
def test_an_edition_runs_with_the_cable_out(edition, tmp_path, connected):
    filled = connected[0] / "hf"
    printed = execute(COLAB / f"{edition}.ipynb", tmp_path, NOBODY, HF_HOME=str(filled))
    assert "Profile gpt2 (its files are on this machine): openai-community/gpt2" in printed
    assert not re.search("Retrying|Using the latest cached", printed), (
        "nobody asks for a Hub that is not needed"
    )


@pytest.mark.skipif(
    Path(sys.prefix).name != ".venv-colab", reason="these versions are for make test-colab"
)
def test_the_versions_are_those_of_colab():
    listed = dict(
        re.findall(
            r"^([\w-]+)==(\S+)",
            (ROOT / "tests/environments/colab.txt").read_text(encoding="utf-8"),
            re.M,
        )
    )
    found = {
        name: metadata.version(name).split("+")[0] for name in listed
    }  # torch has its build behind a +
    assert len(listed) > 20 and found == listed


def test_tiny_asked_for_where_it_did_not_travel(tmp_path, hub):
    with pytest.raises(Exception, match="This notebook came without the profile tiny") as error:
        execute(COLAB / "01_install.ipynb", tmp_path, hub.url, GPT2_TUTORIAL_PROFILE="tiny")
    assert "profile = start()" in str(error.value), "the first cell of the lesson says it"


def test_lesson_06_says_why_the_model_of_05_is_not_there_and_how_to_get_it():
    cells = make_edition(LESSONS[5]).cells
    prose = [" ".join(cell.source.split()) for cell in cells if cell.cell_type == "markdown"]
    [sentence] = [text for text in prose if "each page has a machine of its own" in text]
    assert "kept it on your Google Drive" in sentence and "train again on that page" in sentence


def test_the_model_goes_to_drive_and_comes_back(tmp_path, monkeypatch, capsys):
    drive = ModuleType("google.colab.drive")
    drive.mount = lambda folder: Path(folder, "MyDrive").mkdir(parents=True, exist_ok=True)
    drive.flush_and_unmount = lambda: None
    google, colab = ModuleType("google"), ModuleType("google.colab")
    colab.drive = drive
    monkeypatch.setitem(sys.modules, "google", google)
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    monkeypatch.setenv("GPT2_TUTORIAL_HOME", str(tmp_path / "old"))
    keep, fetch = (
        next(cell.source for cell in code_cells(COLAB / name) if "drive.mount" in cell.source)
        for name in ("05_fine_tune.ipynb", "06_generate.ipynb")
    )
    from helpers import loading

    def run(source, box):
        exec(
            source.replace("/content/drive", (tmp_path / "drive").as_posix()).replace(*box),
            {"loading": loading},
        )

    on = ("= False  #@param", "= True  #@param")
    run(fetch, ("", ""))
    with pytest.raises(
        AssertionError, match="no folder fine_tuned_gpt2 on your Drive: .* lesson 05"
    ):
        run(fetch, on)
    (tmp_path / "old" / "fine_tuned_gpt2").mkdir(parents=True)
    (tmp_path / "old" / "fine_tuned_gpt2" / "config.json").write_text("{}", encoding="utf-8")
    run(keep, ("", ""))
    assert not (tmp_path / "drive" / "MyDrive" / "fine_tuned_gpt2").exists(), (
        "Run all asks for no permission"
    )
    run(keep, on)
    monkeypatch.setenv("GPT2_TUTORIAL_HOME", str(tmp_path / "new"))
    run(fetch, on)
    assert (tmp_path / "new" / "fine_tuned_gpt2" / "config.json").read_text(
        encoding="utf-8"
    ) == "{}"
    assert capsys.readouterr().out.splitlines() == [
        "No model of lesson 05 is here.", "The model is only in this session.",
        "The model is on your Drive.",
        "The model of lesson 05 is here.",
    ]  # fmt: skip


@pytest.fixture
def lesson(tmp_path, monkeypatch):
    """A lesson of three cells, and a folder for what Colab has in their places."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_markdown_cell("# Title", id="title"),
        nbformat.v4.new_code_cell("1 + 1", id="sum"),
        nbformat.v4.new_markdown_cell("![A plot](images/a.png)\n\n[02](02.ipynb)", id="end"),
    ]
    nbformat.write(notebook, tmp_path / "01_one.ipynb")
    monkeypatch.setattr("notebooks.tools.lessons.NOTEBOOKS", tmp_path)
    monkeypatch.setattr("notebooks.tools.editions.CELLS", tmp_path)
    return Lesson("01_one", "", "", "", "")


def cells_of(lesson, own: str) -> list[str]:
    (lesson.file.parent / "01_one.md").write_text(own, encoding="utf-8")
    return [cell.source for cell in make_edition(lesson).cells if "jupyter" not in cell.metadata]


def test_a_cell_of_colabs_own_takes_the_place_or_comes_after(lesson):
    own = "Read this.\n<!-- code instead of sum -->\n2 + 2\n\n<!-- markdown after sum -->\nwhy\n\n"
    own += "<!-- code after sum -->\n3\n"
    title, _, *rest = cells_of(lesson, own)
    assert [title, *rest] == ["# Title", "2 + 2", "why", "3", "02"], "a picture stays at home"


def test_a_cell_of_several_lessons_is_a_file_beside_them(lesson):
    (lesson.file.parent / "both.txt").write_text("4\n5\n", encoding="utf-8")
    own = "<!-- code after sum -->\nboth.txt\n<!-- markdown after sum -->\nsee both.txt\n"
    assert cells_of(lesson, own)[-3:-1] == ["4\n5", "see both.txt"]


@pytest.mark.parametrize("mark", ["code instead of gone", "markdown instead of sum"])
def test_a_cell_that_the_lesson_no_longer_has_is_noticed(lesson, mark):
    with pytest.raises(ValueError, match="01_one has no .* cell"):
        cells_of(lesson, f"<!-- {mark} -->\n2\n")


def test_few_cells_are_colabs_own():
    assert 0 < sum(len(own_cells(lesson)) for lesson in LESSONS) <= 15
