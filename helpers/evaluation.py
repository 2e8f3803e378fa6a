"""Perplexity, done right (lesson 07)."""

from dataclasses import dataclass

import numpy as np

from helpers.errors import TutorialError
from helpers.models import perplexity, score


@dataclass(frozen=True)
class Evaluation:
    """How well a model predicts a text. A perplexity means something only together with its block and stride."""

    loss: float  # mean over the scored tokens, in nats
    perplexity: float  # exp(loss): as unsure as among so many equally likely tokens
    tokens: int  # scored tokens
    block: int  # tokens in a window
    stride: int  # tokens from one window's start to the next

    def __str__(self) -> str:
        return (
            f"perplexity {self.perplexity:,.2f}, loss {self.loss:.4f} nats a token, "
            f"over {self.tokens:,} tokens (block {self.block:,}, stride {self.stride:,})"
        )


def evaluate(model, ids: np.ndarray, block: int | None = None, stride: int | None = None) -> Evaluation:
    """Score the stream `ids` (tokens,): the sum of all token losses over the number of tokens predicted.

    `block` is the model's whole context unless given, `stride` the block. `models.score` tells which
    tokens are scored. Raises TutorialError for a block that the model cannot take or a text without tokens.
    """
    longest = model.config.n_positions
    block = block or longest
    if not 2 <= block <= longest:
        raise TutorialError(f"The block must be from 2 to {longest:,} tokens, this model's context, not {block:,}.")
    total, count = score(model, ids, block, stride)
    return Evaluation(total / count, perplexity(total / count), count, block, stride or block)
