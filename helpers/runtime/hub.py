"""Whether the Hugging Face Hub answers, and what of it is on this machine already.

A model is named OWNER/NAME, or by its folder; a dataset OWNER/NAME or OWNER/NAME/CONFIG.
"""

import json
import os
import threading
from pathlib import Path

from helpers.profiles import BUNDLED, GPT2, OR_TINY
from helpers.runtime.compat import is_folder_of, work_offline
from helpers.runtime.errors import TutorialError
from helpers.runtime.files import read_json
from helpers.runtime.saving import ADAPTER, is_model, read_summary

PROBE = f"{GPT2}/resolve/main/config.json"  # a small file that is sure to be there
SPLITS = ("train", "validation", "test")
MODEL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")  # beside the weights


def reach_hub(model: str, dataset: str | None = None) -> None:
    """TutorialError where a model, or a dataset that is named, is neither here nor on the Hub."""
    if not use_cached(model, dataset) and (trouble := hub_trouble()):
        missing = [] if cached_model(model) else [model]
        missing += [dataset] if dataset and not cached_dataset(dataset) else []
        raise TutorialError(not_fetched(" and ".join(missing), trouble))


def not_fetched(what: str, why: str) -> str:
    """The sentence for a learner where a model or a dataset could not be had."""
    return (
        f"{what} could not be fetched from the Hugging Face Hub{why}: check its name and the "
        f"connection and run this again{OR_TINY}."
    )


def use_cached(model: str, dataset: str | None = None) -> bool:
    """Whether both are on this machine: then the Hub is asked for nothing, and nobody waits."""
    here = bool(cached(model, dataset))
    work_offline(here)
    return here


def cached(model: str, dataset: str | None = None) -> list[Path]:
    """The folders of a model and, where one is named, a dataset; empty unless all is here."""
    found = [cached_model(model)] + ([cached_dataset(dataset)] if dataset else [])
    return found if all(found) else []


def cached_model(model: str) -> Path | None:
    """A model's own folder, or that in Hugging Face's cache; None where any of it is missing."""
    if Path(model).is_dir():
        return Path(model)
    from huggingface_hub import try_to_load_from_cache

    # A path, None for a file that was not fetched, or a mark that the repository has no such file.
    files = [try_to_load_from_cache(model, name) for name in MODEL_FILES]
    if not isinstance(files[0], str) or None in files or not is_model(Path(files[0]).parent):
        return None
    return Path(files[0]).parents[2]  # of .../snapshots/COMMIT/config.json


def cached_dataset(dataset: str) -> Path | None:
    """The folder of a prepared dataset in the cache of `datasets`, or None."""
    from huggingface_hub import constants

    repo, config = split_name(dataset)
    cache = os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets"
    prepared = Path(cache).glob(f"*/{config or '*'}/*/*/dataset_info.json")
    found = {file.parents[2] for file in prepared if is_folder_of(file.parents[3].name, repo)}
    return found.pop() if len(found) == 1 else None  # of two configurations, the Hub must say which


def split_name(dataset: str) -> tuple[str, str | None]:
    """OWNER/NAME/CONFIG as (OWNER/NAME, CONFIG); without a CONFIG, None in its place."""
    parts = dataset.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise TutorialError(
            f"A dataset is named OWNER/NAME or OWNER/NAME/CONFIG, as on the Hub, not {dataset!r}."
        )
    return "/".join(parts[:2]), parts[2] if len(parts) == 3 else None


