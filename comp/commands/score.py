"""`comp score`: a submission against an answer key, public and private parts apart.

A key holds no ignored pixels: where the truth was left unlabelled, every class counts as
background, so a score here can lie below the cross-validated one, which leaves such pixels out.
Objects are scored as the union of their pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from comp.config import Competition, data_root
from comp.errors import DataError, SubmissionError, some
from comp.files import Workspace, commit, read_json, sha256, write_json
from comp.formats.answer_key import AnswerKey, part_masks, read_key
from comp.formats.maps import read_maps
from comp.formats.reading import RleTable, compare_keys, gather, refuse
from comp.formats.rle_table import FORMATS, columns_of
from comp.formats.table import read_table
from comp.metrics.counts import count_runs
from comp.metrics.scores import METRICS, find_metric, image_scores, per_class, score_counts
from comp.plots.tables import count_of, csv_table

SizeOf = Callable[[str], tuple[int, int]]


def run(
    submission: Path,
    solution: Path,
    competition: Competition | None,
    workspace_sizes: SizeOf | None,
    metrics: list[str],
    per_image: Path | None,
) -> dict[str, Any]:
    """Score a submission and print the table.

    Args:
        competition: its submission section reads both files where the key has its columns; None, or another
            key: the columns are recognised by name (column-major, first pixel 1, blank for empty).
        workspace_sizes: image_id -> (height, width), for keys without Height and Width columns;
            `image_sizes` makes one.
        metrics: names, the first heads the table; none: the competition's metric and every other.
        per_image: where to write each image's counts and scores.

    Returns:
        metric, greater_is_better, scores {part: {metric: value}}, per_class {part: {class: value or
        None}}, n_images {part: n}, classes, submission, solution.

    Raises:
        SubmissionError: all that is wrong with columns, ids and cells, at once.
        UnknownNameError: a metric.
    """
    key = read_key(solution, competition)
    default = key.competition.metric_name if key.competition else None
    headline = (
        metrics[0]
        if metrics
        else default or ("iou_dataset_macro" if len(key.names) > 1 else "iou_image_mean")
    )
    names = list(dict.fromkeys(metrics or [headline, *METRICS]))
    found = [find_metric(name) for name in names]  # a misspelt name is said before any work
    counts = count_submission(submission, key, workspace_sizes, competition)
    parts = part_masks(key)
    scores = {
        part: {name: score_counts(name, counts[rows]) for name in names}
        for part, rows in parts.items()
    }
    classes = {
        part: dict(zip(key.names, per_class(headline, counts[rows]), strict=True))
        for part, rows in parts.items()
    }
    result = {
        "metric": headline,
        "greater_is_better": found[0].greater_is_better,
        "scores": scores,
        "per_class": classes,
        "n_images": {part: int(rows.sum()) for part, rows in parts.items()},
        "classes": list(key.names),
        "submission": str(submission),
        "solution": str(solution),
    }
    print(report(result, key))
    write_to_card(submission, result)
    if per_image is not None:
        commit(per_image, image_table(key, counts))
        print(f"each image: {per_image}")
    return result


def count_submission(
    submission: Path,
    key: AnswerKey,
    workspace_sizes: SizeOf | None,
    competition: Competition | None = None,
) -> np.ndarray:
    """Check a submission against a key and count it, runs against runs.

    Args:
        competition: whose columns the submission has when it is the key that is wrong.

    Returns:
        (N, K, 4) int64 tp, fp, fn, tn, images in the order of ``key.ids``.

    Raises:
        SubmissionError: everything that is wrong, at once.
    """
    problems: list[str] = []
    table, sizes = read_rows(submission, key, competition, problems)
    model = key.table.source
    counts = np.zeros((len(key.ids), len(key.names), 4), np.int64)
    for row, image_id in enumerate(key.ids):
        try:
            height, width = key.size_of(image_id, workspace_sizes)
        except DataError as error:
            problems.append(str(error))
            break  # the next image would say the same
        if sizes.get(image_id, (height, width)) != (height, width):
            got, of = " x ".join(map(str, sizes[image_id])), f"{height} x {width}"
            problems.append(f"{table.source}: id {image_id!r}: a mask of {got}, its image is {of}")
            continue
        for k in range(len(key.names)):
            decided = table.runs(image_id, k, height, width, problems)
            # an answer key may hold objects that overlap by a few pixels (DSB 2018 does): their
            # union counts
            truth = key.table.runs(image_id, k, height, width, problems, apart=False)
            counts[row, k] = count_runs(decided, truth, height * width)
    refuse(problems)
    several = any(len(rows) > 1 for rows in key.table.cells.values())
    if several and all(len(rows) == 1 for rows in table.cells.values()):
        print(
            f"{model} has one row an object, {submission.name} one row an image"
            f"{' and class' if len(key.names) > 1 else ''}: objects are scored as their union"
        )
    return counts


def read_rows(
    submission: Path, key: AnswerKey, competition: Competition | None, problems: list[str]
) -> tuple[RleTable, Mapping[str, tuple[int, int]]]:
    """Read a CSV, or a zip of tif masks, by the key's classes; what is wrong goes to `problems`.

    Returns:
        the table; and image_id -> (height, width) where the submission says.
    """
    layout = key.table.submission
    if submission.suffix.lower() == ".zip":
        table, sizes = read_maps(
            submission, layout, key.table.names, key.names, competition, problems
        )
        compare_keys(table, key.table.cells, problems)
        return table, sizes
    frame = read_table(submission, SubmissionError)
    check_key_columns(list(frame.columns), key, competition)
    model = key.table.source
    names, known = key.table.names, key.table.ids
    table = gather(frame, submission.name, layout, names, problems, key.columns, model, known)
    if layout.id_column in frame:
        compare_keys(table, key.table.cells, problems)
        problems += compare_rows(table, key.table)
    return table, {}


def check_key_columns(
    columns: Sequence[str], key: AnswerKey, competition: Competition | None
) -> None:
    """Refuse a key whose columns are not the competition's when the submission's are.

    Raises:
        SubmissionError: naming the key.
    """
    if competition is None or key.competition is not None:
        return
    ours, theirs = columns_of(competition.submission), columns_of(key.table.submission)
    if set(ours) <= set(columns) and not set(theirs) <= set(columns):
        raise SubmissionError(
            f"{key.table.source}: expected the columns {', '.join(ours)} of competition "
            f"{competition.name!r}, which the submission has; got {', '.join(key.columns)}; rename "
            "the key's columns, or name the right key with --solution"
        )


def compare_rows(table: RleTable, key: RleTable) -> list[str]:
    """What to do when one table has a row an object and the other a row an image, or no id in common."""
    found: list[str] = []
    repeated = any(len(rows) > 1 for rows in table.cells.values())
    if repeated and not FORMATS[key.submission.row].repeats:
        found.append(
            f"{table.source}: has several rows an id, {key.source} has one: if each row is an object, "
            "join the runs of an image (and class) in one cell, as `comp submit` does with "
            f"submission.row: {key.submission.row}"
        )
    if table.ids and key.ids and not set(table.ids) & set(key.ids):
        found.append(
            f"{key.source}: none of its ids ({some(key.ids, 3)}) is in {table.source} "
            f"({some(table.ids, 3)}); is it the right key? Name another with --solution"
        )
    return found


def write_to_card(submission: Path, result: dict[str, Any]) -> None:
    """Keep the scores in the submission's card, where there is one, for `comp leaderboard`."""
    card = submission.with_suffix(".json")
    if not card.is_file():
        return
    said = read_json(card)
    if not isinstance(said, dict) or said.get("sha256") != sha256(submission):
        return  # another file's card, or the submission was changed since
    kept = {key: result[key] for key in ("metric", "scores", "per_class", "n_images", "solution")}
    write_json(card, {**said, "scores": kept})
    print(f"kept in the card: {card}")


