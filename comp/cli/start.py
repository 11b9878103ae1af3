"""The commands that need no workspace: demo, schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="where to draw and work")
    ] = Path("comp-demo"),
    slots: Annotated[
        int | None, typer.Option("--slots", help="jobs at once", show_default=False)
    ] = None,
) -> None:
    """Draw a small competition, run everything on it, and score the result."""
    from comp.cli.output import be_patient
    from comp.demo.run import run

    be_patient()
    run(directory, slots)


def schema(
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]",
            help="write the two schema files here; default: print both",
            show_default=False,
        ),
    ] = None,
) -> None:
    """JSON schemas of the two kinds of YAML, for editors."""
    from comp.commands.schema import run

    run(directory)
