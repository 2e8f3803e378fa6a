"""The loss of a GPT-2, and perplexity done right (lesson 04)."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from helpers.profiles import Profile
from helpers.runtime.errors import TutorialError
from helpers.runtime.progress import bar


def token_losses(model, ids: torch.Tensor) -> torch.Tensor:
    """The loss in nats of each token of `ids` (batch, length) but the first: (batch, length - 1).

    Position t is scored on token t + 1: logits and tokens are shifted against each other by one.
    """
    logits = model(input_ids=ids, use_cache=False).logits  # (batch, length, vocab)
    targets = ids.roll(-1, dims=1)  # the last position has no target: its loss is left out
    return cross_entropy(logits.flatten(0, 1), targets.flatten()).view_as(ids)[:, :-1]


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The loss in nats of each row of `logits` (rows, vocab), in fp32: shape (rows,).

    As many rows at a time as fit a CPU's cache: with all at once, the copies for 1,024 tokens of
    GPT-2 take 200 MB each, and a tenth of a training step.
    """
    rows = _rows_at_once(logits.device, logits.shape[-1])
    losses = []
    for part, target in zip(logits.split(rows), targets.split(rows), strict=True):
        losses.append(F.cross_entropy(part.float(), target, reduction="none"))
    return torch.cat(losses)


def _rows_at_once(device: torch.device, vocabulary: int) -> int:
    room = 2**22 if device.type == "cpu" else 2**28  # logits: what fits a CPU's cache, or 1 GB
    return max(1, room // vocabulary)


class Window(NamedTuple):
    """A part of a stream of tokens that a model reads at once."""

    start: int  # its first token
    end: int  # the one after its last token
    scored_from: int  # the first token that no earlier window has predicted


def windows(length: int, block: int, stride: int) -> Iterator[Window]:
    """The windows over a stream of `length` tokens: number k starts at token k * stride."""
    end = 0
    for start in range(0, length - 1, stride):
        scored_from = max(end, start + 1)  # nothing stands before a window's first token
        end = min(start + block, length)
        yield Window(start, end, scored_from)
        if end == length:
            return


@torch.no_grad()
def score(model, ids: np.ndarray, block: int, stride: int | None = None) -> tuple[float, int]:
    """The negative log-likelihood of a stream `ids` (tokens,): a sum in nats, over how many tokens.

    Each token is scored once, in the first window of `block` tokens that predicts it. So stride =
    block is fast and leaves out one token a window; a smaller stride gives every token at least
    block - stride tokens of context. Scored in fp32, summed in fp64.
    Method: https://huggingface.co/docs/transformers/perplexity
    """
    stride, longest = stride or block, model.config.n_positions
    if not 2 <= block <= longest:
        raise TutorialError(
            f"The block must be from 2 to {longest:,} tokens, this model's context, not {block:,}."
        )
    if not 0 < stride <= block:
        raise TutorialError(f"The stride must be from 1 to the block, {block}, not {stride}.")
    if len(ids) < 2:
        raise TutorialError(
            "The text has fewer than two tokens, so there is nothing to predict; use a longer text."
        )
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    for batch in bar(_batches(model, list(windows(len(ids), block, stride))), "scoring"):
        rows = np.stack([ids[window.start : window.end] for window in batch])  # (batch, length)
        inputs = torch.from_numpy(rows.astype(np.int64)).to(model.device)
        losses = token_losses(model, inputs).cpu().double()  # (batch, length - 1)
        for row, window in zip(losses, batch, strict=True):
            total += row[window.scored_from - window.start - 1 :].sum().item()
            count += window.end - window.scored_from
    model.train(was_training)
    return total, count


def _batches(model, found: list[Window]) -> list[list[Window]]:
    """Windows of equal length together, as many as fit; the shorter ones at the end one by one."""
    block = found[0].end
    at_once = max(1, _rows_at_once(model.device, model.config.vocab_size) // block)
    full = [window for window in found if window.end - window.start == block]
    batches = [full[i : i + at_once] for i in range(0, len(full), at_once)]
    return batches + [[window] for window in found if window.end - window.start < block]


def perplexity(loss: float) -> float:
    """exp(`loss`) of a mean loss in nats: as surprised as by a guess among so many tokens."""
    return math.exp(loss) if loss < 709 else math.inf  # what a float can hold


@dataclass(frozen=True)
class Evaluation:
    """How well a model predicts a text: a perplexity means something with block and stride only."""

    loss: float  # mean over the scored tokens, in nats
    perplexity: float  # exp(loss): as surprised as by a guess among so many tokens
    tokens: int  # scored tokens
    block: int  # tokens in a window
    stride: int  # tokens from one window's start to the next

    def __str__(self) -> str:
        return (
            f"perplexity {self.perplexity:,.2f}, loss {self.loss:.4f} nats a token, "
            f"over {self.tokens:,} tokens (block {self.block:,}, stride {self.stride:,})"
        )


def evaluate(
    model, ids: np.ndarray, block: int | None = None, stride: int | None = None
) -> Evaluation:
    """Score the stream `ids` (tokens,): the sum of all token losses over the number of them.

    `block` is the model's whole context unless given, `stride` the block; `score` tells which
    tokens are scored. Raises TutorialError for a block that the model cannot take, or a text
    without tokens.
    """
    block = block or model.config.n_positions
    total, count = score(model, ids, block, stride)
    return Evaluation(total / count, perplexity(total / count), count, block, stride or block)


def nats_gained(base, model, texts: Iterable[np.ndarray], block: int) -> float:
    """Nats a token by which `model` is better than `base` on `texts`: lesson 07's measure.

    Each text is a stream (tokens,) and scored alone, in windows that move on by half a `block`.
    """
    totals = [[score(one, np.asarray(ids), block, block // 2) for ids in texts]
              for one in (base, model)]  # fmt: skip
    (before, tokens), (after, _) = (np.sum(found, axis=0) for found in totals)
    return float((before - after) / tokens)


def mixed_precision(profile: Profile) -> torch.autocast:
    """A context in which matrix products have the profile's precision; weights stay in fp32."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(profile.precision)
    return torch.autocast(profile.device, dtype, enabled=dtype is not None)
