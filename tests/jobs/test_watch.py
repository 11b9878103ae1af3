"""What is shown while jobs run: a line an event, and a table whose words fit its numbers."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
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
    assert Watch("iou", total, live=False).table()[0].startswith(words)


def job_of(tmp_path: Path, name: str) -> SimpleNamespace:
    return SimpleNamespace(label=name, folder=tmp_path / name.replace("/", "_"))


def tell(watch: Watch, jobs: list[SimpleNamespace]) -> None:
    """Of five jobs one runs, one predicts, one failed, one is done and one waits."""
    for number, job in enumerate(jobs[:4]):
        watch(job, {"type": "start", "device": f"cuda:{number}"})
    step = {"type": "step", "stage": "trains", "epoch_now": 3, "epochs": 20, "step": 9, "steps": 20}
    watch(jobs[0], {"type": "epoch", "epoch": 2, "epochs": 20, "val_iou": 0.5, "left": 90.0})
    watch(jobs[0], {**step, "images_per_second": 41.26, "left": 80.0})
    watch(jobs[1], {"type": "predict"})
    images = {"type": "step", "stage": "predicts", "step": 12, "steps": 30, "left": 4.0}
    watch(jobs[1], images)
    watch(jobs[2], {"type": "failed", "error": "disk full", "error_class": "DiskError"})
    watch(jobs[3], {"type": "done", "result": {"score": 0.75, "seconds": 84.2}})


def test_the_table_at_every_size(tmp_path: Path) -> None:
    jobs = [job_of(tmp_path, f"net/fold{n}") for n in range(5)]
    watch = Watch("iou", 5, live=True, jobs=jobs, slots=4)
    tell(watch, jobs)
    lines = watch.table(100, 20)
    assert lines[0].startswith("2/5 jobs (1 failed), 0 s, about 1 min 2") and "left" in lines[0]
    assert lines[1].split() == ["job", "device", "epoch", "iou", "img/s", "left"]
    assert lines[2].split() == [
        "net/fold0",
        "cuda:0",
        "3/20",
        "45%",
        "0.5000",
        "41.3",
        "1",
        "min",
        "20",
        "s",
    ]
    assert lines[3].split() == ["net/fold1", "cuda:1", "predicts", "12/30", "4", "s"]
    assert lines[4].split() == ["net/fold2", "cuda:2", "FAILED"]
    assert lines[5].split() == [
        "net/fold3",
        "cuda:3",
        "done",
        "in",
        "1",
        "min",
        "24",
        "s",
        "0.7500",
    ]
    assert lines[6] == "waiting: net/fold4"
    for columns in range(1, 60):
        for rows in range(1, 9):
            small = watch.table(columns, rows)
            assert len(small) <= rows
    assert watch.table(100, 6)[-2] == "... and 2 more"
    assert "cuda" not in "".join(watch.table(44, 9)[1:])


def test_what_is_left_of_all_takes_the_ratios_of_the_estimates(tmp_path: Path) -> None:
    jobs = [job_of(tmp_path, f"net/fold{n}") for n in range(3)]
    watch = Watch("iou", 3, live=False, jobs=jobs, seconds=[1.0, 1.0, 3.0])
    assert watch.left() is None
    watch(jobs[0], {"type": "start", "device": "cpu"})
    watch(jobs[0], {"type": "done", "result": {"score": 0.75, "seconds": 100.0}})
    assert watch.left() == pytest.approx(400, abs=1)
    watch(jobs[1], {"type": "start", "device": "cpu"})
    watch(jobs[1], {"type": "epoch", "epoch": 1, "epochs": 2, "left": 60.0})
    assert watch.left() == pytest.approx(60 + 3 * 80, abs=1)
    watch.seconds = dict.fromkeys(watch.seconds)
    assert watch.left() == pytest.approx(60 + 80, abs=1)


class Terminal(io.StringIO):
    """A terminal that counts how often it is drawn."""

    drawn = 0

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.drawn += 1
        return super().write(text)


def test_a_live_table_is_drawn_now_and_then_and_says_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    jobs = [job_of(tmp_path, f"net/fold{n}") for n in range(5)]
    watch = Watch("iou", 5, jobs=jobs, slots=4)
    began = time.monotonic()
    with watch.running():
        assert {job.folder.name for job in jobs} == {p.name for p in tmp_path.iterdir()}
        while time.monotonic() - began < 1.0:
            tell(watch, jobs)
            print("a job in this process prints")
            time.sleep(0.01)
    seconds = time.monotonic() - began
    assert 2 <= terminal.drawn <= 5 * seconds + 3
    said = terminal.getvalue()
    assert "net/fold2  FAILED: disk full\n" in said and said.endswith("waiting: net/fold4\n")
    assert "a job in this process prints\n" in said and sys.stdout is terminal
