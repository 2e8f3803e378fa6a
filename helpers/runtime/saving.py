"""Replacing a model folder as a whole, or not at all."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from helpers.runtime.errors import TutorialError

SUMMARY = "training_summary.json"
SETTINGS = "training_settings.json"
# What a model folder of ours may hold: `check_replaceable` refuses to touch one with anything else in it.
_OURS = {
    SUMMARY, SETTINGS, "README.md", "config.json", "generation_config.json", "model.safetensors",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt",
    "added_tokens.json", "chat_template.jinja",
}  # fmt: skip


# What makes a folder a model: all files of any one of these sets. (Of sharded weights, the index is
# written last.)
_MODELS = (
    ("config.json", "model.safetensors"),
    ("config.json", "model.safetensors.index.json"),
)


def is_model(folder: Path) -> bool:
    """Whether `folder` holds a whole model: its configuration and its weights."""
    return any(all((folder / name).is_file() for name in names) for names in _MODELS)


def read_summary(folder: Path) -> dict | None:
    """The training summary in `folder`, or None where there is none that can be read."""
    try:
        return json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def save(model, tokenizer, folder: Path, describe: Callable[[], dict], settings: dict) -> None:
    """Replace `folder` by model, tokenizer, summary and settings: either all of it is new, or nothing is.

    `describe` gives the summary, after the weights were written: it tells the time that took, too. Raises
    TutorialError for a folder that holds anything but a model of ours or cannot be moved, and for a full disk.
    """
    check_replaceable(folder)
    new, old = _beside(folder, "new"), _beside(folder, "replaced")
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        tokenizer.save_pretrained(new)
        model.save_pretrained(new)
        for name, content in ((SUMMARY, describe()), (SETTINGS, settings)):
            (new / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        reason = error.strerror or error
        raise TutorialError(
            f"The model could not be written to {folder} ({reason}); free some space."
        ) from error
    for pause in (
        0.1,
        1.0,
        0.0,
    ):  # seconds; meanwhile a virus scanner lets go, or a reader puts the old model back
        try:
            if folder.exists():
                shutil.rmtree(old, ignore_errors=True)
                folder.replace(old)
            new.replace(folder)
            return shutil.rmtree(old, ignore_errors=True)
        except (
            OSError
        ) as error:  # on Windows, where a program that has loaded the old model keeps its file open
            finish_replacing(folder)
            reason = error.strerror or error
            time.sleep(pause)
    with contextlib.suppress(OSError):
        new = new.replace(folder.with_name(f"{folder.name}_{time.strftime('%Y%m%d_%H%M%S')}"))
    raise TutorialError(
        f"{folder} could not be replaced ({reason}), maybe since a notebook or program has its model open; the new "
        f"model is in {new}: use it there, or close them and rename it."
    )


def _beside(folder: Path, what: str) -> Path:
    """A hidden neighbour of `folder`, for the moment of replacing it."""
    return folder.with_name(f".{folder.name}.{what}")


def check_replaceable(folder: Path) -> None:
    """Raise TutorialError unless `folder` is missing, empty, or a model folder of ours with nothing else in it."""
    finish_replacing(folder)
    if folder.exists() and not folder.is_dir():
        raise TutorialError(
            f"{folder} is a file, so no model can be saved there; choose another --output-dir."
        )
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if names and (SUMMARY not in names or names - _OURS):
        stranger = sorted(names - _OURS or names)[0]
        raise TutorialError(
            f"{folder} holds files that are not ours ({stranger}), and nothing was overwritten; "
            "move them or choose another --output-dir."
        )


def finish_replacing(folder: Path) -> None:
    """After a kill between the two renames of `save`, put the old model back in its place."""
    old = _beside(folder, "replaced")
    if old.exists() and not folder.exists():
        with contextlib.suppress(OSError):  # somebody else was faster
            old.replace(folder)
