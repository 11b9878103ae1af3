"""How a job tells that it moves, from wherever it works: a step trained, an image predicted.

One job at a time works in a process, so there is one listener. Without one, a beat costs a comparison.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Hear = Callable[[str, int, int, dict[str, int]], None]
_listeners: list[Hear] = []


def beat(stage: str, done: int, of: int, **said: int) -> None:
    """Tell whoever listens that `done` of `of` steps of a stage are behind us.

    Args:
        stage: steps (of an epoch) or images (of a prediction).
        said: more of the place, such as epoch.
    """
    if _listeners:
        _listeners[-1](stage, done, of, said)


@contextlib.contextmanager
def listening(hear: Hear) -> Iterator[None]:
    """Hand every beat to `hear` while the block runs."""
    _listeners.append(hear)
    try:
        yield
    finally:
        _listeners.remove(hear)


@contextlib.contextmanager
def one_of(position: int, of: int) -> Iterator[None]:
    """Tell beats of the block as those of one part of `of` equal ones, `position` from 0: epochs go on counting."""
    if not _listeners:
        yield
        return
    whole = _listeners[-1]

    def hear(stage: str, done: int, steps: int, said: dict[str, int]) -> None:
        if "epoch" in said and (epochs := said.get("epochs")):
            said = {**said, "epoch": position * epochs + said["epoch"], "epochs": of * epochs}
        whole(stage, done, steps, said)

    with listening(hear):
        yield
