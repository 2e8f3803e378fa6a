"""A text of the prompt box (lesson 06): what it came from, and how it is shown and saved."""

import html
import json
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from helpers.generation import Sampling, Token

SHOWN = 2000  # characters of a prompt that are shown: its end


@dataclass
class Text:
    """One text in the history, and what it came from."""

    prompt: str
    model: str
    sampling: Sampling
    tokens: list[Token]
    kept: int = 0  # so many of the tokens come from an earlier text, the last of them by choice
    cut: int = 0  # so many tokens of the prompt did not fit the model's context

    def __str__(self) -> str:
        return "".join(token.text for token in self.tokens)

    def record(self) -> dict:
        """What is saved of it."""
        whole = {
            "prompt": self.prompt,
            "text": str(self),
            "model": self.model,
            "kept_tokens": self.kept,
        }
        return whole | asdict(self.sampling)


def page(run: list[Text], name=None, chosen: Token | None = None) -> str:
    """HTML of the texts of a run, side by side where there is room; `name` gives a token's for the tooltips."""
    columns = []
    for text in run:
        title = f"<u>{html.escape(text.model)}</u>\n" if len(run) > 1 else ""
        spans = [f"{title}<b>{html.escape(text.prompt[-SHOWN:])}</b>"]
        for token in text.tokens:
            hint = (
                "\n".join(f"{name(other)} {share:.1%}" for other, share in token.alternatives)
                if name
                else ""
            )
            frame = "; outline: 2px solid #D55E00" if token is chosen else ""
            spans.append(
                f'<span style="background: rgba(0, 114, 178, {token.probability / 2:.2f}){frame}" '
                f'title="{html.escape(hint)}">{html.escape(token.text)}</span>'
            )
        columns.append(f'<div style="flex: 1 1 300px; min-width: 0">{"".join(spans)}</div>')
    style = (
        "display: flex; flex-wrap: wrap; gap: 20px; white-space: pre-wrap; overflow-wrap: anywhere"
    )
    return f'<div style="{style}">{"".join(columns)}</div>'


def markdown(text: Text) -> str:
    """A text with its settings above it, in a fence longer than any row of backticks in it."""
    whole = text.prompt + str(text)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", whole)), default=0))
    return f"{text.model}: {text.sampling}\n\n{fence}\n{whole}\n{fence}\n"


def save(texts: list[Text], folder: Path) -> Path:
    """Write `texts` to a new Markdown file in `folder`, whose path it returns, and a JSON Lines file beside it."""
    lines = "".join(json.dumps(text.record(), ensure_ascii=False) + "\n" for text in texts)
    contents = {".md": "\n".join(map(markdown, texts)), ".jsonl": lines}
    name = f"prompt_box_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
    before = len(list(folder.glob(f"{name}*.md")))  # saved within the same second
    file = folder / f"{name}{f'_{before + 1}' if before else ''}.md"
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, content in contents.items():
        with file.with_suffix(suffix).open("x", encoding="utf-8") as new:
            new.write(content)
    return file
