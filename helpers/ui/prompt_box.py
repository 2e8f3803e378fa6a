"""The prompt box (lesson 06): type, generate, look inside, branch off, go back.

A thread computes, so that Stop stays alive. Colab shows nothing of what a thread does: there the click itself
computes, and the notebook's ■ stops it. Whatever stands in a prompt or comes from a model is text, never markup.
"""

import functools
import html
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

from ipywidgets import (
    HTML,
    BoundedFloatText,
    BoundedIntText,
    Button,
    Checkbox,
    HBox,
    Layout,
    Textarea,
    VBox,
)

from helpers.generation import LAST_SEED, Sampling, encode_prompt, room
from helpers.profiles import home, on_colab
from helpers.runtime.compat import heard_while_busy
from helpers.runtime.errors import TutorialError
from helpers.ui.completion import (
    ALTERNATIVES,
    Completion,
    Token,
    instead,
    page,
    save,
    stream_with_alternatives,
)
from helpers.ui.explore import show_widget, typed, with_slider

PAUSE = 0.3  # seconds after a text in which a click is taken for the second one of a double click
PATIENCE = 10  # seconds that a click waits for a text that is being stopped
REDRAW = 0.05  # seconds between two drawings of a growing text
WIDE, ROW = Layout(width="100%", max_width="860px"), Layout(flex_flow="row wrap", max_width="860px")
DIALS = (  # a field of Sampling, the widget that sets it, its label, its range, and what it does
    ("max_new_tokens", BoundedIntText, "length", dict(min=1, max=300), "how many tokens to write at most"),
    ("temperature", BoundedFloatText, "temperature", dict(min=0, max=2, step=0.05),
     "0 takes the likeliest token; the higher, the bolder"),
    ("top_k", BoundedIntText, "top-k", dict(min=0, max=200), "draws from the k likeliest tokens; 0: from all"),
    ("top_p", BoundedFloatText, "top-p", dict(min=0.05, max=1, step=0.05),
     "draws from the likeliest that together reach p; 1: from all"),
    ("repetition_penalty", BoundedFloatText, "repetition", dict(min=1, max=2, step=0.05),
     "above 1, tokens that were there before become less likely"),
)  # fmt: skip


