"""Writing text, one token at a time (lesson 06)."""

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch

from helpers.runtime.errors import TutorialError

ALTERNATIVES = 8  # shown for each token
LAST_SEED = 10**15  # a browser counts exactly up to nine times that; the seed after it is 0


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn. The filters apply in the order of these fields, as in transformers' `generate`."""

    repetition_penalty: float = (
        1.0  # above 1: tokens that were there before become less likely (Keskar et al. 2019)
    )
    temperature: float = (
        0.8  # below 1 sharpens the distribution, above 1 flattens it; 0 takes the likeliest token
    )
    top_k: int = 50  # only the k likeliest tokens; 0: all (Fan et al. 2018)
    top_p: float = (
        0.95  # only the likeliest tokens that together reach p; 1: all (Holtzman et al. 2020)
    )
    max_new_tokens: int = 80
    seed: int = 0

    def __post_init__(self):
        for name, low, high in (("repetition_penalty", 0.1, 10), ("temperature", 0, 100), ("top_k", 0, 10**9),
                                ("top_p", 1e-9, 1), ("max_new_tokens", 1, 10**6), ("seed", 0, LAST_SEED)):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                raise TutorialError(
                    f"{name} must be from {low:g} to {high:g}, not {getattr(self, name)}."
                )

    def __str__(self) -> str:
        # 16 digits, or a long seed would be rounded
        return ", ".join(
            f"{name.replace('_', ' ')} {value:.16g}" for name, value in asdict(self).items()
        )


def next_token_probabilities(
    logits: torch.Tensor, sampling: Sampling, seen: torch.Tensor
) -> torch.Tensor:
    """From raw scores `logits` (vocab,) to the probabilities (vocab,) that the next token is drawn from.

    `seen` (length,) holds the tokens so far, for the repetition penalty. Temperature 0 gives the likeliest token
    probability 1.
    """
    logits = logits.float().clone()  # (vocab,)
    if sampling.repetition_penalty != 1.0:
        scores, penalty = logits[seen], sampling.repetition_penalty
        logits[seen] = torch.where(scores < 0, scores * penalty, scores / penalty)
    if sampling.temperature < 1e-5:  # as good as 0, and what fp32 cannot divide by
        return torch.nn.functional.one_hot(logits.argmax(), len(logits)).float()
    logits /= sampling.temperature
    if 0 < sampling.top_k < len(logits):
        logits[logits < logits.topk(sampling.top_k).values[-1]] = -torch.inf
    if sampling.top_p < 1:
        ordered, order = logits.sort(descending=True)
        probabilities = ordered.softmax(-1)
        reached_before = (
            probabilities.cumsum(-1) - probabilities
        )  # what the likelier tokens add up to
        logits[order[reached_before >= sampling.top_p]] = -torch.inf
    return logits.softmax(-1)


@dataclass(frozen=True)
class Token:
    """A token that was written, and what might have stood in its place."""

    id: int
    text: str  # "" where its bytes are only a part of a character; the token that completes it has it whole
    probability: float  # the model's own, before temperature and filters
    alternatives: list[
        tuple[int, float]
    ]  # the likeliest ids with their probabilities, the likeliest first


@torch.no_grad()
def stream_steps(
    model, prompt_ids: list[int], sampling: Sampling
) -> Iterator[tuple[int, torch.Tensor]]:
    """Token ids that continue `prompt_ids`, each with the logits (vocab,) before it, until end-of-text or the length.

    Keys and values of earlier positions are kept (the KV cache), so each step computes one position only. When
    the context is full, its older half is dropped. Drawn with a CPU generator: one seed, one text.
    """
    generator = torch.Generator("cpu").manual_seed(sampling.seed)
    context, cache = list(prompt_ids)[-model.config.n_positions :], None
    new = torch.tensor([context], device=model.device)  # (1, length)
    for _ in range(sampling.max_new_tokens):
        output = model(input_ids=new, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        logits = output.logits[0, -1].cpu()  # (vocab,)
        probabilities = next_token_probabilities(logits, sampling, torch.tensor(context))
        token = int(torch.multinomial(probabilities, 1, generator=generator))
        if token == model.config.eos_token_id:
            return
        yield token, logits
        context.append(token)
        new = torch.tensor([[token]], device=model.device)  # (1, 1)
        if len(context) > model.config.n_positions:
            context, cache = context[-model.config.n_positions // 2 :], None
            new = torch.tensor([context], device=model.device)


def stream_tokens(model, prompt_ids: list[int], sampling: Sampling) -> Iterator[int]:
    """The token ids of `stream_steps`."""
    return (token for token, _ in stream_steps(model, prompt_ids, sampling))


def encode_prompt(tokenizer, prompt: str, longest: int) -> tuple[list[int], int]:
    """The ids of `prompt`, at most its last `longest`, and how many were cut. Raises TutorialError if it is blank."""
    if not prompt.strip():
        raise TutorialError("The prompt is empty; type a few words for the model to continue.")
    ids = tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"]
    return ids[-longest:], max(0, len(ids) - longest)


def room(model, sampling: Sampling) -> int:
    """How many tokens of a prompt fit the model's context together with the text to write: half of it at least."""
    return model.config.n_positions - min(sampling.max_new_tokens, model.config.n_positions // 2)


def watch(
    model, tokenizer, prompt_ids: list[int], sampling: Sampling, written: list[Token] = ()
) -> Iterator[Token]:
    """The tokens that continue `prompt_ids` and what was `written` after them, with all that a prompt box shows."""
    written = list(written)
    if written and written[-1].id == model.config.eos_token_id:
        return  # somebody chose that the text ends here
    for token, logits in stream_steps(model, prompt_ids + [one.id for one in written], sampling):
        probabilities = logits.float().softmax(-1)  # (vocab,)
        likeliest = probabilities.topk(ALTERNATIVES)
        alternatives = list(zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True))
        written.append(
            Token(
                token, _text(tokenizer, written, token), float(probabilities[token]), alternatives
            )
        )
        yield written[-1]


def instead(tokenizer, written: list[Token], place: int, token: int) -> list[Token]:
    """What was `written` up to `place`, and there the other `token`: one of the alternatives."""
    kept, old = written[:place], written[place]
    return [
        *kept,
        Token(
            token, _text(tokenizer, kept, token), dict(old.alternatives)[token], old.alternatives
        ),
    ]


def _text(tokenizer, written: list[Token], token: int) -> str:
    """What `token` adds to the text: with the tokens before it that are parts of a character, if it completes that."""
    parts = itertools.takewhile(lambda one: not one.text, reversed(written))
    ids = [*(one.id for one in reversed(list(parts))), token]
    text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    return "" if text.endswith("\ufffd") else text


def stream_text(model, tokenizer, prompt: str, sampling: Sampling) -> Iterator[str]:
    """The continuation of `prompt`, in pieces as they are written; a character of several tokens comes whole."""
    prompt_ids, _ = encode_prompt(tokenizer, prompt, room(model, sampling))
    return (token.text for token in watch(model, tokenizer, prompt_ids, sampling) if token.text)


def generate(model, tokenizer, prompt: str, sampling: Sampling | None = None) -> str:
    """The continuation of `prompt`, without the prompt."""
    return "".join(stream_text(model, tokenizer, prompt, sampling or Sampling()))
