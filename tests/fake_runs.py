"""A workspace with pictures, folds and finished runs on disk, made without training anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from comp.config import Competition, data_root, resolved
from comp.data.cache.open import open_cache
from comp.data.folds.table import HELD_OUT, FoldTable, write_folds
from comp.data.sources.labels import read_labels
from comp.data.sources.records import find_records
from comp.files import Workspace, write_json
from comp.masks.decide import decide
from comp.metrics.counts import count_image
from comp.store import ProbsWriter, quantise, read_run, write_counts, write_result
from comp.store.cv import summarise, write_cv

SIZE = 24


def make_competition(root: Path, task: str = "binary", n_train: int = 12, n_test: int = 4) -> Any:
    """Draw pictures and masks; return the workspace and its competition."""
    classes = {"binary": ["roof"], "multiclass": ["land", "roof", "road"]}[task]
    rng = np.random.default_rng(5)
    for part, n in (("images", n_train), ("test/images", n_test)):
        (root / "data" / part).mkdir(parents=True)
        for i in range(n):
            image = rng.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
            cv2.imwrite(str(root / "data" / part / f"{part[0]}{i:02d}.png"), image)
    (root / "data" / "masks").mkdir()
    for i in range(n_train):
        mask = np.zeros((SIZE, SIZE), np.uint8)
        for k in range(1, max(2, len(classes))):
            r, c, h, w = rng.integers(0, 14), rng.integers(0, 14), *rng.integers(4, 10, 2)
            mask[r : r + h, c : c + w] = 255 if task == "binary" else k
        cv2.imwrite(str(root / "data" / "masks" / f"i{i:02d}.png"), mask)
    values = {"mask_values": {0: 0, 255: 1}} if task == "binary" else {}
    row = {} if task == "binary" else {"row": "image_class", "class_column": "Class"}
    competition = Competition.model_validate(
        {
            "name": "toy",
            "task": task,
            "classes": classes,
            "data": {
                "root": "data",
                "train": [{"images": "images/{id}.png", "masks": "masks/{id}.png"}],
                "test": "test/images/{id}.png",
                **values,
            },
            "submission": row,
        }
    )
    (root / "configs").mkdir(exist_ok=True)
    return Workspace(root, "toy"), competition


def make_folds(
    workspace: Workspace,
    competition: Competition,
    n_splits: int = 3,
    groups: Sequence[str] | None = None,
    repeated: bool = False,
) -> FoldTable:
    """Image i is in fold i modulo `n_splits`; repeated: once more, images i and i + 1 for even i together."""
    ids = tuple(
        r.image_id for r in find_records(competition, data_root(workspace, competition)).train
    )
    folds = tuple(i % n_splits for i in range(len(ids)))
    if n_splits == 1:
        folds = tuple(-1 if i < 2 else 0 for i in range(len(ids)))
    group = tuple(groups or [""] * len(ids))
    again = tuple(n_splits + (i // 2) % n_splits for i in range(len(ids)))
    repeats = (again,) if repeated else ()
    table = FoldTable(ids, folds, group, ("",) * len(ids), "kfold", 0, n_splits, repeats=repeats)
    return write_folds(workspace, table)


def make_run(
    workspace: Workspace,
    competition: Competition,
    table: FoldTable,
    name: str,
    noise: float = 1.0,
    views: Sequence[str] = ("none",),
    store: str = "uint8",
    folds: Sequence[int] | None = None,
    test: bool = True,
    shared: dict[str, Any] | None = None,
    **changed: Any,
) -> None:
    """Write a run whose predictions are the truth with noise; each further view has a little less of it.

    Args:
        shared: the blocks `competition` and `data` of config.json; default as the competition says.
        folds: those that are done; default all.
        changed: keys of every result.json to overwrite.
    """
    rng = np.random.default_rng(abs(hash_text(name)))
    records = find_records(competition, data_root(workspace, competition))
    by_id = {r.image_id: r for r in records.train}
    directory = workspace.run(name)
    said = {"config": {"noise": noise, "train": {}}, "config_hash": f"hash-{name}"}
    if shared is None:
        truth = open_cache(workspace.cache, competition, records.train)
        shared = shared_blocks(competition, content=truth.content_hash)
    said |= shared
    write_json(directory / "config.json", said)
    everything = range(table.n_folds)
    held = [i for i, f in zip(table.ids, table.fold, strict=True) if f == HELD_OUT]
    for fold in everything if folds is None else folds:
        folder = workspace.fold(name, fold)
        names: list[str] = []
        ids = [table.ids[i] for i in table.validation(fold)]
        scores: dict[str, Any] = {}
        for n, view in enumerate(views):
            writer = ProbsWriter(folder / f"oof.{view}", store)
            counts = []
            for image_id in reversed(ids):
                labels = read_labels(by_id[image_id], competition)
                q = quantise(predict(rng, labels, competition, noise * 0.8**n), store)
                writer.append(image_id, q)
                mask = decide(q, competition.task)
                counts.append(count_image(mask, labels, competition.task, competition.n_classes))
            names += [p.name for p in writer.commit()]
            table_path = folder / f"oof.{view}.counts.csv"
            write_counts(table_path, ids[::-1], np.stack(counts), competition.classes)
            names.append(table_path.name)
            scores[view] = {competition.metric_name: 0.5}
            if held:
                writer = ProbsWriter(folder / f"heldout.{view}", store)
                for image_id in held:
                    labels = read_labels(by_id[image_id], competition)
                    writer.append(
                        image_id, quantise(predict(rng, labels, competition, noise), store)
                    )
                names += [p.name for p in writer.commit()]
            if test:
                writer = ProbsWriter(folder / f"test.{view}", store)
                for record in records.test:
                    probs = rng.random((competition.n_classes, SIZE, SIZE))
                    writer.append(record.image_id, quantise(probs, store))
                names += [p.name for p in writer.commit()]
        result = {
            "run": name,
            "fold": fold,
            "competition": competition.name,
            "task": competition.task,
            "classes": list(competition.classes),
            "metric": competition.metric_name,
            "score": 0.5,
            "views": scores,
            "weights": "best_metric",
            "scores": {},
            "best_epoch": 1,
            "epochs": 1,
            "seconds": 1.0,
            "n_parameters": 1000,
            "precision": "fp32",
            "config_hash": f"hash-{name}",
            "folds_hash": table.hash,
            "n_images": len(ids),
        } | changed
        write_result(folder, result, names)
    run = read_run(workspace, name)
    write_cv(run, summarise(run, competition, everything, ["dice_image_mean"]))


def shared_blocks(competition: Competition, **data: Any) -> dict[str, Any]:
    """Task and data as `comp cv` writes them into config.json, `data` in place of some of it."""
    whole = resolved(competition)
    task = {key: whole[key] for key in ("task", "classes", "ignore_index", "metric")}
    said = {key: whole["data"][key] for key in ("channels", "mask_values", "mask_threshold")}
    return {"competition": task, "data": {**said, "content": "content", **data}}


def predict(
    rng: np.random.Generator, labels: np.ndarray, competition: Competition, noise: float
) -> np.ndarray:
    """(K, H, W) probabilities around the truth."""
    if competition.task == "binary":
        score = (labels[None] == 1) * 2.0 - 1 + noise * rng.normal(size=(1, *labels.shape))
        return 1 / (1 + np.exp(-3 * score))
    truth = np.stack([labels == k for k in range(competition.n_classes)])
    p = np.exp(2 * (truth + noise * rng.normal(size=truth.shape)))
    return p / p.sum(axis=0)


def hash_text(text: str) -> int:
    """The same number for the same text in every process."""
    return int.from_bytes(text.encode()[:6], "little")