def image_sizes(workspace: Workspace, competition: Competition) -> SizeOf:
    """Return image_id -> (height, width), read from the competition's image files on demand."""
    known: dict[str, Path] = {}

    def size_of(image_id: str) -> tuple[int, int]:
        from comp.data.images.decode import read_size
        from comp.data.sources.records import find_records
        from comp.data.sources.spelled import spelled_with_underscores

        if not known:
            records = find_records(competition, data_root(workspace, competition))
            every = (*records.train, *records.test)
            own = {record.image_id: record.image for record in every}
            joined = spelled_with_underscores(own)
            known.update({cell: own[image_id] for cell, image_id in joined.items()} | own)
        if image_id not in known:
            raise SubmissionError(
                f"id {image_id!r} of the answer key is no image of competition "
                f"{competition.name!r}, so its size is "
                "unknown; is this the right key? Columns Height and Width in the key would also do"
            )
        return read_size(known[image_id])

    return size_of


def report(result: dict[str, Any], key: AnswerKey) -> str:
    """The printed table: metrics by part, then the classes of the first metric."""
    parts = list(result["scores"])
    metrics = list(result["scores"][parts[0]])
    several = len(key.names) > 1
    n_images = result["n_images"]
    rows: list[tuple[str, list[float | None]]] = [
        (name, [result["scores"][part][name] for part in parts]) for name in metrics
    ]
    if several:
        rows += [
            (f"  {name}", [result["per_class"][part][name] for part in parts]) for name in key.names
        ]
    wide = max(len("images"), *(len(name) for name, _ in rows))
    head = f"{'':{wide}}" + "".join(f"{part:>12}" for part in parts)
    lines = [
        f"{Path(result['submission']).name} against {Path(result['solution']).name}: {key.said}",
        head,
        f"{'images':{wide}}" + "".join(f"{n_images[part]:>12}" for part in parts),
    ]
    for at, (name, values) in enumerate(rows):
        if several and at == len(metrics):
            lines.append(f"{result['metric']} of each class:")
        lines.append(
            f"{name:{wide}}"
            + "".join(f"{'-' if v is None else format(v, '.6f'):>12}" for v in values)
        )
    if key.n_ignored:
        lines.append(f"{count_of(key.n_ignored, 'image')} whose Usage is Ignored: scored nowhere")
    return "\n".join(lines)


def image_table(key: AnswerKey, counts: np.ndarray) -> bytes:
    """The CSV of each image and class: counts and scores, in the order of the image ids."""
    scores = image_scores(counts)
    header = ["image_id", "class", "usage", "tp", "fp", "fn", "tn", *scores]
    rows = [
        [image_id, name, key.usage.get(image_id, ""), *counts[i, k].tolist()]
        + [format(values[i, k], ".6f") for values in scores.values()]
        for i, image_id in enumerate(key.ids)
        for k, name in enumerate(key.names)
    ]
    return csv_table(header, rows).encode()  # for people: ids that are formulas are guarded
