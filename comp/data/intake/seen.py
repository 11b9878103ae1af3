"""What `comp init` understood of a folder, gathered part by part."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comp.config import Competition, check
from comp.data.sources.manifest import Row


@dataclass
class Understood:
    """What `inspect` found.

    Args:
        values: sections of competition.yaml as plain values, without `name` and `data.root`.
        why: dotted key -> why it has its value, for a comment.
        lines: the report, one line each.
        problems: unmatched, doubled or unreadable files and tables that disagree with the masks.
        proposed: keys of the competition file as the user may set them, "data.scale: [0, 1]", with the
            reason: they are written as comments.
        rows: every image found, with its part and its files: the manifest.
        needs_manifest: no pattern says the rows, so the competition refers to the manifest.
    """

    root: Path
    values: dict[str, Any] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    proposed: dict[str, str] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    needs_manifest: bool = False


def draft_competition(values: dict[str, Any]) -> Competition:
    """The values so far as a checked object."""
    whole = {**values, "name": "draft", "data": {"root": ".", **values["data"]}}
    return check(Competition, whole, "comp init")
