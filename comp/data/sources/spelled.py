"""Ids of images that carry their folder, as tables spell them: `siteD/run1/a` as `siteD_run1_a`."""

from __future__ import annotations

from collections.abc import Collection


def spelled_with_underscores(ids: Collection[str]) -> dict[str, str]:
    """Id with / as _ -> id, of those with a /; none at all where two ids would be spelled alike."""
    found: dict[str, str] = {}
    for image_id in sorted(ids):
        spelled = image_id.replace("/", "_")
        if spelled in found:
            return {}
        found[spelled] = image_id
    return found if any("/" in image_id for image_id in ids) else {}


def spelled_as(ids: Collection[str], cells: Collection[str]) -> dict[str, str]:
    """Id -> how the cells of a table spell it: as it is, where any cell is one of the ids, else with _ for /.

    Args:
        cells: ids of the table, without classes.
    """
    wanted = set(cells)
    spelled = spelled_with_underscores(ids)
    if wanted.isdisjoint(ids) and not wanted.isdisjoint(spelled):
        return {image_id: cell for cell, image_id in spelled.items()}
    return {image_id: image_id for image_id in ids}
