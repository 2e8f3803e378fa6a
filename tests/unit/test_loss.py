"""The arithmetic of losses: against hand-written loops, the library, and Trainer's own figures."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers import loading, loss, profiles, training
from helpers.loss import evaluate
from helpers.runtime import hardware
from helpers.runtime.errors import TutorialError
from tests.conftest import new_micro_model


def by_hand(model, ids, block, stride):
    """The definition, token by token: the first window that predicts it, and one softmax."""
    total, count = 0.0, 0
    for position in range(1, len(ids)):
        start = 0
        while position >= start + block:  # the first window that holds the token
            start += stride
        if position == start:  # it opens that window: nothing stands before it
            continue
        with torch.no_grad():
            logits = (
                model(torch.tensor([[int(t) for t in ids[start:position]]])).logits[0, -1].double()
            )
        total += (torch.logsumexp(logits, 0) - logits[ids[position]]).item()
        count += 1
    return total, count


@pytest.mark.parametrize("length", [2, 15, 16, 17, 100, 129])
@pytest.mark.parametrize(
    ("block", "stride"), [(16, 16), (16, 8), (16, 15), (16, 1), (33, 10), (64, 64)]
)
def test_score_agrees_with_a_double_loop(micro_model, length, block, stride):
    ids = np.random.default_rng(length).integers(1, 4096, length)
    total, count = loss.score(micro_model, ids, block, stride)
    expected_total, expected_count = by_hand(micro_model, ids, block, stride)
    assert count == expected_count
    assert total / max(count, 1) == pytest.approx(expected_total / max(count, 1), abs=1e-4)


def test_batches_of_windows_do_not_change_the_sum(micro_model, monkeypatch):
    ids = np.random.default_rng(1).integers(1, 4096, 2000)
    together = loss.score(micro_model, ids, 16)
    monkeypatch.setattr(
        micro_model.config, "vocab_size", 2**22
    )  # score then takes one window at a time
    assert loss.score(micro_model, ids, 16)[1] == together[1]
    assert loss.score(micro_model, ids, 16)[0] == pytest.approx(together[0], rel=1e-6)


def test_token_losses_are_the_models_own_loss(micro_model):
    ids = torch.randint(1, 4096, (3, 20))
    with torch.no_grad():
        own = loss.token_losses(micro_model, ids)
        assert own.shape == (3, 19)
        assert own.mean().item() == pytest.approx(
            micro_model(ids, labels=ids).loss.item(), abs=1e-5
        )


def test_evaluate_reports_perplexity_block_and_stride(micro_model):
    ids = np.arange(1, 200)
    result = evaluate(micro_model, ids)
    assert (result.block, result.stride) == (64, 64)
    assert result.tokens == 199 - math.ceil(199 / 64)
    assert result.perplexity == pytest.approx(math.exp(result.loss))
    assert "block 64, stride 64" in str(result)


def test_scoring_leaves_the_model_as_it_was():
    model = new_micro_model(dropout=0.5)
    model.train()
    first = loss.score(model, np.arange(1, 100), 16)
    assert model.training
    assert loss.score(model, np.arange(1, 100), 16) == first, "dropout was on"


@pytest.mark.parametrize(
    ("block", "stride", "length"), [(16, 0, 99), (16, 17, 99), (65, 1, 99), (1, 1, 99), (16, 16, 1)]
)
def test_impossible_requests_are_refused(micro_model, block, stride, length):
    with pytest.raises(TutorialError):
        evaluate(micro_model, np.arange(1, length + 1), block, stride if stride else -1)


def test_the_training_loss_is_the_true_mean_over_predicted_tokens(
    micro_model, micro_profile, streams, home
):
    """The guard `accepts_loss_kwargs = False`: without it Trainer's figure is (block - 1) / block
    of the true one.
    """
    tokens = streams[0][: 4 * 32]  # one batch is all there is, so its order does not matter
    rows = torch.from_numpy(tokens.reshape(4, 32).astype(np.int64))
    with torch.no_grad():
        true = loss.token_losses(micro_model, rows).mean().item()
    summary = training.train(
        micro_model,
        _NoTokenizer(),
        tokens,
        streams[1],
        replace(micro_profile, epochs=1),
        home / "m",
    )
    assert summary["train_loss_first"] == pytest.approx(true, abs=1e-4)
    assert abs(true * 31 / 32 - true) > 0.1, "the wrong figure would be told apart"


class _NoTokenizer:
    def save_pretrained(self, folder):
        pass


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_in_parts_is_the_librarys_cross_entropy(monkeypatch, dtype):
    monkeypatch.setattr(loss, "_rows_at_once", lambda *_: 3)  # 10 rows: three parts and a rest
    generator = torch.Generator().manual_seed(0)
    logits = (4 * torch.randn(10, 50, generator=generator)).to(dtype).requires_grad_()
    targets = torch.randint(50, (10,), generator=generator)
    weights = torch.rand(10, generator=generator)
    theirs = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
    ours = loss.cross_entropy(logits, targets)
    assert torch.allclose(ours, theirs, atol=1e-5)
    (wanted,) = torch.autograd.grad((theirs * weights).sum(), logits)
    (gradient,) = torch.autograd.grad((ours * weights).sum(), logits)
    assert gradient.dtype == dtype
    assert torch.allclose(gradient, wanted, atol=1e-6 if dtype == torch.float32 else 4e-3)


def test_the_backward_pass_of_the_loss_holds_three_tables_and_in_parts_about_two(monkeypatch):
    """Lesson 10's count for the logits: kept log-probabilities, and their slopes twice."""
    monkeypatch.setattr(loss, "_rows_at_once", lambda *_: 16)
    hidden = torch.randn(512, 8, requires_grad=True)
    table, targets = torch.randn(4096, 8), torch.randint(4096, (512,))
    for compute, tables in ((torch.nn.functional.cross_entropy, 3), (loss.cross_entropy, 2)):
        with torch.profiler.profile(profile_memory=True) as profiler:
            compute(hidden @ table.T, targets).mean().backward()
        events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
        changes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
        assert np.cumsum(changes).max() / (512 * 4096 * 4) == pytest.approx(tables, abs=0.1)


