"""The pre-training of the bundled model: its optimizer, its order of reading, its resume."""

import numpy as np
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


def number_row(number):
    return torch.full((pretrain.BLOCK + 1,), 10_000 + number)


def test_the_mix_changes_in_the_last_part():
    books, parts = torch.zeros(20_000).long(), torch.ones(20_000).long()
    for step, mix in ((0, (10, 3, 3)), (6, (10, 3, 3)), (7, (3, 5, 8)), (11, (3, 5, 8))):
        inputs, targets = pretrain.batch_of(books, parts, number_row, step, steps=12)
        assert inputs.shape == targets.shape == (pretrain.BATCH, pretrain.BLOCK)
        first = inputs[:, 0]
        assert ((first == 0).sum(), (first == 1).sum(), (first > 1).sum()) == mix


def test_each_reading_goes_on_where_it_stood():
    books, parts = torch.arange(90_000), torch.zeros(9_000).long()
    batches = [pretrain.batch_of(books, parts, number_row, step, steps=5)[0] for step in range(5)]
    early, late = batches[:3], batches[3:]  # 42% of 5 are 2 steps
    read = [batch[:10, 0] for batch in early] + [batch[:3, 0] for batch in late]
    assert len(set(torch.cat(read).tolist())) == 36, "no block twice"
    pieces = [batch[-3:, 0] for batch in early] + [batch[-8:, 0] for batch in late]
    assert (torch.cat(pieces) - 10_000).tolist() == list(range(3 * 3 + 2 * 8))


def test_the_facts_stand_under_what_they_are_about():
    rabbit = "The rabbit sat. Rabbits eat grass, and a rabbit digs. The glass broke.\n"
    story = {"book": "A Story", "text": (rabbit * 2 + "x" * 600 + "\n") * 2 + "The end.\n" * 90}
    plain = {"book": "The Burgess Bird Book", "text": "He went home, and then he slept.\n" * 30}
    texts = pretrain.titled_parts([story, plain])
    titles = [text.split(" = ")[1] for text in texts if text.startswith(" = ")]
    assert titles.count("The rabbit") == 2
    assert sum("x" * 600 in text for text in texts) == 2
    assert any(text.startswith("He went home") for text in texts), "factual, about no one thing"


def test_pieces_are_named_as_the_encyclopedia_names_their_thing():
    titles = [title for title, _ in pretrain.read_pieces()]
    assert titles.count("The fox") == PIECES.count("\n# fox\n") > 0
    assert titles.count("Bread") == PIECES.count("\n# bread\n") > 0
    assert "The guinea pig" in titles and len(titles) == PIECES.count("\n# ")


def test_a_piece_is_told_in_many_ways_and_a_talk_in_its_order():
    random = np.random.default_rng(0)
    piece = "A crow is black, and big.\n\nIt eats seeds.\n\nIt can fly."
    found = {pretrain.told("The crow", piece, random) for _ in range(200)}
    assert " = The crow = \n A crow is black, and big.\n It eats seeds.\n It can fly.\n" in found
    assert " A crow is black , and big . \n It eats seeds . \n It can fly . \n" in found
    whole = [text for text in found if "fly" in text and "black" in text]
    assert any(text.index("fly") < text.index("black") for text in whole)
    assert any("fly" not in text for text in found) and len(found) > 20
    talk = '"Is it black?"\n\n"Yes."\n\n"Oh."'
    found = {pretrain.told("The crow", talk, random) for _ in range(200)}
    assert len(found) == 4 and all(text.index("black") < text.index("Oh") for text in found)


def test_a_row_of_pieces_depends_on_its_number_alone(tokenizer):
    pieces = [("The fox", "A fox runs."), ("Bread", "Bread is food.")]
    row = pretrain.row_of_pieces(pieces, tokenizer, 5)
    assert row.shape == (pretrain.BLOCK + 1,)
    assert torch.equal(row, pretrain.row_of_pieces(pieces, tokenizer, 5))
    assert not torch.equal(row, pretrain.row_of_pieces(pieces, tokenizer, 6))
    text = tokenizer.decode(row)
    assert text.count("<|endoftext|>") > 5 and "A fox" in text and "read is food" in text


def test_the_rate_climbs_stays_and_falls_to_zero_in_the_last_part():
    factors = [
        pretrain.learning_rate_factor(step, 3000) for step in (0, 99, 1000, 1740, 2370, 2999)
    ]
    assert factors == pytest.approx([0.01, 1, 1, 1, 0.5, 1 / 1260])


def test_a_stopped_run_goes_on_where_it_stood(tmp_path, monkeypatch):
    """Stopped after a step and gone on, it has the weights of a run that was not stopped."""
    for name, small in (("WIDTH", 64), ("LAYERS", 2)):
        monkeypatch.setattr(pretrain, name, small)
    rows = torch.randint(4096, (2, 4, 33), generator=torch.Generator().manual_seed(0))

    def run(name, steps, hours=float("inf")):
        model = pretrain.new_model(0)
        try:
            pretrain.pretrain(
                model, lambda step: (rows[step, :, :-1], rows[step, :, 1:].contiguous()),
                steps, tmp_path / name, hours,
            )  # fmt: skip
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
