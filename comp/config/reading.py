"""YAML text -> plain dict: floats as people write them, no duplicate keys, `extends`, `-o key=value`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from comp.errors import ConfigError
from comp.files import read_text


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
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: not YAML: {' '.join(str(error).split())}") from error


def merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `change` laid over it, dicts merged key by key, everything else replaced."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = (
            merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def read_mapping(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a YAML file whose top is a mapping, with the file it `extends` (one parent, beside it) below it.

    Raises:
        ConfigError: unreadable, not a mapping, or a chain of `extends` that returns to itself.
    """
    path = path.resolve()
    if path in seen:
        raise ConfigError(f"{path}: extends itself: {' -> '.join(p.name for p in (*seen, path))}")
    loaded = parse_yaml(read_text(path), str(path))
    if loaded is None:
        loaded = {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: expected a mapping of sections, got {type(loaded).__name__}")
    parent = loaded.pop("extends", None)
    if parent is None:
        return loaded
    if not isinstance(parent, str):
        raise ConfigError(f"{path}: extends: expected one file name, got {parent!r}")
    return merge(read_mapping(path.parent / parent, (*seen, path)), loaded)


def apply_overrides(values: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    """Lay ``a.b.c=value`` overrides over `values`; values are read as YAML, list items by number.

    Raises:
        ConfigError: all malformed overrides together.
    """
    problems: list[str] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            problems.append(f"-o {override}: expected key=value, such as train.epochs=3")
            continue
        try:
            value = parse_yaml(text, f"-o {override}")
            values = _set(values, parts, value)
        except ConfigError as error:
            problems.extend(error.problems)
        except (ValueError, IndexError) as error:
            problems.append(f"-o {override}: {error}")
    if problems:
        raise ConfigError(problems)
    return values


def _set(node: Any, parts: list[str], value: Any) -> Any:
    if not parts:
        return value
    head, rest = parts[0], parts[1:]
    if isinstance(node, list):
        index = int(head)
        if not 0 <= index < len(node):
            raise IndexError(f"no item {index} in a list of {len(node)}")
        return [*node[:index], _set(node[index], rest, value), *node[index + 1 :]]
    if node is not None and not isinstance(node, dict):
        if isinstance(node, int | float) and not isinstance(node, bool):
            node = {"weight": node}  # `dice: 0.4` is short for `dice: {weight: 0.4}`
        else:
            raise ValueError(f"{head!r} is below a plain value ({node!r})")
    node = dict(node or {})
    node[head] = _set(node.get(head), rest, value)
    return node
