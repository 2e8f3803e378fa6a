"""What would break on Windows, on a Mac or in another language's settings, by reading the code."""

import ast
import contextlib
import errno
import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from helpers import loading
from helpers.runtime import checkpoints, saving
from helpers.runtime.errors import TutorialError
from tests.conftest import ROOT, run

FOLDERS_OF_CODE = ("helpers/**", "notebooks", "tests/**")
CODE = sorted(
    [
        ROOT / "conftest.py",
        *(path for folder in FOLDERS_OF_CODE for path in ROOT.glob(f"{folder}/*.py")),
    ]
)
LESSONS = sorted(ROOT.glob("notebooks/*.ipynb"))
FOLDERS = ("helpers", "notebooks", "tests", ".ci", ".github")
MADE = ("__pycache__", ".ipynb_checkpoints")
RESERVED = re.compile(
    r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I
)  # devices, whatever their ending
BANNED = {
    "os.path": "pathlib knows the separators",
    "os.system": "no shell",
    "os.popen": "no shell",
    "os.fork": "Windows has none",
    "os.symlink": "needs a privilege on Windows",
    "symlink_to": "needs a privilege on Windows",
    "text=True": "reads in the machine's encoding; name one",
    "universal_newlines=True": "reads in the machine's encoding; name one",
    "shell=True": "no shell",
}
OPENERS = ("open", "read_text", "write_text", "fdopen")
NO_FILES = (
    "socket",
    "webbrowser",
    "urllib",
    "tarfile",
    "zipfile",
    "safetensors",
)  # whose open() opens no text


def source_of(path) -> str:
    """The Python code of a module or a lesson, without IPython's magic lines."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    cells = [
        "".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"
    ]
    return re.sub(r"^(\s*)%.*", r"\1pass", "\n\n".join(cells), flags=re.M)


def names_in(tree: ast.AST):
    """What the code names, dotted, and how its calls are made: pairs of the line and the word."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
            yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
            yield node.lineno, node.module
        elif isinstance(node, ast.Call):
            yield from (
                (node.lineno, f"{word.arg}={ast.unparse(word.value)}") for word in node.keywords
            )


