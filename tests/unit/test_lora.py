"""Adapters: equal to the arithmetic, trained and kept as models are, merged, and switched."""

import importlib
import json
import re
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from helpers import loading, lora, loss, profiles, training
from helpers.generation import Sampling, generate
from helpers.runtime import hardware, hub, saving
from helpers.runtime.errors import TutorialError
from tests.conftest import ROOT, new_micro_model
from tests.unit.test_training import Killed, StopAt, kill

IDS = torch.arange(1, 33).reshape(2, 16)  # (rows, length)


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(input_ids=IDS).logits


@pytest.fixture
def base(micro_model, tokenizer, tmp_path):
    """A folder with the micro model."""
    micro_model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def go(base, tokenizer, streams, micro_profile, home):
    """Train an adapter of rank 4 for the micro model; the model, its folder and the summary."""

    def go(callbacks=(), output="adapter", **changes):
        model, _ = loading.load_pretrained(base)
        profile = replace(micro_profile, model=str(base), name="gpt2", **{"lora": 4, **changes})
        folder = home / output
        return model, folder, training.train(model, tokenizer, *streams, profile, folder, callbacks)

    return go


def filled(model):
    """The adapted model with a B that is not zero, as a training leaves it."""
    torch.manual_seed(1)
    for name, part in model.named_parameters():
        if "lora_B" in name:
            part.data.normal_(std=0.1)
    return model.eval()


def test_at_first_an_adapted_model_is_what_it_was(micro_model):
    before = logits(micro_model)
    adapted = lora.adapt(micro_model, 4)
    assert torch.equal(logits(adapted), before)
    learning = {name for name, part in adapted.named_parameters() if part.requires_grad}
    assert len(learning) == 2 * 4 * micro_model.config.n_layer
    assert all(".lora_A." in name or ".lora_B." in name for name in learning)


@pytest.mark.parametrize("rank", [1, 4, 32])
def test_what_is_trained_is_counted_by_a_formula(micro_model, rank):
    counted = hardware.count_adapter(micro_model.config.to_dict(), rank)
    assert lora.trained(lora.adapt(micro_model, rank)) == counted


def test_a_layer_computes_w_plus_b_a():
    layer = filled(lora.adapt(new_micro_model(), 4)).base_model.model.transformer.h[0].mlp.c_fc
    plain = new_micro_model().transformer.h[0].mlp.c_fc
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight  # (4, 32), (128, 4)
    x = torch.randn(3, 32)
    wanted = x @ (plain.weight + lora.ALPHA / 4 * (b @ a).T) + plain.bias
    torch.testing.assert_close(layer(x), wanted)


def test_the_seed_decides_a_and_nothing_else_changes_it():
    def first(seed):
        adapted = lora.adapt(new_micro_model(), 4, seed)
        return next(part for name, part in adapted.named_parameters() if "lora_A" in name)

    state = torch.get_rng_state()
    assert torch.equal(first(1), first(1)) and not torch.equal(first(1), first(2))
    new_micro_model()
    after = torch.get_rng_state()
    torch.set_rng_state(state)
    new_micro_model()
    assert torch.equal(after, torch.get_rng_state())


@pytest.mark.parametrize("rank", [0, -1, 129])
def test_a_rank_that_cannot_be_gets_a_sentence(micro_model, rank):
    with pytest.raises(TutorialError, match=f"from 1 to 128 .* not {rank}"):
        lora.adapt(micro_model, rank)


