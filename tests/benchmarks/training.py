"""How fast the series trains, against the recipes that it replaces: on the same model, data, block
and batch, in turn.

    python -m tests.benchmarks.training [--model gpt2|tiny] [--steps N] [--rounds N] [--json]
    python -m tests.benchmarks.training --quality    what is traded: validation losses of `tiny`
    python -m tests.benchmarks.training --chance     lesson 05's run again, each time another seed

`ours`      `training.train` with everything on: schedule, clipping, logging, live plot, stops
`stock`     `Trainer` with the library's defaults on packed blocks, as in Hugging Face's run_clm.py
`beginner`  the same `Trainer`, one row of the dataset a sequence, padded to the whole context
`bare`      a loop in plain PyTorch with our model, loss, precision and optimizer, and nothing else
`limit`     a large matrix product in each precision, on the device that trains

Each runs in a process of its own, one after the other, as often as there are rounds. Counted are
useful tokens: not padding. Time is that of the steps after the first, with all that happens between
them, without validation and saving. GPT-2 has its real size and random weights, which are as fast
as the true ones.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

CONTENDERS = ("ours", "stock", "beginner", "bare", "limit")


def main() -> None:
    """Run all contenders in turn and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=("gpt2", "tiny"), default="gpt2")
    parser.add_argument(
        "--steps", type=int, default=None, help="measured steps (default: 4, and 30 for tiny)"
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--chance", action="store_true")
    options = parser.parse_args()
    if options.quality:
        return quality()
    if options.chance:
        return chance()
    steps = options.steps or (30 if options.model == "tiny" else 4)
    if options.one:
        return print(json.dumps(measure(options.one, options.model, steps)))
    found = {name: [] for name in CONTENDERS}
    for _ in range(options.rounds):
        for name in CONTENDERS:
            command = [sys.executable, "-m", "tests.benchmarks.training", "--one", name]
            command += ["--model", options.model, "--steps", str(steps)]
            output = subprocess.run(
                command, check=True, capture_output=True, encoding="utf-8"
            ).stdout
            found[name].append(json.loads(output.splitlines()[-1]))
    print(json.dumps(found) if options.json else table(found, options.model))


def table(found: dict[str, list[dict]], model: str) -> str:
    """The medians as a Markdown table."""
    limit = {
        kind: statistics.median(one[kind] for one in found["limit"]) for kind in found["limit"][0]
    }
    speed = {
        n: statistics.median(one["tokens_per_second"] for one in found[n]) for n in CONTENDERS[:-1]
    }
    lines = [
        f"{model}: a large matrix product runs at "
        + ", ".join(f"{speed:,.0f} GFLOP/s in {kind}" for kind, speed in limit.items()),
        "",
        "| recipe | precision | useful tokens/s | ours is faster by | share of the limit "
        "| peak memory |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name in CONTENDERS[:-1]:
        one = found[name][0]
        share = one["flop_per_token"] * speed[name] / 1e9 / limit[one["precision"]]
        memory = statistics.median(run["peak_gb"] for run in found[name])
        lines.append(
            f"| {name} | {one['precision']} | {speed[name]:,.0f} "
            f"| {speed['ours'] / speed[name]:.2f} x "
            f"| {share:.0%} | {memory:.1f} GB |"
        )
    return "\n".join(lines)


def measure(name: str, model_name: str, steps: int) -> dict:
    """What one contender reaches, in this process."""
    import torch

    if name == "limit":
        from helpers import profiles

        device = profiles.choose(model_name).device
        kinds = {"fp32": torch.float32, "bf16": torch.bfloat16} | (
            {"fp16": torch.float16} if device == "cuda" else {}
        )
        return {kind: product_speed(dtype, device) for kind, dtype in kinds.items()}
    profile, model, tokenizer, train_tokens, validation_tokens = work(
        model_name, stock=name in ("stock", "beginner")
    )
    run = {"ours": run_ours, "stock": run_stock, "beginner": run_beginner, "bare": run_bare}[name]
    tokens, seconds = run(profile, model, tokenizer, train_tokens, validation_tokens, steps)
    config = model.config
    # 6 a parameter and token, and attention's products (Chowdhery et al. 2022, appendix B).
    flop = 6 * model.num_parameters() + 12 * config.n_layer * config.n_embd * profile.block_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    if profile.device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 1e9
    precision = "fp32" if name in ("stock", "beginner") else profile.precision
    return {
        "tokens_per_second": tokens / seconds,
        "flop_per_token": flop,
        "precision": precision,
        "peak_gb": peak,
    }


def work(model_name: str, stock: bool):
    """The profile, a model, its tokenizer and two streams of tokens: the bundled encyclopedia, as
    often as needed.
    """
    import numpy as np
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from helpers import data, loading, profiles

    tiny = profiles.choose("tiny")
    profile = tiny if model_name == "tiny" else replace(profiles.choose("gpt2"), minutes=None)
    model, tokenizer = loading.load_pretrained(tiny.model)
    if model_name == "gpt2":
        torch.manual_seed(0)
        dropout = 0.1 if stock or profile.dropout is None else profile.dropout
        model = GPT2LMHeadModel(
            GPT2Config(attn_pdrop=dropout, embd_pdrop=dropout, resid_pdrop=dropout)
        )
        model = model if stock else loading.fuse_activation(model)
    elif stock:  # as the configuration in the model's folder says
        model = GPT2LMHeadModel.from_pretrained(tiny.model, dtype=torch.float32)
    train_tokens, validation_tokens = data.prepare(tiny, tokenizer)
    return profile, model.to(profile.device), tokenizer, np.tile(train_tokens, 4), validation_tokens


def quality(seeds=(1, 2, 3)) -> None:
    """Validation losses after one epoch of `tiny`: ours and the stock recipe's, without and with
    dropout.

    The stock recipe gets our peak learning rate, batch and number of steps; all else is the
    library's default.
    """
    import torch
    from transformers import Trainer, TrainingArguments

    from helpers import data, loading, loss, profiles, training

    tiny = profiles.choose("tiny")
    for seed in seeds:
        losses = {}
        for name, dropout in (("ours", 0.0), ("ours", 0.1), ("stock", 0.0), ("stock", 0.1)):
            model, tokenizer = loading.load_pretrained(tiny.model, dropout=dropout)
            tokens, validation = data.prepare(tiny, tokenizer)
            torch.manual_seed(seed)
            with tempfile.TemporaryDirectory() as folder:
                if name == "ours":
                    os.environ["GPT2_TUTORIAL_HOME"] = folder
                    profile = replace(tiny, epochs=1, seed=seed, dropout=dropout)
                    steps = training.train(
                        model, tokenizer, tokens, validation, profile, Path(folder) / "out"
                    )["steps"]
                else:
                    arguments = TrainingArguments(
                        output_dir=folder, max_steps=steps, seed=seed,
                        per_device_train_batch_size=tiny.global_batch_size,
                        learning_rate=tiny.learning_rate, use_cpu=True, report_to="none",
                        disable_tqdm=True,
                        save_strategy="no",
                    )  # fmt: skip
                    Trainer(
                        model=model,
                        args=arguments,
                        train_dataset=data.Blocks(tokens, tiny.block_size),
                    ).train()
            total, count = loss.score(model.eval(), validation, tiny.block_size)
            losses[f"{name}, dropout {dropout}"] = total / count
        print(
            f"seed {seed}:",
            ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items()),
            flush=True,
        )


def chance(seeds=(1, 2, 3, 4, 5)) -> None:
    """The validation losses of lesson 05's run on `tiny` with several seeds, and how far apart two
    of them lie at each validation.
    """
    from transformers import TrainerCallback

    from helpers import data, loading, profiles, training

    class Losses(TrainerCallback):
        def on_train_end(self, args, state, control, **kwargs):
            self.found = [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]

    runs = []
    for seed in seeds:
        profile = replace(profiles.choose("tiny"), seed=seed)
        model, tokenizer = loading.load_base(profile)
        streams, losses = data.prepare(profile, tokenizer), Losses()
        with tempfile.TemporaryDirectory() as folder:
            os.environ["GPT2_TUTORIAL_HOME"] = folder
            training.train(model, tokenizer, *streams, profile, Path(folder) / "out", [losses])
        runs.append(losses.found)
        rise = f"the last is {losses.found[-1] - min(losses.found):.4f} above the best"
        print(f"seed {seed}:", ", ".join(f"{loss:.4f}" for loss in losses.found), rise, flush=True)
    apart = [max(losses) - min(losses) for losses in zip(*runs, strict=True)]
    print("farthest apart:", ", ".join(f"{nats:.4f}" for nats in apart))


def watcher():
    """A callback that adds up the time from one step's end to the next one's, where nothing is
    evaluated or saved.
    """
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        ended, seconds, count = None, 0.0, 0

        def on_step_end(self, args, state, control, **kwargs):
            now = time.perf_counter()
            if self.ended:
                self.seconds += now - self.ended
                self.count += 1
            self.ended = now

        def on_evaluate(self, args, state, control, **kwargs):
            self.ended = None  # the next interval holds a validation

        on_save = on_evaluate

    return Watcher()


def run_ours(
    profile, model, tokenizer, train_tokens, validation_tokens, steps: int
) -> tuple[float, float]:
    """`training.train` with the live plot, as in lesson 05."""
    from helpers import training
    from helpers.ui import live_plot

    per_step = profile.global_batch_size * profile.block_size
    part, watch = train_tokens[: (steps + 3) * per_step], watcher()
    with tempfile.TemporaryDirectory() as folder:
        profile = replace(profile, epochs=1)
        os.environ["GPT2_TUTORIAL_HOME"] = folder
        training.train(
            model, tokenizer, part, validation_tokens[: profile.block_size], profile,
            Path(folder) / "out",
            [live_plot.LivePlot(), watch],
        )  # fmt: skip
    return watch.count * per_step, watch.seconds


def run_stock(
    profile, model, tokenizer, train_tokens, validation_tokens, steps: int
) -> tuple[float, float]:
    """`Trainer` with its defaults on blocks."""
    from helpers.data import Blocks

    return _defaults(
        profile,
        model,
        Blocks(train_tokens, profile.block_size),
        steps,
        profile.global_batch_size * profile.block_size,
    )


def run_beginner(
    profile, model, tokenizer, train_tokens, validation_tokens, steps: int
) -> tuple[float, float]:
    """The same with one row a sequence, padded to the context; counted are the tokens that are no
    padding.
    """
    from helpers import data, profiles

    rows = [
        row
        for row in data.load_splits(profiles.choose("tiny"))["train"]["text"]
        if not data.is_blank(row)
    ]
    tokenizer.pad_token = tokenizer.eos_token
    coded = tokenizer(rows, truncation=True, max_length=profile.block_size, padding="max_length")
    pairs = zip(coded["input_ids"], coded["attention_mask"], strict=True)
    examples = [{"input_ids": ids, "attention_mask": mask, "labels": ids} for ids, mask in pairs]
    useful = sum(map(sum, coded["attention_mask"])) / len(rows)
    return _defaults(profile, model, examples, steps, useful * profile.global_batch_size)


def _defaults(profile, model, dataset, steps: int, tokens: float) -> tuple[float, float]:
    from transformers import Trainer, TrainingArguments

    watch = watcher()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, max_steps=steps + 1,
            per_device_train_batch_size=profile.global_batch_size,
            use_cpu=profile.device == "cpu", report_to="none", disable_tqdm=True,
            save_strategy="no",
        )  # fmt: skip
        Trainer(model=model, args=arguments, train_dataset=dataset, callbacks=[watch]).train()
    return watch.count * tokens, watch.seconds


