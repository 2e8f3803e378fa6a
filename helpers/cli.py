"""The command line: `python -m helpers train | inspect | prompt | evaluate | download`."""

import argparse
import functools
import json
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

from helpers import profiles
from helpers.profiles import DEVICES, MODEL_FOLDER, NAMES, PRECISIONS, positive
from helpers.runtime.distributed import is_main_process
from helpers.runtime.errors import TutorialError
from helpers.runtime.progress import exit_code, print_as_long_as_possible
from helpers.runtime.texts import KINDS, listed, read_texts

SAMPLE_PROMPT = " = The lighthouse = \n"
DEFAULT = "default: %(default)s"  # argparse puts the value in
WISHES = ("device", "precision", "model", "dataset", "column", "lora")  # `choose` takes them


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 something to mend, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments

    def command():
        options = _parser(arguments[:1] == ["prompt"]).parse_args(arguments)
        options.run(options)

    return exit_code(command)


def _parser(with_dials: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers",
        description="Fine-tune GPT-2, play with it, and measure it.",
        epilog="Environment: GPT2_TUTORIAL_PROFILE, _MODEL, _DATASET, _COLUMN, _MINUTES, _DEVICE, "
        "_HOME (where everything goes; relative model folders are taken from there).",
    )
    commands = parser.add_subparsers(required=True)
    train = _add_command(commands, _train, "fine-tune a model")
    _add_data(train)
    _add_training(train)
    _add_data(_add_command(commands, _inspect, "see what would be trained on"))
    prompt = _add_command(commands, _prompt, "write with a model")
    _add_model(prompt)
    if with_dials:
        _add_dials(prompt)
    evaluate = _add_command(commands, _evaluate, "measure a model's perplexity")
    _add_model(evaluate)
    _add_files(evaluate, "--text", "score your own text")
    evaluate.add_argument("--column", metavar="C", default="text", help="where a table has it")
    _add_number(evaluate, "--block", int, "tokens in a window (default: the model's context)")
    _add_number(evaluate, "--stride", int, "tokens from a window to the next (default: the block)")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object, unrounded")
    _add_command(commands, _download, "fetch GPT-2 and WikiText-2 ahead, about 0.6 GB")
    return parser


