"""The code that the lessons share: what they teach is here, what only runs in `runtime` and `ui`.

Importing this package is instant: nothing heavy loads until it is used.
"""

import os
import textwrap

# Set before the tokenizers load: with it they do not warn, and cannot hang, when a process forks.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def print_utf8() -> None:
    """Print in UTF-8 whatever the machine's encoding: that of Windows' files lacks → and emoji."""
    import sys

    for stream in filter(None, (sys.stdout, sys.stderr)):  # one that is closed is None
        stream.reconfigure(encoding="utf-8", errors="replace")


def wrapped(text: str, width: int = 80) -> str:
    """`text` to print, its long lines broken between words; JupyterLab breaks them anywhere."""
    return "\n".join(textwrap.fill(line, width) for line in text.split("\n"))


def start():
    """Report the machine and the profile, and return the profile: each lesson's first cell."""
    import platform
    import sys

    from helpers.profiles import GPT2, choose
    from helpers.runtime.errors import TutorialError

    try:
        from helpers.runtime import hardware, hub

        profile = choose()
    except ModuleNotFoundError as error:
        here = f"{error} in {sys.executable}, the Python of this kernel"
        advice = "choose the kernel you installed for, or %pip install -r ../requirements.txt"
        raise TutorialError(f"{here}; {advice}") from None
    print(f"Python {platform.python_version()} on {platform.system()}, {os.cpu_count()} CPU cores")
    print(wrapped(f"P{str(profile)[1:]}"))
    if profile.name == "gpt2":
        hub.use_cached(profile.model, profile.hub_dataset)
        try:
            if profile.model != GPT2:  # what GPT-2 itself takes is in lesson 01
                hardware.check_memory(profile)
        except TutorialError as error:  # a lesson that does not train may have room enough
            print(error)
    return profile
