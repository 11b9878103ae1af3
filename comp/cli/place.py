"""Where a command works: its workspace and competition, and which `-o` belongs to which file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from comp.errors import ConfigError, UsageError
from comp.files import Workspace, find_root
from comp.registry import use_code_of

if TYPE_CHECKING:
    from comp.config import Competition
    from comp.config.loading import PartlyWrongError


def place(
    root: Path | None,
    competition: str | None,
    overrides: list[str] | None = None,
    draw: bool = False,
    also: Callable[[Path, PartlyWrongError, list[str]], list[str]] | None = None,
) -> tuple[Workspace, Competition, list[str]]:
    """The workspace and its competition.

    Overrides of the competition (``data.``, ``folds.``, ``submission.``, ...) are taken from `overrides`;
    the rest is returned for the model configs.

    Args:
        draw: draw the demo's data when they are not there yet.
        also: further mistakes to tell with those of the competition.
    """
    from comp.config import load_competition
    from comp.config.loading import PartlyWrongError

    found = find_root(root)
    of_competition, of_model = split_overrides(overrides or [])
    try:
        loaded = load_competition(found, competition, of_competition)
    except PartlyWrongError as error:
        from comp.jobs.configs import look_up_competition

        use_code_of(found)
        more = [*look_up_competition(error), *(also(found, error, of_model) if also else [])]
        raise ConfigError([*error.problems, *more]) from error
    if draw and loaded.name == "demo" and not (found / loaded.data.root).exists():
        from comp.demo.drawing import ensure_demo

        ensure_demo(found / loaded.data.root)
        print(f"drew the demo competition into {found / loaded.data.root}")
    use_code_of(found)
    return Workspace(found, loaded.name), loaded, of_model


def split_overrides(overrides: list[str]) -> tuple[list[str], list[str]]:
    """Divide ``-o`` values by the file they belong to: the competition's sections, else the model's."""
    from comp.config import Competition

    mine = set(Competition.model_fields)
    first = [o for o in overrides if o.partition("=")[0].strip().partition(".")[0] in mine]
    return first, [o for o in overrides if o not in first]


def only_competition(rest: list[str]) -> None:
    """Refuse overrides that no competition key takes."""
    if rest:
        from comp.config import Competition
        from comp.registry import unknown

        raise ConfigError(
            [
                f"-o {o}: {unknown(o.partition('=')[0].partition('.')[0], Competition.model_fields, 'key')}"
                for o in rest
            ]
        )


def fold_numbers(text: str | None) -> list[int] | None:
    """``0,2`` as numbers."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError(f"--folds {text!r}: expected fold numbers such as 0,2")
    return [int(part) for part in parts]
