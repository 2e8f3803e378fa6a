"""Deciding how long to train before training: all epochs, or what fits a time budget."""

import math
import shutil
import time
from dataclasses import dataclass

import numpy as np
import torch

from helpers.profiles import Profile, home
from helpers.runtime.distributed import gradient_accumulation_steps
from helpers.runtime.errors import TutorialError
from helpers.runtime.progress import bar

EVALUATION_SHARE = 0.2  # of a time budget, at most
CHECKPOINT = 3 * 4  # bytes a parameter: its value and AdamW's two means, in fp32
BYTES_A_SECOND = 500e6  # what a plain solid-state disk writes


@dataclass(frozen=True)
class Plan:
    """What a run will do, decided once before its first step and kept for a resumed run."""

    steps: int  # optimizer steps to take
    full_steps: int  # steps that all epochs would take
    evaluations: int  # how often to evaluate during the run
    validation_tokens: int  # how much of the validation text to use, each time the same part
    seconds_per_step: float | None  # as measured; None: no budget, so nothing was measured
    validation_loss_before: float = math.nan
    scored_tokens: int = 0

    def __str__(self) -> str:
        if self.seconds_per_step is None or self.steps == self.full_steps:
            return f"Training all {self.steps:,} steps."
        full, share = self.full_steps * self.seconds_per_step, self.steps / self.full_steps
        time = f"{full / 3600:.1f} hours" if full > 5400 else f"{full / 60:.1f} minutes"
        return (
            f"A step takes {self.seconds_per_step:.2f} s here, so all {self.full_steps:,} steps "
            f"would take {time}. Training {self.steps:,} steps, {share:.1%} of them, fits the "
            "budget."
        )


def make_plan(
    model, blocks, validation_tokens: np.ndarray, profile: Profile, mean_loss, score
) -> Plan:
    """How many steps to take: all of the epochs or, with a budget in minutes, what fits into it.

    The cost of a step is measured on the real model and data; the weights stay as they are.
    `mean_loss` is that of `training`, `score` that of `loss`. Raises TutorialError where the disk
    has no room for the checkpoints.
    """
    _check_disk(model)
    full = max(1, round(profile.epochs * math.ceil(len(blocks) / profile.global_batch_size)))
    if not profile.minutes:
        evaluations = min(full, max(3, math.ceil(profile.epochs)))
        return Plan(full, full, evaluations, len(validation_tokens), None)
    began, budget, evaluations = time.perf_counter(), 60 * profile.minutes, 3
    sample = validation_tokens[: 2 * profile.block_size]
    score(model, sample, profile.block_size)  # refuses a block that does not fit, and warms up
    step = _measure_step(model, blocks, profile, mean_loss, limit=0.05 * budget)
    part = time.perf_counter()
    score(model, sample, profile.block_size)
    per_token = (time.perf_counter() - part) / len(sample)
    saving = CHECKPOINT * model.num_parameters(only_trainable=True) / BYTES_A_SECOND
    left = 0.98 * budget - (time.perf_counter() - began)  # 2% less: machines are not steady
    times = evaluations + 1  # once before the first step, too
    affordable = EVALUATION_SHARE * left / times / per_token
    used = int(min(len(validation_tokens), max(affordable, profile.block_size)))
    left -= times * used * per_token + evaluations * saving
    steps = max(1, min(full, round(left / step)))
    return Plan(steps, full, min(steps, evaluations), used, step)


def _check_disk(model) -> None:
    """Raise TutorialError where two checkpoints, a third and the model do not fit."""
    home().mkdir(parents=True, exist_ok=True)
    needed = (3 * CHECKPOINT + 4) * model.num_parameters(only_trainable=True)
    free = shutil.disk_usage(home()).free
    if free < needed:
        raise TutorialError(
            f"The checkpoints of a training take {needed / 1e9:.1f} GB, and the disk of {home()} "
            f"has {free / 1e9:.1f} GB left; free some space."
        )


def _measure_step(model, blocks, profile: Profile, mean_loss, limit: float) -> float:
    """Seconds for an optimizer step: the median of 3 to 48 at learning rate 0, within `limit`."""
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
                loss = mean_loss(model, ids, profile)
                loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            loss.item()  # waits for a GPU
            seconds.append(time.perf_counter() - began)
    model.eval()
    return float(np.median(seconds[2:]))  # the first ones allocate memory, too
