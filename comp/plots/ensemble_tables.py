"""Tables of an ensemble: a few lines for the terminal and a page of markdown. Computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comp.plots.ensemble_values import adds, limits, optimism_row, render_worth, seconds
from comp.plots.tables import (
    NOTHING,
    cell,
    count_of,
    duration,
    markdown_table,
    markdown_text,
    text_table,
)

NUMBERS = (
    (
        "cross_fitted",
        "cross-fitted",
        "fitted on the other parts, scored on each part: the number to believe",
    ),
    ("as_fitted", "as fitted", "fitted and scored on the same images: flatters"),
    (
        "uniform",
        "uniform",
        "equal weights, threshold 0.5; views chosen on the other parts",
    ),
    (
        "best_single",
        "best single",
        "one member alone at threshold 0.5, chosen on the other parts",
    ),
)
FLATTERED = (
    (
        "uniform_as_fitted",
        "uniform, as fitted",
        "views chosen on the images they are scored on",
    ),
    (
        "best_single_as_fitted",
        "best single, as fitted",
        "chosen on the images it is scored on",
    ),
)


VARIANTS = {"fitted": "fitted blend", "uniform": "uniform blend", "single": "best single"}


def render_ensemble_lines(
    recipe: Mapping[str, Any], judged: Mapping[str, Any] | None = None
) -> str:
    """The JSON values of recipe.json and judged.json as a few lines for the terminal."""
    scores = recipe["scores"]
    shares = {m["run"]: share(m["weight"], recipe["members"]) for m in recipe["members"]}
    numbers = [[label, scores[key], _range(judged, key)] for key, label, _ in NUMBERS]
    numbers += [row[:3] for row in optimism_row(judged)] if judged else []
    numbers += [[label, value, ""] for label, value, *_ in _heldout(recipe)]
    worth = {row["run"]: row for row in judged["members"]} if judged else {}
    members = []
    for run, score in scores["singles"].items():
        told = worth.get(run)
        more = ["", ""] if told is None else [adds(told), seconds(told["seconds_an_image"])]
        members.append([run, score, shares.get(run, "0 %"), *more])
    wide = judged is not None
    return "\n".join(
        [
            f"ensemble {recipe['name']}, {count_of(recipe['n_images'], 'image')}",
            _narrowed(["", recipe["metric"], "95 % interval"], numbers, 3 if wide else 2),
            "",
            _narrowed(["member", "alone", "weight", "adds", "s/image"], members, 5 if wide else 3),
            "",
            f"used: {recipe['chosen']} ({settings(recipe)})",
            f"  {recipe['reason']}",
        ]
    )


def _narrowed(headers: list[str], rows: list[list[Any]], n: int) -> str:
    """The first `n` columns as text, words left and the rest right."""
    return text_table(headers[:n], [row[:n] for row in rows], "l" + "r" * (n - 1))


def _range(judged: Mapping[str, Any] | None, key: str) -> str:
    """The interval of one of the numbers; nothing where none was made."""
    return "" if judged is None else limits(judged["intervals"].get(key))


def render_ensemble(
    recipe: Mapping[str, Any],
    parts: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
    judged: Mapping[str, Any] | None = None,
) -> str:
    """The report in markdown.

    Args:
        recipe: the JSON value of recipe.json.
        parts: one a held-out part: name, n_images, score, weights (run -> share), thresholds,
            clean_up (sentences), method.
        notes: sentences the reader must know, such as runs left out.
        judged: the JSON value of judged.json: intervals, what members are worth.
    """
    scores = recipe["scores"]
    metric = recipe["metric"]
    numbers = [
        [label, scores[key], _range(judged, key), says] for key, label, says in NUMBERS + FLATTERED
    ]
    numbers[len(NUMBERS) : len(NUMBERS)] = optimism_row(judged) if judged else []
    numbers += [[label, value, "", says] for label, value, says in _heldout(recipe)]
    gains = [[k, signed(v[0]), v[1]] for k, v in scores["errors"].items()]
    blocks = [
        f"# Ensemble {recipe['name']}",
        f"Competition {recipe['competition']}, task {recipe['task']}, "
        f"{count_of(recipe['n_images'], 'image')}, folds {', '.join(map(str, recipe['folds']))}. "
        f"Made {recipe['created']}.",
        f"**Used: {recipe['chosen']}** ({settings(recipe)}). {markdown_text(sentence(recipe['reason']))}",
        markdown_table([metric, "score", "95 % interval", "what it says"], numbers, "lrrl"),
    ]
    if gains:
        blocks.append(markdown_table(["gain", "value", "standard error"], gains, "lrr"))
    blocks += ["## Members", _members(recipe)]
    if judged is not None:
        shares = {m["run"]: share(m["weight"], recipe["members"]) for m in recipe["members"]}
        blocks += render_worth(judged, shares)
    if scores["per_class"]:
        rows = [list(item) for item in scores["per_class"].items()]
        blocks += ["## Classes", markdown_table(["class", metric], rows)]
    if parts:
        blocks += ["## Fitted without each part", _parts(parts)]
    if notes:
        blocks += ["## Notes", "\n".join(f"- {markdown_text(cell(note))}" for note in notes)]
    return "\n\n".join(blocks) + "\n"


def _heldout(recipe: Mapping[str, Any]) -> list[list[Any]]:
    """The final score as a row of the numbers; nothing where no image was held out for it."""
    found = recipe["scores"]["heldout"]
    if found is None:
        return []
    says = f"what is used, on {count_of(found['n_images'], 'image')} that nothing was trained or chosen on"
    return [["held out", found[recipe["metric"]], f"{says}: the final score"]]


def _members(recipe: Mapping[str, Any]) -> str:
    taken = {member["run"]: member for member in recipe["members"]}
    rows: list[list[object]] = []
    for run, score in recipe["scores"]["singles"].items():
        member = taken.get(run)
        if member is None:
            rows.append([run, NOTHING, 0, "0 %", score])
        else:
            part = share(member["weight"], recipe["members"])
            rows.append([run, member["views"], member["weight"], part, score])
    return markdown_table(["run", "views", "weight", "share", "alone"], rows, "llrrr")


def _parts(parts: Sequence[Mapping[str, Any]]) -> str:
    headers = ["held out", "images", "score", "weights", "threshold", "clean-up", "method"]
    rows = []
    for part in parts:
        weights = ", ".join(f"{run} {value}" for run, value in part["weights"].items())
        cut = cuts(part["thresholds"])
        cleaned = "; ".join(part["clean_up"]) or NOTHING
        row = [part["name"], part["n_images"], part["score"], weights, cut, cleaned]
        rows.append([*row, part["method"]])
    return markdown_table(headers, rows, "lrrllll")


def settings(recipe: Mapping[str, Any]) -> str:
    """Method, thresholds and clean-up in a few words."""
    said = [f"weights {recipe['method']}"]
    if recipe["thresholds"] is not None:
        said.append(f"threshold {cuts(recipe['thresholds'])}")
    if recipe["min_area_px"] > 1:
        said.append(f"objects below {recipe['min_area_px']} px removed")
    said += recipe.get("clean_up", {}).get("words", [])
    return ", ".join(said)


def cuts(thresholds: Sequence[float] | None) -> str:
    """``0.5`` or ``0.47, 0.53``; a dash where there are none."""
    return NOTHING if thresholds is None else ", ".join(f"{t:.3g}" for t in thresholds)


def share(weight: int, members: Sequence[Mapping[str, Any]]) -> str:
    """A member's part of the blend in per cent."""
    return f"{100 * weight / sum(m['weight'] for m in members):.3g} %"


