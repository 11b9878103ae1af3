"""What becomes of each odd input: the folder's own table (file, expected) with what `comp` made of it.

Every image is paired and read as training would read it, its mask by the rule that `comp init` would
infer from that mask alone; what is refused shows its message.

Usage: python benchmarks/odd.py [FOLDER]        default: odd/ in COMP_TEST_DATA
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import numpy as np

from comp.config import Competition, check
from comp.data.images.read import read_image
from comp.data.intake.masks import choose_rule, look_at_masks
from comp.data.sources.labels import read_labels
from comp.data.sources.records import Record, look_for_records
from comp.errors import CompError

PAIRS = {"images": "images/{id}.*", "masks": "masks/{id}.*"}
BANDS = {"03": 4, "14": 4, "04": 5}


def competition(root: Path, **more: object) -> Competition:
    data = {"root": str(root), "train": [PAIRS], "channels": more.pop("channels", 3)}
    data |= more.pop("data", {})  # type: ignore[operator]
    values = {"name": "odd", "task": "binary", "classes": ["object"], "data": data, **more}
    return check(Competition, values, "odd")


def got(record: Record, root: Path) -> str:
    """Image and labels in words, or the message that refuses them."""
    try:
        bands = BANDS.get(record.image_id[:2], 3)
        image = read_image(record.image, competition(root, channels=bands).data)
        told = f"image {image.shape[0]}x{image.shape[1]}x{image.shape[2]} {image.dtype}"
        rule = choose_rule(look_at_masks([record]), None, "")
        read = competition(
            root,
            task=rule.task,
            classes=list(rule.classes),
            ignore_index=rule.ignore_index,
            data=rule.data,
        )
        labels = read_labels(record, read)
        values = ", ".join(str(v) for v in np.unique(labels).tolist())
        said = f"; {'; '.join(rule.problems)}" if rule.problems else ""
        return f"{told}; {rule.task} labels {values}{said}"
    except CompError as error:
        return f"refused: {error}"


def main() -> None:
    default = Path(os.environ.get("COMP_TEST_DATA", ".")) / "odd"
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    records, problems = look_for_records(competition(root), root)
    found = {record.image_id: record for record in records.train}
    table = re.findall(r"^\| (`.+?) \| (.+?) \| (.+?) \|$", (root / "README.md").read_text(), re.M)
    rows = [row for row in table if not re.match(r"`(ok|bad)_", row[0])]
    for names, _, expected in rows:
        for name in re.findall(r"`([^`]+)`", names):
            stem = name if name in found else name.rpartition(".")[0]
            if stem in found:
                said = got(found[stem], root)
            else:
                told = [line for line in problems if name in line or (stem and stem in line)]
                said = " / ".join(told) if told else "not taken"
            print(
                f"{name}\n    expected  {expected}\n    got       {said.replace(str(root) + '/', '')}"
            )


if __name__ == "__main__":
    main()
