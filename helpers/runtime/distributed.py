"""What several processes that train together need."""

import math
import os
from dataclasses import replace

from helpers.profiles import Profile
from helpers.runtime.errors import TutorialError


def num_processes() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", 1))  # set by torchrun


def is_main_process() -> bool:
    """Whether this is the process that prints and saves: the only one, or the first under torchrun."""
    return os.environ.get("RANK", "0") == "0"


def agreed(wish: bool) -> bool:
    """Whether any of the processes that train together has this wish: they must all do the same after a step."""
    import torch

    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return wish
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    votes = torch.tensor(int(wish), device=device)
    torch.distributed.all_reduce(votes)
    return bool(votes)


def share_batch(profile: Profile) -> Profile:
    """The profile with a batch that all processes share evenly, one row each at least, or a TutorialError."""
    processes = num_processes()
    batch = max(processes, profile.global_batch_size)
    if batch % processes:
        raise TutorialError(
            f"{processes} processes cannot share {batch} rows; make the batch size a multiple."
        )
    return replace(
        profile,
        global_batch_size=batch,
        micro_batch_size=math.gcd(profile.micro_batch_size, batch // processes),
    )


def gradient_accumulation_steps(profile: Profile) -> int:
    """How many batches of `micro_batch_size` rows make one optimizer step."""
    return max(1, profile.global_batch_size // (profile.micro_batch_size * num_processes()))
