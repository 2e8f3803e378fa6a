"""Runs in processes of their own: killed at any moment, and several that train one model together."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from .conftest import ROOT

TOGETHER = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]


def start(command: list[str], home, *arguments) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "GPT2_TUTORIAL_HOME": str(home)}
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    result = start([sys.executable, "tests/worker.py"], folder, folder / "out.json")
    assert result.returncode == 0, result.stderr
    return {"home": folder, **json.loads((folder / "out.json").read_text(encoding="utf-8"))}


def weights(home) -> str:
    return hashlib.sha256((home / "fine_tuned_gpt2" / "model.safetensors").read_bytes()).hexdigest()


def test_a_run_killed_at_random_moments_ends_with_the_same_weights(alone, tmp_path):
    """SIGKILL three times, each time somewhere between the first step and the end; KILLS and SEED for more by hand."""
    straight, moments = alone["home"], random.Random(os.environ.get("SEED"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "GPT2_TUTORIAL_HOME": str(tmp_path)}
    command, told = [sys.executable, "-u", "tests/worker.py", tmp_path / "out.json"], []
    for _ in range(int(os.environ.get("KILLS", 3))):
        child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        began = child.stdout.readline().strip()  # "Training all 12 steps." or "Going on from step 4 of 12."
        wait = moments.uniform(0, 1.2 * alone["seconds"])
        time.sleep(wait)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        told.append(f"{began} Killed after {wait:.2f} s.")
    print(*told, sep="\n")
    result = start(command, tmp_path)
    assert result.returncode == 0, result.stderr
    assert weights(tmp_path) == weights(straight), told
    assert not list((tmp_path / "checkpoints").glob("*")), "checkpoints of finished runs are removed"


def test_two_processes_learn_what_one_learns(alone, tmp_path):
    result = start([*TOGETHER, "tests/worker.py"], tmp_path, tmp_path / "out.json")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "Training all 12 steps.", "one process prints"
    assert "find_unused_parameters" not in result.stderr
    together = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (alone["processes"], together["processes"]) == (1, 2)
    assert len(together["losses"]) == 12
    assert together["losses"] == pytest.approx(alone["losses"], abs=1e-3)
    assert together["validation_loss_after"] == pytest.approx(alone["validation_loss_after"], abs=1e-3)
    assert together["tokens_seen"] == alone["tokens_seen"]


def test_a_killed_worker_ends_the_run_and_it_can_go_on(alone, tmp_path):
    result = start([*TOGETHER, "tests/worker.py"], tmp_path, tmp_path / "out.json", 6)
    assert result.returncode != 0
    assert "A process of this run has failed" in result.stderr
    assert not (tmp_path / "out.json").exists()
    result = start([*TOGETHER, "tests/worker.py"], tmp_path, tmp_path / "out.json")
    assert result.returncode == 0, result.stderr
    again = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert again["resumed_from_step"] == 4
    assert again["losses"] == pytest.approx(alone["losses"], abs=1e-3)


def test_the_command_line_prints_once_and_shares_the_batch(tmp_path):
    result = start([*TOGETHER, "-m", "helpers"], tmp_path, "train", "--profile", "tiny", "--epochs", "0.03")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("Done after") == result.stdout.count("Training all 1 steps.") == 1
    refused = start([*TOGETHER, "-m", "helpers"], tmp_path, "train", "--profile", "tiny", "--batch-size", "3")
    assert refused.returncode != 0
    assert "2 processes cannot share 3 rows; make the batch size a multiple." in refused.stderr
