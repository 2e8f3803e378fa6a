"""Giving a model to others: a card from what its training noted, and the upload (lesson 10)."""

from dataclasses import dataclass, fields
from pathlib import Path

from helpers.profiles import OWN_TEXT
from helpers.runtime import saving
from helpers.runtime.errors import TutorialError
from helpers.runtime.files import DIGESTS, read_json

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


def model_card(folder: Path, about: About) -> str:
    """A card in the Hub's format: what `about` says, and the figures of the folder's summary.

    Raises TutorialError where the folder holds no trained model, or something in `about` is blank.
    """
    summary = saving.read_summary(folder)
    if not (summary and saving.is_model(folder)):
        raise TutorialError(f"There is no trained model in {folder}; train one first.")
    blank = [part.name for part in fields(about) if not getattr(about, part.name).strip()]
    if blank:
        raise TutorialError(f"The card lacks {', '.join(blank)}: nobody but you can say that.")
    block = (read_json(folder / saving.SETTINGS) or {})["block_size"]
    told = {"language": about.language, "license": about.licence, "library_name": "transformers"}
    told |= {"pipeline_tag": "text-generation"}
    if "/" in summary["model"] and not Path(summary["model"]).is_absolute():
        told["base_model"] = summary["model"]  # of the Hub, which then links to it
    head = "\n".join(f"{name}: {value}" for name, value in told.items())
    own = summary["dataset"].startswith(OWN_TEXT)  # whose files' names nobody need know
    return f"""---
{head}
---
# {about.title}

{summary["model"]}, fine-tuned on {"text of its maker's own" if own else summary["dataset"]}.

## Data
{about.data}
Licence of the data: {about.data_licence}
People in the data: {about.people}

## Figures
{summary["steps"]:,} steps, {summary["tokens_seen"]:,} tokens, {summary["precision"]}.
Perplexity on {summary["validation_tokens"]:,} tokens of the validation split, which chose the
checkpoint: {summary["perplexity_after"]:.2f}, and {summary["perplexity_before"]:.2f} before.
(Block {block:,}, stride {block:,}, fp32; it compares only with the same tokenizer and text.)

## Limits
{about.limits}
"""


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
