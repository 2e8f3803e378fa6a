"""What several processes that train together need, in accelerate's terms."""

import math
import os
from dataclasses import replace

from helpers.profiles import Profile
from helpers.runtime.errors import TutorialError


def num_processes() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", 1))  # set by torchrun, as RANK is


def is_main_process() -> bool:
    """Whether this process prints and saves: the only one, or the first under torchrun."""
    return os.environ.get("RANK", "0") == "0"


def agreed(wish: bool) -> bool:
    """Whether any of the processes that train together wishes it: all must do the same then."""
    if num_processes() == 1:
        return wish
    import torch
    from accelerate import PartialState
    from accelerate.utils import reduce

    votes = torch.tensor(int(wish), device=PartialState().device)
    return bool(reduce(votes, "sum"))


def share_batch(profile: Profile) -> Profile:
    """The profile with a batch that all processes share evenly, or a TutorialError."""
    processes = num_processes()
    batch = max(processes, profile.global_batch_size)
    if batch % processes:
        raise TutorialError(
            f"{processes} processes cannot share {batch} rows; make the batch size a multiple."
        )
    micro_batch = math.gcd(profile.micro_batch_size, batch // processes)
    return replace(profile, global_batch_size=batch, micro_batch_size=micro_batch)


def gradient_accumulation_steps(profile: Profile) -> int:
    """How many batches of `micro_batch_size` rows make one optimizer step."""
    return max(1, profile.global_batch_size // (profile.micro_batch_size * num_processes()))
