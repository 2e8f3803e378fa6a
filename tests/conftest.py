"""A model small enough to train in a second, and the command line in a child process."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from helpers import profiles
from tests import forked

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def tokenizer():
    return AutoTokenizer.from_pretrained(profiles.BUNDLED / "model")


def new_micro_model(seed: int = 0, dropout: float = 0.0) -> GPT2LMHeadModel:
    """Two layers of 32, a context of 64 tokens, the bundled vocabulary."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=4096, n_positions=64, n_embd=32, n_layer=2, n_head=2,
        bos_token_id=0, eos_token_id=0,
        attn_pdrop=dropout, embd_pdrop=dropout, resid_pdrop=dropout,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval()


@pytest.fixture
def micro_model():
    return new_micro_model()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A fresh `GPT2_TUTORIAL_HOME`."""
    monkeypatch.setenv("GPT2_TUTORIAL_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def micro_profile():
    """The tiny profile with rows of 32 tokens, in 4 rows a step."""
    return replace(
        profiles.choose("tiny"),
        block_size=32,
        global_batch_size=4,
        micro_batch_size=4,
        epochs=2,
        learning_rate=1e-2,
    )


@pytest.fixture
def streams():
    """Training and validation tokens to learn from: each token is followed by one of three."""
    random = np.random.default_rng(0)

    def stream(length):
        tokens = [1]
        while len(tokens) < length:
            tokens.append(1 + (7 * tokens[-1] + int(random.integers(3))) % 400)
        return np.array(tokens, np.int32)

    return stream(1500), stream(333)


def run(*arguments, home, typed="", timeout=600, **environment):
    """`python -m helpers ARGUMENTS` in a child process; its exit code and all it printed."""
    environment = {**os.environ, "GPT2_TUTORIAL_HOME": str(home), **environment}
    command = "-m", "helpers", *arguments
    return forked.run(command, cwd=ROOT, env=environment, text=typed, timeout=timeout)
