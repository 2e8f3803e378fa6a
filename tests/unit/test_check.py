"""Lesson 01's table of what is here: what it says where something is missing."""

from collections import namedtuple
from importlib import metadata

import pytest

from helpers import profiles
from helpers.runtime import check


@pytest.mark.parametrize(
    ("here", "verdict"),
    [("5.23.0", "ok"), ("5.23.4", "ok"), ("5.2.0", "not ok"), ("5.230.0", "not ok")],
)  # fmt: skip
def test_another_last_number_is_ok_and_another_version_is_not(monkeypatch, here, verdict):
    monkeypatch.setattr(metadata, "version", lambda package: here)
    fix = "" if verdict == "ok" else "ask us"
    line = ("transformers", "5.23.0", here, verdict, fix)
    assert check.packages({"transformers": "5.23.0"}, "ask us") == [line]


def test_a_missing_package_is_named_with_what_to_do():
    [line] = check.packages({"gpt2-nowhere": "1.0.0"})
    assert line == ("gpt2-nowhere", "1.0.0", "missing", "not ok", check.FIX)


def test_without_a_list_it_looks_for_what_the_lessons_need_and_no_more():
    names = [line[0] for line in check.packages()]
    assert {"torch", "peft", "jupyterlab_widgets"} < set(names)
    assert not {"pytest", "ruff"} & set(names)


@pytest.mark.parametrize(("free", "verdict"), [(0.1, "low"), (0.3, "ok")])
def test_a_full_disk_is_noticed(monkeypatch, free, verdict):
    usage = namedtuple("usage", "total used free")(1e12, 0, free * 1e9)
    monkeypatch.setattr(check.shutil, "disk_usage", lambda folder: usage)
    lines = {line[0]: line[1:] for line in check.machine(profiles.choose("tiny"))}
    assert lines["disk"] == ("0.2 GB", f"{free} GB", verdict, "make room")
    assert list(lines) == ["Python", "disk", "memory", "device for `gpt2`", "files of `gpt2`"]


def test_the_table_has_a_row_for_each_line():
    rows = check.table([("disk", "6 GB", "5 GB", "low", "make room")]).splitlines()
    assert rows[0] == "| what | needed | found | verdict | if it is not ok |"
    assert rows[2:] == ["| disk | 6 GB | 5 GB | low | make room |"]
