"""The one kind of error that a learner is meant to read."""


class TutorialError(Exception):
    """Something that you can mend: its message is one sentence on what happened and what to do."""
