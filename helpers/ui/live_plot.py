"""The live loss plot (lesson 05)."""

import html
import time
from collections.abc import Callable

import ipywidgets
from transformers import TrainerCallback

from helpers.plots import losses_as_html
from helpers.profiles import on_colab
from helpers.runtime.compat import heard_while_busy
from helpers.ui.explore import button, show_widget

REFRESH = 2.0  # seconds between two drawings


class LivePlot(TrainerCallback):
    """Loss curves and figures that grow while `Trainer` works, under a Stop button.

    `sample` gives the latest sample, to show below; `history` is, in the end, the log for
    `plots.plot_losses`. Colab delivers no click while a cell runs, so there is no button.
    """

    def __init__(self, sample: Callable[[], str] = str):
        self.sample, self.history, self.stopped = sample, [], False
        self.next_drawing = self.next_figures = 0.0  # on the clock of time.monotonic
        self.picture, self.figures = ipywidgets.HTML(), ipywidgets.HTML()
        self.stop = button("Stop", "End the training after this step; keep the model", self._stop)
        self.stop.layout.display = "none" if on_colab() else None
        self.stop.layout.align_self = "flex-start"  # not as wide as the page
        self.box = ipywidgets.VBox([self.stop, self.picture, self.figures])

    def _stop(self) -> None:
        self.stopped = self.stop.disabled = True

    def on_train_begin(self, args, state, control, **kwargs):
        self.picture.value = losses_as_html(state.log_history, state.max_steps)
        note = "Here the loss curves grow while the cell runs; plots.plot_losses shows them again."
        show_widget(self.box, f"({note})")
        heard_while_busy(self.stop)

    def on_step_end(self, args, state, control, **kwargs):
        if self.stopped:
            control.should_training_stop = True  # `StopRequest` evaluates and saves

    def on_log(self, args, state, control, logs=None, **kwargs):
        began = time.monotonic()
        if began > self.next_figures:
            self._tell(self._figures(state))
            self.next_figures = began + REFRESH / 4
        if began < self.next_drawing:
            return
        self.picture.value = losses_as_html(state.log_history, state.max_steps)
        now = time.monotonic()  # at most 2% of the time goes into drawing
        self.next_drawing = now + max(REFRESH, 50 * (now - began))

    def _tell(self, line: str) -> None:
        sample = html.escape(self.sample())
        self.figures.value = f"{line}<br>latest sample: <i>{sample}</i>" if sample else line

    def _figures(self, state) -> str:
        """A line on how far the run is."""
        log, done, entry = state.log_history, max(1, state.global_step), state.log_history[-1]
        training = [one for one in log if "loss" in one][-1]
        scored = [one["eval_perplexity"] for one in log if "eval_loss" in one]
        left = (state.max_steps - state.global_step) * entry["step_seconds"] / done
        parts = [
            f"step {state.global_step:,} of {state.max_steps:,}",
            f"training loss {training['loss']:.2f}",
            *(f"validation perplexity {perplexity:,.1f}" for perplexity in scored[-1:]),
            f"learning rate {training['learning_rate']:.1e}",
            f"{entry['tokens_per_second']:,.0f} tokens/s",
            f"{_time(entry['elapsed'])} so far" + f", about {_time(left)} to go" * bool(left),
        ]
        return " · ".join(parts)

    def on_train_end(self, args, state, control, **kwargs):
        self.history, self.stop.disabled = state.log_history, True
        done, steps = state.global_step, state.max_steps
        before, *scored = [one["eval_perplexity"] for one in self.history if "eval_loss" in one]
        best = min(scored, default=before)
        self.picture.value = losses_as_html(self.history, steps)
        self._tell(self._figures(state))  # or the page would jump
        print(  # below the box, where it is stored, too
            f"{'Stopped' if done < steps else 'Done'} after {done:,} of {steps:,} steps: "
            f"validation perplexity {before:,.2f} before, {best:,.2f} at its best."
        )


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
