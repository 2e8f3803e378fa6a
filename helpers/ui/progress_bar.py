"""The progress of a training in a terminal, and what came of it."""

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm import tqdm
from tqdm.std import EMA
from transformers import TrainerCallback

from helpers.profiles import MODEL_FOLDER, home


class ProgressBar(TrainerCallback):
    """A tqdm bar with figures; above it a line a validation, with the text `sample(model)`.

    The loss in it is smoothed. All is short: at 80 columns there must be room for the bar.
    """

    def __init__(self, sample: Callable[[torch.nn.Module], str] | None = None):
        self.sample, self.bar, self.shown, self.smooth = sample, None, {}, EMA(0.1)

    def on_train_begin(self, args, state, control, **kwargs):
        done, steps = state.global_step, state.max_steps
        shape = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
        self.bar = tqdm(total=steps, initial=done, bar_format=shape, dynamic_ncols=True)

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            self.shown["loss"] = f"{self.smooth(logs['loss']):.2f}"
            self.shown["lr"] = f"{logs['learning_rate']:.1e}"
            self.bar.update(state.global_step - self.bar.n)
        self.shown["tokens/s"] = f"{state.log_history[-1]['tokens_per_second']:,.0f}"
        self.bar.set_postfix(self.shown)

    def on_evaluate(self, args, state, control, model, metrics, **kwargs):
        line = (
            f"step {state.global_step:,}: validation loss {metrics['eval_loss']:.4f}, "
            f"perplexity {metrics['eval_perplexity']:,.2f}"
        )
        divided = getattr(args, "fsdp", False)  # then it writes in all processes, or in none
        if self.sample and not divided:
            was_training = model.training
            model.eval()  # no dropout while it writes
            line += f"; {self.sample(model)!r}"
            model.train(was_training)
        self.bar.write(line, file=sys.stderr)

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()


def report(summary: dict, output: Path, prompt: str, texts: dict[str, str]) -> None:
    """Print how `texts` continue `prompt`, and what was saved in `output`."""
    for when, text in texts.items():
        print(f"\n{when}, continuing {prompt!r}:\n{text}")
    end = "Stopped early" if summary["stopped_early"] else "Done"
    name = output.name if output.parent == home() else str(output)
    folder = "" if name == MODEL_FOLDER else f" {shlex.quote('./' * name.startswith('-') + name)}"
    print(
        f"\n{end} after {summary['seconds']:.0f} s: validation perplexity "
        f"{summary['perplexity_before']:.2f} before, {summary['perplexity_after']:.2f} after "
        f"{summary['steps']:,} steps. Saved in {output}.\nTry it: python -m helpers prompt{folder}"
    )
    if summary["stopped_early"]:  # which leaves a checkpoint
        print("The same command as before goes on where this training stopped.")
