"""What several processes that train together need, in accelerate's terms."""

import copy
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
    if profile.shard and profile.lora:
        raise TutorialError("--lora needs no --shard: an adapter's slopes and means are small.")
    if profile.shard and processes == 1:
        raise TutorialError("A model is divided among several processes; start it with torchrun.")
    if profile.device == "cuda" and processes > 1:  # so that each loads its model to its own GPU
        import torch

        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    batch = max(processes, profile.global_batch_size)
    if batch % processes:
        raise TutorialError(
            f"{processes} processes cannot share {batch} rows; make the batch size a multiple."
        )
    micro_batch = math.gcd(profile.micro_batch_size, batch // processes)
    return replace(profile, global_batch_size=batch, micro_batch_size=micro_batch)


def shares(profile: Profile) -> dict:
    """What of a step each process gets, in the terms of `TrainingArguments`."""
    rows = {
        "per_device_train_batch_size": profile.micro_batch_size,
        "gradient_accumulation_steps": gradient_accumulation_steps(profile),
    }
    whole = {"state_dict_type": "FULL_STATE_DICT"}  # so any number of processes can go on from it
    return rows | ({"fsdp": True, "fsdp_config": whole} if profile.shard else {})


def to_train(model, profile: Profile):
    """The model that `Trainer` gets: a copy where it will be divided, since that is for good."""
    return copy.deepcopy(model.cpu()) if profile.shard else model


def put_together(trainer, model) -> None:
    """Give `model`, in the first process, the weights of the divided one; all must call this."""
    if trainer.profile.shard:
        weights = trainer.accelerator.get_state_dict(trainer.model)
        if is_main_process():
            model.load_state_dict(weights)
            trainer.model = model.to(trainer.args.device)


def gradient_accumulation_steps(profile: Profile) -> int:
    """How many batches of `micro_batch_size` rows make one optimizer step."""
    return max(1, profile.global_batch_size // (profile.micro_batch_size * num_processes()))