def load_texts(name: str, column: str, files: dict[str, str] | None = None):
    """The splits of a dataset, a `DatasetDict`, each with one column, `text`.

    They come from `files` (JSON lines, for each split), or else from the cache or the Hub. Raises
    TutorialError where they cannot be had, or where the training split or its text is missing.
    """
    import datasets

    datasets.logging.set_verbosity_error()  # else it notes that it took what is in the cache
    if files:
        datasets.disable_progress_bars()  # a second's work
    repo, config = ("json", None) if files else split_name(name)
    try:
        found = datasets.load_dataset(repo, config, data_files=files)
    except Exception as error:  # the network fails in too many ways to name
        if files:
            raise
        reason = type(error).__name__
        if isinstance(error, ValueError):  # its first two lines list the configurations
            reason = f"{' '.join(str(error).splitlines()[:2])}; name one as {repo}/CONFIG"
        if getattr(error, "filename", None):
            why = f"{error.filename} cannot be written ({error.strerror})"
            raise TutorialError(f"{why}: change that, or set HF_HOME to another folder.") from error
        raise TutorialError(not_fetched(name, f" ({reason})")) from error
    finally:
        datasets.enable_progress_bars()
    if "train" not in found:
        raise TutorialError(
            f"{name} has no split named train, only {', '.join(found)}; choose another."
        )
    # in this order: the Hub lists test first
    texts = {split: _text_of(found[split], name, column) for split in SPLITS if split in found}
    return datasets.DatasetDict(texts)


def _text_of(split, name: str, column: str):
    advice = f"name another of its columns with --column: {', '.join(split.column_names)}"
    if column not in split.column_names:
        raise TutorialError(f"{name} has no column {column!r}; {advice}.")
    if getattr(split.features[column], "dtype", "") not in ("string", "large_string"):
        raise TutorialError(f"The column {column!r} of {name} is not text; {advice}.")
    split = split.select_columns(column).rename_columns({column: "text"})
    if not any(text and text.strip() for rows in split.iter(1000) for text in rows["text"]):
        raise TutorialError(f"The column {column!r} of {name} is empty; {advice}.")
    return split


def base_of(folder: Path) -> str | None:
    """The model that the adapter in `folder` belongs to; None where there is no adapter."""
    base = (read_json(folder / ADAPTER) or {}).get("base_model_name_or_path")
    if base and (read_summary(folder) or {}).get("profile") == "tiny":
        return str(BUNDLED / "model")  # the folder may have come from another machine
    return base


def read_config(model: str) -> dict:
    """The `config.json` of a GPT-2. TutorialError where there is none, or of something else."""
    if model == GPT2:
        return {"model_type": "gpt2"}  # all else as transformers has it by default
    if base := base_of(Path(model)):
        raise TutorialError(
            f"{model} holds an adapter for {base}, and no model of its own; train {base} with "
            "--lora, or merge the two first, as lesson 09 does."
        )
    try:
        config = json.loads(_config_file(model).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TutorialError(
            f"There is no model {model}, neither in a folder nor on the Hugging Face Hub, or it "
            f"could not be read ({type(error).__name__}): check its name and the connection."
        ) from error
    if config.get("model_type") != "gpt2":
        raise TutorialError(
            f"{model} is no GPT-2 but of the architecture {config.get('model_type')}; choose one "
            "such as distilbert/distilgpt2 or openai-community/gpt2-medium."
        )
    return config


def _config_file(model: str) -> Path:
    if Path(model).is_dir():
        return Path(model) / "config.json"
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    file = try_to_load_from_cache(model, "config.json")
    if isinstance(file, str):
        return Path(file)
    if trouble := hub_trouble():
        raise TutorialError(not_fetched(model, trouble))
    return Path(hf_hub_download(model, "config.json"))


def hub_trouble() -> str:
    """ ", which does not answer" in two and a half seconds, and why; "" where the Hub answers."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    def ask():
        try:
            status = get_session().head(f"{constants.ENDPOINT}/{PROBE}", timeout=2.0).status_code
            found.append("" if status < 400 else f"HTTP status {status}")
        except Exception as error:  # whatever the network does wrong, and HF_HUB_OFFLINE
            found.append(f"{type(error).__name__}: {error}".splitlines()[0][:300])

    found = []
    # In a thread, since looking up a host's name can take longer than the request may.
    question = threading.Thread(target=ask, daemon=True)
    question.start()
    question.join(2.5)
    trouble = found[0] if found else "it takes too long"
    return trouble and f", which does not answer ({trouble})"
