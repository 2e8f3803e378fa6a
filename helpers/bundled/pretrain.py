"""Pre-train the small GPT-2 that is bundled with the helpers, on books of your choice.

    python -m helpers.bundled.pretrain --books books.parquet [novel.txt ...] --output-dir my_gpt2

A `.txt` file is one book, titled by its file name; a `.parquet` file holds one book a row in the
columns `book` and `text`, and optionally `gutenberg_id`. The book named by `--held-out` is not
trained on: it measures the result, in bits per byte. Stop with Ctrl-C whenever you like: the same
command goes on from the last checkpoint. The bundled model took about an hour on two CPU cores.
"""

import argparse
import json
import math
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from tokenizers import ByteLevelBPETokenizer
from tqdm import tqdm
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"
VOCABULARY = 4096
BLOCK = 256  # tokens: the model's context
WIDTH, LAYERS, HEADS = 256, 4, 4  # 4,273,664 parameters
BATCH = 16  # blocks a step: 4,096 tokens
WARMUP = 100  # steps
MUON_RATE, ADAM_RATE = 3e-3, 3e-3
SEED = 1


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
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, model_max_length=BLOCK, **special
    )


def new_model(end_of_text: int) -> GPT2LMHeadModel:
    """A freshly initialised GPT-2 of our size. No dropout: four passes over the books do not
    overfit it.
    """
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=BLOCK, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        bos_token_id=end_of_text, eos_token_id=end_of_text,
    )  # fmt: skip
    torch.manual_seed(SEED)
    return GPT2LMHeadModel(config)


