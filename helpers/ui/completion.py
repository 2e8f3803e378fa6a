"""What the prompt box writes, shows and saves (lesson 06): texts that show their tokens."""

import html
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from helpers.generation import LAST_SPACE, Sampling, decode_whole, stream_steps

ALTERNATIVES = 8  # shown for each token
SHOWN = 2000  # characters of a prompt that are shown: its end


@dataclass(frozen=True)
class Token:
    """A token that was written, and what might have stood in its place."""

    id: int
    text: str  # "" within a character of several tokens: the one that completes it has it whole
    probability: float  # the model's own, before temperature and filters
    alternatives: list[tuple[int, float]]  # the likeliest ids with their probabilities, in order


@dataclass
class Completion:
    """One text in the history, and what it came from."""

    prompt: str
    model: str
    sampling: Sampling
    tokens: list[Token]
    kept: int = 0  # so many of the tokens come from an earlier text, the last of them by choice
    cut: int = 0  # so many tokens of the prompt did not fit the model's context
    stop: str = ""  # the text ends before this first appears in it

    def __str__(self) -> str:
        written = "".join(token.text for token in self.tokens)
        return written.partition(self.stop)[0] if self.stop else written

    def is_over(self) -> bool:
        """Whether `stop` has been written."""
        return bool(self.stop) and self.stop in "".join(token.text for token in self.tokens)

    def record(self) -> dict:
        """What is saved of it."""
        made = {"prompt": self.prompt, "text": str(self), "model": self.model}
        made |= {"stop": self.stop} if self.stop else {}
        return {**made, "kept_tokens": self.kept, **asdict(self.sampling)}

    def json_line(self) -> str:
        """The record, as a line of a JSON Lines file."""
        return json.dumps(self.record(), ensure_ascii=False) + "\n"


def stream_with_alternatives(
    model, tokenizer, prompt_ids: list[int], sampling: Sampling, written: list[Token] = ()
) -> Iterator[Token]:
    """The tokens that continue `prompt_ids` and what was `written` after them."""
    written = list(written)
    if written and written[-1].id == model.config.eos_token_id:
        return  # somebody chose that the text ends here
    context = prompt_ids + [token.id for token in written]
    for token, logits in stream_steps(model, context, sampling):
        probabilities = logits.float().softmax(-1)  # (vocab,)
        likeliest = probabilities.topk(ALTERNATIVES)
        pairs = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
        text = _text(tokenizer, written, token)
        written.append(Token(token, text, float(probabilities[token]), list(pairs)))
        yield written[-1]


def grow(run: list[Completion], models: dict, tokenizer, prompt_ids: list[int]) -> Iterator[None]:
    """Write the texts of a `run` on, each by its model: a token each, then a pause for the caller.

    `models` maps their names to the models. A text that has ended waits for the others.
    """
    streams = [
        stream_with_alternatives(
            models[text.model], tokenizer, prompt_ids, text.sampling, text.tokens
        )
        for text in run
    ]
    for tokens in itertools.zip_longest(*streams):
        for text, token in zip(run, tokens, strict=True):
            if token:
                text.tokens.append(token)
        yield


def instead(tokenizer, written: list[Token], place: int, rank: int) -> list[Token]:
    """What was `written` up to `place`, and there its alternative number `rank`."""
    kept, alternatives = written[:place], written[place].alternatives
    token, probability = alternatives[rank]
    return [*kept, Token(token, _text(tokenizer, kept, token), probability, alternatives)]


def _text(tokenizer, written: list[Token], token: int) -> str:
    """What `token` adds: if it completes a character, also the parts of that just before it."""
    parts = list(itertools.takewhile(lambda one: not one.text, reversed(written)))
    return decode_whole(tokenizer, [*(part.id for part in reversed(parts)), token])


def page(run: list[Completion], name: Callable | None = None, chosen: Token | None = None) -> str:
    """HTML of a run's texts, side by side; `name` is that of a token id, `chosen` gets a frame."""
    columns, numbers = [], itertools.count(1)
    for text in run:
        title = f"<u>{html.escape(text.model)}</u>\n" if len(run) > 1 else ""
        spans = [f"{title}<b>{html.escape(text.prompt[-SHOWN:])}</b>"]
        spans += [_span(token, next(numbers), name, token is chosen) for token in text.tokens]
        columns.append(f'<div style="flex: 1 1 300px; min-width: 0">{"".join(spans)}</div>')
    style = "display: flex; flex-wrap: wrap; gap: 20px; white-space: pre-wrap"
    return f'<div style="{style}; overflow-wrap: anywhere">{"".join(columns)}</div>'


def _span(token: Token, number: int, name: Callable | None, framed: bool) -> str:
    """HTML of a token: the bluer, the likelier; a blue that shows on white and on black."""
    alternatives = token.alternatives if name else []
    lines = [f"token {number}", *(f"{name(other)} {share:.1%}" for other, share in alternatives)]
    hint = "\n".join(lines if name else [])
    style = f"background: rgba(86, 180, 233, {0.05 + 0.6 * token.probability:.2f})"
    if framed:
        style += "; outline: 2px solid #D55E00"
    return f'<span style="{style}" title="{html.escape(hint)}">{html.escape(token.text)}</span>'


def describe(run: list[Completion], settings: str) -> str:
    """How long the texts of a run are, and what they came from, in a line."""
    first = run[0]
    lengths = " and ".join(f"{len(text.tokens)} tokens" for text in run)
    branch = f"; continued from token {first.kept}" if first.kept else ""
    cut = f". The first {first.cut:,} tokens of the prompt did not fit." if first.cut else ""
    space = f". {LAST_SPACE}" if first.prompt.endswith(" ") else ""
    return f"{lengths}; {settings}{branch}{cut}{space}"


def markdown(text: Completion) -> str:
    """A text with its settings above it, in a fence longer than any row of backticks in it."""
    whole = text.prompt + str(text)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", whole)), default=0))
    return f"{text.model}: {text.sampling}\n\n{fence}\n{whole}\n{fence}\n"


def save(texts: list[Completion], folder: Path) -> Path:
    """Write `texts` to a new Markdown file, whose path is returned, and JSON Lines beside it."""
    lines = "".join(text.json_line() for text in texts)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"prompt_box_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
    before = len(list(folder.glob(f"{name}*.md")))  # saved within the same second
    file = folder / (f"{name}_{before + 1}.md" if before else f"{name}.md")
    for suffix, content in {".md": "\n".join(map(markdown, texts)), ".jsonl": lines}.items():
        with file.with_suffix(suffix).open("x", encoding="utf-8") as new:
            new.write(content)
    return file
