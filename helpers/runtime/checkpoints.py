"""What a run leaves on disk while it goes on: found again, named by its settings, never used by two (lesson 05)."""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from helpers.profiles import Profile, home
from helpers.runtime.distributed import num_processes
from helpers.runtime.errors import TutorialError
from helpers.runtime.saving import SETTINGS, SUMMARY


def settings_of(profile: Profile, train_tokens: np.ndarray, validation_tokens: np.ndarray) -> dict:
    """All that decides the result of a run. Two runs with equal settings on one machine are the same run."""
    settings = {
        name: value
        for name, value in dataclasses.asdict(profile).items()
        if name not in ("why", "model")
    }
    digest = hashlib.sha256(train_tokens.tobytes() + validation_tokens.tobytes()).hexdigest()
    return {
        **settings,
        "model": profile.model_name,
        "data": digest[:16],
        "processes": num_processes(),
    }


def run_folder(settings: dict, output: Path) -> Path:
    """Where the checkpoints of the run with these settings go: one folder a run."""
    same = {
        name: float(value) if isinstance(value, int) else value for name, value in settings.items()
    }  # 3 is 3.0
    digest = hashlib.sha256(json.dumps([same, str(output)], sort_keys=True).encode()).hexdigest()
    return home() / "checkpoints" / f"{output.name}-{digest[:8]}"


def finished(output: Path, settings: dict) -> dict | None:
    """The summary in `output` where a run with the same settings has been completed there, else None."""
    try:
        summary = json.loads((output / SUMMARY).read_text(encoding="utf-8"))
        same = json.loads((output / SETTINGS).read_text(encoding="utf-8")) == settings
    except (OSError, ValueError):
        return None
    return summary if same and not summary["stopped_early"] else None


def find_checkpoint(folder: Path, settings: dict, named: str | None = None) -> Path | None:
    """The newest whole checkpoint in a run's folder, or the one `named`, which must come from such a run."""
    if named is None:
        whole = [path for path in folder.glob("checkpoint-*") if _is_whole(path)]
        return max(whole, key=step_of, default=None)
    checkpoint = Path(named)
    if not _is_whole(checkpoint):
        raise TutorialError(
            f"{checkpoint} is not a whole checkpoint; leave --resume out to go on from the newest one."
        )
    try:
        theirs = json.loads((checkpoint.parent / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        theirs = {}
    different = sorted(name for name in settings if theirs.get(name) != settings[name])
    if different:
        raise TutorialError(
            f"{checkpoint} is of a run with another {', '.join(different)}; use the same settings."
        )
    return checkpoint


def discard(folder: Path) -> None:
    """Delete a folder, under another name: so a kill on the way leaves no half of a checkpoint to go on from."""
    rest = folder.with_name(f".{folder.name}.deleted")
    shutil.rmtree(rest, ignore_errors=True)
    with contextlib.suppress(
        OSError
    ):  # there is none; or, on Windows, somebody has a file in it open
        folder.replace(rest)
        shutil.rmtree(rest, ignore_errors=True)


def step_of(checkpoint: Path) -> int:
    """The optimizer steps that were taken before it was written."""
    return int(checkpoint.name.split("-")[1])


def _is_whole(checkpoint: Path) -> bool:
    try:  # the Trainer writes this file last
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (checkpoint / "model.safetensors").is_file() and checkpoint.name.removeprefix(
        "checkpoint-"
    ).isdigit()


@contextlib.contextmanager
def only_one(folder: Path):
    """Within it, no other process trains for `folder`: TutorialError where one does. The system forgets dead ones."""
    # Processes that train together, under torchrun, each have a lock of their own.
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16] + os.environ.get(
        "RANK", "0"
    )
    try:
        with FileLock(Path(tempfile.gettempdir(), f"gpt2-tutorial-{name}.lock"), timeout=0):
            yield
    except Timeout:
        raise TutorialError(
            f"Another training for {folder} is running; wait for it, or use another folder."
        ) from None
