"""The command line: parse, call, print, exit code. Each command is imported when it is called."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from comp import __version__
from comp.cli.data import folds, init, verify
from comp.cli.joining import join
from comp.cli.models import cv, doctor
from comp.cli.output import end_without_reader, open_closed_streams, print_any_letter
from comp.cli.results import ensemble, leaderboard, score, submit
from comp.cli.running import status
from comp.cli.start import demo, schema
from comp.cli.tuning import tune
from comp.errors import CompError
from comp.files import known_os_error

app = typer.Typer(
    name="comp",
    help="From a folder of images and masks to a cross-validated, honest ensemble and a submission.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


def main() -> None:
    """Entry point: one clear line and an exit code for every error a user can cause."""
    open_closed_streams()
    print_any_letter()
    try:
        app()
    except BrokenPipeError:
        end_without_reader()
    except CompError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if (known := known_os_error(error)) is not None:
            print(f"error: {known}", file=sys.stderr)
            sys.exit(known.exit_code)
        traceback.print_exc()
        print("this is a bug in comp: please report it with the lines above", file=sys.stderr)
        sys.exit(70)


# In the order of `comp --help`.
for command in (
    demo,
    init,
    verify,
    folds,
    cv,
    tune,
    join,
    ensemble,
    submit,
    score,
    leaderboard,
    status,
    doctor,
    schema,
):
    app.command()(command)
