"""`comp doctor`: environment, data, one batch through each config; `--models`: what can be built. One report."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from comp.config import Competition, ModelConfig, data_root
from comp.data.folds.check import check_competition
from comp.data.folds.few import Few, choose_few
from comp.data.folds.table import read_folds
from comp.data.sources.records import find_records
from comp.errors import CompError, ConfigError, DataError, StoppedError
from comp.files import COMPETITION_FILE, Workspace
from comp.jobs.configs import load_configs, look_up_names
from comp.jobs.executors import run_local
from comp.jobs.machine import look_at_machine
from comp.jobs.slots import Slot, cpu_count, make_slots
from comp.plots.doctor_tables import (
    NOTE,
    OK,
    PROBLEM,
    render_archs,
    render_catalogue,
    render_fact,
    render_trials,
)
from comp.plots.tables import count_of


@dataclass
class Report:
    """What is wrong so far; every line is printed when it is known."""

    problems: list[str] = field(default_factory=list)
    of_data: list[str] = field(default_factory=list)

    def say(self, name: str, text: str, mark: str = OK, data: bool = False) -> None:
        """Print a line; one that is WRONG is kept for the end."""
        print(render_fact(name, text, mark), flush=True)
        if mark == PROBLEM:
            (self.of_data if data else self.problems).append(f"{name}: {text}")

    def close(self) -> None:
        """Say that all is well.

        Raises:
            ConfigError: everything that is wrong, when any of it is not the data.
            DataError: the same, when only the data are.
        """
        if self.problems:
            raise ConfigError(self.problems + self.of_data)
        if self.of_data:
            raise DataError("\n  ".join(self.of_data))
        print("\nall is well")


def run(
    workspace: Workspace | None,
    competition: Competition | None,
    wrong: CompError | None = None,
    configs: Sequence[str] = (),
    overrides: Sequence[str] = (),
    device: str = "auto",
    limit_seconds: float = 120.0,
) -> None:
    """Look at everything and print one report.

    Args:
        workspace, competition: None: there is none here, and only the environment is looked at.
        wrong: why there is none, when that must be mended.
        configs: as `--config` names them; default: all of the workspace.
        limit_seconds: of one config; no step is begun later.

    Raises:
        ConfigError, DataError: all that is wrong.
    """
    report = Report()
    print("environment")
    for fact in look_at_machine(workspace.root if workspace else Path.cwd()):
        mark = PROBLEM if fact.problem else NOTE if fact.note else OK
        report.say(fact.name, fact.text, mark)
    if wrong is not None:
        report.say("workspace", str(wrong), PROBLEM)
    elif workspace is None or competition is None:
        report.say("workspace", "none here: only the environment was looked at", NOTE)
    else:
        print("\ndata")
        few = look_at_data(report, workspace, competition)
        print("\nconfigs")
        look_at_configs(
            report, workspace, competition, few, configs, overrides, device, limit_seconds
        )
    report.close()


def look_at_data(report: Report, workspace: Workspace, competition: Competition) -> Few:
    """Files and folds, as far as names tell; a few images for the trials."""
    for problem in check_competition(competition):
        report.say("competition", problem, PROBLEM)
    try:
        root = data_root(workspace, competition)
        records = find_records(competition, root)
    except CompError as error:
        report.say("data", str(error), PROBLEM, data=True)
        return Few()
    train, test = count_of(len(records.train), "training image"), len(records.test)
    report.say("data", f"{train} and {count_of(test, 'test image')} at {root}")
    if not records.train:
        report.say("data", "no training images", PROBLEM, data=True)
        return Few()
    if records.left_out:
        n = count_of(len(records.left_out), "image file")
        report.say(
            "data", f"{n} beside them are not used (`comp verify` names them and says why)", NOTE
        )
    table = None
    where = workspace.relative(workspace.folds_csv)
    if not workspace.folds_csv.is_file():
        report.say("folds", f"no {where} yet: `comp cv` or `comp folds` makes it", NOTE)
    else:
        try:
            table = read_folds(workspace, records)
            report.say("folds", f"{where}: {count_of(table.n_folds, 'fold')}, fits the data")
        except CompError as error:
            report.say("folds", str(error), PROBLEM, data=True)
    return choose_few(competition, records, table)


def look_at_configs(
    report: Report,
    workspace: Workspace,
    competition: Competition,
    few: Few,
    arguments: Sequence[str],
    overrides: Sequence[str],
    device: str,
    limit_seconds: float,
) -> None:
    """Every config's names, then one batch through each that is sound."""
    from comp.models.compute import gpu_count
    from comp.train.trial import Trial

    slots = make_slots(device, gpu_count(), cpu_count())
    configs = load_each(report, workspace, competition, arguments, overrides)
    with tempfile.TemporaryDirectory(prefix="comp-doctor-") as place:
        jobs: list[Trial] = []
        counted: dict[str, tuple[object, ...]] = {}
        for name, config in configs.items():
            key = drawing_of(config)
            jobs.append(
                Trial(
                    workspace.root,
                    competition,
                    config,
                    name,
                    Path(place) / "logs" / name,
                    Path(place) / "cache",
                    few.records,
                    few.n_val,
                    few.n_train,
                    few.n_val_all,
                    views=key not in counted.values(),
                    limit_seconds=limit_seconds,
                )
            )
            counted[name] = key
        found = try_all(jobs, slots[0], report)
    for name, one in found.items():  # drawn alike: counted once
        same = next(n for n in counted if counted[n] == counted[name])
        if "views" in found.get(same, {}):
            one.setdefault("views", found[same]["views"])
    if found:
        print("\n" + render_trials(found, few.n_folds, len(slots)))
        print(
            f"steps are of {slots[0].device}; {count_of(len(slots), 'fold')} at once; "
            "test images and TTA come on top, and busy cores slow it down"
        )


