"""What a run leaves on disk while it goes on: found again by its settings, never used by two."""

import contextlib
import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from helpers.profiles import Profile, home
from helpers.runtime import saving
from helpers.runtime.budget import Plan
from helpers.runtime.distributed import is_main_process, num_processes
from helpers.runtime.errors import TutorialError, in_words
from helpers.runtime.files import damaged

PLAN = "plan.json"
CHANCE = 0.05  # nats a token: with an earlier bundled model, three seeds rose by 0.011 to 0.063


def settings_of(profile: Profile, train_tokens, validation_tokens, output: Path) -> dict:
    """All that decides the result of a run for `output`. Two with equal settings are one run."""
    digest, model = digest_of(train_tokens, validation_tokens), Path(profile.model)
    run = {"model": profile.model_name, "data": digest, "processes": num_processes()}
    settings = dataclasses.asdict(profile) | run
    del settings["why"]
    if model.is_dir():
        settings["weights"] = digest_of_weights(model)
    kept = saving.read_json(output / saving.SETTINGS) or {}
    same = kept == settings | {"weights": kept.get("weights")}
    # A model that is trained further in its own folder may be the run's result by now.
    return kept if same and model == output.resolve() else settings


def digest_of_weights(model: Path) -> str:
    """Of a model folder. All weights may be gigabytes; any training changes the first ones, too."""
    files = sorted(model.glob("*.safetensors"))
    return digest_of(*(np.fromfile(file, np.uint8, 2**20) for file in files))


def digest_of(*arrays: np.ndarray) -> str:
    """The same only for the same arrays."""
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]


def run_folder(settings: dict, output: Path) -> Path:
    """Where the checkpoints of the run with these settings go: one folder a run."""
    same = {key: float(x) if isinstance(x, int) else x for key, x in settings.items()}  # 3 is 3.0
    digest = hashlib.sha256(json.dumps([same, str(output)], sort_keys=True).encode()).hexdigest()
    return home() / "checkpoints" / f"{output.name}-{digest[:8]}"


def finished(output: Path, settings: dict) -> dict | None:
    """The summary in `output` where a run with the same settings has been completed there."""
    summary = saving.read_summary(output)
    same = saving.read_json(output / saving.SETTINGS) == settings
    return summary if same and summary and not summary["stopped_early"] else None


@contextlib.contextmanager
def failing_in_words():
    """Within it, what the machine refuses, or the failure of a process, is a TutorialError."""
    try:
        yield
    except Exception as error:
        reason = in_words(error)
        if isinstance(error, TutorialError) or (reason is None and num_processes() == 1):
            raise
        raise TutorialError(
            f"The training has failed ({reason or str(error).splitlines()[0]}). The same command "
            "continues from the newest checkpoint."
        ) from error


@failing_in_words()
def begin(folder: Path, plan: Plan) -> None:
    """Make the folder of a new run, with its plan in it."""
    saving.discard(folder)  # what a run left that was killed before its first checkpoint
    folder.mkdir(parents=True)
    saving.write_json(folder / PLAN, dataclasses.asdict(plan))
    others = [file for file in folder.parent.glob("*/*/*") if folder not in file.parents]
    if size := sum(file.stat().st_size for file in others):
        held = f"{folder.parent} holds {size / 1e9:,.3g} GB of runs with other settings"
        print(f"A new run. {held}; repeat them to go on, or delete the folders.", flush=True)


def read_plan(folder: Path) -> Plan:
    """The plan that the run in `folder` was begun with."""
    return Plan(**saving.read_json(folder / PLAN))


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint in a run's folder, if there is one."""
    whole = [path for path in folder.glob("checkpoint-*") if _is_whole(path)]
    return max(whole, key=step_of, default=None)


def say_if_it_rose(state) -> None:
    """Say which step's model is kept, where the validation loss of the last one is higher."""
    best, done = state.best_global_step, state.global_step
    if best and best < done:
        losses = [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]
        rise = losses[-1] - state.best_metric
        advice = "Fewer epochs, or more text, may help." if rise > CHANCE else "That may be chance."
        rose = f"The validation loss rose by {rise:.3f} after step {best:,} of {done:,}"
        print(f"{rose}: that step's model is kept. {advice}", flush=True)


def step_of(checkpoint: Path) -> int:
    """The optimizer steps that were taken before it was written."""
    return int(checkpoint.name.split("-")[1])


def _is_whole(checkpoint: Path) -> bool:
    if saving.read_json(checkpoint / "trainer_state.json") is None:  # the Trainer writes it last
        return False
    named = checkpoint.name.removeprefix("checkpoint-").isdigit()
    return named and saving.is_model(checkpoint) and not damaged(checkpoint)


@contextlib.contextmanager
def only_one(folder: Path):
    """Within it, no other process trains for `folder`: TutorialError where one does."""
    if not is_main_process():  # the first one speaks for those that train together
        return (yield)
    try:
        file = saving.replaceable(folder).companion("lock")
        (lock := FileLock(file, timeout=0)).acquire()
    except Timeout:
        raise TutorialError(
            f"Another training for {folder} is running; wait for it, or use another folder."
        ) from None
    except OSError as error:
        raise TutorialError(
            f"No model can be saved in {folder} ({in_words(error)}); choose another --output-dir."
        ) from error
    try:
        yield
    finally:
        # While it is held: who gets the lock of a deleted file sees that, and tries again.
        with contextlib.suppress(OSError):  # Windows deletes no open file; there, `release` does
            file.unlink()
        lock.release()
