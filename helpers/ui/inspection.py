"""What a training would read, before there is one: `python -m helpers inspect`."""

import re
from collections import Counter
from collections.abc import Callable, Iterator

from helpers import data
from helpers.profiles import Profile
from helpers.runtime.hub import reach_hub
from helpers.runtime.texts import ODD

WIDTH = 90  # characters of a line that are shown
_MISREAD = re.compile("[\xc2\xc3][\x80-\xbf]|\xe2(?:\u20ac|\x80)")  # as UTF-8 looks in Windows-1252


def inspect(profile: Profile, say: Callable = print) -> None:
    """Say what `train` would read: documents, tokens, both ends as the model sees them, warnings.

    Nothing is trained, and no model is loaded. TutorialError where there is no text to read.
    """
    from transformers import AutoTokenizer

    reach_hub(profile.model, profile.hub_dataset)
    tokenizer = AutoTokenizer.from_pretrained(profile.model)
    texts = [list(documents) for documents in data.documents_of(profile, say)]
    tokens = data.streams(tokenizer, *texts)
    for what, part, ids in zip(("training", "validation"), texts, tokens, strict=True):
        share = len(ids) / max(1, sum(map(len, tokens)))
        say(f"For {what}: documents {len(part):,}, tokens {len(ids):,} ({share:.0%})")
    rows, rest = divmod(len(tokens[0]), profile.block_size)
    block, batch = profile.block_size, profile.global_batch_size
    say(f"Rows of {block:,} tokens to train on: {rows:,}, {batch} in a step")
    ends = tokens[0][: 8 * WIDTH], tokens[0][-8 * WIDTH :]  # which may cut a character in two
    first, last = (tokenizer.decode(ids.tolist()).strip("\ufffd") for ids in ends)
    say("It begins and ends so, decoded from its tokens:")
    for line in first.splitlines(keepends=True)[:2]:
        say(f"    {line[:WIDTH]!r}" + " ..." * (len(line) > WIDTH))
    for line in last.splitlines(keepends=True)[-2:]:
        say("    " + "... " * (len(line) > WIDTH) + f"{line[-WIDTH:]!r}")
    for warning in warnings(*texts, rows, profile.global_batch_size):
        say(f"Note: {warning}.")
    if rows and 10 * rest > len(tokens[0]):
        say(f"Note: the last {rest:,} tokens fill no row, so none is learned; try another --block.")


def warnings(training: list[str], validation: list[str], rows: int, batch: int) -> Iterator[str]:
    """What is odd about documents that make so many `rows`, in sentences: each says what to do."""
    whole = "\n".join([*training, *validation])
    lines = [line for line in map(str.strip, whole.splitlines()) if line]
    if 2 * (again := len(lines) - len({*lines})) > len(lines):
        yield f"{again:,} of {len(lines):,} lines repeat an earlier one; remove the doubles"
    if both := {*training} & {*validation}:
        yield f"{len(both):,} documents are in both parts: validation flatters; remove the doubles"
    if odd := ODD.findall(whole):
        yield f"control or lost characters: {len(odd):,}, such as {odd[0]!r}; clean the file"
    if misread := _MISREAD.findall(whole):
        yield f"signs of a wrong encoding: {len(misread):,}, such as {misread[0]!r}; save as UTF-8"
    [(sign, often)] = Counter(whole).most_common(1)
    if 2 * often > len(whole):
        yield f"{often:,} of {len(whole):,} characters are {sign!r}; look into the file"
    if rows < batch:
        yield f"{rows:,} rows, and a step takes {batch}; give more text, or a smaller --block"
