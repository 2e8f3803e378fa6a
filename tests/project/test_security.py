"""What the code must not call, what a repository must not hold, and whose licences we stand on.

What happens when it runs is in tests/unit/test_security.py; tests/README.md has the whole list.
"""

import ast
import importlib.metadata
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tests.project.test_portable import source_of
from tests.project.test_project import imported

CODE = [*ROOT.glob("helpers/**/*.py"), *ROOT.glob("notebooks/tools/**/*.py")]
LESSONS = sorted(ROOT.glob("notebooks/*.ipynb"))
# They run what they read, or write files where an archive says.
BANNED = {
    "pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve",
    "tarfile", "extract", "extractall", "unpack_archive",
    "read_pickle", "allow_pickle", "trust_remote_code",
}  # fmt: skip
SECRET = re.compile(
    r"\bhf_[A-Za-z]{30,}|\bgh[pousr]_\w{30,}|\bgithub_pat_\w{30,}|\bsk-[\w-]{20,}|\bAKIA[A-Z0-9]{16}\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY|[Bb]earer [\w.-]{20,}|://[^/\s:@\"']+:[^/\s:@\"']+@"
)


def runs_what_it_reads(tree: ast.AST) -> list[str]:
    """The lines that unpickle, unpack an archive, or take code from the Hub."""
    found = []
    for node in ast.walk(tree):
        names = {part for dotted in imported(node) for part in dotted.split(".")}
        if isinstance(node, ast.Attribute):
            names |= {node.attr}
        if isinstance(node, ast.Call):
            words = {word.arg: ast.unparse(word.value) for word in node.keywords}
            names |= {word for word, value in words.items() if value != "False"}
            if ast.unparse(node.func) == "torch.load" and words.get("weights_only") != "True":
                names |= BANNED
        if names & BANNED:
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize(
    "path", [*CODE, *LESSONS], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_nothing_runs_what_it_reads(path):
    assert runs_what_it_reads(ast.parse(source_of(path))) == []


@pytest.mark.parametrize(
    ("code", "bad"),
    [
        ("import pickle", True), ("from pickle import loads", True),
        ("zipfile.ZipFile(f).extractall()", True),
        ("torch.load(f)", True), ("torch.load(f, weights_only=False)", True),
        ("numpy.load(f, allow_pickle=True)", True), ("pandas.read_pickle(f)", True),
        ("shutil.unpack_archive(f)", True), ("g(trust_remote_code=True)", True),
        ("torch.load(f, weights_only=True)", False), ("zipfile.ZipFile(f).testzip()", False),
        ("gzip.decompress(data)", False),
        ("numpy.load(f, allow_pickle=False)", False),
    ],
)  # fmt: skip
def test_this_rule_sees_what_it_should(code, bad):
    assert bool(runs_what_it_reads(ast.parse(code))) == bad


def texts() -> list[Path]:
    """The files of the repository that are text, or are of one's own making beside it in git."""
    kinds = {".py", ".ipynb", ".md", ".txt", ".toml", ".yml", ".json", ".jsonl", ".css"}
    folders = ("helpers", "notebooks", "tests", ".github", ".ci")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    return [path for path in [*ROOT.iterdir(), *found] if path.suffix in kinds]


def test_no_token_is_in_a_file_or_a_stored_output():
    found = texts()
    assert len(found) > 200
    holding = [path for path in found if SECRET.search(path.read_text(encoding="utf-8"))]
    assert holding == []


@pytest.mark.parametrize(
    "secret",
    ["hf_" + "aBc" * 12, "ghp_" + "a1" * 18, "https://me:" + "word@example.org", "AKIA" + "A1" * 8],
)
def test_a_token_would_be_seen(secret):
    assert SECRET.search(f"token = '{secret}'")


LICENCES = re.compile(
    r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|CMU|CNRI|Zlib|0BSD|CC0|BSL-1\.0"
)


def licence(package: str) -> str:
    """What an installed package says of its licence, in one line."""
    told = importlib.metadata.metadata(package)
    classes = [line.split(" :: ")[-1] for line in told.get_all("Classifier", [])
               if line.startswith("License ::") and not line.endswith("OSI Approved")]  # fmt: skip
    expression = told.get("License-Expression") or " / ".join(classes) or told.get("License") or ""
    return expression.split("\n")[0]


def needed(packages: list[str]) -> set[str]:
    """Those of the packages that are installed, and those that they need in turn."""
    here = {canonicalize_name(one.name) for one in importlib.metadata.distributions()}
    found, new = set(), here & set(map(canonicalize_name, packages))
    while new:
        found |= new
        lines = [line for name in new for line in importlib.metadata.requires(name) or []]
        wanted = [one for one in map(Requirement, lines) if not one.marker or one.marker.evaluate()]
        new = {canonicalize_name(one.name) for one in wanted} & here - found
    return found


def test_every_package_has_a_licence_that_asks_for_little():
    """And the table in tests/README.md has the ones that we name."""
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    direct = re.findall(r"^([\w-]+)==", requirements, re.M)
    said = {package: licence(package) for package in sorted(needed(direct))}
    assert len(said) > 2 * len(direct)
    assert {name: told for name, told in said.items() if not LICENCES.search(told)} == {}
    assert {name: told for name, told in said.items() if "GPL" in told} == {}
    readme = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `([\w-]+)` \| ([^|]+?) \|", readme, re.M))
    assert set(direct) <= set(table)
    for name in set(direct) & set(said):
        first = re.match(r"\w+", table[name])[0]  # of "BSD-3-Clause", BSD
        assert re.search(first.replace("PSF", "PSF|Python Software"), said[name]), name
