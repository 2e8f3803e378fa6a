"""What its maker says of a model, and the folder on its way to the Hub."""

from dataclasses import dataclass
from pathlib import Path

from helpers.runtime import saving
from helpers.runtime.errors import TutorialError
from helpers.runtime.files import DIGESTS

CARD = "README.md"  # the Hub shows it first
AT_HOME = [saving.SETTINGS, saving.SUMMARY, DIGESTS]  # they are for us, and may name your files


@dataclass(frozen=True)
class About:
    """What no program can find out about a model: you say it. None of it may be blank."""

    title: str
    licence: str  # of the model, by one of the Hub's names, such as "mit"
    data: str  # what it has read, and where that comes from
    data_licence: str
    people: str  # who is named in the data, and whether they have agreed
    limits: str  # what it is not for, and what it gets wrong
    language: str = "en"


def to_upload(folder: Path) -> list[str]:
    """The files that `publish` would upload, by name."""
    names = [file.name for file in folder.iterdir() if file.is_file()]
    return sorted(name for name in names if name not in AT_HOME and name[0] != ".")


def publish(folder: Path, name: str, private: bool = True) -> str:
    """Upload a model's folder to the Hub as OWNER/NAME, in one commit; gives its address.

    The token is the one that `hf auth login` has kept, or HF_TOKEN. Raises TutorialError without
    a card or a token, and where the Hub refuses.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if not (folder / CARD).is_file():
        raise TutorialError(f"{folder} has no card; write {CARD} first, with model_card.")
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
