"""Who runs a trial, named so that any other process later knows whether it still does.

On the machine itself the process is looked at. Elsewhere only its beat tells: a counter that must be seen
to change within `STALE_SECONDS` of the looker's own time; clocks of two machines are never compared.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from comp.jobs.processes import describe_process, is_alive

BEAT_SECONDS = 20.0  # a living parent raises the beat of its trials so often
STALE_SECONDS = 90.0  # a beat that stood still for so long is a dead parent's


def boot_id() -> str | None:
    """What tells one start of this machine's kernel from every other; None where nobody tells."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def make_lease() -> dict[str, Any]:
    """Name this process: pid, host, time of birth, boot."""
    return {**describe_process(), "boot": boot_id()}


class Watch:
    """Says of leases whether they are stale; remembers when each beat was last seen to change.

    Args:
        one_machine: the storage is a file of this machine, so that another boot of a host of this name is
            this one's past; over a network it may be a namesake.
    """

    def __init__(self, one_machine: bool) -> None:
        self._one_machine = one_machine
        self._here = make_lease()
        self._seen: dict[str, tuple[int, float]] = {}  # token -> beat, own time when it came

    def why_stale(self, token: str, lease: Any, beat: int) -> str | None:
        """Return why the lease is stale, or None: alive, or not yet known to be dead."""
        if not isinstance(lease, dict):
            return "it has no lease"
        who = f"pid {lease.get('pid')} on {lease.get('host')}"
        if lease.get("host") == self._here["host"]:
            if lease.get("boot") == self._here["boot"]:
                return None if is_alive(lease) else f"{who} ended"
            if self._one_machine:
                return f"{who} ended: the machine was started anew"
        known = self._seen.get(token)
        now = time.monotonic()
        if known is None or known[0] != beat:
            self._seen[token] = (beat, now)
            return None
        still = now - known[1]
        return f"{who} gave no sign for {still:.0f} s" if still >= STALE_SECONDS else None
