"""Shares of a list of jobs: what is asked for, what is said, who may work together."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from comp.errors import LockedError, UsageError
from comp.files import Workspace
from comp.jobs import shares
from comp.jobs.shares import Share, lock_run, nobody_else, planning, read_share, say_missing


def test_shares_are_read() -> None:
    assert read_share("2/4") == Share(2, 4) and str(read_share(" 1 / 1 ")) == "1/1"


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "-1/4", "a/b", "1/4/2", ""])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected i/n with i from 1 to n, e\.g\. 1/4"):
        read_share(text)


def test_a_share_keeps_the_order_of_the_list() -> None:
    seconds = [1.0, 5.0, 1.0, 4.0]
    assert Share(1, 2).cut("abcd", seconds) == ["b", "c"]
    assert Share(2, 2).cut("abcd", seconds) == ["a", "d"]
    assert Share(5, 5).cut("abcd", seconds) == []


def test_shares_hold_a_run_together_and_the_whole_holds_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "WAIT_SECONDS", 0.0)
    workspace = Workspace(tmp_path, "toy")
    assert nobody_else(workspace, "net")
    with contextlib.ExitStack() as one, contextlib.ExitStack() as two:
        lock_run(workspace, "net", one, shared=True)
        lock_run(workspace, "net", two, shared=True)
        assert not nobody_else(workspace, "net")
        with contextlib.ExitStack() as whole, pytest.raises(LockedError, match="net is used by"):
            lock_run(workspace, "net", whole)
    with contextlib.ExitStack() as whole:
        lock_run(workspace, "net", whole)
        with contextlib.ExitStack() as one, pytest.raises(LockedError, match="pid"):
            lock_run(workspace, "net", one, shared=True)


def test_shares_plan_one_at_a_time_and_waiting_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shares, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(shares, "PLAN_SECONDS", 0.2)
    workspace = Workspace(tmp_path, "toy")
    with planning(workspace), pytest.raises(LockedError), planning(workspace):
        pass
    assert capsys.readouterr().out.startswith("waiting for another share: ")
    with planning(workspace):
        assert capsys.readouterr().out == ""


def test_what_other_shares_have_to_do_is_named() -> None:
    reports = {"a": {"folds": [{"fold": 0}]}, "b": {"folds": [{"fold": 0}, {"fold": 1}]}}
    assert say_missing(Share(1, 2), reports, [0, 1]) == (
        "share 1/2 is done; missing, of other shares: a/fold1"
    )
    assert say_missing(Share(1, 2), reports, [0]) == "share 1/2 is done, and so are all others"
