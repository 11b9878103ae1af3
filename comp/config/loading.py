"""YAML file -> frozen, checked object; every mistake of a file reported at once with the nearest valid name."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from comp.config.competition import Competition
from comp.config.model import ModelConfig
from comp.config.reading import Layers, key_of, override_of, read_layers, read_mapping
from comp.errors import ConfigError, DataError
from comp.files import COMPETITION_FILE, DEVICE_NAME, SAFE_NAME, Workspace, check_name, digest
from comp.registry import nearest

M = TypeVar("M", bound=BaseModel)


class PartlyWrongError(ConfigError):
    """The mistakes of a config, and what is left of it without them, so that its names can be looked up too.

    Args:
        part: the config without the keys that are wrong; None when nothing whole is left.
        unsure: keys that were said, but not as they stand in `part`.
        layers: who said what.
    """

    def __init__(
        self,
        problems: Sequence[str],
        part: BaseModel | None,
        unsure: Sequence[tuple[str, ...]],
        layers: Layers,
    ) -> None:
        super().__init__(problems)
        self.part, self.unsure, self.layers = part, tuple(unsure), layers

    def can_judge(self, problem: str, leans_on: Mapping[str, Sequence[str]]) -> bool:
        """False when a problem found in `part` may only follow from a mistake that is said already.

        Args:
            leans_on: section -> the keys that its names are judged by, beside the key itself.
        """
        key = key_of(problem)
        keys = [key, *(tuple(other.split(".")) for other in leans_on.get(key[0], ()))]
        return not any(a[: len(b)] == b[: len(a)] for a in keys for b in self.unsure)


def check(model: type[M], values: dict[str, Any], source: str | Layers) -> M:
    """Build `model` from `values`.

    Args:
        source: the file's name, or who said what.

    Raises:
        ConfigError: all mistakes, each as ``source: key: expected ..., got ...``; a `PartlyWrongError`.
    """
    layers = source if isinstance(source, Layers) else Layers(((source, values),), (), values)
    problems = list(layers.problems)
    unsure = [key_of(p.removeprefix("-o ").replace("=", ":", 1)) for p in problems]
    part: M | None
    try:
        part = model.model_validate(values)
    except ValidationError as error:
        alone = {_loc(item) for item in _mistakes_of(model, layers.file_values)}
        problems += [
            f"{_source(layers, _loc(item), alone)}: {_say(model, item)}"
            for item in _mistakes(error)
        ]
        part, more = _without_mistakes(model, values)
        raise PartlyWrongError(problems, part, unsure + more, layers) from error
    if problems:
        raise PartlyWrongError(problems, part, unsure, layers)
    return part


def _source(layers: Layers, loc: tuple[str, ...], alone: Collection[tuple[str, ...]]) -> str:
    """Who made the mistake at `loc`; overrides below it did not where the files `alone` hold it too."""
    if loc in alone and override_of(loc, layers.overrides) is None:
        return layers.file_of(loc)
    return layers.source_of(loc)


def _loc(item: Any) -> tuple[str, ...]:
    return tuple(map(str, item["loc"]))


def _mistakes(error: ValidationError) -> list[Any]:
    """What pydantic found; a list whose items were refused is then "too short" too: the items are the mistake."""
    found = error.errors()
    inside = {item["loc"][:n] for item in found for n in range(1, len(item["loc"]))}
    return [i for i in found if not (i["type"] == "too_short" and i["loc"] in inside)]


def _mistakes_of(model: type[BaseModel], values: dict[str, Any]) -> list[Any]:
    try:
        model.model_validate(values)
    except ValidationError as error:
        return _mistakes(error)
    return []


def _without_mistakes(
    model: type[M], values: dict[str, Any]
) -> tuple[M | None, list[tuple[str, ...]]]:
    """Drop what is wrong until the rest is whole: the rest (None when it never is), and which keys are unsure."""
    unsure: list[tuple[str, ...]] = []
    while True:
        try:
            return model.model_validate(values), unsure
        except ValidationError as error:
            drops = set()
            for item in error.errors():
                place = _deepest(values, item["loc"])
                drops.add(place)
                unsure.append(tuple(map(str, place)))
                if (
                    item["type"] == "extra_forbidden"
                ):  # a misspelt key: the one that was meant is unsure
                    meant = nearest(str(place[-1]), _fields_at(model, place[:-1]))
                    unsure[-1:] = [(*unsure[-1][:-1], meant)] if meant else []
            if () in drops:
                return None, unsure
            for place in drops:
                values = _drop(values, place)


def _deepest(values: Any, loc: Sequence[Any]) -> tuple[Any, ...]:
    """As much of `loc` as leads through mappings."""
    place: list[Any] = []
    for part in loc:
        if not isinstance(values, dict) or part not in values:
            break
        place.append(part)
        values = values[part]
    return tuple(place)


def _drop(values: Any, place: Sequence[Any]) -> Any:
    """`values` without the key at `place`; unchanged when it went with another."""
    if not isinstance(values, dict) or place[0] not in values:
        return values
    if len(place) == 1:
        return {key: value for key, value in values.items() if key != place[0]}
    return {**values, place[0]: _drop(values[place[0]], place[1:])}


def _say(model: type[BaseModel], item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        names = _fields_at(model, item["loc"][:-1])
        near = nearest(str(item["loc"][-1]), names)
        tail = f"did you mean {near!r}?" if near else f"known: {', '.join(sorted(names))}"
        return f"{where}: unknown key; {tail}"
    if item["type"] == "missing":
        return f"{where}: missing"
    if item["type"] == "tuple_type":
        n, got = _length_at(model, item["loc"]), item["input"]
        wanted = "a list" if n == 1 else f"a list of {n} values"
        if isinstance(got, (int, float)) or (isinstance(got, str) and n == 1):
            wanted = f"[{', '.join([str(got)] * n)}], a list"
        return f"{where}: expected {wanted}, got {got!r}"
    message = re.sub(r"^Value error, ", "", item["msg"])
    if item["type"] == "value_error":
        return f"{where}: {message}" if where else message
    return f"{where}: {message[0].lower() + message[1:]}, got {item['input']!r}"


def _fields_at(model: type[BaseModel], loc: Sequence[Any]) -> list[str]:
    """The keys that are valid at `loc`, following sections down through lists and dicts."""
    return list(_section_at(model, loc).model_fields)


def _section_at(model: type[BaseModel], loc: Sequence[Any]) -> type[BaseModel]:
    """The section at `loc`, or the last one on the way there."""
    here: type[BaseModel] = model
    for part in loc:
        field: FieldInfo | None = here.model_fields.get(str(part))
        if field is None:
            continue
        found = _section_in(field.annotation)
        if found is not None:
            here = found
    return here


def _length_at(model: type[BaseModel], loc: Sequence[Any]) -> int:
    """How many items the list at `loc` has; 1 where any number is right."""
    section = _section_at(model, loc[:-1])
    field = section.model_fields.get(str(loc[-1]))
    kinds = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
    for kind in kinds:
        items = getattr(kind, "__args__", ())
        if getattr(kind, "__origin__", None) is tuple and Ellipsis not in items:
            return len(items)
    return 1


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
        path = folder / f"{check_name(name, 'competition')}.yaml"
        if not path.is_file():
            default = root / COMPETITION_FILE
            if default.is_file() and read_mapping(default).get("name") == name:
                path = default
            else:
                names = sorted(p.stem for p in folder.glob("*.yaml")) if folder.is_dir() else []
                near = nearest(name, names)
                tail = f"did you mean {near!r}?" if near else f"known: {', '.join(names) or 'none'}"
                raise ConfigError(f"no competition {name!r} in {folder}; {tail}")
    layers = read_layers(path, overrides)
    competition = check(Competition, layers.values, layers)
    if not SAFE_NAME.fullmatch(competition.name) or DEVICE_NAME.fullmatch(competition.name):
        raise ConfigError(
            f"{layers.source_of(['name'])}: name: {competition.name!r}: use letters, digits, '.', '_', '+' and '-'"
        )
    return _with_excluded(_with_manifests(competition, root), root)


def _with_manifests(competition: Competition, root: Path) -> Competition:
    """A manifest that the workspace holds is named by its whole path; others lie below data.root."""
    if all(p.manifest is None for p in competition.data.train):
        return competition
    train = tuple(
        p.model_copy(update={"manifest": str(root.resolve() / p.manifest)})
        if p.manifest is not None and (root / p.manifest).is_file()
        else p
        for p in competition.data.train
    )
    data = competition.data.model_copy(update={"train": train})
    return competition.model_copy(update={"data": data})


def _with_excluded(competition: Competition, root: Path) -> Competition:
    """The ids of the file that data.exclude names, in its place: what they are is what counts."""
    data = competition.data
    if not isinstance(data.exclude, str):
        return competition
    places = (root / data.exclude, root / data.root / data.exclude)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ConfigError(
            f"data.exclude: no file {data.exclude} in {root} nor in data.root; expected a list of"
            ' image ids (["a", "b"]), or a text file of them, one a line'
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"data.exclude: {path} cannot be read as a list of ids: {error}"
        ) from error
    ids = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    return competition.model_copy(update={"data": data.model_copy(update={"exclude": ids})})


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
    layers = read_layers(path, overrides)
    return check(ModelConfig, layers.values, layers)


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
