"""Which runs and ensembles may label the test images, and what is said of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comp.blending.recipe import Member, Recipe, Scores, file_hashes, write_recipe
from comp.config import Competition, ModelConfig, Pseudo, data_root, resolved
from comp.data.folds.table import FoldTable
from comp.data.samples.pseudo import PseudoSource, check_pseudo, find_source, with_pseudo
from comp.data.sources.records import find_records
from comp.errors import CompError, DataError, RunMismatchError, UsageError
from comp.files import Workspace, read_json, write_json
from comp.store import ProbsWriter, quantise, read_run, write_result
from tests.fake_runs import make_competition, make_folds, make_run


class Place:
    """A workspace with a finished run `first` of three folds."""

    def __init__(self, root: Path, **run: Any) -> None:
        self.workspace, self.competition = make_competition(root)
        self.table = make_folds(self.workspace, self.competition)
        make_run(self.workspace, self.competition, self.table, "first", **run)

    def run(self, name: str, **more: Any) -> None:
        make_run(self.workspace, self.competition, self.table, name, **more)

    def ensemble(self, name: str, runs: Sequence[str]) -> None:
        members = []
        for n, run in enumerate(runs):
            found = read_run(self.workspace, run)
            oof, test = (file_hashes(found.folds, kind, "none") for kind in ("oof", "test"))
            members.append(Member(run, found.config_hash, "none", 1 + n, oof, test, 0.5))
        recipe = Recipe(
            name=name, competition="toy", task="binary", classes=("roof",), folds_hash=self.table.hash,
            folds=(0, 1, 2), metric="iou_image_mean", greater_is_better=True, members=tuple(members),
            thresholds=(0.4,), min_area_px=0, chosen="fitted", method="greedy", reason="best",
            scores=Scores(None, None, None, None, None), n_images=12, created="now",
        )  # fmt: skip
        write_recipe(self.workspace.ensemble(name) / "recipe.json", recipe)

    def find(
        self,
        asked: str,
        competition: Competition | None = None,
        table: FoldTable | None = None,
        trained: Sequence[str] = ("second",),
        content: str = "seen",
    ) -> PseudoSource:
        competition = competition or self.competition
        records = find_records(competition, data_root(self.workspace, competition))
        said = read_json(self.workspace.run("first") / "config.json")
        whole = resolved(competition)
        shared = {
            "competition": {
                key: whole[key] for key in ("task", "classes", "ignore_index", "metric")
            },
            "data": said["data"],
            "folds_hash": "x",
        }
        ids = [record.image_id for record in records.test]
        return find_source(
            self.workspace,
            competition,
            asked,
            table or self.table,
            shared,
            trained,
            test_ids=ids,
            test_content=content,
        )

    def refused(self, kind: type[CompError], asked: str, *parts: str, **more: Any) -> None:
        with pytest.raises(kind) as caught:
            self.find(asked, **more)
        assert type(caught.value) is kind
        for part in (f"--pseudo {asked}", *parts):
            assert part in str(caught.value)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_run_with_every_set_of_its_views(tmp_path: Path) -> None:
    place = Place(tmp_path, views=("none", "hflip"))
    source = place.find("first")
    assert (source.kind, source.name) == ("run", "first")
    assert sorted((m.run, m.views) for m in source.members) == [
        ("first", "hflip"),
        ("first", "none"),
    ]
    for member in source.members:
        assert sorted(member.files) == sorted(
            f"fold{k}/test.{member.views}.{suffix}" for k in range(3) for suffix in ("npy", "csv")
        )
    assert place.find("run:first") == source


def test_an_ensemble_with_all_its_members_alike(place: Place) -> None:
    place.run("other")
    place.ensemble("both", ["first", "other"])
    source = place.find("both")
    assert (source.kind, source.name) == ("ensemble", "both")
    assert [m.run for m in source.members] == ["first", "other"]
    place.ensemble("first", ["other"])
    place.refused(UsageError, "first", "both a run and an ensemble", "run:first or ensemble:first")
    assert [m.run for m in place.find("ensemble:first").members] == ["other"]
    place.run("other", store="uint16")
    with pytest.raises(RunMismatchError, match="run 'other' changed since the ensemble was fitted"):
        place.find("both")


def test_the_identity_holds_config_and_files(place: Place) -> None:
    before = place.find("first").identity
    assert before["run"] == "first" and list(before["members"]) == ["first (none)"]
    assert before["members"]["first (none)"]["config_hash"] == "hash-first"
    source = place.find("first")
    (member,) = source.members
    files = {**member.files, "fold1/test.none.npy": "0" * 64}
    assert replace(source, members=(replace(member, files=files),)).identity != before
    assert replace(source, members=(replace(member, config_hash="x"),)).identity != before


def test_names(place: Place) -> None:
    with pytest.raises(UsageError, match=r"--pseudo: unknown run or ensemble 'fist'.*'first'"):
        place.find("fist")
    place.refused(UsageError, "ensemble:first", "ensemble 'first'")
    place.refused(
        UsageError, "first", "first is what would be trained", "--name", trained=("first",)
    )
    empty = Workspace(place.workspace.root, "empty")
    with pytest.raises(UsageError, match="there is no run yet; train one with `comp cv` first"):
        find_source(
            empty,
            place.competition,
            "first",
            place.table,
            {},
            [],
            test_ids=["a"],
            test_content="seen",
        )


def test_other_folds(place: Place) -> None:
    other = replace(place.table, fold=(1, 0, *place.table.fold[2:]))
    place.refused(
        RunMismatchError, "first", "on other folds", place.table.hash, other.hash, table=other
    )


def test_other_classes_and_data(place: Place) -> None:
    classes = place.competition.model_copy(update={"classes": ("tree",)})
    place.refused(
        RunMismatchError, "first", "competition.classes: ['roof'] -> ['tree']", competition=classes
    )
    metric = place.competition.model_copy(update={"metric": "dice_image_mean"})
    assert place.find("first", competition=metric) == place.find("first")  # no reason to refuse
    said = read_json(place.workspace.run("first") / "config.json")
    place.run(
        "older",
        shared={"competition": said["competition"], "data": {**said["data"], "content": "x"}},
    )
    place.refused(RunMismatchError, "older", "same data", "data.content: 'x' -> ")


def test_incomplete(place: Place) -> None:
    place.run("half", folds=[0, 2])
    place.refused(RunMismatchError, "half", "is incomplete", "missing: 1;", "`comp cv`")


def test_without_test_probabilities(place: Place) -> None:
    place.run("blind", test=False)
    place.refused(RunMismatchError, "blind", "no test probabilities of fold 0 in the views 'none'")
    none = place.competition.data.model_copy(update={"test": None})
    competition = place.competition.model_copy(update={"data": none})
    place.refused(DataError, "first", "has no test images", competition=competition)


def test_other_test_images(place: Place) -> None:
    folder = place.workspace.fold("first", 1)
    with ProbsWriter(folder / "test.none") as writer:
        for image_id in ("t00", "t01", "t02", "z"):
            writer.append(image_id, quantise(np.zeros((1, 24, 24))))
        writer.commit()
    result = read_json(folder / "result.json")
    write_result(folder, {k: v for k, v in result.items() if k != "files"}, list(result["files"]))
    place.refused(
        RunMismatchError, "first", "fold1/test.none.npy", "missing 1: t03", "unknown 1: z"
    )


def test_changed_test_images(tmp_path: Path) -> None:
    place = Place(tmp_path, test_content="seen")
    assert place.find("first").name == "first"
    place.refused(
        RunMismatchError,
        "first",
        "run 'first': fold0/test.none.npy: test images changed since they were predicted "
        "(content seen, now other); put them back, or run its `comp cv` again",
        content="other",
    )


def test_damaged_files(place: Place) -> None:
    path = place.workspace.fold("first", 2) / "test.none.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(RunMismatchError, match=r"fold2/test\.none\.npy: expected sha256"):
        place.find("first")


def test_a_config_that_nobody_asked_to_use() -> None:
    config = ModelConfig.model_validate({"train": {"pseudo": {"share": 0.5}}})
    assert check_pseudo(config, True) == [] == check_pseudo(ModelConfig(), False)
    (problem,) = check_pseudo(config, False)
    assert problem.startswith("train.pseudo: ") and "--pseudo RUN" in problem
    assert with_pseudo(config) is config
    assert with_pseudo(ModelConfig()).train.pseudo == Pseudo()


def test_the_config_without_it_is_as_it_was() -> None:
    assert "pseudo" not in resolved(ModelConfig())["train"]
    said = resolved(with_pseudo(ModelConfig()))["train"]["pseudo"]
    assert said == {"share": 0.25, "confidence": [0.1, 0.9]}
    for wrong, message in (
        ({"share": 0}, "greater than 0"),
        ({"share": 1}, "less than 1"),
        ({"confidence": [0.9, 0.1]}, r"low <= high, got \[0.9, 0.1\]"),
        ({"confidence": [0.9, 1.1]}, "less than or equal to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            Pseudo.model_validate(wrong)


def test_write_json_is_what_config_json_holds(place: Place) -> None:
    path = write_json(place.workspace.root / "x.json", place.find("first").identity)
    assert read_json(path) == place.find("first").identity
