"""Fine-tuning with Hugging Face's `Trainer`: planned, resumable, with losses that are right (lesson 05)."""

import dataclasses
import json
import os
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch.utils.data import Subset
from transformers import PrinterCallback, Trainer, TrainingArguments

from helpers.callbacks import Clock, Deadline, Divergence, Milestones, StopRequest
from helpers.data import Blocks
from helpers.loss import mixed_precision, perplexity, score, token_losses
from helpers.profiles import Profile
from helpers.runtime import checkpoints, saving
from helpers.runtime.budget import Plan, make_plan
from helpers.runtime.compat import quiet
from helpers.runtime.distributed import (
    gradient_accumulation_steps,
    is_main_process,
    num_processes,
    share_batch,
)
from helpers.runtime.errors import TutorialError
from helpers.runtime.saving import SETTINGS


class ScoredTrainer(Trainer):
    """`Trainer` with an `evaluate` that sums the losses of all tokens and divides by their number.

    The library's own averages over rows, and so weighs a token in a short row more than one in a long row.
    """

    profile: Profile

    def compute_loss(self, model, inputs, return_outputs=False, **_):
        """The mean loss of the tokens of a batch. (The library's own way makes an fp32 copy of all logits.)"""
        with mixed_precision(self.profile):
            return token_losses(model, inputs["input_ids"]).mean()

    def save_model(self, *args, **kwargs):
        """Waits until the folder is there for all processes: in transformers 4.56 the others hung without it."""
        super().save_model(*args, **kwargs)
        self.accelerator.wait_for_everyone()

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """`eval_loss` in nats a token and `eval_perplexity`, over the stream `eval_dataset` in blocks; logged."""
        # For fp16, accelerate hangs a wrapper before the model's forward; validation is in fp32.
        wrapper = self.model.__dict__.pop("forward", None)
        total, count = score(self.model, self.eval_dataset, self.profile.block_size)
        metrics = {"eval_loss": total / count, "eval_perplexity": perplexity(total / count)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        if wrapper:
            self.model.forward = wrapper
        return metrics


def train(model, tokenizer, train_tokens, validation_tokens, profile: Profile, output: Path,
          callbacks=(), resume: str | bool = True) -> dict:  # fmt: skip
    """Fine-tune `model` in place, save the best by validation loss to `output`, and return the summary.

    `train_tokens` and `validation_tokens` are streams of ids (tokens,). An unfinished run with the same settings is
    continued: from its newest checkpoint, or from the one that `resume` names; with False it starts afresh.
    `callbacks` watch. Raises TutorialError for a text that is too short, a checkpoint of other settings, or an
    `output` that must not be replaced, or that another process trains for.
    """
    with checkpoints.only_one(output):
        return _train(
            model, tokenizer, train_tokens, validation_tokens, profile, output, callbacks, resume
        )


def _train(
    model,
    tokenizer,
    train_tokens,
    validation_tokens,
    profile: Profile,
    output: Path,
    callbacks,
    resume,
):
    profile = share_batch(profile)
    per_step = profile.global_batch_size * profile.block_size  # tokens
    clock, stop = Clock(per_step), StopRequest()
    if num_processes() > 1:
        PartialState(
            cpu=profile.device == "cpu"
        )  # lets the processes talk to each other, before Trainer does
    saving.check_replaceable(output)
    blocks = Blocks(train_tokens, profile.block_size)
    settings = checkpoints.settings_of(profile, train_tokens, validation_tokens)
    if resume is True and checkpoints.finished(output, settings):
        raise TutorialError(
            f"{output} holds the finished result of these settings; to train anew, set RESUME = False."
        )
    folder = checkpoints.run_folder(settings, output)
    checkpoint = (
        checkpoints.find_checkpoint(folder, settings, None if resume is True else resume)
        if resume
        else None
    )
    folder = checkpoint.parent if checkpoint else folder
    resumed = checkpoints.step_of(checkpoint) if checkpoint else None
    for other in folder.glob("checkpoint-[0-9]*") if checkpoint and is_main_process() else ():
        if (
            checkpoints.step_of(other) > resumed
        ):  # Trainer keeps the two newest, and would delete its own for it
            checkpoints.discard(other)
    plan = _plan_of(folder, checkpoint, model, blocks, validation_tokens, profile, settings)
    if is_main_process():
        print(
            f"Going on from step {resumed:,} of {plan.steps:,}." if checkpoint else plan, flush=True
        )

    # An epoch's last step is filled up with the first rows: a whole batch, for one process or several alike.
    rows = [
        row % len(blocks)
        for row in range(-(-len(blocks) // profile.global_batch_size) * profile.global_batch_size)
    ]
    # Else Trainer takes GPT-2 for a model that divides its loss by a token count that Trainer hands it: the library's
    # own loss comes out as (block - 1) / block of the true one, and ours would not be averaged over a step's batches.
    model.accepts_loss_kwargs = False
    # The order matters: `stop` has the last word on evaluating and saving after a step.
    watchers = [clock, Divergence(), Milestones(plan.steps, plan.evaluations), stop]
    if profile.minutes:
        watchers.append(Deadline(clock, 60 * profile.minutes, stop))
    os.environ.pop(
        "ACCELERATE_DYNAMO_BACKEND", None
    )  # transformers leaves it there after a run with compile
    with quiet():
        arguments = _arguments(profile, plan, folder)
        arguments._n_gpu = min(
            1, arguments.n_gpu
        )  # else Trainer multiplies the batch by the number of GPUs
        trainer = ScoredTrainer(
            model=model, args=arguments, train_dataset=Subset(blocks, rows),
            eval_dataset=validation_tokens[: plan.validation_tokens], callbacks=[*watchers, *callbacks],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)  # our callbacks report
        trainer.profile = profile
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except RuntimeError as error:
            if num_processes() == 1:
                raise
            stop.previous.clear()  # the signals stay ours: torchrun's SIGTERM must not come before this is said
            why = f"A process of this run has failed, so all of them end ({str(error).splitlines()[0]})."
            raise TutorialError(
                f"{why} The same command continues from the newest checkpoint."
            ) from error
        finally:
            stop.release()
            model.eval()
            model.__dict__.pop("forward", None)  # accelerate's wrapper
            model.config.use_cache = (
                True  # Trainer switches it off; generation is many times faster with it
            )
        summary = _summary(trainer, plan, profile, resumed, per_step)
        summary["stopped_early"] = trainer.state.global_step < plan.steps
        if trainer.is_world_process_zero():

            def describe() -> dict:
                summary["seconds"] = round(clock.elapsed(), 1)
                return summary

            saving.save(model, tokenizer, output, describe, settings)
            if not summary["stopped_early"]:
                checkpoints.discard(folder)
    return summary


def _arguments(profile: Profile, plan: Plan, folder: Path) -> TrainingArguments:
    never = 10**9  # Milestones decides when to evaluate and save
    return TrainingArguments(
        output_dir=str(folder), max_steps=plan.steps, seed=profile.seed,
        per_device_train_batch_size=profile.micro_batch_size, gradient_accumulation_steps=gradient_accumulation_steps(profile),
        learning_rate=profile.learning_rate, lr_scheduler_type="linear",
        warmup_steps=round(profile.warmup * plan.steps), weight_decay=profile.weight_decay,
        use_cpu=profile.device == "cpu", fp16=profile.precision == "fp16", torch_compile=profile.compile,
        dataloader_pin_memory=profile.device == "cuda", ddp_find_unused_parameters=False, remove_unused_columns=False,
        logging_steps=1, logging_nan_inf_filter=False,  # a loss that is not a number must be seen, not replaced
        eval_strategy="steps", eval_steps=never, save_strategy="steps", save_steps=never,
        save_total_limit=2,  # the best and the newest; with 1, Trainer deletes the newest where a run is stopped
        load_best_model_at_end=True, metric_for_best_model="eval_loss", greater_is_better=False,
        report_to="none", disable_tqdm=True, log_level="error", log_level_replica="error",
    )  # fmt: skip


def _plan_of(
    folder: Path, checkpoint, model, blocks, validation_tokens, profile: Profile, settings: dict
) -> Plan:
    """The plan of the run in `folder`: the one it was started with, or a new one, written there."""
    file = folder / "plan.json"
    if checkpoint:
        return Plan(**json.loads(file.read_text(encoding="utf-8")))
    plan = make_plan(model, blocks, validation_tokens, profile)
    total, count = score(model, validation_tokens[: plan.validation_tokens], profile.block_size)
    plan = dataclasses.replace(plan, validation_loss_before=total / count, scored_tokens=count)
    [plan] = broadcast_object_list(
        [plan]
    )  # each process has measured steps of its own; the first one's count
    if is_main_process():
        checkpoints.discard(folder)  # what a run left that was killed before its first checkpoint
        folder.mkdir(parents=True)
        file.write_text(json.dumps(dataclasses.asdict(plan)), encoding="utf-8")
        (folder / SETTINGS).write_text(json.dumps(settings), encoding="utf-8")
    return plan


def _summary(
    trainer: Trainer, plan: Plan, profile: Profile, resumed: int | None, per_step: int
) -> dict:
    """`training_summary.json`: of the model that was kept, the best by validation loss."""
    state = trainer.state
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
    edge = max(
        1, len(losses) // 20
    )  # a step's loss is noisy: the mean of the first and the last twentieth
    steps = state.best_global_step or state.global_step
    before, after = plan.validation_loss_before, state.best_metric
    return {
        "profile": profile.name, "model": profile.model_name, "dataset": profile.dataset,
        "device": profile.device, "precision": profile.precision, "processes": num_processes(),
        "epochs": round(profile.epochs * steps / plan.full_steps, 4), "steps": steps, "tokens_seen": steps * per_step,
        "seconds": None, "tokens_per_second": round(state.log_history[-1]["tokens_per_second"], 1),
        "train_loss_first": sum(losses[:edge]) / edge, "train_loss_last": sum(losses[-edge:]) / edge,
        "validation_loss_before": before, "validation_loss_after": after,
        "perplexity_before": perplexity(before), "perplexity_after": perplexity(after),
        "validation_tokens": plan.scored_tokens, "resumed_from_step": resumed, "stopped_early": None,
    }  # fmt: skip
