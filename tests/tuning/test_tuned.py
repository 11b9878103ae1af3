"""M.tuned.yaml: the very config that was confirmed, in few lines, and never over what a person wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comp.config import Tuned, config_hash, load_model, read_mapping
from comp.config.reading import read_layers
from comp.files import Workspace, write_json
from comp.tuning.knobs import Knob, Space, as_json
from comp.tuning.space import trial_config
from comp.tuning.tuned import Written, is_untouched, write_tuned

BASE = """
loss: {bce: 1.0, dice: 0.5}
optim: {name: SGD, lr: 2e-3, momentum: 0.9}
schedule: {name: onecycle}
train: {epochs: 4}
augment: [HorizontalFlip, {RandomBrightnessContrast: {p: 0.5}}]
"""
SCHEDULES = tuple(map(as_json, ({"name": "onecycle"}, {"name": "poly", "power": 0.9})))
SPACE = Space(
    (
        Knob("optim.lr", 1e-4, 1e-2, log=True),
        Knob("loss.dice.weight", 0.1, 10, log=True),
        Knob("schedule", choices=SCHEDULES),
        Knob("augment.1.RandomBrightnessContrast.p", 0, 1),
    )
)
FOUND = {
    "optim.lr": 0.00234567891,
    "loss.dice.weight": 1 / 3,
    "schedule": SCHEDULES[1],
    "augment.1.RandomBrightnessContrast.p": 0.25,
}
MARK = Tuned(study="m", trials=30, folds=(0, 1), folds_hash="f01d")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "m.yaml").write_text(BASE)
    return Workspace(tmp_path, "toy")


def write(
    workspace: Workspace,
    params: dict[str, Any],
    source: str = "m.yaml",
    overrides: tuple[str, ...] = (),
    space: Space = SPACE,
    mark: Tuned = MARK,
    **more: Any,
) -> Written:
    """Write, and check that what is read is what was confirmed."""
    layers = read_layers(workspace.configs / source, overrides)
    written = write_tuned(
        workspace, layers, space, params, mark, metric="iou_image_mean", value=0.73125, **more
    )
    assert is_untouched(written.path.read_text())
    read = load_model(written.path)
    assert config_hash(read) == config_hash(trial_config(layers, space, params))
    return written


def test_only_what_changed(workspace: Workspace) -> None:
    path, notes = write(workspace, SPACE.rounded(FOUND))
    assert path == workspace.configs / "m.tuned.yaml" and notes == ()
    own = read_layers(path).files[-1][1]
    assert own == {
        "loss": {"dice": {"weight": 0.3333}},
        "optim": {"lr": 0.002346},
        "schedule": {"name": "poly", "power": 0.9},
        "augment": ["HorizontalFlip", {"RandomBrightnessContrast": {"p": 0.25}}],
        "tuned": {"study": "m", "trials": 30, "folds": [0, 1], "folds_hash": "f01d"},
    }
    assert "extends: m.yaml" in path.read_text()
    assert load_model(path).tuned == MARK


def test_every_digit_that_was_confirmed(workspace: Workspace) -> None:
    path, _ = write(workspace, FOUND)
    config = load_model(path)
    assert config.optim.lr == 0.00234567891 and config.loss["dice"].weight == 1 / 3


def test_overrides_of_the_search_are_kept(workspace: Workspace) -> None:
    path, _ = write(workspace, {"optim.lr": 1e-3}, overrides=("train.epochs=7", "model.head=null"))
    own = read_layers(path).files[-1][1]
    assert own["train"] == {"epochs": 7} and own["optim"] == {"lr": 1e-3}
    assert load_model(path).train.epochs == 7


def test_what_extends_cannot_take_away_is_written_whole(workspace: Workspace) -> None:
    choices = tuple(map(as_json, ({"name": "SGD"}, {"name": "Adam", "lr": 1e-3})))
    space = Space((Knob("optim", choices=choices),))
    path, _ = write(workspace, {"optim": choices[1]}, space=space)
    assert "extends:" not in path.read_text()  # it would leave Adam the momentum of SGD
    assert load_model(path).optim.kwargs == {} and load_model(path).train.epochs == 4
    again, _ = write(workspace, {"optim": choices[0]}, source=path.name, space=space)
    assert again.name == "m.tuned-2.yaml" and load_model(again).optim.name == "SGD"


def test_text_that_looks_like_a_number_stays_text(workspace: Workspace) -> None:
    space = Space((Knob("model.encoder_name", choices=('"1e-5"', '"on"', '"0x1f"', '"a b"')),))
    for choice in space.knobs[0].choices:
        path, _ = write(workspace, {"model.encoder_name": choice}, space=space)
        assert as_json(read_mapping(path)["model"]["encoder_name"]) == choice


def test_the_comment_says_what_it_is_worth(workspace: Workspace) -> None:
    said = "0.012 +- 0.003 better on folds 2, 3\nwith 3 new seeds: real"
    path, _ = write(workspace, FOUND, verdict=said, real=True)
    head = path.read_text().partition("extends")[0]
    assert all(line.startswith("#") for line in head.splitlines() if line)
    assert "0.012 +- 0.003 better on folds 2, 3 with 3 new seeds: real" in head
    assert "iou_image_mean 0.7312 on folds 0, 1, the choice of study m among 30 trials" in head
    assert "comp cv --config m.tuned.yaml" in head
    assert "The gain was confirmed" in head
    write(workspace, FOUND, verdict="not real: 0.001 +- 0.003", real=False)
    assert "The gain is not real" in path.read_text() and "# not real: 0.001" in path.read_text()
    write(workspace, FOUND)
    assert "Nothing was confirmed: the gain may be chance" in path.read_text()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("lr: 0.002346", "lr: 0.003"),
        lambda text: text + "train: {epochs: 9}\n",
        lambda text: "\n".join(line for line in text.splitlines() if "# hash" not in line),
        lambda text: text.replace("# Written", "# My note. Written"),
    ],
)
def test_what_a_person_changed_is_left_alone(workspace: Workspace, change: Any) -> None:
    path, _ = write(workspace, SPACE.rounded(FOUND))
    edited = change(path.read_text())
    assert edited != path.read_text()
    path.write_text(edited)
    other, notes = write(workspace, FOUND)
    assert path.read_text() == edited
    assert other.name == "m.tuned-2.yaml" and "--config m.tuned-2.yaml" in other.read_text()
    assert notes == ("configs/m.tuned.yaml was changed by hand, so it is left as it is",)
    third, notes = write(workspace, {"optim.lr": 1e-3})
    assert third == other and len(notes) == 1  # its own file it writes over


def test_one_that_a_finished_run_was_made_from_is_left_alone(workspace: Workspace) -> None:
    path, _ = write(workspace, FOUND)
    result = workspace.run("m.tuned") / "fold0" / "result.json"
    result.parent.mkdir(parents=True)
    assert write(workspace, {"optim.lr": 1e-3}).path == path  # no fold is finished
    write_json(result, {})
    assert write(workspace, {"optim.lr": 1e-3}, real=True, verdict="real").path == path  # the same
    assert "confirmed" in path.read_text()
    other, notes = write(workspace, FOUND)
    assert other.name == "m.tuned-2.yaml"
    assert notes == (
        "configs/m.tuned.yaml has other values, which runs/toy/m.tuned was made from, so it is left as "
        "it is",
    )


def test_tuning_a_tuned_config_extends_the_first(workspace: Workspace) -> None:
    path, _ = write(workspace, SPACE.rounded(FOUND))
    more = {"folds_hash": "f01d", "confirmed": (3,)}
    mark = Tuned(study="m.tuned", trials=10, folds=(1, 2), **more)
    again, notes = write(workspace, {"optim.lr": 1e-3}, source=path.name, mark=mark)
    assert again.name == "m.tuned-2.yaml"
    assert notes == ("configs/m.tuned.yaml is what was tuned, so it is left as it is",)
    names = [Path(name).name for name, _ in read_layers(again).files]
    assert names == ["m.yaml", "m.tuned-2.yaml"]
    config = load_model(again)
    assert config.optim.lr == 1e-3 and config.loss["dice"].weight == 0.3333
    # both choices flatter: the folds of the first count too
    assert config.tuned == Tuned(study="m.tuned", trials=40, folds=(0, 1, 2), **more)
    other = mark.model_copy(update={"folds_hash": "0the"})
    last, _ = write(workspace, {"optim.lr": 1e-3}, source=path.name, mark=other)
    assert load_model(last).tuned == other


def test_a_config_elsewhere_is_extended_from_there(workspace: Workspace) -> None:
    place = workspace.root / "mine" / "net.yaml"
    place.parent.mkdir()
    place.write_text("extends: ../configs/m.yaml\ntrain: {batch_size: 2}\n")
    path, _ = write(workspace, FOUND, source="../mine/net.yaml")
    assert path == workspace.configs / "net.tuned.yaml"
    assert "extends: ../mine/net.yaml" in path.read_text()
    assert load_model(path).train.batch_size == 2
