"""Words and tables of a study, from its rows, importances and verdict as they stand: the terminal and report.md."""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from comp.plots.tables import cell, count_of, duration, markdown_table, text_table
from comp.tuning.confirm import Verdict
from comp.tuning.importance import Importances
from comp.tuning.rows import COMPLETE, FAIL, PRUNED, RUNNING, STALE, Row

SHOWN = 15  # trials in the table
LONGEST, IN_TERMINAL = 28, 100  # letters of a category; of a trial's parameters
ERRORS = 3
STATES = {COMPLETE: "complete", PRUNED: "pruned", FAIL: "failed", RUNNING: "running"}
STATES[STALE] = "waiting"


@dataclass(frozen=True)
class TuneReport:
    """What a study found, for its tables and pictures.

    Args:
        config: the file that was tuned, as the user names it.
        objectives: the competition's metric first; greater_is_better: one each.
        folds: that trials were trained on, in their order.
        rows: one a trial, in order of their indices.
        space: what was searched, a line a parameter.
        logs: parameters that were searched on a log scale.
        front: indices of the Pareto front; empty with one objective.
        verdict: None: the best were not run again. seeds: those of running again.
        tuned: the config that was written; None: none.
        next_command: what to type now.
        notes: anything else that is to be said, a line each.
    """

    study: str
    competition: str
    config: str
    objectives: tuple[str, ...]
    greater_is_better: tuple[bool, ...]
    folds: tuple[int, ...]
    epochs: int
    rows: Sequence[Row]
    space: Sequence[str] = ()
    logs: frozenset[str] = frozenset()
    importances: Importances = field(default_factory=Importances)
    front: Sequence[int] = ()
    verdict: Verdict | None = None
    seeds: Sequence[int] = ()
    tuned: str | None = None
    next_command: str = ""
    pictures: Sequence[str] = ()
    notes: Sequence[str] = ()


def render_tune(report: TuneReport) -> str:
    """Write report.md: what was searched, what it found, whether it is real, what mattered, and how to go on."""
    better = "higher" if report.greater_is_better[0] else "lower"
    on = f"fold{'s' * (len(report.folds) != 1)} {', '.join(map(str, report.folds))}"
    parts = [
        f"# Study {report.study}: {report.config} on {report.competition}",
        f"**{report.objectives[0]}** ({better} is better), mean over {on}, "
        f"{count_of(report.epochs, 'epoch')} each: {trial_counts(report.rows)}.",
    ]
    parts += ["## Verdict", verdict_text(report)]
    if report.verdict is not None and report.verdict.gains:
        parts.append(markdown_table(*verdict_table(report)))
        parts.append(f"New seeds: {', '.join(map(str, report.seeds))}.")
    if len(report.objectives) > 1:
        parts += ["## Pareto front", markdown_table(*pareto_table(report)), PARETO]
    parts += ["## Trials", markdown_table(*trial_table(report))]
    if more := left_out(report):
        parts.append(more)
    if errors := error_lines(report.rows):
        parts.append("\n".join(f"- {code(line)}" for line in errors))
    parts += ["## What mattered", _importance_part(report)]
    if report.space:
        searched = [f"- {code(' '.join(line.split()))}" for line in report.space]
        parts += ["## What was searched", "\n".join(searched)]
    parts += [f"![{name.removesuffix('.png')}]({name})" for name in report.pictures]
    if report.notes:
        parts.append("\n".join(f"- {note}" for note in report.notes))
    if report.next_command:
        written = f"Written: {code(report.tuned)}. " if report.tuned else ""
        parts += ["## Next", f"{written}{code(report.next_command)}"]
    return "\n\n".join(parts) + "\n"


def render_tune_lines(report: TuneReport) -> str:
    """Say a study in a terminal: trials, what mattered, the verdict, the next command."""
    lines = [text_table(*trial_table(report, IN_TERMINAL))]
    if more := left_out(report):
        lines.append(more)
    lines += [f"  {line}" for line in error_lines(report.rows)]
    if len(report.objectives) > 1:
        lines += ["", "Pareto front:", text_table(*pareto_table(report)), PARETO]
    shares = report.importances.shares
    said = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
    lines += ["", f"what mattered: {said or no_importances(report)}"]
    if report.verdict is not None and report.verdict.gains:
        lines += ["", text_table(*verdict_table(report))]
    lines += ["", verdict_text(report), *report.notes]
    if report.tuned:
        lines.append(f"written: {report.tuned}")
    if report.next_command:
        lines.append(f"next: {report.next_command}")
    return "\n".join(lines)


