"""One training step on random pixels as a function, and a race of several such steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from comp.config import ModelConfig
from comp.models.compiling import Forward
from comp.models.compute import Compute, fixed_shapes
from comp.models.extras import add_extras
from comp.models.losses import WeightedLoss, build_loss, make_target
from comp.models.optim import build_optimizer
from comp.models.segmenter import Segmenter
from comp.models.target import Target

ROUNDS = 5
LOST = 1.5  # a way this much slower than the best after one round is not tried again
LIMIT_SECONDS = 30.0
FP16_SCALE = 1024.0  # of a loss whose gradient would vanish in float16


@dataclass
class Step:
    """One training step (forward, loss, backward, update) on the same random pixels each time it is called."""

    segmenter: Segmenter
    forward: Forward
    way: Compute
    loss: WeightedLoss
    optimizer: torch.optim.Optimizer
    images: Tensor
    target: Target

    def __post_init__(self) -> None:
        enabled = self.way.precision == "fp16"
        self.scaler = torch.amp.GradScaler(self.way.device_type, enabled=enabled)

    def __call__(self) -> None:
        total, _ = self._look(self.images)
        self.scaler.scale(total).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def results(self, seed: int = 0, jitter: float = 0.0) -> tuple[Tensor, Tensor]:
        """Logits and the whole gradient, flat, both float32, without an update and without dropout.

        Args:
            seed: of what is random in spite of that.
            jitter: standard deviation of noise on the pixels, relative.
        """
        self.segmenter.train()
        for module in self.segmenter.modules():
            if "drop" in type(module).__name__.lower():  # torch's Dropout2d, timm's DropPath, ...
                module.eval()
        noise = torch.randn(self.images.shape, generator=torch.Generator().manual_seed(seed))
        torch.manual_seed(seed)
        total, logits = self._look(self.images * (1 + jitter * noise.to(self.images.device)))
        (total * FP16_SCALE if self.way.precision == "fp16" else total).backward()
        grads = [
            p.grad.flatten().float() for p in self.segmenter.parameters() if p.grad is not None
        ]
        kept = logits.detach().float().clone(), torch.cat(grads)
        self.optimizer.zero_grad(set_to_none=True)
        self.segmenter.train()
        return kept

    def _look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.way.to_layout(self.segmenter.normalize(images))
        with self.way.autocast():
            outputs = self.forward(x)
        total, terms = self.loss(outputs.logits, self.target)
        weights = self.segmenter.extra_weights
        total, _ = add_extras(total, terms, outputs, self.target, self.loss, weights)
        return total, outputs.logits


def make_step(
    config: ModelConfig,
    segmenter: Segmenter,
    way: Compute,
    task: str,
    n_classes: int,
    channels: int,
    device: torch.device,
) -> Step:
    """One training step of `segmenter` computed in this way, to be called."""
    height, width = config.train.size
    batch = config.train.batch_size
    segmenter = segmenter.to(device)
    segmenter.set_epoch(0)
    segmenter.train()
    if way.channels_last:
        segmenter = segmenter.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(config.optim, segmenter, fused=way.fused)
    loss = build_loss(config.loss, task=task, head=segmenter.head)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, channels, height, width, generator=generator).to(device)
    shape = (batch, n_classes, height, width) if task == "multilabel" else (batch, height, width)
    top = n_classes if task == "multiclass" else 2
    labels = torch.randint(0, top, shape, generator=generator, dtype=torch.uint8).to(device)
    target = make_target(labels, task, n_classes)
    return Step(segmenter, Forward(segmenter, way), way, loss, optimizer, images, target)


@contextmanager
def measuring(way: Compute) -> Iterator[None]:
    """Within it torch is as a training in this way would have it; all global state is put back."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    products = torch.get_float32_matmul_precision()
    try:
        way.settle()
        with fixed_shapes(torch.device(way.device_type)):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
        torch.set_float32_matmul_precision(products)


def race(
    steps: dict[int, Callable[[], Any]],
    errors: dict[int, str],
    device: torch.device,
    clock: Callable[[], float],
) -> dict[int, float]:
    """Fastest step of each; a warm-up round is not counted. Those that raise go to `errors`."""
    began = clock()
    best: dict[int, float] = {}
    running = dict(steps)
    for turn in range(ROUNDS + 1):
        for n, step in list(running.items()):
            try:
                synchronize(device)
                started = clock()
                step()
                synchronize(device)
                took = clock() - started
            except (RuntimeError, NotImplementedError) as error:
                errors[n] = one_line(error)
                best.pop(n, None)
                del running[n]
                continue
            if turn:
                best[n] = min(best.get(n, took), took)
        if best:
            fastest = min(best.values())
            running = {n: s for n, s in running.items() if best.get(n, fastest) <= LOST * fastest}
        if turn and (len(running) < 2 or clock() - began > LIMIT_SECONDS):
            break
    return best


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def in_short(error: Exception) -> str:
    """The first paragraph of what a compiler says, in one line."""
    first = str(error).strip().split("\n\n")[0]
    return " ".join(first.split())[:200] or type(error).__name__


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
