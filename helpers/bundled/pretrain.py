"""Pre-train the small GPT-2 that is bundled with the helpers: on books, then on plain facts too.

    python -m helpers.bundled.pretrain --books books.parquet [story.txt ...] --output-dir my_gpt2

A `.txt` file is one book, titled by its file name; a `.parquet` file holds one book a row in the
columns `book` and `text`, and optionally `gutenberg_id`. The book named by `--held-out` is not
trained on: it measures the result, in bits per byte.

Sense comes from pre-training, form from tuning. So some rows of each batch come from `pieces/`
beside this file, which say what a fox, an oak or a pot is, and some from the most factual books and
from parts of the others that keep to one thing. Most of these texts stand under a title, so that
the model learns that a title is what its text is about. In the last part of the steps they are most
of the batch, and the learning rate falls to zero. The tokenizer learns from the books and from the
encyclopedia, whose marks become tokens.

A piece is told in another way each time: with its paragraphs in another order, without the last,
with the encyclopedia's marks, or without its title. A fact that is met in many forms is known; one
that is met in a single form is only repeated (Allen-Zhu and Li 2023, "Physics of Language Models",
part 3.1).

Stop with Ctrl-C whenever you like: the same command goes on from the last checkpoint. `--hours`
ends a session in time.
"""

import argparse
import json
import math
import re
import time
import zipfile
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tokenizers import ByteLevelBPETokenizer
from tqdm import tqdm
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from helpers.bundled import build_encyclopedia

END_OF_TEXT = "<|endoftext|>"
VOCABULARY = 4096
BLOCK = 256  # tokens: the model's context
WIDTH, LAYERS, HEADS = 256, 4, 4  # 4,273,664 parameters
BATCH = 16  # blocks a step: 4,096 tokens
WARMUP = 100  # steps
SAVE_EVERY = 120  # seconds
SEED = 1
RATE = 3e-3  # of both optimizers
LAST_PART = 0.42  # of the steps: most of each batch is facts, and the rate falls to zero
# Rows of a batch that come from the books, from their parts under a title, and from the pieces.
MIX, LAST_MIX = (10, 3, 3), (3, 5, 8)
PART = 700  # characters, about: of a book's parts under a title of their own
ARTICLES_AGAIN = 30  # so often does the tokenizer see the encyclopedia: a tenth of its text
ENDING = 0.01  # of each book, left out: it may be an advertisement
HERE = Path(__file__).parent
# Books that say what things are, rather than tell a story.
FACTUAL = re.compile(
    r"Burgess (Animal|Bird) Book|^Among the|McGuffey|Nursery|Stories of|How We are Fed|Geography"
    r"|Birds and Bees|Book of Nature|Where We Live|Story-book of Science",
    re.IGNORECASE,
)


def read_books(files: list[str]) -> list[dict]:
    """The books in `files`, each `{"book": title, "text": str, "gutenberg_id": int or None}`."""
    books = []
    for file in map(Path, files):
        if file.suffix == ".parquet":
            import pyarrow.parquet

            books += pyarrow.parquet.read_table(file).to_pylist()
        else:
            books.append({"book": file.stem, "text": file.read_text(encoding="utf-8")})
    return [{"gutenberg_id": None, **book} for book in books]


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """GPT-2's kind of tokenizer (byte-level BPE, Radford et al. 2019), with merges learned from
    `texts`.
    """
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        texts, vocab_size=VOCABULARY, special_tokens=[END_OF_TEXT], show_progress=True
    )
    special = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
    # Without these names, transformers 4 also makes token types, and GPT-2 adds a vector for each.
    names = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, model_max_length=BLOCK, model_input_names=names, **special
    )


def new_model(end_of_text: int) -> GPT2LMHeadModel:
    """A freshly initialised GPT-2 of our size. No dropout: four passes over the books do not
    overfit it.
    """
    torch.manual_seed(SEED)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=BLOCK, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        bos_token_id=end_of_text, eos_token_id=end_of_text,
    )  # fmt: skip
    # At this size, attention in plain matrix products takes less time than the fused kernel.
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager")