PARETO = "No trial beats one of these in every objective at once."


def trial_counts(rows: Sequence[Row]) -> str:
    """``30 trials: 21 complete, 8 pruned, 1 failed``."""
    found = Counter(state_word(row) for row in rows)
    order = [*STATES.values(), "over a limit"]
    told = [f"{found[word]} {word}" for word in order if found[word]]
    return f"{count_of(len(rows), 'trial')}: {', '.join(told)}" if told else "no trials"


def state_word(row: Row) -> str:
    """A trial's state as a person says it."""
    return "over a limit" if row.over else STATES[row.state]


def state_text(row: Row) -> str:
    """A trial's state, with where it was pruned."""
    if row.over:
        return f"over the limit of {' and '.join(row.over)}"
    if (place := row.pruned_at) is not None:
        return f"pruned at fold {place[0]}, epoch {place[1]}"
    return state_word(row)


def best_first(report: TuneReport) -> list[Row]:
    """The rows: complete ones by value, then those over a limit, pruned, running and failed ones by index."""
    order = [*STATES.values()]
    sign = -1.0 if report.greater_is_better[0] else 1.0

    def key(row: Row) -> tuple[int, float, int]:
        value = row.value if row.value is not None and math.isfinite(row.value) else None
        place = 1 if row.over else 2 * order.index(STATES[row.state])
        return place, math.inf if value is None else sign * value, row.index

    return sorted(report.rows, key=key)


def trial_table(
    report: TuneReport, letters: int | None = None
) -> tuple[list[str], list[list[object]]]:
    """Headers and rows: the best trials, and the untuned one wherever it stands.

    Args:
        letters: of the parameters at most.
    """
    ranked = best_first(report)
    shown = ranked[:SHOWN] + [row for row in ranked[SHOWN:] if row.index == 0]
    names = short_names(name for row in report.rows for name in row.params)
    folds = [f"fold {fold}" for fold in report.folds] if len(report.folds) > 1 else []
    timed = "seconds" not in report.objectives
    headers = ["trial", *report.objectives, *folds, *["time"] * timed, "state", "parameters"]
    table: list[list[object]] = []
    for row in shown:
        scores: Mapping[str, Any] = row.attrs.get("scores") or {}
        table.append(
            [
                "0 (untuned)" if row.index == 0 else str(row.index),
                *objective_cells(row, report),
                *(scores.get(str(fold)) for fold in report.folds if folds),
                *[duration(row.seconds)] * timed,
                state_text(row),
                cut(parameters_text(row.params, names), letters),
            ]
        )
    return headers, table


def objective_cells(row: Row, report: TuneReport) -> list[object]:
    """A trial's values: the metric as it stands, costs with four digits."""
    if not row.values:
        return [None] * len(report.objectives)
    return [row.values[0], *(f"{value:.4g}" for value in row.values[1:])]


def left_out(report: TuneReport) -> str:
    """What the table does not show."""
    rest = [row for row in best_first(report)[SHOWN:] if row.index != 0]
    return f"Not shown: {trial_counts(rest)}." if rest else ""


def error_lines(rows: Sequence[Row]) -> list[str]:
    """What failed trials said: the first of each kind."""
    seen: dict[str, list[int]] = {}
    for row in rows:
        if row.error:
            seen.setdefault(row.error.strip().splitlines()[0], []).append(row.index)
    lines = [
        f"trial {indices[0]}{f' and {len(indices) - 1} more' if len(indices) > 1 else ''}: {error}"
        for error, indices in seen.items()
    ]
    rest = [f"{len(lines) - ERRORS} more kinds of errors"] if len(lines) > ERRORS else []
    return lines[:ERRORS] + rest


