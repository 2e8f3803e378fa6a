"""What counts as a model folder, and replacing one as a whole, or not at all."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from helpers.runtime.errors import TutorialError

SUMMARY = "training_summary.json"
SETTINGS = "training_settings.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")  # the index is written last


def is_model(folder: Path) -> bool:
    """Whether `folder` holds a whole model: its configuration and its weights."""
    has_weights = any((folder / name).is_file() for name in WEIGHTS)
    return has_weights and (folder / "config.json").is_file()


def read_summary(folder: Path) -> dict | None:
    """The training summary in `folder`, or None where there is none that can be read."""
    return read_json(folder / SUMMARY)


def read_json(file: Path) -> dict | None:
    """What a JSON file holds, or None where there is none that can be read."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_json(file: Path, content: dict) -> None:
    """Write `content` to a file, to be found by `read_json`."""
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def save(model, tokenizer, folder: Path, describe: Callable[[], dict], settings: dict) -> dict:
    """Replace `folder` by model, tokenizer, summary and settings: either all is new, or nothing is.

    What was there becomes `NAME.previous`. Returns the summary, which `describe` gives once the
    weights are written. TutorialError for a folder not ours or not to be moved, and a full disk.
    """
    check_replaceable(folder)
    new = _new(folder)
    discard(new)
    try:
        new.mkdir(parents=True)
        tokenizer.save_pretrained(new)
        model.save_pretrained(new)
        summary = describe()
        write_json(new / SETTINGS, settings)
        write_json(new / SUMMARY, summary)  # the last: a folder that has one is whole
    except (OSError, SafetensorError) as error:
        discard(new)
        reason = getattr(error, "strerror", None) or error
        raise TutorialError(
            f"The model could not be written to {folder} ({reason}); free some space."
        ) from error
    _put_in_place(new, folder)
    return summary


def _put_in_place(new: Path, folder: Path) -> None:
    """Two renames: `folder` becomes `NAME.previous`, and `new` becomes `folder`."""
    try:
        if (folder / SUMMARY).is_file():
            discard(_previous(folder))
            folder.replace(_previous(folder))
        elif folder.exists():
            folder.rmdir()  # it is empty
        new.replace(folder)
    except OSError as error:  # on Windows: a file in one of the folders is open somewhere
        if not new.exists():
            return  # a reader came between the renames and has made the second one
        if folder.exists():  # else `finish_replacing` will do it
            new = new.replace(folder.with_name(f"{folder.name}_{time.strftime('%Y%m%d_%H%M%S')}"))
        raise TutorialError(
            f"{folder} could not be replaced ({error.strerror or error}), maybe since a notebook "
            f"or program has its model open; the new model is in {new}: use it there, or close "
            "them and rename it."
        ) from error


def _new(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.new")


def _previous(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.previous")


def finish_replacing(folder: Path) -> None:
    """After a kill between the two renames of `save`, put the new model in its place."""
    new = _new(folder)
    if not folder.exists() and is_model(new) and read_summary(new) is not None:
        with contextlib.suppress(OSError):  # somebody else was faster
            new.replace(folder)


def check_replaceable(folder: Path) -> None:
    """TutorialError unless `folder` and `NAME.previous` are missing, empty, or models of ours."""
    finish_replacing(folder)
    for path in (folder, _previous(folder)):
        if path.exists() and not path.is_dir():
            raise TutorialError(
                f"{path} is a file, so no model can be saved there; choose another --output-dir."
            )
        names = sorted(file.name for file in path.iterdir()) if path.exists() else []
        if names and SUMMARY not in names:
            raise TutorialError(
                f"{path} holds files that are not ours ({names[0]}), and nothing was overwritten; "
                "move them or choose another --output-dir."
            )


def discard(folder: Path) -> None:
    """Delete a folder, under another name: so a kill on the way leaves no half of it."""
    rest = folder.with_name(f".{folder.name}.deleted")
    shutil.rmtree(rest, ignore_errors=True)
    with contextlib.suppress(OSError):  # it is missing; or, on Windows, somebody has it open
        folder.replace(rest)
        shutil.rmtree(rest, ignore_errors=True)
