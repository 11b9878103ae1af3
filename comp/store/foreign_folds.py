"""Somebody else's predictions as folds of a run: probabilities, counts, and `result.json` last of all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from comp.config import Competition
from comp.errors import DataError
from comp.files import commit_file, discard, disk_error, remove, temporary_or_disk_error
from comp.masks.decide import decide
from comp.metrics.counts import count_image
from comp.metrics.reported import reported_metrics
from comp.metrics.scores import score_counts
from comp.store.foreign import gather
from comp.store.foreign_parts import Part
from comp.store.foreign_values import Problems, to_stored
from comp.store.probs import ProbsWriter, probs_files
from comp.store.runs import RESULT, write_counts, write_result

VIEWS = "none"  # views are chosen by name: theirs, if they had any, are in their numbers


def write_folds_of(
    folder: Path,
    competition: Competition,
    said: Mapping[str, Any],
    oof: Sequence[Part],
    test: Sequence[Part],
    ids: Sequence[Sequence[str]],
    labels: Callable[[str], np.ndarray],
    store: str,
) -> None:
    """Write every fold of a run.

    Args:
        folder: of the run.
        said: what every result.json says: run, config_hash, folds_hash, test_hash.
        ids: of each fold the images that are predicted.
        labels: image_id -> its truth.
        store: uint8 or uint16.

    Raises:
        DataError: a file changed since it was looked at.
    """
    oof_of = {fold: part for part in oof for fold in part.folds}
    test_of = {fold: part for part in test for fold in part.folds}
    for fold, wanted in enumerate(ids):
        target = folder / f"fold{fold}"
        remove(target / RESULT)
        files, counts = write_part(
            oof_of[fold], wanted, target / f"oof.{VIEWS}", store, competition, labels
        )
        table = target / f"oof.{VIEWS}.counts.csv"
        write_counts(table, wanted, counts, competition.classes)
        files.append(table)
        if part := test_of.get(fold):
            stem = target / f"test.{VIEWS}"
            first = folder / f"fold{part.folds[0]}" / f"test.{VIEWS}"
            if fold == part.folds[0]:
                files += write_part(part, part.ids, stem, store, competition)[0]
            else:
                files += [
                    link(one, two)
                    for one, two in zip(probs_files(first), probs_files(stem), strict=True)
                ]
        scores = {m: score_counts(m, counts) for m in reported_metrics(competition)}
        result = {
            "fold": fold,
            "competition": competition.name,
            "task": competition.task,
            "classes": list(competition.classes),
            "metric": competition.metric_name,
            "views": {VIEWS: scores},
            "score": scores[competition.metric_name],
            "weights": "theirs",
            "scores": {},
            "best_epoch": None,
            "epochs": None,
            "seconds": None,
            "n_parameters": None,
            "precision": None,
            "n_images": len(wanted),
            "heldout": None,
            "has_test": bool(test),
            "foreign": True,
            **said,
        }
        write_result(target, result, [file.name for file in files])


def write_part(
    part: Part,
    ids: Sequence[str],
    stem: Path,
    store: str,
    competition: Competition,
    labels: Callable[[str], np.ndarray] | None = None,
) -> tuple[list[Path], np.ndarray]:
    """Store the planes of some images of a part, and count them against their labels.

    Returns:
        the files; counts (N, K, 4) int64 in the order of `ids`, none without labels.
    """
    counts: list[np.ndarray] = []
    problems = Problems()
    with ProbsWriter(stem, store) as writer:

        def keep(image_id: str, planes: np.ndarray) -> None:
            q = to_stored(planes, store)
            writer.append(image_id, q)
            if labels is not None:
                mask = decide(q, competition.task)
                truth = labels(image_id)
                counts.append(count_image(mask, truth, competition.task, competition.n_classes))

        gather(part.source, ids, part.size_of, part.n_planes, problems, part.where, keep, some=True)
        if problems.found:
            raise DataError(
                "changed while it was read:\n  " + "\n  ".join(problems.lines()) + "\njoin it again"
            )
        files = writer.commit()
    return files, np.stack(counts) if counts else np.zeros((0, part.n_planes, 4), np.int64)


def link(one: Path, two: Path) -> Path:
    """`two` as a second name of the finished file `one`; as a copy where the disk knows no such names."""
    made = temporary_or_disk_error(two)
    try:
        try:
            os.link(one, made)
        except OSError:
            shutil.copyfile(one, made)
    except OSError as error:
        discard(made)
        raise disk_error(two, one.stat().st_size, error) from error
    remove(two)  # a name of the same file would stay beside it
    return commit_file(made, two)
