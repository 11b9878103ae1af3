"""`comp init DIR --data DATA`: look at a folder of data, say what it is, write a workspace for it."""

from __future__ import annotations

import re
from pathlib import Path

from comp.data.intake.inspect import MANIFEST, inspect
from comp.data.intake.seen import Understood
from comp.data.intake.yaml import competition_yaml, spelled_root
from comp.data.layouts.detect import Asked
from comp.data.sources.manifest import manifest_text
from comp.data.sources.paired import SAY_ABSENT
from comp.errors import DataError, UsageError
from comp.files import COMPETITION_FILE, check_name, commit

STARTERS = Path(__file__).parent / "starters"
MAX_LISTED = 20
IGNORED = "# what commands write\n/runs/\n/ensembles/\n/.cache/\n/folds/*.verify.*\n/folds/*.png\n"
BINARY_TERM = "  bce: 0.5                        # several classes, one a pixel: ce instead of bce"
MULTICLASS_TERM = "  ce: 0.5                         # one class a pixel; binary, multilabel: bce"
SUBMISSIONS_IGNORED = (
    "# cards (.json) are kept, submissions themselves are not\n*\n!.gitignore\n!*.json\n"
)


ABSENT = ("empty", "leave_out")


def run(
    directory: Path,
    data: Path,
    name: str | None = None,
    asked: Asked | None = None,
    absent: str | None = None,
) -> Path:
    """Make a workspace in `directory` for the data in `data`; the data are only read.

    Args:
        name: of the competition; default: the directory's name.
        asked: layout and folders, where names allow more than one reading.
        absent: what an image means that has no mask, or of which the only truth says nothing: "empty"
            or "leave_out".

    Returns:
        the competition.yaml written.

    Raises:
        UsageError: `directory` is a workspace already, or no folder; no such layout.
        DataError: no data there, no known layout, or more than one way to read them.
    """
    target = directory / COMPETITION_FILE
    if target.exists():
        raise UsageError(
            f"{target} is there already and is never overwritten; change it by hand, move it away,"
            " or make the workspace in another folder"
        )
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file; expected a folder, which is made where missing")
    if not data.is_dir():
        raise DataError(f"no folder {data} (--data): name the folder that holds the images")
    if absent is not None and absent not in ABSENT:
        raise UsageError(f"--absent {absent}: expected {' or '.join(ABSENT)}")
    name = check_name(name, "competition name") if name else _name_of(directory)
    seen = inspect(data, asked, absent)
    _check_manifest(directory, seen)
    text = competition_yaml(seen, name, spelled_root(data, directory))
    print(f"{data}:")
    for line in seen.lines:
        print(f"  {line}")
    _print_problems(seen.problems)
    _write(directory, target, text, seen)
    return target


def _check_manifest(directory: Path, seen: Understood) -> None:
    """Refuse a manifest of the user's that the competition would have to replace."""
    path = directory / MANIFEST
    if seen.needs_manifest and path.exists() and path.read_bytes() != _manifest(seen):
        raise UsageError(
            f"{path} is there already, says something else and is never overwritten; move it away"
        )


def _manifest(seen: Understood) -> bytes:
    return manifest_text(seen.rows).encode()


def _name_of(directory: Path) -> str:
    """A safe name from the folder's own."""
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", directory.resolve().name).strip("-._+")
    return name or "competition"


def _print_problems(problems: list[str]) -> None:
    if not problems:
        return
    print(f"to settle before training ({len(problems)}; comp verify looks again):")
    for problem in problems[:MAX_LISTED]:
        print("  " + problem.replace("\n", "\n  "))
        if problem.endswith(SAY_ABSENT):
            print(
                "    say so there, or move configs/competition.yaml away and begin again with"
                " `comp init --absent empty|leave_out`; data.exclude leaves out single images"
            )
    if len(problems) > MAX_LISTED:
        print(f"  and {len(problems) - MAX_LISTED} more")


def _write(directory: Path, target: Path, text: str, seen: Understood) -> None:
    """Write the workspace, the competition file last; files of the user's stay as they are."""
    task = seen.values["task"]
    wanted = {directory / "configs" / path.name: path for path in sorted(STARTERS.glob("*.yaml"))}
    for path, source in wanted.items():
        if path.exists():
            print(f"kept {path}, which was there")
        else:
            starter = source.read_text(encoding="utf-8")
            if task == "multiclass":
                starter = starter.replace(BINARY_TERM, MULTICLASS_TERM)
            print(f"wrote {commit(path, starter)}")
    manifest = directory / MANIFEST
    if manifest.exists():
        print(f"kept {manifest}, which was there")
    else:
        use = "the competition reads it" if seen.needs_manifest else "a record; nothing reads it"
        print(f"wrote {commit(manifest, _manifest(seen))}: {len(seen.rows)} images ({use})")
    (directory / "folds").mkdir(parents=True, exist_ok=True)
    ignores = {
        directory / "submissions" / ".gitignore": SUBMISSIONS_IGNORED,
        directory / ".gitignore": IGNORED,
    }
    for path, content in ignores.items():
        if not path.exists():
            commit(path, content)
    print(f"wrote {commit(target, text)}; read it, then: cd {directory} && comp verify")
