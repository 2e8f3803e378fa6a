"""What this machine offers: a device, a fast precision, and memory enough for a training or not."""

import psutil

from helpers.profiles import Profile
from helpers.runtime.errors import TutorialError
from helpers.runtime.hub import read_config

SIZES = {"vocab_size": 50_257, "n_positions": 1024, "n_embd": 768, "n_layer": 12}  # of GPT-2


def device_and_precision(device: str = "auto", precision: str = "auto") -> tuple[str, str]:
    """The device and the precision for what was asked; TutorialError for what is not there."""
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


def gpu_memory() -> int:
    """Bytes of memory of the first GPU."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory


def free_memory(device: str) -> int:
    """Bytes that are free on a device; a Mac's GPU has its memory in common with the CPU."""
    import torch

    return torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available


def count_parameters(config: dict) -> int:
    """The parameters of a GPT-2, by the formula, from its `config.json`."""
    vocabulary, context, width, layers = _sizes(config)
    inner = config.get("n_inner") or 4 * width
    attention = 4 * width * width + 4 * width  # queries, keys, values and output, with biases
    mlp = 2 * width * inner + inner + width
    norms = 4 * width  # two in a layer: scale and shift
    return (vocabulary + context) * width + layers * (attention + mlp + norms) + 2 * width


def count_adapter(config: dict, rank: int) -> int:
    """The parameters of a LoRA of that rank: for each of a layer's four matrices, rank (in + out).

    Queries, keys and values are one matrix, from the width to three times as many.
    """
    _, _, width, layers = _sizes(config)
    inner = config.get("n_inner") or 4 * width
    return layers * rank * (4 * width + 2 * width + 2 * (width + inner))


def training_memory(config: dict, rows: int, rank: int = 0, tables: int = 3) -> tuple[int, int]:
    """Bytes that training takes: for the parameters, and for `rows` of a whole context at a time.

    A parameter is kept in fp32 with its gradient and AdamW's two moments: 16 bytes. With a LoRA of
    that `rank`, this holds for the adapter, and the model itself takes 4. In each layer a token
    leaves 16 vectors, and dropout's masks, less than one more (Korthikanti et al. 2022, without the
    tables of attention, https://arxiv.org/abs/2205.05198). At the end it has `tables` numbers for
    each word of the vocabulary, all of 4 bytes at most; on a CPU two, as the loss goes in parts.
    """
    vocabulary, context, width, layers = _sizes(config)
    a_token = 4 * (17 * width * layers + tables * vocabulary)
    weights = 4 * count_parameters(config) + 16 * count_adapter(config, rank)
    return weights if rank else 16 * count_parameters(config), rows * context * a_token


def _sizes(config: dict) -> list[int]:
    """Vocabulary, context, width and layers."""
    return [config.get(name, size) for name, size in SIZES.items()]


def rows_that_fit(config: dict) -> int:
    """How many rows of a whole context a GPU holds at a time in training."""
    rows = 8 if gpu_memory() > 30e9 else 2
    while rows > 1 and sum(training_memory(config, rows)) > 0.9 * gpu_memory():
        rows //= 2
    return rows


def check_memory(profile: Profile) -> None:
    """Raise TutorialError, with the arithmetic, where training does not fit the free memory."""
    config, rows = read_config(profile.model), profile.micro_batch_size
    needs = training_memory(config, rows, profile.lora or 0, 2 if profile.device == "cpu" else 3)
    free = free_memory(profile.device)
    if sum(needs) > free:
        need, weights, tokens, here = (f"{b / 1e9:,.1f} GB" for b in (sum(needs), *needs, free))
        sixteen = "parameters x 16 bytes (a weight, its gradient and AdamW's two moments)"
        count = f"{count_parameters(config):,}"
        if profile.lora:
            count += f" weights x 4 bytes and {count_adapter(config, profile.lora):,}"
        raise TutorialError(
            f"Training {profile.model_name} takes about {need}, and {here} are free: "
            f"{count} {sixteen} are {weights}, and what {rows} x {profile.block_size:,} tokens "
            f"leave on their way through the layers {tokens}; close other programs, or choose a "
            "smaller model, such as distilbert/distilgpt2."
        )
