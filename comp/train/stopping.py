"""Signals that ask to stop while a job runs: noted at once, answered where nothing is half done.

A training stops after the batch it is at, validation and prediction between two of theirs; nothing is
interrupted in the middle of a step or of a file. No torch here: the executors ask too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing import parent_process
from types import FrameType
from typing import Any

from comp.errors import StoppedError

# A terminal that closes, and what a scheduler sends before it kills: to the parent alone. In a worker
# SIGUSR1 asks for its stack.
ONLY_PARENT = tuple(
    getattr(signal, name) for name in ("SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)
SIGNALS = (signal.SIGTERM, signal.SIGINT, *ONLY_PARENT)
_asked: tuple[int, float] | None = None  # the signal, and when


def asked() -> int | None:
    """The signal that asked to stop since `listening` began; None: none did."""
    return None if _asked is None else _asked[0]


def seconds_since() -> float:
    """Since the stop was asked for; 0 where it was not."""
    return 0.0 if _asked is None else time.monotonic() - _asked[1]


def check() -> None:
    """Call where all that was done can be thrown away, or was saved.

    Raises:
        StoppedError: a signal asked to stop.
    """
    if _asked is not None:
        name = signal.Signals(_asked[0]).name
        raise StoppedError(f"stopped by {name}: run the same command to go on", _asked[0])


def heeded() -> list[signal.Signals]:
    """Signals that ask this process to stop: those that are not ignored, as under `nohup`."""
    return [n for n in SIGNALS if signal.getsignal(n) not in (signal.SIG_IGN, None)]


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Note the signals that ask to stop while the block runs, instead of being ended by them.

    What is ignored stays ignored (a worker's SIGINT: its parent decides). In a worker, whose parent ends it
    when it takes too long, a second signal changes nothing; elsewhere it is answered as it was before.
    Nested, or not in the main thread, it does nothing.
    """
    global _asked
    if any(signal.getsignal(number) is _note for number in SIGNALS):
        yield
        return
    _asked = None
    kept = {n: signal.getsignal(n) for n in heeded()}
    try:
        for number in kept:
            signal.signal(number, _note)
    except ValueError:  # not the main thread
        yield
        return
    _before.update({int(number): before for number, before in kept.items()})
    try:
        yield
    finally:
        for number, before in kept.items():
            signal.signal(number, before)


_before: dict[int, Any] = {}


def _note(number: int, frame: FrameType | None) -> None:
    global _asked
    if _asked is None:
        _asked = number, time.monotonic()
    elif parent_process() is None:
        signal.signal(number, _before.get(number, signal.SIG_DFL))
        os.kill(os.getpid(), number)
