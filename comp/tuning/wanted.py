"""What a user asks of `comp tune`, and which model config is tuned where none is named."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

from comp.config import find_config
from comp.config.reading import read_mapping
from comp.errors import CompError, UsageError, some
from comp.files import COMPETITION_FILE, Workspace, read_json
from comp.registry import lookup
from comp.tuning.pruning import PRUNERS
from comp.tuning.sampling import SAMPLERS
from comp.tuning.storage import parse_url

OBJECTIVES = (
    "score",
    "seconds",
    "peak_bytes",
    "n_parameters",
)  # the first: in the metric's direction
UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Wanted:
    """The options of `comp tune`.

    Args:
        timeout: seconds.
        confirm: other seeds that the best `confirm_top` trials are run again with.
        max_memory: GiB.
    """

    config: str | None = None
    overrides: tuple[str, ...] = ()
    trials: int = 20
    timeout: float | None = None
    folds: list[int] | None = None
    epochs: int | None = None
    study: str | None = None
    storage: str | None = None
    sampler: str = "tpe"
    pruner: str = "quartile"
    objectives: tuple[str, ...] = ("score",)
    confirm: int = 3
    confirm_top: int = 2
    confirm_folds: list[int] | None = None
    max_seconds: float | None = None
    max_memory: float | None = None
    earlier: tuple[str, ...] = ()
    device: str = "auto"
    slots: int | None = None
    executor: str = "local"
    address: str | None = None
    competition_overrides: tuple[str, ...] = ()

    @property
    def all_overrides(self) -> tuple[str, ...]:
        """Those of the user, and the epochs of a trial."""
        epochs = () if self.epochs is None else (f"train.epochs={self.epochs}",)
        return (*self.overrides, *epochs)

    def check(self) -> None:
        """Refuse what no study can be made of.

        Raises:
            UsageError: naming the option.
        """
        unknown = [name for name in self.objectives if name not in OBJECTIVES]
        if (
            unknown
            or self.objectives[:1] != ("score",)
            or len(set(self.objectives)) != len(self.objectives)
        ):
            raise UsageError(
                f"--objectives {','.join(self.objectives)}: expected score, or score and some of "
                f"{', '.join(OBJECTIVES[1:])}, each once"
            )
        lookup(SAMPLERS, self.sampler, "sampler")
        lookup(PRUNERS, self.pruner, "pruner")
        if self.storage is not None:
            parse_url(self.storage)
        for option in ("timeout", "max_seconds", "max_memory"):
            value = getattr(self, option)
            if value is not None and value <= 0:
                raise UsageError(
                    f"--{option.replace('_', '-')} {value:g}: expected more than 0, or leave it out"
                )
        if self.address is not None and self.executor != "ray":
            raise UsageError(
                f"--address {self.address}: is for --executor ray, here it is {self.executor}"
            )


def read_duration(text: str) -> float:
    """Seconds of ``600``, ``90m``, ``8h``.

    Raises:
        UsageError: it is not of that form.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text)
    if found is None or found[2] not in UNITS:
        raise UsageError(f"--timeout {text!r}: expected a time such as 600, 90m or 8h")
    return float(found[1]) * UNITS[found[2]]


def choose_config(workspace: Workspace, named: str | None) -> Path:
    """The model YAML to tune: the one named; else that of the best complete run; else the only one with `tune:`.

    Raises:
        UsageError: none of these, with the list of what could be named.
    """
    if named is not None:
        return find_config(workspace.root, named)
    if (best := best_run_config(workspace)) is not None:
        return best
    files = sorted(workspace.configs.glob("*.yaml"))
    files = [path for path in files if path.name != COMPETITION_FILE.name]
    able = [path for path in files if _has_tune(path)]
    if len(able) == 1:
        print(f"config: {able[0].name}: the only one with a tune: section")
        return able[0]
    listed = able or files
    complete = any(_is_complete(path) for path in workspace.runs.glob("*/cv.json"))
    runs = "no complete run has its file in configs/" if complete else "no run is complete"
    why = f"{len(able)} configs have a tune: section" if able else "no config has a tune: section"
    names = some([path.name for path in listed]) if listed else "none in configs/"
    raise UsageError(f"which config? {runs}, and {why}: name one with --config: {names}")


def best_run_config(workspace: Workspace) -> Path | None:
    """configs/<run>.yaml of the complete run with the best pooled score; None: there is none."""
    found: list[tuple[float, str, Path]] = []
    for path in workspace.runs.glob("*/cv.json"):
        config = workspace.configs / f"{path.parent.name}.yaml"
        with contextlib.suppress(CompError, KeyError, TypeError):
            cv = read_json(path)
            if cv["complete"] and cv["pooled"] is not None and config.is_file():
                sign = 1.0 if cv["greater_is_better"] else -1.0
                found.append((sign * cv["pooled"], path.parent.name, config))
    if not found:
        return None
    _, name, config = max(found, key=lambda each: (each[0], each[1]))
    print(f"config: {config.name}: of {name}, the best complete run")
    return config


def _is_complete(path: Path) -> bool:
    with contextlib.suppress(CompError, KeyError, TypeError):
        return bool(read_json(path)["complete"])
    return False


def _has_tune(path: Path) -> bool:
    with contextlib.suppress(CompError):
        said = read_mapping(path)
        return bool(said.get("tune")) and "tuned" not in said
    return False
