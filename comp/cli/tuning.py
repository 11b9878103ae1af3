"""The command that searches hyper-parameters: tune."""

from __future__ import annotations

from typing import Annotated

import typer

from comp.cli.options import Address, CompetitionName, Device, ExecutorName, Override, Root
from comp.cli.place import fold_numbers, place, split_overrides


def tune(
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            "-c",
            help="model YAML; default: that of the best complete run, else the only one with a tune: section",
            show_default=False,
        ),
    ] = None,
    root: Root = None,
    competition: CompetitionName = None,
    override: Override = None,
    trials: Annotated[
        int,
        typer.Option("--trials", min=1, help="of the whole study, the untuned config among them"),
    ] = 20,
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout",
            metavar="TIME",
            help="begin no trial later than this: 600, 90m, 8h; default: no limit",
            show_default=False,
        ),
    ] = None,
    folds: Annotated[
        str | None,
        typer.Option(
            "--folds",
            "--fold",
            help="that a trial is scored on, e.g. 0,1; default: all",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            min=1,
            help="of a trial; default: the config's train.epochs",
            show_default=False,
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option("--study", help="study name; default: the config's stem", show_default=False),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            metavar="URL",
            help="postgresql://... shared by machines; default: studies/<competition>/<study>/study.db",
            show_default=False,
        ),
    ] = None,
    sampler: Annotated[str, typer.Option("--sampler", help="tpe or random")] = "tpe",
    pruner: Annotated[str, typer.Option("--pruner", help="quartile, median, hyperband or none")] = (
        "quartile"
    ),
    objectives: Annotated[
        str,
        typer.Option("--objectives", help="score; or score,seconds: what each trial costs as well"),
    ] = "score",
    confirm: Annotated[
        int,
        typer.Option(
            "--confirm", min=0, help="run the best trials again with so many other seeds; 0: do not"
        ),
    ] = 3,
    confirm_top: Annotated[
        int, typer.Option("--confirm-top", min=1, help="how many of the best trials are confirmed")
    ] = 2,
    confirm_folds: Annotated[
        str | None,
        typer.Option(
            "--confirm-folds",
            help="that they are confirmed on; default: those that trials were not scored on, else the same",
            show_default=False,
        ),
    ] = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(
            "--max-seconds",
            min=0,
            help="of training that a trial may take; looked at after every epoch",
            show_default=False,
        ),
    ] = None,
    max_memory: Annotated[
        float | None,
        typer.Option(
            "--max-memory", metavar="GIB", min=0, help="that a trial may need", show_default=False
        ),
    ] = None,
    earlier: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="STUDY",
            help="learn from an earlier study of the same space",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    slots: Annotated[
        int | None,
        typer.Option(
            "--slots",
            help="trials at once; default: one a GPU, else one a core",
            show_default=False,
        ),
    ] = None,
    executor: ExecutorName = "local",
    address: Address = None,
) -> None:
    """Search learning rates, loss weights and what tune: names; write the tuned config; go on where it stopped."""
    from comp.cli.output import be_patient
    from comp.commands.tune import run
    from comp.tuning.wanted import Wanted, read_duration

    be_patient()
    workspace, loaded, rest = place(root, competition, override, draw=True)
    wanted = Wanted(
        config=config,
        overrides=tuple(rest),
        trials=trials,
        timeout=None if timeout is None else read_duration(timeout),
        folds=fold_numbers(folds),
        epochs=epochs,
        study=study,
        storage=storage,
        sampler=sampler,
        pruner=pruner,
        objectives=tuple(part.strip() for part in objectives.split(",")),
        confirm=confirm,
        confirm_top=confirm_top,
        confirm_folds=fold_numbers(confirm_folds),
        max_seconds=max_seconds,
        max_memory=max_memory,
        earlier=tuple(earlier or ()),
        device=device,
        slots=slots,
        executor=executor,
        address=address,
        competition_overrides=tuple(split_overrides(override or [])[0]),
    )
    run(workspace, loaded, wanted)
