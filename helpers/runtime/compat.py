"""Private or hidden state of libraries, each with its versions and its reason."""

import contextlib
import functools
import inspect
import os
import sys
import warnings

OFFLINE = "YES"  # how we set HF_HUB_OFFLINE: any other value is the learner's own


@contextlib.contextmanager
def quiet(bars: bool = False):
    """Within it, transformers warns of nothing and, without `bars`, shows no progress.

    transformers 5.0 to 5.23 warn of GPT-2's own `loss_type` when it is loaded.
    """
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before[0])
        if before[1]:
            logging.enable_progress_bar()


def work_offline(offline: bool) -> None:
    """Set or unset `HF_HUB_OFFLINE` in a process that runs already; one that wants it keeps it.

    The libraries read it once, at import, each into a name of its own: huggingface_hub 0.34 to
    2.4, datasets 4.0 to 5.2, transformers 4.56. Those not imported yet read the environment.
    """
    from huggingface_hub import constants, utils

    if constants.HF_HUB_OFFLINE and os.environ.get("HF_HUB_OFFLINE") != OFFLINE:
        return
    os.environ.pop("HF_HUB_OFFLINE", None)
    if offline:
        os.environ["HF_HUB_OFFLINE"] = OFFLINE
    constants.HF_HUB_OFFLINE = offline
    if config := sys.modules.get("datasets.config"):
        config.HF_HUB_OFFLINE = offline
    if hub := sys.modules.get("transformers.utils.hub"):
        hub._is_offline_mode = offline
    if reset := getattr(utils, "reset_sessions", None):  # before 1.0, sessions stayed offline
        reset()


def is_folder_of(name: str, repo: str) -> bool:
    """Whether datasets 4.0 to 5.2 call their cache of OWNER/SomeName so: OWNER___some_name."""
    return name.replace("_", "").lower() == repo.replace("/", "").replace("_", "").lower()


def heard_while_busy(button) -> None:
    """Let a click on `button` arrive while a cell runs, where the front end can send one.

    JupyterLab sends the click to a thread of the kernel's own. But ipykernel 7.4 turns it over to
    the thread that last changed the button, which is the busy one; so that is forgotten. Call this
    once the button has been made and set.
    """
    vars(button.comm).pop("_reply_subshell_id", None)


def own_forward(model):
    """Take off, and return, what accelerate 1 leaves before `forward`: it copies logits in fp32."""
    return vars(model).pop("forward", None)


def one_device_a_process(arguments) -> None:
    """Let `Trainer` (transformers 4 and 5) take one GPU, or divide a model among CPUs.

    It multiplies the batch by the GPUs that it sees. And accelerate 1 divides models on devices
    that it knows by name, though PyTorch does it on any.
    """
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    arguments._n_gpu = min(1, arguments.n_gpu)
    if arguments.fsdp and PartialState().distributed_type == DistributedType.MULTI_CPU:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def prepare_peft() -> bool:
    """Tell peft that there is no torchao where it raises ImportError for its version; was it so?

    peft 0.20 and 0.21 do for a torchao before 0.16, though only quantized models need one. Google
    Colab has 0.10: https://github.com/MakazhanAlpamys/Soup/issues/389
    Also, peft 0.21 asks for a property that transformers 5.23 warns of, which is not ours to mend.
    """
    from peft import import_utils

    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    asked = import_utils.is_torchao_available
    try:
        asked()
        return False
    except ImportError:
        for module in list(sys.modules.values()):  # some have it under a name of their own
            if getattr(module, "__dict__", {}).get("is_torchao_available") is asked:
                module.is_torchao_available = lambda: False
        return True


@functools.cache
def name_of_the_cache() -> str:
    """How GPT-2's `forward` calls the KV cache: transformers 5.24 has renamed it, and warns."""
    from transformers import GPT2LMHeadModel

    names = inspect.signature(GPT2LMHeadModel.forward).parameters
    return "cache" if "cache" in names else "past_key_values"


def forget_compiling() -> None:
    """A run with `torch_compile` leaves this, and the next would compile (transformers 4, 5)."""
    os.environ.pop("ACCELERATE_DYNAMO_BACKEND", None)
