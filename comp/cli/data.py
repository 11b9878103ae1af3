"""The commands that look at data and divide them: init, verify, folds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from comp.cli.options import CompetitionName, Override, Root
from comp.cli.place import only_competition, place

# The names of comp.data.layouts.detect.LAYOUTS, which is not imported for a help text.
LAYOUT_NAMES = (
    "voc, train_val, train, doubled, bands, folder_an_image, nested, twins, parts, one_folder, images_masks,"
    " csv_paths, text_lists, coco, rle_table, two_folders"
)


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
            "--layout",
            help=f"read the folder as this layout, if several fit: {LAYOUT_NAMES}",
            show_default=False,
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
            help="an image without a mask or row: empty (nothing to be seen on it) or leave_out",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Look at a folder of data, say what was understood, and write the competition file.

    Exit codes: 0 written, what is to settle is listed;
    2 an option does not fit, or DIR is a workspace already;
    3 no data there, no known layout, or several that fit.
    """
    from comp.commands.init import run
    from comp.data.layouts.detect import Asked

    run(directory, data, name, Asked(layout, images, masks), absent)


def verify(
    root: Root = None, competition: CompetitionName = None, override: Override = None
) -> None:
    """Open every file, check every pair, list all that is wrong.

    Exit codes: 0 no problems, there may be warnings;
    2 an option or a YAML file is wrong;
    3 something in the data must be mended: all of it is listed.
    """
    from comp.commands.verify import run

    workspace, loaded, rest = place(root, competition, override, draw=True)
    only_competition(rest)
    run(workspace, loaded)


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
