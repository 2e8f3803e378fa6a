"""Files that tell of a folder: JSON, and the digests by which a changed byte is noticed."""

import json
import zlib
from pathlib import Path

DIGESTS = "digests.json"


def read_json(file: Path) -> dict | None:
    """What a JSON file holds, or None where there is none that can be read."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_json(file: Path, content: dict) -> None:
    """Write `content` to a file, to be found by `read_json`."""
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def seal(folder: Path) -> None:
    """Note the digests of the files in `folder`, for `damaged`; not of those by other processes."""
    files = [file for file in sorted(folder.iterdir()) if not file.match("rng_state_*")]
    digests = {file.name: _digest(file) for file in files if file.name != DIGESTS}
    write_json(folder / DIGESTS, digests)


def damaged(folder: Path) -> list[str]:
    """The names of the files that are not what they were when `folder` was sealed, if it was."""
    sealed = read_json(folder / DIGESTS) or {}
    return [name for name, digest in sealed.items() if _digest(folder / name) != digest]


def _digest(file: Path) -> int | None:
    """The CRC-32 of what is in a file, which no single changed byte leaves as it was."""
    digest = 0
    try:
        with file.open("rb") as opened:
            while part := opened.read(2**20):
                digest = zlib.crc32(part, digest)
    except OSError:
        return None
    return digest
