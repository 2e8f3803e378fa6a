"""Fine-tuning with Hugging Face's `Trainer`: planned, resumable, its losses mended (lesson 05)."""

import functools
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch.utils.data import Subset
from transformers import PrinterCallback, Trainer, TrainerState, TrainingArguments

from helpers import lora
from helpers.callbacks import Clock, Deadline, Divergence, Milestones, StopRequest
from helpers.data import Blocks
from helpers.loss import mixed_precision, perplexity, score, token_losses
from helpers.profiles import Profile
from helpers.runtime import budget, checkpoints, compat, distributed, saving
from helpers.runtime.budget import Plan
from helpers.runtime.errors import TutorialError


def train(model, tokenizer, train_tokens: np.ndarray, validation_tokens: np.ndarray,
          profile: Profile, output: Path, callbacks=(), resume: bool = True) -> dict:  # fmt: skip
    """Fine-tune `model` in place, save the best by validation loss to `output`; gives the summary.

    The texts are streams of ids (tokens,). With `resume`, a run with the same settings goes on from
    its newest checkpoint or, where it was completed, raises AlreadyFinished. TutorialError for a
    text too short, a loss that is no number, and an `output` not to be replaced or in use.
    """
    with checkpoints.only_one(output), compat.quiet():
        run = resolve_settings(train_tokens, validation_tokens, profile, output, resume)
        if distributed.is_main_process():
            saving.say_what_is_replaced(output)
        model = lora.adapt(model, profile.lora, profile.seed) if profile.lora else model
        plan = make_plan(run, model)
        trainer = build_trainer(run, plan, distributed.to_train(model, profile), callbacks)
        fit(trainer, run.checkpoint)
        distributed.put_together(trainer, model)
        return save(trainer, tokenizer, run, plan)


class AlreadyFinished(TutorialError):
    """The output holds the result of a run with the same settings."""


@dataclass(frozen=True)
class Run:
    """What the stages of a run share."""

    profile: Profile  # its batch is one that all processes can share
    blocks: Blocks
    validation_tokens: np.ndarray  # (tokens,)
    settings: dict  # all that decides the result
    output: Path  # where the model goes
    folder: Path  # where the checkpoints go
    checkpoint: Path | None  # the one to go on from
    clock: Clock


def ready(profile: Profile, output: Path) -> Profile:
    """The profile with a batch that all processes can share, if `output` may be replaced."""
    saving.replaceable(output)
    if not 0 <= profile.seed < 2**32:
        raise TutorialError(f"The seed must be from 0 to 4,294,967,295, not {profile.seed}.")
    return distributed.share_batch(profile)


def resolve_settings(train_tokens, validation_tokens, profile, output, resume: bool) -> Run:
    """First stage: what is asked for, and whether it has been begun, or done, before."""
    profile = ready(profile, output)
    clock = Clock(profile.global_batch_size * profile.block_size)
    blocks = Blocks(train_tokens, profile.block_size)
    settings = checkpoints.settings_of(profile, train_tokens, validation_tokens, output)
    done = checkpoints.finished(output, settings) if resume else None
    if done:
        raise AlreadyFinished(
            f"{output} holds the finished result of these settings (perplexity "
            f"{done['perplexity_after']:.2f}). To train anew, change one of them or, in a "
            "notebook, set RESUME = False."
        )
    folder = checkpoints.run_folder(settings, output)
    checkpoint = checkpoints.newest_checkpoint(folder) if resume else None
    return Run(profile, blocks, validation_tokens, settings, output, folder, checkpoint, clock)


def make_plan(run: Run, model) -> Plan:
    """Second stage: how many steps to take; the same as before where a run goes on."""
    if run.checkpoint:
        plan = checkpoints.read_plan(run.folder)
        if distributed.is_main_process():
            step = checkpoints.step_of(run.checkpoint)
            print(f"Going on from step {step:,} of {plan.steps:,}.", flush=True)
        return plan
    tokens, profile = run.validation_tokens, run.profile
    plan = budget.make_plan(model, run.blocks, tokens, profile, mean_loss, score)
    total, count = score(model, tokens[: plan.validation_tokens], profile.block_size)
    plan = replace(plan, validation_loss_before=total / count, scored_tokens=count)
    if distributed.num_processes() > 1:
        PartialState(cpu=profile.device == "cpu")  # lets the processes talk to each other
        [plan] = broadcast_object_list([plan])  # each has measured for itself: the first one's
    if distributed.is_main_process():
        checkpoints.begin(run.folder, plan)
        print(plan, flush=True)
    return plan


def build_trainer(run: Run, plan: Plan, model, callbacks) -> "ScoredTrainer":
    """Third stage: `Trainer` with its arguments, its data, and what watches it."""
    # Else Trainer takes GPT-2 for a model that divides its loss by a token count that it is handed:
    # the library's own loss comes out as (block - 1) / block of the true one, and ours would not be
    # averaged over a step's batches.
    lora.inner(model).accepts_loss_kwargs = False
    profile = run.profile
    milestones = Milestones(plan.steps, plan.evaluations, plan.validation_loss_before)
    watchers = [run.clock, Divergence(), milestones]
    if profile.minutes:
        watchers.append(Deadline(run.clock, 60 * profile.minutes))
    compat.forget_compiling()
    arguments = _arguments(profile, plan, run.folder)
    compat.one_device_a_process(arguments)
    trainer = ScoredTrainer(
        model=model,
        args=arguments,
        train_dataset=_whole_batches(run.blocks, profile.global_batch_size),
        eval_dataset=run.validation_tokens[: plan.validation_tokens],
        callbacks=[*watchers, *callbacks],
    )
    trainer.remove_callback(PrinterCallback)  # our callbacks report
    trainer.profile = profile
    return trainer


