"""The plots' data, the explorers and the live plot, without a browser."""

import html

import ipywidgets
import pytest
from matplotlib.figure import Figure
from transformers import TrainerControl, TrainerState

from helpers import plots
from helpers.runtime.errors import TutorialError
from helpers.ui import explore, live_plot

TIMES = {"elapsed": 6.0, "step_seconds": 2.0, "tokens_per_second": 1200.0}
FIRST = {"elapsed": 5.0, "step_seconds": 1.0, "tokens_per_second": 1000.0}
HISTORY = [
    {"loss": 4.0, "learning_rate": 1e-3, "step": 1, **FIRST},
    {"loss": 3.0, "learning_rate": 5e-4, "step": 2, **TIMES},
    {"eval_loss": 3.5, "eval_perplexity": 33.1, "step": 2, **TIMES},
]


def test_the_loss_plot_draws_what_was_logged():
    axes = plots.new_axes("title", "step", "loss", Figure())
    plots.draw_losses(HISTORY, axes, before=5.0)
    lines = {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in axes.get_lines()
    }
    assert lines["training, each step"] == ([1, 2], [4.0, 3.0])
    assert lines["validation"] == ([0, 2], [5.0, 3.5])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss")


def test_smoothing_keeps_a_constant_and_follows_a_change():
    assert plots.smooth([2.0, 2.0, 2.0], 0.9) == pytest.approx([2, 2, 2])
    assert plots.smooth([0.0, 1.0], weight=0.5) == pytest.approx([0, 2 / 3])


def test_bars_are_labelled_with_their_values():
    axes = plots.bars(["a", "b"], [1.0, 1234.0], "title", "count")
    assert [text.get_text() for text in axes.texts] == ["1", "1,234"]


def test_the_live_plot_grows_and_then_vanishes(monkeypatch, capsys):
    monkeypatch.setattr(live_plot, "REFRESH", -1e9)
    live, state, control = (
        live_plot.LivePlot(5.0, lambda: "<b>a sample"),
        TrainerState(max_steps=10),
        TrainerControl(),
    )
    live.on_train_begin(None, state, control)
    seen, told = [], []
    for entry in HISTORY:
        state.log_history.append(entry)
        state.global_step = entry["step"]
        live.next_drawing = 0.0
        live.on_log(None, state, control, logs=entry)
        seen.append(live.picture.value)
        told.append(live.figures.value)
    assert len(set(seen)) == 3 and "data:image/png" in seen[-1]
    assert told[0] == (
        "step 1 of 10 · training loss 4.00 · learning rate 1.0e-03 · 1,000 tokens/s · "
        "5 s so far, about 9 s to go"
        "<br><i>&lt;b&gt;a sample</i>"
    )
    assert told[2].startswith("step 2 of 10 · training loss 3.00 · validation perplexity 33.1 · ")
    live.on_train_end(None, state, control)
    assert live.picture.value == live.figures.value == ""
    assert live.history == HISTORY


def test_the_live_plot_takes_two_per_cent_of_the_time(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(live_plot.time, "monotonic", lambda: clock[0])
    drawings = []

    def draw(*_):
        clock[0] += 0.2  # seconds that a drawing takes
        drawings.append(clock[0])
        return ""

    monkeypatch.setattr(live_plot, "losses_as_html", draw)
    live, state = live_plot.LivePlot(), TrainerState(max_steps=10, log_history=HISTORY[:1])
    told = []
    live.figures.observe(lambda _: told.append(clock[0]), names="value")
    while clock[0] < 200:
        state.global_step += 1
        live.on_log(None, state, TrainerControl(), logs=HISTORY[0])
        clock[0] += 0.1
    assert len(drawings) * 0.2 <= 0.02 * 100 + 0.2
    assert len(drawings) >= 9
    waits = [after - before for before, after in zip(told, told[1:], strict=False)]
    assert 0.5 <= min(waits) and max(waits) <= 2.0, "the figures need not wait for the picture"


def test_the_stop_button_ends_the_run(monkeypatch, capsys):
    live, control = live_plot.LivePlot(), TrainerControl()
    live.on_step_end(None, TrainerState(), control)
    assert not control.should_training_stop
    live.stop.click()
    live.on_step_end(None, TrainerState(), control)
    assert control.should_training_stop
    assert live.stop.disabled


@pytest.mark.parametrize("colab", [True, False])
def test_there_is_no_stop_button_where_no_click_arrives(monkeypatch, colab):
    monkeypatch.setattr(live_plot, "on_colab", lambda: colab)
    assert live_plot.LivePlot().stop.layout.display == ("none" if colab else None)


def test_a_field_and_its_slider_move_together():
    field, slider = explore.with_slider(
        ipywidgets.BoundedFloatText(0.95, min=0.05, max=1, step=0.05)
    ).children
    slider.value = 0.9000000000000001  # as JavaScript counts
    assert field.value == 0.9
    field.value = 0.92
    slider.value = 0.9  # what the browser makes of it
    assert field.value == 0.92
    slider.value = 0.85
    assert field.value == 0.85
    field.max = field.value = 1.5
    assert (slider.value, slider.max, slider.min, slider.step) == (1.5, 1.5, 0.05, 0.05)
    _, slider = explore.with_slider(ipywidgets.BoundedIntText(7, max=9)).children
    assert isinstance(slider, ipywidgets.IntSlider) and slider.value == 7


def test_an_explorer_gives_a_number_field_its_slider(capsys):
    box = explore.explore(str, "note", object=ipywidgets.BoundedIntText(2, max=9))
    row, shown = box.children
    row.children[1].value = 5
    assert shown.value == "5"


def test_an_explorer_draws_anew_at_each_change(capsys):
    def draw(text, count):
        if not text:
            raise TutorialError("Type <something>.")
        return html.escape(text * count)

    controls = {"text": ipywidgets.Textarea("a&"), "count": ipywidgets.IntSlider(2)}
    shown = explore.explore(draw, "note", **controls).children[-1]
    assert shown.value == "a&amp;a&amp;"
    controls["count"].value = 3
    assert shown.value == "a&amp;" * 3
    controls["text"].value = "\ud83d"  # half an emoji
    assert shown.value == "???"
    controls["text"].value = ""
    assert shown.value == "<i>Type &lt;something&gt;.</i>"


def test_a_heat_map_names_its_rows_and_columns():
    axes = plots.heat_map([[1.0, 0.0], [0.5, 0.5]], ["a", "b"], "title", "seen", "seeing", "share")
    assert axes.images[0].get_array().tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert axes.images[0].get_clim() == (0, 1)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("seen", "seeing")
