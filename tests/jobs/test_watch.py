"""What is shown while jobs run: a line an event, and a table whose words fit its numbers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from comp.jobs.watch import Watch

JOB = SimpleNamespace(label="net/fold0")


def test_a_line_an_event(capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch("iou", 2, live=False)
    with watch.running():
        watch(JOB, {"type": "start", "device": "cpu"})
        watch(JOB, {"type": "epoch", "epoch": 1, "epochs": 3, "train_loss": 0.5, "val_iou": 0.25})
        watch(JOB, {"type": "done", "result": {"score": 0.75, "seconds": 4.2}})
        watch(JOB, {"type": "failed", "error": "disk full", "error_class": "DiskError"})
    assert capsys.readouterr().out.splitlines() == [
        "net/fold0  starts on cpu",
        "net/fold0  epoch 1/3  loss 0.5000  iou 0.2500",
        "net/fold0  done in 4 s: OOF iou 0.7500  [1/2]",
        "net/fold0  FAILED: disk full",
    ]
    assert (watch.done, watch.failed) == (1, 1)


@pytest.mark.parametrize(("total", "words"), [(1, "0/1 job, "), (2, "0/2 jobs, ")])
def test_the_title_counts_jobs(total: int, words: str) -> None:
    assert Watch("iou", total, live=False).table().title.startswith(words)
