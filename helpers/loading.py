"""Loading a GPT-2 (lesson 04)."""

import json
from pathlib import Path

import torch

from helpers.profiles import MODEL_FOLDER, OR_TINY, Profile, choose, home
from helpers.runtime.compat import quiet
from helpers.runtime.errors import TutorialError
from helpers.runtime.hub import reach_hub
from helpers.runtime.saving import SUMMARY, finish_replacing


def load_pretrained(
    source: str | Path, device: str = "cpu", dropout: float | None = None, attention: str = "sdpa"
):
    """The model in evaluation mode and its tokenizer, from the Hub or a folder; weights in fp32.

    `dropout` replaces the three dropout probabilities of the configuration. Raises TutorialError where
    there is no model, where it is broken, or where the Hub is needed and cannot be reached.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = (
        {}
        if dropout is None
        else dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), dropout)
    )
    try:
        with quiet(
            bars=not Path(source).is_dir()
        ):  # a local model loads in a second; a download keeps its bar
            tokenizer = AutoTokenizer.from_pretrained(str(source))
            options["attn_implementation"] = attention
            model = AutoModelForCausalLM.from_pretrained(
                str(source), dtype=torch.float32, **options
            )
        if (
            len(tokenizer) != model.config.vocab_size
        ):  # transformers makes an empty tokenizer where its file is missing
            raise ValueError("the tokenizer does not fit the model")
    except (
        Exception
    ) as error:  # a missing file, a broken file and a lost connection raise a dozen types
        raise TutorialError(_why_not(source, error)) from error
    return fuse_activation(model).to(device).eval(), tokenizer


def load_base(profile: Profile, data: bool = True):
    """The profile's model before fine-tuning, ready to train, and its tokenizer; without `data`, for your own text."""
    if profile.name == "gpt2":
        reach_hub(data)
    return load_pretrained(profile.model, profile.device, profile.dropout, profile.attention)


def fuse_activation(model):
    """The same GPT-2, with its `gelu_new` computed in one step instead of eight: a tenth of the time on a CPU."""
    if getattr(model.config, "activation_function", None) == "gelu_new":
        for layer in model.transformer.h:
            layer.mlp.act = torch.nn.GELU(approximate="tanh")
    return model


def _why_not(source: str | Path, error: Exception) -> str:
    reason = type(
        error
    ).__name__  # the libraries' own messages are long, and their advice is for other cases
    if Path(source).is_dir():
        return f"The model in {source} is incomplete or broken ({reason}); delete the folder and make it again."
    if reason == "SafetensorError":  # a file came, but not all of it
        return f"The downloaded weights of {source} are incomplete ({reason}); delete them from HF_HOME and run again."
    return (
        f"{source} could not be fetched from the Hugging Face Hub, or not all of it ({reason}): check the connection "
        f"and run this again{OR_TINY}."
    )


def model_folder(name: str | Path | None = None) -> Path:
    """Where a model is saved and looked for: `fine_tuned_gpt2` in `home()`; a relative `name` is taken from there."""
    folder = home() / Path(name or MODEL_FOLDER).expanduser()
    finish_replacing(folder)
    return folder


def load_fine_tuned(name: str | Path | None = None, device: str = "cpu"):
    """The model and tokenizer in a model folder, as `load` gives them. Raises TutorialError where there is none."""
    folder = model_folder(name)
    if not (folder / "config.json").is_file():
        raise TutorialError(
            f"There is no model in {folder}; train one with: python -m helpers train"
        )
    return load_pretrained(folder, device)


def trained_on(name: str | Path | None = None) -> Profile:
    """The profile that the model in a folder was trained with. Raises TutorialError where that was your own text."""
    try:
        summary = json.loads((model_folder(name) / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        summary = {}
    profile = choose(summary.get("profile"), "cpu")
    if summary.get("dataset", profile.dataset) != profile.dataset:
        raise TutorialError(
            "This model was trained on a text of your own; name the text to score with --text."
        )
    return profile


def ensure_model(profile: Profile, callbacks=()):
    """The fine-tuned model, its tokenizer, and a sentence on where it comes from.

    Where lesson 05 has saved none yet, `tiny` is trained in a minute; `gpt2` is taken as it is before fine-tuning.
    """
    folder = model_folder()
    if (folder / SUMMARY).is_file():
        theirs = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["profile"]
        return *load_fine_tuned(
            device=profile.device
        ), f"This is the model that you fine-tuned, of profile {theirs}."
    model, tokenizer = load_base(profile)
    if profile.name == "gpt2":
        why = "run lesson 05 (on Colab, where each page has a machine of its own, fetch it from your Drive)"
        return model, tokenizer, f"This is GPT-2 as published; for a model of your own, {why}."
    from helpers.data import prepare
    from helpers.training import train  # not on Colab

    train(model, tokenizer, *prepare(profile, tokenizer), profile, folder, callbacks)
    return (
        model,
        tokenizer,
        "There was no fine-tuned model yet, so it was trained just now, as in lesson 05.",
    )
