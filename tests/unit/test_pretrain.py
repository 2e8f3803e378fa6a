"""The pre-training of the next bundled model: its optimizer, its order of reading, its resume."""

import pytest
import torch

from helpers.bundled.next import pretrain


@pytest.mark.parametrize("shape", [(32, 96), (96, 32), (48, 48)])
def test_muons_update_is_nearly_orthogonal(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(pretrain.orthogonal(matrix))
    assert 0.5 < values.min() and values.max() < 1.3  # Jordan's polynomial promises no more
    assert torch.linalg.svdvals(matrix).max() > 3  # it was not so before


def test_an_epoch_reads_every_block_once():
    tokens = torch.arange(pretrain.BLOCK * 34)
    rows = torch.cat([pretrain.rows_of(tokens, first, 16) for first in (0, 16)])
    starts = sorted(rows[:, 0].tolist())
    assert len(set(starts)) == 32 and {b - a for a, b in zip(starts, starts[1:], strict=False)} == {
        pretrain.BLOCK
    }


def test_the_last_part_is_half_facts():
    books, facts = torch.zeros(20_000).long(), torch.ones(20_000).long()
    for step, share in ((0, 0.0), (7, 0.0), (8, 0.5), (11, 0.5)):
        inputs, targets = pretrain.batch_of(books, facts, step, steps=12)
        assert inputs.shape == targets.shape == (pretrain.BATCH, pretrain.BLOCK)
        assert inputs.float().mean() == share


def test_the_rate_climbs_stays_and_falls_to_zero_in_the_last_part():
    factors = [
        pretrain.learning_rate_factor(step, 3000) for step in (0, 99, 1000, 1999, 2500, 2999)
    ]
    assert factors == pytest.approx([0.01, 1, 1, 1, 0.5, 0.001])


def test_a_stopped_run_goes_on_where_it_stood(tmp_path):
    """Stopped after a step and gone on, it has the weights of a run that was not stopped."""
    books = torch.randint(4096, (9000,), generator=torch.Generator().manual_seed(0))

    def run(name, steps, hours=float("inf")):
        model = pretrain.new_model(0)
        try:
            pretrain.pretrain(model, books, books, steps, tmp_path / name, hours)
        except SystemExit as stop:
            assert "goes on" in str(stop)
        return torch.cat([weight.flatten() for weight in model.parameters()])

    whole = run("whole.pt", 2)
    run("parts.pt", 2, hours=0)
    assert torch.load(tmp_path / "parts.pt", weights_only=True)["step"] == 1
    assert torch.equal(run("parts.pt", 2), whole)


def test_a_small_checkpoint_keeps_the_weights_and_half_the_moments(tmp_path):
    model = pretrain.new_model(0)
    optimizers = pretrain.optimizers(model)
    ids = torch.arange(64)[None]
    pretrain.loss_of(model, ids, ids).backward()
    for optimizer in optimizers:
        optimizer.step()
    for name, small in (("large.pt", False), ("small.pt", True)):
        pretrain.save_checkpoint(tmp_path / name, model, optimizers, 1, 2.0, small)
    sizes = [(tmp_path / name).stat().st_size for name in ("large.pt", "small.pt")]
    assert sizes[1] < 0.75 * sizes[0]
    again = pretrain.new_model(0)
    theirs = pretrain.optimizers(again)
    assert pretrain.load_checkpoint(tmp_path / "small.pt", again, theirs) == (1, 2.0)
    pairs = zip(model.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    [moment] = {m["average"].dtype for m in theirs[0].state.values()}
    assert moment == torch.float32
