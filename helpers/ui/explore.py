"""What moves in the lessons (02, 03, 06): controls, and a picture that follows them.

Only what ipywidgets 7.7 and 8 share, drawn on the main thread: for JupyterLab, VS Code, Colab.
"""

import html
from collections.abc import Callable

import ipywidgets
from IPython.display import display

from helpers.profiles import on_colab
from helpers.runtime.errors import TutorialError

# JupyterLab hides the note where a live widget follows it, and not where its kernel has gone.
ALIVE = ".jp-OutputArea-child:has(.note):has(+ .jp-OutputArea-child .jupyter-widgets > *)"
CARD = "display: inline-block; margin: 2px; line-height: 1.4; color: black; background: "
CARD_SHADES = "#B5DDF5", "#FFDF9E", "#E3E3E3"  # light blue, light orange, grey


def show_widget(widget: ipywidgets.Widget, note: str) -> None:
    """Display `widget`; where none is alive, as on GitHub or the next morning, `note` is read."""
    told = f'<style>{ALIVE} {{display: none}}</style><i class="note">{html.escape(note)}</i>'
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    if not on_colab():  # which would show both
        display({"text/html": told, "text/plain": note}, raw=True)
    display({"application/vnd.jupyter.widget-view+json": view, "text/plain": ""}, raw=True)


def typed(control: ipywidgets.ValueWidget):
    """The value of a control; half an emoji, which a browser may send, becomes "?"."""
    value = control.value
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def button(description: str, tooltip: str, click: Callable, *arguments) -> ipywidgets.Button:
    """A button that calls `click(*arguments)`."""
    made = ipywidgets.Button(description=description, tooltip=tooltip)
    made.layout.width = "auto"
    made.on_click(lambda _: click(*arguments))
    return made


def with_slider(field: ipywidgets.BoundedIntText | ipywidgets.BoundedFloatText) -> ipywidgets.HBox:
    """`field`, which a screen reader can name, and beside it a slider that moves with it."""
    whole = isinstance(field, ipywidgets.BoundedIntText)
    field.layout.width, field.style.description_width = "160px", "90px"
    limits = dict(value=field.value, min=field.min, max=field.max, step=field.step, readout=False)
    layout = ipywidgets.Layout(width="190px")
    slider = (ipywidgets.IntSlider if whole else ipywidgets.FloatSlider)(layout=layout, **limits)
    for trait in ("min", "max", "value"):
        ipywidgets.dlink((field, trait), (slider, trait))

    def follow(change):
        # A browser puts a slider on its nearest step, and says so. A learner moves it further.
        if abs(change.new - field.value) > 0.51 * field.step:
            field.value = round(change.new, 6)  # JavaScript's 19 * 0.05 is 0.9500000000000001

    slider.observe(follow, names="value")
    return ipywidgets.HBox([field, slider])


def explore(
    draw: Callable[..., str], note: str, **controls: ipywidgets.ValueWidget
) -> ipywidgets.VBox:
    """Show `controls`, and under them the HTML that `draw` makes of their values at each change.

    `draw` takes the values under the controls' names, and must pass text through `html.escape`. A
    number field gets a slider. Where no widget can be shown, `note` stands in its place.
    """
    picture = ipywidgets.HTML()

    def redraw(_=None):
        try:
            picture.value = draw(**{name: typed(control) for name, control in controls.items()})
        except Exception as error:  # in a callback, nobody else would tell
            kind = "" if isinstance(error, TutorialError) else f"{type(error).__name__}: "
            picture.value = f"<i>{html.escape(f'{kind}{error}')}</i>"

    rows = []
    for control in controls.values():
        control.observe(redraw, names="value")
        if isinstance(control, ipywidgets.Textarea):
            control.rows = 5
        number = isinstance(control, (ipywidgets.BoundedIntText, ipywidgets.BoundedFloatText))
        rows.append(with_slider(control) if number else control)
    redraw()
    box = ipywidgets.VBox([*rows, picture])
    show_widget(box, note)
    return box


def token_cards(tokenizer, text: str) -> str:
    """HTML: the tokens of `text`, each over its id; of a long text the first 200."""
    ids = tokenizer(text, verbose=False)["input_ids"]
    cards = f"{len(ids):,} tokens" + ", of which the first 200" * (len(ids) > 200) + "<br>"
    for number, id in enumerate(ids[:200]):
        piece = tokenizer.decode([id], clean_up_tokenization_spaces=False)
        piece = html.escape(piece.replace(" ", "␣").replace("\n", "⏎"))
        cards += f'<span style="{CARD}{CARD_SHADES[number % 3]}">{piece}<br>{id}</span>'
    return cards
