"""Facts about the machine, and what of them is a problem."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

import comp.jobs.machine as machine
import comp.models.gpus as gpus
from comp.jobs.machine import look_at_machine
from comp.models.gpus import Gpu


def test_this_machine_is_sound_and_is_described(tmp_path: Path) -> None:
    facts = {fact.name: fact for fact in look_at_machine(tmp_path)}
    assert not [fact for fact in facts.values() if fact.problem]
    assert {"comp", "packages", "extras", "cpu", "disk"} <= set(facts)
    assert "torch" in facts["packages"].text and "cores" in facts["cpu"].text
    assert "bf16" in facts["cpu"].text and str(tmp_path) in facts["disk"].text


def test_versions_outside_the_bounds_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = ["numpy<1", "torch>=1", 'rasterio>99; extra == "geo"', "nobody-has-this>3"]
    monkeypatch.setattr(metadata, "requires", lambda name: stated)
    (fact,) = machine.look_at_requirements()
    assert fact.problem and "comp needs numpy<1" in fact.text


def test_what_is_not_installed_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "NEEDED", ("numpy", "nobody-has-this"))
    facts = list(machine.look_at_packages())
    assert facts[-1].problem and facts[-1].text == "not installed: nobody-has-this"


def test_absent_extras_say_what_they_would_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "EXTRAS", {"nobody_has_this": ("geo", "places")})
    (fact,) = machine.look_at_extras()
    assert fact.text == 'none; without nobody_has_this (pip install "comp[geo]": places)'


def test_little_room_is_a_note(tmp_path: Path) -> None:
    assert machine.look_at_disk("disk", tmp_path, 2**70).note
    assert not machine.look_at_disk("disk", tmp_path, 0).note


def test_a_folder_that_cannot_be_written_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.os, "access", lambda path, mode: False)
    fact = machine.look_at_disk("disk", tmp_path, 0)
    assert fact.problem and "cannot be written" in fact.text


def test_gpus_are_told_and_a_broken_one_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        Gpu(0, "fast", 10 * 2**30, 16 * 2**30, True),
        Gpu(1, "unknown", 0, 0, False, "CUDA error: unspecified launch failure"),
    ]
    monkeypatch.setattr(gpus, "list_gpus", lambda: found)
    good, bad = machine.look_at_gpus()
    assert good.text == "fast, 10.0 of 16.0 GiB free, bf16" and not good.problem
    assert bad.problem and "launch failure" in bad.text
    monkeypatch.setattr(gpus, "list_gpus", list)
    (none,) = machine.look_at_gpus()
    assert "none" in none.text
