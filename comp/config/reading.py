"""YAML text -> plain dict: floats as people write them, no duplicate keys, `extends`, `-o key=value`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from comp.errors import ConfigError
from comp.files import read_text

ALIASED = 10_000  # values that aliases may add to what the text itself can hold


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-5 as a number and refuses a key said twice."""


# PyYAML follows YAML 1.1, where a float needs a dot: `lr: 3e-4` would be a string.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | float | bool) and key is not None:
            raise ConfigError(f"line {key_node.start_mark.line + 1}: a key must be a plain name")
        if key in seen:
            raise ConfigError(f"line {key_node.start_mark.line + 1}: key {key!r} is said twice")
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML text.

    Raises:
        ConfigError: naming `source` and the line.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if count_values(node, {}) > len(text) + ALIASED:
                raise ConfigError("its aliases (*name) repeat values many thousand times")
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: not YAML: {' '.join(str(error).split())}") from error


class _Dumper(yaml.SafeDumper):
    """SafeDumper that puts quotation marks around text that our reader takes for a number, without aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def dump_yaml(values: dict[str, Any]) -> str:
    """YAML text that `parse_yaml` reads back as `values`; innermost mappings and lists on one line."""
    nested = any(isinstance(value, dict | list) for value in values.values())
    return yaml.dump(
        values,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None if nested else False,
        width=100,
    )


def count_values(node: yaml.Node, known: dict[int, int]) -> int:
    """The values that a node stands for when every alias in it is written out.

    Args:
        known: what was counted of nodes by their id, 0 where that is not done.

    Raises:
        ConfigError: an alias stands within what it names.
    """
    found = known.get(id(node))
    if found is not None:
        if not found:
            raise ConfigError("an alias (*name) stands within what it names")
        return found
    known[id(node)], below = 0, []
    if isinstance(node, yaml.MappingNode):
        below = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        below = node.value
    known[id(node)] = total = 1 + sum(count_values(part, known) for part in below)
    return total


def merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `change` laid over it, dicts merged key by key, everything else replaced."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = (
            merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top is a mapping, with the file it `extends` (one parent, beside it) below it.

    Raises:
        ConfigError: unreadable, not a mapping, or a chain of `extends` that returns to itself.
    """
    return read_layers(path).values


def read_layers(path: Path, overrides: Sequence[str] = ()) -> Layers:
    """Read a YAML file and all it extends, as `read_mapping`, and lay the overrides over it.

    Malformed overrides are left out of the values and said in `problems`.
    """
    files = _read_chain(path.resolve(), ())
    files[-1] = (str(path), files[-1][1])  # as the user named it
    values: dict[str, Any] = {}
    for _, own in files:
        values = merge(values, own)
    values, problems = apply_overrides(values, overrides)
    return Layers(tuple(files), tuple(overrides), values, tuple(problems))


