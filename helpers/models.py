"""Loading, scoring and saving a GPT-2 (lesson 04)."""

import contextlib
import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from helpers.data import bar
from helpers.errors import TutorialError
from helpers.profiles import MODEL_FOLDER, OR_TINY, Profile, choose, home, reach_hub

SUMMARY = "training_summary.json"
SETTINGS = "training_settings.json"
# What a model folder of ours may hold: `check_replaceable` refuses to touch one with anything else in it.
_OURS = {
    SUMMARY, SETTINGS, "README.md", "config.json", "generation_config.json", "model.safetensors",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt",
    "added_tokens.json", "chat_template.jinja",
}  # fmt: skip


@contextlib.contextmanager
def quiet(bars: bool = False):
    """Within it, transformers warns of nothing (such as GPT-2's `loss_type`) and, without `bars`, shows none."""
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before[0])
        if before[1]:
            logging.enable_progress_bar()


def load(source: str | Path, device: str = "cpu", dropout: float | None = None, attention: str = "sdpa"):
    """The model in evaluation mode and its tokenizer, from the Hub or a folder; weights in fp32.

    `dropout` replaces the three dropout probabilities of the configuration. Raises TutorialError where
    there is no model, where it is broken, or where the Hub is needed and cannot be reached.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {} if dropout is None else dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), dropout)
    try:
        with quiet(bars=not Path(source).is_dir()):  # a local model loads in a second; a download keeps its bar
            tokenizer = AutoTokenizer.from_pretrained(str(source))
            options["attn_implementation"] = attention
            model = AutoModelForCausalLM.from_pretrained(str(source), dtype=torch.float32, **options)
        if len(tokenizer) != model.config.vocab_size:  # transformers makes an empty tokenizer where its file is missing
            raise ValueError("the tokenizer does not fit the model")
    except Exception as error:  # a missing file, a broken file and a lost connection raise a dozen types
        raise TutorialError(_why_not(source, error)) from error
    return fuse_activation(model).to(device).eval(), tokenizer


def fuse_activation(model):
    """The same GPT-2, with its `gelu_new` computed in one step instead of eight: a tenth of the time on a CPU."""
    if getattr(model.config, "activation_function", None) == "gelu_new":
        for layer in model.transformer.h:
            layer.mlp.act = torch.nn.GELU(approximate="tanh")
    return model


def _why_not(source: str | Path, error: Exception) -> str:
    reason = type(error).__name__  # the libraries' own messages are long, and their advice is for other cases
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
    _finish_replacing(folder)
    return folder


def load_fine_tuned(name: str | Path | None = None, device: str = "cpu"):
    """The model and tokenizer in a model folder, as `load` gives them. Raises TutorialError where there is none."""
    folder = model_folder(name)
    if not (folder / "config.json").is_file():
        raise TutorialError(f"There is no model in {folder}; train one with: python -m helpers train")
    return load(folder, device)


def trained_on(name: str | Path | None = None) -> Profile:
    """The profile that the model in a folder was trained with. Raises TutorialError where that was your own text."""
    try:
        summary = json.loads((model_folder(name) / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        summary = {}
    profile = choose(summary.get("profile"), "cpu")
    if summary.get("dataset", profile.dataset) != profile.dataset:
        raise TutorialError("This model was trained on a text of your own; name the text to score with --text.")
    return profile


def token_losses(model, ids: torch.Tensor) -> torch.Tensor:
    """The loss of each token of `ids` (batch, length) but the first, in nats: shape (batch, length - 1).

    Position t is scored on token t + 1: logits and tokens are shifted against each other by one.
    """
    logits = model(input_ids=ids, use_cache=False).logits  # (batch, length, vocab)
    targets = ids.roll(-1, dims=1)  # the last position has no target: its loss is left out
    return _CrossEntropy.apply(logits.flatten(0, 1), targets.flatten()).view_as(ids)[:, :-1]


class _CrossEntropy(torch.autograd.Function):
    """`F.cross_entropy` of each row of `logits` (rows, vocab) in fp32, computed for as many rows as fit a CPU's cache.

    With all rows at once, its copies for 1,024 tokens of GPT-2 take 200 MB each, and a tenth of a training step.
    """

    @staticmethod
    def forward(ctx, logits, targets):
        parts = logits.split(_rows_at_once(logits.device, logits.shape[-1]))
        total = torch.cat([part.float().logsumexp(-1) for part in parts])  # (rows,)
        ctx.save_for_backward(logits, targets, total)
        return total - logits.gather(1, targets[:, None]).squeeze(1).float()

    @staticmethod
    def backward(ctx, upstream):
        gradient = torch.empty_like(ctx.saved_tensors[0])
        rows = _rows_at_once(gradient.device, gradient.shape[-1])
        parts = [tensor.split(rows) for tensor in (gradient, *ctx.saved_tensors, upstream)]
        for result, logits, targets, total, factor in zip(*parts, strict=True):
            probabilities = (logits.float() - total[:, None]).exp_()
            probabilities[torch.arange(len(targets)), targets] -= 1
            result.copy_(probabilities.mul_(factor[:, None]))
        return gradient, None


def _rows_at_once(device: torch.device, vocabulary: int) -> int:
    room = 2**22 if device.type == "cpu" else 2**28  # logits: what fits a CPU's cache, or 1 GB
    return max(1, room // vocabulary)


@torch.no_grad()
def score(model, ids: np.ndarray, block: int, stride: int | None = None):
    """Sum of token losses in nats, and the number of tokens scored, over a stream `ids` (tokens,).

    Window k starts at token k * stride and is at most `block` long. Each token is scored once, in the
    first window that predicts it; a window's first token is never scored there, since nothing stands before
    it. So stride = block is fast and leaves out one token a window; a smaller stride gives every token
    at least block - stride tokens of context. Scored in fp32, sums in fp64.
    Method: https://huggingface.co/docs/transformers/perplexity
    """
    stride = stride or block
    if not 0 < stride <= block:
        raise TutorialError(f"The stride must be from 1 to the block, {block}, not {stride}.")
    if len(ids) < 2:
        raise TutorialError("The text has fewer than two tokens, so there is nothing to predict; use a longer text.")
    windows, scored_up_to = [], 0
    for start in range(0, len(ids) - 1, stride):
        end = min(start + block, len(ids))
        windows.append((start, end, max(scored_up_to, start + 1)))  # its tokens, and the first that it scores
        scored_up_to = end
        if end == len(ids):
            break
    at_once = max(1, _rows_at_once(model.device, model.config.vocab_size) // block)
    full = [window for window in windows if window[1] - window[0] == block]
    batches = [full[i : i + at_once] for i in range(0, len(full), at_once)]
    batches += [[window] for window in windows if window[1] - window[0] < block]
    total, count = 0.0, 0
    was_training = model.training
    model.eval()
    for batch in bar(batches, "scoring"):
        rows = np.stack([ids[start:end] for start, end, _ in batch]).astype(np.int64)  # (batch, length)
        losses = token_losses(model, torch.from_numpy(rows).to(model.device)).cpu().double()
        for row, (start, end, first) in zip(losses, batch, strict=True):
            total += row[first - start - 1 :].sum().item()
            count += end - first
    model.train(was_training)
    return total, count


def perplexity(loss: float) -> float:
    """exp(`loss`) of a mean loss in nats: as unsure as among so many equally likely tokens; at most infinite."""
    return math.exp(loss) if loss < 709 else math.inf  # what a float can hold


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
        raise TutorialError(f"The model could not be written to {folder} ({reason}); free some space.") from error
    for pause in (0.1, 1.0, 0.0):  # seconds; meanwhile a virus scanner lets go, or a reader puts the old model back
        try:
            if folder.exists():
                shutil.rmtree(old, ignore_errors=True)
                folder.replace(old)
            new.replace(folder)
            return shutil.rmtree(old, ignore_errors=True)
        except OSError as error:  # on Windows, where a program that has loaded the old model keeps its file open
            _finish_replacing(folder)
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
    _finish_replacing(folder)
    if folder.exists() and not folder.is_dir():
        raise TutorialError(f"{folder} is a file, so no model can be saved there; choose another --output-dir.")
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if names and (SUMMARY not in names or names - _OURS):
        stranger = sorted(names - _OURS or names)[0]
        raise TutorialError(
            f"{folder} holds files that are not ours ({stranger}), and nothing was overwritten; "
            "move them or choose another --output-dir."
        )


def _finish_replacing(folder: Path) -> None:
    """After a kill between the two renames of `save`, put the old model back in its place."""
    old = _beside(folder, "replaced")
    if old.exists() and not folder.exists():
        with contextlib.suppress(OSError):  # somebody else was faster
            old.replace(folder)


def base(profile: Profile, data: bool = True):
    """The profile's model before fine-tuning, ready to train, and its tokenizer; without `data`, for your own text."""
    if profile.name == "gpt2":
        reach_hub(data)
    return load(profile.model, profile.device, profile.dropout, profile.attention)
