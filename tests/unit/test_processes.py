"""Runs in processes of their own: killed at any moment, or several that train one model."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests import forked
from tests.conftest import ROOT

# Windows has neither SIGKILL nor SIGSTOP.
pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="needs the signals of Linux and macOS"
)
TOGETHER = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]


def environment(home) -> dict[str, str]:
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "GPT2_TUTORIAL_HOME": str(home),
    }


def begin(home) -> subprocess.Popen:
    """A training that has begun: its first line is read."""
    command = "-u", "tests/worker.py", home / "out.json"
    child = forked.begin(command, cwd=ROOT, env=environment(home), errors=True)
    line = child.stdout.readline()
    assert line == "Training all 12 steps.\n", line + child.stdout.read()
    return child


def start(command: list[str], home, *arguments) -> subprocess.CompletedProcess:
    return forked.run([*command, *arguments], cwd=ROOT, env=environment(home), timeout=300)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    result = start(["tests/worker.py"], folder, folder / "out.json")
    assert result.returncode == 0, result.stderr
    return {"home": folder, **json.loads((folder / "out.json").read_text(encoding="utf-8"))}


def weights(home) -> str:
    """The digest of a model's weights, or of an adapter's."""
    [file] = (home / "fine_tuned_gpt2").glob("*.safetensors")
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_run_killed_at_random_moments_ends_with_the_same_weights(alone, tmp_path):
    """SIGKILL three times, between the first step and the end; KILLS and SEED for more, and LORA
    for an adapter. A run that came to its end before its kill is compared, and the next begins
    anew, in a home of its own.
    """
    kills, moments = int(os.environ.get("KILLS", 3)), random.Random(os.environ.get("SEED"))
    homes, told, killed = [], [], 0
    home = None
    while killed < kills or home:
        if home is None:
            home = tmp_path / str(len(homes))
            home.mkdir()
            homes.append(home)
        command = "-u", "tests/worker.py", home / "out.json"
        child = forked.begin(command, cwd=ROOT, env=environment(home))
        # "Training all 12 steps." or "Going on from step 4 of 12."
        began = child.stdout.readline().strip()
        while killed == 0 and not list(home.rglob("checkpoint-4/trainer_state.json")):
            time.sleep(0.01)  # once, there is something to go on from for sure
            assert child.poll() is None
        wait = moments.uniform(0, (0.1 if killed == 0 else 1) * alone["seconds"])
        try:
            child.wait(timeout=wait if killed < kills else 300)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
            killed += 1
            told.append(f"{home.name}: {began} Killed after {wait:.2f} s.")
        else:
            told.append(f"{home.name}: {began} Came to its end.")
            assert child.returncode == 0, told
            assert weights(home) == weights(alone["home"]), told
            left = list((home / "checkpoints").glob("*"))
            assert not left, "checkpoints of finished runs are removed"
            home = None
        child.stdout.close()
    print(*told, sep="\n")
    assert killed == kills and told[1].startswith("0: Going on from step"), told


def test_two_learners_with_a_home_each_train_at_the_same_time(alone, tmp_path):
    """Two notebooks, or two students at one computer: one HF_HOME, a GPT2_TUTORIAL_HOME each."""
    homes = tmp_path / "anna", tmp_path / "ben"
    for home in homes:
        home.mkdir()
    first = begin(homes[0])
    os.kill(first.pid, signal.SIGSTOP)  # so that the first is at work for as long as the second is
    second = begin(homes[1])
    os.kill(first.pid, signal.SIGCONT)
    for child, home in zip((first, second), homes, strict=True):
        printed, _ = child.communicate(timeout=300)
        assert child.returncode == 0, printed
        assert weights(home) == weights(alone["home"])
        assert not list((home / "checkpoints").glob("*"))


@pytest.mark.parametrize("output", ["2>&1 | head -1", "> full 2>&1", ">&- 2>&-"])
def test_a_training_outlives_its_terminal(tmp_path, output):
    """A pipe that nobody reads on, a full disk, and no output at all."""
    if "full" in output and not Path("/dev/full").exists():
        pytest.skip("Linux has it")
    train = f"'{sys.executable}' -m helpers train --profile tiny --epochs 0.03"
    output = output.replace("full", "/dev/full")
    redirect, _, reader = output.partition("|")
    code = tmp_path / "code"
    command = f"{{ {train} {redirect}; echo $? > '{code}'; }} {'|' + reader if reader else ''}"
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, env=environment(tmp_path), capture_output=True,
        encoding="utf-8", timeout=300,
    )  # fmt: skip
    assert code.read_text(encoding="utf-8") == "0\n", done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr and "Exception" not in done.stderr
    assert (tmp_path / "fine_tuned_gpt2" / "training_summary.json").is_file()


def test_what_cannot_be_written_is_an_error_where_it_is_what_was_asked_for(alone, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("Linux has it")
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "helpers", "evaluate"], cwd=ROOT, env=environment(alone["home"]),
            stdout=full, stderr=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == "error: No space left on device"


def test_a_terminal_that_is_closed_leaves_a_run_that_can_go_on(tmp_path):
    child = begin(tmp_path)
    while child.poll() is None and not list(tmp_path.glob("checkpoints/*/checkpoint-*")):
        time.sleep(0.01)  # until it is in the midst of its steps
    child.send_signal(signal.SIGHUP)
    printed, _ = child.communicate(timeout=300)
    assert child.returncode == 0, printed
    summary = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert summary["stopped_early"] and summary["steps"] < 12


def test_two_trainings_of_one_model_do_not_mix(alone, tmp_path):
    """The same settings and home at the same time: the second is refused, the first undisturbed."""
    first = begin(tmp_path)
    os.kill(first.pid, signal.SIGSTOP)
    second = start(["-m", "helpers"], tmp_path, "train", "--profile", "tiny")
    os.kill(first.pid, signal.SIGCONT)
    printed, _ = first.communicate(timeout=300)
    assert first.returncode == 0, printed
    assert second.returncode == 2
    assert second.stderr.splitlines()[-1].startswith("error: Another training for ")
    assert weights(tmp_path) == weights(alone["home"])
    again = start(["tests/worker.py"], tmp_path, tmp_path / "out.json")
    assert again.returncode == 0, "the way is free again: " + again.stderr


def test_two_processes_learn_what_one_learns(alone, tmp_path):
    result = start([*TOGETHER, "tests/worker.py"], tmp_path, tmp_path / "out.json")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "Training all 12 steps.", "one process prints"
    assert "find_unused_parameters" not in result.stderr
    together = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (alone["processes"], together["processes"]) == (1, 2)
    assert len(together["losses"]) == 12
    assert together["losses"] == pytest.approx(alone["losses"], abs=1e-3)
    assert together["validation_loss_after"] == pytest.approx(
        alone["validation_loss_after"], abs=1e-3
    )
    assert together["tokens_seen"] == alone["tokens_seen"]


def test_a_killed_worker_ends_the_run_and_it_can_go_on(alone, tmp_path):
    result = start([*TOGETHER, "tests/worker.py"], tmp_path, tmp_path / "out.json", 6)
    assert result.returncode != 0
    assert "The training has failed" in result.stderr
    assert not (tmp_path / "out.json").exists()
    if int(version("transformers").split(".")[0]) < 5:
        pytest.skip(
            "transformers 4 cannot load an optimizer in several processes on a CPU; on GPUs it can"
        )
    result = start([*TOGETHER, "tests/worker.py"], tmp_path, tmp_path / "out.json")
    assert result.returncode == 0, result.stderr
    again = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert again["resumed_from_step"] == 4
    assert again["losses"] == pytest.approx(alone["losses"], abs=1e-3)


def test_an_adapter_is_trained_in_two_processes_and_goes_on_after_a_kill(tmp_path, monkeypatch):
    monkeypatch.setenv("LORA", "4")
    homes = tmp_path / "alone", tmp_path / "together"
    outs = [home / "out.json" for home in homes]
    for home in homes:
        home.mkdir()
    result = start(["tests/worker.py"], homes[0], outs[0])
    assert result.returncode == 0, result.stderr
    killed = start([*TOGETHER, "tests/worker.py"], homes[1], outs[1], 6)
    assert killed.returncode != 0 and "The training has failed" in killed.stderr
    if int(version("transformers").split(".")[0]) < 5:
        pytest.skip("as above")
    result = start([*TOGETHER, "tests/worker.py"], homes[1], outs[1])
    assert result.returncode == 0, result.stderr
    alone, together = (json.loads(out.read_text(encoding="utf-8")) for out in outs)
    assert (alone["lora"], together["lora"], together["processes"]) == (4, 4, 2)
    assert together["resumed_from_step"] == 4
    assert together["losses"] == pytest.approx(alone["losses"], abs=1e-3)
    assert together["validation_loss_after"] < together["validation_loss_before"] - 0.5
    names = {file.name for file in (homes[1] / "fine_tuned_gpt2").iterdir()}
    assert "adapter_model.safetensors" in names and "model.safetensors" not in names


def test_a_divided_model_learns_the_same_and_can_go_on(alone, tmp_path):
    """`--shard`: each of two processes holds half of the parameters; one is killed on the way."""
    if version("accelerate").startswith("1.10."):
        pytest.skip("accelerate 1.10 divides a model among GPUs only")
    how = [*TOGETHER, "tests/worker.py"]
    result = start(how, tmp_path, tmp_path / "out.json", 6, "shard")
    assert result.returncode != 0 and not (tmp_path / "out.json").exists()
    result = start(how, tmp_path, tmp_path / "out.json", 99, "shard")
    assert result.returncode == 0, result.stderr
    divided = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert divided["resumed_from_step"] == 4
    assert alone["held"] / 2 <= divided["held"] < 0.51 * alone["held"]
    assert divided["losses"] == pytest.approx(alone["losses"], abs=1e-3)
    found = {home: load_file(home / "fine_tuned_gpt2/model.safetensors") for home in
             (tmp_path, alone["home"])}  # fmt: skip
    for name, weight in found[alone["home"]].items():
        assert (found[tmp_path][name] - weight).abs().max() < 1e-3, name


def test_a_model_is_not_divided_by_one(tmp_path):
    result = start(["-m", "helpers"], tmp_path, "train", "--profile", "tiny",
                   "--shard")  # fmt: skip
    assert result.returncode == 2 and "start it with torchrun" in result.stderr


def test_ctrl_c_ends_all_processes_cleanly(tmp_path):
    """A terminal sends it to all of them, and torchrun once more to those that it has started."""
    child = subprocess.Popen(
        [sys.executable, *TOGETHER, "tests/worker.py", str(tmp_path / "out.json")],
        cwd=ROOT, env=environment(tmp_path),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while not list(tmp_path.rglob("checkpoint-4/trainer_state.json")):
        time.sleep(0.01)
        assert child.poll() is None
    os.killpg(child.pid, signal.SIGINT)
    child.wait(60)
    summary = json.loads(
        (tmp_path / "fine_tuned_gpt2" / "training_summary.json").read_text(encoding="utf-8")
    )
    assert summary["stopped_early"]
    assert 4 <= summary["steps"] < 12, "the step that it was in is the last"
    assert (tmp_path / "fine_tuned_gpt2" / "model.safetensors").is_file()
    assert list(tmp_path.rglob(f"checkpoint-{summary['steps']}/trainer_state.json")), (
        "and it can go on"
    )


def test_the_command_line_prints_once_and_shares_the_batch(tmp_path):
    result = start(
        [*TOGETHER, "-m", "helpers"], tmp_path, "train", "--profile", "tiny", "--epochs", "0.03"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("Done after") == result.stdout.count("Training all 1 steps.") == 1


def test_a_batch_that_two_processes_cannot_share_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun sets it
    refused = start(["-m", "helpers"], tmp_path, "train", "--profile", "tiny", "--batch-size", "3")
    assert refused.returncode == 2
    assert "2 processes cannot share 3 rows; make the batch size a multiple." in refused.stderr
