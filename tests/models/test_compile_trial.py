"""When compiling pays: the rule with made-up timings, the comparison, the time limit, and the real trial."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import comp.models.probe as probe_module
from comp.config import Model, ModelConfig, check
from comp.models import compile_trial, compiling
from comp.models.build import build_model
from comp.models.compile_trial import (
    CLEAR,
    LEAST_SECONDS,
    MARGIN,
    ROUNDING,
    Compiled,
    choose_compiled,
    compilations,
    compiled_ways,
    disagreement,
    distance,
    tell_compiled,
    time_limit,
    try_compiled,
    worth_trying,
)
from comp.models.compute import GRAPHS, Compute, fixed_shapes
from comp.models.probe import decide, step_seconds
from comp.models.step import make_step

CPU = torch.device("cpu")
PLAIN = Compute("cuda", "bf16", True, True, 0)
DEFAULT, GRAPH = PLAIN.compiled("default"), PLAIN.compiled(GRAPHS)
DATA: dict[str, Any] = {"task": "binary", "n_classes": 1, "channels": 3}


def make_config(dropout: float = 0.0, **train: object) -> ModelConfig:
    model = {"arch": "PlainUnet", "encoder_name": None, "filters": 4, "depth": 2}
    values = {
        "model": model | ({"dropout": dropout} if dropout else {}),
        "loss": {"bce": 1.0, "dice": 1.0},
        "train": {"batch_size": 2, "size": [32, 32], **train},
    }
    return check(ModelConfig, values, "test")


def test_a_way_that_compiles_nothing_is_as_it_was_before_there_was_compiling() -> None:
    assert set(PLAIN.as_dict()) == {"device_type", "precision", "channels_last", "fused", "threads"}
    assert Compute(**PLAIN.as_dict()) == PLAIN == DEFAULT.compiled("")
    assert DEFAULT.as_dict()["compile"] == "default" and Compute(**DEFAULT.as_dict()) == DEFAULT


def test_the_config_key_is_younger_than_the_first_runs() -> None:
    assert "compile" not in make_config().model_dump()["train"]
    assert make_config(compile=False).model_dump()["train"]["compile"] is False


@pytest.mark.parametrize(
    ("seconds", "compile_seconds", "steps", "pays"),
    [
        (0.05, 50.0, 2001, True),  # saves 100.05 s
        (0.05, 50.0, 1999, False),  # twice the compiling, not more
        (0.1 * CLEAR + 1e-4, 0.0, 10**6, False),  # no clear gain at any length
        (0.1 * CLEAR - 1e-4, 0.0, 10**6, True),
        (0.2, 0.0, 10**6, False),  # slower
        (None, 0.0, 10**6, False),  # failed
    ],
)
def test_it_pays_where_it_saves_clearly_more_than_compiling_takes(
    seconds: float | None, compile_seconds: float, steps: int, pays: bool
) -> None:
    assert MARGIN == 2.0
    assert Compiled(DEFAULT, seconds, 0.1, compile_seconds).pays(steps) is pays


def test_the_way_that_gains_most_over_the_whole_training_is_taken() -> None:
    slow_start = Compiled(GRAPH, 0.05, 0.1, 60.0)  # saves 50 ms a step
    quick_start = Compiled(DEFAULT, 0.07, 0.1, 10.0)  # saves 30 ms
    both = [quick_start, slow_start]
    assert choose_compiled(PLAIN, both, 500) == PLAIN
    assert choose_compiled(PLAIN, both, 1000) == DEFAULT  # 60 s do not pay yet
    assert choose_compiled(PLAIN, both, 2450) == DEFAULT  # both do; 63.5 s net against 62.5
    assert choose_compiled(PLAIN, both, 3000) == GRAPH
    assert choose_compiled(PLAIN, [], 3000) == PLAIN


def test_what_is_said_of_it() -> None:
    found = [
        Compiled(DEFAULT, 0.07, 0.1, 10.0),
        Compiled(GRAPH, None, error="no such instruction"),
    ]
    assert tell_compiled(found, DEFAULT, 1000) == (
        "compiled 0.07 s a step (plain 0.1 s) after 10 s, saves 30 s in a fold's 1000 steps: taken; "
        "CUDA graphs failed: no such instruction"
    )
    assert tell_compiled(found[:1], PLAIN, 100).endswith(
        "saves 3 s in a fold's 100 steps: not worth it"
    )


def test_graphs_are_not_tried_where_gradients_are_accumulated() -> None:
    assert compiled_ways(PLAIN, 1) == [DEFAULT, GRAPH]
    assert compiled_ways(PLAIN, 2) == [DEFAULT]


@pytest.mark.parametrize(
    ("model", "times"),
    [
        ({}, 1),
        ({"freeze_encoder": True, "freeze_batchnorm": 0}, 1),  # from the first step to the last
        ({"freeze_encoder": 2}, 2),
        ({"freeze_encoder": 2, "freeze_batchnorm": 3}, 3),
    ],
)
def test_what_is_frozen_on_the_way_compiles_again(model: dict[str, Any], times: int) -> None:
    assert compilations(Model(**model)) == times


def test_a_short_training_is_not_tried() -> None:
    assert worth_trying(1000, LEAST_SECONDS / 999)
    assert not worth_trying(1000, LEAST_SECONDS / 1001)
    assert not worth_trying(None, 1.0) and not worth_trying(1000, None)


def test_results_agree_where_they_differ_by_what_rounding_does() -> None:
    one = (torch.ones(100), torch.linspace(-1, 1, 100))
    off = (one[0], one[1] * 1.05)
    assert disagreement(one, one, one) == ""
    assert disagreement(off, one, (one[0], one[1] * 1.03)) == ""
    assert disagreement(off, one, (one[0], one[1] * 1.02)) == (
        "its gradients differ from the plain ones by 0.05 (at most 0.041 is rounding)"
    )
    assert "its logits differ" in disagreement((one[0] * torch.nan, one[1]), one, one)
    none = (one[0], one[1] * 0)  # however noisy the network is
    assert "its gradients differ" in disagreement(none, one, (one[0], one[1] * 3))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_rounding_does_is_more_than_nothing_and_less_than_all(precision: str) -> None:
    segmenter = build_model(make_config(0.5).model, **DATA, load_weights=False)
    way = Compute("cpu", precision, False, True, 1)
    step = make_step(make_config(0.5), segmenter, way, "binary", 1, 3, CPU)
    plain = step.results()
    assert all(torch.equal(a, b) for a, b in zip(plain, step.results(1), strict=True))  # no dropout
    shaken = step.results(1, ROUNDING[precision])
    assert all(0 < distance(a, b) < 0.3 for a, b in zip(shaken, plain, strict=True))
    assert segmenter.training and all(m.training for m in segmenter.modules())


def test_what_takes_too_long_is_stopped_in_the_main_thread() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="it took more than 0 s"), time_limit(0.05):
        while time.monotonic() - began < 5:
            pass
    assert time.monotonic() - began < 4
    with time_limit(5):
        pass


def test_elsewhere_it_is_noticed_at_its_end() -> None:
    found: list[str] = []

    def work() -> None:
        try:
            with time_limit(0.01):
                time.sleep(0.05)
        except TimeoutError as error:
            found.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["it took more than 0 s"]


def attempt(config: ModelConfig, backend: Any, patch: pytest.MonkeyPatch) -> Compiled:
    patch.setattr(compiling, "BACKEND", backend)
    plain = Compute("cpu", "fp32", False, True, 1)
    state = torch.get_rng_state()
    found = try_compiled(config, plain, plain.compiled("default"), "binary", 1, 3, CPU)
    assert torch.equal(torch.get_rng_state(), state)
    return found


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_trial_times_both_ways(dropout: float, monkeypatch: pytest.MonkeyPatch) -> None:
    found = attempt(make_config(dropout), "eager", monkeypatch)
    assert found.error == "" and found.seconds is not None
    assert found.seconds > 0 and found.plain > 0 and found.compile_seconds > 0


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["default", GRAPHS])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_on_a_gpu_both_ways_agree(precision: str, mode: str) -> None:
    plain = Compute("cuda", precision, True, True, 0)
    config = make_config(0.5)
    found = try_compiled(config, plain, plain.compiled(mode), "binary", 1, 3, torch.device("cuda"))
    assert found.error == "" and found.seconds is not None


def test_the_trial_says_how_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(graph: Any, inputs: Any, **more: Any) -> Callable[..., Any]:
        raise ValueError("no such instruction")

    def doubles(graph: Any, inputs: Any, **more: Any) -> Callable[..., Any]:
        return lambda *given: [2 * value for value in graph.forward(*given)]

    def sleeps(graph: Any, inputs: Any, **more: Any) -> Callable[..., Any]:
        time.sleep(5)
        return graph.forward

    found = attempt(make_config(), raises, monkeypatch)
    assert found.seconds is None and "no such instruction" in found.error
    assert attempt(make_config(), doubles, monkeypatch).error.startswith("its logits differ from")
    monkeypatch.setattr(compile_trial, "LIMIT_SECONDS", 0.5)
    assert "it took more than" in attempt(make_config(), sleeps, monkeypatch).error


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A make-believe GPU; returns the modes that were tried."""
    modes: list[str] = []

    def attempt(config: ModelConfig, plain: Compute, way: Compute, *more: object) -> Compiled:
        modes.append(way.compile)
        if way == GRAPH:
            return Compiled(way, None, error="CUDA out of memory")
        return Compiled(way, 0.05, 0.1, 40.0)

    monkeypatch.setattr("torch.cuda.get_device_capability", lambda *_: (8, 0))
    monkeypatch.setattr(probe_module, "decide_plain", lambda *_, **__: (PLAIN, "bf16 0.1 s"))
    monkeypatch.setattr(probe_module, "device_name", lambda device: "a GPU")
    monkeypatch.setattr(probe_module, "try_compiled", attempt)
    monkeypatch.setattr(
        probe_module,
        "probe",
        lambda config, ways, **_: [probe_module.Timing(way, 0.1) for way in ways],
    )
    return modes


