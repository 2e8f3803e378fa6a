"""What counts as a model folder, and replacing one as a whole, or not at all.

A folder is replaced by two renames: it becomes `NAME.previous`, and `.NAME.new` becomes it. In one
that cannot be renamed, such as a mount point, all files are: to `NAME/.previous`, from `NAME/.new`.
"""

import contextlib
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from helpers.profiles import BUNDLED
from helpers.runtime.errors import TutorialError, in_words
from helpers.runtime.files import DIGESTS, damaged, read_json, seal, write_json

SUMMARY = "training_summary.json"
SETTINGS = "training_settings.json"
ADAPTER = "adapter_config.json"
WEIGHTS = {  # and the configuration that they need; an index is written last
    "model.safetensors": "config.json",
    "model.safetensors.index.json": "config.json",
    "adapter_model.safetensors": ADAPTER,
}
TOKENIZER = "tokenizer_config.json"
FIXED = (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS)


def is_model(folder: Path) -> bool:
    """Whether `folder` holds a whole model, or adapter: its configuration and its weights."""
    pairs = [(folder / weights, folder / config) for weights, config in WEIGHTS.items()]
    return any(one.is_file() and other.is_file() for one, other in pairs)


@dataclass(frozen=True)
class Place:
    """A folder that a model may be saved to, and its companions: beside it or, if fixed, in it."""

    folder: Path
    fixed: bool  # it cannot be renamed: a mount point, or in a place where you may not write

    def companion(self, what: str) -> Path:
        """`NAME.previous`, or what is hidden, such as `.NAME.new`; in a fixed folder: `.new`."""
        if self.fixed:
            return self.folder / f".{what}"
        return self.folder.with_name(f"{'.' * (what != 'previous')}{self.folder.name}.{what}")


def replaceable(folder: Path) -> Place:
    """How `folder` can be replaced, if it may be: the one answer, to all who ask.

    TutorialError unless it and its `previous` are missing, empty, or models of ours. OSError where
    nothing can be written.
    """
    finish_replacing(folder)
    place = Place(folder.resolve(), _is_fixed(folder.resolve()))
    for path in (folder, place.companion("previous")):
        if path.exists() and not path.is_dir():
            raise TutorialError(
                f"{path} is a file, so no model can be saved there; choose another --output-dir."
            )
        names = sorted(file.name for file in _files(path, place.fixed))
        ours = {SUMMARY, SETTINGS if place.fixed else SUMMARY}  # the first to go, and the last
        if names and not ours.intersection(names):
            raise TutorialError(
                f"{path} holds files that are not ours ({names[0]}), and nothing was overwritten; "
                "move them or choose another --output-dir."
            )
    return place


def _is_fixed(folder: Path) -> bool:
    """Whether only what is in `folder` can be replaced. OSError: not even that."""
    try:
        beside = next(parent for parent in folder.parents if parent.exists())
        other = Path(tempfile.mkdtemp(".try", ".", beside))
        try:
            (other / "file").touch()
            folder.rename(other)  # never done, as `other` is not empty; but the error tells
        except OSError as error:
            if error.errno not in FIXED or os.name == "nt":  # there: a file of it is open now
                return False
        finally:
            (other / "file").unlink(missing_ok=True)
            other.rmdir()
    except OSError:  # you may not write beside it
        if not folder.is_dir():
            raise
    Path(tempfile.mkdtemp(".try", ".", folder)).rmdir()
    return True


def read_summary(folder: Path) -> dict | None:
    """The training summary in `folder`, or None where there is none that can be read."""
    return read_json(folder / SUMMARY)


def describe_model(folder: Path) -> str:
    """The model in `folder` by its name, and what its summary says of it."""
    told = read_summary(folder)
    if told is None:
        return f"{folder.name} (without a record of its training)"
    kept = told["epochs"]
    asked = (read_json(folder / SETTINGS) or {}).get("epochs", kept)
    epochs = f"{kept:g} epoch{'s' * (kept != 1)}"
    if kept < asked:  # the best by validation, or as far as the run got
        epochs = f"kept after epoch {kept:.3g} of {asked:g}"
    epochs += ", stopped early" if told["stopped_early"] else ""
    profile = told["profile"] + (f", LoRA of rank {told['lora']}" if "lora" in told else "")
    return f"{folder.name} (profile {profile}, {epochs}, perplexity {told['perplexity_after']:.2f})"


def say_what_is_replaced(folder: Path) -> None:
    """Print which model is in `folder`, if there is one, and where it goes."""
    kept = replaceable(folder).companion("previous")
    lost = f", in place of {describe_model(kept)}" if is_model(kept) else ""
    if is_model(folder):
        print(f"{describe_model(folder)} will be kept as {kept}{lost}.", flush=True)


