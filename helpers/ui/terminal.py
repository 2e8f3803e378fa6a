"""The prompt box of a terminal: `python -m helpers prompt` (lesson 06)."""

import sys
from collections.abc import Iterator
from dataclasses import fields, replace

from helpers import generation
from helpers.generation import LAST_SEED, Sampling
from helpers.runtime.errors import TutorialError

LEAVE = ":q"
DIALS = [field.name for field in fields(Sampling)]


def prompt_loop(model, tokenizer, sampling: Sampling) -> None:
    """Write on what is typed, until `:q`; an empty line writes another text for the same prompt."""
    print(f"Type a prompt. An empty line writes another text for the same prompt; {LEAVE} leaves.")
    print(f"A line such as ':temperature 0.5' sets one of {', '.join(DIALS)}; Ctrl-C ends a text.")
    prompt = ""
    for line in _typed_lines():
        name, _, value = line.removeprefix(":").partition(" ")
        if line.startswith(":") and name in DIALS:
            sampling = _turn(sampling, name, value)
            continue
        # A terminal may send bytes that are no text.
        wanted = line.encode("utf-8", "replace").decode() or prompt
        try:
            _write(model, tokenizer, wanted, sampling)
        except TutorialError as error:
            if not sys.stdin.isatty():  # nobody is there to type another one
                raise
            print(error)
            continue
        prompt = wanted
        sampling = replace(sampling, seed=(sampling.seed + 1) % (LAST_SEED + 1))


def _typed_lines() -> Iterator[str]:
    """What is typed, line by line, until `:q` or the end of the input."""
    while True:
        try:
            line = input("\nprompt> ")
        except EOFError:
            return print()
        if line.strip() == LEAVE:
            return
        yield line


def _turn(sampling: Sampling, name: str, value: str) -> Sampling:
    """`sampling` with one dial turned; or as it was, and a sentence that says why."""
    before = getattr(sampling, name)
    try:
        return replace(sampling, **{name: type(before)(value)})
    except ValueError:
        print(f"{name} must be a number such as {before:g}, not {value!r}.")
    except TutorialError as error:
        print(error)
    return sampling


def _write(model, tokenizer, prompt: str, sampling: Sampling) -> None:
    """Print a text while it is written; Ctrl-C ends it. TutorialError for an empty prompt."""
    ids, cut = generation.encode_prompt(tokenizer, prompt, generation.room(model, sampling))
    if cut:
        print(f"[The first {cut:,} tokens of the prompt do not fit and are left out.]")
    print(prompt, end="", flush=True)
    try:
        tokens = generation.stream_tokens(model, ids, sampling)
        for piece in generation.decode_stream(tokenizer, tokens):
            print(piece, end="", flush=True)
        print(f"\n[seed {sampling.seed}]")
    except KeyboardInterrupt:
        print(f"\n[stopped, seed {sampling.seed}]")
