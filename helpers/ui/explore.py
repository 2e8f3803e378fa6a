"""What moves in the lessons: explorers (02, 03, 06) and the live loss plot (05); `prompt_box` has a module of its own.

Only what ipywidgets 7.7 and 8 share, and drawn on the main thread: so in JupyterLab, VS Code and Colab.
"""

import html
from collections.abc import Callable

import ipywidgets
from IPython.display import display

from helpers.runtime.errors import TutorialError


def show_widget(widget: ipywidgets.Widget, note: str) -> None:
    """Display `widget`; where none can be shown, as on GitHub, `note` stands in its place."""
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    display({"application/vnd.jupyter.widget-view+json": view, "text/plain": note}, raw=True)


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
            field.value = round(
                change.new, 6
            )  # in JavaScript, 19 steps of 0.05 are 0.9500000000000001

    slider.observe(follow, names="value")
    return ipywidgets.HBox([field, slider])


def explore(
    draw: Callable[..., str], note: str, **controls: ipywidgets.ValueWidget
) -> ipywidgets.VBox:
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
    rows = [
        with_slider(control) if isinstance(control, numbers) else control
        for control in controls.values()
    ]
    box = ipywidgets.VBox([*rows, picture])
    show_widget(box, note)
    return box