def test_it_is_measured_once_and_decided_for_every_length(tmp_path: Path, tried: list[str]) -> None:
    memory, config = tmp_path / "probe.json", make_config()

    def chosen(steps: int | None, config: ModelConfig = config, device: str = "cuda") -> Any:
        return decide(config, device, memory, **DATA, steps=steps)

    assert chosen(None) == (PLAIN, "bf16 0.1 s")
    assert chosen(1000) == (PLAIN, "bf16 0.1 s") and tried == []  # 100 s: too short to try
    way, told = chosen(2000)
    assert way == DEFAULT and tried == ["default", GRAPHS]
    assert told.startswith("bf16 0.1 s; compiled 0.05 s a step") and ": taken; CUDA graphs" in told
    assert chosen(1500)[0] == PLAIN  # saves 75 s for 40 s of compiling
    assert tried == ["default", GRAPHS, GRAPHS]  # what lacked memory is tried again, no other
    assert step_seconds(config, DEFAULT, memory, **DATA) == 0.05
    assert chosen(2000, make_config(compile=False)) == (PLAIN, "bf16 0.1 s")
    assert chosen(2000, device="cpu") == (PLAIN, "bf16 0.1 s") and len(tried) == 3
    chosen(2000, make_config(accumulate=2))
    assert len(tried) == 3  # measured, and a graph is no way there


def test_cudnn_times_its_algorithms_only_while_shapes_are_fixed() -> None:
    before = torch.backends.cudnn.benchmark
    with fixed_shapes(torch.device("cuda")):
        assert torch.backends.cudnn.benchmark
    with fixed_shapes(CPU):
        assert torch.backends.cudnn.benchmark is before
    assert torch.backends.cudnn.benchmark is before


def test_float32_products_may_use_tf32_on_cuda_in_fp32_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", said.append)
    replace(PLAIN, precision="fp32").settle()
    PLAIN.settle()
    Compute("cpu", "fp32", False, True, 1).settle()
    assert said == ["high", "highest"]
