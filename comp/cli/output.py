"""What is printed: to a reader who may go away (`comp cv | head`), in an encoding that may be narrow."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Any

GONE = (errno.EPIPE, errno.EIO)  # a pipe without a reader, a terminal that was closed


class Patient:
    """A text stream that goes on when its reader is gone: what is written from then on is dropped."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return int(self._stream.write(text))
        except OSError as error:
            self._let_go(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._let_go(error)

    def _let_go(self, error: OSError) -> None:
        """Put nothing in the reader's place: for this stream, native code and what Python flushes at its end."""
        if error.errno not in GONE:
            raise error
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._stream.fileno())
        os.close(nothing)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def be_patient() -> None:
    """Print on without a reader: work that takes hours is not ended by `| head`."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Patient):
            setattr(sys, name, Patient(stream))


def open_closed_streams() -> None:
    """Put nothing behind standard streams that are closed (`>&-`), before files and pipes get their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(nothing, True)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - stays


def print_any_letter() -> None:
    """Print letters that the terminal's encoding lacks (LANG=C) as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            if stream.errors == "strict":
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def end_without_reader() -> None:
    """End quietly, as other programs do whose reader went away."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        with contextlib.suppress(OSError):
            os.dup2(nothing, number)
    sys.exit(141)
