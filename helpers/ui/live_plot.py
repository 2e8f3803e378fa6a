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
    """Loss curves and figures that grow while `Trainer` works, and then vanish; a Stop button.

    `note` gives a text to show below, such as the latest sample; `history` is, in the end, the log
    for `plots.plot_losses`. Colab delivers no click while a cell runs, so there is no button.
    """

    def __init__(self, before: float | None = None, note: Callable[[], str] = str):
        self.before, self.note, self.history = before, note, []
        self.next_drawing = self.next_figures = 0.0  # on the clock of time.monotonic
        self.stopped = False
        self.picture, self.figures = ipywidgets.HTML(), ipywidgets.HTML()
        self.stop = button("Stop", "End the training after this step; keep the model", self._stop)
        self.stop.layout.display = "none" if on_colab() else None
        self.box = ipywidgets.VBox([self.picture, self.figures, self.stop])

    def _stop(self) -> None:
        self.stopped = self.stop.disabled = True

    def on_train_begin(self, args, state, control, **kwargs):
        show_widget(self.box, "(Here the loss curves grow while the cell runs.)")
        heard_while_busy(self.stop)

    def on_step_end(self, args, state, control, **kwargs):
        if self.stopped:
            control.should_training_stop = True  # `StopRequest` evaluates and saves

    def on_log(self, args, state, control, logs=None, **kwargs):
        began = time.monotonic()
        if began > self.next_figures:
            self.figures.value, self.next_figures = self._figures(state), began + REFRESH / 4
        if began < self.next_drawing:
            return
        self.picture.value = losses_as_html(state.log_history, self.before)
        now = time.monotonic()  # at most 2% of the time goes into drawing
        self.next_drawing = now + max(REFRESH, 50 * (now - began))

    def _figures(self, state) -> str:
        """A line on how far the run is, and the note."""
        log, done = state.log_history, max(1, state.global_step)
        entry = log[-1]
        training = [one for one in log if "loss" in one][-1]
        scored = [one["eval_perplexity"] for one in log if "eval_loss" in one]
        left = (state.max_steps - state.global_step) * entry["step_seconds"] / done
        parts = [
            f"step {state.global_step:,} of {state.max_steps:,}",
            f"training loss {training['loss']:.2f}",
            *(f"validation perplexity {perplexity:,.1f}" for perplexity in scored[-1:]),
            f"learning rate {training['learning_rate']:.1e}",
            f"{entry['tokens_per_second']:,.0f} tokens/s",
            f"{entry['elapsed']:.0f} s so far, about {left:.0f} s to go",
        ]
        return f"{' · '.join(parts)}<br><i>{html.escape(self.note())}</i>"

    def on_train_end(self, args, state, control, **kwargs):
        self.box.layout.display = "none"
        self.picture.value = self.figures.value = ""
        self.history = state.log_history
