"""A run of `training.train` that `torchrun` can start in several processes: tiny's model, 12 steps.

With 93 short rows and 8 a step, the last step has to be filled up.

worker.py OUT [KILL [shard]]
    OUT: a file for the losses; KILL: the step at which the last process dies; shard: divided

With the environment variable LORA it trains an adapter of that rank.
"""

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from transformers import TrainerCallback

from helpers import data, loading, profiles, training
from helpers.runtime import distributed

out, kill_at = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None
rank = int(os.environ.get("LORA", 0)) or None
profile = profiles.choose("tiny", lora=rank)
profile = replace(profile, block_size=64, micro_batch_size=2, epochs=1)
profile = replace(profile, shard="shard" in sys.argv)


def tell_late(*error):
    """As a busy machine would: by then, torchrun has sent SIGTERM to those that are left."""
    time.sleep(1)
    sys.__excepthook__(*error)


sys.excepthook = tell_late


class Watch(TrainerCallback):
    """Keeps the history, and kills this process where that is asked for."""

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == kill_at and not distributed.is_main_process():
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_end(self, args, state, control, model, **kwargs):
        parts = [getattr(weight, "to_local", lambda w=weight: w)() for weight in model.parameters()]
        self.held = sum(part.numel() for part in parts)  # by this process
        self.losses = [entry["loss"] for entry in state.log_history if "loss" in entry]


model, tokenizer = loading.load_base(profile)
train_tokens, validation_tokens = data.prepare(profile, tokenizer)
train_tokens, validation_tokens = train_tokens[: 93 * 64], validation_tokens[:1024]
watch = Watch()
try:
    summary = training.train(
        model, tokenizer, train_tokens, validation_tokens, profile, loading.model_folder(), [watch]
    )
except training.AlreadyFinished as error:
    sys.exit(print(error))
if distributed.is_main_process():
    assert summary["processes"] == distributed.num_processes()
    told = {"losses": watch.losses, "held": watch.held, **summary}
    out.write_text(json.dumps(told), encoding="utf-8")
