"""What `comp verify` prints: sizes, classes, duplicates, leaks, shift, warnings; it computes nothing."""

from __future__ import annotations

from comp.config import Competition
from comp.data.checks.findings import Findings
from comp.data.checks.scan import Scan
from comp.data.leaks.words import many, short
from comp.errors import some

MAX_LISTED = 20


def render_findings(found: Findings, competition: Competition) -> str:
    """The findings as text, problems left out: they are the error's."""
    lines = [
        *_sizes("train", found.train),
        *_sizes("test", found.test),
        *_classes(competition, found.train),
        *_duplicates(found),
        "",
        "leak radar",
        *(f"  {line}" for line in found.leaks.told),
        f"  together: {found.leaks.summary}",
    ]
    if found.shift is not None:
        lines += ["", found.shift.told]
    elif found.test.seen:
        lines += ["", "train against test: too few images or pictures to compare"]
    if found.warnings:
        lines += ["", "warnings:", *(f"  {line}" for line in found.warnings)]
    return "\n".join(lines)


def _sizes(what: str, scan: Scan) -> list[str]:
    lines = [
        "",
        many(len(scan.seen), f"{what} image") + (", height x width:" if scan.sizes else ""),
    ]
    common = scan.sizes.most_common()
    lines += [f"  {h:>6} x {w:<6} {count:>7}" for (h, w), count in common[:MAX_LISTED]]
    if len(common) > MAX_LISTED:
        lines.append(f"  and {len(common) - MAX_LISTED} more sizes")
    if scan.stored:
        kinds = ", ".join(f"{kind} ({n})" for kind, n in scan.stored.most_common())
        lines.append(f"  stored as {kinds}")
    return lines


def _classes(competition: Competition, train: Scan) -> list[str]:
    if not train.n_masks:
        return []
    longest = max(len("class"), *(len(name) for name in competition.classes))
    lines = ["", f"{'class':<{longest}}  share of valid pixels  images with it"]
    for k, name in enumerate(competition.classes):
        share = train.counts[k] / train.valid[k] if train.valid[k] else 0.0
        without = train.n_masks - train.n_with[k]
        lines.append(
            f"{name:<{longest}}  {share:>21.4f}  {train.n_with[k]:>14}"
            + (f"  ({without} without)" if without else "")
        )
    empty = (
        f"{train.n_empty} of {train.n_masks} masks are empty ({train.n_empty / train.n_masks:.1%})"
    )
    ignored = f"; {train.n_ignored / train.n_pixels:.2%} of their pixels are ignored"
    return [*lines, empty + (ignored if train.n_ignored else "")]


def _duplicates(found: Findings) -> list[str]:
    """Images of exactly the same pixels; folds keep those of train together."""
    groups = [sorted(r.image_id for r in group) for group in found.train.duplicates()]
    lines = ["", f"exact duplicates among train images: {many(len(groups), 'group')}"]
    lines += [f"  {some(map(short, group))}" for group in groups[:MAX_LISTED]]
    if len(groups) > MAX_LISTED:
        lines.append(f"  and {len(groups) - MAX_LISTED} more")
    if found.test.by_hash:
        both = found.same_in_test
        pairs = some(f"{short(a.image_id)} = {short(b.image_id)}" for a, b in both)
        told = f": {pairs}" if both else ""
        lines.append(f"train images that are test images too: {len(both)}{told}")
    return lines
