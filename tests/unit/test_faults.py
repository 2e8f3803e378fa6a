"""Faults on purpose, from a disk that is full to a byte that flips: tests/README.md lists them.

Each test tries a few moments; with CASES in the environment, so many.
"""

import contextlib
import io
import itertools
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

from helpers import loading, training
from helpers.bundled import pretrain
from helpers.runtime import checkpoints, files, saving
from helpers.runtime.errors import TutorialError
from tests import forked
from tests.conftest import ROOT, new_micro_model

CASES = int(os.environ.get("CASES", 4))


@pytest.fixture
def go(tokenizer, streams, micro_profile, home):
    """Train a new micro model for 24 steps, evaluated and saved at 8, 16 and 24."""

    def go(output="model", callbacks=(), **changes):
        model, profile = new_micro_model(), replace(micro_profile, **changes)
        training.train(model, tokenizer, *streams, profile, home / output, callbacks)
        return model

    return go


def weights(model) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def some(moments: range) -> list[int]:
    """CASES of them, evenly spaced."""
    return list(moments[:: max(1, len(moments) // CASES)])


class Disk:
    """A disk that takes no byte more from the writing of file number `full` on."""

    now = None  # the one that counts

    def __init__(self, full: int):
        self.full, self.count, self.patch = full, itertools.count(1), pytest.MonkeyPatch()

    def __enter__(self):
        import resource

        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.patch.setattr(torch, "save", self.counted(torch.save))  # it opens its files in C++
        Disk.now = self

    def counted(self, function):
        def call(*arguments, **named):
            self.tick()
            return function(*arguments, **named)

        return call

    def tick(self):
        import resource

        if next(self.count) == self.full:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, self.before[1]))

    def __exit__(self, *_):
        import resource

        Disk.now = None
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)
        self.patch.undo()


def _watch(event: str, arguments: tuple) -> None:
    if event == "open" and Disk.now and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        Disk.now.tick()


sys.addaudithook(_watch)  # for ever: nothing removes one


@pytest.mark.skipif(sys.platform == "win32", reason="needs the limits of Linux and macOS")
@pytest.mark.parametrize("moment", some(range(1, 41)))
def test_a_disk_that_is_full_at_any_write_costs_nothing(go, moment):
    """The model that was there stays whole, and once there is space, the run goes on."""
    old, straight = weights(go()), weights(go("straight", seed=1))
    with (
        contextlib.suppress(TutorialError),  # and nothing else
        contextlib.redirect_stdout(io.StringIO()),
        Disk(moment),
    ):
        go(seed=1)
        moment = None
    model, _ = loading.load_fine_tuned("model")
    assert moment is None or torch.equal(weights(model), old)
    with contextlib.suppress(training.AlreadyFinished):
        go(seed=1)
    assert torch.equal(weights(loading.load_fine_tuned("model")[0]), straight)
    assert torch.equal(weights(loading.load_fine_tuned("model.previous")[0]), old)


