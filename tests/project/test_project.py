"""What holds the project together: sizes, imports, the files that install it."""

import ast
import re
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

MODULES = sorted((ROOT / "helpers").glob("*.py"))
# The way data flows. A module may import the ones before it.
ORDER = (
    "errors profiles data models checkpoints planning callbacks training evaluation generation plots widgets "
    "texts prompt_box exercises cli __main__"
).split()


def test_importing_the_helpers_is_instant():
    code = "import sys, helpers; print(any(name in sys.modules for name in ('torch', 'transformers', 'numpy')))"
    began = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    assert result.stdout.strip() == "False"
    assert time.perf_counter() - began < 5


def test_choosing_a_profile_by_name_needs_no_torch():
    code = "import sys; from helpers.profiles import choose; choose('tiny'); print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    assert result.stdout.strip() == "False"


def test_the_helpers_stay_small():
    lines = {path.name: path.read_text(encoding="utf-8").splitlines() for path in MODULES}
    assert (
        sum(bool(line.strip()) for module in lines.values() for line in module) < 2000
    )  # without blank lines
    assert max(map(len, lines.values())) <= 300


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.stem != "__init__"], ids=lambda path: path.stem
)
def test_imports_go_one_way(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("helpers"):
            parts = node.module.split(".")
            names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
            for name in names:
                if not (ROOT / "helpers" / f"{name}.py").is_file():
                    continue  # a function of the package's own
                assert ORDER.index(name) < ORDER.index(path.stem), f"{path.stem} imports {name}"


def test_training_imports_neither_plots_nor_widgets():
    for name in ("training", "planning", "callbacks", "models", "data"):
        text = (ROOT / "helpers" / f"{name}.py").read_text(encoding="utf-8")
        assert not re.search(r"matplotlib|ipywidgets|IPython", text), name


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


def test_commands_in_the_readme_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r"\]\((?!https?:)([^)#]+)", readme):
        assert (ROOT / path).exists(), path
