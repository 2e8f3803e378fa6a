"""Writing in a terminal: `python -m helpers prompt`, asking for prompts or once (lesson 06)."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from helpers import generation
from helpers.generation import LAST_SEED, LIMITS, Sampling
from helpers.runtime.errors import TutorialError
from helpers.ui.completion import Completion, grow

LEAVE = (":q", ":quit")
HELP = f"""\
Type a prompt. An empty line writes another text for the same prompt; {LEAVE[0]} leaves.
A line such as ':temperature 0.5' sets one of {", ".join(LIMITS)}, and ':temperature' shows it.
:help says this again; Ctrl-C ends a text."""


def prompt_loop(model, tokenizer, sampling: Sampling) -> None:
    """Write on what is typed, until `:q`; an empty line writes another text for the same prompt."""
    print(HELP)
    prompt = ""
    for line in _typed_lines():
        if line.startswith(":"):
            sampling = _obey(line, sampling)
            continue
        wanted = line or prompt
        try:
            _write(model, tokenizer, wanted, sampling)
        except TutorialError as error:
            if not sys.stdin.isatty():  # nobody is there to type another one
                raise
            print(error)
            continue
        prompt = wanted
        sampling = replace(sampling, seed=(sampling.seed + 1) % (LAST_SEED + 1))


def write_texts(
    model, tokenizer, prompt: str, sampling: Sampling, count: int, stop: str, output: str | None
) -> None:
    """Print `count` texts, seed by seed, each up to `stop`; or write JSON lines to a new `output`.

    What else there is to say goes to stderr. TutorialError for an empty prompt, or a file there is.
    """
    prompt, name = _readable(prompt), Path(model.name_or_path).name
    ids = _encode(model, tokenizer, prompt, sampling, sys.stderr)
    try:
        # "x" refuses a file that exists
        with open(output, "x", encoding="utf-8") if output else nullcontext(sys.stdout) as file:
            for number in range(count):
                how = replace(sampling, seed=sampling.seed + number)
                text = Completion(prompt, name, how, [], stop=stop)
                any(text.is_over() for _ in grow([text], {name: model}, tokenizer, ids))
                between = "\n" if number else ""
                file.write(text.json_line() if output else f"{between}{prompt}{text}\n")
                file.flush()  # an interruption loses no text that is whole
                print(f"[seed {how.seed}]", file=sys.stderr)
    except BrokenPipeError:
        pass  # the reader, such as `head`, has had enough
    except OSError as error:
        reason = f"{output or 'The text'} could not be written ({error.strerror})"
        raise TutorialError(f"{reason}; name a new file with --output.") from error


def _readable(typed: str) -> str:
    """A terminal may send bytes that are no text."""
    return typed.encode("utf-8", "replace").decode()


def _typed_lines() -> Iterator[str]:
    """What is typed, line by line, until `:q` or the end of the input."""
    while True:
        try:
            line = input("\nprompt> ")
        except EOFError:
            return print()
        if line.strip() in LEAVE:
            return
        yield _readable(line)


def _obey(line: str, sampling: Sampling) -> Sampling:
    """The settings after a line that begins with a colon; says what it did, or why nothing."""
    word, _, value = line.strip().partition(" ")
    name = word.removeprefix(":").replace("-", "_")
    if name not in LIMITS:
        unknown = f"There is no command {word}; see :help. (Before a prompt's colon, type a space.)"
        print(f"{HELP}\nNow: {sampling}." if name == "help" else unknown)
        return sampling
    before = getattr(sampling, name)
    try:
        if value:
            sampling = replace(sampling, **{name: type(before)(value)})
        print(f"{name} is {'now ' if value else ''}{getattr(sampling, name):.16g}")
    except ValueError:
        print(f"{name} must be a number such as {before:g}, not {value!r}.")
    except TutorialError as error:
        print(error)
    return sampling


def _encode(model, tokenizer, prompt: str, sampling: Sampling, file=None) -> list[int]:
    """The prompt's ids; says on `file` how many do not fit. TutorialError for an empty prompt."""
    ids, cut = generation.encode_prompt(tokenizer, prompt, generation.room(model, sampling))
    if cut:
        print(f"[The first {cut:,} tokens of the prompt do not fit and are left out.]", file=file)
    if prompt.endswith(" "):
        print(f"[{generation.LAST_SPACE}]", file=file)
    return ids


def _write(model, tokenizer, prompt: str, sampling: Sampling) -> None:
    """Print a text while it is written; Ctrl-C ends it. TutorialError for an empty prompt."""
    ids = _encode(model, tokenizer, prompt, sampling)
    print(prompt, end="", flush=True)
    try:
        tokens = generation.stream_tokens(model, ids, sampling)
        for piece in generation.decode_stream(tokenizer, tokens):
            print(piece, end="", flush=True)
        print(f"\n[seed {sampling.seed}]")
    except KeyboardInterrupt:
        print(f"\n[stopped, seed {sampling.seed}]")
