"""Surroundings of all tests: the tiny profile, and temporary folders for all that the code and the lessons write."""

import os
import shutil
import tempfile
from pathlib import Path

_scratch = Path(tempfile.mkdtemp(prefix="gpt2-tutorial-"))


def pytest_configure(config):
    # The kernels that nbval starts, and the child processes of the tests, inherit these.
    os.environ["GPT2_TUTORIAL_PROFILE"] = "tiny"
    os.environ["GPT2_TUTORIAL_HOME"] = str(_scratch / "home")
    os.environ["HF_HOME"] = str(_scratch / "hf")
    os.environ["IPYTHONDIR"] = str(_scratch / "ipython")
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(_scratch / "hypothesis")
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    # What a lesson's own line calls and will not be there much longer is an error in its kernel. (__main__: the cells)
    kinds = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")
    os.environ["PYTHONWARNINGS"] = ",".join(f"error::{kind}:__main__" for kind in kinds)
    for name in ("GPT2_TUTORIAL_MINUTES", "GPT2_TUTORIAL_DEVICE", "HF_DATASETS_CACHE"):
        os.environ.pop(name, None)


def pytest_unconfigure(config):
    shutil.rmtree(_scratch, ignore_errors=True)
