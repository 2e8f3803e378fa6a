"""Lesson 01's table: what the lessons need, what is here, and what to do where they differ.

A line of it is (what, needed, found, verdict, what to do if the verdict is not "ok").
"""

import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

import psutil

from helpers.profiles import Profile, choose, choose_device, home

REQUIREMENTS = Path(__file__).parents[2] / "requirements.txt"
FIX = "`%pip install -r ../requirements.txt` in a cell, restart the kernel"
ROOM = {"tiny": (0.2, 2), "gpt2": (6, 5)}  # gigabytes of disk and memory that a profile wants
NAMES = ("what", "needed", "found", "verdict", "if it is not ok")


def packages(needed: dict[str, str] | None = None, fix: str = FIX) -> list[tuple]:
    """A line for each package of `needed`, a version by name; None: those that are listed."""
    lines = []
    for package, version in (needed or _listed()).items():
        try:
            here = metadata.version(package)
        except metadata.PackageNotFoundError:
            here = "missing"
        same = f"{here}.".startswith(version.rsplit(".", 1)[0] + ".")  # but for the last number
        lines.append((package, version, here, *(("ok", "") if same else ("not ok", fix))))
    return lines


def _listed() -> dict[str, str]:
    text = REQUIREMENTS.read_text(encoding="utf-8").split("# --- the checks")[0]
    listed = dict(re.findall(r"^([\w-]+)==(\S+)", text, flags=re.MULTILINE))
    return listed | {"jupyterlab_widgets": "3"}  # ipywidgets' other half, in the browser


def machine(profile: Profile) -> list[tuple]:
    """The lines on Python, the disk, the memory, the device and the files of `gpt2`."""
    home().mkdir(parents=True, exist_ok=True)
    room, memory = ROOM[profile.name]
    disk, free = shutil.disk_usage(home()).free / 1e9, psutil.virtual_memory().available / 1e9
    python, device = sys.version_info[:3], choose_device()
    unused = device == "cpu" and shutil.which("nvidia-smi")  # a driver without its PyTorch
    hub = choose("auto", device="cpu", precision="fp32")
    return [
        ("Python", "3.11 to 3.14", ".".join(map(str, python)),
         "ok" if (3, 11) <= python < (3, 15) else "not ok", "install another"),
        ("disk", f"{room} GB", f"{disk:.1f} GB", "ok" if disk > room else "low", "make room"),
        ("memory", f"{memory} GB", f"{free:.1f} GB", "ok" if free > memory else "low",
         "close programs"),
        ("device for `gpt2`", "any", device, "GPU unused" if unused else "ok",
         "PyTorch's CUDA build, a new driver"),
        ("files of `gpt2`", "for `gpt2`", hub.why, "ok" if hub.name == "gpt2" else "only `tiny`",
         "connect, if you want `gpt2`"),
    ]  # fmt: skip


def table(lines: list[tuple]) -> str:
    """The lines as a table in Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (NAMES, ["---"] * 5, *lines))
