"""Members with damaged files: refused by name as a fault of the data, never left out in silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comp.errors import DataError, RunMismatchError
from comp.files import Workspace, read_json
from comp.store.members import verify
from comp.store.runs import Run, read_result


def check_whole(workspace: Workspace, members: Sequence[str] | None) -> None:
    """Refuse damaged members: left out as incomplete, they would change the ensemble without a word why.

    Args:
        members: run names; default: every run whose report says that it is complete.

    Raises:
        DataError: naming each file, and what to do.
    """
    problems: list[str] = []
    names = members or [path.parent.name for path in sorted(workspace.runs.glob("*/cv.json"))]
    for name in names:
        report = workspace.run(name) / "cv.json"
        if not members and not read_json(report)["complete"]:
            continue
        for folder in sorted(report.parent.glob("fold[0-9]*")):
            try:
                read_result(folder)
            except RunMismatchError as error:
                problems.append(f"run {name!r}: {error}")
            except DataError as error:
                problems.append(
                    f"run {name!r}: {error}; delete it to make the fold again with `comp cv`"
                )
    if problems:
        tail = "" if members else "\nor name the other members with --member"
        raise DataError("\n".join(problems) + tail)


def verify_file(run: Run, fold: int, result: dict[str, Any], stem: str) -> None:
    """`verify`, as a fault of the data: the run is the right one, its file is damaged.

    Raises:
        DataError: naming the file and what to do.
    """
    try:
        verify(run, fold, result, stem)
    except RunMismatchError as error:
        raise DataError(f"run {run.name!r}: {error}") from error
