"""What one training job is told, and what it tells while it runs. Plain data: it crosses processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comp.config import Competition, ModelConfig
from comp.data.samples.pseudo import PseudoSource
from comp.files import Workspace
from comp.registry import use_code_of
from comp.store.predicted import what_changed

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class FoldJob:
    """Train `config` on every fold but `fold`, predict `fold` and the test images.

    Args:
        compute: the run's fixed way of computing, as `Compute.as_dict()`.
        config_hash: of all that the run is made of: config, compute, task, data, folds.
        test_hash: of the test image_ids.
        test_content: of the test images' pixels (`Cache.content_hash`); None: there are none.
        pretrained: file of pretrained weights -> its hash, as the run's identity says; None: there is none.
        folds_hash: the folds file that the plan was made with; another one is refused.
        pseudo: whose labels the test images are trained on with; None: without them.
        study: the study that this is a trial of: it leaves its score and no predictions; None: none.
    """

    root: Path
    competition: Competition
    config: ModelConfig
    run: str
    fold: int
    compute: dict[str, Any]
    config_hash: str
    folds_hash: str
    test_hash: str
    pseudo: PseudoSource | None = None
    test_content: str | None = None
    pretrained: dict[str, str] | None = None
    study: str | None = None

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root, self.competition.name, self.study)

    @property
    def folder(self) -> Path:
        return self.workspace.fold(self.run, self.fold)

    @property
    def label(self) -> str:
        """How logs name the job."""
        return f"{self.run}/fold{self.fold}"

    @property
    def hang_seconds(self) -> int | None:
        """How long it may be silent before it counts as hung."""
        return self.config.train.hang_seconds

    def with_fewer_workers(self) -> FoldJob | None:
        """This job with half as many loader processes, which gives the same results; None: it has none."""
        train = self.config.train
        if not train.workers:
            return None
        fewer = train.model_copy(update={"workers": train.workers // 2})
        return replace(self, config=self.config.model_copy(update={"train": fewer}))

    def left_to_do(self, result: dict[str, Any] | None) -> str | None:
        """Why the fold is not done, in words; None: `result` says it is, and is of these test images."""
        if result is None:
            return "it is not trained"
        return what_changed(result, self.test_hash, self.test_content)

    def work(self, device: str, emit: Emit) -> dict[str, Any]:
        """Do the job in this process, on `device` (cpu or cuda:<n>), and return its result."""
        from comp.train.stopping import listening

        with listening():
            return self._train(device, emit)

    def _train(self, device: str, emit: Emit) -> dict[str, Any]:
        import torch

        use_code_of(self.root)
        from comp.train.loop import train_fold

        if device == "cpu":
            import cv2

            cv2.setNumThreads(1)  # its own pool would fight with the neighbouring slots
        if device != "cpu":
            torch.cuda.set_device(device)
        return train_fold(self, torch.device(device), emit)