def unnamed_encodings(tree: ast.AST):
    """The lines that open a text file in whatever encoding the machine has."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called.split(".")[-1] not in OPENERS or called.startswith(NO_FILES):
            continue
        words = {word.arg: word.value for word in node.keywords}
        place = (
            1 if called in ("open", "os.fdopen") else 0
        )  # Path.open has no file among its arguments
        mode = words.get("mode") or (node.args[place] if len(node.args) > place else None)
        binary = (
            called.endswith("open") and isinstance(mode, ast.Constant) and "b" in str(mode.value)
        )
        if not binary and "encoding" not in words:
            yield node.lineno


@pytest.mark.parametrize(
    "path", [*CODE, *LESSONS], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_code_runs_on_any_system(path):
    tree = ast.parse(source_of(path))
    found = [
        f"line {line}: {name}: {BANNED[name]}" for line, name in names_in(tree) if name in BANNED
    ]
    found += [f"line {line}: encoding= is not named" for line in unnamed_encodings(tree)]
    assert not found, found


@pytest.mark.parametrize(
    ("code", "bad"),
    [
        ("import os.path", True), ("from os import path", True), ("os.fork()", True),
        ("import os\nos.path.join('a', 'b')", True), ("from os.path import join", True),
        ("Path('a').symlink_to('b')", True),
        ("subprocess.run('ls', shell=True)", True), ("subprocess.run(['ls'], text=True)", True),
        ("open('a')", True), ("open('a', 'w')", True), ("Path('a').open()", True),
        ("Path('a').read_text()", True),
        ("Path('a').write_text('b')", True), ("Path('a').read_text('utf-8')", True),
        ("open('a', 'rb')", False), ("open('a', mode='wb')", False),
        ("Path('a').open('rb')", False),
        ("open('a', encoding='utf-8')", False), ("Path('a').read_text(encoding='utf-8')", False),
        ("subprocess.run(['ls'], encoding='utf-8')", False), ("import os, pathlib", False),
    ],
)  # fmt: skip
def test_these_rules_see_what_they_should(code, bad):
    tree = ast.parse(code)
    assert (
        bool(
            [name for _, name in names_in(tree) if name in BANNED] or list(unnamed_encodings(tree))
        )
        == bad
    )


def test_what_windows_has_no_letters_for_can_be_printed_into_a_file(tmp_path):
    """Its encoding for files and pipes, cp1252 in Europe, has neither arrows nor emoji."""
    short = tmp_path / "→ 🙂.txt"
    short.write_text("a short text", encoding="utf-8")
    done = run("train", "--text", short, home=tmp_path, PYTHONIOENCODING="cp1252")
    assert short.name in done.stdout and "use a longer text" in done.stderr, done.stderr


def model_that_writes(text: str) -> SimpleNamespace:
    """A stand-in for a model, or for a tokenizer, of two files."""

    def save_pretrained(folder: Path) -> None:
        for name in ("config.json", "model.safetensors"):
            (folder / name).write_text(text, encoding="utf-8")

    return SimpleNamespace(save_pretrained=save_pretrained)


def save(folder: Path, text: str) -> None:
    saving.save(model_that_writes(text), model_that_writes(text), folder, dict, {})


def read(folder: Path) -> str:
    return (folder / "config.json").read_text(encoding="utf-8")


@pytest.fixture
def renames(monkeypatch):
    """Windows' way with a folder: renaming it raises where `refused["if"]` says that it is open."""
    rename, refused = Path.replace, {"if": lambda path: False}

    def replace(path, target):
        if refused["if"](path):
            raise PermissionError(13, "Access is denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    return refused


def test_a_model_that_a_notebook_has_open_stays_and_the_new_one_is_kept(tmp_path, renames):
    folder = tmp_path / "model"
    save(folder, "old")
    renames["if"] = lambda path: path == folder
    with pytest.raises(
        TutorialError, match="could not be replaced .*Access is denied.* the new model is in "
    ) as error:
        save(folder, "new")
    kept = Path(re.search(r"new model is in (.+): use it there", str(error.value))[1])
    assert (read(folder), read(kept)) == ("old", "new")
    assert sorted(tmp_path.iterdir()) == sorted([folder, kept])
    renames["if"] = lambda path: False
    save(folder, "newest")
    assert (read(folder), read(kept)) == ("newest", "new")


def test_a_new_model_that_a_virus_scanner_reads_is_not_lost(tmp_path, renames):
    folder = tmp_path / "model"
    save(folder, "old")
    renames["if"] = lambda path: path.name == ".model.new"
    with pytest.raises(TutorialError, match=r"the new model is in .*\.model\.new: use it there"):
        save(folder, "new")
    assert (read(tmp_path / "model.previous"), read(tmp_path / ".model.new")) == ("old", "new")
    renames["if"] = lambda path: False  # the scanner is done
    assert read(loading.model_folder(folder)) == "new"


def test_a_reader_between_the_two_renames_does_not_spoil_them(tmp_path, renames):
    folder, calls = tmp_path / "model", []

    def reader_comes(path):
        if path.name == ".model.new" and not folder.exists() and not calls:
            calls.append(path)
            saving.finish_replacing(folder)  # makes the second rename in place of `save`
        return False

    save(folder, "old")
    renames["if"] = reader_comes
    save(folder, "new")
    previous = tmp_path / "model.previous"
    assert calls and (read(folder), read(previous)) == ("new", "old")
    assert sorted(tmp_path.iterdir()) == [folder, previous]


def save_until(moment: int, monkeypatch, folder: Path) -> None:
    """Save "new" there, killed at the given one of the calls that change something on the disk."""
    calls = itertools.count(1)

    def mortal(function):
        def call(*arguments, **named):
            if next(calls) == moment:
                raise KeyboardInterrupt  # stands for a kill: nothing after it is done
            return function(*arguments, **named)

        return call

    with monkeypatch.context() as dying, contextlib.suppress(KeyboardInterrupt):
        for owner, name in ((Path, "replace"), (Path, "write_text"), (shutil, "rmtree")):
            dying.setattr(owner, name, mortal(getattr(owner, name)))
        save(folder, "new")


@pytest.mark.parametrize("moment", range(1, 17))
@pytest.mark.parametrize("first", [True, False])
def test_a_kill_at_any_moment_leaves_a_whole_model(tmp_path, monkeypatch, moment, first):
    folder, previous = tmp_path / "model", tmp_path / "model.previous"
    for text in () if first else ("oldest", "old"):
        save(folder, text)
    save_until(moment, monkeypatch, folder)
    if not first and not folder.exists():
        assert (read(previous), read(tmp_path / ".model.new")) == ("old", "new")
    saving.finish_replacing(folder)
    found = read(folder) if folder.exists() else None
    assert found in (["new", None] if first else ["new", "old"])
    if found:
        assert (folder / saving.SETTINGS).is_file() and saving.read_summary(folder) is not None
    save(folder, "newest")
    assert read(folder) == "newest"
    assert sorted(tmp_path.iterdir()) == ([folder, previous] if found else [folder])
    assert not found or read(previous) == found


@pytest.fixture
def volume(tmp_path, monkeypatch):
    """A folder that cannot be renamed, nor anything to its name, as a mount point (Docker's)."""
    folder = tmp_path / "volume"
    (folder / "lost+found").mkdir(parents=True)
    move = Path.replace

    def busy(path, target):
        if folder in (path, Path(target)):
            raise OSError(errno.EBUSY, "Device or resource busy")
        return move(path, target)

    monkeypatch.setattr(Path, "rename", busy)
    monkeypatch.setattr(Path, "replace", busy)
    return folder


def test_a_mount_point_keeps_its_place_and_the_old_model_within_it(volume):
    for text in ("oldest", "old", "new"):
        with checkpoints.only_one(volume):
            save(volume, text)
    assert (read(volume), read(volume / ".previous")) == ("new", "old")
    assert saving.read_summary(volume) is not None
    assert [path.name for path in volume.parent.iterdir()] == ["volume"], "all is in the volume"
    assert sorted(path.name for path in volume.iterdir() if path.is_dir()) == [
        ".previous",
        "lost+found",
    ]


@pytest.mark.parametrize("moment", range(1, 25))
def test_a_kill_while_a_mount_point_is_filled_leaves_no_mixture(volume, monkeypatch, moment):
    for text in ("oldest", "old"):
        save(volume, text)
    save_until(moment, monkeypatch, volume)
    saving.finish_replacing(volume)
    if saving.is_model(volume):
        assert read(volume) == (volume / "model.safetensors").read_text(encoding="utf-8")
        assert (volume / saving.SETTINGS).is_file()
    save_until(0, monkeypatch, volume)
    assert read(volume) == "new" and saving.read_summary(volume) is not None
    hidden = [path.name for path in volume.iterdir() if path.name.startswith(".")]
    assert hidden == [".previous"]
    kept = {file.read_text(encoding="utf-8") for file in (volume / ".previous").glob("[cm]*")}
    assert kept in ({"old"}, {"new"}) and saving.read_summary(volume / ".previous") is not None


@pytest.mark.skipif(os.name == "nt", reason="Windows makes links for administrators only")
def test_a_symbolic_link_stays_one(tmp_path):
    disk, link = tmp_path / "disk" / "model", tmp_path / "model"
    subprocess.run(["ln", "-s", str(disk), str(link)], check=True)
    for text in ("old", "new"):
        save(link, text)
    assert link.is_symlink() and read(link) == "new"
    assert read(disk.with_name("model.previous")) == "old"
    assert sorted(tmp_path.iterdir()) == [disk.parent, link]


@pytest.mark.skipif(os.name == "nt", reason="the rights of Linux and macOS")
def test_a_folder_of_ones_own_in_one_of_somebody_elses(tmp_path, monkeypatch):
    """The administrator has made `model` for a learner, who may write there and nowhere else."""
    folder, make = tmp_path / "model", tempfile.mkdtemp
    folder.mkdir()

    def denied(suffix=None, prefix=None, dir=None):
        if Path(dir) == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return make(suffix, prefix, dir)

    monkeypatch.setattr(tempfile, "mkdtemp", denied)
    save(folder, "old")
    save(folder, "new")
    assert (read(folder), read(folder / ".previous")) == ("new", "old")
    monkeypatch.setattr(tempfile, "mkdtemp", lambda *_, **__: denied(dir=tmp_path))
    with (
        pytest.raises(TutorialError, match="No model can be saved in .*Permission denied"),
        checkpoints.only_one(folder),
    ):
        pass


def test_the_lock_of_a_training_lies_beside_its_folder_and_goes_with_it(tmp_path, monkeypatch):
    """Not in a temporary folder: two processes may have one each, and others' files are there."""
    with checkpoints.only_one(tmp_path / "model"):
        assert [path.name for path in tmp_path.iterdir()] == [".model.lock"]
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "other"))
        (tmp_path / "other").mkdir()
        with (
            pytest.raises(TutorialError, match="Another training for"),
            checkpoints.only_one(tmp_path / "model"),
        ):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_reader_that_is_late_between_the_two_renames_raises_nothing(tmp_path, renames):
    save(tmp_path / "model", "new")
    (tmp_path / "model").rename(tmp_path / ".model.new")
    renames["if"] = lambda path: True
    with pytest.raises(TutorialError, match="There is no model in"):
        loading.load_fine_tuned(tmp_path / "model")