def pareto_table(report: TuneReport) -> tuple[list[str], list[list[object]]]:
    """Headers and rows: the front in its order."""
    rows = {row.index: row for row in report.rows}
    names = short_names(name for row in report.rows for name in row.params)
    table: list[list[object]] = [
        [
            "0 (untuned)" if index == 0 else str(index),
            *objective_cells(rows[index], report),
            parameters_text(rows[index].params, names),
        ]
        for index in report.front
    ]
    return ["trial", *report.objectives, "parameters"], table


def verdict_text(report: TuneReport) -> str:
    """The verdict's sentence, or that nothing was confirmed."""
    if report.verdict is not None:
        return report.verdict.sentence[:1].upper() + report.verdict.sentence[1:] + "."
    return (
        "Not confirmed: the best of many noisy scores flatters, and nothing here says that it is better than "
        "the untuned config. `--confirm 3` runs the best again with three new seeds."
    )


def verdict_table(report: TuneReport) -> tuple[list[str], list[list[object]]]:
    """Headers and rows: the untuned config and each that was run again."""
    verdict = report.verdict
    assert verdict is not None
    searched = {row.index: row.value for row in report.rows}
    rows: list[list[object]] = [["untuned", searched.get(0), verdict.baseline, "", ""]]
    for index in sorted(verdict.gains, key=lambda i: -verdict.gains[i][0]):
        gain, error = verdict.gains[index]
        rows.append(
            [f"trial {index}", searched.get(index), verdict.scores[index], f"{gain:+.4f}", error]
        )
    for index in verdict.failed:
        rows.append([f"trial {index}", searched.get(index), None, "failed", None])
    return ["run again", "in the search", "with new seeds", "gain", "+-"], rows


def no_importances(report: TuneReport) -> str:
    """Why there are none."""
    return report.importances.why or "not computed"


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Dotted paths without what a reader can do without: ``optim.lr`` is lr, ``loss.dice.weight`` dice.weight,
    ``augment.1.Blur.p`` Blur.p."""
    paths = list(dict.fromkeys(names))
    short: dict[str, str] = {}
    for path in paths:
        parts = path.split(".")
        numbers = [n for n, part in enumerate(parts) if part.isdigit()]
        rest = parts[numbers[0] + 1 :] if numbers else parts[1:][-2:] or parts
        short[path] = ".".join(rest) if len(rest) > 1 or not numbers else path
    tails = list(short.values())
    return {path: tail if tails.count(tail) == 1 else path for path, tail in short.items()}


def parameters_text(params: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """``lr=0.00213 encoder_name=resnet34``, in the order of `names`."""
    told = [(short, params[name]) for name, short in names.items() if name in params]
    return " ".join(f"{short}={value_text(value)}" for short, value in told)


def value_text(value: Any) -> str:
    """A parameter's value in a few letters: ``0.00213``, ``resnet34``, ``poly power=0.9``."""
    if isinstance(value, float):
        return f"{value:.3g}"
    read = value
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            read = json.loads(value)  # categories are kept as JSON
    if isinstance(read, dict) and "name" in read:
        rest = " ".join(f"{k}={v}" for k, v in read.items() if k != "name")
        text = f"{read['name']} {rest}".strip()
    elif isinstance(read, (dict, list)):
        text = json.dumps(read, ensure_ascii=False)
    else:
        text = "null" if read is None else str(read)
    return cut(text, LONGEST)


def cut(text: str, letters: int | None) -> str:
    """`text`, of so many letters at most."""
    return text if letters is None or len(text) <= letters else text[: letters - 1] + "…"


def code(text: str) -> str:
    """Text that Markdown shows as it stands."""
    return f"`{cell(text).replace('`', chr(39))}`" if text else ""


def _importance_part(report: TuneReport) -> str:
    """The table of importances, or why there is none."""
    shares = report.importances.shares
    if not shares:
        return f"No importances: {no_importances(report)}."
    rows = [[name, f"{100 * share:.1f} %"] for name, share in shares.items()]
    note = (
        f"PED-ANOVA over {count_of(report.importances.n_trials, 'complete trial')}: how much a parameter tells "
        "the better trials from the others, within what was tried."
    )
    return markdown_table(["parameter", "importance"], rows, "lr") + "\n\n" + note
