"""Giving a model to others: a card from what its training noted, and the upload (lesson 10)."""

from pathlib import Path

from helpers.profiles import OWN_TEXT
from helpers.runtime import saving
from helpers.runtime.upload import CARD, UNKNOWN, About, noted, publish, to_upload

NO_TEST = "**No test split was scored.** What follows was used for choosing, so it may flatter."
__all__ = ["CARD", "UNKNOWN", "About", "model_card", "publish", "to_upload"]


def model_card(folder: Path, about: About, test: str = "") -> str:
    """A card for the Hub, with the summary's figures and the `test` split's, in words, if any."""
    summary, settings = noted(folder, about), saving.read_json(folder / saving.SETTINGS) or {}
    block, adapter = settings["block_size"], summary.get("lora")
    of_hub = "/" in summary["model"] and not Path(summary["model"]).is_absolute()
    own = summary["dataset"].startswith(OWN_TEXT)  # whose files' names nobody need know
    return f"""---
language: {about.language}
license: {about.licence.partition(":")[0] if about.licence == about.data_licence else "other"}
library_name: {"peft" if adapter else "transformers"}
pipeline_tag: text-generation{f"{chr(10)}base_model: {summary['model']}" if of_hub else ""}
---
# {about.title}

{f"A LoRA of rank {adapter} for" if adapter else "Fine-tuned from"} {summary["model"]},
on {"text of its maker's own" if own else summary["dataset"]}.

## Licences
Weights that it started from: {about.licence}. Data: {about.data_licence}.

## Data
{about.data}
People in the data: {about.people}

## Figures
{summary["steps"]:,} steps, {summary["tokens_seen"]:,} tokens, {summary["precision"]};
learning rate {settings["learning_rate"]:g}, seed {settings["seed"]}.

{f"Test split, not used for choosing: {test}." if test else NO_TEST}

Validation split, used for choosing: perplexity {summary["perplexity_after"]:.2f}
(before: {summary["perplexity_before"]:.2f}), over {summary["validation_tokens"]:,} tokens
(block {block:,}, stride {block:,}). All in fp32; compare only with the same tokenizer and text.

## Limits
{about.limits}
"""