def optimizers(model: GPT2LMHeadModel) -> list[torch.optim.Optimizer]:
    """Muon (Jordan 2024) for the matrices inside the blocks, AdamW for embeddings, biases and
    norms.

    On this model Muon needs fewer tokens than AdamW alone for the same loss.
    """
    matrices = [w for name, w in model.named_parameters() if w.ndim == 2 and ".h." in name]
    rest = [w for name, w in model.named_parameters() if w.ndim != 2 or ".h." not in name]
    return [
        torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def learning_rate_factor(step: int, steps: int) -> float:
    """Linear warm-up, a plateau, and a linear descent to zero over the last 60% of the steps."""
    return min((step + 1) / WARMUP, 1.0, (steps - step) / (0.6 * steps))


def batch_of(tokens: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets of one step, each (BATCH, BLOCK).

    Each epoch cuts the text at another offset and shuffles the blocks. The step number alone
    decides both, so a resumed run sees what an uninterrupted one would have seen.
    """
    blocks = (len(tokens) - BLOCK - 1) // BLOCK
    epoch, place = divmod(step, blocks // BATCH)
    random = np.random.default_rng([SEED, epoch])
    offset = int(random.integers(BLOCK))
    chosen = random.permutation(blocks)[place * BATCH : (place + 1) * BATCH] * BLOCK + offset
    rows = torch.stack(
        [tokens[start : start + BLOCK + 1] for start in chosen]
    )  # (BATCH, BLOCK + 1)
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
    """Write all that a resumed run needs, under another name first: a kill leaves the last one
    whole.
    """
    state = {"model": model.state_dict(), "step": step, "seconds": seconds}
    state["optimizers"] = [optimizer.state_dict() for optimizer in optimizer_list]
    partial = file.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(file)


def pretrain(
    model, tokens: torch.Tensor, steps: int, checkpoint: Path, compile_model: bool
) -> float:
    """Train `model` in place for `steps` steps, from `checkpoint` if it exists; return the seconds
    it took.
    """
    optimizer_list, start, before = optimizers(model), 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizer_list, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        start, before = state["step"], state["seconds"]
        print(f"going on from step {start:,}")
    for optimizer in optimizer_list:
        for group in optimizer.param_groups:
            group.setdefault("peak", group["lr"])
    run = torch.compile(model) if compile_model else model
    autocast = (
        torch.autocast("cpu", torch.bfloat16)
        if torch.backends.mkldnn.is_available()
        else nullcontext()
    )
    began = last_saved = time.time()
    bar = tqdm(range(start, steps), initial=start, total=steps, unit="step", smoothing=0.05)
    average = None
    try:
        for step in bar:
            inputs, targets = batch_of(tokens, step)
            with autocast:
                loss = loss_of(run, inputs, targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizer_list:
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * learning_rate_factor(step, steps)
                optimizer.step()
                optimizer.zero_grad()
            average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
            bar.set_postfix(loss=f"{average:.3f}", refresh=False)
            if time.time() - last_saved > 120 or step == steps - 1:
                last_saved = time.time()
                save_checkpoint(
                    checkpoint, model, optimizer_list, step + 1, before + last_saved - began
                )
    except KeyboardInterrupt:
        raise SystemExit(
            f"\nStopped. The same command goes on from the last checkpoint, {checkpoint}."
        ) from None
    return before + time.time() - began


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

    encyclopedia = figures["encyclopedia_bits_per_byte"]
    reached = f"- encyclopedia, validation split: **{encyclopedia:.4f}** bits per byte\n"
    if held_out:
        number = held_out["gutenberg_id"] or "-"
        left_out = f"{held_out['book']} (Project Gutenberg {number}), not trained on"
        reached = (
            f"- {left_out}: **{figures['held_out_bits_per_byte']:.4f}** bits per byte\n{reached}"
        )
    return f"""---
language: en
license: mit
library_name: transformers
pipeline_tag: text-generation
---
# A small GPT-2 that has read {len(books)} old books

`GPT2LMHeadModel` with {run["parameters"]:,} parameters: {LAYERS} layers, width {WIDTH}, {HEADS}
heads, context {BLOCK} tokens, and a byte-level BPE tokenizer of {VOCABULARY:,} tokens learned from
the same books. It writes old-fashioned English prose. Its purpose is to be fine-tuned in seconds,
without a connection or a GPU.

## Training

{run["steps"]:,} steps of {BATCH} x {BLOCK} tokens ({run["steps"] * BATCH * BLOCK:,} tokens, of
which {run["tokens"]:,} are distinct), Muon and AdamW, bf16 autocast on {run["machine"]},
{run["seconds"] / 60:.0f} minutes. Weights are stored as fp16 and loaded as fp32.
`python -m helpers.bundled.pretrain --help` makes such a model.

## Figures

Every token is predicted, in blocks of {BLOCK}, in fp32:

{reached}
Bits per byte do not depend on the tokenizer, so they compare with other models' on the same text.

## Limits

It has seen only fiction, travel writing and some history of the 19th and early 20th centuries, with
the views on people that such books hold. It knows no facts to rely on, cannot answer questions, and
loses its thread after a few sentences.

## Books

All are in the public domain in the United States and come from Project Gutenberg. None of their
text is included here. Characters were counted after removing Project Gutenberg's header and
licence.

| book | Gutenberg number | characters |
| --- | ---: | ---: |
{chr(10).join(map(row, books))}
"""


def main() -> None:
    """Do what the command line says; see the top of this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--books", nargs="+", required=True, metavar="FILE", help=".txt or .parquet files"
    )
    parser.add_argument(
        "--held-out",
        default="The War of the Worlds",
        metavar="TITLE",
        help="measured, not trained on",
    )
    parser.add_argument(
        "--output-dir", default="pretrained_gpt2", type=Path, help="default: %(default)s"
    )
    parser.add_argument(
        "--steps", default=4600, type=int, help="of 4,096 tokens each (default: %(default)s)"
    )
    parser.add_argument(
        "--no-compile", action="store_true", help="where torch.compile finds no C++ compiler"
    )
    options = parser.parse_args()

    books = read_books(options.books)
    held_out = next((book for book in books if book["book"] == options.held_out), None)
    books = [book for book in books if book is not held_out]
    tokenizer = train_tokenizer([book["text"] for book in books])
    encoded = tokenizer([book["text"] for book in books], verbose=False)["input_ids"]
    tokens = torch.tensor([token for ids in encoded for token in [*ids, tokenizer.eos_token_id]])
    if len(tokens) < BATCH * (BLOCK + 2):
        raise SystemExit(
            f"These books have {len(tokens):,} tokens; at least {BATCH * (BLOCK + 2):,} are needed."
        )
    print(
        f"{len(books)} books, {len(tokens):,} tokens, "
        f"{options.steps * BATCH * BLOCK / len(tokens):.1f} passes"
    )

    options.output_dir.mkdir(parents=True, exist_ok=True)
    checkpoint = options.output_dir / "checkpoint.pt"
    model = new_model(tokenizer.eos_token_id)
    seconds = pretrain(model, tokens, options.steps, checkpoint, not options.no_compile)
    run = {"steps": options.steps, "tokens": len(tokens), "seconds": seconds}
    run |= {"parameters": model.num_parameters(), "machine": f"{torch.get_num_threads()} CPU cores"}
    save_bundle(options.output_dir / "model", model, tokenizer, card="")
    figures = figures_of(options.output_dir / "model", held_out)
    save_bundle(
        options.output_dir / "model", model, tokenizer, card_of(books, held_out, run, figures)
    )
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