class Muon(torch.optim.Optimizer):
    """Muon (Jordan 2024): momentum, made orthogonal by five Newton-Schulz steps.

    As `torch.optim.Muon`, which computes in bf16: processors without bf16 take seconds for that, so
    on these it is fp32.
    The update is scaled to the size of AdamW's (Liu et al. 2025).
    """

    def __init__(self, matrices, lr: float, momentum: float = 0.95, weight_decay: float = 0.1):
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """Update all matrices once."""
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["average"] = torch.zeros_like(weight)
                state["average"].lerp_(weight.grad, 1 - group["momentum"])
                update = orthogonal(weight.grad.lerp(state["average"], group["momentum"]))
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-0.2 * group["lr"] * math.sqrt(max(weight.shape)))


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """The orthogonal matrix nearest to `matrix` (rows, columns), roughly: Jordan's polynomial."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = (x / (x.norm() + 1e-7)).to(fast_dtype())
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return (x.mT if tall else x).to(matrix.dtype)


def optimizers(model: GPT2LMHeadModel) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for embeddings, biases and norms.

    On this model Muon needs fewer tokens than AdamW alone for the same loss.
    """
    matrices, rest = [], []
    for name, weight in model.named_parameters():
        (matrices if weight.ndim == 2 and ".h." in name else rest).append(weight)
    adam = torch.optim.AdamW(rest, lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    return [Muon(matrices, lr=RATE), adam]


def learning_rate_factor(step: int, steps: int) -> float:
    """Linear warm-up, a plateau, and a linear descent to zero over the last part."""
    return min((step + 1) / WARMUP, 1.0, (steps - step) / (LAST_PART * steps))


def rows_of(tokens: torch.Tensor, first: int, count: int) -> torch.Tensor:
    """`count` rows of BLOCK + 1 tokens, from number `first` on, of an endless shuffled reading.

    Each epoch cuts the text at another offset and shuffles the blocks. The number of a row alone
    decides what is in it, so a resumed run sees what an uninterrupted one would have seen.
    """
    blocks = (len(tokens) - BLOCK - 1) // BLOCK
    epoch, place = divmod(first // count, blocks // count)
    random = np.random.default_rng([SEED, epoch])
    offset = int(random.integers(BLOCK))
    chosen = random.permutation(blocks)[place * count : (place + 1) * count] * BLOCK + offset
    return torch.stack([tokens[start : start + BLOCK + 1] for start in chosen])


def batch_of(books: torch.Tensor, parts: torch.Tensor, row_of_pieces, step: int, steps: int):
    """Inputs and targets of one step, each (BATCH, BLOCK).

    `books` and `parts` are streams of ids (tokens,); `row_of_pieces(number)` gives a row.
    """
    begin = steps - round(LAST_PART * steps)  # of the last part
    mix = MIX if step < begin else LAST_MIX
    rows = []
    for place, count in enumerate(mix):
        # Whatever the mix, each reading goes on where it stood.
        first = min(step, begin) * MIX[place] + max(step - begin, 0) * LAST_MIX[place]
        if place < 2:
            rows.append(rows_of((books, parts)[place], first, count))
        else:
            rows += [row_of_pieces(number)[None] for number in range(first, first + count)]
    rows = torch.cat(rows)
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def loss_of(
    model, inputs: torch.Tensor, targets: torch.Tensor, reduction: str = "mean"
) -> torch.Tensor:
    """Cross-entropy in nats, of targets (batch, length) given inputs (batch, length)."""
    logits = model(input_ids=inputs, use_cache=False).logits  # (batch, length, vocabulary)
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), reduction=reduction
    )


@torch.no_grad()
def bits_per_byte(model, tokenizer, text: str) -> float:
    """Bits that `model` needs for each UTF-8 byte of `text`, in fp32, in blocks of BLOCK tokens.

    Every token is predicted, the first from the end-of-text token; no token sees beyond its own
    block.
    """
    ids = torch.tensor([tokenizer.eos_token_id] + tokenizer(text, verbose=False)["input_ids"])
    model.eval()
    nats = 0.0
    for start in tqdm(range(0, len(ids) - 1, BLOCK), "scoring", delay=2):
        row = ids[start : start + BLOCK + 1][None]  # (1, BLOCK + 1), the last row shorter
        nats += loss_of(model, row[:, :-1], row[:, 1:], reduction="sum").item()
    model.train()
    return nats / math.log(2) / len(text.encode("utf-8"))


def save_checkpoint(file: Path, model, optimizer_list, step: int, seconds: float) -> None:
    """Write all that a resumed run needs, under another name first: a kill leaves the last one."""
    state = {"model": model.state_dict(), "step": step, "seconds": seconds}
    state["optimizers"] = [optimizer.state_dict() for optimizer in optimizer_list]
    unfinished = file.with_suffix(".partial")
    torch.save(state, unfinished)
    unfinished.replace(file)


