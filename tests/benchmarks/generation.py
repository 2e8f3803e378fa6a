"""What the prompt box costs beside a plain loop, and how long its first token takes.

    python -m tests.benchmarks.generation [--model gpt2|tiny] [--tokens N] [--rounds N]

`box`      a click on Generate: a thread, all probabilities, and the text drawn as it grows
`plain`    the loop alone, `generation.stream_tokens`, with the same settings
`library`  `model.generate` of transformers, with the same settings

In turn, in one process; medians over the rounds after the first. GPT-2 has its real size and random weights.
"""

import argparse
import statistics
import time


def main() -> None:
    """Run all in turn and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("gpt2", "tiny"), default="tiny")
    parser.add_argument("--tokens", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from helpers import generation, models, profiles
    from helpers.prompt_box import PromptBox

    model, tokenizer = models.load(profiles.choose("tiny").model)
    if options.model == "gpt2":
        torch.manual_seed(0)
        model = models.fuse_activation(GPT2LMHeadModel(GPT2Config())).eval()
        tokenizer.decode = lambda ids, **_: "".join(f" {token}" for token in ids)  # the true one is on the Hub
    prompt = " = Lighthouse = \n"
    ids = tokenizer(prompt)["input_ids"]
    sampling = generation.Sampling(max_new_tokens=options.tokens)
    model.config.eos_token_id, model.generation_config.eos_token_id = -1, None  # texts of equal length
    box = PromptBox(model, tokenizer, sampling, prompt)
    box.keep.value = True
    first, seconds = [], {"box": [], "plain": [], "library": []}
    for _ in range(options.rounds + 1):
        time.sleep(0.5)
        runs, began = len(box.history), time.perf_counter()
        box.generate.click()
        while not (len(box.history) > runs and box.run[0].tokens):
            time.sleep(0.001)
        first.append(time.perf_counter() - began)
        with box.busy:
            seconds["box"].append(time.perf_counter() - began)
        began = time.perf_counter()
        written = list(generation.stream_tokens(model, ids, sampling))
        seconds["plain"].append(time.perf_counter() - began)
        assert [token.id for token in box.run[0].tokens] == written
        began = time.perf_counter()
        model.generate(torch.tensor([ids]), do_sample=True, temperature=0.8, top_k=50, top_p=0.95, pad_token_id=0,
                       attention_mask=torch.ones(1, len(ids)), max_new_tokens=options.tokens)  # fmt: skip
        seconds["library"].append(time.perf_counter() - began)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    print(f"{options.model}: first token after {1000 * statistics.median(first[1:]):.0f} ms")
    for name, median in medians.items():
        print(f"{name:8} {options.tokens / median:6.1f} tokens/s, {median / medians['plain']:.2f} of plain's time")


if __name__ == "__main__":
    main()
