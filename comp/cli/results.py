"""The commands that work on what was trained: ensemble, submit, score, leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from comp.cli.options import CompetitionName, Override, Root
from comp.cli.place import only_competition, place
from comp.errors import UsageError


def ensemble(
    root: Root = None,
    competition: CompetitionName = None,
    override: Override = None,
    member: Annotated[
        list[str] | None,
        typer.Option(
            "--member", "-m", help="run name; default: all complete runs", show_default=False
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="the ensemble's name", show_default=False)
    ] = None,
    views: Annotated[
        list[str] | None,
        typer.Option(
            "--views", help="stored views to choose from; default: all", show_default=False
        ),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="auto, uniform, logloss, greedy, bagged or coordinate")
    ] = "auto",
    clean_up: Annotated[
        str, typer.Option("--clean-up", help="none, area (smallest object only) or all rules")
    ] = "all",
) -> None:
    """Fit weights, thresholds and clean-up on out-of-fold predictions; write the recipe."""
    from comp.commands.ensemble import run

    workspace, loaded, rest = place(root, competition, override)
    only_competition(rest)
    run(workspace, loaded, member, name, views, method, clean_up)


def submit(
    root: Root = None,
    competition: CompetitionName = None,
    override: Override = None,
    ensemble: Annotated[
        str | None,
        typer.Option("--ensemble", help="default: the newest complete one", show_default=False),
    ] = None,
    run_name: Annotated[
        str | None, typer.Option("--run", help="submit one run alone", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="default: submissions/<date>-<name>.csv", show_default=False),
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="csv, or geotiff: a zip of masks that lie where their images lie; default: submission.format",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Blend the test predictions, cut masks, and write a verified submission file with its card."""
    from comp.commands.submit import run

    if file_format is not None:
        override = [*(override or []), f"submission.format={file_format}"]
    workspace, loaded, rest = place(root, competition, override)
    only_competition(rest)
    run(workspace, loaded, ensemble, output, run_name)


def score(
    submission: Annotated[Path, typer.Argument(metavar="SUBMISSION")],
    solution: Annotated[Path, typer.Option("--solution", help="the answer key")],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", help="default: the competition's, then the usual ones", show_default=False
        ),
    ] = None,
    per_image: Annotated[
        Path | None,
        typer.Option(
            "--per-image", metavar="CSV", help="also write each image's scores", show_default=False
        ),
    ] = None,
    root: Root = None,
    competition: CompetitionName = None,
    override: Override = None,
) -> None:
    """Check a submission like the strictest grader, then score it against its key."""
    from comp.commands.score import image_sizes, run

    loaded, workspace = None, None
    try:
        workspace, loaded, rest = place(root, competition, override)
        only_competition(rest)
    except UsageError:
        if root is not None or competition is not None or override:
            raise
    sizes = image_sizes(workspace, loaded) if workspace and loaded else None
    run(submission, solution, loaded, sizes, metric or [], per_image)


def leaderboard(
    root: Root = None,
    competition: CompetitionName = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="also write the rows as JSON", show_default=False)
    ] = None,
    runs: Annotated[
        bool,
        typer.Option(
            "--runs",
            help="the history of all runs, newest first, also of failed and deleted ones; each with what "
            "differs from the earlier run that is most like it",
        ),
    ] = False,
    csv_file: Annotated[
        Path | None,
        typer.Option(
            "--csv", help="with --runs: also write all columns as CSV", show_default=False
        ),
    ] = None,
    price_per_hour: Annotated[
        float | None,
        typer.Option(
            "--price-per-hour",
            min=0.0,
            help="with --runs: what an hour of one device costs",
            show_default=False,
        ),
    ] = None,
) -> None:
    """List runs, ensembles and submissions with their scores."""
    from comp.commands.leaderboard import run, run_history

    workspace, loaded, _ = place(root, competition)
    if runs:
        run_history(workspace, loaded, json_file, csv_file, price_per_hour)
        return
    if csv_file is not None or price_per_hour is not None:
        option = "--csv" if csv_file is not None else "--price-per-hour"
        raise UsageError(f"{option} goes with --runs: comp leaderboard --runs {option} ...")
    run(workspace, loaded, json_file)
