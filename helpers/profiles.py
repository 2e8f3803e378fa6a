"""The two ways to run the series, and where its files go.

`gpt2` is the real thing: OpenAI's GPT-2 and WikiText-2, from the Hugging Face Hub. `tiny` needs
nothing but this repository: a small GPT-2 of our own and a small encyclopedia.
"""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from helpers.runtime.errors import TutorialError

NAMES = ("auto", "tiny", "gpt2")
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
GPT2 = "openai-community/gpt2"
WIKITEXT = "Salesforce/wikitext/wikitext-2-raw-v1"
ENCYCLOPEDIA = "bundled encyclopedia"
OWN_TEXT = "own text: "  # how the name of a dataset begins that is made of your own files
BUNDLED = Path(__file__).parent / "bundled"
HAS_TINY = (BUNDLED / "model").is_dir()  # the one-file editions for Colab come without it
OR_TINY = ", or choose the profile tiny, which needs none" if HAS_TINY else ""
MODEL_FOLDER = "fine_tuned_gpt2"
LORA_RATE = 3  # times the rate of full training: in whole runs, better than 10 (lesson 09)


@dataclass(frozen=True)
class Profile:
    """One block of settings: everything that differs between the ways to run the same code."""

    name: str  # "tiny" or "gpt2"
    why: str  # the reason it was chosen, for the learner
    model: str  # a model's name on the Hub, or a folder
    model_name: str  # how the model is called in reports
    dataset: str  # a dataset's name on the Hub, or how the data is called in reports
    device: str  # "cpu", "cuda" or "mps"
    precision: str  # of the matrix products in training; weights and evaluation are always fp32
    block_size: int  # tokens in a training row: the model's whole context
    global_batch_size: int  # rows per optimizer step, over all processes
    micro_batch_size: int  # rows that one device holds at a time; a step is made of several such
    learning_rate: float  # the peak
    dropout: float | None  # None: as the model's own configuration says
    minutes: float | None  # training budget; None: as long as it takes
    column: str = "text"  # the one of the data's columns that holds the text
    text: list[str] | None = None  # your own files, or folders, in place of a dataset
    validation: list[str] | None = None  # those to validate on; None: a tenth of `text`
    epochs: int = 3
    warmup: float = 0.05  # the share of steps in which the learning rate climbs to its peak
    weight_decay: float = 0.01
    seed: int = 42
    lora: int | None = None  # the rank of an adapter to train; None: train all weights
    attention: str = "sdpa"  # PyTorch's fused attention, or "eager", step by step
    compile: bool = False  # torch.compile: it takes its time first, and won none on a CPU
    shard: bool = False  # several processes divide weights, gradients and AdamW's means (FSDP)

    @property
    def hub_dataset(self) -> str | None:
        """The dataset's name on the Hub; None for what is on this machine."""
        local = self.dataset == ENCYCLOPEDIA or self.dataset.startswith(OWN_TEXT)
        return None if local else self.dataset

    def __str__(self) -> str:
        compiled = ", compiled" if self.compile else ""
        speed = f"{self.device}, {self.precision}, {self.attention} attention{compiled}"
        rows = f"{self.global_batch_size} x {self.block_size:,} tokens a step"
        adapter = f" with LoRA of rank {self.lora}" if self.lora else ""
        what = f"{self.model_name}{adapter} on {self.dataset}"
        return f"profile {self.name} ({self.why}): {what}, {speed}, {rows}"


def on_colab() -> bool:
    """Whether this runs on Google Colab."""
    return "google.colab" in sys.modules


def home() -> Path:
    """Where everything goes: `GPT2_TUTORIAL_HOME`, the repository root, Colab's working folder."""
    if folder := _set("HOME"):
        return Path(folder).expanduser().resolve()
    return Path.cwd() if on_colab() else Path(__file__).resolve().parent.parent


def budget() -> float | None:
    """`GPT2_TUTORIAL_MINUTES` in minutes, or None where it is not set."""
    text = _set("MINUTES")
    return positive(text, "GPT2_TUTORIAL_MINUTES") if text else None


