"""What happens beside the training steps: clocks, milestones, stopping (lesson 05).

`Trainer` calls a callback at fixed moments; a callback answers through `control`. None knows GPT-2.
"""

import math
import signal
import threading
import time
from pathlib import Path

from transformers import TrainerCallback

from helpers.loss import perplexity
from helpers.runtime.distributed import agreed, num_processes
from helpers.runtime.errors import TutorialError
from helpers.runtime.files import seal

# Windows has no SIGHUP.
STOPS = [signal.SIGINT, signal.SIGTERM, *filter(None, [getattr(signal, "SIGHUP", None)])]


class Clock(TrainerCallback):
    """Writes the time so far into each entry of `state.log_history`, across interruptions.

    `elapsed`: all seconds; `step_seconds`: of the steps; `tokens_per_second`: over the latter.
    """

    def __init__(self, tokens_per_step: int = 0):
        self.tokens_per_step = tokens_per_step
        self.started = time.perf_counter()
        self.step_seconds = self.before = 0.0
        self.step_began = None

    def elapsed(self) -> float:
        """Seconds since this object was made, plus those of the run that is resumed."""
        return self.before + time.perf_counter() - self.started

    def on_train_begin(self, args, state, control, **kwargs):
        if state.log_history:  # resumed
            self.before = state.log_history[-1]["elapsed"]
            self.step_seconds = state.log_history[-1]["step_seconds"]

    def on_step_begin(self, args, state, control, **kwargs):
        self.step_began = time.perf_counter()

    def on_log(self, args, state, control, logs=None, **kwargs):
        # The loss is fetched before this call, so on a GPU too the step is really over.
        if "loss" in logs and self.step_began is not None:
            self.step_seconds += time.perf_counter() - self.step_began
            self.step_began = None
        speed = state.global_step * self.tokens_per_step / max(self.step_seconds, 1e-9)
        times = {"elapsed": self.elapsed(), "step_seconds": self.step_seconds}
        state.log_history[-1].update(times, tokens_per_second=speed)


class Milestones(TrainerCallback):
    """Evaluates and saves at evenly spaced steps, the last too; logs the loss `before` them."""

    def __init__(self, steps: int, count: int, before: float, save_minutes: float = 5.0):
        self.steps = {round(steps * (number + 1) / count) for number in range(count)}
        self.before, self.save_minutes, self.saved = before, save_minutes, time.perf_counter()

    def on_train_begin(self, args, state, control, **kwargs):
        first = {"step": 0, "eval_loss": self.before, "eval_perplexity": perplexity(self.before)}
        state.log_history = state.log_history or [first]  # where it has any, it is resumed

    def on_step_end(self, args, state, control, **kwargs):
        control.should_evaluate = state.global_step in self.steps
        late = time.perf_counter() - self.saved > 60 * self.save_minutes
        control.should_save = agreed(control.should_evaluate or late)

    def on_save(self, args, state, control, **kwargs):
        self.saved = time.perf_counter()
        if state.is_world_process_zero:
            seal(Path(args.output_dir, f"checkpoint-{state.global_step}"))


class Divergence(TrainerCallback):
    """Ends a run whose loss is no longer a number: nothing can be learned from there."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not math.isfinite(logs.get("loss", logs.get("eval_loss", 0.0))):
            raise TutorialError(
                f"The loss is not a number at step {state.global_step:,}: the learning rate "
                f"{args.learning_rate:g} is too high; choose a smaller one. The model that you "
                "saved last is as it was."
            )


class Deadline(TrainerCallback):
    """Ends a run that has used its budget up: a machine can get slower after it was measured."""

    def __init__(self, clock: Clock, seconds: float):
        self.clock, self.seconds = clock, seconds

    def on_step_end(self, args, state, control, **kwargs):
        # Of this process alone: a run that is continued has its budget anew.
        if time.perf_counter() - self.clock.started > self.seconds:
            control.should_training_stop = True


class StopRequest(TrainerCallback):
    """Ends the run after this step, evaluated and saved, on Ctrl-C (the notebook's ■) or SIGTERM.

    So it does on SIGHUP, when the terminal is closed; under `nohup`, the run goes on.

    And where another callback has set `control.should_training_stop`, as a Stop button does;
    it must be the last of the callbacks. A second Ctrl-C interrupts at once.
    """

    def __init__(self):
        self.requested = False
        self.previous = {}  # the handlers that the signals had before

    def on_train_begin(self, args, state, control, **kwargs):
        # Python delivers signals to the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self.previous[number] = signal.signal(number, self._ask)

    def _ask(self, number: int, _) -> None:
        self.requested = True
        # torchrun passes on a Ctrl-C that its processes have had already; shells, a hang-up.
        if number == signal.SIGINT and num_processes() == 1:
            self.release()

    def on_step_end(self, args, state, control, **kwargs):
        if agreed(self.requested or control.should_training_stop):
            control.should_training_stop = control.should_evaluate = control.should_save = True

    def release(self) -> None:
        """Give the signals back to whom they belonged."""
        if threading.current_thread() is threading.main_thread():
            while self.previous:
                signal.signal(*self.previous.popitem())
