"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Root = Annotated[
    Path | None,
    typer.Option("--root", help="workspace; default: found from here upward", show_default=False),
]
CompetitionName = Annotated[
    str | None,
    typer.Option(
        "--competition",
        help="configs/competitions/NAME.yaml instead of the default",
        show_default=False,
    ),
]
Override = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--override",
        metavar="KEY=VALUE",
        help="override a value, e.g. train.epochs=3",
        show_default=False,
    ),
]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, or GPU numbers such as 0,1")
]
ExecutorName = Annotated[str, typer.Option("--executor", help="local, serial or ray")]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="with --executor ray: of a Ray cluster, e.g. auto; default: Ray is started here",
        show_default=False,
    ),
]
