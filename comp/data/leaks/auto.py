"""`folds.group: auto`: the radar's groups of a competition, found once for the same images and kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from comp import files
from comp.config import Competition
from comp.data.cache.bands import large_cached
from comp.data.cache.cache import Cache
from comp.data.cache.open import open_cache
from comp.data.leaks.ground import Ground
from comp.data.leaks.guesses import AUTO
from comp.data.leaks.prints import ImagePrint, make_print, print_bands
from comp.data.leaks.radar import look_for_leaks
from comp.data.sources.meta_ids import rows_of
from comp.data.sources.records import Records
from comp.errors import CompError, DataError
from comp.formats.table import read_table

__all__ = ["AUTO", "Found", "auto_groups", "meta_columns"]

VERSION = 4  # raise it when the same images may give other groups


@dataclass(frozen=True)
class Found:
    """The radar's groups of the training images.

    Args:
        groups: image_id -> group, "" for images that stand alone.
        told: what was found, in one line.
        ground: where the images lie, in the order of `groups`; None where no two share ground.
    """

    groups: dict[str, str]
    told: str
    ground: Ground | None = None


def auto_groups(competition: Competition, records: Records, root: Path, cache: Cache) -> Found:
    """The group of each training image, by all witnesses of the leak radar.

    Args:
        root: the folder of the data, where `data.meta` is.
        cache: of `records.train`; that of the test images is opened, and made where it is missing.

    Raises:
        DataError: test images or the meta table cannot be read.
    """
    caches = [cache]
    if records.test:
        caches.append(open_cache(cache.path.parent, competition, records.test))
    columns = meta_columns(competition, root, list(cache.ids))
    key = files.digest(
        [VERSION, [c.content_hash for c in caches], columns, competition.folds.n_splits]
    )
    path = cache.path.parent / f"leaks.{key}.json"  # no dash: caches are found by one
    if (before := _kept(path, cache)) is not None:
        return before
    all_records = (*records.train, *records.test)
    leaks = look_for_leaks(
        [record.image_id for record in all_records],
        len(records.train),
        list(_prints(caches)),
        [record.image for record in all_records],
        columns,
        competition.folds.n_splits,
    )
    groups = dict(zip(cache.ids, leaks.group, strict=True))
    ground = None
    if leaks.on_one_ground[0] and leaks.ground is not None:
        ground = leaks.ground.part(range(leaks.n_train))
    found = Found(groups, leaks.brief, ground)
    kept = {"groups": groups, "told": found.told, "ground": ground and ground.as_json()}
    files.write_json(path, kept)
    return found


def _kept(path: Path, cache: Cache) -> Found | None:
    """What an earlier call found; None where there is nothing, or nothing whole."""
    try:
        value: Any = files.read_json(path)
        groups, told = value["groups"], value["told"]
        if set(groups) != set(cache.ids) or not all(isinstance(g, str) for g in groups.values()):
            return None
        ground = None if value["ground"] is None else Ground.from_json(value["ground"])
        if ground is not None and len(ground) != len(cache.ids):
            return None
        return Found(groups, str(told), ground)
    except (CompError, KeyError, TypeError, AttributeError, ValueError):
        return None


def _prints(caches: list[Cache]) -> Iterator[ImagePrint]:
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for cache in caches:
            yield from pool.map(partial(_cached_print, cache), range(len(cache)))


def _cached_print(cache: Cache, number: int) -> ImagePrint:
    if (large := large_cached(cache, number)) is not None:
        return print_bands(large.size, large.bands())[0]
    return make_print(cache.image(number))


def meta_columns(competition: Competition, root: Path, ids: list[str]) -> dict[str, list[str]]:
    """Every column of `data.meta` but that of the ids, one value for each of `ids`; "" where none.

    Raises:
        DataError: the table cannot be read, or has no such column of ids.
    """
    data = competition.data
    if data.meta is None:
        return {}
    frame = read_table(root / data.meta)
    if data.meta_id_column not in frame.columns:
        raise DataError(
            f"{data.meta}: no column {data.meta_id_column!r} (data.meta_id_column);"
            f" it has {', '.join(map(str, frame.columns))}"
        )
    row = rows_of(ids, [str(i) for i in frame[data.meta_id_column]], data.meta_ids)
    columns = {}
    for name in frame.columns:
        if name != data.meta_id_column:
            values = [str(v) for v in frame[name]]
            columns[str(name)] = [values[row[i]] if i in row else "" for i in ids]
    return columns