def why_not_opened(folder: Path, error: Exception) -> str:
    """Why a model cannot be loaded; to delete it is advised only where it is surely damaged."""
    if closed := [file for file in folder.iterdir() if not os.access(file, os.R_OK)]:
        return f"You may not read {closed[0]}; ask its owner for the right."
    if changed := damaged(folder):
        return (
            f"{changed[0]} in {folder} is not as it was saved: make the model again or, if you "
            f"changed that file on purpose, delete {DIGESTS}."
        )
    broken = [file.name for file in folder.glob("*.json") if read_json(file) is None]
    if broken or isinstance(error, SafetensorError) or not is_model(folder):
        what = (*broken, "weights")[0]
        ours = folder.resolve() == (BUNDLED / "model").resolve()
        remedy = "restore it with git checkout" if ours else "delete it, make it again"
        return f"The model in {folder} is incomplete or broken ({what}); {remedy}."
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        return f"{folder} has no tokenizer.json; copy it there from the model that was fine-tuned."
    reason = in_words(error) or str(error).partition("\n")[0]
    if "mismatch" in str(error):
        reason = "its config.json does not fit its weights"
    return f"The model in {folder} cannot be loaded ({reason}); its files are as they were."


def save(model, tokenizer, folder: Path, describe: Callable[[], dict], settings: dict) -> dict:
    """Replace `folder` by model, tokenizer, summary and settings: either all is new, or nothing is.

    What was there is kept as `previous` says. Returns the summary, which `describe` gives once the
    weights are written. TutorialError for a folder not ours or not to be moved, and a full disk.
    """
    place = replaceable(folder)
    new = place.companion("new")
    discard(new)
    try:
        new.mkdir(parents=True)
        tokenizer.save_pretrained(new)
        model.save_pretrained(new)
        summary = describe()
        _finish(new)
        write_json(new / SETTINGS, settings)
        write_json(new / SUMMARY, summary)  # the last: a folder that has one is whole
    except (OSError, SafetensorError) as error:
        discard(new)
        reason = getattr(error, "strerror", None) or error
        raise TutorialError(
            f"The model could not be written to {folder} ({reason}); free some space."
        ) from error
    _put_in_place(place)
    return summary


def _finish(folder: Path) -> None:
    """Seal the files, read by other users, too, and the tokenizer by other transformers."""
    told = read_json(folder / TOKENIZER) or {}
    if told.get("tokenizer_class") == "TokenizersBackend":  # 4 has the class by its old name only
        write_json(folder / TOKENIZER, told | {"tokenizer_class": "PreTrainedTokenizerFast"})
    seal(folder)
    for file in folder.iterdir():  # as the umask has it; safetensors 0.8 writes 0600
        file.chmod((folder / DIGESTS).stat().st_mode)


def _put_in_place(place: Place) -> None:
    """What is in the folder becomes `previous`, and `new` comes there."""
    folder, previous, new = place.folder, place.companion("previous"), place.companion("new")
    try:
        if whole := (folder / SUMMARY).is_file():  # else: empty, or a kill came amid the renames
            discard(previous)
        if place.fixed:
            previous.mkdir(exist_ok=True)
            _move(folder, previous)
            new.replace(folder / ".ready")  # from now on, no file of the old model is here
            return finish_replacing(folder)
        if whole:
            folder.replace(previous)
        elif folder.exists():
            folder.rmdir()
        new.replace(folder)
    except OSError as error:  # on Windows: a file in one of the folders is open somewhere
        if not new.exists():
            return  # a reader came between the renames and has made the second one
        if folder.exists() and not place.fixed:  # else `finish_replacing` will do it
            new = new.replace(folder.with_name(f"{folder.name}_{time.strftime('%Y%m%d_%H%M%S')}"))
        raise TutorialError(
            f"{folder} could not be replaced ({error.strerror or error}), maybe since a notebook "
            f"or program has its model open; the new model is in {new}: use it there, or close "
            "them and rename it."
        ) from error


def _move(source: Path, target: Path, new: bool = False) -> None:
    """Rename all files: what makes a model whole leaves first and comes last."""
    order = {name: rank for rank, name in enumerate((SUMMARY, *WEIGHTS, None, SETTINGS))}
    files = sorted(_files(source, True), key=lambda file: order.get(file.name, 3), reverse=new)
    for file in files:
        with contextlib.suppress(FileNotFoundError):  # somebody else was faster
            file.replace(target / file.name)


def _files(folder: Path, fixed: bool) -> list[Path]:
    """What is in `folder`; in a fixed one without our companions and other files that stay."""
    files = folder.iterdir() if folder.is_dir() else ()
    return [file for file in files if not (fixed and file.name.startswith((".", "lost+found")))]


def finish_replacing(folder: Path) -> None:
    """After a kill amid the renames of `save`, put the new model in its place; any number may."""
    folder = folder.resolve()
    new, ready = folder.with_name(f".{folder.name}.new"), folder / ".ready"
    with contextlib.suppress(OSError):  # somebody else was faster
        if not folder.exists() and is_model(new) and read_summary(new) is not None:
            new.replace(folder)
        if ready.exists():
            _move(ready, folder, new=True)
            ready.rmdir()


def discard(folder: Path) -> None:
    """Delete a folder, under another name: so a kill on the way leaves no half of it."""
    rest = folder.with_name(f".{folder.name}.deleted")
    shutil.rmtree(rest, ignore_errors=True)
    with contextlib.suppress(OSError):  # it is missing; or, on Windows, somebody has it open
        folder.replace(rest)
        shutil.rmtree(rest, ignore_errors=True)
