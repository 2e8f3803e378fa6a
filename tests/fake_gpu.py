"""Training and scoring on a GPU that is not there: finds any tensor that is on the wrong device.

PyTorch's fake tensors hold no numbers but know their shape and device, and fail as real ones do
where two devices meet. A torch that was built without CUDA cannot take gradients on `cuda`, not
even of fakes, so the device is a stand-in of our own; all of this is torch 2.13's private state.
Registered once and for a whole process, it must be there before any gradient: hence a script.
"""

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
from transformers import GPT2Config, GPT2LMHeadModel

from helpers import loading, loss

GPU = "fake_gpu"
SHAPE = {"vocab_size": 64, "n_positions": 16, "n_embd": 8, "n_layer": 1, "n_head": 2}
ENDS = {"bos_token_id": 0, "eos_token_id": 0}


def move(model) -> None:
    """`model.to(GPU)`, which does not move fake tensors."""
    for module in model.modules():
        for kind, make in (
            (module._parameters, torch.nn.Parameter),
            (module._buffers, torch.clone),
        ):
            moved = {
                name: tensor.detach().to(GPU) for name, tensor in kind.items() if tensor is not None
            }
            kind.update({name: make(tensor) for name, tensor in moved.items()})
    model.tie_weights()


def train(model) -> None:
    """One step, as `budget` and `Trainer` take it."""
    optimizer = torch.optim.AdamW(model.train().parameters())
    losses = loss.token_losses(model, torch.zeros(2, 16, dtype=torch.int64, device=GPU))
    assert (losses.device.type, losses.shape) == (GPU, (2, 15))
    losses.mean().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    assert {parameter.grad.device.type for parameter in model.parameters()} == {GPU}
    assert {state["exp_avg"].device.type for state in optimizer.state.values()} == {GPU}


def score(model) -> None:
    """Whole windows, sliding ones, and a text shorter than one."""
    for length, stride in ((70, 16), (70, 5), (9, 16)):
        _, count = loss.score(model, np.ones(length, np.uint16), 16, stride)
        assert count == length - 1 - (length - 1) // 16 * (stride == 16)


def main() -> None:
    _setup_privateuseone_for_python_backend(GPU)
    # With a ShapeEnv, `.item()` gives a symbol for the number that a fake has not.
    with FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True):
        model = loading.fuse_activation(GPT2LMHeadModel(GPT2Config(**SHAPE, **ENDS)))
        move(model)
        train(model)
        score(model)
        print("all on one device")
        loss.token_losses(model, torch.zeros(2, 16, dtype=torch.int64))  # and now a wrong one


if __name__ == "__main__":
    main()
