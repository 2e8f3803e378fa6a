"""The command line: `python -m helpers train | prompt | evaluate | download`."""

import argparse
import functools
import json
import sys
from dataclasses import asdict, fields, replace

from helpers import profiles
from helpers.profiles import DEVICES, MODEL_FOLDER, NAMES, PRECISIONS, positive
from helpers.runtime.distributed import is_main_process
from helpers.runtime.errors import TutorialError

SAMPLE_PROMPT = " = Lighthouse = \n"
DEFAULT = "default: %(default)s"  # argparse puts the value in
WISHES = ("device", "precision", "model", "dataset", "column")  # of which `choose` makes a profile


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 something to mend, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = _parser(arguments[:1] == ["prompt"]).parse_args(arguments)
        options.run(options)
    except TutorialError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    return 0


def _parser(with_dials: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers",
        description="Fine-tune GPT-2, play with it, and measure it.",
        epilog="Environment: GPT2_TUTORIAL_PROFILE, _MODEL, _DATASET, _COLUMN, _MINUTES, _DEVICE, "
        "_HOME (where everything goes; relative model folders are taken from there).",
    )
    commands = parser.add_subparsers(required=True, metavar="train | prompt | evaluate | download")
    train = _add_command(commands, _train, "fine-tune a model")
    _add_training(train)
    prompt = _add_command(commands, _prompt, "write with a model")
    _add_model(prompt)
    if with_dials:
        _add_dials(prompt)
    evaluate = _add_command(commands, _evaluate, "measure a model's perplexity")
    _add_model(evaluate)
    evaluate.add_argument("--text", metavar="FILE", nargs="+", help="score your own text")
    _add_number(evaluate, "--block", int, "tokens in a window (default: the model's context)")
    _add_number(evaluate, "--stride", int, "tokens from a window to the next (default: the block)")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object, unrounded")
    _add_command(commands, _download, "fetch GPT-2 and WikiText-2 ahead, about 0.6 GB")
    return parser


