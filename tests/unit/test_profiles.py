"""Which profile runs, on what, and where things go."""

import json
import subprocess
import sys

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from helpers import profiles
from helpers.runtime import hardware, hub
from helpers.runtime.errors import TutorialError
from tests.conftest import ROOT


def test_tiny_is_the_same_on_every_machine(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    profile = profiles.choose("tiny", "cuda", "bf16")
    assert (profile.device, profile.precision, profile.minutes) == ("cpu", "fp32", None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gpt3",), "no profile 'gpt3'; choose one of auto, tiny, gpt2"),
        (("gpt2", "tpu"), "no device 'tpu'"),
        (("gpt2", "cpu", "int8"), "no precision 'int8'"),
        (("gpt2", "cpu", "fp16"), "fp16 needs a CUDA device"),
    ],
)
def test_what_does_not_exist_gets_a_sentence(arguments, words):
    with pytest.raises(TutorialError, match=words):
        profiles.choose(*arguments)


def test_a_device_that_is_not_there_gets_a_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TutorialError, match="no cuda device"):
        profiles.choose("gpt2", "cuda")


def test_without_its_files_there_is_no_tiny(monkeypatch):
    """As in the one-file editions for Colab, without a connection."""
    monkeypatch.setattr(profiles, "HAS_TINY", False)
    monkeypatch.setattr(hub, "cached", lambda *_: [])
    monkeypatch.setattr(hub, "hub_trouble", lambda: ", which does not answer")
    found = profiles.choose("auto", "cpu")
    assert (found.name, found.why) == ("gpt2", "this notebook came without the profile tiny")
    with pytest.raises(
        TutorialError, match="came without the profile tiny; set GPT2_TUTORIAL_PROFILE to gpt2"
    ):
        profiles.choose("tiny")


