"""`comp demo`: the whole road on a competition drawn on the spot, ending with a table and a picture."""

from __future__ import annotations

import time
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import numpy as np

from comp.commands import cv, ensemble, score, submit
from comp.config import Competition, data_root, load_competition
from comp.data.images.read import read_image
from comp.data.sources.records import find_records
from comp.demo.baseline import threshold_baseline
from comp.demo.drawing import ensure_demo, key_path
from comp.files import COMPETITION_FILE, Workspace, commit
from comp.formats.table import read_table
from comp.masks.rle import decode
from comp.plots.cv_report import render_demo
from comp.plots.pictures import Case, plot_cases

CONFIGS = ("demo_unet.yaml", "demo_resnet.yaml")
N_PICTURES = 8


def run(directory: Path, n_slots: int | None = None) -> dict[str, Any]:
    """Draw, fold, train, ensemble, submit, score; everything that is done already is skipped."""
    started = time.monotonic()
    make_workspace(directory)
    root = directory.resolve()
    competition = load_competition(root)
    workspace = Workspace(root, competition.name)
    data = root / competition.data.root
    if ensure_demo(data):
        print(f"drew the demo competition into {data}")
    baseline = threshold_baseline(data)
    reports = cv.run(workspace, competition, CONFIGS, n_slots=n_slots, device="cpu")
    print()
    recipe = ensemble.run(
        workspace, competition, [Path(c).stem for c in CONFIGS], "demo", None, "auto"
    )
    submission = submit.run(workspace, competition, "demo", None, None)
    print()
    sizes = score.image_sizes(workspace, competition)
    scores = score.run(submission, key_path(data), competition, sizes, [], None)
    picture = draw_predictions(workspace, competition, submission)
    print("\n" + render_demo(list(reports.values()), recipe, scores, baseline))
    print(f"\nreport:     {workspace.ensemble('demo') / 'report.md'}")
    for name in reports:
        print(f"            {workspace.run(name) / 'cv.md'}")
    print(f"submission: {submission}")
    print(f"picture:    {picture}")
    print(f"{time.monotonic() - started:.0f} s")
    return {"cv": reports, "recipe": recipe, "scores": scores, "baseline": baseline}


def make_workspace(directory: Path) -> None:
    """Write the demo's configs where they are not there yet."""
    source = package_files("comp.demo") / "workspace"
    targets = {"competition.yaml": directory / COMPETITION_FILE}
    targets |= {name: directory / "configs" / name for name in CONFIGS}
    for name, path in targets.items():
        if not path.exists():
            commit(path, (source / name).read_text(encoding="utf-8"))


def draw_predictions(workspace: Workspace, competition: Competition, submission: Path) -> Path:
    """Draw image, truth and submitted mask of the first test pictures side by side."""
    data = data_root(workspace, competition)
    predicted = dict(read_table(submission).itertuples(index=False, name=None))
    key = {row[0]: row for row in read_table(key_path(data)).itertuples(index=False, name=None)}
    cases = []
    for record in find_records(competition, data).test[:N_PICTURES]:
        image = read_image(record.image, competition.data)
        height, width = image.shape[:2]
        mask = decode(predicted[record.image_id], height, width)
        truth = decode(key[record.image_id][1], height, width)
        union = int(np.logical_or(mask, truth).sum())
        iou = 1.0 if union == 0 else float(np.logical_and(mask, truth).sum() / union)
        cases.append(Case(record.image_id, image, truth, mask, iou))
    path = submission.with_suffix(".png")
    plot_cases(cases, path, task=competition.task, classes=competition.classes)
    return path
