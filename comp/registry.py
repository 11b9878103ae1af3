"""Names to things: plain dicts looked up with a near-miss hint, and the user's own `package.module:Name`.

Tables live at the foot of the module whose things they list; nothing registers itself by being imported.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from comp.errors import ConfigError, UnknownNameError

T = TypeVar("T")
_SAID: set[str] = set()  # user code whose use was printed
_ROOTS: list[str] = []  # workspaces whose modules may be named


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the known name closest to `name`, ignoring case, or None."""
    by_lower = {known.lower(): known for known in names}
    found = difflib.get_close_matches(str(name).lower(), list(by_lower), n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def unknown(name: str, names: Iterable[str], what: str) -> str:
    """Say that `name` is unknown: the nearest known name, else all of them."""
    names = sorted(names)
    near = nearest(name, names)
    tail = f"did you mean {near!r}?" if near else f"known: {', '.join(names)}"
    return f"unknown {what} {name!r}; {tail}"


def lookup(table: Mapping[str, T], name: str, what: str) -> T:
    """Return ``table[name]``.

    Raises:
        UnknownNameError: naming the nearest known name.
    """
    if name not in table:
        raise UnknownNameError(unknown(name, table, what))
    return table[name]


def is_import_path(name: str) -> bool:
    """True for ``package.module:Name``: code that the user names as their own."""
    module, colon, attribute = name.partition(":")
    return (
        bool(colon)
        and attribute.isidentifier()
        and all(p.isidentifier() for p in module.split("."))
    )


def use_code_of(root: Path) -> None:
    """Let ``package.module:Name`` name modules that lie in the workspace.

    Python is told of the folder only when such a name is used: a file of the workspace that is called like
    an optional package, such as rasterio.py, is never imported in its place.
    """
    if str(root) not in _ROOTS:
        _ROOTS.append(str(root))


def load_object(path: str) -> object:
    """Import ``package.module:Name``, the user's own code, and print once where it came from.

    Raises:
        ConfigError: when the module or the name in it cannot be imported.
    """
    module_name, _, attribute = path.partition(":")
    sys.path.extend(root for root in _ROOTS if root not in sys.path)
    try:
        module = importlib.import_module(module_name)
        found = getattr(module, attribute)
    except Exception as error:  # whatever the user's own code raises is theirs to cure
        raise ConfigError(f"cannot import {path!r}: {type(error).__name__}: {error}") from error
    if path not in _SAID:
        _SAID.add(path)
        print(f"using {path} from {getattr(module, '__file__', None) or 'no file'}")
    return found
