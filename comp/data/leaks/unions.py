"""Links between N things -> the sets they form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


class Unions:
    """Sets of 0..n-1 that grow together (union-find with path halving)."""

    def __init__(self, n: int) -> None:
        self._parent = list(range(n))

    def find(self, i: int) -> int:
        """The smallest member of the set of `i`."""
        parent = self._parent
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        """Make one set of two."""
        a, b = self.find(i), self.find(j)
        self._parent[max(a, b)] = min(a, b)

    def join_equal(self, names: Sequence[str]) -> None:
        """Join everything that bears one name; an empty name binds nothing."""
        first: dict[str, int] = {}
        for i, name in enumerate(names):
            if name:
                self.join(first.setdefault(name, i), i)

    def labels(self) -> np.ndarray:
        """(n,) int64: the smallest member of each one's set."""
        return np.array([self.find(i) for i in range(len(self._parent))], np.int64)


def sets_of(n: int, links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The sets of two or more that links form, each sorted, in order of their first member."""
    unions = Unions(n)
    for i, j in links:
        unions.join(i, j)
    members: dict[int, list[int]] = {}
    for i, root in enumerate(unions.labels().tolist()):
        members.setdefault(root, []).append(i)
    return [found for found in members.values() if len(found) > 1]
