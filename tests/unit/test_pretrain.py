"""The pre-training of the bundled model: its optimizer, its order of reading, its resume."""

import pytest
import torch

from helpers.bundled import pretrain

PIECES = "".join(
    "\n" + file.read_text(encoding="utf-8") for file in (pretrain.HERE / "pieces").glob("*.md")
)


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


def test_most_of_the_last_part_is_facts():
    books, facts = torch.zeros(20_000).long(), torch.ones(20_000).long()
    for step, share in ((0, 0.0), (7, 0.0), (8, 0.75), (11, 0.75)):
        inputs, targets = pretrain.batch_of(books, facts, step, steps=12)
        assert inputs.shape == targets.shape == (pretrain.BATCH, pretrain.BLOCK)
        assert inputs.float().mean() == share


def test_in_the_last_part_the_books_go_on_where_they_stood():
    books, facts = torch.arange(9_000), torch.zeros(9_000).long()
    read = torch.cat([pretrain.batch_of(books, facts, step, steps=3)[0] for step in (0, 1)])
    last, _ = pretrain.batch_of(books, facts, 2, steps=3)
    few = pretrain.BATCH - pretrain.FACTS
    assert last[few:].sum() == 0
    assert torch.equal(last[:few], pretrain.rows_of(books, 2 * pretrain.BATCH, few)[:, :-1])
    assert not set(last[:few, 0].tolist()) & set(read[:, 0].tolist())


def test_the_facts_stand_under_what_they_are_about():
    rabbit = "The rabbit sat. Rabbits eat grass, and a rabbit digs. The glass broke.\n"
    story = {"book": "A Story", "text": (rabbit * 2 + "x" * 600 + "\n") * 2 + "The end.\n" * 90}
    plain = {"book": "The Burgess Bird Book", "text": "He went home, and then he slept.\n" * 30}
    texts = pretrain.facts_of([story, plain])
    titles = [text.split(" = ")[1] for text in texts if text.startswith(" = ")]
    assert titles.count("Rabbit") == 2 + 8 * PIECES.count("\n# rabbit\n")
    assert titles.count("Fox") == 8 * PIECES.count("\n# fox\n") > 0
    assert sum("x" * 600 in text for text in texts) == 2
    assert any(text.startswith("He went home") for text in texts), "factual, about no one thing"
    crow = [text for text in texts if "The crow is a large black bird" in text]
    assert sorted({text[:28] for text in crow}) == [
        " = Crow = \n The crow is a la",
        " The crow is a large black b",
    ]
    assert len(crow) == 12 and any("black , its legs" in text for text in crow)


def test_the_rate_climbs_stays_and_falls_to_zero_in_the_last_part():
    factors = [
        pretrain.learning_rate_factor(step, 3000) for step in (0, 99, 1000, 1999, 2500, 2999)
    ]
    assert factors == pytest.approx([0.01, 1, 1, 1, 0.5, 0.001])


def test_a_stopped_run_goes_on_where_it_stood(tmp_path, monkeypatch):
    """Stopped after a step and gone on, it has the weights of a run that was not stopped."""
    for name, small in (("WIDTH", 64), ("LAYERS", 2), ("BATCH", 4), ("FACTS", 3)):
        monkeypatch.setattr(pretrain, name, small)
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


def test_the_card_states_figures_of_encyclopedia_and_held_out_book(
    tmp_path, monkeypatch, tokenizer
):
    pretrain.save_bundle(tmp_path, pretrain.new_model(0), tokenizer, card="")
    monkeypatch.setattr(pretrain, "bits_per_byte", lambda model, tokenizer, text: text)
    figures = pretrain.figures_of(tmp_path, {"text": "Whitefoot ran."})
    assert figures["held_out_bits_per_byte"] == "Whitefoot ran."
    assert figures["encyclopedia_bits_per_byte"].count("\n = ") > 20
    assert list(pretrain.figures_of(tmp_path, None)) == ["encyclopedia_bits_per_byte"]
