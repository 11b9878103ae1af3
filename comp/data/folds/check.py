"""Names and combinations in a competition file, looked up in the tables that hold them."""

from __future__ import annotations

from comp.config import Competition, Folds
from comp.data.folds.scheme_names import unknown_scheme
from comp.data.folds.schemes import AT_RANDOM, FOLD_SCHEMES, GROUPED
from comp.errors import ConfigError
from comp.formats.maps import make_meaning
from comp.formats.rle_table import check_layout
from comp.metrics.scores import find_metric


def check_competition(competition: Competition) -> list[str]:
    """Every mistake that only a later command would stumble over, one line each."""
    problems: list[str] = []
    try:
        find_metric(competition.metric_name)
    except ConfigError as error:
        problems += [f"metric: {problem}" for problem in error.problems]
    problems += _check_folds(competition.folds)
    if competition.data.test is not None:
        try:
            if competition.submission.format == "geotiff":
                make_meaning(competition.submission, competition.task, competition.classes)
            else:
                check_layout(competition.submission, competition.n_classes)
        except ConfigError as error:
            problems += error.problems
    return [f"competition {competition.name}: {problem}" for problem in problems]


def _check_folds(folds: Folds) -> list[str]:
    scheme = folds.scheme
    if scheme not in FOLD_SCHEMES:
        return [f"folds.scheme: {unknown_scheme(scheme)}"]
    problems = []
    if scheme in GROUPED and folds.group is None:
        problems.append(
            f"folds.group: scheme {scheme} needs a column of data.meta (a CSV relative to data.root, one row"
            " an image, ids in data.meta_id_column), or auto, names or folders"
        )
    if scheme == "time" and folds.time is None:
        problems.append("folds.time: scheme time needs a column of data.meta")
    if folds.n_repeats > 1 and scheme not in AT_RANDOM:
        problems.append(
            f"folds.n_repeats: scheme {scheme} divides in one way only; "
            f"schemes that repeat: {', '.join(AT_RANDOM)}"
        )
    return problems
