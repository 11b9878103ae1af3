"""The command that takes in what others predicted: join."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from comp.cli.options import CompetitionName, Override, Root
from comp.cli.place import only_competition, place


def join(
    name: Annotated[str, typer.Argument(metavar="NAME", help="how the member is called here")],
    oof: Annotated[
        str,
        typer.Option(
            "--oof",
            metavar="PATH",
            help="out-of-fold predictions: an npy stack with ids, an npz by id, a folder of npy, png or tif by id, "
            "or a CSV of run-length codes; {fold} in it: one a fold",
        ),
    ],
    test: Annotated[
        str | None,
        typer.Option(
            "--test", metavar="PATH", help="test predictions, as --oof", show_default=False
        ),
    ] = None,
    folds: Annotated[
        Path | None,
        typer.Option(
            "--folds",
            metavar="CSV",
            help="their folds file (image_id, fold): every image's fold must be ours",
            show_default=False,
        ),
    ] = None,
    folds_hash: Annotated[
        str | None,
        typer.Option(
            "--folds-hash", help="hash of their folds, if comp made them", show_default=False
        ),
    ] = None,
    same_folds: Annotated[
        bool, typer.Option("--same-folds", help="their folds are ours, on your word")
    ] = False,
    oof_ids: Annotated[
        str | None,
        typer.Option(
            "--oof-ids",
            metavar="FILE",
            help="ids of an npy stack, one a line or a CSV column; default: its name with .txt or .csv",
            show_default=False,
        ),
    ] = None,
    test_ids: Annotated[
        str | None,
        typer.Option("--test-ids", metavar="FILE", help="as --oof-ids", show_default=False),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            help="uint8 or uint16; default: uint16 where theirs are, else uint8",
            show_default=False,
        ),
    ] = None,
    root: Root = None,
    competition: CompetitionName = None,
    override: Override = None,
) -> None:
    """Take in a teammate's out-of-fold and test probabilities as a member: checked, counted, scored.

    Planes are (K, H, W) or (H, W, K), one a class in the order of `classes`, one alone when the task is
    binary, at each image's own size: floats in [0, 1], uint8 as 0..255, uint16 as 0..65535, bool as votes.
    The bands of a png or tif are red, green, blue, in this order.
    """
    from comp.commands.join import Given, run

    workspace, loaded, rest = place(root, competition, override)
    only_competition(rest)
    given = Given(oof, test, oof_ids, test_ids, folds, folds_hash, same_folds)
    run(workspace, loaded, name, given, store)
