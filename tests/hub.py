"""A small stand-in for the Hugging Face Hub: it serves folders on 127.0.0.1 to the Hub's own,
unpatched clients.

`make_repos` fills a folder with what the profile `gpt2` asks for, small and random; `Hub`
serves it, with one revision. It answers what `from_pretrained` and `load_dataset` ask, and takes
the uploads of whoever has the `TOKEN`.
"""

import base64
import hashlib
import json
import math
import random
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"  # the one revision that every repo has
FILE = re.compile(
    r"/(?:(?P<kind>datasets)/)?(?P<repo>[^/]+/[^/]+)/(?P<verb>resolve)/[^/]+/(?P<path>.+)"
)
API = re.compile(
    r"/api/(?P<kind>models|datasets)/(?P<repo>[^/]+/[^/]+)"
    r"(?:/(?P<verb>revision|tree|paths-info)/[^/]+(?:/(?P<path>.+))?)?"
)
UPLOAD = re.compile(
    r"/api/(?:(?P<verb>repos/create|validate-yaml)"
    r"|models/(?P<repo>[^/]+/[^/]+)/(?P<what>preupload|commit)/main)"
)
TOKEN = "hf_of_the_tests"
WIKITEXT = "wikitext-2-raw-v1"
ARTICLES = {"train": 60, "validation": 16, "test": 16}


