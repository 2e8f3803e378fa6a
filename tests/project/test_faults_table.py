"""The table of faults in tests/README.md names tests that there are."""

import re

import pytest

from tests.conftest import ROOT

TABLE = (ROOT / "tests" / "README.md").read_text(encoding="utf-8").partition("## Faults")[2]
ROWS = [
    row.split(" | ")
    for row in TABLE.splitlines()
    if re.match(r"\| .*`(unit|project|lessons|browser)/test_", row)
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip("| "))
def test_each_row_names_its_tests(row):
    assert len(row) == 5 and all(cell.strip("| ") for cell in row)
    for file, names in re.findall(r"`(\w+/test_\w+\.py)`: ((?:`\w+`(?:, )?)+)", row[-1]):
        code = (ROOT / "tests" / file).read_text(encoding="utf-8")
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^(def test_|Test)\w*{name}", code, flags=re.M), (file, name)


def test_the_table_has_the_kinds_of_faults():
    assert len(ROWS) >= 25
