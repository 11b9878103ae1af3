"""What a study was made of: kept with it, compared on every start, and said where it differs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from comp.errors import UsageError
from comp.tuning.storage import Place

META = "comp"  # the study's user attribute that says what it was made of
VERSIONS = ("comp", "optuna")  # may be others on a later start: said, not refused


def full_meta(
    meta: Mapping[str, Any],
    distributions: Mapping[str, Any],
    untuned: Mapping[str, Any] | None,
    **settings: Any,
) -> dict[str, Any]:
    """All that a study's results depend on, as JSON."""
    import optuna

    made = {
        **meta,
        **settings,
        "optuna": optuna.__version__,
        "untuned": None if untuned is None else inside_space(untuned, distributions),
        "space": space_json(distributions),
    }
    return dict(json.loads(json.dumps(made)))


def other_versions(name: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say with which other versions a study was begun."""
    return [
        f"study {name!r} was begun with {key} {then.get(key)}, this is {now.get(key)}: "
        "what is drawn from now on may differ"
        for key in VERSIONS
        if then.get(key) != now.get(key)
    ]


def find_or_make(place: Place, name: str, meta: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The study's id and what it was made of. The lock is held."""
    from optuna.study import StudyDirection

    names = {s.study_name: s._study_id for s in place.storage.get_all_studies()}
    if name in names:
        then = place.storage.get_study_user_attrs(names[name]).get(META)
        if then is not None or place.storage.get_all_trials(names[name], deepcopy=False):
            return find_study(place, name)
        study_id = names[name]  # its maker died between the two writes
    else:
        directions = [StudyDirection[d.upper()] for d in meta["directions"]]
        study_id = place.storage.create_new_study(directions, name)
    place.storage.set_study_user_attr(study_id, META, meta)
    return study_id, meta


def find_study(place: Place, name: str) -> tuple[int, dict[str, Any]]:
    found = {s.study_name: s for s in place.storage.get_all_studies()}
    if name not in found:
        there = ", ".join(sorted(found)) or "none"
        raise UsageError(f"no study {name!r} in {place.shown}; it holds: {there}")
    meta = found[name].user_attrs.get(META)
    if not isinstance(meta, dict) or "space" not in meta:
        raise UsageError(
            f"study {name!r} in {place.shown} was not made by `comp tune`; name another one with --study NAME"
        )
    return found[name]._study_id, meta


def differences(then: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[str]:
    """Every value that two studies do not share: `key: that there, this now`; versions are left out.

    Args:
        path: dotted, of what is compared, with its last dot.
    """
    found = []
    for key in dict.fromkeys((*then, *now)):
        a, b = then.get(key), now.get(key)
        if a == b or (not path and key in VERSIONS):
            continue
        if not path and key == "space":
            a, b = a or {}, b or {}
            found += [
                f"{name}: {say_range(a.get(name))} there, {say_range(b.get(name))} now"
                for name in dict.fromkeys((*a, *b))
                if a.get(name) != b.get(name)
            ]
        elif type(a) is type(b) and (there := _named(a)) and (here := _named(b)):
            found += differences(there, here, f"{path}{key}.")
        else:
            found.append(f"{path}{key}: {json.dumps(a)} there, {json.dumps(b)} now")
    return found


def _named(value: Any) -> dict[str, Any] | None:
    """What a value holds, by name, or by place in a list of dicts; None for what is one value."""
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        return {str(place): each for place, each in enumerate(value)}
    return value if isinstance(value, dict) else None


def say_range(text: str | None) -> str:
    """A distribution as Optuna writes it, for people."""
    if text is None:
        return "not searched"
    says: dict[str, Any] = json.loads(text)["attributes"]
    if "choices" in says:
        return "one of " + ", ".join(str(choice) for choice in says["choices"])
    step = f" step {says['step']}" if says.get("step") not in (None, 1) else ""
    return f"{says['low']}..{says['high']}{step}{' log' if says.get('log') else ''}"


def space_json(distributions: Mapping[str, Any]) -> dict[str, str]:
    from optuna.distributions import distribution_to_json

    return {key: distribution_to_json(distributions[key]) for key in sorted(distributions)}


def inside_space(params: Mapping[str, Any], distributions: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the parameters that lie in the space."""
    from optuna.trial import TrialState, create_trial

    inside = {}
    for key, value in params.items():
        if key in distributions:
            space = {key: distributions[key]}
            with contextlib.suppress(ValueError, TypeError):  # outside, or of another kind
                create_trial(state=TrialState.RUNNING, params={key: value}, distributions=space)
                inside[key] = value
    return inside
