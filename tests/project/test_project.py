"""The rules of the house: sizes, imports, private state, and the files that install it."""

import ast
import graphlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

HELPERS = ROOT / "helpers"
FLAT = sorted(HELPERS.glob("*.py"))
# The command line is flat, too, but no lesson teaches it.
TAUGHT = [path for path in FLAT if path.stem not in ("cli", "__main__")]
MODULES = sorted(path for path in HELPERS.rglob("*.py") if "bundled" not in path.parts)
# The way data flows: a module imports from the lines above its own, and, in ui, from its own.
LAYERS = (
    ("profiles",),
    ("data", "exercises", "lora", "sharing"),
    ("loading", "loss"),
    ("callbacks",),
    ("training",),
    ("generation",),
    ("plots",),
    ("ui",),
    ("cli",),
    ("__main__",),
)
LAYER = {name: number for number, layer in enumerate(LAYERS) for name in layer}
# Each against the way, and why.
EXCEPT = dict.fromkeys(
    [("loading", "training"), ("loading", "ui.live_plot")],
    "ensure_model trains where lesson 06 finds no model, and shows it",
)
DISPLAYS = {"matplotlib", "ipywidgets", "IPython"}
each_module = pytest.mark.parametrize(
    "path", MODULES, ids=lambda path: path.relative_to(HELPERS).as_posix()
)


def name_of(path: Path) -> str:
    """Such as "data" or "runtime.hub"; "" is the package itself."""
    parts = path.relative_to(HELPERS).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


NAMES = {name_of(path) for path in MODULES} - {""}


def imported(node: ast.AST) -> list[str]:
    """The modules, or the names in modules, that a statement imports, dotted."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def own(dotted: str) -> str | None:
    """Which of our modules `helpers.a.b` is in: "a.b", "a", or None where it is no module's."""
    parts = dotted.split(".")
    if parts[0] != "helpers":
        return None
    names = [".".join(parts[1:end]) for end in range(len(parts), 1, -1)]
    return next((name for name in names if name in NAMES), None)


def imports(tree: ast.Module) -> set[tuple[str, bool]]:
    """Our modules that this one imports, each with whether that is at its import or later."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    later = {id(node) for function in functions for node in ast.walk(function)}
    return {
        (name, id(node) not in later)
        for node in ast.walk(tree)
        for name in map(own, imported(node))
        if name
    }


def wrong_imports(name: str, tree: ast.Module) -> list[str]:
    """What a module imports against the way."""
    wrong = []
    for other, at_once in imports(tree):
        family, others = name.split(".")[0], other.split(".")[0]
        if family == "runtime":
            allowed = others in ("runtime", "profiles")
        elif others == "runtime":
            allowed = name != "profiles" or other == "runtime.errors" or not at_once
        else:
            allowed = LAYER[others] < LAYER[family] or family == others == "ui"
        if not allowed and (name, other) not in EXCEPT:
            wrong.append(f"{name} imports {other}")
    return wrong


def hidden_state(tree: ast.Module) -> list[str]:
    """The lines that reach into a library's own state in ways that SLF001 does not see."""
    found = []
    for node in ast.walk(tree):
        hidden = False
        if isinstance(node, ast.Attribute):
            hidden = node.attr == "__dict__"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            hidden = called == "vars" and node.args
            if called in ("getattr", "setattr", "hasattr", "delattr"):
                hidden = re.match(r"['\"]_[^_]", ast.unparse(node.args[1]))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            hidden = any(re.search(r"(^|\.)_[^_]", name) for name in imported(node))
        if hidden:
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    return done.stdout.strip() or done.stderr


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import helpers", "torch transformers numpy"),
        ("from helpers.profiles import choose; choose('tiny')", "torch transformers"),
        ("import helpers.data", "torch transformers datasets"),
    ],
)
def test_importing_is_instant(code, heavy):
    began = time.perf_counter()
    printed = python(f"{code}; import sys; print([n for n in {heavy.split()} if n in sys.modules])")
    assert printed == "[]"
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("paths", "limit"), [(TAUGHT, 1400), (MODULES, 3640)], ids=["taught", "all"]
)
def test_the_helpers_stay_small(paths, limit):
    texts = [path.read_text(encoding="utf-8") for path in paths]
    assert sum(bool(line.strip()) for text in texts for line in text.splitlines()) <= limit


@each_module
def test_modules_and_functions_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 45, node.name


@pytest.mark.parametrize("path", FLAT, ids=lambda path: path.stem)
def test_every_taught_module_has_its_place(path):
    assert path.stem == "__init__" or path.stem in LAYER


@each_module
def test_imports_go_one_way(path):
    if name := name_of(path):
        assert wrong_imports(name, parse(path)) == []


def test_no_imports_go_round():
    graph = {name_of(path): {name for name, _ in imports(parse(path))} for path in MODULES}
    graph["profiles"] = {
        name for name, at_once in imports(parse(HELPERS / "profiles.py")) if at_once
    }
    assert list(graphlib.TopologicalSorter(graph).static_order())


@each_module
def test_what_only_runs_shows_nothing(path):
    """Training and showing meet through callbacks, so that either can be read, and run, alone."""
    name = name_of(path)
    if name.split(".")[0] in (
        "runtime",
        "profiles",
        "data",
        "loading",
        "loss",
        "training",
        "callbacks",
    ):
        found = {
            dotted.split(".")[0] for node in ast.walk(parse(path)) for dotted in imported(node)
        }
        assert not found & DISPLAYS


@each_module
def test_hidden_state_of_libraries_is_in_compat(path):
    if name_of(path) != "runtime.compat":
        assert hidden_state(parse(path)) == []


