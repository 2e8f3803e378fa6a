"""What the prompt box costs beside a plain loop, and how long its first token takes.

    python -m tests.benchmarks.generation [--model gpt2|tiny] [--tokens N] [--rounds N]

`box`      a click on Generate: a thread, all probabilities, and the text drawn as it grows
`plain`    the loop alone, `generation.stream_tokens`, with the same settings
`library`  `model.generate` of transformers, with the same settings

In turn, in one process; medians over the rounds after the first. GPT-2 has its real size and
random weights.
"""

import argparse
import statistics
import time


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=("gpt2", "tiny"), default="tiny")
    parser.add_argument("--tokens", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from helpers import loading, profiles

    model, tokenizer = loading.load_pretrained(profiles.choose("tiny").model)
    if options.model == "gpt2":
        torch.manual_seed(0)
        model = loading.fuse_activation(GPT2LMHeadModel(GPT2Config())).eval()
        # the true one is on the Hub
        tokenizer.decode = lambda ids, **_: "".join(f" {token}" for token in ids)
    first, seconds = measure(model, tokenizer, options.tokens, options.rounds + 1)
    first, seconds = first[1:], {name: times[1:] for name, times in seconds.items()}
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{options.model}: first token after {1000 * statistics.median(first):.0f} ms")
    for name, median in medians.items():
        speed, share = options.tokens / median, median / medians["plain"]
        print(f"{name:8} {speed:6.1f} tokens/s, {share:.2f} of plain's time")


def measure(
    model, tokenizer, tokens: int, rounds: int, pause: float = 0.5, clock=time.perf_counter
):
    """Seconds until the first token, and those of `clock` for the whole text by the three ways.

    A list, and a dictionary of lists, with a number a round; `pause`, in seconds, comes before
    each. The texts are of `tokens` tokens: the model ends none itself from now on.
    """
    import torch

    from helpers import generation
    from helpers.ui.prompt_box import PromptBox

    prompt = " = The lighthouse = \n"
    ids = tokenizer(prompt)["input_ids"]
    sampling = generation.Sampling(max_new_tokens=tokens)
    settings = dict(do_sample=True, temperature=0.8, top_k=50, top_p=0.95, pad_token_id=0)
    settings["max_new_tokens"] = tokens
    model.config.eos_token_id = -1  # texts of equal length
    model.generation_config.eos_token_id = None
    box = PromptBox(model, tokenizer, sampling, prompt)
    box.dials.keep.value = True
    first, seconds = [], {"box": [], "plain": [], "library": []}
    for _ in range(rounds):
        time.sleep(pause)
        runs, began, started = len(box.history), time.perf_counter(), clock()
        box.generate.click()
        while not (len(box.history) > runs and box.run[0].tokens):
            time.sleep(0.001)
        first.append(time.perf_counter() - began)
        box.worker.over.wait()
        seconds["box"].append(clock() - started)
        started = clock()
        written = list(generation.stream_tokens(model, ids, sampling))
        seconds["plain"].append(clock() - started)
        assert [token.id for token in box.run[0].tokens] == written
        started = clock()
        model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), **settings)
        seconds["library"].append(clock() - started)
    return first, seconds


if __name__ == "__main__":
    main()
