"""A progress bar in a terminal."""

import sys

from tqdm import tqdm

from helpers.runtime.distributed import is_main_process


def bar(items, what: str):
    """`items`, with a progress bar in a terminal where they take over two seconds."""
    hidden = not (sys.stderr.isatty() and is_main_process())
    return tqdm(items, what, delay=2, leave=False, disable=hidden)
