"""Writes `configs/M.tuned.yaml`: what a study found, as a config that extends the one it searched around.

What is written is the very config that was confirmed: it is read back and compared before it takes its
name. A file that a person changed, and one that a finished run was made from, are left as they are.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from comp.config import ModelConfig, Tuned, check, dump_yaml, load_model, parse_yaml, resolved
from comp.config.reading import Layers, merge
from comp.errors import CompError
from comp.files import Workspace, commit, digest
from comp.tuning.space import Space, trial_config, trial_layers

HASH_LINE = re.compile(r"^# hash ([0-9a-f]{16}) .*\n", re.MULTILINE)
SUFFIX = re.compile(r"\.tuned(-\d+)?$")
TUNED = "tuned"


class Written(NamedTuple):
    """The tuned config.

    Attributes:
        path: of the file.
        notes: what else is to be said: which files were left as they are, and why.
    """

    path: Path
    notes: tuple[str, ...]


def write_tuned(
    workspace: Workspace,
    layers: Layers,
    space: Space,
    params: Mapping[str, Any],
    tuned: Tuned,
    *,
    metric: str,
    value: float,
    verdict: str | None = None,
    real: bool | None = None,
) -> Written:
    """Write the config of `params` beside the workspace's others.

    Args:
        layers: the config that was searched around, with the overrides that the tuned one keeps.
        params: exactly those that were confirmed (`Space.rounded` gives them few digits before that).
        tuned: study, trials, folds: how `comp cv` marks its report. Of a config that was itself tuned on
            the same folds file the earlier folds and trials are counted too.
        value: of the metric in the search.
        verdict: what confirming said, one sentence; None: nothing was confirmed.
        real: whether it says that the gain is real; None: unknown.
    """
    config = trial_config(layers, space, params)
    final = {k: v for k, v in trial_layers(layers, space, params).values.items() if k != TUNED}
    mark = _with_earlier(tuned, layers)
    base_path, base = _base_of(layers)
    stem = SUFFIX.sub("", (base_path or Path(layers.files[-1][0])).stem)
    path, notes = _choose_path(workspace, stem, Path(layers.files[-1][0]), config)
    head = _head(base_path, path, tuned, metric, value, verdict, real)
    body, extends = final, None
    if base_path is not None:
        change = _changed(base, final)
        if merge(base, change) == final:
            extends = Path(os.path.relpath(base_path, path.parent)).as_posix()
            body = change
        else:
            head.append("# all of it: what is no longer said cannot be taken away by `extends`")
    text = _with_hash("\n".join(head) + "\n\n" + _dump(body, extends, mark))
    _check_same(text, {} if extends is None else base, config, mark)
    return Written(commit(path, text), tuple(notes))


def is_untouched(text: str) -> bool:
    """True for what `write_tuned` wrote and nobody changed since."""
    found = HASH_LINE.search(text)
    return found is not None and digest(HASH_LINE.sub("", text, count=1)) == found[1]


def _with_hash(text: str) -> str:
    line = f"# hash {digest(text)} of the other lines: comp tune does not write over what a person changed\n"
    head, blank, body = text.partition("\n\n")
    return f"{head}\n{line}{blank[1:]}{body}"


def _with_earlier(tuned: Tuned, layers: Layers) -> Tuned:
    """`tuned` with what an earlier study chose on folds of the same file."""
    said = layers.values.get(TUNED)
    if not isinstance(said, dict):
        return tuned
    earlier = Tuned.model_validate(said)
    if earlier.folds_hash != tuned.folds_hash:
        return tuned
    both = {
        "folds": tuple(sorted({*earlier.folds, *tuned.folds})),
        "confirmed": tuple(sorted({*earlier.confirmed, *tuned.confirmed})),
        "trials": earlier.trials + tuned.trials,
    }
    return tuned.model_copy(update=both)


def _base_of(layers: Layers) -> tuple[Path | None, dict[str, Any]]:
    """The file to extend, and what it says with its parents; of a tuned file the one that it extends.

    None where a tuned file extends nothing: it holds all of it.
    """
    files = list(layers.files)
    while files and TUNED in files[-1][1]:
        files.pop()
    values: dict[str, Any] = {}
    for _, own in files:
        values = merge(values, own)
    return (Path(files[-1][0]).resolve() if files else None), values


def _choose_path(
    workspace: Workspace, stem: str, source: Path, config: ModelConfig
) -> tuple[Path, list[str]]:
    """The first name that is free, or whose file may be written over; why others were not."""
    notes = []
    for number in count(1):
        path = workspace.configs / f"{stem}.tuned{'' if number == 1 else f'-{number}'}.yaml"
        if not path.exists():
            break
        if why := _why_kept(workspace, path, source, config):
            notes.append(f"{workspace.relative(path)} {why}, so it is left as it is")
            continue
        break
    return path, notes


def _why_kept(workspace: Workspace, path: Path, source: Path, config: ModelConfig) -> str:
    """Why a file is not written over; "" where it may be."""
    if path.resolve() == source.resolve():
        return "is what was tuned"
    try:
        if not is_untouched(path.read_text(encoding="utf-8")):
            return "was changed by hand"
    except (OSError, UnicodeDecodeError):
        return "cannot be read"
    with contextlib.suppress(CompError):
        if resolved(load_model(path)) == resolved(config):
            return ""
    run = workspace.run(path.stem)
    if any(run.glob("fold*/result.json")):
        return f"has other values, which {workspace.relative(run)} was made from"
    return ""


def _head(
    base_path: Path | None,
    path: Path,
    tuned: Tuned,
    metric: str,
    value: float,
    verdict: str | None,
    real: bool | None,
) -> list[str]:
    """The comment: study, trials, value, folds, and whether the gain is real."""
    of = "" if base_path is None else f" of {base_path.name}"
    folds = f"fold{'s' * (len(tuned.folds) > 1)} {', '.join(map(str, tuned.folds))}"
    sentence = " ".join((verdict or "").split())
    if real is False:
        first = "The gain is not real: another choice of seeds may find the untuned config better."
    elif real is None:
        first = "Nothing was confirmed: the gain may be chance."
    else:
        first = "The gain was confirmed with other seeds."
    said = [
        f"Written by comp tune: what it changes{of}.",
        first,
        *([sentence] if sentence else []),
        f"In the search: {metric} {value:.4f} on {folds}, the choice of study {tuned.study} among "
        f"{tuned.trials} trials, which flatters.",
        "",
        f"  comp cv --config {path.name}",
        "",
    ]
    return [f"# {line}".rstrip() for line in said]


def _changed(base: Mapping[str, Any], final: Mapping[str, Any]) -> dict[str, Any]:
    """What `final` says that `base` does not, mappings key by key, lists whole."""
    found = {}
    for key, value in final.items():
        old = base.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            if inner := _changed(old, value):
                found[key] = inner
        elif key not in base or old != value or type(old) is not type(value):
            found[key] = value
    return found


def _dump(body: Mapping[str, Any], extends: str | None, mark: Tuned) -> str:
    parts: dict[str, Any] = {} if extends is None else {"extends": extends}
    parts |= {key: body[key] for key in ModelConfig.model_fields if key in body}
    parts[TUNED] = mark.model_dump(mode="json")
    return "\n".join(dump_yaml({key: value}) for key, value in parts.items())


def _check_same(text: str, base: dict[str, Any], config: ModelConfig, mark: Tuned) -> None:
    """What was written is what was confirmed, or it is a bug."""
    said = parse_yaml(text, "the tuned config")
    said.pop("extends", None)
    read = check(ModelConfig, merge(base, said), "the tuned config")
    if resolved(read) != resolved(config) or read.tuned != mark:
        raise RuntimeError(f"the tuned config reads back as another one:\n{text}")