def run_bare(
    profile, model, tokenizer, train_tokens, validation_tokens, steps: int
) -> tuple[float, float]:
    """Forward, backward, clip, step: nothing else."""
    import numpy as np
    import torch

    from helpers.data import Blocks
    from helpers.loss import mixed_precision, token_losses
    from helpers.runtime.distributed import gradient_accumulation_steps

    blocks, device = Blocks(train_tokens, profile.block_size), profile.device
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    parts, row = gradient_accumulation_steps(profile), 0
    model.train()
    for step in range(steps + 1):
        for _ in range(parts):
            ids = np.stack(
                [
                    blocks[(row + i) % len(blocks)]["input_ids"]
                    for i in range(profile.micro_batch_size)
                ]
            )
            row += profile.micro_batch_size
            ids = torch.from_numpy(ids).to(device)  # (micro_batch_size, block)
            with mixed_precision(profile):
                loss = token_losses(model, ids).mean() / parts
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        if step == 0:
            began = time.perf_counter()
    return steps * profile.global_batch_size * profile.block_size, time.perf_counter() - began


def product_speed(dtype, device: str, size: int = 4096) -> float:
    """GFLOP/s of a product of two square matrices, the best of four."""
    import torch

    one = torch.randn(size, size, device=device).to(dtype)
    best = 0.0
    for _ in range(4):
        began = time.perf_counter()
        (one @ one).float().sum().item()
        best = max(best, 2 * size**3 / (time.perf_counter() - began) / 1e9)
    return best


if __name__ == "__main__":
    main()