def signed(value: float | None) -> str:
    """Four decimals with a sign."""
    return NOTHING if value is None else f"{value:+.4f}"


def sentence(text: str) -> str:
    """First letter upper case, a full stop at the end."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def render_leaderboard(board: Mapping[str, Any]) -> str:
    """Runs, ensembles and submissions as aligned text; empty parts say how to fill them.

    Args:
        board: what `comp leaderboard` gathered: metric, runs, ensembles, submissions, problems.
    """
    arrow = "higher is better" if board["greater_is_better"] else "lower is better"
    blocks = [f"{board['competition']}: {board['metric']}, {arrow}"]
    blocks.append(
        "runs (out of fold)\n" + (_runs(board["runs"]) or "  none yet: comp cv --config A")
    )
    ensembles = _ensembles(board["ensembles"]) or "  none yet: comp ensemble"
    blocks.append(
        "ensembles (cross-fitted is the honest number; used: what submissions are made of, by its own)\n"
        + ensembles
    )
    submissions = _submissions(board["submissions"]) or "  none yet: comp submit"
    blocks.append("submissions\n" + submissions)
    if board["problems"]:
        blocks.append("\n".join(["cannot be read:", *(f"  {p}" for p in board["problems"])]))
    return "\n\n".join(blocks)


def _runs(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    held = _has_heldout(rows)
    headers = ["run", "pooled", "mean", "std", *held, "folds", "parameters", "time"]
    lines = [
        [
            row["name"],
            row["pooled"],
            row["mean"],
            row["std"],
            *(row.get("heldout") for _ in held),
            f"{row['folds']}/{row['n_folds'] or '?'}" + ("" if row["complete"] else " incomplete"),
            NOTHING if row["n_parameters"] is None else f"{row['n_parameters'] / 1e6:.1f} M",
            duration(row["seconds"]),
        ]
        for row in rows
    ]
    return text_table(headers, lines, "lrrr" + "r" * len(held) + "lrr")


def _has_heldout(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The header of the held-out scores, where a row has one."""
    return ["held out"] if any(row.get("heldout") is not None for row in rows) else []


