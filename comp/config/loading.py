"""YAML file -> frozen, checked object; every mistake of a file reported at once with the nearest valid name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from comp.config.competition import Competition
from comp.config.model import ModelConfig
from comp.config.reading import apply_overrides, read_mapping
from comp.errors import ConfigError, DataError
from comp.files import COMPETITION_FILE, SAFE_NAME, Workspace, digest
from comp.registry import nearest

M = TypeVar("M", bound=BaseModel)


def check(model: type[M], values: dict[str, Any], source: str) -> M:
    """Build `model` from `values`.

    Raises:
        ConfigError: all mistakes, each as ``source: key: expected ..., got ...``.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = error.errors()
        # A list whose items were refused is then "too short" as well: the items are the mistake.
        inside = {item["loc"][:n] for item in found for n in range(1, len(item["loc"]))}
        said = [i for i in found if not (i["type"] == "too_short" and i["loc"] in inside)]
        raise ConfigError([f"{source}: {_say(model, item)}" for item in said]) from error


def _say(model: type[BaseModel], item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        names = _fields_at(model, item["loc"][:-1])
        near = nearest(str(item["loc"][-1]), names)
        tail = f"did you mean {near!r}?" if near else f"known: {', '.join(sorted(names))}"
        return f"{where}: unknown key; {tail}"
    if item["type"] == "missing":
        return f"{where}: missing"
    message = re.sub(r"^Value error, ", "", item["msg"])
    if item["type"] == "value_error":
        return f"{where}: {message}" if where else message
    return f"{where}: {message[0].lower() + message[1:]}, got {item['input']!r}"


def _fields_at(model: type[BaseModel], loc: Sequence[Any]) -> list[str]:
    """The keys that are valid at `loc`, following sections down through lists and dicts."""
    here: type[BaseModel] = model
    for part in loc:
        field: FieldInfo | None = here.model_fields.get(str(part))
        if field is None:
            continue
        found = _section_in(field.annotation)
        if found is not None:
            here = found
    return list(here.model_fields)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _section_in(inner)
        if found is not None:
            return found
    return None


def load_competition(
    root: Path, name: str | None = None, overrides: Sequence[str] = ()
) -> Competition:
    """Load the workspace's default competition, or ``configs/competitions/<name>.yaml``.

    Raises:
        ConfigError: the file is missing or wrong.
    """
    if name is None:
        path = root / COMPETITION_FILE
    else:
        folder = root / "configs" / "competitions"
        path = folder / f"{name}.yaml"
        if not path.is_file():
            default = root / COMPETITION_FILE
            if default.is_file() and read_mapping(default).get("name") == name:
                path = default
            else:
                names = sorted(p.stem for p in folder.glob("*.yaml")) if folder.is_dir() else []
                near = nearest(name, names)
                tail = f"did you mean {near!r}?" if near else f"known: {', '.join(names) or 'none'}"
                raise ConfigError(f"no competition {name!r} in {folder}; {tail}")
    competition = check(
        Competition, apply_overrides(read_mapping(path), tuple(overrides)), str(path)
    )
    if not SAFE_NAME.fullmatch(competition.name):
        raise ConfigError(
            f"{path}: name: {competition.name!r}: use letters, digits, '.', '_', '+' and '-'"
        )
    return competition


def find_config(root: Path, argument: str) -> Path:
    """Return the model YAML that `--config argument` names: as given, else in ``configs/``.

    Raises:
        ConfigError: naming the nearest config.
    """
    folder = root / "configs"
    candidates = [Path(argument), folder / argument, folder / f"{argument}.yaml"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    names = sorted(p.name for p in folder.glob("*.yaml") if p.name != COMPETITION_FILE.name)
    near = nearest(argument, names)
    tail = f"did you mean {near!r}?" if near else f"found there: {', '.join(names) or 'none'}"
    raise ConfigError(f"no config {argument!r}, neither as given nor in {folder}; {tail}")


def load_model(path: Path, overrides: Sequence[str] = ()) -> ModelConfig:
    """Load one model YAML with its parents and the overrides laid over it."""
    return check(ModelConfig, apply_overrides(read_mapping(path), tuple(overrides)), str(path))


def resolved(config: BaseModel) -> dict[str, Any]:
    """The config as plain JSON values, defaults filled in."""
    return config.model_dump(mode="json")


def config_hash(config: BaseModel) -> str:
    """A short hash of the resolved config."""
    return digest(resolved(config))


def differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Name every key whose value differs: ``optim.lr: 0.001 -> 0.0003``."""
    found: list[str] = []
    for key in sorted(set(old) | set(new)):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a!r} -> {b!r}")
    return found


def data_root(workspace: Workspace, competition: Competition) -> Path:
    """Return the folder of the competition's data.

    Raises:
        DataError: when it is not there, naming the folder wanted.
    """
    root = workspace.root / competition.data.root
    if not root.is_dir():
        raise DataError(
            f"no data at {root} (data.root of competition {competition.name!r}): "
            "put the data there, or override with -o data.root=DIR"
        )
    return root
