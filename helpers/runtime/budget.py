"""Deciding how long to train before training: all epochs, or what fits a time budget (lesson 05)."""

import math
import tempfile
import time
from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import save_model

from helpers.data import Blocks
from helpers.loss import mixed_precision, score, token_losses
from helpers.profiles import Profile, home
from helpers.runtime.distributed import gradient_accumulation_steps
from helpers.runtime.errors import TutorialError
from helpers.runtime.progress import bar

EVALUATION_SHARE = 0.2  # of a time budget, at most


@dataclass(frozen=True)
class Plan:
    """What a run will do, decided once before its first step and kept for a resumed run."""

    steps: int  # optimizer steps to take
    full_steps: int  # steps that all epochs would take
    evaluations: int  # how often to evaluate during the run
    validation_tokens: int  # how much of the validation text to use, each time the same part
    seconds_per_step: float | None  # as measured; None: there is no budget, so nothing was measured
    validation_loss_before: float = math.nan
    scored_tokens: int = 0

    def __str__(self) -> str:
        if self.seconds_per_step is None or self.steps == self.full_steps:
            return f"Training all {self.steps:,} steps."
        full, share = self.full_steps * self.seconds_per_step, self.steps / self.full_steps
        time = f"{full / 3600:.1f} hours" if full > 5400 else f"{full / 60:.1f} minutes"
        return (
            f"A step takes {self.seconds_per_step:.2f} s here, so all {self.full_steps:,} steps would take "
            f"{time}. Training {self.steps:,} steps, {share:.1%} of them, fits the budget."
        )


def make_plan(model, blocks: Blocks, validation_tokens: np.ndarray, profile: Profile) -> Plan:
    """How many steps to take: all of the epochs or, with a budget in minutes, as many as fit into it.

    The cost of a step is measured on the real model and data; the weights stay as they are.
    """
    full = max(1, round(profile.epochs * math.ceil(len(blocks) / profile.global_batch_size)))
    if not profile.minutes:
        return Plan(
            full, full, min(full, max(3, math.ceil(profile.epochs))), len(validation_tokens), None
        )
    began = time.perf_counter()
    step = _measure_step(model, blocks, profile, 0.05 * 60 * profile.minutes)
    sample = validation_tokens[: 2 * profile.block_size]
    score(model, sample, profile.block_size)  # warms up
    part = time.perf_counter()
    score(model, sample, profile.block_size)
    per_token = (time.perf_counter() - part) / len(sample)
    saving = 3 * _measure_saving(model)  # a checkpoint holds the weights and, for each, two moments
    evaluations = 3
    left = 0.98 * 60 * profile.minutes - (
        time.perf_counter() - began
    )  # a margin, since machines are not steady
    affordable = EVALUATION_SHARE * left / (evaluations + 1) / per_token
    used = int(min(len(validation_tokens), max(affordable, profile.block_size)))
    left -= (
        evaluations + 1
    ) * used * per_token + evaluations * saving  # evaluated once more before the first step
    steps = max(1, min(full, round(left / step)))
    return Plan(steps, full, min(steps, evaluations), used, step)


def _measure_step(model, blocks: Blocks, profile: Profile, limit: float) -> float:
    """Seconds for an optimizer step, as `Trainer` takes it, at learning rate 0, which leaves the weights alone.

    The median of three to 48 steps, as many as fit into `limit` seconds.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)
    rows = [blocks[i % len(blocks)]["input_ids"] for i in range(profile.micro_batch_size)]
    ids = torch.from_numpy(np.stack(rows)).to(model.device)  # (micro_batch_size, block)
    model.train()
    seconds = []
    with torch.random.fork_rng():  # dropout must not change what the run draws
        for _ in bar(range(50), "measuring a step"):
            if len(seconds) > 4 and sum(seconds) > limit:
                break
            began = time.perf_counter()
            for _ in range(gradient_accumulation_steps(profile)):
                with mixed_precision(profile):
                    loss = token_losses(model, ids).mean()
                loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            loss.item()  # waits for a GPU
            seconds.append(time.perf_counter() - began)
    model.eval()
    return float(np.median(seconds[2:]))  # the first ones allocate memory, too


def _measure_saving(model) -> float:
    """Seconds to write the weights to the disk that checkpoints go to."""
    home().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home()) as folder:
        began = time.perf_counter()
        try:
            save_model(model, f"{folder}/weights.safetensors")
        except Exception as error:  # safetensors has an error of its own for a full disk
            raise TutorialError(
                f"A checkpoint could not be written to {home()} ({error}); free some space."
            ) from error
        return time.perf_counter() - began