def _read_chain(path: Path, seen: tuple[Path, ...]) -> list[tuple[str, dict[str, Any]]]:
    """A file's own mapping behind those of its parents."""
    if path in seen:
        raise ConfigError(f"{path}: extends itself: {' -> '.join(p.name for p in (*seen, path))}")
    loaded = parse_yaml(read_text(path), str(path))
    if loaded is None:
        loaded = {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: expected a mapping of sections, got {type(loaded).__name__}")
    parent = loaded.pop("extends", None)
    if parent is None:
        return [(str(path), loaded)]
    if not isinstance(parent, str):
        raise ConfigError(f"{path}: extends: expected one file name, got {parent!r}")
    above = _read_chain((path.parent / parent).resolve(), (*seen, path))
    return [*above, (str(path), loaded)]


@dataclass(frozen=True)
class Layers:
    """The values of a config, and who said them.

    Args:
        files: (name, its own values), the topmost parent first.
        overrides: ``key=value``, the later ones stronger.
        values: all of it, merged.
        problems: malformed overrides, which `values` does not hold.
    """

    files: tuple[tuple[str, dict[str, Any]], ...]
    overrides: tuple[str, ...]
    values: dict[str, Any]
    problems: tuple[str, ...] = ()

    @property
    def file_values(self) -> dict[str, Any]:
        """The values without the overrides."""
        values: dict[str, Any] = {}
        for _, own in self.files:
            values = merge(values, own)
        return values

    def source_of(self, loc: Sequence[object]) -> str:
        """Who said the value at `loc`: ``-o key=value``, or the file, a parent before the one that extends it.

        Where overrides set only something below `loc`, the file is named with them.
        """
        path = tuple(str(part) for part in loc)
        if override := override_of(path, self.overrides):
            return f"-o {override}"
        below = [o for o in self.overrides if _split(o)[: len(path)] == path]
        return self.file_of(path) + (" with" if below else "") + "".join(f" -o {o}" for o in below)

    def file_of(self, loc: Sequence[object]) -> str:
        """The file that said the value at `loc`, or else most of the way to it."""
        path = tuple(str(part) for part in loc)
        names = [name for name, _ in reversed(self.files)]
        depths = [_depth(own, path) for _, own in reversed(self.files)]
        return names[depths.index(max(depths))]

    def blame(self, problem: str) -> str:
        """Put the source before a problem that begins with its key: ``loss.dize: ...``, ``augment[0] Flip: ...``."""
        return f"{self.source_of(key_of(problem))}: {problem}"


def key_of(problem: str) -> tuple[str, ...]:
    """The key that a problem begins with, as its parts."""
    key = problem.partition(":")[0].partition(" ")[0]
    return tuple(key.replace("[", ".").replace("]", "").split("."))


def override_of(loc: Sequence[str], overrides: Sequence[str]) -> str | None:
    """The last override that set `loc` or something that holds it."""
    path = tuple(loc)
    at = ((o, _split(o)) for o in reversed(overrides))
    return next((o for o, mine in at if path[: len(mine)] == mine), None)


def _split(override: str) -> tuple[str, ...]:
    return tuple(override.partition("=")[0].strip().split("."))


def _depth(node: Any, path: Sequence[str]) -> int:
    """How many parts of `path` lead into `node`; all of them where a plain value or a list ends the way."""
    for n, part in enumerate(path):
        if not isinstance(node, dict):
            break
        named = {str(key): value for key, value in node.items()}
        if part not in named:
            return n
        node = named[part]
    return len(path)


def apply_overrides(
    values: dict[str, Any], overrides: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Lay ``a.b.c=value`` overrides over `values`; values are read as YAML, list items by number.

    Returns:
        the values with every override that can be laid over them; what is wrong with the others.
    """
    problems: list[str] = []
    for override in overrides:
        parts = list(_split(override))
        if "=" not in override or not all(parts):
            problems.append(f"-o {override}: expected key=value, such as train.epochs=3")
            continue
        try:
            value = parse_yaml(override.partition("=")[2], f"-o {override}")
            values = _set(values, parts, value)
        except ConfigError as error:
            problems.extend(error.problems)
        except (ValueError, IndexError) as error:
            problems.append(f"-o {override}: {error}")
    return values, problems


def _set(node: Any, parts: list[str], value: Any) -> Any:
    if not parts:
        return value
    head, rest = parts[0], parts[1:]
    if isinstance(node, list):
        if not head.isdecimal():
            raise ValueError(f"expected the number of an item of the list, got {head!r}")
        index = int(head)
        if not 0 <= index < len(node):
            raise IndexError(f"no item {index} in a list of {len(node)}")
        return [*node[:index], _set(node[index], rest, value), *node[index + 1 :]]
    if node is not None and not isinstance(node, dict):
        if isinstance(node, int | float) and not isinstance(node, bool):
            node = {"weight": node}  # `dice: 0.4` is short for `dice: {weight: 0.4}`
        elif node == head:
            node = {}  # `- HorizontalFlip` is short for `- HorizontalFlip: {}`
        else:
            raise ValueError(f"{head!r} is below a plain value ({node!r})")
    node = dict(node or {})
    node[head] = _set(node.get(head), rest, value)
    return node
