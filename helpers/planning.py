"""Deciding how long to train before training: all epochs, or what fits a time budget (lesson 05)."""

import math
import os
import time
from dataclasses import dataclass

import numpy as np
import torch

from helpers.data import Blocks, bar
from helpers.models import score, token_losses
from helpers.profiles import Profile

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
        return (
            f"A step takes {self.seconds_per_step:.2f} s here, so all {self.full_steps:,} steps would take "
            f"{_duration(full)}. Training {self.steps:,} steps, {share:.1%} of them, fits the budget."
        )


def make_plan(model, blocks: Blocks, validation_tokens: np.ndarray, profile: Profile) -> Plan:
    """How many steps to take: all of the epochs or, with a budget in minutes, as many as fit into it.

    The cost of a step is measured on the real model and data; the weights stay as they are.
    """
    batches = math.ceil(len(blocks) / (profile.rows_at_once * process_count()))
    full = max(1, round(profile.epochs * math.ceil(batches / accumulation(profile))))
    if not profile.minutes:
        return Plan(full, full, min(full, max(3, math.ceil(profile.epochs))), len(validation_tokens), None)
    began = time.perf_counter()
    step = _measure_step(model, blocks, profile)
    part = time.perf_counter()
    score(model, validation_tokens[: profile.block], profile.block)
    per_token = (time.perf_counter() - part) / min(len(validation_tokens), profile.block)
    evaluations = 3
    left = 0.95 * 60 * profile.minutes - (part - began)  # a margin, since machines are not steady
    affordable = EVALUATION_SHARE * left / (evaluations + 1) / per_token
    used = int(min(len(validation_tokens), max(affordable, profile.block)))
    # A checkpoint holds 12 bytes a parameter (weights and two moments), written at some 300 MB a second.
    saving = (evaluations + 1) * 12 * model.num_parameters() / 300e6
    left -= (evaluations + 1) * used * per_token + saving
    steps = max(1, min(full, int(left / step)))
    return Plan(steps, full, min(steps, evaluations), used, step)


def _measure_step(model, blocks: Blocks, profile: Profile) -> float:
    """Seconds for an optimizer step: the second of two, taken at learning rate 0, which leaves the weights alone."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(profile.precision)
    rows = [blocks[i % len(blocks)]["input_ids"] for i in range(profile.rows_at_once)]
    ids = torch.from_numpy(np.stack(rows)).to(profile.device)  # (rows_at_once, block)
    model.train()
    seconds = 0.0
    with torch.random.fork_rng():  # dropout must not change what the run draws
        for _ in bar(range(2), "measuring a step"):
            began = time.perf_counter()
            for _ in range(accumulation(profile)):
                with torch.autocast(profile.device, dtype, enabled=dtype is not None):
                    loss = token_losses(model, ids).mean()
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            loss.item()  # waits for a GPU
            seconds = time.perf_counter() - began
    model.eval()
    return seconds


def accumulation(profile: Profile) -> int:
    """How many batches of `rows_at_once` rows make one optimizer step."""
    return max(1, profile.batch_size // (profile.rows_at_once * process_count()))


def process_count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", 1))  # set by torchrun


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds > 5400 else f"{seconds / 60:.1f} minutes"
