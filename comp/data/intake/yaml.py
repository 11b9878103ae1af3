"""What `comp init` understood -> the text of a competition.yaml, for people to read and change.

The text is parsed again and must give the same values: nothing is written that reads differently.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from comp.config import Competition, check, parse_yaml
from comp.data.folds.schemes import FOLD_SCHEMES
from comp.data.intake.seen import Understood
from comp.errors import ConfigError

WIDTH, COLUMN = 100, 34
COMMENTS = {
    "task": "binary, multiclass or multilabel",
    "classes": "name them; reports use these names",
    "ignore_index": "mask value where nothing is trained or scored",
    "data.root": "folder of the data, from this workspace or absolute",
    "data.train": "{id} is the image_id; the same in both patterns",
    "data.bands": "one file a band: what {band} stands for, stacked in this order",
    "data.channels": "bands a model sees",
    "data.mask_values": "pixel value -> class; any other value is an error",
    "data.mask_threshold": "foreground from this pixel value on",
    "data.scale": "these numbers become 0 and 1; what lies beyond is cut off",
    "data.mask_colors": "colour -> class; any other colour is an error",
    "data.mask_color_distance": "masks saved with loss: a pixel takes the nearest colour, at most this away",
    "data.train_rle": "comp verify compares it with the masks",
    "data.meta": "one row an image, for groups and strata",
    "folds.scheme": ", ".join(FOLD_SCHEMES),
    "folds.group": "images of one group share a fold",
    "folds.heldout": "the images to validate on",
    "folds.listed": "its column fold numbers the folds",
    "submission.sample": "ids, order and columns of the submission",
    "submission.row": "image, image_class or object",
    "submission.order": "column: down the columns first; row: along the rows",
    "submission.base": "number of the first pixel",
    "submission.empty": "cell of an empty mask",
}


def competition_yaml(seen: Understood, name: str, root: str) -> str:
    """Write the values as commented YAML.

    Args:
        root: what `data.root` says.

    Raises:
        ConfigError: the values do not make a competition (a bug in a detector says so here).
    """
    values = {"name": name, **seen.values}
    values["data"] = {"root": root, **seen.values["data"]}
    if "submission" in values:  # last, as the road goes
        values["submission"] = values.pop("submission")
    lines = [
        "# Written by `comp init`, which says in each comment what it saw. Change what is not right.",
        "#",
        "#   comp verify                                    # opens and checks every file",
        "#   comp folds",
        "#   comp cv --config unet_r34.yaml --config fpn_r18.yaml",
        "#   comp ensemble && comp submit",
        "",
    ]
    metric = check(Competition, values, "comp init").metric_name
    comments = _comments(values, seen.why)
    for key, value in values.items():
        if isinstance(value, dict):
            lines.append("")
        lines += _entry(key, value, 0, key, comments)
        lines += _proposals(key, seen)
        if key == "classes":
            lines.append(_commented(f"# metric: {metric}", "the default; see comp schema"))
    for key in dict.fromkeys(path.partition(".")[0] for path in seen.proposed):
        if key not in values:
            told = [f"# {line}" for line in (seen.why.get(key), f"{key}:") if line]
            lines += ["", *told, *("#" + line for line in _proposals(key, seen, "   "))]
    text = "\n".join(lines) + "\n"
    if parse_yaml(text, "comp init") != values:
        raise ConfigError(f"comp init: cannot spell these values as YAML: {values}")
    return text


def _proposals(section: str, seen: Understood, pad: str = "  # ") -> list[str]:
    """The keys of a section that the user may set, as comments; with another pad as they stand."""
    lines = []
    for path, value in seen.proposed.items():
        head, _, key = path.partition(".")
        if head == section:
            line = _commented(f"{pad}{key}: {value}", seen.why.get(path, ""))
            lines += line.splitlines()
    return lines


def _comments(values: dict[str, Any], why: dict[str, str]) -> dict[str, str]:
    """Dotted key -> what stands beside it: what it means, then why it has its value."""
    means = dict(COMMENTS)
    train = values["data"]["train"]
    if any(part.get("rle") for part in train):
        means["data.train_rle"] = "the only truth: its codes are the masks"
    if any("manifest" in part for part in train):
        means["data.train"] = "image_id,split,image,masks: one row an image, in this workspace"
    elif any("{dir}" in part.get("images", "") for part in train):
        means["data.train"] += "; {dir}/{id} is the image_id where folders repeat names"
    if any("{object}" in (part.get("masks") or "") for part in train):
        means["data.train"] += "; {object}: one mask file an object, together the mask"
    return {
        key: "; ".join(c for c in (means.get(key), why.get(key)) if c) for key in (*means, *why)
    }


def _entry(key: str, value: Any, depth: int, path: str, why: dict[str, str]) -> list[str]:
    """The lines of one key; sections open below it, short values stand beside it."""
    pad = "  " * depth
    comment = why.get(path, "")
    if isinstance(value, dict) and depth < 2 and all(str(k).isidentifier() for k in value):
        inner = [x for k, v in value.items() for x in _entry(k, v, depth + 1, f"{path}.{k}", why)]
        return [_commented(f"{pad}{key}:", comment), *inner]
    short = f"{pad}{key}: {_flow(value, inside=False)}"
    if not isinstance(value, list) or not value:
        return [_commented(short, comment)]
    if not isinstance(value[0], dict) and len(short) < 80:
        return [_commented(short, comment)]
    lines = [_commented(f"{pad}{key}:", comment)]
    for item in value:
        if isinstance(item, dict):
            inner = [f"{k}: {_flow(v, inside=False)}" for k, v in item.items()]
            lines += [f"{pad}  {'- ' if i == 0 else '  '}{line}" for i, line in enumerate(inner)]
        else:
            lines.append(f"{pad}  - {_flow(item, inside=False)}")
    return lines


def _commented(text: str, comment: str) -> str:
    """The comment beside the text; above it where the line would grow too long."""
    if not comment:
        return text
    beside = f"{text:<{COLUMN - 2}}  # {comment}"
    if len(beside) <= WIDTH:
        return beside
    pad = " " * (len(text) - len(text.lstrip()))
    lines, line = [], f"{pad}#"
    for word in comment.split():
        if len(line) + len(word) >= WIDTH:
            lines.append(line)
            line = f"{pad}#"
        line += f" {word}"
    return "\n".join([*lines, line, text])


def _flow(value: Any, inside: bool = True) -> str:
    """A value on one line; text is quoted where YAML would read it as something else."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        read = parse_yaml(f"[{value}]" if inside else f"a: {value}", "")
        if value.isprintable() and read in ([value], {"a": value}):
            return value
    except ConfigError:
        pass
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    """One character of a double-quoted YAML text."""
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def spelled_root(data: Path, workspace: Path) -> str:
    """`data.root`: relative where the data lie inside the workspace, else absolute."""
    data, workspace = data.resolve(), workspace.resolve()
    if data.is_relative_to(workspace) and data != workspace:
        return data.relative_to(workspace).as_posix()
    return "." if data == workspace else str(data)
