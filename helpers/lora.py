"""LoRA: a model stays as it is, and small matrices beside its own learn (lesson 09)."""

from pathlib import Path

import torch

from helpers.runtime import compat
from helpers.runtime.errors import TutorialError

TARGETS = ["c_attn", "c_proj", "c_fc"]  # how GPT-2 calls the matrices in its layers
ALPHA = 32  # B A counts ALPHA / rank times, meant to let one learning rate suit many ranks


def import_peft():
    """The package peft, also beside a torchao that it does not accept, as on Google Colab.

    TutorialError where it is not installed.
    """
    try:
        import peft
    except ModuleNotFoundError as error:
        raise TutorialError(
            f"LoRA needs the package {error.name}: %pip install -r ../requirements.txt in a "
            "notebook, pip install -r requirements.txt in a terminal."
        ) from None
    if compat.prepare_peft():
        print("peft refuses to work beside this machine's old torchao, which is not needed here, "
              "so torchao is hidden from it.")  # fmt: skip
    return peft


def adapt(model, rank: int, seed: int = 42):
    """`model` frozen, with B A of that `rank` beside each matrix in its layers: a `PeftModel`.

    A is drawn with `seed`, and B is zero: so at first it computes what `model` does.
    """
    peft = import_peft()
    limit = 4 * model.config.n_embd  # the longest side of a matrix
    if not 1 <= rank <= limit:
        raise TutorialError(f"The rank must be from 1 to {limit:,} for this model, not {rank:,}.")
    config = peft.LoraConfig(
        r=rank, lora_alpha=ALPHA, target_modules=TARGETS, task_type="CAUSAL_LM",
        fan_in_fan_out=True,  # GPT-2 keeps its matrices as (in, out)
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return peft.get_peft_model(model, config)


def merged(model, folder: Path):
    """`model` with the adapter in `folder` added to its matrices: a plain GPT-2 again."""
    adapted = import_peft().PeftModel.from_pretrained(model, str(folder))
    return adapted.merge_and_unload().eval()


def inner(model):
    """The GPT-2 itself: what is adapted in an adapted model."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def trained(model) -> int:
    """How many parameters a training of `model` changes."""
    return sum(part.numel() for part in model.parameters() if part.requires_grad)


class Voice:
    """A model with several adapters, of which one speaks; with any other name, the model itself.

    It is called and asked as the model itself, so that `PromptBox` and `generate` take it for one.
    """

    def __init__(self, model, adapter: str):
        self.model, self.adapter = model, adapter

    def __call__(self, *inputs, **named):
        """What the model gives for `inputs`, with this adapter alone."""
        if self.adapter not in self.model.peft_config:
            with self.model.disable_adapter():
                return self.model(*inputs, **named)
        if self.model.active_adapter != self.adapter:
            self.model.set_adapter(self.adapter, inference_mode=True)
        return self.model(*inputs, **named)

    def __getattr__(self, name: str):
        return getattr(self.model, name)
