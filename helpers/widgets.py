"""What moves in the lessons: explorers (02, 03, 06) and the live loss plot (05); `prompt_box` has a module of its own.

Only what ipywidgets 7.7 and 8 share, and drawn on the main thread: so in JupyterLab, VS Code and Colab.
"""

import html
import time
from collections.abc import Callable

import ipywidgets
from IPython.display import display
from transformers import TrainerCallback

from helpers.errors import TutorialError
from helpers.plots import losses_as_html
from helpers.profiles import on_colab

REFRESH = 2.0  # seconds between two drawings


def show_widget(widget: ipywidgets.Widget, note: str) -> None:
    """Display `widget`; where none can be shown, as on GitHub, `note` stands in its place."""
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    display({"application/vnd.jupyter.widget-view+json": view, "text/plain": note}, raw=True)


def heard_while_busy(button: ipywidgets.Button) -> None:
    """Let a click on `button` arrive while a cell runs, where the front end can send one: in JupyterLab.

    It sends the click to a thread of the kernel's own. But ipykernel 7.4 turns it over to the thread that last changed
    the button, which is the busy one; so that is forgotten. Call this once the button has been made and set.
    """
    vars(button.comm).pop("_reply_subshell_id", None)


def typed(control: ipywidgets.ValueWidget):
    """The value of a control. A browser may send half an emoji, which no tokenizer takes: it becomes "?"."""
    value = control.value
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def with_slider(field: ipywidgets.BoundedIntText | ipywidgets.BoundedFloatText) -> ipywidgets.HBox:
    """`field` and, beside it, a slider that moves with it.

    A field's description is its name, which a screen reader says; the handle of a slider can be given none.
    """
    whole = isinstance(field, ipywidgets.BoundedIntText)
    field.layout.width, field.style.description_width = "160px", "90px"
    limits = dict(value=field.value, min=field.min, max=field.max, step=field.step, readout=False)
    layout = ipywidgets.Layout(width="190px")
    slider = (ipywidgets.IntSlider if whole else ipywidgets.FloatSlider)(layout=layout, **limits)
    for trait in ("min", "max", "value"):
        ipywidgets.dlink((field, trait), (slider, trait))

    def follow(change):
        # A browser puts a slider on its nearest step, and says so: a learner moves it by more than half of one.
        if abs(change.new - field.value) > 0.51 * field.step:
            field.value = round(change.new, 6)  # in JavaScript, 19 steps of 0.05 are 0.9500000000000001

    slider.observe(follow, names="value")
    return ipywidgets.HBox([field, slider])


def explore(draw: Callable[..., str], note: str, **controls: ipywidgets.ValueWidget) -> ipywidgets.VBox:
    """Show `controls`, and under them the HTML that `draw` makes of their values, anew at each change.

    `draw` takes the values under the names of the controls. It gets whatever a learner types, so it must pass all text
    through `html.escape`. A number field gets a slider. Where no widget can be shown, `note` stands in its place.
    """
    picture = ipywidgets.HTML()

    def redraw(_=None):
        try:
            picture.value = draw(**{name: typed(control) for name, control in controls.items()})
        except TutorialError as error:
            picture.value = f"<i>{html.escape(str(error))}</i>"

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    numbers = ipywidgets.BoundedIntText, ipywidgets.BoundedFloatText
    rows = [with_slider(control) if isinstance(control, numbers) else control for control in controls.values()]
    box = ipywidgets.VBox([*rows, picture])
    show_widget(box, note)
    return box


class LivePlot(TrainerCallback):
    """Loss curves and figures that grow while `Trainer` works, and vanish when it is done; and a Stop button.

    `note` gives a text to show below, such as the latest sample. `history` is, in the end, the log to draw the final
    curves from, with `plots.plot_losses`. JupyterLab delivers a click while the cell runs; on Colab, which does not,
    there is no button. The notebook's ■ stops a training everywhere.
    """

    def __init__(self, before: float | None = None, note: Callable[[], str] = str):
        self.before, self.note, self.history = before, note, []
        self.next_drawing, self.next_figures, self.stopped = 0.0, 0.0, False
        self.picture, self.figures = ipywidgets.HTML(), ipywidgets.HTML()
        self.stop = ipywidgets.Button(description="Stop", tooltip="End the training after this step; keep the model")
        self.stop.on_click(self._stop)
        self.stop.layout.display = "none" if on_colab() else None
        self.box = ipywidgets.VBox([self.picture, self.figures, self.stop])

    def _stop(self, _) -> None:
        self.stopped = self.stop.disabled = True

    def on_train_begin(self, args, state, control, **kwargs):
        show_widget(self.box, "(Here the loss curves grow while the cell runs.)")
        heard_while_busy(self.stop)

    def on_step_end(self, args, state, control, **kwargs):
        if self.stopped:
            control.should_training_stop = control.should_evaluate = control.should_save = True

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
        entry, last = state.log_history[-1], next(e for e in reversed(state.log_history) if "loss" in e)
        left = (state.max_steps - state.global_step) * entry["step_seconds"] / max(1, state.global_step)
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
