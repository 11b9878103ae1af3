"""Whether torch.compile or CUDA graphs pay for one model: compiled, compared, timed beside the plain step.

They pay where compiling fails in nothing, agrees with the plain step within rounding, and saves over a
fold's whole training clearly more than compiling takes.
"""

from __future__ import annotations

import copy
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from comp.config import Model, ModelConfig
from comp.models.build import build_model
from comp.models.compute import GRAPHS, Compute
from comp.models.step import in_short, make_step, measuring, race, synchronize

MARGIN = 2.0  # of the seconds that compiling takes, what it saves in a fold must be more
CLEAR = 0.97  # a step that takes more than this share of the plain one is none to change for
LIMIT_SECONDS = 180.0  # that compiling may take
LEAST_SECONDS = (
    120.0  # of a fold's plain training: with less, compiling (30 s and more) is not tried
)
WARM_UP = 3  # steps that compile, that record a CUDA graph, that run it
ROUNDING = {"fp32": 2**-12, "fp16": 2**-12, "bf16": 2**-9}  # relative; fp32: TF32's
TIMES = 2.0  # of what rounding does, a compiled result may differ: it rounds elsewhere
FLOOR, MOST = 1e-3, 0.9  # relative; a gradient of zeros differs by 1


@dataclass(frozen=True)
class Compiled:
    """What compiling gave: seconds of a step, of the plain step beside it, and of compiling in all a training.

    None: it failed, and how.
    """

    compute: Compute
    seconds: float | None
    plain: float = 0.0
    compile_seconds: float = 0.0
    error: str = ""

    def saves(self, steps: int) -> float:
        """Seconds in so many steps, those of compiling not counted."""
        return 0.0 if self.seconds is None else steps * (self.plain - self.seconds)

    def pays(self, steps: int) -> bool:
        """What it saves is clearly more than what compiling takes, and a step is clearly faster."""
        if self.seconds is None or self.seconds > CLEAR * self.plain:
            return False
        return self.saves(steps) > MARGIN * self.compile_seconds


def compiled_ways(way: Compute, accumulate: int) -> list[Compute]:
    """The compiled ways beside a plain one. A CUDA graph overwrites gradients that are still to be added to."""
    modes = ["default", GRAPHS] if accumulate == 1 else ["default"]
    return [way.compiled(mode) for mode in modes]


def try_compiled(
    config: ModelConfig,
    plain: Compute,
    way: Compute,
    task: str,
    n_classes: int,
    channels: int,
    device: torch.device,
    root: Path | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Compiled:
    """Compile one way, compare its results with the plain way's, and time both in turns."""
    errors: dict[int, str] = {}
    try:
        with measuring(way):
            model, data = config.model, (task, n_classes, channels)
            first = build_model(
                model,
                task=task,
                n_classes=n_classes,
                channels=channels,
                load_weights=False,
                root=root,
            )
            slow = make_step(config, copy.deepcopy(first), plain, *data, device)
            fast = make_step(config, first, way, *data, device)
            began = clock()
            with time_limit(LIMIT_SECONDS):
                for _ in range(WARM_UP):
                    fast()
                synchronize(device)
            warm = clock() - began
            slow.segmenter.load_state_dict(fast.segmenter.state_dict())
            with time_limit(LIMIT_SECONDS):  # without dropout it may be compiled once more
                got = fast.results()
            if differs := disagreement(
                got, slow.results(), slow.results(1, ROUNDING[way.precision])
            ):
                return Compiled(way, None, error=differs)
            best = race({0: slow, 1: fast}, errors, device, clock)
            if 0 not in best or 1 not in best:
                return Compiled(way, None, error=errors.get(1) or errors.get(0, ""))
            compile_seconds = max(0.0, warm - WARM_UP * best[1]) * compilations(config.model)
            return Compiled(way, best[1], best[0], compile_seconds)
    except Exception as error:  # noqa: BLE001 - a compiler has many ways to fail, and the plain way is there
        return Compiled(way, None, error=in_short(error))
    finally:
        torch.compiler.reset()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def worth_trying(steps: int | None, seconds: float | None) -> bool:
    """Whether a fold of so many steps of so many seconds is long enough for compiling to pay.

    Args:
        steps, seconds: None where they are not known.
    """
    return steps is not None and seconds is not None and steps * seconds > LEAST_SECONDS


def compilations(model: Model) -> int:
    """How often a training compiles: once more at each epoch from which something is frozen, or is no more."""
    turns = (model.freeze_encoder, model.freeze_batchnorm)
    return 1 + sum(not isinstance(turn, bool) and bool(turn) for turn in turns)


def choose_compiled(plain: Compute, found: Sequence[Compiled], steps: int) -> Compute:
    """The way that gains most over a fold of so many steps; the plain one where none pays."""
    paying = [one for one in found if one.pays(steps)]
    if not paying:
        return plain
    return max(paying, key=lambda one: one.saves(steps) - one.compile_seconds).compute


def tell_compiled(found: Sequence[Compiled], chosen: Compute, steps: int) -> str:
    """What compiling gave, in words: `compiled 0.05 s a step (plain 0.1 s) after 41 s, saves ...: taken; ...`."""
    said = []
    for one in found:
        name = "CUDA graphs" if one.compute.compile == GRAPHS else "compiled"
        if one.seconds is None:
            said.append(f"{name} failed: {one.error}")
            continue
        taken = "taken" if one.compute == chosen else "less" if one.pays(steps) else "not worth it"
        said.append(
            f"{name} {one.seconds:.3g} s a step (plain {one.plain:.3g} s) after {one.compile_seconds:.0f} s, "
            f"saves {one.saves(steps):.0f} s in a fold's {steps} steps: {taken}"
        )
    return "; ".join(said)


def distance(one: Tensor, other: Tensor) -> float:
    """|one - other| / |other|."""
    one, other = one.detach().double(), other.detach().double()
    return float((one - other).norm() / other.norm().clamp(min=1e-12))


def disagreement(
    compiled: tuple[Tensor, Tensor], plain: tuple[Tensor, Tensor], shaken: tuple[Tensor, Tensor]
) -> str:
    """How compiled results differ from plain ones beyond rounding, in words; "" where they do not.

    Args:
        compiled, plain, shaken: logits and gradient; `shaken`: plain, of pixels changed by the rounding of
            the precision, which says what rounding does to this network (under bf16 it moves the gradient
            of a U-Net by a fifth and more).
    """
    for name, a, b, c in zip(("logits", "gradients"), compiled, plain, shaken, strict=True):
        differs, allowed = distance(a, b), min(FLOOR + TIMES * distance(c, b), MOST)
        if not differs <= allowed:  # NaN too
            return f"its {name} differ from the plain ones by {differs:.2g} (at most {allowed:.2g} is rounding)"
    return ""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """TimeoutError within it after so many seconds; in the main thread of a POSIX system, else at its end."""
    began = time.monotonic()
    text = f"it took more than {seconds:.0f} s"

    def late(number: int, frame: object) -> None:
        raise TimeoutError(text)

    can = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not can:
        yield
    else:
        before = signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    if time.monotonic() - began > seconds:
        raise TimeoutError(text)
