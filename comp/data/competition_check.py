"""Names and combinations in a competition file, looked up in the tables that hold them."""

from __future__ import annotations

from comp.config import Competition
from comp.data.schemes import FOLD_SCHEMES, GROUPED
from comp.errors import ConfigError
from comp.formats.rle_table import check_layout
from comp.metrics.scores import find_metric
from comp.registry import unknown


def check_competition(competition: Competition) -> list[str]:
    """Every mistake that only a later command would stumble over, one line each."""
    problems: list[str] = []
    try:
        find_metric(competition.metric_name)
    except ConfigError as error:
        problems += [f"metric: {problem}" for problem in error.problems]
    if competition.folds.scheme not in FOLD_SCHEMES:
        problems.append(
            f"folds.scheme: {unknown(competition.folds.scheme, FOLD_SCHEMES, 'fold scheme')}"
        )
    elif competition.folds.scheme in GROUPED and competition.folds.group is None:
        problems.append(
            f"folds.group: scheme {competition.folds.scheme} needs a column of data.meta"
        )
    if competition.data.test is not None:
        try:
            check_layout(competition.submission, competition.n_classes)
        except ConfigError as error:
            problems += error.problems
    return [f"competition {competition.name}: {problem}" for problem in problems]
