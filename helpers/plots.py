"""The plots of the series: one look, labelled axes, colours for colour-blind readers too."""

import base64
import html
import io

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm, to_hex
from matplotlib.figure import Figure

# Okabe and Ito's palette, https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK = "#CC79A7", "#56B4E9", "#000000"
SIZE = (8.0, 3.6)  # inches
LOSS_LABELS = ("Loss while fine-tuning", "optimizer step", "loss (nats per token)")

show = plt.show  # shows the figure drawn last


def new_axes(title: str, xlabel: str, ylabel: str, figure: Figure | None = None) -> Axes:
    """Empty axes in the look of the series; draw on them, then call `show()`."""
    figure = figure or plt.figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    return axes


def bars(
    labels: list[str], values: list[float], title: str, xlabel: str, colour=BLUE, form="{:,.0f}"
) -> Axes:
    """Horizontal bars, the first on top, each with its value written beside it."""
    axes = new_axes(title, xlabel, "")
    axes.bar_label(axes.barh(labels, values, color=colour), fmt=form, padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.grid(visible=False, axis="y")
    return axes


def heat_map(matrix, labels: list[str], title: str, xlabel: str, ylabel: str, unit: str) -> Axes:
    """Shares from 0 (white) to 1 (dark), by their root; `matrix` is (len(labels), len(labels))."""
    axes = new_axes(title, xlabel, ylabel, plt.figure(figsize=(8.0, 5.0), layout="constrained"))
    axes.figure.colorbar(axes.imshow(matrix, cmap="Blues", norm=PowerNorm(0.5, 0, 1)), label=unit)
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.grid(visible=False)
    return axes


def smooth(values: list[float], weight: float) -> list[float]:
    """The moving average of `values`, corrected for its start (as in Adam, Kingma and Ba 2015)."""
    average, result = 0.0, []
    for number, value in enumerate(values, start=1):
        average = weight * average + (1 - weight) * value
        result.append(average / (1 - weight**number))
    return result


def draw_losses(history: list[dict], axes: Axes) -> None:
    """The losses in a `Trainer`'s `state.log_history`."""
    training = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    validation = [(entry["step"], entry["eval_loss"]) for entry in history if "eval_loss" in entry]
    if training:
        steps, losses = zip(*training, strict=True)
        axes.plot(steps, losses, color=SKY, alpha=0.5, linewidth=1, label="training, each step")
        # over the last few of 100 steps, and some 50 of 5,000
        weight = min(0.98, max(0.7, 1 - 30 / len(losses)))
        axes.plot(steps, smooth(list(losses), weight), color=BLUE, label="training, smoothed")
    if validation:
        look = {"color": RED, "marker": "o", "clip_on": False}  # the outer points are whole
        axes.plot(*zip(*validation, strict=True), label="validation", **look)
    if training or validation:
        axes.legend(frameon=False)


def plot_losses(history: list[dict]) -> None:
    """Show the loss curves of a run; see `draw_losses`."""
    draw_losses(history, new_axes(*LOSS_LABELS))
    show()


def learning_curve(sizes: list[int], scores: list[float], unit: str) -> None:
    """Show how `scores` on held-out text fall with the `sizes` of the training text, in `unit`."""
    axes = new_axes("How much text is enough?", unit, "perplexity on held-out text")
    axes.plot(sizes, scores, color=BLUE, marker="o")
    axes.set(ylim=(0, None), xticks=[0, *sizes])
    show()


def rate_curves(curves: dict[str, dict[float, float]]) -> None:
    """Show the perplexity that each way of training reaches, by its learning rate."""
    axes = new_axes("Perplexity by learning rate", "learning rate", "validation perplexity")
    axes.set_prop_cycle(color=[BLACK, BLUE, ORANGE, GREEN], marker=list("*os^"), ms=[14, 6, 6, 6])
    for name, found in curves.items():
        axes.loglog(list(found), list(found.values()), label=name)
    axes.xaxis.set(major_formatter="{x:g}", minor_formatter="")  # 0.001, and not 10^-3
    axes.yaxis.set(major_formatter="{x:g}", minor_formatter="{x:g}")
    axes.legend(frameon=False)
    show()


def losses_as_html(history: list[dict], steps: int) -> str:
    """The loss curves so far, of a run of so many `steps`, as an `<img>` tag."""
    figure = new_figure()
    axes = new_axes(*LOSS_LABELS, figure)
    axes.set_xlim(0, steps)
    draw_losses(history, axes)
    return as_html(figure, "loss curves")


def cut_bars(labels: list[str], values: list[float], kept: int, title: str) -> str:
    """Bars as an `<img>` tag: the first `kept` filled, the others, which a filter cuts, hatched."""
    axes = new_axes(title, "", "probability (%)", new_figure())
    axes.bar(labels[:kept], values[:kept], color=BLUE)
    axes.bar(labels[kept:], values[kept:], color="white", edgecolor=RED, hatch="//")
    axes.set(ylim=(0, 100), yticks=(0, 25, 50, 75, 100))  # fixed: flatter looks flatter
    return as_html(axes.figure, title)


def coloured(pieces: list[str], values: list[float]) -> str:
    """HTML: pieces of a text, blue where the value is above 0, orange and underlined below."""
    shades = LinearSegmentedColormap.from_list("change", [ORANGE, "white", SKY])
    spans = []
    for piece, value in zip(pieces, values, strict=True):
        level = round(float(value))  # beyond 4, the colour stays
        style = f"color: black; background: {to_hex(shades(0.5 + level / 8))}"
        line = "; text-decoration: underline" if level < 0 else ""
        text = html.escape(piece).replace("\n", "⏎<br>")
        spans.append(f'<span title="{level:+d}" style="{style}{line}">{text}</span>')
    return f'<div style="line-height: 1.7; white-space: pre-wrap">{"".join(spans)}</div>'


def new_figure() -> Figure:
    """A figure to draw again and again, with fixed margins, and not pyplot's: so in callbacks."""
    figure = Figure(figsize=SIZE)
    figure.subplots_adjust(left=0.09, right=0.98, bottom=0.16, top=0.9)
    return figure


def as_html(figure: Figure, alt: str) -> str:
    """`figure` as an `<img>` tag; `alt` says in words what it shows."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=72)
    data = "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()
    return f'<img alt="{html.escape(alt)}" style="max-width: 100%" src="{data}">'
