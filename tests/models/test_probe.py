"""The probe: what it tries, what it takes, and that it leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import comp.models.probe as probe_module
import comp.models.step as step_module
from comp.config import ModelConfig, check
from comp.models.compute import Compute
from comp.models.probe import CLEAR, Timing, candidates, choose, decide, probe, race, step_seconds

CPU = torch.device("cpu")


def make_config(**train: object) -> ModelConfig:
    values = {
        "model": {"arch": "PlainUnet", "encoder_name": None, "filters": 4, "depth": 2},
        "loss": {"bce": 1.0, "dice": 1.0},
        "train": {"batch_size": 2, "size": [32, 32], **train},
    }
    return check(ModelConfig, values, "test")


def way(precision: str = "bf16", channels_last: bool = True) -> Compute:
    return Compute("cpu", precision, channels_last, True, 1)


def test_candidates_are_what_the_config_leaves_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "cpu_has_bf16", lambda: True)
    monkeypatch.setattr("comp.models.compute.cpu_has_bf16", lambda: True)
    tried = [(c.precision, c.channels_last) for c in candidates(make_config(), "cpu")]
    assert tried == [("bf16", True), ("bf16", False), ("fp32", True), ("fp32", False)]
    fixed = make_config(precision="fp32", channels_last=False)
    assert [(c.precision, c.channels_last) for c in candidates(fixed, "cpu")] == [("fp32", False)]
    half = make_config(channels_last=True)
    assert [(c.precision, c.channels_last) for c in candidates(half, "cpu")] == [
        ("bf16", True),
        ("fp32", True),
    ]


def test_candidates_without_native_bf16_try_layouts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "cpu_has_bf16", lambda: False)
    monkeypatch.setattr("comp.models.compute.cpu_has_bf16", lambda: False)
    tried = [(c.precision, c.channels_last) for c in candidates(make_config(), "cpu")]
    assert tried == [("fp32", False), ("fp32", True)]


def test_choose_takes_another_way_only_when_it_is_clearly_faster() -> None:
    usual, other = way(), way(channels_last=False)
    assert choose([Timing(usual, 1.0), Timing(other, CLEAR + 0.01)]) == usual
    assert choose([Timing(usual, 1.0), Timing(other, CLEAR - 0.01)]) == other
    assert choose([Timing(usual, None, "no memory"), Timing(other, 9.0)]) == other
    assert choose([Timing(usual, None, "x"), Timing(other, None, "x")]) == usual


class Clock:
    """Seconds that pass only when a step says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: dict[int, int] = {}

    def step(self, n: int, seconds: float) -> object:
        def run() -> None:
            self.calls[n] = self.calls.get(n, 0) + 1
            self.now += seconds

        return run


def test_race_drops_losers_and_counts_no_warm_up() -> None:
    clock = Clock()
    steps = {0: clock.step(0, 1.0), 1: clock.step(1, 1.1), 2: clock.step(2, 3.0)}
    best = race(steps, {}, CPU, lambda: clock.now)  # type: ignore[arg-type]
    assert best == pytest.approx({0: 1.0, 1: 1.1, 2: 3.0})
    assert clock.calls[2] == 2  # the warm-up and one round
    assert clock.calls[0] == clock.calls[1] == step_module.ROUNDS + 1


def test_race_stops_at_its_limit() -> None:
    clock = Clock()
    steps = {0: clock.step(0, 20.0), 1: clock.step(1, 20.0)}
    race(steps, {}, CPU, lambda: clock.now)  # type: ignore[arg-type]
    assert clock.calls == {0: 2, 1: 2}


