"""What `comp doctor` found, as text: facts, the table of configs, and the catalogue of models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from comp.plots.tables import NOTHING, count_of, duration, text_table

OK, NOTE, PROBLEM = "ok", "note", "WRONG"
LISTED = 8  # encoders named of those not built


def render_fact(name: str, text: str, mark: str = OK) -> str:
    """One line of the report; further lines of the text stand below it."""
    return f"  {mark:<5} {name}: " + text.replace("\n", "\n        ")


def render_trials(found: Mapping[str, Mapping[str, Any]], n_folds: int, n_slots: int) -> str:
    """The table of configs.

    Args:
        found: config -> what its trial gave; values that it did not come to are missing.
        n_folds: models that a cross-validation trains; n_slots: how many at once.
    """
    headers = ["config", "parameters", "batch", "computed", "step", "peak memory", "views"]
    rows = [_row(name, one, n_folds, n_slots) for name, one in found.items()]
    return text_table(
        [*headers, "one fold", f"cv ({count_of(n_folds, 'fold')})"], rows, "lrllrrrrr"
    )


def _row(name: str, one: Mapping[str, Any], n_folds: int, n_slots: int) -> list[object]:
    peak, views, parameters = one.get("peak_bytes"), one.get("views"), one.get("parameters")
    seconds = fold_seconds(one)
    return [
        name,
        NOTHING if parameters is None else f"{parameters / 1e6:.2f} M",
        "x".join(map(str, one.get("batch", ()))) or NOTHING,
        one.get("compute", NOTHING),
        f"{one['seconds_step']:.3g} s" if "seconds_step" in one else NOTHING,
        NOTHING if peak is None else f"{peak / 2**30:.2f} GiB",
        NOTHING if views is None else f"{views[0]} of {views[1]}",
        duration(seconds),
        duration(None if seconds is None else seconds * -(-n_folds // n_slots)),
    ]


def fold_seconds(one: Mapping[str, Any]) -> float | None:
    """Training and validating one fold, from what a few steps took; None where that is not known."""
    if "steps" not in one or "seconds_step" not in one:
        return None
    steps = one["steps"] * one["epochs"]
    return float(steps * one["seconds_step"] + one.get("seconds_val", 0.0))


def render_archs(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of architectures."""
    cells = [
        [
            row["arch"],
            row["encoder"] or "(has none)",
            NOTHING if row["parameters"] is None else f"{row['parameters'] / 1e6:.2f} M",
            row["stride"] or None,
            row["min_batch"],
            row["error"],
        ]
        for row in rows
    ]
    headers = ["architecture", "with", "parameters", "h, w: multiples of", "least batch", ""]
    return text_table(headers, cells, "llrrrl")


def render_catalogue(
    archs: Sequence[str],
    encoders: Sequence[Mapping[str, Any]],
    missing: Sequence[str],
    usual_size: int,
) -> str:
    """The table of encoders, then why some pairs do not fit, then what was not built.

    Args:
        encoders: each with name, parameters, strides, error and built: arch -> parameters, size, error.
        usual_size: side of the dry picture; one that went through at another size only is bound to that.
    """
    rows: list[list[object]] = []
    reasons: dict[str, list[str]] = defaultdict(list)
    for encoder in encoders:
        built = {arch: encoder["built"][arch] for arch in archs}
        parameters = encoder["parameters"]
        rows.append(
            [
                encoder["name"],
                NOTHING if parameters is None else f"{parameters / 1e6:.2f} M",
                " ".join(map(str, encoder["strides"])) or NOTHING,
                say_fits(built, usual_size),
            ]
        )
        for arch, one in built.items():
            if one["error"] and arch != "DPT":  # which wants a ViT of timm, said once above
                reasons[one["error"]].append(f"{arch} on {encoder['name']}")
    parts = []
    if rows:
        parts.append(text_table(["encoder", "parameters", "strides", "works in"], rows, "lrll"))
    if reasons:
        lines = [
            f"  {reason}\n    ({pairs[0]}"
            + (f" and {count_of(len(pairs) - 1, 'other pair')}" if len(pairs) > 1 else "")
            + ")"
            for reason, pairs in reasons.items()
        ]
        parts.append("why the others do not fit:\n" + "\n".join(lines))
    if missing:
        named = ", ".join(missing[:LISTED]) + (", ..." if len(missing) > LISTED else "")
        parts.append(f"not built yet: {count_of(len(missing), 'encoder')}: {named}")
    return "\n\n".join(parts)


def say_fits(built: Mapping[str, Mapping[str, Any]], usual_size: int) -> str:
    """Which architectures an encoder works in: the shorter of the two lists, and a size that binds it."""
    fits = [arch for arch, one in built.items() if not one["error"]]
    misfits = [arch for arch, one in built.items() if one["error"]]
    if not fits:
        return "none"
    if not misfits:
        text = "all" if len(fits) > 1 else fits[0]
    elif len(misfits) < len(fits):
        text = f"all but {', '.join(misfits)}"
    else:
        text = ", ".join(fits)
    bound = [arch for arch in fits if built[arch]["size"] != usual_size]
    if not bound:
        return text
    size = built[bound[0]]["size"]
    free = [arch for arch in fits if arch not in bound]
    tail = f", in {', '.join(free)} at any" if free else ""
    return f"{text}; at {size} x {size} only{tail}"
