"""The card of a model, and its way to the Hub: a stand-in for it, over HTTP."""

import json
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from helpers import sharing
from helpers.profiles import GPT2
from helpers.runtime import saving
from helpers.runtime.errors import TutorialError
from helpers.runtime.files import write_json
from tests.hub import TOKEN, Hub
from tests.unit.test_hub import FIELDS, python

ABOUT = sharing.About(
    title="A small one", licence="mit", data="Two letters.", data_licence="Not to be passed on.",
    people="Ann, who has agreed.", limits="It rambles.",
)  # fmt: skip
SUMMARY = dict.fromkeys(FIELDS, 0) | {
    "model": GPT2, "dataset": "own text: ann_miller.txt", "precision": "bf16", "steps": 1200,
    "validation_tokens": 3210, "perplexity_before": 99.876, "perplexity_after": 12.345,
}  # fmt: skip
SETTINGS = {"block_size": 512, "learning_rate": 0.001, "seed": 7}
PUBLISH = """
import sys
from pathlib import Path
from helpers import sharing
from helpers.runtime.errors import TutorialError

folder, name, address = Path(sys.argv[1]), *sys.argv[2:]
try:
    print(sharing.publish(folder, name))
except TutorialError as error:
    sys.exit(f"{error}")
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(name)
print(model.num_parameters(), len(AutoTokenizer.from_pretrained(name)))
"""


@pytest.fixture
def folder(tmp_path, micro_model, tokenizer):
    path = tmp_path / "mine"
    tokenizer.save_pretrained(path)
    micro_model.save_pretrained(path)
    write_json(path / saving.SUMMARY, SUMMARY)
    write_json(path / saving.SETTINGS, SETTINGS | {"text": ["/home/ann/diary.txt"]})
    return path


def test_a_card_says_what_the_summary_and_its_maker_know(folder):
    text = sharing.model_card(folder, ABOUT)
    card = ModelCard(text)
    # no one licence is true of both: a head "mit" would pass for the text, too
    assert (card.data.license, card.data.base_model, card.data.language) == ("other", GPT2, "en")
    alike = sharing.model_card(folder, replace(ABOUT, data_licence="mit"))
    assert ModelCard(alike).data.license == "mit"
    assert card.data.pipeline_tag == "text-generation"
    for told in ("# A small one", "Two letters.", "started from: mit. Data: Not to be passed on.",
                 "People in the data: Ann, who has agreed.", "It rambles.", "1,200 steps",
                 "Validation split, used for choosing: perplexity 12.35\n(before: 99.88)",
                 "3,210 tokens\n(block 512, stride 512)", f"Fine-tuned from {GPT2},\n",
                 "learning rate 0.001, seed 7."):  # fmt: skip
        assert told in text
    assert "ann_miller" not in text, "the names of one's files are nobody's business"
    write_json(folder / saving.SUMMARY, SUMMARY | {"model": "bundled GPT-2"})
    assert "base_model" not in sharing.model_card(folder, ABOUT)


def test_an_adapters_card_says_whose_it_is(folder):
    assert ModelCard(sharing.model_card(folder, ABOUT)).data.library_name == "transformers"
    write_json(folder / saving.SUMMARY, SUMMARY | {"lora": 8})
    card = ModelCard(sharing.model_card(folder, ABOUT))
    assert (card.data.library_name, card.data.base_model) == ("peft", GPT2)
    assert f"A LoRA of rank 8 for {GPT2},\n" in card.text


def test_a_card_tells_the_test_split_from_the_one_that_was_used_for_choosing(folder):
    without, told = sharing.model_card(folder, ABOUT), "perplexity 14.20 (block 512, stride 256)"
    assert "**No test split was scored.**" in without and "it may flatter" in without
    text = sharing.model_card(folder, ABOUT, told)
    assert f"Test split, not used for choosing: {told}." in text and "No test split" not in text
    assert text.index("Test split") < text.index("Validation split, used for choosing")


def test_a_card_that_says_fill_in_is_kept_at_home(folder):
    about = replace(ABOUT, licence=sharing.UNKNOWN, data_licence=sharing.UNKNOWN)
    text = sharing.model_card(folder, about)
    assert ModelCard(text).data.license == "unknown"  # one of the Hub's names
    assert "started from: unknown: fill in. Data: unknown: fill in." in text
    (folder / sharing.CARD).write_text(text, encoding="utf-8")
    with pytest.raises(TutorialError, match="still says 'unknown: fill in'"):
        sharing.publish(folder, "ann/mine")


def test_a_card_with_a_gap_is_none(folder, tmp_path):
    with pytest.raises(TutorialError, match="lacks people, limits: nobody but you"):
        sharing.model_card(folder, replace(ABOUT, people="", limits=" "))
    with pytest.raises(TutorialError, match="no trained model"):
        sharing.model_card(tmp_path / "none", ABOUT)


def test_nothing_goes_out_without_a_card_or_a_token(folder, monkeypatch):
    with pytest.raises(TutorialError, match="has no card"):
        sharing.publish(folder, "ann/mine")
    (folder / sharing.CARD).write_text(sharing.model_card(folder, ABOUT), encoding="utf-8")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(TutorialError, match="No token is here, .* hf auth login"):
        sharing.publish(folder, "ann/mine")


def test_a_model_goes_to_the_hub_and_comes_back(folder, tmp_path, micro_model, tokenizer):
    (folder / sharing.CARD).write_text(sharing.model_card(folder, ABOUT), encoding="utf-8")
    root, there = tmp_path / "hub", tmp_path / "hub/models/ann/mine"
    root.mkdir()
    with Hub(root) as hub:
        where = {"endpoint": hub.url, "hf_home": tmp_path / "hf", "home": tmp_path}
        command = ("-c", PUBLISH, str(folder), "ann/mine", hub.url)
        refused = python(*command, **where, HF_TOKEN="hf_of_nobody")
        assert "The Hub has not taken ann/mine (" in refused.stderr and "401" in refused.stderr
        assert "Traceback" not in refused.stderr and not there.exists()
        done = python(*command, **where, HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    address, back = done.stdout.splitlines()
    assert address == f"{hub.url}/ann/mine"
    assert back == f"{micro_model.num_parameters()} {len(tokenizer)}"
    created = json.loads((root / "created.json").read_text(encoding="utf-8"))
    assert created.get("visibility") == "private" or created["private"] is True  # before 2.0
    assert sorted(file.name for file in there.iterdir()) == sharing.to_upload(folder)
    assert not {saving.SETTINGS, saving.SUMMARY} & {file.name for file in there.iterdir()}
    assert TOKEN not in "".join(
        file.read_text(encoding="utf-8", errors="replace") for file in there.iterdir()
    )
