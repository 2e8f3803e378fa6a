"""A model and a tokenizer that take no time, for tests that generate thousands of texts."""

import functools
from types import SimpleNamespace

import torch
from transformers import AutoTokenizer

from helpers import profiles
from tests.conftest import new_micro_model


class Instant:
    """A model that takes no time: what follows depends on the last token alone, or is the end."""

    config, device, name_or_path = new_micro_model().config, torch.device("cpu"), "instant"
    steps = 10**9  # until somebody interrupts

    def __init__(self, seed):
        self.table = 3 * torch.randn(64, 4096, generator=torch.Generator().manual_seed(seed))

    def __call__(self, input_ids, **_):
        Instant.steps -= 1
        if Instant.steps < 0:
            raise KeyboardInterrupt
        logits = self.table[input_ids[:, -1:] % 64]  # (1, 1, vocab)
        return SimpleNamespace(logits=logits)


class Remembering:
    """A tokenizer that encodes a text only once: a megabyte takes it half a second."""

    def __init__(self, tokenizer):
        self.decode, self.encode = tokenizer.decode, functools.lru_cache(999)(tokenizer.__call__)

    def __call__(self, text, **options):
        return self.encode(text, **options)


TOKENIZER = Remembering(AutoTokenizer.from_pretrained(profiles.BUNDLED / "model"))
