"""The command line: `python -m helpers train | prompt | evaluate | download`: it puts the other modules together."""

import argparse
import json
import sys
from dataclasses import asdict, replace

from helpers.profiles import DEVICES, MODEL_FOLDER, NAMES, PRECISIONS, choose, positive
from helpers.runtime.distributed import is_main_process
from helpers.runtime.errors import TutorialError

SAMPLE_PROMPT = " = Lighthouse = "
LEAVE = ":q"


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 something to mend, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except TutorialError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers", description="Fine-tune GPT-2, play with it, and measure it.", epilog=(
            "Environment: GPT2_TUTORIAL_PROFILE, GPT2_TUTORIAL_MINUTES, GPT2_TUTORIAL_DEVICE, "
            "GPT2_TUTORIAL_HOME (where everything goes; relative model folders are taken from there)."))  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="train | prompt | evaluate | download")

    train = commands.add_parser("train", help="fine-tune a model", description=(
        "Fine-tune the profile's GPT-2 and save the best model. Run again with the same settings, it continues "
        "an unfinished run and leaves a finished one alone."))  # fmt: skip
    train.set_defaults(run=_train)
    train.add_argument("--profile", metavar="P", help=f"{' | '.join(NAMES)} (default: auto)")
    train.add_argument("--epochs", metavar="N", help="passes over the data (default: 3)")
    train.add_argument(
        "--learning-rate", metavar="X", help="its peak (default: 0.001 for tiny, 0.00005 for gpt2)"
    )
    train.add_argument(
        "--minutes", metavar="M", help="time budget (default: 10 for gpt2 on a CPU, else none)"
    )
    train.add_argument(
        "--text",
        metavar="FILE",
        nargs="+",
        help="your own .txt, .md, .csv, .jsonl or .parquet files",
    )
    train.add_argument(
        "--output-dir", metavar="DIR", default=MODEL_FOLDER, help="default: %(default)s"
    )
    train.add_argument(
        "--device", metavar="D", help=f"{' | '.join(DEVICES)} (default: auto; tiny: always cpu)"
    )
    train.add_argument(
        "--precision",
        metavar="P",
        help=f"{' | '.join(PRECISIONS)} (default: auto; tiny: always fp32)",
    )
    train.add_argument("--attention", choices=("sdpa", "eager"), help="default: sdpa")
    train.add_argument("--compile", action="store_true", default=None, help="use torch.compile")
    train.add_argument(
        "--batch-size", metavar="N", help="rows per optimizer step (default: what suits the device)"
    )
    train.add_argument("--seed", metavar="N", type=int, help="default: 42")
    train.add_argument(
        "--resume", metavar="CHECKPOINT", help="go on from this checkpoint (default: the newest)"
    )

    prompt = commands.add_parser("prompt", help="write with a model", description=(
        f"Type a prompt and read its continuation. An empty line writes another one, {LEAVE} leaves."))  # fmt: skip
    prompt.set_defaults(run=_prompt)
    _add_model(prompt)
    prompt.add_argument(
        "--max-new-tokens", metavar="N", type=int, default=80, help="default: %(default)s"
    )
    prompt.add_argument(
        "--temperature",
        metavar="X",
        type=float,
        default=0.8,
        help="default: %(default)s; 0: greedy",
    )
    prompt.add_argument(
        "--top-k", metavar="K", type=int, default=50, help="default: %(default)s; 0: off"
    )
    prompt.add_argument(
        "--top-p", metavar="X", type=float, default=0.95, help="default: %(default)s; 1: off"
    )
    prompt.add_argument(
        "--repetition-penalty",
        metavar="X",
        type=float,
        default=1.0,
        help="default: %(default)s: off",
    )
    prompt.add_argument(
        "--seed", metavar="N", type=int, default=1, help="of the first text (default: %(default)s)"
    )

    evaluate = commands.add_parser("evaluate", help="measure a model's perplexity", description=(
        "Perplexity of a model on a text, scored as it stands, in fp32; by default on the validation split of "
        "the data that the model was trained on."))  # fmt: skip
    evaluate.set_defaults(run=_evaluate)
    _add_model(evaluate)
    evaluate.add_argument("--text", metavar="FILE", nargs="+", help="score your own text")
    evaluate.add_argument(
        "--block", metavar="N", help="tokens in a window (default: the model's context)"
    )
    evaluate.add_argument(
        "--stride", metavar="N", help="tokens between the starts of windows (default: the block)"
    )
    evaluate.add_argument(
        "--json", action="store_true", help="print the figures as one JSON object, unrounded"
    )

    download = commands.add_parser("download", help="fetch GPT-2 and WikiText-2 ahead, about 0.6 GB", description=(
        "Fetch what the profile gpt2 needs: afterwards everything works without a connection."))  # fmt: skip
    download.set_defaults(run=_download)
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model_dir",
        metavar="MODEL_DIR",
        nargs="?",
        default=MODEL_FOLDER,
        help="default: %(default)s",
    )
    parser.add_argument("--device", metavar="D", help=f"{' | '.join(DEVICES)} (default: auto)")


