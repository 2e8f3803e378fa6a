"""What is shown in a terminal while a model trains, and when a run is hopeless."""

import math
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerControl, TrainerState

from helpers import callbacks, loss
from helpers.runtime.errors import TutorialError
from helpers.ui.progress_bar import ProgressBar

LOGS = (
    {"loss": 4.0, "learning_rate": 1e-3},
    {"loss": 2.0, "learning_rate": 5e-4},
    {"eval_loss": 3.5, "eval_perplexity": 33.1155},
)


def test_a_terminal_shows_figures_and_what_the_model_writes(capsys):
    model = torch.nn.Dropout()
    modes = []

    def sample(model):
        modes.append(model.training)
        return "a lamp\n"

    bar, state, control = (ProgressBar(sample), TrainerState(max_steps=10), TrainerControl())
    bar.on_train_begin(None, state, control)
    for step, logs in enumerate(LOGS, start=1):
        state.global_step = min(step, 2)
        state.log_history.append({**logs, "tokens_per_second": 1234.5})
        bar.on_log(None, state, control, logs=logs)
    assert bar.bar.n == 2
    assert bar.bar.postfix == "loss=2.95, lr=5.0e-04, tokens/s=1,234"
    figures = {**bar.bar.format_dict, "n": 3500, "total": 3504, "elapsed": 3000, "initial": 0}
    shown = bar.bar.format_meter(**figures | {"ncols": 80, "ascii": True})
    assert len(shown) == 80 and shown.count("#") >= 10, shown
    bar.on_evaluate(None, state, control, model, LOGS[2])
    assert modes == [False] and model.training, "no dropout while it writes"
    bar.on_train_end(None, state, control)
    told = capsys.readouterr()
    assert "step 2: validation loss 3.5000, perplexity 33.12; 'a lamp\\n'" in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    "logs", [{"loss": math.nan}, {"loss": math.inf}, {"eval_loss": math.nan}], ids=str
)
def test_a_loss_that_is_no_number_ends_the_run(logs):
    arguments = SimpleNamespace(learning_rate=3.0)
    with pytest.raises(
        TutorialError, match="The loss is not a number at step 7: the learning rate 3 is too high"
    ):
        callbacks.Divergence().on_log(arguments, TrainerState(global_step=7), None, logs=logs)
    callbacks.Divergence().on_log(arguments, TrainerState(global_step=7), None, logs=LOGS[0])


def test_a_loss_beyond_every_float_has_an_infinite_perplexity():
    assert loss.perplexity(1000.0) == math.inf
    assert loss.perplexity(708.0) == math.exp(708.0)
