"""What moves in the lessons (02, 03, 06): controls, and a picture that follows them.

Only what ipywidgets 7.7 and 8 share, and drawn on the main thread: so in JupyterLab, VS Code and
Colab.
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
    """The value of a control; half an emoji, which a browser may send, becomes "?"."""
    value = control.value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # no tokenizer takes half an emoji
    return value


def with_slider(field: ipywidgets.BoundedIntText | ipywidgets.BoundedFloatText) -> ipywidgets.HBox:
    """`field` and, beside it, a slider that moves with it.

    A screen reader says the field's description; the handle of a slider can be given no name.
    """
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

    `draw` takes the values under the names of the controls. It gets whatever a learner types, so it
    must pass all text through `html.escape`. A number field gets a slider. Where no widget can be
    shown, `note` stands in its place.
    """
    picture = ipywidgets.HTML()

    def redraw(_=None):
        try:
            picture.value = draw(**{name: typed(control) for name, control in controls.items()})
        except TutorialError as error:
            picture.value = f"<i>{html.escape(str(error))}</i>"

    rows = []
    for control in controls.values():
        control.observe(redraw, names="value")
        number = isinstance(control, (ipywidgets.BoundedIntText, ipywidgets.BoundedFloatText))
        rows.append(with_slider(control) if number else control)
    redraw()
    box = ipywidgets.VBox([*rows, picture])
    show_widget(box, note)
    return box