def drawing_of(config: ModelConfig) -> tuple[object, ...]:
    """What the views of a config depend on."""
    train = config.train
    how = (train.mode, train.size, train.scale_jitter, train.soft_masks, train.stretch, train.seed)
    return (*how, repr(config.augment))


def load_each(
    report: Report,
    workspace: Workspace,
    competition: Competition,
    arguments: Sequence[str],
    overrides: Sequence[str],
) -> dict[str, ModelConfig]:
    """The sound ones among the configs; the mistakes of the others go to the report."""
    configs: dict[str, ModelConfig] = {}
    for argument in arguments or all_configs(workspace.root):
        try:
            configs |= load_configs(
                workspace.root,
                [argument],
                overrides,
                None,
                lambda config: look_up_names(config, competition, workspace.root),
            )
        except CompError as error:
            for problem in getattr(error, "problems", [str(error)]):
                report.say(Path(argument).stem, problem, PROBLEM)
    if not configs and not report.problems:
        report.say("configs", f"no model YAML in {workspace.configs}", NOTE)
    return configs


def all_configs(root: Path) -> list[str]:
    """Every model YAML of the workspace."""
    folder = root / "configs"
    return sorted(str(p) for p in folder.glob("*.yaml") if p.name != COMPETITION_FILE.name)


def try_all(jobs: Sequence[Any], slot: Slot, report: Report) -> dict[str, dict[str, Any]]:
    """One config after another in a process of its own; what each gave, and its lines in the report."""
    found: dict[str, dict[str, Any]] = {}

    def on_event(job: Any, event: dict[str, Any]) -> None:
        if event["type"] == "failed":
            report.say(job.label, event["error"], PROBLEM)
        elif event["type"] == "done":
            found[job.label] = one = event["result"]
            for problem in one["problems"]:
                report.say(job.label, problem, PROBLEM)
            for note in one["notes"]:
                report.say(job.label, note, NOTE)
            if not one["problems"]:
                report.say(job.label, say_trial(one))

    try:
        run_local(jobs, [slot], on_event)
    except StoppedError as error:
        raise StoppedError("stopped; nothing was changed", error.exit_code - 128) from error
    return found


def say_trial(one: dict[str, Any]) -> str:
    """What went well, in one line."""
    said = [f"loss {one['loss']:.4g}, update and weights finite"] if "loss" in one else ["finite"]
    if one.get("transforms"):
        said.append(f"image and mask stay together in {count_of(one['transforms'], 'transform')}")
    if "views" in one:
        said.append("{} distinct views of {}".format(*one["views"][:2]))
    return "; ".join(said)


def run_models(words: Sequence[str], limit_seconds: float = 120.0) -> None:
    """Print architectures and encoders with their sizes, strides and what works together.

    Args:
        words: that names hold: unet resnet; none: all.

    Raises:
        UsageError: a word that no name holds.
    """
    from comp.models.catalogue import choose, describe_archs, make_catalogue
    from comp.models.dry import SIZE

    archs, encoders = choose(words)
    shown = [row for row in describe_archs() if row["arch"] in archs or row["encoder"] is None]
    print(render_archs(shown) + "\n")
    folder = user_cache()
    found = make_catalogue(archs, encoders, folder, limit_seconds)
    print(render_catalogue(archs, [asdict(e) for e in found.encoders], found.missing, SIZE))
    if found.missing:
        print(
            f"the time limit of {limit_seconds:.0f} s was reached; what was built is kept in {folder}: run again "
            "to go on, name some (--models resnet), or give more time (--limit 3600)"
        )
    if found.unsaved:
        print(f"what was built could not be kept: {found.unsaved}")


def user_cache() -> Path:
    """Where this user's programs keep what can be made again."""
    said = os.environ.get("XDG_CACHE_HOME")
    if said:
        return Path(said) / "comp"
    try:
        return Path.home() / ".cache" / "comp"
    except RuntimeError:  # no home
        return Path(tempfile.gettempdir()) / "comp"
