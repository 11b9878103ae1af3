"""The tree of errors and the exit codes that the command line promises."""

from __future__ import annotations

import pytest

from comp import errors


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("CompError", 1),
        ("JobsFailedError", 1),
        ("UsageError", 2),
        ("RunMismatchError", 2),
        ("DataError", 3),
        ("FoldsError", 3),
        ("SubmissionError", 3),
        ("DiskError", 4),
        ("LockedError", 75),
    ],
)
def test_exit_codes(name: str, code: int) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, errors.CompError)
    assert kind("message").exit_code == code


def test_every_error_is_a_comp_error() -> None:
    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, Exception)]
    assert all(issubclass(kind, errors.CompError) for kind in kinds)


def test_config_error_reports_all_problems() -> None:
    one = errors.ConfigError("a.yaml: x: missing")
    assert (one.exit_code, str(one), one.problems) == (2, "a.yaml: x: missing", [str(one)])
    two = errors.ConfigError(["first", "second"])
    assert str(two) == "2 mistakes:\n  first\n  second"
    assert issubclass(errors.UnknownNameError, errors.ConfigError)


def test_stopped_by_a_signal() -> None:
    assert errors.StoppedError("stopped", 15).exit_code == 143


def test_some() -> None:
    assert errors.some([]) == ""
    assert errors.some("abc") == "a, b, c"
    assert errors.some(range(12)) == "0, 1, 2, 3, 4 (and 7 more)"
