"""A dry run of training and scoring on a GPU, without one."""

import subprocess
import sys

import pytest
import transformers

from tests.conftest import ROOT


@pytest.mark.skipif(transformers.__version__ < "5", reason="the stand-in for a GPU was made for 5")
def test_every_tensor_is_on_the_gpu():
    done = subprocess.run(
        [sys.executable, "-m", "tests.fake_gpu"], cwd=ROOT, capture_output=True, encoding="utf-8"
    )
    assert done.stdout == "all on one device\n", done.stderr
    last = done.stderr.splitlines()[-1]
    assert "FakeTensorDeviceMismatchError" in last, "a token on the CPU was to be found"
    assert "fake_gpu:0 and cpu" in last or "cpu and fake_gpu:0" in last
