"""Sampling against the library's own filters, and text that arrives whole."""

import itertools
import json
import time

import pytest
import torch
from transformers import generation as library

from helpers import generation, plots
from helpers.generation import Sampling
from helpers.runtime.errors import TutorialError
from tests.conftest import ROOT, new_micro_model

GREEDY = Sampling(temperature=0, max_new_tokens=40)


def librarys_probabilities(logits, sampling, seen):
    """The same through transformers' logits processors, in the order that `generate` uses."""
    scores = logits.clone()[None]
    if sampling.repetition_penalty != 1:
        scores = library.RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)(
            seen[None], scores
        )
    scores = library.TemperatureLogitsWarper(sampling.temperature)(None, scores)
    if sampling.top_k:
        scores = library.TopKLogitsWarper(sampling.top_k)(None, scores)
    if sampling.top_p < 1:
        scores = library.TopPLogitsWarper(sampling.top_p)(None, scores)
    return scores.softmax(-1)[0]


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "penalty"),
    list(itertools.product([0.5, 1.0, 1.7], [0, 1, 5, 10_000], [0.1, 0.9, 1.0], [1.0, 1.3])),
)
def test_probabilities_are_those_of_the_library(temperature, top_k, top_p, penalty):
    generator = torch.Generator().manual_seed(round(1000 * temperature) + top_k)
    logits = 3 * torch.randn(300, generator=generator)
    seen = torch.tensor([5, 17, 17, 200])
    sampling = Sampling(penalty, temperature, top_k, top_p)
    ours = generation.next_token_probabilities(logits, sampling, seen)
    assert ours.sum().item() == pytest.approx(1)
    assert torch.allclose(ours, librarys_probabilities(logits, sampling, seen), atol=1e-6)


@pytest.mark.parametrize("temperature", [0, 5e-324, 1e-9])
def test_temperature_zero_takes_the_likeliest(temperature):
    logits = torch.tensor([1.0, 3.0, 2.0])
    sampling = Sampling(temperature=temperature)
    assert generation.next_token_probabilities(logits, sampling, torch.tensor([0])).tolist() == [
        0,
        1,
        0,
    ]


def test_greedy_is_the_librarys_generate(micro_model, tokenizer):
    ids = tokenizer("It was a dark and stormy night")["input_ids"]
    ours = list(generation.stream_tokens(micro_model, ids, GREEDY))
    theirs = micro_model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids)),
        do_sample=False,
        max_new_tokens=40,
        pad_token_id=0,
    )[0, len(ids) :].tolist()
    assert len(ours) > 5
    assert ours == theirs[: len(ours)]


def test_one_seed_one_text(micro_model, tokenizer):
    texts = [
        generation.generate(micro_model, tokenizer, "Once", Sampling(seed=seed))
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_the_pieces_of_a_stream_make_the_text(micro_model, tokenizer):
    sampling = Sampling(temperature=1.5, top_k=0, top_p=1, max_new_tokens=60, seed=3)
    ids = list(generation.stream_tokens(micro_model, tokenizer("Once")["input_ids"], sampling))
    pieces = list(generation.stream_text(micro_model, tokenizer, "Once", sampling))
    assert "".join(pieces) == tokenizer.decode(ids)


def test_a_character_of_several_tokens_comes_whole(micro_model, tokenizer, monkeypatch):
    ids = tokenizer("A 🦊 jumps")["input_ids"]
    assert len(ids) > 6, "the fox is several tokens"
    steps = [(token, torch.zeros(4096)) for token in ids]
    monkeypatch.setattr(generation, "stream_steps", lambda *_: iter(steps))
    pieces = list(generation.stream_text(micro_model, tokenizer, "x", Sampling()))
    assert "".join(pieces) == "A 🦊 jumps"
    assert not any("\ufffd" in piece for piece in pieces)


def test_it_writes_on_when_the_context_is_full(micro_model):
    model = new_micro_model()
    model.config.eos_token_id = -1  # never drawn
    assert len(list(generation.stream_tokens(model, [5] * 60, Sampling(max_new_tokens=150)))) == 150


def test_it_stops_at_end_of_text(micro_model):
    class AlwaysEnds(torch.nn.Module):
        config, device = micro_model.config, micro_model.device

        def forward(self, input_ids, **_):
            logits = torch.full((1, input_ids.shape[1], 4096), -1e9)
            logits[..., 0] = 0
            return type("Output", (), {"logits": logits})

    assert list(generation.stream_tokens(AlwaysEnds(), [5], Sampling())) == []


def test_a_long_prompt_is_kept_from_the_right(tokenizer):
    ids, cut = generation.encode_prompt(tokenizer, "one two three four five six", 3)
    whole = tokenizer("one two three four five six")["input_ids"]
    assert ids == whole[-3:]
    assert cut == len(whole) - 3


@pytest.mark.parametrize("prompt", ["", " ", "\n\t "])
def test_a_prompt_of_nothing_gets_a_sentence(micro_model, tokenizer, prompt):
    with pytest.raises(TutorialError, match="The prompt is empty"):
        generation.generate(micro_model, tokenizer, prompt)


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -1}, {"top_p": 0}, {"top_k": -1}, {"max_new_tokens": 0}]
    + [{"seed": -1}, {"seed": 2**64}],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(TutorialError, match=next(iter(wrong))):
        Sampling(**wrong)


