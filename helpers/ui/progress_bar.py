"""The progress of a training in a terminal."""

import sys
from collections.abc import Callable

import torch
from tqdm import tqdm
from tqdm.std import EMA
from transformers import TrainerCallback


class ProgressBar(TrainerCallback):
    """A tqdm bar with figures; above it a line a validation, with the text `sample(model)`."""

    def __init__(self, sample: Callable[[torch.nn.Module], str] | None = None):
        self.sample, self.bar, self.shown, self.smooth = sample, None, {}, EMA(0.1)

    def on_train_begin(self, args, state, control, **kwargs):
        done, steps = state.global_step, state.max_steps
        self.bar = tqdm(total=steps, initial=done, unit="step", desc="training")

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            self.shown["loss"] = f"{logs['loss']:.2f}"
            self.shown["smoothed"] = f"{self.smooth(logs['loss']):.2f}"
            self.shown["learning rate"] = f"{logs['learning_rate']:.1e}"
            self.bar.update(state.global_step - self.bar.n)
        self.shown["tokens/s"] = f"{state.log_history[-1]['tokens_per_second']:,.0f}"
        self.bar.set_postfix(self.shown)

    def on_evaluate(self, args, state, control, model, metrics, **kwargs):
        line = (
            f"step {state.global_step:,}: validation loss {metrics['eval_loss']:.4f}, "
            f"perplexity {metrics['eval_perplexity']:,.2f}"
        )
        if self.sample:
            was_training = model.training
            model.eval()  # no dropout while it writes
            line += f"; {self.sample(model)!r}"
            model.train(was_training)
        self.bar.write(line, file=sys.stderr)

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()