def _train(options) -> None:
    profile = choose(options.profile, options.device, options.precision)
    for name, kind in (
        ("epochs", float),
        ("learning_rate", float),
        ("minutes", float),
        ("batch_size", int),
    ):
        if getattr(options, name) is not None:
            number = positive(getattr(options, name), "--" + name.replace("_", "-"), kind)
            profile = replace(profile, **{name: number})
    asked = {name: getattr(options, name) for name in ("seed", "attention", "compile")}
    profile = replace(
        profile, **{name: value for name, value in asked.items() if value is not None}
    )

    # torch takes seconds to load: only once the settings are right
    from helpers import data, loading, training
    from helpers.callbacks import ProgressBar
    from helpers.generation import Sampling, generate
    from helpers.runtime import checkpoints, distributed, saving

    profile = distributed.share_batch(profile)
    first = is_main_process()
    say = print if first else lambda *_, **__: None
    output = loading.model_folder(options.output_dir)
    saving.check_replaceable(output)
    texts = data.read_texts(options.text) if options.text else None
    if texts:
        profile = replace(profile, dataset="own text: " + ", ".join(options.text))
    say(profile, flush=True)
    model, tokenizer = loading.load_base(profile, data=texts is None)
    tokens = data.prepare(profile, tokenizer, texts)
    done = checkpoints.finished(output, checkpoints.settings_of(profile, *tokens))
    if done and not options.resume:
        say(
            f"{output} holds the finished result of these settings (perplexity {done['perplexity_after']:.2f})."
        )
        return
    before = generate(model, tokenizer, SAMPLE_PROMPT) if first else ""
    bar = ProgressBar(
        lambda model: generate(model, tokenizer, SAMPLE_PROMPT, Sampling(max_new_tokens=16))
    )
    summary = training.train(
        model, tokenizer, *tokens, profile, output, [bar] * first, options.resume or True
    )
    if not first:
        return
    for name, text in (("Before", before), ("After", generate(model, tokenizer, SAMPLE_PROMPT))):
        say(f"\n{name}, continuing {SAMPLE_PROMPT!r}:\n{text}")
    say(
        f"\n{'Stopped early' if summary['stopped_early'] else 'Done'} after {summary['seconds']:.0f} s: "
        f"validation perplexity {summary['perplexity_before']:.2f} before, {summary['perplexity_after']:.2f} after "
        f"{summary['steps']:,} steps. Saved in {output}.\nTry it: python -m helpers prompt"
    )


def _prompt(options) -> None:
    from helpers import loading
    from helpers.generation import (
        LAST_SEED,
        Sampling,
        decode_stream,
        encode_prompt,
        room,
        stream_tokens,
    )

    names = ("max_new_tokens", "temperature", "top_k", "top_p", "repetition_penalty", "seed")
    sampling = Sampling(**{name: getattr(options, name) for name in names})
    model, tokenizer = loading.load_fine_tuned(
        options.model_dir, choose("gpt2", options.device).device
    )
    print(f"Type a prompt. An empty line writes another text for the same prompt; {LEAVE} leaves.")
    print(f"A line such as ':temperature 0.5' sets one of {', '.join(names)}; Ctrl-C ends a text.")
    prompt = ""
    while True:
        try:
            line = input("\nprompt> ")
        except EOFError:
            return print()
        if line.strip() == LEAVE:
            return None
        name, _, value = line[1:].partition(" ")
        if line.startswith(":") and name in names:
            try:
                sampling = replace(sampling, **{name: type(getattr(sampling, name))(value)})
            except ValueError:
                print(
                    f"{name} must be a number such as {getattr(sampling, name):g}, not {value!r}."
                )
            except TutorialError as error:
                print(error)
            continue
        wanted = (
            line.encode("utf-8", "replace").decode() or prompt
        )  # a terminal may send bytes that are no text
        used = sampling
        try:
            ids, cut = encode_prompt(tokenizer, wanted, room(model, sampling))
            if cut:
                print(f"[The first {cut:,} tokens of the prompt do not fit and are left out.]")
            prompt, sampling = wanted, replace(sampling, seed=(sampling.seed + 1) % (LAST_SEED + 1))
            print(prompt, end="", flush=True)
            for piece in decode_stream(tokenizer, stream_tokens(model, ids, used)):
                print(piece, end="", flush=True)
            print(f"\n[seed {used.seed}]")
        except KeyboardInterrupt:
            print(f"\n[stopped, seed {used.seed}]")
        except TutorialError as error:
            if not sys.stdin.isatty():  # nobody is there to type another one
                raise
            print(error)


def _evaluate(options) -> None:
    block, stride = (positive(n, what, int) if n else None
                     for n, what in ((options.block, "--block"), (options.stride, "--stride")))  # fmt: skip

    from helpers import data, loading
    from helpers.loss import evaluate

    texts = data.read_texts(options.text) if options.text else None
    model, tokenizer = loading.load_fine_tuned(
        options.model_dir, choose("gpt2", options.device).device
    )
    if texts is None:
        texts = data.validation_texts(loading.trained_on(options.model_dir))
    ids = data.tokenize(tokenizer, texts)
    result = evaluate(model, ids, block, stride)
    print(json.dumps(asdict(result)) if options.json else result)


def _download(options) -> None:
    from helpers.runtime.hub import cached, reach_hub

    found, profile = cached(), choose("gpt2", "cpu")
    if not found:
        reach_hub()
        print(f"Fetching {profile.model} and {profile.dataset}, about 0.6 GB ...", flush=True)
        from helpers import data, loading

        loading.load_base(profile)
        data.load_splits(profile)
    for name, folder in zip((profile.model, profile.dataset), found or cached(), strict=True):
        size = sum(
            file.stat().st_size
            for file in folder.rglob("*")
            if file.is_file() and not file.is_symlink()
        )
        print(f"{name}: {size / 1e6:,.1f} MB in {folder}")
    print(
        "All was here already."
        if found
        else "All is here: from now on, the profile gpt2 needs no connection."
    )
