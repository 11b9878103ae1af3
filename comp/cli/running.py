"""The command that looks at what runs: status."""

from __future__ import annotations

from typing import Annotated

import typer

from comp.cli.options import CompetitionName, Root
from comp.cli.place import place


def status(
    root: Root = None,
    competition: CompetitionName = None,
    run_name: Annotated[
        list[str] | None,
        typer.Option("--run", help="only this run; several: these", show_default=False),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="look again until nothing runs or waits any more")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
) -> None:
    """Say which jobs run, wait, are done, failed or were killed, and how long the rest will take."""
    from comp.commands.status import run
    from comp.errors import UsageError

    if watch and as_json:
        raise UsageError("--json says how it is now; --watch looks again and again: choose one")
    workspace, _, _ = place(root, competition)
    run(workspace, run_name, watch, as_json)
