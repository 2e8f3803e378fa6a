"""Surroundings of all tests: the tiny profile, temporary folders, and who works on what."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import filelock
import pytest

if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)) > 1:
    # Several workers share the cores. Before torch loads; kernels and child processes inherit it.
    os.environ["OMP_NUM_THREADS"] = "1"

_scratch = Path(tempfile.mkdtemp(prefix="gpt2-tutorial-"))
# The workers inherit the name from the process that starts them.
_shared = Path(os.environ.setdefault("GPT2_TUTORIAL_TESTS", str(_scratch)))


def pytest_configure(config):
    # The kernels that nbval starts, and the child processes of the tests, inherit these.
    os.environ["GPT2_TUTORIAL_PROFILE"] = "tiny"
    os.environ["GPT2_TUTORIAL_HOME"] = str(_scratch / "home")
    os.environ["HF_HOME"] = str(_scratch / "hf")
    os.environ["IPYTHONDIR"] = str(_scratch / "ipython")
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(_scratch / "hypothesis")
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    # What a lesson's own line calls and will not be there much longer is an error in its kernel.
    # (__main__: the cells)
    kinds = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")
    os.environ["PYTHONWARNINGS"] = ",".join(f"error::{kind}:__main__" for kind in kinds)
    # `nohup` and a shell's background have these ignored, and the child processes of the tests too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for name in ("GPT2_TUTORIAL_MINUTES", "GPT2_TUTORIAL_DEVICE", "HF_DATASETS_CACHE"):
        os.environ.pop(name, None)


# Lessons, modules and tests that take seconds, the longest first. `make check` leaves them out.
SLOW = (
    "test_lab 05_fine_tune test_colab test_processes test_hub test_cli test_training "
    "10_scale_and_share "
    "09_lora 07_evaluate 08_your_own_text 06_generate 03_tokenize 04_load_model "
    "01_install 02_explore_dataset "
    "test_verify test_prompt_box test_own_text test_exercises test_table test_pretrain "
    "test_deprecations test_sharing "
    "test_fake_cuda test_the_model_card_states_what_the_model_reaches "
    "test_scale "
    "test_load_model "
    "test_ten_times_the_data_takes_no_more_memory "
    "test_what_windows_has_no_letters_for_can_be_printed_into_a_file"
).split()
# By the clock: `make test` runs them when nothing else does, after the others.
CLOCK = (
    "test_the_sampling_explorer_of_lesson_06_redraws_at_once "
    "test_the_first_token_comes_at_once_and_streaming_costs_little"
).split()
# What waits for a browser, a kill or a clock may be late on a machine that others use too. It is
# run once more where it failed, and pytest says so ("1 rerun"); what is broken fails twice.
WAITING = {
    "test_lab",
    "test_site",
    "test_processes",
    "test_a_budget_is_kept_and_a_fifth_of_it_goes_into_validation",
    *CLOCK,
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """The slow ones first; marks for what `make check` and `make test` choose."""

    def place(item):
        found = [SLOW.index(name) for name in names(item) if name in SLOW]
        return min(found, default=len(SLOW))

    def names(item):
        return item.path.stem, item.name.split("[")[0]

    for item in items:
        if set(names(item)) & set(CLOCK):
            item.add_marker("alone")
        if set(names(item)) & WAITING:
            item.add_marker(pytest.mark.flaky(reruns=1))
        if place(item) < len(SLOW) or item.get_closest_marker("figures"):
            item.add_marker("slow")
    items.sort(key=place)


LESSON = "05_fine_tune"
TRAINED = _shared / "trained"  # a home with the model that profile tiny makes: for all workers
_training = None  # the lock that is held while lesson 05 trains it


def trained_once():
    """The home with lesson 05's model; where nobody runs the lesson, the script trains its equal.

    `unit/test_cli.py` holds that they are equal.
    """
    with filelock.FileLock(f"{TRAINED}.lock"):
        if not TRAINED.exists():
            done = subprocess.run(
                [sys.executable, "-m", "helpers", "train"], cwd=Path(__file__).parent,
                env={**os.environ, "GPT2_TUTORIAL_HOME": str(TRAINED)},
                capture_output=True, encoding="utf-8",
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
    return TRAINED


@pytest.fixture(scope="session")
def trained_home():
    return trained_once()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Lesson 05 lends its model to the tests that need one, and to lessons 06 and 07."""
    global _training
    if item.path.suffix != ".ipynb":
        return
    model = Path(os.environ["GPT2_TUTORIAL_HOME"], "fine_tuned_gpt2")
    if item.path.stem == LESSON and not _training:
        _training = filelock.FileLock(f"{TRAINED}.lock")
        _training.acquire()
    elif item.path.stem[:2] in ("06", "07") and not model.exists():
        shutil.copytree(trained_once() / model.name, model)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """After the last cell of lesson 05."""
    global _training
    if _training and (nextitem is None or nextitem.path != item.path):
        model = Path(os.environ["GPT2_TUTORIAL_HOME"], "fine_tuned_gpt2")
        if model.exists() and not TRAINED.exists():
            shutil.copytree(model, TRAINED / model.name)
        _training.release()
        _training = None


def pytest_unconfigure(config):
    shutil.rmtree(_scratch, ignore_errors=True)
