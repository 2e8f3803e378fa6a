"""Loading a GPT-2 (lesson 04)."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from helpers.profiles import MODEL_FOLDER, OWN_TEXT, Profile, choose, home
from helpers.runtime import saving
from helpers.runtime.compat import quiet
from helpers.runtime.errors import TutorialError
from helpers.runtime.files import damaged
from helpers.runtime.hub import base_of, not_fetched, reach_hub, read_config


def load_pretrained(
    source: str | Path, device: str = "cpu", dropout: float | None = None, attention: str = "sdpa"
):
    """The model in evaluation mode and its tokenizer, from the Hub or a folder; weights in fp32.

    `dropout` replaces the three dropout probabilities of the configuration. Raises TutorialError
    where there is no model, where it is broken, or where the Hub is needed and cannot be reached.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if base := base_of(Path(source)):
        return _load_adapted(base, Path(source), device, dropout, attention)
    if saving.read_json(Path(source, "config.json")):
        read_config(str(source))  # only a GPT-2: others may not even fit the memory
    options = {"attn_implementation": attention, "dtype": torch.float32}
    if dropout is not None:
        options |= dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), dropout)
    try:
        with quiet(bars=not Path(source).is_dir()):  # a local model is there in a second
            tokenizer = AutoTokenizer.from_pretrained(str(source))
            model = AutoModelForCausalLM.from_pretrained(str(source), **options).to(device)
        if damaged(Path(source)):  # the weights of a flipped byte are weights
            raise ValueError("it is not as it was saved")
        # Where its file is missing, transformers makes an empty tokenizer.
        if not 1 < tokenizer.vocab_size <= model.config.vocab_size:
            raise ValueError("the tokenizer does not fit the model")
    except Exception as error:  # a missing file and a lost connection raise a dozen types
        raise TutorialError(_why_not(source, error)) from error
    return fuse_activation(model).eval(), tokenizer


def _load_adapted(base: str, folder: Path, *how):
    """The base model with the adapter in `folder` merged into it, and its tokenizer."""
    # Lesson 09 brings the first along.
    from helpers import lora  # not on Colab
    from helpers.runtime.checkpoints import digest_of_weights  # not on Colab

    kept = (saving.read_json(folder / saving.SETTINGS) or {}).get("weights")
    if kept and kept != digest_of_weights(Path(base)):
        raise TutorialError(
            f"{folder} is an adapter for weights that are no longer in {base}; train it again."
        )
    model, tokenizer = load_pretrained(base, *how)
    try:
        if damaged(folder):
            raise ValueError("it is not as it was saved")
        model = lora.merged(model, folder)
    except TutorialError:
        raise
    except Exception as error:
        raise TutorialError(_why_not(folder, error)) from error
    model.name_or_path = str(folder)
    return model, tokenizer


def _why_not(source: str | Path, error: Exception) -> str:
    reason = type(error).__name__  # the libraries' own messages advise on other cases
    if Path(source).is_dir():
        return saving.why_not_opened(Path(source), error)
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
    saving.finish_replacing(folder)
    return folder


def load_fine_tuned(name: str | Path | None = None, device: str = "cpu"):
    """The model and tokenizer in a model folder. Raises TutorialError where there is none."""
    folder = model_folder(name)
    if not saving.is_model(folder):
        raise TutorialError(f"There is no model in {folder}; run: python -m helpers train")
    return load_pretrained(folder, device)


def trained_on(name: str | Path | None = None) -> Profile:
    """The profile of the model in a folder, its dataset or your own files included."""
    folder = model_folder(name)
    summary = saving.read_summary(folder) or {}
    settings = saving.read_json(folder / saving.SETTINGS) or {}
    kind, base = summary.get("profile"), base_of(folder) or str(folder)
    profile = choose(kind, "cpu", model=base if kind == "gpt2" else None)
    names = settings.keys() & {"block_size", "column", "text", "validation"}
    kept = {name: settings[name] for name in names}
    return replace(profile, dataset=summary.get("dataset", profile.dataset), **kept)


def held_out(tokenizer, name: str | Path | None, say: Callable):
    """The tokens (tokens,) that the model in a folder was validated on, from the data it had.

    TutorialError where that was text of your own whose files are gone, or no longer the same.
    """
    # As in `ensure_model`.
    from helpers.data import own_texts, prepare, tokenize, validation_texts  # not on Colab
    from helpers.runtime.checkpoints import digest_of  # not on Colab

    profile, kept = trained_on(name), saving.read_json(model_folder(name) / saving.SETTINGS) or {}
    say(f"Tokens in a block while it was trained: {kept.get('block_size', 'unknown')}.")
    if not profile.dataset.startswith(OWN_TEXT):
        return tokenize(tokenizer, validation_texts(profile))
    with contextlib.suppress(TutorialError):
        streams = prepare(profile, tokenizer, own_texts(profile, say))
        if digest_of(*streams) == kept.get("data"):
            return streams[1]
    files = ", ".join(profile.text or [profile.dataset])
    raise TutorialError(
        f"{files}: this model's text is gone or has changed; name one to score with --text."
    )


def ensure_model(profile: Profile):
    """The fine-tuned model, its tokenizer, and a sentence on where it comes from.

    Where lesson 05 has saved none, `tiny` is trained in a minute; `gpt2` is taken as published.
    """
    folder = model_folder()
    if not (saving.is_model(folder) and saving.read_summary(folder)):
        model, tokenizer = load_base(profile)
        if profile.name == "gpt2":
            return model, tokenizer, (
                f"This is {profile.model_name} as published; for a model of your own, run lesson "
                "05 (on Colab, where each page has a machine of its own, fetch it from your Drive)."
            )  # fmt: skip
        # Only here, so that a reader who never trains loads none of it.
        from helpers.data import prepare
        from helpers.training import train  # not on Colab
        from helpers.ui.live_plot import LivePlot  # not on Colab

        train(model, tokenizer, *prepare(profile, tokenizer), profile, folder, [LivePlot()])
    origin = f"This is the model that you fine-tuned: {saving.describe_model(folder)}."
    return *load_fine_tuned(device=profile.device), origin
