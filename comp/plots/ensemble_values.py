"""Tables of what an ensemble's members are worth and of how far its numbers reach. Computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comp.plots.tables import NOTHING, count_of, markdown_table

PICTURE = "correlation.png"
MOST_MEMBERS = 12  # in the table of errors; more are in the picture and in judged.json


def limits(found: Sequence[float] | None, sign: str = "") -> str:
    """``0.8123 to 0.8456``; a dash where there are none."""
    return NOTHING if found is None else " to ".join(f"{v:{sign}.4f}" for v in found)


def adds(row: Mapping[str, Any]) -> str:
    """``+0.0031 ± 0.0012``: what a member adds; a dash where that was not looked at."""
    if row["value"] is None:
        return NOTHING
    return f"{row['value']:+.4f}" + ("" if row["error"] is None else f" ± {row['error']:.4f}")


def seconds(value: float | None) -> str:
    """``0.0512``, ``12.35``; a dash where it is not known."""
    if value is None:
        return NOTHING
    return f"{value:.{4 if value < 1 else 2}f}"


def parts(shares: Sequence[float]) -> str:
    """The least and the most of a member's share over the parts: ``30 % to 45 %``."""
    return f"{100 * min(shares):.3g} % to {100 * max(shares):.3g} %" if shares else NOTHING


def optimism_row(judged: Mapping[str, Any]) -> list[list[str]]:
    """Label, value, interval and explanation of the optimism; nothing without a cross-fitted number."""
    found = judged["optimism"]
    if found is None or found["value"] is None:
        return []
    says = "as fitted less cross-fitted: what choosing and scoring on the same images flatters"
    return [["optimism", f"{found['value']:+.4f}", limits(found["interval"], "+"), says]]


def render_worth(judged: Mapping[str, Any], shares: Mapping[str, str]) -> list[str]:
    """Blocks of markdown: the members' worth, the views' price, errors in common.

    Args:
        judged: the value of judged.json.
        shares: run -> its share of what is used, in words.
    """
    rows = []
    for row in judged["members"]:
        worth = row["value_a_second"]
        rows.append(
            [
                row["run"],
                shares.get(row["run"], "0 %"),
                parts(row["parts"]),
                row["without"],
                adds(row),
                seconds(row["seconds_an_image"]),
                NOTHING if worth is None else f"{worth:+.3g}",
            ]
        )
    headers = ["run", "share", "fitted without each part", "score without it", "adds"]
    headers += ["seconds an image", "adds a second"]
    blocks = ["## Worth", markdown_table(headers, rows, "lrrrrrr")]
    if len(judged["views"]) > len(judged["members"]):
        rows = [
            [v["run"], v["views"], v["score"], seconds(v["seconds_an_image"])]
            for v in judged["views"]
        ]
        blocks += [
            "## Views",
            markdown_table(["run", "views", "alone", "seconds an image"], rows, "llrr"),
        ]
    return blocks + _errors(judged["errors"])


def _errors(errors: Mapping[str, Any]) -> list[str]:
    """The correlation map as a picture, and as a table where it is small."""
    runs = errors["runs"]
    if len(runs) < 2:
        return []
    blocks = [
        "## Errors in common",
        "Correlation of being wrong at threshold 0.5, over "
        f"{errors['n_pixels']:,} decisions on {count_of(errors['n_images'], 'image')}: near 1 two members "
        "err on the same pixels and a blend of them mends little, near 0 each on its own.",
        f"![correlation of errors]({PICTURE})",
    ]
    if len(runs) <= MOST_MEMBERS:
        rows = [
            [run, f"{100 * wrong:.3g} %", *(NOTHING if v is None else f"{v:.2f}" for v in row)]
            for run, wrong, row in zip(runs, errors["wrong"], errors["correlation"], strict=True)
        ]
        blocks.append(markdown_table(["run", "wrong", *runs], rows, "l" + "r" * (1 + len(runs))))
    return blocks