def test_a_long_seed_is_said_in_full():
    assert str(Sampling()).endswith(
        "temperature 0.8, top k 50, top p 0.95, max new tokens 80, seed 0"
    )
    assert str(Sampling(seed=generation.LAST_SEED)).endswith(f"seed {generation.LAST_SEED}")


def test_the_library_cuts_to_50_tokens_unless_told_otherwise(micro_model, tokenizer):
    """What lesson 06 says of `model.generate`, whose count of tokens it would spoil."""
    cells = json.loads((ROOT / "notebooks" / "06_generate.ipynb").read_text(encoding="utf-8"))
    assert "`top_k` is 50 as soon as it draws" in " ".join(str(cells).split())
    ids = torch.tensor([[1, 2, 3]])
    draws = {"attention_mask": torch.ones_like(ids), "pad_token_id": tokenizer.eos_token_id}
    draws |= {"do_sample": True, "temperature": 100.0, "num_return_sequences": 1000}
    torch.manual_seed(1)
    drawn = [
        len(set(micro_model.generate(ids, **draws, **told, max_new_tokens=1)[:, -1].tolist()))
        for told in ({}, {"top_k": 0})
    ]
    assert drawn[0] == 50 < drawn[1]


def run_in_lesson_06(*marks: str, **names) -> dict:
    """The names in the lesson's cells that hold these marks, once they have run after `names`."""
    file = ROOT / "notebooks" / "06_generate.ipynb"
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    lesson = {"torch": torch, "plots": plots, **names}
    for mark in marks:
        [source] = [source for source in sources if mark in source]
        exec(source, lesson)
    return lesson


def run_the_explorer_of_lesson_06() -> dict:
    """The names in its cell, once that has run on a distribution as long as the bundled one."""
    logits = 3 * torch.randn(4096, generator=torch.Generator().manual_seed(0))
    names = [f"' {place}'" for place in range(10)]
    return run_in_lesson_06(
        "def reshaped", "explorer = ", logits=logits, top=logits.topk(10), names=names
    )


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (1, 1.0), (5, 0.9), (0, 0.1), (0, 0.9)])
def test_the_function_written_in_lesson_06_is_that_of_the_helpers(temperature, top_k, top_p):
    lesson = run_in_lesson_06("def reshaped")
    logits = 3 * torch.randn(100, generator=torch.Generator().manual_seed(top_k))
    given = logits.clone()
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    expected = generation.next_token_probabilities(logits, sampling, torch.arange(0))
    assert torch.allclose(lesson["reshaped"](given, temperature, top_k, top_p), expected)
    assert torch.equal(given, logits), "the next dial finds the logits as they were"


def test_the_sampling_explorer_keeps_its_axis_so_that_flatter_looks_flatter(monkeypatch, capsys):
    drawn = []
    monkeypatch.setattr(plots, "as_html", lambda figure, _: drawn.append(figure.axes[0]) or "")
    draw = run_the_explorer_of_lesson_06()["draw"]
    for temperature in (0.3, 2.0):
        draw(temperature, 8, 1.0)
    assert {axes.get_ylim() for axes in drawn} == {(0, 100)}
    hatched = [[bool(bar.get_hatch()) for bar in axes.patches] for axes in drawn]
    assert hatched[-1] == 8 * [False] + 2 * [True], "what top-k cuts is hatched"


def test_the_sampling_explorer_of_lesson_06_redraws_at_once(capsys):
    """In seconds of this thread: those that other programs take do not count."""
    *rows, picture = run_the_explorer_of_lesson_06()["explorer"].children
    temperature, _ = rows[0].children
    seconds = []
    for step in range(10):
        before, began = picture.value, time.thread_time()
        temperature.value = 0.5 + step / 10
        seconds.append(time.thread_time() - began)
        assert picture.value != before
    # 55 to 68 ms when the machine is quiet; with both hyperthreads of a core busy, twice that.
    assert min(seconds) < 0.2, seconds
