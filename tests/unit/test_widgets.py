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
    {"eval_loss": 5.0, "eval_perplexity": 148.4, "step": 0},
    {"loss": 4.0, "learning_rate": 1e-3, "step": 1, **FIRST},
    {"loss": 3.0, "learning_rate": 5e-4, "step": 2, **TIMES},
    {"eval_loss": 3.5, "eval_perplexity": 33.1, "step": 2, **TIMES},
]


def test_the_loss_plot_draws_what_was_logged():
    axes = plots.new_axes("title", "step", "loss", Figure())
    plots.draw_losses(HISTORY, axes)
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


class _Letters:
    """A tokenizer with a token for each letter, as far as `token_cards` needs one."""

    def __call__(self, text, verbose):
        return {"input_ids": list(map(ord, text))}

    def decode(self, ids, clean_up_tokenization_spaces):
        return "".join(map(chr, ids))


def test_token_cards_show_text_as_text_and_the_first_200_of_many():
    shown = explore.token_cards(_Letters(), "<b \n")
    assert shown.startswith("4 tokens<br>") and shown.count("<span") == 4
    assert ">&lt;<br>60<" in shown and ">␣<br>32<" in shown and ">⏎<br>10<" in shown
    many = explore.token_cards(_Letters(), "a" * 1000)
    assert many.startswith("1,000 tokens, of which the first 200<br>")
    assert many.count("<span") == 200


def play(live: live_plot.LivePlot, steps: int) -> tuple[list[str], list[str]]:
    """Let a run of so many steps log HISTORY and end; the pictures and lines on the way."""
    state, control = TrainerState(max_steps=steps), TrainerControl()
    state.log_history.append(HISTORY[0])
    live.on_train_begin(None, state, control)
    seen, told = [live.picture.value], []
    for entry in HISTORY[1:]:
        state.log_history.append(entry)
        state.global_step = entry["step"]
        live.next_drawing = 0.0
        live.on_log(None, state, control, logs=entry)
        seen.append(live.picture.value)
        told.append(live.figures.value)
    live.on_train_end(None, state, control)
    return seen, told


def test_the_live_plot_grows_from_the_point_before_training(monkeypatch, capsys):
    monkeypatch.setattr(live_plot, "REFRESH", -1e9)
    live = live_plot.LivePlot(lambda: "<b>a sample")
    seen, told = play(live, 10)
    assert len(set(seen)) == 4 and all("data:image/png" in picture for picture in seen)
    assert told[0] == (
        "step 1 of 10 · training loss 4.00 · validation perplexity 148.4 · "
        "learning rate 1.0e-03 · 1,000 tokens/s · 5 s so far, about 9 s to go"
        "<br>latest sample: <i>&lt;b&gt;a sample</i>"
    )
    assert told[2].startswith("step 2 of 10 · training loss 3.00 · validation perplexity 33.1 · ")
    assert live.history == HISTORY


@pytest.mark.parametrize(("steps", "end"), [(2, "Done"), (1500, "Stopped")])
def test_the_live_plot_stays_and_says_how_it_ended(monkeypatch, capsys, steps, end):
    """In a line without times, which is printed: so a notebook that is opened again has it."""
    monkeypatch.setattr(live_plot, "REFRESH", -1e9)
    live = live_plot.LivePlot(lambda: "a sample")
    seen, told = play(live, steps)
    line = (
        f"{end} after 2 of {steps:,} steps: validation perplexity 148.40 before, 33.10 at its best."
    )
    assert capsys.readouterr().out.splitlines()[-1] == line
    assert live.figures.value == told[-1], "the last figures stay; how it ended is said once, below"
    assert live.picture.value == seen[-1] and live.box.layout.display is None
    assert live.stop.disabled and live.box.children[0] is live.stop, "nothing above pushes it down"
    if steps == 1500:
        assert told[-1].split(" · ")[-1].startswith("6 s so far, about 25 min to go")


def test_the_live_plots_axis_reaches_the_last_step_from_the_beginning(monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "as_html", lambda figure, _: drawn.append(figure.axes[0]) or "")
    for history in (HISTORY[:1], HISTORY):
        plots.losses_as_html(history, 90)
    assert [axes.get_xlim() for axes in drawn] == [(0, 90), (0, 90)]
    assert drawn[0].get_lines()[0].get_xydata().tolist() == [[0, 5.0]], "before training"


def test_the_live_plot_takes_two_per_cent_of_the_time(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(live_plot.time, "monotonic", lambda: clock[0])
    drawings = []

    def draw(*_):
        clock[0] += 0.2  # seconds that a drawing takes
        drawings.append(clock[0])
        return ""

    monkeypatch.setattr(live_plot, "losses_as_html", draw)
    live, state = live_plot.LivePlot(), TrainerState(max_steps=10, log_history=HISTORY[:2])
    told = []
    live.figures.observe(lambda _: told.append(clock[0]), names="value")
    while clock[0] < 200:
        state.global_step += 1
        live.on_log(None, state, TrainerControl(), logs=HISTORY[1])
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


def test_a_note_stands_before_the_widget_for_the_time_when_it_is_gone(monkeypatch):
    shown = []
    monkeypatch.setattr(explore, "display", lambda data, raw: shown.append(data))
    slider = ipywidgets.IntSlider()
    explore.show_widget(slider, "(no <slider>?)")
    note, view = shown
    assert note["text/plain"] == "(no <slider>?)" and "(no &lt;slider&gt;?)" in note["text/html"]
    assert view["application/vnd.jupyter.widget-view+json"]["model_id"] == slider.model_id
    assert view["text/plain"] == "", "GitHub shows the note once"


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
    assert axes.images[0].norm(0.04) == pytest.approx(0.2), "small shares show, too"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("seen", "seeing")


def test_a_learning_curve_shows_the_scores(monkeypatch):
    monkeypatch.setattr(plots, "show", lambda: None)
    plots.learning_curve([23, 46], [40.2, 31.9], "entries")
    axes = plots.plt.gca()
    [curve] = axes.get_lines()
    assert (list(curve.get_xdata()), list(curve.get_ydata())) == ([23, 46], [40.2, 31.9])
    assert axes.get_ylim()[0] == 0 and axes.get_xlabel() == "entries"


def test_an_explorer_tells_of_every_error_and_draws_again(capsys):
    def draw(count):
        return f"<b>{1 / count:.2f}</b>"

    field = ipywidgets.IntText(2)
    *_, picture = explore.explore(draw, "(nothing here)", count=field).children
    field.value = 0  # in a browser, what a callback raises is seen by nobody
    assert picture.value == "<i>ZeroDivisionError: division by zero</i>"
    field.value = 4
    assert picture.value == "<b>0.25</b>"