def test_a_macs_gpu_is_used_only_when_asked_for(monkeypatch):
    """Its numbers do not compare with those of other machines."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert [profiles.choose(name).device for name in ("tiny", "gpt2")] == ["cpu", "cpu"]
    asked = profiles.choose("gpt2", "mps")
    assert (asked.device, asked.precision) == ("mps", "fp32")
    assert profiles.choose("tiny", "mps").device == "cpu"


def test_the_environment_is_asked(monkeypatch):
    monkeypatch.setenv("GPT2_TUTORIAL_PROFILE", "gpt2")
    monkeypatch.setenv("GPT2_TUTORIAL_DEVICE", "cpu")
    monkeypatch.setenv("GPT2_TUTORIAL_MINUTES", "2.5")
    profile = profiles.choose()
    assert (profile.name, profile.device, profile.minutes) == ("gpt2", "cpu", 2.5)
    assert profiles.choose("tiny").name == "tiny", "an argument goes before the environment"


def test_gpt2_on_a_cpu_has_a_budget():
    assert profiles.choose("gpt2", "cpu").minutes == 10
    assert profiles.choose("gpt2", "cpu").dropout == 0


@pytest.mark.parametrize(
    ("capability", "precision"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")]
)
def test_precision_on_gpus_goes_by_capability(monkeypatch, capability, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)  # as it answers on a T4
    monkeypatch.setattr(hardware, "gpu_memory", lambda: 15e9)
    profile = profiles.choose("gpt2")
    assert (profile.device, profile.precision) == ("cuda", precision)
    assert profile.micro_batch_size < profile.global_batch_size == 8


@pytest.mark.parametrize(
    ("text", "kind"),
    [("0", float), ("-1", int), ("x", float), ("nan", float), ("inf", float), ("1.5", int)],
)
def test_numbers_must_be_above_zero(text, kind):
    with pytest.raises(TutorialError, match="--epochs must be"):
        profiles.positive(text, "--epochs", kind)


def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv("GPT2_TUTORIAL_HOME", str(tmp_path))
    assert profiles.home() == tmp_path.resolve()
    monkeypatch.delenv("GPT2_TUTORIAL_HOME")
    assert (profiles.home() / "helpers").is_dir()
    monkeypatch.setitem(sys.modules, "google.colab", object())
    monkeypatch.chdir(tmp_path)
    assert profiles.home() == tmp_path.resolve()


SMALL = {"model_type": "gpt2", "n_positions": 64, "n_embd": 16, "n_layer": 1, "n_inner": 24}


def test_a_model_may_be_a_folder(home, monkeypatch):
    (home / "mine").mkdir()
    (home / "mine" / "config.json").write_text(json.dumps(SMALL), encoding="utf-8")
    profile = profiles.choose("auto", "cpu", model="mine")
    assert (profile.name, profile.model_name, profile.block_size) == ("gpt2", "mine", 64)
    assert profile.model == str((home / "mine").resolve()) and "mine on Salesforce" in str(profile)
    monkeypatch.setenv("GPT2_TUTORIAL_MODEL", "mine")
    assert profiles.choose("gpt2", "cpu").model_name == "mine"
    assert profiles.choose("tiny").model_name == "bundled GPT-2", "tiny has its own"
    with pytest.raises(TutorialError, match="tiny has a model of its own"):
        profiles.choose("tiny", model="mine")
    (home / "mine" / "config.json").unlink()
    with pytest.raises(TutorialError, match="There is no model .*mine"):
        profiles.choose("gpt2", "cpu")


def test_a_dataset_comes_from_an_argument_or_the_environment(monkeypatch):
    monkeypatch.setenv("GPT2_TUTORIAL_DATASET", "someone/stories")
    monkeypatch.setenv("GPT2_TUTORIAL_COLUMN", "story")
    asked = profiles.choose("tiny"), profiles.choose("tiny", dataset="a/b/c", column="d")
    assert [(p.dataset, p.column) for p in asked] == [("someone/stories", "story"), ("a/b/c", "d")]
    assert asked[1].hub_dataset == "a/b/c"


def test_parameters_by_the_formula():
    assert hardware.count_parameters({}) == 124_439_808
    assert hardware.count_parameters({"n_embd": 1024, "n_layer": 24}) == 354_823_168
    model = GPT2LMHeadModel(GPT2Config(**SMALL, n_head=2))
    assert hardware.count_parameters(SMALL) == model.num_parameters()


def test_what_does_not_fit_the_memory_gets_the_arithmetic(monkeypatch):
    monkeypatch.setattr(hardware, "free_memory", lambda device: 2.9e9)
    profile = profiles.choose("gpt2", "cpu")
    words = (
        "about 3.0 GB, and 2.9 GB are free: 124,439,808 parameters x 16 bytes .* are 2.0 GB, and "
        "what 1 x 1,024 tokens leave .* 1.1 GB"
    )
    with pytest.raises(TutorialError, match=words):
        hardware.check_memory(profile)
    monkeypatch.setattr(hardware, "free_memory", lambda device: 3.1e9)
    hardware.check_memory(profile)


@pytest.mark.parametrize(("memory", "rows"), [(85e9, 8), (48e9, 2), (26e9, 1), (15e9, 1)])
def test_rows_that_a_gpu_holds_of_a_larger_model(monkeypatch, memory, rows):
    monkeypatch.setattr(hardware, "gpu_memory", lambda: memory)
    assert hardware.rows_that_fit({"n_embd": 1600, "n_layer": 48}) == rows, "gpt2-xl"
    assert hardware.rows_that_fit({}) == (8 if memory > 30e9 else 2), "gpt2"


def test_another_python_than_the_one_installed_for_gets_a_sentence():
    """The first cell of each lesson, in a kernel without any package."""
    cell = "import sys; sys.path.insert(0, '.')\nfrom helpers import start\nprofile = start()"
    done = subprocess.run(
        [sys.executable, "-S", "-c", cell], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    last = done.stderr.splitlines()[-1]
    assert "No module named" in last and f"in {sys.executable}, the Python of this kernel" in last
    assert last.startswith("helpers.runtime.errors.TutorialError: ") and "%pip install" in last
    assert "During handling" not in done.stderr