def test_a_loaded_model_computes_what_the_library_does(tokenizer):
    from transformers import AutoModelForCausalLM

    ours, _ = loading.load_pretrained(profiles.BUNDLED / "model")
    theirs = AutoModelForCausalLM.from_pretrained(
        profiles.BUNDLED / "model", dtype=torch.float32
    ).eval()
    ids = torch.tensor([tokenizer("The keeper of the lighthouse went up the stairs.")["input_ids"]])
    assert torch.allclose(ours(ids).logits, theirs(ids).logits, atol=1e-4)
    assert isinstance(ours.transformer.h[0].mlp.act, torch.nn.GELU)
    assert ours.config.activation_function == "gelu_new", (
        "as published: other programs look for this name"
    )


@pytest.mark.parametrize("tables", [2, 3], ids=["cpu", "gpu"])
def test_a_training_step_takes_the_memory_that_is_told_before(monkeypatch, tables):
    """The peak of a forward and backward pass, by PyTorch's profiler; on a GPU, all rows at once.

    GPUs are not at hand: there, what counts is the number of rows, and so the test decides it.
    """
    monkeypatch.setattr(loss, "_rows_at_once", lambda *_: 8 if tables == 2 else 128)
    model = loading.fuse_activation(new_micro_model())
    ids = torch.randint(4096, (2, 64))
    with torch.profiler.profile(profile_memory=True) as watched:
        loss.token_losses(model, ids).mean().backward()
    events = [event for event in watched.profiler.kineto_results.events() if event.nbytes()]
    events.sort(key=lambda event: event.start_ns())
    peak = max(itertools.accumulate(event.nbytes() for event in events))
    told = hardware.training_memory({**model.config.to_dict(), "n_positions": 64}, 2, 0, tables)[1]
    assert peak == pytest.approx(told, rel=0.05)
