"""Killed or stopped at any step, resumed, and bit for bit what an uninterrupted training is."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from comp.commands import cv
from comp.errors import JobsFailedError, StoppedError
from comp.files import Workspace, read_json
from comp.models.segmenter import Segmenter
from comp.store.runs import read_result
from comp.train import loop as loop_module
from comp.train import made as made_module
from comp.train import saving as saving_module
from comp.train import stopping
from tests.processes import REPOSITORY
from tests.test_road import hashes, make_toy

HOW: dict[str, Any] = {"executor": "serial", "device": "cpu", "only": [0]}
BASE = ["train.batch_size=1", "predict.tta=[none]", "train.epochs=3"]  # 4 batches an epoch
KINDS = {
    "plain": [],
    "accumulate": ["train.accumulate=3"],  # a step of 3 batches, and one of 1
    "averages": [
        *("train.ema=0.9", "train.ema_batches=1", "train.average_top=2", "train.soup=2"),
        *("train.snapshots=2", "schedule={name: restarts, cycles: 3}"),
        "predict.weights=ema",
    ],
    "mix": ["train.mix={mosaic: 0.3, copy_paste: 0.5, cutmix: 0.5, mixup: 0.5}"],
    "by loss": ["train.sampler={by: loss, share: 0.8, samples: 5}", "train.accumulate=2"],
    "dropout": ["model.dropout=0.3", "schedule={name: plateau}", "train.clip_grad_norm=1"],
}


class Killed(BaseException):
    """Nothing catches it but the test."""


pytestmark = pytest.mark.usefixtures("no_pictures")


def train(workspace: Workspace, competition: Any, *more: str) -> dict[str, Any]:
    cv.run(workspace, competition, ["small.yaml"], [*BASE, *more], **HOW)
    result = read_result(workspace.fold("small", 0))
    assert result is not None
    return result


def history(workspace: Workspace) -> list[list[str]]:
    """history.csv without what the clock says."""
    text = (workspace.fold("small", 0) / "history.csv").read_text()
    rows = [line.split(",") for line in text.splitlines()]
    kept = [n for n, name in enumerate(rows[0]) if name not in ("seconds", "images_per_second")]
    return [[row[n] for n in kept] for row in rows]


def same(one: Workspace, other: Workspace) -> None:
    assert hashes(one, "small") == hashes(other, "small")
    assert history(one) == history(other)


def kill_after(monkeypatch: pytest.MonkeyPatch, saves: int) -> list[tuple[int, int]]:
    """Save after every step, and die right after so many saves; returns where each was made."""
    plain, made = saving_module.write_checkpoint, []

    def write_checkpoint(folder: Path, state: Any, epoch: int, step: int = 0) -> None:
        plain(folder, state, epoch, step)
        made.append((epoch, step))
        if len(made) == saves:
            raise Killed

    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(saving_module, "write_checkpoint", write_checkpoint)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_killed_after_steps_it_ends_as_one_that_was_not(kind: str, tmp_path: Path) -> None:
    golden, competition = make_toy(tmp_path / "golden")
    result = train(golden, competition, *KINDS[kind])
    broken, competition = make_toy(tmp_path / "broken")
    reached: list[tuple[int, int]] = []
    for saves in (1, 2, 1, 3):  # inside epochs, at their ends
        with pytest.MonkeyPatch.context() as patch:
            made = kill_after(patch, saves)
            with pytest.raises(Killed):
                train(broken, competition, *KINDS[kind])
            reached += made
    assert reached == sorted(set(reached)), "no step was done twice"
    again = train(broken, competition, *KINDS[kind])
    same(golden, broken)
    assert again["scores"] == result["scores"] and again["averaged"] == result["averaged"]
    assert not list(broken.run("small").rglob("checkpoint.*"))


def test_every_step_of_a_training_is_one_to_go_on_from(tmp_path: Path) -> None:
    golden, competition = make_toy(tmp_path / "golden")
    more = ["model.dropout=0.3", "train.epochs=2", "train.ema=0.9"]
    train(golden, competition, *more)
    broken, competition = make_toy(tmp_path / "broken")
    for _ in range(2 * 5):  # four steps and the end of each epoch
        with pytest.MonkeyPatch.context() as patch:
            kill_after(patch, 1)
            with pytest.raises(Killed):
                train(broken, competition, *more)
    with pytest.MonkeyPatch.context() as patch:
        made = kill_after(patch, 1)
        train(broken, competition, *more)
        assert made == []  # nothing was left to train
    same(golden, broken)


def test_other_workers_at_each_attempt_change_nothing(tmp_path: Path) -> None:
    """Workers belong to the run, so what the loader was told is changed below it."""
    golden, competition = make_toy(tmp_path / "golden")
    more = [*KINDS["mix"], "train.accumulate=2", "train.epochs=2"]
    train(golden, competition, *more)
    broken, competition = make_toy(tmp_path / "broken")
    plain = loop_module.train_loader

    for workers in (1, 2, 0):
        with pytest.MonkeyPatch.context() as patch:

            def train_loader(samples: Any, said: Any, device: Any, n: int = workers) -> Any:
                return plain(samples, said.model_copy(update={"workers": n}), device)

            patch.setattr(loop_module, "train_loader", train_loader)
            kill_after(patch, 1)
            with pytest.raises(Killed):
                train(broken, competition, *more)
    train(broken, competition, *more)
    same(golden, broken)


def stop_at(
    patch: pytest.MonkeyPatch, module: Any, name: str, call: int, number: int = signal.SIGTERM
) -> None:
    """Send this process a signal in the n-th call of a function."""
    plain, calls = getattr(module, name), []

    def stops(*args: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), number)
        return plain(*args, **more)

    patch.setattr(module, name, stops)


PLACES = {
    "in a step": (Segmenter, "outputs", 6, "saved epoch 2 step 2"),
    "in the first of a step's batches": (Segmenter, "outputs", 3, "saved epoch 1 step 3"),
    "in validation": (loop_module, "run_epoch", 2, "saved epoch 2 step 1"),
    "while validating": (Segmenter, "logits_to_probs", 2, "saved epoch 1 step 4"),
    "judging the average": (made_module, "reestimate", 1, "saved epoch 1 step 4"),
    "making averages": (loop_module, "make_averaged", 1, "saved epoch 2 in"),
    "predicting": (loop_module, "write_outputs", 1, "saved epoch 2 in"),
}


@pytest.mark.parametrize("place", PLACES)
def test_asked_to_stop_it_saves_where_it_is(place: str, tmp_path: Path) -> None:
    golden, competition = make_toy(tmp_path / "golden")
    more = ["train.epochs=2", "train.accumulate=2", "model.dropout=0.2"]
    more += ["train.ema=0.9", "train.ema_batches=1", "predict.weights=best_loss"]
    train(golden, competition, *more)
    broken, competition = make_toy(tmp_path / "broken")
    module, name, call, said = PLACES[place]
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, module, name, call)
        with pytest.raises((StoppedError, JobsFailedError), match=said) as caught:
            train(broken, competition, *more)
    assert "stopped by SIGTERM" in str(caught.value)
    assert "run the same command to go on" in str(caught.value)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    train(broken, competition, *more)
    same(golden, broken)


def test_a_stop_before_anything_was_done_saves_nothing(tmp_path: Path) -> None:
    workspace, competition = make_toy(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, loop_module, "read_data", 1)
        with pytest.raises((StoppedError, JobsFailedError), match="saved epoch 1 step 1"):
            train(workspace, competition)
    note = read_json(workspace.fold("small", 0) / "checkpoint.0.json")
    assert (note["epoch"], note["step"]) == (0, 1) and note["versions"]["torch"]


def test_no_signal_is_lost_or_kept() -> None:
    with stopping.listening():
        with stopping.listening():
            os.kill(os.getpid(), signal.SIGINT)
        assert stopping.asked() == signal.SIGINT and stopping.seconds_since() >= 0
        with pytest.raises(StoppedError, match="stopped by SIGINT") as caught:
            stopping.check()
        assert caught.value.exit_code == 130
        with pytest.raises(KeyboardInterrupt):  # the second is answered as ever
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()
    with stopping.listening():
        assert stopping.asked() is None
        stopping.check()


def test_memory_that_runs_out_in_a_window_that_was_begun_before(tmp_path: Path) -> None:
    """Stopped between two batches of a step, the second does not fit: both are learnt again, in parts."""
    more = ["train.epochs=1", "train.batch_size=2", "train.accumulate=2"]
    more += ["model.freeze_batchnorm=0", "predict.weights=last"]

    def full_once(patch: pytest.MonkeyPatch, call: int) -> None:
        plain, calls = Segmenter.outputs, []

        def outputs(self: Any, x: torch.Tensor) -> Any:
            calls.append(len(x))
            if len(calls) == call:
                raise torch.OutOfMemoryError("CUDA out of memory (a fake)")
            return plain(self, x)

        patch.setattr(Segmenter, "outputs", outputs)

    golden, competition = make_toy(tmp_path / "golden")
    with pytest.MonkeyPatch.context() as patch:
        full_once(patch, 2)
        train(golden, competition, *more)
    broken, competition = make_toy(tmp_path / "broken")
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, Segmenter, "outputs", 1)
        with pytest.raises((StoppedError, JobsFailedError), match="saved epoch 1 step 1"):
            train(broken, competition, *more)
    with pytest.MonkeyPatch.context() as patch:
        full_once(patch, 1)
        result = train(broken, competition, *more)
    assert result["out_of_memory"] == {"batch_size": 1, "accumulate": 4}
    same(golden, broken)


def test_corrupt_checkpoints_are_named_and_nothing_begins_anew_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    golden, competition = make_toy(tmp_path / "golden")
    more = ["train.epochs=1"]
    train(golden, competition, *more)
    broken, competition = make_toy(tmp_path / "broken")
    folder = broken.fold("small", 0)
    with pytest.MonkeyPatch.context() as patch:
        kill_after(patch, 2)
        with pytest.raises(Killed):
            train(broken, competition, *more)
    (folder / "checkpoint.1.pt").write_bytes(b"torn")
    with pytest.MonkeyPatch.context() as patch:
        kill_after(patch, 1)
        with pytest.raises(Killed):
            train(broken, competition, *more)
    said = "checkpoint.1.pt of epoch 1 step 2 is corrupt (sha256), using the one before: epoch 1 step 1"
    assert said in capsys.readouterr().out
    for name in ("checkpoint.0.pt", "checkpoint.1.pt"):
        (folder / name).write_bytes(b"torn")
    for _ in range(2):
        with pytest.raises(JobsFailedError, match=r"(?s)small/fold0: .*corrupt.*cv --restart"):
            train(broken, competition, *more)
    capsys.readouterr()
    cv.run(broken, competition, ["small.yaml"], [*BASE, *more], **HOW, restart=True)
    told = capsys.readouterr().out
    assert "small/fold0: checkpoint" in told and "it begins anew" in told and "resuming" not in told
    same(golden, broken)
    cv.run(broken, competition, ["small.yaml"], [*BASE, *more], **HOW, restart=True)
    assert "done and skipped" in capsys.readouterr().out  # what is whole is left alone


def test_what_a_kill_left_behind_goes(tmp_path: Path) -> None:
    workspace, competition = make_toy(tmp_path / "toy")
    folder = workspace.fold("small", 0)
    folder.mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.write_text("mine")
    for attempt in range(2):  # before the fold is done, and after
        (folder / ".oof.none.npy.1.2.tmp").write_bytes(b"half")
        (folder / ".link.tmp").symlink_to(outside)
        (folder / f"checkpoint.{attempt}.pt").write_bytes(b"orphan")
        train(workspace, competition, "train.epochs=1")
        assert not [p.name for p in folder.iterdir() if "tmp" in p.name or "check" in p.name]
    assert outside.read_text() == "mine"


def kill_in_a_loop(root: Path, seed: int, kills: int, slots: int) -> int:
    """Kill -9 the whole group at random moments, then let it finish; returns how often it was killed."""
    draw, killed = random.Random(seed), 0
    site = root / "site"  # runs in every process, spawned ones too: a checkpoint after each step
    site.mkdir()
    code = "import comp.train.loop\ncomp.train.loop.CHECKPOINT_SECONDS = 0.0\n"
    (site / "sitecustomize.py").write_text(code)
    paths = [str(site), str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-m", "comp", "cv", "--config", "small.yaml", "--device", "cpu"]
    command += ["--slots", str(slots)]
    command += [word for text in BASE for word in ("-o", text)]
    for _ in range(kills):
        with subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if "starts on" in line or "resuming" in line:
                    try:
                        process.wait(draw.uniform(0.0, 1.0))
                    except subprocess.TimeoutExpired:
                        os.killpg(process.pid, signal.SIGKILL)
                        killed += 1
                    break
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return killed


@pytest.mark.slow
def test_three_kills_of_the_group_end_the_same(tmp_path: Path) -> None:
    check_kills(tmp_path, kills=3, slots=1)


def check_kills(tmp_path: Path, kills: int, slots: int) -> None:
    golden, competition = make_toy(tmp_path / "golden")
    cv.run(golden, competition, ["small.yaml"], BASE, executor="serial", device="cpu")
    broken, _ = make_toy(tmp_path / "broken")
    assert kill_in_a_loop(broken.root, kills, kills, slots) > 0
    assert hashes(broken, "small") == hashes(golden, "small")
    left = [p.name for p in broken.run("small").rglob("*") if "tmp" in p.name]
    assert not left and not list(broken.run("small").rglob("checkpoint.*"))
