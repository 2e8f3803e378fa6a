"""A lesson as its tests read it: a module names it with `LESSON`, by number."""

import nbformat
import pytest

from notebooks.tools.lessons import chosen


@pytest.fixture(scope="module")
def cells(request):
    [lesson] = chosen([request.module.LESSON])
    return nbformat.read(lesson.file, as_version=4).cells


@pytest.fixture(scope="module")
def prose(cells):
    """All its text, in one line."""
    return " ".join(" ".join(c.source for c in cells if c.cell_type == "markdown").split())