class PromptBox:
    """A prompt, the dials, and what the model wrote, each token shaded by its probability.

    `show()` displays the box. Where no widget can be shown, `write(prompt)` and `save()` do without. `history` holds a
    list of texts for each run: one, or two where the `base` model, with the same tokenizer, writes beside yours.
    """

    boxes = weakref.WeakSet()  # all there are, since only one writes at a time
    turn = threading.Lock()

    def __init__(
        self, model, tokenizer, sampling: Sampling | None = None, prompt: str = "", base=None
    ):
        self.models = {"your model": model} | ({"base model": base} if base is not None else {})
        self.tokenizer = tokenizer
        self._name = functools.cache(lambda token: repr(tokenizer.decode([token])))
        self.history: list[list[Completion]] = []
        self.run: list[Completion] = []  # the one on display
        self.last_seed, self.ended = None, -PAUSE
        self.busy, self.stopping = threading.Lock(), threading.Event()
        self.display = (
            threading.RLock()
        )  # a click may change what is on display while the thread draws
        self.threaded = not on_colab()
        self._build(sampling or Sampling(), prompt)
        self.boxes.add(self)

    def _build(self, sampling: Sampling, prompt: str) -> None:
        def button(description: str, tooltip: str, click, *arguments) -> Button:
            made = Button(description=description, tooltip=tooltip, layout=Layout(width="auto"))
            made.on_click(lambda _: click(*arguments))
            return made

        label = {"description_width": "90px"}
        self.prompt = Textarea(
            prompt, description="Prompt", placeholder="Type a few words", layout=WIDE, style=label
        )
        self.generate = button("Generate", "Continue the prompt", self._generate)
        self.generate.button_style = "primary"
        self.again = button(
            "Regenerate", "Another text for the prompt of the text below", self._regenerate
        )
        self.stop = button("Stop", "End the text here", self.stopping.set)
        self.stop.layout.display = None if self.threaded else "none"
        self.clear = button("Clear", "Empty prompt and text; the history stays", self._clear)
        self.beside = Checkbox(description="the base model beside yours", indent=False)
        self.beside.layout.display = None if len(self.models) > 1 else "none"
        self.dials = {
            name: field(description=label, **limits) for name, field, label, limits, _ in DIALS
        }
        rows = [
            HBox([with_slider(self.dials[name]), HTML(meaning)], layout=ROW)
            for name, *_, meaning in DIALS
        ]
        self.dials["seed"] = self.seed = BoundedIntText(
            min=0, max=LAST_SEED, description="seed", style=label
        )
        self._set(sampling)
        self.keep = Checkbox(description="keep it: same settings, same text", indent=False)
        self.status, self.output = HTML(layout=WIDE), HTML(layout=WIDE)
        self.token = BoundedIntText(1, min=1, max=1, description="Token", style=label)
        self.token.observe(lambda _: self._draw(), names="value")
        self.word = HTML()
        tooltip = "Take this token instead, and go on from there"
        self.others = [button("", tooltip, self._branch, place) for place in range(ALTERNATIVES)]
        self.back = button("Back", "The text before this one", self._step, -1)
        self.forward = button("Forward", "The text after this one", self._step, 1)
        self.restore = button(
            "Restore", "Put this text's prompt and settings back in place", self._restore
        )
        self.saving = button(
            "Save", "All texts of this box, as Markdown and as JSON Lines", self._save
        )
        self.inside = VBox(
            [HBox([self.token, self.word], layout=ROW), HBox(self.others, layout=ROW)]
        )
        self.past = HBox([self.back, self.forward, self.restore, self.saving], layout=ROW)
        first = HBox([self.generate, self.again, self.stop, self.clear, self.beside], layout=ROW)
        last = HBox([self.seed, self.keep], layout=ROW)
        self.box = VBox(
            [self.prompt, first, *rows, last, self.status, self.output, self.inside, self.past]
        )
        self._draw()

    def show(self) -> None:
        """Display the box under the cell."""
        show_widget(self.box, "(Here stands the prompt box while the notebook runs.)")
        heard_while_busy(self.stop)

    def write(self, prompt: str, beside: bool = False, **settings) -> str:
        """What your model makes of `prompt`, once it is all written; `settings` are fields of `Sampling`, and stay.

        Prints the seed, what of the prompt did not fit and, with `beside`, what the base model makes of it.
        Raises TutorialError for a blank prompt or an impossible setting.
        """
        self._set(replace(self._sampling(), **settings))
        self.stopping.set()
        with self.busy:
            self._stop_others()
            self.last_seed = (
                None if "seed" in settings else self.last_seed
            )  # a seed that is asked for is used
            run = self._write(prompt, list(self.models)[: 1 + beside])
        if not run:
            return ""
        cut = f"; the first {run[0].cut:,} tokens of the prompt did not fit" if run[0].cut else ""
        print(f"[seed {run[0].sampling.seed}{cut}]")
        for text in run[1:]:
            print(f"[{text.model}]\n{prompt}{text}\n")
        return str(run[0])

    def _generate(self) -> None:
        self._start(typed(self.prompt), list(self.models)[: 1 + self.beside.value])

    def _regenerate(self) -> None:
        prompt = self.run[0].prompt if self.run else typed(self.prompt)
        if self.run and self.last_seed is None:  # after Restore
            self.last_seed = self.run[0].sampling.seed
        self._start(prompt, list(self.models)[: 1 + self.beside.value])

    def _branch(self, place: int) -> None:
        text, number = self._chosen()
        if text:
            kept = instead(self.tokenizer, text.tokens, number, place)
            self._start(text.prompt, [text.model], kept)

    def _start(self, prompt: str, models: list[str], kept: list[Token] = ()) -> None:
        """Write in a thread, unless a text is being written or came to its end this moment.

        One that was stopped is in nobody's way: the click waits for the few steps that it still takes.
        """
        if not self.busy.acquire(timeout=PATIENCE if self.stopping.is_set() else 0):
            return
        if time.monotonic() - self.ended < PAUSE and not self.stopping.is_set():
            return self.busy.release()
        self._stop_others()

        def work():
            try:
                self._write(prompt, models, kept)
            except TutorialError as error:
                self._say(str(error))
            except KeyboardInterrupt:
                self._say("Stopped.")
            except (
                Exception
            ) as error:  # such as too little memory: in a thread, nobody else would tell
                self._say(
                    f"The text broke off ({type(error).__name__}: {error}). Your history is safe; try again."
                )
            finally:
                self.busy.release()

        if not self.threaded:
            return work()
        try:
            threading.Thread(target=work, daemon=True).start()
        except RuntimeError as error:  # the system gives no thread, so `work` cannot release it
            self.busy.release()
            self._say(
                f"The text could not be begun ({error}). Close other programs or notebooks, and try again."
            )

    def _stop_others(self) -> None:
        self.stopping.clear()
        for box in set(self.boxes) - {self}:
            box.stopping.set()

    def _write(self, prompt: str, models: list[str], kept: list[Token] = ()) -> list[Completion]:
        """Write a run: the models take turns, a token each. What there is stays when it is stopped.

        Returns an empty list where it is stopped before it begins.
        """
        ids, cut = encode_prompt(
            self.tokenizer, prompt, room(self.models[models[0]], self._sampling())
        )
        with self.turn:
            with self.display:
                if (
                    self.stopping.is_set()
                ):  # while a long prompt was encoded, or another box came to its end
                    return []
                if not self.keep.value and self.seed.value == self.last_seed:
                    self.seed.value = (self.seed.value + 1) % (LAST_SEED + 1)
                self.last_seed, sampling = self.seed.value, self._sampling()
                run = [Completion(prompt, name, sampling, list(kept), len(kept), cut) for name in models]
                self.history.append(run)
                self.run, drawn = run, 0.0
                self._say(f"Writing with seed {sampling.seed} …")
            streams = [
                stream_with_alternatives(self.models[text.model], self.tokenizer, ids, sampling, text.tokens)
                for text in run
            ]
            writing = list(zip(run, streams, strict=True))
            try:
                while writing and not self.stopping.is_set():
                    for text, stream in list(writing):
                        token = next(stream, None)
                        if token:
                            text.tokens.append(token)
                        else:
                            writing.remove((text, stream))
                    if time.monotonic() - drawn > REDRAW:
                        with self.display:
                            if self.run is run:
                                self.output.value = page(run)
                        drawn = time.monotonic()
            finally:
                self.ended = time.monotonic()
                with self.display:
                    self._show(self.run)  # this run, or what somebody looks at by now
        return run

    def _sampling(self) -> Sampling:
        return Sampling(**{name: dial.value for name, dial in self.dials.items()})

    def _set(self, sampling: Sampling) -> None:
        for name, dial in self.dials.items():
            value = getattr(sampling, name)
            dial.min, dial.max = min(dial.min, value), max(dial.max, value)
            dial.value = value

    def _clear(self) -> None:
        self.prompt.value = ""
        with self.display:  # both at once, or a text might begin in between, and be shown
            self._show([])
            self.stopping.set()

    def _step(self, by: int) -> None:
        place = self._place() + by
        if 0 <= place < len(self.history):
            self._show(self.history[place])

    def _place(self) -> int:
        """Where in the history the run on display stands; after its end where there is none."""
        return next(
            (place for place, run in enumerate(self.history) if run is self.run), len(self.history)
        )

    def _restore(self) -> None:
        if self.run:
            self.prompt.value = self.run[0].prompt
            self._set(self.run[0].sampling)
            self.beside.value = len(self.run) > 1
            self.last_seed = None  # so that Generate writes with this seed, not with the next one

    def save(self) -> Path:
        """Write the history to two new files in `home()`, and return the path of the Markdown one.

        Raises OSError where the disk is full or nothing may be written.
        """
        return save([text for run in self.history for text in run], home())

    def _save(self) -> None:
        try:
            file = self.save()
            self._say(
                f"Saved: {sum(map(len, self.history))} texts in {file} and the .jsonl file beside it."
            )
        except OSError as error:
            self._say(
                f"The texts could not be written to {home()} ({error.strerror}); free some space and save again."
            )

    def _chosen(self) -> tuple[Completion | None, int]:
        """The text, and the place in it, of the token with the number in the field; a run's texts count on."""
        number = self.token.value - 1
        for text in self.run:
            if number < len(text.tokens):
                return text, number
            number -= len(text.tokens)
        return None, 0

    def _show(self, run: list[Completion]) -> None:
        """Display a finished run (or nothing), and say what it is."""
        with self.display:
            self.run, note = run, ""
            if run:
                lengths = " and ".join(f"{len(text.tokens)} tokens" for text in run)
                note = (
                    f"Text {self._place() + 1} of {len(self.history)}: {lengths}; {run[0].sampling}"
                )
                note += f"; continued from token {run[0].kept}" if run[0].kept else ""
                note += (
                    f". The first {run[0].cut:,} tokens of the prompt did not fit."
                    if run[0].cut
                    else ""
                )
            self._say(note)
            self.token.max = max(1, sum(len(text.tokens) for text in run))
            self._draw()

    def _say(self, note: str) -> None:
        self.status.value = f'<div role="status"><i>{html.escape(note)}</i></div>'

    def _draw(self) -> None:
        """The run on display, the chosen token in a frame, and its alternatives."""
        with self.display:
            text, number = self._chosen()
            self.inside.layout.display = None if text else "none"
            self.output.value = page(self.run, self._name, text and text.tokens[number])
            if text:
                token = text.tokens[number]
                what = f"of {self.token.max}: {self._name(token.id)}, {token.probability:.1%}. Instead:"
                self.word.value = html.escape(what)
                for button, (other, probability) in zip(
                    self.others, token.alternatives, strict=True
                ):
                    button.description = f"{self._name(other)} {probability:.1%}"
