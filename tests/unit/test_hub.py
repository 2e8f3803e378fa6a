"""The profile `gpt2` for real, but small: the script against a stand-in for the Hub (hub.py), with
and without faults.

Each command runs in a process of its own, since huggingface_hub reads its environment when it is
imported.
"""

import json
import math
import os
import re
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers.runtime.errors import TutorialError
from tests import forked
from tests.hub import Hub, make_others, make_repos

ROOT = Path(__file__).resolve().parents[2]
OURS = ("GPT2_TUTORIAL_", "HF_", "HUGGINGFACE_", "TRANSFORMERS_", "XDG_CACHE_HOME")
NOBODY = "http://127.0.0.1:9"  # a closed port
TRAIN = ("train", "--epochs", "1", "--learning-rate", "1e-3", "--minutes", "1", "--device", "cpu")
FIELDS = set(
    "profile model dataset device precision processes epochs steps tokens_seen seconds "
    "tokens_per_second "
    "train_loss_first train_loss_last validation_loss_before validation_loss_after "
    "perplexity_before "
    "perplexity_after validation_tokens resumed_from_step stopped_early".split()
)


def python(
    *arguments: str, endpoint: str, hf_home: Path, home: Path, text: str = "", **environment: str
):
    """A finished child process that sees this Hub, this cache and this home, and nothing of the
    caller's.
    """
    outside = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    ours = {
        "HF_ENDPOINT": endpoint, "HF_HOME": str(hf_home), "GPT2_TUTORIAL_HOME": str(home),
        "NO_PROXY": "127.0.0.1",
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    environment = {**outside, **ours, **environment}
    return forked.run(arguments, cwd=ROOT, env=environment, text=text, timeout=120)


def helpers(*arguments: str, **where):
    """`python -m helpers` with these arguments, finished."""
    return python("-m", "helpers", *arguments, **where)


def summary_in(home: Path) -> dict:
    return json.loads(
        (home / "fine_tuned_gpt2" / "training_summary.json").read_text(encoding="utf-8")
    )


def the_error(done: subprocess.CompletedProcess) -> str:
    """The one error line that a learner reads; what the Hub's client logs while it tries again may
    stand above it.
    """
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert [line for line in lines if line.startswith("error:")] == [lines[-1]], done.stderr
    return lines[-1]


@pytest.fixture(scope="module")
def repos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    make_repos(folder)
    make_others(folder)
    return folder


@pytest.fixture(scope="module")
def trained(repos, tmp_path_factory):
    """The first training: its process, its home, and the cache that it filled from a Hub that is
    gone now.
    """
    hf_home, home = tmp_path_factory.mktemp("hf_home"), tmp_path_factory.mktemp("home")
    with Hub(repos) as hub:
        done = helpers(*TRAIN, "--profile", "gpt2", endpoint=hub.url, hf_home=hf_home, home=home)
    assert done.returncode == 0, done.stderr
    return done, home, hf_home


def test_trains_from_the_hub(trained):
    done, home, _ = trained
    summary = summary_in(home)
    assert set(summary) == FIELDS
    assert (summary["profile"], summary["model"], summary["device"]) == (
        "gpt2",
        "openai-community/gpt2",
        "cpu",
    )
    assert summary["dataset"] == "Salesforce/wikitext/wikitext-2-raw-v1"
    assert summary["perplexity_after"] < summary["perplexity_before"]
    assert summary["perplexity_after"] == pytest.approx(math.exp(summary["validation_loss_after"]))
    assert summary["steps"] > 5 and summary["tokens_seen"] == 1024 * summary["steps"]
    assert summary["stopped_early"] is False and summary["resumed_from_step"] is None
    assert sorted(path.name for path in home.glob("fine_tuned_gpt2*")) == ["fine_tuned_gpt2"]
    assert f"{summary['perplexity_after']:.2f} after" in done.stdout
    noise = [line for line in done.stderr.splitlines() if re.search("Traceback|Warning", line)]
    assert all("mtime may not be reliable" in line for line in noise), (
        noise
    )  # transformers 4, of fast checkpoints


def test_trains_again_from_the_cache_without_a_connection(trained, tmp_path):
    _, first, hf_home = trained
    done = helpers(*TRAIN, "--seed", "7", endpoint=NOBODY, hf_home=hf_home, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "profile gpt2 (its files are on this machine)" in done.stdout.splitlines()[0]
    assert not re.search("Retrying|Using the latest cached", done.stderr), (
        "nobody asks for a Hub that is not needed"
    )
    before, after = summary_in(first), summary_in(tmp_path)
    assert (after["profile"], after["validation_loss_before"]) == (
        "gpt2",
        before["validation_loss_before"],
    )
    assert after["perplexity_after"] < after["perplexity_before"]
    assert after["perplexity_after"] != before["perplexity_after"], (
        "another seed, another order of the rows"
    )


def test_evaluate_agrees_with_the_summary(trained):
    _, home, hf_home = trained
    summary = summary_in(home)
    done = helpers("evaluate", "--json", endpoint=NOBODY, hf_home=hf_home, home=home)
    assert done.returncode == 0, done.stderr
    assert not re.search("Retrying|Using the latest cached", done.stderr), (
        "nobody asks for a Hub that is not needed"
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result) == {"loss", "perplexity", "tokens", "block", "stride"}
    assert (result["block"], result["stride"]) == (1024, 1024)
    assert result["tokens"] == summary["validation_tokens"] > 2 * 1024, (
        "the budget was enough for the whole split"
    )
    assert result["perplexity"] == pytest.approx(summary["perplexity_after"], rel=1e-6)


# What `auto` decides, and in what time. Libraries can take seconds to load: they are here before
# the clock starts.
CHOOSE = """
import time, torch
from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.utils import get_session
from helpers.profiles import choose
get_session()
began = time.perf_counter()
profile = choose("auto")
print(profile.name, time.perf_counter() - began, profile.why, sep="\\n")
"""


def chosen(endpoint: str, folder: Path, **environment: str) -> tuple[str, str]:
    """The profile's name and the reason; it took less than three seconds to find, and wrote
    nothing.
    """
    done = python(
        "-c",
        CHOOSE,
        endpoint=endpoint,
        hf_home=folder / "hf_home",
        home=folder / "home",
        **environment,
    )
    assert done.returncode == 0, done.stderr
    name, seconds, why = done.stdout.splitlines()  # three lines, so the reason is one of them
    assert float(seconds) < 3, f"{seconds} s to decide"
    assert list(folder.iterdir()) == []
    return name, why


def test_auto_takes_gpt2_where_the_hub_answers(repos, tmp_path):
    with Hub(repos) as hub:
        assert chosen(hub.url, tmp_path) == ("gpt2", "the Hugging Face Hub answers")


def test_auto_takes_gpt2_where_its_files_are_in_the_cache(trained):
    _, home, hf_home = trained
    done = python("-c", CHOOSE, endpoint=NOBODY, hf_home=hf_home, home=home)
    assert done.stdout.splitlines()[::2] == ["gpt2", "its files are on this machine"], done.stderr


def test_auto_takes_tiny_where_nothing_answers(tmp_path):
    name, why = chosen(NOBODY, tmp_path)
    assert name == "tiny" and "does not answer" in why


def test_auto_takes_tiny_where_the_hub_hangs(tmp_path):
    with socket.create_server(
        ("127.0.0.1", 0)
    ) as silent:  # the system accepts, and nobody ever reads
        name, why = chosen(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
    assert name == "tiny" and "does not answer" in why


def test_auto_takes_tiny_where_the_hub_refuses(repos, tmp_path):
    with Hub(repos, fault="refuse") as hub:
        assert chosen(hub.url, tmp_path)[0] == "tiny"


def test_auto_takes_tiny_where_the_learner_wants_no_connection(repos, tmp_path):
    with Hub(repos) as hub:
        assert chosen(hub.url, tmp_path, HF_HUB_OFFLINE="1")[0] == "tiny"


def test_gpt2_without_connection_and_cache(tmp_path):
    home = tmp_path / "home"
    done = helpers(
        *TRAIN, "--profile", "gpt2", endpoint=NOBODY, hf_home=tmp_path / "hf_home", home=home
    )
    assert re.search(r"could not be fetched .* connection .* tiny", the_error(done))
    assert len(done.stderr.splitlines()) == 1, (
        "the error alone, not the client's two dozen lines of trying again"
    )
    assert not home.exists(), "nothing is written"


def test_after_download_everything_works_with_the_cable_out(repos, tmp_path):
    hf_home, home = tmp_path / "hf_home", tmp_path / "home"
    with Hub(repos) as hub:
        # TQDM_POSITION: show the Hub's bars though nobody watches, as in a terminal
        done = helpers("download", endpoint=hub.url, hf_home=hf_home, home=home, TQDM_POSITION="-1")
    assert done.returncode == 0, done.stderr
    first, *fetched, last = done.stdout.splitlines()
    assert first.startswith(
        "Fetching openai-community/gpt2 and Salesforce/wikitext/wikitext-2-raw-v1, about 0.6 GB"
    )
    assert re.search(r"model.safetensors: +100%", done.stderr), "a progress bar for the weights"
    for line, name, least in zip(
        fetched, ("gpt2", "wikitext-2-raw-v1"), (4 * 50_000, 50_000), strict=True
    ):
        what, size, folder = re.fullmatch(r"(\S+): ([\d,.]+) MB in (.+)", line).groups()
        files = [
            file for file in Path(folder).rglob("*") if file.is_file() and not file.is_symlink()
        ]
        on_disk = sum(file.stat().st_size for file in files)
        assert what.endswith(name) and hf_home in Path(folder).parents
        assert least < on_disk == pytest.approx(1e6 * float(size), abs=0.06e6), (
            "once, not again for each link"
        )
    assert last == "All is here: from now on, the profile gpt2 needs no connection."
    assert not home.exists(), "nothing of a learner's is touched"

    again = helpers("download", endpoint=NOBODY, hf_home=hf_home, home=home)
    assert again.returncode == 0 and again.stdout.splitlines() == [
        *fetched,
        "All was here already.",
    ], again.stderr
    assert "%" not in again.stderr and "Retrying" not in again.stderr
    trained = helpers(*TRAIN, "--minutes", "0.1", endpoint=NOBODY, hf_home=hf_home, home=home)
    assert trained.returncode == 0, trained.stderr
    assert "profile gpt2 (its files are on this machine)" in trained.stdout
    written = helpers(
        "prompt", endpoint=NOBODY, hf_home=hf_home, home=home, text="The harbour\n:q\n"
    )
    assert written.returncode == 0 and "[seed " in written.stdout, written.stderr


def test_two_first_downloads_at_once_into_one_cache(repos, tmp_path):
    hf_home = tmp_path / "hf_home"
    with Hub(repos) as hub, ThreadPoolExecutor() as pool:
        both = [
            pool.submit(
                helpers, "download", endpoint=hub.url, hf_home=hf_home, home=tmp_path / home
            )
            for home in "ab"
        ]
    for done in [future.result() for future in both]:
        assert done.returncode == 0, done.stderr
        assert "no connection" in done.stdout or "All was here already." in done.stdout
    after = helpers("download", endpoint=NOBODY, hf_home=hf_home, home=tmp_path)
    assert after.stdout.endswith("All was here already.\n"), after.stderr


def moments_of_a_download() -> list[int]:
    """Numbers of requests: CASES of them, evenly spaced, of the 30 or so of a first download."""
    cases = min(30, int(os.environ.get("CASES", 2)))
    return [1 + (2 * case + 1) * 30 // (2 * cases) for case in range(cases)]


# The Hub's client waits for seconds before it tries again.
HURRY = "import time\nsleep = time.sleep\ntime.sleep = lambda seconds: sleep(min(seconds, 0.1))\n"


@pytest.mark.parametrize("moment", moments_of_a_download())
def test_a_cable_pulled_at_any_request_costs_only_time(repos, tmp_path, moment):
    """The download ends with a sentence, and the next one, with the cable in, fetches the rest."""
    where = {"hf_home": tmp_path / "hf_home", "home": tmp_path / "home"}
    (tmp_path / "sitecustomize.py").write_text(HURRY, encoding="utf-8")
    with Hub(repos, fault=moment) as hub:
        cut = helpers("download", endpoint=hub.url, PYTHONPATH=str(tmp_path), **where)
        assert cut.returncode == 0 or "the connection" in the_error(cut), cut.stderr
        assert (cut.returncode == 0) == (hub.asked < moment), "no half of it is taken for all"
    with Hub(repos) as hub:
        done = helpers("download", endpoint=hub.url, **where)
    assert done.returncode == 0, done.stderr
    again = helpers("download", endpoint=NOBODY, **where)
    assert again.stdout.endswith("All was here already.\n"), again.stderr


MISSING = """
from helpers.profiles import GPT2, WIKITEXT
from helpers.runtime.hub import cached

gpt2, data = cached(GPT2, WIKITEXT)
for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
    [file] = gpt2.glob(f"snapshots/*/{name}")
    kept = file.rename(file.with_suffix(".kept"))
    print(name, len(cached(GPT2, WIKITEXT)))
    kept.rename(file)
print("all", len(cached(GPT2, WIKITEXT)))
"""


def test_half_a_download_does_not_count_as_one(trained, tmp_path):
    _, home, hf_home = trained
    shutil.copytree(hf_home, tmp_path / "hf_home", symlinks=True)
    done = python("-c", MISSING, endpoint=NOBODY, hf_home=tmp_path / "hf_home", home=home)
    assert done.returncode == 0, done.stderr
    counts = dict(line.split() for line in done.stdout.splitlines())
    assert len(counts) == 5 and counts.pop("all") == "2" and set(counts.values()) == {"0"}, counts


def test_own_text_needs_no_wikitext(trained, tmp_path):
    _, _, hf_home = trained
    shutil.copytree(hf_home / "hub", tmp_path / "hf_home" / "hub", symlinks=True)
    text = tmp_path / "short.txt"
    text.write_text("A short text.", encoding="utf-8")
    where = {"endpoint": NOBODY, "hf_home": tmp_path / "hf_home", "home": tmp_path / "home"}
    done = helpers(*TRAIN, "--profile", "gpt2", "--text", str(text), **where)
    assert "use a longer text" in the_error(done), "GPT-2 was loaded, and the text counted"
    assert "Retrying" not in done.stderr, "nobody asks for a Hub that is not needed"


def test_download_without_connection(tmp_path):
    done = helpers(
        "download", endpoint=NOBODY, hf_home=tmp_path / "hf_home", home=tmp_path / "home"
    )
    assert re.search(r"could not be fetched .* connection", the_error(done))
    assert len(done.stderr.splitlines()) == 1 and not done.stdout


def test_weights_cut_off_half_way(repos, tmp_path):
    home = tmp_path / "home"
    with Hub(repos, fault="cut") as hub:
        done = helpers(
            *TRAIN, "--profile", "gpt2", endpoint=hub.url, hf_home=tmp_path / "hf_home", home=home
        )
    error = the_error(done)
    assert re.search(
        r"openai-community/gpt2 "
        r"(could not be fetched .* not all of it .* connection|are incomplete)",
        error,
    )
    # transformers' own advice, three sentences long, is beside the point here.
    assert "local directory" not in error and "pytorch_model.bin" not in error
    assert not home.exists(), "nothing is written"


def test_prompt_with_truncated_weights(trained, tmp_path):
    _, home, hf_home = trained
    shutil.copytree(home / "fine_tuned_gpt2", tmp_path / "fine_tuned_gpt2")
    weights = tmp_path / "fine_tuned_gpt2" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    done = helpers(
        "prompt", endpoint=NOBODY, hf_home=hf_home, home=tmp_path, text="The harbour\n:q\n"
    )
    assert re.search(
        r"model.safetensors in .*fine_tuned_gpt2 is not as it was saved: make", the_error(done)
    )
    assert done.stdout == ""


OTHERS = ("--model", "someone/short-gpt2", "--dataset", "someone/SomeStories", "--column", "story")


def test_another_gpt2_on_another_dataset(repos, tmp_path):
    hf_home, home = tmp_path / "hf_home", tmp_path / "home"
    with Hub(repos) as hub:
        done = helpers(*TRAIN, *OTHERS, endpoint=hub.url, hf_home=hf_home, home=home)
    assert done.returncode == 0, done.stderr
    what = "profile gpt2 (as its model was asked for): someone/short-gpt2 on someone/SomeStories"
    assert what in done.stdout and "1 x 64 tokens a step" in done.stdout
    summary = summary_in(home)
    assert (summary["model"], summary["dataset"]) == ("someone/short-gpt2", "someone/SomeStories")
    assert summary["tokens_seen"] == 64 * summary["steps"]
    assert summary["perplexity_after"] < summary["perplexity_before"]

    # With the cable out: the same data again, in the same column, and the model's own context.
    done = helpers("evaluate", "--json", endpoint=NOBODY, hf_home=hf_home, home=home)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["block"], result["tokens"]) == (64, summary["validation_tokens"])
    assert result["perplexity"] == pytest.approx(summary["perplexity_after"], rel=1e-6)
    done = helpers(*TRAIN, *OTHERS, endpoint=NOBODY, hf_home=hf_home, home=home)
    assert done.returncode == 0 and "holds the finished result" in done.stdout, done.stderr
    assert "Retrying" not in done.stderr, "nobody asks for a Hub that is not needed"
    done = helpers("prompt", endpoint=NOBODY, hf_home=hf_home, home=home, text="Story\n:q\n")
    assert done.returncode == 0 and "[seed " in done.stdout, done.stderr


SPLITS = """
import json, sys
from helpers import data, profiles
from helpers.runtime.errors import TutorialError

found = {}
for name, column in json.loads(sys.argv[1]):
    try:
        splits = data.load_splits(profiles.choose("tiny", dataset=name, column=column))
        found[f"{name} {column}"] = {split: rows["text"][:] for split, rows in splits.items()}
    except TutorialError as error:
        found[f"{name} {column}"] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def texts(repos, tmp_path_factory):
    """What `load_splits` finds, or says, for a dataset's name and a column of it."""
    asked = [
        *[("someone/SomeStories", name) for name in ("story", "number", "nothing", "missing", "")],
        *[(f"someone/two-configs{name}", "") for name in ("/first", "/second", "/third", "")],
        *[(name, "") for name in ("someone/only-a-test", "someone/none", "alone", "a/b/c/d")],
    ]
    folder = tmp_path_factory.mktemp("others")
    with Hub(repos) as hub:
        done = python(
            "-c", SPLITS, json.dumps(asked),
            endpoint=hub.url, hf_home=folder / "hf_home", home=folder / "home",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return lambda name, column="": found[f"{name} {column}"]


def test_without_a_validation_split_the_last_tenth_of_the_documents_is_one(texts):
    found = texts("someone/SomeStories", "story")
    assert {split: len(rows) for split, rows in found.items()} == {"train": 81, "validation": 9}
    rows = found["train"] + found["validation"]
    assert [row.split(":")[0] for row in rows] == [f"Story {number}" for number in range(90)]


def test_a_configuration_is_part_of_the_name(texts):
    for config, count in (("first", 20), ("second", 30)):
        found = texts(f"someone/two-configs/{config}")
        assert found["train"] == [f"{config} {number}" for number in range(count)]
        assert found["validation"] == [f"{config} held out"] * 3, "its own, not a tenth"


@pytest.mark.parametrize(
    ("name", "column", "words"),
    [
        ("someone/SomeStories", "", "has no column 'text'; .* number, story, nothing, missing"),
        ("someone/SomeStories", "number", "'number' .* is not text; .* number, story, nothing"),
        ("someone/SomeStories", "nothing", "'nothing' .* is empty; .* number, story, nothing"),
        ("someone/SomeStories", "missing", "'missing' .* is empty; .* number, story, nothing"),
        ("someone/two-configs", "", "first.*second.*someone/two-configs/CONFIG"),
        ("someone/two-configs/third", "", "first.*second.*someone/two-configs/CONFIG"),
        ("someone/only-a-test", "", "no split named train, only test"),
        ("someone/none", "", "could not be fetched .* check its name"),
        ("alone", "", "OWNER/NAME or OWNER/NAME/CONFIG"),
        ("a/b/c/d", "", "OWNER/NAME or OWNER/NAME/CONFIG"),
    ],
)
def test_a_wrong_dataset_gets_a_sentence(texts, name, column, words):
    assert re.search(words, texts(name, column)), texts(name, column)


MODELS = """
import sys
from helpers import profiles
from helpers.runtime import hardware
from helpers.runtime.errors import TutorialError

for model in sys.argv[1:]:
    try:
        hardware.check_memory(profiles.choose("gpt2", "cpu", model=model))
    except TutorialError as error:
        print(error)
"""


def test_a_wrong_model_gets_a_sentence_before_the_download(repos, tmp_path):
    names = ("someone/bert", "someone/huge-gpt2", "someone/none", "not a name")
    hf_home, home = tmp_path / "hf_home", tmp_path / "home"
    with Hub(repos) as hub:
        done = python("-c", MODELS, *names, endpoint=hub.url, hf_home=hf_home, home=home)
    bert, huge, missing, no_name = done.stdout.splitlines()
    assert re.search("someone/bert is no GPT-2 but .* bert; choose .* distilbert/distilgpt2", bert)
    # (50,257 + 1,024) x 20,000 + 200 x (12 x 20,000² + 13 x 20,000) + 2 x 20,000
    assert "961,077,660,000 parameters x 16 bytes" in huge and "15,377.2 GB" in huge
    assert all(
        re.search("There is no model .* check its name", line) for line in (missing, no_name)
    )
    done = python("-c", MODELS, "someone/short-gpt2", endpoint=NOBODY, hf_home=hf_home, home=home)
    assert re.search(
        r"short-gpt2 .* does not answer \(.*\): check its name and the connection", done.stdout
    )


def test_what_is_wrong_with_the_connection_is_told(repos, monkeypatch):
    """A certificate that a company's proxy puts in place of the Hub's, or a proxy that refuses."""
    from huggingface_hub import constants

    from helpers.runtime import hub

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with Hub(repos) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        assert hub.hub_trouble() == ""
        monkeypatch.setattr(constants, "ENDPOINT", server.url.replace("http:", "https:"))
        assert re.search(r"does not answer \(\w+Error: .*SSL", hub.hub_trouble())
    with Hub(repos, fault="refuse") as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        with pytest.raises(TutorialError, match="which does not answer .HTTP status 503.: check"):
            hub.reach_hub("nobody/nothing")


def test_a_cache_that_cannot_be_written_is_told_as_such(monkeypatch):
    """Shared by several people, and read only: `datasets` opens its lock files for writing."""
    import datasets

    from helpers.runtime import hub

    def locked(*_, **__):
        raise PermissionError(13, "Permission denied", "/shared/some.lock")

    monkeypatch.setattr(datasets, "load_dataset", locked)
    with pytest.raises(TutorialError, match="/shared/some.lock cannot be written .Permission"):
        hub.load_texts("owner/name", "text")
