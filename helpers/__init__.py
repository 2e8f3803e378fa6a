"""The code that the lessons share, from `profiles` to `widgets`; imports go one way, as tests/test_project.py has it.

Importing this package is instant: nothing heavy loads until it is used.
"""

import os

# Set before the tokenizers load: with it they do not warn, and cannot hang, when a process forks.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def print_utf8() -> None:
    """Print in UTF-8 whatever the machine's encoding: Windows has one for files and pipes that lacks → and emoji."""
    import sys

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")


def start():
    """Report the machine and the profile, and return the profile. Each lesson's first cell calls this."""
    import platform

    from helpers.profiles import choose
    from helpers.runtime.hub import use_cache

    profile = choose()
    if profile.name == "gpt2":
        use_cache()
    print(f"Python {platform.python_version()} on {platform.system()}, {os.cpu_count()} CPU cores")
    print(f"P{str(profile)[1:]}")
    return profile