def test_a_way_that_raises_is_named_and_left() -> None:
    def broken() -> None:
        raise RuntimeError("not enough\n memory")

    clock, errors = Clock(), {}
    best = race({0: broken, 1: clock.step(1, 1.0)}, errors, CPU, lambda: clock.now)  # type: ignore[arg-type, dict-item]
    assert set(best) == {1} and errors == {0: "not enough memory"}


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_probe_times_real_steps_and_leaves_no_trace(task: str) -> None:
    config = make_config()
    if task == "multiclass":
        config = check(
            ModelConfig, config.model_dump() | {"loss": {"ce": 1.0, "dice": 1.0}}, "test"
        )
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    ways = [way("fp32", False), way("fp32", True)]
    found = probe(
        config, ways, task=task, n_classes=1 if task == "binary" else 3, channels=3, device=CPU
    )
    assert [t.compute for t in found] == ways
    assert all(t.seconds is not None and t.seconds > 0 for t in found), found
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_what_was_measured_is_kept_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, said = tmp_path / "probe.json", {"task": "binary", "n_classes": 1, "channels": 3}
    asked = []

    def measure(config: ModelConfig, ways: list[Compute], **more: object) -> list[Timing]:
        asked.append(config.train.batch_size)
        return [Timing(w, 1.0 - 0.1 * n) for n, w in enumerate(ways)]

    monkeypatch.setattr(probe_module, "probe", measure)
    config = make_config(precision="fp32")
    chosen, told = decide(config, "cpu", memory, **said)  # type: ignore[arg-type]
    assert (chosen.precision, chosen.channels_last) == ("fp32", True)
    assert told == "fp32 channels_last 0.9 s a step (fp32 contiguous 1 s)"
    again, told = decide(config, "cpu", memory, **said)  # type: ignore[arg-type]
    assert again == chosen and told.endswith("(measured before)") and asked == [2]
    decide(make_config(precision="fp32", batch_size=4), "cpu", memory, **said)  # type: ignore[arg-type]
    assert asked == [2, 4]
    fixed = make_config(precision="fp32", channels_last=False)
    assert decide(fixed, "cpu", memory, **said)[1] == "" and asked == [2, 4]  # type: ignore[arg-type]


def test_a_damaged_memory_is_made_again_and_a_failure_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, said = tmp_path / "probe.json", {"task": "binary", "n_classes": 1, "channels": 3}
    seconds: list[float | None] = [1.0, None]

    def measure(config: ModelConfig, ways: list[Compute], **more: object) -> list[Timing]:
        return [Timing(w, s, "" if s else "no memory") for w, s in zip(ways, seconds, strict=True)]

    monkeypatch.setattr(probe_module, "probe", measure)
    config = make_config(precision="fp32")
    for text in ("{", "[]"):
        memory.write_text(text)
        chosen, told = decide(config, "cpu", memory, **said)  # type: ignore[arg-type]
        assert not chosen.channels_last and "fp32 channels_last failed: no memory" in told
        assert memory.read_text() == text
    seconds[1] = 0.5
    assert decide(config, "cpu", memory, **said)[0].channels_last  # type: ignore[arg-type]
    assert decide(config, "cpu", memory, **said)[1].endswith("(measured before)")  # type: ignore[arg-type]


def test_the_seconds_of_a_step_are_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, said = tmp_path / "probe.json", {"task": "binary", "n_classes": 1, "channels": 3}
    asked = []

    def measure(config: ModelConfig, ways: list[Compute], **more: object) -> list[Timing]:
        asked.append(len(ways))
        return [Timing(w, 1.0 - 0.1 * n) for n, w in enumerate(ways)]

    monkeypatch.setattr(probe_module, "probe", measure)
    config = make_config(precision="fp32")
    chosen, _ = decide(config, "cpu", memory, **said)  # type: ignore[arg-type]
    assert step_seconds(config, chosen, memory, **said) == 0.9  # type: ignore[arg-type]
    assert asked == [2]
    fixed = make_config(precision="fp32", channels_last=False)
    (only,) = candidates(fixed, "cpu")
    for _ in range(2):
        assert step_seconds(fixed, only, memory, **said) == 1.0  # type: ignore[arg-type]
    assert asked == [2, 1]
    assert decide(config, "cpu", memory, **said)[1].endswith("(measured before)")  # type: ignore[arg-type]
