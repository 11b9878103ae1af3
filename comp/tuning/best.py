"""What a study leaves to go on with: the tuned config of its best trial, and the next command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from comp.config import Tuned
from comp.config.reading import read_layers
from comp.tuning.confirming import Confirmed
from comp.tuning.making import Maker
from comp.tuning.rows import COMPLETE, Row
from comp.tuning.space import trial_config
from comp.tuning.tuned import Written, write_tuned
from comp.tuning.wanted import Wanted


def write_best(
    maker: Maker,
    wanted: Wanted,
    path: Path,
    rows: Sequence[Row],
    found: Confirmed | None,
    greater_is_better: bool,
) -> Written | None:
    """Write the tuned config: of the trial that confirming chose, else of the best; None: the untuned one is."""
    chosen = None if found is None else found.verdict.candidate
    if chosen is None or found is None:
        first = [row for row in rows if row.state == COMPLETE and row.feasible]
        sign = 1.0 if greater_is_better else -1.0
        best = max(first, key=lambda row: (sign * (row.value or 0.0), -row.index), default=None)
        if best is None or best.index == 0:
            return None
        chosen, params = best.index, best.params
    else:
        params = found.params[chosen]
    row = next(row for row in rows if row.index == chosen)
    assert maker.workspace.study is not None and row.value is not None
    layers = read_layers(path, wanted.overrides)
    trained = trial_config(layers, maker.space, params).train.epochs
    said = [] if found is None else [found.verdict.sentence]
    short = wanted.epochs not in (None, trained)
    if short:
        said.append(
            f"In the study a fold trained {wanted.epochs} epochs, this config trains {trained}: what is best may "
            "differ."
        )
    written = write_tuned(
        replace(maker.workspace, study=None),
        layers,
        maker.space,
        params,
        Tuned(
            study=maker.workspace.study,
            trials=len(rows),
            folds=tuple(maker.folds),
            folds_hash=maker.shared["folds_hash"],
            confirmed=() if found is None or len(found.verdict.scores) < 2 else tuple(found.folds),
        ),
        metric=maker.competition.metric_name,
        value=row.value,
        verdict="; ".join(said) or None,
        real=None if found is None else found.verdict.real,
    )
    return written._replace(notes=(*written.notes, said[-1])) if short else written


def next_command(path: Path, tuned: Written | None, found: Confirmed | None) -> str:
    """What to type now: the tuned config where it is better, as far as anybody knows; else the untuned one."""
    worse = found is not None and not found.verdict.real
    name = path.name if tuned is None or worse else tuned.path.name
    return f"comp cv --config {name}"
