"""Every schedule: the contract, torch's own as oracle, resuming, what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from comp.config import Schedule as Config
from comp.errors import ConfigError
from comp.models.schedule import SCHEDULES, Schedule, build_schedule, check_schedule

EPOCHS, STEPS = 6, 5


def optimizer(lr: float = 0.1, encoder_lr: float = 0.01) -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": r} for r in (encoder_lr, lr)]
    return torch.optim.SGD(groups)


def build(name: str, opt: torch.optim.Optimizer | None = None, **kwargs: Any) -> Schedule:
    better = kwargs.pop("greater_is_better", True)
    return build_schedule(
        Config(name=name, **kwargs),
        opt or optimizer(),
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        greater_is_better=better,
    )


def run(schedule: Schedule, steps: int = EPOCHS * STEPS) -> list[float]:
    """The rate of each step."""
    rates = []
    for step in range(steps):
        rates.append(schedule.lr)
        schedule.step_batch()
        if (step + 1) % STEPS == 0:
            schedule.step_epoch(1.0, 0.5)
    return rates


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_rates_are_positive_and_never_above_the_highest_and_groups_keep_their_ratio(
    name: str,
) -> None:
    schedule = build(name)
    for rate in run(schedule):
        assert 0 < rate <= 0.1 + 1e-12
    low, high = (g["lr"] for g in schedule.optimizer.param_groups)
    assert low == pytest.approx(high / 10, rel=1e-9, abs=1e-15)
    run(schedule, 20)  # going on past the end is harmless
    assert schedule.lr >= 0


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_a_resumed_schedule_goes_on_as_if_never_stopped(name: str) -> None:
    kwargs = {"patience": 0} if name == "plateau" else {}
    whole = run(build(name, **kwargs))
    first = build(name, **kwargs)
    head = run(first, 2 * STEPS)
    second = build(name, **kwargs)
    second.load_state_dict(first.state_dict())
    assert head + run(second, (EPOCHS - 2) * STEPS) == whole


@pytest.mark.parametrize("name", [n for n in SCHEDULES if n != "onecycle"])
def test_warm_up_climbs_in_a_line(name: str) -> None:
    rates = run(build(name, warmup_epochs=2))
    assert rates[:10] == pytest.approx([0.1 * (n + 1) / 10 for n in range(10)])
    assert rates[10] == pytest.approx(0.1)


@given(
    st.integers(1, 6),
    st.sampled_from([0.5, 1.0, 1.7, 2.0]),
    st.sampled_from([0.0, 0.3, 1.0, 2.5]),
)
def test_each_cycle_ends_once_where_the_rate_goes_up_again(
    cycles: int, growth: float, warmup: float
) -> None:
    schedule = build("restarts", cycles=cycles, growth=growth, warmup_epochs=warmup)
    rates, ends = [], []
    for step in range(1, EPOCHS * STEPS + 1):
        rates.append(schedule.lr)
        before = schedule.cycles_ended
        schedule.step_batch()
        if schedule.cycles_ended > before:
            ends.append(step)
    assert schedule.cycles_ended == cycles and ends[-1] == EPOCHS * STEPS
    climbs = [n for n in range(1, len(rates)) if rates[n] > rates[n - 1] and n > warmup * STEPS]
    assert [n for n in climbs if n >= ends[0]] == [n for n in climbs if n in ends]


def test_cycles_may_begin_lower_each_time() -> None:
    rates = run(build("restarts", cycles=3, decay=0.5))
    assert [rates[n] for n in (0, 10, 20)] == pytest.approx([0.1, 0.05, 0.025])


def test_other_schedules_have_no_cycles() -> None:
    schedule = build("cosine")
    run(schedule)
    assert schedule.cycles_ended == 0


def test_half_an_epoch_of_warm_up() -> None:
    assert run(build("constant", warmup_epochs=0.5))[:4] == pytest.approx([0.04, 0.08, 0.1, 0.1])


ORACLES = [
    ("cosine", {"min_lr": 0.01}, lambda o, n: lr_scheduler.CosineAnnealingLR(o, n, eta_min=0.01)),
    (
        "restarts",
        {"cycles": 3, "min_lr": 0.01},
        lambda o, n: lr_scheduler.CosineAnnealingWarmRestarts(o, n // 3, eta_min=0.01),
    ),
    (
        "restarts",
        {"cycles": 4, "growth": 2},
        lambda o, n: lr_scheduler.CosineAnnealingWarmRestarts(o, n // 15, T_mult=2),
    ),
    ("restarts", {"cycles": 1}, lambda o, n: lr_scheduler.CosineAnnealingLR(o, n)),
    ("poly", {"power": 2.0}, lambda o, n: lr_scheduler.PolynomialLR(o, n, power=2.0)),
    (
        "onecycle",
        {"pct_start": 0.4},
        lambda o, n: lr_scheduler.OneCycleLR(o, 0.1, n, pct_start=0.4),
    ),
    ("onecycle", {}, lambda o, n: lr_scheduler.OneCycleLR(o, 0.1, n)),
    ("step", {"epochs": 2, "gamma": 0.5}, lambda o, n: lr_scheduler.StepLR(o, 2 * STEPS, 0.5)),
    ("step", {"epochs": [1, 3]}, lambda o, n: lr_scheduler.MultiStepLR(o, [STEPS, 3 * STEPS])),
    ("constant", {}, lambda o, n: lr_scheduler.ConstantLR(o, 1.0)),
]


@pytest.mark.parametrize(("name", "kwargs", "theirs"), ORACLES)
def test_rates_are_torchs(name: str, kwargs: dict[str, Any], theirs: Any) -> None:
    opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    wanted = []
    scheduler = theirs(opt, EPOCHS * STEPS)
    for _ in range(EPOCHS * STEPS):
        wanted.append(opt.param_groups[0]["lr"])
        opt.step()
        scheduler.step()
    assert run(build(name, **kwargs)) == pytest.approx(wanted, rel=1e-6, abs=1e-12)


values = st.lists(st.sampled_from([0.5, 0.6, 0.60001, 0.7, 0.3, -0.2, math.nan]), max_size=30)


@given(values, st.integers(0, 3), st.integers(0, 3), st.sampled_from(["rel", "abs"]), st.booleans())
def test_plateau_is_torchs(
    seen: list[float], patience: int, cooldown: int, mode: str, metric: bool
) -> None:
    kwargs = {
        "patience": patience,
        "cooldown": cooldown,
        "threshold_mode": mode,
        "factor": 0.5,
        "min_lr": 0.01,
    }
    ours = build("plateau", monitor="metric" if metric else "loss", threshold=1e-3, **kwargs)
    opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = lr_scheduler.ReduceLROnPlateau(
        opt, mode="max" if metric else "min", threshold=1e-3, **kwargs
    )
    for value in seen:
        ours.step_epoch(None if metric else value, value if metric else None)
        theirs.step(value)
        assert ours.lr == pytest.approx(opt.param_groups[0]["lr"], rel=1e-9)


def test_plateau_follows_a_metric_where_less_is_better() -> None:
    schedule = build("plateau", monitor="metric", patience=0, greater_is_better=False)
    for value in (5.0, 4.0, 3.0):
        schedule.step_epoch(1.0, value)
    assert schedule.lr == pytest.approx(0.1)
    schedule.step_epoch(0.1, 4.0)
    assert schedule.lr == pytest.approx(0.01)


def test_plateau_waits_where_nothing_was_validated() -> None:
    schedule = build("plateau", patience=0)
    schedule.step_epoch(1.0)
    for _ in range(5):
        schedule.step_epoch(None)
    assert schedule.lr == pytest.approx(0.1)


def test_the_state_is_plain_numbers(tmp_path: Any) -> None:
    schedule = build("plateau")
    schedule.step_epoch(1.0)
    torch.save(schedule.state_dict(), tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True) == schedule.state_dict()


def test_an_optimizer_restored_in_the_middle_keeps_its_own_rates() -> None:
    first = build("cosine")
    run(first, 12)
    opt = optimizer()
    second = build("cosine", opt)
    opt.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    assert [g["lr"] for g in opt.param_groups] == [g["lr"] for g in first.optimizer.param_groups]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_very_short_trainings(steps: int) -> None:
    for name in SCHEDULES:
        schedule = build_schedule(Config(name=name), optimizer(), epochs=1, steps_per_epoch=steps)
        assert all(math.isfinite(rate) for rate in run(schedule, steps + 2))


def test_torchs_names_are_understood() -> None:
    assert build("ReduceLROnPlateau").state_dict().keys() == build("plateau").state_dict().keys()
    assert run(build("CosineAnnealingLR")) == run(build("cosine"))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"name": "cosin"}, "schedule.name: unknown schedule 'cosin'; did you mean 'cosine'?"),
        (
            {"name": "plateau", "patiense": 3},
            "schedule.patiense: unknown argument of plateau 'patiense'; did you mean 'patience'?",
        ),
        (
            {"name": "plateau", "factor": 2},
            "schedule.factor: expected a number between 0 and 1, got 2",
        ),
        ({"name": "plateau", "patience": -1}, "schedule.patience: expected >= 0, got -1"),
        (
            {"name": "plateau", "threshold_mode": "relative"},
            "threshold_mode: expected 'rel' or 'abs'",
        ),
        (
            {"name": "cosine", "min_lr": 0.5},
            r"schedule.min_lr: expected a rate in \[0, optim.lr = 0.1\], got 0.5",
        ),
        ({"name": "restarts", "cycles": 0}, "schedule.cycles: expected a whole number >= 1, got 0"),
        ({"name": "restarts", "cycles": 2.5}, "schedule.cycles: expected a whole number >= 1"),
        ({"name": "restarts", "growth": 0}, "schedule.growth: expected > 0"),
        ({"name": "restarts", "decay": 2}, r"schedule.decay: expected a number in \(0, 1\], got 2"),
        ({"name": "poly", "power": 0}, "schedule.power: expected > 0, got 0"),
        (
            {"name": "onecycle", "pct_start": 1},
            "schedule.pct_start: expected a number between 0 and 1",
        ),
        ({"name": "onecycle", "div_factor": 0}, "schedule.div_factor: expected > 0"),
        ({"name": "onecycle", "warmup_epochs": 1}, "onecycle warms up by itself"),
        ({"name": "step", "gamma": 0}, "schedule.gamma: expected > 0"),
        ({"name": "step", "epochs": 0}, "schedule.epochs: expected > 0"),
        (
            {"name": "cosine", "warmup_epochs": 6},
            "schedule.warmup_epochs: 6.0 of 6 epochs leave nothing after them",
        ),
        ({"name": "cosine", "min_lr": "low"}, "schedule.'<=' not supported"),
    ],
)
def test_what_is_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**kwargs)
    assert len(check_schedule(Config(**kwargs), epochs=EPOCHS, lr=0.1)) == 1
