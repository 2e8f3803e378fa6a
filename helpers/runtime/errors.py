"""The errors that a learner is meant to read."""


class TutorialError(Exception):
    """Something that you can mend: its message is one sentence on what happened and what to do."""

    def _render_traceback_(self) -> list[str]:  # what a notebook shows, in place of a traceback
        return [f"{type(self).__name__}: {self}"]


def in_words(error: Exception) -> str | None:
    """What this machine refuses, or the message of a TutorialError; None for a program's fault."""
    kind, text = type(error).__name__, str(error)
    if kind == "OutOfMemoryError" or isinstance(error, MemoryError) or "t allocate memory" in text:
        return "there is too little memory: close other programs, or take a smaller batch or model"
    if "inline_container" in text or "iostream" in text:  # what torch.save says of a full disk
        return "a file could not be written: free some space"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    known = isinstance(error, TutorialError | OSError) or kind == "SafetensorError"
    return text if known else None
