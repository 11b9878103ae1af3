"""The names below a data folder, read once; what `comp init` looks at before it opens any file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from comp.data.sources.patterns import folders_below, is_image_name
from comp.errors import DataError


@dataclass(frozen=True, eq=False)
class Tree:
    """The names below a folder, litter aside.

    Args:
        images: folder relative to `root` ("" is `root`) -> its image names, sorted; only folders
            that hold images.
        others: folder -> names of its other files.
    """

    root: Path
    images: dict[str, list[str]]
    others: dict[str, list[str]]

    @cached_property
    def children(self) -> dict[str, list[str]]:
        """Folder -> the folders right below it that hold images, at any depth, sorted."""
        found: dict[str, set[str]] = {}
        for folder in self.images:
            while folder:
                parent, _ = split_folder(folder)
                found.setdefault(parent, set()).add(folder)
                folder = parent
        return {parent: sorted(below) for parent, below in found.items()}

    @cached_property
    def image_set(self) -> frozenset[str]:
        """Every image file, relative to `root`."""
        return frozenset(join(f, name) for f, names in self.images.items() for name in names)

    def below(self, folder: str) -> Iterator[str]:
        """Folders with images at or below `folder`, sorted."""
        todo = [folder]
        while todo:
            here = todo.pop()
            if here in self.images:
                yield here
            todo += reversed(self.children.get(here, []))

    def files(self, *endings: str) -> list[str]:
        """Other files whose names end so, in any case, those nearest to the root first."""
        found = [
            join(folder, name)
            for folder, names in self.others.items()
            for name in names
            if name.lower().endswith(endings)
        ]
        return sorted(found, key=lambda path: (path.count("/"), path))


def walk(root: Path) -> Tree:
    """List the names below `root`.

    Raises:
        DataError: a folder that cannot be listed, or a link that leads in a circle.
    """
    tree = Tree(root, {}, {})
    for folder, held in folders_below(root):
        for name, is_folder in held:
            if is_folder:
                continue
            if "\n" in name or "\r" in name:
                raise DataError(f"{root / folder}: a line break in the name {name!r}; rename it")
            kind = tree.images if is_image_name(name) else tree.others
            kind.setdefault(folder, []).append(name)
    return tree


def join(folder: str, name: str) -> str:
    """`folder/name`; either may be "", the folder itself."""
    return f"{folder}/{name}" if folder and name else folder or name


def split_folder(folder: str) -> tuple[str, str]:
    """(parent, last part) of a relative path."""
    parent, _, last = folder.rpartition("/")
    return parent, last


def stem(name: str) -> str:
    return name.rpartition(".")[0]
