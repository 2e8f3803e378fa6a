"""Giving a model to others: a card from what its training noted, and the upload (lesson 10)."""

from dataclasses import fields
from pathlib import Path

from helpers.profiles import OWN_TEXT
from helpers.runtime import saving
from helpers.runtime.errors import TutorialError
from helpers.runtime.files import read_json
from helpers.runtime.upload import CARD, About, publish, to_upload

__all__ = ["CARD", "About", "model_card", "publish", "to_upload"]


def model_card(folder: Path, about: About) -> str:
    """A card for the Hub, with the summary's figures; TutorialError for a gap in `about`."""
    summary = saving.read_summary(folder)
    if not (summary and saving.is_model(folder)):
        raise TutorialError(f"There is no trained model in {folder}; train one first.")
    blank = [part.name for part in fields(about) if not getattr(about, part.name).strip()]
    if blank:
        raise TutorialError(f"The card lacks {', '.join(blank)}: nobody but you can say that.")
    block = (read_json(folder / saving.SETTINGS) or {})["block_size"]
    of_hub = "/" in summary["model"] and not Path(summary["model"]).is_absolute()
    own = summary["dataset"].startswith(OWN_TEXT)  # whose files' names nobody need know
    return f"""---
language: {about.language}
license: {about.licence}
library_name: transformers
pipeline_tag: text-generation{f"{chr(10)}base_model: {summary['model']}" if of_hub else ""}
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
