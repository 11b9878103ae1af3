"""The house: who may import whom, and what may not be imported at start. The order is law."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.processes import run_python

PACKAGE = Path(__file__).resolve().parent.parent / "comp"

# A module imports only what stands before it, or beside it in its own package.
ORDER = (
    ("comp.errors",),
    ("comp.registry",),
    ("comp.progress",),
    ("comp.files",),
    ("comp.config",),
    ("comp.masks",),
    ("comp.metrics",),
    ("comp.blending",),
    ("comp.formats",),
    ("comp.store",),
    ("comp.models",),
    ("comp.data",),
    ("comp.predict",),
    ("comp.train",),
    ("comp.jobs",),
    ("comp.tuning",),
    ("comp.plots",),
    ("comp.reports",),  # what a run left -> plots
    ("comp.commands",),
    ("comp.demo",),
    ("comp.cli",),
    ("comp.__main__",),
)
PLACE = {name: place for place, names in enumerate(ORDER) for name in names}

# The rooms of comp.data, in the same order: a room imports only those before it.
ROOMS = ("images", "sources", "layouts", "cache", "leaks", "folds", "checks", "intake", "samples")

TORCH = {"torch", "torchvision", "timm", "segmentation_models_pytorch", "ttach"}
TORCH_PLACES = (
    "comp.models",
    "comp.data.samples.loader",
    "comp.data.samples.train",
    "comp.predict",
    "comp.train",
    "comp.jobs.worker",
)

HEAVY = ("torch", "torchvision", "timm", "segmentation_models_pytorch", "pandas", "cv2")
HEAVY += ("albumentations", "numba", "scipy", "sklearn", "matplotlib", "optuna")
WITHOUT_TORCH = ("score", "submit", "ensemble", "leaderboard", "folds", "verify")


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def unit(module: str) -> str:
    """The part of the house that a module belongs to: comp.masks.rle -> comp.masks."""
    return ".".join(module.split(".")[:2])


def imports_of(source: str, module: str, is_package: bool) -> list[tuple[int, str, bool]]:
    """Every import, wherever it stands: (line, full module name, only for type checkers)."""
    found: list[tuple[int, str, bool]] = []

    def walk(node: ast.AST, typing_only: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                walk(child, True)
            for child in node.orelse:
                walk(child, typing_only)
            return
        if isinstance(node, ast.Import):
            found.extend((node.lineno, alias.name, typing_only) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = module.split(".") if is_package else module.split(".")[:-1]
                here = here[: len(here) - (node.level - 1)]
                base = ".".join([*here, *([base] if base else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.append((node.lineno, full if full in MODULES else base, typing_only))
        for child in ast.iter_child_nodes(node):
            walk(child, typing_only)

    walk(ast.parse(source), False)
    return found


def own_imports(module: str) -> list[tuple[int, str, bool]]:
    path = MODULES[module]
    source = path.read_text(encoding="utf-8")
    return imports_of(source, module, path.name == "__init__.py")


def test_every_module_has_its_place() -> None:
    homeless = sorted({unit(module) for module in MODULES} - set(PLACE) - {"comp"})
    assert not homeless, f"not in ORDER: {homeless}; give them a place or put them elsewhere"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_stands_before_it(module: str) -> None:
    if module == "comp":
        allowed_place = -1
    else:
        allowed_place = PLACE[unit(module)]
    wrong = []
    for line, name, _ in own_imports(module):
        if name != "comp" and not name.startswith("comp."):
            continue
        if name == "comp" or unit(name) == unit(module):
            continue  # comp itself holds only __version__; a package imports itself freely
        assert unit(name) in PLACE, f"{module}:{line} imports {name}, which is not in ORDER"
        if PLACE[unit(name)] >= allowed_place:
            wrong.append(f"{module}:{line} imports {name}, which stands later in the house")
    assert not wrong, "\n".join(wrong)


def room(module: str) -> int:
    """The place of a module of comp.data among its rooms."""
    return ROOMS.index(module.split(".")[2])


@pytest.mark.parametrize("module", sorted(m for m in MODULES if m.startswith("comp.data.")))
def test_a_room_of_data_imports_only_the_rooms_before_it(module: str) -> None:
    wrong = [
        f"{module}:{line} imports {name}"
        for line, name, _ in own_imports(module)
        if name.startswith("comp.data.") and room(name) > room(module)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_two_modules_wait_for_each_other() -> None:
    """Circles among modules: none but those named here, which only grow fewer."""
    known = {f"comp.train.{m}" for m in ("epoch", "job", "loop", "made", "outputs", "state")}
    imported = {m: {name for _, name, typing in own_imports(m) if not typing} for m in MODULES}
    reached: dict[str, set[str]] = {}
    for module in MODULES:
        seen: set[str] = set()
        todo = list(imported[module])
        while todo:
            name = todo.pop()
            if name in MODULES and name not in seen:
                seen.add(name)
                todo.extend(imported[name])
        reached[module] = seen
    circles = sorted(module for module in MODULES if module in reached[module])
    assert set(circles) <= known, circles


def test_commands_do_not_import_each_other() -> None:
    wrong = [
        f"{module}:{line} imports {name}"
        for module in MODULES
        if module.startswith("comp.commands.")
        for line, name, _ in own_imports(module)
        if name.startswith("comp.commands.") and name.split(".")[2] != module.split(".")[2]
    ]
    assert not wrong, "\n".join(wrong)


def test_torch_is_imported_only_in_its_places() -> None:
    wrong = [
        f"{module}:{line} imports {name}"
        for module in MODULES
        if not any(module == place or module.startswith(f"{place}.") for place in TORCH_PLACES)
        for line, name, typing_only in own_imports(module)
        if name.split(".")[0] in TORCH and not typing_only
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_is_named_for_leftovers() -> None:
    banned = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
    assert not [module for module in MODULES if module.split(".")[-1] in banned]


def test_every_module_says_what_it_owns() -> None:
    silent = [
        m for m, p in MODULES.items() if not ast.get_docstring(ast.parse(p.read_text("utf-8")))
    ]
    assert not silent, f"without a module docstring: {silent}"


def test_posix_only_modules_are_not_imported_at_the_top() -> None:
    """Importing, configuring and scoring must work where fcntl and its kin are missing."""
    wrong = []
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            posix = {"fcntl", "resource", "pwd", "grp", "termios"}.intersection(names)
            wrong += [f"{module}:{node.lineno} imports {name} at the top" for name in posix]
    assert not wrong, "\n".join(wrong)


def test_the_reader_of_imports_sees_all_kinds() -> None:
    source = (
        "import comp.store\nfrom comp.masks import decide\nfrom . import files\n"
        "def f():\n    from comp.models import x\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n"
    )
    found = imports_of(source, "comp.registry", is_package=False)
    assert (1, "comp.store", False) in found
    assert (2, "comp.masks.decide", False) in found
    assert (3, "comp.files", False) in found
    assert (5, "comp.models", False) in found
    assert (8, "torch", True) in found


def loaded_by(code: str) -> set[str]:
    """Run `code` in a fresh interpreter; return the top-level names of what it imported."""
    script = (
        f"import sys\nsys.argv = ['comp', '--help']\n{code}\n"
        "print('\\n<<' + ' '.join(sorted({name.split('.')[0] for name in sys.modules})) + '>>')\n"
    )
    return set(run_python(script).rpartition("<<")[2].strip().rstrip(">").split())


def test_help_imports_nothing_heavy() -> None:
    loaded = loaded_by("import comp.cli\ntry:\n    comp.cli.main()\nexcept SystemExit:\n    pass")
    assert not loaded.intersection(HEAVY)


@pytest.mark.parametrize("command", WITHOUT_TORCH)
def test_these_commands_start_without_torch(command: str) -> None:
    loaded = loaded_by(f"import comp.commands.{command}")
    assert not loaded.intersection(TORCH)
