"""From a trial's parameters to its job: the config, its folder in the study, its folds in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from comp.config import Competition, ModelConfig
from comp.config.reading import Layers
from comp.data.cache.cache import Recipe
from comp.data.cache.open import open_cache
from comp.data.samples.train import train_recipe
from comp.data.sources.records import Records
from comp.errors import ConfigError, RunMismatchError
from comp.files import Workspace
from comp.jobs.configs import look_up_names
from comp.jobs.plan import PlannedRun, plan_jobs, prepare_run, pretrained_identity
from comp.jobs.ready import decide_where
from comp.jobs.status import end_orphans
from comp.store import read_result
from comp.tuning.job import Limits, TrialJob
from comp.tuning.space import Space, trial_config


@dataclass(frozen=True)
class Maker:
    """Makes the jobs of a study's trials.

    Args:
        workspace: of the study: its runs are the trials.
        shared: what all runs of the competition agree on, from `shared_identity`.
        folds: in the order in which every trial trains them.
    """

    workspace: Workspace
    competition: Competition
    layers: Layers
    space: Space
    records: Records
    shared: dict[str, Any]
    folds: Sequence[int]
    limits: Limits
    device: str
    n_slots: int | None

    def make(self, index: int, params: Mapping[str, Any]) -> TrialJob:
        """The job of a trial of the search.

        Raises:
            CompError: the parameters make no whole config, or the trial's folder is of something else.
        """
        config = self._config(index, params)
        return self._job(index, config, f"trial{index}", self.folds, self.limits)

    def build(self, params: Mapping[str, Any]) -> None:
        """Build the network of a trial on the CPU and send a small batch through it, without its weights.

        Raises:
            CompError: it cannot be built.
        """
        from comp.models.check import try_model

        config, competition = self._config(1, params), self.competition
        height, width = (min(side, 128) for side in config.train.size)
        try_model(
            config.model,
            competition.task,
            competition.n_classes,
            competition.data.channels,
            (height, width),
            self.workspace.root,
            load_weights=False,
        )

    def _config(self, index: int, params: Mapping[str, Any]) -> ModelConfig:
        """The config of a trial, its names looked up; of trial 0 the untuned one, whatever the space holds."""
        config = trial_config(self.layers, self.space, {} if index == 0 else params)
        competition, root = self.competition, self.workspace.root
        if problems := look_up_names(config, competition, root, weights=False):
            raise ConfigError(problems)
        return config

    def confirm(
        self, index: int, params: Mapping[str, Any], seed: int, turn: int, folds: Sequence[int]
    ) -> TrialJob:
        """The job of a trial that is run again with another seed, without limits.

        Args:
            turn: number of the seed, from 1; the folder is named by it.
        """
        config = self._config(index, params)
        train = config.train.model_copy(update={"seed": seed})
        config = config.model_copy(update={"train": train})
        return self._job(index, config, f"trial{index}-again{turn}", folds, Limits())

    def _job(
        self,
        index: int,
        config: ModelConfig,
        name: str,
        folds: Sequence[int],
        limits: Limits,
    ) -> TrialJob:
        workspace, competition = self.workspace, self.competition
        end_orphans(workspace.runs, print, jobs=name)
        recipe = train_recipe(config.train)
        if recipe != Recipe():
            open_cache(workspace.cache, competition, self.records.train, recipe)
        _, computes = decide_where(
            workspace, competition, {name: config}, self.device, self.n_slots
        )
        pretrained = pretrained_identity(workspace, name, config)
        planned = PlannedRun(name, config, computes[name], self.shared, None, pretrained)
        prepare_run(workspace, planned)
        todo, done = plan_jobs(workspace, competition, [planned], folds, ())
        for (
            job
        ) in done:  # a folder that lost its config.json tells nothing of what its results are of
            result = read_result(job.folder)
            if result is None or result["config_hash"] != planned.hash:
                raise RunMismatchError(
                    f"{workspace.relative(job.folder)} holds the result of another config: delete "
                    f"{workspace.relative(workspace.run(name))}"
                )
        order = {fold: place for place, fold in enumerate(folds)}
        jobs = sorted([*todo, *done], key=lambda job: order[job.fold])
        return TrialJob(tuple(jobs), index, limits)
