"""The prompt box (lesson 06): type, generate, look inside, branch off, go back.

A thread computes, so that Stop stays alive; on Colab, which shows nothing of a thread, the click
itself does. Whatever stands in a prompt or comes from a model is text, never markup.
"""

import functools
import html
import threading
import time
from dataclasses import replace
from pathlib import Path

from ipywidgets import HTML, Checkbox, Dropdown, HBox, Layout, Textarea, VBox

from helpers import wrapped
from helpers.generation import Sampling, encode_prompt, room
from helpers.profiles import home, on_colab
from helpers.runtime.compat import heard_while_busy
from helpers.runtime.errors import TutorialError
from helpers.ui.completion import Completion, Token, describe, grow, instead, page, save
from helpers.ui.controls import LABEL, ROW, WIDTH, Dials, Inspector, in_words
from helpers.ui.explore import button, show_widget, typed
from helpers.ui.worker import Worker

REDRAW = 0.05  # seconds between two drawings of a growing text


class PromptBox:
    """A prompt, the dials, and what the model wrote, each token shaded by its probability.

    `model` may be a dict of several, by name, to choose from. `history` holds a list of texts for
    each run: one, or two where a `base` model, with the same tokenizer, writes beside yours, under
    `names`. Where there are no widgets, use `write`, `save`.
    """

    def __init__(
        self, model, tokenizer, sampling: Sampling | None = None, prompt: str = "", base=None,
        names: tuple[str, str] = ("your model", "base model"),
    ):  # fmt: skip
        yours = model if isinstance(model, dict) else {names[0]: model}
        self.choice = Dropdown(options=list(yours), description="Model", style=LABEL)
        self.models = yours | ({names[1]: base} if base is not None else {})
        self.tokenizer = tokenizer
        self.history: list[list[Completion]] = []
        self.run: list[Completion] = []  # the one on display
        self.worker = Worker(threaded=not on_colab())
        self.lock = self.worker.lock  # held while what is shown changes
        self.writing = False
        self._build(sampling or Sampling(), prompt)

    def _build(self, sampling: Sampling, prompt: str) -> None:
        wide = Layout(width="auto", max_width=WIDTH)
        self.prompt = Textarea(
            prompt, description="Prompt", placeholder="Type a few words", layout=wide, style=LABEL
        )
        self.generate = button("Generate", "Continue the prompt", self._start)
        self.generate.button_style = "primary"
        self.again = button("Regenerate", "Another text for the same prompt", self._regenerate)
        self.stop = button("Stop", "End the text here", self.worker.stop)
        self.stop.layout.display = None if self.worker.threaded else "none"
        self.clear = button("Clear", "Empty prompt and text; the history stays", self._clear)
        self.beside = Checkbox(description=f"the {[*self.models][-1]} beside yours", indent=False)
        count = len(self.choice.options)
        self.beside.layout.display = None if len(self.models) > count else "none"
        self.choice.layout.display = None if count > 1 else "none"
        self.dials = Dials(sampling)
        self.status, self.output = HTML(layout=wide), HTML(layout=wide)
        self.name = functools.cache(lambda token: repr(self.tokenizer.decode([token])))
        self.inspector = Inspector(self.name, self._draw, self._branch)
        self.back = button("Back", "The text before this one", self._step, -1)
        self.forward = button("Forward", "The text after this one", self._step, 1)
        self.restore = button("Restore", "Take this text's prompt and settings", self._restore)
        self.saving = button("Save", "All texts, as Markdown and as JSON Lines", self._save)
        first = [self.generate, self.again, self.stop, self.clear, self.beside, self.choice]
        last = [self.back, self.forward, self.restore, self.saving, self.dials.fold]
        self.box = VBox(
            [self.prompt, HBox(first, layout=ROW), self.status, self.output]
            + [self.inspector.box, HBox(last, layout=ROW), self.dials.box]
        )
        self._draw()

    def show(self) -> None:
        """Display the box under the cell."""
        show_widget(self.box, "(No prompt box here? Run > Run All Cells.)")
        self._grey()

    def write(self, prompt: str, beside: bool = False, **settings) -> str:
        """What your model makes of `prompt`; with `beside`, prints what the base model does.

        `settings` are fields of `Sampling`, and stay. Raises TutorialError for a blank prompt or an
        impossible setting.
        """
        self.dials.set(replace(self.dials.sampling(), **settings))
        if "seed" in settings:  # one that is asked for is used
            self.dials.last_seed = None
        models = self._names(beside)
        run = self.worker.run(lambda over: self._write(over, prompt, models))
        if not run:
            return ""
        cut = f"; the first {run[0].cut:,} tokens of the prompt did not fit" if run[0].cut else ""
        print(f"[seed {run[0].sampling.seed}{cut}]")
        for text in run[1:]:
            print(wrapped(f"[{text.model}]\n{prompt}{text}\n"))
        return str(run[0])

    def save(self) -> Path:
        """Write the history to two new files in `home()`; see `completion.save`."""
        return save([text for run in self.history for text in run], home())

    def _names(self, beside: bool) -> list[str]:
        """The models that write: the one chosen and, with `beside`, the base model."""
        return [self.choice.value, *([*self.models][len(self.choice.options) :] if beside else [])]

    def _regenerate(self) -> None:
        if self.run and self.dials.last_seed is None:  # after Restore
            self.dials.last_seed = self.run[0].sampling.seed
        self._start(self.run[0].prompt if self.run else "")

    def _branch(self, rank: int) -> None:
        text, place = self.inspector.find(self.run)
        if text:
            kept = instead(self.tokenizer, text.tokens, place, rank)
            self._start(text.prompt, [text.model], kept)

    def _start(
        self, prompt: str = "", models: list[str] | None = None, kept: list[Token] = ()
    ) -> None:
        """Write, and tell of every error: in a thread, nobody else would."""
        prompt = prompt or typed(self.prompt)
        models = models or self._names(self.beside.value)

        def task(over):
            try:
                self._write(over, prompt, models, kept)
                return
            except TutorialError as error:
                note = str(error)
            except KeyboardInterrupt:
                note = "Stopped."
            except Exception as error:  # such as too little memory
                reason = f"{type(error).__name__}: {error}"
                note = f"The text broke off ({reason}). Your history is safe; try again."
            over.set()  # so that the next click is heard at once: it is no double click
            self._say(note)

        try:
            self.worker.start(task)
        except RuntimeError as error:
            self._say(f"The text could not be begun ({error}). Close other programs; try again.")

    def _write(
        self, over: threading.Event, prompt: str, models: list[str], kept: list[Token] = ()
    ) -> list[Completion]:
        """Write a run until `over` is set; what there is stays. An empty list: it never began."""
        run, drawn = [], 0.0
        try:
            with self.lock:
                self.writing = True
                self.inspector.draw([])
                self._grey()
            longest = room(self.models[models[0]], self.dials.sampling())
            ids, cut = encode_prompt(self.tokenizer, prompt, longest)
            with self.lock:
                if over.is_set():  # while another text ended, or a long prompt was encoded
                    return []
                how = self.dials.another()
                run = [Completion(prompt, name, how, [*kept], len(kept), cut) for name in models]
                self.history.append(run)
                self.run = run
                self._say(f"Writing with seed {how.seed} …")
                self._grey()
            for _ in grow(run, self.models, self.tokenizer, ids):
                if over.is_set():
                    break
                if time.monotonic() - drawn > REDRAW:
                    with self.lock:
                        if self.run is run:
                            self.output.value = page(run)
                    drawn = time.monotonic()
        finally:
            with self.lock:
                self.writing = False
                if self.run is run:
                    self._show(run)
                else:  # somebody looks at another one by now, or there is none
                    self._draw()
        return run

    def _clear(self) -> None:
        self.prompt.value = ""
        with self.lock:  # both at once, or a text might begin in between, and be shown
            self.worker.stop()
            self._show([])

    def _step(self, by: int) -> None:
        place = self._place() + by
        if 0 <= place < len(self.history):
            self._show(self.history[place])

    def _place(self) -> int:
        """Where in the history the run on display stands; after its end where there is none."""
        runs = enumerate(self.history)
        return next((place for place, run in runs if run is self.run), len(self.history))

    def _restore(self) -> None:
        if self.run:
            self.prompt.value = self.run[0].prompt
            self.dials.set(self.run[0].sampling)
            self.beside.value = len(self.run) > 1
            if self.run[0].model in self.choice.options:
                self.choice.value = self.run[0].model
            self.dials.last_seed = None  # so that Generate uses this seed, not the next one

    def _save(self) -> None:
        try:
            file, count = self.save(), sum(map(len, self.history))
            self._say(f"Saved: {count} texts in {file} and the .jsonl file beside it.")
        except OSError as error:
            reason = f"could not be written to {home()} ({error.strerror})"
            self._say(f"The texts {reason}; free some space and save again.")

    def _show(self, run: list[Completion]) -> None:
        """Display a run that is not growing, or nothing, and say what it is."""
        with self.lock:
            self.run = run
            self._draw()  # before the status: who reads that finds all of the text there
            number = f"Text {self._place() + 1} of {len(self.history)}"
            self._say(f"{number}: {describe(run, in_words(run[0].sampling))}" if run else "")

    def _say(self, note: str) -> None:
        self.status.value = f'<div role="status"><i>{html.escape(note)}</i></div>'

    def _draw(self) -> None:
        """The run on display; while none grows, its chosen token in a frame."""
        with self.lock:
            chosen = self.inspector.draw([] if self.writing else self.run)
            self.output.value = page(self.run, self.name, chosen)
            self._grey()

    def _grey(self) -> None:
        """Switch off what can do nothing now; Stop is heard whatever else runs."""
        self.stop.disabled = not self.writing
        self.back.disabled = self._place() == 0
        self.forward.disabled = self._place() >= len(self.history) - 1
        self.again.disabled = self.restore.disabled = not self.run
        self.saving.disabled = not self.history
        heard_while_busy(self.stop)