@pytest.mark.parametrize(
    ("name", "code", "bad"),
    [
        ("runtime.saving", "from helpers import data", True),
        ("runtime.saving", "from helpers.ui.explore import typed", True),
        ("runtime.saving", "from helpers.profiles import Profile", False),
        ("runtime.saving", "from helpers.runtime import hub", False),
        ("profiles", "from helpers.runtime.hub import cached", True),
        ("profiles", "from helpers.runtime import hub", True),
        ("profiles", "def f():\n    from helpers.runtime import hub", False),
        ("profiles", "from helpers.runtime.errors import TutorialError", False),
        ("data", "def f():\n    from helpers.loss import score", True),
        ("data", "import helpers.training", True),
        ("loss", "from helpers import loading", True),
        ("training", "from helpers.ui import live_plot", True),
        ("training", "from helpers import loss, plots", True),
        ("training", "from helpers.loss import score", False),
        ("ui.prompt_box", "from helpers.ui.worker import Worker", False),
        ("ui.prompt_box", "from helpers.cli import main", True),
    ],
)
def test_the_rule_of_imports_sees_what_it_should(name, code, bad):
    assert bool(wrong_imports(name, ast.parse(code))) == bad


@pytest.mark.parametrize(
    ("code", "bad"),
    [
        ("vars(model).pop('forward')", True), ("model.__dict__", True),
        ("getattr(model, '_x', None)", True), ("hasattr(f(), '_x')", True),
        ("from tqdm._utils import colour", True), ("from torch import _dynamo", True),
        ("model.__class__.__name__", False), ("vars()", False), ("getattr(model, 'x')", False),
    ],
)  # fmt: skip
def test_the_rule_of_hidden_state_sees_what_it_should(code, bad):
    assert bool(hidden_state(ast.parse(code))) == bad


def test_requirements_are_pinned_and_explained():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    packages = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[\d.]+ +# .+", line) for line in packages), packages
    assert any(line.startswith("torch==2.13.0 ") for line in packages)


def test_the_bundled_model_is_small_and_stored_in_half_precision():
    from safetensors import safe_open

    file = ROOT / "helpers" / "bundled" / "model" / "model.safetensors"
    assert file.stat().st_size <= 10_000_000
    with safe_open(file, "pt") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"F16"}


def test_the_bundled_tokenizer_opens_with_older_libraries():
    settings = (ROOT / "helpers/bundled/model/tokenizer_config.json").read_text(encoding="utf-8")
    assert '"tokenizer_class": "PreTrainedTokenizerFast"' in settings, (
        "transformers 4 has no TokenizersBackend"
    )
    assert json.loads(settings)["model_input_names"] == ["input_ids", "attention_mask"], (
        "transformers 4 would make token types, too, and GPT-2 adds a vector for each"
    )


def test_the_model_card_states_what_the_model_reaches(tokenizer):
    """Bits per byte of the untouched model on the bundled validation text."""
    import torch

    from helpers import data, loading, profiles
    from helpers.bundled.pretrain import bits_per_byte

    model, _ = loading.load_pretrained(profiles.BUNDLED / "model")
    assert model.dtype == torch.float32
    assert model.num_parameters() <= 5_000_000
    assert model.config.n_positions >= 256
    card = (ROOT / "helpers" / "bundled" / "model" / "README.md").read_text(encoding="utf-8")
    stated = float(re.search(r"encyclopedia, validation split: \*\*([\d.]+)\*\*", card)[1])
    text = "".join(data.validation_texts(profiles.choose("tiny")))
    assert bits_per_byte(model, tokenizer, text) == pytest.approx(stated, abs=1e-3)


def test_readme_and_makefile_agree():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: help (.+)", makefile, flags=re.M)[1].split()
    assert {"lab", "run", "test", "notebooks", "clean"} < set(targets)
    for target in targets:
        assert re.search(rf"^([\w-]+ )*{target}\b[^=\n]*:", makefile, flags=re.M), target
        assert f"make {target}" in readme
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_jupyterlab_is_started_at_the_repositorys_root():
    """Else what lies outside notebooks/ could not be opened there, such as the model cards."""
    for name in ("Makefile", "README.md", "notebooks/01_install.ipynb"):
        text = (ROOT / name).read_text(encoding="utf-8")
        started = re.findall(r"jupyter lab (.*?)notebooks\b", text)
        assert started and set(started) == {"--notebook-dir=. "}, name


def test_commands_in_the_readme_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r"\]\((?!https?:)([^)#]+)", readme):
        assert (ROOT / path).exists(), path


def test_the_picture_of_the_prompt_box_is_small_framed_and_not_glaring():
    """Else it is taken for the real one beside it, and lights up in the dark theme."""
    from matplotlib import image

    pixels = image.imread(ROOT / "notebooks" / "images" / "prompt_box.png")[..., :3]
    assert pixels.shape[1] <= 700 and pixels.mean() < 0.4  # (height, width, 3), from 0 to 1
    frame = [*pixels[0], *pixels[-1], *pixels[:, 0], *pixels[:, -1]]
    assert all((pixel == frame[0]).all() for pixel in frame) and (pixels[2, 2] != frame[0]).any()
    lesson = (ROOT / "notebooks" / "06_generate.ipynb").read_text(encoding="utf-8")
    before = lesson.partition("images/prompt_box.png")[0].splitlines()[-3:]
    assert any("<details><summary>A picture of a box" in line for line in before), "it is folded"


def test_the_readme_begins_with_what_is_used_most():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first_screen = "\n".join(readme.splitlines()[:20])
    for needed in ("make lab", "make run", "You get ", "images/prompt_box.png"):
        assert needed in first_screen
    assert readme.index("python -m helpers prompt") < readme.index("## Speed")
