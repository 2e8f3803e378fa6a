"""Writing text, one token at a time (lesson 06)."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import torch
from transformers import DynamicCache

from helpers.runtime import compat
from helpers.runtime.errors import TutorialError

LAST_SEED = 10**15  # a browser counts exactly up to nine times that; the seed after it is 0
LAST_SPACE = "The prompt ends in a space; words bring their own, so better leave it out."
LIMITS = {
    "repetition_penalty": (0.1, 10),
    "temperature": (0, 100),
    "top_k": (0, 10**9),
    "top_p": (1e-9, 1),
    "max_new_tokens": (1, 10**6),
    "seed": (0, LAST_SEED),
}


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn. The filters apply in this order, as in transformers' `generate`.

    Raises TutorialError for a value outside its `LIMITS`.
    """

    repetition_penalty: float = 1.0  # above 1: earlier tokens less likely (Keskar et al. 2019)
    temperature: float = 0.8  # below 1 sharpens the distribution, above 1 flattens it; 0: greedy
    top_k: int = 50  # only the k likeliest tokens; 0: all (Fan et al. 2018)
    top_p: float = 0.95  # only the likeliest that together reach p; 1: all (Holtzman et al. 2020)
    max_new_tokens: int = 80
    seed: int = 0

    def __post_init__(self):
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise TutorialError(f"{name} must be from {low:g} to {high:g}, not {value}.")

    def __str__(self) -> str:
        settings = asdict(self).items()  # 16 digits, or a long seed would be rounded
        return ", ".join(f"{name.replace('_', ' ')} {value:.16g}" for name, value in settings)


def next_token_probabilities(
    logits: torch.Tensor, sampling: Sampling, seen: torch.Tensor
) -> torch.Tensor:
    """From raw scores `logits` (vocab,) to the probabilities (vocab,) that the next token has.

    `seen` (length,) holds the tokens so far, for the repetition penalty. Temperature 0 gives the
    likeliest token probability 1.
    """
    logits = logits.float().clone()  # (vocab,)
    if sampling.repetition_penalty != 1.0:
        scores, penalty = logits[seen], sampling.repetition_penalty  # scores: (length,)
        logits[seen] = torch.where(scores < 0, scores * penalty, scores / penalty)
    if sampling.temperature < 1e-5:  # as good as 0, and what fp32 cannot divide by
        return torch.nn.functional.one_hot(logits.argmax(), len(logits)).float()
    logits /= sampling.temperature
    if 0 < sampling.top_k < len(logits):
        logits[logits < logits.topk(sampling.top_k).values[-1]] = -torch.inf
    if sampling.top_p < 1:
        ordered, order = logits.sort(descending=True)
        probabilities = ordered.softmax(-1)
        likelier = probabilities.cumsum(-1) - probabilities  # what the tokens before it add up to
        logits[order[likelier >= sampling.top_p]] = -torch.inf
    return logits.softmax(-1)


@torch.no_grad()
def stream_steps(
    model, prompt_ids: list[int], sampling: Sampling
) -> Iterator[tuple[int, torch.Tensor]]:
    """Token ids that continue `prompt_ids`, each with the logits (vocab,) that it was drawn from.

    It ends at end-of-text or at the length. Keys and values of earlier positions are kept (the KV
    cache), so each step computes one position only. When the context is full, its older half is
    dropped. Drawn with a CPU generator: one seed, one text.
    """
    generator = torch.Generator("cpu").manual_seed(sampling.seed)
    context, cache = list(prompt_ids)[-model.config.n_positions :], DynamicCache()
    new = torch.tensor([context], device=model.device)  # (1, length)
    for _ in range(sampling.max_new_tokens):
        kept = {compat.name_of_the_cache(): cache}  # it grows by what `new` brings
        logits = model(input_ids=new, use_cache=True, **kept).logits[0, -1].cpu()  # (vocab,)
        probabilities = next_token_probabilities(logits, sampling, torch.tensor(context))
        token = int(torch.multinomial(probabilities, 1, generator=generator))
        if token == model.config.eos_token_id:
            return
        yield token, logits
        context.append(token)
        new = torch.tensor([[token]], device=model.device)  # (1, 1)
        if len(context) > model.config.n_positions:
            context, cache = context[-model.config.n_positions // 2 :], DynamicCache()
            new = torch.tensor([context], device=model.device)


def stream_tokens(model, prompt_ids: list[int], sampling: Sampling) -> Iterator[int]:
    """The token ids of `stream_steps`."""
    return (token for token, _ in stream_steps(model, prompt_ids, sampling))


def room(model, sampling: Sampling) -> int:
    """How many tokens of a prompt fit the context beside the text to write: half of it at least."""
    return model.config.n_positions - min(sampling.max_new_tokens, model.config.n_positions // 2)


def encode_prompt(tokenizer, prompt: str, longest: int) -> tuple[list[int], int]:
    """The last `longest` ids of `prompt`, and how many were cut; TutorialError if it is blank."""
    if not prompt.strip():
        raise TutorialError("The prompt is empty; type a few words for the model to continue.")
    ids = tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"]
    return ids[-longest:], max(0, len(ids) - longest)


def decode_whole(tokenizer, tokens: list[int]) -> str:
    """The text of `tokens`, or "" where the last character in it is not yet complete."""
    text = tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
    return "" if text.endswith("\ufffd") else text


def decode_stream(tokenizer, tokens: Iterable[int]) -> Iterator[str]:
    """The text of `tokens` as they come; a character of several tokens comes whole."""
    waiting = []  # for the rest of a character
    for token in tokens:
        waiting.append(token)
        text = decode_whole(tokenizer, waiting)
        if text:
            yield text
            waiting = []


def stream_text(model, tokenizer, prompt: str, sampling: Sampling) -> Iterator[str]:
    """The continuation of `prompt`, in pieces as they are written."""
    prompt_ids, _ = encode_prompt(tokenizer, prompt, room(model, sampling))
    return decode_stream(tokenizer, stream_tokens(model, prompt_ids, sampling))


def generate(model, tokenizer, prompt: str, sampling: Sampling | None = None) -> str:
    """The continuation of `prompt`, without the prompt."""
    return "".join(stream_text(model, tokenizer, prompt, sampling or Sampling()))