def load_checkpoint(file: Path, model, optimizer_list) -> tuple[int, float]:
    """Put a checkpoint into model and optimizers; the number of steps taken, and their seconds."""
    try:
        damaged = zipfile.ZipFile(file).testzip()  # torch does not look at the sums in its files
    except Exception:  # it fails in many ways where a byte of a zip's directory has changed
        damaged = True
    if damaged:
        raise SystemExit(f"{file} is damaged; delete it, and begin anew.")
    state = torch.load(file, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizer_list, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return state["step"], state["seconds"]


def fast_dtype() -> torch.dtype:
    """bf16 where this processor multiplies it; else fp32, which is faster than emulating it."""
    found = torch.cpu.get_capabilities()
    native = found.get("avx512_bf16") or found.get("amx_bf16")
    return torch.bfloat16 if native else torch.float32


def pretrain(
    model, batch_at, steps: int, checkpoint: Path, hours: float = math.inf, loss_of=loss_of
) -> float:
    """Train `model` in place for `steps` steps, from `checkpoint` if it exists; gives the seconds.

    `batch_at(step)` gives inputs and targets, each (batch, length). Leaves with SystemExit after
    Ctrl-C, and after `hours`.
    """
    optimizer_list, start, before = optimizers(model), 0, 0.0
    if checkpoint.exists():
        start, before = load_checkpoint(checkpoint, model, optimizer_list)
        print(f"going on from step {start:,}", flush=True)
    began = last_saved = time.perf_counter()  # which nobody sets back
    average = None
    try:
        for step in tqdm(range(start, steps), initial=start, total=steps, mininterval=30):
            inputs, targets = batch_at(step)
            with torch.autocast("cpu", fast_dtype(), enabled=fast_dtype() == torch.bfloat16):
                loss = loss_of(model, inputs, targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizer_list:
                for group in optimizer.param_groups:
                    group["lr"] = RATE * learning_rate_factor(step, steps)
                optimizer.step()
                optimizer.zero_grad()
            average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
            late = time.perf_counter() - began > 3600 * hours
            if late or step == steps - 1 or time.perf_counter() - last_saved > SAVE_EVERY:
                last_saved = time.perf_counter()
                spent = before + last_saved - began
                save_checkpoint(checkpoint, model, optimizer_list, step + 1, spent)
                print(f" step {step + 1:,}: loss {average:.3f}", flush=True)
            if late and step < steps - 1:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise SystemExit(f"\nStopped. The same command goes on from {checkpoint}.") from None
    return before + time.perf_counter() - began


def save_bundle(folder: Path, model, tokenizer, card: str) -> None:
    """Write the model (weights as fp16, half the size), its tokenizer and its card to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    settings = (
        folder / "tokenizer_config.json"
    )  # transformers 5 has another name for the same class; 4 knows only this
    text = settings.read_text(encoding="utf-8").replace(
        "TokenizersBackend", "PreTrainedTokenizerFast"
    )
    settings.write_text(text, encoding="utf-8")
    # The output layer has no weights of its own: it shares those of the token embedding.
    weights = {
        name: tensor.half()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }
    # Else a pipeline that is told no length asks for 256 new tokens, more than fit after a prompt.
    # (With a `max_length` here, each call with a `max_new_tokens` of its own would be warned.)
    model.generation_config.max_new_tokens = 80  # as `Sampling` has it
    model.save_pretrained(folder, state_dict=weights)
    (folder / "README.md").write_text(card, encoding="utf-8")


def figures_of(folder: Path, held_out: dict | None) -> dict:
    """The bits per byte that the card states, of the saved files as a learner loads them."""
    from helpers.data import validation_texts
    from helpers.profiles import choose

    model = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    figures = {
        "encyclopedia_bits_per_byte": bits_per_byte(
            model, tokenizer, "".join(validation_texts(choose("tiny")))
        )
    }
    if held_out:
        figures["held_out_bits_per_byte"] = bits_per_byte(model, tokenizer, held_out["text"])
    return figures


def card_of(books: list[dict], held_out: dict | None, run: dict, figures: dict) -> str:
    """The model card, in Markdown."""

    def row(book: dict) -> str:
        return f"| {book['book']} | {book['gutenberg_id'] or '-'} | {len(book['text']):,} |"

    bits = figures["encyclopedia_bits_per_byte"]
    reached = f"- encyclopedia, validation split: **{bits:.4f}** bits per byte\n"
    if held_out:
        bits, number = figures["held_out_bits_per_byte"], held_out["gutenberg_id"] or "-"
        left_out = f"{held_out['book']} (Project Gutenberg {number}), not trained on"
        reached = f"- {left_out}: **{bits:.4f}** bits per byte\n{reached}"
    return f"""---
language: en
license: mit
library_name: transformers
pipeline_tag: text-generation
---
# A small GPT-2 that has read {len(books)} children's books

`GPT2LMHeadModel` with {run["parameters"]:,} parameters: {LAYERS} layers, width {WIDTH}, {HEADS}
heads, context {BLOCK} tokens, and a byte-level BPE tokenizer of {VOCABULARY:,} tokens learned from
the same books and from the bundled encyclopedia. It writes stories as such books do. Its purpose is
to be fine-tuned in a minute, without a connection or a GPU.

## Training

{run["steps"]:,} steps of {BATCH} x {BLOCK} tokens ({run["steps"] * BATCH * BLOCK:,} tokens; the
books have {run["tokens"]:,}), with Muon and AdamW, on {run["machine"]}, in
{run["seconds"] / 3600:.1f} hours. {sum(MIX[1:])} of the {BATCH} rows of a batch, and
{sum(LAST_MIX[1:])} in the last {LAST_PART:.0%} of the steps, came from short pieces of our own on
the subjects of the encyclopedia, from the most factual of the books, and from parts of the others
that keep to one thing, most of them under a title. No article of the encyclopedia was among them,
but what the articles are about was, as GPT-2 has read of the subjects of WikiText-2. Weights are
stored as fp16 and loaded as fp32.
`python -m helpers.bundled.pretrain --help` makes such a model.

## Figures

Every token is predicted, in blocks of {BLOCK}, in fp32:

{reached}
Bits per byte do not depend on the tokenizer: they compare with other models' on the same text.

## Limits

It has read children's books of about 1860 to 1930, with some of the views on people that such books
hold; paragraphs with slurs were left out. What it says of animals and plants is often wrong. It
cannot answer questions, and loses its thread after a few sentences.

## Books

All are in the public domain in the United States and come from Project Gutenberg. None of their
text is included here. Characters were counted after removing Project Gutenberg's header and
licence, and the last hundredth of each book.

| book | Gutenberg number | characters |
| --- | ---: | ---: |
{chr(10).join(map(row, books))}
"""


def read_pieces() -> list[tuple[str, str]]:
    """The pieces, each with its title in the encyclopedia's form: `The fox`, but `Bread`."""
    titles = {
        file.stem: file.read_text(encoding="utf-8").split("\n")[0].removeprefix("# ")
        for file in (build_encyclopedia.FOLDER / "articles").glob("*.md")
    }
    found = []
    for file in sorted((HERE / "pieces").glob("*.md")):
        text = file.read_text(encoding="utf-8")
        for name, piece in re.findall(r"^# (\w+)\n(.+?)(?=^# |\Z)", text, flags=re.M | re.S):
            title = titles.get(name, "The " + name.replace("_", " "))
            found.append((title, piece.strip()))
    return found


def told(title: str, piece: str, random: np.random.Generator) -> str:
    """A piece, told in one of many ways. A talk keeps its order."""
    paragraphs = piece.split("\n\n")
    if '"' not in piece and random.random() < 0.5:
        random.shuffle(paragraphs)
    if '"' not in piece and len(paragraphs) > 2 and random.random() < 0.25:
        paragraphs.pop()
    if random.random() < (0.2 if '"' in piece else 0.55):
        text = "".join(build_encyclopedia.rows_of("\n\n".join(paragraphs)))
    else:
        text = " " + "\n ".join(paragraphs) + "\n"
    return under(title, text) if random.random() < 0.85 else text


def row_of_pieces(pieces: list[tuple[str, str]], tokenizer, number: int) -> torch.Tensor:
    """Row `number` of an endless telling of the pieces: (BLOCK + 1,) ids, end-of-text after each.

    The number alone decides what is in it, as in `rows_of`.
    """
    random, ids = np.random.default_rng([SEED, number]), []
    while len(ids) <= BLOCK:
        title, piece = pieces[random.integers(len(pieces))]
        text = told(title, piece, random)
        ids += [*tokenizer(text, verbose=False)["input_ids"], tokenizer.eos_token_id]
    return torch.tensor(ids[: BLOCK + 1])


def titled_parts(books: list[dict]) -> list[str]:
    """The books' parts that keep to one thing, under its title, and the rest of the factual books,
    shuffled.
    """
    texts = []
    parts = [
        (part, bool(FACTUAL.search(book["book"]))) for book in books for part in parts_of(book)
    ]
    spread = Counter(word for part, _ in parts for word in set(nouns(part)))
    for part, factual in parts:
        title, times = theme(part, spread, len(parts))
        if times >= (3 if factual else 5):
            texts.append(under(f"The {title}", " " + part))
        elif factual:
            texts.append(part)
    np.random.default_rng(SEED).shuffle(texts)
    return texts


def under(title: str, text: str) -> str:
    """`text` under a title in the encyclopedia's form."""
    return f" = {title} = \n{text}"


def parts_of(book: dict) -> list[str]:
    """The book's text in parts of whole paragraphs, each of at least PART characters."""
    parts, part = [], ""
    for paragraph in book["text"].split("\n"):
        part += paragraph.strip() + "\n"
        if len(part) >= PART:
            parts.append(part)
            part = ""
    return parts


def nouns(text: str, before: str = "") -> list[str]:
    """The words of `text` that follow `before`, in lower case, without a plural's s."""
    words = re.findall(before + r"\b([a-z]{3,})\b", text.lower())
    return [word if word.endswith(("ss", "us", "is")) else word.removesuffix("s") for word in words]


def theme(part: str, spread: Counter, parts: int) -> tuple[str, int]:
    """The word that `part` is about, and how often it is there.

    Of the words behind an article, the one with the highest tf-idf (Sparck Jones 1972): often here,
    and in few of all `parts`; `spread` says in how many.
    """
    times = Counter(nouns(part))
    found = sorted(set(nouns(part, before=r"\b(?:an?|the)\s+")))
    word = max(found, key=lambda word: times[word] * math.log(parts / spread[word]), default="")
    return word, times[word]


def encoded(tokenizer, texts: list[str]) -> torch.Tensor:
    """All texts as one stream of ids (tokens,), end-of-text after each."""
    ids = tokenizer(texts, verbose=False)["input_ids"]
    return torch.tensor([token for text in ids for token in [*text, tokenizer.eos_token_id]])


def main() -> None:
    """Do what the command line says; see the top of this file."""
    from helpers import data, profiles
    from helpers.loading import fuse_activation

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--books", nargs="+", required=True, metavar="FILE", help=".txt or .parquet files")
    add("--held-out", default="Whitefoot the Wood Mouse", metavar="TITLE", help="not trained on")
    add("--output-dir", default="pretrained_gpt2", type=Path, help="default: %(default)s")
    add("--steps", default=22000, type=int, help="of 4,096 tokens each (default: %(default)s)")
    add("--hours", default=math.inf, type=float, help="of this session")
    add("--compile", action="store_true", help="1.5 times as fast; needs a C++ compiler")
    options = parser.parse_args()

    options.output_dir.mkdir(parents=True, exist_ok=True)
    checkpoint = options.output_dir / "checkpoint.pt"
    books = read_books(options.books)
    for book in books:
        book["text"] = book["text"][: int(len(book["text"]) * (1 - ENDING))]
    held_out = next((book for book in books if book["book"] == options.held_out), None)
    books = [book for book in books if book is not held_out]
    train_split = data.load_splits(profiles.choose("tiny"))["train"]
    articles = data.articles(data.rows_of(train_split))
    tokenizer = train_tokenizer([book["text"] for book in books] + articles * ARTICLES_AGAIN)
    model = fuse_activation(new_model(tokenizer.eos_token_id))
    tokens = encoded(tokenizer, [book["text"] for book in books])
    parts = encoded(tokenizer, titled_parts(books))
    pieces = read_pieces()
    if len(tokens) < BATCH * (BLOCK + 2):
        needed = f"at least {BATCH * (BLOCK + 2):,} are needed"
        raise SystemExit(f"These books have {len(tokens):,} tokens; {needed}.")
    print(f"{len(books)} books, {len(tokens):,} tokens; of parts under titles: {len(parts):,}")
    rows = partial(row_of_pieces, pieces, tokenizer)
    batch_at = partial(batch_of, tokens, parts, rows, steps=options.steps)
    loss = torch.compile(loss_of) if options.compile else loss_of
    seconds = pretrain(model, batch_at, options.steps, checkpoint, options.hours, loss)
    run = {"steps": options.steps, "tokens": len(tokens), "seconds": seconds}
    run |= {"parameters": model.num_parameters(), "machine": f"{torch.get_num_threads()} CPU cores"}
    save_bundle(options.output_dir / "model", model, tokenizer, card="")
    figures = figures_of(options.output_dir / "model", held_out)
    card = card_of(books, held_out, run, figures)
    save_bundle(options.output_dir / "model", model, tokenizer, card)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