class Hub(ThreadingHTTPServer):
    """Answers while it is entered: `with Hub(root) as hub`, then `HF_ENDPOINT` is `hub.url`.

    `fault="refuse"` answers 503 to everything; `fault="cut"` breaks each download of
    weights off half way; a number: from the request of that number on, nothing is answered any
    more, and that one is broken off half way. `asked` counts the requests.
    """

    def __init__(self, root: Path, fault: str | int | None = None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root, self.fault, self.url = root, fault, f"http://127.0.0.1:{self.server_address[1]}"
        self.asked, self.counting = 0, threading.Lock()

    def __enter__(self):
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    half = False  # whether this answer is broken off half way

    def do_GET(self):
        with self.server.counting:
            self.server.asked += 1
            number = self.server.asked
        last = self.server.fault if isinstance(self.server.fault, int) else math.inf
        self.half = number == last
        if number > last:
            return self.connection.close()
        url = urlsplit(self.path)
        asked = API.fullmatch(url.path) or FILE.fullmatch(url.path)
        repo = asked and self.server.root / (asked["kind"] or "models") / asked["repo"]
        if self.server.fault == "refuse":
            return self.answer(503, {"error": "fault"})
        if not asked or not repo.is_dir():
            return self.missing("RepoNotFound")
        path = repo / (asked["path"] or "")
        if asked["verb"] == "resolve":
            return self.send_file(path) if path.is_file() else self.missing("EntryNotFound")
        if asked["verb"] == "paths-info":
            wanted = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()).get(
                "paths", []
            )
            return self.answer(
                200, [_entry(repo, repo / name) for name in wanted if (repo / name).exists()]
            )
        if asked["verb"] == "tree":
            found = path.rglob("*") if "recursive=true" in url.query.lower() else path.glob("*")
            entries = [_entry(repo, inside) for inside in sorted(found)]
            return self.answer(200, entries) if entries else self.missing("EntryNotFound")
        files = [
            {"rfilename": file.relative_to(repo).as_posix()}
            for file in repo.rglob("*")
            if file.is_file()
        ]
        self.answer(
            200,
            {"id": asked["repo"], "sha": COMMIT, "siblings": files, "private": False, "tags": []},
        )

    do_HEAD = do_GET

    def do_POST(self):
        asked = UPLOAD.fullmatch(urlsplit(self.path).path)
        if not asked:
            return self.do_GET()
        lines = self.rfile.read(int(self.headers["Content-Length"])).splitlines()
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid username or password."})
        sent = [json.loads(line) for line in lines]
        if asked["verb"] == "repos/create":
            name = f"{sent[0]['organization']}/{sent[0]['name']}"
            (self.server.root / "models" / name).mkdir(parents=True, exist_ok=True)
            (self.server.root / "created.json").write_text(json.dumps(sent[0]), encoding="utf-8")
            return self.answer(200, {"url": f"{self.server.url}/{name}"})
        if asked["verb"]:
            return self.answer(200, {"errors": [], "warnings": []})
        if asked["what"] == "preupload":  # all files come in the commit itself, however large
            how = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            return self.answer(200, {"files": [f | how for f in sent[0]["files"]]})
        for entry in sent:
            if entry["key"] == "file":
                file = self.server.root / "models" / asked["repo"] / entry["value"]["path"]
                file.write_bytes(base64.b64decode(entry["value"]["content"]))
        url = f"{self.server.url}/{asked['repo']}/commit/{COMMIT}"
        self.answer(200, {"success": True, "commitUrl": url, "commitOid": COMMIT})

    def send_file(self, file: Path):
        content = file.read_bytes()
        cut = self.half or self.server.fault == "cut" and file.suffix == ".safetensors"
        self.start(200, len(content), ETag=f'"{hashlib.sha256(content).hexdigest()}"')
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)

    def missing(self, code: str):
        self.answer(404, {"error": code}, **{"X-Error-Code": code})

    def answer(self, status: int, data: dict | list, **headers: str):
        content = json.dumps(data).encode()
        self.start(status, len(content), **headers)
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if self.half else content)

    def start(self, status: int, length: int, **headers: str):
        self.send_response(status)
        for name, value in {
            "Content-Length": str(length),
            "X-Repo-Commit": COMMIT,
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


def _entry(repo: Path, path: Path) -> dict:
    name, content = path.relative_to(repo).as_posix(), path.read_bytes() if path.is_file() else b""
    oid = hashlib.sha1(name.encode() + content).hexdigest()
    return {
        "type": "file" if path.is_file() else "directory",
        "path": name,
        "size": len(content),
        "oid": oid,
    }


def make_repos(root: Path, articles: dict[str, int] = ARTICLES) -> None:
    """Put a small random GPT-2 and WikiText into `root`, under the names of the real ones."""
    rows = {
        split: wikitext_rows(count, seed) for seed, (split, count) in enumerate(articles.items())
    }
    splits = {split: {"text": texts} for split, texts in rows.items()}
    make_dataset(root / "datasets/Salesforce/wikitext", {WIKITEXT: splits})
    make_gpt2(root / "models/openai-community/gpt2", rows["train"])


def wikitext_rows(articles: int, seed: int) -> list[str]:
    """Articles in WikiText's format: blank rows, headings of two levels, and ` @-@ ` in words."""
    draw = random.Random(seed)
    places = ("harbour", "island", "valley", "lighthouse", "market", "river", "bridge", "garden")
    details = ("a well @-@ known year", "2 @.@ 5 miles off", "after 1 @,@ 250 days")
    verbs = (
        "was built beside",
        "lies north of",
        "supplied",
        "was named after",
        "is older than",
        "looks over",
    )

    def sentence() -> str:
        first, second = draw.sample(places, 2)
        what = f"The {first} {draw.choice(verbs)} the {second}"
        return f"{what} in {draw.randint(1500, 1999)} , {draw.choice(details)} ."

    rows = []
    for _ in range(articles):
        rows += ["", f" = The {draw.choice(places)} of {draw.choice('ABCDEF')} = \n", ""]
        for section in ("History", "Geography"):
            rows += ["", f" = = {section} = = \n", ""]
            rows += [
                " " + " ".join(sentence() for _ in range(draw.randint(1, 4))) + " \n"
                for _ in range(3)
            ]
    return rows


def make_dataset(folder: Path, configs: dict[str, dict[str, dict[str, list]]]) -> None:
    """A dataset repo as the Hub keeps it: configurations with splits with columns of values.

    Each split is a parquet file, and a card names them.
    """
    import pyarrow
    import pyarrow.parquet

    card = "---\nconfigs:\n"
    for config, splits in configs.items():
        (folder / config).mkdir(parents=True)
        card += f"- config_name: {config}\n  data_files:\n"
        for split, columns in splits.items():
            name = f"{config}/{split}-00000-of-00001.parquet"
            pyarrow.parquet.write_table(pyarrow.table(columns), folder / name)
            card += f"  - split: {split}\n    path: {name}\n"
    (folder / "README.md").write_text(card + "---\n", encoding="utf-8")


def make_gpt2(folder: Path, texts: list[str], n_positions: int = 1024) -> None:
    """A GPT-2 with two layers of 32, random weights, and a byte-level BPE learned from `texts`."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

    end = "<|endoftext|>"
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=400, special_tokens=[end], show_progress=False)
    folder.mkdir(parents=True)
    files = bpe.save_model(str(folder))  # vocab.json and merges.txt
    tokenizer = GPT2TokenizerFast(
        *files, bos_token=end, eos_token=end, unk_token=end, model_max_length=n_positions
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = {
        "vocab_size": bpe.get_vocab_size(),
        "n_positions": n_positions,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 2,
    }
    GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)).save_pretrained(folder)


def make_others(root: Path) -> None:
    """Beside what `make_repos` makes: other datasets and models, whole ones and wrong ones."""
    stories = [
        f"Story {number}: the boat came home, and {number} men sang." for number in range(90)
    ]
    columns = {
        "number": list(range(90)),
        "story": stories,
        "nothing": ["", "  "] * 45,
        "missing": [None] * 89 + [" "],
    }
    make_dataset(root / "datasets/someone/SomeStories", {"default": {"train": columns}})
    make_dataset(root / "datasets/someone/only-a-test", {"default": {"test": columns}})
    two = {
        config: {
            "train": {"text": [f"{config} {number}" for number in range(count)]},
            "validation": {"text": [f"{config} held out"] * 3},
        }
        for config, count in (("first", 20), ("second", 30))
    }
    make_dataset(root / "datasets/someone/two-configs", two)
    make_gpt2(root / "models/someone/short-gpt2", stories, n_positions=64)
    for name, config in (
        ("bert", {"model_type": "bert"}),
        ("huge-gpt2", {"model_type": "gpt2", "n_embd": 20_000, "n_layer": 200}),
    ):
        folder = root / "models/someone" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
