"""What its maker says of a model, and the folder on its way to the Hub."""

from dataclasses import dataclass, fields
from pathlib import Path

from helpers.runtime import saving
from helpers.runtime.errors import TutorialError
from helpers.runtime.files import DIGESTS

CARD = "README.md"  # the Hub shows it first
UNKNOWN = "unknown: fill in"  # what nobody has said yet; the Hub knows a licence "unknown"
AT_HOME = [saving.SETTINGS, saving.SUMMARY, DIGESTS]  # they are for us, and may name your files


@dataclass(frozen=True)
class About:
    """What no program can find out about a model: you say it. None of it may be blank."""

    title: str
    licence: str  # of the weights it started from, by one of the Hub's names, such as "mit"
    data: str  # what it has read, and where that comes from
    data_licence: str
    people: str  # who is named in the data, and whether they have agreed
    limits: str  # what it is not for, and what it gets wrong
    language: str = "en"


def noted(folder: Path, about: About) -> dict:
    """What the training has noted in `folder`; TutorialError for no model, or a gap in `about`."""
    summary = saving.read_summary(folder)
    if not (summary and saving.is_model(folder)):
        raise TutorialError(f"There is no trained model in {folder}; train one first.")
    blank = [part.name for part in fields(about) if not getattr(about, part.name).strip()]
    if blank:
        raise TutorialError(f"The card lacks {', '.join(blank)}: nobody but you can say that.")
    return summary


def to_upload(folder: Path) -> list[str]:
    """The files that `publish` would upload, by name."""
    names = [file.name for file in folder.iterdir() if file.is_file()]
    return sorted(name for name in names if name not in AT_HOME and name[0] != ".")


def publish(folder: Path, name: str, private: bool = True) -> str:
    """Upload a model's folder to the Hub as OWNER/NAME, in one commit; gives its address.

    The token is the one that `hf auth login` has kept, or HF_TOKEN. Raises TutorialError without
    a whole card or a token, and where the Hub refuses.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if not (folder / CARD).is_file():
        raise TutorialError(f"{folder} has no card; write {CARD} first, with model_card.")
    if UNKNOWN in (folder / CARD).read_text(encoding="utf-8"):
        raise TutorialError(f"The card still says '{UNKNOWN}'; say what you know, then publish.")
    if not get_token():
        raise TutorialError("No token is here, so nothing was uploaded; run hf auth login first.")
    hub = HfApi()
    try:
        address = hub.create_repo(name, private=private, exist_ok=True)
        hub.upload_folder(repo_id=name, folder_path=folder, allow_patterns=to_upload(folder))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise TutorialError(
            f"The Hub has not taken {name} ({str(error).splitlines()[0]}); check the name, and "
            "whether your token may write."
        ) from error
    return str(address)