def test_an_adapter_is_trained_and_saved_and_the_model_stays(go, base):
    model, folder, summary = go()
    assert summary["lora"] == 4 and 0 < summary["steps"] <= 24
    assert summary["perplexity_after"] < summary["perplexity_before"]
    files = {file.name for file in folder.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors"} < files
    assert not {"config.json", "model.safetensors"} & files
    assert not list(folder.parent.glob("checkpoints/*"))
    plain = loading.load_pretrained(base)[0].state_dict()
    kept = {name.replace(".base_layer", ""): part for name, part in model.state_dict().items()}
    assert all(torch.equal(kept[name], part) for name, part in plain.items())
    told = saving.describe_model(folder)
    assert told.startswith("adapter (profile gpt2, LoRA of rank 4, ")


def test_a_step_of_several_batches_has_their_mean_loss(go):
    """Trainer sums them where it takes the model for one that divides its loss by itself."""
    _, _, whole = go(output="whole")
    _, _, parts = go(output="parts", micro_batch_size=2)
    assert parts["train_loss_first"] == pytest.approx(whole["train_loss_first"], abs=1e-3)
    assert whole["train_loss_first"] < 9


def test_merged_is_adapted_in_every_way_to_open_it(go, base):
    from peft import AutoPeftModelForCausalLM

    model, folder, _ = go()
    opened, _ = loading.load_fine_tuned("adapter")
    assert type(opened).__name__ == "GPT2LMHeadModel" and opened.name_or_path == str(folder)
    torch.testing.assert_close(logits(opened), logits(model), rtol=0, atol=1e-4)
    assert (logits(opened) - logits(loading.load_pretrained(base)[0])).abs().max() > 0.1
    plain = AutoPeftModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.testing.assert_close(logits(plain.eval()), logits(model), rtol=0, atol=1e-4)


def test_a_run_that_was_killed_goes_on_to_the_same_adapter(go):
    _, straight, _ = go(output="straight")
    with pytest.raises(Killed):
        go([StopAt(13, kill)])
    _, folder, summary = go()
    assert summary["resumed_from_step"] == 8
    one, other = ((path / "adapter_model.safetensors").read_bytes() for path in (straight, folder))
    assert one == other


def test_a_finished_adapter_is_left_alone_and_another_rank_is_another_run(go):
    go()
    with pytest.raises(training.AlreadyFinished):
        go()
    _, folder, summary = go(lora=2)
    assert summary["lora"] == 2
    kept = json.loads(
        (folder.with_name("adapter.previous") / saving.SUMMARY).read_text(encoding="utf-8")
    )
    assert kept["lora"] == 4, "the one before is kept"


def test_an_adapter_fits_only_the_weights_that_it_was_trained_on(go, base, tokenizer):
    go()
    new_micro_model(seed=1).save_pretrained(base)
    with pytest.raises(TutorialError, match="is an adapter for weights that are no longer in"):
        loading.load_fine_tuned("adapter")


def test_an_adapter_of_tiny_finds_the_bundled_model_on_any_machine(tmp_path):
    told = {"base_model_name_or_path": "/somebody/elses/helpers/bundled/model"}
    saving.write_json(tmp_path / saving.ADAPTER, told)
    assert hub.base_of(tmp_path) == told["base_model_name_or_path"]
    saving.write_json(tmp_path / saving.SUMMARY, {"profile": "tiny"})
    assert hub.base_of(tmp_path) == str(profiles.BUNDLED / "model")


def test_a_broken_adapter_gets_a_sentence(go):
    _, folder, _ = go()
    (folder / "adapter_model.safetensors").write_bytes(b"half")
    with pytest.raises(TutorialError, match="is not as it was saved"):
        loading.load_fine_tuned("adapter")


def test_an_adapter_is_no_model_to_train(go):
    _, folder, _ = go()
    with pytest.raises(TutorialError, match="holds an adapter for .*, and no model of its own"):
        profiles.choose("gpt2", "cpu", model=str(folder))


def test_lora_takes_three_times_the_rate():
    plain, adapted = profiles.choose("tiny"), profiles.choose("tiny", lora=4)
    assert (plain.lora, adapted.lora) == (None, 4)
    assert adapted.learning_rate == pytest.approx(3 * plain.learning_rate)
    assert "bundled GPT-2 with LoRA of rank 4 on " in str(adapted)


def test_without_peft_there_is_a_sentence(monkeypatch, micro_model):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(TutorialError, match="LoRA needs the package peft: %pip install"):
        lora.adapt(micro_model, 4)


def test_an_old_torchao_is_hidden_from_peft(monkeypatch, micro_model, capsys):
    from peft import import_utils
    from peft.tuners.lora import torchao

    def old():
        raise ImportError("Found an incompatible version of torchao.")

    monkeypatch.setattr(import_utils, "is_torchao_available", old)
    monkeypatch.setattr(torchao, "is_torchao_available", old)
    # transformers has such modules: asked for a name, they load others, which may be missing
    lazy = ModuleType("lazy")
    lazy.__getattr__ = lambda name: importlib.import_module("not_installed")
    monkeypatch.setitem(sys.modules, "lazy", lazy)
    assert lora.trained(lora.adapt(micro_model, 4)) > 0
    assert capsys.readouterr().out.count("torchao is hidden from it") == 1
    lora.adapt(new_micro_model(), 4)
    assert capsys.readouterr().out == "", "said once"


def test_each_voice_is_a_model_of_its_own(tokenizer):
    sampling = Sampling(max_new_tokens=8)
    plain = generate(new_micro_model(), tokenizer, "The gull", sampling)
    model = filled(lora.adapt(new_micro_model(), 4))
    alone = generate(model, tokenizer, "The gull", sampling)
    model.add_adapter("other", model.peft_config["default"])  # its B is zero
    voices = {name: lora.Voice(model, name) for name in ("default", "other", "none")}
    texts = {name: generate(voice, tokenizer, "The gull", sampling)
             for name, voice in [*voices.items(), *voices.items()]}  # fmt: skip
    assert texts == {"default": alone, "other": plain, "none": plain} and alone != plain
    assert voices["other"].config is model.config


def test_an_adapter_takes_less_memory_than_a_training_of_all_weights(monkeypatch):
    config = {}  # GPT-2's own
    all_weights, tokens = hardware.training_memory(config, 1)
    adapter, same = hardware.training_memory(config, 1, 8)
    assert (all_weights, same) == (16 * 124_439_808, tokens)
    assert adapter == 4 * 124_439_808 + 16 * 8 * 147_456
    monkeypatch.setattr(hardware, "read_config", lambda _: config)
    monkeypatch.setattr(hardware, "free_memory", lambda _: (adapter + all_weights) // 2 + tokens)
    profile = SimpleNamespace(
        model="", model_name="GPT-2", micro_batch_size=1, block_size=1024, device="cpu", lora=8
    )
    hardware.check_memory(profile)
    profile.lora = None
    with pytest.raises(TutorialError, match="124,439,808 parameters x 16 bytes"):
        hardware.check_memory(profile)
    profile.lora = 768
    with pytest.raises(TutorialError, match="weights x 4 bytes and 113,246,208 parameters x 16"):
        hardware.check_memory(profile)


def test_the_story_is_that_of_lesson_07():
    lesson = (ROOT / "notebooks" / "07_evaluate.ipynb").read_text(encoding="utf-8")
    cells = ["".join(cell["source"]) for cell in json.loads(lesson)["cells"]]
    [story] = [found[1] for cell in cells if (found := re.search(r'"""("You .+?)"""', cell, re.S))]
    kept = (profiles.BUNDLED / "otter_story.txt").read_text(encoding="utf-8")
    assert kept.split() == story.split()


def test_nats_gained_is_a_difference_of_sums_over_the_tokens():
    base, other, texts = new_micro_model(), new_micro_model(seed=1), [range(1, 50), range(60, 70)]
    scores = [[loss.score(one, np.array(ids), 32, 16) for ids in texts] for one in (base, other)]
    before, after = (sum(nats for nats, _ in found) for found in scores)
    wanted = (before - after) / (48 + 9)
    assert loss.nats_gained(base, other, texts, 32) == pytest.approx(wanted) != 0
    assert loss.nats_gained(base, base, texts, 32) == 0
