"""Names to things: the hint for a near miss, and the user's own code by import path."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comp.errors import ConfigError, UnknownNameError
from comp.registry import is_import_path, load_object, lookup, nearest, unknown
from tests.processes import run_python

TABLE = {"dice": 1, "jaccard": 2, "bce": 3, "DeepLabV3Plus": 4}


def test_lookup_finds() -> None:
    assert lookup(TABLE, "dice", "loss") == 1


def test_lookup_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown loss 'jacard'; did you mean 'jaccard'\?"):
        lookup(TABLE, "jacard", "loss")


def test_lookup_ignores_case_for_the_hint() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'DeepLabV3Plus'"):
        lookup(TABLE, "deeplabv3plus", "arch")


def test_lookup_lists_all_when_nothing_is_near() -> None:
    with pytest.raises(UnknownNameError, match="known: DeepLabV3Plus, bce, dice, jaccard"):
        lookup(TABLE, "zzz", "loss")


@given(st.sampled_from(sorted(TABLE)))
def test_a_known_name_is_its_own_nearest(name: str) -> None:
    assert nearest(name.swapcase(), TABLE) == name


@given(st.text(), st.lists(st.text(min_size=1)))
def test_nearest_never_invents(name: str, names: list[str]) -> None:
    assert nearest(name, names) in {None, *names}
    assert repr(name) in unknown(name, names, "thing")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("package.module:Name", True),
        ("module:Name", True),
        ("module:", False),
        (":Name", False),
        ("Name", False),
        ("a b:Name", False),
        ("../x:Name", False),
        ("m:N:O", False),
    ],
)
def test_is_import_path(text: str, expected: bool) -> None:
    assert is_import_path(text) is expected


def test_load_object() -> None:
    assert load_object("pathlib:Path") is Path


@pytest.mark.parametrize("path", ["no_such_module_here:X", "pathlib:NoSuchName"])
def test_load_object_says_what_failed(path: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot import '{path}'"):
        load_object(path)


def test_a_workspace_does_not_stand_in_for_packages_that_are_missing(tmp_path: Path) -> None:
    """Until the user names code of it, no file of a workspace can be imported."""
    (tmp_path / "rasterio_of_nobody.py").write_text("print('PWNED')")
    (tmp_path / "mine_of_somebody.py").write_text("Name = 7")
    said = run_python(
        "from pathlib import Path\n"
        "from comp.registry import load_object, use_code_of\n"
        f"use_code_of(Path({str(tmp_path)!r}))\n"
        "try:\n    import rasterio_of_nobody\nexcept ImportError:\n    print('absent')\n"
        "print(load_object('mine_of_somebody:Name'))"
    )
    assert said.startswith("absent\nusing mine_of_somebody:Name from ") and said.endswith("7\n")
