"""What changes while a fold is trained, how it is made, and how it is saved and loaded again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from comp.data.samples.loader import TrainLoader
from comp.data.samples.sampling import derive
from comp.errors import RunMismatchError
from comp.metrics.scores import find_metric
from comp.models.build import build_model
from comp.models.compiling import Forward
from comp.models.losses import WeightedLoss, build_loss
from comp.models.optim import build_optimizer
from comp.models.schedule import Schedule, build_schedule
from comp.models.segmenter import Segmenter
from comp.models.weights import hash_weights
from comp.store.generations import Position
from comp.train.averaging import Averages, make_averages
from comp.train.hardness import Hardness
from comp.train.job import FoldJob
from comp.train.validate import Eyes


@dataclass
class Best:
    """The best epoch so far by one monitor, with a copy of its weights."""

    greater_is_better: bool
    value: float = math.nan
    epoch: int = 0
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def offer(self, value: float, epoch: int, segmenter: Segmenter) -> bool:
        """Keep the weights if `value` is better; NaN never is."""
        if math.isnan(value):
            return False
        better = math.isnan(self.value) or (
            value > self.value if self.greater_is_better else value < self.value
        )
        if better:
            self.value, self.epoch, self.weights = value, epoch, copy_weights(segmenter)
        return better

    def state(self) -> dict[str, Any]:
        return {"value": self.value, "epoch": self.epoch, "weights": self.weights}

    def load(self, state: dict[str, Any]) -> None:
        self.value, self.epoch, self.weights = state["value"], state["epoch"], state["weights"]


def copy_weights(segmenter: Segmenter) -> dict[str, torch.Tensor]:
    """A detached copy of every parameter and buffer on the CPU."""
    return {
        k: v.detach().to("cpu", copy=True).contiguous() for k, v in segmenter.state_dict().items()
    }


@dataclass
class Within:
    """How far the epoch in progress is, at the end of a batch.

    Args:
        epoch: its number, the first is 0; -1: none was begun.
        batches, samples: learnt from.
        sums: loss and terms times number of samples; `before`: as they were when the step of the optimizer
            that is in progress began, and so is `marked`, in the notes of the losses of each image.
        lr: of the epoch's first batch; seconds: spent on it by earlier attempts.
        random: the generators' states, after an interruption; grads: accumulated.
    """

    epoch: int = -1
    batches: int = 0
    samples: int = 0
    sums: dict[str, torch.Tensor] = field(default_factory=dict)
    before: dict[str, torch.Tensor] = field(default_factory=dict)
    marked: int = 0
    lr: float = 0.0
    seconds: float = 0.0
    random: list[torch.Tensor] = field(default_factory=list)
    grads: dict[str, torch.Tensor] = field(default_factory=dict)

    def state(self, segmenter: Segmenter, seconds: float) -> dict[str, Any]:
        """What `load` takes, with gradients and random state as they are now."""
        grads = {n: p.grad for n, p in segmenter.named_parameters() if p.grad is not None}
        random = [torch.get_rng_state()]
        device = next(segmenter.parameters()).device
        if device.type == "cuda":
            random.append(torch.cuda.get_rng_state(device))
        return {**vars(self), "seconds": seconds, "grads": grads, "random": random}

    @classmethod
    def load(cls, state: dict[str, Any], device: torch.device) -> Within:
        """On `device`, but for the random states, which live on the CPU."""
        moved = {
            key: {name: tensor.to(device) for name, tensor in state[key].items()}
            for key in ("sums", "before", "grads")
        }
        return cls(**{**state, **moved})

    def give_back(self, segmenter: Segmenter) -> None:
        """Put back gradients and random state of an interrupted attempt; once."""
        for name, parameter in segmenter.named_parameters():
            if name in self.grads:
                parameter.grad = self.grads[name]
        if self.random:
            torch.set_rng_state(self.random[0])
        for state in self.random[1:]:
            torch.cuda.set_rng_state(state, next(segmenter.parameters()).device)
        self.grads, self.random = {}, []


@dataclass
class Loop:
    """Everything that changes while a fold is trained."""

    job: FoldJob
    segmenter: Segmenter
    loss: WeightedLoss
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    scaler: torch.amp.GradScaler
    eyes: Eyes
    best_metric: Best
    best_loss: Best
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0  # spent in earlier, interrupted attempts
    averages: Averages = field(default_factory=Averages)
    hardness: Hardness | None = None  # of each image; None: nobody asks
    parts: int = 1  # that a batch is cut into, where memory ran out
    say: Callable[[str], None] = lambda text: None  # told what the log should say
    within: Within = field(default_factory=Within)
    resumed: bool = False  # from a checkpoint
    began: float = 0.0  # this attempt at the epoch in progress, monotonic
    after_batch: Callable[[bool], None] = lambda updated: None  # True: the optimizer made its step
    forward: Forward = field(init=False)

    def __post_init__(self) -> None:
        self.forward = Forward(self.segmenter, self.eyes.compute)

    def begin_epoch(self, epoch: int, lr: float = 0.0) -> Within:
        """How far the epoch is: begun anew, unless an earlier attempt or call began it."""
        if self.within.epoch != epoch:
            self.within = Within(epoch, lr=lr)
            self.began = time.monotonic()
        return self.within

    @property
    def position(self) -> Position:
        """Epochs finished, and batches done of the next."""
        done = len(self.history)
        return Position(done, self.within.batches if self.within.epoch == done else 0)

    def state(self) -> dict[str, Any]:
        return {
            "config_hash": self.job.config_hash,
            "folds_hash": self.job.folds_hash,
            "model": self.segmenter.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best_metric": self.best_metric.state(),
            "best_loss": self.best_loss.state(),
            "history": self.history,
            "seconds": self.seconds,
            "averages": self.averages.state(),
            "parts": self.parts,
            "within": self.within.state(
                self.segmenter, self.within.seconds + time.monotonic() - self.began
            ),
        } | ({} if self.hardness is None else {"hardness": self.hardness.state()})

    def load(self, state: dict[str, Any]) -> None:
        for key in ("config_hash", "folds_hash"):
            if state[key] != getattr(self.job, key):
                raise RunMismatchError(
                    f"{self.job.label}: its checkpoint was made with another {key.removesuffix('_hash')} "
                    f"({state[key]}, now {getattr(self.job, key)}): use --name, or delete {self.job.folder}"
                )
        self.segmenter.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.best_metric.load(state["best_metric"])
        self.best_loss.load(state["best_loss"])
        self.history, self.seconds = state["history"], state["seconds"]
        self.averages.load(state.get("averages", {}))
        self.parts = state.get("parts", 1)
        if "within" in state:
            self.within = Within.load(state["within"], self.eyes.device)
            self.began = time.monotonic()
        if self.hardness is not None:
            self.hardness.load(state["hardness"])
        self.resumed = True

    def tell(self, loader: TrainLoader) -> None:
        """Tell the loader how hard each image is, where its sampler asks."""
        if self.hardness is not None:
            loader.heed(self.hardness.losses)


def make_network(job: FoldJob, eyes: Eyes, pretrained: bool = True) -> Segmenter:
    """The network as it is before training: pretrained, or random from (seed, fold).

    Args:
        pretrained: False where trained weights come next: pretrained ones are not asked for again.
    """
    config, competition = job.config, job.competition
    if pretrained:
        check_pretrained(job)
    torch.manual_seed(derive(config.train.seed, "init", job.fold))
    segmenter = build_model(
        config.model,
        task=competition.task,
        n_classes=competition.n_classes,
        channels=competition.data.channels,
        load_weights=pretrained,
        root=job.root,
    ).to(eyes.device)
    if eyes.compute.channels_last:
        segmenter = segmenter.to(memory_format=torch.channels_last)
    return segmenter


def check_pretrained(job: FoldJob) -> None:
    """Refuse a file of pretrained weights that is not the one that the run was planned with."""
    for name, planned in (job.pretrained or {}).items():
        path = job.root / name
        now = hash_weights(path) if path.is_file() else planned  # absent: said where it is read
        if now != planned:
            raise RunMismatchError(
                f"{job.label}: {path} changed while the job waited (content {now}, planned {planned}): "
                "put it back, or use --name for a new run"
            )


def make_loop(job: FoldJob, eyes: Eyes, batches: int, pretrained: bool = True) -> Loop:
    """Build the network and what trains it, seeded by (seed, fold); `pretrained` as `make_network` takes it."""
    config, competition, compute = job.config, job.competition, eyes.compute
    segmenter = make_network(job, eyes, pretrained)
    optimizer = build_optimizer(config.optim, segmenter, fused=compute.fused)
    steps = math.ceil(batches / config.train.accumulate)
    metric = find_metric(competition.metric_name)
    loss = build_loss(config.loss, task=competition.task, head=segmenter.head)
    sampler = config.train.sampler
    by_loss = sampler is not None and sampler.by == "loss"
    return Loop(
        job,
        segmenter,
        loss,
        optimizer,
        build_schedule(
            config.schedule,
            optimizer,
            epochs=config.train.epochs,
            steps_per_epoch=steps,
            greater_is_better=metric.greater_is_better,
        ),
        torch.amp.GradScaler(compute.device_type, enabled=compute.precision == "fp16"),
        eyes,
        Best(metric.greater_is_better),
        Best(greater_is_better=False),
        averages=make_averages(config.train, segmenter, metric.greater_is_better),
        hardness=Hardness(len(eyes.seen), loss) if by_loss else None,
    )
