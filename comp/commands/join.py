"""`comp join`: a teammate's out-of-fold and test predictions become a member, checked, counted and scored by us.

They are read twice: first everything that is wrong is said and nothing is written, then they are stored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from comp.config import Competition, data_root
from comp.data.cache.cache import Cache
from comp.data.cache.open import open_cache
from comp.data.folds.compare import compare_folds, compare_hash
from comp.data.folds.table import FoldTable, read_folds
from comp.data.images.decode import decode, read_size
from comp.data.sources.codes import settled_submission
from comp.data.sources.records import Record, find_records
from comp.data.sources.spelled import spelled_as
from comp.errors import CompError, DataError, RunMismatchError, UsageError
from comp.files import Workspace, commit, digest, read_json, remove_temporaries, write_json
from comp.jobs.plan import shared_identity
from comp.jobs.shares import lock_run
from comp.metrics.reported import reported_metrics
from comp.plots.cv_report import render_cv, render_cv_lines
from comp.plots.tables import count_of, markdown_text
from comp.reports import write_cases
from comp.store import read_result, read_run
from comp.store.cv import summarise, write_cv
from comp.store.foreign_folds import VIEWS, write_folds_of
from comp.store.foreign_header import Refused
from comp.store.foreign_parts import Part, fingerprint, open_parts
from comp.store.foreign_table import Reading
from comp.store.foreign_values import Problems, store_for
from comp.store.history import note_run
from comp.store.probs import STORE_DTYPES
from comp.store.runs import FOREIGN, RESULT
from comp.store.started import write_started


@dataclass(frozen=True)
class Given:
    """What the command line names.

    Args:
        oof, test: a path, which may hold ``{fold}``: one a fold.
        oof_ids, test_ids: files of ids, of npy stacks.
        folds: their folds file; folds_hash: its hash; same_folds: their word. One of these.
    """

    oof: str
    test: str | None = None
    oof_ids: str | None = None
    test_ids: str | None = None
    folds: Path | None = None
    folds_hash: str | None = None
    same_folds: bool = False


def run(
    workspace: Workspace,
    competition: Competition,
    name: str,
    given: Given,
    store: str | None = None,
) -> dict[str, Any]:
    """Check, store, count and score somebody's predictions as the run `name`; return its cv.json value.

    Args:
        store: uint8 or uint16; default: uint16 where theirs are, else uint8.

    Raises:
        UsageError: the options do not fit each other.
        DataError: everything that is wrong with the predictions or their folds; nothing is written.
        RunMismatchError: the name is another run's.
    """
    check_options(given, store)
    check_name_is_free(workspace, name)
    root = data_root(workspace, competition)
    records = find_records(competition, root)
    check_test(given, records.test)
    table = read_folds(workspace, records)
    truth = open_cache(workspace.cache, competition, records.train)
    ids = [[table.ids[i] for i in table.validation(fold)] for fold in range(table.n_folds)]
    problems = Problems()
    for line in other_folds(table, given):
        problems.add(line)
    oof, test = open_both(competition, root, given, truth, records.test, ids, problems)
    for part in (*oof, *test):
        part.look(problems)
    refuse(problems, name)
    store = store or store_for({kind for part in (*oof, *test) for kind in part.seen.kinds})
    each_test = [part.ids for part in test for _ in part.folds]
    theirs = {
        "oof": fingerprint(oof, ids),
        "test": fingerprint(test, each_test),
        "store": store,
        "test_of_each_fold": len(test) == table.n_folds > 1,
    }
    shared = shared_identity(competition, table.hash, truth.content_hash)
    identity = {"config": {}, FOREIGN: theirs, **shared}
    folder = workspace.run(name)
    with contextlib.ExitStack() as held:
        lock_run(workspace, name, held)
        told = say_parts(oof, test, given, table, store)
        print("\n".join(told))
        if is_joined(workspace, name, digest(identity), table.n_folds):
            print(f"{name}: these very predictions are joined already; nothing to do")
            return dict(read_json(folder / "cv.json"))
        for stale in (folder, *folder.glob("fold*")):
            remove_temporaries(stale)
            if stale != folder:  # of a join that was cut short, perhaps under other folds
                (stale / RESULT).unlink(missing_ok=True)
        write_started(folder, workspace.root, [])
        write_json(folder / "config.json", {**identity, "config_hash": digest(identity)})
        said = {"run": name, "config_hash": digest(identity), "folds_hash": table.hash}
        said["test_hash"] = digest([record.image_id for record in records.test])

        def labels(image_id: str) -> np.ndarray:
            found = truth.labels(truth.number(image_id))
            if found is None:
                raise DataError(f"image {image_id!r} has no mask to score against")
            return found

        write_folds_of(folder, competition, said, oof, test, ids, labels, store)
        cv = report(workspace, competition, name, range(table.n_folds), truth, told)
    print("\n" + render_cv_lines(cv))
    print(f"report: {workspace.relative(folder / 'cv.md')}; `comp ensemble` takes it as a member")
    return cv


def check_options(given: Given, store: str | None) -> None:
    """Refuse options that do not fit each other."""
    if [given.folds is not None, given.folds_hash is not None, given.same_folds].count(True) != 1:
        raise UsageError(
            "say once which folds their models were trained on: --folds THEIR_FILE.csv (every image is "
            "compared), --folds-hash HASH (of a folds file of comp), or --same-folds (on your word)"
        )
    if store is not None and store not in STORE_DTYPES:
        raise UsageError(f"--store {store!r}: expected {' or '.join(STORE_DTYPES)}")
    if given.test is None and given.test_ids is not None:
        raise UsageError(f"--test-ids {given.test_ids}: there is no --test")


def check_test(given: Given, test: Sequence[Record]) -> None:
    """Refuse test predictions without test images, and the other way round."""
    if given.test is None and test:
        raise UsageError(
            f"--test is missing: the competition has {count_of(len(test), 'test image')}, and a submission "
            "needs every member's predictions of them"
        )
    if given.test is not None and not test:
        raise UsageError(f"--test {given.test}: the competition has no test images (data.test)")


def check_name_is_free(workspace: Workspace, name: str) -> None:
    """Refuse the name of a run that was trained here."""
    meta = workspace.run(name) / "config.json"
    if meta.is_file() and FOREIGN not in read_json(meta):
        raise RunMismatchError(
            f"{workspace.relative(meta.parent)} is a run of `comp cv`: join under another name"
        )


def is_joined(workspace: Workspace, name: str, config_hash: str, n_folds: int) -> bool:
    """True when these very predictions are joined and whole; a join that was cut short is made anew.

    Raises:
        RunMismatchError: other predictions, or a run of ours, have this name.
    """
    check_name_is_free(workspace, name)
    folder = workspace.run(name)
    if not (folder / "config.json").is_file():
        return False
    same = read_json(folder / "config.json").get("config_hash") == config_hash
    if not same and (folder / "cv.json").is_file():
        raise RunMismatchError(
            f"{workspace.relative(folder)} holds other predictions, or was joined on other folds or data: join "
            "under another name, or delete that folder"
        )
    try:
        whole = all(read_result(folder / f"fold{k}", verify=True) for k in range(n_folds))
        return same and whole and bool(read_json(folder / "cv.json")["complete"])
    except (CompError, KeyError):
        return False


def other_folds(table: FoldTable, given: Given) -> list[str]:
    """What of their folds is not ours, as far as they tell."""
    if given.folds is not None:
        return compare_folds(table, given.folds)
    if given.folds_hash is not None:
        return compare_hash(table, given.folds_hash, "--folds-hash")
    return []


def open_both(
    competition: Competition,
    root: Path,
    given: Given,
    truth: Cache,
    test: Sequence[Record],
    ids: Sequence[Sequence[str]],
    problems: Problems,
) -> tuple[list[Part], list[Part]]:
    """Open OOF and test predictions; what cannot be opened goes to `problems`.

    Args:
        ids: of each fold the images that it predicts out of fold.
    """
    how = Reading(
        decode=decode_probs,
        submission=settled_submission(competition, root),
        spell=spelled_as,
        n_classes=competition.n_classes,
        task=competition.task,
        background=competition.background,
    )
    files = {record.image_id: record.image for record in test}

    def train_size(image_id: str) -> tuple[int, int]:
        return truth.original_size(truth.number(image_id))

    def test_size(image_id: str) -> tuple[int, int]:
        return read_size(files[image_id])

    oof = open_parts(given.oof, given.oof_ids, "OOF", ids, train_size, how, problems)
    if given.test is None:
        return oof, []
    each = [list(files)] * len(ids)
    return oof, open_parts(given.test, given.test_ids, "test", each, test_size, how, problems)


def decode_probs(path: Path) -> np.ndarray:
    """(H, W, C) as a png or tif stores it; what cannot be probabilities is refused."""
    stored = decode(path, indices=True)
    if stored.lossy:
        raise Refused("compressed with loss, as JPEG; save png or tif")
    if stored.colors is not None:
        raise Refused("a picture with a palette; save grey")
    if stored.top is not None and stored.top != np.iinfo(stored.pixels.dtype).max:
        raise Refused("numbers of fewer than 8 or 16 bits", f"up to {stored.top}")
    return stored.pixels


def refuse(problems: Problems, name: str) -> None:
    """Say everything that is wrong at once."""
    if lines := problems.lines():
        raise DataError(f"{name} cannot be joined, nothing was written:\n  " + "\n  ".join(lines))


def say_parts(
    oof: Sequence[Part], test: Sequence[Part], given: Given, table: FoldTable, store: str
) -> list[str]:
    """What came, on which folds, and how it is stored: a line each."""
    told = [
        f"{part.where}: {count_of(len(part.ids), 'image')}"
        + (f", fold {part.folds[0]}" if len(part.folds) < table.n_folds else "")
        + f"; {part.seen.describe()}"
        for part in (*oof, *test)
    ]
    if test and len(test) < table.n_folds:
        told.append(
            f"one test prediction stands for all {count_of(table.n_folds, 'fold')}: fine to blend, refused by "
            "--pseudo, which needs each fold's own"
        )
    if given.same_folds:
        told.append(
            "warning: no folds were compared: that no model predicted an image it was trained on rests on the "
            "word of --same-folds; if it is wrong, scores and weights flatter this member"
        )
    else:
        by = given.folds.name if given.folds is not None else "--folds-hash"
        told.append(f"folds: {by} agrees with ours (hash {table.hash})")
    full = STORE_DTYPES[store][1]
    told.append(f"stored as {store}, rounded to the nearest 1/{full}")
    return told


def report(
    workspace: Workspace,
    competition: Competition,
    name: str,
    folds: Sequence[int],
    truth: Cache,
    told: Sequence[str],
) -> dict[str, Any]:
    """Write cv.json, cv.md, best.png and worst.png, and return cv.json's value."""
    found = read_run(workspace, name)
    cv = summarise(found, competition, folds, reported_metrics(competition))
    cv[FOREIGN] = list(told)
    write_cv(found, cv)
    note_run(workspace, name)
    lines = "\n".join(f"- {markdown_text(line)}" for line in told)
    commit(
        found.dir / "cv.md",
        f"{render_cv(cv)}\n## Joined from others: no weights, no config\n\n{lines}\n",
    )
    write_cases(found, competition, VIEWS, truth)
    return cv
