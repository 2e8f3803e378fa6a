"""Who writes in the prompt boxes (lesson 06): one of them at a time, in a thread, until stopped."""

import threading
import time
from collections.abc import Callable

PAUSE = 0.3  # seconds after a task in which a start is taken for the second of a double click


class Worker:
    """Runs one task at a time. Of all workers only one is at work: who starts ends the one before.

    A task is a function of `over`: an event that is set once the task is to end, or has ended.
    """

    lock = threading.RLock()  # of all that several threads change; clicks too come from several
    newest = threading.Event()  # `over` of the task that was started last, by any worker
    thread: threading.Thread | None = None  # the last one that was started

    def __init__(self, threaded: bool):
        self.threaded = threaded  # else a task runs in the thread that starts it
        self.over = threading.Event()
        self.over.set()
        self.deaf_until = 0.0  # on the clock of time.monotonic

    def start(self, task: Callable[[threading.Event], object]) -> None:
        """Run `task` in a thread, unless this worker is at work, or has just ended a task."""
        with self.lock:
            if not self.over.is_set() or time.monotonic() < self.deaf_until:
                return
            turn = self._take_turn()
            if self.threaded:
                thread = threading.Thread(target=self._run, args=(task, *turn), daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    self.over.set()
                    raise
                Worker.thread = thread
        if not self.threaded:
            self._run(task, *turn)

    def run(self, task: Callable[[threading.Event], object]):
        """Run `task` here and now, whoever is at work, and return what it returns."""
        return self._run(task, *self._take_turn())

    def stop(self) -> None:
        """Let the task end after the step that it is in. The next start is heard at once."""
        self.over.set()
        self.deaf_until = 0.0

    def _take_turn(self) -> tuple[threading.Event, threading.Thread | None]:
        with self.lock:
            Worker.newest.set()
            Worker.newest = self.over = threading.Event()
            return self.over, Worker.thread

    def _run(self, task, over: threading.Event, before: threading.Thread | None):
        try:
            if before:
                before.join()  # its task is over, so this takes as long as a step
            result = task(over)
            if not over.is_set():
                self.deaf_until = time.monotonic() + PAUSE
            return result
        finally:
            over.set()
