"""The controls of the prompt box (lesson 06): the dials, and the inspector of a token."""

import html
from collections.abc import Callable

from ipywidgets import HTML, BoundedFloatText, BoundedIntText, Checkbox, HBox, Layout, VBox

from helpers.generation import LAST_SEED, Sampling
from helpers.ui.completion import ALTERNATIVES, Completion, Token
from helpers.ui.explore import button, with_slider

WIDTH = "860px"
ROW = Layout(flex_flow="row wrap", max_width=WIDTH)
LABEL = {"description_width": "90px"}
# ipywidgets' own 0.6 leaves greyed words a contrast of 4 to 1; 4.5 is what one reads with ease.
GREYED = "<style>:root {--jp-widgets-disabled-opacity: 0.75 !important}</style>"
DIALS = (  # a field of Sampling, the widget that sets it, its label, its range, and what it does
    ("max_new_tokens", BoundedIntText, "length", dict(min=1, max=300),
     "how many tokens to write at most"),
    ("temperature", BoundedFloatText, "temperature", dict(min=0, max=2, step=0.05),
     "0 takes the likeliest token; the higher, the bolder"),
    ("top_k", BoundedIntText, "top-k", dict(min=0, max=200),
     "draws from the k likeliest tokens; 0: from all"),
    ("top_p", BoundedFloatText, "top-p", dict(min=0.05, max=1, step=0.05),
     "draws from the likeliest that together reach p; 1: from all"),
    ("repetition_penalty", BoundedFloatText, "repetition", dict(min=1, max=2, step=0.05),
     "above 1, tokens that were there before become less likely"),
)  # fmt: skip


def in_words(sampling: Sampling) -> str:
    """The settings in the words and the order of the dials."""
    said = [f"{label} {getattr(sampling, name):.16g}" for name, _, label, *_ in DIALS]
    return ", ".join([*said, f"seed {sampling.seed}"])


class Dials:
    """A field for each setting of `Sampling`; all but the seed have a slider. Folded at first."""

    def __init__(self, sampling: Sampling):
        self.fields, rows = {}, []
        for name, field, label, limits, meaning in DIALS:
            self.fields[name] = field(description=label, **limits)
            rows.append(HBox([with_slider(self.fields[name]), HTML(meaning)], layout=ROW))
        self.seed = BoundedIntText(min=0, max=LAST_SEED, description="seed", style=LABEL)
        self.keep = Checkbox(description="keep it: same settings, same text", indent=False)
        self.fields["seed"] = self.seed
        rows.append(HBox([self.seed, self.keep], layout=ROW))
        rows.append(HTML(GREYED, layout=Layout(display="none")))
        self.box = VBox(rows, layout=Layout(display="none"))
        # (The keyboard does not reach an Accordion.)
        self.fold = button("Dials", "Show or hide the dials", self._fold)
        self.last_seed = None  # None: no text was written yet with what is set
        self.set(sampling)

    def _fold(self) -> None:
        self.box.layout.display = None if self.box.layout.display else "none"

    def sampling(self) -> Sampling:
        """What is set."""
        return Sampling(**{name: field.value for name, field in self.fields.items()})

    def set(self, sampling: Sampling) -> None:
        """Set everything; a range that is too narrow becomes wider."""
        for name, field in self.fields.items():
            value = getattr(sampling, name)
            field.min, field.max = min(field.min, value), max(field.max, value)
            field.value = value

    def another(self) -> Sampling:
        """The settings of another text: with the next seed, unless it is kept or was typed."""
        if not self.keep.value and self.seed.value == self.last_seed:
            self.seed.value = (self.seed.value + 1) % (LAST_SEED + 1)
        self.last_seed = self.seed.value
        return self.sampling()


class Inspector:
    """A field for the number of a token, what that is, and buttons with what might stand there.

    `name` is that of a token id; a new number calls `changed()`, an alternative `choose(rank)`.
    """

    def __init__(self, name: Callable[[int], str], changed: Callable, choose: Callable):
        self.name, self.word = name, HTML()
        self.number = BoundedIntText(1, min=1, max=1, description="Token", style=LABEL)
        self.number.layout.width = "160px"
        self.number.observe(lambda _: changed(), names="value")
        tooltip = "Take this token instead, and go on from there"
        self.others = [button("", tooltip, choose, rank) for rank in range(ALTERNATIVES)]
        rows = [self.number, self.word], self.others
        self.box = VBox([HBox(row, layout=ROW) for row in rows])

    def find(self, run: list[Completion]) -> tuple[Completion | None, int]:
        """The text with the token of that number, and its place there; a run's texts count on."""
        places = [(text, place) for text in run for place in range(len(text.tokens))]
        return places[self.number.value - 1] if self.number.value <= len(places) else (None, 0)

    def draw(self, run: list[Completion]) -> Token | None:
        """Show the token of that number, and return it; nothing where `run` has none."""
        count = sum(len(text.tokens) for text in run)
        self.box.layout.display = None if count else "none"
        if not count:
            return None
        self.number.max = count
        text, place = self.find(run)
        token = text.tokens[place]
        what = f"{self.name(token.id)}, {token.probability:.1%}"
        self.word.value = html.escape(f"of {count}: {what}. Instead:")
        for other, (alternative, probability) in zip(self.others, token.alternatives, strict=True):
            other.description = f"{self.name(alternative)} {probability:.1%}"
        return token