def fit(trainer: Trainer, checkpoint: Path | None) -> None:
    """Fourth stage: train. Whatever ends it, the model is left as one that can write."""
    stop = StopRequest()
    trainer.add_callback(stop)
    try:
        with checkpoints.failing_in_words():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except TutorialError:
        if distributed.num_processes() > 1:
            # The signals stay ours: torchrun's SIGTERM must not come before this is said.
            stop.previous.clear()
        raise
    finally:
        stop.release()
        trainer.model.eval()
        compat.own_forward(trainer.model)
        # Trainer switches it off; with it, generation is many times faster.
        trainer.model.config.use_cache = True


def save(trainer: Trainer, tokenizer, run: Run, plan: Plan) -> dict:
    """Fifth stage: keep the model and the summary; forget the checkpoints of a run that is over."""
    describe = functools.partial(_summary, trainer.state, run, plan)
    if not distributed.is_main_process():
        return describe()
    checkpoints.say_if_it_rose(trainer.state)
    summary = saving.save(trainer.model, tokenizer, run.output, describe, run.settings)
    if not summary["stopped_early"]:
        saving.discard(run.folder)
    return summary


def mean_loss(model, ids: torch.Tensor, profile: Profile) -> torch.Tensor:
    """The mean loss of a batch `ids` (rows, block) in nats a token, in the profile's precision."""
    with mixed_precision(profile):
        return token_losses(model, ids).mean()


class ScoredTrainer(Trainer):
    """`Trainer` with an `evaluate` that sums the losses of all tokens and divides by their number.

    The library's own averages over rows: a token in a short row weighs more than one in a long row.
    """

    profile: Profile

    def compute_loss(self, model, inputs, return_outputs=False, **_):
        """Our loss. (The library's own way makes an fp32 copy of all logits.)"""
        return mean_loss(model, inputs["input_ids"], self.profile)

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """`eval_loss` in nats a token and `eval_perplexity` of the stream `eval_dataset`."""
        wrapper = compat.own_forward(self.model)  # validation is in fp32
        total, count = score(self.model, self.eval_dataset, self.profile.block_size)
        if wrapper:
            self.model.forward = wrapper
        metrics = {"eval_loss": total / count, "eval_perplexity": perplexity(total / count)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def save_model(self, *args, **kwargs):
        """Waits until all processes see the folder: in transformers 4.56 the others hung."""
        super().save_model(*args, **kwargs)
        self.accelerator.wait_for_everyone()


def _whole_batches(blocks: Blocks, batch: int) -> Subset:
    """The blocks, and the first ones once more, so that an epoch's last step has a whole batch."""
    count = batch * math.ceil(len(blocks) / batch)
    return Subset(blocks, [row % len(blocks) for row in range(count)])


def _arguments(profile: Profile, plan: Plan, folder: Path) -> TrainingArguments:
    never = 10**9  # Milestones decides when to evaluate and save
    return TrainingArguments(
        output_dir=str(folder), seed=profile.seed, max_steps=plan.steps,
        **distributed.shares(profile),  # of the batch, and of the model where it is divided
        learning_rate=profile.learning_rate, lr_scheduler_type="linear",
        warmup_steps=round(profile.warmup * plan.steps), weight_decay=profile.weight_decay,
        use_cpu=profile.device == "cpu", fp16=profile.precision == "fp16",
        torch_compile=profile.compile, dataloader_pin_memory=profile.device == "cuda",
        ddp_find_unused_parameters=False, remove_unused_columns=False,
        logging_steps=1, logging_nan_inf_filter=False,  # a loss that is not a number must be seen
        eval_strategy="steps", eval_steps=never, save_strategy="steps", save_steps=never,
        save_total_limit=2,  # the best and the newest; with 1, a stopped run would lose the newest
        load_best_model_at_end=True, metric_for_best_model="eval_loss", greater_is_better=False,
        report_to="none", disable_tqdm=True, log_level="error", log_level_replica="error",
    )  # fmt: skip


def _summary(state: TrainerState, run: Run, plan: Plan) -> dict:
    """`training_summary.json`: of the model that was kept, the best by validation loss."""
    profile, resumed = run.profile, run.checkpoint and checkpoints.step_of(run.checkpoint)
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
    edge = max(1, len(losses) // 20)  # one step's loss is noisy: the mean of a twentieth of them
    steps = state.best_global_step or state.global_step
    before, after = plan.validation_loss_before, state.best_metric
    return {
        "profile": profile.name, "model": profile.model_name, "dataset": profile.dataset,
        "device": profile.device, "precision": profile.precision,
        "processes": distributed.num_processes(),
        "epochs": round(profile.epochs * steps / plan.full_steps, 4), "steps": steps,
        "tokens_seen": steps * run.clock.tokens_per_step,
        "seconds": round(run.clock.elapsed(), 1),
        "tokens_per_second": round(state.log_history[-1]["tokens_per_second"], 1),
        "train_loss_first": sum(losses[:edge]) / edge,
        "train_loss_last": sum(losses[-edge:]) / edge,
        "validation_loss_before": before, "validation_loss_after": after,
        "perplexity_before": perplexity(before), "perplexity_after": perplexity(after),
        "validation_tokens": plan.scored_tokens, **({"lora": profile.lora} if profile.lora else {}),
        "resumed_from_step": resumed, "stopped_early": state.global_step < plan.steps,
    }  # fmt: skip