def test_file_names_hold_on_any_system():
    paths = [path for path in ROOT.iterdir() if path.is_file()]
    paths += [
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if not set(path.parts) & set(MADE)
    ]
    names = [path.relative_to(ROOT).as_posix() for path in paths]
    assert len(names) > 50
    refused = [name for name in names if re.search(r'[<>:"\\|?*\x00-\x1f]|[ .](/|$)', name)]
    assert not refused + [path.name for path in paths if RESERVED.fullmatch(path.name)]
    assert len({name.casefold() for name in names}) == len(names), (
        "two names differ in upper and lower case only"
    )
    assert not [path for path in paths if path.is_symlink()], "links need a privilege on Windows"
    assert max(map(len, names)) < 120, "Windows has 260 characters for the whole path"


def test_the_conda_environment_is_pip_with_a_python():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert set(environment) == {"name", "channels", "dependencies"}
    python, pip, packages = environment["dependencies"]
    assert (environment["channels"], pip) == (["conda-forge"], "pip")
    assert re.fullmatch(r"python=3\.1[1-4]", python), (
        "the versions in requirements.txt need 3.11 or newer"
    )
    assert packages == {"pip": ["-r requirements.txt"]}, (
        "one list of packages, so that two cannot drift apart"
    )
    for text in (ROOT / "README.md", ROOT / "notebooks" / "01_install.ipynb"):
        assert f"conda activate {environment['name']}" in text.read_text(encoding="utf-8")


