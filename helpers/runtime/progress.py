"""Showing progress in a terminal, for as long as there is one."""

import os
import sys
from collections.abc import Callable

from tqdm import tqdm
from tqdm.utils import ObjectWrapper

from helpers.runtime.distributed import is_main_process
from helpers.runtime.errors import in_words


def bar(items, what: str):
    """`items`, with a progress bar in a terminal where they take over two seconds."""
    hidden = not (sys.stderr and sys.stderr.isatty() and is_main_process())
    return tqdm(items, what, delay=2, leave=False, disable=hidden)


class _Lasting(ObjectWrapper):
    """A stream that can be written to even when its terminal, its reader or its disk has gone."""

    def write(self, text: str) -> int | None:
        return self._try(self._wrapped.write, text)

    def flush(self) -> None:
        self._try(self._wrapped.flush)

    def _try(self, action: Callable, *arguments):
        try:
            return action(*arguments)
        except OSError:  # what it still holds goes nowhere, too
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self.fileno())


def print_as_long_as_possible() -> None:
    """From now on, neither stdout nor stderr ends this process by failing or being closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")
        setattr(sys, name, _Lasting(stream))


def exit_code(command: Callable[[], None]) -> int:
    """That of `command`, once it has run: 0, or 2 or 130 after a sentence on what ended it."""
    try:
        command()
        print(end="", flush=True)  # what could not be written must be known here
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    except Exception as error:
        if (sentence := in_words(error)) is None:
            raise
        print_as_long_as_possible()
        print(f"error: {sentence}", file=sys.stderr, flush=True)
        return 2
    return 0
