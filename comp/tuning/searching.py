"""The search itself: trials on the slots until there are enough, also those that a dead process left."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from comp.errors import CompError, JobsFailedError, some
from comp.jobs.watch import Watch
from comp.tuning.lease import STALE_SECONDS, make_lease
from comp.tuning.making import Maker
from comp.tuning.rows import STALE
from comp.tuning.study import Study
from comp.tuning.trials import FAILED_IN_A_ROW, Trials
from comp.tuning.wanted import Wanted

BEAT_EVERY = 5.0  # seconds; the study itself writes less often
LOOK_SECONDS = 1.0


def search(
    study: Study, maker: Maker, wanted: Wanted, execute: Callable[..., Any], n_slots: int
) -> CompError | None:
    """Run trials until there are enough, or the time is up.

    Args:
        execute: an executor that knows its slots.

    Returns:
        why it ended before that: the disk, the storage, one failure after another; None: it did not.
    """
    watch = Watch(maker.competition.metric_name, wanted.trials, slots=n_slots)
    deadline = None if wanted.timeout is None else time.monotonic() + wanted.timeout
    trials = Trials(
        study,
        lambda asked: maker.make(asked.index, asked.params),
        watch,
        wanted.trials,
        deadline,
        wanted.objectives,
    )
    try:
        with beating(study), watch.running():
            while True:
                execute(trials.waiting(), on_event=trials, ticks=True)
                if trials.is_over or not left_by_others(study, wanted.trials):
                    break
    finally:
        trials.give_back()
    if trials.timed_out:
        print(f"--timeout: no trial was begun after {wanted.timeout:.0f} s")
    if trials.refused is not None:
        return trials.refused
    if len(trials.failed) >= FAILED_IN_A_ROW:
        return JobsFailedError(
            f"{FAILED_IN_A_ROW} trials failed one after another, so no more were begun:\n  "
            + "\n  ".join(trials.failed)
            + "\nmend the cause, then begin another study with --study NAME"
        )
    return None


@contextlib.contextmanager
def beating(study: Study) -> Iterator[None]:
    """Say that this process lives while the block runs, whatever keeps it busy."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_EVERY):
            with contextlib.suppress(CompError):  # the next report tells that the storage is away
                study.beat()

    thread = threading.Thread(target=beat, daemon=True, name="beat")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def left_by_others(study: Study, n_trials: int) -> bool:
    """Whether there is a trial to be tried again, since whoever ran it is gone.

    A process of this machine is looked at; one elsewhere is waited for until its beat moves, or has stood
    still for `STALE_SECONDS`.
    """
    here = make_lease()["host"]
    deadline = time.monotonic() + STALE_SECONDS + 10
    first: dict[str, int] | None = None
    while True:
        if any(row.state == STALE for row in study.rows()[:n_trials]):
            return True
        others = study.others()
        if study.some_are_gone(others):
            return True
        away = [row for row in others if (row.attrs.get("lease") or {}).get("host") != here]
        beats = {row.attrs["token"]: row.attrs.get("beat", 0) for row in away}
        if first is None:
            first = beats
            if away:
                names = some([f"trial {row.index}" for row in away])
                print(f"waiting to see whether {names} still run on other machines", flush=True)
        still = [token for token, beat in beats.items() if first.get(token) == beat]
        if not still or time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