def workflow(name: str) -> dict:
    return yaml.load(
        (ROOT / ".github/workflows" / name).read_text(encoding="utf-8"), yaml.BaseLoader
    )  # "on" is a word


def commands(job: dict) -> str:
    return "\n".join(step["run"] for step in job["steps"] if "run" in step)


def test_the_workflow_runs_the_ci_command_on_three_systems():
    tests = workflow("tests.yml")
    assert {"push", "pull_request"} <= set(tests["on"])
    [job] = tests["jobs"].values()
    assert job["runs-on"] == "${{ matrix.system }}"
    assert [name.split("-")[0] for name in job["strategy"]["matrix"]["system"]] == [
        "ubuntu",
        "macos",
        "windows",
    ]
    assert commands(job) == "bash .ci/run"


def test_a_scheduled_workflow_tries_the_oldest_and_the_newest_libraries():
    versions = workflow("versions.yml")
    assert re.fullmatch(r"[\d*/ ]+", versions["on"]["schedule"][0]["cron"])
    [job] = versions["jobs"].values()
    tried = {entry["versions"]: entry["python"] for entry in job["strategy"]["matrix"]["include"]}
    assert tried == {"minimum": "3.10", "newest": "3.14"}
    assert commands(job) == "make test-${{ matrix.versions }}"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(
        f"test-{name}" in makefile and (ROOT / f"tests/environments/{name}.txt").is_file()
        for name in tried
    )


@pytest.mark.parametrize("name", ["minimum", "newest"])
def test_the_other_lists_of_packages_hold_all_that_the_tests_need(name):
    listed, needed = (
        set(re.findall(r"^[a-z][\w-]*", (ROOT / file).read_text(encoding="utf-8"), re.M))
        for file in (f"tests/environments/{name}.txt", "requirements.txt")
    )
    assert needed - listed == {"playwright", "ruff"}, (
        "for the browser and for style, not tried with other versions"
    )


def test_the_minimum_is_the_one_that_is_declared():
    minimum = (ROOT / "tests/environments/minimum.txt").read_text(encoding="utf-8")
    words = "Python 3.10, transformers 4.56, datasets 4.0, peft 0.19 and ipywidgets 7.7"
    for file in ("requirements.txt", "README.md", "tests/environments/minimum.txt"):
        text = " ".join((ROOT / file).read_text(encoding="utf-8").replace("#", "").split())
        assert words in text, file
    declared = {"transformers": "4.56", "datasets": "4.0", "peft": "0.19", "ipywidgets": "7.7"}
    for name, version in declared.items():
        assert re.search(rf"^{name}=={version}\.\d+\b", minimum, re.M), name
