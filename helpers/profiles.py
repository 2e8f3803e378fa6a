"""The two ways to run the series, and where its files go.

`gpt2` is the real thing: OpenAI's GPT-2 and WikiText-2, from the Hugging Face Hub. `tiny` needs nothing but
this repository: a small GPT-2 of our own and a small encyclopedia. The same code runs either; a
`Profile` holds everything that differs.
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
GPT2_FILES = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")
WIKITEXT = ("Salesforce/wikitext", "wikitext-2-raw-v1")
BUNDLED = Path(__file__).parent / "bundled"
HAS_TINY = (BUNDLED / "model").is_dir()  # the one-file editions for Colab come without it
OR_TINY = ", or choose the profile tiny, which needs none" if HAS_TINY else ""
MODEL_FOLDER = "fine_tuned_gpt2"


@dataclass(frozen=True)
class Profile:
    """One block of settings: everything that differs between the two ways to run the series."""

    name: str  # "tiny" or "gpt2"
    why: str  # the reason it was chosen, for the learner
    model: str  # a model's name on the Hub, or a folder
    model_name: str  # how the model is called in reports
    dataset: str  # how the data is called in reports
    device: str  # "cpu", "cuda" or "mps"
    precision: str  # of the matrix products in training; weights and evaluation are always fp32
    block_size: int  # tokens in a training row: the model's whole context
    global_batch_size: int  # rows per optimizer step, over all processes
    micro_batch_size: int  # rows that one device holds at a time; a step is made of several such
    learning_rate: float  # the peak
    dropout: float | None  # None: as the model's own configuration says
    minutes: float | None  # training budget; None: as long as it takes
    epochs: int = 3
    warmup: float = 0.05  # the share of steps in which the learning rate climbs to its peak
    weight_decay: float = 0.01
    seed: int = 42
    attention: str = "sdpa"  # PyTorch's fused attention, which picks the fastest kernel; or "eager", step by step
    compile: bool = (
        False  # with torch.compile, which takes its time first, and won none on the CPU measured
    )

    def __str__(self) -> str:
        speed = f"{self.device}, {self.precision}, {self.attention} attention{', compiled' if self.compile else ''}"
        rows = f"{self.global_batch_size} x {self.block_size:,} tokens a step"
        return f"profile {self.name} ({self.why}): {self.model_name} on {self.dataset}, {speed}, {rows}"


def on_colab() -> bool:
    """Whether this runs on Google Colab."""
    return "google.colab" in sys.modules


def home() -> Path:
    """The folder that everything the series writes goes to: `GPT2_TUTORIAL_HOME`, or the repository root."""
    if os.environ.get("GPT2_TUTORIAL_HOME"):
        return Path(os.environ["GPT2_TUTORIAL_HOME"]).expanduser().resolve()
    return Path.cwd() if on_colab() else Path(__file__).resolve().parent.parent


def budget() -> float | None:
    """`GPT2_TUTORIAL_MINUTES` in minutes, or None where it is not set."""
    text = os.environ.get("GPT2_TUTORIAL_MINUTES")
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
    name: str | None = None, device: str | None = None, precision: str | None = None
) -> Profile:
    """The profile to run: `name`, or `GPT2_TUTORIAL_PROFILE`, or what `auto` finds within three seconds.

    Raises TutorialError for a name, device or precision that does not exist, or that this machine lacks.
    """
    name = _known(name or os.environ.get("GPT2_TUTORIAL_PROFILE") or "auto", NAMES, "profile")
    device = _known(device or os.environ.get("GPT2_TUTORIAL_DEVICE") or "auto", DEVICES, "device")
    precision = _known(precision or "auto", PRECISIONS, "precision")
    why = "as asked"
    if name == "auto":
        name, why = _auto()
    if name == "tiny" and not HAS_TINY:
        raise TutorialError(
            "This notebook came without the profile tiny; set GPT2_TUTORIAL_PROFILE to gpt2."
        )
    profile = _tiny(why) if name == "tiny" else _gpt2(why, *_hardware(device, precision))
    return replace(profile, minutes=budget() or profile.minutes)


def _tiny(why: str) -> Profile:
    # Always the CPU in fp32, a fixed batch and seed: so stored outputs compare on any machine.
    return Profile(
        name="tiny", why=why, model=str(BUNDLED / "model"), model_name="bundled GPT-2",
        dataset="bundled encyclopedia",
        device="cpu", precision="fp32", block_size=256, global_batch_size=8, micro_batch_size=4,  # 4: what fits a CPU's cache
        learning_rate=1e-3, dropout=0.0, minutes=None,
    )  # fmt: skip


def _gpt2(why: str, device: str, precision: str) -> Profile:
    on_gpu = device == "cuda"
    return Profile(
        name="gpt2", why=why, model=GPT2, model_name=GPT2, dataset="/".join(WIKITEXT),
        device=device, precision=precision, block_size=1024,
        # A GPU takes the usual batch of 8 x 1,024 tokens. A CPU needs seconds for each row, and with a
        # budget of minutes many small steps teach more than few large ones.
        global_batch_size=8 if on_gpu else 1,
        micro_batch_size=8 if on_gpu and _gpu_memory() > 30e9 else 2 if on_gpu else 1,
        learning_rate=5e-5,
        # On a CPU, dropout keeps PyTorch off its fast attention, and a short run does not overfit.
        dropout=None if on_gpu else 0.0,
        minutes=None if on_gpu else 10.0,
    )  # fmt: skip


def _known(value: str, allowed: tuple[str, ...], what: str) -> str:
    if value not in allowed:
        raise TutorialError(f"There is no {what} {value!r}; choose one of {', '.join(allowed)}.")
    return value


def _auto() -> tuple[str, str]:
    """`gpt2` where its files are in the cache, the Hub answers or there is no `tiny`, else `tiny`; and the reason."""
    from helpers.runtime.hub import cached, hub_answers

    if cached():
        return "gpt2", "its files are on this machine"
    if hub_answers():
        return "gpt2", "the Hugging Face Hub answers"
    if not HAS_TINY:
        return "gpt2", "this notebook came without the profile tiny"
    return "tiny", "the Hugging Face Hub does not answer, and GPT-2 is not on this machine"


def _hardware(device: str, precision: str) -> tuple[str, str]:
    """The device and the precision that this machine offers for what was asked."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    missing = device == "cuda" and not torch.cuda.is_available()
    if missing or (device == "mps" and not torch.backends.mps.is_available()):
        raise TutorialError(
            f"This machine has no {device} device that PyTorch can use; choose --device cpu."
        )
    if precision == "auto":
        precision = _fast_precision(device)
    if precision == "fp16" and device != "cuda":
        raise TutorialError(
            "Training in fp16 needs a CUDA device; choose --precision fp32 or bf16."
        )
    return device, precision


def _fast_precision(device: str) -> str:
    """bf16 where the hardware multiplies it, fp16 on older GPUs, else fp32."""
    import torch

    if device == "cuda":
        # Not torch.cuda.is_bf16_supported(): it says True on a T4, which only emulates bf16.
        return "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp16"
    if device == "cpu" and hasattr(torch.cpu, "get_capabilities"):  # since torch 2.12
        found = torch.cpu.get_capabilities()
        return "bf16" if found.get("avx512_bf16") or found.get("amx_bf16") else "fp32"
    return "fp32"


def _gpu_memory() -> int:
    """Bytes of memory of the first GPU."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory
