"""Nothing that the helpers call is on its way out.

pyproject.toml turns a warning that Python attributes to the helpers into an error. Libraries
attribute many of theirs to themselves, or write them to a log that the helpers keep quiet: here
they are caught.
"""

import contextlib
import logging
import re
import warnings

import nbformat
import pytest
from nbclient import NotebookClient

from helpers import data, generation, loading, profiles, training
from helpers.runtime import compat
from notebooks.tools.lessons import LESSONS

LEAVING = re.compile(r"deprecat|will be removed|no longer support|future version", re.I)
LIBRARIES = (
    "transformers",
    "datasets",
    "accelerate",
    "huggingface_hub",
    "ipywidgets",
    "matplotlib",
)


class Caught(logging.Handler):
    """Keeps what is logged, word for word."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(f"{record.name}: {record.getMessage()}")


@contextlib.contextmanager
def loud(monkeypatch):
    """Within it, the libraries say all they have to say; gives the list that it comes to."""
    monkeypatch.setattr(compat, "quiet", lambda bars=False: contextlib.nullcontext())
    arguments = training._arguments

    def chatty(*given):
        made = arguments(*given)
        made.log_level = "warning"
        return made

    monkeypatch.setattr(training, "_arguments", chatty)
    handler, loggers = Caught(), [logging.getLogger(name) for name in LIBRARIES]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings(record=True) as recorded:
            warnings.simplefilter("always")
            yield handler.messages
        handler.messages += [f"{warning.filename}: {warning.message}" for warning in recorded]
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


def leaving(messages: list[str]) -> list[str]:
    """The messages of the libraries that we call on something that we should not call any more."""
    return [
        text
        for text in messages
        if LEAVING.search(text) and any(name in text for name in LIBRARIES)
    ]


def test_no_call_of_ours_is_deprecated(
    monkeypatch, home, tokenizer, streams, micro_profile, micro_model
):
    with loud(monkeypatch) as messages:
        model, _ = loading.load_pretrained(profiles.BUNDLED / "model", dropout=0.0)
        data.load_splits(profiles.choose("tiny"))
        generation.generate(model, tokenizer, "The captain", generation.Sampling(max_new_tokens=2))
        training.train(micro_model, tokenizer, *streams, micro_profile, home / "model")
        loading.load_fine_tuned("model")
    assert not leaving(messages), leaving(messages)


def test_a_deprecated_call_is_noticed(monkeypatch):
    """However a library tells: by its log, or by a warning that names its own file."""
    with loud(monkeypatch) as messages:
        logging.getLogger("transformers.modeling_utils").warning(
            "`torch_dtype` is deprecated! Use `dtype` instead!"
        )
        warnings.warn_explicit(
            "`x` will be removed", FutureWarning, "/site-packages/datasets/load.py", 1
        )
        warnings.warn_explicit("`y` will be removed", FutureWarning, "/site-packages/other.py", 1)
    assert len(leaving(messages)) == 2


@pytest.mark.parametrize("module", ["helpers.models", "helpers.bundled.pretrain"])
def test_a_warning_at_a_line_of_the_helpers_is_an_error(module):
    for kind in (DeprecationWarning, PendingDeprecationWarning, FutureWarning, UserWarning):
        with pytest.raises(kind):
            warnings.warn_explicit("old", kind, "models.py", 1, module=module)


def test_a_warning_at_a_line_of_a_lesson_is_an_error():
    """In the kernels that nbval starts, and those of the editions for Colab: conftest.py sets
    PYTHONWARNINGS.
    """
    cell = """
import warnings

caught = []
for kind in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
    try:
        warnings.warn("old", kind)
    except kind as error:
        caught.append(type(error).__name__)
print(caught)
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)])
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    [printed] = notebook.cells[0].outputs
    assert printed.text == "['DeprecationWarning', 'PendingDeprecationWarning', 'FutureWarning']\n"


def test_no_lesson_names_the_cache_in_a_call():
    """transformers 5.24 warns of `past_key_values=`, and those before it know no `cache=`."""
    named = [
        (lesson.stem, cell.id)
        for lesson in LESSONS
        for cell in nbformat.read(lesson.file, as_version=4).cells
        if re.search(r"\bmodel\(.*(past_key_values|cache)=", cell.source.replace("use_cache=", ""))
    ]
    assert named == []
