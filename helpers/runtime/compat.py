"""Private or hidden state of libraries, each with its versions and its reason."""

import contextlib
import os


@contextlib.contextmanager
def quiet(bars: bool = False):
    """Within it, transformers warns of nothing (such as GPT-2's `loss_type`) and, without `bars`, shows none."""
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


def heard_while_busy(button) -> None:
    """Let a click on `button` arrive while a cell runs, where the front end can send one: in JupyterLab.

    It sends the click to a thread of the kernel's own. But ipykernel 7.4 turns it over to the thread that last changed
    the button, which is the busy one; so that is forgotten. Call this once the button has been made and set.
    """
    vars(button.comm).pop("_reply_subshell_id", None)


def own_forward(model):
    """Take off, and return, the wrapper that accelerate hangs before `model.forward` for fp16.

    It stays there after a training (accelerate 1), and makes an fp32 copy of all logits.
    """
    return vars(model).pop("forward", None)


def one_gpu_a_process(arguments) -> None:
    """Else `Trainer` multiplies the batch by the GPUs that it sees (transformers 4 and 5)."""
    arguments._n_gpu = min(1, arguments.n_gpu)


def forget_compiling() -> None:
    """A run with `torch_compile` leaves this, and the next would compile (transformers 4, 5)."""
    os.environ.pop("ACCELERATE_DYNAMO_BACKEND", None)