def positive(text, what: str, kind=float):
    """`text` as a number of that `kind` above zero, or a TutorialError that names `what`."""
    try:
        number = kind(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        wanted = "a whole number" if kind is int else "a number"
        raise TutorialError(f"{what} must be {wanted} above zero, not {text!r}.")
    return number


def choose(
    name: str | None = None, device: str | None = None, precision: str | None = None, *,
    model: str | None = None, dataset: str | None = None, column: str | None = None,
    lora: int | None = None,
) -> Profile:  # fmt: skip
    """The profile to run: `name`, `GPT2_TUTORIAL_PROFILE`, or what `auto` finds within 3 seconds.

    `model` is another GPT-2, by its name on the Hub or its folder; `dataset` another dataset of the
    Hub, and `column` the one that holds its text. What is not given is GPT2_TUTORIAL_DEVICE,
    _MODEL, _DATASET and _COLUMN. `lora` is the rank of an adapter to train, at three times the
    rate. Raises TutorialError for what does not exist or is lacking.
    """
    name = _known(name or _set("PROFILE") or "auto", NAMES, "profile")
    device = _asked_device(device)
    precision = _known(precision or "auto", PRECISIONS, "precision")
    why = "as asked"
    if model and name == "tiny":
        raise TutorialError("The profile tiny has a model of its own; take gpt2 for another one.")
    model, dataset = model or _set("MODEL"), dataset or _set("DATASET")
    if name == "auto":
        name, why = ("gpt2", "as its model was asked for") if model else _auto(dataset)
    if name == "tiny" and not HAS_TINY:
        raise TutorialError(
            "This notebook came without the profile tiny; set GPT2_TUTORIAL_PROFILE to gpt2."
        )
    profile = _tiny(why) if name == "tiny" else _gpt2(why, device, precision, model or GPT2)
    if lora:
        profile = replace(profile, lora=lora, learning_rate=LORA_RATE * profile.learning_rate)
    asked = {"dataset": dataset, "column": column or _set("COLUMN"), "minutes": budget()}
    return replace(profile, **{key: value for key, value in asked.items() if value})


def choose_device(device: str | None = None) -> str:
    """The device to run on: `device`, or `GPT2_TUTORIAL_DEVICE`, or the fastest of this machine."""
    from helpers.runtime.hardware import device_and_precision

    return device_and_precision(_asked_device(device))[0]


def _asked_device(device: str | None) -> str:
    return _known(device or _set("DEVICE") or "auto", DEVICES, "device")


def _set(name: str) -> str | None:
    """An environment variable of the series."""
    return os.environ.get(f"GPT2_TUTORIAL_{name}")


def _tiny(why: str) -> Profile:
    # Always the CPU in fp32, a fixed batch and seed: so stored outputs compare on any machine.
    return Profile(
        name="tiny", why=why, model=str(BUNDLED / "model"), model_name="bundled GPT-2",
        dataset=ENCYCLOPEDIA, device="cpu", precision="fp32", block_size=256,
        global_batch_size=8, micro_batch_size=4,  # 4: what fits a CPU's cache
        learning_rate=1e-3, dropout=0.0, minutes=None,
    )  # fmt: skip


def _gpt2(why: str, device: str, precision: str, model: str) -> Profile:
    from helpers.runtime import hardware, hub

    device, precision = hardware.device_and_precision(device, precision)
    on_gpu = device == "cuda"
    folder = next((path for path in (Path(model), home() / model) if path.is_dir()), None)
    source = str(folder.resolve()) if folder else model
    config = hub.read_config(source)
    return Profile(
        name="gpt2", why=why, model=source, model_name=model, dataset=WIKITEXT,
        device=device, precision=precision, block_size=config.get("n_positions", 1024),
        # A GPU takes the usual batch of 8 x 1,024 tokens. A CPU needs seconds for each row, and
        # with a budget of minutes many small steps teach more than few large ones.
        global_batch_size=8 if on_gpu else 1,
        micro_batch_size=hardware.rows_that_fit(config) if on_gpu else 1,
        learning_rate=5e-5,
        # On a CPU, dropout keeps PyTorch off its fast attention, and a short run does not overfit.
        dropout=None if on_gpu else 0.0,
        minutes=None if on_gpu else 10.0,
    )  # fmt: skip


def _known(value: str, allowed: tuple[str, ...], what: str) -> str:
    if value not in allowed:
        raise TutorialError(f"There is no {what} {value!r}; choose one of {', '.join(allowed)}.")
    return value


def _auto(dataset: str | None) -> tuple[str, str]:
    """`gpt2` where the cache or the Hub has it, or there is no `tiny`; else `tiny`; and why."""
    from helpers.runtime.hub import cached, hub_trouble

    if cached(GPT2, dataset or WIKITEXT):
        return "gpt2", "its files are on this machine"
    if not hub_trouble():
        return "gpt2", "the Hugging Face Hub answers"
    if not HAS_TINY:
        return "gpt2", "this notebook came without the profile tiny"
    return "tiny", "the Hugging Face Hub does not answer, and GPT-2 is not on this machine"