def _ensembles(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    held = _has_heldout(rows)
    headers = ["ensemble", "cross-fitted", "used", "used scores", *held]
    headers += ["as fitted", "uniform", "best single", "members"]
    lines = [
        [
            row["name"],
            row["cross_fitted"],
            VARIANTS.get(row["chosen"], row["chosen"]),
            row["used"],
            *(row.get("heldout") for _ in held),
            *(row[key] for key in ("as_fitted", "uniform", "best_single")),
            ", ".join(row["members"]),
        ]
        for row in rows
    ]
    return text_table(headers, lines, "lrlr" + "r" * len(held) + "rrrl")


def _submissions(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    parts = list(dict.fromkeys(part for row in rows for part in row["scores"]))
    held = _has_heldout(rows)
    headers = ["submission", "of", "cv", *held, *parts]
    lines = [
        [
            row["name"] + ("" if row["file"] else " (file gone)"),
            row["ensemble"] or ", ".join(row["members"]),
            row["cv"],
            *(row.get("heldout") for _ in held),
            *(row["scores"].get(part) for part in parts),
        ]
        for row in rows
    ]
    return text_table(headers, lines, "llr" + "r" * len([*held, *parts]))


def render_empty(shares: Mapping[str, Mapping[str, int] | None], unlike: Sequence[str]) -> str:
    """The share of empty masks of a submission beside those it is judged by, and a warning where they differ.

    Args:
        shares: test, oof, truth -> {"empty": n, "of": n}; None where it is not known.
        unlike: those of oof and truth from which test differs grossly.
    """
    words = {"test": "of this submission", "oof": "out of fold", "truth": "of the training truth"}
    told = []
    for key, name in words.items():
        found = shares.get(key)
        if found is None or not found["of"]:
            told.append(f"{name} not known")
        else:
            part = 100 * found["empty"] / found["of"]
            told.append(f"{name} {part:.1f} % ({found['empty']} of {found['of']})")
    lines = [f"  empty masks: {', '.join(told)}"]
    if unlike:
        than = " and ".join(words[key] for key in unlike)
        lines.append(
            f"warning: the share of empty masks is far from that {than} (more than 10 points and three "
            "standard errors): do the test images look like the training images? If so, look at the "
            "ensemble's thresholds and clean-up"
        )
    return "\n".join(lines)
