"""Whether stored test probabilities are of the test images as they are now: the same ids and the same pixels.

A fold's result says which they were: `test_hash` of the ids ("" while a fold that is done predicts them
again), and `test_content` of the pixels as decoded
(`Cache.content_hash`). Results from before `test_content` do not, and are judged by the ids alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from comp.errors import RunMismatchError, some
from comp.store.probs import Probs

CONTENT = "test_content"  # key of result.json


def what_changed(result: Mapping[str, Any], test_hash: str, content: str | None) -> str | None:
    """What of the test images is not as a fold predicted them, in words; None: nothing.

    Args:
        result: of the fold, as `read_result` returns it.
        test_hash: of the ids of the test images.
        content: of their pixels; None where there are none.
    """
    if not result["test_hash"]:
        return "its test images are not predicted"
    if result["test_hash"] != test_hash:
        return "there are other test images"
    if result.get(CONTENT, content) != content:
        return f"test images changed (content {result[CONTENT]}, now {content})"
    return None


def open_test_probs(
    folder: Path,
    views: str,
    result: Mapping[str, Any],
    ids: Sequence[str],
    content: Callable[[], str],
    head: str,
    then: str = "",
) -> Probs:
    """Open the test probabilities of one fold, if they are of the test images as they are now.

    Args:
        folder: of the fold.
        result: of the fold.
        ids: of the test images.
        content: asked for the hash of their pixels, where the result tells one.
        head: begins every message, such as ``run 'unet'``.
        then: what to do after `comp cv`, with its comma.

    Raises:
        RunMismatchError: they are missing, or of other images.
    """
    stem, again = f"test.{views}", "run its `comp cv` again"
    if f"{stem}.npy" not in result["files"]:
        raise RunMismatchError(
            f"{head} has no test probabilities of fold {result['fold']} in the views {views!r}; "
            f"{again}, now that there are test images{then}"
        )
    where, probs = f"{head}: {folder.name}/{stem}.npy", Probs(folder / f"{stem}.npy")
    missing, extra = sorted(set(ids) - set(probs.ids)), sorted(set(probs.ids) - set(ids))
    if missing or extra:
        raise RunMismatchError(
            f"{where} is not of the test images"
            + (f"; missing {len(missing)}: {some(missing)}" if missing else "")
            + (f"; unknown {len(extra)}: {some(extra)}" if extra else "")
            + f"; {again}, which predicts them with the weights that are there{then}"
        )
    said = result.get(CONTENT)
    if said is not None and said != (now := content()):
        raise RunMismatchError(
            f"{where}: test images changed since they were predicted (content {said}, now {now}); put "
            f"them back, or {again}, which predicts them with the weights that are there{then}"
        )
    return probs
