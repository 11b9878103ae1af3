"""A fold without torch: the real generations, store and commits around a sum that takes no time.

    python tests/faults/toy.py FOLDER [MUTANT]

prints RESUME, COMMIT and DONE lines; what it has said to be committed must be there whatever happens next.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from comp.errors import CompError
from comp.files import read_json, remove_temporaries, write_json
from comp.store import ProbsWriter, read_result, write_result
from comp.store import generations as store

STEPS, PER_EPOCH = 5, 3
Say = Callable[[str], None]


def position(step: int) -> store.Position:
    return store.Position(*divmod(step, PER_EPOCH))


def next_state(state: np.ndarray, step: int) -> np.ndarray:
    """What a step makes of the state: any order or repetition but the right one gives other bytes."""
    seed = hashlib.sha256(state.tobytes() + bytes([step])).digest()
    return np.random.default_rng(list(seed)).integers(0, 256, len(state), dtype=np.uint8)


def states() -> dict[int, bytes]:
    """The bytes of the state after each step of a run that nothing happens to."""
    state, found = np.zeros(3000, np.uint8), {}
    for step in range(1, STEPS + 1):
        state = next_state(state, step)
        found[step] = state.tobytes()
    return found


def work(folder: Path, say: Say) -> None:
    """Do the fold, or what is left of it."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_temporaries(folder)
    if read_result(folder, verify=True) is None:
        train(folder, say)
    store.remove_generations(folder)
    result = read_result(folder, verify=True)
    assert result is not None
    say(f"DONE {result['files']['oof.none.npy']['sha256']}")


def train(folder: Path, say: Say) -> None:
    """Steps, each saved and then said; the outputs; the result last."""
    found = store.read_generation(folder, lambda text: say(f"NOTE {text}"))
    state, first = np.zeros(3000, np.uint8), 0
    if found is not None:
        data, at, _ = found
        state, first = np.frombuffer(data, np.uint8), at.epochs * PER_EPOCH + at.step
        say(f"RESUME {first}")
    for step in range(first + 1, STEPS + 1):
        state = next_state(state, step)
        save(folder, state.tobytes(), step, say)
    with ProbsWriter(folder / "oof.none") as writer:
        writer.append("a", state.reshape(1, 50, 60))
        files = writer.commit()
    write_result(folder, {"score": float(state.mean())}, [file.name for file in files])


def save(folder: Path, data: bytes, step: int, say: Say) -> None:
    """Commit a step, and a file that is rewritten each time and read by others meanwhile."""
    store.write_generation(folder, data, position(step))
    write_json(folder / "progress.json", {"step": step})
    say(f"COMMIT {step}")


def progress(folder: Path) -> int:
    """What `progress.json` says."""
    said: dict[str, Any] = read_json(folder / "progress.json")
    return int(said["step"])


def main() -> int:
    from tests.faults.mutants import MUTANTS

    folder = Path(sys.argv[1])
    if len(sys.argv) > 2:
        MUTANTS[sys.argv[2]](setattr)
    try:
        work(folder, lambda text: print(text, flush=True))
    except CompError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    sys.modules["tests.faults.toy"] = sys.modules["__main__"]
    sys.exit(main())