def _add_command(commands, run, what: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(run.__name__.strip("_"), help=what, description=run.__doc__)
    parser.set_defaults(run=run)
    return parser


def _add_training(parser) -> None:
    add = parser.add_argument
    add("--profile", metavar="P", help=f"{' | '.join(NAMES)} (default: auto)")
    add("--model", metavar="M", help="another GPT-2, by its name on the Hub or its folder")
    text = parser.add_mutually_exclusive_group().add_argument
    text("--dataset", metavar="D", help="a text dataset of the Hub: OWNER/NAME[/CONFIG]")
    text("--text", metavar="FILE", nargs="+", help="your own .txt, .md, .csv, .jsonl or .parquet")
    add("--column", metavar="C", help="of the dataset: where its text is (default: text)")
    add("--output-dir", metavar="DIR", default=MODEL_FOLDER, help=DEFAULT)
    add("--device", metavar="D", help=f"{' | '.join(DEVICES)} (default: auto; tiny: always cpu)")
    add("--precision", metavar="P", help=f"{' | '.join(PRECISIONS)} (default: auto; tiny: fp32)")
    number = functools.partial(_add_number, parser)
    number("--epochs", float, "passes over the data (default: 3)")
    number("--learning-rate", float, "its peak (default: 1e-3 for tiny, else 5e-5)")
    number("--minutes", float, "time budget (default: 10 for gpt2 on a CPU, else none)")
    number("--batch-size", int, "rows a step (default: what suits the device)", "global_batch_size")
    add("--seed", metavar="N", type=int, help="default: 42")
    add("--attention", choices=("sdpa", "eager"), help="default: sdpa")
    add("--compile", action="store_true", default=None, help="use torch.compile")


def _add_number(parser, option: str, kind, what: str, field: str | None = None) -> None:
    read = functools.partial(positive, what=option, kind=kind)
    name = field or option.removeprefix("--").replace("-", "_")
    parser.add_argument(option, metavar="N", dest=name, type=read, help=what)


def _add_model(parser) -> None:
    add = parser.add_argument
    add("model_dir", metavar="MODEL_DIR", nargs="?", default=MODEL_FOLDER, help=DEFAULT)
    add("--device", metavar="D", help=f"{' | '.join(DEVICES)} (default: auto)")


def _add_dials(parser) -> None:
    from helpers.generation import Sampling  # torch takes seconds to load: only where it is needed

    for dial in fields(Sampling):
        option, kind = "--" + dial.name.replace("_", "-"), type(dial.default)
        parser.add_argument(option, metavar="N", type=kind, default=dial.default, help=DEFAULT)


def _say(what) -> None:
    """Print, in one of the processes that train together."""
    if is_main_process():
        print(what, flush=True)


def _train(options) -> None:
    """Fine-tune the profile's GPT-2 and save the best model.

    Run again with the same settings, it continues an unfinished run; a finished one stays.
    """
    profile = profiles.choose(options.profile, **{name: getattr(options, name) for name in WISHES})
    names = {field.name for field in fields(profile)}.difference(WISHES)
    asked = {name: getattr(options, name, None) for name in names}
    profile = replace(profile, **{name: asked[name] for name in names if asked[name] is not None})

    # torch takes seconds to load: only once the settings are right
    from helpers import data, loading, training
    from helpers.generation import Sampling, generate
    from helpers.runtime import hardware
    from helpers.ui.progress_bar import ProgressBar

    output = loading.model_folder(options.output_dir)
    profile = training.ready(profile, output)
    texts = data.read_texts(options.text) if options.text else None
    if texts:
        profile = replace(profile, dataset=profiles.OWN_TEXT + ", ".join(options.text))
    _say(profile)
    if profile.name == "gpt2":
        hardware.check_memory(profile)
    if profile.hub_dataset:
        data.load_splits(profile)  # what is wrong with it is said before the model is fetched
    model, tokenizer = loading.load_base(profile)
    tokens = data.prepare(profile, tokenizer, texts)
    write = functools.partial(generate, model, tokenizer, SAMPLE_PROMPT)
    before = write() if is_main_process() else ""
    bar = ProgressBar(lambda _: write(Sampling(max_new_tokens=16)))
    watching = [bar] if is_main_process() else []
    try:
        summary = training.train(model, tokenizer, *tokens, profile, output, watching)
    except training.AlreadyFinished as finished:
        return _say(finished)
    if is_main_process():
        _report(summary, output, {"Before": before, "After": write()})


def _report(summary: dict, output, texts: dict[str, str]) -> None:
    for when, text in texts.items():
        print(f"\n{when}, continuing {SAMPLE_PROMPT!r}:\n{text}")
    end = "Stopped early" if summary["stopped_early"] else "Done"
    print(
        f"\n{end} after {summary['seconds']:.0f} s: validation perplexity "
        f"{summary['perplexity_before']:.2f} before, {summary['perplexity_after']:.2f} after "
        f"{summary['steps']:,} steps. Saved in {output}.\nTry it: python -m helpers prompt"
    )


def _prompt(options) -> None:
    """Type a prompt and read its continuation. An empty line writes another one, :q leaves.

    Temperature 0 is greedy; top-k 0, top-p 1 and repetition penalty 1 are off.
    """
    from helpers import loading
    from helpers.generation import Sampling
    from helpers.ui.terminal import prompt_loop

    sampling = Sampling(**{dial.name: getattr(options, dial.name) for dial in fields(Sampling)})
    device = profiles.choose_device(options.device)
    prompt_loop(*loading.load_fine_tuned(options.model_dir, device), sampling)


def _evaluate(options) -> None:
    """Perplexity of a model on a text, scored as it stands, in fp32.

    By default the text is the validation split of the data that the model was trained on.
    """
    from helpers import data, loading
    from helpers.loss import evaluate

    texts = data.read_texts(options.text) if options.text else None
    device = profiles.choose_device(options.device)
    model, tokenizer = loading.load_fine_tuned(options.model_dir, device)
    if texts is None:
        texts = data.validation_texts(loading.trained_on(options.model_dir))
    result = evaluate(model, data.tokenize(tokenizer, texts), options.block, options.stride)
    print(json.dumps(asdict(result)) if options.json else result)


def _download(options) -> None:
    """Fetch what the profile gpt2 needs: afterwards everything works without a connection."""
    from helpers.runtime.hub import cached, reach_hub

    profile = profiles.choose("gpt2", "cpu")
    names = (profile.model, profile.dataset)
    found = cached(*names)
    if not found:
        reach_hub(*names)
        print(f"Fetching {profile.model} and {profile.dataset}, about 0.6 GB ...", flush=True)
        from helpers import data, loading

        loading.load_base(profile)
        data.load_splits(profile)
    for name, folder in zip(names, found or cached(*names), strict=True):
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        print(f"{name}: {sum(path.stat().st_size for path in files) / 1e6:,.1f} MB in {folder}")
    done = "All is here: from now on, the profile gpt2 needs no connection."
    print("All was here already." if found else done)
