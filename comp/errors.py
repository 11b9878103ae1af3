"""The tree of errors a user can see. Each one carries the exit code that the command line returns.

    CompError (1)
    ├── UsageError (2)
    │   ├── ConfigError (2)         every mistake of a YAML file or an override, all at once
    │   │   └── UnknownNameError    a name that no table holds, with the nearest one
    │   └── RunMismatchError (2)    a run directory or an ensemble member made by something else
    ├── DataError (3)               images, masks, tables
    │   ├── FoldsError (3)
    │   └── SubmissionError (3)
    ├── DiskError (4)
    ├── JobsFailedError (1)         some jobs failed; the message names them
    ├── LockedError (75)            somebody else is using the run
    └── StoppedError (128 + n)      a signal asked to stop

A message says what, where (file and key, or image_id and row), expected, got, and the next step.
Anything else that escapes a command is a bug: exit code 70, with its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class CompError(Exception):
    """An error that the user can cause and can cure."""

    exit_code = 1


class UsageError(CompError):
    """The command was called in a way that has no answer."""

    exit_code = 2


class ConfigError(UsageError):
    """One or more mistakes in configuration, reported together.

    Args:
        problems: one line a mistake, each naming file and key.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        head = "" if len(self.problems) == 1 else f"{len(self.problems)} mistakes:\n  "
        super().__init__(head + "\n  ".join(self.problems))


class UnknownNameError(ConfigError):
    """A name that the table of its kind does not hold."""


class RunMismatchError(UsageError):
    """A run, a fold file or an ensemble member was made by something else than what is asked now."""


class DataError(CompError):
    """Images, masks or tables are missing, unreadable or contradict each other."""

    exit_code = 3


class FoldsError(DataError):
    """The folds file does not fit the data, or was changed by hand."""


class SubmissionError(DataError):
    """A submission or its answer key cannot be scored as it is."""


class DiskError(CompError):
    """The disk is full or cannot be written."""

    exit_code = 4


class JobsFailedError(CompError):
    """At least one job failed; the others were finished."""

    exit_code = 1


class LockedError(CompError):
    """Another process holds the lock."""

    exit_code = 75


class StoppedError(CompError):
    """A signal asked to stop; what was finished is on disk."""

    def __init__(self, message: str, signal_number: int) -> None:
        self.exit_code = 128 + signal_number
        super().__init__(message)


def some(items: Iterable[object], limit: int = 5) -> str:
    """Join the first few items for a message: ``a, b, c, d, e (and 7 more)``."""
    listed = [str(item) for item in items]
    more = f" (and {len(listed) - limit} more)" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more
