"""The commands that train models and try them out: cv, doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from comp.cli.options import Address, CompetitionName, Device, ExecutorName, Override, Root
from comp.cli.place import fold_numbers, place, split_overrides
from comp.errors import ConfigError, UsageError


def cv(
    config: Annotated[
        list[str], typer.Option("--config", "-c", help="model YAML; several: all models x folds")
    ],
    root: Root = None,
    competition: CompetitionName = None,
    override: Override = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="run name; default: the config's stem", show_default=False),
    ] = None,
    device: Device = "auto",
    slots: Annotated[
        int | None,
        typer.Option(
            "--slots", help="jobs at once; default: one a GPU, else one a core", show_default=False
        ),
    ] = None,
    executor: ExecutorName = "local",
    address: Address = None,
    jobs: Annotated[
        str | None,
        typer.Option(
            "--jobs",
            metavar="I/N",
            help="only the I-th of N shares of all jobs; other processes or machines do the others",
            show_default=False,
        ),
    ] = None,
    folds: Annotated[
        str | None,
        typer.Option(
            "--folds", "--fold", help="train only these, e.g. 0,2; default: all", show_default=False
        ),
    ] = None,
    pseudo: Annotated[
        str | None,
        typer.Option(
            "--pseudo",
            metavar="RUN",
            help="also train on test images with the labels that this run or ensemble gives them",
            show_default=False,
        ),
    ] = None,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="begin a fold anew where its checkpoints are all corrupt"),
    ] = False,
) -> None:
    """Train every fold of every config; skip what is done, go on with what is not."""
    from comp.cli.output import be_patient
    from comp.commands.cv import run
    from comp.jobs.configs import find_mistakes
    from comp.jobs.shares import read_share

    be_patient()
    only = fold_numbers(folds)
    workspace, loaded, rest = place(
        root,
        competition,
        override,
        draw=True,
        also=lambda found, wrong, rest: find_mistakes(found, wrong, config, rest, name),
    )
    run(
        workspace,
        loaded,
        config,
        rest,
        name=name,
        device=device,
        n_slots=slots,
        executor=executor,
        only=only,
        competition_overrides=split_overrides(override or [])[0],
        pseudo=pseudo,
        restart=restart,
        share=None if jobs is None else read_share(jobs),
        address=address,
    )


def doctor(
    text: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]", help="with --models: words that names hold"),
    ] = None,
    models: Annotated[
        bool,
        typer.Option("--models", help="list architectures and encoders, and what works together"),
    ] = False,
    config: Annotated[
        list[str] | None,
        typer.Option(
            "--config", "-c", help="model YAML; default: all in configs/", show_default=False
        ),
    ] = None,
    root: Root = None,
    competition: CompetitionName = None,
    override: Override = None,
    device: Device = "auto",
    limit: Annotated[
        float, typer.Option("--limit", min=0, help="seconds a config, or of --models")
    ] = 120.0,
) -> None:
    """Check environment and data, and send one batch through each config; or list the models."""
    from comp.commands.doctor import all_configs, run, run_models
    from comp.jobs.configs import find_mistakes

    if models:
        run_models(text or [], limit)
        return
    if text:
        raise UsageError(
            f"doctor {' '.join(text)}: a text goes with --models; a config with --config"
        )
    workspace, loaded, wrong = None, None, None
    rest: list[str] = []
    try:
        workspace, loaded, rest = place(
            root,
            competition,
            override,
            draw=True,
            also=lambda found, error, of_model: find_mistakes(
                found, error, config or all_configs(found), of_model, None
            ),
        )
    except ConfigError as error:
        wrong = error
    except UsageError:
        if root is not None or competition is not None or override or config:
            raise
    run(workspace, loaded, wrong, config or [], rest, device, limit)
