"""What a run leaves on disk while it goes on: found again by its settings, never used by two."""

import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from helpers.profiles import Profile, home
from helpers.runtime import saving
from helpers.runtime.budget import Plan
from helpers.runtime.distributed import num_processes
from helpers.runtime.errors import TutorialError

PLAN = "plan.json"


def settings_of(profile: Profile, train_tokens: np.ndarray, validation_tokens: np.ndarray) -> dict:
    """All that decides the result of a run. Two runs with equal settings here are the same run."""
    digest = hashlib.sha256(train_tokens.tobytes() + validation_tokens.tobytes()).hexdigest()
    run = {"model": profile.model_name, "data": digest[:16], "processes": num_processes()}
    settings = dataclasses.asdict(profile) | run
    del settings["why"]
    return settings


def run_folder(settings: dict, output: Path) -> Path:
    """Where the checkpoints of the run with these settings go: one folder a run."""
    same = {key: float(x) if isinstance(x, int) else x for key, x in settings.items()}  # 3 is 3.0
    digest = hashlib.sha256(json.dumps([same, str(output)], sort_keys=True).encode()).hexdigest()
    return home() / "checkpoints" / f"{output.name}-{digest[:8]}"


def finished(output: Path, settings: dict) -> dict | None:
    """The summary in `output` where a run with the same settings has been completed there."""
    summary = saving.read_summary(output)
    if (
        summary is None
        or summary["stopped_early"]
        or saving.read_json(output / saving.SETTINGS) != settings
    ):
        return None
    return summary


def begin(folder: Path, plan: Plan) -> None:
    """Make the folder of a new run, with its plan in it."""
    saving.discard(folder)  # what a run left that was killed before its first checkpoint
    folder.mkdir(parents=True)
    saving.write_json(folder / PLAN, dataclasses.asdict(plan))


def read_plan(folder: Path) -> Plan:
    """The plan that the run in `folder` was begun with."""
    return Plan(**saving.read_json(folder / PLAN))


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint in a run's folder, if there is one."""
    whole = [path for path in folder.glob("checkpoint-*") if _is_whole(path)]
    return max(whole, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """The optimizer steps that were taken before it was written."""
    return int(checkpoint.name.split("-")[1])


def _is_whole(checkpoint: Path) -> bool:
    if saving.read_json(checkpoint / "trainer_state.json") is None:  # the Trainer writes it last
        return False
    return saving.is_model(checkpoint) and checkpoint.name.removeprefix("checkpoint-").isdigit()


@contextlib.contextmanager
def only_one(folder: Path):
    """Within it, no other process trains for `folder`: TutorialError where one does."""
    # The system forgets the locks of dead processes; those that train together have one each.
    rank = os.environ.get("RANK", "0")
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16] + rank
    try:
        with FileLock(Path(tempfile.gettempdir(), f"gpt2-tutorial-{name}.lock"), timeout=0):
            yield
    except Timeout:
        raise TutorialError(
            f"Another training for {folder} is running; wait for it, or use another folder."
        ) from None
