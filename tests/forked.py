"""Child processes that do not load torch anew.

To load torch, and what transformers needs of it, takes Python seconds: more than most commands that
the tests start take for themselves. multiprocessing's fork server loads it once. A child is forked
from there, with its own arguments, folder, environment and files, as `python ARGUMENTS` has them.
What reads the environment while it is loaded (transformers, huggingface_hub) is not in PRELOAD, so
each child loads that itself.

https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods
"""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

PRELOAD = "torch torch._dynamo torch.distributed.tensor sympy pandas pyarrow.dataset".split()
SERVER = multiprocessing.get_context("forkserver") if sys.platform == "linux" else None
if SERVER:
    SERVER.set_forkserver_preload(PRELOAD)


def run(arguments, *, cwd, env, text="", timeout=None) -> subprocess.CompletedProcess:
    """`python ARGUMENTS`, finished, with `text` as its input, and all that it printed."""
    arguments = [str(argument) for argument in arguments]
    if not SERVER:
        return subprocess.run(
            [sys.executable, *arguments], cwd=cwd, env=env, input=text, timeout=timeout,
            capture_output=True, encoding="utf-8",
        )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        files[0].write_text(text, encoding="utf-8")
        child = _fork(arguments, cwd, env, files)
        child.join(timeout)
        if child.exitcode is None:
            child.kill()
            raise subprocess.TimeoutExpired(arguments, timeout)
        printed = [file.read_text(encoding="utf-8") for file in files[1:]]
    return subprocess.CompletedProcess(arguments, child.exitcode, *printed)


class Begun:
    """`python ARGUMENTS`, begun: of `subprocess.Popen`, what the tests use.

    What it prints is read from `stdout`, with what it says on stderr where `errors` is true.
    """

    def __init__(self, arguments, *, cwd, env, errors: bool):
        with tempfile.TemporaryDirectory() as folder:
            pipe = Path(folder, "pipe")
            os.mkfifo(pipe)
            files = os.devnull, pipe, pipe if errors else os.devnull
            self.child = _fork([str(argument) for argument in arguments], cwd, env, files)
            self.stdout = open(pipe, encoding="utf-8")  # waits until the child has it open, too
        self.pid = self.child.pid
        atexit.register(self.child.kill)  # one that a failed test has left standing still

    @property
    def returncode(self) -> int | None:
        """Its exit code, or None as long as it runs."""
        return self.child.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self.child.exitcode

    def wait(self, timeout=None) -> int:
        """Its exit code, once it has ended; subprocess.TimeoutExpired if it does not."""
        self.child.join(timeout)
        if self.child.exitcode is None:
            raise subprocess.TimeoutExpired("python", timeout)
        return self.child.exitcode

    def communicate(self, timeout=None) -> tuple[str, None]:
        """What it prints from now on, once it has ended."""
        with self.stdout:
            printed = self.stdout.read()
        self.wait(timeout)
        return printed, None

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)


def begin(arguments, *, cwd, env, errors=False):
    """`python ARGUMENTS`, begun: see Begun."""
    if SERVER:
        return Begun(arguments, cwd=cwd, env=env, errors=errors)
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=cwd, env=env, encoding="utf-8",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT if errors else subprocess.DEVNULL,
    )  # fmt: skip


def _fork(arguments: list[str], cwd, env, files) -> multiprocessing.Process:
    child = SERVER.Process(
        target=_become, args=(arguments, str(cwd), dict(env), [str(file) for file in files])
    )
    child.start()
    return child


def _become(arguments: list[str], cwd: str, env: dict[str, str], files: list[str]) -> None:
    """From here on, this process is `python ARGUMENTS`."""
    stdin, stdout, stderr = files
    with open(stdin, "rb") as opened:
        os.dup2(opened.fileno(), 0)
    with open(stdout, "ab") as opened:
        os.dup2(opened.fileno(), 1)
    if stderr == stdout:  # as with 2>&1
        os.dup2(1, 2)
    else:
        with open(stderr, "ab") as opened:
            os.dup2(opened.fileno(), 2)
    at_once = arguments[0] == "-u"
    sys.stdin = open(0, encoding="utf-8")
    sys.stdout = open(1, "w", 1 if at_once else -1, encoding="utf-8")
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace")
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    _take_threads()
    try:
        _execute(*arguments[at_once:])
    except SystemExit:
        raise
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.exit(1)


def _execute(what: str, *rest: str) -> None:
    if what == "-m":
        sys.argv = list(rest)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif what == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = [what, *rest]
        sys.path.insert(0, str(Path(what).resolve().parent))
        runpy.run_path(what, run_name="__main__")


def _take_threads() -> None:
    """What OMP_NUM_THREADS says, which torch reads only while it is loaded."""
    import torch

    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
