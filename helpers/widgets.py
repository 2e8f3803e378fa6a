"""What moves in the lessons: explorers (02, 03, 06), the live loss plot (05) and the prompt box (06).

Only what ipywidgets 7.7 and 8 share, and everything on the main thread: so it works in JupyterLab, VS Code and Colab.
"""

import html
import time
from collections.abc import Callable
from dataclasses import replace

import ipywidgets
from IPython.display import display
from transformers import TrainerCallback

from helpers.errors import TutorialError
from helpers.generation import Sampling, stream_text
from helpers.plots import losses_as_html

REFRESH = 2.0  # seconds between two drawings


def show_widget(widget: ipywidgets.Widget, note: str) -> None:
    """Display `widget`; where none can be shown, as on GitHub, `note` stands in its place."""
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    display({"application/vnd.jupyter.widget-view+json": view, "text/plain": note}, raw=True)


def explore(draw: Callable[..., str], note: str, **controls: ipywidgets.ValueWidget) -> ipywidgets.VBox:
    """Show `controls`, and under them the HTML that `draw` makes of their values, anew at each change.

    `draw` takes the values under the names of the controls. It gets whatever a learner types, so it must pass all text
    through `html.escape`. Where no widget can be shown, `note` stands in its place.
    """
    picture = ipywidgets.HTML()

    def value_of(control):
        value = control.value  # a browser may send half an emoji, which no tokenizer takes
        return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value

    def redraw(_=None):
        try:
            picture.value = draw(**{name: value_of(control) for name, control in controls.items()})
        except TutorialError as error:
            picture.value = f"<i>{html.escape(str(error))}</i>"

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    box = ipywidgets.VBox([*controls.values(), picture])
    show_widget(box, note)
    return box


class LivePlot(TrainerCallback):
    """Loss curves and figures that grow while `Trainer` works, and vanish when it is done; and a Stop button.

    `note` gives a text to show below, such as the latest sample. `history` is, in the end, the log to draw the final
    curves from, with `plots.plot_losses`. The button works where the front end delivers a click while a cell runs;
    the notebook's ■ always does.
    """

    def __init__(self, before: float | None = None, note: Callable[[], str] = str):
        self.before, self.note, self.history = before, note, []
        self.next_drawing, self.stopped = 0.0, False
        self.picture, self.figures = ipywidgets.HTML(), ipywidgets.HTML()
        self.stop = ipywidgets.Button(description="Stop", tooltip="End the training after this step; keep the model")
        self.stop.on_click(self._stop)
        self.box = ipywidgets.VBox([self.picture, self.figures, self.stop])

    def _stop(self, _) -> None:
        self.stopped = self.stop.disabled = True

    def on_train_begin(self, args, state, control, **kwargs):
        show_widget(self.box, "(Here the loss curves grow while the cell runs.)")

    def on_step_end(self, args, state, control, **kwargs):
        if self.stopped:
            control.should_training_stop = control.should_evaluate = control.should_save = True

    def on_log(self, args, state, control, logs=None, **kwargs):
        began = time.monotonic()
        if began < self.next_drawing:
            return
        self.figures.value = self._figures(state)
        self.picture.value = losses_as_html(state.log_history, self.before)
        now = time.monotonic()  # at most 2% of the time goes into drawing
        self.next_drawing = now + max(REFRESH, 50 * (now - began))

    def _figures(self, state) -> str:
        """A line on how far the run is, and the note."""
        entry, last = state.log_history[-1], next(e for e in reversed(state.log_history) if "loss" in e)
        left = (state.max_steps - state.global_step) * entry["elapsed"] / max(1, state.global_step)
        scored = [e["eval_perplexity"] for e in state.log_history if "eval_loss" in e]
        return (
            f"step {state.global_step:,} of {state.max_steps:,} · training loss {last['loss']:.2f} · "
            f"{''.join(f'validation perplexity {p:,.1f} · ' for p in scored[-1:])}"
            f"learning rate {last['learning_rate']:.1e} · "
            f"{entry['tokens_per_second']:,.0f} tokens/s · {entry['elapsed']:.0f} s so far, about {left:.0f} s to go"
            f"<br><i>{html.escape(self.note())}</i>"
        )

    def on_train_end(self, args, state, control, **kwargs):
        self.box.layout.display = "none"
        self.picture.value = self.figures.value = ""
        self.history = state.log_history


class PromptBox:
    """A text area, **Generate**, **Regenerate** (another text for the same prompt), and what the model wrote.

    `show()` displays it; `write(prompt)` does the same from code, where no widget can be shown.
    """

    def __init__(self, model, tokenizer, sampling: Sampling | None = None, prompt: str = ""):
        self.model, self.tokenizer = model, tokenizer
        self.sampling = sampling or Sampling()
        self.texts: list[tuple[str, int, str]] = []  # (prompt, seed, continuation), all so far
        self.busy = False
        wide = ipywidgets.Layout(width="100%", max_width="800px")
        self.prompt = ipywidgets.Textarea(prompt, description="Prompt", placeholder="Type a few words", layout=wide)
        self.generate = ipywidgets.Button(description="Generate", button_style="primary", tooltip="Continue the prompt")
        self.again = ipywidgets.Button(description="Regenerate", tooltip="Another text for the same prompt")
        self.output = ipywidgets.HTML(layout=wide)
        self.box = ipywidgets.VBox([self.prompt, ipywidgets.HBox([self.generate, self.again]), self.output])
        self.generate.on_click(lambda _: self._clicked(self.prompt.value))
        # Regenerate repeats the prompt of the last text, also when the text area holds another one by now.
        self.again.on_click(lambda _: self._clicked(self.texts[-1][0] if self.texts else self.prompt.value))

    def show(self) -> None:
        """Display the box under the cell."""
        show_widget(self.box, "(Here stands the prompt box while the notebook runs.)")

    def write(self, prompt: str) -> str:
        """A continuation of `prompt`; each call draws with the next seed. Raises TutorialError for a blank prompt."""
        text = ""
        for piece in stream_text(self.model, self.tokenizer, prompt, self.sampling):
            text += piece
            self._draw(prompt, text)
        self.texts.append((prompt, self.sampling.seed, text))
        self.sampling = replace(self.sampling, seed=self.sampling.seed + 1)
        return text

    def _clicked(self, prompt: str) -> None:
        if self.busy:  # a second click while a text is written; it arrives only through nested event loops
            return
        self.busy = True
        for button in (self.generate, self.again):
            button.disabled = True
        try:
            self.write(prompt)
        except TutorialError as error:
            self.output.value = f"<i>{html.escape(str(error))}</i>"
        finally:
            self.busy = False
            for button in (self.generate, self.again):
                button.disabled = False

    def _draw(self, prompt: str, text: str) -> None:
        style = "white-space: pre-wrap; font-family: serif; font-size: 110%; line-height: 1.4"
        # Escaped: whatever stands in a prompt or comes from a model is text, never markup.
        self.output.value = f'<div style="{style}"><b>{html.escape(prompt)}</b>{html.escape(text)}</div>'
