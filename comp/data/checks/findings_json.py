"""What `comp verify` found, as plain values for `verify.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from comp.config import Competition
from comp.data.checks.findings import Findings
from comp.data.checks.scan import Scan
from comp.data.leaks.overlaps import lay_out
from comp.data.leaks.radar import Leaks


def as_json(found: Findings, competition: Competition) -> dict[str, Any]:
    """The findings as plain values, for `verify.json`."""
    leaks, ids = found.leaks, found.leaks.ids
    return {
        "competition": competition.name,
        "task": competition.task,
        "problems": found.problems,
        "warnings": found.warnings,
        "train": _scan_json(found.train, competition),
        "test": _scan_json(found.test, competition, masks=False),
        "same_in_train_and_test": [[a.image_id, b.image_id] for a, b in found.same_in_test],
        "near_duplicates_of_train_and_test": [
            {"train": a, "test": b, "how": how} for a, b, how in found.near_in_test
        ],
        "near_duplicates": [
            {"images": _named(leaks, (p.i, p.j)), "turn": p.turn, "correlation": round(p.alike, 4)}
            for p in leaks.near
        ],
        "seams": {
            "rule": vars(leaks.seams.rule),
            "n_found": leaks.seams.n_found,
            "n_null_reversed": leaks.seams.n_null,
            "believed": leaks.seams.believed,
            "n_train_linked": leaks.linked([(s.i, s.j) for s in leaks.seams.links])[0],
            "n_train_linked_to_test": len({i for i, _ in leaks.across(leaks.links)}),
            "links": [[*_named(leaks, (s.i, s.j)), s.side] for s in leaks.seams.links],
        },
        "overlaps": {
            "n_found": leaks.overlaps.n_found,
            "n_null_mirrored": leaks.overlaps.n_null,
            "believed": leaks.overlaps.believed,
            "n_train_linked": leaks.linked([(o.i, o.j) for o in leaks.overlaps.links])[0],
            "links": [
                {"images": _named(leaks, (o.i, o.j)), "down": o.down, "right": o.right,
                 "share": round(o.share, 4), "marks": o.marks} for o in leaks.overlaps.links
            ],
            "places": [
                {"image": _named(leaks, (i,))[0], "picture": _named(leaks, (first,))[0],
                 "row": row, "column": column}
                for i, (first, row, column) in sorted(lay_out(leaks.overlaps.links).items())
            ],
        },
        "ground": {
            "images": _ground_json(leaks),
            "n_on_both_sides_of_folds": found.both_sides[0],
            "mean_share_there": round(found.both_sides[1], 4),
        },
        "guesses": [
            {"witness": g.witness, "what": g.what, "n_groups": g.n_groups, "auc": g.auc, "used": g.used,
             "why": g.why, "command": g.command} for g in leaks.guesses
        ],
        "groups": {i: g for i, g in zip(ids[: leaks.n_train], leaks.group, strict=True) if g},
        "groups_cut_by_folds": found.cut,
        "shift": None if found.shift is None else {
            "auc": found.shift.auc,
            "standard_error": found.shift.error,
            "verdict": found.shift.verdict,
            "traits": [
                {"name": n, "auc": a, "median_train": x, "median_test": y}
                for n, a, x, y in found.shift.differ
            ],
        },
    }  # fmt: skip


def _ground_json(leaks: Leaks) -> list[dict[str, Any]]:
    """Each image that shares ground, the one that shows most of it, and how much."""
    if leaks.ground is None:
        return []
    everyone = range(len(leaks.ids))
    share, who = leaks.ground.shared(everyone, everyone)
    return [
        {"images": _named(leaks, (i, int(who[i]))), "share": round(float(share[i]), 4)}
        for i in np.flatnonzero(share > 0).tolist()
    ]


def _named(leaks: Leaks, positions: Sequence[int]) -> list[str]:
    return [leaks.ids[i] if i < leaks.n_train else f"test: {leaks.ids[i]}" for i in positions]


def _scan_json(scan: Scan, competition: Competition, masks: bool = True) -> dict[str, Any]:
    said: dict[str, Any] = {
        "n_images": len(scan.seen),
        "sizes": [[h, w, n] for (h, w), n in scan.sizes.most_common()],
        "stored": dict(scan.stored.most_common()),
        "of_one_colour": [record.image_id for record in scan.constant()],
        "exact_duplicates": [[r.image_id for r in group] for group in scan.duplicates()],
    }
    if masks:
        said |= {
            "n_masks": scan.n_masks,
            "n_empty": scan.n_empty,
            "pixels": scan.n_pixels,
            "ignored_pixels": scan.n_ignored,
            "classes": [
                {"name": name, "pixels": scan.counts[k], "valid": scan.valid[k], "images": scan.n_with[k]}
                for k, name in enumerate(competition.classes)
            ],
        }  # fmt: skip
    return said
