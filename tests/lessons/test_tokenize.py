"""What lesson 03 states without computing it there."""

import json
import re

from notebooks.tools.lessons import NOTEBOOKS

LESSON = json.loads((NOTEBOOKS / "03_tokenize.ipynb").read_text(encoding="utf-8"))


def texts(kind: str) -> str:
    return "\n".join("".join(c["source"]) for c in LESSON["cells"] if c["cell_type"] == kind)


def test_the_padded_articles_are_those_that_the_cell_counted():
    [cell] = [cell for cell in LESSON["cells"] if "unscored(rows" in "".join(cell["source"])]
    shown = "".join(cell["outputs"][0]["text"])
    longer, articles, longest = re.search(
        r"longer than a row: (\d+) of (\d+) articles; the longest has (\d+) tokens", shown
    ).groups()
    stated = rf"{longer} of {articles} articles need a second row, for at most (\d+) tokens"
    assert int(re.search(stated, texts("markdown"))[1]) == int(longest) - 256 < 256


def test_what_a_merge_can_join_and_that_each_makes_another_token(tokenizer):
    """Else the earliest merge first is not the whole list in order."""
    assert "A merge joins single bytes, or tokens that earlier merges have made." in texts(
        "markdown"
    )
    assert "no two merges make the same token" in texts("markdown")
    made, single = set(), 0
    for left, right in json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]:
        for part in left, right:
            assert len(part) == 1 or part in made, part
        single += len(left) == len(right) == 1
        assert left + right not in made
        made.add(left + right)
    assert single > 100, "some merges join what no merge has made"


def test_what_is_added_for_padding_leaves_the_ends_their_labels(tokenizer):
    from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForLanguageModeling

    path = tokenizer.name_or_path
    names = {
        "tokenizer": AutoTokenizer.from_pretrained(path),
        "model": AutoModelForCausalLM.from_pretrained(path),
    }
    [code] = re.findall(r"```python\n(tokenizer\.add.*?)```", texts("markdown"), re.DOTALL)
    exec(code, names)
    padder, end = names["tokenizer"], tokenizer.eos_token_id
    pair = [{"input_ids": [5, 6, end]}, {"input_ids": [5, 6, 7, 8, end]}]
    batch = DataCollatorForLanguageModeling(padder, mlm=False)(pair)
    assert batch["labels"].tolist() == [[5, 6, end, -100, -100], [5, 6, 7, 8, end]]
    assert padder.pad_token_id != end and names["model"](**batch).loss.isfinite()


def test_a_sign_in_a_text_becomes_the_real_end_of_text_unless_it_is_cut(tokenizer):
    end, text = tokenizer.eos_token_id, f"Stop{tokenizer.eos_token} here"
    assert "split_special_tokens=True" in texts("markdown")
    assert end in tokenizer(text)["input_ids"]
    assert end not in tokenizer(text, split_special_tokens=True)["input_ids"]