def flips(folder: Path):
    """Each file in `folder`, with a byte changed at its beginning, in the middle, at the end."""
    for file in sorted(path for path in folder.iterdir() if path.stat().st_size):
        content = file.read_bytes()
        for place in {0, len(content) // 2, len(content) - 1}:
            changed = bytearray(content)
            changed[place] ^= 0x04
            file.write_bytes(changed)
            yield file, place
        file.write_bytes(content)


def test_a_checkpoint_with_a_flipped_byte_is_passed_over(go, home):
    class Killed(Exception):
        pass

    class Kill(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 18:
                raise Killed

    straight = weights(go("straight"))
    with pytest.raises(Killed):
        go(callbacks=[Kill()])
    [run] = (home / "checkpoints").iterdir()
    assert checkpoints.newest_checkpoint(run).name == "checkpoint-16"
    tried = 0
    for file, place in flips(run / "checkpoint-16"):
        found = checkpoints.newest_checkpoint(run).name
        harmless = file.name == files.DIGESTS  # a list that cannot be read is none
        assert found == "checkpoint-8" or harmless, (file.name, place)
        tried += 1
    assert tried >= 24
    next(flips(run / "checkpoint-16"))
    assert torch.equal(weights(go()), straight)


def test_a_model_with_a_flipped_byte_is_not_loaded(go, home):
    go()
    folder, tried = home / "model", 0
    for file, place in flips(folder):
        if file.name.startswith("training_") or file.name == files.DIGESTS:
            with contextlib.suppress(TutorialError):  # they say what the model is
                saving.describe_model(folder)
                loading.load_fine_tuned("model")
            continue
        with pytest.raises(TutorialError, match="not as it was saved") as error:
            loading.load_fine_tuned("model")
        assert file.name in str(error.value), place
        tried += 1
    assert tried >= 12
    assert loading.load_fine_tuned("model")


def test_a_clock_that_is_set_back_changes_nothing(go, monkeypatch):
    straight, hours = weights(go("straight")), itertools.count()
    began = time.time()
    monkeypatch.setattr(time, "time", lambda: began - 3600 * next(hours))
    assert torch.equal(weights(go()), straight)
    assert saving.read_summary(loading.model_folder("model"))["seconds"] >= 0


STEPS = """
import sys
from functools import partial
from pathlib import Path
import torch
from helpers.bundled import pretrain

pretrain.SAVE_EVERY, pretrain.MIX, pretrain.LAST_MIX = 0, (1, 1, 1), (1, 1, 2)
pretrain.WIDTH, pretrain.LAYERS = 64, 2
ids = torch.randint(4096, (9000,), generator=torch.Generator().manual_seed(0))
row = lambda number: ids[number : number + pretrain.BLOCK + 1]
model = pretrain.new_model(0)
batch_at = partial(pretrain.batch_of, ids, ids, row, steps=6)
pretrain.pretrain(model, batch_at, 6, Path(sys.argv[1]))
print(sum(weight.double().sum() for weight in model.parameters()).item())
"""


def pretraining(checkpoint: Path):
    """Six steps, saved after each; prints a figure of the weights at the end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return forked.begin(["-u", "-c", STEPS, checkpoint], cwd=ROOT, env=environment)


@pytest.mark.skipif(sys.platform == "win32", reason="needs the signals of Linux and macOS")
def test_a_pretraining_killed_at_random_moments_ends_with_the_same_weights(tmp_path):
    straight = pretraining(tmp_path / "straight.pt").communicate(timeout=300)[0].split()[-1]
    for kill in range(int(os.environ.get("KILLS", 2))):
        child = pretraining(tmp_path / "killed.pt")
        child.stdout.readline()  # "going on from step 1", or what the first step says
        time.sleep(0.05 * (kill % 9))
        child.send_signal(signal.SIGKILL)
        child.communicate()
    told = pretraining(tmp_path / "killed.pt").communicate(timeout=300)[0]
    assert told.startswith("going on from step")
    assert told.split()[-1] == straight


def test_a_pretraining_that_cannot_write_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    """A full disk, and a kill, in the midst of a file."""
    file, model = tmp_path / "run.pt", pretrain.new_model(0)
    optimizers = pretrain.optimizers(model)
    pretrain.save_checkpoint(file, model, optimizers, 1, 0.0)

    def half(state, path):
        Path(path).write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc:862] . PytorchStreamWriter failed")

    with monkeypatch.context() as broken, pytest.raises(RuntimeError):
        broken.setattr(torch, "save", half)
        pretrain.save_checkpoint(file, model, optimizers, 2, 0.0)
    assert pretrain.load_checkpoint(file, model, optimizers)[0] == 1


def test_a_flipped_byte_in_the_checkpoint_of_a_pretraining_is_noticed(tmp_path):
    (tmp_path / "x").mkdir()
    model = pretrain.new_model(0)
    pretrain.save_checkpoint(tmp_path / "x" / "run.pt", model, [], 1, 0.0)
    straight, noticed = weights(model), 0
    for file, _ in flips(tmp_path / "x"):
        try:
            pretrain.load_checkpoint(file, model, [])
        except SystemExit as stop:
            assert "is damaged; delete it" in str(stop)
            noticed += 1
        assert torch.equal(weights(model), straight)
    assert noticed >= 2, "the last byte says how long a comment is"
    assert pretrain.load_checkpoint(tmp_path / "x" / "run.pt", model, [])[0] == 1
