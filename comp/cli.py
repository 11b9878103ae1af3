"""The command line: parse, call, print, exit code. Each command is imported when it is called."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from comp import __version__
from comp.errors import CompError, ConfigError
from comp.files import Workspace, find_root
from comp.registry import use_code_of

if TYPE_CHECKING:
    from comp.config import Competition
    from comp.config.loading import PartlyWrongError

app = typer.Typer(
    name="comp",
    help="From a folder of images and masks to a cross-validated, honest ensemble and a submission.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

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


def version(value: bool) -> None:
    """Print the version and stop."""
    if value:
        print(f"comp {__version__}")
        raise typer.Exit


@app.callback()
def top(
    show: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Options before the command."""


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


def fold_numbers(text: str | None) -> list[int] | None:
    """``0,2`` as numbers."""
    from comp.errors import UsageError

    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError(f"--folds {text!r}: expected fold numbers such as 0,2")
    return [int(part) for part in parts]


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


@app.command()
def demo(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="where to draw and work")
    ] = Path("comp-demo"),
    slots: Annotated[
        int | None, typer.Option("--slots", help="jobs at once", show_default=False)
    ] = None,
) -> None:
    """Draw a small competition, run everything on it, and score the result."""
    from comp.demo.run import run

    run(directory, slots)


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="the new workspace")],
    data: Annotated[
        Path, typer.Option("--data", help="folder with the competition's images and masks")
    ],
    name: Annotated[
        str | None,
        typer.Option(
            "--name", help="the competition's name; default: the folder's", show_default=False
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout", help="read the folder as this layout, if several fit", show_default=False
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option("--images", help="the folder of images, below the data", show_default=False),
    ] = None,
    masks: Annotated[
        str | None,
        typer.Option("--masks", help="the folder of masks, below the data", show_default=False),
    ] = None,
    absent: Annotated[
        str | None,
        typer.Option(
            "--absent",
            help="an image of which the table or JSON says nothing: empty or leave_out",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Look at a folder of data, say what was understood, and write the competition file."""
    from comp.commands.init import run
    from comp.data.layouts.detect import Asked

    run(directory, data, name, Asked(layout, images, masks), absent)


@app.command()
def verify(
    root: Root = None, competition: CompetitionName = None, override: Override = None
) -> None:
    """Open every file, check every pair, list all that is wrong."""
    from comp.commands.verify import run

    workspace, loaded, rest = place(root, competition, override, draw=True)
    only_competition(rest)
    run(workspace, loaded)


@app.command()
def folds(
    root: Root = None,
    competition: CompetitionName = None,
    override: Override = None,
    force: Annotated[bool, typer.Option("--force", help="replace an existing folds file")] = False,
    groups: Annotated[
        str | None,
        typer.Option(
            "--groups",
            help="instead of folds.group: a column of data.meta; auto: what the leak radar finds; "
            "names, folders: what the image ids tell",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Divide the training images, and print the balance table."""
    from comp.commands.folds import run

    workspace, loaded, rest = place(root, competition, override, draw=True)
    only_competition(rest)
    run(workspace, loaded, force, groups)


@app.command()
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
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda, or GPU numbers such as 0,1")
    ] = "auto",
    slots: Annotated[
        int | None,
        typer.Option(
            "--slots", help="jobs at once; default: one a GPU, else one a core", show_default=False
        ),
    ] = None,
    executor: Annotated[str, typer.Option("--executor", help="local or serial")] = "local",
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
) -> None:
    """Train every fold of every config; skip what is done, go on with what is not."""
    from comp.commands.cv import run
    from comp.jobs.configs import find_mistakes

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
    )


@app.command()
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
        str, typer.Option("--method", help="auto, uniform, greedy or coordinate")
    ] = "auto",
) -> None:
    """Fit weights, thresholds and clean-up on out-of-fold predictions; write the recipe."""
    from comp.commands.ensemble import run

    workspace, loaded, rest = place(root, competition, override)
    only_competition(rest)
    run(workspace, loaded, member, name, views, method)


@app.command()
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
) -> None:
    """Blend the test predictions, cut masks, and write a verified submission file with its card."""
    from comp.commands.submit import run

    workspace, loaded, rest = place(root, competition, override)
    only_competition(rest)
    run(workspace, loaded, ensemble, output, run_name)


@app.command()
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
    from comp.errors import UsageError

    loaded, workspace = None, None
    try:
        workspace, loaded, rest = place(root, competition, override)
        only_competition(rest)
    except UsageError:
        if root is not None or competition is not None or override:
            raise
    sizes = image_sizes(workspace, loaded) if workspace and loaded else None
    run(submission, solution, loaded, sizes, metric or [], per_image)


@app.command()
def leaderboard(
    root: Root = None,
    competition: CompetitionName = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="also write the rows as JSON", show_default=False)
    ] = None,
) -> None:
    """List runs, ensembles and submissions with their scores."""
    from comp.commands.leaderboard import run

    workspace, loaded, _ = place(root, competition)
    run(workspace, loaded, json_file)


@app.command()
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
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda, or GPU numbers such as 0,1")
    ] = "auto",
    limit: Annotated[
        float, typer.Option("--limit", min=0, help="seconds a config, or of --models")
    ] = 120.0,
) -> None:
    """Check environment and data, and send one batch through each config; or list the models."""
    from comp.commands.doctor import all_configs, run, run_models
    from comp.errors import UsageError
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


@app.command()
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


def main() -> None:
    """Entry point: one clear line and an exit code for every error a user can cause."""
    try:
        app()
    except CompError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except Exception:
        traceback.print_exc()
        print("this is a bug in comp: please report it with the lines above", file=sys.stderr)
        sys.exit(70)


if __name__ == "__main__":
    main()