def _add_command(commands, run, what: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(run.__name__.strip("_"), help=what, description=run.__doc__)
    parser.set_defaults(run=run)
    return parser


def _add_data(parser) -> None:
    add = parser.add_argument
    add("--profile", metavar="P", help=f"{' | '.join(NAMES)} (default: auto)")
    add("--model", metavar="M", help="a GPT-2: its name on the Hub, or a folder, as of your own")
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--dataset", metavar="D", help="one of the Hub: OWNER/NAME[/CONFIG]")
    _add_files(data, "--text", f"your own files, or folders of them: {', '.join(KINDS)}")
    _add_files(parser, "--validation", "your own files to validate on (default: a tenth of --text)")
    add("--column", metavar="C", help="where the dataset or table has its text (default: text)")
    _add_number(parser, "--block", int, "tokens a row (default: the model's context)", "block_size")


def _add_training(parser) -> None:
    add = parser.add_argument
    add("--output-dir", metavar="DIR", default=MODEL_FOLDER, help=DEFAULT)
    add("--device", metavar="D", help=f"{' | '.join(DEVICES)} (default: auto; tiny: always cpu)")
    add("--precision", metavar="P", help=f"{' | '.join(PRECISIONS)} (default: auto; tiny: fp32)")
    number = functools.partial(_add_number, parser)
    number("--epochs", float, "passes over the data (default: 3)")
    number("--learning-rate", float, "its peak (default: 1e-3 for tiny, else 5e-5)")
    number("--lora", int, "train an adapter of this rank, not the weights; its rate is 3 times")
    number("--minutes", float, "time budget (default: 10 for gpt2 on a CPU, else none)")
    number("--batch-size", int, "rows a step (default: what suits the device)", "global_batch_size")
    add("--seed", metavar="N", type=int, help="default: 42")
    add("--attention", choices=("sdpa", "eager"), help="default: sdpa")
    add("--compile", action="store_true", default=None, help="use torch.compile")
    add("--shard", action="store_true", default=None, help="divide the model (FSDP; torchrun)")


def _add_files(parser, option: str, what: str) -> None:
    # Absolute, so that `evaluate` finds them again; an option given twice names the files of both.
    read = {"nargs": "+", "action": "extend", "type": lambda name: str(Path(name).absolute())}
    parser.add_argument(option, metavar="FILE", help=what, **read)


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

    add = parser.add_argument
    add("--prompt", metavar="TEXT", help="write on this, and leave")
    _add_number(parser, "--samples", int, "with --prompt: how many texts (default: 1)")
    add("--stop", metavar="TEXT", default="", help="with --prompt: end before this text")
    add("--output", metavar="FILE", help="with --prompt: JSON lines to a new file, no old one")
    for dial in fields(Sampling):
        option, kind = "--" + dial.name.replace("_", "-"), type(dial.default)
        add(option, metavar="N", type=kind, default=dial.default, help=DEFAULT)


def _say(what) -> None:
    """Print, in one of the processes that train together."""
    if is_main_process():
        print(what, flush=True)


def _profile_of(options) -> profiles.Profile:
    wishes = {name: getattr(options, name, None) for name in WISHES}
    profile = profiles.choose(options.profile, **wishes)
    names = {field.name for field in fields(profile)}.difference(WISHES)
    asked = {name: getattr(options, name, None) for name in names}
    if (asked["block_size"] or 2) not in range(2, profile.block_size + 1):
        raise TutorialError(f"--block must be from 2 to {profile.block_size:,} tokens here.")
    profile = replace(profile, **{name: asked[name] for name in names if asked[name] is not None})
    if profile.text:
        files = listed([Path(name).name for name in profile.text])
        return replace(profile, dataset=profiles.OWN_TEXT + files)
    if profile.validation:
        raise TutorialError("--validation is for a text of your own; name that with --text.")
    return profile


def _train(options) -> None:
    """Fine-tune the profile's GPT-2 and save the best model.

    Run again with the same settings, it continues an unfinished run; a finished one stays.
    """
    print_as_long_as_possible()
    profile = _profile_of(options)
    # torch takes seconds to load: only once the settings are right
    from helpers import data, loading, training
    from helpers.generation import Sampling, generate
    from helpers.runtime import hardware
    from helpers.ui.progress_bar import ProgressBar, report

    output = loading.model_folder(options.output_dir)
    profile = training.ready(profile, output)
    _say(profile)
    if profile.name == "gpt2":
        hardware.check_memory(profile)
    texts = data.documents_of(profile, _say)  # what is wrong is said before a model is fetched
    model, tokenizer = loading.load_base(profile)
    tokens = data.prepare(profile, tokenizer, texts)
    _say(f"{len(tokens[0]):,} tokens to train on, {len(tokens[1]):,} to validate on.")
    write = functools.partial(generate, model, tokenizer, SAMPLE_PROMPT)
    before = write() if is_main_process() else ""
    watching = [ProgressBar(lambda _: write(Sampling(max_new_tokens=16)))] * is_main_process()
    try:
        summary = training.train(model, tokenizer, *tokens, profile, output, watching)
    except training.AlreadyFinished as finished:
        return _say(finished)
    if is_main_process():
        report(summary, output, SAMPLE_PROMPT, {"Before": before, "After": write()})


def _inspect(options) -> None:
    """Show what `train` would read, and what is odd about it, before anything is trained."""
    from helpers.ui.inspection import inspect

    print(profile := _profile_of(options))
    inspect(profile)


def _prompt(options) -> None:
    """Type a prompt and read its continuation. An empty line writes another one, :q leaves.

    Temperature 0 is greedy; top-k 0, top-p 1 and repetition penalty 1 are off.
    """
    from helpers import loading
    from helpers.generation import Sampling
    from helpers.runtime import saving
    from helpers.ui import terminal

    if options.prompt is None and (options.samples or options.stop or options.output):
        raise TutorialError("--samples, --stop and --output need a --prompt; add one.")
    sampling = Sampling(**{dial.name: getattr(options, dial.name) for dial in fields(Sampling)})
    loaded = loading.load_fine_tuned(options.model_dir, profiles.choose_device(options.device))
    if options.prompt is None:
        print(f"This is {saving.describe_model(loading.model_folder(options.model_dir))}.")
        return terminal.prompt_loop(*loaded, sampling)
    how = sampling, options.samples or 1, options.stop, options.output
    terminal.write_texts(*loaded, options.prompt, *how)


def _evaluate(options) -> None:
    """Perplexity of a model on a text, scored as it stands, in fp32.

    By default the text is the validation split, or the held-out part, of what it was trained on.
    """
    from helpers import data, loading
    from helpers.loss import evaluate

    say = functools.partial(print, file=sys.stderr)  # the output itself may be for a program
    read = read_texts(options.text, options.column) if options.text else None
    device = profiles.choose_device(options.device)
    model, tokenizer = loading.load_fine_tuned(options.model_dir, device)
    if read:
        say(read)
        tokens = data.tokenize(tokenizer, read.documents)
    else:
        tokens = loading.held_out(tokenizer, options.model_dir, say)
    result = evaluate(model, tokens, options.block, options.stride)
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
