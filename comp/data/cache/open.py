"""The cache of a competition's records: found by its key, built under a lock where it is missing or damaged.

Made whole or not at all; processes that want the same one wait for the one that builds it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from comp import files
from comp.config import Competition
from comp.data.cache.build import build_cache
from comp.data.cache.cache import NATIVE, VERSION, Cache, Recipe, existing
from comp.data.sources.records import Record
from comp.data.sources.truth import truth_key
from comp.errors import DataError, some

KEEP = 4  # caches of one kind that stay, whatever their age
KEEP_SECONDS = 86_400.0  # a cache used within the last day stays: somebody may be mapping it
WAIT_SECONDS = 86_400.0  # for another process that is building the same cache


def open_cache(
    cache_dir: Path,
    competition: Competition,
    records: Sequence[Record],
    recipe: Recipe = NATIVE,
    n_threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Cache:
    """Open the cache of `records`, building it first where it is missing or damaged.

    Other processes that want the same cache wait for the one that builds it. Any other recipe is made
    from the native one, without decoding, when that is there.

    Args:
        cache_dir: `Workspace.cache`.
        n_threads: default: one a core, at most 8.
        progress: called as progress(done, total) while building.

    Raises:
        DataError: every file that cannot be read (the first 20 named).
        DiskError: the disk is full; nothing is left behind.
    """
    if not records:
        raise DataError("no images to cache; run `comp verify`")
    path = index_path(cache_dir, competition, records, recipe)
    cache = existing(path)
    if cache is None:
        with files.lock(path.with_suffix(".lock"), wait_seconds=WAIT_SECONDS):
            cache = existing(path)
            if cache is None:
                native = None
                if recipe != NATIVE:
                    native = existing(index_path(cache_dir, competition, records, NATIVE))
                build_cache(
                    path,
                    competition,
                    records,
                    recipe,
                    native,
                    n_threads or min(8, os.cpu_count() or 1),
                    progress,
                )
                cache = Cache(path)
                _remove_old(path, recipe)
    return cache


def index_path(
    cache_dir: Path, competition: Competition, records: Sequence[Record], recipe: Recipe
) -> Path:
    """Where the cache of these records stands: its name changes with anything that changes its content.

    Raises:
        DataError: files that are not there (the first five named).
    """
    paths = list(dict.fromkeys(path for record in records for path in record.files))
    common = os.path.commonpath([path.parent for path in paths])
    stamps = []
    missing = []
    for path in paths:
        try:
            stat = path.stat()
            stamps.append((os.path.relpath(path, common), stat.st_size, stat.st_mtime_ns))
        except OSError:
            missing.append(path)
    if missing:
        raise DataError(f"{len(missing)} files are missing: {some(missing)}")
    data = competition.data
    rule = [
        competition.task,
        competition.n_classes,
        competition.ignore_index,
        data.channels,
        data.mask_threshold,
        *data.reading,
    ]
    values = None if data.mask_values is None else sorted(data.mask_values.items())
    pairs: list[object] = [(record.image_id, len(record.masks)) for record in records]
    if len(paths) < sum(len(record.files) for record in records):  # images that share a mask file
        number = {path: n for n, path in enumerate(paths)}
        pairs.append([[number[path] for path in record.files] for record in records])
    pairs += [*truth_key(competition, records), *data.reading]
    key = files.digest(
        [VERSION, recipe.size, recipe.soft, recipe.stretch, rule, values, pairs, stamps]
    )
    return cache_dir / f"{recipe.kind}-{key}.json"


def count_decodes(cache_dir: Path) -> int:
    """Images decoded for all caches that stand in `cache_dir`."""
    return sum(
        json.loads(path.read_text(encoding="utf-8"))["decodes"]
        for path in cache_dir.glob("*-*.json")
    )


def _remove_old(path: Path, recipe: Recipe) -> None:
    """Remove caches of this kind beyond the `KEEP` last used, if nobody opened them for a day."""
    same_kind = [
        p
        for p in path.parent.glob(f"{recipe.kind}-*.json")
        if p.stem.rpartition("-")[0] == recipe.kind
    ]
    try:
        aged = sorted(((p.stat().st_mtime, p) for p in same_kind), reverse=True)
        for used, old in aged[KEEP:]:
            if time.time() - used > KEEP_SECONDS:
                for suffix in (".json", ".images", ".labels", ".lock"):
                    old.with_suffix(suffix).unlink(missing_ok=True)
    except OSError:
        return  # tidying is no reason to fail; another process may be doing the same
