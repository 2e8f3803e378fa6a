"""Whether the Hugging Face Hub answers, and what of it is on this machine already."""

import os
import sys
import threading
from pathlib import Path

from helpers.profiles import GPT2, GPT2_FILES, OR_TINY, WIKITEXT
from helpers.runtime.errors import TutorialError


def reach_hub(data: bool = True) -> None:
    """Make sure that GPT-2 and, with `data`, WikiText-2 can be had, from the cache or from the Hub.

    Raises TutorialError if not.
    """
    if not use_cache(data) and not hub_answers():
        raise TutorialError(
            f"{GPT2}{' and WikiText-2' * data} could not be fetched from the Hugging Face Hub, which does not answer: "
            f"check the connection and run this again{OR_TINY}."
        )


def use_cache(data: bool = True) -> bool:
    """Where all that `cached` looks for is there, ask the Hub for nothing from now on: no waiting, no connection."""
    if not cached(data):
        return False
    from huggingface_hub import constants

    os.environ["HF_HUB_OFFLINE"] = "1"  # for libraries not imported yet
    constants.HF_HUB_OFFLINE = True  # for those that are
    if hub := sys.modules.get("transformers.utils.hub"):
        hub._is_offline_mode = True  # the copy that transformers 4 keeps
    return True


def cached(data: bool = True) -> list[Path]:
    """The folders of GPT-2 and, with `data`, WikiText-2 in Hugging Face's cache; an empty list unless all is there."""
    from huggingface_hub import constants, try_to_load_from_cache

    files = [try_to_load_from_cache(GPT2, name) for name in GPT2_FILES]
    folder = os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets"
    prepared = Path(folder, WIKITEXT[0].replace("/", "___"), WIKITEXT[1])
    if (
        not all(isinstance(file, str) for file in files)
        or data
        and not any(prepared.glob("*/*/dataset_info.json"))
    ):
        return []
    return [
        Path(files[0]).parents[2],
        *[prepared] * data,
    ]  # of .../snapshots/COMMIT/model.safetensors


def hub_answers() -> bool:
    """Whether the Hub answers within two and a half seconds."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    def ask():
        try:
            url = f"{constants.ENDPOINT}/{GPT2}/resolve/main/config.json"
            answers.append(get_session().head(url, timeout=2.0).status_code < 400)
        except Exception:  # whatever the network does wrong, and HF_HUB_OFFLINE: no answer
            answers.append(False)

    answers = []
    # In a thread, since looking up a host's name can hang for longer than any time limit on the request.
    question = threading.Thread(target=ask, daemon=True)
    question.start()
    question.join(2.5)
    return answers == [True]
