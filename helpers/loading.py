"""Loading a GPT-2 (lesson 04)."""

from dataclasses import replace
from pathlib import Path

import torch

from helpers.profiles import MODEL_FOLDER, OWN_TEXT, Profile, choose, home
from helpers.runtime.compat import quiet
from helpers.runtime.errors import TutorialError
from helpers.runtime.hub import not_fetched, reach_hub
from helpers.runtime.saving import SETTINGS, finish_replacing, is_model, read_json, read_summary


def load_pretrained(
    source: str | Path, device: str = "cpu", dropout: float | None = None, attention: str = "sdpa"
):
    """The model in evaluation mode and its tokenizer, from the Hub or a folder; weights in fp32.

    `dropout` replaces the three dropout probabilities of the configuration. Raises TutorialError
    where there is no model, where it is broken, or where the Hub is needed and cannot be reached.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"attn_implementation": attention, "dtype": torch.float32}
    if dropout is not None:
        options |= dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), dropout)
    try:
        with quiet(bars=not Path(source).is_dir()):  # a local model is there in a second
            tokenizer = AutoTokenizer.from_pretrained(str(source))
            model = AutoModelForCausalLM.from_pretrained(str(source), **options)
        # Where its file is missing, transformers makes an empty tokenizer.
        if not 1 < len(tokenizer) <= model.config.vocab_size:
            raise ValueError("the tokenizer does not fit the model")
    except Exception as error:  # a missing file and a lost connection raise a dozen types
        raise TutorialError(_why_not(source, error)) from error
    return fuse_activation(model).to(device).eval(), tokenizer


def _why_not(source: str | Path, error: Exception) -> str:
    reason = type(error).__name__  # the libraries' own messages advise on other cases
    if Path(source).is_dir():
        return (
            f"The model in {source} is incomplete or broken ({reason}); delete it, make it again."
        )
    if reason == "SafetensorError":  # a file came, but not all of it
        return f"The weights of {source} are incomplete; delete them from HF_HOME and run again."
    return not_fetched(source, f", or not all of it ({reason})")


def fuse_activation(model):
    """The same GPT-2, its `gelu_new` in one step instead of eight: a tenth of the time on a CPU."""
    if getattr(model.config, "activation_function", None) == "gelu_new":
        for layer in model.transformer.h:
            layer.mlp.act = torch.nn.GELU(approximate="tanh")
    return model


def load_base(profile: Profile):
    """The profile's model before fine-tuning and its tokenizer; TutorialError as `reach_hub`."""
    reach_hub(profile.model, profile.hub_dataset)
    return load_pretrained(profile.model, profile.device, profile.dropout, profile.attention)


def model_folder(name: str | Path | None = None) -> Path:
    """Where a model is saved and looked for: `name`, or `fine_tuned_gpt2`, in `home()`."""
    folder = home() / Path(name or MODEL_FOLDER).expanduser()
    finish_replacing(folder)
    return folder


def load_fine_tuned(name: str | Path | None = None, device: str = "cpu"):
    """The model and tokenizer in a model folder. Raises TutorialError where there is none."""
    folder = model_folder(name)
    if not is_model(folder):
        raise TutorialError(f"There is no model in {folder}; run: python -m helpers train")
    return load_pretrained(folder, device)


def trained_on(name: str | Path | None = None) -> Profile:
    """The profile of the model in a folder, its dataset included; TutorialError for own text."""
    folder = model_folder(name)
    summary = read_summary(folder) or {}
    settings = read_json(folder / SETTINGS) or {}
    kind = summary.get("profile")
    profile = choose(kind, "cpu", model=str(folder) if kind == "gpt2" else None)
    column = settings.get("column", "text")
    profile = replace(profile, dataset=summary.get("dataset", profile.dataset), column=column)
    if profile.dataset.startswith(OWN_TEXT):
        raise TutorialError(
            "This model was trained on a text of your own; name the text to score with --text."
        )
    return profile


def ensure_model(profile: Profile, callbacks=()):
    """The fine-tuned model, its tokenizer, and a sentence on where it comes from.

    Where lesson 05 has saved none, `tiny` is trained in a minute; `gpt2` is taken as published.
    """
    folder = model_folder()
    if is_model(folder) and (summary := read_summary(folder)):
        origin = f"This is the model that you fine-tuned, of profile {summary['profile']}."
        return *load_fine_tuned(device=profile.device), origin
    model, tokenizer = load_base(profile)
    if profile.name == "gpt2":
        return model, tokenizer, (
            f"This is {profile.model_name} as published; for a model of your own, run lesson 05 "
            "(on Colab, where each page has a machine of its own, fetch it from your Drive)."
        )  # fmt: skip
    # Only here, so that a reader who never trains loads none of it.
    from helpers.data import prepare
    from helpers.training import train  # not on Colab

    train(model, tokenizer, *prepare(profile, tokenizer), profile, folder, callbacks)
    return model, tokenizer, (
        "There was no fine-tuned model yet, so it was trained just now, as in lesson 05."
    )  # fmt: skip
