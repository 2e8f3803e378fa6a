"""Nothing that comes from a file or a text is run, shown as HTML, or taken for a path."""

import gzip
import pickle
import struct
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import loading, plots, profiles, training
from helpers.generation import Sampling
from helpers.runtime import files
from helpers.runtime.errors import TutorialError
from helpers.runtime.texts import read_texts
from helpers.ui import completion, explore
from tests.conftest import new_micro_model
from tests.hub import Hub
from tests.unit.test_hub import helpers
from tests.unit.test_training import Killed, StopAt, kill

NASTY = "<script>alert(1)</script> & <img src=x onerror=alert(1)> \" ' &lt;b&gt;</div>"
UNPICKLED = []  # what Python's own unpickler looks up, whoever calls it


def listen(event, arguments):
    if event == "pickle.find_class":
        UNPICKLED.append(".".join(arguments))


sys.addaudithook(listen)


class Poison:
    """Unpickled, it writes a file."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return Path.write_text, (self.file, "run", "utf-8")


@pytest.fixture
def train(tokenizer, streams, micro_profile, home):
    """Trains a micro model for the same folder again and again."""

    def train(callbacks=()):
        model, folder = new_micro_model(), home / "model"
        return training.train(model, tokenizer, *streams, micro_profile, folder, callbacks)

    return train


def test_python_tells_of_what_is_unpickled():
    UNPICKLED.clear()
    pickle.loads(pickle.dumps(Path("x")))
    assert UNPICKLED


def test_a_resumed_run_unpickles_nothing(train):
    with pytest.raises(Killed):
        train([StopAt(15, kill)])
    UNPICKLED.clear()
    assert train()["resumed_from_step"] == 8
    assert UNPICKLED == []


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth"])
def test_a_poisoned_checkpoint_is_not_run(train, home, name):
    with pytest.raises(Killed):
        train([StopAt(15, kill)])
    [file] = home.glob(f"checkpoints/*/checkpoint-8/{name}")
    torch.save(Poison(home / "poisoned"), file)
    files.seal(file.parent)  # as who can write the one file can
    with pytest.raises(Exception, match="Weights only load failed|weights_only"):
        train()
    assert not (home / "poisoned").exists()


def test_poisoned_weights_are_not_run(tmp_path, home):
    """In the format of old models; with weights in safetensors, it is not even opened."""
    folder = tmp_path / "model"
    folder.mkdir()
    for file in (profiles.BUNDLED / "model").glob("*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    torch.save({"wte.weight": Poison(tmp_path / "poisoned")}, folder / "pytorch_model.bin")
    UNPICKLED.clear()
    with pytest.raises(TutorialError):
        loading.load_pretrained(folder)
    assert UNPICKLED == [] and not (tmp_path / "poisoned").exists()


class Tags(HTMLParser):
    """The tags of a page, each with its attributes, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


def pages_of(tokenizer, text: str) -> dict[str, str]:
    """All HTML that the helpers make of a text."""
    token = completion.Token(0, text, 0.5, [(1, 0.25)])
    run = [completion.Completion(text, text, Sampling(), [token]) for _ in range(2)]
    return {
        "page": completion.page(run, lambda token: text, token),
        "coloured": plots.coloured([text], [1.0]),
        "cards": explore.token_cards(tokenizer, text),
        "bars": plots.cut_bars(["a", "b"], [60, 40], 1, text.replace("$", "")),
    }


@settings(max_examples=20, deadline=None)
@given(st.one_of(st.just(NASTY), st.text(st.sampled_from("<>&\"'/ =\nabsi!-"), max_size=40)))
def test_no_html_comes_from_a_text(tokenizer, text):
    for name, page in pages_of(tokenizer, text).items():
        tags = Tags(page)
        assert tags.tags <= {"div", "span", "b", "u", "br", "img"}, name
        assert tags.attributes <= {"style", "title", "alt", "src"}, name
        assert "img" not in tags.tags or name == "bars", name


def test_a_name_within_an_archive_is_no_path(tmp_path):
    """Of a .gz file, which may hold one, only the content is read, and nothing is written."""
    text = b"A letter. " * 9
    packed = zlib.compress(text)[2:-4]
    head = b"\x1f\x8b\x08\x08" + bytes(6) + b"../../evil.txt\0"
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    file = inside / "letters.txt.gz"
    file.write_bytes(head + packed + struct.pack("<II", zlib.crc32(text), len(text)))
    assert gzip.decompress(file.read_bytes()) == text
    assert read_texts([str(file)]).documents == [text.decode()]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


@pytest.mark.parametrize("proxy", [False, True])
def test_no_token_is_printed_or_saved(tmp_path, proxy):
    """What fails is told in words, and whoever shows them to others gives nothing away."""
    token, password = "hf_" + "q" * 34, "pass" + "word9"
    address = f"me:{password}@127.0.0.1:9"
    through = {"NO_PROXY": "", "HTTP_PROXY": f"http://{address}"} if proxy else {}
    where = {"hf_home": tmp_path / "hf", "home": tmp_path / "home", "HF_TOKEN": token}
    with Hub(tmp_path / "hub", fault="refuse") as hub:
        done = helpers("download", endpoint=hub.url, **where, **through)
    said = done.stdout + done.stderr
    assert done.returncode and "could not be fetched" in said, said
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    written = b"".join(path.read_bytes() for path in found).decode("utf-8", "replace")
    assert not [secret for secret in (token, password) if secret in said + written]
